//! What a bundle holds, for a person or a program.

pub mod diff;
pub mod requirements;
pub mod sbom;

use std::fmt::Write;

use loader::Bundle;
use registry_schema::Target;
use registry_schema::manifest::{Body, Component, Entry, LuaEntry, LuaImport, WasmEntry, lua_path};
use serde_json::json;

use requirements::requirements;

/// Everything that a bundle says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// Digest of the manifest.
    pub digest: String,
    /// Its signature, which nobody has checked.
    pub signature: Option<String>,
    /// Its body.
    pub body: Body,
    /// What is known of the components.
    pub components: Vec<Component>,
}

impl Contents {
    /// Reads all records of `bundle`.
    ///
    /// # Errors
    /// When the manifest or the description of the components is damaged.
    pub fn read(bundle: &Bundle) -> Result<Self, String> {
        let manifest = bundle.manifest();
        Ok(Self {
            digest: manifest.digest().to_owned(),
            signature: manifest.signature().map(ToString::to_string),
            body: manifest.body().map_err(|error| error.to_string())?,
            components: bundle.components()?,
        })
    }

    fn component(&self, wasm: &WasmEntry) -> Option<&Component> {
        self.components.iter().find(|component| component.digest == wasm.component)
    }

    /// Bytes of the artifacts for `target`.
    fn target_bytes(&self, target: Target) -> u64 {
        self.body.artifacts.iter().filter(|artifact| artifact.target == target).map(|it| it.size).sum()
    }

    /// Bytes of an entry's artifact: of the largest, where there are several targets.
    fn artifact_bytes(&self, wasm: &WasmEntry) -> u64 {
        let artifacts = self.body.artifacts.iter().filter(|artifact| artifact.component == wasm.component);
        artifacts.map(|artifact| artifact.size).max().unwrap_or(0)
    }
}

/// A table that a person reads.
pub fn table(contents: &Contents) -> String {
    let Contents { digest, signature, body, .. } = contents;
    let mut out = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(out, "bundle     {digest}");
    let signed = if signature.is_some() { "yes; not checked here" } else { "no" };
    let _ = writeln!(out, "signed     {signed}");
    let _ = writeln!(out, "compiler   {}", body.head.compiler);
    for (profile, engine) in &body.head.engines {
        let _ = writeln!(out, "engine     {profile}: {}", engine.fingerprint);
    }
    for target in &body.head.targets {
        let count = body.artifacts.iter().filter(|artifact| artifact.target == *target).count();
        let _ =
            writeln!(out, "target     {target}: {count} artifacts, {}", size(contents.target_bytes(*target)));
    }
    if !body.head.files.is_empty() {
        let bytes = body.head.files.values().map(|file| file.size).sum();
        let _ = writeln!(out, "files      {}, {}", body.head.files.len(), size(bytes));
    }
    let rows: Vec<[String; 4]> = body.entries.iter().map(|entry| row(contents, entry)).collect();
    let header = ["ENTRY", "KIND", "SIZE", "CALL"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let (id, kind, bytes) = (width(0), width(1), width(2));
    out.push('\n');
    for row in [&header].into_iter().chain(&rows) {
        let line = format!("{:<id$}  {:<kind$}  {:>bytes$}  {}", row[0], row[1], row[2], row[3]);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let needed = requirements(body);
    if !needed.is_empty() {
        out.push_str("\nA DEPLOYMENT PROVIDES\n");
    }
    for (requirement, users) in needed {
        let users: Vec<String> = users.into_iter().collect();
        let _ = writeln!(out, "{requirement}  for {}", users.join(" "));
    }
    out
}

fn row(contents: &Contents, entry: &Entry) -> [String; 4] {
    let bytes = match (&entry.wasm, &entry.lua) {
        (Some(wasm), _) => size(contents.artifact_bytes(wasm)),
        (None, Some(lua)) => source_bytes(&contents.body, lua).map(size).unwrap_or_default(),
        (None, None) => String::new(),
    };
    let call = match (&entry.unavailable, &entry.wasm) {
        (Some(reason), _) => format!("unavailable: {reason}"),
        (None, Some(wasm)) => {
            let signature = wasm.signature.as_ref().map(ToString::to_string).unwrap_or_default();
            let mut text = format!("{} {signature}", wasm.export);
            let grants: Vec<&str> = wasm.grants.iter().map(|group| group.token()).collect();
            if !grants.is_empty() {
                let _ = write!(text, "  granted {}", grants.join(" "));
            }
            let denied = contents.component(wasm).map(|it| denied(it, wasm)).unwrap_or_default();
            if !denied.is_empty() {
                let _ = write!(text, "  denied {}", denied.join(" "));
            }
            text
        }
        (None, None) => entry.lua.as_ref().map(requires).unwrap_or_default(),
    };
    [entry.id.to_string(), entry.kind.clone(), bytes, call]
}

/// The method of a Lua entry, and what it may require.
fn requires(lua: &LuaEntry) -> String {
    let mut parts: Vec<String> = lua.method.iter().cloned().collect();
    if !lua.modules.is_empty() {
        parts.push(format!("modules {}", lua.modules.join(" ")));
    }
    if !lua.imports.is_empty() {
        let imports = lua.imports.iter().map(|(alias, import)| match import {
            LuaImport::Entry(id) => format!("{alias}={id}"),
            LuaImport::Module(module) => format!("{alias}=:{module}"),
        });
        parts.push(format!("imports {}", imports.collect::<Vec<_>>().join(" ")));
    }
    parts.join("  ")
}

fn source_bytes(body: &Body, lua: &LuaEntry) -> Option<u64> {
    body.head.files.get(&lua_path(lua.source)).map(|file| file.size)
}

/// Imported interfaces that the entry was not granted.
fn denied<'a>(component: &'a Component, wasm: &WasmEntry) -> Vec<&'a str> {
    use registry_schema::grants::Group;
    let imports = component.imports.iter().filter(|import| !import.functions.is_empty());
    imports
        .filter(|import| match Group::of_interface(&import.name) {
            Some(Group::Io) => false,
            Some(group) => !wasm.grants.contains(&group),
            None => true,
        })
        .map(|import| import.name.as_str())
        .collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The same for a program: the manifest's body, and for each entry what it uses of what it was granted.
///
/// # Errors
/// Never for what was read from a bundle; the error is serde's.
pub fn json(contents: &Contents) -> Result<String, serde_json::Error> {
    let Contents { digest, signature, body, components } = contents;
    let entries: Vec<_> = body
        .entries
        .iter()
        .map(|entry| {
            let wasm = entry.wasm.as_ref();
            let component = wasm.and_then(|wasm| Some((contents.component(wasm)?, wasm)));
            json!({
                "id": entry.id,
                "kind": entry.kind,
                "unavailable": entry.unavailable,
                "call": wasm.map(|wasm| wasm.export.to_string()),
                "signature": wasm.and_then(|wasm| wasm.signature.as_ref()).map(ToString::to_string),
                "artifact_bytes": wasm.map(|wasm| contents.artifact_bytes(wasm)),
                "lua": entry.lua,
                "source_bytes": entry.lua.as_ref().and_then(|lua| source_bytes(body, lua)),
                "granted": wasm.map(|wasm| &wasm.grants),
                "imports": component.map(|(component, _)| &component.imports),
                "denied": component.map(|(component, wasm)| denied(component, wasm)),
            })
        })
        .collect();
    let requirements: Vec<_> = requirements(body)
        .into_iter()
        .map(|(requirement, users)| json!({"requirement": requirement, "for": users}))
        .collect();
    let document = json!({
        "digest": digest,
        "signature": signature,
        "compiler": body.head.compiler,
        "engines": body.head.engines,
        "targets": body.head.targets,
        "artifacts": body.artifacts,
        "components": components,
        "files": body.head.files,
        "entries": entries,
        "requirements": requirements,
        "config": body.head.config,
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}
