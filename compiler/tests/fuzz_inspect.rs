//! Bundles whose manifests were changed at random, with digests that fit: `inspect` shows them or says why not,
//! and a build replaces them. `scripts/fuzz` runs this at length.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "../../loader/tests/support/mutation.rs"]
mod mutation;

use std::fs;
use std::path::Path;
use std::process::Command;

use compiler::inspect::diff::compare;
use compiler::inspect::{self, Contents, sbom};
use loader::Bundle;
use mutation::mutated;
use registry_schema::Digest;
use registry_schema::manifest::MANIFEST_FILE;
use registry_schema::version::MANIFEST_FORMAT;

const INDEX: &str = r#"
namespace: app
entries:
  - name: answer
    kind: function.wat
    method: answer
    wit: "answer: func() -> u32"
    source: '(module (@producers (language "a" "1")) (func (export "answer") (result i32) i32.const 42))'
    network: {allow: ["a:1", "${env:HOST|b}:2"]}
    wasi: {env: [{id: token, name: TOKEN, required: true}], mounts: [{fs: files, guest: /data}]}
  - {name: files, kind: fs.directory, directory: ./data, auto_init: true}
  - {name: os, kind: env.storage.os}
  - {name: both, kind: env.storage.router, storages: [os, both]}
  - {name: token, kind: env.variable, variable: TOKEN, storage: both}
  - {name: text, kind: function.lua, source: 'return {main = print}', method: main, modules: [fs]}
  - {name: server, kind: http.service, addr: ":${env:TOKEN}"}
"#;

fn build(root: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
    let output = command.current_dir(root).args(["--no-cache", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn contents(bundle: &Path) -> Result<Contents, String> {
    Contents::read(&Bundle::read(bundle).map_err(|error| error.to_string())?)
}

#[test]
fn changed_bundles_are_shown_compared_and_built_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("_index.yaml"), INDEX).unwrap();
    build(folder.path());
    let dist = folder.path().join("dist");
    let manifest = dist.join(MANIFEST_FILE);
    let good = fs::read(&manifest).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let body = text.split_once("\"body\":").unwrap().1.trim_end().strip_suffix('}').unwrap();
    let original = contents(&dist).unwrap();
    mutation::run("inspect", |random| {
        let changed = mutated(body.as_bytes(), random);
        let changed = String::from_utf8_lossy(&changed);
        let digest = Digest::of(changed.as_bytes());
        let written = format!(
            "{{\"format\":{MANIFEST_FORMAT},\"digest\":\"blake3:{digest}\",\"signature\":null,\"body\":{changed}}}\n"
        );
        fs::remove_file(&manifest).unwrap();
        fs::write(&manifest, written).unwrap();
        if let Ok(changed) = contents(&dist) {
            inspect::table(&changed);
            inspect::json(&changed).unwrap();
            sbom::document(&changed).unwrap();
            let difference = compare(&original, &changed);
            difference.table();
            difference.json().unwrap();
        }
        // A build takes as long as many cases.
        if random.below(200) == 0 {
            build(folder.path());
            assert_eq!(fs::read(&manifest).unwrap(), good);
        }
    });
}
