//! One call from instantiation to answer for each type of pool, and calls in a second by the number of callers,
//! beside plain wasmtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loader::{Loader, Val};
use tokio::runtime::Runtime;

use crate::measure::{Series, print};
use crate::plain::{Plain, call_fresh};
use crate::support::Registry;

const ROUNDS: u32 = 101;
const CALLS: u32 = 200;
/// Calls of a round of all callers together.
const TOGETHER: u32 = 6_400;
const CALLERS: [u32; 4] = [1, 2, 8, 64];

/// Has a memory and data, and touches both.
const SOURCE: &str = "(module
  (memory (export \"memory\") 2)
  (data (i32.const 16) \"some data\")
  (func (export \"answer\") (result i32)
    (i32.store (i32.const 70000) (i32.const 42))
    (i32.add (i32.load8_u (i32.const 16)) (i32.load (i32.const 70000)))))";

const POOLS: [(&str, &str); 6] = [
    ("inline", "{type: inline}"),
    ("lazy", "{type: lazy}"),
    ("static", "{type: static, workers: 8}"),
    ("adaptive", "{type: adaptive}"),
    ("lazy, reused instances", "{type: lazy, reuse: true}"),
    ("threads of its own", "{workers: 2, worker_class: bench}"),
];

pub(crate) fn run() {
    let entries = POOLS.iter().enumerate();
    let registry = entries.fold(Registry::new(), |registry, (index, (_, pool))| {
        let more = format!("wit: \"answer: func() -> u32\"\nmethod: answer\npool: {pool}");
        registry.wat(&format!("f{index}"), SOURCE, &more)
    });
    let built = registry.build();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let loader = Loader::open(&built).unwrap();
    let plain = Arc::new(runtime.block_on(Plain::new(&built, "f0")));
    let mut all = vec![Series::new("wasmtime, fresh instance")];
    all.extend(POOLS.iter().map(|(name, _)| Series::new(*name)));
    for _ in 0..ROUNDS {
        let raw = Arc::clone(&plain);
        let time = on_a_worker(&runtime, async move { raw.fresh("answer", &[], CALLS).await });
        all[0].add(time, CALLS);
        for (index, series) in all[1..].iter_mut().enumerate() {
            let (loader, id) = (loader.clone(), format!("app:f{index}"));
            let time = on_a_worker(&runtime, async move { called(&loader, &id, CALLS).await });
            series.add(time, CALLS);
        }
    }
    print("instantiate and call", &all);
    throughput(&runtime, &loader, &plain);
}

/// As a task: a call of a thread that is none of the runtime's waits for one of these to wake, which takes longer.
fn on_a_worker<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    runtime.block_on(runtime.spawn(work)).unwrap()
}

async fn called(loader: &Loader, id: &str, calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        assert!(matches!(loader.call(id, &[]).await, Ok(Some(Val::U32(_)))));
    }
    start.elapsed()
}

fn throughput(runtime: &Runtime, loader: &Loader, plain: &Arc<Plain>) {
    println!("calls in a second of all callers, on two threads");
    for callers in CALLERS {
        let mut all = [Series::new("wasmtime"), Series::new("lazy"), Series::new("reused")];
        for _ in 0..ROUNDS / 5 {
            let share = TOGETHER / callers;
            let raw = runtime.block_on(together(callers, || {
                let plain = Arc::clone(plain);
                async move {
                    for _ in 0..share {
                        call_fresh(&plain.pre, "answer", &[]).await;
                    }
                }
            }));
            all[0].add(raw, TOGETHER);
            for (id, series) in ["app:f1", "app:f4"].iter().zip(&mut all[1..]) {
                let time = runtime.block_on(together(callers, || {
                    let loader = loader.clone();
                    async move {
                        called(&loader, id, share).await;
                    }
                }));
                series.add(time, TOGETHER);
            }
        }
        let [raw, lazy, reused] = all.map(|series| 1e6 / series.median());
        println!(
            "  {callers:>3} callers   wasmtime {raw:>9.0}   lazy {lazy:>9.0} ({:.2})   reused {reused:>9.0} ({:.2})",
            lazy / raw,
            reused / raw
        );
    }
}

async fn together<F: Future<Output = ()> + Send + 'static>(callers: u32, caller: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(caller())).collect();
    for task in tasks {
        task.await.unwrap();
    }
    start.elapsed()
}
