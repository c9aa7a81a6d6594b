//! What flags, environment, `.wippy.yaml` as built and defaults decide (`en/guides/configuration.md`).
//!
//! One struct per section, its values typed and checked when the bundle is opened. A flag wins over the
//! environment, that over `.wippy.yaml`, that over the default; a value that is overridden is not even
//! resolved. A key that no section has is an error, since it may be what restricts.
//!
//! To add a setting: a field in its section's struct and one line in the section's `read`, by its full path.
//! The reader lists it with its source for `loader config`, knows it by `--set` and by its variable
//! (`wasm.limits.max_instances` is `WIPPY_WASM_LIMITS_MAX_INSTANCES`), and the compiler checks it at build
//! time. A new section also needs its name in [`SECTIONS`].

mod filter;
mod observability;
mod overrides;
mod reader;
mod runtime;
mod tls;

use std::fmt;

use serde_json::{Map, Value};

use crate::environment::Environment;

pub use filter::Filter;
pub use observability::{Encoding, LogManager, Logger, Otel, OtelHttp, OtelProcess, Prometheus, Protocol};
pub use overrides::Overrides;
use reader::Reader;
pub use runtime::{Scheduler, Security, Shutdown, Supervisor, Wasm, WasmIsolation, WasmLimits, WasmTotal};
pub use tls::Tls;

/// The sections of `.wippy.yaml` that travel in a bundle.
pub const SECTIONS: [&str; 11] = [
    "logger",
    "logmanager",
    "metrics",
    "otel",
    "prometheus",
    "scheduler",
    "security",
    "shutdown",
    "supervisor",
    "tls",
    "wasm",
];

/// Everything that is settled for a loader as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is logged, and how.
    pub logger: Logger,
    /// Whether and from which level on the log is written.
    pub logmanager: LogManager,
    /// Traces.
    pub otel: Otel,
    /// Metrics.
    pub prometheus: Prometheus,
    /// Threads.
    pub scheduler: Scheduler,
    /// Who may do what when nobody is known to ask.
    pub security: Security,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Services.
    pub supervisor: Supervisor,
    /// Encrypted connections that go out.
    pub tls: Tls,
    /// WebAssembly entries.
    pub wasm: Wasm,
    listed: Vec<Listed>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag, such as `--set`.
    Flag(&'static str),
    /// A variable of the process's environment.
    Environment(String),
    /// `.wippy.yaml`, as built into the bundle.
    Bundle,
    /// Nothing sets it.
    Default,
}

#[cfg(feature = "http")]
impl Source {
    /// Whether it is the variable `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Environment(variable) if variable == name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "`{flag}`"),
            Self::Environment(name) => write!(f, "environment `{name}`"),
            Self::Bundle => f.write_str("`.wippy.yaml`"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting as `loader config` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path, such as `prometheus.address`.
    pub path: &'static str,
    /// Its value; `(hidden)` for a secret, `(unset)` where there is none.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
    /// Whether this loader does anything with it.
    pub effect: Effect,
}

/// Whether a documented setting changes anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Applied,
    /// It is accepted, since applications have it, and changes nothing.
    None,
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's path.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it, if that is known.
    pub help: Option<String>,
    /// Where it was set.
    pub source: Source,
    /// Whether there is no such setting; else its value is wrong.
    pub is_unknown: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting `{}` of {}: {}", self.path, self.source, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhint: {help}"),
            None => Ok(()),
        }
    }
}

/// Settings that can't be used: everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// One or more, in the order of their paths.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Reads the settings of a bundle.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn read(
        bundle: &Map<String, Value>,
        environment: &Environment<'_>,
        overrides: &Overrides,
    ) -> Result<Self, SettingsError> {
        Self::read_with(Reader::new(bundle, Some(environment), overrides))
    }

    fn read_with(mut reader: Reader<'_>) -> Result<Self, SettingsError> {
        let logger = Logger::read(&mut reader);
        let logmanager = LogManager::read(&mut reader);
        observability::read_metrics(&mut reader);
        let otel = Otel::read(&mut reader);
        let prometheus = Prometheus::read(&mut reader);
        let scheduler = Scheduler::read(&mut reader);
        let security = Security::read(&mut reader);
        let shutdown = Shutdown::read(&mut reader);
        let supervisor = Supervisor::read(&mut reader);
        let tls = Tls::read(&mut reader);
        let wasm = Wasm::read(&mut reader);
        let listed = reader.finish()?;
        Ok(Self {
            logger,
            logmanager,
            otel,
            prometheus,
            scheduler,
            security,
            shutdown,
            supervisor,
            tls,
            wasm,
            listed,
        })
    }

    /// Every setting with its value and where that came from, in the order of the sections.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Where the setting `path` came from.
    #[cfg(feature = "http")]
    pub(crate) fn source(&self, path: &str) -> &Source {
        let listed = self.listed.iter().find(|listed| listed.path == path);
        listed.map_or(&Source::Default, |listed| &listed.source)
    }
}

/// What is wrong with `sections` of a `.wippy.yaml`, as far as a build can tell: placeholders are resolved
/// when the bundle is opened.
pub fn check(sections: &Map<String, Value>) -> Vec<Problem> {
    let overrides = Overrides::default();
    match Settings::read_with(Reader::new(sections, None, &overrides)) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems,
    }
}

#[cfg(all(test, feature = "lua"))]
mod tests;
