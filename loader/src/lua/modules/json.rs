//! The module `json` (`en/lua/data/json.md`).
//!
//! Keys of objects are sorted, so that equal values give equal texts. A table is an object, an array or an
//! error by its keys; an empty one is an array, unless it was decoded from an empty object: such a table's
//! metatable says so ([`TYPE_FIELD`], the convention of dkjson), and an application may set it as well.

mod check;
mod compile;
mod decode;
mod encode;
mod format;
mod resources;
mod schema;
mod unevaluated;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mlua::{Lua, MultiValue, Table, Value};
use registry_schema::ErrorKind;

use self::schema::{Origin, Schema};
use super::arguments::{invalid, string, type_name};
use crate::config::{JSON_SCHEMA_BYTES_MAX, JSON_SCHEMAS_KEPT_MAX};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::Host;

pub(super) use self::decode::decode;
pub(super) use self::encode::encode;
pub(in crate::lua) use self::encode::encode_data;

/// The metatable of an empty table that is an object. One of its own: it can be reached, so a shared one could be
/// changed for others.
pub(in crate::lua) fn object(lua: &Lua) -> mlua::Result<Table> {
    lua.create_table_from([(TYPE_FIELD, "object")])
}

/// Whether `metatable` says of a table that it is an object though it is empty.
pub(in crate::lua) fn is_object(metatable: &Table) -> bool {
    let kind: Value = metatable.raw_get(TYPE_FIELD).unwrap_or(Value::Nil);
    kind.as_string().is_some_and(|kind| *kind == "object")
}

/// The field of a metatable that says what an empty table is: `object` or `array`.
const TYPE_FIELD: &str = "__jsontype";

pub(in crate::lua) fn module(lua: &Lua, _: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let function = lua.create_function(|lua, value: Value| match encode(lua, &value) {
        Ok(text) => error::answer(lua, Ok(lua.create_string(text)?)),
        Err(error) => error::pair(lua, error),
    })?;
    module.set("encode", function)?;
    let function = lua.create_function(|lua, value: Value| {
        let decoded = match string(&value, "str") {
            Ok(text) => decode(lua, &text.as_bytes())?,
            Err(error) => Err(error),
        };
        error::answer(lua, decoded)
    })?;
    module.set("decode", function)?;
    let schemas = Arc::new(Schemas::default());
    let own = Arc::clone(&schemas);
    let function = lua.create_function(move |lua, (schema, data): (Value, Value)| {
        let valid = own.get(lua, &schema);
        verdict(lua, valid.and_then(|schema| schema.check(&parsed(&encode(lua, &data)?)?, Origin::Lua)))
    })?;
    module.set("validate", function)?;
    let function = lua.create_function(move |lua, (schema, text): (Value, Value)| {
        let valid = schemas.get(lua, &schema).and_then(|schema| {
            let text = string(&text, "json_str")?.as_bytes();
            schema.check(&parsed(&text)?, Origin::Text)
        });
        verdict(lua, valid)
    })?;
    module.set("validate_string", function)?;
    Ok(module)
}

/// `true, nil` or `false, error`.
fn verdict(lua: &Lua, valid: Result<(), Error>) -> mlua::Result<MultiValue> {
    Ok(match valid {
        Ok(()) => MultiValue::from_iter([Value::Boolean(true), Value::Nil]),
        Err(error) => MultiValue::from_iter([Value::Boolean(false), error::to_lua(lua, error)?]),
    })
}

fn parsed(text: &[u8]) -> Result<serde_json::Value, Error> {
    serde_json::from_slice(text)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("invalid JSON: {error}")))
}

/// Compiled schemas by their text. They say nothing of who used them, so a state keeps them.
#[derive(Default)]
struct Schemas(Mutex<HashMap<Vec<u8>, Arc<Schema>>>);

impl Schemas {
    fn get(&self, lua: &Lua, schema: &Value) -> Result<Arc<Schema>, Error> {
        let text = match schema {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Table(_) => encode(lua, schema).map_err(|error| {
                Error::new(ErrorKind::Invalid, error.message()).wrapped("the schema can't be compiled")
            })?,
            other => {
                return Err(invalid(format!("`schema` must be a table or string, got {}", type_name(other))));
            }
        };
        if text.len() > JSON_SCHEMA_BYTES_MAX {
            return Err(invalid(format!(
                "the schema has {} bytes, more than {JSON_SCHEMA_BYTES_MAX}",
                text.len()
            )));
        }
        // Only whole schemas are inserted: a panic elsewhere leaves the map usable.
        if let Some(found) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
            return Ok(Arc::clone(found));
        }
        let compiled = serde_json::from_slice(&text).map_err(|error| error.to_string());
        let compiled = compiled.and_then(|source| Schema::compile(&source));
        let compiled =
            compiled.map_err(|problem| invalid(format!("the schema can't be compiled: {problem}")))?;
        let compiled = Arc::new(compiled);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= JSON_SCHEMAS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(text, Arc::clone(&compiled));
        Ok(compiled)
    }
}

#[cfg(test)]
mod tests;
