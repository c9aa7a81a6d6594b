//! Every region of every file of a bundle: changed, cut off, or exchanged with another file's. What a loader
//! then uses is refused with the file's name; `verify` finds the rest.

use std::fs;
use std::path::Path;

use loader::{Bundle, Loader, Val};
use registry_schema::manifest::MANIFEST_FILE;
use registry_schema::{Digest, Target};
use serde_json::{Value, json};

use crate::support::{self, Built, Caching, Registry, distinct, replace};

/// Size of a region, in bytes.
const REGION: usize = 512;

/// A bundle with a file of every kind, for this machine and another.
fn with_every_file(numbers: [u32; 2]) -> Built {
    let host = Target::host().unwrap().to_string();
    let other = crate::foreign().to_string();
    Registry::new()
        .answer("a", numbers[0])
        .answer("b", numbers[1])
        .entries("- name: embedded\n  kind: fs.embed\n  directory: embedded")
        .entries("- name: lua\n  kind: function.lua\n  source: 'return {main = function() return 1 end}'\n  method: main")
        .file("embedded/a.txt", "embedded")
        .build_as(Caching::Cached, &["--target", &host, "--target", &other])
}

/// The files of the bundle but its manifest, by their paths in it.
fn files(built: &Built) -> Vec<String> {
    let body = built.body();
    let artifacts = body.artifacts.iter().map(|artifact| artifact.path());
    artifacts.chain(body.head.files.into_keys()).collect()
}

/// The paths of the files that do not fit the manifest, sorted.
fn damaged(built: &Built) -> Vec<String> {
    let mut paths: Vec<String> =
        Bundle::read(built).unwrap().damaged_files().unwrap().into_iter().map(|(path, _)| path).collect();
    paths.sort();
    paths
}

#[test]
fn a_change_in_any_region_of_any_file_is_found() {
    let numbers = [distinct(), distinct()];
    let built = with_every_file(numbers);
    assert_eq!(damaged(&built), [""; 0]);
    let used = built.artifact("a").path();
    let all = files(&built);
    assert_eq!(
        all.len(),
        8,
        "two components for two targets, two files about them, Lua and an embedded file"
    );
    for path in all {
        let file = built.join(&path);
        let good = fs::read(&file).unwrap();
        for start in (0..good.len()).step_by(REGION) {
            let mut bad = good.clone();
            // Another bit of another byte in each region.
            let at = start + (start / REGION * 37) % REGION.min(good.len() - start);
            bad[at] ^= 1 << (start / REGION % 8);
            replace(&file, &bad);
            assert_eq!(damaged(&built), std::slice::from_ref(&path), "byte {at}");
            if path == used {
                let error = Loader::open(&built).unwrap().call_blocking("app:a", &[]).unwrap_err();
                assert!(error.message().contains(&path), "byte {at}: {error}");
            }
            replace(&file, &good[..start]);
            assert_eq!(damaged(&built), std::slice::from_ref(&path), "cut off after {start} bytes");
        }
        replace(&file, &good);
    }
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.call_blocking("app:a", &[]).unwrap(), Some(Val::U32(numbers[0])));
}

#[test]
fn files_that_are_exchanged_are_found() {
    let built = with_every_file([distinct(), distinct()]);
    let all = files(&built);
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            let exchange = |one: &Path, other: &Path| {
                let aside = one.with_extension("aside");
                fs::rename(one, &aside).unwrap();
                fs::rename(other, one).unwrap();
                fs::rename(aside, other).unwrap();
            };
            exchange(&built.join(one), &built.join(other));
            let mut expected = [one.clone(), other.clone()];
            expected.sort();
            assert_eq!(damaged(&built), expected);
            exchange(&built.join(one), &built.join(other));
        }
    }
    assert_eq!(damaged(&built), [""; 0]);
}

/// What was loaded stays as it is; what was not is checked when it is.
#[test]
fn files_that_are_replaced_under_an_open_loader_are_not_used() {
    let numbers = [distinct(), distinct()];
    let built = Registry::new().answer("a", numbers[0]).answer("b", numbers[1]).build();
    let loader = Loader::open(&built).unwrap();
    let call = |name: &str| loader.call_blocking(&format!("app:{name}"), &[]);
    assert_eq!(call("a").unwrap(), Some(Val::U32(numbers[0])));
    let paths = ["a", "b"].map(|name| built.join(&built.artifact(name).path()));
    let good = paths.clone().map(|path| fs::read(path).unwrap());
    // Each other's: both are good code.
    replace(&paths[0], &good[1]);
    replace(&paths[1], &good[0]);
    fs::remove_file(built.join(MANIFEST_FILE)).unwrap();
    assert_eq!(call("a").unwrap(), Some(Val::U32(numbers[0])));
    assert!(call("b").unwrap_err().message().contains("the manifest says blake3:"));
    // A failure is not kept.
    replace(&paths[1], &good[1]);
    assert_eq!(call("b").unwrap(), Some(Val::U32(numbers[1])));
}

#[test]
fn sizes_that_no_file_has_are_refused_before_anything_is_reserved() {
    let built = Registry::new().answer("answer", distinct()).build();
    let good = built.manifest();
    let size = built.artifact("answer").size;
    for wrong in [0, 1, size - 1, size + 1, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        built.replace_manifest(&good);
        built.edit_body(|body| body["artifacts"][0]["size"] = json!(wrong));
        let loader = Loader::open(&built).unwrap();
        let error = loader.call_blocking("app:answer", &[]).unwrap_err();
        let expected = format!("the manifest says {wrong} bytes, the file has {size}");
        assert!(error.message().ends_with(&expected), "{error}");
    }
    for wrong in [json!(-1), json!(1e30), json!("1"), json!(null)] {
        built.replace_manifest(&good);
        built.edit_body(|body| body["artifacts"][0]["size"] = wrong);
        let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
        assert!(error.message().contains("malformed: "), "{error}");
    }
}

/// Nesting that would overflow the stack of a reader that follows it.
#[test]
fn a_record_that_is_nested_too_deep_is_malformed() {
    let built = crate::small();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = serde_json::to_string(&built.body()).unwrap();
    let record = text.find("\"id\":\"app:answer\"").unwrap();
    let nested = format!("{}\"data\":{deep},{}", &text[..record], &text[record..]);
    built.replace_body(&nested);
    let loader = Loader::open(&built).unwrap();
    let error = loader.call_blocking("app:answer", &[]).unwrap_err();
    assert!(error.message().contains("malformed: recursion limit exceeded"), "{error}");
}

/// The same with the digests of what it was changed to: only a signature can tell.
#[test]
fn components_that_are_exchanged_in_the_manifest_are_another_bundle() {
    let numbers = [distinct(), distinct()];
    let built = Registry::new().answer("a", numbers[0]).answer("b", numbers[1]).build();
    let good = support::text(&built.manifest());
    let component = |name: &str| built.artifact(name).component.to_string();
    let exchanged = good
        .replace(&component("a"), "A")
        .replace(&component("b"), &component("a"))
        .replace('A', &component("b"));
    built.replace_manifest(exchanged.as_bytes());
    assert!(crate::refusal(&built).starts_with("the manifest was changed: "));
    built.replace_manifest(good.as_bytes());
    built.edit_body(|body| {
        let entries: Vec<Value> = ["b", "a"].map(|name| json!(component(name))).into();
        for (index, component) in entries.into_iter().enumerate() {
            body["entries"][index]["wasm"]["component"] = component;
        }
    });
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.call_blocking("app:a", &[]).unwrap(), Some(Val::U32(numbers[1])));
    assert_ne!(loader.bundle().manifest().digest(), format!("blake3:{}", Digest::of(good.as_bytes())));
}
