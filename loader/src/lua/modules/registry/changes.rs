//! Changes that are collected, and the difference of two sets of entries.

use std::collections::BTreeMap;

use mlua::{AnyUserData, Lua, MultiValue, Table, UserData, UserDataMethods, Value};
use registry_schema::EntryId;

use super::unchangeable;
use crate::config::REGISTRY_CHANGES_MAX;
use crate::data::Data;
use crate::error::Error;
use crate::lua::host::Host;
use crate::lua::modules::arguments::{invalid, type_name};
use crate::lua::modules::held::{Share, hold};
use crate::lua::modules::permission::allowed;
use crate::lua::{convert, error};

/// An entry as Lua gives it.
#[derive(Debug, Clone)]
struct Given {
    id: String,
    kind: Option<String>,
    meta: Data,
    data: Data,
}

#[derive(Debug, Clone)]
struct Operation {
    kind: &'static str,
    entry: Given,
}

const CREATE: &str = "entry.create";
const UPDATE: &str = "entry.update";
const DELETE: &str = "entry.delete";

/// Operations that are not applied yet.
pub(super) struct Changes {
    host: Host,
    operations: Vec<Operation>,
    shares: Vec<Share>,
}

impl Changes {
    pub(super) fn new(host: Host) -> Self {
        Self { host, operations: Vec::new(), shares: Vec::new() }
    }

    fn push(&mut self, lua: &Lua, operation: Operation) -> Result<(), Error> {
        if self.operations.len() >= REGISTRY_CHANGES_MAX {
            return Err(invalid(format!("a changeset has {REGISTRY_CHANGES_MAX} operations at most")));
        }
        let Given { id, kind, meta, data } = &operation.entry;
        let bytes = id.len() + kind.as_ref().map_or(0, String::len) + meta.bytes() + data.bytes();
        self.shares.push(hold(lua, bytes)?);
        self.operations.push(operation);
        Ok(())
    }
}

impl UserData for Changes {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for (name, kind) in [("create", CREATE), ("update", UPDATE)] {
            methods.add_function(name, move |lua, (this, entry): (AnyUserData, Value)| {
                let entry = read_entry(&entry);
                chained(lua, this, entry.map(|entry| Operation { kind, entry }))
            });
        }
        methods.add_function("delete", |lua, (this, id): (AnyUserData, Value)| {
            let gone = |id| Operation {
                kind: DELETE,
                entry: Given { id, kind: None, meta: Data::Nil, data: Data::Nil },
            };
            chained(lua, this, read_id(&id).map(gone))
        });
        methods.add_method("ops", |lua, this, ()| operations(lua, &this.operations));
        methods.add_method("apply", |lua, this, ()| {
            let refused = match allowed(&this.host, "registry.apply", "")? {
                Ok(()) if this.operations.is_empty() => invalid("no changes to apply"),
                Ok(()) => unchangeable(),
                Err(error) => error,
            };
            error::pair(lua, refused)
        });
    }
}

/// The changes again, for the next call, or `nil, err`.
fn chained(lua: &Lua, this: AnyUserData, operation: Result<Operation, Error>) -> mlua::Result<MultiValue> {
    let changed = match operation {
        Ok(operation) => this.borrow_mut::<Changes>()?.push(lua, operation),
        Err(error) => Err(error),
    };
    match changed {
        Ok(()) => Ok(MultiValue::from_iter([Value::UserData(this)])),
        Err(error) => error::pair(lua, error),
    }
}

fn operations(lua: &Lua, operations: &[Operation]) -> mlua::Result<Table> {
    let all = lua.create_table_with_capacity(operations.len(), 0)?;
    for Operation { kind, entry } in operations {
        let made = lua.create_table_with_capacity(0, 4)?;
        made.raw_set("id", entry.id.as_str())?;
        made.raw_set("kind", entry.kind.as_deref())?;
        made.raw_set("meta", convert::to_lua(lua, &entry.meta)?)?;
        made.raw_set("data", convert::to_lua(lua, &entry.data)?)?;
        let operation = lua.create_table_with_capacity(0, 2)?;
        operation.raw_set("kind", *kind)?;
        operation.raw_set("entry", made)?;
        all.raw_push(operation)?;
    }
    Ok(all)
}

/// An id: `namespace:name`, or a table with `ns` and `name` or with `id`.
fn read_id(value: &Value) -> Result<String, Error> {
    let text = match value {
        Value::String(text) => text.to_string_lossy(),
        Value::Table(table) => {
            let field = |name: &str| match table.raw_get::<Value>(name) {
                Ok(Value::String(text)) => Some(text.to_string_lossy()),
                _ => None,
            };
            match (field("id"), field("ns"), field("name")) {
                (Some(id), ..) => id,
                (None, Some(namespace), Some(name)) => format!("{namespace}:{name}"),
                _ => return Err(invalid("an id must be a string or `{ns, name}`")),
            }
        }
        other => {
            return Err(invalid(format!(
                "an id must be a string or `{{ns, name}}`, got {}",
                type_name(other)
            )));
        }
    };
    match text.parse::<EntryId>() {
        Ok(id) => Ok(id.to_string()),
        Err(problem) => Err(invalid(format!("`{text}` is no id: {problem}"))),
    }
}

fn read_entry(value: &Value) -> Result<Given, Error> {
    let Value::Table(table) = value else {
        return Err(invalid(format!("an entry must be a table, got {}", type_name(value))));
    };
    let field = |name: &str| table.raw_get::<Value>(name).map_err(|error| invalid(error.to_string()));
    let id = read_id(&field("id")?).map_err(|error| error.wrapped("`id`"))?;
    let kind = match field("kind")? {
        Value::String(kind) if !kind.as_bytes().is_empty() => kind.to_string_lossy(),
        _ => return Err(invalid(format!("entry `{id}`: `kind` must be a string and not empty"))),
    };
    let meta = match field("meta")? {
        meta @ (Value::Nil | Value::Table(_)) => convert::from_lua("meta", &meta)?,
        other => {
            return Err(invalid(format!("entry `{id}`: `meta` must be a table, got {}", type_name(&other))));
        }
    };
    let data = convert::from_lua("data", &field("data")?)?;
    Ok(Given { id, kind: Some(kind), meta, data })
}

/// What leads from one set of entries to another: what is made and changed, then what goes, by id.
pub(super) fn build_delta(lua: &Lua, (from, to): (Value, Value)) -> mlua::Result<MultiValue> {
    let delta = read_entries("from_entries", &from)
        .and_then(|from| Ok((from, read_entries("to_entries", &to)?)))
        .and_then(|(from, to)| difference(&from, to));
    match delta {
        Ok(delta) => error::answer(lua, Ok(operations(lua, &delta)?)),
        Err(error) => error::pair(lua, error),
    }
}

fn read_entries(name: &str, value: &Value) -> Result<BTreeMap<String, Given>, Error> {
    let Value::Table(table) = value else {
        return Err(invalid(format!("`{name}` must be a table, got {}", type_name(value))));
    };
    let mut entries = BTreeMap::new();
    for item in table.sequence_values::<Value>() {
        let entry = read_entry(&item.map_err(|error| invalid(error.to_string()))?);
        let entry = entry.map_err(|error| error.wrapped(&format!("`{name}`")))?;
        entries.insert(entry.id.clone(), entry);
    }
    Ok(entries)
}

fn difference(from: &BTreeMap<String, Given>, to: BTreeMap<String, Given>) -> Result<Vec<Operation>, Error> {
    // As JSON, so that the order of a table's fields does not count.
    let json = |data: &Data| data.to_json().map_err(invalid);
    let mut operations = Vec::new();
    let gone = from.values().filter(|entry| !to.contains_key(&entry.id));
    let gone: Vec<_> = gone.map(|entry| Operation { kind: DELETE, entry: entry.clone() }).collect();
    for (id, entry) in to {
        let Some(before) = from.get(&id) else {
            operations.push(Operation { kind: CREATE, entry });
            continue;
        };
        let same = before.kind == entry.kind
            && json(&before.meta)? == json(&entry.meta)?
            && json(&before.data)? == json(&entry.data)?;
        if !same {
            operations.push(Operation { kind: UPDATE, entry });
        }
    }
    operations.extend(gone);
    Ok(operations)
}
