//! What a deployment must provide for a bundle: folders, files, variables, ports and hosts.
//!
//! Read from the manifest alone, placeholders unresolved. A folder that only the build reads (one that
//! neither a mount nor a Lua entry with the module `fs` can reach) is left out. What a program asks for at
//! run time is not known here: it is said where any host may be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use registry_schema::grants::Group;
use registry_schema::manifest::{Body, Entry, WasmEntry};
use registry_schema::{EntryId, EntryRef};
use serde::Serialize;
use serde_json::Value;

/// Deepest nesting of routers that is followed to a storage.
const DEPTH_MAX: usize = 16;

/// Something that a deployment must provide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Requirement {
    /// A folder of the machine.
    Folder {
        /// Relative to the project's root, placeholders unresolved.
        path: String,
        /// The `fs.directory` entry.
        entry: String,
        /// Whether it is only read.
        read_only: bool,
        /// Whether the loader creates it.
        created: bool,
    },
    /// A file of variables.
    File {
        /// As the entry names it.
        path: String,
        /// The `env.storage.file` entry.
        entry: String,
    },
    /// A variable of the process's environment, or of a file of variables.
    Variable {
        /// Its name.
        name: String,
        /// Whether something fails without it.
        required: bool,
    },
    /// An address that is listened on.
    Port {
        /// As the entry or section names it.
        address: String,
        /// The entry, or the section of `.wippy.yaml`.
        entry: String,
    },
    /// A host that is connected to.
    Host {
        /// `host:port` pattern; `any` where only policies limit it.
        address: String,
    },
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, entry, read_only, created } => {
                let access = if *read_only { "read" } else { "read and write" };
                let created = if *created { ", created when missing" } else { "" };
                write!(f, "folder    {path} ({entry}: {access}{created})")
            }
            Self::File { path, entry } => write!(f, "file      {path} ({entry})"),
            Self::Variable { name, required } => {
                write!(f, "variable  {name}{}", if *required { " (required)" } else { "" })
            }
            Self::Port { address, entry } => write!(f, "port      {address} ({entry})"),
            Self::Host { address } if address == ANY => f.write_str("host      any that policies allow"),
            Self::Host { address } => write!(f, "host      {address}"),
        }
    }
}

const ANY: &str = "any";

/// Requirements, and the entries (or sections of `.wippy.yaml`) that have each.
pub type Requirements = BTreeMap<Requirement, BTreeSet<String>>;

/// What a deployment of `body` must provide.
pub fn requirements(body: &Body) -> Requirements {
    let entries = body.entries.iter().map(|entry| (&entry.id, entry)).collect();
    let mut finder = Finder { entries, found: Requirements::new() };
    finder.folders();
    for entry in &body.entries {
        finder.entry(entry);
    }
    finder.settings(&body.head.config);
    finder.found
}

struct Finder<'a> {
    entries: BTreeMap<&'a EntryId, &'a Entry>,
    found: Requirements,
}

impl Finder<'_> {
    fn add(&mut self, requirement: Requirement, by: &impl ToString) {
        self.found.entry(requirement).or_default().insert(by.to_string());
    }

    /// Folders that are mounted, and all if Lua may open any.
    fn folders(&mut self) {
        let mut users: BTreeMap<EntryId, (bool, BTreeSet<String>)> = BTreeMap::new();
        for entry in self.entries.values() {
            for mount in entry.wasm.iter().flat_map(|wasm| &wasm.wasi).flat_map(|wasi| &wasi.mounts) {
                let read_only = mount.read_only.as_ref().and_then(|it| it.value()).is_some_and(|it| *it);
                let user =
                    users.entry(mount.fs.resolve(entry.id.namespace())).or_insert((true, BTreeSet::new()));
                user.0 &= read_only;
                user.1.insert(entry.id.to_string());
            }
        }
        let by_lua: BTreeSet<String> = self
            .entries
            .values()
            .filter(|entry| entry.lua.as_ref().is_some_and(|lua| lua.modules.iter().any(|name| name == "fs")))
            .map(|entry| entry.id.to_string())
            .collect();
        let folders: Vec<&Entry> =
            self.entries.values().copied().filter(|entry| entry.kind == "fs.directory").collect();
        for folder in folders {
            let (mut read_only, mut used_by) = users.remove(&folder.id).unwrap_or((true, BTreeSet::new()));
            if !by_lua.is_empty() {
                read_only = false;
                used_by.extend(by_lua.iter().cloned());
            }
            if used_by.is_empty() {
                continue;
            }
            let requirement = Requirement::Folder {
                path: folder_path(folder),
                entry: folder.id.to_string(),
                read_only,
                created: folder.data["auto_init"] == Value::Bool(true),
            };
            self.found.entry(requirement).or_default().extend(used_by);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        match entry.kind.as_str() {
            "env.storage.file" => {
                let (path, id) = (text(&entry.data["file_path"]), entry.id.to_string());
                self.add(Requirement::File { path, entry: id }, &entry.id);
            }
            "env.variable" => self.variable(&entry.id, false, &entry.id),
            "http.service" => {
                let (address, id) = (text(&entry.data["addr"]), entry.id.to_string());
                self.add(Requirement::Port { address, entry: id }, &entry.id);
            }
            _ => {}
        }
        if let Some(wasm) = &entry.wasm {
            self.wasm(&entry.id, wasm);
        }
        if entry.lua.as_ref().is_some_and(|lua| lua.modules.iter().any(|name| name == "http_client")) {
            self.add(Requirement::Host { address: ANY.to_owned() }, &entry.id);
        }
        self.placeholders(&entry.data, &entry.id, &entry.id);
    }

    fn wasm(&mut self, id: &EntryId, wasm: &WasmEntry) {
        for mapping in wasm.wasi.iter().flat_map(|wasi| &wasi.env) {
            let required = mapping.required.as_ref().and_then(|it| it.value()).is_some_and(|it| *it);
            self.variable(&mapping.id.resolve(id.namespace()), required, id);
        }
        match &wasm.network {
            Some(network) => {
                for pattern in &network.allow {
                    let address = pattern.value().map(ToString::to_string);
                    let address =
                        address.or_else(|| pattern.template().map(str::to_owned)).unwrap_or_default();
                    self.add(Requirement::Host { address }, id);
                }
            }
            None if wasm.grants.iter().any(|group| matches!(group, Group::Http | Group::Sockets)) => {
                self.add(Requirement::Host { address: ANY.to_owned() }, id);
            }
            None => {}
        }
        // Whatever else of the entry may hold a placeholder.
        if let Ok(fields) = serde_json::to_value(wasm) {
            self.placeholders(&fields, id, id);
        }
    }

    /// Adds the variable that `id` stands for, if a deployment can set it.
    fn variable(&mut self, id: &EntryId, required: bool, by: &impl ToString) {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.kind == "env.variable").copied() else {
            return;
        };
        if !self.is_external(&entry.data["storage"], id, 0) {
            return;
        }
        let name = match &entry.data["variable"] {
            Value::String(name) => name.clone(),
            _ => id.name().to_owned(),
        };
        let required = required && entry.data["default"].is_null();
        // One line for each name: required if anybody requires it.
        let with = |required| Requirement::Variable { name: name.clone(), required };
        let mut users = self.found.remove(&with(!required)).unwrap_or_default();
        let was_required = !required && !users.is_empty();
        users.insert(by.to_string());
        self.found.entry(with(required || was_required)).or_default().extend(users);
    }

    /// Whether the storage that `reference` names holds values from outside of the bundle.
    fn is_external(&self, reference: &Value, own: &EntryId, depth: usize) -> bool {
        let Some(id) = resolve(reference, own).filter(|_| depth < DEPTH_MAX) else { return false };
        let Some(entry) = self.entries.get(&id) else { return false };
        match entry.kind.as_str() {
            "env.storage.os" | "env.storage.file" => true,
            "env.storage.router" => {
                let storages = entry.data["storages"].as_array().into_iter().flatten();
                storages.into_iter().any(|storage| self.is_external(storage, &id, depth + 1))
            }
            _ => false,
        }
    }

    /// Adds the variables that placeholders in `value` name.
    fn placeholders(&mut self, value: &Value, own: &EntryId, by: &impl ToString) {
        match value {
            Value::String(text) => {
                for (name, required) in placeholders(text) {
                    if let Some(id) = self.named(&name, own) {
                        self.variable(&id, required, by);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.placeholders(item, own, by)),
            Value::Object(fields) => fields.values().for_each(|field| self.placeholders(field, own, by)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The variable that `name` means to `own`: by public name, by id, or in the own namespace.
    fn named(&self, name: &str, own: &EntryId) -> Option<EntryId> {
        let public = |entry: &&&Entry| entry.kind == "env.variable" && entry.data["variable"] == *name;
        let found = self.entries.values().find(public).map(|entry| entry.id.clone());
        found.or_else(|| {
            let id = name.parse::<EntryRef>().ok()?.resolve(own.namespace());
            self.entries.contains_key(&id).then_some(id)
        })
    }

    /// Listeners and hosts of the sections of `.wippy.yaml`.
    fn settings(&mut self, config: &serde_json::Map<String, Value>) {
        let section =
            |name: &str| config.get(name).filter(|section| section["enabled"] != Value::Bool(false));
        if let Some(Value::String(address)) = section("prometheus").map(|section| &section["address"]) {
            let requirement = Requirement::Port { address: address.clone(), entry: "prometheus".to_owned() };
            self.add(requirement, &"prometheus");
        }
        if let Some(Value::String(endpoint)) = section("otel").map(|section| &section["endpoint"]) {
            self.add(Requirement::Host { address: endpoint.clone() }, &"otel");
        }
    }
}

fn resolve(reference: &Value, own: &EntryId) -> Option<EntryId> {
    let reference: EntryRef = serde_json::from_value(reference.clone()).ok()?;
    Some(reference.resolve(own.namespace()))
}

/// The folder of an `fs.directory`.
fn folder_path(entry: &Entry) -> String {
    let directory = text(&entry.data["directory"]);
    match &entry.module_folder {
        Some(folder) if entry.data["base"] == "module" && !directory.starts_with('/') => {
            format!("{folder}/{directory}")
        }
        _ => directory,
    }
}

/// A scalar as text.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Names in `${env:NAME}`, `${env:NAME|default}` and `${NAME|default}`, and whether each has no default.
fn placeholders(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let escaped = rest[..at].ends_with('$');
        rest = &rest[at + 2..];
        let Some(end) = rest.find('}').filter(|_| !escaped) else { continue };
        let (body, default) = match rest[..end].split_once('|') {
            Some((body, _)) => (body, true),
            None => (&rest[..end], false),
        };
        match (body.strip_prefix("env:"), default) {
            (Some(name), _) => found.push((name.to_owned(), !default)),
            (None, true) => found.push((body.to_owned(), false)),
            (None, false) => {}
        }
        rest = &rest[end + 1..];
    }
    found
}

#[cfg(test)]
mod tests;
