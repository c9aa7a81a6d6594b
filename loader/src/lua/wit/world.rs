//! How Lua values are read.

use std::cell::OnceCell;

use mlua::{BorrowedBytes, FromLua, Lua, LuaString, Table, Value};

use super::Keys;
use crate::conversion::{self, Name, Problem, View, World};

/// Memory of a state, in bytes, up to which strings are read at once as text, in a third of the time: their copies
/// are counted afterwards.
const STRINGS_UNCOUNTED_BYTES_MAX: usize = 8 << 20;
/// Scalars that room is made for before any of them is seen.
const SCALARS_RESERVED_MAX: usize = 4096;
/// The same for other values, which lists in lists have a multiple of.
const VALUES_RESERVED_MAX: usize = 128;

/// Values of a Lua state, for one plan.
pub(super) struct LuaWorld<'k> {
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
        count(table).map_err(|error| problem(&error))
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

impl<'k> LuaWorld<'k> {
    pub(super) fn new(keys: &'k Keys) -> Self {
        Self { keys, is_small: OnceCell::new() }
    }

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
        if self.count(table)? != items.len() {
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
pub(in crate::lua) fn count(table: &Table) -> mlua::Result<usize> {
    let mut count = 0;
    // Flags: keys and values as such would cost more.
    table.for_each(|_: bool, _: bool| {
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
