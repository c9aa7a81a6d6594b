//! WIT values from and to Lua values. What a value may be is decided in `conversion/`.
//!
//! Tables are read raw: no metamethod runs while a value is converted, so none can change it meanwhile.
//!
//! In a state with a limit of memory, whatever may allocate is a protected call. So names that a signature
//! uses as keys are kept as Lua strings, per state, which makes reading a field 4 times and setting one twice
//! as fast; and numbers become a list by the thousand, not one by one, in a tenth of the time.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use mlua::{
    BorrowedBytes, FromLua, Function, IntoLua, Lua, LuaString, MultiValue, Table, Value, Variadic, WeakLua,
};

use super::error;
use super::own::Own;
use crate::bulk;
use crate::conversion::{self, Hyphens, Name, Plain, Plan, Problem, Record, Sink, View, World};
use crate::error::Error;
use crate::meter::Meter;
use records::Makers;

impl Plan {
    /// The arguments `args` as WIT values, with the `keys` of this plan, as far as `meter` allows so many bytes.
    ///
    /// # Errors
    /// `INVALID`: a wrong number of arguments, or the path of the part that does not fit or is too large;
    /// `TIMEOUT` when the deadline is past meanwhile.
    pub(super) fn lower(
        &self,
        keys: &Keys,
        args: MultiValue,
        meter: &Meter,
    ) -> Result<Vec<bulk::Value>, Error> {
        self.lower_from(&LuaWorld { keys, is_small: OnceCell::new() }, &args.into_vec(), meter)
    }

    /// What was returned, with the `keys` of this plan in `lua`: `value, nil` or `nil, error`.
    ///
    /// # Errors
    /// Lua's own, such as a limit of memory, and a value that is not of the signature's type.
    pub(super) fn lift(
        &self,
        lua: &Lua,
        keys: &Keys,
        value: Option<&bulk::Value>,
    ) -> mlua::Result<MultiValue> {
        match self.lift_into(&LuaSink { lua, keys }, value)? {
            Ok(value) => Ok(MultiValue::from_iter([value, Value::Nil])),
            Err(error) => error::pair(lua, error),
        }
    }

    /// The names of this plan in `lua`.
    ///
    /// # Errors
    /// Lua's own, such as a limit of memory.
    pub(super) fn keys(&self, lua: &Lua) -> mlua::Result<Arc<Keys>> {
        if let Some(known) = lua.app_data_ref::<Known>()
            && let Some(keys) = known.plans.get(&self.id())
        {
            return Ok(Arc::clone(keys));
        }
        Known::with(lua, |known| known.add(lua, self))
    }
}

/// The metatable of tables that are readable by both spellings of their keys, of records which have hyphens in some.
///
/// # Errors
/// Lua's own, such as a limit of memory.
pub(super) fn readable_by_snake(lua: &Lua) -> mlua::Result<Table> {
    if let Some(known) = lua.app_data_ref::<Known>() {
        return Ok(known.readable_by_snake.clone());
    }
    Known::with(lua, |known| Ok(known.readable_by_snake.clone()))
}

/// The field of that metatable by which it is known.
pub(super) const RECORD_FIELD: &str = "__record";

/// What a state keeps.
struct Known {
    plans: HashMap<u64, Arc<Keys>>,
    /// Every name, in either spelling, once.
    strings: HashMap<Arc<str>, LuaString>,
    /// From names in snake case to the same in kebab case.
    kebab_of_snake: Table,
    readable_by_snake: Table,
    library: Library,
}

/// Functions that make lists.
#[derive(Clone)]
struct Library {
    /// `setmetatable` as it was before any entry ran.
    set_metatable: Function,
    /// Makes a list of its arguments. The hook may run in its few instructions. It does no harm: nothing can be
    /// suspended here, so a turn that ends here is one without a yield, and a deadline that is past is an error
    /// of the call.
    list: Function,
    /// `table.move` as it was before any entry ran.
    move_: Function,
}

/// The names of one plan, by their index in it.
pub(super) struct Keys {
    kebab: Vec<LuaString>,
    snake: Vec<Option<LuaString>>,
    /// What makes the records of the plan.
    records: Vec<Makers>,
    /// The metatable of tables with hyphens in their keys: they are readable by snake case too.
    readable_by_snake: Table,
    library: Library,
    lua: WeakLua,
}

/// Makes the metatable, and what makes lists. `kebab[key]` is nil for every name in kebab case, so the lookup ends there. No signature
/// that the state knows need have the names of a record that was passed on by somebody else: they are made of
/// one another, as far as names are not too long to be any.
static SOURCE: Own = Own::new(
    "
local kebab, field = ...
local find, gsub, rawget, type = string.find, string.gsub, rawget, type
local readable_by_snake = {
    __metatable = false,
    [field] = true,
    __index = function(fields, key)
        local name = kebab[key]
        if name then
            return rawget(fields, name)
        end
        if type(key) == 'string' and #key <= 1000 and find(key, '_', 1, true) then
            return rawget(fields, (gsub(key, '_', '-')))
        end
    end,
}
return readable_by_snake, function(...) return {...} end",
);

impl Known {
    /// What `lua` keeps, for `change`.
    fn with<T>(lua: &Lua, change: impl FnOnce(&mut Self) -> mlua::Result<T>) -> mlua::Result<T> {
        let mut known = match lua.remove_app_data::<Self>() {
            Some(known) => known,
            None => Self::new(lua)?,
        };
        let changed = change(&mut known);
        lua.set_app_data(known);
        changed
    }

    fn new(lua: &Lua) -> mlua::Result<Self> {
        let kebab_of_snake = lua.create_table()?;
        let (readable_by_snake, list) = SOURCE.load(lua)?.call((&kebab_of_snake, RECORD_FIELD))?;
        let globals = lua.globals();
        let table: Table = globals.raw_get("table")?;
        let set_metatable = globals.raw_get("setmetatable")?;
        let library = Library { set_metatable, list, move_: table.raw_get("move")? };
        Ok(Self {
            plans: HashMap::new(),
            strings: HashMap::new(),
            kebab_of_snake,
            readable_by_snake,
            library,
        })
    }

    fn add(&mut self, lua: &Lua, plan: &Plan) -> mlua::Result<Arc<Keys>> {
        let names = plan.names().all();
        let mut keys = Keys {
            kebab: Vec::with_capacity(names.len()),
            snake: Vec::with_capacity(names.len()),
            records: std::iter::repeat_with(Makers::default).take(plan.names().records()).collect(),
            readable_by_snake: self.readable_by_snake.clone(),
            library: self.library.clone(),
            lua: lua.weak(),
        };
        for Name { kebab, snake, .. } in names {
            let kebab = self.string(lua, kebab)?;
            let snake = snake.as_ref().map(|snake| self.string(lua, snake)).transpose()?;
            if let Some(snake) = &snake {
                self.kebab_of_snake.raw_set(snake, &kebab)?;
            }
            keys.kebab.push(kebab);
            keys.snake.push(snake);
        }
        let keys = Arc::new(keys);
        self.plans.insert(plan.id(), Arc::clone(&keys));
        Ok(keys)
    }

    fn string(&mut self, lua: &Lua, text: &Arc<str>) -> mlua::Result<LuaString> {
        if let Some(string) = self.strings.get(text) {
            return Ok(string.clone());
        }
        let string = lua.create_string(&**text)?;
        self.strings.insert(Arc::clone(text), string.clone());
        Ok(string)
    }
}

struct LuaWorld<'k> {
    keys: &'k Keys,
    /// Whether no string of the state is large.
    is_small: OnceCell<bool>,
}

impl World for LuaWorld<'_> {
    type Value = Value;
    type Table<'v>
        = &'v Table
    where
        Self: 'v;
    type Text<'v>
        = BorrowedBytes
    where
        Self: 'v;

    fn view<'v>(&self, value: &'v Value) -> View<'v, Self> {
        match value {
            Value::Nil => View::Nil,
            Value::Boolean(value) => View::Bool(*value),
            Value::Integer(value) => View::Integer(*value),
            Value::Number(value) => View::Float(*value),
            Value::String(text) => View::String(text.as_bytes()),
            Value::Table(table) => View::Table(table),
            value => View::Other(value.type_name()),
        }
    }

    fn is_nil(&self, value: &Value) -> bool {
        value.is_nil()
    }

    fn kebab(&self, table: &Table, name: &Name) -> Result<Value, Problem> {
        table.raw_get(&self.keys.kebab[name.index]).map_err(|error| problem(&error))
    }

    fn snake(&self, table: &Table, name: &Name) -> Result<Value, Problem> {
        match &self.keys.snake[name.index] {
            Some(snake) => table.raw_get(snake).map_err(|error| problem(&error)),
            None => Ok(Value::Nil),
        }
    }

    fn text(&self, table: &Table, name: &Name) -> Option<String> {
        if !self.is_small() {
            return None;
        }
        // What is neither nil nor text is looked at as a value, which knows what to say of it.
        let get = |key: &LuaString| table.raw_get::<Option<String>>(key).ok();
        let kebab = get(&self.keys.kebab[name.index])?;
        let snake = match &self.keys.snake[name.index] {
            Some(snake) => get(snake)?,
            None => None,
        };
        match (kebab, snake) {
            (Some(text), None) | (None, Some(text)) if !may_be_number(&text) => Some(text),
            _ => None,
        }
    }

    fn at(&self, table: &Table, index: usize) -> Result<Value, Problem> {
        table.raw_get(index).map_err(|error| problem(&error))
    }

    fn pairs(
        &self,
        table: &Table,
        mut each: impl FnMut(View<'_, Self>, &Value) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        traverse(table, |key: Value, value: Value| each(self.view(&key), &value))
    }

    fn length(&self, table: &Table) -> usize {
        table.raw_len()
    }

    fn count(&self, table: &Table) -> Result<usize, Problem> {
        count(table)
    }

    fn items<T>(
        &self,
        table: &Table,
        mut read: impl FnMut(&Value) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        self.sequence(table, VALUES_RESERVED_MAX, |_, value: Value| read(&value))?
            .map_err(|error| problem(&error))
    }

    fn scalars<T>(
        &self,
        table: &Table,
        read: impl Fn(&View<'_, Self>) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let items = self.sequence(table, SCALARS_RESERVED_MAX, |index, item| match item {
            Item::Bool(value) => read(&View::Bool(value)),
            Item::Integer(value) => read(&View::Integer(value)),
            Item::Float(value) => read(&View::Float(value)),
            Item::Other => read(&self.view(&self.at(table, index)?)),
        });
        items?.map_err(|error| problem(&error))
    }

    fn texts<T>(
        &self,
        table: &Table,
        text: impl Fn(String) -> Result<T, Problem>,
        read: impl Fn(&Value) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        if self.is_small() {
            let items =
                self.sequence(table, VALUES_RESERVED_MAX, |index, item: String| match may_be_number(&item) {
                    true => read(&self.at(table, index)?),
                    false => text(item),
                });
            if let Ok(items) = items? {
                return Ok(items);
            }
            // There is something that is neither text nor a number.
        }
        self.items(table, read)
    }
}

impl LuaWorld<'_> {
    /// Strings of a state with that little memory may be copied before the copies are counted.
    fn is_small(&self) -> bool {
        let is_small = || {
            self.keys.lua.try_upgrade().is_some_and(|lua| lua.used_memory() <= STRINGS_UNCOUNTED_BYTES_MAX)
        };
        *self.is_small.get_or_init(is_small)
    }

    /// What `read` makes of each item of an array, with its index. The inner error is of an item that is no `V`.
    fn sequence<V: FromLua, T>(
        &self,
        table: &Table,
        reserved_max: usize,
        mut read: impl FnMut(usize, V) -> Result<T, Problem>,
    ) -> Result<mlua::Result<Vec<T>>, Problem> {
        // What is no array may claim any length.
        let mut items = Vec::with_capacity(table.raw_len().min(reserved_max));
        let mut found = None;
        // Up to the first nil. A traversal would cost three times as much, and has no order outside of what Lua
        // holds as an array.
        let done = table.for_each_value(|value| {
            let index = items.len() + 1;
            match read(index, value) {
                Ok(item) => items.push(item),
                Err(problem) => {
                    found = Some(problem.at(index));
                    // Ends the loop, and is looked at by nobody.
                    return Err(mlua::Error::StackError);
                }
            }
            Ok(())
        });
        if let Some(problem) = found {
            return Err(problem);
        }
        if let Err(error) = done {
            return Ok(Err(error));
        }
        // `next` of the last item is no proof that there are no other keys: where the item lies among the others
        // is up to Lua.
        if count(table)? != items.len() {
            return Err(conversion::no_array(self, table));
        }
        Ok(Ok(items))
    }
}

/// Whether Lua may have made `text` of a number: it is asked for text, and takes both.
fn may_be_number(text: &str) -> bool {
    // Digits, a sign, a point and an exponent, or `inf` or `nan`.
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.einfa".contains(&byte))
}

/// An item that should be a number or a boolean. It is small: a [`Value`] is moved about for as long as all else
/// takes.
#[derive(Clone, Copy)]
enum Item {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Other,
}

impl FromLua for Item {
    #[inline]
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Self> {
        Ok(match value {
            Value::Boolean(value) => Self::Bool(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Number(value) => Self::Float(value),
            _ => Self::Other,
        })
    }
}

/// How many keys `table` has.
fn count(table: &Table) -> Result<usize, Problem> {
    let mut count = 0;
    // Flags: keys and values as such would cost more.
    traverse(table, |_: bool, _: bool| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Runs `each` on all keys and values.
fn traverse<K: FromLua, V: FromLua>(
    table: &Table,
    mut each: impl FnMut(K, V) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut found = None;
    let done = table.for_each(|key, value| {
        each(key, value).map_err(|problem| {
            found = Some(problem);
            // Ends the traversal, and is looked at by nobody.
            mlua::Error::StackError
        })
    });
    match found {
        Some(problem) => Err(problem),
        None => done.map_err(|error| problem(&error)),
    }
}

fn problem(error: &mlua::Error) -> Problem {
    Problem::internal(format!("can't be read: {error}"))
}

/// Memory of a state, in bytes, up to which strings are read at once as text, in a third of the time: their copies
/// are counted afterwards.
const STRINGS_UNCOUNTED_BYTES_MAX: usize = 8 << 20;
/// Scalars that room is made for before any of them is seen.
const SCALARS_RESERVED_MAX: usize = 4096;
/// The same for other values, which lists in lists have a multiple of.
const VALUES_RESERVED_MAX: usize = 128;
/// Items that are worth a call.
const PACKED_MIN: usize = 4;
/// Arguments of one call: a stack of them is kept small.
const PACKED_MAX: usize = 1000;

struct LuaSink<'a> {
    lua: &'a Lua,
    keys: &'a Keys,
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
        let Library { list, move_, .. } = &self.keys.library;
        let mut part = || list.call::<Table>(items.by_ref().take(PACKED_MAX).collect::<Variadic<T>>());
        if length <= PACKED_MAX {
            return part().map(Value::Table);
        }
        let whole = self.lua.create_table_with_capacity(length, 0)?;
        for start in (0..length).step_by(PACKED_MAX) {
            let count = PACKED_MAX.min(length - start);
            move_.call::<()>((part()?, 1, count, start + 1, &whole))?;
        }
        Ok(Value::Table(whole))
    }
}

mod records;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
