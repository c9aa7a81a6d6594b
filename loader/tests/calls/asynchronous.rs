//! Guests of the asynchronous profile under limits: time, memory, tables, and calls that nobody waits for any more. The
//! exports are asynchronous, so that they run as tasks of their store.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use loader::{ErrorKind, Loader, Val};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::outcomes::{call, expect_failure, expect_number, failure};
use crate::steps::{CONTROL, GRANTED, Host, manual};
use crate::support::{REACH_ASYNC, Registry, asynchronous};

const LIMIT: &str = "limits: {max_execution_ms: 100}";

/// Calls `step` once, or with what it returned until that is zero.
const STEPS: &str = r#"(func (export "once") (param i32) (result i32)
      (call $done (call $step (local.get 0))))
    (func (export "spin") (param i32) (result i32)
      (loop $again
        (local.set 0 (call $step (local.get 0)))
        (br_if $again (local.get 0)))
      (call $done (local.get 0)))"#;

fn stepping(registry: Registry, name: &str, method: &str, more: &str) -> Registry {
    let source = asynchronous(STEPS, &["once", "spin"], "u32");
    registry.wat(name, &source, &format!("method: {method}\n{GRANTED}\n{more}"))
}

/// Moves the clock at once, without letting any other task run.
fn advance(milliseconds: u64) {
    let advance = std::pin::pin!(tokio::time::advance(Duration::from_millis(milliseconds)));
    let _: Poll<()> = advance.poll(&mut Context::from_waker(Waker::noop()));
}

fn ended(name: &str) -> String {
    format!("`app:{name}` was ended after its limit `max_execution_ms` of 100")
}

#[tokio::test(start_paused = true)]
async fn a_computing_task_ends_at_the_first_tick_after_its_deadline() {
    let built = stepping(stepping(Registry::new(), "spin", "spin", LIMIT), "once", "once", LIMIT).build();
    let host = Host::default();
    let loader = host.open(&built, |host, n| {
        match host.steps() {
            1 => host.loader().tick(),
            2 => {
                advance(99);
                host.loader().tick();
            }
            3 => advance(1),
            5 => host.loader().tick(),
            _ => {}
        }
        n
    });
    expect_failure(&loader, "spin", &[Val::U32(1)], ErrorKind::Timeout, &ended("spin")).await;
    assert_eq!(host.steps(), 5);
    assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
    assert_eq!(call(&loader, "spin", &[Val::U32(0)]).await, Ok(Some(Val::U32(0))));
    assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
}

/// It waits for its host's clock, without any tick.
#[tokio::test(start_paused = true)]
async fn a_sleeping_task_is_ended() {
    let clocks = "imports: [\"wasi:clocks\"]";
    let built = Registry::new()
        .guest("limited", REACH_ASYNC, "wait", &format!("{clocks}\n{LIMIT}"))
        .guest("unlimited", REACH_ASYNC, "wait", clocks)
        .build();
    let loader = manual().open(&built).unwrap();
    let start = Instant::now();
    expect_failure(&loader, "limited", &[Val::U64(60_000)], ErrorKind::Timeout, &ended("limited")).await;
    assert!((100..=101).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(call(&loader, "limited", &[Val::U64(10)]).await, Ok(None));
    let start = Instant::now();
    let hour = [Val::U64(3_600_000)];
    let both = tokio::join!(call(&loader, "unlimited", &hour), call(&loader, "unlimited", &hour));
    assert_eq!(both, (Ok(None), Ok(None)));
    assert_eq!(start.elapsed().as_secs(), 3600);
    assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
}

#[tokio::test]
async fn a_computing_task_ends_when_nobody_waits_for_it() {
    let built = stepping(Registry::new().answer("answer", 42), "spin", "spin", "").build();
    let host = Host::default();
    let (stepped, mut steps) = mpsc::unbounded_channel();
    let loader = host.open(&built, move |host, n| {
        stepped.send(()).unwrap();
        host.loader().tick();
        n
    });
    tokio::select! {
        result = call(&loader, "spin", &[Val::U32(1)]) => panic!("the guest returned {result:?}"),
        Some(()) = steps.recv() => {}
    }
    tokio::task::yield_now().await;
    let steps = host.steps();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.steps(), steps);
    assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
    expect_number(&loader, "answer", 42).await;
}

/// Says when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.take().expect("dropped once").send(());
    }
}

#[tokio::test]
async fn a_waiting_task_ends_when_nobody_waits_for_it() {
    let built = stepping(Registry::new().answer("answer", 42), "once", "once", "pool: {workers: 1}").build();
    let (began, mut begun) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&go);
    let builder = manual().host_interface(CONTROL, move |interface| {
        let (began, permits) = (began.clone(), Arc::clone(&permits));
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            let (dropped, gone) = oneshot::channel();
            began.send(gone).unwrap();
            let (guard, permits) = (Guard(Some(dropped)), Arc::clone(&permits));
            Box::new(async move {
                permits.acquire().await.unwrap().forget();
                drop(guard);
                Ok((n,))
            })
        })
    });
    let loader = builder.open(&built).unwrap();
    let gone = tokio::select! {
        result = call(&loader, "once", &[Val::U32(1)]) => panic!("the guest returned {result:?}"),
        Some(gone) = begun.recv() => gone,
    };
    gone.await.unwrap();
    assert_eq!((loader.pools()[0].busy, loader.instances().live, loader.memory().used), (0, 0, 0));
    expect_number(&loader, "answer", 42).await;
    go.add_permits(1);
    assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
}

const GROW: &str = r#"(func (export "grow") (param i32) (result i32)
      (if (i32.lt_s (memory.grow (local.get 0)) (i32.const 0)) (then unreachable))
      (call $done (memory.size)))
    (func (export "elements") (param i32) (result i32)
      (if (i32.lt_s (table.grow $table (ref.null func) (local.get 0)) (i32.const 0)) (then unreachable))
      (call $done (table.size $table)))"#;

#[tokio::test]
async fn memory_and_tables_up_to_their_limits() {
    let source = asynchronous(GROW, &["grow", "elements"], "u32");
    let limits = format!("{GRANTED}\nlimits: {{max_memory_bytes: 262144, max_table_elements: 20}}");
    let built = Registry::new()
        .wat("grow", &source, &format!("method: grow\n{limits}"))
        .wat("elements", &source, &format!("method: elements\n{limits}"))
        .build();
    let host = Host::default();
    let loader = host.open(&built, |_, n| n);
    for _ in 0..2 {
        for (name, fits, all, limit) in [
            ("grow", 2, 4, "(limit `max_memory_bytes` of 262144 was reached)"),
            ("elements", 19, 20, "(limit `max_table_elements` of 20 was reached)"),
        ] {
            assert_eq!(call(&loader, name, &[Val::U32(fits)]).await, Ok(Some(Val::U32(all))), "{name}");
            let (kind, message) = failure(&loader, name, &[Val::U32(fits + 1)]).await;
            assert_eq!(kind, ErrorKind::Internal);
            assert!(message.ends_with(limit), "{message}");
        }
        assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
    }
}

/// The host panics under a task; it, and the next, are as if nothing had been.
#[tokio::test]
async fn a_host_that_panics_ends_one_call() {
    // This panic is expected.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("out of luck") {
            usual(panic);
        }
    }));
    let built = stepping(Registry::new(), "once", "once", "").build();
    let loader: Loader = Host::default().open(&built, |_, n| if n == 0 { panic!("out of luck") } else { n });
    for _ in 0..2 {
        let (kind, message) = failure(&loader, "once", &[Val::U32(0)]).await;
        assert_eq!(kind, ErrorKind::Internal);
        assert!(message.contains("a host function panicked: out of luck"), "{message}");
        assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
        assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
    }
}
