//! Error objects as Lua sees them (`en/lua/core/errors.md`).

use mlua::{IntoLua, Lua, LuaString, MetaMethod, MultiValue, Table, UserData, UserDataMethods, Value};

use registry_schema::{EntryId, ErrorKind};

use super::convert;
use super::host::Host;
use super::modules::held::{Share, hold_or_raise};
use crate::config::LUA_STACK_FRAMES_MAX;
use crate::error::{Error, Frame, Stack};

/// How Lua says that a limit of memory or stack was reached.
const LIMITS: [&str; 3] = ["not enough memory", "stack overflow", "C stack overflow"];

/// What frames of the prelude call their source.
const PRELUDE: &str = "prelude";

/// An error object: immutable, its metatable locked.
pub(super) struct ErrorObject(pub(super) Error, #[expect(dead_code, reason = "dropped with it")] Share);

impl UserData for ErrorObject {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("kind", |_, this, ()| Ok(this.0.kind().as_str()));
        methods.add_method("message", |lua, this, ()| lua.create_string(this.0.message()));
        methods.add_method("retryable", |_, this, ()| Ok(this.0.retryability()));
        methods.add_method("details", |lua, this, ()| convert::to_lua(lua, this.0.details()));
        methods.add_method("stack", |_, this, ()| {
            Ok(this.0.stack().map_or_else(|| Stack::default().to_string(), ToString::to_string))
        });
        methods.add_meta_method(MetaMethod::ToString, |lua, this, ()| lua.create_string(this.0.message()));
        methods.add_meta_function(MetaMethod::Concat, |lua, (left, right): (Value, Value)| {
            let mut text = text_of(&left)?;
            text.extend_from_slice(&text_of(&right)?);
            lua.create_string(text)
        });
    }
}

fn text_of(value: &Value) -> mlua::Result<Vec<u8>> {
    match value {
        Value::UserData(object) => match object.borrow::<ErrorObject>() {
            Ok(error) => Ok(error.0.message().as_bytes().to_vec()),
            Err(_) => Err(mlua::Error::runtime("attempt to concatenate a userdata value")),
        },
        value @ (Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
            Ok(value.to_string()?.into_bytes())
        }
        value => Err(mlua::Error::runtime(format!("attempt to concatenate a {} value", value.type_name()))),
    }
}

/// `error` as a Lua value, with the stack of what runs now unless it has one.
pub(super) fn to_lua(lua: &Lua, error: Error) -> mlua::Result<Value> {
    let error = with_own_stack(lua, error);
    let share = hold_or_raise(lua, error.bytes())?;
    lua.create_userdata(ErrorObject(error, share)).map(Value::UserData)
}

/// `nil, error`: how functions answer a failure.
pub(super) fn pair(lua: &Lua, error: Error) -> mlua::Result<MultiValue> {
    failed(lua, error).map(|(value, problem)| MultiValue::from_iter([value, problem]))
}

/// [`pair`], for functions that always answer with two values.
pub(super) fn failed(lua: &Lua, error: Error) -> mlua::Result<(Value, Value)> {
    Ok((Value::Nil, to_lua(lua, error)?))
}

/// What the prelude makes of an error that was made while nothing of Lua ran: the same with the stack of its
/// caller; of other values, themselves.
pub(super) fn located(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let object = value.as_userdata().and_then(|object| object.borrow::<ErrorObject>().ok());
    let without = object.filter(|object| object.0.stack().is_none()).map(|object| object.0.clone());
    match without {
        Some(error) => to_lua(lua, error),
        None => Ok(value),
    }
}

fn with_own_stack(lua: &Lua, error: Error) -> Error {
    if error.stack().is_some() {
        return error;
    }
    let entry = lua.app_data_ref::<Host>().and_then(|host| host.entry().ok());
    let stack = stack(lua, entry.map(|entry| entry.to_string()).unwrap_or_default());
    if stack.frames.is_empty() { error } else { error.with_stack(stack) }
}

/// `value, nil` or `nil, error`.
pub(super) fn answer(lua: &Lua, result: Result<impl IntoLua, Error>) -> mlua::Result<MultiValue> {
    match result {
        Ok(value) => Ok(MultiValue::from_iter([value.into_lua(lua)?, Value::Nil])),
        Err(error) => pair(lua, error),
    }
}

/// What a user sees of what a Rust function raised: an error object if it raised one, else text as a C
/// function would have raised it.
pub(super) fn plain(lua: &Lua, value: Value) -> mlua::Result<Value> {
    match value {
        Value::Error(problem) => raised(lua, &problem),
        value => Ok(value),
    }
}

/// [`plain`] of an error that has not been raised yet.
pub(super) fn raised(lua: &Lua, problem: &mlua::Error) -> mlua::Result<Value> {
    if let Some(error) = problem.downcast_ref::<Error>() {
        return to_lua(lua, error.clone());
    }
    lua.create_string(text(problem)).map(Value::String)
}

/// The message of `problem`, after the position in Lua that raised it.
pub(super) fn text(problem: &mlua::Error) -> String {
    match problem {
        mlua::Error::CallbackError { traceback, cause } => {
            let mut cause = cause;
            while let mlua::Error::CallbackError { cause: inner, .. } = &**cause {
                cause = inner;
            }
            format!("{}{}", position(traceback).unwrap_or_default(), text(cause))
        }
        mlua::Error::RuntimeError(message) | mlua::Error::MemoryError(message) => message.clone(),
        problem => problem.to_string(),
    }
}

/// `source:line: ` of the innermost Lua function of a traceback that is the user's.
fn position(traceback: &str) -> Option<String> {
    let frames = traceback.lines().filter_map(|line| line.strip_prefix('\t'));
    // What stands for frames that were given up for tail calls has no place.
    let others = ["[C]", "prelude:", "(..."];
    let mut own = frames.filter(|frame| !others.iter().any(|other| frame.starts_with(other)));
    let (position, _) = own.next()?.split_once(": in")?;
    Some(format!("{position}: "))
}

/// The error that `value`, raised or returned by user code, stands for.
pub(super) fn of_value(value: &Value) -> Error {
    match value {
        Value::Error(problem) => match problem.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => Error::new(ErrorKind::Internal, text(problem)),
        },
        Value::Table(table) => of_table(table, value),
        value => match from_lua(value) {
            Some(error) => error,
            None => match value.to_string() {
                Ok(text) => of_text(text),
                Err(_) => Error::new(ErrorKind::Unknown, format!("a {} was raised", value.type_name())),
            },
        },
    }
}

/// The error that a text stands for: Lua raises its own limits as texts, after the place where they were met.
fn of_text(text: String) -> Error {
    let is =
        |limit: &str| text.strip_suffix(limit).is_some_and(|place| place.is_empty() || place.ends_with(": "));
    let kind = if LIMITS.into_iter().any(is) { ErrorKind::Internal } else { ErrorKind::Unknown };
    Error::new(kind, text)
}

/// The error that `value` is, raised in the entry `id` and caught by nothing, not even by [`caught`]: of a text,
/// that is a limit that leaves no room for a handler.
pub(super) fn uncaught(id: &EntryId, value: &Value) -> Error {
    match value {
        Value::String(text) => Error::new(ErrorKind::Internal, format!("`{id}`: {}", text.to_string_lossy())),
        value => of_value(value),
    }
}

/// The error that a table stands for: with its `message`, `kind` and `retryable`, as `errors.new` takes them,
/// or what it is as text if it says so itself; the table is its details.
fn of_table(table: &Table, value: &Value) -> Error {
    let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
    let says = |metatable: Table| metatable.raw_get::<Value>("__tostring").is_ok_and(|how| !how.is_nil());
    let message = match field("message") {
        Value::String(message) => message.to_string_lossy(),
        _ if table.metatable().is_some_and(says) => value.to_string().unwrap_or_default(),
        _ => "a table was raised, which has no `message`: see its details".to_owned(),
    };
    let kind = match field("kind") {
        Value::String(kind) => kind_of(&kind).unwrap_or_default(),
        _ => ErrorKind::Unknown,
    };
    let error = Error::new(kind, message);
    let error = match field("retryable") {
        Value::Boolean(retryable) => error.with_retryable(Some(retryable)),
        _ => error,
    };
    // What can't leave its invocation is no detail.
    error.with_details(convert::from_lua("error", value).unwrap_or_default())
}

/// The kind that is written `kind`.
pub(super) fn kind_of(kind: &LuaString) -> Option<ErrorKind> {
    ErrorKind::ALL.into_iter().find(|known| kind.as_bytes() == known.as_str().as_bytes())
}

/// What the prelude makes of a raised value: an error object, with the stack where it was raised unless it
/// has one.
pub(super) fn caught(lua: &Lua, host: &Host, value: &Value) -> mlua::Result<Value> {
    let error = match value {
        Value::String(text) => of_text(positioned(lua, &text.to_string_lossy())),
        value => of_value(value),
    };
    if error.stack().is_some() {
        return to_lua(lua, error);
    }
    let thread = host.entry().map(|entry| entry.to_string()).unwrap_or_default();
    to_lua(lua, error.with_stack(stack(lua, thread)))
}

/// `text`, raised right now by a C function that the prelude called for its own caller: with the place of that
/// one instead of the prelude's.
pub(super) fn positioned(lua: &Lua, text: &str) -> String {
    let Some(message) = text.strip_prefix("prelude:").and_then(|rest| rest.split_once(": ")) else {
        return text.to_owned();
    };
    let frames = stack(lua, String::new()).frames;
    match frames.iter().find(|frame| frame.line > 0) {
        Some(Frame { source, line, .. }) => format!("{source}:{line}: {}", message.1),
        None => message.1.to_owned(),
    }
}

/// The error in `value`, if it is an error object.
pub(super) fn from_lua(value: &Value) -> Option<Error> {
    let object = value.as_userdata()?.borrow::<ErrorObject>().ok()?;
    Some(object.0.clone())
}

/// Where the running function was called from, by `thread`: its coroutine's frames, innermost first, those of
/// the prelude left out.
pub(super) fn stack(lua: &Lua, thread: String) -> Stack {
    // Level 0 is the function itself.
    let frames = (1..).map_while(|level| lua.inspect_stack(level, frame));
    let own = frames.filter(|frame| frame.source != PRELUDE);
    let mut frames: Vec<Frame> = own.take(LUA_STACK_FRAMES_MAX).collect();
    // The protected call that the prelude runs everything in.
    while frames.last().is_some_and(|frame| frame.line == 0) {
        frames.pop();
    }
    Stack { thread, frames }
}

fn frame(debug: &mlua::debug::Debug<'_>) -> Frame {
    let source = debug.source();
    if source.what == "C" {
        let name = debug.names().name.map_or_else(|| "?".to_owned(), |name| name.into_owned());
        return Frame { source: "[C]".to_owned(), line: 0, name };
    }
    let line = debug.current_line().and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
    let name = match debug.names().name {
        Some(name) => name.into_owned(),
        None if source.what == "main" => "main chunk".to_owned(),
        None => "function".to_owned(),
    };
    let text = source.source.as_deref().unwrap_or("?");
    Frame { source: text.strip_prefix('=').unwrap_or(text).to_owned(), line, name }
}
