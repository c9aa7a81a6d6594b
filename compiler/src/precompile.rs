//! Components to native code, in parallel, for every target.
//!
//! Each distinct component, profile and target is compiled once, however many entries use it; what the
//! cache has is not compiled at all. Same input, same bytes, whatever the number of threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::anyhow;
use rayon::prelude::*;
use registry_schema::engine::{COMPILER_VERSION, EngineOptions};
use registry_schema::manifest::Artifact;
use registry_schema::profile::{CpuLevel, Triple};
use registry_schema::{Digest, Profile, Target};
use wasmtime::{Config, Engine};

use crate::cache::Cache;
use crate::plan::ComponentInfo;
use crate::progress::Progress;

/// Counts as part of the cache's key; raised when this file changes what it generates from equal input.
const REVISION: &[u8] = b"1";

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

/// Compiles `components` for `targets`; the result is sorted by component, profile and target.
///
/// # Errors
/// Every component that can't be compiled.
pub fn precompile(
    components: &[&ComponentInfo],
    targets: &[Target],
    cache: Option<&Cache>,
    progress: &Progress,
) -> Result<(Vec<Compiled>, Counts), Vec<Failure>> {
    let mut engines = BTreeMap::new();
    let mut jobs = Vec::new();
    for component in components {
        for target in targets {
            jobs.push((*component, *target));
            engines
                .entry((component.record().profile, *target))
                .or_insert_with(|| engine(component.record().profile, *target));
        }
    }
    let compiled = AtomicUsize::new(0);
    progress.start(jobs.len());
    let results: Vec<Result<Compiled, Failure>> = jobs
        .into_par_iter()
        .map(|(component, target)| {
            let engine =
                engines[&(component.record().profile, target)].as_ref().map_err(|error| anyhow!("{error:#}"));
            let result = engine.and_then(|engine| one(component, target, engine, cache, &compiled));
            progress.advance();
            result.map_err(|error| Failure { component: component.record().digest, error })
        })
        .collect();
    progress.finish();
    let compiled = compiled.into_inner();
    let mut all = Vec::with_capacity(results.len());
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(one) => all.push(one),
            Err(failure) => failures.push(failure),
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    all.sort_by_key(|one| (one.artifact.component, one.artifact.profile, one.artifact.target));
    let counts = Counts { compiled, cached: all.len() - compiled };
    Ok((all, counts))
}

fn one(
    component: &ComponentInfo,
    target: Target,
    engine: &Engine,
    cache: Option<&Cache>,
    compiled: &AtomicUsize,
) -> anyhow::Result<Compiled> {
    let profile = component.record().profile;
    let fingerprint = EngineOptions::new(profile).fingerprint();
    let key = key(component.record().digest, &fingerprint, target, COMPILER_VERSION);
    let bytes = match cache.and_then(|cache| cache.get(key)) {
        Some(bytes) => bytes,
        None => {
            compiled.fetch_add(1, Ordering::Relaxed);
            let source = component.bytes().map_err(|faults| {
                let messages: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
                anyhow!("{}", messages.join("; "))
            })?;
            let bytes = engine.precompile_component(&source).map_err(|error| anyhow!("{error:#}"))?;
            if let Some(cache) = cache {
                cache.put(key, &bytes);
            }
            bytes
        }
    };
    let artifact = Artifact {
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        component: component.record().digest,
        profile,
        target,
        compiler: COMPILER_VERSION.to_owned(),
        engine: fingerprint,
    };
    Ok(Compiled { artifact, bytes })
}

/// Everything that decides what is generated.
fn key(component: Digest, fingerprint: &str, target: Target, version: &str) -> Digest {
    let (component, target) = (component.to_string(), target.to_string());
    let parts = [component.as_str(), fingerprint, &target, version];
    Digest::of_parts(parts.iter().map(|part| part.as_bytes()).chain([REVISION]))
}

/// An engine that compiles for `target` and for nothing that this machine happens to have beyond it.
pub(crate) fn engine(profile: Profile, target: Target) -> anyhow::Result<Engine> {
    let mut config = Config::new();
    let options = EngineOptions::new(profile);
    options.apply(&mut config).map_err(|error| anyhow!("{error:#}"))?;
    config.parallel_compilation(true);
    config.target(target.triple.as_str()).map_err(|error| anyhow!("{error:#}"))?;
    if let Some(preset) = preset(target) {
        enable(&mut config, preset);
    }
    Engine::new(&config).map_err(|error| anyhow!("no code generator for `{target}`: {error:#}"))
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
    use super::*;

    #[test]
    fn every_part_of_the_key_counts() {
        let target = |text: &str| text.parse::<Target>().unwrap();
        let v2 = target("x86_64-unknown-linux-gnu:v2");
        let base = key(Digest::of(b"a"), "f", v2, "48.0.8");
        assert_eq!(base, key(Digest::of(b"a"), "f", v2, "48.0.8"));
        assert_ne!(base, key(Digest::of(b"b"), "f", v2, "48.0.8"));
        assert_ne!(base, key(Digest::of(b"a"), "g", v2, "48.0.8"));
        assert_ne!(base, key(Digest::of(b"a"), "f", target("x86_64-unknown-linux-gnu:v3"), "48.0.8"));
        assert_ne!(base, key(Digest::of(b"a"), "f", v2, "48.0.9"));
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
