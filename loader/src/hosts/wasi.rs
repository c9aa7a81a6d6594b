//! WASI hosts, linked group by group, and what each call gives its guest.
//!
//! The host functions are `wasmtime-wasi`'s. Arguments, environment, mounts and working directory come from
//! the entry; standard streams from the caller (`stdio.rs`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use registry_schema::authored::network::Destination;
use registry_schema::authored::scalar::Templated;
use registry_schema::authored::wasm::{EnvMapping, Limits, Network, Wasi};
use registry_schema::grants::Group;
use registry_schema::manifest::WasmEntry;
use registry_schema::{EntryId, ErrorKind, Namespace};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::files::Open;
#[cfg(feature = "http")]
use super::http::HttpState;
use super::mounts::Mount;
use super::stdio::Stdio;
use crate::call_id::CallId;
use crate::config::{HANDLES_MAX, SOCKETS_OPEN_MAX};
use crate::context::Context;
#[cfg(feature = "p3")]
use crate::egress::preview3;
use crate::egress::sockets::{SocketLimits, Sockets};
use crate::egress::waits::{self, Waits};
use crate::egress::{Rules, preview2};
use crate::environment::Environment;
use crate::error::Error;
use crate::guest_log::{GuestLog, LogStream, Stream};
use crate::host_state::HostState;
use crate::loader::Inner;

/// WASI state of one call.
pub(crate) struct WasiState {
    given: Arc<Given>,
    variables: Vec<(String, String)>,
    call: CallId,
    stdio: Stdio,
    /// Where the guest's output goes, once it has any.
    logs: Vec<LogStream>,
    /// Made when the guest first asks for it, unless it has mounts. Boxed, as it is large and most guests never ask.
    made: Option<Box<Made>>,
    #[cfg(feature = "http")]
    http: Option<Box<HttpState>>,
    /// Of at most [`HANDLES_MAX`].
    table: ResourceTable,
    files: Open,
}

/// The context, and what checks its sockets.
struct Made {
    ctx: WasiCtx,
    sockets: Sockets,
}

/// What an entry gives its guest.
#[derive(Clone)]
pub(crate) struct Given {
    entry: Arc<EntryId>,
    args: Arc<[String]>,
    cwd: Option<Arc<str>>,
    /// Read anew for each call.
    variables: Arc<[Variable]>,
    mounts: Arc<[Mount]>,
    /// `network.allow`
    allow: Option<Arc<[Destination]>>,
    sockets: SocketLimits,
    log: Arc<dyn GuestLog>,
}

/// A variable of the guest's environment.
struct Variable {
    id: EntryId,
    name: String,
    required: bool,
}

impl Given {
    /// What the entry `wasm` gives; placeholders are resolved here, and nothing is opened.
    pub(crate) fn new(inner: &Inner, entry: &Arc<EntryId>, wasm: &WasmEntry) -> Result<Self, Error> {
        let own = entry.namespace();
        let environment = inner.environment();
        let none = Wasi::default();
        let wasi = wasm.wasi.as_ref().unwrap_or(&none);
        let args: Result<_, _> =
            wasi.args.iter().map(|arg| environment.resolve(own, "wasi.args", arg)).collect();
        let cwd = wasi.cwd.as_ref().map(|cwd| environment.resolve(own, "wasi.cwd", cwd)).transpose()?;
        let variable = |mapping: &EnvMapping| {
            let required = match &mapping.required {
                Some(required) => environment.resolve(own, "wasi.env.required", required)?,
                None => false,
            };
            Ok(Variable { id: mapping.id.resolve(own), name: mapping.name.clone(), required })
        };
        let variables: Result<_, Error> = wasi.env.iter().map(variable).collect();
        let mounts: Result<_, Error> =
            wasi.mounts.iter().map(|mount| Mount::read(inner, own, mount)).collect();
        let limits = inner.settings.wasm.limits.fill(wasm.limits.clone().unwrap_or_default());
        Ok(Self {
            entry: Arc::clone(entry),
            args: args?,
            cwd: cwd.map(Into::into),
            variables: variables?,
            mounts: mounts?,
            allow: allowed(&environment, own, wasm.network.as_ref())?,
            sockets: socket_limits(&environment, own, &limits)?,
            log: Arc::clone(&inner.log),
        })
    }

    /// The guest's environment as it is now.
    ///
    /// # Errors
    /// `NOT_FOUND` for a required variable that is not set.
    fn environment(&self, inner: &Inner) -> Result<Vec<(String, String)>, Error> {
        if self.variables.is_empty() {
            return Ok(Vec::new());
        }
        let environment = inner.environment();
        let mut pairs = Vec::with_capacity(self.variables.len());
        for variable in self.variables.iter() {
            match environment.variable(&variable.id)? {
                Some(value) => pairs.push((variable.name.clone(), value)),
                None if variable.required => {
                    let message = format!("`{}` requires `{}`, which is not set", self.entry, variable.id);
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
                None => {}
            }
        }
        Ok(pairs)
    }

    /// What a call with `context` may reach.
    fn rules(&self, inner: &Weak<Inner>, context: &Context) -> Rules {
        Rules::new(Weak::clone(inner), context.clone(), self.allow.clone())
    }

    /// `builder` with the mounted folders.
    fn mounted(&self, inner: &Inner, mut builder: WasiCtxBuilder) -> Result<WasiCtxBuilder, Error> {
        for mount in self.mounts.iter() {
            mount.give(inner, &mut builder).map_err(|error| {
                let message = format!("`{}` is not available: {}", self.entry, error.message());
                Error::new(error.kind(), message)
            })?;
        }
        Ok(builder)
    }

    /// Why a mounted folder can't be used now, if so.
    pub(crate) fn missing(&self) -> Option<String> {
        self.mounts.iter().find_map(Mount::missing)
    }
}

/// What `limits` say of sockets.
fn socket_limits(
    environment: &Environment<'_>,
    own: &Namespace,
    limits: &Limits,
) -> Result<SocketLimits, Error> {
    let open_max = match &limits.max_open_sockets {
        Some(maximum) => environment.resolve(own, "limits.max_open_sockets", maximum)?,
        None => SOCKETS_OPEN_MAX,
    };
    let longest = limits.socket_timeout_ms.as_ref();
    let longest =
        longest.map(|longest| environment.resolve(own, "limits.socket_timeout_ms", longest)).transpose()?;
    Ok(SocketLimits {
        open_max: usize::try_from(open_max).unwrap_or(usize::MAX),
        longest_wait: longest.map(Duration::from_millis),
    })
}

/// The items of `network.allow`; `None` where nothing is said.
fn allowed(
    environment: &Environment<'_>,
    own: &Namespace,
    network: Option<&Network>,
) -> Result<Option<Arc<[Destination]>>, Error> {
    let resolve = |item: &Templated<Destination>| environment.resolve(own, "network.allow", item);
    network.map(|network| network.allow.iter().map(resolve).collect()).transpose()
}

/// What `given` gives to a call with `context`, but for folders that are slow to open: [`WasiState::mount_slow`].
///
/// # Errors
/// `NOT_FOUND` for a required variable that is not set, `PERMISSION_DENIED` for a mount that the scope does not
/// allow, `UNAVAILABLE` for one whose folder is not there.
pub(crate) fn prepare(
    inner: &Arc<Inner>,
    given: &Arc<Given>,
    context: &Context,
    call: CallId,
    stdio: Stdio,
) -> Result<WasiState, Error> {
    let variables = given.environment(inner)?;
    #[cfg(not(feature = "lua"))]
    let given = Arc::clone(given);
    #[cfg(feature = "lua")]
    let mut given = Arc::clone(given);
    #[cfg(feature = "lua")]
    if let Some(terminal) = context.process().and_then(|process| process.terminal.as_ref()) {
        // The command's name, what its entry says, what was written behind it.
        let name = terminal.args().iter().take(1);
        let args = name.chain(given.args.iter()).chain(terminal.own_args());
        Arc::make_mut(&mut given).args = args.cloned().collect();
    }
    let mut state = WasiState {
        given,
        variables,
        call,
        stdio,
        logs: Vec::new(),
        made: None,
        #[cfg(feature = "http")]
        http: None,
        table: ResourceTable::new(),
        files: Open::default(),
    };
    state.table.set_max_capacity(HANDLES_MAX);
    if state.given.mounts.is_empty() {
        return Ok(state);
    }
    #[cfg(feature = "lua")]
    for mount in state.given.mounts.iter() {
        inner.allowed(context, "fs.get", &mount.fs.to_string())?;
    }
    if !state.has_slow_mounts() {
        let builder = state.builder();
        let builder = state.given.mounted(inner, builder)?;
        state.finish(builder, state.given.rules(&Arc::downgrade(inner), context));
    }
    Ok(state)
}

impl WasiState {
    /// Whether [`Self::mount_slow`] has something to do.
    pub(crate) fn has_slow_mounts(&self) -> bool {
        self.made.is_none() && self.given.mounts.iter().any(Mount::is_slow)
    }

    /// Gives the guest folders that are slow to open, on a thread that may block.
    ///
    /// # Errors
    /// `UNAVAILABLE` for one that is not there.
    pub(crate) async fn mount_slow(&mut self, inner: Arc<Inner>, context: &Context) -> Result<(), Error> {
        let rules = self.given.rules(&Arc::downgrade(&inner), context);
        let (given, builder) = (Arc::clone(&self.given), self.builder());
        let mounted = tokio::task::spawn_blocking(move || given.mounted(&inner, builder)).await;
        let builder = mounted.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, format!("the folders could not be mounted: {error}")))
        })?;
        self.finish(builder, rules);
        Ok(())
    }

    fn finish(&mut self, mut builder: WasiCtxBuilder, rules: Rules) {
        let sockets = Sockets::give(rules, self.given.sockets, &mut builder);
        self.made = Some(Box::new(Made { ctx: builder.build(), sockets }));
    }

    /// Whether the guest's environment is what a call would get now.
    ///
    /// # Errors
    /// `NOT_FOUND` for a required variable that is not set any more.
    pub(crate) fn is_current(&self, inner: &Inner) -> Result<bool, Error> {
        Ok(self.variables == self.given.environment(inner)?)
    }

    /// What is written from now on belongs to `call`.
    pub(crate) fn next_call(&mut self, call: CallId) {
        self.call = call;
        self.logs.iter().for_each(|log| log.next_call(call));
    }

    /// Logs what stands on a line that has no end yet.
    pub(crate) fn flush_lines(&self) {
        self.logs.iter().for_each(LogStream::flush_line);
    }

    fn builder(&mut self) -> WasiCtxBuilder {
        let Given { entry, args, cwd, log, .. } = &*self.given;
        let mut builder = WasiCtxBuilder::new();
        builder.args(args).envs(&self.variables);
        match &self.stdio {
            Stdio::Streams(streams) => streams.give(&mut builder),
            Stdio::Log => {
                let log = |stream| LogStream::new(Arc::clone(entry), self.call, stream, Arc::clone(log));
                let (stdout, stderr) = (log(Stream::Stdout), log(Stream::Stderr));
                builder.stdout(stdout.clone()).stderr(stderr.clone());
                self.logs = vec![stdout, stderr];
            }
        }
        if let Some(cwd) = cwd {
            builder.initial_cwd(cwd);
        }
        builder
    }
}

impl HostState {
    /// The context, made if it is not there yet.
    fn made(&mut self) -> (&mut Made, &mut ResourceTable) {
        if self.wasi.made.is_none() {
            debug_assert!(!self.wasi.has_slow_mounts(), "a guest is equipped before it runs");
            let rules = self.wasi.given.rules(&self.inner, &self.context);
            let builder = self.wasi.builder();
            self.wasi.finish(builder, rules);
        }
        (self.wasi.made.as_mut().expect("it was made above"), &mut self.wasi.table)
    }

    /// Sockets of the host, and what is ours of them.
    pub(crate) fn sockets(&mut self) -> (WasiSocketsCtxView<'_>, &mut Sockets) {
        let (Made { ctx, sockets }, table) = self.made();
        (WasiSocketsCtxView { ctx: ctx.sockets(), table }, sockets)
    }

    /// The table, and what the guest waits for once it has anything of its host.
    pub(crate) fn polls(&mut self) -> (&mut ResourceTable, Option<&mut Waits>) {
        let WasiState { made, table, .. } = &mut self.wasi;
        (table, made.as_mut().map(|made| &mut made.sockets.waits))
    }

    /// The table, and what the guest has of files beside what is in it.
    pub(super) fn files(&mut self) -> (&mut ResourceTable, &Open) {
        (&mut self.wasi.table, &self.wasi.files)
    }

    /// What the call has of `wasi:http`, made if it is not there yet.
    #[cfg(feature = "http")]
    pub(crate) fn http_state(&mut self) -> (&mut HttpState, &mut ResourceTable) {
        let WasiState { given, http, table, .. } = &mut self.wasi;
        let http = http.get_or_insert_with(|| {
            let rules = given.rules(&self.inner, &self.context);
            Box::new(HttpState::new(
                Weak::clone(&self.inner),
                Arc::clone(&given.entry),
                rules,
                given.sockets.longest_wait,
                self.limiter.budget(),
            ))
        });
        (http, table)
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (Made { ctx, .. }, table) = self.made();
        WasiCtxView { ctx, table }
    }
}

/// The table alone, for the interfaces that act only on handles.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Adds the WASI 0.3 form of `group`, for the asynchronous profile.
#[cfg(feature = "p3")]
pub(super) fn define_preview3(linker: &mut Linker<HostState>, group: &Group) -> wasmtime::Result<()> {
    use wasmtime_wasi::p3;
    match group {
        Group::Clocks => p3::clocks::add_to_linker(linker),
        Group::Cli => p3::cli::add_to_linker(linker),
        Group::Filesystem => super::files::define_preview3(linker),
        Group::Random => p3::random::add_to_linker(linker),
        Group::Sockets => preview3::define(linker),
        Group::Io | Group::Http | Group::Funcs | Group::Inbox | Group::Socket | Group::Embedder(_) => Ok(()),
    }
}

/// Adds the WASI 0.2 form of `group`.
pub(super) fn define(linker: &mut Linker<HostState>, group: &Group) -> wasmtime::Result<()> {
    type S = HostState;
    let l = linker;
    match group {
        Group::Io => {
            use wasmtime_wasi::p2::bindings::io;
            io::error::add_to_linker::<S, Table>(l, |state| &mut state.wasi.table)?;
            waits::define(l)?;
            io::streams::add_to_linker::<S, Table>(l, |state| &mut state.wasi.table)
        }
        Group::Clocks => {
            bindings::clocks::wall_clock::add_to_linker::<S, WasiClocks>(l, S::clocks)?;
            bindings::clocks::monotonic_clock::add_to_linker::<S, WasiClocks>(l, S::clocks)
        }
        Group::Cli => {
            use wasmtime_wasi::p2::bindings::cli;
            cli::exit::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::environment::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::stderr::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::terminal_input::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::terminal_output::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::terminal_stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::terminal_stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
            cli::terminal_stderr::add_to_linker::<S, WasiCli>(l, S::cli)
        }
        Group::Filesystem => super::files::define(l),
        Group::Random => {
            use wasmtime_wasi::p2::bindings::random;
            random::random::add_to_linker::<S, WasiRandom>(l, S::random)?;
            random::insecure::add_to_linker::<S, WasiRandom>(l, S::random)?;
            random::insecure_seed::add_to_linker::<S, WasiRandom>(l, S::random)
        }
        Group::Sockets => preview2::define(l),
        Group::Http | Group::Funcs | Group::Inbox | Group::Socket | Group::Embedder(_) => Ok(()),
    }
}
