//! Arguments of the modules' functions.
//!
//! Where a page documents an error for a wrong argument, the function answers `nil, err`; elsewhere it
//! raises, as Lua's own functions do.

use mlua::{LuaString, Value};
use registry_schema::ErrorKind;

use crate::error::Error;

/// An `INVALID` error.
pub(in crate::lua) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// The string in `value`. Numbers are none.
///
/// # Errors
/// `INVALID`, naming the argument, for anything else.
pub(in crate::lua) fn string<'a>(value: &'a Value, name: &str) -> Result<&'a LuaString, Error> {
    match value {
        Value::String(text) => Ok(text),
        value => Err(invalid(format!("`{name}` must be a string, got {}", type_name(value)))),
    }
}

/// What is raised for an argument of the wrong type, worded as Lua does.
pub(in crate::lua) fn bad(position: usize, function: &str, expected: &str, value: &Value) -> mlua::Error {
    let found = type_name(value);
    mlua::Error::runtime(format!(
        "bad argument #{position} to '{function}' ({expected} expected, got {found})"
    ))
}

/// The type of `value` as Lua names it.
pub(in crate::lua) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "no value",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => "userdata",
        value => value.type_name(),
    }
}
