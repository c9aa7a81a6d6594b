//! WIT values from and to Lua values. What a value may be is decided in `conversion/`.
//!
//! Tables are read raw: no metamethod runs while a value is converted, so none can change it meanwhile.
//!
//! In a state with a limit of memory, whatever may allocate is a protected call. So names that a signature
//! uses as keys are kept as Lua strings, per state, which makes reading a field 4 times and setting one twice
//! as fast; and numbers become a list by the thousand, not one by one, in a tenth of the time.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value, Variadic, WeakLua};

use super::error;
use super::own::Own;
use crate::bulk;
use crate::conversion::{Name, Plan};
use crate::error::Error;
use crate::meter::Meter;
use records::Makers;
use sink::LuaSink;
use world::LuaWorld;
pub(super) use world::count;

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
        self.lower_from(&LuaWorld::new(keys), &args.into_vec(), meter)
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
    ) -> mlua::Result<(Value, Value)> {
        match self.lift_into(&LuaSink { lua, keys }, value)? {
            Ok(value) => Ok((value, Value::Nil)),
            Err(error) => error::failed(lua, error),
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

/// A list of `length` values, which `part` gives by ranges.
///
/// # Errors
/// Those of `part`; Lua's own, such as a limit of memory.
pub(super) fn list(
    lua: &Lua,
    length: usize,
    part: impl FnMut(Range<usize>) -> mlua::Result<Variadic<Value>>,
) -> mlua::Result<Table> {
    // Few at a time, since each is a reference into the state, and lists hold lists.
    const PART_MAX: usize = 100;
    let library = lua.app_data_ref::<Known>().map(|known| known.library.clone());
    let library = match library {
        Some(library) => library,
        None => Known::with(lua, |known| Ok(known.library.clone()))?,
    };
    sink::list(lua, &library, length, PART_MAX, part)
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
    /// Sets strings in a list, from an index on: those in a text in which the length of each is before it, and
    /// their number.
    texts: Function,
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

/// Gives the metatable, and what makes lists. `kebab[key]` is nil for every name in kebab case, so the lookup ends
/// there. No signature that the state knows need have the names of a record that was passed on by somebody else:
/// they are made of one another, as far as names are not too long to be any.
static SOURCE: Own = Own::new(
    "
local kebab, field = ...
local find, gsub, rawget, type = string.find, string.gsub, rawget, type
local rep, unpack, move = string.rep, string.unpack, table.move
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
local function list(...)
    return {...}
end
local function texts(into, first, text, count)
    move({unpack(rep('s4', count), text)}, 1, count, first, into)
end
return readable_by_snake, list, texts",
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
        let (readable_by_snake, list, texts) = SOURCE.load(lua)?.call((&kebab_of_snake, RECORD_FIELD))?;
        let globals = lua.globals();
        let table: Table = globals.raw_get("table")?;
        let set_metatable = globals.raw_get("setmetatable")?;
        let library = Library { set_metatable, list, texts, move_: table.raw_get("move")? };
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

mod records;
mod sink;
mod world;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
