//! How long after its limit of time a call ends: a guest that computes, one that waits, and Lua; and how long a guest
//! that sleeps sleeps longer beside as many that compute as there are threads.

use std::time::{Duration, Instant};

use loader::{Context, ErrorKind, Loader, Val};

use crate::measure::{Series, print};
use crate::support::{Registry, WASI_IMPORTS};

const ROUNDS: u32 = 41;
const LIMIT: Duration = Duration::from_millis(30);

const SPIN: &str = "(module (func (export \"spin\") (loop (br 0))))";

const LUA: &str = "
- name: loop
  kind: function.lua
  source: return function() while true do end end
";

/// Threads, and guests that compute on them.
const THREADS: usize = 2;
const SLEEP: Duration = Duration::from_millis(10);

pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measured());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(THREADS).enable_all().build().unwrap().block_on(beside_others());
}

async fn beside_others() {
    let spin = "wit: \"spin: func()\"\nmethod: spin";
    let clocks = "imports: [\"wasi:clocks\"]";
    let built =
        Registry::new().wat("spin", SPIN, spin).guest("sleep", WASI_IMPORTS, "sleep-ms", clocks).build();
    let loader = Loader::open(&built).unwrap();
    let sleep = [Val::U64(SLEEP.as_millis().try_into().unwrap())];
    let mut all = [Series::new("alone"), Series::new("beside a computing guest on each thread")];
    for (at, guests) in [0, THREADS].into_iter().enumerate() {
        let computing: Vec<_> = (0..guests)
            .map(|_| {
                let loader = loader.clone();
                tokio::spawn(async move { loader.call("app:spin", &[]).await })
            })
            .collect();
        for _ in 0..ROUNDS {
            // On one of those threads, as calls are.
            let (loader, sleep) = (loader.clone(), sleep.clone());
            let slept = tokio::spawn(async move {
                let start = Instant::now();
                loader.call("app:sleep", &sleep).await.unwrap();
                start.elapsed()
            });
            all[at].add(slept.await.unwrap().saturating_sub(SLEEP), 1);
        }
        computing.iter().for_each(tokio::task::JoinHandle::abort);
    }
    print(&format!("time beyond a sleep of {} ms, {THREADS} threads", SLEEP.as_millis()), &all);
}

async fn measured() {
    let limit = LIMIT.as_millis();
    let more = format!("wit: \"spin: func()\"\nmethod: spin\nlimits: {{max_execution_ms: {limit}}}");
    let waits = format!("imports: [\"wasi:clocks\"]\nlimits: {{max_execution_ms: {limit}}}");
    let built = Registry::new()
        .wat("spin", SPIN, &more)
        .guest("sleep", WASI_IMPORTS, "sleep-ms", &waits)
        .entries(LUA)
        .build();
    let loader = Loader::open(&built).unwrap();
    let mut all =
        [Series::new("a loop of a guest"), Series::new("a guest that waits"), Series::new("a loop of Lua")];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let error = loader.call("app:spin", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        all[0].add(start.elapsed().saturating_sub(LIMIT), 1);
        let start = Instant::now();
        let error = loader.call("app:sleep", &[Val::U64(60_000)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        all[1].add(start.elapsed().saturating_sub(LIMIT), 1);
        let start = Instant::now();
        let deadline = tokio::time::Instant::now() + LIMIT;
        let context = Context::default().with_deadline(Some(deadline));
        let error = loader.call_data("app:loop", Vec::new(), context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        all[2].add(start.elapsed().saturating_sub(LIMIT), 1);
    }
    print(&format!("time beyond a limit of {limit} ms"), &all);
}
