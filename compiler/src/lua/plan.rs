//! From Lua entries to what the manifest says of them: sources are read and their types erased, and what
//! they require is resolved.
//!
//! Every distinct source is read once. An entry that requires what is not offered, or imports such an
//! entry, is kept with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;
use registry_schema::authored::Definition;
use registry_schema::authored::lua::LuaPool;
use registry_schema::document::{Node, Value};
use registry_schema::manifest::{LuaEntry, LuaImport, lua_path};
use registry_schema::{Digest, EntryId, EntryRef};

use super::chunk::Chunk;
use super::imports::{self, Graph};
use super::lint::Linter;
use super::mistake::Mistake;
use super::parser::parse;
use crate::diagnostic::{Code, Diagnostics, Severity};
use crate::embed::Carried;
use crate::fault::{Fault, listed};
use crate::plan::Planned;
use crate::registry::{Entry, Registry};
use registry_schema::suggest::did_you_mean;

/// Stack of a thread that reads sources: three times what the deepest nesting takes without optimisation.
pub(super) const STACK_BYTES: usize = 8 << 20;

/// Why an entry whose source uses a type as a value, of which no validator can be made, can't run.
const VALIDATES: &str = "its source uses a type as a value that can't be built";

/// The Lua entries of a registry.
#[derive(Debug, Default)]
pub(crate) struct LuaPlan {
    /// Those without faults, by id.
    pub(crate) entries: BTreeMap<EntryId, PlannedLua>,
    /// Their sources, sorted by path.
    pub(crate) files: Vec<Carried>,
}

/// A Lua entry without faults.
#[derive(Debug)]
pub(crate) struct PlannedLua {
    /// What the manifest says of it.
    pub(crate) lua: LuaEntry,
    /// Its other fields.
    pub(crate) data: serde_json::Value,
    /// Why it can't run, if so.
    pub(crate) unavailable: Option<String>,
    /// What its source says.
    pub(crate) chunk: Arc<Chunk>,
}

/// The fields that the three kinds share.
#[derive(Debug, Clone, Copy)]
struct Fields<'r> {
    source: &'r str,
    method: Option<&'r String>,
    modules: &'r [String],
    imports: &'r BTreeMap<String, EntryRef>,
    pool: Option<&'r LuaPool>,
}

impl<'r> Fields<'r> {
    fn of(entry: &'r Entry) -> Option<Self> {
        Some(match &entry.definition {
            Definition::FunctionLua(it) => Self {
                source: &it.source,
                method: it.method.as_ref(),
                modules: &it.modules,
                imports: &it.imports,
                pool: it.pool.as_ref(),
            },
            Definition::ProcessLua(it) => Self {
                source: &it.source,
                method: it.method.as_ref(),
                modules: &it.modules,
                imports: &it.imports,
                pool: None,
            },
            Definition::LibraryLua(it) => Self {
                source: &it.source,
                // A library is what its chunk returns.
                method: None,
                modules: &it.modules,
                imports: &it.imports,
                pool: None,
            },
            _ => return None,
        })
    }
}

/// What reading a source gave.
type Read = Result<Arc<Chunk>, Vec<Mistake>>;

/// The Lua entries of `registry`, whose WebAssembly entries are `planned`; those with faults are left out.
pub(crate) fn plan(registry: &Registry, planned: &[Planned], diagnostics: &mut Diagnostics) -> LuaPlan {
    let entries: Vec<(&Entry, Fields<'_>)> =
        registry.entries.values().filter_map(|entry| Some((entry, Fields::of(entry)?))).collect();
    let sources: BTreeSet<&str> = entries.iter().map(|(_, fields)| fields.source).collect();
    let chunks = read(sources);

    let graph: Graph<'_> = entries
        .iter()
        .map(|(entry, fields)| {
            let resolved = fields.imports.iter().map(|(alias, id)| (alias.clone(), entry.resolve(id)));
            (&entry.id, resolved.collect())
        })
        .collect();
    let mut faulty: BTreeSet<&EntryId> = BTreeSet::new();
    for (id, fault) in imports::cycles(&graph) {
        diagnostics.push(fault.report(&registry.entries[id]));
        faulty.insert(id);
    }

    // Reasons of the entries' own; those of what they import come later.
    let mut own = BTreeMap::new();
    let mut drafts = Vec::new();
    for (entry, fields) in entries {
        let mut faults = Vec::new();
        let mistakes = match &chunks[fields.source] {
            Ok(chunk) => &chunk.validations,
            Err(mistakes) => mistakes,
        };
        faults.extend(mistakes.iter().map(|mistake| mistake.in_source(fields.source)));
        let builtin = builtin_imports(entry, &mut faults);
        let missing = missing_modules(entry, &fields, &builtin, &mut faults);
        let validates = mistakes.iter().any(|mistake| mistake.code == Code::LuaTypeAsValue);
        let reason = missing.or_else(|| validates.then(|| VALIDATES.to_owned()));
        own.extend(reason.map(|reason| (&entry.id, reason)));
        if faults.iter().any(|fault| fault.severity == Severity::Error) {
            faulty.insert(&entry.id);
        }
        diagnostics.extend(faults.iter().map(|fault| fault.report(entry)));
        drafts.push(Draft { entry, fields, builtin });
    }
    let unavailable = imports::unavailable(registry, &graph, &own);
    for (id, reason) in unavailable.iter().filter(|(id, _)| !own.contains_key(*id)) {
        let entry = &registry.entries[*id];
        if entry.unavailable.is_none() {
            diagnostics.push(not_running(entry, "", reason).report(entry));
        }
    }

    let mut linter = Linter::new(registry, planned);
    let mut plan = LuaPlan::default();
    for draft in drafts.into_iter().filter(|draft| !faulty.contains(&draft.entry.id)) {
        let Ok(chunk) = &chunks[draft.fields.source] else { continue };
        let Draft { entry, fields, .. } = draft;
        let lua = draft.resolved(chunk, &graph[&entry.id]);
        let warnings = linter.check(entry, &lua, fields.source, chunk);
        diagnostics.extend(warnings.iter().map(|fault| fault.report(entry)));
        let unavailable = entry.unavailable.clone().or_else(|| unavailable.get(&entry.id).cloned());
        let planned = PlannedLua { lua, data: rest(entry), unavailable, chunk: Arc::clone(chunk) };
        plan.entries.insert(entry.id.clone(), planned);
    }
    plan.files = files(plan.entries.values());
    plan
}

/// Reads every source once, in parallel.
fn read(sources: BTreeSet<&str>) -> BTreeMap<&str, Read> {
    let sources: Vec<&str> = sources.into_iter().collect();
    if sources.is_empty() {
        return BTreeMap::new();
    }
    let all = || sources.par_iter().map(|source| (*source, parse(source).map(Arc::new))).collect();
    let threads = rayon::current_num_threads().min(sources.len());
    match rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK_BYTES).build() {
        Ok(pool) => pool.install(all),
        // No more threads: those that are there have room for what people write.
        Err(_) => all(),
    }
}

/// An entry whose own fields were checked.
struct Draft<'r> {
    entry: &'r Entry,
    fields: Fields<'r>,
    builtin: BTreeMap<String, LuaImport>,
}

impl Draft<'_> {
    /// What the manifest says of it, given that it imports `imports`.
    fn resolved(self, chunk: &Chunk, imports: &[(String, EntryId)]) -> LuaEntry {
        let mut resolved = self.builtin;
        resolved.extend(imports.iter().map(|(alias, id)| (alias.clone(), LuaImport::Entry(id.clone()))));
        let modules: BTreeSet<String> = self.fields.modules.iter().cloned().collect();
        LuaEntry {
            source: Digest::of(chunk.erased.as_bytes()),
            method: self.fields.method.cloned(),
            modules: modules.into_iter().collect(),
            imports: resolved,
            pool: self.fields.pool.cloned(),
        }
    }
}

/// The sources of all entries, each once, sorted by path.
fn files<'p>(entries: impl Iterator<Item = &'p PlannedLua>) -> Vec<Carried> {
    let distinct: BTreeMap<String, &str> =
        entries.map(|entry| (lua_path(entry.lua.source), entry.chunk.erased.as_str())).collect();
    distinct.into_iter().map(|(path, text)| Carried { path, bytes: text.as_bytes().to_vec() }).collect()
}

/// Imports such as `:registry`, by alias.
fn builtin_imports(entry: &Entry, faults: &mut Vec<Fault>) -> BTreeMap<String, LuaImport> {
    let Some(Node { value: Value::Map(pairs), .. }) = entry.data.get("imports") else {
        return BTreeMap::new();
    };
    let mut modules = BTreeMap::new();
    for (alias, value) in pairs {
        match value.as_str().and_then(|text| text.strip_prefix(':')) {
            Some("") => {
                let message = "found `:`, expected the name of a module behind it";
                faults.push(Fault::new(Code::WrongType, format!("imports.{}", alias.name), message));
            }
            Some(module) => {
                modules.insert(alias.name.clone(), LuaImport::Module(module.to_owned()));
            }
            None => {}
        }
    }
    modules
}

/// Why the entry can't run, if it requires modules that are not offered; a warning says so.
fn missing_modules(
    entry: &Entry,
    fields: &Fields<'_>,
    builtin: &BTreeMap<String, LuaImport>,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    let listed_modules = fields.modules.iter().enumerate();
    let listed_modules = listed_modules.map(|(index, name)| (format!("modules.{index}"), name));
    let imported = builtin.iter().filter_map(|(alias, import)| match import {
        LuaImport::Module(name) => Some((format!("imports.{alias}"), name)),
        LuaImport::Entry(_) => None,
    });
    let mut missing =
        listed_modules.chain(imported).filter(|(_, name)| !registry_schema::lua::is_offered(name));
    let (field, first) = missing.next()?;
    let mut names = vec![first];
    names.extend(missing.map(|(_, name)| name));
    names.dedup();
    let reason = match names.as_slice() {
        [name] => format!("needs the Lua module `{name}`, which is not offered"),
        names => format!("needs the Lua modules {}, which are not offered", listed(names)),
    };
    if entry.unavailable.is_none() {
        let mut fault = not_running(entry, &field, &reason);
        let similar = did_you_mean(first, registry_schema::lua::MODULES.iter().copied());
        fault.help = similar.or(fault.help);
        faults.push(fault);
    }
    Some(reason)
}

fn not_running(entry: &Entry, field: &str, reason: &str) -> Fault {
    let message = format!("`{}` is carried but can't run: {reason}", entry.id);
    Fault::new(Code::EntryUnavailable, field, message)
        .help("calls to it fail with UNAVAILABLE and this reason")
}

/// The fields that [`LuaEntry`] does not have.
fn rest(entry: &Entry) -> serde_json::Value {
    const KNOWN: [&str; 5] = ["source", "method", "modules", "imports", "pool"];
    match entry.data.to_json() {
        serde_json::Value::Object(mut fields) => {
            fields.retain(|name, _| !KNOWN.contains(&name.as_str()));
            if fields.is_empty() { serde_json::Value::Null } else { serde_json::Value::Object(fields) }
        }
        other => other,
    }
}
