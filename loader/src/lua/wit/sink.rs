//! How Lua values are made.

use std::ops::Range;

use mlua::{IntoLua, Lua, Table, Value, Variadic};

use super::records::{self, Makers};
use super::{Keys, Library};
use crate::conversion::{Hyphens, Name, Plain, Record, Sink};
use crate::error::Error;

/// Items that are worth a call.
const PACKED_MIN: usize = 4;
/// Arguments of one call: a stack of them is kept small.
const PACKED_MAX: usize = 1000;
/// Strings of one call.
const TEXTS_MAX: usize = 100;
/// The longest string, in bytes, that is made together with others: it is copied twice.
const TEXT_BYTES_MAX: usize = 256;

/// Makes values in a Lua state, for one plan.
pub(super) struct LuaSink<'a> {
    pub(super) lua: &'a Lua,
    pub(super) keys: &'a Keys,
}

impl Sink for LuaSink<'_> {
    type Value = Value;
    type Table = Table;
    type Error = mlua::Error;

    fn failed(error: Error) -> mlua::Error {
        mlua::Error::external(error)
    }

    fn nil(&self) -> Value {
        Value::Nil
    }

    fn scalar(&self, value: Plain) -> Value {
        match value {
            Plain::Bool(value) => Value::Boolean(value),
            Plain::Integer(value) => Value::Integer(value),
            Plain::Float(value) => Value::Number(value),
        }
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        self.lua.create_string(bytes).map(Value::String)
    }

    fn booleans(&self, items: impl ExactSizeIterator<Item = bool>) -> mlua::Result<Value> {
        self.list(items)
    }

    fn integers(&self, items: impl ExactSizeIterator<Item = i64>) -> mlua::Result<Value> {
        self.list(items)
    }

    fn floats(&self, items: impl ExactSizeIterator<Item = f64>) -> mlua::Result<Value> {
        self.list(items)
    }

    fn texts<'t>(&self, items: impl ExactSizeIterator<Item = &'t str>) -> mlua::Result<Value> {
        let list = self.lua.create_table_with_capacity(items.len(), 0)?;
        let is_short = items.len() < PACKED_MIN;
        let mut batch = Texts { first: 1, count: 0, text: Vec::new() };
        for (index, text) in (1..).zip(items) {
            if is_short || text.len() > TEXT_BYTES_MAX {
                batch.set(self, &list)?;
                list.raw_set(index, text)?;
                batch.first = index + 1;
                continue;
            }
            batch.add(text);
            if batch.count == TEXTS_MAX {
                batch.set(self, &list)?;
            }
        }
        batch.set(self, &list)?;
        Ok(Value::Table(list))
    }

    fn table(&self, items: usize, fields: usize) -> mlua::Result<Table> {
        self.lua.create_table_with_capacity(items, fields)
    }

    fn record(&self, record: &Record, values: Vec<Value>) -> mlua::Result<Value> {
        if let Some(makers) = self.makers(record, 1) {
            let make = makers.one(self.lua, self.keys, record)?;
            return make.call(Variadic::from(values)).map(Value::Table);
        }
        self.record_by_fields(record, values)
    }

    fn records(
        &self,
        record: &Record,
        count: usize,
        fill: impl Fn(usize, &mut Vec<Value>) -> mlua::Result<()>,
    ) -> mlua::Result<Value> {
        let list = self.lua.create_table_with_capacity(count, 0)?;
        let makers = self.makers(record, count);
        let batch = if makers.is_some() { records::batch(record) } else { 1 };
        for start in (0..count).step_by(batch) {
            let stop = count.min(start + batch);
            let mut values = Vec::with_capacity((stop - start) * record.fields.len());
            for index in start..stop {
                fill(index, &mut values)?;
            }
            match makers {
                Some(makers) => {
                    let make = makers.many(self.lua, self.keys, record)?;
                    make.call::<()>((&list, start + 1, stop - start, Variadic::from(values)))?;
                }
                None => list.raw_set(start + 1, self.record_by_fields(record, values)?)?,
            }
        }
        Ok(Value::Table(list))
    }

    fn set_item(&self, table: &mut Table, index: usize, value: Value) -> mlua::Result<()> {
        table.raw_set(index, value)
    }

    fn set(&self, table: &mut Table, name: &Name, value: Value) -> mlua::Result<()> {
        table.raw_set(&self.keys.kebab[name.index], value)
    }

    fn finish(&self, table: Table, hyphens: Hyphens) -> mlua::Result<Value> {
        if hyphens == Hyphens::Some {
            table.set_metatable(Some(self.keys.readable_by_snake.clone()))?;
        }
        Ok(Value::Table(table))
    }
}

impl LuaSink<'_> {
    /// What makes records such as `count` that are to be made, if it is worth it by now.
    fn makers(&self, record: &Record, count: usize) -> Option<&Makers> {
        let makers = &self.keys.records[record.index];
        makers.are_worth(record, count).then_some(makers)
    }

    fn record_by_fields(&self, record: &Record, values: Vec<Value>) -> mlua::Result<Value> {
        let mut table = self.table(0, values.len())?;
        for ((name, _), value) in record.fields.iter().zip(values) {
            if !value.is_nil() {
                self.set(&mut table, name, value)?;
            }
        }
        self.finish(table, record.hyphens)
    }

    fn list<T: IntoLua>(&self, mut items: impl ExactSizeIterator<Item = T>) -> mlua::Result<Value> {
        let length = items.len();
        if length < PACKED_MIN {
            return self.lua.create_sequence_from(items).map(Value::Table);
        }
        let part = |range: Range<usize>| Ok(items.by_ref().take(range.len()).collect());
        list(self.lua, &self.keys.library, length, PACKED_MAX, part).map(Value::Table)
    }
}

/// A list of `length` items, of which `part` gives those of a range, up to `part_max`.
pub(super) fn list<T: IntoLua>(
    lua: &Lua,
    library: &Library,
    length: usize,
    part_max: usize,
    mut part: impl FnMut(Range<usize>) -> mlua::Result<Variadic<T>>,
) -> mlua::Result<Table> {
    if length <= part_max {
        return library.list.call(part(0..length)?);
    }
    let whole = lua.create_table_with_capacity(length, 0)?;
    for start in (0..length).step_by(part_max) {
        let stop = length.min(start + part_max);
        let part: Table = library.list.call(part(start..stop)?)?;
        library.move_.call::<()>((part, 1, stop - start, start + 1, &whole))?;
    }
    Ok(whole)
}

/// Strings of a list that are made by one call, in a fifth of the time of as many.
struct Texts {
    /// The index of the first of them.
    first: usize,
    count: usize,
    /// All of them, the length of each before it.
    text: Vec<u8>,
}

impl Texts {
    fn add(&mut self, text: &str) {
        // No longer than `TEXT_BYTES_MAX`.
        self.text.extend_from_slice(&(text.len() as u32).to_ne_bytes());
        self.text.extend_from_slice(text.as_bytes());
        self.count += 1;
    }

    /// Sets them in `list`; those that are added from now on come behind.
    fn set(&mut self, sink: &LuaSink<'_>, list: &Table) -> mlua::Result<()> {
        if self.count > 0 {
            let text = sink.lua.create_string(&self.text)?;
            sink.keys.library.texts.call::<()>((list, self.first, text, self.count))?;
            self.text.clear();
            self.first += self.count;
            self.count = 0;
        }
        Ok(())
    }
}
