//! Commands at a real terminal, which `script` of util-linux makes: detection, and raw mode.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::shared::{TERMINAL, command};
use crate::support::{Built, CONSOLE, PREVIEW1_COMMAND, Registry, skipped};

/// `line` of the shell, in which `loader` runs commands of `built`, at a terminal; `None` without `script`.
fn at_terminal(built: &Built, line: &str) -> Option<Child> {
    let loader = format!("{} --bundle {} run", env!("CARGO_BIN_EXE_loader"), built.as_ref().display());
    let line = line.replace("loader run", &loader);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    match script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(child) => Some(child),
        Err(problem) => {
            skipped("commands at a terminal", &format!("`script` can't be run: {problem}"));
            None
        }
    }
}

/// What a command wrote at the terminal, line ends as they were before the terminal's.
fn shown(built: &Built, line: &str) -> Option<String> {
    let child = at_terminal(built, line)?;
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"))
}

#[test]
fn only_streams_at_a_terminal_are_terminals() {
    let built = Registry::new()
        .entries(TERMINAL)
        .guest_process(
            "console",
            CONSOLE,
            "imports: [wasi:cli, wasi:clocks, wasi:filesystem]\nwasi: {args: [terminals]}",
        )
        .guest_process("old", PREVIEW1_COMMAND, "imports: [wasi1]")
        .build();
    for name in ["console", "old"] {
        for (more, expected) in [
            ("", "stdin stdout stderr\n"),
            (" </dev/null", "- stdout stderr\n"),
            (" | cat", "stdin - stderr\n"),
            (" 2>/dev/null", "stdin stdout -\n"),
        ] {
            let Some(shown) = shown(&built, &format!("loader run -x app:{name}{more}")) else { return };
            assert_eq!(shown, expected, "{name}{more}");
        }
    }
}

/// Reads until the program has shown `text`.
fn until(stdout: &mut impl Read, text: &str) -> String {
    let mut shown = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&shown).ends_with(text) {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{:?}", String::from_utf8_lossy(&shown));
        shown.push(byte[0]);
    }
    String::from_utf8(shown).unwrap()
}

const KEYS: &str = r#"
local io = require("io")
return function(how)
    if how == "raw" then assert(io.raw()) end
    -- Entered twice, left once: it holds.
    assert(io.raw(true))
    assert(io.raw(false))
    io.print("ready")
    io.flush()
    if how == "wait" then process.events():receive() end
    io.print("got " .. io.read(1))
    if how == "fail" then error("boom") end
    return 0
end"#;

#[test]
fn raw_mode_gives_keys_as_they_come_and_ends_with_the_process() {
    let built = Registry::new().entries(TERMINAL).entries(&command("keys", "io", KEYS)).build();
    // How the terminal is afterwards: keys are echoed, and lines are lines.
    let Some(mut child) = at_terminal(&built, "loader run keys raw; stty -a") else { return };
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    until(&mut stdout, "ready\r\n");
    // No line end, and nothing of it is echoed.
    stdin.write_all(b"k").unwrap();
    let shown = until(&mut stdout, "got k\r\n");
    assert_eq!(shown, "got k\r\n");
    drop(stdin);
    let mut after = String::new();
    stdout.read_to_string(&mut after).unwrap();
    for mode in [" icanon", " echo"] {
        assert!(after.contains(mode), "{mode}: {after}");
    }
    child.wait().unwrap();
}

#[test]
fn the_terminal_is_as_before_after_a_failure_and_after_ctrl_c() {
    let built = Registry::new().entries(TERMINAL).entries(&command("keys", "io", KEYS)).build();
    for (how, keys) in [("fail", &b"\n"[..]), ("wait", b"\x03")] {
        let Some(mut child) = at_terminal(&built, &format!("trap : INT; loader run keys {how}; stty -a"))
        else {
            return;
        };
        let (mut stdin, mut stdout) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\r\n");
        stdin.write_all(keys).unwrap();
        let mut after = String::new();
        // Both end by the key: the one is asked to end by Ctrl-C, and reads what follows.
        if how == "wait" {
            stdin.write_all(b"\n").unwrap();
        }
        drop(stdin);
        stdout.read_to_string(&mut after).unwrap();
        assert!(after.contains(" icanon") && after.contains(" echo"), "{how}: {after}");
        child.wait().unwrap();
    }
}

#[test]
fn there_is_no_raw_mode_without_a_terminal() {
    let source = r#"
local io = require("io")
return function()
    local ok, err = io.raw()
    io.print(ok, err:kind(), err:message())
end"#;
    let built = Registry::new().entries(TERMINAL).entries(&command("keys", "io", source)).build();
    let said = "nil\tUNAVAILABLE\tthere is no raw mode here: the input is no terminal\n".to_owned();
    assert_eq!(crate::shared::run(&built, &["keys"], ""), (Some(0), said, String::new()));
}
