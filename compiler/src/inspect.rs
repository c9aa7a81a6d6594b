//! What a bundle holds, for a person or a program.

use std::fmt::Write;

use loader::Bundle;
use registry_schema::manifest::{Body, Component, Entry, LuaEntry, LuaImport, WasmEntry, lua_path};
use serde_json::json;

/// A table that a person reads.
///
/// # Errors
/// When the manifest or the description of the components is damaged.
pub fn table(bundle: &Bundle) -> Result<String, String> {
    let body = &bundle.manifest().body().map_err(|error| error.to_string())?;
    let components = &bundle.components()?;
    let mut out = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(out, "bundle     {}", bundle.manifest().digest());
    let _ = writeln!(out, "compiler   {}", body.head.compiler);
    for (profile, engine) in &body.head.engines {
        let _ = writeln!(out, "engine     {profile}: {}", engine.fingerprint);
    }
    for target in &body.head.targets {
        let artifacts = body.artifacts.iter().filter(|artifact| artifact.target == *target);
        let (count, bytes) = artifacts.fold((0, 0), |(count, bytes), a| (count + 1, bytes + a.size));
        let _ = writeln!(out, "target     {target}: {count} artifacts, {}", size(bytes));
    }
    if !body.head.files.is_empty() {
        let bytes = body.head.files.values().map(|file| file.size).sum();
        let _ = writeln!(out, "files      {}, {}", body.head.files.len(), size(bytes));
    }
    let rows: Vec<[String; 4]> = body.entries.iter().map(|entry| row(body, components, entry)).collect();
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
    Ok(out)
}

fn row(body: &Body, components: &[Component], entry: &Entry) -> [String; 4] {
    let bytes = match (&entry.wasm, &entry.lua) {
        (Some(wasm), _) => size(artifact_bytes(body, wasm)),
        (None, Some(lua)) => source_bytes(body, lua).map(size).unwrap_or_default(),
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
            let denied = component(components, wasm).map(|c| denied(c, wasm)).unwrap_or_default();
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

fn component<'a>(components: &'a [Component], wasm: &WasmEntry) -> Option<&'a Component> {
    components.iter().find(|component| component.digest == wasm.component)
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

fn artifact_bytes(body: &Body, wasm: &WasmEntry) -> u64 {
    let artifacts = body.artifacts.iter().filter(|artifact| artifact.component == wasm.component);
    artifacts.map(|artifact| artifact.size).sum()
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
/// When the manifest or the description of the components is damaged.
pub fn json(bundle: &Bundle) -> Result<String, String> {
    let body = &bundle.manifest().body().map_err(|error| error.to_string())?;
    let components = &bundle.components()?;
    let entries: Vec<_> = body
        .entries
        .iter()
        .map(|entry| {
            let component = entry.wasm.as_ref().and_then(|wasm| Some((component(components, wasm)?, wasm)));
            json!({
                "id": entry.id,
                "kind": entry.kind,
                "unavailable": entry.unavailable,
                "call": entry.wasm.as_ref().map(|wasm| wasm.export.to_string()),
                "signature": entry.wasm.as_ref().and_then(|w| w.signature.as_ref()).map(ToString::to_string),
                "artifact_bytes": entry.wasm.as_ref().map(|wasm| artifact_bytes(body, wasm)),
                "lua": entry.lua,
                "source_bytes": entry.lua.as_ref().and_then(|lua| source_bytes(body, lua)),
                "granted": entry.wasm.as_ref().map(|wasm| &wasm.grants),
                "imports": component.map(|(component, _)| &component.imports),
                "denied": component.map(|(component, wasm)| denied(component, wasm)),
            })
        })
        .collect();
    let document = json!({
        "digest": bundle.manifest().digest(),
        "compiler": body.head.compiler,
        "engines": body.head.engines,
        "targets": body.head.targets,
        "artifacts": body.artifacts,
        "components": components,
        "files": body.head.files,
        "entries": entries,
        "config": body.head.config,
    });
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n").map_err(|error| error.to_string())
}
