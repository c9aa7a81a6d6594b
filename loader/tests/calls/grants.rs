//! WASI: what an entry is granted works, what it is not granted is denied, and what it is given is what its
//! entry says.

use std::fs;

use loader::{ErrorKind, Loader, Options, Val};

use crate::outcomes::{Kept, call, expect_failure, expect_number};
use crate::support::{Built, Registry, WASI_IMPORTS};

/// Methods of the guest, each under its own name.
fn guests(methods: &[&str], more: &str) -> Registry {
    methods
        .iter()
        .fold(Registry::new(), |registry, method| registry.guest(method, WASI_IMPORTS, method, more))
}

fn text(text: &str) -> Val {
    Val::String(text.into())
}

fn some(value: &str) -> Result<Option<Val>, loader::Error> {
    Ok(Some(Val::Option(Some(Box::new(text(value))))))
}

#[tokio::test]
async fn an_import_that_is_not_granted_is_denied_when_it_is_called() {
    let cases = [
        ("now", vec![], "now", "wasi:clocks/monotonic-clock", "wasi:clocks"),
        ("random", vec![], "get-random-u64", "wasi:random/random", "wasi:random"),
        ("print", vec![text("x")], "get-stdout", "wasi:cli/stdout", "wasi:cli"),
        ("sleep-ms", vec![Val::U64(1)], "subscribe-duration", "wasi:clocks/monotonic-clock", "wasi:clocks"),
    ];
    let methods = cases.each_ref().map(|case| case.0);
    let built = guests(&methods, "").guest("dirs", WASI_IMPORTS, "dirs", "").build();
    let loader = Loader::open(&built).unwrap();
    for (name, args, function, interface, token) in cases {
        let message = format!(
            "`app:{name}` called `{function}` of `{interface}@0.2.12`, which it was not granted; \
             add `{token}` to its `imports`"
        );
        for _ in 0..2 {
            expect_failure(&loader, name, &args, ErrorKind::PermissionDenied, &message).await;
            expect_number(&loader, "dirs", 0).await;
        }
    }
}

/// Functions that only tell a guest what it was given answer "nothing".
#[tokio::test]
async fn without_a_grant_a_guest_was_given_nothing() {
    let built = guests(&["dirs", "env-count", "env-get", "list-dir"], "").build();
    let loader = Loader::open(&built).unwrap();
    expect_number(&loader, "dirs", 0).await;
    expect_number(&loader, "env-count", 0).await;
    assert_eq!(call(&loader, "env-get", &[text("PATH")]).await, Ok(Some(Val::Option(None))));
    let nothing = Val::Result(Err(Some(Box::new(text("nothing mounted at /")))));
    assert_eq!(call(&loader, "list-dir", &[text("/")]).await, Ok(Some(nothing)));
}

#[tokio::test]
async fn clocks_and_random_numbers_work_when_granted() {
    let built = guests(&["now", "random", "sleep-ms"], "imports: [\"wasi:clocks\", \"wasi:random\"]").build();
    let loader = Loader::open(&built).unwrap();
    let mut numbers = Vec::new();
    for name in ["now", "random", "random"] {
        match call(&loader, name, &[]).await {
            Ok(Some(Val::U64(number))) => numbers.push(number),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_ne!(numbers[1], numbers[2]);
    assert_eq!(call(&loader, "sleep-ms", &[Val::U64(0)]).await, Ok(None));
}

/// A grant is an entry's own: another entry of the same component does not get it.
#[tokio::test]
async fn grants_of_one_component_do_not_leak_between_its_entries() {
    let built = Registry::new()
        .guest("granted", WASI_IMPORTS, "random", "imports: [\"wasi:random\"]")
        .guest("denied", WASI_IMPORTS, "random", "")
        .build();
    let loader = Loader::open(&built).unwrap();
    for _ in 0..2 {
        assert!(matches!(call(&loader, "granted", &[]).await, Ok(Some(Val::U64(_)))));
        let message = "`app:denied` called `get-random-u64` of `wasi:random/random@0.2.12`, which it was not \
                       granted; add `wasi:random` to its `imports`";
        expect_failure(&loader, "denied", &[], ErrorKind::PermissionDenied, message).await;
    }
}

#[tokio::test]
async fn output_goes_to_the_log_line_by_line() {
    let built = guests(&["print"], "imports: [\"wasi:cli\"]").build();
    let kept = Kept::default();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    for line in ["one\ntwo", "", "Zoë 🦀"] {
        assert_eq!(call(&loader, "print", &[text(line)]).await, Ok(None));
    }
    let expected = ["one", "two", "", "Zoë 🦀"].map(|line| format!("app:print Stdout: {line}"));
    assert_eq!(kept.lines(), expected);
}

/// A program of preview 1 that returns its arguments as they lie in memory, each with a zero byte, and one
/// that writes to both outputs, the second time without a line end.
const PREVIEW1: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 100) "out\nerr")
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (global.get $next) (local.get 3)))
    (local.get $at))
  (func (export "args") (result i32)
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 1024) (i32.const 2048)))
    (i32.store (i32.const 8) (i32.const 2048))
    (i32.const 8))
  (func $say (param $file i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (local.get $file) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "say")
    (call $say (i32.const 1) (i32.const 100) (i32.const 4))
    (call $say (i32.const 2) (i32.const 104) (i32.const 3))))"#;

#[tokio::test]
async fn arguments_and_both_outputs_of_a_preview_1_program() {
    let wit = |method: &str| {
        format!("wit: \"args: func() -> string; say: func();\"\nmethod: {method}\nimports: [wasi1]\n")
    };
    let built = Registry::new()
        .wat("args", PREVIEW1, &(wit("args") + "wasi: {args: [one, \"two words\", \"${NOBODY|three}\"]}"))
        .wat("none", PREVIEW1, &wit("args"))
        .wat("say", PREVIEW1, &wit("say"))
        .build();
    let kept = Kept::default();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    assert_eq!(call(&loader, "args", &[]).await, Ok(Some(text("one\0two words\0three\0"))));
    assert_eq!(call(&loader, "none", &[]).await, Ok(Some(text(""))));
    assert_eq!(call(&loader, "say", &[]).await, Ok(None));
    // The second one has no line end: it comes when the call is over.
    assert_eq!(kept.lines(), ["app:say Stdout: out", "app:say Stderr: err"]);
}

/// Variables in a file, a mapping of some of them, and the guest's view.
fn with_environment() -> Built {
    let wasi = "imports: [\"wasi:cli\"]\nwasi:\n  env:\n    - {id: home, name: HOME}\n    - {id: mode, name: MODE}\n    - {id: gone, name: GONE}";
    Registry::new()
        .entries("- name: file\n  kind: env.storage.file\n  file_path: vars.env\n")
        .entries("- name: home\n  kind: env.variable\n  variable: THE_HOME\n  storage: file\n")
        .entries(
            "- name: mode\n  kind: env.variable\n  variable: THE_MODE\n  storage: file\n  default: plain\n",
        )
        .entries("- name: gone\n  kind: env.variable\n  variable: THE_GONE\n  storage: file\n")
        .entries("- name: secret\n  kind: env.variable\n  variable: SECRET\n  storage: file\n")
        .guest("get", WASI_IMPORTS, "env-get", wasi)
        .guest("count", WASI_IMPORTS, "env-count", wasi)
        .guest(
            "required",
            WASI_IMPORTS,
            "env-count",
            "imports: [\"wasi:cli\"]\nwasi: {env: [{id: gone, name: GONE, required: true}]}",
        )
        .file("vars.env", "THE_HOME=/home/me\nSECRET=hush\n")
        .build()
}

fn in_its_root(built: &Built) -> Loader {
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    Loader::builder().options(options).open(built).unwrap()
}

#[tokio::test]
async fn a_guest_sees_the_variables_that_its_entry_maps_and_no_others() {
    let built = with_environment();
    let loader = in_its_root(&built);
    assert_eq!(call(&loader, "get", &[text("HOME")]).await, some("/home/me"));
    assert_eq!(call(&loader, "get", &[text("MODE")]).await, some("plain"));
    for name in ["GONE", "SECRET", "THE_HOME", "PATH"] {
        assert_eq!(call(&loader, "get", &[text(name)]).await, Ok(Some(Val::Option(None))), "{name}");
    }
    expect_number(&loader, "count", 2).await;
}

#[tokio::test]
async fn variables_are_read_at_each_call() {
    let built = with_environment();
    let loader = in_its_root(&built);
    assert_eq!(call(&loader, "get", &[text("HOME")]).await, some("/home/me"));
    let missing = "`app:required` requires `app:gone`, which is not set";
    expect_failure(&loader, "required", &[], ErrorKind::NotFound, missing).await;
    fs::write(built.root().join("vars.env"), "THE_HOME=/elsewhere\nTHE_GONE=back\n").unwrap();
    assert_eq!(call(&loader, "get", &[text("HOME")]).await, some("/elsewhere"));
    assert_eq!(call(&loader, "get", &[text("GONE")]).await, some("back"));
    expect_number(&loader, "required", 1).await;
}

#[tokio::test]
async fn the_file_system_is_empty_without_mounts() {
    let built = guests(&["dirs"], "imports: [\"wasi:filesystem\"]").build();
    let loader = Loader::open(&built).unwrap();
    expect_number(&loader, "dirs", 0).await;
}

/// Ends itself with the status that it is given, before it could return.
const EXIT: &str = r#"(component
  (import "wasi:cli/exit@0.2.3" (instance $exit
    (export "exit" (func (param "status" (result))))
    (export "exit-with-code" (func (param "status-code" u8)))))
  (core func $exit (canon lower (func $exit "exit")))
  (core func $code (canon lower (func $exit "exit-with-code")))
  (core module $module
    (import "exit" "exit" (func $exit (param i32)))
    (import "exit" "code" (func $code (param i32)))
    (func (export "exit") (param i32) (call $exit (local.get 0)))
    (func (export "code") (param i32) (call $code (local.get 0)))
    (func (export "run") (result i32) (call $exit (i32.const 0)) (i32.const 1)))
  (core instance $instance (instantiate $module
    (with "exit" (instance (export "exit" (func $exit)) (export "code" (func $code))))))
  (func (export "exit") (param "status" u32) (canon lift (core func $instance "exit")))
  (func (export "code") (param "status" u32) (canon lift (core func $instance "code")))
  (func (export "run") (result (result)) (canon lift (core func $instance "run"))))"#;

#[tokio::test]
async fn a_guest_may_end_itself() {
    let granted = |method: &str| format!("method: {method}\nimports: [\"wasi:cli\"]");
    let built = Registry::new()
        .wat("exit", EXIT, &granted("exit"))
        .wat("code", EXIT, &granted("code"))
        .wat("run", EXIT, &granted("run"))
        .wat("denied", EXIT, "method: exit")
        .build();
    let loader = Loader::open(&built).unwrap();
    for name in ["exit", "code"] {
        assert_eq!(call(&loader, name, &[Val::U32(0)]).await, Ok(None));
        let message = format!("`app:{name}` ended itself with exit status 1");
        expect_failure(&loader, name, &[Val::U32(1)], ErrorKind::Internal, &message).await;
    }
    let message = "`app:code` ended itself with exit status 42";
    expect_failure(&loader, "code", &[Val::U32(42)], ErrorKind::Internal, message).await;
    // Success is the `ok` of a method that returns a result.
    assert_eq!(call(&loader, "run", &[]).await, Ok(Some(Val::Result(Ok(None)))));
    let message = "`app:denied` called `exit` of `wasi:cli/exit@0.2.3`, which it was not granted; \
                   add `wasi:cli` to its `imports`";
    expect_failure(&loader, "denied", &[Val::U32(0)], ErrorKind::PermissionDenied, message).await;
}

/// A value that Lua gives to a variable in memory is seen by the next call of a guest, as are those of the other
/// storages.
#[tokio::test]
async fn a_guest_sees_variables_of_every_storage() {
    let lua = r#"- name: set
  kind: function.lua
  modules: [env]
  source: |
    local env = require("env")
    return function(value) return env.set("KEPT", value) end
"#;
    let built = Registry::new()
        .entries("- {name: memory, kind: env.storage.memory}\n- {name: os, kind: env.storage.os}\n")
        .entries("- name: fixed\n  kind: env.storage.static\n  values: {FIXED: stone}\n")
        .entries("- name: file\n  kind: env.storage.file\n  file_path: vars.env\n")
        .entries("- name: router\n  kind: env.storage.router\n  storages: [memory, file, fixed]\n")
        .entries("- {name: kept, kind: env.variable, variable: KEPT, storage: memory, default: empty}\n")
        .entries("- {name: stone, kind: env.variable, variable: FIXED, storage: fixed}\n")
        .entries("- {name: path, kind: env.variable, variable: PATH, storage: os}\n")
        .entries("- {name: routed, kind: env.variable, variable: ROUTED, storage: router}\n")
        .entries("- {name: routed-stone, kind: env.variable, variable: FIXED, storage: router}\n")
        .entries(lua)
        .guest(
            "get",
            WASI_IMPORTS,
            "env-get",
            "imports: [\"wasi:cli\"]\nwasi:\n  env:\n    - {id: kept, name: KEPT}\n    - {id: stone, name: STONE}\n    \
             - {id: path, name: OWN_PATH}\n    - {id: routed, name: ROUTED}\n    - {id: routed-stone, name: ROUTED_STONE}",
        )
        .file("vars.env", "ROUTED=from the file\n")
        .build();
    let loader = in_its_root(&built);
    let path = std::env::var("PATH").unwrap();
    for (name, value) in [
        ("KEPT", "empty"),
        ("STONE", "stone"),
        ("OWN_PATH", path.as_str()),
        ("ROUTED", "from the file"),
        ("ROUTED_STONE", "stone"),
    ] {
        assert_eq!(call(&loader, "get", &[text(name)]).await, some(value), "{name}");
    }
    let args = vec![loader::Data::from("by Lua")];
    let set = loader.call_data("app:set", args, loader::Context::default()).await;
    assert_eq!(set, Ok(loader::Data::Bool(true)));
    assert_eq!(call(&loader, "get", &[text("KEPT")]).await, some("by Lua"));
}

/// `wasi.cwd`, as a guest of WASI 0.2 is told it.
#[tokio::test]
async fn a_guest_is_told_its_working_directory() {
    let source = r#"(component
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "initial-cwd" (func (result (option string))))))
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $cwd (canon lower (func $environment "initial-cwd")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $module
    (import "host" "cwd" (func $cwd (param i32)))
    (func (export "cwd") (result i32) (call $cwd (i32.const 16)) (i32.const 16)))
  (core instance $instance (instantiate $module (with "host" (instance (export "cwd" (func $cwd))))))
  (func (export "cwd") (result (option string))
    (canon lift (core func $instance "cwd") (memory $libc "memory"))))"#;
    let built = Registry::new()
        .wat("given", source, "method: cwd\nimports: [\"wasi:cli\"]\nwasi: {cwd: /data/here}")
        .wat("not-given", source, "method: cwd\nimports: [\"wasi:cli\"]")
        .build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(call(&loader, "given", &[]).await, some("/data/here"));
    assert_eq!(call(&loader, "not-given", &[]).await, Ok(Some(Val::Option(None))));
}
