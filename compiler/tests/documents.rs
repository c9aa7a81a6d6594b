//! Files that are generated from the code and committed: the catalogue of diagnostics and the JSON Schema
//! of definition files. `BLESS=1` rewrites them.
//!
//! The schema is held against registries: what the compiler accepts without a word about fields, it accepts.

use std::fs;
use std::path::{Path, PathBuf};

use compiler::build::{CheckOptions, check};
use registry_schema::document;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compare(path: &str, actual: &str) {
    let path = root().join(path);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, actual).expect("the document can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == actual, "{} is out of date: run this test with BLESS=1", path.display());
}

#[test]
fn the_catalogue_of_diagnostics_is_up_to_date() {
    compare("docs/errors.md", &compiler::codes::catalogue());
}

#[test]
fn the_schema_is_up_to_date() {
    compare("docs/registry.schema.json", &registry_schema::json_schema::definition_file_schema());
}

/// The definition files below `folder`.
fn definition_files(folder: &Path) -> Vec<PathBuf> {
    let is_walked = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || matches!(&*name, "node_modules" | "dist" | "target"))
    };
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = files.filter_entry(is_walked).filter_map(Result::ok);
    let yaml = files.filter(|file| {
        file.path().extension().is_some_and(|extension| extension == "yaml") && !file.path_is_symlink()
    });
    yaml.map(walkdir::DirEntry::into_path).collect()
}

/// A definition file; what is not ours may be anything.
fn definitions(path: &Path) -> Option<Value> {
    let value = document::parse(&fs::read_to_string(path).ok()?).ok()?.to_json();
    let has = |key: &str| value.get(key).is_some();
    (has("namespace") && (has("entries") || has("kind") && has("name"))).then_some(value)
}

fn faults_of(schema: &Value, path: &Path) -> Vec<String> {
    let Some(value) = definitions(path) else { return Vec::new() };
    let mut faults = Vec::new();
    validate(schema, schema, &value, "", &mut faults);
    faults.into_iter().map(|fault| format!("{}: {fault}", path.display())).collect()
}

fn schema() -> Value {
    serde_json::from_str(&registry_schema::json_schema::definition_file_schema()).expect("valid JSON")
}

#[test]
fn the_schema_accepts_every_sample() {
    let schema = schema();
    let mut files = 0;
    for path in definition_files(&root().join("samples")) {
        if definitions(&path).is_none() {
            continue;
        }
        assert_eq!(faults_of(&schema, &path), Vec::<String>::new());
        let text = fs::read_to_string(&path).expect("the file is text");
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("# yaml-language-server: $schema=").expect("the schema is named");
        let named = path.with_file_name(named).canonicalize().expect("the schema is there");
        assert_eq!(named, root().join("docs/registry.schema.json").canonicalize().expect("committed"));
        files += 1;
    }
    assert!(files > 6);
}

#[test]
fn the_schema_accepts_what_the_compiler_accepts() {
    let schema = schema();
    let cases = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).expect("readable");
    let mut compared = 0;
    for case in cases {
        let app = case.expect("readable").path().join("app");
        let said = check(&app, &CheckOptions::default());
        // Faults of files, entries and fields, and values that come from elsewhere.
        let is_about_fields =
            |code: &str| code.starts_with("E01") || code.starts_with("E02") || code == "E0401";
        let writes_fields = definition_files(&app).iter().any(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.contains("ns.requirement") || text.contains("override:")
        });
        if said.iter().any(|it| is_about_fields(it.code.as_str())) || writes_fields {
            continue;
        }
        for path in definition_files(&app) {
            assert_eq!(faults_of(&schema, &path), Vec::<String>::new());
        }
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn the_schema_refuses_what_is_misspelt() {
    let schema = schema();
    let file = |entry: &str| format!("namespace: a\nentries:\n  - {entry}\n");
    for (entry, expected) in [
        ("{name: f, kind: function.wat, sauce: x, method: f}", "/entries/0: `sauce` is not known"),
        ("{name: f, kind: function.wat, data: {sauce: x}}", "/entries/0/data: `sauce` is not known"),
        ("{kind: function.wat}", "/entries/0: `name` is missing"),
        ("{name: f, kind: http.endpoint, path: /a}", "/entries/0: `method` is missing"),
        ("{name: f, kind: function.wat, pool: {type: lazzy}}", "/entries/0/pool"),
        ("{name: f, kind: function.wat, limits: {max_execution_ms: soon}}", "/entries/0/limits"),
        ("{name: f, kind: http.service, addr: ':1', timeouts: {read: 5}}", "/entries/0/timeouts"),
    ] {
        let value = document::parse(&file(entry)).expect("valid YAML").to_json();
        let mut faults = Vec::new();
        validate(&schema, &schema, &value, "", &mut faults);
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{entry}: {faults:?}");
    }
    for entry in [
        "{name: f, kind: acme.widget, anything: 1}",
        "{name: f, kind: function.wat, pool: {size: '${env:SIZE|4}'}}",
        "{name: f, kind: http.service, addr: ':1', timeouts: {read: 1m30s, idle: 0}, lifecycle: {depends_on: [a]}}",
    ] {
        let value = document::parse(&file(entry)).expect("valid YAML").to_json();
        let mut faults = Vec::new();
        validate(&schema, &schema, &value, "", &mut faults);
        assert_eq!(faults, Vec::<String>::new(), "{entry}");
    }
}

/// Holds `value` against `schema` as draft 7 says, for the keywords that ours uses.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if schema == &Value::Bool(false) {
        faults.push(format!("{at}: nothing is allowed here"));
    }
    let Some(keywords) = schema.as_object() else { return };
    let mut fault = |text: String| faults.push(format!("{at}: {text}"));
    for (keyword, argument) in keywords {
        match keyword.as_str() {
            "type" => {
                let names: Vec<&str> = match argument {
                    Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                    name => name.as_str().into_iter().collect(),
                };
                if !names.iter().any(|name| has_type(value, name)) {
                    fault(format!("found {value}, expected {names:?}"));
                }
            }
            "enum" if !argument.as_array().is_some_and(|all| all.contains(value)) => {
                fault(format!("found {value}, expected one of {argument}"));
            }
            "const" if argument != value => fault(format!("found {value}, expected {argument}")),
            "minimum" if value.as_f64() < argument.as_f64() && value.is_number() => {
                fault(format!("{value} is too small"));
            }
            "maximum" if value.as_f64() > argument.as_f64() => fault(format!("{value} is too big")),
            "minLength" if value.as_str() == Some("") => fault("found no text".to_owned()),
            "pattern" => {
                let pattern = regex_lite::Regex::new(argument.as_str().expect("text")).expect("a pattern");
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    fault(format!("found {value}, expected {argument}"));
                }
            }
            "required" => {
                for name in argument.as_array().expect("a list").iter().filter_map(Value::as_str) {
                    if value.as_object().is_some_and(|object| !object.contains_key(name)) {
                        fault(format!("`{name}` is missing"));
                    }
                }
            }
            _ => {}
        }
    }
    validate_parts(root, keywords, value, at, faults);
}

/// The keywords that hold schemas.
fn validate_parts(
    root: &Value,
    keywords: &serde_json::Map<String, Value>,
    value: &Value,
    at: &str,
    faults: &mut Vec<String>,
) {
    let fits = |schema: &Value| {
        let mut faults = Vec::new();
        validate(root, schema, value, at, &mut faults);
        faults
    };
    if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#')).expect("references lead somewhere");
        validate(root, target, value, at, faults);
    }
    for all in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        validate(root, all, value, at, faults);
    }
    if let Some(any) = keywords.get("anyOf").or(keywords.get("oneOf")).and_then(Value::as_array) {
        let tried: Vec<Vec<String>> = any.iter().map(fits).collect();
        if tried.iter().all(|faults| !faults.is_empty()) {
            faults.push(format!("{at}: none of the alternatives fits: {tried:?}"));
        }
    }
    if let Some(condition) = keywords.get("if") {
        let branch = if fits(condition).is_empty() { "then" } else { "else" };
        if let Some(branch) = keywords.get(branch) {
            validate(root, branch, value, at, faults);
        }
    }
    if let (Some(items), Some(values)) = (keywords.get("items"), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            validate(root, items, value, &format!("{at}/{index}"), faults);
        }
    }
    let Some(object) = value.as_object() else { return };
    let properties = keywords.get("properties").and_then(Value::as_object);
    for (name, value) in object {
        match (properties.and_then(|known| known.get(name)), keywords.get("additionalProperties")) {
            (Some(schema), _) => validate(root, schema, value, &format!("{at}/{name}"), faults),
            (None, Some(Value::Bool(false))) => faults.push(format!("{at}: `{name}` is not known")),
            (None, Some(schema)) => validate(root, schema, value, &format!("{at}/{name}"), faults),
            (None, None) => {}
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type `{other}` is not of JSON"),
    }
}
