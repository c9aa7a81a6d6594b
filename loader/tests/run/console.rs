//! Guests as commands: `wasi:cli/run` of WASI 0.2 and programs for preview 1, their streams, exit codes, and
//! signals while they compute or wait.

use std::io::{BufRead, BufReader};

use crate::shared::{TERMINAL, run, signal, start};
use crate::support::{self, Built, CONSOLE, PREVIEW1_COMMAND, Registry};

/// The same command under three spellings of its method, and a program for preview 1.
fn guests() -> Built {
    let entry = |name: &str, more: &str| {
        format!(
            "meta: {{command: {{name: {name}}}}}\nimports: [wasi:cli, wasi:clocks, wasi:filesystem]\n{more}"
        )
    };
    Registry::new()
        .entries(TERMINAL)
        .guest_process("console", CONSOLE, &entry("console", "method: run"))
        .guest_process("full", CONSOLE, &entry("full", "method: wasi:cli/run#run"))
        .guest_process("bare", CONSOLE, &entry("bare", ""))
        .guest_process("given", CONSOLE, &entry("given", "method: run\nwasi: {args: [copy]}"))
        .guest_process("compute", CONSOLE, &entry("compute", "method: compute"))
        .guest_process("old", PREVIEW1_COMMAND, "meta: {command: {name: old}}\nimports: [wasi1]")
        .build()
}

#[test]
fn commands_of_components_have_arguments_streams_and_exit_codes() {
    let built = guests();
    for name in ["console", "full", "bare"] {
        let said = format!("[{name:?}, \"copy\", \"-x\", \"two words\"]\nin\nput");
        let copied = (Some(0), said, "copied\n".to_owned());
        assert_eq!(run(&built, &[name, "copy", "-x", "two words"], "in\nput"), copied);
    }
    // What the entry gives comes before what is written.
    let said = "[\"given\", \"copy\", \"more\"]\n".to_owned();
    assert_eq!(run(&built, &["given", "more"], ""), (Some(0), said, "copied\n".to_owned()));
    // The two dashes are not the command's; further ones are.
    let said = "[\"console\", \"copy\", \"--\", \"--host\"]\n".to_owned();
    let ran = run(&built, &["console", "--", "copy", "--", "--host"], "");
    assert_eq!(ran, (Some(0), said.clone(), "copied\n".to_owned()));
    let by_id = said.replace("console", "app:console");
    for options in
        [&["-x", "app:console", "--host", "app:terminal"], &["--host", "app:terminal", "-x", "app:console"]]
    {
        let args = [options.as_slice(), &["copy", "--", "--host"]].concat();
        assert_eq!(run(&built, &args, ""), (Some(0), by_id.clone(), "copied\n".to_owned()));
    }
    let exits: [(&[&str], i32); 8] = [
        (&["exit", "0"], 0),
        (&["exit", "7"], 7),
        (&["exit", "255"], 255),
        (&["give-up"], 1),
        (&["leave"], 0),
        (&["fail"], 1),
        (&["terminals"], 0),
        (&["-"], 0),
    ];
    for (args, code) in exits {
        let (found, _, stderr) = run(&built, &[&["console"], args].concat(), "");
        let expected = if args == ["-"] { "nothing to do\n" } else { "" };
        assert_eq!((found, stderr.as_str()), (Some(code), expected), "{args:?}");
    }
    let (code, _, stderr) = run(&built, &["console", "trap"], "");
    assert_eq!((code, stderr.contains("unreachable")), (Some(1), true), "{stderr}");
}

#[test]
fn the_status_of_a_preview_1_command_arrives_as_success_or_one() {
    let built = guests();
    for (args, code) in [(&["old"][..], 0), (&["old", "0"], 0), (&["old", "1"], 1), (&["old", "3"], 1)] {
        assert_eq!(run(&built, args, ""), (Some(code), "- - -\n".to_owned(), String::new()));
    }
}

/// The first signal gives time to end, which a guest that computes or sleeps makes no use of; the second ends it.
#[test]
fn signals_end_guests_that_compute_and_guests_that_wait() {
    let built = guests();
    for (args, said) in [
        (&["console", "compute"][..], "computes\n"),
        (&["console", "wait"], "waits\n"),
        (&["compute", "1"], "computes\n"),
    ] {
        let mut child = start(&built, args);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, said);
        signal(&child, "-INT");
        signal(&child, "-TERM");
        let (code, _, stderr) = support::outcome(&child.wait_with_output().unwrap());
        assert_eq!((code, stderr.as_str()), (Some(1), "error: CANCELED: the process was terminated\n"));
    }
}
