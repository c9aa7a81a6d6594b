//! The module `env` (`en/lua/system/env.md`): the variables of the environment registry.
//!
//! A variable has a public name and an id; in its own namespace its name is enough. Policies may name it by
//! either: it is denied if one of them is, and allowed if one of them is.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlua::{Lua, Table, Value};
use registry_schema::{EntryId, ErrorKind};

use super::arguments::{invalid, string};
use super::blocking::blocking;
use crate::context::Context;
use crate::data::Data;
use crate::environment::Environment;
use crate::error::Error;
use crate::loader::Inner;
use crate::lua::error;
use crate::lua::host::{Answer, Host};

const GET: &str = "env.get";
const SET: &str = "env.set";

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let get = host.waiting(lua, |lua, host, key: Value| match text(&key, "key") {
        Err(problem) => Ok(Answer::Now(error::pair(lua, problem)?)),
        Ok(key) => {
            let caller = Caller::new(host)?;
            Ok(Answer::later(blocking(move || caller.get(&key)), error::answer))
        }
    })?;
    module.set("get", get)?;
    let set = host.waiting(lua, |lua, host, (key, value): (Value, Value)| {
        match text(&key, "key").and_then(|key| Ok((key, any_text(&value, "value")?))) {
            Err(problem) => Ok(Answer::Now(error::pair(lua, problem)?)),
            Ok((key, value)) => {
                let caller = Caller::new(host)?;
                Ok(Answer::later(blocking(move || caller.set(&key, &value)), error::answer))
            }
        }
    })?;
    module.set("set", set)?;
    let get_all = host.waiting(lua, |_, host, ()| {
        let caller = Caller::new(host)?;
        Ok(Answer::later(blocking(move || caller.get_all()), error::answer))
    })?;
    module.set("get_all", get_all)?;
    Ok(module)
}

/// Text of an argument that must not be empty.
fn text(value: &Value, name: &str) -> Result<String, Error> {
    match any_text(value, name)? {
        text if text.is_empty() => Err(invalid(format!("`{name}` must not be empty"))),
        text => Ok(text),
    }
}

fn any_text(value: &Value, name: &str) -> Result<String, Error> {
    let text = string(value, name)?.to_str();
    text.map(|text| text.to_owned()).map_err(|_| invalid(format!("`{name}` must be UTF-8")))
}

/// Who asks.
struct Caller {
    inner: Arc<Inner>,
    context: Context,
    entry: Arc<EntryId>,
}

impl Caller {
    fn new(host: &Host) -> mlua::Result<Self> {
        Ok(Self { inner: host.inner()?, context: host.context()?, entry: host.entry()? })
    }

    /// The variable `key`, if the caller may do `action` to it.
    fn find(&self, environment: &Environment<'_>, action: &str, key: &str) -> Result<EntryId, Error> {
        let Some(id) = environment.find(self.entry.namespace(), key)? else {
            // Whoever may not ask is not told what there is.
            self.context.check(&self.inner.security, action, key, &Data::Nil)?;
            return Err(missing(key));
        };
        if self.may(environment, action, &id)? { Ok(id) } else { Err(self.context.denied(action, key)) }
    }

    fn may(&self, environment: &Environment<'_>, action: &str, id: &EntryId) -> Result<bool, Error> {
        let public = environment.public_name(id)?;
        let id = id.to_string();
        let names: Vec<&str> = public.as_deref().into_iter().chain([id.as_str()]).collect();
        Ok(self.context.allows_known_as(&self.inner.security, action, &names))
    }

    fn get(&self, key: &str) -> Result<String, Error> {
        let environment = self.inner.environment();
        let id = self.find(&environment, GET, key)?;
        environment.variable(&id)?.ok_or_else(|| missing(key))
    }

    fn set(&self, key: &str, value: &str) -> Result<bool, Error> {
        let environment = self.inner.environment();
        let id = self.find(&environment, SET, key)?;
        environment.set(&id, value).map(|()| true)
    }

    /// Those that have a public name, a value and the caller's leave; what can't be read has no value.
    fn get_all(&self) -> Result<BTreeMap<String, String>, Error> {
        let environment = self.inner.environment();
        let mut all = BTreeMap::new();
        for (name, id) in environment.names()? {
            if self.may(&environment, GET, id).is_ok_and(|may| may)
                && let Ok(Some(value)) = environment.variable(id)
            {
                all.insert(name.clone(), value);
            }
        }
        Ok(all)
    }
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the variable `{key}` was not found"))
}

#[cfg(test)]
mod tests;
