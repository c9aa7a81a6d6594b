//! The global `payload` (`en/lua/data/payload.md`).
//!
//! A payload keeps the Lua value that it stands for, and its text or bytes when it was transcoded, both as
//! Lua values: they count towards the memory of the invocation. So nothing is ever decoded but JSON, whose
//! text may say less than the value did.

mod msgpack;
mod yaml;

use mlua::{AnyUserData, Lua, MetaMethod, Table, UserData, UserDataMethods, Value};
use registry_schema::ErrorKind;

use super::arguments::{bad, type_name};
use super::json;
use crate::error::Error;
use crate::lua::host::Host;
use crate::lua::{convert, error};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
    String,
    Bytes,
    Msgpack,
    Lua,
    Golang,
    Error,
}

const FORMATS: [(Format, &str, &str); 8] = [
    (Format::Json, "JSON", "json/plain"),
    (Format::Yaml, "YAML", "yaml/plain"),
    (Format::String, "STRING", "text/plain"),
    (Format::Bytes, "BYTES", "application/octet-stream"),
    (Format::Msgpack, "MSGPACK", "application/msgpack"),
    (Format::Lua, "LUA", "lua/any"),
    (Format::Golang, "GOLANG", "golang/any"),
    (Format::Error, "ERROR", "golang/error"),
];

impl Format {
    fn name(self) -> &'static str {
        FORMATS.iter().find(|(format, ..)| *format == self).map_or("", |(.., name)| name)
    }

    fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(.., known)| *known == name).map(|(format, ..)| *format)
    }
}

pub(in crate::lua) fn module(lua: &Lua, _: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let formats = lua.create_table()?;
    for (_, constant, name) in FORMATS {
        formats.set(constant, name)?;
    }
    module.set("format", formats)?;
    module.set("new", lua.create_function(|lua, value: Value| new(lua, value))?)?;
    Ok(module)
}

/// A payload of `value`.
///
/// # Errors
/// For functions and other values that are no data.
pub(in crate::lua) fn new(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let format = match &value {
        Value::Nil
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Table(_) => Format::Lua,
        value if error::from_lua(value).is_some() => Format::Error,
        value => return Err(bad(1, "new", "string, number, boolean, table, nil or error", value)),
    };
    make(lua, format, value, Value::Nil)
}

/// The value that a payload stands for; `None` for what is no payload.
pub(in crate::lua) fn value(value: &Value) -> Option<mlua::Result<Value>> {
    let payload = value.as_userdata().filter(|object| object.is::<Payload>())?;
    Some(payload.nth_user_value(VALUE))
}

fn make(lua: &Lua, format: Format, value: Value, encoded: Value) -> mlua::Result<Value> {
    let payload = lua.create_userdata(Payload(format))?;
    payload.set_nth_user_value(VALUE, value)?;
    payload.set_nth_user_value(ENCODED, encoded)?;
    Ok(Value::UserData(payload))
}

/// User values of a payload: what it stands for, and its text or bytes.
const VALUE: usize = 1;
const ENCODED: usize = 2;

struct Payload(Format);

impl UserData for Payload {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get_format", |_, this, ()| Ok(this.0.name()));
        for name in ["data", "unmarshal"] {
            methods.add_function(name, |lua, this: AnyUserData| {
                this.borrow::<Self>()?;
                error::answer(lua, Ok(this.nth_user_value::<Value>(VALUE)?))
            });
        }
        methods.add_function("transcode", |lua, (this, format): (AnyUserData, Value)| {
            let Value::String(name) = &format else { return Err(bad(1, "transcode", "string", &format)) };
            let transcoded = match Format::named(&name.to_string_lossy()) {
                Some(format) => transcode(lua, &this, format)?,
                None => Err(internal(format!("unknown format `{}`", name.to_string_lossy()))),
            };
            error::answer(lua, transcoded)
        });
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            Ok(format!("payload{{format={}}}", this.0.name()))
        });
    }
}

fn internal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, message).wrapped("can't transcode the payload")
}

fn transcode(lua: &Lua, payload: &AnyUserData, to: Format) -> mlua::Result<Result<Value, Error>> {
    let from = payload.borrow::<Payload>()?.0;
    let value: Value = payload.nth_user_value(VALUE)?;
    let encoded: Value = payload.nth_user_value(ENCODED)?;
    if from == to {
        return Ok(Ok(Value::UserData(payload.clone())));
    }
    let made = match to {
        Format::Lua | Format::Golang => return make(lua, to, value, Value::Nil).map(Ok),
        Format::Error if error::from_lua(&value).is_some() => {
            return make(lua, to, value, Value::Nil).map(Ok);
        }
        Format::Error => Err(internal(format!("a {} is no error", type_name(&value)))),
        // What has a text already is that text.
        Format::String | Format::Bytes if encoded.is_string() => Ok((encoded.clone(), encoded)),
        Format::String | Format::Bytes => text(lua, &value)?.map(|text| (text.clone(), text)),
        Format::Json => match json::encode(lua, &value) {
            Ok(text) => {
                let decoded = json::decode(lua, &text)?;
                let text = Value::String(lua.create_string(text)?);
                decoded.map(|decoded| (decoded, text))
            }
            Err(error) => Err(error.wrapped("can't transcode the payload")),
        },
        Format::Yaml => match json::encode(lua, &value) {
            Ok(text) => {
                let decoded = json::decode(lua, &text)?;
                let text = yaml::from_json(&text).map_err(internal);
                match decoded.and_then(|decoded| Ok((decoded, text?))) {
                    Ok((decoded, text)) => Ok((decoded, Value::String(lua.create_string(text)?))),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error.wrapped("can't transcode the payload")),
        },
        Format::Msgpack => {
            let data = convert::from_lua("value", &value).map_err(|error| internal(error.message()));
            match data.and_then(|data| msgpack::encode(&data).map_err(internal)) {
                Ok(bytes) => Ok((value, Value::String(lua.create_string(bytes)?))),
                Err(error) => Err(error),
            }
        }
    };
    match made {
        Ok((value, encoded)) => make(lua, to, value, encoded).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// A value that is text, or written as one.
fn text(lua: &Lua, value: &Value) -> mlua::Result<Result<Value, Error>> {
    let text = match value {
        Value::String(_) => return Ok(Ok(value.clone())),
        Value::Nil => String::new(),
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => value.to_string()?,
        value => match error::from_lua(value) {
            Some(error) => error.message().to_owned(),
            None => return Ok(Err(internal(format!("a {} is no text", type_name(value))))),
        },
    };
    Ok(Ok(Value::String(lua.create_string(text)?)))
}

#[cfg(test)]
mod tests;
