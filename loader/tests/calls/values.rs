//! Every kind of value through a guest that gives it back, in both text forms, and what is said of texts that
//! are no value of the type.

use loader::values::{json, wave};
use loader::{Loader, Type, Val};

use crate::support::{ECHO, Registry};

/// One value: the guest's method, its WAVE and its JSON as they are printed.
type Case = (&'static str, &'static str, &'static str);

const OUTER_WAVE: &str =
    r#"{id: 1, inner: {name: "n", score: 0.5}, tags: ["a", "b"], note: some("x"), pair: (-1, 'c')}"#;
const OUTER_JSON: &str =
    r#"{"id":1,"inner":{"name":"n","score":0.5},"tags":["a","b"],"note":"x","pair":[-1,"c"]}"#;

fn cases() -> Vec<Case> {
    vec![
        ("echo-bool", "true", "true"),
        ("echo-bool", "false", "false"),
        ("echo-s8", "-128", "-128"),
        ("echo-u8", "255", "255"),
        ("echo-s16", "-32768", "-32768"),
        ("echo-u16", "65535", "65535"),
        ("echo-s32", "-2147483648", "-2147483648"),
        ("echo-u32", "4294967295", "4294967295"),
        ("echo-s64", "-9223372036854775808", "-9223372036854775808"),
        ("echo-s64", "9007199254740993", "9007199254740993"),
        ("echo-u64", "18446744073709551615", "18446744073709551615"),
        ("echo-u64", "9223372036854775808", "9223372036854775808"),
        ("echo-f32", "0.1", "0.1"),
        ("echo-f32", "340282350000000000000000000000000000000", "3.4028235e38"),
        ("echo-f32", "nan", "\"NaN\""),
        ("echo-f64", "0.1", "0.1"),
        ("echo-f64", "0.0000001", "1e-7"),
        ("echo-f64", "-0", "-0.0"),
        ("echo-f64", "3", "3.0"),
        ("echo-f64", "inf", "\"Infinity\""),
        ("echo-f64", "-inf", "\"-Infinity\""),
        ("echo-f64", "nan", "\"NaN\""),
        ("echo-char", "'ö'", "\"ö\""),
        ("echo-char", r"'\''", "\"'\""),
        ("echo-char", r"'\n'", r#""\n""#),
        ("echo-string", r#""""#, r#""""#),
        ("echo-string", r#""Zoë 🦀 \"quoted\" \\ \n\t""#, r#""Zoë 🦀 \"quoted\" \\ \n\t""#),
        ("echo-string", r#""\u{0}\u{7f}""#, "\"\\u0000\u{7f}\""),
        ("echo-bytes", "[]", "[]"),
        ("echo-bytes", "[0, 127, 255]", "[0,127,255]"),
        ("echo-strings", r#"["", "a"]"#, r#"["","a"]"#),
        ("echo-lists", "[[], [-1, 2], [3]]", "[[],[-1,2],[3]]"),
        ("echo-record", OUTER_WAVE, OUTER_JSON),
        ("echo-tuple", r#"(1, "x", 0.5)"#, r#"[1,"x",0.5]"#),
        ("echo-option", "none", "null"),
        ("echo-option", "some(0)", "0"),
        ("echo-option-option", "none", "null"),
        ("echo-option-option", "some(none)", r#"{"some":null}"#),
        ("echo-option-option", "some(some(7))", r#"{"some":7}"#),
        ("echo-result", "ok(7)", r#"{"ok":7}"#),
        ("echo-result", r#"err("no")"#, r#"{"err":"no"}"#),
        ("echo-result-unit", "ok", r#"{"ok":null}"#),
        ("echo-result-unit", "err", r#"{"err":null}"#),
        ("echo-result-ok-only", "ok(7)", r#"{"ok":7}"#),
        ("echo-result-ok-only", "err", r#"{"err":null}"#),
        ("echo-result-err-only", "ok", r#"{"ok":null}"#),
        ("echo-result-err-only", r#"err("no")"#, r#"{"err":"no"}"#),
        ("echo-result-nested", r#"[ok(1), err("no")]"#, r#"[{"ok":1},{"err":"no"}]"#),
        ("echo-variant", "nothing", r#"{"nothing":null}"#),
        ("echo-variant", "number(-5)", r#"{"number":-5}"#),
        ("echo-variant", r#"text("x")"#, r#"{"text":"x"}"#),
        ("echo-variant", "maybe(none)", r#"{"maybe":null}"#),
        ("echo-variant", "maybe(some(1))", r#"{"maybe":1}"#),
        ("echo-variant", r#"outcome(err("no"))"#, r#"{"outcome":{"err":"no"}}"#),
        ("echo-variants", "[nothing, number(1)]", r#"[{"nothing":null},{"number":1}]"#),
        ("echo-enum", "red", "\"red\""),
        ("echo-enum", "blue-green", "\"blue-green\""),
        ("echo-flags", "{}", "[]"),
        ("echo-flags", "{read, run-it}", r#"["read","run-it"]"#),
    ]
}

fn open(methods: impl IntoIterator<Item = &'static str>) -> (crate::support::Built, Loader) {
    let mut methods: Vec<&str> = methods.into_iter().collect();
    methods.dedup();
    let registry = methods.into_iter().fold(Registry::new(), |r, method| r.guest(method, ECHO, method, ""));
    let built = registry.build();
    let loader = Loader::open(&built).unwrap();
    (built, loader)
}

/// The type of the only parameter of `app:METHOD`.
fn parameter(loader: &Loader, method: &str) -> Type {
    loader.function(&format!("app:{method}")).unwrap().params()[0].1.clone()
}

fn parse_json(text: &str, ty: &Type) -> Result<Val, String> {
    json::parse("v", &serde_json::from_str(text).unwrap(), ty)
}

#[tokio::test]
async fn every_value_comes_back_as_it_went() {
    let (_built, loader) = open(cases().iter().map(|case| case.0));
    for (method, as_wave, as_json) in cases() {
        let ty = parameter(&loader, method);
        for value in [wave::parse(as_wave, &ty).unwrap(), parse_json(as_json, &ty).unwrap()] {
            assert_eq!(wave::print(&value).unwrap(), as_wave, "{method}");
            assert_eq!(json::print(&value).unwrap(), as_json, "{method}");
            let back = loader.call(&format!("app:{method}"), &[value]).await.unwrap().unwrap();
            assert_eq!(wave::print(&back).unwrap(), as_wave, "{method}");
            assert_eq!(json::print(&back).unwrap(), as_json, "{method}");
        }
    }
}

/// A record in a list, a variant with a record, and a list with more than one page of memory.
#[tokio::test]
async fn large_and_deep_values_come_back_as_they_went() {
    let (_built, loader) = open(["echo-bytes", "echo-string", "echo-records", "echo-variants"]);
    let bytes = Val::List((0..300_000u32).map(|n| Val::U8(n as u8)).collect());
    let string = Val::String("Zoë ".repeat(50_000));
    let outer = wave::parse(
        OUTER_WAVE,
        &match parameter(&loader, "echo-records") {
            Type::List(list) => list.ty(),
            _ => panic!("not a list"),
        },
    );
    let outer = outer.unwrap();
    let records = Val::List(vec![outer.clone(); 1000]);
    let variants = Val::List(vec![Val::Variant("both".into(), Some(Box::new(outer))); 1000]);
    let cases = [
        ("echo-bytes", bytes),
        ("echo-string", string),
        ("echo-records", records),
        ("echo-variants", variants),
    ];
    for (method, value) in cases {
        let back = loader.call(&format!("app:{method}"), std::slice::from_ref(&value)).await.unwrap();
        assert!(back == Some(value), "{method}");
    }
}

#[tokio::test]
async fn twenty_parameters_of_all_kinds() {
    let (_built, loader) = open(["twenty"]);
    let function = loader.function("app:twenty").unwrap();
    let texts = [
        "-1",
        "1",
        "-2",
        "2",
        "-3",
        "3",
        "-4",
        "4",
        "5",
        "6",
        "true",
        "'c'",
        "\"s\"",
        "[1, 2]",
        "some(7)",
        "blue-green",
        "{read, run-it}",
        "(8, 9)",
        "err(\"e\")",
        "-10",
    ];
    let pairs = function.params().iter().zip(texts);
    let args: Vec<Val> = pairs.map(|((_, ty), text)| wave::parse(text, ty).unwrap()).collect();
    let expected = "-1,1,-2,2,-3,3,-4,4,5,6,true,c,s,[1, 2],Some(7),2,5,(8, 9),Err(\"e\"),-10";
    assert_eq!(function.call(&args).await, Ok(Some(Val::String(expected.into()))));
}

/// What `call` prints: a missing optional field is left out in WAVE, and may be left out in both.
#[test]
fn optional_fields_may_be_left_out() {
    let (_built, loader) = open(["echo-record"]);
    let ty = parameter(&loader, "echo-record");
    let as_wave = r#"{id: 1, inner: {name: "", score: 0}, tags: [], pair: (0, 'c')}"#;
    let as_json = r#"{"id":1,"inner":{"name":"","score":0.0},"tags":[],"pair":[0,"c"]}"#;
    let value = wave::parse(as_wave, &ty).unwrap();
    assert_eq!(parse_json(as_json, &ty).unwrap(), value);
    assert_eq!(wave::print(&value).unwrap(), as_wave);
    assert_eq!(json::print(&value).unwrap(), as_json.replace("\"pair\"", "\"note\":null,\"pair\""));
}

#[test]
fn what_people_write_is_taken() {
    let (_built, loader) =
        open(["echo-string", "echo-char", "echo-option", "echo-result", "echo-f64", "echo-flags"]);
    let cases = [
        // A bare word, and a sentence, where a string is expected.
        ("echo-string", "World", "\"World\""),
        ("echo-string", "two words, and more", "\"two words, and more\""),
        ("echo-string", "", "\"\""),
        ("echo-char", "c", "'c'"),
        // What can only be `some` or `ok`.
        ("echo-option", "7", "some(7)"),
        ("echo-result", "7", "ok(7)"),
        ("echo-f64", "42", "42"),
        // Flags in any order.
        ("echo-flags", "{run-it, read}", "{read, run-it}"),
    ];
    for (method, given, printed) in cases {
        let value = wave::parse(given, &parameter(&loader, method)).unwrap();
        assert_eq!(wave::print(&value).unwrap(), printed, "{method} {given}");
    }
    let cases = [("echo-f64", "42", "42.0"), ("echo-flags", r#"["run-it", "read"]"#, r#"["read","run-it"]"#)];
    for (method, given, printed) in cases {
        let value = parse_json(given, &parameter(&loader, method)).unwrap();
        assert_eq!(json::print(&value).unwrap(), printed, "{method} {given}");
    }
}

#[test]
fn floats_keep_every_bit_in_both_forms() {
    let (_built, loader) = open(["echo-f32", "echo-f64"]);
    let (single, double) = (parameter(&loader, "echo-f32"), parameter(&loader, "echo-f64"));
    // Bit patterns from all over the range, by a multiplicative sequence.
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wide = f64::from_bits(bits);
        let narrow = f32::from_bits((bits >> 32) as u32);
        for (value, ty) in [(Val::Float64(wide), &double), (Val::Float32(narrow), &single)] {
            if wide.is_nan() || narrow.is_nan() {
                continue;
            }
            assert_eq!(wave::parse(&wave::print(&value).unwrap(), ty).unwrap(), value);
            assert_eq!(parse_json(&json::print(&value).unwrap(), ty).unwrap(), value);
        }
    }
}

const RECORD: &str = "record { id, inner, tags, note, pair }";
const VARIANT: &str = "variant { nothing, number, text, both, maybe, outcome }";

#[test]
fn json_that_does_not_fit_is_named_by_its_path() {
    let (_built, loader) = open([
        "echo-bool",
        "echo-s8",
        "echo-u8",
        "echo-u64",
        "echo-s64",
        "echo-f64",
        "echo-char",
        "echo-string",
        "echo-bytes",
        "echo-lists",
        "echo-record",
        "echo-records",
        "echo-tuple",
        "echo-option-option",
        "echo-result",
        "echo-result-unit",
        "echo-variant",
        "echo-enum",
        "echo-flags",
    ]);
    let inner = |inner: &str| OUTER_JSON.replace(r#"{"name":"n","score":0.5}"#, inner);
    let no_pair = OUTER_JSON.replace(r#","pair":[-1,"c"]"#, "");
    let cases = [
        ("echo-bool", "1", "v: expected bool, found number 1".to_owned()),
        ("echo-s8", "128", "v: 128 is out of range of s8".into()),
        ("echo-u8", "-1", "v: -1 is out of range of u8".into()),
        ("echo-u8", "1.5", "v: expected u8, found number 1.5".into()),
        ("echo-u64", "18446744073709551616", "v: expected u64, found number 1.8446744073709552e+19".into()),
        ("echo-s64", "9223372036854775808", "v: 9223372036854775808 is out of range of s64".into()),
        ("echo-f64", "\"1\"", "v: expected f64, found a string".into()),
        ("echo-char", "\"ab\"", "v: expected a string of one character".into()),
        ("echo-char", "\"\"", "v: expected a string of one character".into()),
        ("echo-string", "null", "v: expected string, found null".into()),
        ("echo-bytes", "[0, 256]", "v[1]: 256 is out of range of u8".into()),
        ("echo-bytes", "\"text\"", "v: expected list<u8>, found a string".into()),
        ("echo-lists", "[[1], [2, true]]", "v[1][1]: expected s16, found true".into()),
        ("echo-record", "[]", format!("v: expected {RECORD}, found an array")),
        ("echo-record", r#"{"idd": 1}"#, format!("v: unknown field `idd`, expected {RECORD}")),
        ("echo-record", &no_pair, "v: missing field `pair`".into()),
        (
            "echo-record",
            &inner(r#"{"name": 1, "score": 0}"#),
            "v.inner.name: expected string, found number 1".into(),
        ),
        (
            "echo-records",
            &format!("[{OUTER_JSON}, {}]", inner("{}")),
            "v[1].inner: missing field `name`".into(),
        ),
        ("echo-tuple", "[1]", "v: expected an array of 3, found 1".into()),
        ("echo-tuple", r#"[1, "x", "y"]"#, "v[2]: expected f32, found a string".into()),
        ("echo-option-option", "7", "v: expected null or {\"some\": …}".into()),
        ("echo-result", "7", "v: expected result, found number 7".into()),
        ("echo-result", r#"{"okay": 7}"#, "v: expected {\"ok\": …} or {\"err\": …}".into()),
        ("echo-result", r#"{"ok": "x"}"#, "v.ok: expected u32, found a string".into()),
        ("echo-result", r#"{"err": 1}"#, "v.err: expected string, found number 1".into()),
        ("echo-result-unit", r#"{"ok": 1}"#, "v.ok: expected null, found number 1".into()),
        ("echo-variant", r#"{"circle": null}"#, format!("v: unknown case `circle`, expected {VARIANT}")),
        ("echo-variant", r#""nothing""#, format!("v: expected {VARIANT}, found a string")),
        ("echo-variant", r#"{"number": null}"#, "v.number: expected s64, found null".into()),
        (
            "echo-variant",
            r#"{"nothing": null, "text": "x"}"#,
            format!("v: expected {VARIANT}, found an object"),
        ),
        ("echo-enum", r#""pink""#, "v: unknown case `pink`, expected enum { red, green, blue-green }".into()),
        ("echo-flags", r#"["fly"]"#, "v: unknown flag `fly`, expected flags { read, write, run-it }".into()),
        ("echo-flags", "[1]", "v: expected flags { read, write, run-it }, found an array".into()),
    ];
    for (method, text, problem) in cases {
        assert_eq!(parse_json(text, &parameter(&loader, method)).unwrap_err(), problem, "{method} {text}");
    }
}

#[test]
fn wave_that_does_not_fit_says_what_was_expected() {
    let (_built, loader) = open([
        "echo-bool",
        "echo-s8",
        "echo-u8",
        "echo-u64",
        "echo-char",
        "echo-lists",
        "echo-record",
        "echo-tuple",
        "echo-option-option",
        "echo-result-unit",
        "echo-variant",
        "echo-enum",
        "echo-flags",
    ]);
    let cases = [
        ("echo-bool", "1", "expected bool, found `1`".to_owned()),
        ("echo-s8", "128", "`128` is out of range of s8".into()),
        ("echo-u8", "-1", "`-1` is out of range of u8".into()),
        ("echo-u64", "18446744073709551616", "`18446744073709551616` is out of range of u64".into()),
        ("echo-u8", "seven", "expected u8, found `seven`".into()),
        ("echo-lists", "[[1], [2, true]]", "expected s16, found `true`".into()),
        ("echo-lists", "7", "expected list<list<s16>>, found `7`".into()),
        ("echo-record", "{idd: 1}", format!("unknown field `idd`, expected {RECORD}")),
        ("echo-record", "{id: 1}", "missing field `inner`".into()),
        (
            "echo-record",
            &OUTER_WAVE.replace("0.5", "true"),
            "inner: score: expected f64, found `true`".into(),
        ),
        ("echo-tuple", "(1, \"x\")", "expected tuple<u8, string, f32>, found `(1, \"x\")`".into()),
        ("echo-option-option", "7", "expected option<option<u32>>, found `7`".into()),
        ("echo-result-unit", "ok(1)", "`ok` has no payload".into()),
        ("echo-variant", "circle", format!("expected {VARIANT}, found `circle`")),
        ("echo-variant", "number", "`number` needs a payload of type s64".into()),
        ("echo-variant", "nothing(1)", "`nothing` has no payload".into()),
        ("echo-enum", "pink", "expected enum { red, green, blue-green }, found `pink`".into()),
        ("echo-flags", "{fly}", "unknown flag `fly`, expected flags { read, write, run-it }".into()),
    ];
    for (method, text, problem) in cases {
        assert_eq!(wave::parse(text, &parameter(&loader, method)).unwrap_err(), problem, "{method} {text}");
    }
    for (method, text) in [("echo-char", "ab"), ("echo-lists", "[1"), ("echo-bool", ""), ("echo-u8", "1 2")] {
        let problem = wave::parse(text, &parameter(&loader, method)).unwrap_err();
        assert!(problem.starts_with("expected "), "{method} {text}: {problem}");
    }
}
