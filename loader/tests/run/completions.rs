//! Completion: what may stand next, and the scripts in the shells that there are.

use std::process::Command;

use crate::shared::{TERMINAL, command};
use crate::support::{self, Built, Registry, skipped};

fn built() -> Built {
    Registry::new()
        .entries(TERMINAL)
        .entries(&command("say", "io", "return function() end"))
        .entries(&command("sing", "io", "return function() end"))
        .answer("answer", 1)
        .answer("other", 2)
        .build()
}

fn complete(words: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    let output = command.arg("complete").arg("--").args(words).output().unwrap();
    let (code, stdout, stderr) = support::outcome(&output);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    stdout.lines().map(str::to_owned).collect()
}

#[test]
fn what_may_stand_next_is_known() {
    let built = built();
    let bundle = built.as_ref().to_str().unwrap();
    let after = |words: &[&str]| complete(&[&["--bundle", bundle], words].concat());
    assert_eq!(after(&["run", ""]), ["list", "say", "sing"]);
    assert_eq!(after(&["run", "s"]), ["say", "sing"]);
    assert_eq!(after(&["run", "--host", "app:t"]), ["app:terminal"]);
    assert_eq!(after(&["run", "--host", "app:terminal", "-x", ""]), ["app:say", "app:sing"]);
    assert_eq!(after(&["run", "--e"]), ["--exec"]);
    // What follows a command's name is the command's.
    assert_eq!(after(&["run", "say", "-"]), [""; 0]);
    assert_eq!(after(&["run", "-x", "app:say", ""]), [""; 0]);
    assert_eq!(after(&["call", ""]), ["app:answer", "app:other"]);
    assert_eq!(after(&["--log-level", "d"]), ["debug"]);
    assert_eq!(complete(&[&format!("--bundle={bundle}"), "call", "app:a"]), ["app:answer"]);
    assert_eq!(complete(&["c"]), ["call", "config", "completions"]);
    assert_eq!(complete(&["completions", ""]), ["bash", "zsh", "fish"]);
    assert_eq!(complete(&["--bundle", "/nowhere", "run", ""]), ["list"]);
    assert_eq!(complete(&["--bundle", ""]), [""; 0]);
    assert_eq!(complete(&[]), [""; 0]);
    assert!(complete(&["explain", "IN"]).contains(&"INVALID".to_owned()));
    let help = Command::new(env!("CARGO_BIN_EXE_loader")).arg("--help").output().unwrap();
    let options = complete(&["--"]);
    for option in support::text(&help.stdout).lines().filter_map(|line| line.strip_prefix("  --")) {
        let name = option.split_whitespace().next().unwrap();
        assert!(options.contains(&format!("--{name}")), "{name}: {options:?}");
    }
}

/// What `shell` says when it runs `script`; `None` where it is not there.
fn said(shell: &str, options: &[&str], script: &str) -> Option<String> {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_loader")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(shell);
    command.args(options).arg("-c").arg(script).env("PATH", format!("{}:{path}", folder.display()));
    match command.output() {
        Ok(output) => Some(support::text(&output.stdout)),
        Err(problem) => {
            skipped(&format!("completion in {shell}"), &problem.to_string());
            None
        }
    }
}

#[test]
fn bash_completes_commands_and_ids() {
    let built = built();
    for (line, expected) in [
        ("run s", "say sing"),
        ("run si", "sing"),
        ("run say ", ""),
        ("call ", "app:answer app:other"),
        // A colon begins a word, and what stands before it is not repeated.
        ("call app:o", "other"),
        ("call app:", "answer other"),
    ] {
        let line = format!("loader --bundle {} {line}", built.as_ref().display());
        let script = format!(
            "source <(loader completions bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _loader loader; echo \"${{COMPREPLY[*]}}\""
        );
        let Some(said) = said("bash", &["--norc"], &script) else { return };
        assert_eq!(said.trim_end(), expected, "{line}");
    }
}

/// What zsh would insert is given to `compadd`, which only its line editor has: it is replaced.
#[test]
fn zsh_completes_commands_and_ids() {
    let built = built();
    for (words, expected) in [("run s", "say sing"), ("call app:o", "app:other"), ("run say ''", "files")] {
        let script = format!(
            "compadd() {{ print -- ${{(P)2}} }}; _files() {{ print files }}; compdef() {{ : }}; \
             source <(loader completions zsh); words=(loader --bundle {} {words}); CURRENT=${{#words}}; \
             PREFIX=${{(Q)words[-1]}}; _loader",
            built.as_ref().display()
        );
        let Some(said) = said("zsh", &["-f"], &script) else { return };
        assert_eq!(said.trim_end(), expected, "{words}");
    }
}

#[test]
fn fish_completes_commands_and_ids() {
    let built = built();
    for (line, expected) in [("run s", "say sing"), ("call app:o", "app:other"), ("run si", "sing")] {
        let script = format!(
            "loader completions fish | source; complete --do-complete 'loader --bundle {} {line}'",
            built.as_ref().display()
        );
        let Some(said) = said("fish", &["--no-config"], &script) else { return };
        assert_eq!(said.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{line}");
    }
}
