//! The module `logger` (`en/lua/system/logger.md`). Records go to the loader's log.
//!
//! The module's own table is the logger without name and fields; `with` and `named` make objects, which
//! share what they were made from. Its functions are methods, and work without it as well.

use std::sync::Arc;

use mlua::{AnyUserData, Lua, MultiValue, Table, UserData, UserDataMethods, Value};

use super::arguments::{bad, invalid, type_name};
use super::held::{Share, hold_or_raise};
use crate::config::LOG_FIELDS_MAX;
use crate::data::Data;
use crate::guest_log::{Level, Record};
use crate::lua::host::Host;
use crate::lua::{convert, error};

const LEVELS: [(&str, Level); 4] =
    [("debug", Level::Debug), ("info", Level::Info), ("warn", Level::Warn), ("error", Level::Error)];

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    for (name, level) in LEVELS {
        let host = host.clone();
        let log = lua.create_function(move |_, mut args: MultiValue| {
            drop_logger(&mut args);
            let (message, fields) = (next(&mut args), next(&mut args));
            write(&host, level, name, &Names::default(), &message, &fields)
        })?;
        module.set(name, log)?;
    }
    let own = host.clone();
    let with = lua.create_function(move |lua, mut args: MultiValue| {
        drop_logger(&mut args);
        Logger::make(lua, &own, Names::default().with(&next(&mut args))?)
    })?;
    module.set("with", with)?;
    let own = host.clone();
    let named = lua.create_function(move |lua, mut args: MultiValue| {
        drop_logger(&mut args);
        named(lua, &own, &Names::default(), &next(&mut args))
    })?;
    module.set("named", named)?;
    Ok(module)
}

/// Takes the module itself away, if it comes first: its functions are called with a colon and, as
/// `en/lua/system/env.md` and `en/lua/http/http.md` do, with a dot.
fn drop_logger(args: &mut MultiValue) {
    // Each invocation has a copy of the module: it is known by a function of its own.
    let is_logger = |value: &Value| match value {
        Value::Table(table) => table.raw_get::<Value>("named").is_ok_and(|named| named.is_function()),
        _ => false,
    };
    if args.front().is_some_and(is_logger) {
        args.pop_front();
    }
}

fn next(args: &mut MultiValue) -> Value {
    args.pop_front().unwrap_or(Value::Nil)
}

/// What a logger adds to each record.
#[derive(Clone, Default)]
struct Names {
    name: Arc<str>,
    fields: Arc<Vec<(String, Data)>>,
}

impl Names {
    fn with(&self, fields: &Value) -> mlua::Result<Self> {
        let Value::Table(added) = fields else { return Err(bad(1, "with", "table", fields)) };
        let mut fields = (*self.fields).clone();
        for (name, value) in read(added)? {
            fields.retain(|(known, _)| *known != name);
            fields.push((name, value));
        }
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields.truncate(LOG_FIELDS_MAX);
        Ok(Self { name: Arc::clone(&self.name), fields: Arc::new(fields) })
    }

    fn named(&self, name: &str) -> Self {
        let name = if self.name.is_empty() { name.into() } else { format!("{}.{name}", self.name).into() };
        Self { name, fields: Arc::clone(&self.fields) }
    }
}

struct Logger {
    host: Host,
    names: Names,
    _share: Share,
}

impl Logger {
    fn make(lua: &Lua, host: &Host, names: Names) -> mlua::Result<AnyUserData> {
        let fields = names.fields.iter().map(|(name, value)| name.len() + value.bytes());
        let share = hold_or_raise(lua, names.name.len() + fields.sum::<usize>())?;
        lua.create_userdata(Self { host: host.clone(), names, _share: share })
    }
}

fn named(lua: &Lua, host: &Host, names: &Names, name: &Value) -> mlua::Result<MultiValue> {
    let Value::String(name) = name else { return Err(bad(1, "named", "string", name)) };
    if name.as_bytes().is_empty() {
        return error::pair(lua, invalid("the logger's name is empty"));
    }
    let logger = Logger::make(lua, host, names.named(&name.to_string_lossy()))?;
    Ok(MultiValue::from_iter([Value::UserData(logger), Value::Nil]))
}

impl UserData for Logger {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for (name, level) in LEVELS {
            methods.add_method(name, move |_, this, (message, fields): (Value, Value)| {
                write(&this.host, level, name, &this.names, &message, &fields)
            });
        }
        methods.add_method("with", |lua, this, fields: Value| {
            Self::make(lua, &this.host, this.names.with(&fields)?)
        });
        methods.add_method("named", |lua, this, name: Value| named(lua, &this.host, &this.names, &name));
    }
}

fn write(
    host: &Host,
    level: Level,
    function: &str,
    names: &Names,
    message: &Value,
    fields: &Value,
) -> mlua::Result<()> {
    let Value::String(message) = message else { return Err(bad(1, function, "string", message)) };
    let all = match fields {
        Value::Nil => None,
        Value::Table(_) => Some(names.with(fields)?),
        other => return Err(bad(2, function, "table", other)),
    };
    let message = message.to_string_lossy();
    let (inner, entry) = (host.inner()?, host.entry()?);
    let Names { name, fields } = all.as_ref().unwrap_or(names);
    inner.log.record(&entry, &Record { level, logger: name, message: &message, fields });
    Ok(())
}

/// Fields by name. A value that is no data is named by its type: a line of a log is no reason to fail.
fn read(fields: &Table) -> mlua::Result<Vec<(String, Data)>> {
    let mut read = Vec::new();
    for pair in fields.pairs::<Value, Value>().take(LOG_FIELDS_MAX) {
        let (key, value) = pair?;
        let key = match &key {
            Value::String(key) => key.to_string_lossy(),
            Value::Integer(_) | Value::Number(_) => key.to_string()?,
            key => format!("<{}>", type_name(key)),
        };
        let data = convert::from_lua(&key, &value);
        read.push((key, data.unwrap_or_else(|_| format!("<{}>", type_name(&value)).into())));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;

    fn logged(source: &str) -> Vec<String> {
        let harness = Harness::new().module("logger", super::module);
        let log = harness.log();
        harness.run(source);
        let lines = log.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn levels_and_fields() {
        let lines = logged(
            r#"
            logger:debug("one")
            logger:info("two", {key = "value", n = 1.5, ok = true, list = {1, 2}, e = errors.new("gone"), f = print})
            logger:warn("three", {["a key"] = "b c"})
            logger:error("four", {[1] = "x", empty = ""})
            logger:info("line\none", {text = "a\nb"})
        "#,
        );
        assert_eq!(
            lines,
            [
                "[app:test] DEBUG one",
                "[app:test] INFO two e=gone f=<function> key=value list=[1,2] n=1.5 ok=true",
                "[app:test] WARN three \"a key\"=\"b c\"",
                "[app:test] ERROR four 1=x empty=\"\"",
                "[app:test] INFO line\\none text=\"a\\nb\"",
            ]
        );
    }

    #[test]
    fn children() {
        let lines = logged(
            r#"
            local child = logger:with({request_id = "r1", a = 1})
            child:info("message")
            child:info("other", {a = 2, z = 3})
            local named, err = child:named("auth")
            assert(err == nil)
            named:warn("denied")
            named:named("token"):with({b = true}):error("gone")
            logger:named("x"):debug("y")
            logger:info("plain")
        "#,
        );
        assert_eq!(
            lines,
            [
                "[app:test] INFO message a=1 request_id=r1",
                "[app:test] INFO other a=2 request_id=r1 z=3",
                "[app:test] WARN auth: denied a=1 request_id=r1",
                "[app:test] ERROR auth.token: gone a=1 b=true request_id=r1",
                "[app:test] DEBUG x: y",
                "[app:test] INFO plain",
            ]
        );
    }

    /// Some public examples write a dot, most a colon.
    #[test]
    fn functions_with_a_dot() {
        let lines = logged(
            r#"
            for _, level in ipairs({"debug", "info", "warn", "error"}) do
                logger[level](level)
                logger[level](level, {n = 1})
                logger[level](logger, level, {n = 2})
            end
            logger.with({a = 1}):info("fields")
            logger.with({named = "x"}).info(logger.with({named = "x"}), "a field of that name")
            logger.named("auth"):info("name")
        "#,
        );
        let expected = ["DEBUG debug", "INFO info", "WARN warn", "ERROR error"];
        let expected =
            expected.iter().flat_map(|text| ["", " n=1", " n=2"].map(|more| format!("{text}{more}")));
        let more = ["INFO fields a=1", "INFO a field of that name named=x", "INFO auth: name"];
        let expected: Vec<String> = expected.chain(more.map(str::to_owned)).collect();
        assert_eq!(lines, expected.iter().map(|line| format!("[app:test] {line}")).collect::<Vec<_>>());
    }

    #[test]
    fn wrong_arguments() {
        let lines = logged(
            r#"
            local function raises(text, f, ...)
                local ok, err = pcall(f, ...)
                assert(not ok and tostring(err):find(text, 1, true), tostring(err))
            end
            for _, root in ipairs({logger, logger:with({})}) do
                local none, err = root:named("")
                assert(none == nil and errors.is(err, errors.INVALID) and err:retryable() == false)
                raises("bad argument #1 to 'info' (string expected, got no value)", root.info, root)
                raises("bad argument #1 to 'error' (string expected, got number)", root.error, root, 1)
                raises("bad argument #2 to 'warn' (table expected, got string)", root.warn, root, "m", "f")
                raises("bad argument #1 to 'with' (table expected", root.with, root)
                raises("bad argument #1 to 'named' (string expected", root.named, root)
            end
            raises("bad argument #1 to 'info' (string expected, got no value)", logger.info)
            raises("bad argument #1 to 'info' (string expected, got table)", logger.info, {}, "m")
            raises("bad argument #2 to 'info' (table expected, got string)", logger.info, "m", "f")
            raises("bad argument #1 to 'with' (table expected, got string)", logger.with, "f")
            raises("bad argument #1 to 'named' (string expected, got table)", logger.named, {})
            local none, err = logger.named("")
            assert(none == nil and errors.is(err, errors.INVALID))
        "#,
        );
        assert!(lines.is_empty());
    }

    #[test]
    fn what_loggers_hold_is_bounded() {
        logged(
            r#"
            local fields, kept = {a = ("x"):rep(1 << 20)}, {}
            for _ = 1, 500 do logger:with(fields) end
            local ok, err = pcall(function() for i = 1, 500 do kept[i] = logger:with(fields) end end)
            assert(not ok and tostring(err):find("hold more than 134217728 bytes", 1, true), tostring(err))
            kept = nil
            assert(logger:with(fields):named("x"))
        "#,
        );
    }

    #[test]
    fn a_record_is_bounded() {
        let lines = logged(
            r#"
            local fields = {}
            for i = 1, 1000 do fields["f" .. i] = i end
            logger:info("many", fields)
            local child = logger:with(fields):with({g = 1})
            child:info(("x"):rep(100000))
        "#,
        );
        assert_eq!(lines[0].matches('=').count(), 64);
        assert_eq!(lines[1].len(), "[app:test] ".len() + 16 * 1024);
    }
}
