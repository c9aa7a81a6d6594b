//! From the registry to what a bundle is made of: planned entries and native code, with the cache's help.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use registry_schema::{Digest, EntryId, Target};

use crate::build::BuildOptions;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::lua::{self, LuaPlan};
use crate::plan::{ComponentInfo, Forgotten, Memo, PlanOptions, Planned, plan};
use crate::precompile::{Compiled, Counts, Failure, Unmade, precompile};
use crate::progress::Progress;
use crate::registry::Registry;

/// Entries as planned with one memo, and what was said of them.
struct Front {
    planned: Vec<Planned>,
    lua: LuaPlan,
    said: Diagnostics,
}

impl Front {
    fn new(registry: &Registry, options: &BuildOptions, memo: Option<&dyn Memo>) -> Self {
        let mut said = Diagnostics::new(options.strictness);
        let planned = plan(registry, PlanOptions { results: options.results, memo }, &mut said);
        let lua = lua::plan(registry, &planned, &mut said);
        Self { planned, lua, said }
    }
}

/// What a bundle is made of.
pub(crate) struct Made {
    pub(crate) planned: Vec<Planned>,
    pub(crate) lua: LuaPlan,
    pub(crate) compiled: Vec<Compiled>,
    pub(crate) counts: Counts,
}

/// Plans and compiles with what is known from earlier builds. Where that does not fit the sources, or has faults, all
/// is planned again from the sources alone: no build fails for what a cache says of
/// sources.
pub(crate) fn make(
    registry: &Registry,
    options: &BuildOptions,
    targets: &[Target],
    progress: &Progress,
    diagnostics: &mut Diagnostics,
) -> Option<Made> {
    let cache = options.cache.cache();
    let has_errors = diagnostics.has_errors();
    let compile = |front: &Front| {
        let (components, _) = distinct(&front.planned);
        let may = !has_errors && !front.said.has_errors();
        may.then(|| precompile(&components, targets, cache, progress))
    };
    let mut front = Front::new(registry, options, cache.map(|cache| cache as &dyn Memo));
    let mut made = compile(&front);
    let other = match &made {
        Some(Err(Unmade::Other(other))) => Some(other.clone()),
        _ if front.said.has_errors() => Some(BTreeSet::new()),
        _ => None,
    };
    if let (Some(cache), Some(other)) = (cache, other) {
        let (_, users) = distinct(&front.planned);
        let had_errors = front.said.has_errors();
        let warnings = other.iter().map(|component| other_component(registry, &users, component));
        diagnostics.extend(warnings);
        front = Front::new(registry, options, Some(&Forgotten(cache)));
        made = compile(&front);
        if had_errors && !front.said.has_errors() {
            let message = "the cache described components with faults that their sources do not have";
            diagnostics.push(Diagnostic::new(Code::CacheUnusable, message).help(MADE_AGAIN));
        }
    }
    let Front { planned, lua, said } = front;
    diagnostics.extend(said.sorted());
    match made? {
        Ok((compiled, counts)) => Some(Made { planned, lua, compiled, counts }),
        Err(Unmade::Failed(failures)) => {
            let (_, users) = distinct(&planned);
            diagnostics.extend(failures.iter().map(|failure| code_generation(registry, &users, failure)));
            None
        }
        Err(Unmade::Other(_)) => unreachable!("what is planned from a source is the component that it gives"),
    }
}

/// What became of what the cache had.
const MADE_AGAIN: &str = "it was made again from the sources, and the cache has that now";

fn other_component(registry: &Registry, users: &BTreeMap<Digest, EntryId>, component: &Digest) -> Diagnostic {
    let message = "the cache described another component than this source gives";
    placed(registry, users, component, Diagnostic::new(Code::CacheUnusable, message).help(MADE_AGAIN))
}

/// Distinct components by digest, and the first entry that uses each.
pub(crate) fn distinct(planned: &[Planned]) -> (Vec<&ComponentInfo>, BTreeMap<Digest, EntryId>) {
    let mut components: BTreeMap<Digest, &Arc<ComponentInfo>> = BTreeMap::new();
    let mut users = BTreeMap::new();
    for entry in planned {
        if let Some(callable) = &entry.callable {
            let digest = callable.component.record().digest;
            components.entry(digest).or_insert(&callable.component);
            users.entry(digest).or_insert_with(|| entry.id.clone());
        }
    }
    (components.into_values().map(AsRef::as_ref).collect(), users)
}

fn code_generation(registry: &Registry, users: &BTreeMap<Digest, EntryId>, failure: &Failure) -> Diagnostic {
    let message = format!("code generation failed: {:#}", failure.error);
    placed(registry, users, &failure.component, Diagnostic::new(Code::CodegenFailed, message))
}

/// `diagnostic` at the first entry that uses `component`.
fn placed(
    registry: &Registry,
    users: &BTreeMap<Digest, EntryId>,
    component: &Digest,
    diagnostic: Diagnostic,
) -> Diagnostic {
    match users.get(component).and_then(|id| registry.entries.get(id)) {
        Some(entry) => diagnostic.entry(&entry.id).at(entry.place()),
        None => diagnostic,
    }
}
