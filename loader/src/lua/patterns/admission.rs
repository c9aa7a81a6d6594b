//! What is left to Lua's own functions: where it is known beforehand that they end soon (`cost.rs`).

use mlua::{Lua, LuaString, Table};

use super::cost::{self, Anchor, Search};
use super::items::Pattern;
use super::{anchored, turns};
use crate::config::{LUA_PATTERN_BYTES_KNOWN_MAX, LUA_PATTERN_STEPS_UNSEEN, LUA_PATTERNS_KNOWN_MAX};

/// Adds what `searches.lua` asks to `rust`.
pub(super) fn functions(lua: &Lua, rust: &Table) -> mlua::Result<()> {
    rust.set("patterns_known_max", LUA_PATTERNS_KNOWN_MAX)?;
    rust.set("pattern_bytes_known_max", LUA_PATTERN_BYTES_KNOWN_MAX)?;
    rust.set("limits", lua.create_function(|_, pattern: LuaString| Ok(limits(&pattern.as_bytes())))?)?;
    rust.set("highest", lua.create_function(|_, text: LuaString| Ok(highest(&text.as_bytes())))?)?;
    let part = |_: &Lua, (text, pattern): (LuaString, LuaString)| {
        let pattern = pattern.as_bytes();
        // An anchor to one function is a character to another.
        let (is_anchored, _) = anchored(&pattern);
        if is_anchored {
            return Ok((None, 0.0));
        }
        let pattern = Pattern::new(&pattern);
        let steps = cost::all_on(&pattern, &text.as_bytes());
        let part = steps.filter(|steps| *steps <= LUA_PATTERN_STEPS_UNSEEN).map(share);
        Ok((part, share(cost::measured_bytes(&pattern, text.as_bytes().len()))))
    };
    rust.set("part", lua.create_function(part)?)?;
    rust.set("worked", lua.create_function(|lua, ()| turns::finish(lua))?)
}

/// Part of the steps that Lua's own functions may take on end.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn share(steps: u64) -> f64 {
    steps as f64 / LUA_PATTERN_STEPS_UNSEEN as f64
}

/// The longest texts that `find` and `match`, and that `gmatch` and `gsub`, may be left to Lua's own functions with
/// this pattern, -1 if none may; and how many captures it has.
fn limits(source: &[u8]) -> (i64, i64, usize) {
    let length = |limit: Option<u64>| limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1);
    let whole = Pattern::new(source);
    let captures = whole.sound.unwrap_or(0);
    let unanchored = cost::limit(&whole, Anchor::None, Search::All);
    match source {
        [b'^', rest @ ..] => {
            // For `gmatch` it is a character.
            let rest = Pattern::new(rest);
            let of = |search| cost::limit(&rest, Anchor::Start, search);
            let all = of(Search::All).and_then(|limit| Some(limit.min(unanchored?)));
            (length(of(Search::One)), length(all), captures)
        }
        _ => (length(cost::limit(&whole, Anchor::None, Search::One)), length(unanchored), captures),
    }
}

/// The highest capture that a replacement has, 0 if it has none; beyond all captures if it is none.
fn highest(replacement: &[u8]) -> usize {
    let (mut highest, mut rest) = (0, replacement);
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1) {
            Some(b'%') => {}
            Some(digit) if digit.is_ascii_digit() => highest = highest.max(usize::from(digit - b'0')),
            _ => return usize::from(u8::MAX),
        }
        rest = &rest[at + 2..];
    }
    highest
}
