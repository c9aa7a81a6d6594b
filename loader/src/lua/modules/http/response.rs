//! `http.response()`.

use std::sync::Arc;

use mlua::{AnyUserData, Lua, LuaString, MetaMethod, Table, UserData, UserDataFields, Value};
use registry_schema::ErrorKind;

use super::done;
use crate::error::Error;
use crate::http::{Exchange, INVALID_STATE};
use crate::lua::error;
use crate::lua::host::{Answer, Host};
use crate::lua::modules::arguments::{invalid, string, type_name};
use crate::lua::modules::held::hold;
use crate::lua::modules::json;

/// Name in the registry of Lua of the methods.
const METHODS: &str = "http.response";

/// A response as Lua sees it.
pub(super) struct ResponseObject {
    pub(super) exchange: Arc<Exchange>,
}

impl UserData for ResponseObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(METHODS));
    }
}

fn exchange(this: &AnyUserData) -> mlua::Result<Arc<Exchange>> {
    Ok(Arc::clone(&this.borrow::<ResponseObject>()?.exchange))
}

/// Makes the methods, once per state.
pub(super) fn add_methods(lua: &Lua, host: &Host) -> mlua::Result<()> {
    let methods = lua.create_table()?;
    head_methods(lua, &methods)?;
    let method = host.waiting(lua, |lua, _, (this, data): (AnyUserData, Value)| {
        let exchange = exchange(&this)?;
        match string(&data, "data") {
            Ok(data) => write(lua, exchange, &data.as_bytes()),
            Err(error) => Ok(Answer::Now(error::pair(lua, error)?)),
        }
    })?;
    methods.set("write", method)?;
    let method = host.waiting(lua, |lua, _, (this, value): (AnyUserData, Value)| {
        let exchange = exchange(&this)?;
        match json::encode(lua, &value) {
            Ok(text) => {
                exchange.default_type("application/json");
                write(lua, exchange, &text)
            }
            Err(error) => Ok(Answer::Now(error::pair(lua, error)?)),
        }
    })?;
    methods.set("write_json", method)?;
    let method = host.waiting(lua, |lua, _, (this, value): (AnyUserData, Value)| {
        let exchange = exchange(&this)?;
        match begin_events(&exchange).and_then(|()| event(lua, &value)) {
            Ok(text) => {
                let share = match hold(lua, text.len()) {
                    Ok(share) => share,
                    Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
                };
                let write = async move {
                    let _share = share;
                    exchange.write(&text).await?;
                    exchange.flush().await
                };
                Ok(Answer::later(write, done))
            }
            Err(error) => Ok(Answer::Now(error::pair(lua, error)?)),
        }
    })?;
    methods.set("write_event", method)?;
    let method = host.waiting(lua, |_, _, this: AnyUserData| {
        let exchange = exchange(&this)?;
        Ok(Answer::later(async move { exchange.flush().await }, done))
    })?;
    methods.set("flush", method)?;
    lua.set_named_registry_value(METHODS, methods)
}

/// Writes `bytes`, which count towards what the invocation holds until they are on their way.
fn write(lua: &Lua, exchange: Arc<Exchange>, bytes: &[u8]) -> mlua::Result<Answer> {
    let share = match hold(lua, bytes.len()) {
        Ok(share) => share,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let bytes = bytes.to_vec();
    let write = async move {
        let _share = share;
        exchange.write(&bytes).await
    };
    Ok(Answer::later(write, done))
}

fn head_methods(lua: &Lua, methods: &Table) -> mlua::Result<()> {
    let method = lua.create_function(|lua, (this, status): (AnyUserData, Value)| {
        let status = match status {
            Value::Integer(status) => u16::try_from(status).ok(),
            _ => None,
        };
        let status = status.ok_or_else(|| invalid("`code` must be a status from 200 to 999"));
        done(
            lua,
            status.and_then(|status| exchange(&this).map_err(|problem| raised(&problem))?.set_status(status)),
        )
    })?;
    methods.set("set_status", method)?;
    let method = lua.create_function(|lua, (this, name, value): (AnyUserData, LuaString, LuaString)| {
        done(lua, exchange(&this)?.set_header(&name.as_bytes(), &value.as_bytes()))
    })?;
    methods.set("set_header", method)?;
    let method = lua.create_function(|lua, (this, value): (AnyUserData, LuaString)| {
        done(lua, exchange(&this)?.set_header(b"content-type", &value.as_bytes()))
    })?;
    methods.set("set_content_type", method)?;
    let method = lua.create_function(|lua, (this, mode): (AnyUserData, Value)| {
        let exchange = exchange(&this)?;
        let begun = string(&mode, "encoding").and_then(|mode| match &*mode.as_bytes() {
            b"sse" => exchange.begin_events(),
            // Whatever is flushed is sent in parts.
            b"chunked" => Ok(()),
            _ => Err(invalid("`encoding` must be `http.TRANSFER.CHUNKED` or `http.TRANSFER.SSE`")),
        });
        done(lua, begun)
    })?;
    methods.set("set_transfer", method)
}

fn raised(problem: &mlua::Error) -> Error {
    Error::new(ErrorKind::Internal, problem.to_string())
}

/// An answer that has not begun becomes a stream of events.
fn begin_events(exchange: &Exchange) -> Result<(), Error> {
    if exchange.has_events() {
        return Ok(());
    }
    exchange.begin_events().map_err(|_| {
        crate::http::error(ErrorKind::Invalid, INVALID_STATE, "the response is no stream of events")
    })
}

/// The text of an event: `{name, id, data}`, or its data alone. What is no string is JSON.
fn event(lua: &Lua, value: &Value) -> Result<Vec<u8>, Error> {
    let field = |table: &Table, name: &str| table.raw_get::<Value>(name).map_err(|problem| raised(&problem));
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        value => json::encode(lua, value),
    };
    let mut out = Vec::new();
    let data = match value {
        Value::Table(table) => {
            for (name, key) in [("name", "event"), ("id", "id")] {
                match field(table, name)? {
                    Value::Nil => {}
                    Value::String(text)
                        if !text.as_bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r')) =>
                    {
                        out.extend_from_slice(&[key.as_bytes(), b": ", &text.as_bytes(), b"\n"].concat());
                    }
                    other => {
                        let found = type_name(&other);
                        return Err(invalid(format!("`{name}` must be a line of text, got {found}")));
                    }
                }
            }
            text(&field(table, "data")?)?
        }
        value => text(value)?,
    };
    for line in data.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        out.extend_from_slice(&[b"data: ", line, b"\n"].concat());
    }
    out.push(b'\n');
    Ok(out)
}
