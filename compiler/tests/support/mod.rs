//! What tests of builds share.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};

use compiler::diagnostic::Diagnostic;
use compiler::report::{Format, render};
use regex_lite::{Captures, Regex};

/// The folder of golden files whose inputs tests make.
pub(crate) fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares `actual` with the golden file `name`, or rewrites that with `BLESS=1`.
pub(crate) fn golden(name: &str, actual: &str) {
    let path = golden_folder().join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(expected == actual, "== {name}\n-- expected\n{expected}\n-- actual\n{actual}");
}

/// `diagnostics` as people read them, without what differs between two runs: the folder and keys of the cache.
pub(crate) fn text(diagnostics: &[Diagnostic], folder: &Path) -> String {
    let mut out = Vec::new();
    render(diagnostics, Format::Human { color: false }, &mut out).unwrap();
    scrubbed(&String::from_utf8(out).unwrap(), folder)
}

/// `text` without what differs between two runs.
pub(crate) fn scrubbed(text: &str, folder: &Path) -> String {
    let text = text.replace(&*folder.to_string_lossy(), "FOLDER");
    let keys = Regex::new("[0-9a-f]{2}/[0-9a-f]{62}").unwrap();
    keys.replace_all(&text, |_: &Captures<'_>| "KEY").into_owned()
}
