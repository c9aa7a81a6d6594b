//! What these tests share.

use std::sync::{Arc, Mutex};

use loader::registry_schema::EntryId;
use loader::{Context, Data, Error, GuestLog, Loader, LoaderBuilder, Options, Stream};

use crate::support::{Built, Registry};

/// Adds a `function.lua` whose chunk is `source`; `more` are further fields, one per line.
pub(crate) fn lua(registry: Registry, name: &str, source: &str, more: &str) -> Registry {
    entry(registry, "function.lua", name, source, more)
}

/// Adds a `library.lua`.
pub(crate) fn library(registry: Registry, name: &str, source: &str, more: &str) -> Registry {
    entry(registry, "library.lua", name, source, more)
}

/// Adds a `process.lua`.
pub(crate) fn process(registry: Registry, name: &str, source: &str, more: &str) -> Registry {
    entry(registry, "process.lua", name, source, more)
}

fn entry(registry: Registry, kind: &str, name: &str, source: &str, more: &str) -> Registry {
    let indented = |text: &str, by: &str| {
        text.trim_matches('\n').lines().map(|line| format!("{by}{}\n", line.trim_end())).collect::<String>()
    };
    let source = indented(source, "    ");
    registry
        .entries(&format!("- name: {name}\n  kind: {kind}\n  source: |\n{source}{}", indented(more, "  ")))
}

/// A bundle and its loader.
pub(crate) struct App {
    pub(crate) loader: Loader,
    lines: Lines,
    _built: Built,
}

/// What entries logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl GuestLog for Lines {
    fn line(&self, entry: &EntryId, _: Stream, line: &str) {
        self.0.lock().unwrap().push(format!("[{entry}] {line}"));
    }
}

impl App {
    pub(crate) fn new(registry: Registry) -> Self {
        Self::with(registry, Options::default())
    }

    pub(crate) fn with(registry: Registry, options: Options) -> Self {
        Self::open(registry.build(), options)
    }

    /// Opens what was built.
    pub(crate) fn open(built: Built, options: Options) -> Self {
        Self::opened(built, |builder| builder.options(options))
    }

    /// With a loader that `with` prepares.
    pub(crate) fn built(registry: Registry, with: impl FnOnce(LoaderBuilder) -> LoaderBuilder) -> Self {
        Self::opened(registry.build(), with)
    }

    fn opened(built: Built, with: impl FnOnce(LoaderBuilder) -> LoaderBuilder) -> Self {
        let lines = Lines::default();
        let loader = with(Loader::builder().guest_log(lines.clone())).open(&built).unwrap();
        Self { loader, lines, _built: built }
    }

    /// What was logged since this was last asked.
    pub(crate) fn logged(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.0.lock().unwrap())
    }

    /// A bundle with one function, `app:f`.
    pub(crate) fn of(source: &str) -> Self {
        Self::new(lua(Registry::new(), "f", source, "modules: [funcs, channel, errors]"))
    }

    pub(crate) async fn call(&self, id: &str, args: Vec<Data>) -> Result<Data, Error> {
        self.loader.call_data(id, args, Context::default()).await
    }

    /// What `app:f` returns.
    pub(crate) async fn f(&self) -> Data {
        self.call("app:f", Vec::new()).await.unwrap()
    }
}
