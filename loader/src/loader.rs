//! The loader: an opened bundle, its engines and its callables.

mod builder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use registry_schema::grants::Group;
use registry_schema::manifest::{Entry, WasmEntry};
use registry_schema::wit::Signature;
use registry_schema::{Digest, EntryId, ErrorKind, Profile};
use wasmtime::Engine;
use wasmtime::component::{Component, Type, Val};

use crate::budget::{Budget, MemorySnapshot};
use crate::bulk::Value;
use crate::bundle::Bundle;
#[cfg(feature = "lua")]
use crate::calls::Retry;
use crate::closing::Closing;
use crate::config::{Allocation, BLOCKING_THREADS_MAX, Options};
use crate::context::Context;
#[cfg(feature = "lua")]
use crate::data::Data;
use crate::engines::{self, Engines};
use crate::environment::{Environment, Variables};
use crate::error::{Error, OpenError};
use crate::function::WasmFunction;
use crate::guest_log::GuestLog;
use crate::hosts::{Hosts, Stdio};
use crate::limits::EntryLimits;
use crate::mapping::{self, Expected, Loaded};
use crate::pool::bound::{Bound, InstancesSnapshot};
use crate::pool::workers::Workers;
use crate::pool::{self, Patience, Pool, PoolSnapshot};
#[cfg(feature = "lua")]
use crate::process::Processes;
use crate::reservation::Reservation;
#[cfg(feature = "lua")]
use crate::security::Security;
use crate::settings::Settings;
use crate::task;
use crate::telemetry::Telemetry;
use crate::ticker::Ticker;
pub use builder::LoaderBuilder;

/// Serves the calls of one bundle. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Loader {
    inner: Arc<Inner>,
}

/// What a loader's clones and its running calls share.
pub(crate) struct Inner {
    pub(crate) bundle: Bundle,
    options: Options,
    engines: Engines,
    components: Mutex<HashMap<(Digest, Allocation), Component>>,
    callables: RwLock<HashMap<String, Callable>>,
    #[cfg(feature = "lua")]
    pub(crate) lua: crate::lua::States,
    pub(crate) hosts: Hosts,
    #[cfg(feature = "wasi")]
    pub(crate) names: crate::egress::Names,
    #[cfg(feature = "http")]
    pub(crate) egress: crate::egress::Egress,
    pub(crate) ticker: Arc<Ticker>,
    /// Places for instances.
    pub(crate) bound: Arc<Bound>,
    /// Threads of worker classes.
    pub(crate) workers: Workers,
    /// Memory of all guests.
    pub(crate) budget: Arc<Budget>,
    pub(crate) log: Arc<dyn GuestLog>,
    pub(crate) telemetry: Telemetry,
    #[cfg(feature = "lua")]
    pub(crate) security: Security,
    pub(crate) settings: Settings,
    #[cfg(feature = "lua")]
    pub(crate) processes: Processes,
    #[cfg(all(feature = "http", any(feature = "lua", feature = "telemetry")))]
    pub(crate) listeners: crate::supervisor::Listeners,
    pub(crate) closing: Closing,
    variables: Variables,
    copied_said: OnceLock<()>,
}

/// What can be called.
#[derive(Clone)]
pub(crate) enum Callable {
    /// A WebAssembly function.
    Wasm(Arc<WasmFunction>),
    /// A Lua function.
    #[cfg(feature = "lua")]
    Lua(Arc<crate::lua::LuaFunction>),
}

impl Callable {
    /// Its slots.
    fn pool(&self) -> &Pool {
        match self {
            Self::Wasm(function) => &function.pool,
            #[cfg(feature = "lua")]
            Self::Lua(function) => &function.pool,
        }
    }

    /// How a failed call of it is repeated, unless its caller says otherwise.
    #[cfg(feature = "lua")]
    pub(crate) fn retry(&self) -> Option<Retry> {
        match self {
            Self::Wasm(function) => function.retry,
            Self::Lua(function) => function.retry,
        }
    }
}

/// A loader that does not keep it open: what a host function holds that calls back, since the loader holds
/// the host function.
#[derive(Clone)]
pub struct WeakLoader {
    inner: Weak<Inner>,
}

impl WeakLoader {
    /// The loader, unless all others are gone.
    pub fn upgrade(&self) -> Option<Loader> {
        self.inner.upgrade().map(|inner| Loader { inner })
    }
}

/// An entry as a listing shows it.
#[derive(Debug, Clone)]
pub struct EntryInfo {
    /// Its id.
    pub id: EntryId,
    /// Its kind.
    pub kind: String,
    /// Its signature, for WebAssembly entries.
    pub signature: Option<Signature>,
    /// Why calls to it fail, if they do.
    pub unavailable: Option<String>,
}

impl Loader {
    /// Opens the bundle in `path` with default options.
    ///
    /// # Errors
    /// See [`Bundle::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        LoaderBuilder::default().open(path)
    }

    /// Sets up a loader with options and host interfaces.
    pub fn builder() -> LoaderBuilder {
        LoaderBuilder::default()
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.inner.bundle
    }

    /// What flags, environment, `.wippy.yaml` and defaults decide.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// What its clones share.
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Every entry, sorted by id.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub fn entries(&self) -> Result<Vec<EntryInfo>, Error> {
        let entries = self.inner.bundle.manifest().entries().map(|entry| {
            let entry = entry?;
            Ok(EntryInfo {
                unavailable: self.inner.unavailable(&entry).or_else(|| self.inner.unmounted(&entry)),
                id: entry.id,
                kind: entry.kind,
                signature: entry.wasm.and_then(|wasm| wasm.signature),
            })
        });
        entries.collect()
    }

    /// Sends the events of the crate `tracing`, the loader's own among them, to the log that functions write
    /// to: for a program without a subscriber of its own. Whether it could: not where there is one already.
    #[cfg(feature = "telemetry")]
    pub fn log_events(&self) -> bool {
        let logger = crate::telemetry::Logger::new(&self.inner.settings, self.inner.options.log_times);
        tracing::subscriber::set_global_default(logger).is_ok()
    }

    /// A handle that does not keep the loader open.
    pub fn downgrade(&self) -> WeakLoader {
        WeakLoader { inner: Arc::downgrade(&self.inner) }
    }

    /// The WebAssembly function `id`, `namespace:name`, its artifact loaded and linked.
    ///
    /// # Errors
    /// `INVALID` for a malformed id, `NOT_FOUND` for an unknown one, `UNAVAILABLE` for one that is not
    /// offered here, `INTERNAL` for a damaged artifact or one that can't be linked.
    pub fn function(&self, id: &str) -> Result<Function, Error> {
        let function = self.inner.wasm_function(id)?;
        let params = function.prepared(&self.inner)?.params.clone();
        Ok(Function { inner: Arc::clone(&self.inner), function, params })
    }

    /// Calls the WebAssembly function `id` with `args`, on the tokio runtime that the caller runs on.
    /// Dropping the future ends the call.
    ///
    /// # Errors
    /// Those of [`Loader::function`]; `INVALID` for wrong arguments, and what ended the guest: `TIMEOUT`,
    /// `PERMISSION_DENIED`, `INTERNAL`. `UNAVAILABLE`, retryable, after [`Loader::drain`].
    pub async fn call(&self, id: &str, args: &[Val]) -> Result<Option<Val>, Error> {
        let function = self.inner.wasm_function(id)?;
        self.inner.call_typed(function, args, Context::default()).await
    }

    /// Like [`Loader::call`], with the standard streams and the context that the guest gets.
    ///
    /// # Errors
    /// Those of [`Loader::call`].
    #[cfg(feature = "wasi")]
    pub async fn call_with_streams(
        &self,
        id: &str,
        args: &[Val],
        context: Context,
        stdio: impl Into<Stdio>,
    ) -> Result<Option<Val>, Error> {
        let function = self.inner.wasm_function(id)?;
        self.inner.call_with_streams(function, args, context, stdio.into()).await
    }

    /// Like [`Loader::call`], with the context that the guest gets and its callees inherit.
    ///
    /// # Errors
    /// Those of [`Loader::call`].
    pub async fn call_with_context(
        &self,
        id: &str,
        args: &[Val],
        context: Context,
    ) -> Result<Option<Val>, Error> {
        let function = self.inner.wasm_function(id)?;
        self.inner.call_typed(function, args, context).await
    }

    /// Calls the function `id`, WebAssembly or Lua, with untyped values: what Lua's `funcs.call` does.
    ///
    /// `context` is what the callee gets and its callees inherit. The caller is the embedding program, which
    /// no policy stops; policies apply to what the callee calls.
    ///
    /// # Errors
    /// Those of [`Loader::call`]; what a Lua function raises or returns as its second value, kind kept; the
    /// `err` of a WebAssembly function that returns a `result`.
    #[cfg(feature = "lua")]
    pub async fn call_data(&self, id: &str, args: Vec<Data>, context: Context) -> Result<Data, Error> {
        let callable = self.inner.callable(id)?;
        self.inner.closing.check_outer(&id)?;
        crate::lua::call_data(&self.inner, callable, context, args).await
    }

    /// Like [`Loader::call_data`], for callers outside any tokio runtime: makes one for the call.
    ///
    /// # Errors
    /// Those of [`Loader::call_data`]; `INTERNAL` when no runtime can be made.
    ///
    /// # Panics
    /// When called on a thread that drives a tokio runtime.
    #[cfg(feature = "lua")]
    pub fn call_data_blocking(&self, id: &str, args: Vec<Data>, context: Context) -> Result<Data, Error> {
        runtime()?.block_on(self.call_data(id, args, context))
    }

    /// Whether the function `id` is a Lua function.
    ///
    /// # Errors
    /// Those of [`Loader::function`].
    #[cfg(feature = "lua")]
    pub fn is_lua(&self, id: &str) -> Result<bool, Error> {
        Ok(matches!(self.inner.callable(id)?, Callable::Lua(_)))
    }

    /// Like [`Loader::call`], for callers outside any tokio runtime: makes one for the call.
    ///
    /// # Errors
    /// Those of [`Loader::call`]; `INTERNAL` when no runtime can be made.
    ///
    /// # Panics
    /// When called on a thread that drives a tokio runtime.
    pub fn call_blocking(&self, id: &str, args: &[Val]) -> Result<Option<Val>, Error> {
        self.call_with_context_blocking(id, args, Context::default())
    }

    /// Like [`Loader::call_with_context`], for callers outside any tokio runtime: makes one for the call.
    ///
    /// # Errors
    /// Those of [`Loader::call`]; `INTERNAL` when no runtime can be made.
    ///
    /// # Panics
    /// When called on a thread that drives a tokio runtime.
    pub fn call_with_context_blocking(
        &self,
        id: &str,
        args: &[Val],
        context: Context,
    ) -> Result<Option<Val>, Error> {
        runtime()?.block_on(self.call_with_context(id, args, context))
    }

    /// The pools of the functions that were called so far, sorted by id.
    pub fn pools(&self) -> Vec<PoolSnapshot> {
        let callables = self.inner.callables.read().unwrap_or_else(PoisonError::into_inner);
        let pools = callables.values().map(|callable| callable.pool().snapshot());
        let mut pools: Vec<PoolSnapshot> = pools.collect();
        drop(callables);
        pools.sort_by(|one, other| one.id.cmp(&other.id));
        pools
    }

    /// The instances that there are.
    pub fn instances(&self) -> InstancesSnapshot {
        self.inner.bound.snapshot()
    }

    /// The memory that guests have.
    pub fn memory(&self) -> MemorySnapshot {
        self.inner.budget.snapshot()
    }

    /// Begins the end: from now on calls of the embedding program fail with `UNAVAILABLE`, retryable. What runs
    /// goes on, and may call. Stopping a `Deployment` does this first.
    pub fn drain(&self) {
        self.inner.closing.drain();
    }

    /// From now on all calls fail with `UNAVAILABLE`, retryable, those of code that still runs as well.
    /// Stopping a `Deployment` does this last.
    pub fn close(&self) {
        self.inner.closing.close();
    }

    /// Keeps the current thread off the cores that `scheduler.wasm_isolation` reserves for worker classes, if it
    /// does. For each thread that runs the scheduler, when it starts.
    ///
    /// # Errors
    /// Why the system does not allow it.
    pub fn bind_scheduler_thread(&self) -> std::io::Result<()> {
        self.inner.workers.cores.bind_scheduler()
    }

    /// Raises the epoch once: what the ticker does every [`crate::config::TICK`]. For
    /// [`crate::config::Ticking::Manual`].
    pub fn tick(&self) {
        self.inner.ticker.tick();
    }
}

/// A runtime for one call.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build().map_err(|error| {
        Error::new(ErrorKind::Internal, format!("no runtime can be made for the call: {error}"))
    })
}

/// A function that was looked up.
#[derive(Clone)]
pub struct Function {
    inner: Arc<Inner>,
    function: Arc<WasmFunction>,
    params: Vec<(String, Type)>,
}

impl Function {
    /// Names and types of its parameters.
    pub fn params(&self) -> &[(String, Type)] {
        &self.params
    }

    /// Its signature as the manifest records it.
    pub fn signature(&self) -> Option<&Signature> {
        self.function.wasm.signature.as_ref()
    }

    /// Calls it; see [`Loader::call`].
    ///
    /// # Errors
    /// Those of [`Loader::call`].
    pub async fn call(&self, args: &[Val]) -> Result<Option<Val>, Error> {
        let function = Arc::clone(&self.function);
        self.inner.call_typed(function, args, Context::default()).await
    }
}

impl Inner {
    /// Why calls to `entry` fail, if they do.
    pub(crate) fn unavailable(&self, entry: &Entry) -> Option<String> {
        if let Some(reason) = &entry.unavailable {
            return Some(reason.clone());
        }
        if let Some(reason) = self.bundle.denied(entry) {
            return Some(reason);
        }
        if entry.lua.is_some() && !cfg!(feature = "lua") {
            return Some("needs a loader built with the feature `lua`".to_owned());
        }
        let wasm = entry.wasm.as_ref()?;
        if !engines::offers(wasm.profile) {
            return Some("needs a loader built with the feature `p3`".to_owned());
        }
        if wasm.grants.contains(&Group::Inbox) && !entry.kind.starts_with("process.") {
            return Some("needs to be a process: only these have an inbox".to_owned());
        }
        self.hosts.missing(&wasm.grants)
    }

    /// Why a folder that `entry` mounts can't be used now, if so. Other faults of its settings are seen when
    /// it is called.
    pub(crate) fn unmounted(&self, entry: &Entry) -> Option<String> {
        #[cfg(feature = "wasi")]
        {
            let has_mounts =
                |wasm: &&WasmEntry| wasm.wasi.as_ref().is_some_and(|wasi| !wasi.mounts.is_empty());
            let wasm = entry.wasm.as_ref().filter(has_mounts)?;
            let id = Arc::new(entry.id.clone());
            let given = crate::hosts::wasi::Given::new(self, &id, wasm).ok()?;
            given.missing()
        }
        #[cfg(not(feature = "wasi"))]
        {
            let _ = entry;
            None
        }
    }

    /// The environment registry of the bundle.
    pub(crate) fn environment(&self) -> Environment<'_> {
        Environment::new(self.bundle.manifest(), self.root(), &self.variables)
    }

    /// The folder that relative paths of entries are resolved in; empty for the working directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.options.root.clone().unwrap_or_default()
    }

    /// The callable `id`, if it was asked for before.
    pub(crate) fn known_callable(&self, id: &str) -> Option<Callable> {
        // Only whole callables are inserted: a panic elsewhere leaves the map usable.
        self.callables.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The callable `id`, made when it is first asked for.
    pub(crate) fn callable(&self, id: &str) -> Result<Callable, Error> {
        if let Some(callable) = self.known_callable(id) {
            return Ok(callable);
        }
        let parsed: EntryId = id
            .parse()
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("invalid function target: {error}")))?;
        let Some(mut entry) = self.bundle.manifest().entry(&parsed)? else {
            return Err(Error::new(ErrorKind::NotFound, format!("no entry `{id}` in this bundle")));
        };
        if let Some(reason) = self.unavailable(&entry) {
            let message = format!("`{id}` is not available: {reason}");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let callable = if let Some(wasm) = entry.wasm.take() {
            Callable::Wasm(Arc::new(WasmFunction::new(self, parsed, &entry.kind, &entry.meta, wasm)?))
        } else {
            self.lua_callable(parsed, &mut entry)?
        };
        let mut callables = self.callables.write().unwrap_or_else(PoisonError::into_inner);
        Ok(callables.entry(id.to_owned()).or_insert(callable).clone())
    }

    #[cfg_attr(not(feature = "lua"), expect(clippy::unused_self, reason = "only Lua makes others"))]
    fn lua_callable(&self, id: EntryId, entry: &mut Entry) -> Result<Callable, Error> {
        #[cfg(feature = "lua")]
        if entry.kind == "function.lua"
            && let Some(lua) = entry.lua.take()
        {
            return Ok(Callable::Lua(Arc::new(crate::lua::LuaFunction::new(self, id, &entry.meta, lua)?)));
        }
        let message = format!("`{id}` is a `{}`, which can't be called", entry.kind);
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    fn wasm_function(&self, id: &str) -> Result<Arc<WasmFunction>, Error> {
        match self.callable(id)? {
            Callable::Wasm(function) => Ok(function),
            #[cfg(feature = "lua")]
            Callable::Lua(_) => {
                let message = format!("`{id}` is a Lua function, which has no WIT signature");
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// Calls `function` for the embedding program.
    async fn call_typed(
        self: &Arc<Self>,
        function: Arc<WasmFunction>,
        args: &[Val],
        context: Context,
    ) -> Result<Option<Val>, Error> {
        self.closing.check_outer(&function.id)?;
        let args = args.iter().cloned().map(Value::Val).collect();
        let result = self.call_wasm(function, context, args).await?;
        Ok(result.map(Val::from))
    }

    /// Calls `function` as a task of its own, with standard streams of its caller's.
    #[cfg(feature = "wasi")]
    async fn call_with_streams(
        self: &Arc<Self>,
        function: Arc<WasmFunction>,
        args: &[Val],
        context: Context,
        stdio: Stdio,
    ) -> Result<Option<Val>, Error> {
        self.closing.check_outer(&function.id)?;
        let args = args.iter().cloned().map(Value::Val).collect();
        Ok(self.run(function, context, args, stdio).await?.map(Val::from))
    }

    /// Calls `function`, whose output goes to the log.
    pub(crate) async fn call_wasm(
        self: &Arc<Self>,
        function: Arc<WasmFunction>,
        context: Context,
        args: Vec<Value>,
    ) -> Result<Option<Value>, Error> {
        self.run(function, context, args, Stdio::Log).await
    }

    /// Calls `function` as a task of its own.
    async fn run(
        self: &Arc<Self>,
        function: Arc<WasmFunction>,
        mut context: Context,
        args: Vec<Value>,
        stdio: Stdio,
    ) -> Result<Option<Value>, Error> {
        let seen = self.telemetry.begin(&function.seen, &mut context.trace);
        // Before the task: it is the caller's that says whether this call is nested.
        let mut patience = Patience::of(&context);
        let call = async {
            // Before it has a thread: others would run on it while this one waits.
            let mut slot = function.pool.slot(&mut patience).await?;
            slot.worker = function.class.as_ref().map(|class| class.assign()).transpose()?;
            let runtime = slot.worker.as_ref().map(|worker| worker.handle.clone());
            let (inner, id) = (Arc::clone(self), Arc::clone(&function.id));
            // Boxed: it is large, and passes through several hands.
            let call = Box::pin(async move {
                crate::call::call(&inner, &function, context, args, stdio, &mut slot, patience).await
            });
            let call = pool::holding(seen.scope(call));
            match runtime {
                None => task::run(&id, &self.ticker, call).await,
                Some(runtime) => task::run_on(&runtime, &id, &self.ticker, call).await,
            }
        };
        let result = call.await;
        seen.end(&result);
        result
    }

    /// The component of `wasm`, loaded when it is first asked for and shared by all its entries that have
    /// their instances from the same place.
    pub(crate) fn component(
        &self,
        id: &EntryId,
        wasm: &WasmEntry,
        limits: &EntryLimits,
        wanted: Allocation,
    ) -> Result<(Component, Allocation), Error> {
        let (engine, allocation) = self.engine(id, wasm, limits, wanted)?;
        let key = (wasm.component, allocation);
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = components.get(&key) {
            return Ok((component.clone(), allocation));
        }
        let component = self.load(id, wasm, engine)?;
        components.insert(key, component.clone());
        Ok((component, allocation))
    }

    /// The engine for instances of `wasm`, if possible one from which they come as is `wanted`.
    fn engine(
        &self,
        id: &EntryId,
        wasm: &WasmEntry,
        limits: &EntryLimits,
        wanted: Allocation,
    ) -> Result<(&Engine, Allocation), Error> {
        let may_be_reserved = [wanted, self.options.allocation] == [Allocation::Reserved; 2];
        if may_be_reserved && wasm.profile == Profile::Sync {
            let reservation = || Reservation::new(&self.bundle, self.bound.snapshot().max);
            match self.engines.reserved(reservation, |reserved| reserved.fits(wasm.component, limits)) {
                Ok(Some(engine)) => return Ok((engine, Allocation::Reserved)),
                Ok(None) => {}
                Err(problem) => {
                    let text = format!("memory of instances is allocated on demand, not reserved: {problem}");
                    self.log.line(id, crate::guest_log::Stream::Stderr, &text);
                }
            }
        }
        let engine = self.engines.get(wasm.profile).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("`{id}`: the engine can't be set up: {error:#}"))
        })?;
        Ok((engine, Allocation::OnDemand))
    }

    fn load(&self, id: &EntryId, wasm: &WasmEntry, engine: &Engine) -> Result<Component, Error> {
        let internal = |message: String| Error::new(ErrorKind::Internal, format!("`{id}`: {message}"));
        let artifact = self.bundle.artifact(wasm.component, wasm.profile).map_err(internal)?;
        let expected = Expected { digest: artifact.digest, size: artifact.size };
        let loaded = self
            .bundle
            .open_file(&artifact.path())
            .and_then(|file| mapping::load(engine, file, expected, self.options.sealing));
        let (component, how) =
            loaded.map_err(|error| internal(format!("can't load `{}`: {error}", artifact.path())))?;
        if how == Loaded::Copied && self.copied_said.set(()).is_ok() {
            let text = "artifacts can't be mapped executable here (noexec mount or policy): they are copied into memory";
            self.log.line(id, crate::guest_log::Stream::Stderr, text);
        }
        Ok(component)
    }
}
