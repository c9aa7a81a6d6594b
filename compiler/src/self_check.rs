//! The last pass before a bundle is put in place: what was written is loaded through the loader's own code.
//!
//! Every artifact that this machine can run, whatever its target, is mapped, checked, linked and compared
//! with the manifest. Artifacts for other machines have digest, size and header checked. What is found is a
//! fault of the compiler, the cache or the disk: those of the registry were found before.

use std::path::Path;

use loader::settings::Overrides;
use loader::trust::{Trust, VerifyKey};
use loader::{Bundle, ErrorKind, Fault, Loader, Options, PassedOver};
use registry_schema::Target;
use registry_schema::manifest::Body;

use crate::build::BuildOptions;
use crate::diagnostic::{Code, Diagnostic};
use crate::registry::Registry;
use crate::sign::SignKey;

fn failed(message: String) -> Diagnostic {
    Diagnostic::new(Code::SelfCheckFailed, message).help(
        "the bundle that was there before is whole; build again with `--no-cache`, and report what stays",
    )
}

/// Loads the bundle that was built as `built` says and is staged: its manifest is the file `manifest`. Tells what
/// does not come back as it was written.
pub(crate) fn run(built: &BuildOptions, manifest: &str, body: &Body, registry: &Registry) -> Vec<Diagnostic> {
    let key = built.sign_key.as_ref().map(SignKey::public);
    match files(&built.out, manifest, body, key.as_ref()) {
        Err(error) => vec![failed(error)],
        Ok((diagnostics, _)) if !diagnostics.is_empty() => diagnostics,
        Ok((_, targets)) => {
            let trust = Trust { keys: key.into_iter().collect(), ..Trust::default() };
            let load = |target| {
                // The settings of where it will run are not known here.
                let overrides = Overrides::defaults_only();
                let options = Options { target, trust: trust.clone(), overrides, ..Options::default() };
                load(&built.out, manifest, options, registry)
            };
            targets.into_iter().flat_map(load).collect()
        }
    }
}

/// Reads every file of the bundle in `out` without loading any; says what is wrong with them, and with the
/// artifacts of which targets it can be loaded here; `None` where there are no artifacts.
fn files(
    out: &Path,
    manifest: &str,
    body: &Body,
    key: Option<&VerifyKey>,
) -> Result<(Vec<Diagnostic>, Vec<Option<Target>>), String> {
    let bundle = Bundle::read_staged(out, manifest).map_err(|error| error.to_string())?;
    let manifest = bundle.manifest();
    let signed = |key: &VerifyKey| {
        manifest.signature().is_some_and(|signature| key.has_signed(manifest.digest(), signature))
    };
    if !key.is_none_or(signed) {
        return Err("the signature does not read back as it was written".to_owned());
    }
    if manifest.body().ok().as_ref() != Some(body) {
        return Err("the manifest does not read back as it was written".to_owned());
    }
    let damaged = bundle.damaged_files().map_err(|error| error.to_string())?.into_iter();
    let damaged = damaged.map(|(path, error)| failed(format!("`{path}`: {error}"))).collect();
    if body.artifacts.is_empty() {
        return Ok((damaged, vec![None]));
    }
    let foreign: Vec<Target> = bundle
        .passed_over()
        .into_iter()
        .filter(|(_, why)| !matches!(why, PassedOver::Better(_)))
        .map(|(target, _)| target)
        .collect();
    let targets = body.head.targets.iter().copied().filter(|target| !foreign.contains(target));
    Ok((damaged, targets.map(Some).collect()))
}

/// Loads and links every entry.
fn load(out: &Path, manifest: &str, options: Options, registry: &Registry) -> Vec<Diagnostic> {
    let loader = match Loader::builder().options(options).open_staged(out, manifest) {
        Ok(loader) => loader,
        Err(error) => return vec![failed(error.to_string())],
    };
    let mut diagnostics = Vec::new();
    let (verified, entries) = match (loader.verify(), loader.entries()) {
        (Ok(verified), Ok(entries)) => (verified, entries),
        (Err(error), _) | (_, Err(error)) => return vec![failed(error.to_string())],
    };
    for fault in verified.faults {
        diagnostics.push(match fault {
            Fault::File { path, problem } => failed(format!("`{path}`: {problem}")),
            // The deployment's settings are not those of the build.
            Fault::Entry { kind: ErrorKind::Unavailable, .. } => continue,
            Fault::Entry { id, problem, .. } => {
                let diagnostic = failed(problem).entry(&id);
                match registry.entries.get(&id) {
                    Some(entry) => diagnostic.at(entry.place()),
                    None => diagnostic,
                }
            }
        });
    }
    for entry in entries {
        let id = entry.id.to_string();
        let (Some(signature), None) = (entry.signature, &entry.unavailable) else { continue };
        if let Ok(function) = loader.function(&id) {
            let names: Vec<&str> = function.params().iter().map(|(name, _)| name.as_str()).collect();
            let recorded: Vec<&str> = signature.params.iter().map(|param| param.name.as_str()).collect();
            if names != recorded {
                diagnostics
                    .push(failed(format!("`{id}` has parameters {names:?}, the manifest says {recorded:?}")));
            }
        }
    }
    diagnostics
}
