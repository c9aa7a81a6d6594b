//! What the Rust functions of a Lua state have in common: the invocation that runs in it, and how they
//! begin an operation that their coroutine waits for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};

use mlua::{FromLuaMulti, Function, Lua, MultiValue, Value};
use registry_schema::{EntryId, ErrorKind};
use tokio::time::Instant;

use super::modules::process::Inside;
use crate::budget::Share;
use crate::config::LUA_COUNTED_BYTES;
use crate::context::Context;
use crate::error::Error;
use crate::failure;
use crate::loader::Inner;
use crate::meter;

/// What an operation gives to the coroutine that waited: made on the state's own turn.
pub(super) type Completion = Box<dyn FnOnce(&Lua) -> mlua::Result<MultiValue> + Send>;
/// An operation under way.
pub(super) type Operation = Pin<Box<dyn Future<Output = Completion> + Send>>;

/// One wait of one coroutine of the scheduler: it is woken by what was begun for this wait alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    /// Which coroutine: 0 is the first, others are of `coroutine.spawn`.
    pub(super) task: u32,
    /// How often it had waited before.
    pub(super) wait: u32,
}

impl Ticket {
    fn to_lua(self) -> i64 {
        (i64::from(self.task) << 32) | i64::from(self.wait)
    }

    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "made by `to_lua`")]
    fn from_lua(packed: i64) -> Self {
        Self { task: (packed >> 32) as u32, wait: packed as u32 }
    }
}

/// Who takes what an operation gives.
pub(super) enum Receiver {
    /// The coroutine that waits for it.
    Task(Ticket),
    /// A function, called with it.
    Function(Function),
    /// The invocation, which ends with the error that it is.
    End,
}

/// Shared by the functions of one state. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Host(Arc<Shared>);

#[derive(Default)]
struct Shared {
    current: Mutex<Option<Current>>,
    /// After how many instructions a turn ends that begins now. Of the state, since its hook is.
    instructions: AtomicU32,
}

/// The invocation that a state runs.
pub(super) struct Current {
    pub(super) inner: Arc<Inner>,
    pub(super) entry: Arc<EntryId>,
    pub(super) context: Context,
    /// What the state has of the memory of all guests, as of the last turn.
    pub(super) memory: Share,
    /// The wait that the running coroutine would begin.
    pub(super) ticket: Ticket,
    /// Operations begun since it was resumed.
    pub(super) begun: Vec<(Receiver, Operation)>,
    /// Waits that have ended, with what their coroutines are resumed with.
    pub(super) woken: VecDeque<(Ticket, mlua::Result<MultiValue>)>,
    /// Coroutines made since it was resumed: what they run.
    pub(super) spawned: Vec<Function>,
    /// How many coroutines there are.
    pub(super) coroutines: usize,
    /// What it knows of itself as a process.
    pub(super) inside: Inside,
    /// Why it has to end, if it has: nothing of it shall go on.
    pub(super) end: Option<Error>,
}

impl Current {
    /// Looks at the deadline and at the memory of all guests, of which the state has `bytes`. Whether the
    /// invocation had to end before.
    pub(super) fn turn(&mut self, bytes: u64) -> bool {
        if self.end.is_some() {
            return true;
        }
        if self.context.deadline().is_some_and(|deadline| Instant::now() >= deadline) {
            self.end = Some(failure::inherited_timeout(&self.entry));
        } else {
            self.count(bytes);
        }
        false
    }

    /// Counts what the state has of the memory of all guests, and ends the invocation when as much is not left.
    fn count(&mut self, bytes: u64) {
        if !self.memory.set(bytes) {
            let message = format!(
                "`{}`: limit `wasm.total.max_memory_bytes` of {} was reached",
                self.entry,
                self.memory.bytes_max()
            );
            self.end = Some(Error::new(ErrorKind::Internal, message));
        }
    }

    /// The same for a state whose coroutine begins to wait, where it differs by enough to matter. Why the
    /// invocation has to end, if it has.
    pub(super) fn rest(&mut self, bytes: u64) -> Option<Error> {
        if self.end.is_none() && bytes.abs_diff(self.memory.bytes()) >= LUA_COUNTED_BYTES {
            self.count(bytes);
        }
        self.end.clone()
    }
}

/// How a function that may wait answers.
pub(super) enum Answer {
    /// At once.
    Now(MultiValue),
    /// When the operation completes.
    Later(Operation),
}

impl Answer {
    /// Waits for `future`; `give` makes Lua values of what it gives.
    pub(super) fn later<T: Send + 'static>(
        future: impl Future<Output = T> + Send + 'static,
        give: impl FnOnce(&Lua, T) -> mlua::Result<MultiValue> + Send + 'static,
    ) -> Self {
        Self::Later(Box::pin(async move {
            let value = future.await;
            Box::new(move |lua: &Lua| give(lua, value)) as Completion
        }))
    }
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        // Each change is one assignment or one push: whole after any panic.
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `current` the invocation of this state, or none.
    pub(super) fn set(&self, current: Option<Current>) {
        *self.lock() = current;
    }

    /// After how many instructions a turn ends that begins now.
    pub(super) fn instructions(&self) -> u32 {
        self.0.instructions.load(Ordering::Relaxed)
    }

    pub(super) fn set_instructions(&self, instructions: u32) {
        self.0.instructions.store(instructions, Ordering::Relaxed);
    }

    /// What `read` says of the invocation. It must not run Lua.
    ///
    /// # Errors
    /// When none runs: a function that was kept beyond its invocation.
    pub(super) fn with<T>(&self, read: impl FnOnce(&mut Current) -> T) -> mlua::Result<T> {
        match self.lock().as_mut() {
            Some(current) => Ok(read(current)),
            None => Err(mlua::Error::runtime("this invocation has ended")),
        }
    }

    /// The loader.
    pub(super) fn inner(&self) -> mlua::Result<Arc<Inner>> {
        self.with(|current| Arc::clone(&current.inner))
    }

    /// The context of the invocation.
    pub(super) fn context(&self) -> mlua::Result<Context> {
        self.with(|current| current.context.clone())
    }

    /// The entry that runs.
    pub(super) fn entry(&self) -> mlua::Result<Arc<EntryId>> {
        self.with(|current| Arc::clone(&current.entry))
    }

    /// Why the invocation has to end, if it has.
    pub(super) fn end(&self) -> mlua::Result<Option<Error>> {
        self.with(|current| current.end.clone())
    }

    /// What is raised in an invocation that has to end.
    pub(super) fn ended(&self) -> mlua::Error {
        match self.end() {
            Ok(Some(error)) => mlua::Error::external(error),
            Ok(None) => mlua::Error::external(meter::past_deadline()),
            Err(problem) => problem,
        }
    }

    /// The deadline of what `lua` runs.
    pub(super) fn deadline(lua: &Lua) -> Option<Instant> {
        let host = lua.app_data_ref::<Self>()?;
        host.with(|current| current.context.deadline()).ok().flatten()
    }

    /// [`Self::deadline`], for what shall not even begin in an invocation that has to end.
    ///
    /// # Errors
    /// When it has.
    pub(super) fn going_on(lua: &Lua) -> mlua::Result<Option<Instant>> {
        let Some(host) = lua.app_data_ref::<Self>() else { return Ok(None) };
        let going_on = host.with(|current| match &current.end {
            Some(end) => Err(mlua::Error::external(end.clone())),
            None => Ok(current.context.deadline()),
        });
        // Outside any invocation nothing has to end.
        going_on.unwrap_or(Ok(None))
    }

    /// Looks at the deadline now, not at the next turn.
    pub(super) fn look(lua: &Lua) {
        if let Some(host) = lua.app_data_ref::<Self>() {
            let bytes = lua.used_memory() as u64;
            // Without an invocation there is none to end.
            let _ = host.with(|current| current.turn(bytes));
        }
    }

    /// Begins `operation`; its values go to `receiver`.
    pub(super) fn begin(&self, receiver: Receiver, operation: Operation) -> mlua::Result<()> {
        self.with(|current| current.begun.push((receiver, operation)))
    }

    /// The wait that the running coroutine is about to begin, as Lua holds it.
    pub(super) fn ticket(&self) -> mlua::Result<i64> {
        self.with(|current| current.ticket.to_lua())
    }

    /// Ends the wait `packed`: its coroutine goes on with `values`.
    pub(super) fn wake(&self, packed: i64, values: MultiValue) -> mlua::Result<()> {
        self.with(|current| current.woken.push_back((Ticket::from_lua(packed), Ok(values))))
    }

    /// Gives the running coroutine's wait up: what was begun for it wakes nobody.
    pub(super) fn abandon(&self) -> mlua::Result<()> {
        self.with(|current| current.ticket.wait = current.ticket.wait.wrapping_add(1))
    }

    /// Polls `operation` once, since most complete at once and a switch costs more than they do; else the
    /// running coroutine has to wait for it.
    fn start(&self, lua: &Lua, mut operation: Operation) -> mlua::Result<Option<MultiValue>> {
        // Polled again by the scheduler before it sleeps, with its own waker.
        match operation.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(completion) => completion(lua).map(Some),
            Poll::Pending => {
                self.wait_for(operation)?;
                Ok(None)
            }
        }
    }

    /// Lets the running coroutine wait for `operation`.
    pub(super) fn wait_for(&self, operation: Operation) -> mlua::Result<()> {
        let ticket = self.with(|current| current.ticket)?;
        self.begin(Receiver::Task(ticket), operation)
    }

    /// What a function that may wait gives to the prelude: whether it waits, and its values if it does not.
    pub(super) fn answer(&self, lua: &Lua, answer: Answer) -> mlua::Result<MultiValue> {
        let now = match answer {
            Answer::Now(values) => Some(values),
            Answer::Later(operation) => self.start(lua, operation)?,
        };
        Ok(match now {
            Some(mut values) => {
                values.push_front(Value::Boolean(false));
                values
            }
            None => MultiValue::from_iter([Value::Boolean(true)]),
        })
    }

    /// A Lua function that may wait: `begin` answers at once or with an operation, during which the calling
    /// coroutine waits and others run.
    pub(super) fn waiting<A: FromLuaMulti>(
        &self,
        lua: &Lua,
        begin: impl Fn(&Lua, &Self, A) -> mlua::Result<Answer> + Send + Sync + 'static,
    ) -> mlua::Result<Function> {
        let host = self.clone();
        let begin = lua.create_function(move |lua, args: A| {
            let answer = begin(lua, &host, args)?;
            host.answer(lua, answer)
        })?;
        let wrap: Function = lua.named_registry_value(WAITING)?;
        wrap.call(begin)
    }
}

/// Name in the registry of the function of `prelude.lua` that makes a waiting function of one that begins.
pub(super) const WAITING: &str = "waiting";
