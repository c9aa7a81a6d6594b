//! Every row, through a guest that answers with its first argument.

use std::fmt::Write;

use wasmtime::component::{Type, Val};

use super::rows::ROWS;
use crate::Loader;
use crate::support::{Built, Registry};

/// Parameters and results of all rows, in WIT.
const SIGNATURES: &[(&[&str], &str)] = &[
    (&["list<u8>"], "list<u8>"),
    (&["list<u8>"], "string"),
    (&["list<u8>"], "result<list<u8>, string>"),
    (&["list<u8>"], "result<string, string>"),
    (&["string"], "result<list<u8>, string>"),
    (&["string", "list<u8>"], "result<list<u8>, string>"),
    (&["list<s32>"], "list<s32>"),
    (&["list<s32>"], "s32"),
    (&["list<u32>"], "list<u32>"),
    (&["list<u32>"], "u32"),
    (&["list<s64>"], "list<s64>"),
    (&["list<s64>"], "s64"),
    (&["list<f64>"], "list<f64>"),
    (&["list<f64>"], "f64"),
];

/// A result is `err` if the length is odd; what is no result lies behind the case. A number is the length.
const MODULE: &str = "(module
  (memory (export \"memory\") 1)
  (global $next (mut i32) (i32.const 64))
  (func (export \"cabi_realloc\") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func $result (param $start i32) (param $length i32) (result i32)
    (i32.store (i32.const 16) (i32.and (local.get $length) (i32.const 1)))
    (i32.store (i32.const 20) (local.get $start))
    (i32.store (i32.const 24) (local.get $length))
    (i32.const 16))
  (func $plain (param $start i32) (param $length i32) (result i32)
    (i32.add (call $result (local.get $start) (local.get $length)) (i32.const 4)))
  (func $s32 (param i32 i32) (result i32) (local.get 1))
  (func $s64 (param i32 i32) (result i64) (i64.extend_i32_u (local.get 1)))
  (func $f64 (param i32 i32) (result f64) (f64.convert_i32_u (local.get 1)))
";

/// For each of `SIGNATURES` a function `fN`, and `tN`, which takes what `fN` returns.
fn open() -> (Built, Loader) {
    let (mut module, mut wit, mut entries) = (MODULE.to_owned(), String::new(), String::new());
    for (index, (params, result)) in SIGNATURES.iter().enumerate() {
        let (make, returned, taken) = match *result {
            "s32" | "u32" => ("$s32", "i32", "i32"),
            "s64" => ("$s64", "i64", "i64"),
            "f64" => ("$f64", "f64", "f64"),
            result if result.starts_with("result") => ("$result", "i32", "i32 i32 i32"),
            _ => ("$plain", "i32", "i32 i32"),
        };
        let flat = "i32 i32 ".repeat(params.len());
        writeln!(
            module,
            "  (func (export \"f{index}\") (param {flat}) (result {returned})
    (call {make} (local.get 0) (local.get 1)))
  (func (export \"t{index}\") (param {taken}))"
        )
        .unwrap();
        let params: Vec<String> = params.iter().enumerate().map(|(n, ty)| format!("p{n}: {ty}")).collect();
        let params = params.join(", ");
        writeln!(wit, "f{index}: func({params}) -> {result}; t{index}: func(v: {result});").unwrap();
        for name in [format!("f{index}"), format!("t{index}")] {
            let source = "source: file://a.wat\n  wit: file://a.wit";
            writeln!(entries, "- name: {name}\n  kind: function.wat\n  {source}\n  method: {name}").unwrap();
        }
    }
    module.push(')');
    let built = Registry::new().file("a.wat", &module).file("a.wit", &wit).entries(&entries).build();
    let loader = Loader::open(&built).unwrap();
    (built, loader)
}

/// A value of `ty` with `length` bytes or items; a number is the length.
fn value(ty: &str, length: usize) -> Val {
    let text = &"abcdefgh"[..length];
    match ty {
        "string" => Val::String(text.to_owned()),
        "list<u8>" => Val::List(text.bytes().map(Val::U8).collect()),
        "s32" => Val::S32(length as i32),
        "u32" => Val::U32(length as u32),
        "s64" => Val::S64(length as i64),
        "f64" => Val::Float64(length as f64),
        list if list.starts_with("list<") => {
            let ty = list.trim_start_matches("list<").trim_end_matches('>');
            Val::List((0..length).map(|item| value(ty, item)).collect())
        }
        result => {
            let ok = result.trim_start_matches("result<").trim_end_matches(", string>");
            Val::Result(match length % 2 {
                0 => Ok(Some(Box::new(value(ok, length)))),
                _ => Err(Some(Box::new(value("string", length)))),
            })
        }
    }
}

#[tokio::test]
async fn every_row_gives_what_the_guest_returned() {
    let (_built, loader) = open();
    let mut covered = vec![false; ROWS.len()];
    for (index, (params, result)) in SIGNATURES.iter().enumerate() {
        let function = loader.function(&format!("app:f{index}")).unwrap();
        let taker = loader.function(&format!("app:t{index}")).unwrap();
        let returned: Option<&Type> = taker.params().first().map(|(_, ty)| ty);
        let row = ROWS.iter().position(|row| (row.is)(function.params(), returned));
        covered[row.unwrap_or_else(|| panic!("no row for {params:?} -> {result}"))] = true;
        for length in [0, 1, 2, 5] {
            let args: Vec<Val> = params.iter().map(|ty| value(ty, length)).collect();
            assert_eq!(function.call(&args).await, Ok(Some(value(result, length))), "{params:?} -> {result}");
        }
    }
    assert!(covered.iter().all(|covered| *covered), "a row without a test: {covered:?}");
}

#[tokio::test]
async fn arguments_of_wrong_types_are_named_as_ever() {
    let (_built, loader) = open();
    for (value, problem) in [
        (Val::String("a".into()), "`app:f0`: p0: expected list<u8>, found string"),
        (Val::List(vec![Val::U8(1), Val::U16(2)]), "`app:f0`: p0[1]: expected u8, found u16"),
    ] {
        let error = loader.call("app:f0", &[value]).await.unwrap_err();
        assert_eq!(error.message(), problem);
    }
}
