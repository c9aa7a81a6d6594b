//! Runs Lua of tests against modules: a bundle with one function, on a runtime whose clock is paused.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mlua::{Lua, Table};
use registry_schema::engine::COMPILER_VERSION;
use registry_schema::envelope::to_bytes;
use registry_schema::manifest::{Body, Entry, FileRecord, Head, LuaEntry, MANIFEST_FILE, lua_path};
use registry_schema::{Digest, EntryId};
use serde_json::json;
use tempfile::TempDir;

use crate::context::Context;
use crate::guest_log::{GuestLog, Stream};
use crate::loader::Loader;
use crate::lua::host::Host;
use crate::{Options, support};

/// What a module's `module` is.
type Build = fn(&Lua, &Host) -> mlua::Result<Table>;

/// A bundle and the modules that are globals of its one Lua entry, `app:test`.
pub(super) struct Harness {
    modules: Vec<(&'static str, Build)>,
    entries: Vec<Entry>,
    files: Vec<(String, Vec<u8>)>,
    damaged: Vec<(String, Vec<u8>)>,
    root: Option<PathBuf>,
    settings: serde_json::Map<String, serde_json::Value>,
    context: fn(&Loader) -> Context,
    log: Arc<Mutex<Vec<String>>>,
}

struct Kept(Arc<Mutex<Vec<String>>>);

impl GuestLog for Kept {
    fn line(&self, entry: &EntryId, _: Stream, line: &str) {
        self.0.lock().unwrap().push(format!("[{entry}] {line}"));
    }
}

impl Harness {
    pub(super) fn new() -> Self {
        let harness = Self {
            modules: Vec::new(),
            entries: Vec::new(),
            files: Vec::new(),
            damaged: Vec::new(),
            root: None,
            settings: serde_json::Map::new(),
            context: |_| Context::default(),
            log: Arc::default(),
        };
        harness.module("errors", super::errors::module).entry(
            "app:test",
            "function.lua",
            json!({}),
            json!({}),
        )
    }

    /// Adds a module as the global `name`.
    pub(super) fn module(mut self, name: &'static str, build: Build) -> Self {
        self.modules.push((name, build));
        self
    }

    /// Adds an entry.
    pub(super) fn entry(
        mut self,
        id: &str,
        kind: &str,
        meta: serde_json::Value,
        data: serde_json::Value,
    ) -> Self {
        let serde_json::Value::Object(meta) = meta else { panic!("meta is an object") };
        let (id, kind) = (id.parse().unwrap(), kind.to_owned());
        let (unavailable, wasm, lua, module_folder) = (None, None, None, None);
        self.entries.push(Entry { id, kind, meta, unavailable, wasm, lua, module_folder, data });
        self
    }

    /// Adds a file of the bundle.
    pub(super) fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.to_owned(), bytes.to_vec()));
        self
    }

    /// Puts other bytes in a file of the bundle than the manifest says.
    pub(super) fn damaged(mut self, path: &str, bytes: &[u8]) -> Self {
        self.damaged.push((path.to_owned(), bytes.to_vec()));
        self
    }

    /// Sets the folder that relative paths of entries are resolved in.
    pub(super) fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Sets the application's configuration, sections by name.
    pub(super) fn settings(mut self, settings: serde_json::Value) -> Self {
        let serde_json::Value::Object(settings) = settings else { panic!("settings are an object") };
        self.settings = settings;
        self
    }

    /// Sets what the function is called with.
    pub(super) fn context(mut self, context: fn(&Loader) -> Context) -> Self {
        self.context = context;
        self
    }

    /// Where lines of the log go.
    pub(super) fn log(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.log)
    }

    /// Runs `source`; its `assert`s are the test's.
    pub(super) fn run(mut self, source: &str) {
        let names: Vec<&str> = self.modules.iter().map(|(name, _)| *name).collect();
        let required: String =
            names.iter().map(|name| format!("local {name} = require('{name}') ")).collect();
        let source = format!("{required}return function() {source}\nend");
        let digest = Digest::of(source.as_bytes());
        self.files.push((lua_path(digest), source.into_bytes()));
        let modules = names.into_iter().map(str::to_owned).collect();
        let test = self.entries.iter_mut().find(|entry| entry.id.to_string() == "app:test").unwrap();
        let imports = std::collections::BTreeMap::default();
        test.lua = Some(LuaEntry { source: digest, method: None, modules, imports, pool: None });
        let (loader, _folder) = self.open();
        let context = (self.context)(&loader);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let outcome = runtime.unwrap().block_on(loader.call_data("app:test", Vec::new(), context));
        if let Err(error) = outcome {
            panic!("{error}\n{}", error.stack().map(ToString::to_string).unwrap_or_default());
        }
    }

    fn open(&self) -> (Loader, TempDir) {
        let folder = support::temporary_folder();
        let mut entries = self.entries.clone();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let compiler = COMPILER_VERSION.to_owned();
        let mut head = Head { compiler, config: self.settings.clone(), ..Head::default() };
        for (path, bytes) in &self.files {
            let record = FileRecord { digest: Digest::of(bytes), size: bytes.len() as u64 };
            head.files.insert(path.clone(), record);
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        for (path, bytes) in &self.damaged {
            std::fs::write(folder.path().join(path), bytes).unwrap();
        }
        let body = Body { head, entries, ..Body::default() };
        std::fs::write(folder.path().join(MANIFEST_FILE), to_bytes(&body).unwrap()).unwrap();
        let options = Options { root: self.root.clone(), ..Options::default() };
        let builder = Loader::builder().options(options).guest_log(Kept(Arc::clone(&self.log)));
        (builder.open(folder.path()).unwrap(), folder)
    }
}
