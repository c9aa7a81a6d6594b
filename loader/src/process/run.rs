//! Starting a process and running its code.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use futures_util::FutureExt;
use registry_schema::grants::Group;
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, ErrorKind};

use super::capacity::{Language, Seat};
use super::host::{Admitted, Host, Kind, OnWorker};
use super::{Exit, Message, Process, Reads, Terminal};
use crate::bulk::Value;
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::function::WasmFunction;
use crate::loader::Inner;
use crate::lua::LuaFunction;
use crate::pool::Patience;
use crate::task;

/// What a `process.*` entry runs.
#[derive(Clone)]
pub(crate) enum Program {
    Lua(Arc<LuaFunction>),
    Wasm(Arc<WasmFunction>),
}

/// Arguments of a process.
pub(crate) enum Arguments {
    /// Of any program.
    Data(Vec<Data>),
    /// Of a guest, of the types of its parameters.
    Values(Vec<Value>),
}

/// How a new process is tied to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    None,
    Monitored,
    Linked,
    LinkedMonitored,
}

impl Ties {
    pub(crate) fn monitored(self) -> bool {
        matches!(self, Self::Monitored | Self::LinkedMonitored)
    }

    pub(crate) fn linked(self) -> bool {
        matches!(self, Self::Linked | Self::LinkedMonitored)
    }
}

/// A process to be.
pub(crate) struct Spawn {
    pub(crate) id: EntryId,
    pub(crate) host: EntryId,
    pub(crate) args: Arguments,
    /// Actor, scope and values that it gets.
    pub(crate) context: Context,
    pub(crate) parent: Option<Arc<Process>>,
    pub(crate) ties: Ties,
    pub(crate) name: Option<String>,
    /// What it is sent before anybody else can.
    pub(crate) messages: Vec<Message>,
    /// For hosts that are terminals.
    pub(crate) terminal: Option<Arc<Terminal>>,
}

impl Spawn {
    /// A process of `id` in `host`, tied to nobody.
    pub(crate) fn new(id: EntryId, host: EntryId, args: Arguments, context: Context) -> Self {
        let (parent, name, messages, terminal) = (None, None, Vec::new(), None);
        Self { id, host, args, context, parent, ties: Ties::None, name, messages, terminal }
    }
}

/// Code with its arguments.
enum Code {
    Lua(Arc<LuaFunction>, Vec<Data>),
    Wasm(Arc<WasmFunction>, Vec<Value>),
}

impl Inner {
    /// The entry `id`, if it is offered here.
    fn offered(&self, id: &EntryId) -> Result<Entry, Error> {
        let entry = self.bundle.manifest().entry(id)?;
        let entry = entry
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no entry `{id}` in this bundle")))?;
        match self.unavailable(&entry) {
            None => Ok(entry),
            Some(reason) => {
                let message = format!("`{id}` is not available: {reason}");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    /// What the process entry `id` runs, made when it is first asked for.
    pub(crate) fn program(&self, id: &EntryId) -> Result<Program, Error> {
        // Only whole programs are inserted.
        let mut programs = self.processes.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(id) {
            return Ok(program.clone());
        }
        let mut entry = self.offered(id)?;
        let program = match (entry.kind.as_str(), entry.lua.take(), entry.wasm.take()) {
            ("process.lua", Some(lua), _) => {
                Program::Lua(Arc::new(LuaFunction::new(self, id.clone(), &entry.meta, lua)?))
            }
            ("process.wasm", _, Some(wasm)) => {
                Program::Wasm(Arc::new(WasmFunction::new(self, id.clone(), &entry.kind, &entry.meta, wasm)?))
            }
            (kind, ..) => {
                let message = format!("`{id}` is a `{kind}`, expected a `process.lua` or `process.wasm`");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        programs.insert(id.clone(), program.clone());
        Ok(program)
    }

    /// The host `id`, made when it is first asked for.
    pub(crate) fn process_host(&self, id: &EntryId) -> Result<Arc<Host>, Error> {
        let mut hosts = self.processes.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(id) {
            return Ok(Arc::clone(host));
        }
        let entry = self.offered(id)?;
        let Some(host) = Host::read(&entry, &self.environment())? else {
            let message = format!("`{id}` is a `{}`, expected a `process.host`", entry.kind);
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let host = Arc::new(host);
        hosts.insert(id.clone(), Arc::clone(&host));
        Ok(host)
    }

    /// Starts a process, on the current tokio runtime.
    ///
    /// # Errors
    /// `NOT_FOUND` and `INVALID` for entries that are not there or no process and host; `INVALID` for arguments
    /// that a guest does not take; `ALREADY_EXISTS` for its name; `UNAVAILABLE` when there is no room for it, and
    /// when the loader is closed.
    pub(crate) fn spawn(self: &Arc<Self>, spawn: Spawn) -> Result<Arc<Process>, Error> {
        self.closing.check_nested(&spawn.id)?;
        let program = self.program(&spawn.id)?;
        let host = self.process_host(&spawn.host)?;
        let (language, reads) = match &program {
            Program::Lua(_) => (Language::Lua, Reads::Messages),
            Program::Wasm(function) if function.wasm.grants.contains(&Group::Inbox) => {
                (Language::Wasm, Reads::Messages)
            }
            Program::Wasm(_) => (Language::Wasm, Reads::Nothing),
        };
        let code = Code::new(self, program, spawn.args)?;
        let place = host.admit()?;
        let seat = self.capacity().seat(language)?;
        let terminal = match host.kind() {
            Kind::Processes => None,
            Kind::Terminal => {
                Some(spawn.terminal.unwrap_or_else(|| Arc::new(Terminal::of_process(Vec::new()))))
            }
        };
        let entry = Arc::clone(code.id());
        let process = self.processes.make(&host.id, &entry, reads, terminal, &self.budget);
        if !spawn.messages.is_empty() {
            process.send(spawn.messages)?;
        }
        let parent = spawn.parent.as_deref();
        self.processes.add(&process, parent, spawn.ties, spawn.name.as_deref())?;
        let context = spawn.context.of_process(Arc::clone(&process));
        tokio::spawn(live(Arc::clone(self), Arc::clone(&process), code, context, place, seat));
        Ok(process)
    }
}

/// A process from its first step to its end.
async fn live(
    inner: Arc<Inner>,
    process: Arc<Process>,
    code: Code,
    mut context: Context,
    place: Admitted,
    seat: Seat,
) {
    let id = Arc::clone(&process.entry);
    let span = inner.telemetry.process(&id, &mut context.trace);
    let body = AssertUnwindSafe(code.run(Arc::clone(&inner), context)).catch_unwind();
    let ends = async {
        let exit = OnWorker::new(place, body).await;
        exit.unwrap_or_else(|panic| Err(task::panicked(&id, panic)))
    };
    // What the code held is gone, and its terminal as it was, before anybody learns of its end.
    let exit: Exit = tokio::select! {
        biased;
        error = process.due() => Err(error),
        exit = ends => exit,
    };
    drop(seat);
    if let Some(terminal) = &process.terminal {
        terminal.reset();
    }
    span.end(exit.as_ref().err());
    inner.processes.ended(&process, exit);
}

impl Code {
    fn new(inner: &Arc<Inner>, program: Program, args: Arguments) -> Result<Self, Error> {
        Ok(match (program, args) {
            (Program::Lua(function), Arguments::Data(args)) => Self::Lua(function, args),
            (Program::Lua(function), Arguments::Values(_)) => {
                let message = format!("`{}` takes no values of a guest", function.id);
                return Err(Error::new(ErrorKind::Internal, message));
            }
            (Program::Wasm(function), Arguments::Values(args)) => Self::Wasm(function, args),
            (Program::Wasm(function), Arguments::Data(args)) => {
                let prepared = function.prepared(inner)?;
                let named = |error: Error| error.wrapped(&format!("`{}`", function.id));
                let args = prepared.plan.lower_data(&args).map_err(named)?;
                Self::Wasm(function, args)
            }
        })
    }

    fn id(&self) -> &Arc<EntryId> {
        match self {
            Self::Lua(function, _) => &function.id,
            Self::Wasm(function, _) => &function.id,
        }
    }

    async fn run(self, inner: Arc<Inner>, context: Context) -> Exit {
        match self {
            Self::Lua(function, args) => crate::lua::run_process(inner, function, context, args).await,
            Self::Wasm(function, args) => {
                let prepared = Arc::clone(function.prepared(&inner)?);
                let stdio = context.process().and_then(|process| process.terminal.as_ref());
                let stdio = stdio.map(|terminal| terminal.stdio()).unwrap_or_default();
                let mut patience = Patience::of(&context);
                let place = inner.capacity().instances.place(&function.id, &mut patience).await?;
                let value = crate::call::run(inner, function, context, args, stdio, place).await?;
                prepared.plan.lift_data(value.as_ref())
            }
        }
    }
}
