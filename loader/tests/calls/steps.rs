//! A component that is driven by its host: `acme:host/control` has one function, `step`, and what it does is
//! the test's.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use loader::config::Ticking;
use loader::{Loader, LoaderBuilder, Options};

use crate::support::Registry;

/// The interface as the host offers it.
pub(crate) const CONTROL: &str = "acme:host/control@1.0.0";

/// The component around a core module's functions, which may call `$step`.
fn component(functions: &str, exports: &str) -> String {
    format!(
        r#"(component
  (import "acme:host/control@1.0.0" (instance $control
    (export "step" (func (param "n" u32) (result u32)))))
  (core func $step (canon lower (func $control "step")))
  (core module $module
    (import "control" "step" (func $step (param i32) (result i32)))
    {functions})
  (core instance $instance (instantiate $module
    (with "control" (instance (export "step" (func $step))))))
  {exports})"#
    )
}

fn export(name: &str) -> String {
    let lift = format!("(canon lift (core func $instance \"{name}\"))");
    format!("(func (export \"{name}\") (param \"n\" u32) (result u32) {lift})\n  ")
}

impl Registry {
    /// Adds `spin`, which calls `step` with what it returned until that is zero, or `once`, which returns
    /// what `step` returned; `more` are further fields.
    pub(crate) fn stepping(self, name: &str, method: &str, more: &str) -> Self {
        let source = component(
            r#"(func (export "once") (param i32) (result i32)
      (call $step (local.get 0)))
    (func (export "spin") (param i32) (result i32)
      (loop $again
        (local.set 0 (call $step (local.get 0)))
        (br_if $again (local.get 0)))
      (local.get 0))"#,
            &(export("once") + &export("spin")),
        );
        self.wat(name, &source, &format!("method: {method}\n{more}"))
    }

    /// Adds `spin` as a process.
    pub(crate) fn stepping_process(self, name: &str) -> Self {
        let spin = r#"(func (export "spin") (param i32) (result i32)
      (loop $again
        (local.set 0 (call $step (local.get 0)))
        (br_if $again (local.get 0)))
      (local.get 0))"#;
        self.process_text(name, &component(spin, &export("spin")), "spin", GRANTED)
    }

    /// Adds a component whose start function spins.
    pub(crate) fn stepping_at_start(self, name: &str, more: &str) -> Self {
        let source = component(
            r#"(func $start (loop $again (br_if $again (call $step (i32.const 1)))))
    (start $start)
    (func (export "run") (param i32) (result i32) (local.get 0))"#,
            &export("run"),
        );
        self.wat(name, &source, &format!("method: run\n{more}"))
    }
}

/// Grants the interface.
pub(crate) const GRANTED: &str = "imports: [\"acme:host/control\"]";

/// What a step of the host can use.
#[derive(Clone, Default)]
pub(crate) struct Host {
    loader: Arc<OnceLock<Loader>>,
    steps: Arc<AtomicU32>,
}

impl Host {
    /// The loader that runs the guest.
    pub(crate) fn loader(&self) -> &Loader {
        self.loader.get().expect("guests run once the loader is open")
    }

    /// How many steps were begun.
    pub(crate) fn steps(&self) -> u32 {
        self.steps.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_step(&self) -> u32 {
        self.steps.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Opens a bundle; nothing ticks by itself. `step` gets the host and what the guest gave.
    pub(crate) fn open(
        &self,
        bundle: impl AsRef<Path>,
        step: impl Fn(&Self, u32) -> u32 + Clone + Send + Sync + 'static,
    ) -> Loader {
        let host = self.clone();
        let builder = manual().host_interface(CONTROL, move |interface| {
            let (host, step) = (host.clone(), step.clone());
            interface.func_wrap("step", move |_, (n,): (u32,)| {
                host.begin_step();
                Ok((step(&host, n),))
            })
        });
        self.open_with(builder, bundle)
    }

    /// Opens a bundle with a builder that has the interface.
    pub(crate) fn open_with(&self, builder: LoaderBuilder, bundle: impl AsRef<Path>) -> Loader {
        let loader = builder.open(bundle).expect("the bundle is good");
        assert!(self.loader.set(loader.clone()).is_ok(), "a host serves one loader");
        loader
    }
}

/// A loader whose epoch only [`Loader::tick`] raises.
pub(crate) fn manual() -> LoaderBuilder {
    Loader::builder().options(Options { ticking: Ticking::Manual, ..Options::default() })
}
