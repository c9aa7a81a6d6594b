//! Guests that call functions of the registry: `wippy:runtime/funcs`.

use loader::security::{Actor, Scope};
use loader::{Context, Data};

use crate::shared::{App, lua};
use crate::support::{ECHO, Registry};

/// Which function of the interface a guest calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    String,
    Bytes,
}

impl Door {
    const ALL: [Self; 2] = [Self::String, Self::Bytes];

    /// Its name, and the type of what passes through.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::String => ("call-string", "string"),
            Self::Bytes => ("call-bytes", "(list u8)"),
        }
    }
}

/// What a core module needs whose functions take and give text: `16` is where results lie.
const LIBC: &str = r#"(memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))"#;

/// A component whose function `call` calls the target that it is given through `door`, and returns what came
/// back. With `more` it needs the engine that `more` asks for.
pub(crate) fn trampoline(door: Door, more: &str) -> String {
    let (name, ty) = door.parts();
    format!(
        r#"(component
  (import "wippy:runtime/funcs@0.1.0" (instance $funcs
    (export "{name}" (func (param "target" string) (param "input" {ty}) (result (result {ty} (error string)))))))
  (core module $libc {LIBC})
  (core instance $libc (instantiate $libc))
  (core func $call (canon lower (func $funcs "{name}")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $module
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32)))
    (func (export "call") (param i32 i32 i32 i32) (result i32)
      (call $call (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 16))
      (i32.const 16)))
  (core instance $instance (instantiate $module (with "host" (instance (export "call" (func $call))))))
  (func (export "call") (param "target" string) (param "input" {ty}) (result (result {ty} (error string)))
    (canon lift (core func $instance "call") (memory $libc "memory") (realloc (func $libc "realloc"))))
  {more})"#
    )
}

/// A component whose function `same` gives back the text that it takes.
fn same(more: &str) -> String {
    format!(
        r#"(component
  (core module $module {LIBC}
    (func (export "same") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16)))
  (core instance $instance (instantiate $module))
  (func (export "same") (param "text" string) (result string)
    (canon lift (core func $instance "same") (memory $instance "memory") (realloc (func $instance "realloc"))))
  {more})"#
    )
}

/// An export that only the asynchronous engine runs.
pub(crate) const ASYNCHRONOUS: &str = r#"(core module $other
    (import "" "return" (func $return))
    (func (export "run") (result i32) (call $return) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) (unreachable)))
  (core func $return (canon task.return))
  (core instance $other (instantiate $other (with "" (instance (export "return" (func $return))))))
  (func (export "run") async (canon lift (core func $other "run") async (callback (func $other "callback"))))"#;

const GRANTED: &str = "method: call\nimports: [funcs]";

/// The guests `string` and `bytes`, which call through the door of that name.
fn doors() -> Registry {
    let registry = Registry::new().wat("string", &trampoline(Door::String, ""), GRANTED);
    registry.wat("bytes", &trampoline(Door::Bytes, ""), GRANTED)
}

impl App {
    /// What `target` answers to `input` through `door`: the answer, or `err: ` and its message.
    async fn through(&self, door: Door, target: &str, input: impl Into<Vec<u8>>) -> String {
        self.through_as(Context::default(), door, target, input).await
    }

    async fn through_as(
        &self,
        context: Context,
        door: Door,
        target: &str,
        input: impl Into<Vec<u8>>,
    ) -> String {
        let guest = match door {
            Door::String => "app:string",
            Door::Bytes => "app:bytes",
        };
        let args = vec![Data::from(target), Data::String(input.into())];
        match self.loader.call_data(guest, args, context).await {
            Ok(Data::String(answer)) => String::from_utf8_lossy(&answer).into_owned(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("err: {}", error.message()),
        }
    }
}

/// A core module whose `same` gives back a record of bytes.
const BYTES_WITHIN: &str = r#"- name: within
  kind: function.wat
  wit: "record packet { data: list<u8> } same: func(v: packet) -> packet;"
  method: same
  source: |
    (module (memory (export "memory") 1)
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      (func (export "same") (param i32 i32) (result i32)
        (i32.store (i32.const 16) (local.get 0))
        (i32.store (i32.const 20) (local.get 1))
        (i32.const 16)))
"#;

/// Text and bytes pass as they are, all else in the JSON form of WIT values, both ways.
#[tokio::test]
async fn guests_call_guests_with_every_type() {
    let record = r#"{"id":1,"inner":{"name":"n","score":0.5},"tags":[],"note":null,"pair":[-1,"x"]}"#;
    let records = format!("[{record},{record}]");
    let both = format!(r#"{{"both":{record}}}"#);
    let without_note = record.replace(r#""note":null,"#, "");
    let rows = [
        ("echo-bool", "true", "true"),
        ("echo-s8", "-128", "-128"),
        ("echo-u8", "255", "255"),
        ("echo-s16", "-32768", "-32768"),
        ("echo-u16", "65535", "65535"),
        ("echo-s32", "-2147483648", "-2147483648"),
        ("echo-u32", "4294967295", "4294967295"),
        ("echo-s64", "-9223372036854775808", "-9223372036854775808"),
        ("echo-s64", "9007199254740993", "9007199254740993"),
        ("echo-u64", "9223372036854775808", "9223372036854775808"),
        ("echo-u64", "18446744073709551615", "18446744073709551615"),
        ("echo-f32", "0.5", "0.5"),
        ("echo-f64", "3", "3.0"),
        ("echo-f64", "\"NaN\"", "\"NaN\""),
        ("echo-f64", "\"Infinity\"", "\"Infinity\""),
        ("echo-f64", "\"-Infinity\"", "\"-Infinity\""),
        ("echo-char", "\"é\"", "\"é\""),
        ("echo-string", "no JSON: \"é\"", "no JSON: \"é\""),
        ("echo-string", "", ""),
        ("echo-bytes", "no JSON: [", "no JSON: ["),
        ("echo-strings", "[]", "[]"),
        ("echo-strings", r#"["a",""]"#, r#"["a",""]"#),
        ("echo-lists", "[[],[1,-2]]", "[[],[1,-2]]"),
        ("echo-record", record, record),
        ("echo-record", &without_note, record),
        ("echo-records", &records, &records),
        ("echo-records", "[]", "[]"),
        ("echo-tuple", r#"[1,"a",0.5]"#, r#"[1,"a",0.5]"#),
        ("echo-option", "7", "7"),
        ("echo-option", "null", ""),
        ("echo-option-option", r#"{"some":7}"#, r#"{"some":7}"#),
        ("echo-option-option", r#"{"some":null}"#, r#"{"some":null}"#),
        ("echo-option-option", "null", ""),
        ("echo-result", r#"{"ok":7}"#, "7"),
        ("echo-result", r#"{"err":"it is gone"}"#, "err: it is gone"),
        ("echo-result-unit", r#"{"ok":null}"#, ""),
        ("echo-result-ok-only", r#"{"ok":7}"#, "7"),
        ("echo-result-err-only", r#"{"ok":null}"#, ""),
        ("echo-result-err-only", r#"{"err":"it is gone"}"#, "err: it is gone"),
        ("echo-result-nested", r#"[{"ok":1},{"err":"x"}]"#, r#"[{"ok":1},{"err":"x"}]"#),
        ("echo-variant", r#"{"nothing":null}"#, r#"{"nothing":null}"#),
        ("echo-variant", r#"{"number":9007199254740993}"#, r#"{"number":9007199254740993}"#),
        ("echo-variant", r#"{"maybe":null}"#, r#"{"maybe":null}"#),
        ("echo-variant", r#"{"outcome":{"err":"x"}}"#, r#"{"outcome":{"err":"x"}}"#),
        ("echo-variant", &both, &both),
        ("echo-variants", r#"[{"nothing":null},{"text":""}]"#, r#"[{"nothing":null},{"text":""}]"#),
        ("echo-enum", r#""blue-green""#, r#""blue-green""#),
        ("echo-flags", r#"["run-it","read"]"#, r#"["read","run-it"]"#),
        ("echo-flags", "[]", "[]"),
        ("fail", r#"{"name":"n","score":1}"#, r#"err: {name: "n", score: 1}"#),
    ];
    let mut registry = doors().entries(BYTES_WITHIN);
    let mut names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        registry = registry.guest(name, ECHO, &format!("test:echo/values#{name}"), "");
    }
    let registry = registry.guest("table", ECHO, "test:echo/values#echo-result", "results: table");
    let app =
        App::new(registry.guest("table-unit", ECHO, "test:echo/values#echo-result-unit", "results: table"));
    for door in Door::ALL {
        for (name, input, expected) in &rows {
            let answer = app.through(door, &format!("app:{name}"), *input).await;
            assert_eq!(answer, *expected, "{name} of {input} by {door:?}");
        }
        for text in [r#"{"data":[0,255]}"#, r#"{"data":[]}"#] {
            assert_eq!(app.through(door, "app:within", text).await, text);
        }
        for text in [r#"{"ok":7}"#, r#"{"err":"it is gone"}"#] {
            assert_eq!(app.through(door, "app:table", text).await, text);
        }
        assert_eq!(app.through(door, "app:table-unit", r#"{"err":null}"#).await, r#"{"err":null}"#);
        for (name, input, problem) in [
            ("echo-u8", "256", "v: 256 is out of range of u8"),
            (
                "echo-u8",
                "",
                "v: expected JSON, since it is no string: EOF while parsing a value at line 1 column 0",
            ),
            (
                "echo-enum",
                "red",
                "v: expected JSON, since it is no string: expected value at line 1 column 1",
            ),
            ("echo-strings", r#"["a",null]"#, "v[1]: expected string, found null"),
            ("echo-flags", r#"["fly"]"#, "v: unknown flag `fly`, expected flags { read, write, run-it }"),
        ] {
            let answer = app.through(door, &format!("app:{name}"), input).await;
            assert_eq!(answer, format!("err: `app:{name}`: {problem}"));
        }
    }
}

/// What Lua returns is written as `json.encode` would.
#[tokio::test]
async fn answers_of_lua_are_what_json_encode_gives() {
    let values = r#"
        local json = require("json")
        return {
            empty = {}, within = {a = {}, b = {{}, {}}}, object = json.decode("{}"),
            objects = json.decode('[{"a":{}},{}]'), integral = {10 / 2, -0.5, 1e300, 2 ^ 53, 2 ^ 60},
            inexact = {1 / 0, -1 / 0, 0 / 0}, exact = {math.maxinteger, math.mininteger}, number = 10 / 2,
            infinite = 1 / 0, truth = false, text = {'"\\\n\0é'}, keys = {z = 1, a = 2, ["1"] = 3},
            bytes = {"\xff"}, mixed = {1, a = 2}, sparse = {[1] = 1, [3] = 3}, zero = {[0] = 1},
            float = {[1.5] = 1}, bool = {[true] = 1}, problem = {errors.new("no")},
        }"#;
    let source = r#"
        local funcs, json, values = require("funcs"), require("json"), require("values")
        return function(guest)
            local compared = 0
            for name, value in pairs(values) do
                local expected, problem = json.encode(value)
                local answer, err = funcs.call(guest, "app:value", name)
                if answer ~= expected or (err and err:message()) ~= (problem and problem:message()) then
                    return name .. ": " .. tostring(answer or err) .. " for " .. tostring(expected or problem)
                end
                compared = compared + 1
            end
            return compared
        end"#;
    let imports = "modules: [json, funcs]\nimports: {values: values}";
    let registry = crate::shared::library(doors(), "values", values, "modules: [json]");
    let value = "local values = require('values')\nreturn function(name) return values[name] end";
    let app = App::new(lua(lua(registry, "value", value, imports), "f", source, imports));
    for guest in ["app:string", "app:bytes"] {
        assert_eq!(app.call("app:f", vec![Data::from(guest)]).await, Ok(Data::Integer(19)));
    }
}

/// Bytes of any value pass through `call-bytes`, in both directions, whatever the callee is.
#[tokio::test]
async fn bytes_pass_as_they_are() {
    let every: Vec<u8> = (0..=255).collect();
    let source = "return function(bytes) return bytes:reverse() end";
    let registry = lua(doors(), "reverse", source, "");
    let registry = registry.guest("echo", ECHO, "test:echo/values#echo-bytes", "");
    let app = App::new(registry.guest("text", ECHO, "test:echo/values#echo-string", ""));
    let call = async |target: &str, input: &[u8]| {
        let args = vec![Data::from(target), Data::String(input.to_vec())];
        app.call("app:bytes", args).await.map_err(|error| error.message().to_owned())
    };
    let reversed: Vec<u8> = every.iter().rev().copied().collect();
    assert_eq!(call("app:reverse", &every).await, Ok(Data::String(reversed)));
    assert_eq!(call("app:echo", &every).await, Ok(Data::String(every.clone())));
    assert_eq!(call("app:reverse", b"").await, Ok(Data::String(Vec::new())));
    assert_eq!(call("app:text", "é".as_bytes()).await, Ok(Data::from("é")));
    let problem = call("app:text", &every).await.unwrap_err();
    assert_eq!(problem, "`app:text`: v: a string that is not UTF-8, from byte 129");
}

/// Whatever keeps a call from its answer is an `err`: the guest goes on.
#[tokio::test]
async fn all_failures_are_err() {
    let callee = r#"
        return function(input)
            if input == "raise" then error("broken") end
            if input == "object" then error(errors.new("an object")) end
            if input == "fail" then return nil, errors.new("not today") end
            if input == "bytes" then return "\xff" end
            if input == "within" then return {"\xff"} end
            if input == "function" then return print end
            if input == "memory" then local t = {} while true do t[#t + 1] = {} end end
        end"#;
    let trap = r#"- name: trap
  kind: function.wat
  wit: "boom: func(v: u32);"
  method: boom
  source: "(module (func (export \"boom\") (param i32) unreachable))"
- name: carried
  kind: function.lua
  modules: [sql]
  source: "return function() end"
- name: process
  kind: process.lua
  source: "return function() end"
- name: policy
  kind: security.policy
  policy: {actions: funcs.call, resources: ["app:string", "app:bytes"], effect: allow}
- name: none
  kind: function.wat
  wit: "none: func();"
  method: none
  source: "(module (func (export \"none\")))"
"#;
    let app = App::new(lua(doors().entries(trap), "callee", callee, ""));
    for door in Door::ALL {
        for (target, input, expected) in [
            ("app:callee", "raise", "err: app:callee:2: broken"),
            ("app:callee", "object", "err: an object"),
            ("app:callee", "fail", "err: not today"),
            ("app:callee", "nil", ""),
            ("nonsense", "", "err: invalid function target: nonsense"),
            ("", "", "err: invalid function target: "),
            ("app:nothing", "", "err: no entry `app:nothing` in this bundle"),
            ("app:process", "", "err: `app:process` is a `process.lua`, which can't be called"),
            (
                "app:trap",
                "1",
                "err: `app:trap` failed in `boom`: wasm trap: wasm `unreachable` instruction executed",
            ),
            ("app:none", "", "err: `app:none`: expected 0 arguments, got 1: func()"),
        ] {
            assert_eq!(app.through(door, target, input).await, expected, "{target} {input} by {door:?}");
        }
        for (target, input, part) in [
            ("app:carried", "", "needs the Lua module `sql`, which is not offered"),
            ("app:policy", "", "app:policy"),
            ("app:callee", "function", "result: a function can't leave its invocation"),
            ("app:callee", "memory", "not enough memory"),
        ] {
            let answer = app.through(door, target, input).await;
            assert!(answer.starts_with("err: ") && answer.contains(part), "{target} {input}: {answer}");
        }
        let policy = app.loader.policy(&"app:policy".parse().unwrap()).unwrap();
        let scope: Scope = [policy].into_iter().collect();
        let actor = Actor::new("ann", Data::Nil).unwrap();
        let context = Context::default().with_actor(Some(actor.into())).with_scope(Some(scope.into()));
        let denied = app.through_as(context, door, "app:callee", "nil").await;
        assert!(denied.starts_with("err: ") && denied.contains("app:callee"), "{denied}");
    }
    let bytes = app.call("app:bytes", vec![Data::from("app:callee"), Data::from("bytes")]).await;
    assert_eq!(bytes, Ok(Data::String(vec![0xff])));
    let text = app.through(Door::String, "app:callee", "bytes").await;
    assert_eq!(text, "err: the answer is no text: use call-bytes");
}

/// No Lua between them.
#[tokio::test]
async fn all_pairs_of_engines_call_each_other() {
    let mut registry = Registry::new();
    for (profile, more) in [("sync", ""), ("async", ASYNCHRONOUS)] {
        registry = registry.wat(&format!("{profile}-same"), &same(more), "method: same");
        registry = registry.wat(&format!("{profile}-string"), &trampoline(Door::String, more), GRANTED);
        registry = registry.wat(&format!("{profile}-bytes"), &trampoline(Door::Bytes, more), GRANTED);
    }
    let app = App::new(registry);
    for caller in ["sync-string", "sync-bytes", "async-string", "async-bytes"] {
        for callee in ["app:sync-same", "app:async-same"] {
            let args = vec![Data::from(callee), Data::from("hello")];
            let answer = app.call(&format!("app:{caller}"), args).await;
            assert_eq!(answer, Ok(Data::from("hello")), "{caller} calls {callee}");
        }
    }
}
