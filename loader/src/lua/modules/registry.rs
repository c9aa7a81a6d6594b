//! The module `registry` (`en/lua/core/registry.md`), over the entries of the bundle.
//!
//! A bundle is one version, number 1: nothing changes while it is served. So a snapshot is the bundle
//! itself, changes can be collected, and applying them is `UNAVAILABLE`. Entries are as their author wrote
//! them, placeholders unresolved, but for Lua: the source is the one that runs, without its types, and ids in
//! `imports` are whole. One entry is found at once; what reads all of them reads on a thread that may block.

mod changes;
mod filter;
mod payload;

use mlua::{
    AnyUserData, Lua, MetaMethod, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value,
};
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, ErrorKind};

use self::changes::Changes;
use self::filter::Filter;
use self::payload::Payload;
use super::arguments::{bad, invalid, string};
use super::held::{Held, hold_or_raise};
use super::permission::allowed;
use crate::data::Data;
use crate::error::Error;
use crate::lua::host::{Answer, Host};
use crate::lua::{convert, error};

/// The version that a bundle is.
const VERSION: i64 = 1;
/// About what an entry takes while all are read, in bytes.
const ENTRY_BYTES: usize = 2 << 10;
/// Name in the registry of Lua of the methods of snapshots.
const SNAPSHOT_METHODS: &str = "registry.snapshot";

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    module.set("parse_id", lua.create_function(|lua, id: Value| parse_id(lua, &id))?)?;
    let own = host.clone();
    let function = lua.create_function(move |lua, id: Value| get(lua, &own, &id))?;
    module.set("get", function)?;
    let function =
        host.waiting(lua, |lua, host, filter: Value| find(lua, host, &filter, Errors::Answered))?;
    module.set("find", function)?;
    module.set("build_delta", lua.create_function(changes::build_delta)?)?;
    add_versions(lua, host, &module)?;

    let methods = lua.create_table()?;
    let own = host.clone();
    let function = lua.create_function(move |lua, (this, id): (AnyUserData, Value)| {
        this.borrow::<Snapshot>()?;
        get(lua, &own, &id)
    })?;
    methods.set("get", function)?;
    let function = host.waiting(lua, |lua, host, this: AnyUserData| {
        this.borrow::<Snapshot>()?;
        read(lua, host, Filter::default(), Errors::Answered)
    })?;
    methods.set("entries", function)?;
    let function = host.waiting(lua, |lua, host, (this, filter): (AnyUserData, Value)| {
        this.borrow::<Snapshot>()?;
        find(lua, host, &filter, Errors::Raised)
    })?;
    methods.set("find", function)?;
    let function = host.waiting(lua, |lua, host, (this, namespace): (AnyUserData, Value)| {
        this.borrow::<Snapshot>()?;
        let Value::String(name) = &namespace else { return Err(bad(1, "namespace", "string", &namespace)) };
        read(lua, host, Filter::namespace(name.to_string_lossy()), Errors::Raised)
    })?;
    methods.set("namespace", function)?;
    lua.set_named_registry_value(SNAPSHOT_METHODS, methods)?;
    Ok(module)
}

fn add_versions(lua: &Lua, host: &Host, module: &Table) -> mlua::Result<()> {
    let snapshot = |host: &Host| Snapshot { host: host.clone() };
    let own = host.clone();
    let current = lua.create_function(move |lua, ()| error::answer(lua, Ok(snapshot(&own))))?;
    module.set("snapshot", current)?;
    let own = host.clone();
    let at = lua.create_function(move |lua, version: Value| {
        error::answer(lua, known_version(&version).map(|_| snapshot(&own)))
    })?;
    module.set("snapshot_at", at)?;
    let current = lua.create_function(|lua, ()| error::answer(lua, Ok(Version)))?;
    module.set("current_version", current)?;
    let versions = lua.create_function(|lua, ()| error::answer(lua, Ok(vec![Version])))?;
    module.set("versions", versions)?;
    let own = host.clone();
    let history =
        lua.create_function(move |lua, ()| error::answer(lua, Ok(History { host: own.clone() })))?;
    module.set("history", history)?;
    let own = host.clone();
    let apply = lua.create_function(move |lua, version: Value| {
        let refused = match is_version(&version) {
            true => allowed(&own, "registry.apply_version", "")?.err().unwrap_or_else(unchangeable),
            false => invalid("`version` must be a Version"),
        };
        error::pair(lua, refused)
    })?;
    module.set("apply_version", apply)
}

/// Why nothing is applied.
fn unchangeable() -> Error {
    let message = "live registry changes are not offered: build a new bundle and load it";
    Error::new(ErrorKind::Unavailable, message)
}

fn parse_id(lua: &Lua, id: &Value) -> mlua::Result<Table> {
    let Value::String(id) = id else { return Err(bad(1, "parse_id", "string", id)) };
    let id = id.to_string_lossy();
    let (namespace, name) = id.split_once(':').unwrap_or(("", &id));
    lua.create_table_from([("ns", namespace), ("name", name)])
}

fn get(lua: &Lua, host: &Host, id: &Value) -> mlua::Result<MultiValue> {
    let id = match string(id, "id") {
        Ok(id) => id.to_string_lossy(),
        Err(error) => return error::pair(lua, error),
    };
    if let Err(error) = allowed(host, "registry.get", &id)? {
        return error::pair(lua, error);
    }
    let inner = host.inner()?;
    let missing = || Error::new(ErrorKind::NotFound, format!("entry `{id}` not found"));
    // What is no id is nobody's.
    let found = id.parse::<EntryId>().map_err(|_| missing());
    let found =
        found.and_then(|id| Ok(inner.bundle.manifest().entry(&id)?)).and_then(|it| it.ok_or_else(missing));
    let held = Held::of(lua);
    match found.and_then(|entry| Ok((payload::of(&inner.bundle, &entry, &held)?, entry))) {
        Ok((payload, entry)) => error::answer(lua, Ok(to_lua(lua, &entry, &payload.data)?)),
        Err(error) => error::pair(lua, error),
    }
}

/// What becomes of an error of a function that finds entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// It is the second value.
    Answered,
    /// It is raised: the function is documented to give nothing but entries.
    Raised,
}

fn find(lua: &Lua, host: &Host, filter: &Value, errors: Errors) -> mlua::Result<Answer> {
    let filter = match filter {
        Value::Table(filter) => Filter::read(filter),
        other => {
            Err(invalid(format!("`filter` must be a table, got {}", super::arguments::type_name(other))))
        }
    };
    match (filter, errors) {
        (Ok(filter), errors) => read(lua, host, filter, errors),
        (Err(error), Errors::Answered) => Ok(Answer::Now(error::pair(lua, error)?)),
        (Err(error), Errors::Raised) => Err(mlua::Error::external(error)),
    }
}

/// Every entry that `filter` takes and the invocation may see, sorted by id.
fn read(lua: &Lua, host: &Host, filter: Filter, errors: Errors) -> mlua::Result<Answer> {
    let (inner, host) = (host.inner()?, host.clone());
    let share = hold_or_raise(lua, inner.bundle.manifest().entry_count() * ENTRY_BYTES)?;
    let held = Held::of(lua);
    let reading = tokio::task::spawn_blocking(move || {
        let entries = inner.bundle.manifest().entries().filter(|entry| match entry {
            Ok(entry) => filter.takes(entry),
            Err(_) => true,
        });
        let entries = entries.map(|entry| {
            let entry = entry.map_err(Error::from)?;
            Ok((payload::of(&inner.bundle, &entry, &held)?, entry))
        });
        entries.collect::<Result<Vec<(Payload, Entry)>, Error>>()
    });
    Ok(Answer::later(reading, move |lua, read| {
        let ended =
            |error| Err(Error::new(ErrorKind::Internal, format!("the entries can't be read: {error}")));
        let entries = match (read.unwrap_or_else(ended), errors) {
            (Ok(entries), _) => entries,
            (Err(error), Errors::Answered) => return error::pair(lua, error),
            (Err(error), Errors::Raised) => return Err(mlua::Error::external(error)),
        };
        let _share = share;
        let found = lua.create_table()?;
        for (payload, entry) in &entries {
            if allowed(&host, "registry.get", &entry.id.to_string())?.is_ok() {
                found.raw_push(to_lua(lua, entry, &payload.data)?)?;
            }
        }
        Ok(MultiValue::from_iter([Value::Table(found), Value::Nil]))
    }))
}

fn to_lua(lua: &Lua, entry: &Entry, data: &serde_json::Value) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("id", entry.id.to_string())?;
    table.raw_set("kind", entry.kind.as_str())?;
    table.raw_set("meta", convert::to_lua(lua, &Data::from(&entry.meta))?)?;
    table.raw_set("data", convert::to_lua(lua, &Data::from(data))?)?;
    Ok(table)
}

/// The bundle as it is, and as it will be.
struct Snapshot {
    host: Host,
}

impl UserData for Snapshot {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field_with(MetaMethod::Index, |lua| {
            lua.named_registry_value::<Table>(SNAPSHOT_METHODS)
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("version", |_, _, ()| Ok(Version));
        methods.add_method("changes", |_, this, ()| Ok(Changes::new(this.host.clone())));
    }
}

/// The only version.
#[derive(Clone, Copy)]
struct Version;

impl UserData for Version {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("id", |_, _, ()| Ok(VERSION));
        methods.add_method("string", |_, _, ()| Ok(format!("v{VERSION}")));
        methods.add_method("previous", |_, _, ()| Ok(Value::Nil));
        methods.add_method("next", |_, _, ()| Ok(Value::Nil));
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok(format!("v{VERSION}")));
        methods.add_meta_function(MetaMethod::Eq, |_, (a, b): (Value, Value)| {
            Ok(is_version(&a) && is_version(&b))
        });
    }
}

fn is_version(value: &Value) -> bool {
    value.as_userdata().is_some_and(|object| object.is::<Version>())
}

/// The version of a number.
fn known_version(id: &Value) -> Result<Version, Error> {
    let number = match id {
        Value::Integer(number) => Some(*number),
        Value::Number(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    };
    match number {
        Some(VERSION) => Ok(Version),
        Some(number) if number > 0 => Err(Error::new(
            ErrorKind::NotFound,
            format!("version {number} not found: a bundle has one version"),
        )),
        _ => Err(invalid("the version must be an integer above 0")),
    }
}

struct History {
    host: Host,
}

impl UserData for History {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("versions", |lua, _, ()| error::answer(lua, Ok(vec![Version])));
        methods.add_method("get_version", |lua, _, id: Value| error::answer(lua, known_version(&id)));
        methods.add_method("snapshot_at", |lua, this, version: Value| {
            let known = if is_version(&version) { Ok(Version) } else { known_version(&version) };
            error::answer(lua, known.map(|_| Snapshot { host: this.host.clone() }))
        });
    }
}

#[cfg(test)]
mod tests;
