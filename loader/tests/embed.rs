//! Runs the code of `examples/embed.rs` on a bundle that has what it calls, and a function that uses the
//! interface that it offers.

#[allow(dead_code, reason = "a test has no use for the example's `main`")]
#[path = "../examples/embed.rs"]
mod example;
mod support;

use loader::Val;
use support::Registry;

/// Returns what the host's `get` has for a key.
const READER: &str = r#"(component
  (import "acme:kv/store@1.0.0" (instance $store
    (export "get" (func (param "key" string) (result string)))))
  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (core func $get (canon lower (func $store "get")
    (memory $memory "memory") (realloc (func $memory "realloc"))))
  (core module $reader
    (import "store" "get" (func $get (param i32 i32 i32)))
    (func (export "read") (param i32 i32) (result i32)
      (call $get (local.get 0) (local.get 1) (i32.const 16))
      (i32.const 16)))
  (core instance $reader (instantiate $reader (with "store" (instance (export "get" (func $get))))))
  (func (export "read") (param "key" string) (result string)
    (canon lift (core func $reader "read") (memory $memory "memory") (realloc (func $memory "realloc")))))"#;

const ADD: &str = r#"(module
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#;

#[tokio::test]
async fn the_example_does_what_it_says() {
    let built = Registry::in_namespace("samples.wat")
        .wat("add", ADD, "wit: \"add: func(a: s32, b: s32) -> s32\"\nmethod: add")
        .wat("read", READER, "method: read\nimports: [\"acme:kv/store\"]")
        .entries("- name: elsewhere\n  kind: acme.thing\n")
        .build();
    let bundle = built.as_ref().to_str().unwrap();
    let mut out = Vec::new();
    example::run(bundle, &mut out).await.unwrap();
    let expected = "samples.wat:add: func(a: s32, b: s32) -> s32
samples.wat:read: func(key: string) -> string
40 + 2 = Some(S32(42))
";
    assert_eq!(support::text(&out), expected);

    let loader = example::open(bundle).unwrap();
    let value = loader.call("samples.wat:read", &[Val::String("color".into())]).await;
    assert_eq!(value, Ok(Some(Val::String("the value of color".into()))));
}
