//! Against Lua's own functions: random patterns, texts and replacements, faults included.

use mlua::{Function, Lua, Table, Value};

use super::functions;
use crate::config::LUA_MEMORY_BYTES_MAX;
use crate::lua::error;
use crate::lua::state::library;

/// Runs every function of both libraries with the same arguments and compares what they give.
const COMPARE: &str = r##"
local ours, plain, seed, rounds = ...
math.randomseed(seed)
local function pick(list) return list[math.random(#list)] end
local PIECES = {
    "a", "b", "c", ".", "%a", "%d", "%s", "%w", "%S", "%p", "%x", "%u", "%l", "%c", "%g", "%z", "[ab]", "[^a]", "[a-c]",
    "[%a-]", "[]]", "[^]x]", "[a-", "%", "(", ")", "()", "(a", "b)", "%b()", "%b", "%bx", "%f[a]", "%f[^%w]", "%f",
    "%1", "%2", "%0", "$", "^", "-", "*", "+", "?", "(a*)", "(.-)", "(%w+)", " ", "\0", "\xff", "]", "%%", "%.",
}
local SUFFIXES = { "", "", "", "*", "+", "-", "?" }
local function pattern()
    local made = math.random(6) == 1 and "^" or ""
    for _ = 1, math.random(0, 6) do made = made .. pick(PIECES) .. pick(SUFFIXES) end
    return math.random(8) == 1 and made .. "$" or made
end
local LETTERS = { "a", "b", "c", "x", " ", "1", "(", ")", ".", "\0", "\xff", "A", "-", "%" }
local function text()
    local made = {}
    for i = 1, math.random(0, 12) do made[i] = pick(LETTERS) end
    return table.concat(made)
end
local REPLACEMENTS = {
    "x", "<%0>", "%1", "%2", "%%", "%", "%x", "", 7, true, {}, { a = "A", b = false, c = 3, x = {} },
    function(...) return select("#", ...) .. ":" .. tostring((...)) end,
    function(a) if a == "a" then return nil end return false end,
    function() return {} end,
    function() error("raised", 0) end,
}
local function all(iterator)
    local made = {}
    for _ = 1, 30 do
        local values = table.pack(iterator())
        if values[1] == nil then break end
        for i = 1, values.n do made[#made + 1] = tostring(values[i]) end
        made[#made + 1] = "|"
    end
    return table.concat(made, ",")
end
local function gmatch(library) return function(...) return all(library.gmatch(...)) end end
local function show(ok, ...)
    local made = { tostring(ok) }
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        if ok then made[#made + 1] = math.type(value) or type(value) end
        made[#made + 1] = ok and tostring(value) or plain(value):gsub("'string%.", "'")
    end
    return table.concat(made, ";")
end
local failed = 0
for _ = 1, rounds do
    local s, p, init = text(), pattern(), pick { 1, 2, 5, 0, -1, -3, 20, -20, math.mininteger, math.maxinteger }
    local calls = {
        { "find", string.find, ours.find, s, p, init, pick { false, false, true } },
        { "match", string.match, ours.match, s, p, init },
        { "gmatch", gmatch(string), gmatch(ours), s, p, init },
        { "gsub", string.gsub, ours.gsub, s, p, pick(REPLACEMENTS), pick { nil, 0, 1, 2 } },
        { "gsub", string.gsub, ours.gsub, s, p, pick(REPLACEMENTS) },
    }
    for _, call in ipairs(calls) do
        local expected = show(pcall(call[2], table.unpack(call, 4)))
        local found = show(pcall(call[3], table.unpack(call, 4)))
        if expected:sub(1, 5) == "false" then failed = failed + 1 end
        if expected ~= found then
            error(("%s(%q, %q, %s): expected %s, found %s"):format(call[1], s, p, tostring(call[6]), expected, found))
        end
    end
end
return failed
"##;

fn compare(seed: u32, rounds: u32) -> u32 {
    let lua = Lua::new();
    let rust = lua.create_table().unwrap();
    functions(&lua, &rust).unwrap();
    let (ours, _): (Table, Table) = library(&lua, &rust).unwrap();
    // The message alone: Lua's own have no place when `pcall` is their caller.
    let plain = lua.create_function(|lua, problem: Value| {
        let text = match error::plain(lua, problem)? {
            Value::String(text) => text.to_string_lossy(),
            other => other.type_name().to_owned(),
        };
        Ok(match text.split_once(": ") {
            Some((place, message)) if place.starts_with("compare:") => message.to_owned(),
            _ => text,
        })
    });
    let compare: Function = lua.load(COMPARE).set_name("=compare").into_function().unwrap();
    compare.call((ours, plain.unwrap(), seed, rounds)).unwrap()
}

#[test]
fn all_do_what_luas_own_do() {
    let failed: u32 = (0..8).map(|seed| compare(seed, 1500)).sum();
    assert!(failed > 1000, "{failed} faults were compared");
}

#[test]
fn memory_of_a_replacement_is_bounded() {
    let lua = Lua::new();
    let rust = lua.create_table().unwrap();
    functions(&lua, &rust).unwrap();
    let gsub: Function = rust.get("gsub").unwrap();
    let (text, replacement) = ("x".repeat(1 << 10), "y".repeat(1 << 20));
    let error = gsub.call::<Value>((text, "x", replacement)).unwrap_err();
    assert!(error.to_string().contains("not enough memory"), "{error} below {LUA_MEMORY_BYTES_MAX}");
}

/// Exponential in Lua's own: an error after so many steps.
#[test]
fn steps_are_bounded() {
    let lua = Lua::new();
    let rust = lua.create_table().unwrap();
    functions(&lua, &rust).unwrap();
    let find: Function = rust.get("find").unwrap();
    let pattern = "a-".repeat(30) + "b";
    let error = find.call::<Value>(("a".repeat(200), pattern)).unwrap_err();
    assert!(error.to_string().contains("pattern too complex: it takes too many steps"), "{error}");
}
