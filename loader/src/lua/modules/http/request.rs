//! `http.request()`.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use mlua::{AnyUserData, Lua, LuaString, MetaMethod, Table, UserData, UserDataFields, Value};
use registry_schema::ErrorKind;

use super::form;
use crate::config::{HTTP_BODY_TIME, HTTP_REQUEST_BYTES_MAX};
use crate::error::Error;
use crate::http::{Exchange, PARSE_FAILED};
use crate::lua::error;
use crate::lua::host::{Answer, Host};
use crate::lua::modules::arguments::{invalid, type_name};
use crate::lua::modules::held::hold;
use crate::lua::modules::json;
use crate::lua::modules::stream::StreamObject;

/// Name in the registry of Lua of the methods.
const METHODS: &str = "http.request";

/// A request as Lua sees it.
pub(super) struct RequestObject {
    pub(super) exchange: Arc<Exchange>,
    pub(super) limits: Limits,
}

/// How its body is read.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    time: Duration,
    bytes: u64,
}

impl Limits {
    /// Those of the options of `http.request`.
    pub(super) fn read(options: Option<&Table>) -> mlua::Result<Result<Self, Error>> {
        let default = Self { time: HTTP_BODY_TIME, bytes: HTTP_REQUEST_BYTES_MAX };
        let Some(options) = options else { return Ok(Ok(default)) };
        let number = |name: &str| {
            Ok::<_, mlua::Error>(match options.raw_get::<Value>(name)? {
                Value::Nil => Ok(None),
                Value::Integer(value) if value > 0 => Ok(Some(value.unsigned_abs())),
                _ => Err(invalid(format!("`{name}` must be an integer from 1"))),
            })
        };
        let (time, bytes) = (number("timeout")?, number("max_body")?);
        Ok(time.and_then(|time| {
            bytes.map(|bytes| Self {
                time: time.map_or(default.time, Duration::from_millis),
                bytes: bytes.unwrap_or(default.bytes),
            })
        }))
    }
}

impl UserData for RequestObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(METHODS));
    }
}

/// Makes the methods, once per state.
pub(super) fn add_methods(lua: &Lua, host: &Host) -> mlua::Result<()> {
    let methods = lua.create_table()?;
    plain_methods(lua, &methods)?;
    body_methods(lua, host, &methods)?;
    lua.set_named_registry_value(METHODS, methods)
}

/// A method that answers at once with what `get` gives.
fn plain<T: mlua::IntoLuaMulti>(
    lua: &Lua,
    methods: &Table,
    name: &str,
    get: impl Fn(&Lua, &Exchange, Option<LuaString>) -> mlua::Result<T> + Send + Sync + 'static,
) -> mlua::Result<()> {
    let method = lua.create_function(move |lua, (this, argument): (AnyUserData, Option<LuaString>)| {
        let exchange = Arc::clone(&this.borrow::<RequestObject>()?.exchange);
        get(lua, &exchange, argument)
    })?;
    methods.set(name, method)
}

fn plain_methods(lua: &Lua, methods: &Table) -> mlua::Result<()> {
    let text = |argument: Option<LuaString>| argument.map(|text| text.to_string_lossy()).unwrap_or_default();
    plain(lua, methods, "method", |_, exchange, _| Ok(exchange.method.as_str().to_owned()))?;
    plain(lua, methods, "path", |_, exchange, _| Ok(exchange.path.clone()))?;
    plain(lua, methods, "host", |_, exchange, _| Ok(exchange.host.clone()))?;
    plain(lua, methods, "remote_addr", |_, exchange, _| Ok(exchange.remote_addr.clone()))?;
    plain(lua, methods, "has_body", |_, exchange, _| Ok(exchange.has_body))?;
    plain(lua, methods, "query", move |_, exchange, name| {
        let name = text(name);
        Ok(exchange.query.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone()))
    })?;
    plain(lua, methods, "query_params", |lua, exchange, _| {
        let table = lua.create_table()?;
        for (name, value) in &exchange.query {
            let joined = match table.raw_get::<Option<String>>(name.as_str())? {
                Some(before) => format!("{before},{value}"),
                None => value.clone(),
            };
            table.raw_set(name.as_str(), joined)?;
        }
        Ok(table)
    })?;
    plain(lua, methods, "header", move |lua, exchange, name| {
        exchange.header(&text(name)).map(|value| lua.create_string(value)).transpose()
    })?;
    plain(lua, methods, "content_type", |lua, exchange, _| {
        exchange.header("content-type").map(|value| lua.create_string(value)).transpose()
    })?;
    plain(lua, methods, "content_length", |_, exchange, _| {
        let value = exchange.header("content-length").and_then(|value| std::str::from_utf8(value).ok());
        Ok(value.and_then(|value| value.parse::<i64>().ok()))
    })?;
    plain(lua, methods, "param", move |_, exchange, name| Ok(exchange.parameters.get(&text(name)).cloned()))?;
    plain(lua, methods, "params", |lua, exchange, _| {
        lua.create_table_from(exchange.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    })?;
    plain(lua, methods, "is_content_type", move |_, exchange, wanted| {
        let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let found = exchange.header("content-type").map(|value| essence(&String::from_utf8_lossy(value)));
        Ok(found.is_some_and(|found| found == essence(&text(wanted))))
    })?;
    plain(lua, methods, "accepts", move |_, exchange, wanted| {
        let wanted = text(wanted).to_ascii_lowercase();
        let Some(accept) = exchange.header("accept") else { return Ok(true) };
        Ok(String::from_utf8_lossy(accept).split(',').any(|range| accepts(range, &wanted)))
    })
}

/// Whether a range of an `Accept` header, such as `text/*;q=0.5`, takes the type `wanted`.
fn accepts(range: &str, wanted: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)));
    let within = |range: &str| wanted.split('/').next() == Some(range);
    !is_refused && (range == "*/*" || range == wanted || range.strip_suffix("/*").is_some_and(within))
}

fn body_methods(lua: &Lua, host: &Host, methods: &Table) -> mlua::Result<()> {
    methods.set(
        "body",
        host.waiting(lua, |_, _, this: AnyUserData| {
            let read = body(&this)?;
            Ok(Answer::later(read, |lua, read| {
                match read.and_then(|bytes| Ok((hold(lua, bytes.len())?, bytes))) {
                    Ok((_share, bytes)) => error::answer(lua, Ok(lua.create_string(&bytes)?)),
                    Err(error) => error::pair(lua, error),
                }
            }))
        })?,
    )?;
    methods.set(
        "body_json",
        host.waiting(lua, |_, _, this: AnyUserData| {
            let read = body(&this)?;
            Ok(Answer::later(read, |lua, read| {
                let decoded = match read {
                    Ok(bytes) => json::decode(lua, &bytes)?
                        .map_err(|error| Error::new(ErrorKind::Invalid, error.message())),
                    Err(error) => Err(error),
                };
                error::answer(lua, decoded)
            }))
        })?,
    )?;
    methods.set(
        "stream",
        host.waiting(lua, |_, _, this: AnyUserData| {
            let exchange = Arc::clone(&this.borrow::<RequestObject>()?.exchange);
            let taken = async move { exchange.take_body().await };
            Ok(Answer::later(taken, |lua, taken| {
                let body = taken.map(|body| body.map_err(|problem| stream_error(&problem)).boxed_unsync());
                error::answer(lua, body.and_then(|body| StreamObject::new(lua, body)))
            }))
        })?,
    )?;
    methods.set(
        "parse_multipart",
        host.waiting(lua, |lua, _, (this, memory): (AnyUserData, Value)| {
            let (exchange, limits) = {
                let this = this.borrow::<RequestObject>()?;
                (Arc::clone(&this.exchange), this.limits)
            };
            if !matches!(memory, Value::Nil | Value::Integer(1..)) {
                let found = type_name(&memory);
                let problem = invalid(format!("`max_memory` must be an integer from 1, got {found}"));
                return Ok(Answer::Now(error::pair(lua, problem)?));
            }
            let parse = async move {
                let type_of =
                    exchange.header("content-type").map(|value| String::from_utf8_lossy(value).into_owned());
                let boundary = multer::parse_boundary(type_of.unwrap_or_default()).map_err(|_| {
                    crate::http::error(ErrorKind::Invalid, PARSE_FAILED, "the request has no multipart form")
                })?;
                let body = exchange.take_body().await?;
                form::parse(body, boundary, limits.bytes, limits.time).await
            };
            Ok(Answer::later(parse, form::give))
        })?,
    )
}

fn stream_error(problem: &crate::http::BodyProblem) -> wasmtime_wasi_http::Error {
    wasmtime_wasi_http::Error::InternalError(Some(problem.to_string()))
}

/// What reads the whole body.
fn body(
    this: &AnyUserData,
) -> mlua::Result<impl Future<Output = Result<bytes::Bytes, Error>> + Send + use<>> {
    let this = this.borrow::<RequestObject>()?;
    let (exchange, limits) = (Arc::clone(&this.exchange), this.limits);
    Ok(async move { exchange.body(limits.bytes, limits.time).await })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_types() {
        assert!(accepts("*/*", "text/html") && accepts(" Text/* ;q=0.5", "text/html"));
        assert!(accepts("application/json", "application/json"));
        assert!(!accepts("text/*;q=0", "text/html") && !accepts("image/*", "text/html"));
    }
}
