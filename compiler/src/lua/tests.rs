//! The parser against Lua itself: what it accepts, Lua accepts without the types, and the other way round.

use std::fmt::Write as _;

use super::mistake::{Mistake, position};
use super::parser::{SOURCE_BYTES_MAX, parse};
use crate::diagnostic::Code;

/// Whether Lua compiles `text` as the loader does.
fn lua_compiles(lua: &mlua::Lua, text: &str) -> Result<(), String> {
    let wrapped = format!("return function(_ENV, require, ...) {text}\nend");
    lua.load(wrapped).into_function().map(|_| ()).map_err(|error| error.to_string())
}

/// The erased text.
fn erased(source: &str) -> String {
    match parse(source) {
        Ok(chunk) => chunk.erased,
        Err(mistakes) => panic!("{source}\n{mistakes:?}"),
    }
}

fn mistakes(source: &str) -> Vec<Mistake> {
    match parse(source) {
        Ok(chunk) => panic!("accepted: {source}\n{}", chunk.erased),
        Err(mistakes) => mistakes,
    }
}

/// Sources without types, several statements each.
const PLAIN: &[&str] = &[
    "",
    "return",
    "return;",
    "return 1, 2, ...;",
    "local a, b <const>, c <close> = 1, 2, nil",
    "local x <const> = 5 local function f() return x, x end return f",
    "goto done do local x = 1 end ::done::",
    "for i = 1, 10 do if i % 2 == 0 then goto continue end print(i) ::continue:: end",
    "while true do local x = f() ::again:: if x then break end goto again end",
    "repeat local x = 1 if x then goto continue end ::continue:: until x",
    "do goto l1 local a ::l1:: ; ; ::l2:: end",
    "local y = f(x)\n::continue::\ng()",
    "for k, v in pairs(t), nil, x do t[k] = v; end",
    "for i = 10, 1, -1 do end",
    "local t = {1, 2; 3, [4] = 5, x = 6, f(), ...,}",
    "a.b.c, d[1], e = f(...)",
    "a.b:c(1):d{2}:e'3'.f = [==[long ]] string\n]==]",
    "function a.b.c:d(x, ...) return self, ... end",
    "local function f(a, b, ...) local t = {...} return #t, select('#', ...) end",
    "x = not a == b and c or d ~= e .. f .. g ^ -h ^ #i // 2 & 3 | 4 ~ 5 << 6 >> ~7",
    "x = 0xA.8p1 + 0x.1p-3 + 1e5 + .5 + 3. + 0xffffffffffffffffff + 1E+2 + 0x1P4",
    "s = \"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\'\\z   \\x41\\65\\u{7FFFFFFF}\\\nend\"",
    "--[[ long\ncomment ]] --[==[ another ]]\n]==] x = 1 -- short",
    "print 'x' print [[y]] print {z}",
    "type = 5 type.x = 1 type(x) type{} local type = type",
    "as = 5 as.x = 1\nas(y)\nas 'x'\nas {1}",
    "x = y\nas {1}\nx = y\nas 'a'\nx = y\nas (1)",
    "local readonly, export = 1, 2 export = readonly export.type = type",
    "if a then elseif b then else end if x then break_ = 1 end",
    "while x do if y then break; end end",
    "local f = function() end (f or g)()",
    "return function(...) return ... end",
    "x = a < b and b > c and d <= e and f >= g",
    "local _ENV <const> = {}; x = 1",
    "do return end",
    "local a <const> = 'x' .. 'y' return function() return a end",
    "f\n(g)",
    "local t = {f = function() end, [\"g\"] = {}, 'h'; }",
    "x = - - -1 y = not not nil z = ~~1",
    "x = (((((1)))))",
    "::a:: ::b:: goto a",
    "goto a; ::a::",
    "do ::a:: end do ::a:: end",
    "x = 1 -- comment at the end",
    "x = 3 .. 4",
    "a = b.c['d'].e:f()\n.g",
];

/// Sources that Lua refuses, and so must we.
const REFUSED: &[&str] = &[
    "goto nowhere",
    "break",
    "do break end",
    "while x do local function f() break end end",
    "local x <const> = 1; x = 2",
    "local x <const> = f() function g() x = 2 end",
    "local x <close> = nil; x = 2",
    "local x <unknown> = 1",
    "local x <close>, y <close> = 1, 2",
    "local function f() return ... end",
    "goto l local a ::l:: print(a)",
    "repeat goto continue local x ::continue:: until x",
    "do ::l:: end goto l",
    "::a:: ::a::",
    "::a:: do ::a:: end",
    "x",
    "x.y",
    "(f)",
    "f() = 1",
    "(a) = 1",
    "a, f() = 1",
    "return 1 x = 2",
    "local function f() return 1; return 2 end",
    "x = 1e",
    "x = 0x",
    "x = 1..2",
    "x = 12abc",
    "x = 0xg",
    "x = 1e5e5",
    "x = '\n'",
    "x = '\\q'",
    "x = '\\256'",
    "x = '\\x4'",
    "x = '\\u{80000000}'",
    "x = '\\u{}'",
    "x = [==[ never closed ]]",
    "--[[ never closed",
    "x = [= 1",
    "x = }",
    "if x then",
    "if x end",
    "for i in do end",
    "for i = 1 do end",
    "for 1 = 2, 3 do end",
    "function f(a, ..., b) end",
    "function f(a,) end",
    "function f(1) end",
    "local function a.b() end",
    "x = a b",
    "x = $",
    "end",
    "until x",
    "local 1 = 2",
    "x = a != b",
    "goto = 1",
    "a:b = 1",
    "a:b.c()",
    "return return",
    "x = function end",
    "{} = 1",
    "\u{e9} = 1",
    "x = 'a",
    "local x <const>",
    "f{",
    "for a.b in c do end",
    "local a <const> = 1; function a() end",
];

#[test]
fn plain_sources_stay_as_they_are() {
    let lua = mlua::Lua::new();
    for source in PLAIN {
        lua_compiles(&lua, source).unwrap();
        assert_eq!(erased(source), *source);
    }
}

#[test]
fn what_lua_refuses_is_refused() {
    let lua = mlua::Lua::new();
    for source in REFUSED {
        // A constant that is never given a value is pointless and allowed.
        if *source == "local x <const>" {
            lua_compiles(&lua, source).unwrap();
            assert_eq!(erased(source), *source);
            continue;
        }
        assert!(lua_compiles(&lua, source).is_err(), "{source}");
        let found = mistakes(source);
        assert!(found.len() == 1 && found[0].at <= source.len(), "{source}: {found:?}");
    }
}

/// Sources with types, and what is left of them.
const TYPED: &[(&str, &str)] = &[
    ("local n: number = 3.14", "local n         = 3.14"),
    ("local y: number? = nil", "local y          = nil"),
    ("local a: number, b: string? = 1", "local a        , b          = 1"),
    ("type S = \"a\" | \"b\"\n(f or g)()", ";                 \n(f or g)()"),
    ("local u = d :: User\n(f or g)()", "local u = d ;      \n(f or g)()"),
    ("local u = d :: User", "local u = d        "),
    ("local u = d as User", "local u = d        "),
    ("x = f(a :: T, (b as {T}).c)", "x = f(a     , (b       ).c)"),
    ("local x <const>: number = 1", "local x <const>         = 1"),
    ("local x: number <const> = 1", "local x         <const> = 1"),
    ("local x: Map<string, List<number>>= f()", "local x                           = f()"),
    ("local name = (user!).name", "local name = (user ).name"),
    ("x = user!.name!:upper()", "x = user .name :upper()"),
    ("x = y :: any\n::continue::\nf()", "x = y       \n::continue::\nf()"),
    (
        "function f<T: HasName, U>(x: T, ...: U): T return x end",
        "function f               (x   , ...   )    return x end",
    ),
    ("type T = {\n  a: 'x\\\n', -- why\n  b: [[\n]] }", ";         \n        \n   -- why\n       \n    "),
    ("for i: integer = 1, 2 do end", "for i          = 1, 2 do end"),
    ("for k: string, v: any in t do end", "for k        , v      in t do end"),
    ("#!/usr/bin/lua\nreturn 1", "              \nreturn 1"),
];

#[test]
fn types_become_spaces() {
    let lua = mlua::Lua::new();
    for (source, expected) in TYPED {
        assert_eq!(erased(source), *expected, "{source}");
        lua_compiles(&lua, expected).unwrap();
    }
}

/// Every form of types that is documented, and some that are usual besides.
const TYPES: &[&str] = &[
    "number",
    "integer?",
    "number | string",
    "| 'a' | 'b'",
    "\"pending\" | \"active\" | 5 | -1 | true | false | nil",
    "{string}",
    "{[string]: number}",
    "{}",
    "{name: string, age: number}",
    "{host: string; port: number, timeout?: number, end: string, readonly id: string,}",
    "{ok: true, value: T} | {ok: false, error: E}",
    "Named & Aged & {x: number}",
    "A & B | C & D",
    "(number) -> number",
    "(number, string) -> boolean",
    "(a: number, b?: string, ...any) -> (number?, error?)",
    "(...: string) -> ()",
    "(...) -> ()",
    "() -> () -> number",
    "<T, U: Named>(T) -> U",
    "(number | string)?",
    "((number) -> string)?",
    "Result<{User}, string>",
    "models.User",
    "a.b.C<number>?",
    "{number @min(0) @max(100)}",
    "number @min(1) | string @min_len(1)",
    "string @pattern(\"^.+@.+$\") @trim",
    "{age: number @min(0) @max(150), name: string @min_len(1) @max_len(100)}",
    "function",
    "{f: function, g: {{number}}}",
    "any",
    "unknown",
    "never",
];

#[test]
fn every_type_is_read_everywhere() {
    let lua = mlua::Lua::new();
    for ty in TYPES {
        for source in [
            format!("local x: {ty} = f()"),
            format!("local x: {ty}\nlocal y: {ty}, z <const>: {ty} = 1, 2"),
            format!("local function f(a: {ty}, b?: {ty}, ...: {ty}): {ty} return a end"),
            format!("function M.f(a: {ty}): ({ty}, {ty}) return a end"),
            format!("f(function(a: {ty}): {ty} end, b as {ty}, c :: {ty})"),
            format!("type X = {ty} type Y<T> = {ty}\nexport type Z = {ty}\nf()"),
            format!("local x = f() as {ty}\ng()\nlocal y = h :: {ty}\n(i or j)()"),
            format!("return x :: {ty}, y as {ty}"),
            format!("for i: {ty} = 1, 2 do end for k: {ty}, v: {ty} in f() do end"),
        ] {
            let text = erased(&source);
            lua_compiles(&lua, &text).unwrap_or_else(|error| panic!("{source}\n{text}\n{error}"));
            let kept = |c: &char| *c == '\n';
            assert_eq!(source.chars().filter(kept).count(), text.chars().filter(kept).count());
            assert_eq!(source.chars().count(), text.chars().count());
        }
    }
}

#[test]
fn faults_have_their_place() {
    for (source, line, column, message) in [
        ("local x = \n  )", 2, 3, "found `)`, expected an expression"),
        ("if x then\n  f()\n", 3, 1, "found the end of the source, expected `end` to close `if` in line 1"),
        ("f(1, 2", 1, 7, "found the end of the source, expected `)`"),
        ("local é: = 5", 1, 7, "`é` is no symbol of Lua"),
        ("local s = 'é' ; x = = 1", 1, 21, "found `=`, expected an expression"),
        ("local x: {a: } = 1", 1, 14, "found `}`, expected a type"),
        ("local x: number @min(f) = 1", 1, 22, "found `f`, expected a literal"),
        (
            "type X = (number)\ntype Y = (number,\n string) = 1",
            3,
            10,
            "found `=`, expected `->` behind the parameters of a function type",
        ),
        ("local x <const> = 1\nx = 2", 2, 1, "`x` is constant and can't be assigned to"),
        ("x = a != b", 1, 7, "found `!`, expected an operator"),
        ("goto x\nlocal y\n::x:: f(y)", 1, 1, "this goto jumps into the scope of the local variable `y`"),
        ("x = y z", 1, 7, "an expression alone is no statement, expected a call or an assignment"),
        ("x.y\nz = 1", 1, 1, "an expression alone is no statement, expected a call or an assignment"),
    ] {
        let found = mistakes(source);
        assert_eq!(found.len(), 1, "{source}");
        assert_eq!(
            (position(source, found[0].at), found[0].message.as_str()),
            ((line, column), message),
            "{source}"
        );
    }
}

#[test]
fn types_as_values_are_built_in_front() {
    let prefix = |nodes: &str, names: &str| {
        format!("local __types <const> = require(\":types\")({{{nodes}}},{{{names}}}); ")
    };
    let source = "type Point = {x: number}\nlocal p = Point(data)\nif Point:is(data) then end\n\
                  local s = string(x)\nprint(Number:kind(), typeof(p), typeof(a: any))";
    let source = source.replace(", typeof(a: any)", "");
    let chunk = parse(&source).unwrap();
    let nodes = r#"{"named","Point",3},{"number"},{"record",{"x",2,false,},{},{}},{"string"}"#;
    let expected = format!(
        "{};                       \nlocal p = __types.Point(data)\nif __types.Point:is(data) then end\n\
         local s = __types.string(x)\nprint(__types.Number:kind(), __types.typeof(p))",
        prefix(nodes, "Number=2,Point=1,string=4")
    );
    assert_eq!(chunk.erased, expected);
    assert_eq!(chunk.validations, []);
    let source = "type P = {x: Missing}\nprint(typeof(p):kind(), P:is(p))";
    let faulty = parse(source).unwrap();
    assert_eq!(faulty.validations.len(), 1);
    assert_eq!(faulty.erased.lines().last(), source.lines().last());

    let typed = parse("local x: {string}? = f() return typeof(x)").unwrap();
    let nodes = r#"{"string"},{"array",1},{"optional",2}"#;
    assert_eq!(typed.erased, prefix(nodes, "") + "local x            = f() return __types[3](x)");
    for source in [
        "type Point = {} local Point = f Point(x)",
        "type Point = {} function Point() end Point(x)",
        "local string = tostring string(x)",
        "Number = 5 print(Number)",
        "string.format('x') x = string y = {Point = 1} y.Point()",
    ] {
        let chunk = parse(source).unwrap();
        assert!(!chunk.erased.contains("__types"), "{}", chunk.erased);
    }
}

#[test]
fn types_that_can_not_be_built() {
    for (source, message) in [
        (
            "type A = {x: Lost} A(1)",
            "a type that is used as a value needs the type `Lost`, which is not known",
        ),
        ("type A<T> = {next: A<{T}>} A(1)", "a type that is used as a value has too many parts"),
        ("type A = 'x\\\ny' A(1)", "a type that is used as a value has a text of several lines"),
    ] {
        let chunk = parse(source).unwrap();
        let found: Vec<&str> = chunk.validations.iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(found, [message]);
        assert_eq!(chunk.validations[0].code, Code::LuaTypeAsValue);
    }
}

#[test]
fn types_of_real_applications() {
    for (source, expected) in [
        ("local x: any[] = {} return x[1]", "local x        = {} return x[1]"),
        ("local s: {[string]: any[][]?} = {}", "local s                       = {}"),
        ("local r: readonly {number} = {}", "local r                    = {}"),
        ("local r: readonly string? = s", "local r                   = s"),
        (
            "type R = {a: readonly {string}, readonly: number}",
            ";                                                ",
        ),
        ("local readonly: number = 1", "local readonly         = 1"),
        ("local x: readonly\nlocal y = 1", "local x          \nlocal y = 1"),
        ("type S = typeof(a.b) | nil", ";                         "),
        ("local m: typeof(require(\"m\")) = nil", "local m                       = nil"),
        (
            "local function f(): string?, error? return g() end",
            "local function f()                  return g() end",
        ),
        ("f(function(a): A, B return a end, 1)", "f(function(a)       return a end, 1)"),
    ] {
        assert_eq!(erased(source).trim_end(), expected.trim_end(), "{source}");
    }
}

#[test]
fn limits_are_those_of_lua() {
    let lua = mlua::Lua::new();
    let locals = |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("local v{n}\n"));
    let list = |count: usize| vec!["f()"; count].join(",");
    let upvalues = |count: usize| {
        let half = count / 2;
        let declare = |from: usize, to: usize| {
            (from..to).fold(String::new(), |text, n| text + &format!("local v{n}\n"))
        };
        let uses = (0..count).fold(String::new(), |text, n| text + &format!("v{n} = 1\n"));
        format!("{} function f() {} function g() {uses} end end", declare(0, half), declare(half, count))
    };
    // The chunk itself has `_ENV` and `require`.
    for (fits, too_much) in [
        (locals(198), locals(199)),
        (format!("function f() {} end", locals(200)), format!("function f() {} end", locals(201))),
        (upvalues(255), upvalues(256)),
        (format!("f({})", list(240)), format!("f({})", list(256))),
        (format!("return {}", list(240)), format!("return {}", list(256))),
        (format!("x = {{{}}}", list(5_000)), format!("local x = {{}} x = {}", list(260))),
    ] {
        lua_compiles(&lua, &erased(&fits)).unwrap();
        assert_eq!(mistakes(&too_much)[0].code, Code::LuaLimit);
        assert!(lua_compiles(&lua, &too_much).is_err());
    }
}

#[test]
fn deep_nesting_is_refused_and_never_overflows() {
    let deep = std::thread::Builder::new().stack_size(super::plan::STACK_BYTES).spawn(deep_nesting);
    deep.unwrap().join().unwrap();
}

fn deep_nesting() {
    let lua = mlua::Lua::new();
    let nested = |count: usize| {
        [
            format!("x = {}1{}", "(".repeat(count), ")".repeat(count)),
            format!("x = {}{}", "{".repeat(count), "}".repeat(count)),
            format!("x = {}1", "not ".repeat(count)),
            format!("{}{}", "do ".repeat(count), " end".repeat(count)),
            format!("x = {}1", "a..".repeat(count)),
            format!("x = {}1", "2^".repeat(count)),
            format!("{}{}", "function f() ".repeat(count / 2), " end".repeat(count / 2)),
            format!("x = {}{}", "function() return ".repeat(count / 3), " end".repeat(count / 3)),
            format!("{}x = 1", "a, ".repeat(count)),
            format!("local x: {}number{} = 1", "{".repeat(count), "}".repeat(count)),
            format!("local x: {}number = 1", "() -> ".repeat(count)),
            format!("local x: {}number{} = 1", "A<".repeat(count), "> ".repeat(count)),
            format!("x{} = 1", "[x".repeat(count) + &"]".repeat(count)),
            format!("{}{}", "if x then ".repeat(count), " end".repeat(count)),
            "f(".repeat(count) + &")".repeat(count),
        ]
    };
    for source in nested(20) {
        let text = erased(&source);
        lua_compiles(&lua, &text).unwrap_or_else(|error| panic!("{source}\n{error}"));
    }
    for count in [150, 160, 170, 172, 174, 176, 178, 180, 190] {
        for source in nested(count) {
            if let Ok(chunk) = parse(&source) {
                lua_compiles(&lua, &chunk.erased).unwrap_or_else(|error| panic!("{count} {source}\n{error}"));
            }
        }
    }
    for source in nested(100_000) {
        assert_eq!(mistakes(&source)[0].code, Code::LuaLimit, "{}", &source[..40]);
    }
    // Long, not deep.
    for source in [
        format!("x = 1{}", "+1".repeat(100_000)),
        format!("if x then {} end", "elseif y then ".repeat(50_000)),
        format!("x{} = 1", ".x".repeat(100_000)),
        format!("local x: number{} = 1", "?".repeat(100_000)),
        format!("local x: A{} = 1", "|A".repeat(100_000)),
    ] {
        lua_compiles(&lua, &erased(&source)).unwrap();
    }
    let big = " ".repeat(SOURCE_BYTES_MAX + 1);
    assert_eq!(mistakes(&big)[0].code, Code::LuaLimit);
}

/// Numbers that are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// Words and symbols of all sources above, to be put together at random.
fn words() -> Vec<Vec<&'static str>> {
    let sources = PLAIN.iter().chain(REFUSED).chain(TYPED.iter().map(|(source, _)| source));
    let lists = sources.map(|source| source.split(' ').collect::<Vec<_>>());
    lists.collect()
}

#[test]
fn both_agree_on_sources_made_at_random() {
    let lua = mlua::Lua::new();
    let lists = words();
    let all: Vec<&str> = lists.iter().flatten().copied().collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut words = lists[random.below(lists.len())].clone();
        for _ in 0..random.below(3) + 1 {
            let at = random.below(words.len());
            match random.below(4) {
                0 if words.len() > 1 => {
                    words.remove(at);
                }
                1 => words.insert(at, all[random.below(all.len())]),
                2 => words[at] = all[random.below(all.len())],
                _ => words.extend(&lists[random.below(lists.len())]),
            }
        }
        let source = words.join(" ");
        let plain = lua_compiles(&lua, &source);
        match parse(&source) {
            Ok(chunk) => {
                accepted += 1;
                if let Err(error) = lua_compiles(&lua, &chunk.erased) {
                    panic!("{source}\n-- without types\n{}\n-- {error}", chunk.erased);
                }
                let mut changed = String::new();
                if plain.is_ok() && chunk.erased != source {
                    writeln!(changed, "{source}\n{}", chunk.erased).unwrap();
                }
                // A cast on one line wins over a call of a global `as`.
                assert!(changed.is_empty() || source.contains("as "), "{changed}");
            }
            Err(mistakes) => assert!(plain.is_err() || source.contains("as "), "{source}\n{mistakes:?}"),
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}
