//! `funcs` (`en/lua/core/funcs.md`): what of it is Rust. Executors and futures are tables of the prelude.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use mlua::{AnyUserData, Function, Lua, LuaString, MultiValue, Table as LuaTable, UserData, Value};
use registry_schema::ErrorKind;
use tokio::time::Instant;

use super::super::host::{Completion, Host, Operation, Receiver};
use super::super::wit::Keys;
use super::super::{LuaFunction, convert, error};
use super::held::{Share, hold};
use super::places::Places;
use crate::bulk;
use crate::calls::{Retry, Target, repeat};
use crate::config::{LUA_CALL_BYTES_FREE, LUA_CALLS_MAX};
use crate::context::Context;
use crate::conversion::Plan;
use crate::data::Data;
use crate::error::Error;
use crate::function::{Prepared, WasmFunction};
use crate::hosts::Stdio;
use crate::loader::{Callable, Inner};
use crate::meter::Meter;
use crate::pool::Patience;
use crate::security::{Actor, Scope};

/// What an executor adds to its calls.
#[derive(Clone, Default)]
struct CallOptions {
    values: Option<Arc<Values>>,
    actor: Option<Arc<Actor>>,
    scope: Option<Arc<Scope>>,
    timeout: Option<Duration>,
    retry: Option<Retry>,
}

impl UserData for CallOptions {}

/// What `with_context` adds.
struct Values {
    pairs: Vec<(String, Data)>,
    _share: Share,
}

impl Values {
    /// About how much memory they take, in bytes.
    fn bytes(pairs: &[(String, Data)]) -> usize {
        pairs.iter().map(|(key, value)| key.len() + size_of::<String>() + value.bytes()).sum()
    }
}

/// Ends an asynchronous call.
struct Handle(AbortHandle);

impl UserData for Handle {}

/// Adds what the prelude builds `funcs` of to `rust`.
pub(in crate::lua) fn functions(lua: &Lua, host: &Host, rust: &LuaTable) -> mlua::Result<()> {
    let known = lua.create_table()?;
    rust.set("guests", &known)?;
    let own = host.clone();
    let call = move |lua: &Lua, (options, target, args): (Option<AnyUserData>, Value, MultiValue)| {
        let is_plain = options.is_none();
        let begun = match begin(lua, &own, options, &target, args) {
            Ok(begun) => begun,
            Err(problem) => return now(error::failed(lua, problem)),
        };
        // An executor without options comes here each time.
        if let Begun::Guest(_, guest) = &begun
            && is_plain
            && !known.contains_key(&*guest.id)?
        {
            let begin = lua.create_function(guest_function(own.clone(), Arc::clone(guest)))?;
            known.raw_set(&*guest.id, begin)?;
        }
        begun.go_on(lua, &own)
    };
    rust.set("call", lua.create_function(call)?)?;
    let own = host.clone();
    let pending = Places::new(LUA_CALLS_MAX);
    let start =
        move |lua: &Lua,
              (settle, options, target, args): (Function, Option<AnyUserData>, Value, MultiValue)| {
            let begun = pending.take().ok_or_else(too_many).and_then(|place| {
                let operation = begin(lua, &own, options, &target, args)?.operation();
                Ok(operation.map(|completion| {
                    drop(place);
                    completion
                }))
            });
            let operation = match begun {
                Ok(operation) => operation,
                Err(problem) => return error::pair(lua, problem),
            };
            let (handle, registration) = AbortHandle::new_pair();
            let operation = Abortable::new(operation, registration).map(|done| match done {
                Ok(completion) => completion,
                // Settled by whoever cancelled it.
                Err(_) => Box::new(|_: &Lua| Ok(MultiValue::new())) as Completion,
            });
            own.begin(Receiver::Function(settle), Box::pin(operation))?;
            Ok(MultiValue::from_iter([Value::UserData(lua.create_userdata(Handle(handle))?)]))
        };
    rust.set("async", lua.create_function(start)?)?;
    rust.set(
        "cancel",
        lua.create_function(|_, handle: AnyUserData| {
            handle.borrow::<Handle>()?.0.abort();
            Ok(())
        })?,
    )?;
    let canceled = |lua: &Lua, target: LuaString| {
        let message = format!("the call of `{}` was canceled", target.to_string_lossy());
        error::to_lua(lua, Error::new(ErrorKind::Canceled, message))
    };
    rust.set("canceled", lua.create_function(canceled)?)?;
    changes(lua, host, rust)
}

/// The builder's methods: each gives new options, or `nil, err`.
fn changes(lua: &Lua, host: &Host, rust: &LuaTable) -> mlua::Result<()> {
    type Change = fn(&Lua, &Host, &mut CallOptions, &Value) -> Result<(), Error>;
    let all: [(&str, Change); 4] = [
        ("with_context", with_context),
        ("with_actor", with_actor),
        ("with_scope", with_scope),
        ("with_options", with_options),
    ];
    for (name, change) in all {
        let own = host.clone();
        let method = move |lua: &Lua, (options, value): (Option<AnyUserData>, Value)| {
            let mut options = options_of(options)?;
            match change(lua, &own, &mut options, &value) {
                Ok(()) => Ok(MultiValue::from_iter([Value::UserData(lua.create_userdata(options)?)])),
                Err(problem) => error::pair(lua, problem),
            }
        };
        rust.set(name, lua.create_function(method)?)?;
    }
    Ok(())
}

fn options_of(options: Option<AnyUserData>) -> mlua::Result<CallOptions> {
    match options {
        Some(options) => Ok(options.borrow::<CallOptions>()?.clone()),
        None => Ok(CallOptions::default()),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn too_many() -> Error {
    let message = format!("{LUA_CALLS_MAX} calls of `async` are under way, more than that are not allowed");
    Error::new(ErrorKind::Unavailable, message).retryable()
}

fn outside(problem: &mlua::Error) -> Error {
    Error::new(ErrorKind::Internal, error::text(problem))
}

fn allowed(host: &Host, action: &str, resource: &str) -> Result<(), Error> {
    super::permission::allowed(host, action, resource).map_err(|problem| outside(&problem))?
}

fn with_context(lua: &Lua, host: &Host, options: &mut CallOptions, value: &Value) -> Result<(), Error> {
    let Value::Table(_) = value else {
        return Err(invalid(format!("values: expected table, got {}", value.type_name())));
    };
    allowed(host, "funcs.context", "context")?;
    let Data::Table(table) = convert::from_lua("values", value)? else { return Ok(()) };
    if !table.array.is_empty() {
        return Err(invalid("values: expected string keys, got an array".to_owned()));
    }
    let mut pairs = options.values.as_ref().map_or_else(Vec::new, |values| values.pairs.clone());
    for (key, value) in table.fields {
        let Some(name) = key.as_str() else {
            return Err(invalid("values: expected string keys".to_owned()));
        };
        pairs.push((name.to_owned(), value));
    }
    let share = hold(lua, Values::bytes(&pairs))?;
    options.values = Some(Arc::new(Values { pairs, _share: share }));
    Ok(())
}

fn with_actor(_: &Lua, host: &Host, options: &mut CallOptions, value: &Value) -> Result<(), Error> {
    let actor = super::security::actor_of(value)
        .ok_or_else(|| invalid(format!("actor: expected an actor, got {}", value.type_name())))?;
    allowed(host, "funcs.security", "security")?;
    options.actor = Some(actor);
    Ok(())
}

fn with_scope(_: &Lua, host: &Host, options: &mut CallOptions, value: &Value) -> Result<(), Error> {
    let scope = super::security::scope_of(value)
        .ok_or_else(|| invalid(format!("scope: expected a scope, got {}", value.type_name())))?;
    allowed(host, "funcs.security", "security")?;
    options.scope = Some(scope);
    Ok(())
}

/// `timeout` and `retry` are ours; names of other interceptors are free.
fn with_options(_: &Lua, _: &Host, options: &mut CallOptions, value: &Value) -> Result<(), Error> {
    let given = convert::from_lua("options", value)?;
    let Data::Table(_) = &given else {
        return Err(invalid(format!("options: expected table, got {}", value.type_name())));
    };
    if let Some(timeout) = given.get("timeout") {
        options.timeout = Some(duration("options.timeout", timeout)?);
    }
    if let Some(retry) = given.get("retry") {
        let Data::Table(_) = retry else {
            return Err(invalid("options.retry: expected table".to_owned()));
        };
        let mut made = options.retry.unwrap_or_default();
        if let Some(attempts) = retry.get("max_attempts") {
            made.max_attempts = match attempts {
                Data::Integer(attempts) => u32::try_from(*attempts).unwrap_or(0),
                _ => return Err(invalid("options.retry.max_attempts: expected integer".to_owned())),
            };
        }
        if let Some(delay) = retry.get("initial_delay") {
            made.initial_delay = duration("options.retry.initial_delay", delay)?;
        }
        if let Some(factor) = retry.get("backoff_factor") {
            made.backoff_factor = match factor {
                #[expect(clippy::cast_precision_loss, reason = "a factor is small")]
                Data::Integer(factor) => *factor as f64,
                Data::Float(factor) => *factor,
                _ => return Err(invalid("options.retry.backoff_factor: expected number".to_owned())),
            };
        }
        let checked = made.checked().map_err(|problem| invalid(format!("options.retry: {problem}")))?;
        options.retry = Some(checked);
    }
    Ok(())
}

/// Milliseconds, or text with units.
fn duration(path: &str, value: &Data) -> Result<Duration, Error> {
    let wrong = || invalid(format!("{path}: expected milliseconds or a duration such as `5s`"));
    match value {
        Data::Integer(millis) => u64::try_from(*millis).map(Duration::from_millis).map_err(|_| wrong()),
        Data::Float(millis) => Duration::try_from_secs_f64(millis / 1000.0).map_err(|_| wrong()),
        value => {
            let text = value.as_str().ok_or_else(wrong)?;
            let parsed: registry_schema::authored::duration::Duration = text.parse().map_err(|_| wrong())?;
            Ok(parsed.get())
        }
    }
}

/// What the prelude gets: whether the call waits, and `value, err` if it does not.
type Answered = (bool, Value, Value);

fn now(values: mlua::Result<(Value, Value)>) -> mlua::Result<Answered> {
    values.map(|(value, problem)| (false, value, problem))
}

/// A WebAssembly function, with all that calls of it by one state have in common.
struct Guest {
    id: Box<str>,
    function: Arc<WasmFunction>,
    prepared: Arc<Prepared>,
    keys: Arc<Keys>,
}

/// Calls `guest`, without options. The prelude keeps it by the id, so that only the first call looks the guest up:
/// that takes as long as the rest of what is done here.
fn guest_function(
    host: Host,
    guest: Arc<Guest>,
) -> impl Fn(&Lua, MultiValue) -> mlua::Result<Answered> + Send + 'static {
    move |lua, args| {
        let admitted = host.with(|current| {
            let context = current.inner.admitted(&current.context, &guest.id)?;
            Ok((Arc::clone(&current.inner), context))
        })?;
        let begun = admitted.and_then(|(inner, context)| {
            let options = Options { deadline: context.deadline(), context, context_bytes: 0, retry: None };
            begin_guest(lua, inner, &guest, options, args)
        });
        match begun {
            Ok(call) => Guest::go_on(&guest, call, lua, &host),
            Err(problem) => now(error::failed(lua, problem)),
        }
    }
}

/// Lets `call` run once: what it calls begins now, most guests return at once, and a switch of coroutines costs more
/// than they do. A call that waits is polled again by the scheduler before it sleeps, with its own waker.
fn once<T>(call: &mut Called<T>) -> Poll<Result<T, Error>> {
    call.as_mut().poll(&mut task::Context::from_waker(Waker::noop()))
}

/// Begins the call of `target` with `args`.
///
/// # Errors
/// Those of [`Inner::target`]; `INVALID` for arguments that don't fit; `UNAVAILABLE` when no room is left for what
/// the call holds.
fn begin(
    lua: &Lua,
    host: &Host,
    options: Option<AnyUserData>,
    target: &Value,
    args: MultiValue,
) -> Result<Begun, Error> {
    let Value::String(id) = target else {
        let found = target.type_name();
        return Err(invalid(format!("invalid function target: expected string, got {found}")));
    };
    let id = id.to_str().map_err(|_| invalid("invalid function target: it is no text".to_owned()))?;
    let found = host.with(|current| {
        let target = current.inner.target(&current.context, &id)?;
        Ok::<_, Error>((Arc::clone(&current.inner), target))
    });
    let (inner, Target { callable, context }) = found.map_err(|problem| outside(&problem))??;
    let options = Options::new(options, context)?;
    match callable {
        Callable::Lua(function) => begin_lua(lua, inner, function, options, &args),
        Callable::Wasm(function) => {
            let prepared = Arc::clone(function.prepared(&inner)?);
            let keys = prepared.plan.keys(lua).map_err(|problem| outside(&problem))?;
            let guest = Arc::new(Guest { id: (*id).into(), function, prepared, keys });
            Ok(Begun::Guest(begin_guest(lua, inner, &guest, options, args)?, guest))
        }
    }
}

/// What one call is made with.
struct Options {
    context: Context,
    /// The deadline of the caller.
    deadline: Option<Instant>,
    /// What its own copy of the context takes, in bytes.
    context_bytes: usize,
    retry: Option<Retry>,
}

impl Options {
    /// Those of a call with `context`, changed by an executor's `options`.
    fn new(options: Option<AnyUserData>, mut context: Context) -> Result<Self, Error> {
        let deadline = context.deadline();
        let Some(options) = options else {
            return Ok(Self { context, deadline, context_bytes: 0, retry: None });
        };
        let mut context_bytes = 0;
        let CallOptions { values, actor, scope, timeout, retry } =
            options_of(Some(options)).map_err(|problem| outside(&problem))?;
        if let Some(values) = values {
            // A copy of all, those that are inherited too.
            let inherited = context.values().iter();
            let inherited: usize = inherited.map(|(key, value)| key.len() + value.bytes()).sum();
            context_bytes = inherited + Values::bytes(&values.pairs);
            context = context.with_values(values.pairs.iter().cloned());
        }
        if actor.is_some() {
            context = context.with_actor(actor);
        }
        if scope.is_some() {
            context = context.with_scope(scope);
        }
        context = context.with_deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
        Ok(Self { context, deadline, context_bytes, retry })
    }

    /// The same, which repeats as the entry says unless the caller does.
    fn or_retry(self, retry: Option<Retry>) -> Self {
        Self { retry: self.retry.or(retry), ..self }
    }
}

fn begin_lua(
    lua: &Lua,
    inner: Arc<Inner>,
    function: Arc<LuaFunction>,
    options: Options,
    args: &MultiValue,
) -> Result<Begun, Error> {
    let Options { context, deadline, context_bytes, retry } = options.or_retry(function.retry);
    let meter = convert::meter(deadline);
    let args = args.iter().enumerate();
    let args = args.map(|(index, arg)| convert::metered(&format!("argument {}", index + 1), arg, &meter));
    let args: Vec<Data> = args.collect::<Result<_, _>>()?;
    let held = hold(lua, context_bytes + bytes_of(&meter))?;
    let until = context.deadline();
    Ok(Begun::Lua(Box::pin(async move {
        let _held = held;
        let call = || crate::lua::call(&inner, Arc::clone(&function), context.clone(), args.clone());
        match retry {
            None => crate::lua::call(&inner, function, context, args).await,
            retry => repeat(retry, until, call).await,
        }
    })))
}

fn begin_guest(
    lua: &Lua,
    inner: Arc<Inner>,
    guest: &Arc<Guest>,
    options: Options,
    args: MultiValue,
) -> Result<Called<Option<bulk::Value>>, Error> {
    let Guest { function, prepared, keys, .. } = &**guest;
    let Options { context, deadline, context_bytes, retry } = options.or_retry(function.retry);
    let meter = Plan::meter(deadline);
    let args = prepared.plan.lower(keys, args, &meter);
    let args = args.map_err(|error| error.wrapped(&format!("`{}`", function.id)))?;
    let bytes = context_bytes + bytes_of(&meter);
    let held = (bytes > LUA_CALL_BYTES_FREE).then(|| hold(lua, bytes)).transpose()?;
    let guest = Arc::clone(guest);
    Ok(match retry {
        None if function.class.is_none() => Box::pin(on_this_task(inner, guest, context, args, held)),
        retry => Box::pin(async move {
            let _held = held;
            let until = context.deadline();
            let call = || wasm(Arc::clone(&inner), Arc::clone(&guest), context.clone(), args.clone());
            repeat(retry, until, call).await
        }),
    })
}

/// What was copied, in bytes.
fn bytes_of(meter: &Meter) -> usize {
    usize::try_from(meter.taken()).unwrap_or(usize::MAX)
}

type Called<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A call that was begun.
enum Begun {
    Lua(Called<Data>),
    Guest(Called<Option<bulk::Value>>, Arc<Guest>),
}

impl Begun {
    /// Lets it run until it waits.
    fn go_on(self, lua: &Lua, host: &Host) -> mlua::Result<Answered> {
        match self {
            Self::Lua(mut call) => match once(&mut call) {
                Poll::Ready(result) => now(give_data(lua, result)),
                Poll::Pending => Self::Lua(call).wait(host),
            },
            Self::Guest(call, guest) => Guest::go_on(&guest, call, lua, host),
        }
    }

    /// Lets the running coroutine wait for it.
    fn wait(self, host: &Host) -> mlua::Result<Answered> {
        host.wait_for(self.operation())?;
        Ok((true, Value::Nil, Value::Nil))
    }

    fn operation(self) -> Operation {
        fn completion(
            give: impl FnOnce(&Lua) -> mlua::Result<(Value, Value)> + Send + 'static,
        ) -> Completion {
            Box::new(|lua| give(lua).map(|(value, problem)| MultiValue::from_iter([value, problem])))
        }
        match self {
            Self::Lua(call) => Box::pin(call.map(|result| completion(|lua| give_data(lua, result)))),
            Self::Guest(call, guest) => {
                Box::pin(call.map(|result| completion(move |lua| guest.give(lua, result))))
            }
        }
    }
}

/// What came of a call of a Lua function, as `value, nil` or `nil, err`.
fn give_data(lua: &Lua, result: Result<Data, Error>) -> mlua::Result<(Value, Value)> {
    match result {
        Ok(value) => Ok((convert::to_lua(lua, &value)?, Value::Nil)),
        Err(problem) => error::failed(lua, problem),
    }
}

impl Guest {
    /// Lets `call` of this guest run until it waits.
    fn go_on(
        guest: &Arc<Self>,
        mut call: Called<Option<bulk::Value>>,
        lua: &Lua,
        host: &Host,
    ) -> mlua::Result<Answered> {
        match once(&mut call) {
            Poll::Ready(result) => now(guest.give(lua, result)),
            Poll::Pending => Begun::Guest(call, Arc::clone(guest)).wait(host),
        }
    }

    /// What came of a call, as `value, nil` or `nil, err`.
    fn give(&self, lua: &Lua, result: Result<Option<bulk::Value>, Error>) -> mlua::Result<(Value, Value)> {
        match result {
            Ok(value) => self.prepared.plan.lift(lua, &self.keys, value.as_ref()),
            Err(problem) => error::failed(lua, problem),
        }
    }
}

/// On the caller's task, unless the function has threads of its own.
async fn wasm(
    inner: Arc<Inner>,
    guest: Arc<Guest>,
    context: Context,
    args: Vec<bulk::Value>,
) -> Result<Option<bulk::Value>, Error> {
    match guest.function.class {
        Some(_) => inner.call_wasm(Arc::clone(&guest.function), context, args).await,
        None => on_this_task(inner, guest, context, args, None).await,
    }
}

/// On the caller's task: a guest that calls back does so by a task of its own.
async fn on_this_task(
    inner: Arc<Inner>,
    guest: Arc<Guest>,
    mut context: Context,
    args: Vec<bulk::Value>,
    _held: Option<Share>,
) -> Result<Option<bulk::Value>, Error> {
    let function = &*guest.function;
    let seen = inner.telemetry.begin(&function.seen, &mut context.trace);
    let mut patience = Patience::of(&context);
    let mut slot = None;
    let result = {
        // Stays where it is made: it is large, and passes through several hands. Within the scope, in which it is
        // also dropped.
        let call = pin!(seen.scope(async {
            let slot = slot.insert(function.pool.slot(&mut patience).await?);
            crate::call::call(&inner, function, context, args, Stdio::Log, slot, patience).await
        }));
        AssertUnwindSafe(call).catch_unwind().await
    };
    let result = result.unwrap_or_else(|panic| Err(crate::task::panicked(&function.id, panic)));
    match slot.and_then(|slot| slot.ended()) {
        Some(ended) => seen.end_at(&result, ended),
        None => seen.end(&result),
    }
    result
}
