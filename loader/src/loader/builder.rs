//! How a loader is set up and its bundle opened.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Instant;

use registry_schema::manifest::MANIFEST_FILE;
use wasmtime::component::LinkerInstance;

use super::{Inner, Loader};
use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::closing::Closing;
use crate::config::Options;
use crate::engines::Engines;
use crate::environment::{Environment, Variables};
use crate::error::OpenError;
use crate::guest_log::GuestLog;
use crate::host_state::HostState;
use crate::hosts::{EmbedderInterface, Hosts};
use crate::pool::bound::Bound;
use crate::pool::workers::{Cores, Workers};
#[cfg(feature = "lua")]
use crate::process::Processes;
#[cfg(feature = "lua")]
use crate::security::Security;
use crate::settings::Settings;
#[cfg(feature = "http")]
use crate::settings::Source;
use crate::telemetry::Telemetry;
use crate::ticker::Ticker;
#[cfg(feature = "http")]
use crate::tls::Unusable;

/// Sets a loader up.
#[derive(Default)]
pub struct LoaderBuilder {
    options: Options,
    interfaces: Vec<EmbedderInterface>,
    log: Option<Arc<dyn GuestLog>>,
    previous: Option<Arc<Inner>>,
}

impl LoaderBuilder {
    /// Makes the loader one that takes the place of `previous`: both have one bound on instances, one on Lua
    /// invocations, one on memory and one on outgoing connections, one set of call counters, and services of one after
    /// those of the other listen on the same sockets. What `Deployment` puts in its place must be one.
    #[must_use]
    pub fn succeeding(mut self, previous: &Loader) -> Self {
        self.previous = Some(Arc::clone(&previous.inner));
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sends the output of functions to `log`. Default: to the subscriber of `tracing` that the program has
    /// set, else to standard error as the settings `logger` and `logmanager` say; without the feature
    /// `telemetry` to standard error.
    #[must_use]
    pub fn guest_log(mut self, log: impl GuestLog) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// Offers an interface of the embedding program, by its full name such as `acme:kv/store@1.0.0`.
    ///
    /// `define` adds its functions; it runs once per set of grants and profile. Only entries whose
    /// `imports` name the interface get it; entries that name one that is not offered are unavailable.
    #[must_use]
    pub fn host_interface<F>(mut self, name: impl Into<String>, define: F) -> Self
    where
        F: Fn(&mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> + Send + Sync + 'static,
    {
        self.interfaces.push(EmbedderInterface { name: name.into(), define: Box::new(define) });
        self
    }

    /// Opens the bundle in `path`.
    ///
    /// # Errors
    /// See [`Bundle::open`]; [`OpenError::Settings`] for settings that can't be used, [`OpenError::Roots`] for
    /// files of root certificates.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Loader, OpenError> {
        self.open_staged(path, MANIFEST_FILE)
    }

    /// Like [`LoaderBuilder::open`], for a bundle that a build has not put in place yet: `manifest` is the
    /// file in `path` that becomes its manifest.
    ///
    /// # Errors
    /// Those of [`LoaderBuilder::open`].
    pub fn open_staged(self, path: impl AsRef<Path>, manifest: &str) -> Result<Loader, OpenError> {
        let opened = Instant::now();
        let bundle = Bundle::open_manifest(path.as_ref(), manifest, &self.options)?;
        let ticker = Ticker::new(self.options.ticking);
        let variables = Variables::default();
        let settings = {
            let root = self.options.root.clone().unwrap_or_default();
            let environment = Environment::new(bundle.manifest(), root, &variables);
            let built = &bundle.manifest().head().config;
            Settings::read(built, &environment, &self.options.overrides).map_err(OpenError::Settings)?
        };
        let total = &settings.wasm.total;
        let places = self.options.instances_max.unwrap_or(total.max_instances as usize).max(1);
        let memory_bytes_max = self.options.memory_bytes_max.or(total.max_memory_bytes);
        let previous = self.previous.as_deref();
        let bound = || Arc::new(Bound::new(places, "`wasm.total.max_instances`"));
        let budget = || Budget::new(memory_bytes_max);
        #[cfg(feature = "lua")]
        let lua_states =
            || crate::lua::States::new(self.options.lua_states_max.unwrap_or(crate::config::LUA_STATES_MAX));
        #[cfg(feature = "wasi")]
        let names = previous.map_or_else(crate::egress::Names::new, |previous| previous.names.clone());
        #[cfg(feature = "http")]
        let egress = {
            let tls = tls(&settings, &self.options)?;
            match previous {
                Some(previous) => previous.egress.successor(tls, names.clone()),
                None => crate::egress::Egress::new(tls, names.clone()),
            }
        };
        let inner = Inner {
            engines: Engines::new(bundle.target(), Arc::clone(&ticker)),
            bundle,
            bound: previous.map_or_else(bound, |previous| Arc::clone(&previous.bound)),
            workers: Workers::new(Cores::new(&settings.scheduler.wasm_isolation)),
            budget: previous.map_or_else(budget, |previous| Arc::clone(&previous.budget)),
            #[cfg(feature = "http")]
            egress,
            #[cfg(feature = "wasi")]
            names,
            components: Mutex::default(),
            callables: RwLock::default(),
            #[cfg(feature = "lua")]
            lua: previous.map_or_else(lua_states, |previous| crate::lua::States::succeeding(&previous.lua)),
            hosts: Hosts::new(self.interfaces),
            ticker,
            log: self.log.unwrap_or_else(|| default_log(&settings, &self.options)),
            telemetry: Telemetry::new(&settings, opened, previous.map(|previous| &previous.telemetry)),
            #[cfg(feature = "lua")]
            security: Security::new(settings.security.strict_mode),
            settings,
            options: self.options,
            #[cfg(feature = "lua")]
            processes: Processes::default(),
            #[cfg(all(feature = "http", any(feature = "lua", feature = "telemetry")))]
            listeners: previous.map(|previous| previous.listeners.clone()).unwrap_or_default(),
            closing: Closing::default(),
            variables,
            copied_said: OnceLock::new(),
        };
        Ok(Loader { inner: Arc::new(inner) })
    }
}

/// What outgoing connections trust. A file that can't be used is an error now: a guest would only see that no
/// connection can be encrypted. What all programs of a machine are given, and most calls don't need, is read when
/// something first connects: it is large.
#[cfg(feature = "http")]
fn tls(settings: &Settings, options: &Options) -> Result<crate::egress::Tls, OpenError> {
    let source = settings.source("tls.ca_files");
    let from = match (source, &options.root) {
        (Source::Bundle, Some(root)) => root.as_path(),
        _ => Path::new(""),
    };
    let mut files: Vec<_> = settings.tls.ca_files.iter().map(|file| from.join(file)).collect();
    files.extend(options.extra_roots.iter().cloned());
    let is_late = files.is_empty() || (options.extra_roots.is_empty() && source.is("SSL_CERT_FILE"));
    let tls = crate::egress::Tls::new(files);
    if is_late {
        return Ok(tls);
    }
    tls.roots().map_err(|Unusable { at, problem, hint }| {
        let named_by = match at < settings.tls.ca_files.len() {
            true => format!("setting `tls.ca_files` of {source}"),
            false => "`Options::extra_roots`".to_owned(),
        };
        OpenError::Roots { named_by, problem, hint }
    })?;
    Ok(tls)
}

/// Where the output of functions goes unless the embedding program says.
#[cfg(feature = "telemetry")]
fn default_log(settings: &Settings, options: &Options) -> Arc<dyn GuestLog> {
    Arc::new(crate::telemetry::Logger::new(settings, options.log_times))
}

#[cfg(not(feature = "telemetry"))]
fn default_log(_: &Settings, _: &Options) -> Arc<dyn GuestLog> {
    Arc::new(crate::guest_log::StderrLog)
}
