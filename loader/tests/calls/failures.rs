//! Calls that fail: targets, arguments, traps and instantiation; the kind and exact message of each, and that
//! the next call of the same and of other entries works.

use loader::{ErrorKind, Loader, Val};

use crate::outcomes::{call, expect_failure, expect_number, failure};
use crate::support::{ECHO, Registry};

#[tokio::test]
async fn targets_that_are_malformed_unknown_or_not_callable() {
    let built = Registry::new()
        .answer("answer", 42)
        .entries("- name: data\n  kind: registry.entry\n")
        .entries("- name: other\n  kind: acme.thing\n")
        .build();
    let loader = Loader::open(&built).unwrap();
    let cases = [
        (
            "answer",
            ErrorKind::Invalid,
            "invalid function target: `answer` is no valid id: expected `namespace:name`",
        ),
        ("", ErrorKind::Invalid, "invalid function target: `` is no valid id: expected `namespace:name`"),
        (
            "app:",
            ErrorKind::Invalid,
            "invalid function target: `app:` is no valid id: namespace and name must not be empty",
        ),
        (
            "app:../x",
            ErrorKind::Invalid,
            "invalid function target: `app:../x` is no valid id: only letters, digits, `.`, `_`, `-` and `:` after the first colon are allowed",
        ),
        ("app:gone", ErrorKind::NotFound, "no entry `app:gone` in this bundle"),
        ("gone:answer", ErrorKind::NotFound, "no entry `gone:answer` in this bundle"),
        ("app:data", ErrorKind::Unavailable, "`app:data` is a `registry.entry`, which can't be called"),
        ("app:other", ErrorKind::Unavailable, "`app:other` is a `acme.thing`, which can't be called"),
    ];
    for (target, kind, message) in cases {
        let error = loader.call(target, &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
        assert_eq!(error.to_string(), format!("{kind}: {message}"));
        assert!(!error.is_retryable());
        let error = loader.function(target).err().unwrap();
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
    expect_number(&loader, "answer", 42).await;
}

/// Echoes of the guest of that name, each under the name of its method.
fn echoes(methods: &[&str]) -> Registry {
    methods.iter().fold(Registry::new(), |registry, method| registry.guest(method, ECHO, method, ""))
}

#[tokio::test]
async fn a_wrong_number_of_arguments_shows_the_signature() {
    let built = echoes(&["optional", "nothing"]).build();
    let loader = Loader::open(&built).unwrap();
    let expected = "`app:optional` takes 3 arguments, 1 were given: \
                    func(a: u32, b: option<u32>, c: option<string>) -> string";
    expect_failure(&loader, "optional", &[Val::U32(1)], ErrorKind::Invalid, expected).await;
    let expected = "`app:nothing` takes 0 arguments, 1 were given: func()";
    expect_failure(&loader, "nothing", &[Val::U32(1)], ErrorKind::Invalid, expected).await;
    assert_eq!(call(&loader, "nothing", &[]).await, Ok(None));
}

#[tokio::test]
async fn an_argument_of_a_wrong_type_is_named_by_its_path() {
    let built =
        echoes(&["echo-s8", "echo-lists", "echo-records", "echo-variant", "echo-result-unit", "echo-flags"])
            .build();
    let loader = Loader::open(&built).unwrap();
    let string = |text: &str| Val::String(text.into());
    let record = |score: Val| {
        let inner = Val::Record(vec![("name".into(), string("n")), ("score".into(), score)]);
        Val::Record(vec![
            ("id".into(), Val::U32(1)),
            ("inner".into(), inner),
            ("tags".into(), Val::List(vec![])),
            ("note".into(), Val::Option(None)),
            ("pair".into(), Val::Tuple(vec![Val::S8(1), Val::Char('c')])),
        ])
    };
    let list = |values: &[i16]| Val::List(values.iter().map(|value| Val::S16(*value)).collect());
    let cases = [
        ("echo-s8", Val::S16(1), "v: expected s8, found s16"),
        (
            "echo-lists",
            Val::List(vec![list(&[1]), Val::List(vec![Val::S16(1), string("x")])]),
            "v[1][1]: expected s16, found string",
        ),
        (
            "echo-records",
            Val::List(vec![record(Val::Float64(1.0)), record(string("x"))]),
            "v[1].inner.score: expected f64, found string",
        ),
        ("echo-variant", Val::Variant("circle".into(), None), "v: unknown case `circle`"),
        ("echo-variant", Val::Variant("number".into(), None), "v: case `number` needs a payload"),
        (
            "echo-variant",
            Val::Variant("nothing".into(), Some(Box::new(Val::U8(1)))),
            "v: case `nothing` has no payload",
        ),
        (
            "echo-variant",
            Val::Variant("maybe".into(), Some(Box::new(Val::U8(1)))),
            "v.maybe: expected option<u32>, found u8",
        ),
        ("echo-result-unit", Val::Result(Ok(Some(Box::new(Val::U8(1))))), "v: `ok` has no payload"),
        ("echo-flags", Val::Flags(vec!["read".into(), "fly".into()]), "v: unknown flag `fly`"),
    ];
    for (name, value, problem) in cases {
        let expected = format!("`app:{name}`: {problem}");
        expect_failure(&loader, name, &[value], ErrorKind::Invalid, &expected).await;
    }
    assert_eq!(call(&loader, "echo-s8", &[Val::S8(-1)]).await, Ok(Some(Val::S8(-1))));
}

/// Functions of one module, each under its own name; `answer` works.
fn module(functions: &str, names: &[&str]) -> Registry {
    let source = format!("(module\n{functions}\n(func (export \"answer\") (result i32) (i32.const 42)))");
    let wit = |name: &str| format!("wit: \"{name}: func() -> u32\"\nmethod: {name}");
    names
        .iter()
        .chain([&"answer"])
        .fold(Registry::new(), |registry, name| registry.wat(name, &source, &wit(name)))
}

const TRAPS: &str = r#"
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 0) $other)
  (type $expected (func (result i32)))
  (func $other (param i32))
  (func $inner (param i32) (result i32)
    (if (local.get 0) (then unreachable))
    (i32.const 1))
  (func $outer (param i32) (result i32) (call $inner (local.get 0)))
  (func $unreachable (export "unreachable") (result i32) (call $outer (i32.const 1)))
  (func $divide (export "divide") (result i32) (i32.div_s (i32.const 1) (i32.const 0)))
  (func $overflow (export "overflow") (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))
  (func $convert (export "convert") (result i32) (i32.trunc_f64_s (f64.const nan)))
  (func $outside (export "outside") (result i32) (i32.load (i32.const 65536)))
  (func $far-outside (export "far-outside") (result i32) (i32.load offset=4294967295 (i32.const -1)))
  (func $no-element (export "no-element") (result i32) (call_indirect (type $expected) (i32.const 2)))
  (func $null-element (export "null-element") (result i32) (call_indirect (type $expected) (i32.const 1)))
  (func $other-type (export "other-type") (result i32) (call_indirect (type $expected) (i32.const 0)))
  (func $deep (export "deep") (result i32) (i32.add (call $deep) (i32.const 1)))
"#;

#[tokio::test]
async fn traps_name_entry_method_and_cause_with_a_backtrace() {
    let cases = [
        (
            "unreachable",
            "wasm trap: wasm `unreachable` instruction executed",
            &["inner", "outer", "unreachable"][..],
        ),
        ("divide", "wasm trap: integer divide by zero", &["divide"]),
        ("overflow", "wasm trap: integer overflow", &["overflow"]),
        ("convert", "wasm trap: invalid conversion to integer", &["convert"]),
        ("outside", "wasm trap: out of bounds memory access", &["outside"]),
        ("far-outside", "wasm trap: out of bounds memory access", &["far-outside"]),
        ("no-element", "wasm trap: undefined element: out of bounds table access", &["no-element"]),
        ("null-element", "wasm trap: uninitialized element", &["null-element"]),
        ("other-type", "wasm trap: indirect call type mismatch", &["other-type"]),
    ];
    let names: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let built = module(TRAPS, &names).build();
    let loader = Loader::open(&built).unwrap();
    for (name, cause, backtrace) in cases {
        for _ in 0..2 {
            let error = call(&loader, name, &[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert_eq!(error.message(), format!("`app:{name}` failed in `{name}`: {cause}"));
            assert_eq!(error.backtrace(), backtrace);
            assert!(!error.is_retryable());
        }
        expect_number(&loader, "answer", 42).await;
    }
}

#[tokio::test]
async fn a_stack_overflow_ends_the_call_alone() {
    let built = module(TRAPS, &["deep"]).build();
    let loader = Loader::open(&built).unwrap();
    for _ in 0..3 {
        let error = call(&loader, "deep", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.message(), "`app:deep` failed in `deep`: wasm trap: call stack exhausted");
        assert!(!error.backtrace().is_empty() && error.backtrace().iter().all(|frame| *frame == "deep"));
        expect_number(&loader, "answer", 42).await;
    }
}

/// A component of a Rust program without names: functions are numbered.
#[tokio::test]
async fn a_panic_in_a_guest_is_a_trap() {
    let built = Registry::new()
        .guest("trap", ECHO, "trap", "")
        .guest("echo", ECHO, "test:echo/values#echo-string", "")
        .build();
    let loader = Loader::open(&built).unwrap();
    let error = call(&loader, "trap", &[Val::String("gone".into())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let cause = "wasm trap: wasm `unreachable` instruction executed";
    assert_eq!(error.message(), format!("`app:trap` failed in `test:echo/values#trap`: {cause}"));
    assert!(!error.backtrace().is_empty());
    assert!(error.backtrace().iter().all(|frame| !frame.is_empty()));
    let value = Val::String("on".into());
    assert_eq!(call(&loader, "echo", std::slice::from_ref(&value)).await, Ok(Some(value)));
}

#[tokio::test]
async fn a_guest_that_can_not_be_instantiated_says_why() {
    let built = Registry::new()
        .wat(
            "start",
            "(module (func $start unreachable) (start $start) (func (export \"run\")))",
            "wit: \"run: func()\"\nmethod: run",
        )
        .wat(
            "data",
            "(module (memory (export \"memory\") 1) (data (i32.const 65535) \"xy\") (func (export \"run\")))",
            "wit: \"run: func()\"\nmethod: run",
        )
        .answer("answer", 42)
        .build();
    let loader = Loader::open(&built).unwrap();
    for _ in 0..2 {
        let error = call(&loader, "start", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        let cause = "wasm trap: wasm `unreachable` instruction executed";
        assert_eq!(error.message(), format!("`app:start` can't be instantiated: {cause}"));
        assert_eq!(error.backtrace(), ["start"]);
        let (kind, message) = failure(&loader, "data", &[]).await;
        assert_eq!(kind, ErrorKind::Internal);
        assert_eq!(message, "`app:data` can't be instantiated: wasm trap: out of bounds memory access");
        expect_number(&loader, "answer", 42).await;
    }
}

/// A guest keeps nothing between calls: each has an instance of its own.
#[tokio::test]
async fn every_call_has_a_fresh_instance() {
    let source = "(module
      (global $count (mut i32) (i32.const 0))
      (func (export \"count\") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (global.get $count)))";
    let built = Registry::new().wat("count", source, "wit: \"count: func() -> u32\"\nmethod: count").build();
    let loader = Loader::open(&built).unwrap();
    for _ in 0..3 {
        expect_number(&loader, "count", 1).await;
    }
}

#[tokio::test]
async fn a_function_that_was_looked_up_is_called_without_its_id() {
    let built = Registry::new().guest("echo", ECHO, "echo-u64", "").build();
    let loader = Loader::open(&built).unwrap();
    let function = loader.function("app:echo").unwrap();
    assert_eq!(function.params().len(), 1);
    assert_eq!(function.params()[0].0, "v");
    assert_eq!(function.signature().unwrap().to_string(), "func(v: u64) -> u64");
    let value = Val::U64(u64::MAX);
    assert_eq!(function.clone().call(std::slice::from_ref(&value)).await, Ok(Some(value)));
}

#[test]
fn a_loader_is_shared_by_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let built = Registry::new().answer("one", 1).answer("two", 2).build();
    let loader = Loader::open(&built).unwrap();
    shared(&loader);
    shared(&loader.function("app:one").unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let loader = loader.clone();
            scope.spawn(move || {
                for (name, number) in [("app:one", 1), ("app:two", 2)].repeat(20) {
                    assert_eq!(loader.call_blocking(name, &[]), Ok(Some(Val::U32(number))));
                }
            });
        }
    });
}
