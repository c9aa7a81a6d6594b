//! The global `errors` (`en/lua/core/errors.md`).

use mlua::{Lua, Table, Value};
use registry_schema::ErrorKind;

use super::arguments::bad;
use crate::data::Data;
use crate::error::{Error, Stack};
use crate::lua::host::Host;
use crate::lua::{convert, error};

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    for kind in ErrorKind::ALL {
        module.set(kind.as_str(), kind.as_str())?;
    }
    let own = host.clone();
    let new = lua.create_function(move |lua, value: Value| {
        let made = made(&value)?.with_stack(stack(lua, &own)?);
        error::to_lua(lua, made)
    })?;
    module.set("new", new)?;
    let own = host.clone();
    let wrap = lua.create_function(move |lua, (value, context): (Value, Value)| {
        let Value::String(context) = &context else { return Err(bad(2, "wrap", "string", &context)) };
        let mut wrapped = cause(&value)?.wrapped(&context.to_string_lossy());
        if wrapped.stack().is_none() {
            wrapped = wrapped.with_stack(stack(lua, &own)?);
        }
        error::to_lua(lua, wrapped)
    })?;
    module.set("wrap", wrap)?;
    let is = lua.create_function(|_, (value, kind): (Value, Value)| {
        let Value::String(kind) = &kind else { return Err(bad(2, "is", "string", &kind)) };
        Ok(error::from_lua(&value).is_some_and(|error| kind.as_bytes() == error.kind().as_str().as_bytes()))
    })?;
    module.set("is", is)?;
    module.set("call_stack", lua.create_function(|lua, value: Value| call_stack(lua, &value))?)?;
    Ok(module)
}

fn stack(lua: &Lua, host: &Host) -> mlua::Result<Stack> {
    Ok(error::stack(lua, host.entry()?.to_string()))
}

/// The error that `errors.new` was told to make: a message, or a table with one.
fn made(value: &Value) -> mlua::Result<Error> {
    let table = match value {
        Value::String(message) => return Ok(Error::new(ErrorKind::Unknown, message.to_string_lossy())),
        Value::Table(table) => table,
        value => return Err(bad(1, "new", "string or table", value)),
    };
    let field = |name: &str, expected: &str, found: &Value| {
        let found = found.type_name();
        mlua::Error::runtime(format!("bad argument #1 to 'new' (`{name}` must be {expected}, got {found})"))
    };
    let message = match table.get("message")? {
        Value::String(message) => message.to_string_lossy(),
        other => return Err(field("message", "a string", &other)),
    };
    let kind = match table.get("kind")? {
        Value::Nil => ErrorKind::Unknown,
        // An application's own kind has no meaning to anyone else.
        Value::String(kind) => error::kind_of(&kind).unwrap_or_default(),
        other => return Err(field("kind", "a string", &other)),
    };
    let retryable = match table.get("retryable")? {
        Value::Nil => None,
        Value::Boolean(retryable) => Some(retryable),
        other => return Err(field("retryable", "a boolean", &other)),
    };
    let details = match table.get("details")? {
        Value::Nil => Data::Nil,
        details @ Value::Table(_) => convert::from_lua("details", &details).map_err(|error| {
            mlua::Error::runtime(format!("bad argument #1 to 'new' ({})", error.message()))
        })?,
        other => return Err(field("details", "a table", &other)),
    };
    Ok(Error::new(kind, message).with_retryable(retryable).with_details(details))
}

/// What `errors.wrap` wraps: an error object, a message, or what a function of the host raised.
fn cause(value: &Value) -> mlua::Result<Error> {
    if let Some(error) = error::from_lua(value) {
        return Ok(error);
    }
    match value {
        Value::String(message) => Ok(Error::new(ErrorKind::Unknown, message.to_string_lossy())),
        Value::Error(raised) => Ok(Error::new(ErrorKind::Unknown, raised.to_string())),
        value => Err(bad(1, "wrap", "error", value)),
    }
}

/// `{thread, frames = {{source, line, name}, …}}`, or nil for what has no stack.
fn call_stack(lua: &Lua, value: &Value) -> mlua::Result<Value> {
    let Some(error) = error::from_lua(value) else { return Ok(Value::Nil) };
    let Some(stack) = error.stack() else { return Ok(Value::Nil) };
    let frames = lua.create_table_with_capacity(stack.frames.len(), 0)?;
    for frame in &stack.frames {
        let made = lua.create_table_with_capacity(0, 3)?;
        made.raw_set("source", frame.source.as_str())?;
        made.raw_set("line", frame.line)?;
        made.raw_set("name", frame.name.as_str())?;
        frames.raw_push(made)?;
    }
    let made = lua.create_table_with_capacity(0, 2)?;
    made.raw_set("thread", stack.thread.as_str())?;
    made.raw_set("frames", frames)?;
    Ok(Value::Table(made))
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;

    fn run(source: &str) {
        Harness::new().module("errors", super::module).run(source);
    }

    #[test]
    fn a_message_alone() {
        run(r#"
            local e = errors.new("something went wrong")
            assert(e:kind() == errors.UNKNOWN and e:kind() == "UNKNOWN")
            assert(e:message() == "something went wrong")
            assert(e:retryable() == nil and e:details() == nil)
            assert(tostring(e) == "something went wrong")
            assert("a: " .. e == "a: something went wrong" and e .. "!" == "something went wrong!")
            -- `(kind, message)` is no form.
            local e = errors.new("INVALID", "text")
            assert(e:message() == "INVALID" and e:kind() == errors.UNKNOWN)
        "#);
    }

    #[test]
    fn every_field() {
        run(r#"
            local e = errors.new({
                message = "user not found", kind = errors.NOT_FOUND, retryable = false,
                details = {user_id = 123, list = {{field = "a"}, {field = "b"}}},
            })
            assert(e:kind() == "NOT_FOUND" and e:message() == "user not found" and e:retryable() == false)
            assert(e:details().user_id == 123 and e:details().list[2].field == "b")
            -- What is given away is a copy.
            e:details().user_id = 5
            assert(e:details().user_id == 123)
            assert(errors.new({message = "m", kind = errors.TIMEOUT}):retryable() == nil)
            assert(errors.new({message = "m", retryable = true}):retryable() == true)
            assert(errors.new({message = "m", kind = "MINE"}):kind() == errors.UNKNOWN)
        "#);
    }

    #[test]
    fn kinds() {
        run(r#"
            for _, kind in ipairs({"NOT_FOUND", "ALREADY_EXISTS", "INVALID", "PERMISSION_DENIED", "UNAVAILABLE",
                "INTERNAL", "CANCELED", "CONFLICT", "TIMEOUT", "RATE_LIMITED", "UNKNOWN"}) do
                assert(errors[kind] == kind)
                local e = errors.new({message = "m", kind = kind})
                assert(errors.is(e, kind) and not errors.is(e, "OTHER"))
            end
            assert(not errors.is(nil, errors.INVALID) and not errors.is("INVALID", errors.INVALID))
        "#);
    }

    #[test]
    fn wrapping_keeps_all_but_the_message() {
        run(r#"
            local function inner()
                return errors.new({message = "gone", kind = errors.NOT_FOUND, retryable = true, details = {a = 1}})
            end
            local cause = inner()
            local e = errors.wrap(cause, "failed to load users")
            assert(e:message() == "failed to load users: gone")
            assert(e:kind() == errors.NOT_FOUND and e:retryable() == true and e:details().a == 1)
            assert(e:stack() == cause:stack())
            assert(cause:message() == "gone")
            local e = errors.wrap("text", "context")
            assert(e:message() == "context: text" and e:kind() == errors.UNKNOWN and e:stack())
        "#);
    }

    #[test]
    fn the_stack_names_entry_line_and_function() {
        run(r#"local function inner()
                return (errors.new("x"))
            end
            local function outer()
                return (inner())
            end
            local e = outer()
            local stack = errors.call_stack(e)
            assert(stack.thread == "app:test", stack.thread)
            local first, second, third = table.unpack(stack.frames)
            assert(first.source == "app:test" and first.line == 2 and first.name == "inner", first.name)
            assert(second.line == 5 and second.name == "outer")
            assert(third.line == 7 and third.name == "function")
            assert(#stack.frames == 3)
            assert(e:stack() == "stack traceback:\n\tapp:test:2: in inner\n\tapp:test:5: in outer\n\tapp:test:7: in function", e:stack())
            assert(errors.call_stack("text") == nil)
        "#);
    }

    #[test]
    fn a_deep_stack_is_cut() {
        run(r#"
            local function down(n)
                if n == 0 then return (errors.new("x")) end
                return (down(n - 1))
            end
            assert(#errors.call_stack(down(500)).frames == 64)
        "#);
    }

    #[test]
    fn wrong_arguments_are_raised() {
        run(r#"
            local function raises(text, f, ...)
                local ok, e = pcall(f, ...)
                assert(not ok and tostring(e):find(text, 1, true), tostring(e))
            end
            raises("bad argument #1 to 'new' (string or table expected, got no value)", errors.new)
            raises("(string or table expected, got number)", errors.new, 42)
            raises("`message` must be a string, got nil", errors.new, {})
            raises("`kind` must be a string", errors.new, {message = "m", kind = 1})
            raises("`retryable` must be a boolean", errors.new, {message = "m", retryable = "yes"})
            raises("`details` must be a table", errors.new, {message = "m", details = "d"})
            raises("details.f: a function can't leave", errors.new, {message = "m", details = {f = print}})
            raises("bad argument #1 to 'wrap' (error expected, got no value)", errors.wrap, nil, "c")
            raises("bad argument #2 to 'wrap' (string expected", errors.wrap, errors.new("x"))
            raises("bad argument #2 to 'is' (string expected", errors.is, errors.new("x"))
        "#);
    }

    /// What errors say is not in Lua's memory: it is counted apart, and let go of with them.
    #[test]
    fn what_errors_hold_is_bounded() {
        run(r#"
            local text = ("x"):rep(1 << 20)
            for _ = 1, 500 do errors.new({message = "m", details = {text}}) end
            local kept = {}
            local ok, err = pcall(function()
                for i = 1, 500 do kept[i] = errors.new({message = text, details = {text}}) end
            end)
            assert(not ok and tostring(err):find("hold more than 134217728 bytes", 1, true), tostring(err))
            assert(#kept > 50 and #kept < 64)
            kept = nil
            for _ = 1, 500 do assert(errors.wrap(text, "c")) end
        "#);
    }

    #[test]
    fn objects_are_locked() {
        run(r#"
            local e = errors.new("x")
            assert(getmetatable(e) == false)
            assert(not pcall(function() e.message = "y" end))
        "#);
    }
}
