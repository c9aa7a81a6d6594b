//! Lua values to JSON text, written as they are met.

use std::io::Write;

use mlua::{BString, Lua, LuaString, Table, Value};
use registry_schema::ErrorKind;

use crate::config::{JSON_BYTES_MAX, JSON_NESTING_MAX};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::Host;
use crate::meter::{Meter, past_deadline};

/// Largest float that is written without exponent and point when it has an integral value: beyond it, not
/// every integer is a float.
const INTEGRAL_MAX: f64 = 9_007_199_254_740_992.0;

/// `value` as JSON text.
///
/// # Errors
/// `INTERNAL`: a table in itself, with holes or with keys of several types, nested deeper than
/// [`JSON_NESTING_MAX`]; a function or another value without JSON form; a text over [`JSON_BYTES_MAX`].
/// `TIMEOUT` when the deadline of what `lua` runs is past meanwhile.
pub(in super::super) fn encode(lua: &Lua, value: &Value) -> Result<Vec<u8>, Error> {
    let meter = Meter::new(u64::MAX, Host::deadline(lua));
    let mut writer = Writer { out: Vec::new(), within: Vec::new(), meter };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    /// The tables around the value, outermost first.
    within: Vec<Table>,
    /// Counts values, a hundred bytes each: a text of few bytes may have many.
    meter: Meter,
}

/// What a table is by its keys.
enum Shape {
    Array(usize),
    /// Sorted. Copies, since there can't be more than a million references into a state at once.
    Object(Vec<BString>),
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.meter.take(100).map_err(|_| past_deadline())?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(integer) => self.write(format_args!("{integer}"))?,
            Value::Number(float) => self.float(*float)?,
            Value::String(text) => self.string(text)?,
            Value::Table(table) => self.table(table)?,
            value => match error::from_lua(value) {
                Some(error) => self.text(error.message())?,
                None => return Err(internal(format!("can't encode a {}", value.type_name()))),
            },
        }
        if self.out.len() > JSON_BYTES_MAX {
            return Err(internal(format!("the text has more than {JSON_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), Error> {
        self.out.write_fmt(text).map_err(|error| internal(error.to_string()))
    }

    fn float(&mut self, float: f64) -> Result<(), Error> {
        if !float.is_finite() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        if float.fract() == 0.0 && float.abs() <= INTEGRAL_MAX {
            // `10 / 2` is 5, not 5.0, to whoever reads the text.
            return self.write(format_args!("{float:.0}"));
        }
        serde_json::to_writer(&mut self.out, &float).map_err(|error| internal(error.to_string()))
    }

    /// Bytes that are no UTF-8 are replaced.
    fn string(&mut self, text: &LuaString) -> Result<(), Error> {
        match text.to_str() {
            Ok(text) => self.text(&text),
            Err(_) => self.text(&text.to_string_lossy()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        serde_json::to_writer(&mut self.out, text).map_err(|error| internal(error.to_string()))
    }

    fn table(&mut self, table: &Table) -> Result<(), Error> {
        if self.within.iter().any(|outer| outer == table) {
            return Err(internal("recursive table reference"));
        }
        if self.within.len() >= JSON_NESTING_MAX {
            return Err(internal(format!("nesting exceeds {JSON_NESTING_MAX} levels")));
        }
        self.within.push(table.clone());
        match shape(table)? {
            Shape::Array(len) => {
                self.out.push(b'[');
                for index in 1..=len {
                    if index > 1 {
                        self.out.push(b',');
                    }
                    self.value(&table.raw_get(index).map_err(lua)?)?;
                }
                self.out.push(b']');
            }
            Shape::Object(keys) => {
                self.out.push(b'{');
                for (index, key) in keys.into_iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.text(&String::from_utf8_lossy(&key))?;
                    self.out.push(b':');
                    self.value(&table.raw_get(key).map_err(lua)?)?;
                }
                self.out.push(b'}');
            }
        }
        self.within.pop();
        Ok(())
    }
}

fn shape(table: &Table) -> Result<Shape, Error> {
    let mut keys = Vec::new();
    let (mut count, mut last) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        match pair.map_err(lua)?.0 {
            Value::String(key) => keys.push(BString::from(&*key.as_bytes())),
            Value::Integer(index) if index > 0 => (count, last) = (count + 1, index.max(last)),
            Value::Integer(index) => {
                return Err(internal(format!("sparse array: index {index} is out of range")));
            }
            key => return Err(internal(format!("a {} can't be a key", key.type_name()))),
        }
    }
    match (count, keys.len()) {
        (0, 0) if table.metatable().is_some_and(|metatable| super::is_object(&metatable)) => {
            Ok(Shape::Object(keys))
        }
        (0, 1..) => {
            keys.sort_unstable();
            Ok(Shape::Object(keys))
        }
        (_, 1..) => Err(internal("mixed key types in a table: numbers and strings")),
        (_, 0) if last != count => Err(internal(format!("sparse array: {count} items up to index {last}"))),
        (_, 0) => usize::try_from(count).map(Shape::Array).map_err(|_| internal("sparse array")),
    }
}

fn internal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, message)
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn lua(error: mlua::Error) -> Error {
    internal(error.to_string())
}
