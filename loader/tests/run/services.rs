//! Services until a signal.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use crate::shared::{TERMINAL, command, signal, start};
use crate::support::Registry;

const WARM: &str = "(module (func (export \"warm\") (result i32) i32.const 1))";

/// Address space of a process, in bytes.
fn address_space(child: &Child) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", child.id())).unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// What serves has memory reserved for as many instances as its functions have slots, and functions that start
/// warm are mapped before anybody calls them.
#[test]
fn a_server_reserves_memory_and_a_command_does_not() {
    let source = r#"
local funcs = require("funcs")
return function()
    print("pages", (funcs.call("app:pages")))
    process.events():receive()
end"#;
    let pages = "(module (memory 3) (func (export \"pages\") (result i32) (memory.size)))";
    let registry = Registry::new()
        .entries(TERMINAL)
        .wat("pages", pages, "wit: \"pages: func() -> u32\"\nmethod: pages")
        .wat("warm", WARM, "wit: \"warm: func() -> u32\"\nmethod: warm\npool: {warm_start: true}")
        .entries(&command("asks", "funcs", source))
        .entries("- {name: service, kind: process.service, process: asks, host: host, lifecycle: {auto_start: true}}");
    let built = registry.build();
    for (args, reserves) in [(&[][..], true), (&["asks"], false)] {
        let mut child = start(&built, args);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("pages\t3")), "{args:?}");
        // A memory takes 4 GiB, and a function that says nothing of its pool has a hundred slots.
        assert_eq!(address_space(&child) > 400 << 30, reserves, "{args:?}");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
        assert_eq!(maps.contains(&built.artifact("warm").digest.to_string()), reserves, "{args:?}");
        signal(&child, "-KILL");
        child.wait().unwrap();
    }
}

#[test]
fn services_run_until_a_signal() {
    let registry = Registry::new().entries(TERMINAL).entries(
        r#"
- name: worker
  kind: process.lua
  source: |
    return function()
        print("works")
        print(process.events():receive().reason)
    end
- name: service
  kind: process.service
  process: worker
  host: host
  lifecycle: {auto_start: true}
- name: broken
  kind: process.service
  process: worker
  host: terminal
  lifecycle: {auto_start: true, requires: [nowhere]}
- {name: nowhere, kind: db.sql.sqlite}
"#,
    );
    let built = registry.build();
    for name in ["-TERM", "-INT"] {
        let mut child = start(&built, &[]);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = Vec::new();
        // Until it is ready and its service works, in whatever order.
        while !(lines.iter().any(|line: &String| line.starts_with("ready: "))
            && lines.iter().any(|line| line == "[app:worker] works\n"))
        {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "{lines:?}");
            lines.push(line);
        }
        let ready = lines.iter().find(|line| line.starts_with("ready: ")).unwrap();
        assert!(ready.starts_with("ready: 6 entries, 2 of 3 services, booted in "), "{ready}");
        let broken = lines.iter().find(|line| line.contains("app:broken")).unwrap();
        assert!(broken.contains("it requires `app:nowhere`, which is not available"), "{broken}");
        signal(&child, name);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "[app:worker] its service stops\n");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
