//! Where processes run: `process.host` and `terminal.host` entries (`en/system/process-host.md`).
//!
//! The scheduler is tokio's, whose workers steal from each other. A host bounds how many of its processes are
//! executed at the same moment (`workers`), how many may wait for that (`queue_size`, and `local_queue_size`
//! for each worker) and how many there are (`max_processes`). A full queue refuses new processes; one that
//! exists always gets its turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll};

use registry_schema::authored::process::ProcessHost;
use registry_schema::authored::scalar::Templated;
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, ErrorKind};
use serde::Deserialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::config::{HOST_LOCAL_QUEUE, HOST_QUEUE, PROCESSES_MAX};
use crate::environment::Environment;
use crate::error::Error;

/// A host of processes.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) id: Arc<EntryId>,
    kind: Kind,
    sizes: Sizes,
    workers: Arc<Semaphore>,
    counts: Mutex<Counts>,
    /// Told when its last process ended.
    empty: Notify,
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any processes.
    Processes,
    /// One process at a time, at the terminal.
    Terminal,
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    workers: usize,
    queue: usize,
    processes: usize,
}

#[derive(Debug, Default)]
struct Counts {
    processes: usize,
    /// Of these, those that wait for a worker.
    waiting: usize,
    closed: bool,
}

impl Host {
    /// The host of `entry`; `None` when it is of no kind of hosts.
    ///
    /// # Errors
    /// `UNAVAILABLE` when its settings can't be understood.
    pub(super) fn read(entry: &Entry, environment: &Environment<'_>) -> Result<Option<Self>, Error> {
        let (kind, sizes) = match entry.kind.as_str() {
            "process.host" => (Kind::Processes, Sizes::read(entry, environment)?),
            "terminal.host" => (Kind::Terminal, Sizes { workers: 1, queue: 1, processes: 1 }),
            _ => return Ok(None),
        };
        Ok(Some(Self {
            id: Arc::new(entry.id.clone()),
            kind,
            sizes,
            workers: Arc::new(Semaphore::new(sizes.workers)),
            counts: Mutex::default(),
            empty: Notify::new(),
        }))
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change is whole after any panic.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more process, which waits for a worker at first.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the host is full, or stops.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admitted, Error> {
        let refused = |what: String| {
            let message = format!("`{}` takes no process now: {what}", self.id);
            Err(Error::new(ErrorKind::Unavailable, message).retryable())
        };
        let mut counts = self.counts();
        if counts.closed {
            return refused("it stops".to_owned());
        }
        if counts.processes >= self.sizes.processes {
            return refused(format!("it has its `max_processes` of {}", self.sizes.processes));
        }
        if counts.waiting >= self.sizes.queue {
            return refused(format!("{} processes wait for a worker already", self.sizes.queue));
        }
        counts.processes += 1;
        counts.waiting += 1;
        Ok(Admitted { host: Arc::clone(self), waiting: true })
    }

    /// Takes processes again after it was closed.
    pub(super) fn open(&self) {
        self.counts().closed = false;
    }

    /// Takes no more processes.
    pub(super) fn close(&self) {
        self.counts().closed = true;
    }

    /// Waits until it has no process.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.counts().processes == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Sizes {
    fn read(entry: &Entry, environment: &Environment<'_>) -> Result<Self, Error> {
        let failed = |problem: String| {
            let message = format!("`{}` is not available: {problem}", entry.id);
            Error::new(ErrorKind::Unavailable, message)
        };
        let authored = match &entry.data {
            serde_json::Value::Null => ProcessHost::default(),
            data => ProcessHost::deserialize(data).map_err(|problem| failed(problem.to_string()))?,
        };
        let settings = authored.host.unwrap_or_default();
        let number = |field: &str, value: Option<&Templated<u32>>, default: usize| {
            let Some(value) = value else { return Ok(default) };
            let field = format!("host.{field}");
            let resolved: Result<u32, Error> = environment.resolve(entry.id.namespace(), &field, value);
            match resolved.map_err(|error| failed(error.message().to_owned()))? {
                0 => Err(failed(format!("`{field}` is 0, expected 1 or more"))),
                number => Ok(number as usize),
            }
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = number("workers", settings.workers.as_ref(), processors)?;
        let queue = number("queue_size", settings.queue_size.as_ref(), HOST_QUEUE)?;
        let local = number("local_queue_size", settings.local_queue_size.as_ref(), HOST_LOCAL_QUEUE)?;
        Ok(Self {
            workers: workers.min(Semaphore::MAX_PERMITS),
            queue: queue.saturating_add(local.saturating_mul(workers)),
            processes: number("max_processes", settings.max_processes.as_ref(), PROCESSES_MAX)?,
        })
    }
}

/// A process's place in a host, until it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    host: Arc<Host>,
    waiting: bool,
}

impl Admitted {
    fn wait(&mut self) {
        if !std::mem::replace(&mut self.waiting, true) {
            self.host.counts().waiting += 1;
        }
    }

    fn go_on(&mut self) {
        if std::mem::replace(&mut self.waiting, false) {
            self.host.counts().waiting -= 1;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.host.counts();
        counts.processes -= 1;
        counts.waiting -= usize::from(self.waiting);
        let empty = counts.processes == 0;
        drop(counts);
        if empty {
            self.host.empty.notify_waiters();
        }
    }
}

/// A process's code, executed while it has one of its host's workers.
pub(super) struct OnWorker<F> {
    // First, so that it is gone when the place is free.
    body: Pin<Box<F>>,
    place: Admitted,
    turn: Option<Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>>,
}

impl<F: Future> OnWorker<F> {
    pub(super) fn new(place: Admitted, body: F) -> Self {
        Self { body: Box::pin(body), place, turn: None }
    }

    /// A worker, or its place in the queue for one.
    fn worker(&mut self, context: &mut task::Context<'_>) -> Poll<OwnedSemaphorePermit> {
        if self.turn.is_none() {
            let workers = Arc::clone(&self.place.host.workers);
            if let Ok(worker) = Arc::clone(&workers).try_acquire_owned() {
                return Poll::Ready(worker);
            }
            self.turn = Some(Box::pin(async move {
                workers.acquire_owned().await.expect("nothing closes the workers of a host")
            }));
        }
        match &mut self.turn {
            Some(turn) => turn.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<F: Future> Future for OnWorker<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<F::Output> {
        let Poll::Ready(_worker) = self.worker(context) else {
            self.place.wait();
            return Poll::Pending;
        };
        self.turn = None;
        self.place.go_on();
        self.body.as_mut().poll(context)
    }
}
