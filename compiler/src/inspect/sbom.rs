//! A bundle's bill of materials: CycloneDX 1.6 in JSON (<https://cyclonedx.org/docs/1.6/json/>).
//!
//! It names the bundle, its artifacts, the components that these were compiled from, the sources and adapters
//! of each, what their `producers` sections say, Lua sources and embedded files, and the compiler. It says the
//! same for the same bundle: there is no time, and the serial number is the bundle's digest.

use std::collections::{BTreeMap, BTreeSet};

use registry_schema::Digest;
use registry_schema::manifest::{Component, ProducerRecord, lua_path};
use serde_json::{Value, json};

use super::Contents;

/// The document.
///
/// # Errors
/// Never for what was read from a bundle; the error is serde's.
pub fn document(contents: &Contents) -> Result<String, serde_json::Error> {
    let mut parts = Parts { entries: entries_by_digest(contents), ..Parts::default() };
    let mut of_bundle = BTreeSet::new();
    for component in &contents.components {
        parts.component(component);
    }
    for artifact in &contents.body.artifacts {
        let reference = format!("artifact:{}", artifact.digest);
        parts.add(
            &reference,
            "file",
            &artifact.path(),
            "",
            Some(artifact.digest),
            &[
                ("wippy:target", artifact.target.to_string()),
                ("wippy:profile", artifact.profile.to_string()),
                ("wippy:bytes", artifact.size.to_string()),
            ],
        );
        parts.depend(&reference, format!("component:{}", artifact.component));
        of_bundle.insert(reference);
    }
    for (path, file) in &contents.body.head.files {
        let reference = format!("file:{path}");
        let entries = parts.entries.get(&file.digest).filter(|_| *path == lua_path(file.digest));
        let entries: Vec<_> = entries.into_iter().flatten().map(|id| ("wippy:entry", id.clone())).collect();
        parts.add(&reference, "file", path, "", Some(file.digest), &entries);
        of_bundle.insert(reference);
    }
    parts.dependencies.insert("bundle".to_owned(), of_bundle);
    let dependencies: Vec<Value> =
        parts.dependencies.iter().map(|(reference, on)| json!({"ref": reference, "dependsOn": on})).collect();
    let digest = contents.digest.strip_prefix("blake3:").unwrap_or(&contents.digest);
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(digest)),
        "version": 1,
        "metadata": {
            "tools": {"components": [
                {"type": "application", "name": "compiler", "version": env!("CARGO_PKG_VERSION")},
                {
                    "type": "library",
                    "name": "wasmtime",
                    "version": contents.body.head.compiler,
                    "purl": format!("pkg:cargo/wasmtime@{}", contents.body.head.compiler),
                },
            ]},
            "component": {
                "type": "application",
                "bom-ref": "bundle",
                "name": "bundle",
                "version": contents.digest,
                "hashes": [{"alg": "BLAKE3", "content": digest}],
            },
        },
        "components": parts.components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

/// Ids of the entries that run a component or a Lua source, by its digest.
fn entries_by_digest(contents: &Contents) -> BTreeMap<Digest, Vec<String>> {
    let mut entries: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for entry in &contents.body.entries {
        let wasm = entry.wasm.as_ref().map(|wasm| wasm.component);
        if let Some(digest) = wasm.or(entry.lua.as_ref().map(|lua| lua.source)) {
            entries.entry(digest).or_default().push(entry.id.to_string());
        }
    }
    entries
}

/// A UUID of version 8, which is anybody's own, from the first half of a digest.
fn uuid(digest: &str) -> String {
    let mut digits: Vec<char> = digest.chars().take(32).collect();
    digits.resize(32, '0');
    digits[12] = '8';
    digits[16] = '8';
    let part = |range: std::ops::Range<usize>| digits[range].iter().collect::<String>();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// What the document lists, by reference.
#[derive(Default)]
struct Parts {
    components: BTreeMap<String, Value>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
    entries: BTreeMap<Digest, Vec<String>>,
}

impl Parts {
    /// Adds a component of the document; `version` is left out when it is empty.
    fn add(
        &mut self,
        reference: &str,
        kind: &str,
        name: &str,
        version: &str,
        digest: Option<Digest>,
        properties: &[(&str, String)],
    ) {
        let mut value = json!({"type": kind, "bom-ref": reference, "name": name});
        if !version.is_empty() {
            value["version"] = json!(version);
        }
        if let Some(digest) = digest {
            value["hashes"] = json!([{"alg": "BLAKE3", "content": digest}]);
        }
        if !properties.is_empty() {
            let pairs = properties.iter().map(|(name, value)| json!({"name": name, "value": value}));
            value["properties"] = pairs.collect();
        }
        self.components.insert(reference.to_owned(), value);
        self.dependencies.entry(reference.to_owned()).or_default();
    }

    fn depend(&mut self, reference: &str, on: String) {
        self.dependencies.entry(reference.to_owned()).or_default().insert(on);
    }

    /// A component with its sources, adapters and producers.
    fn component(&mut self, component: &Component) {
        let reference = format!("component:{}", component.digest);
        let entries = self.entries.get(&component.digest).cloned().unwrap_or_default();
        let name = entries.first().cloned().unwrap_or_else(|| component.digest.to_string());
        let mut properties: Vec<(&str, String)> = entries.into_iter().map(|id| ("wippy:entry", id)).collect();
        properties.push(("wippy:bytes", component.size.to_string()));
        properties.extend(component.imports.iter().map(|import| ("wippy:import", import.name.clone())));
        self.add(&reference, "library", &name, "", Some(component.digest), &properties);
        for source in &component.sources {
            let on = format!("source:{source}");
            self.add(&on, "file", &format!("source of {name}"), "", Some(*source), &[]);
            self.depend(&reference, on);
        }
        for adapter in &component.adapters {
            let on = format!("adapter:{}", adapter.digest);
            self.add(&on, "library", &adapter.name, &adapter.version, Some(adapter.digest), &[]);
            self.depend(&reference, on);
        }
        for producer in &component.producers {
            let on = self.producer(producer);
            self.depend(&reference, on);
        }
    }

    /// Languages and libraries are in the code; tools have only made it.
    fn producer(&mut self, producer: &ProducerRecord) -> String {
        let ProducerRecord { field, name, version } = producer;
        let reference = format!("producer:{field}/{name}@{version}");
        let kind = if field == "processed-by" { "application" } else { "library" };
        self.add(&reference, kind, name, version, None, &[("wippy:producer", field.clone())]);
        if let Some(value) = self.components.get_mut(&reference).filter(|_| field == "processed-by") {
            value["scope"] = json!("excluded");
        }
        reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_uuids_of_the_digest() {
        let digest = Digest::of(b"x").to_string();
        let uuid = uuid(&digest);
        assert_eq!(uuid.len(), 36);
        assert_eq!((&uuid[..8], &uuid[14..15], &uuid[19..20]), (&digest[..8], "8", "8"));
    }
}
