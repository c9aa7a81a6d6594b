//! Lua values to JSON text, written as they are met.

use std::io::Write;

use mlua::{BString, Lua, Table, Value};
use registry_schema::ErrorKind;
use tokio::time::Instant;

use crate::config::{JSON_BYTES_MAX, JSON_NESTING_MAX};
use crate::data::{Data, Table as DataTable, TableForm};
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

/// `value`, which left its invocation, as the JSON text that [`encode`] would have made of it there.
///
/// # Errors
/// Those of [`encode`].
pub(in crate::lua) fn encode_data(value: &Data, deadline: Option<Instant>) -> Result<Vec<u8>, Error> {
    let mut writer = DataWriter { out: Vec::new(), depth: 0, meter: Meter::new(u64::MAX, deadline) };
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
            Value::Integer(integer) => write(&mut self.out, format_args!("{integer}"))?,
            Value::Number(number) => float(&mut self.out, *number)?,
            // Bytes that are no UTF-8 are replaced.
            Value::String(string) => text(&mut self.out, &String::from_utf8_lossy(&string.as_bytes()))?,
            Value::Table(table) => self.table(table)?,
            value => match error::from_lua(value) {
                Some(error) => text(&mut self.out, error.message())?,
                None => return Err(internal(format!("can't encode a {}", value.type_name()))),
            },
        }
        bounded(&self.out)
    }

    fn table(&mut self, table: &Table) -> Result<(), Error> {
        if self.within.iter().any(|outer| outer == table) {
            return Err(internal("recursive table reference"));
        }
        nested(self.within.len())?;
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
                    text(&mut self.out, &String::from_utf8_lossy(&key))?;
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
    let mut indices = Indices::default();
    for pair in table.pairs::<Value, Value>() {
        match pair.map_err(lua)?.0 {
            Value::String(key) => keys.push(BString::from(&*key.as_bytes())),
            Value::Integer(index) => indices.add(index)?,
            key => return Err(no_key(key.type_name())),
        }
    }
    match (indices.is_object(keys.len())?, keys.len()) {
        (false, 0)
            if indices.count == 0
                && table.metatable().is_some_and(|metatable| super::is_object(&metatable)) =>
        {
            Ok(Shape::Object(keys))
        }
        (true, _) => {
            keys.sort_unstable();
            Ok(Shape::Object(keys))
        }
        (false, _) => Ok(Shape::Array(indices.count)),
    }
}

/// The integers among the keys of a table.
#[derive(Default)]
struct Indices {
    count: usize,
    last: usize,
}

impl Indices {
    fn add(&mut self, index: i64) -> Result<(), Error> {
        let found = usize::try_from(index).ok().filter(|index| *index > 0);
        let index = found.ok_or_else(|| internal(format!("sparse array: index {index} is out of range")))?;
        self.count += 1;
        self.last = self.last.max(index);
        Ok(())
    }

    /// Whether a table with these and so many names is an object; one without any key is an array.
    fn is_object(&self, names: usize) -> Result<bool, Error> {
        let Self { count, last } = self;
        match (count, names) {
            (0, names) => Ok(names > 0),
            (_, 1..) => Err(internal("mixed key types in a table: numbers and strings")),
            (_, 0) if last != count => {
                Err(internal(format!("sparse array: {count} items up to index {last}")))
            }
            (_, 0) => Ok(false),
        }
    }
}

/// Writes what [`Writer`] would have written.
struct DataWriter {
    out: Vec<u8>,
    depth: usize,
    meter: Meter,
}

impl DataWriter {
    fn value(&mut self, value: &Data) -> Result<(), Error> {
        self.meter.take(100).map_err(|_| past_deadline())?;
        match value {
            Data::Nil => self.out.extend_from_slice(b"null"),
            Data::Bool(value) => write(&mut self.out, format_args!("{value}"))?,
            Data::Integer(integer) => write(&mut self.out, format_args!("{integer}"))?,
            Data::Float(number) => float(&mut self.out, *number)?,
            Data::String(bytes) => text(&mut self.out, &String::from_utf8_lossy(bytes))?,
            Data::Table(table) => {
                nested(self.depth)?;
                self.depth += 1;
                self.table(table)?;
                self.depth -= 1;
            }
            Data::Error(error) => text(&mut self.out, error.message())?,
        }
        bounded(&self.out)
    }

    fn table(&mut self, table: &DataTable) -> Result<(), Error> {
        let mut fields: Vec<(&[u8], &Data)> = Vec::new();
        let mut indices = Indices::default();
        // Holes before the border are nil.
        for (index, item) in (1..).zip(&table.array) {
            if *item != Data::Nil {
                indices.add(index)?;
            }
        }
        for (key, item) in &table.fields {
            match key {
                Data::String(name) => fields.push((name, item)),
                Data::Integer(index) => indices.add(*index)?,
                Data::Float(_) => return Err(no_key("number")),
                Data::Bool(_) => return Err(no_key("boolean")),
                Data::Nil | Data::Table(_) | Data::Error(_) => return Err(no_key("userdata")),
            }
        }
        let is_object = indices.is_object(fields.len())?;
        if is_object || (fields.is_empty() && table.array.is_empty() && table.form == TableForm::Object) {
            fields.sort_unstable_by_key(|(name, _)| *name);
            self.out.push(b'{');
            for (index, (name, item)) in fields.into_iter().enumerate() {
                if index > 0 {
                    self.out.push(b',');
                }
                text(&mut self.out, &String::from_utf8_lossy(name))?;
                self.out.push(b':');
                self.value(item)?;
            }
            self.out.push(b'}');
            return Ok(());
        }
        // Those behind the border that are there all the same.
        let mut beyond: Vec<(i64, &Data)> = Vec::new();
        for (key, item) in &table.fields {
            if let Data::Integer(index) = key {
                beyond.push((*index, item));
            }
        }
        beyond.sort_unstable_by_key(|(index, _)| *index);
        let items = table.array.iter().chain(beyond.into_iter().map(|(_, item)| item));
        self.out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(item)?;
        }
        self.out.push(b']');
        Ok(())
    }
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) -> Result<(), Error> {
    out.write_fmt(text).map_err(|error| internal(error.to_string()))
}

fn float(out: &mut Vec<u8>, float: f64) -> Result<(), Error> {
    if !float.is_finite() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    if float.fract() == 0.0 && float.abs() <= INTEGRAL_MAX {
        // `10 / 2` is 5, not 5.0, to whoever reads the text.
        return write(out, format_args!("{float:.0}"));
    }
    serde_json::to_writer(out, &float).map_err(|error| internal(error.to_string()))
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    serde_json::to_writer(out, text).map_err(|error| internal(error.to_string()))
}

fn nested(depth: usize) -> Result<(), Error> {
    if depth >= JSON_NESTING_MAX {
        return Err(internal(format!("nesting exceeds {JSON_NESTING_MAX} levels")));
    }
    Ok(())
}

fn bounded(out: &[u8]) -> Result<(), Error> {
    if out.len() > JSON_BYTES_MAX {
        return Err(internal(format!("the text has more than {JSON_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn no_key(what: &str) -> Error {
    internal(format!("a {what} can't be a key"))
}

fn internal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, message)
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn lua(error: mlua::Error) -> Error {
    internal(error.to_string())
}
