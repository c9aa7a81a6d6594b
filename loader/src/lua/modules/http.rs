//! The module `http` (`en/lua/http/http.md`): the request that an endpoint's function answers, and its
//! response.
//!
//! Beyond what the page says: setters and writers answer `true`, or `nil` and an error. What a handler has
//! written is sent when it is much, when it flushes, or when it ends; until then status and headers may be
//! changed.

mod form;
mod request;
mod response;

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table};
use registry_schema::ErrorKind;

use super::stream;
use crate::error::Error;
use crate::http::Exchange;
use crate::lua::error;
use crate::lua::host::Host;

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    request::add_methods(lua, host)?;
    response::add_methods(lua, host)?;
    form::add_methods(lua)?;
    stream::add_methods(lua, host)?;
    let module = lua.create_table()?;
    let own = host.clone();
    let function = lua.create_function(move |lua, options: Option<Table>| {
        let made = match exchange(&own)? {
            Ok(exchange) => request::Limits::read(options.as_ref())?
                .map(|limits| request::RequestObject { exchange, limits }),
            Err(error) => Err(error),
        };
        error::answer(lua, made)
    })?;
    module.set("request", function)?;
    let own = host.clone();
    let function = lua.create_function(move |lua, ()| {
        let made = exchange(&own)?.map(|exchange| response::ResponseObject { exchange });
        error::answer(lua, made)
    })?;
    module.set("response", function)?;
    constants(lua, &module)?;
    Ok(module)
}

/// What the invocation answers.
fn exchange(host: &Host) -> mlua::Result<Result<Arc<Exchange>, Error>> {
    let none = || Error::new(ErrorKind::Internal, "this invocation answers no HTTP request");
    Ok(host.context()?.exchange().cloned().ok_or_else(none))
}

/// `true` or `nil, error`.
fn done(lua: &Lua, result: Result<(), Error>) -> mlua::Result<MultiValue> {
    error::answer(lua, result.map(|()| true))
}

fn constants(lua: &Lua, module: &Table) -> mlua::Result<()> {
    let own = |names: &[&'static str]| lua.create_table_from(names.iter().map(|name| (*name, *name)));
    module.set("METHOD", own(&["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])?)?;
    module.set("ERROR", own(&["PARSE_FAILED", "INVALID_STATE", "WRITE_FAILED", "STREAM_ERROR"])?)?;
    let content = [
        ("JSON", "application/json"),
        ("FORM", "application/x-www-form-urlencoded"),
        ("MULTIPART", "multipart/form-data"),
        ("TEXT", "text/plain"),
        ("STREAM", "application/octet-stream"),
    ];
    module.set("CONTENT", lua.create_table_from(content)?)?;
    module.set("TRANSFER", lua.create_table_from([("CHUNKED", "chunked"), ("SSE", "sse")])?)?;
    let status = [
        ("OK", 200),
        ("CREATED", 201),
        ("ACCEPTED", 202),
        ("NO_CONTENT", 204),
        ("PARTIAL_CONTENT", 206),
        ("MOVED_PERMANENTLY", 301),
        ("FOUND", 302),
        ("SEE_OTHER", 303),
        ("NOT_MODIFIED", 304),
        ("TEMPORARY_REDIRECT", 307),
        ("PERMANENT_REDIRECT", 308),
        ("BAD_REQUEST", 400),
        ("UNAUTHORIZED", 401),
        ("PAYMENT_REQUIRED", 402),
        ("FORBIDDEN", 403),
        ("NOT_FOUND", 404),
        ("METHOD_NOT_ALLOWED", 405),
        ("NOT_ACCEPTABLE", 406),
        ("CONFLICT", 409),
        ("GONE", 410),
        ("UNPROCESSABLE", 422),
        ("TOO_MANY_REQUESTS", 429),
        ("INTERNAL_ERROR", 500),
        ("INTERNAL_SERVER_ERROR", 500),
        ("NOT_IMPLEMENTED", 501),
        ("BAD_GATEWAY", 502),
        ("SERVICE_UNAVAILABLE", 503),
        ("GATEWAY_TIMEOUT", 504),
        ("VERSION_NOT_SUPPORTED", 505),
    ];
    module.set("STATUS", lua.create_table_from(status)?)
}
