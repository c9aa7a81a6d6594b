//! What is made and read by more than one value at a time.

use mlua::{Lua, MultiValue, Table, Value, VmState};
use registry_schema::authored::wasm::Results;
use wasmtime::component::{Type, Val};

use super::{Types, assert_lua_equal, lift, lower, lowered};
use crate::Loader;
use crate::bulk;
use crate::conversion::Plan;
use crate::support::echo;
use crate::values::wave;

/// Short lists are made at once, long ones in parts.
#[test]
fn lists_of_all_lengths_come_back() {
    let types = Types::open();
    let lua = Lua::new();
    let plan = types.plan("numbers");
    for length in [0, 1, 3, 4, 5, 15, 16, 999, 1000, 1001, 2000, 2001] {
        let numbers = Val::List((0..length).map(Val::S16).collect());
        let list = lift(&plan, &lua, &numbers).into_iter().next().unwrap();
        let args = lower(&plan, &lua, MultiValue::from_iter([list.clone()])).unwrap();
        assert_eq!(args, [numbers], "{length}");
        let fill = "local list = {} for n = 1, ... do list[n] = n - 1 end return list";
        let same: Value = lua.load(fill).call(length).unwrap();
        assert_lua_equal(&lua, &list, &same, &format!("{length}"));
    }
}

/// What a list of 1,000 items and more is refused for, wherever it is.
#[test]
fn long_lists_are_arrays_to_the_last_key() {
    let types = Types::open();
    let list = |length: usize, change: &str| {
        format!("(function() local t = {{}} for n = 1, {length} do t[n] = n end {change} return t end)()")
    };
    for length in [15, 16, 999, 1000, 1001, 2000, 2001] {
        let refused = |name: &str, change: &str, problem: &str| {
            let found = lowered(&types, name, &list(length, change));
            assert_eq!(found, Err(problem.to_owned()), "{length} {change}");
        };
        for hole in [1, 15, 16, 999, 1000, 1001, 2000].into_iter().filter(|hole| *hole < length) {
            let problem = format!("v: a hole: there is no [{hole}], but [{length}]");
            refused("numbers", &format!("t[{hole}] = nil"), &problem);
        }
        for (key, shown) in [
            ("x", "the key `x`"),
            ("n", "the key `n`"),
            ("[0]", "the key [0]"),
            ("[-1]", "the key [-1]"),
            ("[0.5]", "the key [0.5]"),
            ("[true]", "a key that is a boolean"),
            ("['1']", "the key `1`"),
        ] {
            let key = if key.starts_with('[') { key.to_owned() } else { format!(".{key}") };
            refused("numbers", &format!("t{key} = 1"), &format!("v: expected an array, got {shown}"));
        }
        let beyond = length + 2;
        refused(
            "numbers",
            &format!("t[{beyond}] = 1"),
            &format!("v: a hole: there is no [{}], but [{beyond}]", length + 1),
        );
        // An item that does not fit comes before all that.
        for (value, shown) in [("'1'", "string"), ("{}", "table"), ("true", "boolean")] {
            let change = format!("t[{length}] = {value} t.x = 1");
            refused("numbers", &change, &format!("v[{length}]: expected s16, got {shown}"));
            refused("floats", &change, &format!("v[{length}]: expected f64, got {shown}"));
        }
        refused("numbers", "t[7] = 7.5", "v[7]: expected s16, got 7.5");
        // Nothing comes from a metatable.
        let indexed = "t[7] = nil setmetatable(t, {__index = function() return 7 end})";
        refused("numbers", indexed, &format!("v: a hole: there is no [7], but [{length}]"));
        let whole = lowered(&types, "numbers", &list(length, "for n = 1, #t, 2 do t[n] = n + 0.0 end"));
        assert_eq!(whole, lowered(&types, "numbers", &list(length, "")));
    }
}

/// A table is an array if its keys are 1 to as many as there are, however it was filled: where Lua keeps a key
/// depends on that.
#[test]
fn arrays_are_told_by_their_keys() {
    const FILL: &str = "
        local below, keys = ...
        local table = below(2) == 0 and {1, 2, 3} or below(2) == 0 and {1, 2, 3, x = 1, y = 2} or {}
        for _ = 1, below(40) do
            local key = keys[below(4) == 0 and below(#keys) + 1 or below(6) + 1]
            if below(3) == 0 then table[key] = nil else table[key] = 7 end
        end
        local count, is_array = 0, true
        for _ in pairs(table) do count = count + 1 end
        for n = 1, count do is_array = is_array and table[n] ~= nil end
        return table, is_array, count";
    let types = Types::open();
    let lua = Lua::new();
    let plan = types.plan("numbers");
    let keys = lua.load("{1, 2, 3, 4, 5, 6, 7, 8, 'x', 'y', 'z', 'n', -1, 0, 1 << 40}");
    let keys: Value = keys.eval().unwrap();
    let mut seed = 1_u64;
    let below = lua.create_function_mut(move |_, bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok((seed >> 33) % bound)
    });
    let below = below.unwrap();
    let fill = lua.load(FILL).into_function().unwrap();
    let mut arrays = 0;
    for round in 0..20_000 {
        let (table, is_array, count): (Value, bool, usize) = fill.call((&below, &keys)).unwrap();
        let what = format!("{round}: {table:#?}");
        match lower(&plan, &lua, MultiValue::from_iter([table])) {
            Ok(args) => {
                let Val::List(items) = &args[0] else { panic!("{what}") };
                assert!(is_array && items.len() == count, "{what}");
                arrays += 1;
            }
            Err(problem) => assert!(!is_array, "{what}: {problem}"),
        }
    }
    assert!((1_000..19_000).contains(&arrays), "{arrays} arrays");
}

/// Values of types that Lua code of ours makes, in WAVE.
fn made_by_lua() -> [(&'static str, String); 4] {
    let list = |count: u32, item: fn(u32) -> String| {
        let items: Vec<String> = (0..count).map(item).collect();
        format!("[{}]", items.join(", "))
    };
    [
        ("numbers", list(2001, |n| n.to_string())),
        ("points", list(45, point)),
        ("strings", list(201, |n| format!("\"{}\"", "ab".repeat(n as usize)))),
        (
            "users",
            list(45, |n| format!("{{first-name: \"{n}\", tags: [\"a\"], is-on: some({})}}", n % 2 == 0)),
        ),
    ]
}

fn point(n: u32) -> String {
    match n % 3 {
        0 => format!("{{x: {n}, is: true}}"),
        _ => format!("{{x: {n}, label: some(\"l{n}\"), is: false}}"),
    }
}

#[test]
fn strings_of_all_lengths_come_back() {
    let types = Types::open();
    let lua = Lua::new();
    let plan = types.plan("strings");
    for count in [0, 1, 3, 4, 99, 100, 101, 200, 250] {
        // Long ones first, last and alone between others; empty ones, zeros and characters of several bytes.
        for long in [0, 7, 50, count.max(1) - 1, count] {
            let text = |n: usize| match n {
                n if n == long || n % 40 == 39 => "x".repeat(200 + n),
                n if n % 5 == 0 => String::new(),
                n => format!("{}\0ö", "y".repeat(n)),
            };
            let strings = Val::List((0..count).map(|n| Val::String(text(n))).collect());
            let list = lift(&plan, &lua, &strings).into_iter().next().unwrap();
            let Value::Table(table) = &list else { panic!("{list:?}") };
            let texts: Vec<String> = table.sequence_values().collect::<mlua::Result<_>>().unwrap();
            assert_eq!(texts, (0..count).map(text).collect::<Vec<_>>(), "{count} {long}");
            let args = lower(&plan, &lua, MultiValue::from_iter([list])).unwrap();
            assert_eq!(args, [strings], "{count} {long}");
        }
    }
}

/// The first records of a type are made field by field, later ones by a function for their type.
#[test]
fn records_are_the_same_however_many_were_made() {
    const SAME: &str = "
        local count = ...
        local list = {}
        for n = 0, count - 1 do
            list[n + 1] = {x = n, label = n % 3 ~= 0 and 'l' .. n or nil, is = n % 3 == 0}
        end
        return list";
    let types = Types::open();
    let lua = Lua::new();
    let (list, one) = (types.plan("points"), types.plan("point"));
    for count in [0, 1, 7, 8, 9, 31, 1, 16, 17, 100] {
        let points: Vec<String> = (0..count).map(point).collect();
        let value = wave::parse(&format!("[{}]", points.join(", ")), &types.get("points")).unwrap();
        let lifted = lift(&list, &lua, &value).into_iter().next().unwrap();
        let same: Table = lua.load(SAME).call(count).unwrap();
        assert_lua_equal(&lua, &lifted, &Value::Table(same.clone()), &format!("{count} points"));
        for (index, point) in (1..).zip(points) {
            let value = wave::parse(&point, &types.get("point")).unwrap();
            let lifted = lift(&one, &lua, &value).into_iter().next().unwrap();
            assert_lua_equal(&lua, &lifted, &same.raw_get(index).unwrap(), &point);
        }
    }
}

/// As many fields as one call of a function makes records of, and more than any function has variables.
#[test]
fn records_may_have_many_fields() {
    let counts = [1, 12, 13, 50, 51, 100, 101, 300];
    let (mut definitions, mut functions) = (String::new(), Vec::new());
    for count in counts {
        let fields: Vec<String> = (0..count).map(|field| format!("f{field}-x: u16")).collect();
        definitions += &format!("record r{count} {{ {} }}\n", fields.join(", "));
        functions.push((format!("list{count}"), format!("list<r{count}>")));
    }
    let built = echo::registry(&definitions, &functions).build();
    let loader = Loader::open(&built).unwrap();
    let lua = Lua::new();
    for (name, _) in &functions {
        let ty = loader.function(&format!("app:{name}")).unwrap().params()[0].1.clone();
        let plan = Plan::new(&[("v".to_owned(), ty.clone())], Some(&ty), Results::Pair);
        let Type::List(list) = &ty else { panic!("{name}") };
        let Type::Record(record) = list.ty() else { panic!("{name}") };
        let item = |n: u16| {
            let fields = (n..).zip(record.fields());
            Val::Record(fields.map(|(n, field)| (field.name.to_owned(), Val::U16(n))).collect())
        };
        for length in [1, 40, 41] {
            let value = Val::List((0..length).map(item).collect());
            let lifted = lift(&plan, &lua, &value).into_iter().next().unwrap();
            let args = lower(&plan, &lua, MultiValue::from_iter([lifted])).unwrap();
            assert_eq!(args, [value], "{name} {length}");
        }
    }
}

/// A hook that ends turns at each instruction suspends the caller's code, and none of what makes its values.
#[test]
fn values_are_made_within_one_turn() {
    let types = Types::open();
    for (name, as_wave) in made_by_lua() {
        let lua = Lua::new();
        let value = wave::parse(&as_wave, &types.get(name)).unwrap();
        let plan = types.plan(name);
        let expected = lift(&plan, &lua, &value).into_iter().next().unwrap();
        let given = lua.create_function(move |lua, ()| Ok(lift(&plan, lua, &value))).unwrap();
        let each = mlua::HookTriggers::new().every_nth_instruction(1);
        lua.set_global_hook(each, |_, _| Ok(VmState::Yield)).unwrap();
        let main = lua.load("local given = ... local value = given() return value").into_function().unwrap();
        let thread = lua.create_thread(main).unwrap();
        let mut values: MultiValue = thread.resume(given).unwrap();
        let mut turns = 0;
        while thread.is_resumable() {
            values = thread.resume(()).unwrap();
            turns += 1;
        }
        lua.remove_global_hook();
        assert!((3..20).contains(&turns), "{name}: {turns} turns");
        assert_lua_equal(&lua, &values[0], &expected, name);
    }
}

/// What the hook raises at any instruction is the error of the call.
#[test]
fn an_invocation_ends_while_a_value_is_made() {
    let types = Types::open();
    for (name, as_wave) in made_by_lua() {
        let value = wave::parse(&as_wave, &types.get(name)).unwrap();
        let plan = types.plan(name);
        let lua = Lua::new();
        lift(&plan, &lua, &value);
        let lift = || plan.lift(&lua, &plan.keys(&lua).unwrap(), Some(&bulk::Value::Val(value.clone())));
        let mut ends = 0;
        for at in 1.. {
            let each = mlua::HookTriggers::new().every_nth_instruction(1);
            let left = std::sync::Mutex::new(at);
            lua.set_global_hook(each, move |_, _| {
                let mut left = left.lock().unwrap();
                *left -= 1;
                if *left == 0 { Err(mlua::Error::runtime("ended")) } else { Ok(VmState::Yield) }
            })
            .unwrap();
            let lifted = lift();
            lua.remove_global_hook();
            match lifted {
                Ok(_) => break,
                Err(error) => assert!(error.to_string().contains("ended"), "{name} {at}: {error}"),
            }
            ends = at;
        }
        assert!(ends > 0, "{name}: no instruction of Lua");
    }
}

/// A limit of memory that is reached at any point is an error, and the state goes on.
#[test]
fn memory_may_end_while_a_value_is_made() {
    let types = Types::open();
    for (name, as_wave) in made_by_lua() {
        let value = wave::parse(&as_wave, &types.get(name)).unwrap();
        let plan = types.plan(name);
        let lua = Lua::new();
        let lift = || plan.lift(&lua, &plan.keys(&lua).unwrap(), Some(&bulk::Value::Val(value.clone())));
        let whole = lift().unwrap();
        let mut refused = 0;
        for more in (0..).map(|step| step * 512) {
            lua.gc_collect().unwrap();
            lua.set_memory_limit(lua.used_memory() + more).unwrap();
            let lifted = lift();
            lua.set_memory_limit(0).unwrap();
            match lifted {
                Ok(values) => {
                    assert_lua_equal(&lua, &values.0, &whole.0, name);
                    break;
                }
                // Room for arguments is memory as well.
                Err(mlua::Error::MemoryError(_) | mlua::Error::StackError) => {}
                Err(error) => panic!("{name}: {error}"),
            }
            refused += 1;
        }
        assert!(refused > 3, "{name}: refused {refused} times");
    }
}
