//! The pipeline: walk → parse → resolve → componentize → check → precompile → bundle → report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use registry_schema::authored::wasm::Results;
use registry_schema::engine::{COMPILER_VERSION, EngineOptions};
use registry_schema::manifest::{self, AUTHORED_DIR, Body, COMPONENTS_DIR, FileRecord, Head};
use registry_schema::{Digest, EntryId, Target};

use crate::bundle::{NewFile, Output};
use crate::cache::{CACHE_BYTES_MAX, Caching};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Strictness};
use crate::embed::{self, Carried};
use crate::front::Selection;
use crate::lua::{self, LuaPlan};
use crate::make::{Made, distinct, make};
use crate::plan::{ComponentInfo, PlanOptions, Planned, plan};
use crate::precompile::{Compiled, Counts};
use crate::progress::Progress;
use crate::registry::Registry;
use crate::sign::SignKey;
use crate::{front, self_check, source};

/// How a registry is checked.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Whether warnings are errors.
    pub strictness: Strictness,
    /// Profiles of `.wippy.yaml`, laid over it in this order.
    pub profiles: Vec<String>,
}

/// How a bundle is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Folder that the bundle is written to.
    pub out: PathBuf,
    /// What code is generated for; order and repetition do not matter.
    pub targets: Vec<Target>,
    /// What is kept between builds.
    pub cache: Caching,
    /// Whether warnings are errors.
    pub strictness: Strictness,
    /// Profiles of `.wippy.yaml`, laid over it in this order.
    pub profiles: Vec<String>,
    /// How a top-level `result` reaches Lua where an entry does not say.
    pub results: Results,
    /// What signs the bundle; `None` leaves it unsigned.
    pub sign_key: Option<SignKey>,
}

/// What a build did.
#[derive(Debug)]
pub struct Report {
    /// Everything that was said, in stable order.
    pub diagnostics: Vec<Diagnostic>,
    /// What was written; `None` when there were errors.
    pub written: Option<Written>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Entries in the manifest.
    pub entries: usize,
    /// How many components were compiled, and how many came from the cache.
    pub counts: Counts,
    /// Bytes of native code.
    pub artifact_bytes: u64,
}

/// Everything but code generation and writing.
pub fn check(root: &Path, options: &CheckOptions) -> Vec<Diagnostic> {
    let mut diagnostics = Diagnostics::new(options.strictness);
    let selection = Selection { out: None, profiles: &options.profiles };
    if let Some(registry) = front::read(root, selection, &mut diagnostics) {
        let planned = plan(&registry, PlanOptions::default(), &mut diagnostics);
        lua::plan(&registry, &planned, &mut diagnostics);
        embed::read(&registry, &mut diagnostics);
        report_unavailable(&registry, &mut diagnostics);
    }
    diagnostics.sorted()
}

/// Builds the registry in `root` into a bundle.
pub fn build(root: &Path, options: &BuildOptions, progress: &Progress) -> Report {
    let mut diagnostics = Diagnostics::new(options.strictness);
    let written = run(root, options, progress, &mut diagnostics);
    diagnostics.extend(options.cache.take_warnings());
    Report { diagnostics: diagnostics.sorted(), written }
}

fn run(
    root: &Path,
    options: &BuildOptions,
    progress: &Progress,
    diagnostics: &mut Diagnostics,
) -> Option<Written> {
    // Held to the end: what a build has read is not older than what another one has written meanwhile, and
    // what it checks at the end is its own.
    let output = Output::lock(&options.out);
    let selection = Selection { out: Some(&options.out), profiles: &options.profiles };
    let registry = front::read(root, selection, diagnostics)?;
    let embedded = embed::read(&registry, diagnostics);
    report_unavailable(&registry, diagnostics);
    let targets: Vec<Target> = options.targets.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let Made { planned, lua, compiled, counts } = make(&registry, options, &targets, progress, diagnostics)?;
    // Strict builds end here where the cache was not as it should be.
    diagnostics.extend(options.cache.take_warnings());
    if diagnostics.has_errors() {
        return None;
    }
    let (components, _) = distinct(&planned);
    let described = match describe(&components).and_then(|it| Ok((it, authored(&registry, &planned)?))) {
        Ok(described) => described,
        Err(error) => {
            diagnostics.push(not_written(&error.to_string()));
            return None;
        }
    };
    let (described, authored) = &described;
    let others: Vec<&Carried> =
        [described].into_iter().chain(authored).chain(&embedded).chain(&lua.files).collect();
    let entries = entries(&registry, &planned, &lua);
    let body = body(&registry, entries, &components, &compiled, &others, targets);
    let files: Vec<NewFile<'_>> = compiled
        .iter()
        .map(|one| NewFile { path: one.artifact.path(), bytes: &one.bytes })
        .chain(others.iter().map(|file| NewFile { path: file.path.clone(), bytes: &file.bytes }))
        .collect();
    let key = options.sign_key.as_ref();
    let written = output.as_ref().map_err(|error| format!("{error:#}")).and_then(|output| {
        let staged = output.stage(&files, &body, key).map_err(|error| format!("{error:#}"))?;
        diagnostics.extend(self_check::run(options, staged.manifest_name(), &body, &registry));
        // What failed its check is dropped: the bundle that was there is still in place.
        if diagnostics.has_errors() {
            Ok(())
        } else {
            staged.put_in_place().map_err(|error| format!("{error:#}"))
        }
    });
    if let Err(error) = written {
        diagnostics.push(not_written(&error));
    }
    if let Some(cache) = options.cache.cache() {
        cache.trim(CACHE_BYTES_MAX);
    }
    if diagnostics.has_errors() {
        return None;
    }
    Some(Written {
        entries: body.entries.len(),
        counts,
        artifact_bytes: compiled.iter().map(|one| one.artifact.size).sum(),
    })
}

fn not_written(error: &str) -> Diagnostic {
    Diagnostic::new(Code::BundleWriteFailed, error)
        .help("the bundle that was there before is whole; make room or choose another `--out`")
}

/// A warning for each entry that is carried and not offered.
fn report_unavailable(registry: &Registry, diagnostics: &mut Diagnostics) {
    for entry in registry.entries.values() {
        if let Some(reason) = &entry.unavailable {
            diagnostics.push(
                Diagnostic::new(
                    Code::EntryUnavailable,
                    format!("`{}` is carried but can't run: {reason}", entry.id),
                )
                .entry(&entry.id)
                .at(entry.place())
                .help("calls to it fail with UNAVAILABLE and this reason"),
            );
        }
    }
}

/// The file that describes the components.
fn describe(components: &[&ComponentInfo]) -> Result<Carried, serde_json::Error> {
    let records: Vec<_> = components.iter().map(|component| component.record()).collect();
    let bytes = serde_json::to_vec(&records)?;
    Ok(Carried { path: format!("{COMPONENTS_DIR}/{}.json", Digest::of(&bytes)), bytes })
}

/// The file with the fields of WebAssembly entries, if there are any.
fn authored(registry: &Registry, planned: &[Planned]) -> Result<Option<Carried>, serde_json::Error> {
    let entries = planned.iter().filter_map(|planned| registry.entries.get(&planned.id));
    let fields: BTreeMap<String, _> =
        entries.map(|entry| (entry.id.to_string(), entry.data.to_json())).collect();
    if fields.is_empty() {
        return Ok(None);
    }
    let bytes = serde_json::to_vec(&fields)?;
    Ok(Some(Carried { path: format!("{AUTHORED_DIR}/{}.json", Digest::of(&bytes)), bytes }))
}

/// Every entry, sorted by id.
fn entries(registry: &Registry, planned: &[Planned], lua: &LuaPlan) -> Vec<manifest::Entry> {
    let by_id: BTreeMap<&EntryId, &Planned> = planned.iter().map(|entry| (&entry.id, entry)).collect();
    let entries = registry.entries.values().map(|entry| {
        let (planned, lua) = (by_id.get(&entry.id), lua.entries.get(&entry.id));
        let unavailable = match (planned, lua) {
            (Some(planned), _) => &planned.unavailable,
            (None, Some(lua)) => &lua.unavailable,
            (None, None) => &entry.unavailable,
        };
        manifest::Entry {
            id: entry.id.clone(),
            kind: entry.kind.clone(),
            meta: entry.meta.clone(),
            unavailable: unavailable.clone(),
            wasm: planned.and_then(|planned| planned.callable.as_ref()).map(|it| it.wasm.clone()),
            lua: lua.map(|lua| lua.lua.clone()),
            module_folder: source::module_folder(registry, entry),
            data: match (planned, lua) {
                (Some(_), _) => serde_json::Value::Null,
                (None, Some(lua)) => lua.data.clone(),
                (None, None) => entry.data.to_json(),
            },
        }
    });
    entries.collect()
}

fn body(
    registry: &Registry,
    entries: Vec<manifest::Entry>,
    components: &[&ComponentInfo],
    compiled: &[Compiled],
    others: &[&Carried],
    targets: Vec<Target>,
) -> Body {
    let profiles: BTreeSet<_> = components.iter().map(|component| component.record().profile).collect();
    let engines = profiles.into_iter().map(|profile| {
        let options = EngineOptions::new(profile);
        let engine = manifest::Engine { fingerprint: options.fingerprint(), options: options.to_json() };
        (profile, engine)
    });
    let head = Head {
        compiler: COMPILER_VERSION.to_owned(),
        engines: engines.collect(),
        targets,
        files: others
            .iter()
            .map(|file| {
                let record = FileRecord { digest: Digest::of(&file.bytes), size: file.bytes.len() as u64 };
                (file.path.clone(), record)
            })
            .collect(),
        config: registry.config.clone(),
    };
    Body { head, artifacts: compiled.iter().map(|one| one.artifact.clone()).collect(), entries }
}
