//! What these tests share.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use crate::support::{self, Built};

pub(crate) const TERMINAL: &str =
    "- {name: terminal, kind: terminal.host}\n- {name: host, kind: process.host}\n";

pub(crate) fn command(name: &str, modules: &str, source: &str) -> String {
    let source: String = source.trim_matches('\n').lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "- name: {name}\n  kind: process.lua\n  meta: {{command: {{name: {name}, short: Does {name}}}}}\n  \
         modules: [{modules}]\n  source: |\n{source}"
    )
}

pub(crate) fn start(built: &Built, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    command.arg("--bundle").arg(built.as_ref()).arg("run").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Exit code, stdout and stderr of a command that reads `input`.
pub(crate) fn run(built: &Built, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = start(built, args);
    // One that reads nothing may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    support::outcome(&child.wait_with_output().unwrap())
}

pub(crate) fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}
