//! Time: limits on computing and waiting guests, shares of a thread, and calls that nobody waits for any
//! more. Time stands still and moves when a test says so; epochs are raised by hand, from inside the guest's
//! own loop, so that order and counts are exact.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use loader::config::Ticking;
use loader::{ErrorKind, Loader, Options, Val};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::outcomes::{call, expect_failure, expect_number};
use crate::steps::{CONTROL, GRANTED, Host, manual};
use crate::support::{Registry, WASI_IMPORTS};

const LIMIT: &str = "limits: {max_execution_ms: 100}";

/// Moves the clock at once, without letting any other task run.
fn advance(milliseconds: u64) {
    let advance = std::pin::pin!(tokio::time::advance(Duration::from_millis(milliseconds)));
    // The clock moves when it is first polled; then it would only yield.
    let _: Poll<()> = advance.poll(&mut Context::from_waker(Waker::noop()));
}

fn ended(name: &str) -> String {
    format!("`app:{name}` was ended after its limit `max_execution_ms` of 100")
}

#[tokio::test(start_paused = true)]
async fn a_computing_guest_ends_at_the_first_tick_after_its_deadline() {
    let built = Registry::new()
        .stepping("spin", "spin", &format!("{GRANTED}\n{LIMIT}"))
        .stepping("once", "once", &format!("{GRANTED}\n{LIMIT}"))
        .build();
    let host = Host::default();
    let loader = host.open(&built, |host, n| {
        match host.steps() {
            1 => host.loader().tick(),
            2 => {
                advance(99);
                host.loader().tick();
            }
            // The deadline passes, and nobody looks before the next tick.
            3 => advance(1),
            5 => host.loader().tick(),
            _ => {}
        }
        n
    });
    expect_failure(&loader, "spin", &[Val::U32(1)], ErrorKind::Timeout, &ended("spin")).await;
    assert_eq!(host.steps(), 5);
    // The next call has a deadline of its own.
    assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
    assert_eq!(call(&loader, "spin", &[Val::U32(0)]).await, Ok(Some(Val::U32(0))));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_returns_in_time_is_not_ended_later() {
    let built = Registry::new().stepping("once", "once", &format!("{GRANTED}\n{LIMIT}")).build();
    let host = Host::default();
    let loader = host.open(&built, |_, n| {
        // Late, but no tick is seen before it returns.
        advance(1000);
        n
    });
    assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
}

#[tokio::test(start_paused = true)]
async fn a_start_function_that_loops_is_ended_as_well() {
    let built = Registry::new()
        .stepping_at_start("start", &format!("{GRANTED}\n{LIMIT}"))
        .answer("answer", 42)
        .build();
    let host = Host::default();
    let loader = host.open(&built, |host, n| {
        advance(25);
        host.loader().tick();
        n
    });
    expect_failure(&loader, "start", &[Val::U32(0)], ErrorKind::Timeout, &ended("start")).await;
    assert_eq!(host.steps(), 4);
    expect_number(&loader, "answer", 42).await;
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_guest_is_ended_without_any_tick() {
    let clocks = "imports: [\"wasi:clocks\"]";
    let built = Registry::new()
        .guest("limited", WASI_IMPORTS, "sleep-ms", &format!("{clocks}\n{LIMIT}"))
        .guest("unlimited", WASI_IMPORTS, "sleep-ms", clocks)
        .build();
    let loader = manual().open(&built).unwrap();
    let start = Instant::now();
    expect_failure(&loader, "limited", &[Val::U64(60_000)], ErrorKind::Timeout, &ended("limited")).await;
    assert!((100..=101).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(call(&loader, "limited", &[Val::U64(10)]).await, Ok(None));
    // An hour, on a clock that jumps to the next timer: sleeping guests hold no thread.
    let start = Instant::now();
    let hour = [Val::U64(3_600_000)];
    let both = tokio::join!(call(&loader, "unlimited", &hour), call(&loader, "unlimited", &hour));
    assert_eq!(both, (Ok(None), Ok(None)));
    assert_eq!(start.elapsed().as_secs(), 3600);
}

#[tokio::test]
async fn a_guest_without_limit_yields_at_each_tick() {
    let built = Registry::new().stepping("spin", "spin", GRANTED).answer("answer", 42).build();
    let host = Host::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let loader = {
        let seen = Arc::clone(&seen);
        host.open(&built, move |host, n| {
            seen.lock().unwrap().push("guest");
            host.loader().tick();
            n - 1
        })
    };
    loader.function("app:spin").unwrap();
    let spin = tokio::spawn({
        let loader = loader.clone();
        async move { call(&loader, "spin", &[Val::U32(4)]).await }
    });
    while !spin.is_finished() {
        seen.lock().unwrap().push("other");
        tokio::task::yield_now().await;
    }
    assert_eq!(spin.await.unwrap(), Ok(Some(Val::U32(0))));
    let seen = seen.lock().unwrap();
    let turns: Vec<&str> = seen.iter().copied().skip_while(|who| *who == "other").take(7).collect();
    assert_eq!(turns, ["guest", "other", "guest", "other", "guest", "other", "guest"]);
}

/// One thread: the other call can only finish because the spinning guest gives way.
#[tokio::test]
async fn another_call_finishes_beside_a_guest_that_spins() {
    let built = Registry::new().stepping("spin", "spin", GRANTED).answer("answer", 42).build();
    let host = Host::default();
    let (finished, mut waiting) = oneshot::channel::<()>();
    let stop = Arc::new(Mutex::new(move || waiting.try_recv().is_ok()));
    let loader = host.open(&built, move |host, n| {
        host.loader().tick();
        if stop.lock().unwrap()() { 0 } else { n }
    });
    let other = async {
        expect_number(&loader, "answer", 42).await;
        finished.send(()).unwrap();
    };
    let (spun, ()) = tokio::join!(call(&loader, "spin", &[Val::U32(1)]), other);
    assert_eq!(spun, Ok(Some(Val::U32(0))));
}

#[tokio::test]
async fn a_computing_guest_ends_when_nobody_waits_for_it() {
    let built = Registry::new().stepping("spin", "spin", GRANTED).answer("answer", 42).build();
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
    // It is gone at the latest when it gives way for the first time.
    tokio::task::yield_now().await;
    let steps = host.steps();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.steps(), steps);
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
async fn a_waiting_guest_ends_when_nobody_waits_for_it() {
    let built = Registry::new().stepping("once", "once", GRANTED).answer("answer", 42).build();
    let (began, mut begun) = mpsc::unbounded_channel();
    let builder = manual().host_interface(CONTROL, move |interface| {
        let began = began.clone();
        interface.func_wrap_async("step", move |_, (_,): (u32,)| {
            let (dropped, gone) = oneshot::channel();
            began.send(gone).unwrap();
            let guard = Guard(Some(dropped));
            Box::new(async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok((0u32,))
            })
        })
    });
    let loader = builder.open(&built).unwrap();
    let gone = tokio::select! {
        result = call(&loader, "once", &[Val::U32(1)]) => panic!("the guest returned {result:?}"),
        Some(gone) = begun.recv() => gone,
    };
    gone.await.unwrap();
    expect_number(&loader, "answer", 42).await;
}

/// The same by the loader's own ticker: nothing but the outcome is looked at.
#[test]
fn the_ticker_ends_a_guest_that_only_computes() {
    let forever = "(module (func (export \"run\") (loop $again (br $again))))";
    let built = Registry::new()
        .wat("run", forever, &format!("wit: \"run: func()\"\nmethod: run\n{LIMIT}"))
        .wat("forever", forever, "wit: \"run: func()\"\nmethod: run")
        .answer("answer", 42)
        .build();
    for ticking in [Ticking::Always, Ticking::ForDeadlines] {
        let options = Options { ticking, ..Options::default() };
        let loader = Loader::builder().options(options).open(&built).unwrap();
        for _ in 0..2 {
            let error = loader.call_blocking("app:run", &[]).unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Timeout, ended("run").as_str()));
            assert_eq!(loader.call_blocking("app:answer", &[]), Ok(Some(Val::U32(42))));
        }
    }
    // Without a limit it runs on, gives way at each tick, and ends when it is dropped.
    let loader = Loader::open(&built).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            biased;
            result = call(&loader, "forever", &[]) => panic!("the guest returned {result:?}"),
            () = async {
                tokio::task::yield_now().await;
                expect_number(&loader, "answer", 42).await;
            } => {}
        }
        expect_number(&loader, "answer", 42).await;
    });
}

/// A guest that computes on the only thread, a tick for each millisecond of it, and one that sleeps for ten: it
/// goes on within three ticks.
#[tokio::test(start_paused = true)]
async fn a_sleeping_guest_goes_on_within_a_few_ticks() {
    let built = Registry::new()
        .stepping("spin", "spin", GRANTED)
        .guest("sleep", WASI_IMPORTS, "sleep-ms", "imports: [\"wasi:clocks\"]")
        .build();
    let host = Host::default();
    let (woke, mut waking) = oneshot::channel::<()>();
    let is_over = Arc::new(Mutex::new(move || waking.try_recv().is_ok()));
    let loader = host.open(&built, move |host, n| {
        advance(1);
        host.loader().tick();
        if is_over.lock().unwrap()() || host.steps() == 1_000 { 0 } else { n }
    });
    // Both are loaded before the clock moves.
    for name in ["app:spin", "app:sleep"] {
        loader.function(name).unwrap();
    }
    let sleeper = async {
        let slept = call(&loader, "sleep", &[Val::U64(10)]).await;
        woke.send(()).unwrap();
        (slept, host.steps())
    };
    let ((slept, steps), spun) = tokio::join!(sleeper, call(&loader, "spin", &[Val::U32(1)]));
    assert_eq!((slept, spun), (Ok(None), Ok(Some(Val::U32(0)))));
    assert!((10..=13).contains(&steps), "{steps} ticks");
}

/// As many computing guests as threads, and one that sleeps: it goes on after a few of their ticks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computing_guests_do_not_keep_a_sleeping_one_waiting() {
    let forever = "(module (func (export \"run\") (loop $again (br $again))))";
    let built = Registry::new()
        .wat("forever", forever, "wit: \"run: func()\"\nmethod: run")
        .guest("sleep", WASI_IMPORTS, "sleep-ms", "imports: [\"wasi:clocks\"]")
        .build();
    let loader = Loader::open(&built).unwrap();
    let guests: Vec<_> = (0..2)
        .map(|_| {
            let loader = loader.clone();
            tokio::spawn(async move { call(&loader, "forever", &[]).await })
        })
        .collect();
    let sleeps = async {
        for _ in 0..20 {
            assert_eq!(call(&loader, "sleep", &[Val::U64(1)]).await, Ok(None));
        }
    };
    // This thread is neither of the two: it sees the end where they would never come back.
    assert!(tokio::time::timeout(Duration::from_secs(60), sleeps).await.is_ok(), "they keep both threads");
    assert!(guests.iter().all(|guest| !guest.is_finished()));
    guests.iter().for_each(tokio::task::JoinHandle::abort);
}
