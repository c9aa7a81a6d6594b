//! Components to native code, in parallel, for every target.
//!
//! Each distinct component, profile and target is compiled once, however many entries use it; what the
//! cache has is not compiled at all. Same input, same bytes, whatever the number of threads.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use rayon::iter::Either;
use rayon::prelude::*;
use registry_schema::engine::{COMPILER_VERSION, EngineOptions};
use registry_schema::manifest::Artifact;
use registry_schema::profile::{CpuLevel, Triple};
use registry_schema::{Digest, Profile, Target};
use wasmtime::{Config, Engine, OptLevel};

use crate::cache::Cache;
use crate::plan::ComponentInfo;
use crate::progress::Progress;

/// What decides, beside component and target, which code is generated.
#[derive(Debug, Clone, Copy)]
struct Generation {
    options: fn(Profile) -> EngineOptions,
    /// No engine option: code of every level runs in every engine, and the loader has nothing to compare.
    opt_level: OptLevel,
    /// Of the engine.
    version: &'static str,
    /// Raised when this file changes what it generates from equal input.
    revision: u32,
}

/// As all builds generate it.
const GENERATION: Generation = Generation {
    options: EngineOptions::new,
    opt_level: OptLevel::Speed,
    version: COMPILER_VERSION,
    revision: 2,
};

/// Native code and its record.
#[derive(Debug)]
pub struct Compiled {
    /// What the manifest says of it.
    pub artifact: Artifact,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

/// How much was compiled and how much was found in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Compiled now.
    pub compiled: usize,
    /// Taken from the cache.
    pub cached: usize,
}

/// A component that could not be compiled.
#[derive(Debug)]
pub struct Failure {
    /// The component.
    pub component: Digest,
    /// What the code generator says.
    pub error: anyhow::Error,
}

/// Why there is no native code of some components.
#[derive(Debug)]
pub enum Unmade {
    /// Their sources give other components than was known of them: nothing was compiled.
    Other(BTreeSet<Digest>),
    /// They can't be compiled.
    Failed(Vec<Failure>),
}

/// A component and a target.
struct Job<'a> {
    component: &'a ComponentInfo,
    target: Target,
    key: Digest,
}

/// Compiles `components` for `targets`; the result is sorted by component, profile and target.
///
/// # Errors
/// Every component that can't be compiled.
pub fn precompile(
    components: &[&ComponentInfo],
    targets: &[Target],
    cache: Option<&Cache>,
    progress: &Progress,
) -> Result<(Vec<Compiled>, Counts), Unmade> {
    precompile_as(GENERATION, components, targets, cache, progress)
}

fn precompile_as(
    generation: Generation,
    components: &[&ComponentInfo],
    targets: &[Target],
    cache: Option<&Cache>,
    progress: &Progress,
) -> Result<(Vec<Compiled>, Counts), Unmade> {
    let pairs = components.iter().flat_map(|component| targets.iter().map(|target| (*component, *target)));
    let jobs: Vec<Job<'_>> = pairs
        .map(|(component, target)| Job { component, target, key: generation.key(component, target) })
        .collect();
    let (kept, missing): (Vec<_>, Vec<_>) = jobs
        .into_par_iter()
        .map(|job| (cache.and_then(|cache| cache.get(job.key)), job))
        .partition_map(|(bytes, job)| match bytes {
            Some(bytes) => Either::Left((job, bytes)),
            None => Either::Right(job),
        });
    let other: BTreeSet<Digest> = missing
        .par_iter()
        .filter(|job| job.component.bytes().is_err())
        .map(|job| job.component.record().digest)
        .collect();
    if !other.is_empty() {
        return Err(Unmade::Other(other));
    }
    let counts = Counts { compiled: missing.len(), cached: kept.len() };
    let mut all: Vec<Compiled> =
        kept.into_iter().map(|(job, bytes)| generation.compiled(&job, bytes)).collect();
    let (made, failures) = generate(generation, missing, cache, progress);
    if !failures.is_empty() {
        return Err(Unmade::Failed(failures));
    }
    all.extend(made);
    all.sort_by_key(|one| (one.artifact.component, one.artifact.profile, one.artifact.target));
    Ok((all, counts))
}

/// Generates the code of `jobs`, and keeps it in `cache`.
fn generate(
    generation: Generation,
    jobs: Vec<Job<'_>>,
    cache: Option<&Cache>,
    progress: &Progress,
) -> (Vec<Compiled>, Vec<Failure>) {
    let mut engines = BTreeMap::new();
    for job in &jobs {
        let (profile, target) = (job.component.record().profile, job.target);
        engines.entry((profile, target)).or_insert_with(|| generation.engine(profile, target));
    }
    progress.start(jobs.len());
    let made = jobs.into_par_iter().map(|job| {
        let engine = engines[&(job.component.record().profile, job.target)].as_ref();
        let bytes = engine.map_err(|error| anyhow!("{error:#}")).and_then(|engine| one(&job, engine));
        progress.advance();
        match bytes {
            Ok(bytes) => {
                if let Some(cache) = cache {
                    cache.put(job.key, &bytes);
                }
                Either::Left(generation.compiled(&job, bytes))
            }
            Err(error) => Either::Right(Failure { component: job.component.record().digest, error }),
        }
    });
    let (made, failures) = made.partition_map(|made| made);
    progress.finish();
    (made, failures)
}

fn one(job: &Job<'_>, engine: &Engine) -> anyhow::Result<Vec<u8>> {
    let source = job.component.bytes().map_err(|_| anyhow!("its source gives another component"))?;
    engine.precompile_component(&source).map_err(|error| anyhow!("{error:#}"))
}

impl Generation {
    /// A digest of everything that decides what is generated.
    fn key(&self, component: &ComponentInfo, target: Target) -> Digest {
        let record = component.record();
        let fingerprint = (self.options)(record.profile).fingerprint();
        let parts = [
            record.digest.to_string(),
            fingerprint,
            format!("{:?}", self.opt_level),
            target.to_string(),
            self.version.to_owned(),
            self.revision.to_string(),
        ];
        Digest::of_parts(parts.iter().map(|part| part.as_bytes()))
    }

    fn compiled(&self, job: &Job<'_>, bytes: Vec<u8>) -> Compiled {
        let record = job.component.record();
        let artifact = Artifact {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            component: record.digest,
            profile: record.profile,
            target: job.target,
            compiler: self.version.to_owned(),
            engine: (self.options)(record.profile).fingerprint(),
        };
        Compiled { artifact, bytes }
    }

    /// An engine that compiles for `target` and for nothing that this machine happens to have beyond it.
    fn engine(&self, profile: Profile, target: Target) -> anyhow::Result<Engine> {
        let mut config = Config::new();
        let options = (self.options)(profile);
        options.apply(&mut config).map_err(|error| anyhow!("{error:#}"))?;
        config.cranelift_opt_level(self.opt_level);
        config.parallel_compilation(true);
        config.target(target.triple.as_str()).map_err(|error| anyhow!("{error:#}"))?;
        if let Some(preset) = preset(target) {
            enable(&mut config, preset);
        }
        Engine::new(&config).map_err(|error| anyhow!("no code generator for `{target}`: {error:#}"))
    }
}

/// An engine that compiles for `target` as builds do.
pub(crate) fn engine(profile: Profile, target: Target) -> anyhow::Result<Engine> {
    GENERATION.engine(profile, target)
}

/// Cranelift's name for a CPU level.
fn preset(target: Target) -> Option<&'static str> {
    match (target.triple, target.level?) {
        (Triple::X86_64LinuxGnu, CpuLevel::V2) => Some("x86-64-v2"),
        (Triple::X86_64LinuxGnu, CpuLevel::V3) => Some("x86-64-v3"),
        (Triple::X86_64LinuxGnu, CpuLevel::V4) => Some("x86-64-v4"),
        (Triple::X86_64LinuxGnu, CpuLevel::V1) | (Triple::Aarch64LinuxGnu | Triple::Pulley64, _) => None,
    }
}

#[allow(unsafe_code)]
fn enable(config: &mut Config, preset: &str) {
    // SAFETY: the call is unsafe because a CPU without the instructions can't run the code. The level
    // stands in the manifest, and the loader picks an artifact only after it has looked for every
    // instruction of its level; wasmtime checks the flags of an artifact again when it loads it.
    unsafe {
        config.cranelift_flag_enable(preset);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::diagnostic::{Diagnostics, Strictness};
    use crate::front::{self, Selection};
    use crate::plan::{PlanOptions, plan};

    /// Components of functions that return these numbers.
    fn planned(constants: &[i32]) -> Vec<crate::plan::Planned> {
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::from("namespace: t\nentries:\n");
        for constant in constants {
            text += &format!(
                "  - {{name: f{constant}, kind: function.wat, method: f, wit: 'f: func() -> s32;', source: \
                 '(module (func (export \"f\") (result i32) i32.const {constant}))'}}\n"
            );
        }
        fs::write(folder.path().join("_index.yaml"), text).unwrap();
        let mut diagnostics = Diagnostics::new(Strictness::Lenient);
        let registry = front::read(folder.path(), Selection::default(), &mut diagnostics).unwrap();
        let planned = plan(&registry, PlanOptions::default(), &mut diagnostics);
        assert_eq!((planned.len(), diagnostics.sorted()), (constants.len(), vec![]));
        planned
    }

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn canonical(profile: Profile) -> EngineOptions {
        EngineOptions { cranelift_nan_canonicalization: true, ..EngineOptions::new(profile) }
    }

    /// One component: what was made stays, and each part of what decides it, changed alone, makes one anew.
    #[test]
    fn every_part_of_the_key_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let planned = planned(&[1, 2]);
        let components: Vec<&ComponentInfo> =
            planned.iter().map(|entry| &*entry.callable.as_ref().unwrap().component).collect();
        let (source, other) = (components[0], components[1]);
        let v2 = target("x86_64-unknown-linux-gnu:v2");
        let counts = |generation: Generation, component: &ComponentInfo, target: Target| {
            let progress = Progress::nothing();
            let made = precompile_as(generation, &[component], &[target], Some(&cache), &progress);
            let (compiled, counts) = made.unwrap();
            assert_eq!(compiled.len(), 1);
            (counts.compiled, counts.cached)
        };
        let changed: [(&str, Generation, &ComponentInfo, Target); 6] = [
            ("source", GENERATION, other, v2),
            ("option", Generation { options: canonical, ..GENERATION }, source, v2),
            ("level", Generation { opt_level: OptLevel::None, ..GENERATION }, source, v2),
            ("target", GENERATION, source, target("x86_64-unknown-linux-gnu:v3")),
            ("version", Generation { version: "48.0.9", ..GENERATION }, source, v2),
            ("revision", Generation { revision: GENERATION.revision + 1, ..GENERATION }, source, v2),
        ];
        assert_eq!(counts(GENERATION, source, v2), (1, 0));
        for (what, generation, component, target) in changed {
            assert_eq!(counts(GENERATION, source, v2), (0, 1), "before another {what}");
            assert_eq!(counts(generation, component, target), (1, 0), "another {what}");
            assert_eq!(counts(generation, component, target), (0, 1), "the same {what} again");
        }
    }

    #[test]
    fn the_level_of_optimisation_is_applied() {
        let planned = planned(&[1]);
        let component = &*planned[0].callable.as_ref().unwrap().component;
        let code = |opt_level| {
            let generation = Generation { opt_level, ..GENERATION };
            let targets = [target("x86_64-unknown-linux-gnu:v2")];
            let made = precompile_as(generation, &[component], &targets, None, &Progress::nothing());
            made.unwrap().0.remove(0).bytes
        };
        assert_eq!(code(OptLevel::Speed), code(GENERATION.opt_level));
        assert_ne!(code(OptLevel::Speed), code(OptLevel::None));
    }

    #[test]
    fn there_is_an_engine_for_each_target() {
        for target in Target::all() {
            for profile in Profile::ALL {
                engine(profile, target).unwrap();
            }
        }
    }
}
