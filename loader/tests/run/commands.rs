//! Commands: what they read, write, return and are told.

use std::io::{BufRead, BufReader};

use crate::shared::{TERMINAL, command, run, signal, start};
use crate::support::{self, Registry};

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
