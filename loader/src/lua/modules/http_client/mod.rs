//! The module `http_client` (`en/lua/http/client.md`).
//!
//! Requests go through the connector that guests use as well (`egress/`), one by one: every redirect is checked
//! like a request of its own.

mod exchange;
mod form;
mod options;
mod response;

use std::sync::Arc;

use futures_util::StreamExt;
use mlua::{Lua, MultiValue, Table, Value};
use registry_schema::ErrorKind;

use self::exchange::{Answered, Caller};
use self::options::{Asked, Wanted};
use super::arguments::{invalid, string, type_name};
use super::held::Held;
use super::stream;
use crate::config::{HTTP_BATCH_AT_ONCE, HTTP_BATCH_MAX};
use crate::egress::{Egress, Rules};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Host};

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    stream::add_methods(lua, host)?;
    let module = lua.create_table()?;
    for name in ["get", "post", "put", "patch", "delete", "head"] {
        let method = name.to_ascii_uppercase();
        let function = host.waiting(lua, move |lua, host, (url, options): (Value, Value)| {
            let method = Value::String(lua.create_string(&method)?);
            request(lua, host, &method, &url, &options)
        })?;
        module.set(name, function)?;
    }
    let function = host.waiting(lua, |lua, host, (method, url, options): (Value, Value, Value)| {
        request(lua, host, &method, &url, &options)
    })?;
    module.set("request", function)?;
    module.set("request_batch", host.waiting(lua, |lua, host, all: Value| batch(lua, host, &all))?)?;
    let function = lua.create_function(|lua, text: Value| match string(&text, "text") {
        Ok(text) => Ok(Value::String(lua.create_string(form::escape(&text.as_bytes()))?)),
        Err(error) => Err(mlua::Error::external(error)),
    })?;
    module.set("encode_uri", function)?;
    let function = lua.create_function(|lua, text: Value| {
        let decoded = string(&text, "text").and_then(|text| form::unescape(&text.as_bytes()));
        error::answer(
            lua,
            decoded.and_then(|bytes| {
                lua.create_string(bytes).map_err(|e| error::of_value(&Value::Error(Box::new(e))))
            }),
        )
    })?;
    module.set("decode_uri", function)?;
    Ok(module)
}

/// Who asks.
fn caller(lua: &Lua, host: &Host) -> mlua::Result<Caller> {
    let (inner, entry, context) = (host.inner()?, host.entry()?, host.context()?);
    let rules = Rules::new(Arc::downgrade(&inner), context, None);
    Ok(Caller { inner, entry, rules, held: Held::of(lua) })
}

fn request(lua: &Lua, host: &Host, method: &Value, url: &Value, options: &Value) -> mlua::Result<Answer> {
    let caller = caller(lua, host)?;
    let asked = match Asked::read(lua, &caller.inner.egress, method, url, options) {
        Ok(asked) => asked,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    Ok(Answer::later(async move { caller.ask(asked).await }, |lua, answered| match answered {
        Ok(answered) => answer(lua, answered),
        Err(error) => error::pair(lua, error),
    }))
}

fn answer(lua: &Lua, answered: Answered) -> mlua::Result<MultiValue> {
    match response::table(lua, answered)? {
        Ok(table) => error::answer(lua, Ok(table)),
        Err(error) => error::pair(lua, error),
    }
}

/// What one of a batch gave.
type Outcome = Result<Answered, Error>;

fn batch(lua: &Lua, host: &Host, all: &Value) -> mlua::Result<Answer> {
    let caller = caller(lua, host)?;
    let asked = match read_batch(lua, &caller.inner.egress, all) {
        Ok(asked) => asked,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let run = async move {
        let asking = asked.into_iter().map(|asked| {
            let caller = caller.clone();
            async move { caller.ask(asked?).await }
        });
        futures_util::stream::iter(asking).buffered(HTTP_BATCH_AT_ONCE).collect::<Vec<Outcome>>().await
    };
    Ok(Answer::later(run, both))
}

/// The requests of a batch, each with its own fault if it has one.
fn read_batch(lua: &Lua, egress: &Egress, all: &Value) -> Result<Vec<Result<Asked, Error>>, Error> {
    let Value::Table(all) = all else {
        return Err(invalid(format!("`requests` must be a table, got {}", type_name(all))));
    };
    let count = all.raw_len();
    if count > HTTP_BATCH_MAX {
        return Err(invalid(format!("found {count} requests, expected at most {HTTP_BATCH_MAX}")));
    }
    let one = |item: Value| {
        let Value::Table(item) = item else {
            return Err(invalid(format!("a request must be a table, got {}", type_name(&item))));
        };
        let at = |index: i64| item.raw_get::<Value>(index).unwrap_or(Value::Nil);
        let asked = Asked::read(lua, egress, &at(1), &at(2), &at(3))?;
        match asked.wanted {
            Wanted::Stream => Err(invalid("`stream` is not supported in a batch")),
            Wanted::Body { .. } => Ok(asked),
        }
    };
    Ok((1..=count as i64).map(|at| one(all.raw_get(at).unwrap_or(Value::Nil))).collect())
}

/// Responses and errors by the position of their requests, `false` where there is none.
fn both(lua: &Lua, outcomes: Vec<Outcome>) -> mlua::Result<MultiValue> {
    let responses = lua.create_table_with_capacity(outcomes.len(), 0)?;
    let errors = lua.create_table_with_capacity(outcomes.len(), 0)?;
    let mut failed = false;
    for outcome in outcomes {
        let made = match outcome {
            Ok(answered) => response::table(lua, answered)?,
            Err(error) => Err(error),
        };
        match made {
            Ok(table) => {
                responses.raw_push(table)?;
                errors.raw_push(false)?;
            }
            Err(error) => {
                failed = true;
                responses.raw_push(false)?;
                errors.raw_push(error::to_lua(lua, error)?)?;
            }
        }
    }
    let errors = if failed { Value::Table(errors) } else { Value::Nil };
    Ok(MultiValue::from_iter([Value::Table(responses), errors]))
}

/// An `INTERNAL` error that may not happen again.
fn failed(message: String) -> Error {
    Error::new(ErrorKind::Internal, message).retryable()
}
