//! Types as values (`en/lua/types.md`, "Type Casts" and "Type Reflection"): what of them is Rust. `types.lua` makes
//! the rest of what the compiler wrote in front of a source.

use mlua::{Function, Lua, LuaString};
use regex_lite::RegexBuilder;
use registry_schema::ErrorKind;

use super::error;
use super::own::Own;
use crate::error::Error;

/// Largest program of a `@pattern`, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Longest text that a `@pattern` is tried on, in bytes: the search is linear, and nothing interrupts it.
const TEXT_BYTES_MAX: usize = 1 << 20;

static SOURCE: Own = Own::new(include_str!("types.lua"));

/// A function that gives the types of one invocation.
pub(super) fn open(lua: &Lua) -> mlua::Result<Function> {
    let own = lua.create_table()?;
    own.set("matches", lua.create_function(|_, (text, pattern)| matches(&text, &pattern))?)?;
    let refused = |lua: &Lua, message: String| error::to_lua(lua, Error::new(ErrorKind::Invalid, message));
    own.set("refused", lua.create_function(refused)?)?;
    SOURCE.load(lua)?.call(own)
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
