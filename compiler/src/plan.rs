//! From WASM entries to components and the ways to call them.
//!
//! Three steps, each in parallel: load and check the source of every entry; make and inspect every
//! distinct component once; compare each entry with its component. Work that is shared between
//! entries is done once, and a [`Memo`] keeps what is known of a component between builds. The result
//! and the diagnostics are in the order of entry ids, whatever the number of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use registry_schema::authored::Definition;
use registry_schema::authored::wasm::{EnvMapping, Mount, Results, Wasi, Wasm};
use registry_schema::grants::Group;
use registry_schema::manifest::{Component, WasmEntry};
use registry_schema::{Digest, EntryId, EntryRef};

use crate::check::{Granted, compare};
use crate::component::{Inspected, inspect};
use crate::componentize::{Source, componentize};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::fault::Fault;
use crate::files::Files;
use crate::method;
use crate::minimum;
use crate::registry::{Entry, Registry};
use crate::source::load;

/// What is remembered of components between builds; keys name everything that a value depends on.
pub trait Memo: Sync {
    /// What [`Memo::put`] was given for `key`, if it is still there and undamaged.
    fn get(&self, key: Digest) -> Option<Vec<u8>>;
    /// Says that the value of `key` is not one that was put there; it will be put again.
    fn reject(&self, key: Digest);
    /// Keeps `value`; losing it costs time only.
    fn put(&self, key: Digest, value: &[u8]);
}

/// A memo that is not believed: all is made again, and kept.
pub(crate) struct Forgotten<'a>(pub(crate) &'a dyn Memo);

impl Memo for Forgotten<'_> {
    fn get(&self, _: Digest) -> Option<Vec<u8>> {
        None
    }

    fn reject(&self, key: Digest) {
        self.0.reject(key);
    }

    fn put(&self, key: Digest, value: &[u8]) {
        self.0.put(key, value);
    }
}

/// A [`Memo`] described another component than a source gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherComponent;

/// How entries are planned.
#[derive(Clone, Copy, Default)]
pub struct PlanOptions<'a> {
    /// How a top-level `result` reaches Lua where the entry does not say.
    pub results: Results,
    /// What is known from earlier builds.
    pub memo: Option<&'a dyn Memo>,
}

impl std::fmt::Debug for PlanOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let memo = self.memo.map(|_| "…");
        f.debug_struct("PlanOptions").field("results", &self.results).field("memo", &memo).finish()
    }
}

/// A WASM entry that has no faults.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its id.
    pub id: EntryId,
    /// Its component and how to call it; `None` when it is unavailable because it has none.
    pub callable: Option<Callable>,
    /// Why calls to it fail, if they do.
    pub unavailable: Option<String>,
}

/// A component and how an entry calls it.
#[derive(Debug, Clone)]
pub struct Callable {
    /// The component, shared by all entries that use it.
    pub component: Arc<ComponentInfo>,
    /// What the manifest says of the entry.
    pub wasm: WasmEntry,
    /// Imported interfaces that are not granted, sorted.
    pub denied: Vec<String>,
}

/// A component: what is known of it, and its bytes when they are asked for.
#[derive(Debug)]
pub struct ComponentInfo {
    inspected: Inspected,
    source: Arc<Source>,
    bytes: OnceLock<Arc<Vec<u8>>>,
}

impl ComponentInfo {
    /// What the manifest says of it.
    pub fn record(&self) -> &Component {
        &self.inspected.record
    }

    /// Core modules that it embeds.
    pub fn core_modules(&self) -> u32 {
        self.inspected.core_modules
    }

    /// Its bytes; made again from the source when all else came from a [`Memo`].
    ///
    /// # Errors
    /// When the source does not give the component that the memo described: what is planned is wrong then.
    pub fn bytes(&self) -> Result<Arc<Vec<u8>>, OtherComponent> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(Arc::clone(bytes));
        }
        let made = componentize(&self.source).map_err(|_| OtherComponent)?.bytes;
        if Digest::of(&made) != self.record().digest {
            return Err(OtherComponent);
        }
        Ok(Arc::clone(self.bytes.get_or_init(|| made)))
    }
}

/// The WASM entries of `registry`, in the order of their ids; those with faults are left out.
pub fn plan(registry: &Registry, options: PlanOptions<'_>, diagnostics: &mut Diagnostics) -> Vec<Planned> {
    let files = Files::default();
    let candidates: Vec<(&Entry, &Wasm)> =
        registry.entries.values().filter_map(|entry| Some((entry, wasm_of(&entry.definition)?))).collect();
    let drafts: Vec<Draft<'_>> =
        candidates.par_iter().map(|(entry, wasm)| draft(registry, &files, entry, wasm)).collect();
    let components = components(&drafts, options.memo);
    let limits = minimum::Defaults::of(&registry.config);
    let finished: Vec<(Option<Planned>, Vec<Diagnostic>)> =
        drafts.into_par_iter().map(|draft| finish(draft, &components, &limits, options.results)).collect();
    let mut planned = Vec::with_capacity(finished.len());
    for (entry, said) in finished {
        diagnostics.extend(said);
        planned.extend(entry);
    }
    planned
}

fn wasm_of(definition: &Definition) -> Option<&Wasm> {
    match definition {
        Definition::FunctionWat(wasm) | Definition::FunctionWasm(wasm) | Definition::ProcessWasm(wasm) => {
            Some(wasm)
        }
        _ => None,
    }
}

/// An entry whose own fields were checked.
#[derive(Debug)]
struct Draft<'a> {
    entry: &'a Entry,
    wasm: &'a Wasm,
    granted: Option<Granted>,
    /// With its key; `None` when it could not be loaded.
    source: Option<(Digest, Arc<Source>)>,
    unavailable: Option<Unavailable>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
struct Unavailable {
    reason: String,
    /// Whether it can't be made into a component here.
    without_component: bool,
}

fn draft<'a>(registry: &Registry, files: &Files, entry: &'a Entry, wasm: &'a Wasm) -> Draft<'a> {
    let mut faults = unused_fields(entry, wasm);
    let granted = Granted::read(wasm).map_err(|unknown| faults.extend(unknown)).ok();
    if entry.kind == "function.wat" && wasm.method.is_none() {
        let fault = Fault::new(Code::FieldMissing, "", "`function.wat` needs the field `method`");
        faults.push(fault.help("add `method` with the name of an exported function"));
    }
    let source = load(registry, files, entry, wasm).map_err(|missing| faults.extend(missing)).ok();
    let source = source.map(|source| (source.key(), Arc::new(source)));
    let unavailable = unavailable(granted.as_ref());
    Draft { entry, wasm, granted, source, unavailable, faults }
}

/// What an entry needs that is not offered.
fn unavailable(granted: Option<&Granted>) -> Option<Unavailable> {
    let is_socket = granted.is_some_and(|granted| granted.groups().contains(&Group::Socket));
    is_socket.then(|| Unavailable { reason: "needs the `socket` host".to_owned(), without_component: true })
}

/// Warnings for fields that mean nothing for the entry's kind.
fn unused_fields(entry: &Entry, wasm: &Wasm) -> Vec<Fault> {
    let given: &[(&str, bool)] = if entry.kind == "function.wat" {
        &[("fs", wasm.fs.is_some()), ("path", wasm.path.is_some()), ("hash", wasm.hash.is_some())]
    } else {
        &[("source", wasm.source.is_some())]
    };
    let unused = given.iter().filter(|(_, given)| *given);
    unused
        .map(|(field, _)| {
            let message = format!("`{field}` has no effect on a `{}`", entry.kind);
            Fault::new(Code::FieldUnused, *field, message).help("remove it, or change the kind")
        })
        .collect()
}

type Components = BTreeMap<Digest, Result<Arc<ComponentInfo>, Vec<Fault>>>;

/// Every distinct component, by the key of its source.
fn components(drafts: &[Draft<'_>], memo: Option<&dyn Memo>) -> Components {
    let wanted =
        drafts.iter().filter(|draft| !draft.unavailable.as_ref().is_some_and(|it| it.without_component));
    let sources: BTreeMap<Digest, Arc<Source>> = wanted.filter_map(|draft| draft.source.clone()).collect();
    let sources: Vec<(Digest, Arc<Source>)> = sources.into_iter().collect();
    let made: Vec<_> = sources.into_par_iter().map(|(key, source)| (key, make(key, source, memo))).collect();
    share(made)
}

/// Makes and inspects one component.
fn make(key: Digest, source: Arc<Source>, memo: Option<&dyn Memo>) -> Result<ComponentInfo, Vec<Fault>> {
    if let Some((memo, bytes)) = memo.and_then(|memo| Some((memo, memo.get(key)?))) {
        match serde_json::from_slice::<Inspected>(&bytes) {
            Ok(inspected) if inspected.record.sources == [Digest::of(&source.bytes)] => {
                return Ok(ComponentInfo { inspected, source, bytes: OnceLock::new() });
            }
            _ => memo.reject(key),
        }
    }
    let made = componentize(&source)?;
    let inspected = inspect(&made.bytes, made.origin).map_err(|fault| vec![fault])?;
    if let (Some(memo), Ok(value)) = (memo, serde_json::to_vec(&inspected)) {
        memo.put(key, &value);
    }
    Ok(ComponentInfo { inspected, source, bytes: OnceLock::from(made.bytes) })
}

/// Lets equal components of different sources (a comment changed) be one, with all their sources.
fn share(made: Vec<(Digest, Result<ComponentInfo, Vec<Fault>>)>) -> Components {
    let mut sources: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    for info in made.iter().filter_map(|(_, info)| info.as_ref().ok()) {
        sources.entry(info.record().digest).or_default().extend(&info.record().sources);
    }
    let mut by_digest: BTreeMap<Digest, Arc<ComponentInfo>> = BTreeMap::new();
    let shared = made.into_iter().map(|(key, info)| {
        let info = info.map(|mut info| {
            let digest = info.record().digest;
            let shared = by_digest.entry(digest).or_insert_with(|| {
                let all = sources.remove(&digest).unwrap_or_default();
                info.inspected.record.sources = all.into_iter().collect();
                Arc::new(info)
            });
            Arc::clone(shared)
        });
        (key, info)
    });
    shared.collect()
}

/// Compares an entry with its component.
fn finish(
    draft: Draft<'_>,
    components: &Components,
    limits: &minimum::Defaults,
    results: Results,
) -> (Option<Planned>, Vec<Diagnostic>) {
    let Draft { entry, wasm, granted, source, unavailable, mut faults } = draft;
    let component = source.as_ref().and_then(|(key, _)| components.get(key));
    let callable = match (component, granted) {
        (Some(Ok(component)), Some(granted)) => {
            faults.extend(minimum::check(&component.inspected.minimum, wasm.limits.as_ref(), limits));
            call(entry, wasm, component, &granted, results, &mut faults)
        }
        (Some(Err(broken)), _) => {
            faults.extend(broken.iter().cloned());
            None
        }
        _ => None,
    };
    if let Some(unavailable) = &unavailable {
        let message = format!("`{}` is carried but can't run: {}", entry.id, unavailable.reason);
        let help = "calls to it fail with UNAVAILABLE and this reason";
        faults.push(Fault::new(Code::EntryUnavailable, "", message).help(help));
    }
    let complete = callable.is_some() || unavailable.as_ref().is_some_and(|it| it.without_component);
    let failed = faults.iter().any(|fault| fault.severity == crate::diagnostic::Severity::Error);
    let reason = entry.unavailable.clone().or(unavailable.map(|it| it.reason));
    let planned =
        (complete && !failed).then(|| Planned { id: entry.id.clone(), callable, unavailable: reason });
    (planned, faults.iter().map(|fault| fault.report(entry)).collect())
}

fn call(
    entry: &Entry,
    wasm: &Wasm,
    component: &Arc<ComponentInfo>,
    granted: &Granted,
    results: Results,
    faults: &mut Vec<Fault>,
) -> Option<Callable> {
    let record = component.record();
    faults.extend(unused_by_component(wasm, component));
    let export = match method::find(wasm.method.as_deref(), &record.exports, &entry.kind) {
        Ok(export) => export,
        Err(fault) => {
            // The draft has said already that text needs a method.
            if !(entry.kind == "function.wat" && wasm.method.is_none()) {
                faults.push(fault);
            }
            return None;
        }
    };
    let host_types = &component.inspected.host_types;
    let compared = compare(record, host_types, &export.path, granted, wasm);
    faults.extend(compared.faults);
    let wasm = WasmEntry {
        component: record.digest,
        profile: record.profile,
        export: export.path.clone(),
        signature: export.signature.clone(),
        // What is granted and not imported changes nothing, so nothing depends on it either.
        grants: granted.groups().into_iter().filter(|group| imports(record, group)).collect(),
        results: wasm.results.unwrap_or(results),
        transport: wasm.transport,
        pool: wasm.pool.clone().filter(|_| entry.kind != "process.wasm"),
        limits: wasm.limits.clone(),
        wasi: wasm.wasi.as_ref().map(|wasi| with_full_ids(entry, wasi)),
        network: wasm.network.clone(),
    };
    Some(Callable { component: Arc::clone(component), wasm, denied: compared.denied })
}

/// Warnings for fields that mean nothing for what the source turned out to be.
fn unused_by_component(wasm: &Wasm, component: &ComponentInfo) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !component.inspected.from_core {
        let given = [
            ("wit", wasm.wit.is_some(), "a component carries its own types"),
            ("adapters", !wasm.adapters.is_empty(), "adapters are linked into core modules"),
        ];
        for (field, _, why) in given.into_iter().filter(|(_, given, _)| *given) {
            let fault =
                Fault::new(Code::FieldUnused, field, format!("`{field}` has no effect on a component"));
            faults.push(fault.help(format!("remove it: {why}")));
        }
        return faults;
    }
    for (index, adapter) in wasm.adapters.iter().enumerate() {
        if !component.record().adapters.iter().any(|used| used.name == adapter.name) {
            let message =
                format!("the module imports nothing of `{}`, so the adapter is not linked", adapter.name);
            let fault = Fault::new(Code::FieldUnused, format!("adapters.{index}.name"), message);
            faults.push(fault.help("remove the adapter, or correct its name"));
        }
    }
    faults
}

fn imports(component: &Component, group: &Group) -> bool {
    component.imports.iter().any(|import| Group::of_interface(&import.name).as_ref() == Some(group))
}

/// `wasi` with every reference as a full id.
fn with_full_ids(entry: &Entry, wasi: &Wasi) -> Wasi {
    let full = |reference: &EntryRef| {
        let id = entry.resolve(reference).to_string();
        id.parse().unwrap_or_else(|_| reference.clone())
    };
    Wasi {
        args: wasi.args.clone(),
        cwd: wasi.cwd.clone(),
        env: wasi.env.iter().map(|env| EnvMapping { id: full(&env.id), ..env.clone() }).collect(),
        mounts: wasi.mounts.iter().map(|mount| Mount { fs: full(&mount.fs), ..mount.clone() }).collect(),
    }
}
