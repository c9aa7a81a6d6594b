//! What two bundles differ in: entries, code, signatures, imports and grants gained and lost, sizes, and what
//! a deployment must provide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use registry_schema::Target;
use registry_schema::manifest::{Entry, LuaImport};
use serde::Serialize;
use serde_json::Value;

use super::requirements::requirements;
use super::{Contents, size};

/// Members of a set that only one side has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Sets {
    /// Only the new bundle has these.
    pub gained: BTreeSet<String>,
    /// Only the old bundle has these.
    pub lost: BTreeSet<String>,
}

impl Sets {
    fn between(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Self {
        Self { gained: new.difference(old).cloned().collect(), lost: old.difference(new).cloned().collect() }
    }

    /// Whether the two sides have the same.
    pub fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty()
    }

    fn signed(&self) -> Vec<String> {
        let gained = self.gained.iter().map(|name| format!("+{name}"));
        gained.chain(self.lost.iter().map(|name| format!("-{name}"))).collect()
    }
}

/// A value on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// In the old bundle.
    pub old: T,
    /// In the new bundle.
    pub new: T,
}

/// What an entry that both bundles have differs in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EntryChange {
    /// Names of what differs, of `kind availability code signature settings metadata`.
    pub changed: Vec<&'static str>,
    /// Host groups that are granted; for Lua modules.
    pub grants: Sets,
    /// What the component imports; for Lua other entries, by alias.
    pub imports: Sets,
    /// Its signature, if that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Pair<String>>,
    /// Bytes of its artifact, or of its Lua source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Pair<u64>>,
}

/// What two bundles differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Digests of the manifests.
    pub digest: Pair<String>,
    /// Versions of the compiler crate.
    pub compiler: Pair<String>,
    /// Targets.
    pub targets: Sets,
    /// Entries that only the new bundle has, with what they are granted.
    pub added: BTreeMap<String, EntryChange>,
    /// Entries that only the old bundle has.
    pub removed: BTreeMap<String, EntryChange>,
    /// Entries that differ.
    pub changed: BTreeMap<String, EntryChange>,
    /// What a deployment must provide.
    pub requirements: Sets,
    /// Bytes of the artifacts by target.
    pub bytes: BTreeMap<Target, Pair<u64>>,
}

/// Compares two bundles.
pub fn compare(old: &Contents, new: &Contents) -> Difference {
    let entries = |contents: &Contents| -> BTreeMap<String, Entry> {
        contents.body.entries.iter().map(|entry| (entry.id.to_string(), entry.clone())).collect()
    };
    let (before, after) = (entries(old), entries(new));
    let (mut added, mut removed, mut changed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for id in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let sides = (before.get(id), after.get(id));
        let change = entry_change(sides.0.map(|entry| (old, entry)), sides.1.map(|entry| (new, entry)));
        match sides {
            (None, _) => added.insert(id.clone(), change),
            (_, None) => removed.insert(id.clone(), change),
            (Some(before), Some(after)) if before == after => None,
            (Some(_), Some(_)) => changed.insert(id.clone(), change),
        };
    }
    let names = |contents: &Contents| -> BTreeSet<String> {
        contents.body.head.targets.iter().map(ToString::to_string).collect()
    };
    let needed = |contents: &Contents| -> BTreeSet<String> {
        requirements(&contents.body).into_keys().map(|it| one_space(&it.to_string())).collect()
    };
    let targets: BTreeSet<Target> =
        [old, new].into_iter().flat_map(|contents| contents.body.head.targets.iter().copied()).collect();
    let bytes = targets
        .into_iter()
        .map(|target| (target, Pair { old: old.target_bytes(target), new: new.target_bytes(target) }));
    Difference {
        digest: Pair { old: old.digest.clone(), new: new.digest.clone() },
        compiler: Pair { old: old.body.head.compiler.clone(), new: new.body.head.compiler.clone() },
        targets: Sets::between(&names(old), &names(new)),
        added,
        removed,
        changed,
        requirements: Sets::between(&needed(old), &needed(new)),
        bytes: bytes.collect(),
    }
}

type Side<'a> = Option<(&'a Contents, &'a Entry)>;

fn entry_change(old: Side<'_>, new: Side<'_>) -> EntryChange {
    let sets = |of: fn(&Contents, &Entry) -> BTreeSet<String>| {
        let side = |side: Side<'_>| side.map(|(contents, entry)| of(contents, entry)).unwrap_or_default();
        Sets::between(&side(old), &side(new))
    };
    let mut change = EntryChange { grants: sets(grants), imports: sets(imports), ..EntryChange::default() };
    let bytes = |side: Side<'_>| side.map_or(0, |(contents, entry)| entry_bytes(contents, entry));
    let pair = Pair { old: bytes(old), new: bytes(new) };
    change.bytes = (pair.old != pair.new).then_some(pair);
    let (Some((_, old)), Some((_, new))) = (old, new) else { return change };
    let signature = |entry: &Entry| {
        let wasm = entry.wasm.as_ref();
        wasm.and_then(|wasm| wasm.signature.as_ref()).map(ToString::to_string).unwrap_or_default()
    };
    let pair = Pair { old: signature(old), new: signature(new) };
    change.signature = (pair.old != pair.new).then_some(pair);
    let differs = [
        ("kind", old.kind != new.kind),
        ("availability", old.unavailable != new.unavailable),
        ("code", code(old) != code(new)),
        ("signature", change.signature.is_some()),
        ("settings", settings(old) != settings(new)),
        ("metadata", old.meta != new.meta),
    ];
    change.changed = differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    change
}

fn grants(_: &Contents, entry: &Entry) -> BTreeSet<String> {
    let groups = entry.wasm.iter().flat_map(|wasm| &wasm.grants).map(|group| group.token().to_owned());
    let modules = entry.lua.iter().flat_map(|lua| &lua.modules).cloned();
    groups.chain(modules).collect()
}

fn imports(contents: &Contents, entry: &Entry) -> BTreeSet<String> {
    let component = entry.wasm.as_ref().and_then(|wasm| contents.component(wasm));
    let imported = component.into_iter().flat_map(|component| &component.imports).map(|it| it.name.clone());
    let required = entry.lua.iter().flat_map(|lua| &lua.imports).map(|(alias, import)| match import {
        LuaImport::Entry(id) => format!("{alias}={id}"),
        LuaImport::Module(module) => format!("{alias}=:{module}"),
    });
    imported.chain(required).collect()
}

fn entry_bytes(contents: &Contents, entry: &Entry) -> u64 {
    let source = entry.lua.as_ref().and_then(|lua| super::source_bytes(&contents.body, lua));
    entry.wasm.as_ref().map(|wasm| contents.artifact_bytes(wasm)).or(source).unwrap_or(0)
}

/// What runs: the component and its export, or the Lua source and its method.
fn code(entry: &Entry) -> Value {
    let wasm = entry.wasm.as_ref().map(|wasm| (wasm.component, &wasm.export, wasm.profile));
    let lua = entry.lua.as_ref().map(|lua| (lua.source, &lua.method));
    serde_json::json!([wasm, lua])
}

/// Everything else that decides what the entry does.
fn settings(entry: &Entry) -> Value {
    let mut fields = serde_json::to_value(entry).unwrap_or_default();
    for name in ["kind", "meta", "unavailable"] {
        fields.as_object_mut().map(|fields| fields.remove(name));
    }
    for name in
        ["component", "export", "profile", "signature", "grants", "source", "method", "modules", "imports"]
    {
        for part in ["wasm", "lua"] {
            fields[part].as_object_mut().map(|fields| fields.remove(name));
        }
    }
    fields
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Difference {
    /// Whether the two bundles are the same.
    pub fn is_empty(&self) -> bool {
        self.digest.old == self.digest.new
    }

    /// A table that a person reads; empty for equal bundles.
    pub fn table(&self) -> String {
        let mut out = String::new();
        if self.is_empty() {
            return out;
        }
        // Writing to a string can't fail.
        let _ = writeln!(out, "old  {}  compiler {}", self.digest.old, self.compiler.old);
        let _ = writeln!(out, "new  {}  compiler {}", self.digest.new, self.compiler.new);
        for (sign, entries) in [("+", &self.added), ("-", &self.removed), ("~", &self.changed)] {
            for (id, change) in entries {
                let _ = writeln!(out, "{}", format!("{sign} {id}  {}", change.line()).trim_end());
            }
        }
        for (title, sets) in [("targets", &self.targets), ("a deployment provides", &self.requirements)] {
            if !sets.is_empty() {
                let _ = writeln!(out, "{title}:");
            }
            for line in sets.signed() {
                let (sign, rest) = line.split_at(1);
                let _ = writeln!(out, "  {sign} {rest}");
            }
        }
        for (target, Pair { old, new }) in self.bytes.iter().filter(|(_, pair)| pair.old != pair.new) {
            let _ = writeln!(out, "size of {target}: {} → {}", size(*old), size(*new));
        }
        out
    }

    /// The same for a program.
    ///
    /// # Errors
    /// Never; the error is serde's.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl EntryChange {
    fn line(&self) -> String {
        let mut parts = Vec::new();
        if !self.changed.is_empty() {
            parts.push(self.changed.join(", "));
        }
        if let Some(Pair { old, new }) = &self.signature {
            parts.push(format!("`{old}` → `{new}`"));
        }
        for (title, sets) in [("granted", &self.grants), ("imports", &self.imports)] {
            if !sets.is_empty() {
                parts.push(format!("{title} {}", sets.signed().join(" ")));
            }
        }
        if let Some(Pair { old, new }) = self.bytes {
            parts.push(format!("{} → {}", size(old), size(new)));
        }
        parts.join("; ")
    }
}
