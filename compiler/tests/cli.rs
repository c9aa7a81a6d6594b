//! The `compiler` binary: exit codes, streams, message formats.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

/// What the binary writes to a terminal; `None` where there is no `script` to make one.
fn on_terminal(no_color: Option<&str>) -> Option<String> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let check = format!("'{}' check error-method/app", env!("CARGO_BIN_EXE_compiler"));
    let mut command = Command::new("script");
    command.current_dir(cases).args(["--quiet", "--command", &check, "/dev/null"]).stdin(Stdio::null());
    match no_color {
        Some(value) => command.env("NO_COLOR", value),
        None => command.env_remove("NO_COLOR"),
    };
    let text = stdout(&command.output().ok()?);
    text.contains("E0406").then_some(text)
}

/// The parts of the choice are tested where it is made, in `main.rs`.
#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    let Some(coloured) = on_terminal(None) else {
        let text = b"skipped: colours: this machine has no `script` that makes a terminal\n";
        std::io::stdout().write_all(text).unwrap();
        return;
    };
    assert!(coloured.contains("\u{1b}["), "{coloured}");
    assert!(on_terminal(Some("")).unwrap().contains("\u{1b}["));
    let plain = on_terminal(Some("1")).unwrap();
    assert!(!plain.contains('\u{1b}'), "{plain}");
}

#[test]
fn strict_makes_warnings_errors_of_checks_and_builds() {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    for (case, codes) in
        [("warning-grants", &["E0501", "E0502", "E0507"][..]), ("warning-unavailable", &["E0506"])]
    {
        let app = format!("{case}/app");
        let lenient = run(&["check", &app]);
        assert_eq!(lenient.status.code(), Some(0), "{case}");
        let build = ["build", &app, "--strict", "--no-cache", "--out", dist.to_str().unwrap()];
        for strict in [&["check", &app, "--strict"][..], &build] {
            let output = run(strict);
            assert_eq!(output.status.code(), Some(1), "{strict:?}");
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(!text.contains("warning["), "{text}");
            for code in codes {
                assert!(text.contains(&format!("error[{code}]")), "{code} in {text}");
            }
        }
    }
    assert!(!dist.join("manifest.json").exists());
}

#[test]
fn logs_get_lines_of_progress_unless_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (dist, cache) = (path("dist"), path("cache"));
    let build = |options: &[&str]| {
        let output =
            run(&[&["wasm-value-types/app", "--out", &dist, "--cache-dir", &cache], options].concat());
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let first = build(&[]);
    let lines: Vec<&str> = first.lines().collect();
    let [start, .., end, summary] = &lines[..] else { panic!("{first}") };
    let count: usize =
        start.strip_prefix("compiling ").and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert_eq!(*end, format!("compiled {count} of {count}"));
    assert!(summary.contains(&format!(": {count} compiled, 0 from the cache")), "{summary}");
    // There is nothing to compile, and so no progress.
    let second = build(&[]);
    assert!(second.lines().count() == 1 && second.contains(": 0 compiled, "), "{second}");
    assert_eq!(build(&["--quiet"]), "");
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(build(&["--quiet"]), "");
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
