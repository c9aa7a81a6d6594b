//! `compiler inspect`: the table, what two bundles differ in, and the bill of materials.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use regex_lite::Regex;
use serde_json::Value;
use support::golden;

/// A registry in a folder of its own, and its bundle.
struct Project {
    folder: tempfile::TempDir,
}

const OLD: &str = r#"
namespace: app
entries:
  - name: answer
    kind: function.wat
    method: answer
    wit: "answer: func() -> u32"
    source: '(module (func (export "answer") (result i32) i32.const 42))'
  - name: gone
    kind: function.wat
    method: f
    wit: "f: func()"
    source: '(module (func (export "f")))'
  - name: text
    kind: function.lua
    source: 'return {main = function() return 1 end}'
    method: main
    modules: [json]
  - name: same
    kind: registry.entry
    data: {a: 1}
"#;

const NEW: &str = r#"
namespace: app
entries:
  - name: answer
    kind: function.wat
    method: answer
    imports: [wasi:random]
    network: {allow: ["api.example.com:443"]}
    source: |
      (component
        (import "wasi:random/random@0.2.0" (instance
          (export "get-random-u64" (func (result u64)))))
        (core module $m (func (export "answer") (result i64) i64.const 42))
        (core instance $i (instantiate $m))
        (func (export "answer") (result u64) (canon lift (core func $i "answer"))))
  - name: new
    kind: function.wat
    method: f
    wit: "f: func()"
    source: '(module (@producers (processed-by "rustc" "1.95.0")) (func (export "f")))'
  - name: text
    kind: function.lua
    source: 'return {main = function() return 1 end}'
    method: main
    modules: [json, fs]
  - name: files
    kind: fs.directory
    directory: ./data
  - name: same
    kind: registry.entry
    data: {a: 1}
"#;

impl Project {
    fn new(index: &str, options: &[&str]) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(project.folder.path().join("_index.yaml"), index).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
        command.current_dir(project.folder.path()).args(["--no-cache", "--quiet"]).args(options);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        project
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("dist")
    }
}

/// Exit code and stdout of `inspect`.
fn inspect(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
    command.arg("inspect");
    for argument in arguments {
        command.arg(argument);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn differences_are_those_that_a_reviewer_looks_for() {
    let (old, new) = (Project::new(OLD, &[]), Project::new(NEW, &[]));
    let (code, text) = inspect(&[&"--diff", &old.bundle(), &new.bundle()]);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = text.lines().collect();
    let starts = |start: &str| lines.iter().find(|line| line.starts_with(start)).copied().unwrap_or_default();
    assert_eq!(starts("+ app:files"), "+ app:files");
    assert!(starts("+ app:new").starts_with("+ app:new  0 B → "), "{text}");
    assert!(starts("- app:gone").ends_with(" → 0 B"), "{text}");
    let answer = starts("~ app:answer");
    let expected = "~ app:answer  code, signature, settings; `func() -> u32` → `func() -> u64`; granted +wasi:random; \
                    imports +wasi:random/random@0.2.0";
    assert!(answer.starts_with(expected), "{text}");
    assert_eq!(starts("~ app:text"), "~ app:text  ; granted +fs".replace("  ; ", "  "));
    assert_eq!(starts("~ app:same"), "");
    for line in ["  + folder ./data (app:files: read and write)", "  + host api.example.com:443"] {
        assert!(lines.contains(&line), "{line} in\n{text}");
    }

    let (code, text) = inspect(&[&"--diff", &old.bundle(), &new.bundle(), &"--json"]);
    assert_eq!(code, Some(1));
    let difference = json(&text);
    assert_eq!(difference["changed"]["app:answer"]["grants"]["gained"], serde_json::json!(["wasi:random"]));
    assert_eq!(difference["changed"]["app:answer"]["signature"]["new"], "func() -> u64");
    assert_eq!(difference["removed"].as_object().unwrap().len(), 1);
    assert_eq!(difference["requirements"]["gained"].as_array().unwrap().len(), 2);

    for format in [&["--diff"][..], &["--json", "--diff"]] {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = format.iter().map(|it| it as _).collect();
        let bundle = old.bundle();
        arguments.extend([&bundle as &dyn AsRef<std::ffi::OsStr>, &bundle]);
        assert_eq!(inspect(&arguments).0, Some(0));
    }
    assert_eq!(inspect(&[&"--diff", &old.bundle(), &old.folder.path()]).0, Some(3));
}

#[test]
fn the_table_says_what_a_deployment_provides() {
    let project = Project::new(NEW, &[]);
    let (code, text) = inspect(&[&project.bundle()]);
    assert_eq!(code, Some(0));
    let (_, provided) = text.split_once("\nA DEPLOYMENT PROVIDES\n").unwrap();
    assert_eq!(
        provided,
        "folder    ./data (app:files: read and write)  for app:text\n\
         host      api.example.com:443  for app:answer\n"
    );
    let (_, text) = inspect(&[&project.bundle(), &"--json"]);
    let first = &json(&text)["requirements"][0];
    assert_eq!(first["requirement"]["path"], "./data");
    assert_eq!(first["for"], serde_json::json!(["app:text"]));
}

/// Every kind of row: called, with grants and without, refused, in Lua, carried, unavailable.
const ALL: &str = r#"
namespace: app
entries:
  - name: answer
    kind: function.wat
    method: answer
    wit: "answer: func() -> u32"
    source: '(module (func (export "answer") (result i32) i32.const 42))'
  - name: granted
    kind: function.wat
    method: f
    imports: ["wasi:random", "wasi:clocks"]
    source: &component |
      (component
        (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64)))))
        (core module $m (func (export "f") (param i32) (result i32) local.get 0))
        (core instance $i (instantiate $m))
        (func (export "f") (param "value" s32) (result s32) (canon lift (core func $i "f"))))
  - name: refused
    kind: function.wat
    method: f
    imports: ["wasi:random"]
    source: *component
  - name: text
    kind: function.lua
    source: 'return {main = function() return 1 end}'
    method: main
    modules: [fs, json]
    imports: {lib: library, reg: ":registry"}
  - name: library
    kind: library.lua
    source: 'return {}'
  - name: data
    kind: registry.entry
    data: {a: 1}
  - name: sockets
    kind: function.wat
    method: f
    wit: "f: func()"
    imports: [socket]
    source: '(module (func (export "f")))'
"#;

/// The whole of it, but for sizes and digests.
#[test]
fn tables_and_documents_are_whole() {
    let options = ["--target", "x86_64-unknown-linux-gnu:v2", "--target", "pulley64"];
    let project = Project::new(ALL, &options);
    let scrubbed = |text: &str| {
        let text = text.replace(registry_schema::engine::COMPILER_VERSION, "VERSION");
        let digests = Regex::new("[0-9a-f]{64}").unwrap().replace_all(&text, "DIGEST").into_owned();
        let sizes = Regex::new(r" +[0-9.]+ (B|kB|MB)\b").unwrap().replace_all(&digests, " SIZE");
        sizes.into_owned()
    };
    let (code, table) = inspect(&[&project.bundle()]);
    assert_eq!(code, Some(0));
    golden("inspect.txt", &scrubbed(&table));
    let (code, document) = inspect(&[&project.bundle(), &"--json"]);
    assert_eq!(code, Some(0));
    let mut document = json(&document);
    without_sizes(&mut document);
    golden("inspect.json", &scrubbed(&(serde_json::to_string_pretty(&document).unwrap() + "\n")));
}

/// Replaces what depends on generated code.
fn without_sizes(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_sizes),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "size" | "artifact_bytes" if value.is_number() => *value = "SIZE".into(),
                    _ => without_sizes(value),
                }
            }
        }
        _ => {}
    }
}

/// One that this machine can't run can be looked at all the same.
#[test]
fn bundles_for_other_machines_are_shown() {
    let options = ["--target", "aarch64-unknown-linux-gnu", "--target", "x86_64-unknown-linux-gnu:v4"];
    let both = Project::new(OLD, &options);
    let (code, text) = inspect(&[&both.bundle()]);
    assert_eq!(code, Some(0));
    assert!(text.contains("target     aarch64-unknown-linux-gnu: 2 artifacts"), "{text}");
    let other = Project::new(OLD, &options[..2]);
    assert_eq!(inspect(&[&other.bundle()]).0, Some(0));
    let (_, text) = inspect(&[&"--diff", &other.bundle(), &both.bundle()]);
    assert!(text.contains("targets:\n  + x86_64-unknown-linux-gnu:v4\n"), "{text}");
}

#[test]
fn the_bill_of_materials_names_everything_once() {
    let project = Project::new(NEW, &[]);
    let (code, text) = inspect(&[&project.bundle(), &"--sbom"]);
    assert_eq!(code, Some(0));
    let document = json(&text);
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    let components = document["components"].as_array().unwrap();
    let references: Vec<&str> = components.iter().map(|it| it["bom-ref"].as_str().unwrap()).collect();
    let mut sorted = references.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(references, sorted);
    let kinds = |start: &str| references.iter().filter(|it| it.starts_with(start)).count();
    assert_eq!((kinds("artifact:"), kinds("component:"), kinds("source:"), kinds("file:lua/")), (2, 2, 2, 1));
    let rustc = components.iter().find(|it| it["bom-ref"] == "producer:processed-by/rustc@1.95.0").unwrap();
    assert_eq!((&rustc["type"], &rustc["scope"]), (&"application".into(), &"excluded".into()));
    // Every reference of a dependency is there.
    for dependency in document["dependencies"].as_array().unwrap() {
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(references.contains(&on.as_str().unwrap()), "{on}");
        }
    }
    let again = Project::new(NEW, &[]);
    assert_eq!(inspect(&[&again.bundle(), &"--sbom"]), (Some(0), text));
}
