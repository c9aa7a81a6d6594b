//! Worker classes (`pool.worker_class`): threads of their own for calls that compute for long, so that these
//! never keep others waiting.
//!
//! A class has as many threads as the function of it that asks for most, and each of them a few more for what
//! blocks, files and look-ups of names. With
//! `scheduler.wasm_isolation.enabled` they run on the last cores of those that the process may use; where the
//! scheduler's threads are bound to the others ([`Cores::bind_scheduler`]) the two share none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use registry_schema::ErrorKind;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::config::{WORKER_BLOCKING_THREADS_MAX, WORKERS_MAX};
use crate::error::Error;
use crate::settings::WasmIsolation;

/// The cores of the process.
#[derive(Clone)]
pub(crate) struct Cores {
    all: usize,
    /// For worker classes, and for all others.
    parted: Option<(CpuSet, CpuSet)>,
}

impl Cores {
    pub(crate) fn new(isolation: &WasmIsolation) -> Self {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let all = cores.len().max(1);
        let reserved = (isolation.reserved_cores as usize).min(all - 1);
        let parted = (isolation.enabled && reserved > 0).then(|| {
            let (others, own) = cores.split_at(cores.len() - reserved);
            (set_of(own), set_of(others))
        });
        Self { all, parted }
    }

    /// Threads of a class whose function does not say how many.
    pub(crate) fn workers(&self) -> usize {
        self.parted.map_or(self.all.min(WORKERS_MAX), |(own, _)| own.count() as usize)
    }

    /// Keeps the current thread off the cores of worker classes, where they have any.
    pub(crate) fn bind_scheduler(&self) -> std::io::Result<()> {
        self.parted.map_or(Ok(()), |(_, others)| Ok(sched_setaffinity(None, &others)?))
    }
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}

/// The classes of a loader, by name.
pub(crate) struct Workers {
    pub(crate) cores: Cores,
    classes: Mutex<HashMap<String, Arc<Class>>>,
}

impl Workers {
    pub(crate) fn new(cores: Cores) -> Self {
        Self { cores, classes: Mutex::default() }
    }

    /// The class `name`, with at least `workers` threads once they are needed.
    pub(crate) fn class(&self, name: &str, workers: usize) -> Arc<Class> {
        // Classes are inserted whole: usable after any panic.
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let class = classes.entry(name.to_owned()).or_insert_with(|| {
            let cores = self.cores.parted.map(|(own, _)| own);
            Arc::new(Class { name: name.to_owned(), cores, threads_max: 0.into(), threads: Mutex::default() })
        });
        class.threads_max.fetch_max(workers, Ordering::Relaxed);
        Arc::clone(class)
    }
}

/// Threads of one name.
pub(crate) struct Class {
    name: String,
    cores: Option<CpuSet>,
    threads_max: AtomicUsize,
    threads: Mutex<Vec<Worker>>,
}

/// A thread with a scheduler of its own; ends when it is dropped.
struct Worker {
    handle: Handle,
    /// Calls that it has.
    calls: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

/// A call that a worker has, for as long as it lives.
pub(crate) struct Assigned {
    pub(crate) handle: Handle,
    calls: Arc<AtomicUsize>,
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Class {
    /// The thread with the fewest calls, made if all have some and there may be more.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable, when the system gives no first thread.
    pub(crate) fn assign(&self) -> Result<Assigned, Error> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = |worker: &Worker| worker.calls.load(Ordering::Relaxed);
        let all_busy = threads.iter().all(|worker| calls(worker) > 0);
        if all_busy && threads.len() < self.threads_max.load(Ordering::Relaxed) {
            match self.start(threads.len()) {
                Ok(worker) => threads.push(worker),
                // Those that there are have one more call.
                Err(_) if !threads.is_empty() => {}
                Err(problem) => {
                    let message =
                        format!("no thread of the worker class `{}` can be started: {problem}", self.name);
                    return Err(Error::new(ErrorKind::Unavailable, message).retryable());
                }
            }
        }
        let worker = threads.iter().min_by_key(|worker| calls(worker)).expect("one was made above");
        worker.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Assigned { handle: worker.handle.clone(), calls: Arc::clone(&worker.calls) })
    }

    fn start(&self, number: usize) -> std::io::Result<Worker> {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(WORKER_BLOCKING_THREADS_MAX).enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let cores = self.cores;
        let name = format!("{}-{number}", self.name);
        std::thread::Builder::new().name(name).spawn(move || {
            // Refused where the process is not allowed to: then it runs where others do.
            let _ = cores.map(|cores| sched_setaffinity(None, &cores));
            // Ends with an error when the worker is dropped, which is all that there is to know.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Worker { handle, calls: Arc::default(), _stop: stop })
    }
}
