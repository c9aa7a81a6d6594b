//! One invocation: its coroutines, what they wait for, and how it ends.

use std::pin::pin;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use mlua::thread::ThreadStatus;
use mlua::{MultiValue, Thread, Value};
use registry_schema::{EntryId, ErrorKind};

use super::host::{Completion, Current, Receiver, Ticket};
use super::modules::process::Inside;
use super::state::State;
use super::{LuaFunction, convert, error};
use crate::config::LUA_TURNS_AT_ONCE;
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::failure;
use crate::guest_log::Stream;
use crate::loader::Inner;

/// Calls `function` with `args`. Dropping the future ends the invocation and what it waits for.
pub(super) async fn run(
    inner: Arc<Inner>,
    function: Arc<LuaFunction>,
    context: Context,
    args: Vec<Data>,
) -> Result<Data, Error> {
    let state = inner.lua.take()?;
    let deadline = context.deadline();
    let mut invocation = Invocation::new(&inner, &state, &function, context);
    let ended = {
        let ends = pin!(invocation.run(&function, &args));
        match deadline {
            None => ends.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, ends).await {
                Ok(ended) => ended,
                Err(_) => return Err(failure::inherited_timeout(&function.id)),
            },
        }
    };
    let was_ended = state.host.end().map_or(true, |end| end.is_some());
    drop(invocation);
    if deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) && ended.is_err() {
        return Err(failure::inherited_timeout(&function.id));
    }
    // A state whose hook has raised has coroutines in which it still would.
    if !was_ended {
        inner.lua.give(state);
    }
    ended
}

/// A coroutine of the scheduler. Its place is used again when it has ended; its waits are counted on, so
/// that what was begun for it wakes no other.
#[derive(Default)]
struct Task {
    /// None once it has ended.
    thread: Option<Thread>,
    /// How often it has waited.
    wait: u32,
}

struct Invocation<'a> {
    state: &'a State,
    entry: Arc<EntryId>,
    /// By their number in [`Ticket`].
    tasks: Vec<Task>,
    /// Numbers of those that have ended.
    free: Vec<u32>,
    operations: FuturesUnordered<Begun>,
}

type Begun = std::pin::Pin<Box<dyn Future<Output = (Receiver, Completion)> + Send>>;

impl Drop for Invocation<'_> {
    fn drop(&mut self) {
        self.state.host.set(None);
    }
}

impl<'a> Invocation<'a> {
    fn new(inner: &Arc<Inner>, state: &'a State, function: &LuaFunction, context: Context) -> Self {
        state.host.set(Some(Current {
            inner: Arc::clone(inner),
            memory: inner.budget.share(),
            entry: Arc::clone(&function.id),
            context,
            ticket: Ticket { task: 0, wait: 0 },
            begun: Vec::new(),
            woken: std::collections::VecDeque::new(),
            spawned: Vec::new(),
            coroutines: 0,
            end: None,
            inside: Inside::default(),
        }));
        let entry = Arc::clone(&function.id);
        Self { state, entry, tasks: Vec::new(), free: Vec::new(), operations: FuturesUnordered::new() }
    }

    async fn run(&mut self, function: &LuaFunction, args: &[Data]) -> Result<Data, Error> {
        let internal = |problem: mlua::Error| self.broken(&problem);
        let lua = &self.state.lua;
        let mut values = MultiValue::new();
        values.push_back(Value::String(lua.create_string(&function.name).map_err(internal)?));
        values.push_back(match &function.lua.method {
            Some(method) => Value::String(lua.create_string(method).map_err(internal)?),
            None => Value::Nil,
        });
        for arg in args {
            values.push_back(convert::to_lua(lua, arg).map_err(internal)?);
        }
        let thread = lua.create_thread(self.state.main.clone()).map_err(internal)?;
        self.tasks.push(Task { thread: Some(thread), wait: 0 });
        let mut next = Some((0, values));
        let mut turns = 0_u32;
        loop {
            while let Some((task, values)) = next {
                if let Some(ended) = self.turn(task, values).await? {
                    return ended;
                }
                turns = turns.wrapping_add(1);
                if turns.is_multiple_of(LUA_TURNS_AT_ONCE) {
                    self.breathe().await?;
                }
                next = self.woken()?;
            }
            let Some((receiver, completion)) = self.operations.next().await else {
                let message =
                    format!("`{}`: all its coroutines wait, and nothing is left to wake one", self.entry);
                return Err(Error::new(ErrorKind::Internal, message));
            };
            self.complete(receiver, completion)?;
            next = self.woken()?;
        }
    }

    /// Lets others run, the deadline end this, and operations complete: coroutines that wake each other would
    /// leave no room for any of it.
    async fn breathe(&mut self) -> Result<(), Error> {
        tokio::task::yield_now().await;
        for _ in 0..LUA_TURNS_AT_ONCE {
            let Some(Some((receiver, completion))) = self.operations.next().now_or_never() else { break };
            self.complete(receiver, completion)?;
        }
        Ok(())
    }

    /// Resumes `task` until it waits or ends; the outcome of the invocation if it was the first.
    async fn turn(
        &mut self,
        number: u32,
        mut values: MultiValue,
    ) -> Result<Option<Result<Data, Error>>, Error> {
        let index = number as usize;
        loop {
            let Some(Task { thread: Some(thread), wait }) = self.tasks.get(index) else { return Ok(None) };
            let (thread, ticket) = (thread.clone(), Ticket { task: number, wait: *wait });
            let host = &self.state.host;
            host.with(|current| current.ticket = ticket).map_err(|problem| self.broken(&problem))?;
            let given = thread.resume::<MultiValue>(values).map_err(|problem| self.broken(&problem))?;
            let interrupted = given.is_empty();
            // It may have given waits up.
            let wait = host.with(|current| current.ticket.wait);
            self.tasks[index].wait = wait.map_err(|problem| self.broken(&problem))?;
            self.begin().map_err(|problem| self.broken(&problem))?;
            match thread.status() {
                // Its own turn goes on: coroutines of an invocation take turns only where they wait.
                ThreadStatus::Resumable if interrupted => {
                    if let Some(end) = host.end().map_err(|problem| self.broken(&problem))? {
                        return Err(end);
                    }
                    tokio::task::yield_now().await;
                    values = MultiValue::new();
                }
                // What it has grown by within its turn is seen now: it may wait for long.
                ThreadStatus::Resumable => {
                    let bytes = self.state.lua.used_memory() as u64;
                    let end = host.with(|current| current.rest(bytes));
                    let end = end.map_err(|problem| self.broken(&problem))?;
                    return end.map_or(Ok(None), Err);
                }
                _ => {
                    let task = &mut self.tasks[index];
                    task.thread = None;
                    task.wait = task.wait.wrapping_add(1);
                    let outcome = outcome(&self.entry, given);
                    if number == 0 {
                        return Ok(Some(outcome));
                    }
                    self.free.push(number);
                    let gone = host.with(|current| current.coroutines = current.coroutines.saturating_sub(1));
                    gone.map_err(|problem| self.broken(&problem))?;
                    if let Err(error) = outcome {
                        let inner = host.inner().map_err(|problem| self.broken(&problem))?;
                        let text = format!("a spawned coroutine failed: {error}");
                        inner.log.line(&self.entry, Stream::Stderr, &text);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Takes over what the coroutine that was resumed has begun.
    fn begin(&mut self) -> mlua::Result<()> {
        let begun = self.state.host.with(|current| {
            let none = current.begun.is_empty() && current.spawned.is_empty();
            (!none).then(|| (std::mem::take(&mut current.begun), std::mem::take(&mut current.spawned)))
        })?;
        let Some((begun, spawned)) = begun else { return Ok(()) };
        for (receiver, operation) in begun {
            self.operations.push(Box::pin(async move { (receiver, operation.await) }));
        }
        for function in spawned {
            let number = match self.free.pop() {
                Some(number) => number,
                None => {
                    self.tasks.push(Task::default());
                    u32::try_from(self.tasks.len() - 1).map_err(mlua::Error::external)?
                }
            };
            let task = &mut self.tasks[number as usize];
            task.thread = Some(self.state.lua.create_thread(self.state.spawned.clone())?);
            let wait = task.wait;
            let args = MultiValue::from_iter([Value::Function(function)]);
            self.state.host.with(|current| {
                current.woken.push_back((Ticket { task: number, wait }, Ok(args)));
            })?;
        }
        Ok(())
    }

    /// The next coroutine to resume, with what it gets.
    fn woken(&mut self) -> Result<Option<(u32, MultiValue)>, Error> {
        loop {
            let woken = self.state.host.with(|current| current.woken.pop_front());
            let Some((ticket, values)) = woken.map_err(|problem| self.broken(&problem))? else {
                return Ok(None);
            };
            let Some(task) = self.tasks.get_mut(ticket.task as usize) else { continue };
            // Not the wait that it is in: one that it gave up.
            if task.thread.is_none() || task.wait != ticket.wait {
                continue;
            }
            task.wait = task.wait.wrapping_add(1);
            let values = match values {
                Ok(values) => values,
                Err(problem) => {
                    let problem = error::raised(&self.state.lua, &problem);
                    let problem = problem.map_err(|problem| self.broken(&problem))?;
                    MultiValue::from_iter([Value::Boolean(false), problem])
                }
            };
            return Ok(Some((ticket.task, values)));
        }
    }

    fn complete(&mut self, receiver: Receiver, completion: Completion) -> Result<(), Error> {
        let lua = &self.state.lua;
        let values = completion(lua);
        match receiver {
            Receiver::Task(ticket) => {
                let values = values.map(|mut values| {
                    values.push_front(Value::Boolean(true));
                    values
                });
                self.state.host.with(|current| current.woken.push_back((ticket, values)))
            }
            Receiver::Function(function) => values.and_then(|values| function.call::<()>(values)),
            Receiver::End => values.map(|_| ()),
        }
        .map_err(|problem| self.broken(&problem))?;
        // A function may have begun more.
        self.begin().map_err(|problem| self.broken(&problem))
    }

    /// The error of a state that can't go on: out of memory outside any protected call.
    fn broken(&self, problem: &mlua::Error) -> Error {
        // The hook also runs where values are made for a coroutine that waits: what it raises is why this has to end.
        if let Ok(Some(end)) = self.state.host.end() {
            return end;
        }
        Error::new(ErrorKind::Internal, format!("`{}`: {}", self.entry, error::text(problem)))
    }
}

/// What an entry's function gave: `true` and its values, or `false` and what it raised.
fn outcome(entry: &EntryId, mut given: MultiValue) -> Result<Data, Error> {
    let ok = given.pop_front();
    let first = given.pop_front().unwrap_or(Value::Nil);
    if ok != Some(Value::Boolean(true)) {
        return Err(error::uncaught(entry, &first));
    }
    match (first, given.pop_front()) {
        (Value::Nil, Some(problem)) if problem != Value::Nil => Err(error::of_value(&problem)),
        (value, _) => convert::from_lua("result", &value)
            .map_err(|error| error.wrapped(&format!("`{entry}` returned what can't be passed on"))),
    }
}
