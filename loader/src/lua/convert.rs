//! [`Data`] to Lua and back: copies, nested to a bounded depth.

use std::ops::Range;

use mlua::{Lua, Table as LuaTable, Value};
use registry_schema::ErrorKind;
use tokio::time::Instant;

use super::modules::{json, payload};
use super::{error, wit};
use crate::config::{LUA_NESTING_MAX, VALUE_BYTES_MAX};
use crate::data::{Data, Table, TableForm};
use crate::error::Error;
use crate::meter::{Meter, Spent, past_deadline};

/// Items that are worth a call that makes a list.
const LISTED_MIN: usize = 4;

/// `data` as a Lua value of `lua`.
pub(super) fn to_lua(lua: &Lua, data: &Data) -> mlua::Result<Value> {
    Ok(match data {
        Data::Nil => Value::Nil,
        Data::Bool(value) => Value::Boolean(*value),
        Data::Integer(value) => Value::Integer(*value),
        Data::Float(value) => Value::Number(*value),
        Data::String(bytes) => Value::String(lua.create_string(bytes)?),
        Data::Error(error) => error::to_lua(lua, (**error).clone())?,
        Data::Table(table) => {
            let made = if table.fields.is_empty() && table.array.len() >= LISTED_MIN {
                let part =
                    |range: Range<usize>| table.array[range].iter().map(|item| to_lua(lua, item)).collect();
                wit::list(lua, table.array.len(), part)?
            } else {
                let made = lua.create_table_with_capacity(table.array.len(), table.fields.len())?;
                for (index, item) in table.array.iter().enumerate() {
                    made.raw_set(index + 1, to_lua(lua, item)?)?;
                }
                made
            };
            for (key, item) in &table.fields {
                made.raw_set(to_lua(lua, key)?, to_lua(lua, item)?)?;
            }
            match table.form {
                TableForm::Plain => {}
                TableForm::Object => made.set_metatable(Some(json::object(lua)?))?,
                TableForm::Record => made.set_metatable(Some(wit::readable_by_snake(lua)?))?,
            }
            Value::Table(made)
        }
    })
}

/// `value` as data; `path` is what messages call it.
///
/// # Errors
/// `INVALID`, naming the path: a function, coroutine or handle, a table in itself, too deep a nesting, too
/// large a copy.
pub(super) fn from_lua(path: &str, value: &Value) -> Result<Data, Error> {
    metered(path, value, &meter(None))
}

/// What the copies of all values of one call may take.
pub(super) fn meter(deadline: Option<Instant>) -> Meter {
    Meter::new(VALUE_BYTES_MAX as u64, deadline)
}

/// [`from_lua`], as far as `meter` allows so many bytes.
///
/// # Errors
/// Those of [`from_lua`]; `TIMEOUT` when the deadline is past meanwhile.
pub(super) fn metered(path: &str, value: &Value, meter: &Meter) -> Result<Data, Error> {
    Reader { depth: 0, meter }.value(value).map_err(|problem| {
        let Problem { at, what } = problem;
        let at: String = at.into_iter().rev().collect();
        match what {
            Some(what) => Error::new(ErrorKind::Invalid, format!("{path}{at}: {what}")),
            None => past_deadline(),
        }
    })
}

/// What has no form as data, and where: the steps of its path, innermost first.
struct Problem {
    at: Vec<String>,
    /// None if it is only that the deadline is past.
    what: Option<String>,
}

impl Problem {
    fn new(what: impl Into<String>) -> Self {
        Self { at: Vec::new(), what: Some(what.into()) }
    }
}

struct Reader<'a> {
    depth: usize,
    meter: &'a Meter,
}

impl Reader<'_> {
    /// Counts `bytes` of the copy, before they are there.
    fn take(&self, bytes: usize) -> Result<(), Problem> {
        self.meter.take(bytes as u64).map_err(|spent| match spent {
            Spent::Amount => {
                Problem::new(format!("the copies of all values would have more than {VALUE_BYTES_MAX} bytes"))
            }
            Spent::Time => Problem { at: Vec::new(), what: None },
        })
    }

    fn value(&mut self, value: &Value) -> Result<Data, Problem> {
        self.take(size_of::<Data>())?;
        let what = match value {
            Value::Nil => return Ok(Data::Nil),
            Value::Boolean(value) => return Ok(Data::Bool(*value)),
            Value::Integer(value) => return Ok(Data::Integer(*value)),
            Value::Number(value) => return Ok(Data::Float(*value)),
            Value::String(text) => {
                let bytes = text.as_bytes();
                self.take(bytes.len())?;
                return Ok(Data::String(bytes.to_vec()));
            }
            Value::Table(table) => return self.table(table),
            value => {
                if let Some(error) = error::from_lua(value) {
                    self.take(error.bytes())?;
                    return Ok(Data::Error(Box::new(error)));
                }
                // A payload stands for what it holds.
                if let Some(Ok(held)) = payload::value(value) {
                    return self.value(&held);
                }
                format!("a {} can't leave its invocation", value.type_name())
            }
        };
        Err(Problem::new(what))
    }

    fn table(&mut self, table: &LuaTable) -> Result<Data, Problem> {
        self.depth += 1;
        if self.depth > LUA_NESTING_MAX {
            return Err(Problem::new(format!("a table nested deeper than {LUA_NESTING_MAX}, or in itself")));
        }
        let lua = |error: mlua::Error| Problem::new(error.to_string());
        let form = match table.metatable() {
            Some(metatable) => form(&metatable)?,
            None => TableForm::Plain,
        };
        let border = border(table).map_err(lua)?;
        let mut made = Table { array: Vec::with_capacity(border), form, ..Table::default() };
        let given = self.array(table, border, &mut made.array)?;
        // Most arrays have no other keys, and to count costs a tenth of looking at them.
        if given > 0 && given == wit::count(table).map_err(lua)? {
            self.depth -= 1;
            return Ok(Data::Table(made));
        }
        for pair in table.pairs::<Value, Value>() {
            let (key, item) = pair.map_err(lua)?;
            if matches!(key, Value::Integer(key) if usize::try_from(key).is_ok_and(|key| (1..=border).contains(&key)))
            {
                continue;
            }
            let step = || match &key {
                Value::String(key) => format!(".{}", key.to_string_lossy()),
                Value::Integer(key) => format!("[{key}]"),
                key => format!("[a {}]", key.type_name()),
            };
            let name = match &key {
                Value::Table(_) => {
                    return Err(within(Problem::new("a table as a key"), step()));
                }
                key => self.value(key).map_err(|problem| within(problem, step()))?,
            };
            let item = self.value(&item).map_err(|problem| within(problem, step()))?;
            made.fields.push((name, item));
        }
        self.depth -= 1;
        Ok(Data::Table(made))
    }

    /// Adds the items up to `border` to `made`, and says how many of them are not nil.
    fn array(&mut self, table: &LuaTable, border: usize, made: &mut Vec<Data>) -> Result<usize, Problem> {
        if border == 0 {
            return Ok(0);
        }
        let mut found = None;
        // Up to the first nil, at the latest behind the border.
        let done = table.for_each_value(|item: Value| match self.value(&item) {
            Ok(item) => {
                made.push(item);
                Ok(())
            }
            Err(problem) => {
                found = Some(within(problem, format!("[{}]", made.len() + 1)));
                // Ends the loop, and is looked at by nobody.
                Err(mlua::Error::StackError)
            }
        });
        if let Some(problem) = found {
            return Err(problem);
        }
        let lua = |error: mlua::Error| Problem::new(error.to_string());
        done.map_err(lua)?;
        let mut given = made.len();
        for index in made.len() + 1..=border {
            let item: Value = table.raw_get(index).map_err(lua)?;
            given += usize::from(!item.is_nil());
            made.push(self.value(&item).map_err(|problem| within(problem, format!("[{index}]")))?);
        }
        Ok(given)
    }
}

/// What a table with `metatable` is.
fn form(metatable: &LuaTable) -> Result<TableForm, Problem> {
    let field = |name: &str| metatable.raw_get::<Value>(name).unwrap_or(Value::Nil);
    if let Value::String(name) = field("__name") {
        return Err(Problem::new(format!("a {} can't leave its invocation", name.to_string_lossy())));
    }
    if field(wit::RECORD_FIELD) != Value::Nil {
        return Ok(TableForm::Record);
    }
    Ok(if json::is_object(metatable) { TableForm::Object } else { TableForm::Plain })
}

/// Where the array in `table` ends. Any key behind which there is none may be a border: one that most keys
/// before are missing for is none of an array.
fn border(table: &LuaTable) -> mlua::Result<usize> {
    const SMALL: usize = 64;
    let border = table.raw_len();
    if border <= SMALL {
        return Ok(border);
    }
    Ok(if wit::count(table)? < border / 2 { 0 } else { border })
}

fn within(mut problem: Problem, step: String) -> Problem {
    problem.at.push(step);
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(lua: &Lua, source: &str) -> Value {
        lua.load(source).eval().unwrap()
    }

    fn table(lua: &Lua, source: &str) -> Table {
        match from_lua("v", &evaluate(lua, source)) {
            Ok(Data::Table(table)) => table,
            other => panic!("{source}: {other:?}"),
        }
    }

    /// Lists are made in parts, and those of few items at once.
    #[test]
    fn arrays_of_all_lengths_come_back() {
        let lua = Lua::new();
        for length in [0, 1, 3, 4, 64, 65, 99, 100, 101, 200, 250] {
            let source = format!("local t = {{}} for n = 1, {length} do t[n] = {{n, 'x'}} end return t");
            let data = table(&lua, &source);
            assert_eq!((data.array.len(), data.fields.len()), (length, 0));
            let back = to_lua(&lua, &Data::Table(data.clone())).unwrap();
            assert_eq!(from_lua("v", &back), Ok(Data::Table(data)), "{length}");
            let Value::Table(back) = back else { panic!("{length}") };
            assert_eq!((back.raw_len(), wit::count(&back).unwrap()), (length, length));
        }
    }

    #[test]
    fn holes_and_other_keys_are_kept() {
        let lua = Lua::new();
        let array = |items: &[i64]| -> Vec<Data> {
            let item = |item: &i64| if *item == 0 { Data::Nil } else { Data::Integer(*item) };
            items.iter().map(item).collect()
        };
        let x = || vec![(Data::from("x"), Data::Bool(true))];
        for (source, items, fields) in [
            ("{1, 2, nil, 4}", &[1, 2, 0, 4][..], vec![]),
            ("{nil, nil, 3, x = true}", &[0, 0, 3], x()),
            ("{1, 2, 3, 4, x = true}", &[1, 2, 3, 4], x()),
            ("{x = true}", &[], x()),
            ("setmetatable({1, 2}, {__index = function() return 3 end})", &[1, 2], vec![]),
        ] {
            let data = table(&lua, &format!("return {source}"));
            assert_eq!(data.array, array(items), "{source}");
            assert_eq!(data.fields, fields, "{source}");
            let back = to_lua(&lua, &Data::Table(data.clone())).unwrap();
            assert_eq!(from_lua("v", &back), Ok(Data::Table(data)), "{source}");
        }
        // Whichever border Lua sees, it is none if most keys before it are missing.
        let sparse = table(&lua, "local t = {} for k = 0, 20 do t[1 << k] = 1 end return t");
        let items = sparse.array.iter().filter(|item| **item != Data::Nil).count();
        assert!(sparse.array.len() <= 64 && items + sparse.fields.len() == 21, "{sparse:?}");
    }

    #[test]
    fn what_can_not_leave_is_named_by_its_path() {
        let lua = Lua::new();
        for (source, path) in [
            ("{1, print}", "v[2]"),
            ("{1, nil, print}", "v[3]"),
            ("{1, {2, print}}", "v[2][2]"),
            ("{1, x = print}", "v.x"),
        ] {
            let error = from_lua("v", &evaluate(&lua, &format!("return {source}"))).unwrap_err();
            assert_eq!(error.message(), format!("{path}: a function can't leave its invocation"));
        }
        let itself = from_lua("v", &evaluate(&lua, "local t = {} t[1] = t return t")).unwrap_err();
        assert!(itself.message().contains("a table nested deeper than 128, or in itself"), "{itself}");
    }
}
