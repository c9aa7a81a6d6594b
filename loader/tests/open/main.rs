//! Opening a bundle: each way in which its manifest can be unfit, alone and with its exact message, and
//! what a damaged file does to the entries that need it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod damage;
mod fit;
mod manifest;
mod regions;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "signatures")]
mod trust;

use std::path::Path;

use loader::{Loader, OpenError};
use registry_schema::Target;
use rustix::fs::{FileType, Mode};
use serde_json::Value;
use support::{Built, Registry};

pub(crate) const REBUILD: &str = "\nrebuild it with the compiler of this loader's version: `compiler build`";
pub(crate) const BUILD_FIRST: &str =
    "\nbuild the bundle first: `compiler build`, or name another with `--bundle DIR`";

/// A change of a manifest's body or of a part of it.
pub(crate) type Edit = fn(&mut Value);

pub(crate) fn small() -> Built {
    Registry::new().answer("answer", 42).build()
}

pub(crate) fn error(bundle: impl AsRef<Path>) -> OpenError {
    match Loader::open(bundle) {
        Ok(_) => panic!("the bundle was opened"),
        Err(error) => error,
    }
}

pub(crate) fn refusal(bundle: impl AsRef<Path>) -> String {
    error(bundle).to_string()
}

/// The message of a bundle that differs in `lines`.
pub(crate) fn does_not_fit(lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("the bundle does not fit this loader:{lines}{REBUILD}")
}

/// The message of a bundle that differs in `lines`, and has no target for this machine: `found` says which ones.
pub(crate) fn does_not_run(lines: &[String], found: &str) -> String {
    let best = best();
    // The compiler's default, unless this CPU is older than that.
    let build_for = best.min(Target::host().expect("tests run on a supported machine"));
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    let rebuild = REBUILD.trim_end_matches('`');
    format!(
        "the bundle does not fit this loader:{lines}\n  target: expected up to `{best}`, {found}\
         {rebuild} --target {build_for}`"
    )
}

/// The best target that this machine runs, of its own kind.
fn best() -> Target {
    let built = small();
    built.edit_body(|body| {
        let native: Vec<Target> = Target::all().filter(|target| target.triple.is_native()).collect();
        body["head"]["targets"] = serde_json::json!(native);
    });
    let loader = Loader::open(&built).expect("it has targets for every machine");
    loader.bundle().target().expect("tests run on a supported machine")
}

/// A target of another kind of machine than this one.
pub(crate) fn foreign() -> Target {
    let host = Target::host().expect("tests run on a supported machine");
    let mut others = Target::all().filter(|target| target.triple != host.triple);
    others.find(|target| target.triple.is_native()).expect("there are several")
}

/// Makes a pipe with a name.
pub(crate) fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
