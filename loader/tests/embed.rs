//! Runs the code of `examples/embed.rs` on a bundle that has what it calls, and a function that uses the
//! interface that it offers; and what a program may do with handles and futures: share them between threads.

#[allow(dead_code, reason = "a test has no use for the example's `main`")]
#[path = "../examples/embed.rs"]
mod example;
mod support;

use loader::{
    Bundle, CallId, Context, Data, EntryInfo, Error, Function, Loader, OpenError, Options, Settings, Val,
    WeakLoader,
};
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

fn shared<T: Send + Sync>() {}

fn passed<T: Send>(_: &T) {}

/// What a program holds may be shared between its threads. Checked when this is compiled.
#[test]
fn handles_are_shared_between_threads() {
    shared::<(Loader, WeakLoader, Function, Bundle, Settings, EntryInfo)>();
    shared::<(Options, Context, CallId, Data, Error, OpenError)>();
    shared::<(loader::supervisor::Serving, loader::supervisor::Status, loader::supervisor::Stop)>();
    shared::<(loader::trust::Trust, loader::trust::DenyList, loader::trust::VerifyKey)>();
    #[cfg(feature = "lua")]
    shared::<(loader::Deployment, loader::Refusal, loader::security::Actor, loader::security::Scope)>();
    #[cfg(feature = "lua")]
    shared::<(loader::process::Running, loader::process::Outcome)>();
    #[cfg(all(feature = "http", feature = "lua"))]
    shared::<(loader::http::Server, loader::http::Site)>();
    #[cfg(all(feature = "http", feature = "telemetry"))]
    shared::<loader::MetricsServer>();
    #[cfg(feature = "telemetry")]
    shared::<(loader::Trace, loader::Span)>();
    // Made in one thread and used up in another; host interfaces are called from all.
    passed(&Loader::builder());
    passed(&loader::supervisor::Supervisor::default());
}

/// Futures of calls may be awaited by tasks of any runtime. Checked when this is compiled.
#[allow(dead_code, reason = "that it compiles is the test")]
fn futures_are_passed_between_threads(loader: &Loader, function: &Function) {
    passed(&loader.call("", &[]));
    passed(&loader.call_with_context("", &[], Context::default()));
    passed(&function.call(&[]));
    passed(&loader.warm_up());
    #[cfg(feature = "wasi")]
    passed(&loader.call_with_streams("", &[], Context::default(), loader::Stdio::Log));
    #[cfg(feature = "lua")]
    passed(&loader.call_data("", Vec::new(), Context::default()));
}

/// The same for what serves and runs.
#[cfg(all(feature = "http", feature = "lua"))]
#[allow(dead_code, reason = "that it compiles is the test")]
fn futures_of_servers_are_passed_between_threads(
    site: loader::http::Site,
    server: loader::http::Server,
    mut deployment: loader::Deployment,
    serving: loader::supervisor::Serving,
    running: &loader::process::Running,
    next: Loader,
) {
    passed(&loader::http::Server::start(site));
    passed(&server.stop(None));
    passed(&deployment.replace(next));
    passed(&deployment.stop());
    passed(&serving.stop());
    passed(&running.outcome());
}

/// One loader, one function and one call of each, on whatever threads there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_spawned_and_made_from_other_threads() {
    let built = Registry::in_namespace("samples.wat")
        .wat("add", ADD, "wit: \"add: func(a: s32, b: s32) -> s32\"\nmethod: add")
        .build();
    let loader = Loader::open(&built).unwrap();
    let function = loader.function("samples.wat:add").unwrap();
    let args = [Val::S32(40), Val::S32(2)];
    let (other, its_args) = (loader.clone(), args.clone());
    let spawned = tokio::spawn(async move { other.call("samples.wat:add", &its_args).await });
    let its_args = args.clone();
    let of_function = tokio::spawn(async move { function.call(&its_args).await });
    let thread = std::thread::spawn(move || loader.call_blocking("samples.wat:add", &args));
    let expected = Ok(Some(Val::S32(42)));
    assert_eq!(spawned.await.unwrap(), expected);
    assert_eq!(of_function.await.unwrap(), expected);
    assert_eq!(thread.join().unwrap(), expected);
}
