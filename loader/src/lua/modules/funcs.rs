//! `funcs` (`en/lua/core/funcs.md`): what of it is Rust. Executors and futures are tables of the prelude.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use mlua::{AnyUserData, Function, Lua, LuaString, MultiValue, Table as LuaTable, UserData, Value};
use registry_schema::ErrorKind;
use tokio::time::Instant;

use super::super::host::{Answer, Completion, Host, Operation, Receiver};
use super::super::{convert, error};
use super::held::{Share, hold};
use super::places::Places;
use crate::bulk;
use crate::calls::{Retry, Target, repeat};
use crate::config::{LUA_CALL_BYTES_FREE, LUA_CALLS_MAX};
use crate::conversion::Plan;
use crate::data::Data;
use crate::error::Error;
use crate::function::WasmFunction;
use crate::loader::{Callable, Inner};
use crate::meter::Meter;
use crate::pool::Patience;
use crate::security::{Actor, Scope};
use crate::task;

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
    let own = host.clone();
    let call = move |lua: &Lua, (options, target, args): (Option<AnyUserData>, Value, MultiValue)| match begin(
        lua, &own, options, &target, args,
    ) {
        Ok(operation) => own.answer(lua, Answer::Later(operation)),
        Err(problem) => own.answer(lua, Answer::Now(error::pair(lua, problem)?)),
    };
    rust.set("call", lua.create_function(call)?)?;
    let own = host.clone();
    let pending = Places::new(LUA_CALLS_MAX);
    let start =
        move |lua: &Lua,
              (settle, options, target, args): (Function, Option<AnyUserData>, Value, MultiValue)| {
            let begun = pending.take().ok_or_else(too_many).and_then(|place| {
                let operation = begin(lua, &own, options, &target, args)?;
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

/// Starts a call; what it gives is `value, err` as Lua sees them.
fn begin(
    lua: &Lua,
    host: &Host,
    options: Option<AnyUserData>,
    target: &Value,
    args: MultiValue,
) -> Result<Operation, Error> {
    let Value::String(id) = target else {
        return Err(invalid(format!("invalid function target: expected string, got {}", target.type_name())));
    };
    let id = id.to_str().map_err(|_| invalid("invalid function target: it is no text".to_owned()))?;
    let (inner, context) = host
        .with(|current| (Arc::clone(&current.inner), current.context.clone()))
        .map_err(|problem| outside(&problem))?;
    let Target { callable, mut context, mut retry } = inner.target(&context, &id)?;
    let deadline = context.deadline();
    let mut context_bytes = 0;
    if let Some(options) = options {
        let CallOptions { values, actor, scope, timeout, retry: own } =
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
        retry = own.or(retry);
    }
    let until = context.deadline();
    match callable {
        Callable::Lua(function) => {
            let meter = convert::meter(deadline);
            let args = args.iter().enumerate();
            let args =
                args.map(|(index, arg)| convert::metered(&format!("argument {}", index + 1), arg, &meter));
            let args: Vec<Data> = args.collect::<Result<_, _>>()?;
            let held = hold(lua, context_bytes + bytes_of(&meter))?;
            Ok(later(
                async move {
                    let _held = held;
                    match retry {
                        None => super::super::call(&inner, function, context, args).await,
                        retry => {
                            let call = || {
                                super::super::call(
                                    &inner,
                                    Arc::clone(&function),
                                    context.clone(),
                                    args.clone(),
                                )
                            };
                            repeat(retry, until, call).await
                        }
                    }
                },
                |lua, value: Data| Ok(MultiValue::from_iter([convert::to_lua(lua, &value)?, Value::Nil])),
            ))
        }
        Callable::Wasm(function) => {
            let prepared = function.prepared(&inner)?;
            let named = |error: Error| error.wrapped(&format!("`{}`", function.id));
            let meter = Plan::meter(deadline);
            let keys = prepared.plan.keys(lua).map_err(|problem| outside(&problem))?;
            let args = prepared.plan.lower(&keys, args, &meter).map_err(named)?;
            let bytes = context_bytes + bytes_of(&meter);
            let held = (bytes > LUA_CALL_BYTES_FREE).then(|| hold(lua, bytes)).transpose()?;
            Ok(later(
                async move {
                    let _held = held;
                    match retry {
                        None => wasm(inner, function, context, args).await,
                        retry => {
                            let call = || {
                                wasm(Arc::clone(&inner), Arc::clone(&function), context.clone(), args.clone())
                            };
                            repeat(retry, until, call).await
                        }
                    }
                },
                move |lua, value: Option<bulk::Value>| prepared.plan.lift(lua, &keys, value.as_ref()),
            ))
        }
    }
}

/// What was copied, in bytes.
fn bytes_of(meter: &Meter) -> usize {
    usize::try_from(meter.taken()).unwrap_or(usize::MAX)
}

/// On the caller's task, unless it has threads of its own: a guest that calls back does so by a task of its own.
async fn wasm(
    inner: Arc<Inner>,
    function: Arc<WasmFunction>,
    mut context: crate::context::Context,
    args: Vec<bulk::Value>,
) -> Result<Option<bulk::Value>, Error> {
    if function.class.is_some() {
        return inner.call_wasm(function, context, args).await;
    }
    let id = Arc::clone(&function.id);
    let seen = inner.telemetry.begin(&function.seen, &mut context.trace);
    let patience = Patience::of(&context);
    // Boxed: it is large, and passes through several hands.
    let call = Box::pin(async move {
        let slot = function.pool.slot(patience).await?;
        crate::call::call(inner, function, context, args, crate::Stdio::Log, slot.free, patience).await
    });
    let call = AssertUnwindSafe(seen.scope(call));
    let result = match call.catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(task::panicked(&id, panic)),
    };
    seen.end(&result);
    result
}

fn later<T: Send + 'static>(
    call: impl Future<Output = Result<T, Error>> + Send + 'static,
    give: impl FnOnce(&Lua, T) -> mlua::Result<MultiValue> + Send + 'static,
) -> Operation {
    Box::pin(async move {
        let result = call.await;
        Box::new(move |lua: &Lua| match result {
            Ok(value) => give(lua, value),
            Err(problem) => error::pair(lua, problem),
        }) as Completion
    })
}
