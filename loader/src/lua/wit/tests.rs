use mlua::{Lua, MultiValue, Value};
use registry_schema::authored::wasm::Results;
use wasmtime::component::{Type, Val};

use crate::bulk;
use crate::conversion::Plan;
use crate::data::Data;
use crate::error::Error;
use crate::support::{ECHO, echo};
use crate::values::wave;
use crate::{ErrorKind, Loader};

/// The types that the tests use, by name.
struct Types {
    loader: Loader,
    _built: crate::support::Built,
}

impl Types {
    fn open() -> Self {
        let registry = echo::registry(DEFINITIONS, FUNCTIONS);
        let built = registry.guest("optional", ECHO, "optional", "").build();
        Self { loader: Loader::open(&built).unwrap(), _built: built }
    }

    fn get(&self, name: &str) -> Type {
        self.loader.function(&format!("app:{name}")).unwrap().params()[0].1.clone()
    }

    /// A function from the type to itself.
    fn plan(&self, name: &str) -> Plan {
        self.plan_with(name, Results::Pair)
    }

    fn plan_with(&self, name: &str, results: Results) -> Plan {
        let ty = self.get(name);
        Plan::new(&[("v".to_owned(), ty.clone())], Some(&ty), results)
    }
}

const DEFINITIONS: &str = "
enum color { red, green, blue-green }
flags access { read, write, run-it }
record user { first-name: string, tags: list<string>, age: option<u8>, is-on: option<bool> }
record none-record { none: bool }
record point { x: u32, label: option<string>, is: bool }
variant shape { no-shape, circle(f64), label(string), maybe(option<u32>) }
record failure { kind: string, message: string, code: u16 }
variant problem { not-found(string), other }
";

const FUNCTIONS: &[(&str, &str)] = &[
    ("bool", "bool"),
    ("s8", "s8"),
    ("u8", "u8"),
    ("s32", "s32"),
    ("s64", "s64"),
    ("u64", "u64"),
    ("f32", "f32"),
    ("f64", "f64"),
    ("char", "char"),
    ("string", "string"),
    ("bytes", "list<u8>"),
    ("numbers", "list<s16>"),
    ("floats", "list<f64>"),
    ("strings", "list<string>"),
    ("grid", "list<list<bool>>"),
    ("color", "color"),
    ("access", "access"),
    ("user", "user"),
    ("users", "list<user>"),
    ("point", "point"),
    ("points", "list<point>"),
    ("pair", "tuple<s8, char>"),
    ("trio", "tuple<u8, option<string>, option<u8>>"),
    ("option", "option<u32>"),
    ("option-option", "option<option<u32>>"),
    ("option3", "option<option<option<u32>>>"),
    ("options", "list<option<u32>>"),
    ("none-records", "list<option<none-record>>"),
    ("shape", "shape"),
    ("shapes", "list<shape>"),
    ("result", "result<u32, string>"),
    ("results", "list<result<u32, string>>"),
    ("units", "list<result>"),
    ("result-unit", "result"),
    ("result-failure", "result<_, failure>"),
    ("result-problem", "result<string, problem>"),
    ("result-color", "result<_, color>"),
];

/// The arguments as dynamic values.
pub(super) fn lower(plan: &Plan, lua: &Lua, args: MultiValue) -> Result<Vec<Val>, Error> {
    let keys = plan.keys(lua).unwrap();
    Ok(plan.lower(&keys, args, &Plan::meter(None))?.into_iter().map(Val::from).collect())
}

/// What Lua gets for `value`.
pub(super) fn lift(plan: &Plan, lua: &Lua, value: &Val) -> MultiValue {
    let value = bulk::Value::Val(value.clone());
    let (value, problem) = plan.lift(lua, &plan.keys(lua).unwrap(), Some(&value)).unwrap();
    MultiValue::from_iter([value, problem])
}

/// What was made of `value` as data, and of that as an argument.
pub(super) fn by_data(plan: &Plan, value: &Val) -> Val {
    let data = plan.lift_data(Some(&bulk::Value::Val(value.clone()))).unwrap();
    Val::from(plan.lower_data(&[data]).unwrap().remove(0))
}

fn evaluate(lua: &Lua, source: &str) -> MultiValue {
    lua.load(format!("return {source}")).eval().unwrap()
}

/// What `source` is as the type `name`, in WAVE.
fn lowered(types: &Types, name: &str, source: &str) -> Result<String, String> {
    let lua = Lua::new();
    let value = lower(&types.plan(name), &lua, evaluate(&lua, source));
    value.map(|args| wave::print(&args[0]).unwrap()).map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.message().to_owned()
    })
}

/// A table that holds one part many times, and one whose length is no promise.
#[test]
fn copies_are_bounded_before_they_are_made() {
    let types = Types::open();
    let shared =
        "(function() local s, t = ('x'):rep(1 << 20), {} for i = 1, 300 do t[i] = s end return t end)()";
    let error = lowered(&types, "strings", shared).unwrap_err();
    assert!(error.ends_with(": the copies of all arguments would have more than 268435456 bytes"), "{error}");
    let row = "(function() local r, t = {}, {} for i = 1, 100000 do r[i] = true end
        for i = 1, 100 do t[i] = r end return t end)()";
    let error = lowered(&types, "grid", row).unwrap_err();
    assert!(error.contains("would have more than 268435456 bytes"), "{error}");
    let sparse = "(function() local t = {} for k = 0, 61 do t[1 << k] = 1 end return t end)()";
    let error = lowered(&types, "numbers", sparse).unwrap_err();
    assert!(error.contains("a hole: there is no [3]"), "{error}");
}

/// Strings are strings, whether they look like numbers or not, and numbers are none: in a state that has little
/// memory, and in one that may hold large strings.
#[test]
fn strings_are_told_from_numbers() {
    let types = Types::open();
    let small = Lua::new();
    let large = Lua::new();
    large.globals().set("kept", large.create_string(vec![b'x'; 9 << 20]).unwrap()).unwrap();
    for lua in [&small, &large] {
        let lowered = |name: &str, source: &str| {
            let value = lower(&types.plan(name), lua, evaluate(lua, source));
            value.map(|args| wave::print(&args[0]).unwrap()).map_err(|error| error.message().to_owned())
        };
        for text in ["12", "-1.5e+300", "inf", "-nan", "0x1", "", "e", "a man", "fine", "Zoë"] {
            assert_eq!(lowered("strings", &format!("{{'', '{text}'}}")), Ok(format!("[\"\", \"{text}\"]")));
            for name in ["label", "first-name", "first_name"] {
                let (record, rest) =
                    if name == "label" { ("point", "x = 1, is = true") } else { ("user", "tags = {}") };
                let printed = lowered(record, &format!("{{['{name}'] = '{text}', {rest}}}")).unwrap();
                assert!(printed.contains(&format!("\"{text}\"")), "{printed}");
            }
        }
        for (given, shown) in [
            ("12", "expected string, got number"),
            ("-1.5", "expected string, got number"),
            ("0/0", "expected string, got number"),
            ("true", "expected string, got boolean"),
            ("{}", "expected string, got table"),
            ("print", "expected string, got function"),
            ("'a\\255'", "a string that is not UTF-8, from byte 2"),
        ] {
            assert_eq!(lowered("strings", &format!("{{'a', {given}}}")), Err(format!("v[2]: {shown}")));
            for name in ["first-name", "first_name"] {
                let source = format!("{{['{name}'] = {given}, tags = {{}}}}");
                assert_eq!(lowered("user", &source), Err(format!("v.first-name: {shown}")), "{source}");
            }
        }
        for other in ["'b'", "1", "false"] {
            let source = format!("{{first_name = 'a', ['first-name'] = {other}, tags = {{}}}}");
            let problem = "v: `first-name` and `first_name` are one field, and both are given";
            assert_eq!(lowered("user", &source), Err(problem.to_owned()), "{source}");
        }
        assert_eq!(
            lowered("strings", "{'a', x = 'b'}"),
            Err("v: expected an array, got the key `x`".to_owned())
        );
        assert_eq!(
            lowered("strings", "{'a', nil, 'c'}"),
            Err("v: a hole: there is no [2], but [3]".to_owned())
        );
        let indexed = "setmetatable({tags = {}}, {__index = function() return 'a' end})";
        assert_eq!(lowered("user", indexed), Err("v: missing field `first-name`".to_owned()));
    }
}

/// Data from elsewhere need not have its items in one place.
#[test]
fn data_has_items_among_its_fields_and_holes() {
    let types = Types::open();
    let lower = |name: &str, array: Vec<Data>, fields: Vec<(Data, Data)>| {
        let table = Data::Table(crate::data::Table { array, fields, ..Default::default() });
        let args = types.plan(name).lower_data(&[table]);
        args.map(|mut args| wave::print(&Val::from(args.remove(0))).unwrap())
            .map_err(|error| error.message().to_owned())
    };
    let row = |bit| [Data::Bool(bit)].into_iter().collect::<Data>();
    let second = vec![(Data::Integer(2), row(false))];
    assert_eq!(lower("grid", vec![row(true)], second), Ok("[[true], [false]]".to_owned()));
    let other = vec![(Data::from("x"), row(false))];
    let problem = "v: expected an array, got the key `x`".to_owned();
    assert_eq!(lower("grid", vec![row(true)], other.clone()), Err(problem.clone()));
    assert_eq!(lower("numbers", vec![Data::Integer(1)], other.clone()), Err(problem.clone()));
    assert_eq!(lower("strings", vec![Data::from("a")], other), Err(problem));
    let hole = vec![row(true), Data::Nil, row(true)];
    assert_eq!(lower("grid", hole, vec![]), Err("v: a hole: there is no [2], but [3]".to_owned()));
    let hole = vec![Data::Integer(1), Data::Nil, Data::Integer(3)];
    assert_eq!(lower("numbers", hole, vec![]), Err("v[2]: expected s16, got nil".to_owned()));
}

/// Equality in depth, of what `pairs` sees.
const EQUAL: &str = "
local function equal(a, b)
    if type(a) ~= 'table' or type(b) ~= 'table' then
        return math.type(a) == math.type(b) and (a == b or a ~= a and b ~= b)
    end
    for key, value in pairs(a) do
        if not equal(value, b[key]) then return false end
    end
    for key in pairs(b) do
        if rawget(a, key) == nil then return false end
    end
    return true
end
return equal(...)";

pub(super) fn assert_lua_equal(lua: &Lua, left: &Value, right: &Value, what: &str) {
    let equal: bool = lua.load(EQUAL).call((left, right)).unwrap();
    assert!(equal, "{what}: {left:#?} is not {right:#?}");
}

/// Every row of the table: what Lua gives, what it is in WAVE, and what Lua gets.
#[test]
fn lua_values_there_and_back() {
    let types = Types::open();
    let cases = [
        ("bool", "true", "true", "true"),
        ("s8", "-128", "-128", "-128"),
        ("s8", "3.0", "3", "3"),
        ("s64", "math.mininteger", "-9223372036854775808", "math.mininteger"),
        ("s64", "-0x1p63", "-9223372036854775808", "math.mininteger"),
        ("u64", "-1", "18446744073709551615", "-1"),
        ("u64", "0x1p63", "9223372036854775808", "math.mininteger"),
        ("f32", "0.1", "0.1", "0.10000000149011612"),
        ("f64", "1", "1", "1.0"),
        ("f64", "-1/0", "-inf", "-math.huge"),
        ("char", "'ö'", "'ö'", "'ö'"),
        ("char", "0x1F980", "'🦀'", "'🦀'"),
        ("string", "'Zoë'", "\"Zoë\"", "'Zoë'"),
        ("bytes", "'a\\0\\255'", "[97, 0, 255]", "'a\\0\\255'"),
        ("bytes", "{97, 0, 255.0}", "[97, 0, 255]", "'a\\0\\255'"),
        ("bytes", "{}", "[]", "''"),
        ("numbers", "{}", "[]", "{}"),
        ("numbers", "{1, -2, 3.0}", "[1, -2, 3]", "{1, -2, 3}"),
        ("numbers", "{[3] = 3, [2] = 2, [1] = 1}", "[1, 2, 3]", "{1, 2, 3}"),
        ("floats", "{1, 0.5}", "[1, 0.5]", "{1.0, 0.5}"),
        ("strings", "{'', 'a'}", "[\"\", \"a\"]", "{'', 'a'}"),
        ("grid", "{{}, {true, false}}", "[[], [true, false]]", "{{}, {true, false}}"),
        ("color", "'blue-green'", "blue-green", "'blue-green'"),
        ("color", "'blue_green'", "blue-green", "'blue-green'"),
        ("color", "0", "red", "'red'"),
        ("color", "2.0", "blue-green", "'blue-green'"),
        ("access", "{}", "{}", "{}"),
        ("access", "{'run-it', 'read'}", "{read, run-it}", "{read = true, ['run-it'] = true}"),
        ("access", "{run_it = true, read = false}", "{run-it}", "{['run-it'] = true}"),
        ("access", "5", "{read, run-it}", "{read = true, ['run-it'] = true}"),
        (
            "user",
            "{first_name = 'a', tags = {'x'}, age = 7, other = 1}",
            "{first-name: \"a\", tags: [\"x\"], age: some(7)}",
            "{['first-name'] = 'a', tags = {'x'}, age = 7}",
        ),
        (
            "user",
            "{['first-name'] = '', tags = {}, ['is-on'] = false}",
            "{first-name: \"\", tags: [], is-on: some(false)}",
            "{['first-name'] = '', tags = {}, ['is-on'] = false}",
        ),
        ("pair", "{-1, 'c'}", "(-1, 'c')", "{-1, 'c'}"),
        ("trio", "{1}", "(1, none, none)", "{1}"),
        ("trio", "{1, nil, 2}", "(1, none, some(2))", "{1, nil, 2}"),
        ("trio", "{1, 'a'}", "(1, some(\"a\"), none)", "{1, 'a'}"),
        ("option", "nil", "none", "nil"),
        ("option", "0", "some(0)", "0"),
        ("option-option", "nil", "none", "nil"),
        ("option-option", "{none = true}", "some(none)", "{none = true}"),
        ("option-option", "{some = 7}", "some(some(7))", "{some = 7}"),
        ("option3", "{none = true}", "some(none)", "{none = true}"),
        ("option3", "{some = {none = true}}", "some(some(none))", "{some = {none = true}}"),
        ("option3", "{some = {some = 7}}", "some(some(some(7)))", "{some = {some = 7}}"),
        ("options", "{1, {none = true}, {some = 2}}", "[some(1), none, some(2)]", "{1, {none = true}, 2}"),
        (
            "none-records",
            "{{none = true}, {some = {none = true}}}",
            "[none, some({none: true})]",
            "{{none = true}, {some = {none = true}}}",
        ),
        ("shape", "'no-shape'", "no-shape", "{['no-shape'] = true}"),
        ("shape", "{no_shape = true}", "no-shape", "{['no-shape'] = true}"),
        ("shape", "{circle = 1}", "circle(1)", "{circle = 1.0}"),
        ("shape", "{maybe = {none = true}}", "maybe(none)", "{maybe = {none = true}}"),
        ("shape", "{maybe = 1}", "maybe(some(1))", "{maybe = 1}"),
        (
            "shapes",
            "{'no_shape', {label = 'x'}}",
            "[no-shape, label(\"x\")]",
            "{{['no-shape'] = true}, {label = 'x'}}",
        ),
        ("results", "{{ok = 1}, {err = 'no'}}", "[ok(1), err(\"no\")]", "{{ok = 1}, {err = 'no'}}"),
        ("units", "{{ok = true}, {err = true}}", "[ok, err]", "{{ok = true}, {err = true}}"),
    ];
    let lua = Lua::new();
    for (name, source, as_wave, back) in cases {
        let what = format!("{name} {source}");
        let plan = types.plan(name);
        let args = lower(&plan, &lua, evaluate(&lua, source)).unwrap();
        assert_eq!(wave::print(&args[0]).unwrap(), as_wave, "{what}");
        let lifted: Vec<Value> = lift(&plan, &lua, &args[0]).into_iter().collect();
        let expected = evaluate(&lua, back).into_iter().next().unwrap();
        assert_lua_equal(&lua, &lifted[0], &expected, &what);
        assert!(lifted.len() == 2 && lifted[1].is_nil(), "{what}");
        // What came back may be given again, and means the same.
        let again = lower(&plan, &lua, MultiValue::from_iter([lifted[0].clone()])).unwrap();
        assert_eq!(again, args, "{what}");
        // The same by way of data.
        assert_eq!(by_data(&plan, &args[0]), args[0], "{what}");
    }
}

#[test]
fn what_does_not_fit_is_named_by_its_path() {
    let types = Types::open();
    let user = "record { first-name, tags, age, is-on }";
    let shape = "variant { no-shape, circle, label, maybe }";
    let cases = [
        ("bool", "1", "v: expected bool, got number".to_owned()),
        ("s8", "128", "v: 128 is out of range of s8 (-128 to 127)".into()),
        ("u8", "-1.0", "v: -1.0 is out of range of u8 (0 to 255)".into()),
        ("u8", "1.5", "v: expected u8, got 1.5".into()),
        ("u8", "'1'", "v: expected u8, got string".into()),
        ("s32", "0/0", "v: expected s32, got NaN".into()),
        ("s32", "1e300", "v: 1e300 is out of range of s32 (-2147483648 to 2147483647)".into()),
        (
            "s64",
            "0x1p63",
            "v: 9.223372036854776e18 is out of range of s64 (-9223372036854775808 to 9223372036854775807)"
                .into(),
        ),
        (
            "u64",
            "0x1p64",
            "v: 1.8446744073709552e19 is out of range of u64 (0 to 18446744073709551615)".into(),
        ),
        ("f64", "'1'", "v: expected f64, got string".into()),
        ("char", "'ab'", "v: expected a string of one character, got one of 2".into()),
        ("char", "0xD800", "v: 55296 is no character".into()),
        ("char", "-1", "v: -1 is no character".into()),
        ("string", "1", "v: expected string, got number".into()),
        ("string", "'a\\255'", "v: a string that is not UTF-8, from byte 2".into()),
        ("string", "nil", "v: expected string, got nil".into()),
        ("string", "print", "v: expected string, got function".into()),
        ("bytes", "{0, 256}", "v[2]: 256 is out of range of u8 (0 to 255)".into()),
        ("numbers", "{1, nil, 3}", "v: a hole: there is no [2], but [3]".into()),
        ("numbers", "{1, [3] = 3}", "v: a hole: there is no [2], but [3]".into()),
        ("numbers", "{1, n = 1}", "v: expected an array, got the key `n`".into()),
        ("numbers", "{[0] = 1}", "v: expected an array, got the key [0]".into()),
        ("numbers", "{1, [2.5] = 1}", "v: expected an array, got the key [2.5]".into()),
        ("numbers", "'12'", "v: expected list<s16>, got string".into()),
        ("numbers", "{1, {}}", "v[2]: expected s16, got table".into()),
        ("grid", "{{true}, {true, 1}}", "v[2][2]: expected bool, got number".into()),
        ("grid", "{{}, nil, {}}", "v: a hole: there is no [2], but [3]".into()),
        ("color", "'pink'", "v: unknown case `pink`, expected enum { red, green, blue-green }".into()),
        ("color", "3", "v: no case 3, the last of enum { red, green, blue-green } is 2".into()),
        ("color", "{}", "v: expected enum { red, green, blue-green }, got table".into()),
        ("access", "{'fly'}", "v: unknown flag `fly`, expected flags { read, write, run-it }".into()),
        ("access", "{'read', 1}", "v[2]: expected the name of a flag, got number".into()),
        ("access", "{read = 1}", "v.read: expected boolean, got number".into()),
        ("access", "8", "v: mask 8 has more bits than the 3 flags".into()),
        ("access", "-1", "v: mask -1 has more bits than the 3 flags".into()),
        ("user", "1", format!("v: expected {user}, got number")),
        (
            "user",
            "{frist_name = 'a', tags = {}, [1] = 2}",
            "v: missing field `first-name`; unknown keys: [1], `frist_name`".into(),
        ),
        ("user", "{first_name = 'a'}", "v: missing field `tags`".into()),
        (
            "user",
            "{first_name = 'a', ['first-name'] = 'b', tags = {}}",
            "v: `first-name` and `first_name` are one field, and both are given".into(),
        ),
        (
            "users",
            "{{first_name = 'a', tags = {}}, {first_name = 'b', tags = {1}}}",
            "v[2].tags[1]: expected string, got number".into(),
        ),
        ("pair", "{1}", "v: expected an array of 2, got 1".into()),
        ("pair", "{1, 'c', 3}", "v: expected an array of 2, got 3".into()),
        ("pair", "{1, 2, x = 3}", "v: expected an array, got the key `x`".into()),
        ("trio", "{nil, 'a'}", "v[1]: expected u8, got nil".into()),
        ("option", "'x'", "v: expected u32, got string".into()),
        ("option-option", "7", "v: expected `{some = …}` or `{none = true}`, got number".into()),
        ("option-option", "{}", "v: expected `{some = …}` or `{none = true}`".into()),
        ("option-option", "{some = 'x'}", "v.some: expected u32, got string".into()),
        ("shape", "'circle'", "v: case `circle` has a payload: expected `{[\"circle\"] = f64}`".into()),
        ("shape", "{square = 1}", format!("v: unknown case `square`, expected {shape}")),
        ("shape", "{}", "v: expected a table with one key, the case, got one with 0".into()),
        (
            "shape",
            "{circle = 1, label = ''}",
            "v: expected a table with one key, the case, got one with 2".into(),
        ),
        ("shape", "{[1] = 2}", "v: expected a name as the key, got number".into()),
        (
            "shape",
            "{no_shape = 1}",
            "v.no-shape: expected true, since there is no payload, got number".into(),
        ),
        ("shape", "{label = 1}", "v.label: expected string, got number".into()),
        ("shape", "7", format!("v: expected {shape}, got number")),
        ("results", "{{ok = 1, err = ''}}", "v[1]: expected `{ok = …}` or `{err = …}`".into()),
        ("results", "{{ok = ''}}", "v[1].ok: expected u32, got string".into()),
        ("results", "{1}", "v[1]: expected result, got number".into()),
    ];
    for (name, source, problem) in cases {
        assert_eq!(lowered(&types, name, source), Err(problem), "{name} {source}");
    }
}

#[test]
fn arguments_at_the_end_may_be_left_out_if_they_are_options() {
    let types = Types::open();
    let lua = Lua::new();
    let params = types.loader.function("app:optional").unwrap().params().to_vec();
    let plan = Plan::new(&params, Some(&types.get("string")), Results::Pair);
    let lower = |source: &str| lower(&plan, &lua, evaluate(&lua, source));
    let printed = |source: &str| {
        let args: Vec<String> = lower(source).unwrap().iter().map(|arg| wave::print(arg).unwrap()).collect();
        args.join(" ")
    };
    assert_eq!(printed("1"), "1 none none");
    assert_eq!(printed("1, nil, 'x'"), "1 none some(\"x\")");
    assert_eq!(printed("1, 2, 'x', nil"), "1 some(2) some(\"x\")");
    let signature = "func(a: u32, b: option<u32>, c: option<string>) -> string";
    for (source, found) in [("table.unpack({})", 0), ("1, 2, 'x', 4", 4)] {
        let error = lower(source).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.message(), format!("expected 1 to 3 arguments, got {found}: {signature}"));
    }
}

#[test]
fn records_are_readable_by_snake_case_and_otherwise_plain() {
    let types = Types::open();
    let lua = Lua::new();
    let plan = types.plan("user");
    let value = wave::parse("{first-name: \"a\", tags: []}", &types.get("user")).unwrap();
    let lifted = lift(&plan, &lua, &value);
    lua.globals().set("user", lifted.into_iter().next().unwrap()).unwrap();
    lua.load(
        "assert(user.first_name == 'a' and user['first-name'] == 'a')
        assert(user.is_on == nil and user['is-on'] == nil and user.unknown_key == nil and user[1] == nil)
        local keys = {}
        for key in pairs(user) do keys[#keys + 1] = key end
        table.sort(keys)
        assert(table.concat(keys, ' ') == 'first-name tags')
        assert(getmetatable(user) == false)
        assert(not pcall(setmetatable, user, nil))
        user['is-on'] = true
        assert(user.is_on == true)",
    )
    .exec()
    .unwrap();
    let user: Value = lua.globals().get("user").unwrap();
    let args = lower(&plan, &lua, MultiValue::from_iter([user])).unwrap();
    assert_eq!(wave::print(&args[0]).unwrap(), "{first-name: \"a\", tags: [], is-on: some(true)}");
}

/// A byte of dynamic values takes as much memory as any of them.
#[test]
fn bytes_count_as_what_they_become() {
    let types = Types::open();
    let lua = Lua::new();
    let params = types.loader.function("app:optional").unwrap().params().to_vec();
    let bytes = ("v".to_owned(), types.get("bytes"));
    let text = MultiValue::from_iter([Value::String(lua.create_string(vec![0; 1000]).unwrap())]);
    let taken = |params: &[(String, Type)]| {
        let plan = Plan::new(params, Some(&types.get("bytes")), Results::Pair);
        let meter = Plan::meter(None);
        plan.lower(&plan.keys(&lua).unwrap(), text.clone(), &meter).unwrap();
        meter.taken()
    };
    assert_eq!(taken(std::slice::from_ref(&bytes)), 1000);
    let dynamic = taken(&[bytes, params[1].clone()]);
    assert!(dynamic >= 1000 * size_of::<Val>() as u64, "{dynamic}");
}

/// As deep as components may be: their validation allows little more.
#[test]
fn types_may_be_nested_deeply() {
    const DEPTH: usize = 90;
    let ty = "list<".repeat(DEPTH) + "bool" + &">".repeat(DEPTH);
    let built = echo::registry("", &[("deep", &ty)]).build();
    let loader = Loader::open(&built).unwrap();
    let params = loader.function("app:deep").unwrap().params()[..1].to_vec();
    let plan = Plan::new(&params, Some(&params[0].1), Results::Pair);
    let lua = Lua::new();
    let nest = "local value = ... for _ = 1, 90 do value = {value} end return value";
    let nested: Value = lua.load(nest).call(true).unwrap();
    let args = lower(&plan, &lua, MultiValue::from_iter([nested.clone()])).unwrap();
    let back = lift(&plan, &lua, &args[0]).into_iter().next().unwrap();
    assert_lua_equal(&lua, &nested, &back, "nested lists");
    assert_eq!(by_data(&plan, &args[0]), args[0]);
    let wrong: Value = lua.load(nest).call(1).unwrap();
    let error = lower(&plan, &lua, MultiValue::from_iter([wrong])).unwrap_err();
    assert_eq!(error.message(), format!("v{}: expected bool, got number", "[1]".repeat(DEPTH)));
}

#[test]
fn metamethods_do_not_run() {
    let types = Types::open();
    let lua = Lua::new();
    let source = "(function()
        local trap = function() error('a metamethod ran') end
        local all = {__index = trap, __len = trap, __pairs = trap, __newindex = trap}
        return setmetatable({setmetatable({true}, all)}, all)
    end)()";
    let args = lower(&types.plan("grid"), &lua, evaluate(&lua, source)).unwrap();
    assert_eq!(wave::print(&args[0]).unwrap(), "[[true]]");
}

/// Method, WAVE of the result, and the kind, message and details that Lua sees.
#[test]
fn results_are_pairs_and_errors_are_objects() {
    let types = Types::open();
    let lua = Lua::new();
    let returned = |name: &str, as_wave: &str, results: Results| {
        let value = wave::parse(as_wave, &types.get(name)).unwrap();
        lift(&types.plan_with(name, results), &lua, &value)
    };
    let check: mlua::Function =
        lua.load("local code, values = ... return load(code)(table.unpack(values))").into_function().unwrap();
    let assert_that = |values: MultiValue, code: &str| {
        let all = lua.create_sequence_from(values.into_iter().collect::<Vec<_>>()).unwrap();
        let code = format!("local value, err = ... assert({code}, tostring(err))");
        check.call::<()>((code.as_str(), all)).unwrap_or_else(|error| panic!("{code}: {error}"));
    };
    assert_that(returned("result", "ok(7)", Results::Pair), "value == 7 and err == nil");
    assert_that(returned("result-unit", "ok", Results::Pair), "value == nil and err == nil");
    assert_that(returned("result", "ok(7)", Results::Table), "value.ok == 7 and err == nil");
    assert_that(returned("result", "err(\"no\")", Results::Table), "value.err == 'no' and err == nil");
    assert_that(returned("result-unit", "err", Results::Table), "value.err == true and value.ok == nil");
    let cases = [
        ("result", "err(\"no\")", "UNKNOWN", "no", "err:details() == 'no' and err:retryable() == nil"),
        ("result-unit", "err", "UNKNOWN", "the function returned an error", "err:details() == nil"),
        (
            "result-failure",
            "err({kind: \"PermissionDenied\", message: \"m\", code: 3})",
            "PERMISSION_DENIED",
            "m",
            "err:details().code == 3 and err:details().message == 'm'",
        ),
        ("result-failure", "err({kind: \"odd\", message: \"m\", code: 3})", "UNKNOWN", "m", "true"),
        (
            "result-problem",
            "err(not-found(\"x\"))",
            "NOT_FOUND",
            "not-found(\"x\")",
            "err:details()['not-found'] == 'x'",
        ),
        ("result-problem", "err(other)", "UNKNOWN", "other", "err:details().other == true"),
        ("result-color", "err(blue-green)", "UNKNOWN", "blue-green", "err:details() == 'blue-green'"),
    ];
    for (name, as_wave, kind, message, more) in cases {
        let code =
            format!("value == nil and err:kind() == '{kind}' and err:message() == '{message}' and {more}");
        assert_that(returned(name, as_wave, Results::Pair), &code);
    }
}

/// Lists that a typed call gives are the same to Lua as those of a dynamic one.
#[test]
fn whole_values_are_lifted_like_dynamic_ones() {
    use bulk::Value as Whole;
    let types = Types::open();
    let lua = Lua::new();
    let boxed = |value: Whole| Some(Box::new(value));
    let cases = [
        ("bytes", Whole::Bytes(vec![0, 255])),
        ("result", Whole::Result(Ok(boxed(Whole::Val(Val::U32(7)))))),
        ("result-unit", Whole::Result(Ok(None))),
    ];
    for (name, whole) in cases {
        for results in [Results::Pair, Results::Table] {
            let plan = types.plan_with(name, results);
            let (one, _) = plan.lift(&lua, &plan.keys(&lua).unwrap(), Some(&whole)).unwrap();
            let other = lift(&plan, &lua, &Val::from(whole.clone())).into_iter().next().unwrap();
            assert_lua_equal(&lua, &one, &other, &format!("{name}: {whole:?}"));
        }
    }
    let failed = Whole::Result(Err(boxed(Whole::Val(Val::String("no".into())))));
    let error = types.plan("result").lift_data(Some(&failed)).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unknown, "no"));
}

#[test]
fn no_result_is_nil() {
    let lua = Lua::new();
    let plan = Plan::new(&[], None, Results::Pair);
    let keys = plan.keys(&lua).unwrap();
    let (value, problem) = plan.lift(&lua, &keys, None).unwrap();
    assert!(value.is_nil() && problem.is_nil());
    let error = plan.lift(&lua, &keys, Some(&bulk::Value::Val(Val::Bool(true)))).unwrap_err();
    assert!(error.to_string().contains("a value is not of the type of its signature"), "{error}");
}

mod lists_and_records;
