//! The payload of entries, `data` in Lua: the fields that their author wrote.
//!
//! The manifest has those of most kinds. Sources of Lua entries are files of the bundle, and so are the fields of
//! WebAssembly entries, all in one.

use registry_schema::ErrorKind;
use registry_schema::manifest::{Entry, LuaEntry, WasmEntry};
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::error::Error;
use crate::lua::modules::held::{Held, Share};

/// The payload of one entry.
pub(super) struct Payload {
    pub(super) data: Value,
    /// For a source that was read for it.
    _share: Option<Share>,
}

/// The payload of `entry`. Reads files where it has to; their size is counted by `held`.
///
/// # Errors
/// `INTERNAL` when a file of the bundle is missing or damaged, `UNAVAILABLE` when there is no room for a source.
pub(super) fn of(bundle: &Bundle, entry: &Entry, held: &Held) -> Result<Payload, Error> {
    let unreadable = |problem: String| {
        Error::new(ErrorKind::Internal, format!("the fields of `{}` can't be read: {problem}", entry.id))
    };
    if let Some(lua) = &entry.lua {
        // What the deny list has is read by nobody.
        let source = match bundle.denied(entry) {
            Some(_) => None,
            None => Some(bundle.lua_source(lua.source).map_err(unreadable)?),
        };
        let share = held.take(source.as_ref().map_or(0, Vec::len))?;
        return Ok(Payload { data: of_lua(lua, &entry.data, source.as_deref()), _share: Some(share) });
    }
    let authored = bundle.authored().map_err(unreadable)?.get(&entry.id.to_string());
    if let Some(authored) = authored {
        let source = authored.get("source").and_then(Value::as_str).map_or(0, str::len);
        return Ok(Payload { _share: Some(held.take(source)?), data: authored.clone() });
    }
    // Of a bundle without that file, what it runs by tells most of it.
    let data = entry.wasm.as_ref().map_or_else(|| entry.data.clone(), of_wasm);
    Ok(Payload { data, _share: None })
}

fn of_lua(lua: &LuaEntry, others: &Value, source: Option<&[u8]>) -> Value {
    let mut fields = others.as_object().cloned().unwrap_or_default();
    let own = [
        ("source", source.map(|source| String::from_utf8_lossy(source).into())),
        ("method", lua.method.as_ref().map(|method| json!(method))),
        ("modules", (!lua.modules.is_empty()).then(|| json!(lua.modules))),
        ("imports", (!lua.imports.is_empty()).then(|| json!(lua.imports))),
        ("pool", lua.pool.as_ref().map(|pool| json!(pool))),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    fields.extend(own);
    Value::Object(fields)
}

fn of_wasm(wasm: &WasmEntry) -> Value {
    json!({
        "method": wasm.export.to_string(),
        "imports": wasm.grants,
        "transport": wasm.transport,
        "results": wasm.results,
        "pool": wasm.pool,
        "limits": wasm.limits,
        "wasi": wasm.wasi,
        "network": wasm.network,
    })
}
