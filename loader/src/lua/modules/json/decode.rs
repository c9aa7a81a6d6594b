//! JSON text to Lua values, made as they are read.

use std::cell::RefCell;
use std::fmt;

use mlua::{Lua, Value};
use registry_schema::ErrorKind;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::config::JSON_NESTING_MAX;
use crate::error::Error;

/// The value of the JSON `text`. Integers are exact up to 64 bits; what does not fit is a float.
///
/// # Errors
/// The outer is Lua's own, such as memory; the inner `INTERNAL` for what is no JSON or nested deeper than
/// [`JSON_NESTING_MAX`].
pub(in super::super) fn decode(lua: &Lua, text: &[u8]) -> mlua::Result<Result<Value, Error>> {
    let failed = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // Depth is counted here: serde_json's own limit is one level short of the documented one.
    deserializer.disable_recursion_limit();
    let seed = Reader { lua, failed: &failed, depth: 0 };
    let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    if let Some(error) = failed.take() {
        return Err(error);
    }
    Ok(value.map_err(|error| Error::new(ErrorKind::Internal, format!("invalid JSON: {error}"))))
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    lua: &'a Lua,
    /// The error of Lua that ended the reading, if one did.
    failed: &'a RefCell<Option<mlua::Error>>,
    depth: usize,
}

impl Reader<'_> {
    fn lua<T, E: serde::de::Error>(self, result: mlua::Result<T>) -> Result<T, E> {
        result.map_err(|error| {
            let message = E::custom(&error);
            *self.failed.borrow_mut() = Some(error);
            message
        })
    }

    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == JSON_NESTING_MAX {
            return Err(E::custom(format_args!("nesting exceeds {JSON_NESTING_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Rounded, as every number beyond an integer's range is.
        Ok(i64::try_from(value).map_or(Value::Number(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.lua(self.lua.create_string(text)).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let table = self.lua(self.lua.create_table())?;
        let mut index = 0;
        while let Some(item) = items.next_element_seed(inner)? {
            index += 1;
            if !item.is_nil() {
                self.lua(table.raw_set(index, item))?;
            }
        }
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let table = self.lua(self.lua.create_table())?;
        let mut empty = true;
        while let Some(key) = fields.next_key_seed(self)? {
            let value = fields.next_value_seed(inner)?;
            self.lua(table.raw_set(key, value))?;
            empty = false;
        }
        if empty {
            let metatable = self.lua(super::object(self.lua))?;
            self.lua(table.set_metatable(Some(metatable)))?;
        }
        Ok(Value::Table(table))
    }
}
