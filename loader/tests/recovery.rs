//! Failures in a row: each kind leaves everything as it was, for its own entry and for others. In a process of
//! its own, since its memory is measured.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use loader::{ErrorKind, Loader, Val};
use support::Registry;

/// The host's interface: `step(0)` fails, `step(1)` panics, `step(2)` never answers.
const CONTROL: &str = "acme:host/control@1.0.0";

const STEP: &str = r#"(component
  (import "acme:host/control@1.0.0" (instance $control (export "step" (func (param "n" u32) (result u32)))))
  (core func $step (canon lower (func $control "step")))
  (core module $module
    (import "control" "step" (func $step (param i32) (result i32)))
    (func (export "once") (param i32) (result i32) (call $step (local.get 0))))
  (core instance $instance (instantiate $module
    (with "control" (instance (export "step" (func $step))))))
  (func (export "once") (param "n" u32) (result u32) (canon lift (core func $instance "once"))))"#;

/// What fails by itself: a trap, memory, tables, stack, time, and a text that is none.
const FAILURES: &str = r#"(module
  (memory (export "memory") 2)
  (table $table 1 funcref)
  (data (i32.const 0) "\ff\fe")
  (func (export "trap") (result i32) (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)) unreachable)
  (func (export "grow") (result i32)
    (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable)
  (func (export "elements") (result i32)
    (loop $again
      (br_if $again (i32.ge_s (table.grow $table (ref.null func) (i32.const 100)) (i32.const 0)))) unreachable)
  (func $deep (export "deep") (result i32) (i32.add (call $deep) (i32.const 1)))
  (func (export "spin") (result i32) (loop $again (br $again)) (i32.const 0))
  (func (export "text") (result i32)
    (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 2)) (i32.const 16)))"#;

const START: &str = "(module (memory 1) (func $start unreachable) (start $start) (func (export \"run\") (result i32) (i32.const 0)))";

/// Kinds of failures, the entries that fail so, their arguments, and what is said.
const KINDS: [(&str, Option<u32>, ErrorKind, &str); 10] = [
    ("trap", None, ErrorKind::Internal, "unreachable"),
    ("grow", None, ErrorKind::Internal, "limit `max_memory_bytes` of 262144 was reached"),
    ("elements", None, ErrorKind::Internal, "limit `max_table_elements` of 1000 was reached"),
    ("deep", None, ErrorKind::Internal, "call stack exhausted"),
    ("spin", None, ErrorKind::Timeout, "`max_execution_ms` of 1"),
    ("text", None, ErrorKind::Internal, "utf-8"),
    ("start", None, ErrorKind::Internal, "can't be instantiated"),
    ("host", Some(0), ErrorKind::Internal, "the disk is gone"),
    ("host", Some(1), ErrorKind::Internal, "a host function panicked: out of luck"),
    ("wait", Some(2), ErrorKind::Timeout, "`max_execution_ms` of 1"),
];

fn registry() -> Registry {
    let limits = "limits: {max_memory_bytes: 262144, max_table_elements: 1000}";
    let mut registry = Registry::new().answer("answer", 42).file("failures.wat", FAILURES);
    for (name, ty, limits) in [
        ("trap", "u32", limits),
        ("grow", "u32", limits),
        ("elements", "u32", limits),
        ("deep", "u32", limits),
        ("spin", "u32", "limits: {max_execution_ms: 1}"),
        ("text", "string", limits),
    ] {
        registry = registry.entries(&format!(
            "- name: {name}\n  kind: function.wat\n  source: file://failures.wat\n  method: {name}\n  {limits}\n  \
             pool: {{type: static, workers: 1, reuse: true}}\n  wit: \"{name}: func() -> {ty};\""
        ));
    }
    let granted = "method: once\nimports: [\"acme:host/control\"]\npool: {type: static, workers: 1}";
    registry.wat("start", START, "wit: \"run: func() -> u32\"\nmethod: run").wat("host", STEP, granted).wat(
        "wait",
        STEP,
        &format!("{granted}\nlimits: {{max_execution_ms: 1}}"),
    )
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn fail(loader: &Loader, kind: usize) {
    let (name, argument, expected, part) = KINDS[kind];
    let args: Vec<Val> = argument.map(Val::U32).into_iter().collect();
    let error = loader.call(&format!("app:{name}"), &args).await.unwrap_err();
    assert_eq!(error.kind(), expected, "{name}: {error}");
    assert!(error.message().contains(part), "{name}: {error}");
}

#[test]
fn ten_thousand_failures_leave_nothing_behind() {
    // This panic is expected a thousand times.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("out of luck") {
            usual(panic);
        }
    }));
    let built = registry().build();
    let builder = Loader::builder().host_interface(CONTROL, |interface| {
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            Box::new(async move {
                match n {
                    0 => Err(std::io::Error::other("the disk is gone").into()),
                    1 => panic!("out of luck"),
                    _ => Ok((std::future::pending::<u32>().await,)),
                }
            })
        })
    });
    let loader = builder.open(&built).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // A task that was ended goes on the thread that ran it, which may take a moment.
    let tasks_end = || {
        (0..1_000_000).any(|_| {
            runtime.block_on(tokio::task::yield_now());
            runtime.metrics().num_alive_tasks() == 0
        })
    };
    let run = |failures: std::ops::Range<usize>| {
        runtime.block_on(async {
            for number in failures {
                fail(&loader, number % KINDS.len()).await;
                if number % 100 < KINDS.len() {
                    assert_eq!(loader.call("app:answer", &[]).await, Ok(Some(Val::U32(42))));
                }
            }
        });
        assert_eq!(loader.instances().live, 0);
        assert_eq!(loader.memory().used, 0);
        assert!(tasks_end());
        for pool in loader.pools() {
            assert_eq!((pool.busy, pool.queued, pool.overflow), (0, 0, 0), "{}", pool.id);
        }
    };
    run(0..2_000);
    let before = (resident(), descriptors());
    run(2_000..10_000);
    let after = (resident(), descriptors());
    let grown = after.0.saturating_sub(before.0);
    assert!(grown <= 2 << 20, "{grown} bytes more after 10,000 failures than after 2,000");
    assert_eq!(after.1, before.1);
}
