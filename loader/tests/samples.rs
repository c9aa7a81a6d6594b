//! Every call in the samples' `expected.txt`, by the binary, prints exactly what stands there. Entries that
//! can be called and have none there, because what they return varies, are called as well.
//!
//! `expected.txt` has lines `$ call ID ARG...` and `$ run NAME ARG...`, written for a shell, and after each what it
//! prints. Lines `$ curl ...` ask the server of the tutorial, see `tutorial.rs`.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::process::Command;

use loader::{Loader, Options};
use support::Caching;

/// The calls of a file, each with what it prints.
fn calls(expected: &str) -> Vec<(&str, String)> {
    let mut calls: Vec<(&str, String)> = Vec::new();
    for line in expected.lines() {
        match (line.strip_prefix("$ "), calls.last_mut()) {
            (Some(call), _) => calls.push((call, String::new())),
            (None, Some((_, printed))) => {
                printed.push_str(line);
                printed.push('\n');
            }
            (None, None) => panic!("`{line}` comes before the first call"),
        }
    }
    calls
}

#[test]
fn every_sample_prints_what_is_expected() {
    let workspace = support::crate_folder().parent().expect("the crate lies in the workspace");
    let folder = support::temporary_folder();
    let bundle = folder.path().join("dist");
    support::compile(workspace, &bundle, Caching::Cached);

    let mut failures = String::new();
    let mut called = BTreeSet::new();
    for sample in fs::read_dir(workspace.join("samples")).unwrap() {
        let sample = sample.unwrap().path();
        // What shows how to deploy has nothing to call.
        if sample.ends_with("deploy") {
            continue;
        }
        let path = sample.join("expected.txt");
        let expected = fs::read_to_string(&path).unwrap_or_else(|_| panic!("no `{}`", path.display()));
        for (call, expected) in calls(&expected).into_iter().filter(|(call, _)| !call.starts_with("curl ")) {
            let id = call.split_whitespace().nth(1).expect("a call names an entry");
            called.insert(id.to_owned());
            let output = Command::new("sh")
                .args(["-c", &format!("exec \"$0\" --bundle \"$1\" {call}"), env!("CARGO_BIN_EXE_loader")])
                .arg(&bundle)
                // Folders of `fs.directory` are relative to it.
                .current_dir(workspace)
                .output()
                .unwrap();
            let (code, stdout, stderr) = support::outcome(&output);
            if code != Some(0) || stdout != expected {
                writeln!(failures, "$ {call}\n{stdout}{stderr}-- expected\n{expected}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");

    let options = Options { root: Some(workspace.to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&bundle).unwrap();
    for entry in loader.entries().unwrap() {
        let id = entry.id.to_string();
        if entry.kind.starts_with("function.") && entry.signature.is_some() && !called.contains(&id) {
            loader.call_blocking(&id, &[]).unwrap();
        }
    }
}
