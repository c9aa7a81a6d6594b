//! Ending processes that compute: when, to the step, and that nothing of them is left.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loader::config::{Allocation, Ticking};
use loader::process::{ProcessesSnapshot, Running, Terminal};
use loader::{ErrorKind, Loader, Options, Stdio};
use tokio::time::{Instant, advance};

use crate::steps::Host;
use crate::support::{Built, Registry};

/// A host for one process.
const ONE: &str = "- {name: one, kind: process.host, host: {max_processes: 1}}\n";

/// Starts `app:NAME` with `args` in `app:one`.
fn start(loader: &Loader, name: &str, args: &[&str]) -> Result<Running, loader::process::Refused> {
    let terminal = Terminal::new(Vec::new(), std::io::empty(), std::io::sink(), std::io::sink(), Stdio::Log);
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let id = |name: &str| format!("app:{name}").parse().unwrap();
    loader.start_command(&id(name), &id("one"), name, &args, terminal)
}

fn spinning() -> Built {
    Registry::new().entries(ONE).stepping_process("spin").build()
}

/// A loader whose guest computes for ever, every step of which is a tick.
fn endless(bundle: &Built) -> (Host, Loader) {
    let host = Host::default();
    let loader = host.open(bundle, |host, _| {
        host.loader().tick();
        1
    });
    (host, loader)
}

/// Lets the guest have some ticks.
async fn some_ticks(host: &Host) {
    let begun = host.steps();
    while host.steps() < begun + 3 {
        tokio::task::yield_now().await;
    }
}

fn nothing_is_left(loader: &Loader) {
    assert_eq!(loader.processes(), ProcessesSnapshot::default());
    assert_eq!(loader.memory().used, 0);
    assert_eq!(loader.instances().live, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_guest_that_computes_has_five_seconds_and_not_a_step_more() {
    let built = spinning();
    let (host, loader) = endless(&built);
    for _ in 0..3 {
        let running = start(&loader, "spin", &["1"]).unwrap();
        some_ticks(&host).await;
        let one = ProcessesSnapshot { wasm: 1, instances: 1, ..ProcessesSnapshot::default() };
        assert_eq!(loader.processes(), one);
        let cancelled = Instant::now();
        running.cancel("enough");
        advance(Duration::from_millis(4_999)).await;
        some_ticks(&host).await;
        // A later wish gives no more time.
        running.cancel("really");
        some_ticks(&host).await;
        assert_eq!(loader.processes(), one);
        let steps = host.steps();
        advance(Duration::from_millis(1)).await;
        let error = running.outcome().await.error.unwrap();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Canceled, "the process was cancelled: enough")
        );
        // It was between two ticks when its time was over.
        assert!(host.steps() <= steps + 1, "{steps} steps, then {}", host.steps());
        assert_eq!(cancelled.elapsed(), Duration::from_secs(5));
        nothing_is_left(&loader);
    }
}

#[tokio::test(start_paused = true)]
async fn a_terminated_guest_that_computes_ends_at_once() {
    let built = spinning();
    let (host, loader) = endless(&built);
    for _ in 0..3 {
        let start_of_it = Instant::now();
        let running = start(&loader, "spin", &["1"]).unwrap();
        some_ticks(&host).await;
        let full = start(&loader, "spin", &["1"]).unwrap_err();
        assert!(format!("{full:?}").contains("it has its `max_processes` of 1"), "{full:?}");
        let steps = host.steps();
        running.terminate();
        let error = running.outcome().await.error.unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Canceled, "the process was terminated"));
        assert_eq!(host.steps(), steps);
        assert_eq!(start_of_it.elapsed(), Duration::ZERO);
        nothing_is_left(&loader);
    }
}

/// The order comes while the guest runs: it ends at the next tick, here that of the same step.
#[tokio::test(start_paused = true)]
async fn an_order_in_the_midst_of_computing_is_seen_at_the_next_tick() {
    let built = spinning();
    let host = Host::default();
    let running = Arc::new(Mutex::new(None::<Running>));
    let ended = Arc::clone(&running);
    let loader = host.open(&built, move |host, _| {
        if host.steps() == 10 {
            ended.lock().unwrap().as_ref().unwrap().terminate();
        }
        if host.steps() >= 10 {
            host.loader().tick();
        }
        1
    });
    *running.lock().unwrap() = Some(start(&loader, "spin", &["1"]).unwrap());
    while host.steps() < 10 {
        tokio::task::yield_now().await;
    }
    while loader.processes().wasm > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.steps(), 10);
    nothing_is_left(&loader);
}

/// Of the processes of a host no more are executed at the same moment than it has workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_has_as_many_processes_at_work_as_workers() {
    for workers in [1, 2] {
        let host = format!("- {{name: one, kind: process.host, host: {{workers: {workers}}}}}\n");
        let built = Registry::new().entries(&host).stepping_process("spin").build();
        let host = Host::default();
        let (active, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let seen = Arc::clone(&most);
        let loader = host.open(&built, move |host, left| {
            seen.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            host.loader().tick();
            std::thread::yield_now();
            active.fetch_sub(1, Ordering::SeqCst);
            left - 1
        });
        let all: Vec<Running> = (0..8).map(|_| start(&loader, "spin", &["100"]).unwrap()).collect();
        for running in all {
            assert_eq!(running.outcome().await.error, None);
        }
        assert_eq!(host.steps(), 800);
        assert!((1..=workers).contains(&most.load(Ordering::SeqCst)), "{most:?} of {workers}");
    }
}

/// Processes keep their instances for long: they take none of those that are reserved for calls.
#[tokio::test(start_paused = true)]
async fn processes_leave_reserved_instances_to_calls() {
    let registry = Registry::new()
        .entries("- {name: host, kind: process.host}\n")
        .sample_worker("sum", "sum", "imports: [inbox]")
        .answer("answer", 42)
        .entries(
            "- name: many\n  kind: function.lua\n  source: |\n    return function(count)\n      local fine = 0\n      \
             for i = 1, count do\n        if process.spawn(\"app:sum\", \"app:host\") then fine = fine + 1 end\n      \
             end\n      return fine\n    end\n",
        );
    let built = registry.build();
    let options = Options {
        allocation: Allocation::Reserved,
        instances_max: Some(2),
        ticking: Ticking::Manual,
        ..Options::default()
    };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let count = loader.process_room().wasm.min(20);
    let args = vec![loader::Data::Integer(i64::try_from(count).unwrap())];
    let fine = loader.call_data("app:many", args, loader::Context::default()).await.unwrap();
    assert_eq!(fine, loader::Data::Integer(i64::try_from(count).unwrap()));
    while loader.processes().instances < count {
        tokio::task::yield_now().await;
    }
    let answer = loader.call("app:answer", &[]).await.unwrap();
    assert_eq!(answer, Some(loader::Val::U32(42)));
}
