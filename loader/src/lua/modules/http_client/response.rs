//! What an answer is in Lua.

use http::HeaderMap;
use http::header::SET_COOKIE;
use mlua::{Lua, Table};

use super::exchange::{Answered, Content};
use crate::error::Error;
use crate::lua::modules::stream::StreamObject;

/// The response object; the inner error is the caller's.
pub(super) fn table(lua: &Lua, answered: Answered) -> mlua::Result<Result<Table, Error>> {
    let table = lua.create_table_with_capacity(0, 6)?;
    table.raw_set("status_code", answered.status)?;
    table.raw_set("url", answered.url)?;
    table.raw_set("headers", headers(lua, &answered.headers)?)?;
    table.raw_set("cookies", cookies(lua, &answered.headers)?)?;
    match answered.content {
        Content::Body(bytes, _share) => {
            table.raw_set("body_size", bytes.len())?;
            table.raw_set("body", lua.create_string(bytes)?)?;
        }
        Content::Stream(body) => {
            table.raw_set("body_size", -1)?;
            match StreamObject::new(lua, body) {
                Ok(stream) => table.raw_set("stream", stream)?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    Ok(Ok(table))
}

/// By name as servers write them, values of one name together.
fn headers(lua: &Lua, headers: &HeaderMap) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, headers.keys_len())?;
    for name in headers.keys() {
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
        table.raw_set(canonical(name.as_str()), lua.create_string(values.join(&b", "[..]))?)?;
    }
    Ok(table)
}

/// `content-type` as `Content-Type`.
fn canonical(name: &str) -> String {
    let parts = name.split('-').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    parts.collect::<Vec<_>>().join("-")
}

fn cookies(lua: &Lua, headers: &HeaderMap) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for cookie in headers.get_all(SET_COOKIE) {
        let pair = cookie.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        table.raw_set(lua.create_string(name)?, lua.create_string(value)?)?;
    }
    Ok(table)
}
