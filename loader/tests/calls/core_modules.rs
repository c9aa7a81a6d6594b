//! Core modules that became components: exported interfaces in every spelling, and how parameters reach them,
//! flattened up to 16 and behind a pointer from the 17th on.

use loader::values::wave;
use loader::{Loader, Val};

use crate::support::{Built, Registry};

/// A memory, and an allocator that never frees.
const MEMORY: &str = r#"(memory (export "memory") 1)
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))"#;

/// A bundle of one core module with `functions`, and an entry for each of `methods`.
fn open(functions: &str, wit: &str, methods: &[&str]) -> (Built, Loader) {
    let module = format!("(module\n  {MEMORY}\n{functions})");
    let registry = Registry::new().file("m.wat", &module).file("m.wit", wit);
    let registry = methods.iter().fold(registry, |registry, method| {
        registry.entries(&format!(
            "- {{name: {}, kind: function.wat, source: 'file://m.wat', wit: 'file://m.wit', method: \"{method}\"}}",
            entry(method)
        ))
    });
    let built = registry.build();
    let loader = Loader::open(&built).unwrap();
    (built, loader)
}

/// The name of the entry for `method`.
fn entry(method: &str) -> String {
    method.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Calls `method` with arguments in WAVE; the result in WAVE.
fn call(loader: &Loader, method: &str, args: &[&str]) -> String {
    let id = format!("app:{}", entry(method));
    let function = loader.function(&id).unwrap();
    assert_eq!(function.params().len(), args.len(), "{method}");
    let pairs = function.params().iter().zip(args);
    let args: Vec<Val> = pairs.map(|((_, ty), text)| wave::parse(text, ty).unwrap()).collect();
    let result = loader.call_blocking(&id, &args).unwrap_or_else(|error| panic!("{method}: {error}"));
    wave::print(&result.expect("all of them return something")).unwrap()
}

/// `add-two` adds two; `turn-round` gives back a text, which lies where it was put.
fn interface_functions(add_two: &str, turn_round: &str) -> String {
    format!(
        r#"(func (export "{add_two}") (param i32) (result i32) (i32.add (local.get 0) (i32.const 2)))
  (func (export "{turn_round}") (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $len))
    (i32.const 16))"#
    )
}

const INTERFACE: &str = "{ add-two: func(n: u32) -> u32; turn-round: func(text: string) -> string; }";

#[test]
fn a_core_module_may_export_an_interface() {
    let inline = format!("export api: interface {INTERFACE}");
    let world = format!("world w {{ export api: interface {INTERFACE} }}");
    let named = format!("package acme:demo; interface api {INTERFACE} world w {{ export api; }}");
    let version = format!("package acme:demo@1.2.0; interface api {INTERFACE} world w {{ export api; }}");
    let cases = [
        (inline.as_str(), "api"),
        (&world, "api"),
        (&named, "acme:demo/api"),
        (&version, "acme:demo/api@1.2.0"),
    ];
    for (wit, interface) in cases {
        // The spelling of the canonical ABI, and that of people who write C and Rust.
        for (add_two, turn_round) in [("add-two", "turn-round"), ("add_two", "turn_round")] {
            let functions =
                interface_functions(&format!("{interface}#{add_two}"), &format!("{interface}#{turn_round}"));
            let methods = ["api#add-two".to_owned(), format!("{interface}#turn-round")];
            let (_built, loader) = open(&functions, wit, &[&methods[0], &methods[1]]);
            assert_eq!(call(&loader, &methods[0], &["40"]), "42", "{wit} {add_two}");
            assert_eq!(call(&loader, &methods[1], &["\"Zoë\""]), "\"Zoë\"", "{wit} {turn_round}");
        }
    }
}

/// What a result took is given back by `cabi_post_…`, of an interface as well and in both spellings. Each call of
/// a kept instance says what the calls before it gave back.
#[test]
fn an_interface_frees_its_results() {
    for name in ["api#make-it", "api#make_it"] {
        let functions = format!(
            r#"(global $freed (mut i32) (i32.const 0))
  (func (export "{name}") (result i32) (i32.store (i32.const 16) (global.get $freed)) (i32.const 16))
  (func (export "cabi_post_{name}") (param i32)
    (global.set $freed (i32.add (global.get $freed) (local.get 0))))"#
        );
        let wit = "export api: interface { make-it: func() -> tuple<u32, list<u8>>; }";
        let built = Registry::new()
            .file("m.wit", wit)
            .wat(
                "make",
                &format!("(module {MEMORY} {functions})"),
                "wit: file://m.wit\nmethod: make-it\npool: {type: static, workers: 1, reuse: true}",
            )
            .build();
        let loader = Loader::open(&built).unwrap();
        for freed in ["(0, [])", "(16, [])", "(32, [])"] {
            let made = loader.call_blocking("app:make", &[]).unwrap().unwrap();
            assert_eq!(wave::print(&made).unwrap(), freed, "{name}");
        }
    }
}

/// 16 flat values are parameters of the core function, 17 lie in memory behind its only one.
#[test]
fn from_the_seventeenth_on_parameters_lie_in_memory() {
    // Digits in base 2: all of them, and in their order.
    let direct: Vec<String> =
        (0..16).map(|n| format!("(i64.mul (local.get {n}) (i64.const {}))", 1_u64 << n)).collect();
    let in_memory: Vec<String> = (0..17)
        .map(|n| format!("(i64.mul (i64.load offset={} (local.get 0)) (i64.const {}))", 8 * n, 1_u64 << n))
        .collect();
    let sum = |terms: &[String]| {
        terms.iter().fold("(i64.const 0)".to_owned(), |sum, term| format!("(i64.add {sum} {term})"))
    };
    let functions = format!(
        r#"(func (export "sixteen") (param {}) (result i64) {})
  (func (export "seventeen") (param i32) (result i64) {})"#,
        "i64 ".repeat(16),
        sum(&direct),
        sum(&in_memory)
    );
    let params = |count: usize| (0..count).map(|n| format!("p{n}: u64")).collect::<Vec<_>>().join(", ");
    let wit = format!("sixteen: func({}) -> u64; seventeen: func({}) -> u64;", params(16), params(17));
    let (_built, loader) = open(&functions, &wit, &["sixteen", "seventeen"]);
    for (method, count) in [("sixteen", 16), ("seventeen", 17)] {
        for one in 0..count {
            let args: Vec<&str> = (0..count).map(|n| if n == one { "1" } else { "0" }).collect();
            assert_eq!(call(&loader, method, &args), (1_u64 << one).to_string(), "{method} {one}");
        }
    }
}

/// What lies in memory has the layout of a record with one field for each parameter.
#[test]
fn parameters_in_memory_are_laid_out_like_a_record() {
    // u8 at 0, u64 at 8, string at 16, option<u16> at 24, 14 times u16 from 28 on.
    let functions = r#"(func (export "gather") (param $p i32) (result i32)
    (i32.store offset=16 (i32.const 0) (i32.load8_u (local.get $p)))
    (i64.store offset=24 (i32.const 0) (i64.load offset=8 (local.get $p)))
    (i32.store offset=32 (i32.const 0) (i32.load offset=16 (local.get $p)))
    (i32.store offset=36 (i32.const 0) (i32.load offset=20 (local.get $p)))
    (i32.store16 offset=40 (i32.const 0) (i32.load16_u offset=24 (local.get $p)))
    (i32.store16 offset=42 (i32.const 0) (i32.load16_u offset=26 (local.get $p)))
    (i32.store16 offset=44 (i32.const 0) (i32.load16_u offset=28 (local.get $p)))
    (i32.store16 offset=46 (i32.const 0) (i32.load16_u offset=54 (local.get $p)))
    (i32.const 16))"#;
    let rest: Vec<String> = (0..14).map(|n| format!("r{n}: u16")).collect();
    let wit = format!(
        "gather: func(a: u8, b: u64, c: string, d: option<u16>, {}) \
         -> tuple<u8, u64, string, option<u16>, u16, u16>",
        rest.join(", ")
    );
    let (_built, loader) = open(functions, &wit, &["gather"]);
    let rest: Vec<String> = (0..14).map(|n| (65_000 + n).to_string()).collect();
    for (option, shown) in [("some(7)", "some(7)"), ("none", "none")] {
        let mut args = vec!["255", "18446744073709551615", "\"Zoë\"", option];
        args.extend(rest.iter().map(String::as_str));
        let expected = format!("(255, 18446744073709551615, \"Zoë\", {shown}, 65000, 65013)");
        assert_eq!(call(&loader, "gather", &args), expected);
    }
}

/// Values of several parts are passed as their flat parts: each function returns the parts that it got.
#[test]
fn variants_options_and_results_are_passed_flat() {
    // The discriminant, and the payload as the only core type that holds each case's: what is shorter has zeros
    // above it, a float is its bits.
    let two = |name: &str, payload: &str| {
        format!(
            r#"(func (export "{name}") (param i32 {payload}) (result i32)
    (i32.store offset=16 (i32.const 0) (local.get 0))
    ({payload}.store offset=24 (i32.const 0) (local.get 1))
    (i32.const 16))"#
        )
    };
    let functions = [
        two("of-option", "i64"),
        two("of-floats", "i32"),
        two("of-fraction", "f64"),
        r#"(func (export "of-variant") (param i32 i64 i32) (result i32)
    (i32.store offset=16 (i32.const 0) (local.get 0))
    (i64.store offset=24 (i32.const 0) (local.get 1))
    (i32.store offset=32 (i32.const 0) (local.get 2))
    (i32.const 16))
  (func (export "of-result") (param i32 i32 i32) (result i32)
    (i32.store offset=16 (i32.const 0) (local.get 0))
    (i32.store offset=20 (i32.const 0) (local.get 1))
    (i32.store offset=24 (i32.const 0) (local.get 2))
    (i32.const 16))
  (func (export "text-of") (param $case i32) (param $at i64) (param $len i32) (result i32)
    (i32.store offset=16 (i32.const 0) (i32.wrap_i64 (local.get $at)))
    (i32.store offset=20 (i32.const 0) (local.get $len))
    (i32.const 16))
  (func (export "of-unit-result") (param i32) (result i32) (local.get 0))
  (func (export "of-colour") (param i32) (result i32) (local.get 0))
  (func (export "of-marks") (param i32) (result i32) (local.get 0))
  (func (export "of-parts") (param i32 i32 i32 f32 f64 i64) (result f64)
    (f64.add (f64.convert_i32_s (i32.add (local.get 0) (i32.add (local.get 1) (local.get 2))))
      (f64.add (f64.promote_f32 (local.get 3)) (f64.add (local.get 4) (f64.convert_i64_s (local.get 5))))))"#
            .to_owned(),
    ]
    .join("\n  ");
    let labels: Vec<String> = (0..32).map(|n| format!("m{n}")).collect();
    let wit = format!(
        "variant shape {{ nothing, small(f32), wide(s64), text(string) }}
         variant number {{ real(f32), whole(u32) }}
         variant inner {{ a(u8), b(f64) }}
         enum colour {{ red, green, blue }}
         flags marks {{ {} }}
         record parts {{ yes: bool, letter: char, pair: tuple<s8, f32> }}
         of-option: func(v: option<u64>) -> tuple<u32, u64>;
         of-floats: func(v: number) -> tuple<u32, u64>;
         of-fraction: func(v: option<f64>) -> tuple<u32, u64>;
         of-variant: func(v: shape) -> tuple<u32, u64, u32>;
         of-result: func(v: result<s8, string>) -> tuple<u32, u32, u32>;
         text-of: func(v: shape) -> string;
         of-unit-result: func(v: result) -> u32;
         of-colour: func(v: colour) -> colour;
         of-marks: func(v: marks) -> u32;
         of-parts: func(v: parts, w: f64, x: s64) -> f64;",
        labels.join(", ")
    );
    let cases: [(&str, &[&str], &str); 21] = [
        ("of-option", &["none"], "(0, 0)"),
        ("of-option", &["some(18446744073709551615)"], "(1, 18446744073709551615)"),
        ("of-floats", &["real(1.5)"], "(0, 1069547520)"),
        ("of-floats", &["whole(4294967295)"], "(1, 4294967295)"),
        ("of-fraction", &["none"], "(0, 0)"),
        ("of-fraction", &["some(1.5)"], "(1, 4609434218613702656)"),
        ("of-variant", &["nothing"], "(0, 0, 0)"),
        ("of-variant", &["small(1.5)"], "(1, 1069547520, 0)"),
        ("of-variant", &["wide(-2)"], "(2, 18446744073709551614, 0)"),
        ("of-variant", &["text(\"\")"], "(3, 4096, 0)"),
        ("text-of", &["text(\"Zoë\")"], "\"Zoë\""),
        ("of-result", &["ok(-5)"], "(0, 4294967291, 0)"),
        ("of-result", &["err(\"bad\")"], "(1, 4096, 3)"),
        ("of-unit-result", &["ok"], "0"),
        ("of-unit-result", &["err"], "1"),
        ("of-colour", &["red"], "red"),
        ("of-colour", &["blue"], "blue"),
        ("of-marks", &["{}"], "0"),
        ("of-marks", &["{m0, m31}"], "2147483649"),
        ("of-parts", &["{yes: true, letter: 'a', pair: (-3, 0.5)}", "0.25", "-1000"], "-904.25"),
        ("of-parts", &["{yes: false, letter: '\\u{10ffff}', pair: (0, 0)}", "0", "0"], "1114111"),
    ];
    let mut methods: Vec<&str> = cases.iter().map(|case| case.0).collect();
    methods.dedup();
    let (_built, loader) = open(&functions, &wit, &methods);
    for (method, args, expected) in cases {
        assert_eq!(call(&loader, method, args), expected, "{method} {args:?}");
    }
}
