//! Token stores as Lua has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mlua::{MultiValue, Table, UserData, UserDataMethods, Value};
use registry_schema::ErrorKind;
use registry_schema::authored::duration::Duration as Written;

use super::super::arguments::{invalid, type_name};
use super::objects::{ActorObject, ScopeObject, actor_of, not_an_actor, scope_of};
use super::{Caller, metadata, text};
use crate::data::Data;
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::Host;
use crate::security::{Token, TokenStore};

pub(super) struct TokenStoreObject {
    store: Arc<TokenStore>,
    host: Host,
    closed: AtomicBool,
}

impl TokenStoreObject {
    pub(super) fn new(store: Arc<TokenStore>, host: Host) -> Self {
        Self { store, host, closed: AtomicBool::new(false) }
    }

    /// The store, if it is open and the caller may do `action` to it.
    fn permitted(&self, action: &str) -> Result<&TokenStore, Error> {
        if self.closed.load(Ordering::Relaxed) {
            let message = format!("the token store `{}` was closed", self.store.id());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        Caller::new(&self.host)?.permit(action, &self.store.id().to_string())?;
        Ok(&self.store)
    }

    fn create(&self, actor: &Value, scope: &Value, options: &Value) -> Result<String, Error> {
        let store = self.permitted("security.token.create")?;
        let actor = actor_of(actor).ok_or_else(|| not_an_actor(actor))?;
        let scope = scope_of(scope)
            .ok_or_else(|| invalid(format!("`scope` must be a scope, got {}", type_name(scope))))?;
        let Options { life, meta } = match options {
            Value::Nil => Options { life: None, meta: Data::Nil },
            Value::Table(options) => Options::read(options)?,
            value => return Err(invalid(format!("`options` must be a table, got {}", type_name(value)))),
        };
        store.create(actor, scope, life, meta)
    }

    fn validate(&self, token: &Value) -> Result<Arc<Token>, Error> {
        let store = self.permitted("security.token.validate")?;
        let token = text(token, "token")?;
        store.validate(&token).ok_or_else(|| Error::new(ErrorKind::Internal, "the token is not valid"))
    }

    fn revoke(&self, token: &Value) -> Result<bool, Error> {
        let store = self.permitted("security.token.revoke")?;
        Ok(store.revoke(&text(token, "token")?))
    }
}

impl UserData for TokenStoreObject {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("create", |lua, this, (actor, scope, options): (Value, Value, Value)| {
            error::answer(lua, this.create(&actor, &scope, &options))
        });
        methods.add_method("validate", |lua, this, token: Value| match this.validate(&token) {
            Ok(token) => {
                let actor = lua.create_userdata(ActorObject(Arc::clone(token.actor())))?;
                let scope = ScopeObject { scope: Arc::clone(token.scope()), host: this.host.clone() };
                let scope = lua.create_userdata(scope)?;
                Ok(MultiValue::from_iter([Value::UserData(actor), Value::UserData(scope), Value::Nil]))
            }
            Err(problem) => Ok(MultiValue::from_iter([Value::Nil, Value::Nil, error::to_lua(lua, problem)?])),
        });
        methods.add_method("revoke", |lua, this, token: Value| error::answer(lua, this.revoke(&token)));
        methods.add_method("close", |_, this, ()| {
            this.closed.store(true, Ordering::Relaxed);
            Ok(true)
        });
    }
}

/// The options of a new token.
struct Options {
    life: Option<Duration>,
    meta: Data,
}

impl Options {
    fn read(options: &Table) -> Result<Self, Error> {
        let (mut life, mut meta) = (None, Data::Nil);
        for pair in options.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|problem| invalid(problem.to_string()))?;
            match text(&key, "option")?.as_str() {
                "expiration" => life = Some(expiration(&value)?),
                "meta" => meta = metadata(&value, "meta")?,
                // One that was meant to end a token earlier must not be dropped.
                key => {
                    return Err(invalid(format!(
                        "there is no option `{key}`: there are `expiration` and `meta`"
                    )));
                }
            }
        }
        Ok(Self { life, meta })
    }
}

/// A length of time: a number of milliseconds, or text such as `90s` and, beyond Go's units, `7d`.
fn expiration(value: &Value) -> Result<Duration, Error> {
    let life = match value {
        Value::Integer(milliseconds) => u64::try_from(*milliseconds).ok().map(Duration::from_millis),
        Value::Number(milliseconds) => Duration::try_from_secs_f64(milliseconds / 1000.0).ok(),
        Value::String(text) => text.to_str().ok().and_then(|text| written(&text)),
        _ => None,
    };
    life.filter(|life| !life.is_zero()).ok_or_else(|| {
        let found = match value {
            Value::String(text) => format!("`{}`", text.to_string_lossy()),
            Value::Integer(number) => format!("`{number}`"),
            Value::Number(number) => format!("`{number}`"),
            value => type_name(value).to_owned(),
        };
        invalid(format!(
            "`expiration` must be a duration above 0 such as `24h`, `7d` or milliseconds, got {found}"
        ))
    })
}

fn written(text: &str) -> Option<Duration> {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) if days.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Duration::from_secs(days.parse::<u64>().ok()?.checked_mul(DAY_SECONDS)?), rest)
        }
        _ => (Duration::ZERO, text),
    };
    let rest = match rest {
        "" if !days.is_zero() => Duration::ZERO,
        rest => rest.parse::<Written>().ok()?.get(),
    };
    days.checked_add(rest)
}
