//! Ten thousand failures of each kind in a row, in both profiles: they leave everything as it was, for their own entry and for others.
//! In a process of its own, since its memory is measured.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::{Arc, OnceLock};

use futures_util::future::join_all;
use loader::config::Ticking;
use loader::{ErrorKind, Loader, Options, Val};
use support::{Registry, asynchronous};

/// The host's interface: `step(0)` fails, `step(1)` panics, `step(2)` never answers, `step(3)` ticks.
const CONTROL: &str = "acme:host/control@1.0.0";

const STEP: &str = r#"(component
  (import "acme:host/control@1.0.0" (instance $control (export "step" (func (param "n" u32) (result u32)))))
  (core func $step (canon lower (func $control "step")))
  (core module $module
    (import "control" "step" (func $step (param i32) (result i32)))
    (func (export "once") (param i32) (result i32) (call $step (local.get 0)))
    (func (export "spin") (param i32) (result i32)
      (loop $again (br_if $again (call $step (local.get 0)))) (i32.const 0)))
  (core instance $instance (instantiate $module
    (with "control" (instance (export "step" (func $step))))))
  (func (export "once") (param "n" u32) (result u32) (canon lift (core func $instance "once")))
  (func (export "spin") (param "n" u32) (result u32) (canon lift (core func $instance "spin"))))"#;

/// What fails by itself: a trap, memory, tables, stack, and a text that is none.
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
  (func (export "text") (result i32)
    (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 2)) (i32.const 16)))"#;

const START: &str = "(module (memory 1) (func $start unreachable) (start $start) (func (export \"run\") (result i32) (i32.const 0)))";

/// The same in the asynchronous profile, whose exports are tasks and return by `$done`.
const TASKS: &str = r#"(func (export "once") (param i32) (result i32) (call $done (call $step (local.get 0))))
    (func (export "spin") (param i32) (result i32)
      (loop $again (br_if $again (call $step (local.get 0)))) (call $done (i32.const 0)))
    (func (export "trap") (param i32) (result i32)
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)) unreachable)
    (func (export "grow") (param i32) (result i32)
      (loop $again (br_if $again (i32.ge_s (table.grow $table (ref.null func) (i32.const 100)) (i32.const 0))))
      unreachable)
    (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
    (func (export "deep") (param i32) (result i32) (call $done (call $deep (local.get 0))))"#;

/// A task that returns what is no text.
const TASK_OF_TEXT: &str = r#"(func (export "text") (param i32) (result i32)
      (i32.store8 (i32.const 32) (i32.const 255))
      (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1))
      (call $done (i32.const 16)))"#;

const TASK_START: &str = r#"(func $start unreachable) (start $start)
    (func (export "once") (param i32) (result i32) (call $done (local.get 0)))"#;

/// Calls under way at once.
const AT_ONCE: usize = 8;
/// Failures of each kind: first those that settle what is kept for good, then those that may leave nothing.
const FIRST: usize = 2_000;
const THEN: usize = 8_000;

/// Kinds of failures, the entries that fail so, their arguments, and what is said.
const KINDS: [(&str, Option<u32>, ErrorKind, &str); 19] = [
    ("trap", None, ErrorKind::Internal, "unreachable"),
    ("grow", None, ErrorKind::Internal, "limit `max_memory_bytes` of 262144 was reached"),
    ("elements", None, ErrorKind::Internal, "limit `max_table_elements` of 1000 was reached"),
    ("deep", None, ErrorKind::Internal, "call stack exhausted"),
    ("spin", Some(3), ErrorKind::Timeout, "`max_execution_ms` of 1"),
    ("text", None, ErrorKind::Internal, "utf-8"),
    ("start", None, ErrorKind::Internal, "can't be instantiated"),
    ("host", Some(0), ErrorKind::Internal, "the disk is gone"),
    ("host", Some(1), ErrorKind::Internal, "a host function panicked: out of luck"),
    ("wait", Some(2), ErrorKind::Timeout, "`max_execution_ms` of 1"),
    ("task-trap", Some(0), ErrorKind::Internal, "unreachable"),
    ("task-grow", Some(0), ErrorKind::Internal, "limit `max_table_elements` of 1000 was reached"),
    ("task-deep", Some(0), ErrorKind::Internal, "call stack exhausted"),
    ("task-spin", Some(3), ErrorKind::Timeout, "`max_execution_ms` of 1"),
    ("task-text", Some(0), ErrorKind::Internal, "utf-8"),
    ("task-start", Some(0), ErrorKind::Internal, "can't be instantiated"),
    ("task-once", Some(0), ErrorKind::Internal, "the disk is gone"),
    ("task-once", Some(1), ErrorKind::Internal, "a host function panicked: out of luck"),
    ("task-wait", Some(2), ErrorKind::Timeout, "`max_execution_ms` of 1"),
];

fn registry() -> Registry {
    let limits = "limits: {max_memory_bytes: 262144, max_table_elements: 1000}";
    let mut registry = Registry::new().answer("answer", 42).file("failures.wat", FAILURES);
    for (name, ty, limits) in [
        ("trap", "u32", limits),
        ("grow", "u32", limits),
        ("elements", "u32", limits),
        ("deep", "u32", limits),
        ("text", "string", limits),
    ] {
        registry = registry.entries(&format!(
            "- name: {name}\n  kind: function.wat\n  source: file://failures.wat\n  method: {name}\n  {limits}\n  \
             pool: {{type: static, workers: {AT_ONCE}, reuse: true}}\n  wit: \"{name}: func() -> {ty};\""
        ));
    }
    let granted = format!("imports: [\"acme:host/control\"]\npool: {{type: static, workers: {AT_ONCE}}}");
    let limited = format!("{granted}\nlimits: {{max_execution_ms: 1}}");
    let tasks = asynchronous(TASKS, &["once", "spin", "trap", "grow", "deep"], "u32");
    for (name, method, limits) in [
        ("task-trap", "trap", ""),
        ("task-grow", "grow", "limits: {max_table_elements: 1000}"),
        ("task-deep", "deep", ""),
        ("task-spin", "spin", "limits: {max_execution_ms: 1}"),
        ("task-once", "once", ""),
        ("task-wait", "once", "limits: {max_execution_ms: 1}"),
    ] {
        registry = registry.wat(name, &tasks, &format!("method: {method}\n{granted}\n{limits}"));
    }
    let text = asynchronous(TASK_OF_TEXT, &["text"], "string");
    let start = asynchronous(TASK_START, &["once"], "u32");
    registry
        .wat("task-text", &text, &format!("method: text\n{granted}"))
        .wat("task-start", &start, &format!("method: once\n{granted}"))
        .wat("start", START, "wit: \"run: func() -> u32\"\nmethod: run")
        .wat("host", STEP, &format!("method: once\n{granted}"))
        .wat("wait", STEP, &format!("method: once\n{limited}"))
        .wat("spin", STEP, &format!("method: spin\n{limited}"))
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
fn ten_thousand_failures_of_each_kind_leave_nothing_behind() {
    // This panic is expected.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("out of luck") {
            usual(panic);
        }
    }));
    let built = registry().build();
    let ticked = Arc::<OnceLock<Loader>>::default();
    let ticks = Arc::clone(&ticked);
    let options = Options { ticking: Ticking::Manual, ..Options::default() };
    let builder = Loader::builder().options(options).host_interface(CONTROL, move |interface| {
        let ticks = Arc::clone(&ticks);
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            let ticks = Arc::clone(&ticks);
            Box::new(async move {
                match n {
                    0 => Err(std::io::Error::other("the disk is gone").into()),
                    1 => panic!("out of luck"),
                    2 => Ok((std::future::pending::<u32>().await,)),
                    _ => {
                        ticks.get().unwrap().tick();
                        Ok((n,))
                    }
                }
            })
        })
    });
    let loader = builder.open(&built).unwrap();
    assert!(ticked.set(loader.clone()).is_ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // A task that was ended goes on the thread that ran it, which may take a moment.
    let tasks_end = || {
        (0..1_000_000).any(|_| {
            runtime.block_on(tokio::task::yield_now());
            runtime.metrics().num_alive_tasks() == 0
        })
    };
    let run = |kind: usize, failures: usize| {
        runtime.block_on(async {
            for _ in 0..failures / AT_ONCE {
                join_all((0..AT_ONCE).map(|_| fail(&loader, kind))).await;
            }
            assert_eq!(loader.call("app:answer", &[]).await, Ok(Some(Val::U32(42))));
        });
        assert_eq!(loader.instances().live, 0);
        assert_eq!(loader.memory().used, 0);
        assert!(tasks_end());
        for pool in loader.pools() {
            assert_eq!((pool.busy, pool.queued, pool.overflow), (0, 0, 0), "{}", pool.id);
        }
    };
    for (kind, (name, argument, ..)) in KINDS.iter().enumerate() {
        run(kind, FIRST);
        let before = (resident(), descriptors());
        run(kind, THEN);
        let after = (resident(), descriptors());
        let grown = after.0.saturating_sub(before.0);
        assert!(grown <= 2 << 20, "{name} {argument:?}: {grown} bytes more after 10,000 than after 2,000");
        assert_eq!(after.1, before.1, "{name} {argument:?}");
    }
}
