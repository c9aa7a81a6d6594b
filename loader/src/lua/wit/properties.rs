//! What holds for all types and values, on random ones: each form of a value reads back as the value, and it
//! comes back from a guest as it went.

use std::fmt::Write;

use mlua::{Lua, MultiValue, Value};
use registry_schema::authored::wasm::Results;
use wasmtime::component::{Type, Val};

use super::tests::{assert_lua_equal, by_data, lift, lower};
use crate::conversion::Plan;
use crate::support::{Built, echo};
use crate::values::{json, wave};
use crate::{ErrorKind, Loader};

/// What types and values are made from: a registry of `TYPES` types for each.
const SEEDS: [u64; 2] = [0x5eed_0001, 0x5eed_0002];
const TYPES: usize = 200;
const VALUES: usize = 16;

/// xorshift64*: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap() % bound
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Makes types in WIT, and the definitions of those that need a name.
struct TypeMaker {
    random: Random,
    definitions: String,
    defined: usize,
}

/// Names that stand for something in Lua's forms or in WAVE, or have two spellings.
const NAMES: [&str; 12] =
    ["some", "none", "ok", "err", "true", "inf", "a", "b-c", "first-name", "x1-y2-z3", "n", "kind"];

impl TypeMaker {
    fn ty(&mut self, depth: usize) -> String {
        const LEAVES: [&str; 13] =
            ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"];
        if depth == 0 {
            return self.random.pick(&LEAVES).to_owned();
        }
        let depth = depth - 1;
        match self.random.below(12) {
            0 => self.random.pick(&LEAVES).to_owned(),
            1..=3 => format!("list<{}>", self.ty(depth)),
            4 | 5 => format!("option<{}>", self.ty(depth)),
            6 => {
                let items: Vec<String> = (0..=self.random.below(4)).map(|_| self.ty(depth)).collect();
                format!("tuple<{}>", items.join(", "))
            }
            7 => match self.random.below(4) {
                0 => "result".to_owned(),
                1 => format!("result<{}>", self.ty(depth)),
                2 => format!("result<_, {}>", self.ty(depth)),
                _ => format!("result<{}, {}>", self.ty(depth), self.ty(depth)),
            },
            8 => self.define("record", |maker, name| format!("%{name}: {}", maker.ty(depth))),
            9 => self.define("variant", |maker, name| match maker.random.chance(60) {
                true => format!("%{name}({})", maker.ty(depth)),
                false => format!("%{name}"),
            }),
            10 => self.define("enum", |_, name| format!("%{name}")),
            _ => self.define("flags", |_, name| format!("%{name}")),
        }
    }

    fn define(&mut self, keyword: &str, mut member: impl FnMut(&mut Self, &str) -> String) -> String {
        let start = self.random.below(NAMES.len());
        let count = 1 + self.random.below(6);
        let mut names: Vec<String> =
            NAMES.iter().cycle().skip(start).take(count).map(|name| (*name).to_owned()).collect();
        // More than one byte says, and as many flags as there may be.
        match keyword {
            "enum" if self.random.chance(10) => names.extend((0..300).map(|n| format!("case-n{n}"))),
            "flags" if self.random.chance(30) => names.extend((0..32 - count).map(|n| format!("flag-n{n}"))),
            _ => {}
        }
        let members: Vec<String> = names.iter().map(|name| member(self, name)).collect();
        self.defined += 1;
        let name = format!("t{}", self.defined);
        writeln!(self.definitions, "{keyword} {name} {{ {} }}", members.join(", ")).unwrap();
        name
    }
}

/// A value of `ty`.
fn value(random: &mut Random, ty: &Type) -> Val {
    let bits = random.next();
    match ty {
        Type::Bool => Val::Bool(bits & 1 == 1),
        Type::S8 => Val::S8(bits as i8),
        Type::U8 => Val::U8(bits as u8),
        Type::S16 => Val::S16(bits as i16),
        Type::U16 => Val::U16(bits as u16),
        Type::S32 => Val::S32(bits as i32),
        Type::U32 => Val::U32(bits as u32),
        Type::S64 => Val::S64(bits as i64),
        Type::U64 => Val::U64(bits),
        Type::Float32 => Val::Float32(match random.below(4) {
            0 => random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE]),
            1 => bits as i16 as f32,
            _ => Some(f32::from_bits(bits as u32)).filter(|float| !float.is_nan()).unwrap_or(f32::NAN),
        }),
        Type::Float64 => Val::Float64(match random.below(4) {
            0 => random.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE]),
            1 => bits as i16 as f64,
            _ => Some(f64::from_bits(bits)).filter(|float| !float.is_nan()).unwrap_or(f64::NAN),
        }),
        Type::Char => Val::Char(char(random)),
        Type::String => Val::String((0..random.below(6)).map(|_| char(random)).collect()),
        Type::List(list) => {
            let item = list.ty();
            // Long lists of leaves only: types nest.
            let longest = match item {
                Type::U8 | Type::S16 | Type::Float64 | Type::U64 if random.chance(20) => 3000,
                _ => 5,
            };
            Val::List((0..random.below(longest)).map(|_| value(random, &item)).collect())
        }
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| value(random, &ty)).collect()),
        Type::Record(record) => {
            Val::Record(record.fields().map(|f| (f.name.to_owned(), value(random, &f.ty))).collect())
        }
        Type::Variant(variant) => {
            let case = random.below(variant.cases().len());
            let case = variant.cases().nth(case).unwrap();
            Val::Variant(case.name.to_owned(), case.ty.map(|ty| Box::new(value(random, &ty))))
        }
        Type::Enum(cases) => {
            let case = random.below(cases.names().len());
            Val::Enum(cases.names().nth(case).unwrap().to_owned())
        }
        Type::Flags(flags) => {
            let set = flags.names().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            Val::Flags(set.map(|(_, name)| name.to_owned()).collect())
        }
        Type::Option(option) => Val::Option(random.chance(60).then(|| Box::new(value(random, &option.ty())))),
        Type::Result(result) => {
            let mut side = |ty: Option<Type>| ty.map(|ty| Box::new(value(random, &ty)));
            Val::Result(match bits & 1 {
                0 => Ok(side(result.ok())),
                _ => Err(side(result.err())),
            })
        }
        _ => panic!("{ty:?} is not made"),
    }
}

fn char(random: &mut Random) -> char {
    match random.below(4) {
        0 => random.pick(&['\0', '"', '\\', '\'', '\n', '{', '}', '%', '\u{7f}', '\u{10ffff}', '\u{feff}']),
        1 => char::from_u32(u32::try_from(random.below(0x11_0000)).unwrap()).unwrap_or('ö'),
        _ => char::from(32 + u8::try_from(random.below(95)).unwrap()),
    }
}

fn open(seed: u64) -> (Built, Loader, Vec<(String, String)>) {
    let mut maker = TypeMaker { random: Random(seed), definitions: String::new(), defined: 0 };
    let types: Vec<(String, String)> =
        (0..TYPES).map(|index| (format!("f{index}"), maker.ty(index % 5))).collect();
    let built = echo::registry(&maker.definitions, &types).build();
    let loader = Loader::open(&built).unwrap();
    (built, loader, types)
}

#[tokio::test]
async fn every_value_of_every_type_comes_back_in_all_forms() {
    for seed in SEEDS {
        come_back(seed).await;
    }
}

async fn come_back(seed: u64) {
    let (_built, loader, types) = open(seed);
    let lua = Lua::new();
    let mut random = Random(seed ^ 1);
    let pad = Val::Tuple(vec![Val::U32(0x0123_4567); echo::PADDING]);
    for (name, text) in types {
        let function = loader.function(&format!("app:{name}")).unwrap();
        let ty = function.params()[0].1.clone();
        let plan = Plan::new(&[("v".to_owned(), ty.clone())], Some(&ty), Results::Table);
        for _ in 0..VALUES {
            let value = value(&mut random, &ty);
            let what = || format!("{text}: {}", wave::print(&value).unwrap());

            let as_wave = wave::print(&value).unwrap();
            assert_eq!(wave::parse(&as_wave, &ty).as_ref(), Ok(&value), "wave {}", what());
            let as_json = json::print(&value).unwrap();
            let parsed = json::parse("v", &serde_json::from_str(&as_json).unwrap(), &ty);
            assert_eq!(parsed.as_ref(), Ok(&value), "json {as_json} {}", what());
            assert_eq!(by_data(&plan, &value), value, "data {}", what());

            let as_lua = lift(&plan, &lua, &value).into_iter().next().unwrap();
            let mut args = lower(&plan, &lua, MultiValue::from_iter([as_lua.clone()])).unwrap();
            assert_eq!(args[0], value, "lua {}", what());

            args.push(pad.clone());
            let returned = function.call(&args).await.unwrap();
            let Some(Val::Tuple(returned)) = returned else { panic!("{}", what()) };
            assert_eq!(returned, [value.clone(), Val::U32(0x0123_4567)], "guest {}", what());
            let back = lift(&plan, &lua, &returned[0]).into_iter().next().unwrap();
            assert_lua_equal(&lua, &as_lua, &back, &what());
        }
    }
}

/// A value of one type as an argument of another: refused with the path, or taken as a value of it.
#[test]
fn values_of_other_types_are_refused_or_mean_something() {
    SEEDS.into_iter().for_each(refuse_or_take);
}

fn refuse_or_take(seed: u64) {
    let (_built, loader, types) = open(seed);
    let lua = Lua::new();
    let mut random = Random(seed ^ 2);
    let plans: Vec<(Type, Plan)> = types
        .iter()
        .map(|(name, _)| {
            let ty = loader.function(&format!("app:{name}")).unwrap().params()[0].1.clone();
            let plan = Plan::new(&[("v".to_owned(), ty.clone())], Some(&ty), Results::Table);
            (ty, plan)
        })
        .collect();
    let (mut taken, mut refused) = (0, 0);
    for (ty, from) in &plans {
        for _ in 0..VALUES {
            let value = value(&mut random, ty);
            let given: Value = lift(from, &lua, &value).into_iter().next().unwrap();
            let (_, to) = &plans[random.below(plans.len())];
            let as_data = from.lift_data(Some(&value.into())).unwrap();
            let by_data = to.lower_data(&[as_data]);
            match lower(to, &lua, MultiValue::from_iter([given])) {
                Ok(args) => {
                    taken += 1;
                    assert_eq!(Val::from(by_data.unwrap().remove(0)), args[0]);
                    let again = lift(to, &lua, &args[0]).into_iter().take(1).collect();
                    assert_eq!(lower(to, &lua, again).unwrap(), args);
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), ErrorKind::Invalid);
                    let (path, _) = error.message().split_once(": ").unwrap();
                    assert!(path.starts_with('v'), "{error}");
                    assert_eq!(by_data.unwrap_err().kind(), ErrorKind::Invalid);
                }
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}
