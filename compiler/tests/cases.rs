//! Runs every folder in `cases/`.
//!
//! - `app/` is a registry; it is checked as `compiler check` does.
//! - `expected.txt` is what is said, for people and without colours; empty when nothing is.
//! - `registry.json`, in folders whose name does not begin with `error-`, is the registry as read:
//!   what values and references became.
//! - `types.lua`, in some folders, is what `compiler types` prints.
//! - `profiles.txt`, in some folders, names the profiles that are selected, one a line.
//!
//! Folders named `error-…` must fail, the others must not. `BLESS=1` rewrites both files; review the
//! difference. `CASES=one,two` runs, and blesses, only the folders of these names. Inputs that are too big to
//! commit are made by the tests below and by `golden.rs`, which sees to it that every code has a golden file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use compiler::build::{CheckOptions, check};
use compiler::codes::Code;
use compiler::diagnostic::{Diagnostic, Diagnostics, Severity, Strictness};
use compiler::front::Selection;
use compiler::registry::Registry;
use compiler::report::{Format, render};
use registry_schema::authored::wasm::Results;
use registry_schema::document::NODES_MAX;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(folder).expect("the folder of cases is there");
    let mut cases: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    cases
}

fn run(root: &Path) -> Vec<Diagnostic> {
    check(root, &CheckOptions { strictness: Strictness::Lenient, profiles: profiles(root) })
}

/// The profiles that the case of the registry `root` selects.
fn profiles(root: &Path) -> Vec<String> {
    let names = fs::read_to_string(root.with_file_name("profiles.txt")).unwrap_or_default();
    names.lines().map(str::to_owned).collect()
}

fn text(diagnostics: &[Diagnostic]) -> String {
    let mut out = Vec::new();
    render(diagnostics, Format::Human { color: false }, &mut out).expect("memory can be written to");
    String::from_utf8(out).expect("rendered as UTF-8")
}

/// The registry as the front half leaves it.
fn registry(root: &Path) -> String {
    let mut diagnostics = Diagnostics::new(Strictness::Lenient);
    let selection = Selection { out: None, profiles: &profiles(root) };
    let registry = compiler::front::read(root, selection, &mut diagnostics).expect("a usable root");
    let entries: serde_json::Map<_, _> =
        registry.entries.values().map(|entry| (entry.id.to_string(), entry_json(entry))).collect();
    let Registry { config, .. } = registry;
    let json = serde_json::json!({"config": config, "entries": entries});
    serde_json::to_string_pretty(&json).expect("written as JSON") + "\n"
}

fn entry_json(entry: &compiler::registry::Entry) -> serde_json::Value {
    let included: serde_json::Map<_, _> = entry
        .included
        .iter()
        .map(|(path, file)| (path.clone(), serde_json::Value::from(file.path.as_str())))
        .collect();
    serde_json::json!({
        "kind": entry.kind,
        "file": format!("{}:{}", entry.file.path, entry.span.line),
        "meta": entry.meta,
        "data": entry.data.to_json(),
        "included": included,
        "unavailable": entry.unavailable,
    })
}

/// Compares with a golden file, or rewrites it; adds to `failures` what differs.
fn compare(path: &Path, actual: &str, failures: &mut String) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).expect("the golden file can be written");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != actual {
        writeln!(failures, "== {}\n-- expected\n{expected}\n-- actual\n{actual}", path.display())
            .expect("memory can be written to");
    }
}

/// Whether the case is to be run: all are, unless `CASES` names some.
fn is_wanted(name: &str) -> bool {
    std::env::var("CASES").map_or(true, |names| names.split(',').any(|wanted| wanted == name))
}

#[test]
fn every_case_says_what_is_expected() {
    let mut failures = String::new();
    for case in cases() {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_wanted(&name) {
            continue;
        }
        let root = case.join("app");
        let diagnostics = run(&root);
        let actual = text(&diagnostics).replace(&*case.to_string_lossy(), "CASE");
        compare(&case.join("expected.txt"), &actual, &mut failures);
        let fails = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        if fails != name.starts_with("error-") {
            writeln!(failures, "== {name}: fails = {fails}\n{actual}").expect("memory can be written to");
        }
        if !fails {
            compare(&case.join("registry.json"), &registry(&root), &mut failures);
        }
        let types = case.join("types.lua");
        if types.is_file() {
            let (text, _) = compiler::types::types(&root, &profiles(&root), Results::Pair);
            let text = text.expect("only cases without errors have it");
            mlua::Lua::new().load(&text).into_function().expect("annotations are comments of valid Lua");
            compare(&types, &text, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn strict_makes_warnings_errors() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/unknown-kind/app");
    let diagnostics = check(&case, &CheckOptions { strictness: Strictness::Strict, profiles: Vec::new() });
    assert!(!diagnostics.is_empty());
    assert!(diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Error));
}

/// A registry of one file, made for a test.
fn generated(content: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("_index.yaml"), content).expect("writable");
    folder
}

/// Code, line and message of all that is said.
fn said(diagnostics: &[Diagnostic]) -> Vec<(&'static str, u32, String)> {
    let line = |it: &Diagnostic| it.place.as_ref().map_or(0, |place| place.span.line);
    diagnostics.iter().map(|it| (it.code.as_str(), line(it), it.message.clone())).collect()
}

#[test]
fn ten_thousand_entries_in_a_file() {
    let mut content = "namespace: app\nmeta: {team: core}\nentries:\n".to_owned();
    for number in 0..10_000 {
        writeln!(
            content,
            "  - name: entry_{number}\n    kind: registry.entry\n    text: |\n      line {number}"
        )
        .expect("memory can be written to");
    }
    let folder = generated(&content);
    let mut diagnostics = Diagnostics::new(Strictness::Lenient);
    let registry =
        compiler::front::read(folder.path(), Selection::default(), &mut diagnostics).expect("a usable root");
    assert_eq!(registry.entries.len(), 10_000);
    assert_eq!(said(&diagnostics.sorted()), []);
}

#[test]
fn ten_thousand_faults_in_a_file() {
    let mut content = "namespace: app\nentries:\n".to_owned();
    for number in 0..10_000 {
        writeln!(content, "  - {{name: r{number}, kind: http.router, meta: {{server: s{number}}}}}")
            .expect("memory can be written to");
    }
    let diagnostics = run(generated(&content).path());
    let missing = diagnostics.iter().filter(|it| it.code == Code::ReferenceMissing).count();
    assert_eq!(missing, 10_000);
    assert!(text(&diagnostics).ends_with("error: 10000 errors\n"));
}

#[test]
fn alias_bombs_are_refused() {
    let mut content = "namespace: app\nentries: []\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let inner = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(content, "a{level}: &a{level} [{inner}]").expect("memory can be written to");
    }
    let found = said(&run(generated(&content).path()));
    assert_eq!(found, [("E0102", 3, "aliases stand for more than 1000000 values".to_owned())]);
}

#[test]
fn deep_nesting_is_refused() {
    let mut content = "namespace: app\nentries: []\n".to_owned();
    for depth in 0..5_000 {
        writeln!(content, "{}a:", " ".repeat(depth)).expect("memory can be written to");
    }
    let found = said(&run(generated(&content).path()));
    assert_eq!(found, [("E0102", 99, "values are nested more than 96 deep".to_owned())]);
}

#[test]
fn too_many_values_are_refused() {
    // The mapping, its three keys, and their values are seven.
    let content = |values: usize| {
        let list = vec!["0"; values - 7].join(",\n");
        format!("namespace: app\nentries: []\nlist: [{list}]\n")
    };
    let limit = || {
        let mut said = said(&run(generated(&content(NODES_MAX + 1)).path()));
        said.retain(|(code, ..)| *code == "E0102");
        said
    };
    let message = "the file has more than 2000000 values, aliases expanded".to_owned();
    assert_eq!(limit(), [("E0102", 1_999_996, message)]);
    let found = said(&run(generated(&content(NODES_MAX)).path()));
    assert!(found.iter().all(|(code, ..)| *code == "E0205" || *code == "E0111"), "{found:?}");
}

#[test]
fn huge_files_are_refused_unread() {
    let folder = generated("namespace: app\n");
    let file = fs::OpenOptions::new().write(true).open(folder.path().join("_index.yaml")).expect("writable");
    file.set_len(1 << 40).expect("a sparse file");
    let found = said(&run(folder.path()));
    let message = "the file can't be read: it has more than 67108864 bytes".to_owned();
    assert_eq!(found, [("E0102", 0, message)]);
}

#[test]
fn build_output_is_not_walked() {
    let good = "namespace: app\nentries:\n  - {name: a, kind: registry.entry}\n";
    let folder = generated(good);
    let at = |path: &str, name: &str, content: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(&path).expect("writable");
        fs::write(path.join(name), content).expect("writable");
    };
    for skipped in ["dist", "target", "node_modules/x", "sub/.git", "sub/target", "sub/dist", "out/bundle"] {
        at(skipped, "_index.yaml", "namespace: skipped\nentries: 5\n");
    }
    at("sub/target", "CACHEDIR.TAG", "Signature");
    at("sub/dist", "manifest.json", "{}");
    at("deep/target", "_index.yaml", "namespace: deep\nentries:\n  - {name: a, kind: registry.entry}\n");
    let mut diagnostics = Diagnostics::new(Strictness::Lenient);
    let out = Path::new("out");
    let registry =
        compiler::front::read(folder.path(), Selection { out: Some(out), profiles: &[] }, &mut diagnostics)
            .expect("a usable root");
    let ids: Vec<_> = registry.entries.keys().map(ToString::to_string).collect();
    assert_eq!((ids, said(&diagnostics.sorted())), (vec!["app:a".to_owned(), "deep:a".to_owned()], vec![]));
}
