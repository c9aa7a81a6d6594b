//! Manifests and artifacts that were changed at random: each ends in an error or in a bundle that works, never
//! in a panic, a crash, a hang or too much memory. `scripts/fuzz` runs these at length.
//!
//! Artifacts whose digests fit are never loaded here when they were changed: whoever can write both decides
//! what runs (SECURITY.md). Their headers are read.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/mutation.rs"]
mod mutation;
mod support;

use std::fs;

#[cfg(feature = "signatures")]
use loader::trust::{DenyList, VerifyKey};
use loader::{Bundle, Loader};
use mutation::{Random, mutated};
use registry_schema::Digest;
use registry_schema::manifest::MANIFEST_FILE;
use serde_json::{Value, json};
use support::{Built, Caching, ECHO, Registry, WASI_IMPORTS};

/// A bundle with entries of many kinds, for two targets; nothing in it does harm whatever its settings.
fn mixed() -> Built {
    mixed_with(43)
}

/// The same, whose `other` answers with `other`: mappings are shared by all tests of the process.
fn mixed_with(other: u32) -> Built {
    let registry = Registry::new()
        .answer("answer", 42)
        .answer("other", other)
        .guest("echo", ECHO, "nothing", "limits: {max_execution_ms: 1000, max_memory_bytes: 10000000}")
        .guest(
            "print",
            WASI_IMPORTS,
            "print",
            "imports: [\"wasi:cli\"]\nwasi: {args: [a], env: [{id: level, name: LEVEL}]}\npool: {type: static, size: 2}",
        )
        .entries(
            "
- name: os
  kind: env.storage.os
- name: level
  kind: env.variable
  storage: os
  default: info
- name: embedded
  kind: fs.embed
  directory: embedded
- name: allow
  kind: security.policy
  policy: {actions: [\"funcs.call\"], resources: [\"app:*\"], effect: allow}
- name: text
  kind: function.lua
  source: |
    local json = require(\"json\")
    return {main = function(...) return json.encode({...}) end}
  method: main
  modules: [json]
- name: data
  kind: registry.entry
  data: {text: \"${env:LEVEL|x}\", list: [1, {a: null}]}
",
        )
        .file("embedded/a.txt", "embedded")
        .file(".wippy.yaml", "security: {strict_mode: false}\n");
    let host = registry_schema::Target::host().unwrap().to_string();
    registry.build_as(Caching::Cached, &["--target", &host, "--target", "aarch64-unknown-linux-gnu"])
}

/// Uses whatever of the bundle can be opened.
fn exercise(built: &Built) {
    let Ok(loader) = Loader::open(built) else { return };
    let entries = loader.entries().unwrap_or_default();
    for entry in entries.iter().take(20) {
        let id = entry.id.to_string();
        let Ok(function) = loader.function(&id) else { continue };
        let no_arguments = function.params().is_empty();
        if !no_arguments {
            continue;
        }
        if let Err(error) = loader.call_blocking(&id, &[]) {
            assert!(!error.message().contains("panicked"), "{error}");
        }
    }
    #[cfg(feature = "lua")]
    let _ = loader.call_data_blocking("app:text", vec![], loader::Context::default());
    let _ = loader.verify();
}

#[test]
fn manifests_with_changed_bytes() {
    let built = mixed();
    let good = built.manifest();
    mutation::run("manifest-bytes", |random| {
        write(&built, &mutated(&good, random));
        exercise(&built);
    });
}

/// The digest fits, so that what stands behind it is read.
#[test]
fn manifests_with_changed_bytes_and_fitting_digests() {
    let built = mixed();
    let text = support::text(&built.manifest());
    let start = text.find("\"body\":").unwrap() + "\"body\":".len();
    let body = text[start..].trim_end().strip_suffix('}').unwrap().to_owned();
    mutation::run("manifest-body", |random| {
        let changed = mutated(body.as_bytes(), random);
        built.replace_body(&String::from_utf8_lossy(&changed));
        exercise(&built);
    });
}

/// Another value somewhere in the body, in the layout in which the compiler writes it.
#[test]
fn manifests_with_changed_values() {
    let built = mixed();
    let (good, body) = (built.manifest(), serde_json::to_value(built.body()).unwrap());
    mutation::run("manifest-values", |random| {
        let mut changed = body.clone();
        for _ in 0..=random.below(3) {
            let donor = node(&mut body.clone(), random).clone();
            let place = node(&mut changed, random);
            replace(place, donor, random);
        }
        write(&built, &good);
        if changed["artifacts"].is_array() && changed["entries"].is_array() {
            built.edit_body(|body| *body = changed);
        } else {
            built.replace_body(&changed.to_string());
        }
        exercise(&built);
    });
}

/// The digests are those of the bundle as it was: the file is refused, and the rest serves.
#[test]
fn artifacts_with_changed_bytes() {
    let built = mixed_with(44);
    let path = built.join(&built.artifact("other").path());
    let good = fs::read(&path).unwrap();
    mutation::run("artifact", |random| {
        let changed = mutated(&good, random);
        // Once it was good, its mapping is used again, whatever becomes of the file.
        if changed == good {
            return;
        }
        support::replace(&path, &changed);
        let loader = Loader::open(&built).unwrap();
        assert!(loader.call_blocking("app:other", &[]).is_err());
        assert!(loader.call_blocking("app:answer", &[]).is_ok());
    });
}

#[test]
fn headers_of_changed_artifacts() {
    let built = mixed();
    let body = built.body();
    let foreign = body.artifacts.iter().position(|it| it.target.to_string().starts_with("aarch64")).unwrap();
    let good = fs::read(built.join(&body.artifacts[foreign].path())).unwrap();
    let folder = built.join(&body.artifacts[foreign].path()).parent().unwrap().to_path_buf();
    let head = good.len().min(4096);
    mutation::run("header", |random| {
        // The headers of the file, its sections' and its engine section lie at its ends.
        let mut changed = good.clone();
        let tail = changed.split_off(good.len() - head);
        let mut changed = match random.below(2) {
            0 => [mutated(&changed[..head], random), changed[head..].to_vec(), tail].concat(),
            _ => [changed, mutated(&tail, random)].concat(),
        };
        if random.below(8) == 0 {
            changed.truncate(random.below(changed.len() + 1));
        }
        let digest = Digest::of(&changed);
        let file = folder.join(format!("{digest}.cwasm"));
        fs::write(&file, &changed).unwrap();
        let before = built.manifest();
        built.edit_body(|body| {
            body["artifacts"][foreign]["digest"] = json!(digest);
            body["artifacts"][foreign]["size"] = json!(changed.len());
        });
        let _ = Bundle::read(&built).unwrap().damaged_files().unwrap();
        write(&built, &before);
        fs::remove_file(file).unwrap();
    });
}

/// What a deployment demands is read from files too.
#[cfg(feature = "signatures")]
#[test]
fn changed_keys_and_deny_lists() {
    let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
               -----END PUBLIC KEY-----\n";
    let digest = Digest::of(b"");
    let list =
        format!("# why\ncompiler 48.0.0-48.0.7 ADVISORY-1\nfile blake3:{digest}\nsource blake3:{digest} x\n");
    VerifyKey::from_pem(key).unwrap();
    DenyList::parse(&list).unwrap();
    mutation::run("trust", |random| {
        let _ = VerifyKey::from_pem(&String::from_utf8_lossy(&mutated(key.as_bytes(), random)));
        let _ = DenyList::parse(&String::from_utf8_lossy(&mutated(list.as_bytes(), random)));
    });
}

/// Puts another manifest in place without the care of a build: only this process reads it.
fn write(built: &Built, bytes: &[u8]) {
    let path = built.join(MANIFEST_FILE);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

/// A node of the tree, all about equally likely to be reached by depth.
fn node<'a>(value: &'a mut Value, random: &mut Random) -> &'a mut Value {
    let mut at = value;
    while random.below(6) != 0 {
        let children = at.as_array().map_or(0, Vec::len) + at.as_object().map_or(0, serde_json::Map::len);
        if children == 0 {
            break;
        }
        let index = random.below(children);
        at = match at {
            Value::Array(items) => &mut items[index],
            Value::Object(fields) => fields.values_mut().nth(index).unwrap(),
            _ => unreachable!("only these have children"),
        };
    }
    at
}

fn replace(place: &mut Value, donor: Value, random: &mut Random) {
    match (random.below(5), &mut *place) {
        (0, Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).unwrap().clone();
            fields.remove(&key);
        }
        (0, Value::Array(items)) if !items.is_empty() => {
            let index = random.below(items.len());
            let item = items[index].clone();
            match random.below(3) {
                0 => drop(items.remove(index)),
                1 => items.push(item),
                _ => items.reverse(),
            }
        }
        (1 | 2, _) => *place = donor,
        _ => {
            let deep = (0..200).fold(json!(0), |inner, _| json!([inner]));
            let choices = [
                json!(null),
                json!(true),
                json!(0),
                json!(-1),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(1e300),
                json!(""),
                json!("../../../../etc/passwd"),
                json!("/"),
                json!("\u{0}"),
                json!("${env:HOME}"),
                json!("${env:"),
                json!("x".repeat(70_000)),
                json!("app:answer"),
                json!(Digest::of(b"")),
                json!([]),
                json!({}),
                deep,
            ];
            *place = random.pick(&choices).clone();
        }
    }
}
