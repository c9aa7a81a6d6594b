//! Actors, policies and scopes as Lua has them: nothing changes them.

use std::sync::Arc;

use mlua::{Lua, MultiValue, UserData, UserDataMethods, Value};

use super::super::arguments::{invalid, type_name};
use super::{Caller, Question, permit_scope};
use crate::error::Error;
use crate::lua::host::Host;
use crate::lua::{convert, error};
use crate::security::{Actor, Policy, Scope};

pub(super) struct ActorObject(pub(super) Arc<Actor>);

pub(super) struct PolicyObject(pub(super) Arc<Policy>);

pub(super) struct ScopeObject {
    pub(super) scope: Arc<Scope>,
    pub(super) host: Host,
}

/// The actor in `value`, if it is one.
pub(in crate::lua::modules) fn actor_of(value: &Value) -> Option<Arc<Actor>> {
    let object = value.as_userdata()?.borrow::<ActorObject>().ok()?;
    Some(Arc::clone(&object.0))
}

/// The scope in `value`, if it is one.
pub(in crate::lua::modules) fn scope_of(value: &Value) -> Option<Arc<Scope>> {
    let object = value.as_userdata()?.borrow::<ScopeObject>().ok()?;
    Some(Arc::clone(&object.scope))
}

/// The policy in `value`.
pub(super) fn policy_of(value: &Value, name: &str) -> Result<Arc<Policy>, Error> {
    let object = value.as_userdata().and_then(|object| object.borrow::<PolicyObject>().ok());
    let policy = object.map(|object| Arc::clone(&object.0));
    policy.ok_or_else(|| invalid(format!("`{name}` must be a policy, got {}", type_name(value))))
}

impl UserData for ActorObject {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("id", |lua, this, ()| lua.create_string(this.0.id()));
        methods.add_method("meta", |lua, this, ()| convert::to_lua(lua, this.0.meta()));
    }
}

impl UserData for PolicyObject {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("id", |_, this, ()| Ok(this.0.id().to_string()));
        methods.add_method("evaluate", |lua, this, args| {
            let decision = Asked::read(args).map(|asked| {
                let Asked { actor, question } = asked;
                this.0.evaluate(actor.as_deref(), &question.action, &question.resource, &question.meta)
            });
            error::answer(lua, decision.map(|decision| decision.as_str()))
        });
    }
}

impl UserData for ScopeObject {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("with", |lua, this, policy: Value| {
            let scope = permit_scope(&this.host).and_then(|()| policy_of(&policy, "policy"));
            this.changed(lua, scope.map(|policy| this.scope.with(policy)))
        });
        methods.add_method("without", |lua, this, policy: Value| {
            let id = permit_scope(&this.host).and_then(|()| this.id(&policy));
            this.changed(lua, id.map(|id| this.scope.without(&id)))
        });
        methods.add_method("contains", |lua, this, policy: Value| {
            error::answer(lua, this.id(&policy).map(|id| this.scope.contains(&id)))
        });
        methods.add_method("policies", |_, this, ()| {
            Ok(this.scope.policies().iter().cloned().map(PolicyObject).collect::<Vec<_>>())
        });
        methods.add_method("evaluate", |lua, this, args| {
            let decision = Asked::read(args).map(|asked| {
                let Asked { actor, question } = asked;
                this.scope.evaluate(actor.as_deref(), &question.action, &question.resource, &question.meta)
            });
            error::answer(lua, decision.map(|decision| decision.as_str()))
        });
    }
}

impl ScopeObject {
    fn changed(&self, lua: &Lua, scope: Result<Scope, Error>) -> mlua::Result<MultiValue> {
        let host = self.host.clone();
        error::answer(lua, scope.map(|scope| Self { scope: Arc::new(scope), host }))
    }

    /// The id of a policy, given as such or as the policy itself.
    fn id(&self, policy: &Value) -> Result<registry_schema::EntryId, Error> {
        match policy {
            Value::UserData(_) => policy_of(policy, "policy").map(|policy| policy.id().clone()),
            id => Caller::new(&self.host)?.id(id, "policy"),
        }
    }
}

/// The arguments of `evaluate`; nobody may be the actor.
struct Asked {
    actor: Option<Arc<Actor>>,
    question: Question,
}

impl Asked {
    fn read((actor, action, resource, meta): (Value, Value, Value, Value)) -> Result<Self, Error> {
        let who = match &actor {
            Value::Nil => None,
            actor => Some(actor_of(actor).ok_or_else(|| not_an_actor(actor))?),
        };
        Ok(Self { actor: who, question: Question::read(&action, &resource, &meta)? })
    }
}

pub(super) fn not_an_actor(value: &Value) -> Error {
    invalid(format!("`actor` must be an actor, got {}", type_name(value)))
}
