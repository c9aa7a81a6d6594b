//! Every value type goes through the canonical ABI of a lifted core module and comes back.
//!
//! A record with more than 16 flat values is passed as a pointer, and so is a result of several parts:
//! a core function that returns its argument is the identity of any such record.

use std::sync::Arc;

use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, Store};

use crate::componentize::{Form, Source, componentize};

const IDENTITY: &str = r#"(module
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and
            (i32.add (global.get $free) (i32.sub (local.get 2) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get 2))))
        (global.set $free (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func (export "cabi_post_echo_it") (param i32))
    (func (export "echo_it") (param i32) (result i32) (local.get 0)))"#;

fn record(fields: Vec<(&str, Val)>) -> Val {
    Val::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

/// Each WIT type with values of it.
fn values() -> Vec<(&'static str, Vec<Val>)> {
    let point = |x| record(vec![("x", Val::S32(x)), ("name-of", text("p"))]);
    vec![
        ("bool", vec![Val::Bool(true), Val::Bool(false)]),
        ("s8", vec![Val::S8(i8::MIN)]),
        ("u8", vec![Val::U8(u8::MAX)]),
        ("s16", vec![Val::S16(i16::MIN)]),
        ("u16", vec![Val::U16(u16::MAX)]),
        ("s32", vec![Val::S32(i32::MIN)]),
        ("u32", vec![Val::U32(u32::MAX)]),
        ("s64", vec![Val::S64(i64::MIN)]),
        ("u64", vec![Val::U64(u64::MAX)]),
        ("f32", vec![Val::Float32(f32::MIN_POSITIVE), Val::Float32(f32::INFINITY)]),
        ("f64", vec![Val::Float64(-0.5), Val::Float64(f64::MAX)]),
        ("char", vec![Val::Char('\u{10ffff}')]),
        ("string", vec![text(""), text("größer 🙂")]),
        ("list<u8>", vec![Val::List(vec![]), Val::List(vec![Val::U8(0), Val::U8(255)])]),
        ("list<point>", vec![Val::List(vec![point(1), point(-1)])]),
        ("list<list<string>>", vec![Val::List(vec![Val::List(vec![text("a")]), Val::List(vec![])])]),
        ("point", vec![point(7)]),
        ("tuple<u8, string, f64>", vec![Val::Tuple(vec![Val::U8(1), text("t"), Val::Float64(2.0)])]),
        ("option<u64>", vec![Val::Option(None), some(Val::U64(1))]),
        ("option<option<string>>", vec![Val::Option(None), some(Val::Option(None)), some(some(text("s")))]),
        (
            "shape",
            vec![
                Val::Variant("none".to_owned(), None),
                Val::Variant("dot".to_owned(), Some(Box::new(point(3)))),
                Val::Variant("wide-one".to_owned(), Some(Box::new(Val::S64(-1)))),
            ],
        ),
        ("colour", vec![Val::Enum("red".to_owned()), Val::Enum("dark-blue".to_owned())]),
        ("marks", vec![Val::Flags(vec![]), Val::Flags(vec!["a".to_owned(), "c-c".to_owned()])]),
        (
            "result<s8, string>",
            vec![Val::Result(Ok(Some(Box::new(Val::S8(-1))))), Val::Result(Err(Some(Box::new(text("bad")))))],
        ),
        ("result", vec![Val::Result(Ok(None)), Val::Result(Err(None))]),
        (
            "result<_, colour>",
            vec![Val::Result(Ok(None)), Val::Result(Err(Some(Box::new(Val::Enum("red".to_owned())))))],
        ),
    ]
}

#[test]
fn every_type_comes_back() {
    let mut config = Config::new();
    config.wasm_component_model(true);
    let engine = Engine::new(&config).unwrap();
    let padding: Vec<String> = (0..17).map(|n| format!("p{n}: u8")).collect();
    for (ty, values) in values() {
        // Names in both spellings, and signatures without `export` and `;`.
        let wit = format!(
            "record point {{ x: s32, name_of: string }} variant shape {{ none, dot(point), wide_one(s64) }}
            enum colour {{ red, dark_blue }} flags marks {{ a, b, c_c }}
            record big {{ {}, value: {ty} }}
            echo_it: func(r: big) -> big",
            padding.join(", ")
        );
        let bytes = Arc::new(IDENTITY.as_bytes().to_vec());
        let source = Source { form: Form::Text, bytes, wit: Some(wit), adapters: vec![], preinit: None };
        let made = componentize(&source).unwrap_or_else(|faults| panic!("{ty}: {faults:#?}"));
        let component = Component::new(&engine, made.bytes.as_slice()).unwrap();
        for value in values {
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
            let echo = instance.get_func(&mut store, "echo-it").unwrap();
            let pads = (0..17_u8).map(|n| (format!("p{n}"), Val::U8(n)));
            let sent = Val::Record(pads.chain([("value".to_owned(), value)]).collect());
            let mut back = [Val::Bool(false)];
            echo.call(&mut store, std::slice::from_ref(&sent), &mut back).unwrap();
            assert_eq!(back[0], sent, "{ty}");
        }
    }
}
