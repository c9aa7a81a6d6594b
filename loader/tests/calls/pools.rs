//! Pools: how many calls run, in which order others follow, how long they wait, and what an instance keeps.
//!
//! Guests wait in their host until a test lets them go; counts are looked at while nothing else can run.

use std::sync::Arc;
use std::time::Duration;

use loader::security::Actor;
use loader::{Context, Data, Error, ErrorKind, Loader, LoaderBuilder, Options, PoolKind, PoolSnapshot, Val};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::outcomes::{call, expect_failure, expect_number, until};
use crate::steps::{CONTROL, GRANTED, Host, manual};
use crate::support::{Built, Registry, WASI_IMPORTS, asynchronous};

/// Guests that wait in `step` until they are let go, one by one.
struct Waiters {
    loader: Loader,
    began: mpsc::UnboundedReceiver<u32>,
    go: Arc<Semaphore>,
}

pub(crate) type Call = JoinHandle<Result<Option<Val>, Error>>;

impl Waiters {
    fn open(bundle: &Built, builder: LoaderBuilder) -> Self {
        let (begins, began) = mpsc::unbounded_channel();
        let go = Arc::new(Semaphore::new(0));
        let permits = Arc::clone(&go);
        let builder = builder.host_interface(CONTROL, move |interface| {
            let (begins, permits) = (begins.clone(), Arc::clone(&permits));
            interface.func_wrap_async("step", move |_, (n,): (u32,)| {
                let permits = Arc::clone(&permits);
                begins.send(n).unwrap();
                Box::new(async move {
                    permits.acquire().await.unwrap().forget();
                    Ok((n,))
                })
            })
        });
        Self { loader: builder.open(bundle).unwrap(), began, go }
    }

    fn call(&self, name: &'static str, n: u32) -> Call {
        let loader = self.loader.clone();
        tokio::spawn(async move { call(&loader, name, &[Val::U32(n)]).await })
    }

    /// Calls `name` so often; the arguments are 0, 1, and so on.
    fn calls(&self, name: &'static str, count: u32) -> Vec<Call> {
        (0..count).map(|n| self.call(name, n)).collect()
    }

    /// What the guests that began since got, in that order.
    fn begun(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.began.try_recv().ok()).collect()
    }

    fn pool(&self, name: &str) -> PoolSnapshot {
        let id = format!("app:{name}");
        let found = self.loader.pools().into_iter().find(|pool| pool.id.to_string() == id);
        found.expect("the function was called")
    }

    /// Size, busy slots, calls in the queue, calls that wait for a place in it.
    fn counts(&self, name: &str) -> (usize, usize, usize, usize) {
        let PoolSnapshot { size, busy, queued, overflow, .. } = self.pool(name);
        (size, busy, queued, overflow)
    }
}

/// Lets every task go as far as it can.
pub(crate) async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn pool(fields: &str) -> String {
    format!("{GRANTED}\npool: {{{fields}}}")
}

pub(crate) async fn expect_returned(calls: Vec<Call>) {
    for (n, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap(), Ok(Some(Val::U32(n))));
    }
}

#[tokio::test]
async fn an_inline_pool_has_no_queue() {
    let built = Registry::new().stepping("once", "once", &pool("type: inline")).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", 150);
    settle().await;
    assert_eq!(waiters.begun().len(), 150);
    assert_eq!(waiters.counts("once"), (150, 150, 0, 0));
    assert_eq!(waiters.pool("once").size_max, None);
    waiters.go.add_permits(150);
    expect_returned(calls).await;
    assert_eq!(waiters.counts("once"), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_pool_that_is_not_described_runs_a_hundred() {
    let built = Registry::new().stepping("once", "once", GRANTED).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", 103);
    settle().await;
    assert_eq!(waiters.begun().len(), 100);
    assert_eq!(waiters.counts("once"), (100, 100, 3, 0));
    assert_eq!(waiters.pool("once").kind, PoolKind::Lazy);
    waiters.go.add_permits(103);
    expect_returned(calls).await;
}

#[tokio::test(start_paused = true)]
async fn a_lazy_pool_grows_to_its_size_and_lets_idle_slots_go() {
    let built = Registry::new().stepping("once", "once", &pool("type: lazy, max_size: 3")).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", 5);
    settle().await;
    assert_eq!(waiters.begun(), [0, 1, 2]);
    assert_eq!(waiters.counts("once"), (3, 3, 2, 0));
    waiters.go.add_permits(1);
    settle().await;
    assert_eq!(waiters.begun(), [3]);
    assert_eq!(waiters.counts("once"), (3, 3, 1, 0));
    waiters.go.add_permits(4);
    expect_returned(calls).await;
    assert_eq!(waiters.counts("once"), (3, 0, 0, 0));
    // One of them is used on; the others are idle for 30 s.
    tokio::time::advance(Duration::from_secs(29)).await;
    waiters.go.add_permits(1);
    expect_returned(waiters.calls("once", 1)).await;
    assert_eq!(waiters.counts("once"), (3, 0, 0, 0));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(waiters.counts("once"), (1, 0, 0, 0));
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(waiters.counts("once"), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_static_pool_serves_its_queue_in_order() {
    let fields = "type: static, workers: 2, size: 9, buffer: 2";
    let built = Registry::new().stepping("once", "once", &pool(fields)).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", 7);
    settle().await;
    assert_eq!(waiters.begun(), [0, 1]);
    assert_eq!(waiters.counts("once"), (2, 2, 2, 3));
    for n in 2..7 {
        waiters.go.add_permits(1);
        settle().await;
        assert_eq!(waiters.begun(), [n]);
    }
    assert_eq!(waiters.counts("once"), (2, 2, 0, 0));
    waiters.go.add_permits(2);
    expect_returned(calls).await;
    assert_eq!(waiters.counts("once"), (2, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_pool_follows_the_delay_of_its_queue() {
    let built = Registry::new().stepping("once", "once", &pool("type: adaptive, max_size: 3")).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", 2);
    settle().await;
    assert_eq!(waiters.counts("once"), (1, 1, 1, 0));
    tokio::time::advance(Duration::from_millis(9)).await;
    settle().await;
    assert_eq!(waiters.begun(), [0]);
    // The second one has waited for long enough.
    tokio::time::advance(Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(waiters.begun(), [1]);
    assert_eq!(waiters.counts("once"), (2, 2, 0, 0));
    // Not beyond its size.
    let more: Vec<Call> = (2..6).map(|n| waiters.call("once", n)).collect();
    settle().await;
    tokio::time::advance(Duration::from_millis(11)).await;
    settle().await;
    assert_eq!(waiters.counts("once"), (3, 3, 3, 0));
    waiters.go.add_permits(6);
    expect_returned(calls.into_iter().chain(more).collect()).await;
    assert_eq!(waiters.counts("once"), (3, 0, 0, 0));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(waiters.counts("once"), (1, 0, 0, 0));
    // What is left is the least, and it grows again.
    let calls = waiters.calls("once", 2);
    settle().await;
    assert_eq!(waiters.counts("once"), (1, 1, 1, 0));
    tokio::time::advance(Duration::from_millis(11)).await;
    settle().await;
    assert_eq!(waiters.counts("once"), (2, 2, 0, 0));
    waiters.go.add_permits(2);
    expect_returned(calls).await;
}

const ONE: &str = "type: static, workers: 1";

#[tokio::test(start_paused = true)]
async fn a_call_without_deadline_waits_half_a_minute() {
    let built = Registry::new().stepping("once", "once", &pool(ONE)).build();
    let waiters = Waiters::open(&built, manual());
    let first = waiters.call("once", 0);
    settle().await;
    let start = Instant::now();
    let error = call(&waiters.loader, "once", &[Val::U32(1)]).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(error.message(), "`app:once` had no free slot in time: 1 are busy, 0 calls wait");
    assert_eq!(waiters.counts("once"), (1, 1, 0, 0));
    waiters.go.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(Some(Val::U32(0))));
    assert_eq!(call(&waiters.loader, "once", &[Val::U32(1)]).await, Ok(Some(Val::U32(1))));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_deadline_waits_until_then() {
    let built = Registry::new().stepping("once", "once", &pool(ONE)).build();
    let waiters = Waiters::open(&built, manual());
    let first = waiters.call("once", 0);
    settle().await;
    let start = Instant::now();
    for seconds in [2, 60] {
        let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_secs(seconds)));
        let error = waiters.loader.call_data("app:once", vec![Data::Integer(1)], context).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    }
    assert_eq!(start.elapsed().as_secs(), 62);
    waiters.go.add_permits(1);
    assert_eq!(first.await.unwrap(), Ok(Some(Val::U32(0))));
}

/// The entry's own limit is one on running.
#[tokio::test(start_paused = true)]
async fn waiting_in_a_queue_takes_no_time_from_the_limit() {
    let limited = format!("{}\nlimits: {{max_execution_ms: 100}}", pool(ONE));
    let built = Registry::new().stepping("once", "once", &limited).stepping("other", "once", GRANTED).build();
    let waiters = Waiters::open(&built, manual());
    let first = waiters.call("once", 0);
    let second = waiters.call("once", 1);
    settle().await;
    tokio::time::advance(Duration::from_millis(90)).await;
    waiters.go.add_permits(1);
    assert_eq!(first.await.unwrap(), Ok(Some(Val::U32(0))));
    settle().await;
    tokio::time::advance(Duration::from_millis(90)).await;
    waiters.go.add_permits(1);
    assert_eq!(second.await.unwrap(), Ok(Some(Val::U32(1))));
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_queue() {
    let built = Registry::new().stepping("once", "once", &pool(ONE)).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", 3);
    settle().await;
    assert_eq!(waiters.counts("once"), (1, 1, 2, 0));
    calls[1].abort();
    settle().await;
    assert_eq!(waiters.counts("once"), (1, 1, 1, 0));
    // So does one that holds the slot.
    calls[0].abort();
    settle().await;
    assert_eq!(waiters.begun(), [0, 2]);
    assert_eq!(waiters.counts("once"), (1, 1, 0, 0));
    assert_eq!(waiters.loader.instances().live, 1);
    waiters.go.add_permits(1);
    settle().await;
    assert_eq!(waiters.counts("once"), (1, 0, 0, 0));
    assert_eq!(waiters.loader.instances().live, 0);
}

/// What a guest gets from a step whose call of itself failed.
const NO_SLOT: u32 = 1_000;

/// Calls itself from its host, down to zero.
async fn nested(host: Host, n: u32) -> Result<u32, Error> {
    if n == 0 {
        return Ok(0);
    }
    match call(host.loader(), "once", &[Val::U32(n - 1)]).await? {
        Some(Val::U32(depth)) => Ok(depth + 1),
        other => panic!("{other:?}"),
    }
}

fn recursive(host: &Host, bundle: &Built) -> Loader {
    let inside = host.clone();
    let builder = manual().host_interface(CONTROL, move |interface| {
        let host = inside.clone();
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            let host = host.clone();
            Box::new(async move { Ok((nested(host, n).await.unwrap_or(NO_SLOT),)) })
        })
    });
    host.open_with(builder, bundle)
}

#[tokio::test(start_paused = true)]
async fn a_function_that_calls_itself_waits_for_a_second_at_most() {
    let built = Registry::new().stepping("once", "once", &pool("workers: 2")).build();
    let loader = recursive(&Host::default(), &built);
    assert_eq!(call(&loader, "once", &[Val::U32(1)]).await, Ok(Some(Val::U32(1))));
    // The third one has no slot; the second one sees the failure, and both return.
    let start = Instant::now();
    assert_eq!(call(&loader, "once", &[Val::U32(2)]).await, Ok(Some(Val::U32(NO_SLOT + 1))));
    assert_eq!(start.elapsed().as_secs(), 1);
    // Two that wait for each other in a circle.
    let both = [Val::U32(1), Val::U32(1)].map(|n| {
        let loader = loader.clone();
        tokio::spawn(async move { call(&loader, "once", &[n]).await })
    });
    for call in both {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(loader.pools()[0].busy, 0);
}

#[tokio::test]
async fn an_inline_function_calls_itself_deeply() {
    let built = Registry::new().stepping("once", "once", &pool("type: inline")).build();
    let loader = recursive(&Host::default(), &built);
    assert_eq!(call(&loader, "once", &[Val::U32(200)]).await, Ok(Some(Val::U32(200))));
}

#[tokio::test(start_paused = true)]
async fn instances_of_all_functions_have_one_bound() {
    let built = Registry::new()
        .stepping("one", "once", GRANTED)
        .stepping("inline", "once", &pool("type: inline"))
        .build();
    let options =
        Options { instances_max: Some(2), ticking: loader::config::Ticking::Manual, ..Options::default() };
    let mut waiters = Waiters::open(&built, Loader::builder().options(options));
    let first = [waiters.call("one", 0), waiters.call("inline", 1)];
    settle().await;
    let third = waiters.call("inline", 2);
    settle().await;
    assert_eq!(waiters.begun(), [0, 1]);
    let instances = waiters.loader.instances();
    assert_eq!((instances.live, instances.max, instances.waiting), (2, 2, 1));
    let error = third.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    let message =
        "`app:inline` could not run in time: 2 instances, the most by `wasm.total.max_instances`, are in use";
    assert_eq!(error.message(), message);
    // Whoever waits goes on when one ends.
    let third = waiters.call("inline", 2);
    settle().await;
    waiters.go.add_permits(3);
    assert_eq!(third.await.unwrap(), Ok(Some(Val::U32(2))));
    expect_returned(first.into()).await;
    assert_eq!(waiters.loader.instances().live, 0);
}

/// The asynchronous profile's form of a component that steps once.
fn task() -> String {
    let once = r#"(func (export "once") (param i32) (result i32) (call $done (call $step (local.get 0))))"#;
    asynchronous(once, &["once"], "u32")
}

/// Two that hold all places, one of each engine, and call each other: neither waits for long.
#[tokio::test(start_paused = true)]
async fn nested_calls_wait_a_second_for_a_place_of_the_process() {
    let built = Registry::new()
        .stepping("once", "once", GRANTED)
        .wat("task", &task(), &format!("method: once\n{GRANTED}"))
        .build();
    let host = Host::default();
    let (inside, (fails, mut failed)) = (host.clone(), mpsc::unbounded_channel());
    let options =
        Options { instances_max: Some(2), ticking: loader::config::Ticking::Manual, ..Options::default() };
    // An odd number is a guest's of the one engine, whose callee is the other's.
    let builder = Loader::builder().options(options).host_interface(CONTROL, move |interface| {
        let (host, fails) = (inside.clone(), fails.clone());
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            let (host, fails) = (host.clone(), fails.clone());
            Box::new(async move {
                // Both are under way before either calls.
                while host.loader().instances().live < 2 {
                    tokio::task::yield_now().await;
                }
                let callee = if n == 1 { "task" } else { "once" };
                let error = call(host.loader(), callee, &[Val::U32(n)]).await.unwrap_err();
                fails.send((error.kind(), error.message().to_owned())).unwrap();
                Ok((n,))
            })
        })
    });
    let loader = host.open_with(builder, &built);
    for _ in 0..2 {
        let start = Instant::now();
        let (once, task) =
            tokio::join!(call(&loader, "once", &[Val::U32(1)]), call(&loader, "task", &[Val::U32(2)]));
        assert_eq!((once, task), (Ok(Some(Val::U32(1))), Ok(Some(Val::U32(2)))));
        assert_eq!(start.elapsed().as_secs(), 1);
        let late = |name: &str| {
            let message = format!(
                "`app:{name}` could not run in time: 2 instances, the most by `wasm.total.max_instances`, are in use"
            );
            (ErrorKind::Unavailable, message)
        };
        let mut seen: Vec<_> = std::iter::from_fn(|| failed.try_recv().ok()).collect();
        seen.sort_by(|(_, a), (_, b)| a.cmp(b));
        assert_eq!(seen, [late("once"), late("task")]);
        assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
    }
}

/// The default: a call more than there may be instances waits.
#[tokio::test]
async fn a_thousand_instances_by_default() {
    let most = loader::config::PROCESS_INSTANCES_MAX;
    let built = Registry::new().stepping("once", "once", &pool("type: inline")).build();
    let mut waiters = Waiters::open(&built, manual());
    let calls = waiters.calls("once", most + 2);
    until(|| waiters.loader.instances().waiting == 2).await;
    settle().await;
    assert_eq!(waiters.begun().len(), most as usize);
    assert_eq!(waiters.loader.instances().live, most as usize);
    waiters.go.add_permits(most as usize + 2);
    expect_returned(calls).await;
    assert_eq!((waiters.loader.instances().live, waiters.loader.instances().waiting), (0, 0));
}

/// Slots, queues, places and memory while calls hold them, and when they are gone.
#[tokio::test]
async fn metrics_show_what_is_held_and_what_waits() {
    let static_one = format!("method: once\n{GRANTED}\npool: {{type: static, workers: 1, buffer: 1}}");
    let built = Registry::new().wat("task", &task(), &static_one).stepping("other", "once", GRANTED).build();
    let options = Options {
        instances_max: Some(1),
        memory_bytes_max: Some(1 << 20),
        ticking: loader::config::Ticking::Manual,
        ..Options::default()
    };
    let waiters = Waiters::open(&built, Loader::builder().options(options));
    let calls = waiters.calls("task", 3);
    settle().await;
    let other = waiters.call("other", 3);
    settle().await;
    let expect = |lines: &[&str]| {
        let metrics = waiters.loader.metrics();
        for line in lines {
            assert!(metrics.lines().any(|found| found == *line), "{line} in\n{metrics}");
        }
    };
    expect(&[
        "wippy_pool_slots{entry=\"app:task\"} 1",
        "wippy_pool_slots_busy{entry=\"app:task\"} 1",
        "wippy_pool_queued{entry=\"app:task\"} 1",
        "wippy_pool_overflow{entry=\"app:task\"} 1",
        "wippy_pool_slots_busy{entry=\"app:other\"} 1",
        "wippy_calls_running{entry=\"app:task\"} 3",
        "wippy_instances 1",
        "wippy_instances_max 1",
        "wippy_instances_waiting 1",
        // Two pages, and a table of one element.
        "wippy_memory_bytes 131080",
        "wippy_memory_max_bytes 1048576",
    ]);
    waiters.go.add_permits(4);
    expect_returned(calls).await;
    assert_eq!(other.await.unwrap(), Ok(Some(Val::U32(3))));
    expect(&[
        "wippy_pool_slots_busy{entry=\"app:task\"} 0",
        "wippy_pool_queued{entry=\"app:task\"} 0",
        "wippy_pool_overflow{entry=\"app:task\"} 0",
        "wippy_instances 0",
        "wippy_instances_waiting 0",
        "wippy_instances_made_total 4",
        "wippy_memory_bytes 0",
    ]);
}

/// Counts its calls in a global and in memory, and returns both counts as one number.
const COUNT: &str = r#"(module
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))
  (func (export "count") (param $fail i32) (result i32)
    (if (i32.eq (local.get $fail) (i32.const 1)) (then unreachable))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 100)))
    (if (i32.eq (local.get $fail) (i32.const 2)) (then (drop (memory.grow (i32.const 3)))))
    (i32.add (global.get $count) (i32.load (i32.const 4096)))))"#;

fn counting(more: &str) -> String {
    format!("wit: \"count: func(how: u32) -> u32\"\nmethod: count\n{more}")
}

async fn count(loader: &Loader, name: &str, how: u32) -> u32 {
    match call(loader, name, &[Val::U32(how)]).await {
        Ok(Some(Val::U32(count))) => count,
        other => panic!("{other:?}"),
    }
}

async fn count_of(loader: &Loader, context: &Context) -> Data {
    loader.call_data("app:kept", vec![Data::Integer(0)], context.clone()).await.unwrap()
}

#[tokio::test]
async fn calls_share_nothing_unless_instances_are_kept() {
    let mut registry = Registry::new();
    for (name, pool) in [
        ("inline", "pool: {type: inline, reuse: true}"),
        ("lazy", "pool: {type: lazy}"),
        ("static", "pool: {type: static, workers: 1}"),
        ("adaptive", "pool: {type: adaptive}"),
        ("unset", ""),
    ] {
        registry = registry.wat(name, COUNT, &counting(pool));
    }
    let built = registry.build();
    let loader = Loader::open(&built).unwrap();
    for name in ["inline", "lazy", "static", "adaptive", "unset"] {
        for _ in 0..3 {
            assert_eq!(count(&loader, name, 0).await, 101, "{name}");
        }
    }
    assert_eq!(loader.instances().live, 0);
}

#[tokio::test]
async fn a_kept_instance_serves_so_many_calls_of_one_actor() {
    let built = Registry::new()
        .wat("kept", COUNT, &counting("pool: {type: static, workers: 2, reuse: true, max_uses: 3}"))
        .build();
    let loader = Loader::open(&built).unwrap();
    let actor = |id: &str| Some(Arc::new(Actor::new(id, Data::Nil).unwrap()));
    let ada = Context::default().with_actor(actor("ada"));
    let bob = Context::default().with_actor(actor("bob"));
    assert_eq!(count_of(&loader, &ada).await, Data::Integer(101));
    assert_eq!(count_of(&loader, &bob).await, Data::Integer(101));
    assert_eq!(count_of(&loader, &ada).await, Data::Integer(202));
    // Another actor of the same name and scope is the same.
    let again = Context::default().with_actor(actor("ada"));
    assert_eq!(count_of(&loader, &again).await, Data::Integer(303));
    // Used up.
    assert_eq!(count_of(&loader, &ada).await, Data::Integer(101));
    assert_eq!(count_of(&loader, &bob).await, Data::Integer(202));
    assert_eq!(loader.instances().live, 2);
    // A third owner: two slots keep two instances, the one that was idle longest goes.
    assert_eq!(count_of(&loader, &Context::default()).await, Data::Integer(101));
    assert_eq!(loader.instances().live, 2);
    assert_eq!(count_of(&loader, &bob).await, Data::Integer(303));
    assert_eq!(count_of(&loader, &ada).await, Data::Integer(101));
}

#[tokio::test]
async fn an_instance_that_failed_or_grew_is_not_kept() {
    let more = "pool: {workers: 1, reuse: true}\nlimits: {max_retained_memory_bytes: 131072}";
    let built = Registry::new().wat("kept", COUNT, &counting(more)).build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(count(&loader, "kept", 0).await, 101);
    assert_eq!(count(&loader, "kept", 0).await, 202);
    assert_eq!(call(&loader, "kept", &[Val::U32(1)]).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(loader.instances().live, 0);
    assert_eq!(count(&loader, "kept", 0).await, 101);
    // It has four pages now, and may keep two.
    assert_eq!(count(&loader, "kept", 2).await, 202);
    assert_eq!(loader.instances().live, 0);
    assert_eq!(count(&loader, "kept", 0).await, 101);
}

/// What is kept unless an entry says otherwise: a thousand calls, and 64 MiB.
#[tokio::test]
async fn instances_are_kept_up_to_the_defaults() {
    let grow = r#"(module (memory (export "memory") 1)
      (func (export "grow") (param i32) (result i32) (drop (memory.grow (local.get 0))) (memory.size)))"#;
    let kept = "pool: {type: static, workers: 1, reuse: true}";
    let built = Registry::new()
        .wat("kept", COUNT, &counting(kept))
        .wat("grow", grow, &format!("wit: \"grow: func(by: u32) -> u32\"\nmethod: grow\n{kept}"))
        .build();
    let loader = Loader::open(&built).unwrap();
    for n in 1..=loader::config::POOL_USES_MAX {
        assert_eq!(count(&loader, "kept", 0).await, 101 * n);
    }
    assert_eq!((loader.instances().made, loader.instances().live), (1, 0));
    assert_eq!(count(&loader, "kept", 0).await, 101);
    assert_eq!((loader.instances().made, loader.instances().live), (2, 1));
    let most = u32::try_from(loader::config::RETAINED_MEMORY_BYTES_MAX >> 16).unwrap();
    assert_eq!(call(&loader, "grow", &[Val::U32(most - 1)]).await, Ok(Some(Val::U32(most))));
    assert_eq!(loader.instances().live, 2);
    assert_eq!(call(&loader, "grow", &[Val::U32(1)]).await, Ok(Some(Val::U32(most + 1))));
    assert_eq!(loader.instances().live, 1);
    assert_eq!(call(&loader, "grow", &[Val::U32(0)]).await, Ok(Some(Val::U32(1))));
}

#[tokio::test(start_paused = true)]
async fn a_kept_instance_goes_when_it_is_idle_or_its_place_is_wanted() {
    let reuse = "pool: {type: lazy, reuse: true}";
    let built = Registry::new()
        .wat("kept", COUNT, &counting(reuse))
        .wat("other", COUNT, &counting(reuse))
        .answer("answer", 42)
        .build();
    let options = Options { instances_max: Some(2), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    assert_eq!(count(&loader, "kept", 0).await, 101);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(loader.instances().live, 1);
    assert_eq!(count(&loader, "other", 0).await, 101);
    // No place is left: what is idle longest makes room.
    expect_number(&loader, "answer", 42).await;
    assert_eq!(loader.instances().live, 1);
    assert_eq!(count(&loader, "other", 0).await, 202);
    assert_eq!(count(&loader, "kept", 0).await, 101);
    assert_eq!(loader.instances().live, 2);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(loader.instances().live, 0);
    assert_eq!(count(&loader, "other", 0).await, 101);
}

/// A guest's environment is read for each call: an instance that has another one is not used again.
#[tokio::test]
async fn a_kept_instance_goes_when_its_environment_changes() {
    let kept = "imports: [\"wasi:cli\"]\npool: {workers: 1, reuse: true}\n\
                wasi: {env: [{id: greeting, name: GREETING, required: true}]}";
    let built = Registry::new()
        .entries("- name: file\n  kind: env.storage.file\n  file_path: values.env\n")
        .entries("- name: greeting\n  kind: env.variable\n  variable: GREETING\n  storage: file\n")
        .file("values.env", "GREETING=hello\n")
        .guest("get", WASI_IMPORTS, "env-get", kept)
        .build();
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let made = || (loader.instances().made, loader.instances().live);
    let name = [Val::String("GREETING".into())];
    let greeting = |text: &str| Ok(Some(Val::Option(Some(Box::new(Val::String(text.into()))))));
    for _ in 0..2 {
        assert_eq!(call(&loader, "get", &name).await, greeting("hello"));
        assert_eq!(made(), (1, 1));
    }
    std::fs::write(built.root().join("values.env"), "GREETING=bye\n").unwrap();
    for _ in 0..2 {
        assert_eq!(call(&loader, "get", &name).await, greeting("bye"));
        assert_eq!(made(), (2, 1));
    }
    std::fs::write(built.root().join("values.env"), "").unwrap();
    let message = "`app:get` requires `app:greeting`, which is not set";
    expect_failure(&loader, "get", &name, ErrorKind::NotFound, message).await;
    assert_eq!(loader.instances().live, 0);
}

/// What a warm start makes, and what calls find after it.
#[tokio::test]
async fn a_warm_start_loads_links_and_maps_for_all_reserved_slots() {
    let fails = "(module (memory 1) (func $start unreachable) (start $start) (func (export \"count\") (param i32) \
                 (result i32) (local.get 0)))";
    let built = Registry::new()
        .wat("warm", COUNT, &counting("pool: {type: static, workers: 3, warm_start: true}"))
        .wat("lazy", COUNT, &counting("pool: {type: lazy, warm_start: \"${env:NOBODY|true}\"}"))
        .wat("off", COUNT, &counting("pool: {warm_start: false}"))
        .wat("fails", fails, &counting("pool: {warm_start: true}"))
        .build();
    let loader = Loader::open(&built).unwrap();
    let cold = loader.warm_up().await.unwrap();
    let [(id, error)] = cold.as_slice() else { panic!("{cold:?}") };
    assert_eq!((id.to_string().as_str(), error.kind()), ("app:fails", ErrorKind::Internal));
    let instances = loader.instances();
    assert_eq!((instances.made, instances.live), (5, 0));
    // Nothing is left to load, and no call sees what an instance before it did.
    for name in ["warm", "fails"] {
        std::fs::remove_file(built.join(&built.artifact(name).path())).unwrap();
    }
    for _ in 0..4 {
        assert_eq!(count(&loader, "warm", 0).await, 101);
        assert_eq!(count(&loader, "lazy", 0).await, 101);
    }
    assert_eq!(loader.instances().made, 13);
}

/// With `reuse` the first calls find instances, made and started.
#[tokio::test]
async fn a_warm_start_keeps_instances_where_calls_do() {
    let started = COUNT.trim_end().strip_suffix(')').unwrap().to_owned()
        + "(func $start (global.set $count (i32.const 7))) (start $start))";
    let pool = "pool: {type: static, workers: 2, reuse: true, warm_start: true}";
    let built = Registry::new().wat("kept", &started, &counting(pool)).build();
    let loader = Loader::open(&built).unwrap();
    assert!(loader.warm_up().await.unwrap().is_empty());
    let made = || (loader.instances().made, loader.instances().live);
    assert_eq!(made(), (2, 2));
    assert_eq!(count(&loader, "kept", 0).await, 108);
    assert_eq!(count(&loader, "kept", 0).await, 209);
    assert_eq!(made(), (2, 2));
    // What was made for nobody is nobody's: an actor gets an instance of its own.
    let ada = Context::default().with_actor(Some(Arc::new(Actor::new("ada", Data::Nil).unwrap())));
    assert_eq!(count_of(&loader, &ada).await, Data::Integer(108));
    assert_eq!(loader.instances().made, 3);
}

/// Kept instances do not keep their loader.
#[tokio::test]
async fn a_loader_goes_with_its_kept_instances() {
    let built = Registry::new().wat("kept", COUNT, &counting("pool: {type: lazy, reuse: true}")).build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(count(&loader, "kept", 0).await, 101);
    let weak = loader.downgrade();
    drop(loader);
    settle().await;
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn a_pool_of_no_slots_makes_its_function_unavailable() {
    let built = Registry::new()
        .entries("- name: none\n  kind: env.variable\n  variable: NO_SLOTS\n  default: \"0\"\n  storage: os\n- name: os\n  kind: env.storage.os\n")
        .wat("kept", COUNT, &counting("pool: {type: lazy, max_size: \"${env:none}\"}"))
        .build();
    let loader = Loader::open(&built).unwrap();
    let message = "`app:kept` is not available: `pool.max_size` is 0, expected 1 or more";
    expect_failure(&loader, "kept", &[Val::U32(0)], ErrorKind::Unavailable, message).await;
}
