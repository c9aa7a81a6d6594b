//! `loader run`: commands with their streams, arguments, exit codes and signals, and services until a signal.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use support::{Built, Registry};

const TERMINAL: &str = "- {name: terminal, kind: terminal.host}\n- {name: host, kind: process.host}\n";

fn command(name: &str, modules: &str, source: &str) -> String {
    let source: String = source.trim_matches('\n').lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "- name: {name}\n  kind: process.lua\n  meta: {{command: {{name: {name}, short: Does {name}}}}}\n  \
         modules: [{modules}]\n  source: |\n{source}"
    )
}

fn start(built: &Built, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    command.arg("--bundle").arg(built.as_ref()).arg("run").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Exit code, stdout and stderr of a command that reads `input`.
fn run(built: &Built, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = start(built, args);
    // One that reads nothing may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    support::outcome(&child.wait_with_output().unwrap())
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

#[test]
fn commands_read_write_and_say_how_they_end() {
    let registry = Registry::new()
        .entries(TERMINAL)
        .entries(&command(
            "say",
            "io",
            r#"
local io = require("io")
return function(...)
    local line, err = io.readline()
    if not line then return nil, err end
    io.print(line, ...)
    io.write("[", io.read(3), "]\n")
    io.eprint("to stderr", table.concat(io.args(), ","))
    local _, ended = io.readline()
    return ended:message()
end"#,
        ))
        .entries(&command(
            "exit",
            "",
            r#"
return function(what)
    if what == "true" then return true end
    if what == "false" then return false end
    if what == "nil" then return nil, "went wrong" end
    return tonumber(what)
end"#,
        ));
    let built = registry.build();
    let list = "Available commands:\n  exit    Does exit\n  say     Does say\n";
    assert_eq!(run(&built, &["list"], ""), (Some(0), list.to_owned(), String::new()));
    let said = (
        Some(0),
        "first\ta\t-b\n[sec]\ncan't read: the input has ended\n".to_owned(),
        "to stderr\ta,-b\n".to_owned(),
    );
    assert_eq!(run(&built, &["say", "a", "-b"], "first\nsec"), said);
    assert_eq!(run(&built, &["-x", "app:say", "a", "-b"], "first\nsec"), said);
    for (what, code, stderr) in [
        ("true", 0, ""),
        ("false", 1, ""),
        ("nil", 1, "error: UNKNOWN: went wrong\n"),
        ("0", 0, ""),
        ("7", 7, ""),
    ] {
        assert_eq!(
            run(&built, &["exit", what], ""),
            (Some(code), String::new(), stderr.to_owned()),
            "{what}"
        );
    }
    let (code, _, stderr) = run(&built, &["nothing"], "");
    assert_eq!(
        (code, stderr.as_str()),
        (Some(2), "error: there is no command `nothing`\nsee `loader run list`\n")
    );
    let (code, _, stderr) = run(&built, &["-x", "app:host"], "");
    assert_eq!(code, Some(1), "{stderr}");
    let (code, _, stderr) = run(&built, &["--host", "app:host", "say"], "");
    assert_eq!((code, stderr.contains("there is no terminal here")), (Some(1), true), "{stderr}");
}

#[test]
fn arguments_of_guests_are_converted_or_their_use_is_shown() {
    let registry = Registry::new().entries(TERMINAL).sample_worker(
        "prime",
        "largest-prime",
        "meta: {command: {name: prime}}",
    );
    let built = registry.build();
    assert_eq!(run(&built, &["prime", "100"], ""), (Some(0), "97\n".to_owned(), String::new()));
    for (args, problem) in [
        (&["prime"][..], "`limit` is missing"),
        (&["prime", "1", "2"], "1 arguments are expected, 2 were given"),
    ] {
        let stderr = format!("error: {problem}\nusage: prime <limit: u32>\n");
        assert_eq!(run(&built, args, ""), (Some(2), String::new(), stderr));
    }
    let (code, _, stderr) = run(&built, &["prime", "ten"], "");
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error: `limit`: ") && stderr.ends_with("usage: prime <limit: u32>\n"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&built, &["prime", "1"], "");
    assert_eq!(code, Some(1), "{stderr}");
    let none =
        Registry::new().sample_worker("prime", "largest-prime", "meta: {command: {name: prime}}").build();
    let (code, _, stderr) = run(&none, &["prime", "1"], "");
    assert_eq!((code, stderr.contains("add an entry of that kind")), (Some(2), true), "{stderr}");
}

#[test]
fn the_first_signal_asks_a_command_to_end_and_the_second_ends_it() {
    let registry = Registry::new().entries(TERMINAL).entries(&command(
        "wait",
        "io",
        r#"
local io = require("io")
return function()
    local events = process.events()
    io.print("ready")
    local event = events:receive()
    io.print(event.kind == process.event.CANCEL, event.reason)
    events:receive()
end"#,
    ));
    let built = registry.build();
    let mut child = start(&built, &["wait"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    signal(&child, "-INT");
    line.clear();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "true\tinterrupted\n");
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let (code, _, stderr) = support::outcome(&output);
    assert_eq!((code, stderr.as_str()), (Some(1), "error: CANCELED: the process was terminated\n"));
}

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
