//! Types as values (`en/lua/types.md`, "Type Casts" and "Type Reflection"): what of them is Rust. `types.lua` makes
//! the rest of what the compiler wrote in front of a source.

use mlua::{Lua, LuaString, Table};
use regex_lite::RegexBuilder;
use registry_schema::ErrorKind;

use super::error;
use crate::error::Error;

/// Largest program of a `@pattern`, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Longest text that a `@pattern` is tried on, in bytes: the search is linear, and nothing interrupts it.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Sets `types` of `rust`: a function that gives the types of one invocation.
pub(super) fn open(lua: &Lua, rust: &Table) -> mlua::Result<()> {
    let own = lua.create_table()?;
    own.set("matches", lua.create_function(|_, (text, pattern)| matches(&text, &pattern))?)?;
    let refused = |lua: &Lua, message: String| error::to_lua(lua, Error::new(ErrorKind::Invalid, message));
    own.set("refused", lua.create_function(refused)?)?;
    let types: mlua::Function = lua.load(include_str!("types.lua")).set_name("=prelude").call(own)?;
    rust.set("types", types)
}

/// Whether the regular expression `pattern` is found in `text`.
fn matches(text: &LuaString, pattern: &LuaString) -> mlua::Result<bool> {
    let raise = |message: String| Err(mlua::Error::runtime(message));
    if text.as_bytes().len() > TEXT_BYTES_MAX {
        return Ok(false);
    }
    let pattern = pattern.to_string_lossy();
    match RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build() {
        // Bytes that are no UTF-8 match nothing that a pattern can say.
        Ok(regex) => Ok(text.to_str().is_ok_and(|text| regex.is_match(&text))),
        Err(problem) => raise(format!("`@pattern` of a type is no regular expression: {problem}")),
    }
}
