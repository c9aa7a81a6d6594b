//! Worker classes: functions whose calls run on threads of their own.

use std::sync::Arc;

use loader::{Loader, PoolKind, Val};
use tokio::sync::{Semaphore, mpsc};

use crate::outcomes::call;
use crate::pools::{Call, expect_returned, pool, settle};
use crate::steps::{CONTROL, GRANTED};
use crate::support::{Built, Registry};

/// The thread and the number of cores that a guest's host function sees.
type Seen = (String, usize);

/// Guests that say where they run, and then wait to be let go.
fn on_threads(built: &Built) -> (Loader, mpsc::UnboundedReceiver<Seen>, Arc<Semaphore>) {
    let (sends, seen) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&go);
    let builder = Loader::builder().host_interface(CONTROL, move |interface| {
        let (sends, permits) = (sends.clone(), Arc::clone(&permits));
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            let thread = std::thread::current().name().unwrap_or("none").to_owned();
            let cores = rustix::thread::sched_getaffinity(None).unwrap().count() as usize;
            sends.send((thread, cores)).unwrap();
            let permits = Arc::clone(&permits);
            Box::new(async move {
                permits.acquire().await.unwrap().forget();
                Ok((n,))
            })
        })
    });
    (builder.open(built).unwrap(), seen, go)
}

#[tokio::test]
async fn a_worker_class_has_threads_of_its_own() {
    let pool = pool("type: inline, worker_class: heavy, workers: 2");
    let built = Registry::new().stepping("once", "once", &pool).stepping("other", "once", GRANTED).build();
    let (loader, mut seen, go) = on_threads(&built);
    let calls: Vec<Call> = (0..6)
        .map(|n| {
            let loader = loader.clone();
            tokio::spawn(async move { call(&loader, "once", &[Val::U32(n)]).await })
        })
        .collect();
    // Two run at once.
    settle().await;
    let mut threads = vec![seen.recv().await.unwrap().0, seen.recv().await.unwrap().0];
    threads.sort();
    assert_eq!(threads, ["heavy-0", "heavy-1"]);
    assert!(seen.try_recv().is_err());
    go.add_permits(6);
    expect_returned(calls).await;
    let others: Vec<String> = std::iter::from_fn(|| seen.try_recv().ok()).map(|(thread, _)| thread).collect();
    assert!(others.len() == 4 && others.iter().all(|thread| threads.contains(thread)), "{others:?}");
    let pools = loader.pools();
    assert_eq!((pools[0].kind, pools[0].size_max, pools[0].busy), (PoolKind::Static, Some(2), 0));
    go.add_permits(1);
    assert_eq!(call(&loader, "other", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
    assert!(!seen.recv().await.unwrap().0.starts_with("heavy"));
    // A call that nobody waits for goes at once.
    let call = Box::pin(call(&loader, "once", &[Val::U32(1)]));
    tokio::select! {
        biased;
        result = call => panic!("it returned {result:?}"),
        Some(_) = seen.recv() => {}
    }
    assert_eq!((loader.pools()[0].busy, loader.instances().live), (0, 0));
}

/// Calls that wait for a slot have no thread yet: the next one gets that of the one that returned.
#[tokio::test]
async fn no_thread_of_a_class_is_idle_while_calls_wait() {
    let built = Registry::new().stepping("once", "once", &pool("worker_class: heavy, workers: 2")).build();
    let (sends, mut seen) = mpsc::unbounded_channel();
    let gates: Arc<[Semaphore; 6]> = Arc::new(std::array::from_fn(|_| Semaphore::new(0)));
    let held = Arc::clone(&gates);
    let builder = Loader::builder().host_interface(CONTROL, move |interface| {
        let (sends, gates) = (sends.clone(), Arc::clone(&held));
        interface.func_wrap_async("step", move |_, (n,): (u32,)| {
            sends.send((n, std::thread::current().name().unwrap_or("none").to_owned())).unwrap();
            let gates = Arc::clone(&gates);
            Box::new(async move {
                gates[n as usize].acquire().await.unwrap().forget();
                Ok((n,))
            })
        })
    });
    let loader = builder.open(&built).unwrap();
    let calls: Vec<Call> = (0..6)
        .map(|n| {
            let loader = loader.clone();
            tokio::spawn(async move { call(&loader, "once", &[Val::U32(n)]).await })
        })
        .collect();
    let mut running = vec![seen.recv().await.unwrap(), seen.recv().await.unwrap()];
    for _ in 0..4 {
        running.sort_by(|one, other| one.1.cmp(&other.1));
        let (returns, thread) = running.pop().unwrap();
        assert_eq!((running[0].1.as_str(), thread.as_str()), ("heavy-0", "heavy-1"));
        gates[returns as usize].add_permits(1);
        running.push(seen.recv().await.unwrap());
    }
    running.iter().for_each(|(n, _)| gates[*n as usize].add_permits(1));
    expect_returned(calls).await;
}

#[tokio::test]
async fn isolated_worker_classes_have_cores_of_their_own() {
    let all = rustix::thread::sched_getaffinity(None).unwrap().count() as usize;
    let built = Registry::new()
        .file(".wippy.yaml", "scheduler:\n  wasm_isolation:\n    enabled: true\n    reserved_cores: 1\n")
        .stepping("once", "once", &pool("worker_class: wasm"))
        .build();
    let (loader, mut seen, go) = on_threads(&built);
    go.add_permits(1);
    assert_eq!(call(&loader, "once", &[Val::U32(7)]).await, Ok(Some(Val::U32(7))));
    assert_eq!(seen.recv().await, Some(("wasm-0".to_owned(), 1)));
    assert_eq!(loader.pools()[0].size_max, Some(1));
    // The scheduler's threads have the others; on a machine with one core all share it.
    let bound = std::thread::spawn(move || {
        loader.bind_scheduler_thread().unwrap();
        rustix::thread::sched_getaffinity(None).unwrap().count() as usize
    });
    assert_eq!(bound.join().unwrap(), (all - 1).max(1));
}
