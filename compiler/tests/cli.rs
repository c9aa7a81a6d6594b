//! The `compiler` binary: exit codes, streams, message formats.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary in the folder of the golden cases.
fn run(args: &[&str]) -> Output {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    Command::new(env!("CARGO_BIN_EXE_compiler")).current_dir(cases).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn people_read_faults_on_stderr_without_colours_when_it_is_no_terminal() {
    let output = run(&["check", "error-method/app"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--> error-method/app/_index.yaml:27:13"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn programs_read_one_object_per_line_on_stdout() {
    let output = run(&["check", "error-method/app", "--message-format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["severity"], "error");
    assert_eq!(lines[0]["code"], "E0406");
    assert_eq!(lines[0]["entry"], "app:ambiguous");
    assert_eq!(lines[0]["file"], "error-method/app/_index.yaml");
    assert_eq!((&lines[0]["line"], &lines[0]["column"]), (&27.into(), &13.into()));
    let github = stdout(&run(&["check", "error-method/app", "--message-format", "github"]));
    assert!(github.starts_with("::error file=error-method/app/_index.yaml,line=27,col=13,"), "{github}");
}

#[test]
fn a_bundle_is_built_inspected_and_left_out_of_strange_folders() {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    let dist = dist.to_str().unwrap();
    let output = run(&["wasm-value-types/app", "--no-cache", "--out", dist]);
    assert_eq!(output.status.code(), Some(0));
    let inspected = stdout(&run(&["inspect", dist, "--json"]));
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["targets"].as_array().unwrap().len(), 1);
    assert!(stdout(&run(&["inspect", dist])).contains("ENTRY"));

    let strange = folder.path().join("strange");
    std::fs::create_dir(&strange).unwrap();
    std::fs::write(strange.join("mine.txt"), "mine").unwrap();
    let output = run(&["wasm-value-types/app", "--no-cache", "--out", strange.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(std::fs::read_dir(&strange).unwrap().count(), 1);
}

#[test]
fn annotations_go_to_stdout_unless_there_are_errors() {
    let output = run(&["types", "lua-entries/app"]);
    assert_eq!(output.status.code(), Some(0));
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    assert_eq!(stdout(&output), std::fs::read_to_string(cases.join("lua-entries/types.lua")).unwrap());

    let output = run(&["types", "error-lua-syntax/app"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
    assert!(
        stdout(&run(&["types", "lua-types/app", "--results", "table"]))
            .contains("\"app.my-lib:fails\"): ({ ok: true }|{ err: string })?,")
    );
}

#[test]
fn wrong_usage_and_missing_bundles_have_codes_of_their_own() {
    assert_eq!(run(&["--no-such-option"]).status.code(), Some(2));
    assert_eq!(run(&["explain", "E9999"]).status.code(), Some(2));
    assert_eq!(run(&["inspect", "no-such-folder"]).status.code(), Some(3));
    let explained = run(&["explain", "e0406"]);
    assert_eq!(explained.status.code(), Some(0));
    assert!(stdout(&explained).starts_with("E0406: "));
}
