//! WIT values from and to Lua values. What a value may be is decided in `conversion/`.
//!
//! Tables are read raw: no metamethod runs while a value is converted, so none can change it meanwhile.
//!
//! In a state with a limit of memory, whatever may allocate is a protected call. So names that a signature
//! uses as keys are kept as Lua strings, per state, which makes reading a field 4 times and setting one twice
//! as fast; and numbers become a list by the thousand, not one by one, in 0.4 of the time.

use std::collections::HashMap;
use std::sync::Arc;

use mlua::{BorrowedBytes, FromLua, Function, Lua, LuaString, MultiValue, Table, Value};

use super::error;
use crate::bulk;
use crate::conversion::{self, Hyphens, Name, Plain, Plan, Problem, Sink, View, World};
use crate::error::Error;
use crate::meter::Meter;

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
        let args: Vec<Value> = args.into_iter().collect();
        self.lower_from(&LuaWorld { keys }, &args, meter)
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

/// Functions of Lua's own library, as they were before any entry ran. They are of C: no hook runs in them.
#[derive(Clone)]
struct Library {
    pack: Function,
    move_: Function,
}

/// The names of one plan, by their index in it.
pub(super) struct Keys {
    kebab: Vec<LuaString>,
    snake: Vec<Option<LuaString>>,
    /// The metatable of tables with hyphens in their keys: they are readable by snake case too.
    readable_by_snake: Table,
    library: Library,
}

/// Makes the metatable. `kebab[key]` is nil for every name in kebab case, so the lookup ends there. No signature
/// that the state knows need have the names of a record that was passed on by somebody else: they are made of
/// one another, as far as names are not too long to be any.
const READABLE_BY_SNAKE: &str = "
local kebab, field = ...
local find, gsub, rawget, type = string.find, string.gsub, rawget, type
return {
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
}";

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
        let readable_by_snake = lua.load(READABLE_BY_SNAKE).set_name("=[wit]");
        let readable_by_snake = readable_by_snake.call((&kebab_of_snake, RECORD_FIELD))?;
        let table: Table = lua.globals().raw_get("table")?;
        let library = Library { pack: table.raw_get("pack")?, move_: table.raw_get("move")? };
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
            readable_by_snake: self.readable_by_snake.clone(),
            library: self.library.clone(),
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
        // In one pass, since Lua traverses what it holds as an array in order; other tables are read again.
        // What is no array may claim any length.
        let mut items = Vec::with_capacity(table.raw_len().min(RESERVED_MAX));
        let mut in_order = true;
        traverse(table, |key: Value, value: Value| {
            let index = items.len() + 1;
            in_order &= matches!(key, Value::Integer(key) if usize::try_from(key) == Ok(index));
            if in_order {
                items.push(read(&value).map_err(|problem| problem.at(index))?);
            }
            Ok(())
        })?;
        if !in_order {
            items.clear();
            for index in 1..=count(table)? {
                let value = self.at(table, index)?;
                if value.is_nil() {
                    return Err(conversion::no_array(self, table));
                }
                items.push(read(&value).map_err(|problem| problem.at(index))?);
            }
        }
        Ok(items)
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

/// Items that room is made for before any of them is seen.
const RESERVED_MAX: usize = 4096;
/// Numbers that are worth a call.
const PACKED_MIN: usize = 16;
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

    fn scalars(&self, items: impl ExactSizeIterator<Item = Plain>) -> mlua::Result<Value> {
        let length = items.len();
        let mut items = items.map(|item| self.scalar(item));
        if length < PACKED_MIN {
            return self.lua.create_sequence_from(items).map(Value::Table);
        }
        let Library { pack, move_ } = &self.keys.library;
        let list: Table = pack.call(items.by_ref().take(PACKED_MAX).collect::<MultiValue>())?;
        list.raw_set("n", Value::Nil)?;
        for start in (PACKED_MAX..length).step_by(PACKED_MAX) {
            let part: Table = pack.call(items.by_ref().take(PACKED_MAX).collect::<MultiValue>())?;
            let count = PACKED_MAX.min(length - start);
            move_.call::<()>((part, 1, count, start + 1, &list))?;
        }
        Ok(Value::Table(list))
    }

    fn table(&self, items: usize, fields: usize) -> mlua::Result<Table> {
        self.lua.create_table_with_capacity(items, fields)
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

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
