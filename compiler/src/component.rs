//! What a component is: valid for one of the engine's profiles, with these imports and exports.
//!
//! Validation uses the very set of proposals that code generation has, so that nothing passes here
//! that the engine refuses. Imports and exports are read from the component's own types.

use std::collections::{BTreeMap, BTreeSet};

use registry_schema::Digest;
use registry_schema::Profile;
use registry_schema::engine::wasm_features;
use registry_schema::manifest::{
    AdapterRecord, Component, ExportPath, ExportRecord, ImportRecord, ProducerRecord,
};
use serde::{Deserialize, Serialize};
use wasmparser::{KnownCustom, Parser, Payload, Validator, WasmFeatures};
use wit_parser::decoding::DecodedWasm;
use wit_parser::{Resolve, WorldId, WorldItem};

use crate::diagnostic::Code;
use crate::fault::Fault;
use crate::host_types::mismatches;
use crate::minimum::Minimum;
use crate::needs::{Counted, needs};
use crate::signature::signature;

/// Everything that is known of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// What the manifest says.
    pub record: Component,
    /// What an instance has at least.
    pub minimum: Minimum,
    /// Core modules that it embeds.
    pub core_modules: u32,
    /// Whether its source was a core module.
    pub from_core: bool,
    /// Imported interfaces whose types are not the host's, with what differs first.
    pub host_types: BTreeMap<String, String>,
}

/// Where a component came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// Digest of the source's bytes.
    pub(crate) source: Option<Digest>,
    /// Adapters that were linked in.
    pub(crate) adapters: Vec<AdapterRecord>,
    /// Whether the source was a core module.
    pub(crate) from_core: bool,
    /// The field that the source stands in.
    pub(crate) field: &'static str,
}

/// Validates and inspects the component in `bytes`.
///
/// # Errors
/// When it is not valid with the proposals that the engine has, or when it is no component that can
/// be called.
pub(crate) fn inspect(bytes: &[u8], origin: Origin) -> Result<Inspected, Fault> {
    let field = origin.field;
    let valid_for = validate(bytes, field)?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Fault::new(Code::WasmInvalid, field, format!("the component can't be read: {error}"))
    };
    let decoded = wit_component::decode(bytes).map_err(|error| unreadable(&format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(Fault::new(
            Code::WasmInvalid,
            field,
            "found an encoded WIT package, expected a component",
        )
        .help("build the component itself; a WIT package holds types and no code"));
    };
    let Counted { needs, minimum, core_modules } = needs(bytes).map_err(|error| unreadable(&error))?;
    let imports = imports(&resolve, world);
    let exports = exports(&resolve, world);
    let names_preview3 = imports.iter().map(|import| import.name.as_str()).any(is_preview3)
        || exports.iter().filter_map(|export| export.path.interface.as_deref()).any(is_preview3);
    let profile = if names_preview3 { Profile::Async } else { valid_for };
    let record = Component {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        sources: origin.source.into_iter().collect(),
        adapters: origin.adapters,
        producers: producers(bytes),
        profile,
        imports,
        exports,
        needs,
    };
    let host_types = mismatches(&resolve, world, profile);
    Ok(Inspected { record, minimum, core_modules, from_core: origin.from_core, host_types })
}

/// The first profile that the component is valid for.
fn validate(bytes: &[u8], field: &str) -> Result<Profile, Fault> {
    let with = |features| Validator::new_with_features(features).validate_all(bytes);
    if with(wasm_features(Profile::Sync)).is_ok() {
        return Ok(Profile::Sync);
    }
    let Err(error) = with(wasm_features(Profile::Async)) else {
        return Ok(Profile::Async);
    };
    let message = format!("{} (at offset {:#x})", error.message().trim(), error.offset());
    Err(match with(WasmFeatures::all()) {
        Ok(_) => Fault::new(
            Code::WasmInvalid,
            field,
            format!("a WebAssembly proposal is used that is not offered: {message}"),
        )
        .help(
            "build without threads, garbage collection, exceptions and other proposals beyond \
             WebAssembly 2.0, tail calls, memory64, multi-memory, SIMD and relaxed SIMD",
        ),
        Err(_) => Fault::new(Code::WasmInvalid, field, format!("not valid WebAssembly: {message}")),
    })
}

/// What the `producers` sections say at any depth. They are not validated, and mean nothing to the engine:
/// one that can't be read says nothing.
fn producers(bytes: &[u8]) -> Vec<ProducerRecord> {
    let mut found = BTreeSet::new();
    for payload in Parser::new(0).parse_all(bytes).filter_map(Result::ok) {
        let Payload::CustomSection(section) = payload else { continue };
        let KnownCustom::Producers(fields) = section.as_known() else { continue };
        for field in fields.into_iter().filter_map(Result::ok) {
            for value in field.values.into_iter().filter_map(Result::ok) {
                found.insert(ProducerRecord {
                    field: field.name.to_owned(),
                    name: value.name.to_owned(),
                    version: value.version.to_owned(),
                });
            }
        }
    }
    found.into_iter().collect()
}

/// Whether an interface belongs to WASI 0.3.
fn is_preview3(name: &str) -> bool {
    name.starts_with("wasi:") && name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.3."))
}

/// Imported interfaces with their functions, and functions of the world, sorted.
fn imports(resolve: &Resolve, world: WorldId) -> Vec<ImportRecord> {
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let functions = match item {
            WorldItem::Interface { id, .. } => {
                let mut functions: Vec<String> = resolve.interfaces[*id].functions.keys().cloned().collect();
                functions.sort();
                functions
            }
            WorldItem::Function(_) => Vec::new(),
            WorldItem::Type { .. } => continue,
        };
        imports.push(ImportRecord { name: resolve.name_world_key(key), functions });
    }
    imports.sort();
    imports
}

/// Exported functions of the world and of its interfaces, in order.
fn exports(resolve: &Resolve, world: WorldId) -> Vec<ExportRecord> {
    let mut exports = Vec::new();
    for (key, item) in &resolve.worlds[world].exports {
        match item {
            WorldItem::Function(function) => exports.push(ExportRecord {
                path: ExportPath { interface: None, function: function.name.clone() },
                signature: signature(resolve, function),
            }),
            WorldItem::Interface { id, .. } => {
                let interface = resolve.name_world_key(key);
                exports.extend(resolve.interfaces[*id].functions.values().map(|function| ExportRecord {
                    path: ExportPath { interface: Some(interface.clone()), function: function.name.clone() },
                    signature: signature(resolve, function),
                }));
            }
            WorldItem::Type { .. } => {}
        }
    }
    exports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(text: &str) -> Result<Inspected, Fault> {
        let origin = Origin { field: "source", ..Origin::default() };
        inspect(&wat::parse_str(text).unwrap(), origin)
    }

    #[test]
    fn imports_and_exports_are_recorded() {
        let inspected = inspected(
            r#"(component
                (import "wasi:clocks/wall-clock@0.2.3" (instance
                    (type $t (record (field "seconds" u64)))
                    (export "datetime" (type $d (eq $t)))
                    (export "now" (func (result $d)))))
                (import "log" (func (param "s" string)))
                (core module $m (func (export "f") (result i32) i32.const 1))
                (core instance $i (instantiate $m))
                (func $f (result s32) (canon lift (core func $i "f")))
                (export "f" (func $f))
                (instance $x (export "g" (func $f)))
                (export "a:b/c@1.0.0" (instance $x)))"#,
        )
        .unwrap();
        let record = &inspected.record;
        assert_eq!(record.profile, Profile::Sync);
        assert_eq!(record.imports[0], ImportRecord { name: "log".into(), functions: vec![] });
        assert_eq!(record.imports[1].name, "wasi:clocks/wall-clock@0.2.3");
        assert_eq!(record.imports[1].functions, ["now"]);
        let paths: Vec<String> = record.exports.iter().map(|export| export.path.to_string()).collect();
        assert_eq!(paths, ["f", "a:b/c@1.0.0#g"]);
        assert_eq!(record.exports[0].signature.as_ref().unwrap().to_string(), "func() -> s32");
        assert_eq!((record.needs.core_instances, inspected.core_modules), (1, 1));
    }

    #[test]
    fn profiles_follow_what_is_used() {
        let preview3 = r#"(component (import "wasi:clocks/monotonic-clock@0.3.0" (instance
            (export "now" (func (result u64))))))"#;
        assert_eq!(inspected(preview3).unwrap().record.profile, Profile::Async);
        let lifted = r#"(component
            (core module $m (func (export "f") (result i32) i32.const 0)
                (func (export "cb") (param i32 i32 i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func (export "f") async (canon lift (core func $i "f") async (callback (core func $i "cb")))))"#;
        let inspected = inspected(lifted).unwrap();
        assert_eq!(inspected.record.profile, Profile::Async);
        assert!(inspected.record.exports[0].signature.as_ref().unwrap().is_async);
    }

    #[test]
    fn producers_are_found_at_any_depth() {
        let inspected = inspected(
            r#"(component
                (@producers (language "Rust" "2024"))
                (core module (@producers (processed-by "rustc" "1.95.0") (sdk "a" "1")))
                (core module (@producers (processed-by "rustc" "1.95.0"))))"#,
        );
        let producers = inspected.unwrap().record.producers;
        let texts: Vec<String> =
            producers.iter().map(|p| format!("{} {} {}", p.field, p.name, p.version)).collect();
        assert_eq!(texts, ["language Rust 2024", "processed-by rustc 1.95.0", "sdk a 1"]);
    }

    #[test]
    fn other_proposals_are_named() {
        let fault = inspected(r#"(component (core module (memory 1 1 shared)))"#).unwrap_err();
        assert_eq!(fault.code, Code::WasmInvalid);
        assert!(fault.message.starts_with("a WebAssembly proposal is used"));
        assert!(fault.message.contains("threads"), "{}", fault.message);
    }
}
