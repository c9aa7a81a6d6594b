//! The last pass: what was written is loaded through the loader's own code.
//!
//! Every artifact that this machine can run is mapped, checked, linked and compared with the manifest:
//! the host types of every granted interface as well. Artifacts for other machines have their digest
//! and size checked, as every file has.

use std::path::Path;

use loader::{ErrorKind, Fault, Loader};
use registry_schema::manifest::Body;

use crate::diagnostic::{Code, Diagnostic};
use crate::registry::Registry;

/// Loads the bundle in `out`; says what does not come back as it was written.
pub(crate) fn run(out: &Path, body: &Body, registry: &Registry) -> Vec<Diagnostic> {
    let failed = |message: String| Diagnostic::new(Code::SelfCheckFailed, message);
    let loader = match Loader::open(out) {
        Ok(loader) => loader,
        // A bundle for other machines only.
        Err(loader::OpenError::Incompatible(differences))
            if differences.iter().all(|difference| difference.what == "target") =>
        {
            return Vec::new();
        }
        Err(error) => return vec![failed(error.to_string())],
    };
    let mut diagnostics = Vec::new();
    if loader.bundle().manifest().body().ok().as_ref() != Some(body) {
        diagnostics.push(failed("the manifest does not read back as it was written".to_owned()));
    }
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
                let diagnostic = Diagnostic::new(Code::HostTypesMismatch, problem).entry(&id);
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
