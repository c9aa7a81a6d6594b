//! What these tests share.

use std::sync::{Arc, Mutex};

use loader::registry_schema::EntryId;
use loader::{Context, Data, Error, GuestLog, Loader, Options, Stream};

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
        let lines = Lines::default();
        let loader = Loader::builder().options(options).guest_log(lines.clone()).open(&built).unwrap();
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

/// A component whose function `call` calls the target that it is given, by `call-string`, and returns what
/// came back. With `more` it needs the engine that `more` asks for.
pub(crate) fn trampoline(more: &str) -> String {
    trampoline_by("call-string", "string", more)
}

/// The same by `function`, one of `wippy:runtime/funcs`, whose input and answer have the type `data`.
pub(crate) fn trampoline_by(function: &str, data: &str, more: &str) -> String {
    format!(
        r#"(component
  (import "wippy:runtime/funcs@0.1.0" (instance $funcs
    (export "{function}" (func (param "target" string) (param "input" {data})
      (result (result {data} (error string)))))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $call (canon lower (func $funcs "{function}")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $module
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32)))
    (func (export "call") (param i32 i32 i32 i32) (result i32)
      (call $call (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 16))
      (i32.const 16)))
  (core instance $instance (instantiate $module (with "host" (instance (export "call" (func $call))))))
  (func (export "call") (param "target" string) (param "input" {data}) (result (result {data} (error string)))
    (canon lift (core func $instance "call") (memory $libc "memory") (realloc (func $libc "realloc"))))
  {more})"#
    )
}
