//! The module `security` (`en/lua/security/security.md`).
//!
//! What policies don't allow, and arguments that are none, are answered with `nil, err` of the kind
//! `INVALID`, as its page says; a scope that is built from another one needs the same permission as a new
//! one, since leaving a policy out may be what gives rights.

mod objects;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};
use registry_schema::{EntryId, EntryRef, ErrorKind};

pub(super) use self::objects::{actor_of, scope_of};

use self::objects::{ActorObject, PolicyObject, ScopeObject};
use self::tokens::TokenStoreObject;
use super::arguments::{invalid, string};
use super::blocking::blocking;
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::loader::Inner;
use crate::lua::host::{Answer, Host};
use crate::lua::{convert, error};
use crate::security::{Actor, Scope, check_meta};

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let own = host.clone();
    let actor = move |_: &Lua, ()| Ok(own.context()?.actor().cloned().map(ActorObject));
    module.set("actor", lua.create_function(actor)?)?;
    let own = host.clone();
    let scope = move |_: &Lua, ()| {
        let scope = own.context()?.scope().cloned();
        Ok(scope.map(|scope| ScopeObject { scope, host: own.clone() }))
    };
    module.set("scope", lua.create_function(scope)?)?;
    let own = host.clone();
    let can = move |lua: &Lua, (action, resource, meta): (Value, Value, Value)| match Caller::new(&own)
        .and_then(|caller| Ok((caller, Question::read(&action, &resource, &meta)?)))
    {
        Ok((caller, question)) => {
            let Question { action, resource, meta } = question;
            let allowed = caller.context.allows(&caller.inner.security, &action, &resource, &meta);
            Ok(MultiValue::from_iter([Value::Boolean(allowed)]))
        }
        Err(problem) => Ok(MultiValue::from_iter([Value::Boolean(false), error::to_lua(lua, problem)?])),
    };
    module.set("can", lua.create_function(can)?)?;
    let own = host.clone();
    let new_actor = move |lua: &Lua, (id, meta): (Value, Value)| {
        let actor = new_actor(&own, &id, &meta);
        error::answer(lua, actor.map(|actor| ActorObject(Arc::new(actor))))
    };
    module.set("new_actor", lua.create_function(new_actor)?)?;
    let own = host.clone();
    let new_scope = move |lua: &Lua, policies: Value| {
        let scope = new_scope(&own, &policies);
        error::answer(lua, scope.map(|scope| ScopeObject { scope: Arc::new(scope), host: own.clone() }))
    };
    module.set("new_scope", lua.create_function(new_scope)?)?;
    module.set("policy", host.waiting(lua, |lua, host, id: Value| policy(lua, host, &id))?)?;
    module.set("named_scope", host.waiting(lua, |lua, host, id: Value| named_scope(lua, host, &id))?)?;
    module.set("token_store", host.waiting(lua, |lua, host, id: Value| token_store(lua, host, &id))?)?;
    Ok(module)
}

/// Who asks.
struct Caller {
    inner: Arc<Inner>,
    context: Context,
    entry: Arc<EntryId>,
}

impl Caller {
    fn new(host: &Host) -> Result<Self, Error> {
        let caller = host.with(|current| Self {
            inner: Arc::clone(&current.inner),
            context: current.context.clone(),
            entry: Arc::clone(&current.entry),
        });
        caller.map_err(|_| Error::new(ErrorKind::Internal, "no context is available"))
    }

    /// Checks that the caller may do `action` to `resource`.
    fn permit(&self, action: &str, resource: &str) -> Result<(), Error> {
        let checked = self.context.check(&self.inner.security, action, resource, &Data::Nil);
        checked.map_err(|error| invalid(error.message()))
    }

    /// The id in `value`: without a namespace that of the entry that runs.
    fn id(&self, value: &Value, name: &str) -> Result<EntryId, Error> {
        let text = text(value, name)?;
        let reference: EntryRef = text.parse().map_err(|problem| invalid(format!("`{name}`: {problem}")))?;
        Ok(reference.resolve(self.entry.namespace()))
    }

    /// The id in `value`, if the caller may do `action` to what it names.
    fn permitted(host: &Host, action: &str, value: &Value) -> Result<(Self, EntryId), Error> {
        let caller = Self::new(host)?;
        let id = caller.id(value, "id")?;
        caller.permit(action, &id.to_string())?;
        Ok((caller, id))
    }
}

/// What is asked of a policy, a scope or the context.
struct Question {
    action: String,
    resource: String,
    meta: Data,
}

impl Question {
    fn read(action: &Value, resource: &Value, meta: &Value) -> Result<Self, Error> {
        let meta = metadata(meta, "meta")?;
        check_meta("`meta`", &meta)?;
        Ok(Self { action: text(action, "action")?, resource: text(resource, "resource")?, meta })
    }
}

fn text(value: &Value, name: &str) -> Result<String, Error> {
    let text = string(value, name)?.to_str();
    text.map(|text| text.to_owned()).map_err(|_| invalid(format!("`{name}` must be UTF-8")))
}

fn metadata(value: &Value, name: &str) -> Result<Data, Error> {
    match value {
        Value::Nil => Ok(Data::Nil),
        Value::Table(_) => convert::from_lua(name, value),
        value => {
            Err(invalid(format!("`{name}` must be a table, got {}", super::arguments::type_name(value))))
        }
    }
}

fn new_actor(host: &Host, id: &Value, meta: &Value) -> Result<Actor, Error> {
    let caller = Caller::new(host)?;
    let actor = Actor::new(text(id, "id")?, metadata(meta, "meta")?)?;
    caller.permit("security.actor.create", actor.id())?;
    Ok(actor)
}

/// Checks that a scope may be made.
fn permit_scope(host: &Host) -> Result<(), Error> {
    Caller::new(host)?.permit("security.scope.create", "custom")
}

fn new_scope(host: &Host, policies: &Value) -> Result<Scope, Error> {
    permit_scope(host)?;
    let policies = match policies {
        Value::Nil => return Ok(Scope::default()),
        Value::Table(policies) => policies,
        value => {
            let found = super::arguments::type_name(value);
            return Err(invalid(format!("`policies` must be an array of policies, got {found}")));
        }
    };
    let raw = |problem: mlua::Error| Error::new(ErrorKind::Internal, problem.to_string());
    // A policy that is left out because of how it is given may be the one that denies.
    if policies.pairs::<Value, Value>().count() != policies.raw_len() {
        return Err(invalid("`policies` must be an array without holes"));
    }
    let all = (1..=policies.raw_len()).map(|index| {
        let value: Value = policies.raw_get(index).map_err(raw)?;
        objects::policy_of(&value, &format!("policies[{index}]"))
    });
    all.collect()
}

/// Answers with an object.
fn now(lua: &Lua, object: impl mlua::IntoLua) -> mlua::Result<Answer> {
    Ok(Answer::Now(error::answer(lua, Ok(object))?))
}

fn unknown(what: &str, id: &EntryId) -> Error {
    Error::new(ErrorKind::Internal, format!("the {what} `{id}` was not found"))
}

fn policy(lua: &Lua, host: &Host, id: &Value) -> mlua::Result<Answer> {
    let (Caller { inner, .. }, id) = match Caller::permitted(host, "security.policy.get", id) {
        Ok(permitted) => permitted,
        Err(problem) => return Ok(Answer::Now(error::pair(lua, problem)?)),
    };
    if let Some(policy) = inner.security.known_policy(&id) {
        return now(lua, PolicyObject(policy));
    }
    let found = blocking(move || {
        inner.security.policy(&inner, &id)?.map(PolicyObject).ok_or_else(|| unknown("policy", &id))
    });
    Ok(Answer::later(found, error::answer))
}

fn named_scope(lua: &Lua, host: &Host, id: &Value) -> mlua::Result<Answer> {
    let (Caller { inner, .. }, id) = match Caller::permitted(host, "security.policy_group.get", id) {
        Ok(permitted) => permitted,
        Err(problem) => return Ok(Answer::Now(error::pair(lua, problem)?)),
    };
    let host = host.clone();
    if let Some(scope) = inner.security.known_group(&id) {
        return now(lua, ScopeObject { scope, host });
    }
    let found =
        blocking(move || inner.security.group(&inner, &id)?.ok_or_else(|| unknown("policy group", &id)));
    Ok(Answer::later(found, |lua, found| error::answer(lua, found.map(|scope| ScopeObject { scope, host }))))
}

fn token_store(lua: &Lua, host: &Host, id: &Value) -> mlua::Result<Answer> {
    let (Caller { inner, .. }, id) = match Caller::permitted(host, "security.token_store.get", id) {
        Ok(permitted) => permitted,
        Err(problem) => return Ok(Answer::Now(error::pair(lua, problem)?)),
    };
    let host = host.clone();
    if let Some(store) = inner.security.known_token_store(&id) {
        return now(lua, TokenStoreObject::new(store, host));
    }
    let found =
        blocking(move || inner.security.token_store(&inner, &id)?.ok_or_else(|| unknown("token store", &id)));
    Ok(Answer::later(found, |lua, found| {
        error::answer(lua, found.map(|store| TokenStoreObject::new(store, host)))
    }))
}
