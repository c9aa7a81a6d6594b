//! Loaders of nothing but data entries, for tests: no compiler is needed for these.

use registry_schema::engine::COMPILER_VERSION;
use registry_schema::envelope::to_bytes;
use registry_schema::manifest::{Body, Entry, Head, MANIFEST_FILE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::Options;
use crate::error::OpenError;
use crate::guest_log::{GuestLog, Stream};
use crate::loader::Loader;
use crate::support::temporary_folder;

/// A loader, and the folder that it runs in.
pub(crate) struct Opened {
    pub(crate) loader: Loader,
    pub(crate) _folder: TempDir,
}

/// Opens a bundle of `entries`, pairs of id and kind with their fields, and of the settings `config`.
pub(crate) fn open(config: Value, entries: &[(&str, &str, Value)]) -> Opened {
    open_with_log(config, entries, Nowhere)
}

struct Nowhere;

impl GuestLog for Nowhere {
    fn line(&self, _: &registry_schema::EntryId, _: Stream, _: &str) {}
}

/// Like [`open`], with a log.
pub(crate) fn open_with_log(config: Value, entries: &[(&str, &str, Value)], log: impl GuestLog) -> Opened {
    let entries = entries.iter().map(|(id, kind, data)| {
        let mut data = data.clone();
        let unavailable = data.as_object_mut().and_then(|data| data.remove("unavailable"));
        let entry = json!({"id": id, "kind": kind, "data": data, "unavailable": unavailable});
        serde_json::from_value(entry).expect("tests write entries")
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    let folder = write(config, entries);
    let options = Options { root: Some(folder.path().to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).guest_log(log).open(folder.path());
    Opened { loader: loader.expect("the bundle is good"), _folder: folder }
}

/// Opens a bundle that has only settings, which may be wrong.
pub(crate) fn try_open(config: Value, options: Options) -> (TempDir, Result<Loader, OpenError>) {
    let folder = write(config, Vec::new());
    let opened = Loader::builder().options(options).open(folder.path());
    (folder, opened)
}

/// Writes a bundle.
fn write(config: Value, entries: Vec<Entry>) -> TempDir {
    let config = serde_json::from_value(config).expect("settings are a mapping");
    let head = Head { compiler: COMPILER_VERSION.to_owned(), config, ..Head::default() };
    let bytes = to_bytes(&Body { head, entries, ..Body::default() }).expect("plain data");
    let folder = temporary_folder();
    std::fs::write(folder.path().join(MANIFEST_FILE), bytes).expect("the folder is ours");
    folder
}
