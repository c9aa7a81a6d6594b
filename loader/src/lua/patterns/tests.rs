//! Against Lua's own functions: random patterns, texts and replacements, faults included.

use mlua::{Function, Lua, Table, Value};

use super::cost::{self, Anchor, Search};
use super::items::{Kind, Next, Pattern};
use super::matcher::Matcher;
use super::{anchored, functions};
use crate::config::{LUA_MEMORY_BYTES_MAX, LUA_PATTERN_STEPS_UNSEEN};
use crate::lua::error;
use crate::lua::state::library;
use crate::meter::Meter;

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
    local most = math.random(20) == 1 and 400 or 12
    for i = 1, math.random(0, most) do made[i] = pick(LETTERS) end
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
        if expected:sub(1, 5) == "false" then failed = failed + 1 end
        -- A pattern that comes again may be left to Lua's own functions.
        for time = 1, 3 do
            local found = show(pcall(call[3], table.unpack(call, 4)))
            if expected ~= found then
                error(("%s(%q, %q, %s), call %d: expected %s, found %s"):format(
                    call[1], s, p, tostring(call[6]), time, expected, found))
            end
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
            Some((place, message)) if place.starts_with("compare:") || place.starts_with("prelude:") => {
                message.to_owned()
            }
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

/// Every class, alone and in sets, on every byte.
#[test]
fn classes_are_luas_own() {
    let lua = Lua::new();
    let find: Function = lua.load("local s, p = ... return s:find(p) ~= nil").into_function().unwrap();
    let letters = (b' '..=b'~').filter(|byte| !byte.is_ascii_digit() && !b"bf".contains(byte));
    let mut sources: Vec<Vec<u8>> = letters.map(|letter| vec![b'%', letter]).collect();
    let others: [&[u8]; 13] = [
        b"[%a_]",
        b"[^%a_]",
        b"[a-f%d]",
        b"[]-a]",
        b"[^]]",
        b"[a-]",
        b"[%-z]",
        b"[z-a]",
        b"[%a-z]",
        b"[^\0]",
        b"[\x80-\xff]",
        b".",
        b"x",
    ];
    sources.extend(others.map(<[u8]>::to_vec));
    for source in sources {
        let pattern = Pattern::new(&source);
        let [item] = &pattern.items[..] else { panic!("{source:?} is {pattern:?}") };
        let Kind::One(class) = &item.kind else { panic!("{source:?} is {pattern:?}") };
        for byte in 0..=u8::MAX {
            let text = lua.create_string([byte]).unwrap();
            let expected: bool = find.call((text, lua.create_string(&source).unwrap())).unwrap();
            assert_eq!(class.has(byte), expected, "{byte} and {}", source.escape_ascii());
            assert_eq!(class.set().has(byte), expected, "{byte} and {}", source.escape_ascii());
        }
    }
}

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Mostly such as go far before they fail.
    fn pattern(&mut self) -> String {
        const CLASSES: [&str; 14] =
            ["a", "b", "c", ".", ".", "%a", "%l", "%w", "%W", "[ab]", "[^b]", "[^a]", "[a-c%d]", "%s"];
        const OTHERS: [&str; 8] = ["(a-)%1", "%b()", "%bab", "%f[ab]", "%f[^a]", "()", "(.*)%1", "(b?)"];
        let mut made = if self.below(5) == 0 { "^".to_owned() } else { String::new() };
        let mut open = 0;
        for _ in 0..=self.below(7) {
            match self.below(10) {
                0 => made += self.pick(&OTHERS),
                1 => {
                    made.push('(');
                    open += 1;
                }
                2 if open > 0 => {
                    made.push(')');
                    open -= 1;
                }
                _ => {
                    made += self.pick(&CLASSES);
                    made += self.pick(&["", "*", "*", "+", "-", "-", "?"]);
                }
            }
        }
        made += &")".repeat(open);
        made += self.pick(&["", "", "$", "x", "[^abc]"]);
        made
    }

    /// Runs of few letters.
    fn text(&mut self, most: usize) -> Vec<u8> {
        const LETTERS: [&str; 8] = ["a", "a", "b", "c", "(", ")", " ", "\0"];
        let (mut made, length) = (Vec::new(), self.below(most + 1));
        let longest = 1 + self.below(length + 1);
        while made.len() < length {
            let run = 1 + self.below(longest);
            let letter = self.pick(&LETTERS).as_bytes()[0];
            made.extend(std::iter::repeat_n(letter, run));
        }
        made.truncate(length);
        made
    }
}

/// Steps of what Lua's own functions do: from every place on, whatever comes next there.
fn steps(source: &[u8], anchor: Anchor, search: Search, text: &[u8]) -> u64 {
    let mut pattern = Pattern::new(source);
    pattern.firsts.fill(Next::ANY);
    let meter = Meter::new(u64::MAX, None);
    let mut matcher = Matcher::new(text, &pattern, &meter);
    let (mut start, mut last) = (0, None);
    while start <= text.len() {
        match matcher.at(start).unwrap() {
            Some(end) if last != Some(end) => {
                if search == Search::One {
                    break;
                }
                (start, last) = (end, Some(end));
            }
            _ => start += 1,
        }
        if anchor == Anchor::Start {
            break;
        }
    }
    meter.taken()
}

/// What is left to Lua's own functions takes no more steps than was said beforehand.
#[test]
fn bounds_of_steps_hold() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut compared, mut near, mut measured) = (0, 0, 0);
    for round in 0..12_000 {
        let source = random.pattern();
        let (is_anchored, rest) = anchored(source.as_bytes());
        let anchor = if is_anchored { Anchor::Start } else { Anchor::None };
        let pattern = Pattern::new(rest);
        for search in [Search::One, Search::All] {
            let most = if round % 8 == 0 { 300 } else { 40 };
            let limit = cost::limit(&pattern, anchor, search).unwrap_or(0);
            let text = random.text(usize::try_from(limit.min(most)).unwrap());
            let Some(bound) = cost::any_on(&pattern, anchor, search, text.len() as u64) else { continue };
            // Others are not left to them, and would take too long here as well.
            if bound > LUA_PATTERN_STEPS_UNSEEN {
                continue;
            }
            let taken = steps(rest, anchor, search, &text);
            let text = text.escape_ascii();
            assert!(taken <= bound, "{source} takes {taken} on {text}, not {bound} ({search:?})");
            compared += 1;
            near += u32::from(taken > bound / 4);
        }
        let text = random.text(200);
        if let Some(bound) = cost::all_on(&pattern, &text).filter(|bound| *bound <= LUA_PATTERN_STEPS_UNSEEN)
        {
            let taken = steps(rest, Anchor::None, Search::All, &text);
            let text = text.escape_ascii();
            assert!(taken <= bound, "{source} takes {taken} on {text}, not {bound}, which was measured");
            measured += 1;
        }
    }
    assert!(compared > 20_000 && near > 2_000 && measured > 8_000, "{compared}, {near}, {measured}");
}

/// Limits of patterns as people write them, and of such as take exponentially long.
#[test]
fn common_patterns_have_high_limits() {
    let limit = |source: &str, search| {
        let (is_anchored, rest) = anchored(source.as_bytes());
        let anchor = if is_anchored { Anchor::Start } else { Anchor::None };
        cost::limit(&Pattern::new(rest), anchor, search)
    };
    for (source, search, least) in [
        ("%a+", Search::All, 50_000),
        ("[^,\n]+", Search::All, 30_000),
        ("%d+", Search::All, 50_000),
        ("%s+$", Search::One, 300),
        ("user=([^ ]+)", Search::One, 30_000),
        ("%u%u%u", Search::One, 50_000),
        ("^(%d+)-(%d+)-(%d+)T(%d+):(%d+)", Search::One, 20_000),
        ("^%s*(.-)%s*$", Search::One, 300),
        ("(%w+)=(%S+)", Search::All, 300),
        ("[%w%.]+@[%w%.]+", Search::One, 150),
        ("\"(.-)\"", Search::All, 300),
    ] {
        let found = limit(source, search);
        assert!(found.is_some_and(|limit| limit >= least), "{source}: {found:?}");
    }
    for source in ["a-a-a-a-a-a-b", ".*.*.*.*x", "(.-)(.-)(.-)(.-)%1"] {
        let found = limit(source, Search::One);
        assert!(found.is_none_or(|limit| limit < 100), "{source}: {found:?}");
    }
    // Whatever the text: faults, and what is exponential in the length of the pattern.
    for source in ["[a", "%", "(a", "a)", "%1", "(%1)", "%f", &("a?".repeat(20) + "b")] {
        assert_eq!(limit(source, Search::One), None, "{source}");
    }
}
