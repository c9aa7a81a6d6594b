//! WASI hosts, linked group by group, and what each call gives its guest.
//!
//! The host functions are `wasmtime-wasi`'s. A function's stdout and stderr go to the log line by line,
//! its stdin is empty; arguments and working directory come from the entry.

use std::sync::Arc;

use registry_schema::authored::wasm::{EnvMapping, Wasi};
use registry_schema::grants::Group;
use registry_schema::{EntryId, ErrorKind};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings;
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::environment::Environment;
use crate::error::Error;
use crate::guest_log::{GuestLog, LogStream, Stream};
use crate::host_state::HostState;

/// WASI state of one call, made when the guest first asks for it.
pub(crate) struct WasiState {
    given: Given,
    variables: Vec<(String, String)>,
    ctx: Option<WasiCtx>,
    table: ResourceTable,
}

/// What an entry gives its guest; cheap to clone.
#[derive(Clone)]
pub(crate) struct Given {
    entry: Arc<EntryId>,
    args: Arc<[String]>,
    cwd: Option<Arc<str>>,
    /// Read anew for each call.
    variables: Arc<[Variable]>,
    log: Arc<dyn GuestLog>,
}

/// A variable of the guest's environment.
struct Variable {
    id: EntryId,
    name: String,
    required: bool,
}

impl Given {
    /// What `wasi`, the entry's block, gives; placeholders are resolved here.
    pub(crate) fn new(
        entry: &Arc<EntryId>,
        wasi: Option<&Wasi>,
        environment: &Environment<'_>,
        log: Arc<dyn GuestLog>,
    ) -> Result<Self, Error> {
        let own = entry.namespace();
        let none = Wasi::default();
        let wasi = wasi.unwrap_or(&none);
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
        Ok(Self {
            entry: Arc::clone(entry),
            args: args?,
            cwd: cwd.map(Into::into),
            variables: variables?,
            log,
        })
    }

    /// The guest's environment as it is now.
    ///
    /// # Errors
    /// `NOT_FOUND` for a required variable that is not set.
    pub(crate) fn environment(&self, environment: &Environment<'_>) -> Result<Vec<(String, String)>, Error> {
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

    fn build(&self, variables: &[(String, String)]) -> WasiCtx {
        let mut builder = WasiCtxBuilder::new();
        let log = |stream| LogStream::new(Arc::clone(&self.entry), stream, Arc::clone(&self.log));
        builder.args(&self.args).envs(variables).stdout(log(Stream::Stdout)).stderr(log(Stream::Stderr));
        if let Some(cwd) = &self.cwd {
            builder.initial_cwd(cwd);
        }
        builder.build()
    }
}

/// Why a guest can't be given what its entry asks for, if so: what restricts and is not understood
/// makes the entry unavailable.
pub(crate) fn missing(wasi: Option<&Wasi>) -> Option<&'static str> {
    let wasi = wasi?;
    (!wasi.mounts.is_empty()).then_some("needs file-system mounts (`wasi.mounts`)")
}

impl WasiState {
    pub(crate) fn new(given: Given, variables: Vec<(String, String)>) -> Self {
        Self { given, variables, ctx: None, table: ResourceTable::new() }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let WasiState { given, variables, ctx, table } = &mut self.wasi;
        WasiCtxView { ctx: ctx.get_or_insert_with(|| given.build(variables)), table }
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
        Group::Filesystem => p3::filesystem::add_to_linker(linker),
        Group::Random => p3::random::add_to_linker(linker),
        Group::Sockets => p3::sockets::add_to_linker(linker),
        Group::Io | Group::Http | Group::Funcs | Group::Socket | Group::Embedder(_) => Ok(()),
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
            io::poll::add_to_linker::<S, Table>(l, |state| &mut state.wasi.table)?;
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
        Group::Filesystem => {
            use wasmtime_wasi::p2::bindings::filesystem;
            filesystem::types::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)?;
            filesystem::preopens::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)
        }
        Group::Random => {
            use wasmtime_wasi::p2::bindings::random;
            random::random::add_to_linker::<S, WasiRandom>(l, S::random)?;
            random::insecure::add_to_linker::<S, WasiRandom>(l, S::random)?;
            random::insecure_seed::add_to_linker::<S, WasiRandom>(l, S::random)
        }
        Group::Sockets => {
            use wasmtime_wasi::p2::bindings::sockets;
            let options = sockets::network::LinkOptions::default();
            sockets::instance_network::add_to_linker::<S, WasiSockets>(l, S::sockets)?;
            sockets::network::add_to_linker::<S, WasiSockets>(l, &options, S::sockets)?;
            sockets::tcp::add_to_linker::<S, WasiSockets>(l, S::sockets)?;
            sockets::tcp_create_socket::add_to_linker::<S, WasiSockets>(l, S::sockets)?;
            sockets::udp::add_to_linker::<S, WasiSockets>(l, S::sockets)?;
            sockets::udp_create_socket::add_to_linker::<S, WasiSockets>(l, S::sockets)?;
            sockets::ip_name_lookup::add_to_linker::<S, WasiSockets>(l, S::sockets)
        }
        Group::Http | Group::Funcs | Group::Socket | Group::Embedder(_) => Ok(()),
    }
}
