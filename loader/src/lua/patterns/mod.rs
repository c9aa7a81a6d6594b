//! `find`, `match`, `gmatch` and `gsub` of strings: what of them is Rust. `searches.lua` makes the rest.
//!
//! Lua's own run to their end, which some patterns on some texts put off exponentially, and no hook runs
//! meanwhile. So they are used only where a bound is known of what they may take (`admission.rs`): it depends on the
//! pattern and on how long the text is. Others are searched by a matcher that stops at the deadline and after
//! [`LUA_PATTERN_STEPS_MAX`] steps.

mod admission;
mod classes;
mod cost;
mod items;
mod matcher;
#[cfg(test)]
mod tests;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use self::items::Pattern;
use self::matcher::{Failure, Matcher, Part};
use super::host::Host;
use super::modules::arguments::bad;
use super::turns;
use crate::config::{LUA_MEMORY_BYTES_MAX, LUA_PATTERN_STEPS_MAX, LUA_PATTERN_STEPS_UNSEEN};
use crate::meter::{Meter, Spent, past_deadline};

/// Characters that make a text a pattern.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Adds what `searches.lua` builds on to `rust`.
pub(super) fn functions(lua: &Lua, rust: &Table) -> mlua::Result<()> {
    admission::functions(lua, rust)?;
    rust.set("find", lua.create_function(|lua, args: Arguments| find(lua, &args))?)?;
    rust.set("match", lua.create_function(|lua, args: Arguments| first(lua, &args))?)?;
    rust.set("step", lua.create_function(step)?)?;
    let gmatch = |lua: &Lua, (text, pattern, init): (Value, Value, Value)| {
        let (text, pattern) = (string(lua, "gmatch", 1, &text)?, string(lua, "gmatch", 2, &pattern)?);
        let from = from(&text, integer(lua, "gmatch", 3, &init)?.unwrap_or(1));
        Ok((text, pattern, from))
    };
    rust.set("gmatch", lua.create_function(gmatch)?)?;
    let prepared = |lua: &Lua, (text, pattern, max): (Value, Value, Value)| {
        let (text, pattern) = (string(lua, "gsub", 1, &text)?, string(lua, "gsub", 2, &pattern)?);
        let max = integer(lua, "gsub", 4, &max)?.unwrap_or(i64::MAX);
        let (is_anchored, rest) = match anchored(&pattern.as_bytes()) {
            (true, rest) => (true, lua.create_string(rest)?),
            (false, _) => (false, pattern),
        };
        Ok((text, rest, max, is_anchored))
    };
    rust.set("gsub_arguments", lua.create_function(prepared)?)?;
    rust.set("gsub", lua.create_function(gsub)?)?;
    let raise = |_: &Lua, message: String| Err::<(), _>(mlua::Error::runtime(message));
    rust.set("raise", lua.create_function(raise)?)
}

/// Numbers from which on a step gives no further match: they are on a stack.
const NUMBERS_MAX: usize = 512;

/// A text, a pattern without anchor, where to search from, where the last match ended, whether the pattern is
/// anchored, and how many matches are asked for at most.
type Step = (LuaString, LuaString, usize, i64, bool, usize);

/// Matches of `gmatch` or `gsub`: how many numbers each has, then first and last place of each, counted from 1, with
/// those of its captures. A position has -1 for the last, a capture that the pattern does not close -2.
fn step(lua: &Lua, (text, pattern, from, last, is_anchored, most): Step) -> mlua::Result<MultiValue> {
    let meter = meter(lua, &text)?;
    let (text, pattern) = (text.as_bytes(), Pattern::new(&pattern.as_bytes()));
    let mut matcher = Matcher::new(&text, &pattern, &meter);
    let (mut from, mut last) = (from, last);
    let mut values = MultiValue::new();
    for _ in 0..most {
        let (start, end) = match next(lua, &mut matcher, from, text.len(), last, is_anchored) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            // Found again, and raised, by the step behind these matches.
            Err(_) if !values.is_empty() => break,
            Err(problem) => return Err(problem),
        };
        let captures = if matcher.has_captures() { matcher.parts() } else { 0 };
        if values.is_empty() {
            values.push_back(position(2 + 2 * captures));
        }
        values.extend([position(start + 1), position(end)]);
        for index in 0..captures {
            values.extend(match matcher.part(index, (start, end)) {
                Ok(Part::Text(start, end)) => [position(start + 1), position(end)],
                Ok(Part::Position(at)) => [position(at + 1), Value::Integer(-1)],
                // Raised when it is asked for.
                Err(_) => [position(0), Value::Integer(-2)],
            });
        }
        (from, last) = (end, signed(end));
        if is_anchored || values.len() > NUMBERS_MAX {
            break;
        }
    }
    spent(lua, &meter)?;
    Ok(values)
}

/// Arguments of `find` and `match`.
type Arguments = (Value, Value, Value, Value);

fn find(lua: &Lua, (text, pattern, init, plain): &Arguments) -> mlua::Result<MultiValue> {
    let (text, pattern) = (string(lua, "find", 1, text)?, string(lua, "find", 2, pattern)?);
    let from = from(&text, integer(lua, "find", 3, init)?.unwrap_or(1));
    let is_plain = !matches!(plain, Value::Nil | Value::Boolean(false));
    let (bytes, sought) = (text.as_bytes(), pattern.as_bytes());
    if from > bytes.len() {
        return Ok(MultiValue::from_iter([Value::Nil]));
    }
    if is_plain || !sought.iter().any(|byte| SPECIALS.contains(byte)) {
        let found = memchr::memmem::find(&bytes[from..], &sought).map(|at| from + at);
        turns::worked(lua, bytes.len() - from)?;
        return Ok(match found {
            Some(at) => MultiValue::from_iter([position(at + 1), position(at + sought.len())]),
            None => MultiValue::from_iter([Value::Nil]),
        });
    }
    let meter = meter(lua, &text)?;
    let (is_anchored, pattern) = anchored(&sought);
    let pattern = Pattern::new(pattern);
    let mut matcher = Matcher::new(&bytes, &pattern, &meter);
    let found = next(lua, &mut matcher, from, bytes.len(), -1, is_anchored)?;
    spent(lua, &meter)?;
    let Some((start, end)) = found else {
        return Ok(MultiValue::from_iter([Value::Nil]));
    };
    let mut values = MultiValue::from_iter([position(start + 1), position(end)]);
    if matcher.has_captures() {
        push(lua, &mut values, &matcher, &bytes, (start, end))?;
    }
    Ok(values)
}

fn first(lua: &Lua, (text, pattern, init, _): &Arguments) -> mlua::Result<MultiValue> {
    let (text, pattern) = (string(lua, "match", 1, text)?, string(lua, "match", 2, pattern)?);
    let from = from(&text, integer(lua, "match", 3, init)?.unwrap_or(1));
    let meter = meter(lua, &text)?;
    let (bytes, sought) = (text.as_bytes(), pattern.as_bytes());
    let (is_anchored, pattern) = anchored(&sought);
    let pattern = Pattern::new(pattern);
    let mut matcher = Matcher::new(&bytes, &pattern, &meter);
    let found = next(lua, &mut matcher, from, bytes.len(), -1, is_anchored)?;
    spent(lua, &meter)?;
    let Some(found) = found else {
        return Ok(MultiValue::from_iter([Value::Nil]));
    };
    let mut values = MultiValue::new();
    push(lua, &mut values, &matcher, &bytes, found)?;
    Ok(values)
}

/// `gsub` with a text as the replacement.
fn gsub(
    lua: &Lua,
    (given, pattern, replacement, max): (Value, Value, Value, Value),
) -> mlua::Result<(Value, i64)> {
    let (text, pattern) = (string(lua, "gsub", 1, &given)?, string(lua, "gsub", 2, &pattern)?);
    let max = integer(lua, "gsub", 4, &max)?.unwrap_or(i64::MAX);
    let Some(replacement) = lua.coerce_string(replacement.clone())? else {
        return Err(bad(3, "gsub", "string/function/table", &replacement));
    };
    let meter = meter(lua, &text)?;
    let (bytes, sought, replacement) = (text.as_bytes(), pattern.as_bytes(), replacement.as_bytes());
    let (is_anchored, pattern) = anchored(&sought);
    let pattern = Pattern::new(pattern);
    let mut matcher = Matcher::new(&bytes, &pattern, &meter);
    let (mut out, mut count, mut from, mut last) = (Vec::new(), 0, 0, -1);
    while count < max {
        let Some((start, end)) = next(lua, &mut matcher, from, bytes.len(), last, is_anchored)? else {
            break;
        };
        count += 1;
        out.extend_from_slice(&bytes[from..start]);
        replace(&mut out, &matcher, &bytes, (start, end), &replacement)?;
        if out.len() > LUA_MEMORY_BYTES_MAX {
            return Err(mlua::Error::MemoryError("not enough memory".to_owned()));
        }
        (from, last) = (end, signed(end));
        if is_anchored {
            break;
        }
    }
    spent(lua, &meter)?;
    if count == 0 {
        return Ok((Value::String(text), 0));
    }
    out.extend_from_slice(&bytes[from..]);
    Ok((Value::String(lua.create_string(out)?), count))
}

/// Adds `replacement`, in which `%1` and the like stand for captures.
fn replace(
    out: &mut Vec<u8>,
    matcher: &Matcher<'_>,
    text: &[u8],
    found: (usize, usize),
    replacement: &[u8],
) -> mlua::Result<()> {
    let mut rest = replacement;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b'%') => out.push(b'%'),
            Some(b'0') => out.extend_from_slice(&text[found.0..found.1]),
            Some(digit) if digit.is_ascii_digit() => {
                match matcher.part(usize::from(digit - b'1'), found).map_err(failed)? {
                    Part::Text(start, end) => out.extend_from_slice(&text[start..end]),
                    Part::Position(at) => out.extend_from_slice((at + 1).to_string().as_bytes()),
                }
            }
            _ => return Err(mlua::Error::runtime("invalid use of '%' in replacement string")),
        }
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The next match from `from` on that does not end at `last`, where the one before did.
fn next(
    lua: &Lua,
    matcher: &mut Matcher<'_>,
    from: usize,
    length: usize,
    last: i64,
    is_anchored: bool,
) -> mlua::Result<Option<(usize, usize)>> {
    let checked = |failure| {
        if let Failure::Spent(Spent::Time) = failure {
            Host::look(lua);
        }
        failed(failure)
    };
    let mut start = from;
    while start <= length {
        if !is_anchored {
            match matcher.candidate(start).map_err(checked)? {
                Some(candidate) => start = candidate,
                None => return Ok(None),
            }
        }
        match matcher.at(start).map_err(checked)? {
            Some(end) if signed(end) != last => return Ok(Some((start, end))),
            _ if is_anchored => return Ok(None),
            _ => start += 1,
        }
    }
    Ok(None)
}

/// Adds what a match gives.
fn push(
    lua: &Lua,
    values: &mut MultiValue,
    matcher: &Matcher<'_>,
    text: &[u8],
    found: (usize, usize),
) -> mlua::Result<()> {
    for index in 0..matcher.parts() {
        values.push_back(match matcher.part(index, found).map_err(failed)? {
            Part::Text(start, end) => Value::String(lua.create_string(&text[start..end])?),
            Part::Position(at) => position(at + 1),
        });
    }
    Ok(())
}

/// What searching `text` may take.
///
/// # Errors
/// When the invocation has to end: a loop that catches this makes no progress by it.
fn meter(lua: &Lua, text: &LuaString) -> mlua::Result<Meter> {
    let length = text.as_bytes().len() as u64;
    let steps = LUA_PATTERN_STEPS_MAX.saturating_add(length.saturating_mul(64));
    Ok(Meter::new(steps, Host::going_on(lua)?))
}

/// Lets others run after a search that took long.
fn spent(lua: &Lua, meter: &Meter) -> mlua::Result<()> {
    if meter.taken() < LUA_PATTERN_STEPS_UNSEEN { Ok(()) } else { turns::finish(lua) }
}

fn failed(failure: Failure) -> mlua::Error {
    match failure {
        Failure::Pattern(message) => mlua::Error::runtime(message),
        Failure::Spent(Spent::Time) => mlua::Error::external(past_deadline()),
        Failure::Spent(Spent::Amount) => {
            mlua::Error::runtime("pattern too complex: it takes too many steps on this text")
        }
    }
}

/// Whether `pattern` stands for the start alone, and the rest of it.
fn anchored(pattern: &[u8]) -> (bool, &[u8]) {
    match pattern {
        [b'^', rest @ ..] => (true, rest),
        pattern => (false, pattern),
    }
}

fn string(lua: &Lua, function: &str, place: usize, value: &Value) -> mlua::Result<LuaString> {
    match value {
        Value::String(text) => Ok(text.clone()),
        value => lua.coerce_string(value.clone())?.ok_or_else(|| bad(place, function, "string", value)),
    }
}

fn integer(lua: &Lua, function: &str, place: usize, value: &Value) -> mlua::Result<Option<i64>> {
    match value {
        Value::Nil => Ok(None),
        Value::Integer(integer) => Ok(Some(*integer)),
        value => match lua.coerce_integer(value.clone())? {
            Some(integer) => Ok(Some(integer)),
            None if lua.coerce_number(value.clone())?.is_some() => Err(mlua::Error::runtime(format!(
                "bad argument #{place} to '{function}' (number has no integer representation)"
            ))),
            None => Err(bad(place, function, "number", value)),
        },
    }
}

/// Where a search from `init` on starts, counted from 0; beyond the end if nothing is there.
fn from(text: &LuaString, init: i64) -> usize {
    let length = text.as_bytes().len();
    match usize::try_from(init) {
        Ok(init) => init.saturating_sub(1).min(length + 1),
        Err(_) => length.saturating_sub(usize::try_from(init.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

fn signed(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn position(place: usize) -> Value {
    Value::Integer(signed(place))
}
