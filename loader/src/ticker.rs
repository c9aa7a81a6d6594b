//! The ticker: raises the epoch of every engine while a guest runs.
//!
//! Guests look at the epoch at loop heads and function entries; what happens then is decided by the
//! store's callback (`call.rs`). The thread is started with the first guest and sleeps while none runs.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;
use wasmtime::Engine;

use crate::config::{TICK, Ticking};

/// Shared by a loader and its running calls.
pub(crate) struct Ticker {
    mode: Ticking,
    running: AtomicUsize,
    /// Whether the thread waits for a guest to run, or is not there.
    is_asleep: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    engines: Vec<Engine>,
    thread_started: bool,
}

/// While it lives, the epoch goes up.
pub(crate) struct Running<T: Borrow<Arc<Ticker>>>(Option<T>);

impl Ticker {
    pub(crate) fn new(mode: Ticking) -> Arc<Self> {
        Arc::new(Self {
            mode,
            running: AtomicUsize::new(0),
            is_asleep: AtomicBool::new(true),
            state: Mutex::default(),
            wake: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A list and a flag: whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `engine` take part from now on.
    pub(crate) fn add(&self, engine: Engine) {
        self.state().engines.push(engine);
    }

    /// Raises every epoch by one.
    pub(crate) fn tick(&self) {
        self.state().engines.iter().for_each(Engine::increment_epoch);
    }

    /// Says to `ticker` that a guest runs, with or without a deadline, until the answer is dropped.
    pub(crate) fn running<T: Borrow<Arc<Self>>>(ticker: T, deadline: Deadline) -> Running<T> {
        let own = ticker.borrow();
        let ticks = match own.mode {
            Ticking::Always => true,
            Ticking::ForDeadlines => deadline == Deadline::Set,
            Ticking::Manual => false,
        };
        if !ticks {
            return Running(None);
        }
        // In one order with what the thread does before it sleeps: it sees this guest, or is seen to be asleep.
        own.running.fetch_add(1, Ordering::SeqCst);
        if own.is_asleep.load(Ordering::SeqCst) {
            own.rouse();
        }
        Running(Some(ticker))
    }

    /// Waits until a guest runs, a second at most, since the last owner's drop can't wake a thread that holds an
    /// owner itself.
    fn sleep(&self) {
        let state = self.state();
        self.is_asleep.store(true, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) == 0 {
            let most = std::time::Duration::from_secs(1);
            drop(self.wake.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner));
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// Wakes the thread, or starts it. That costs a call of the system, as much as a call of a small guest.
    #[cold]
    fn rouse(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.thread_started {
            let ticker = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("epoch".into());
            // Without a thread (the process is at its limit) guests run on, only not shared out in slices;
            // the next one tries again.
            state.thread_started = thread.spawn(move || run(&ticker)).is_ok();
        }
        self.is_asleep.store(!state.thread_started, Ordering::SeqCst);
        drop(state);
        self.wake.notify_one();
    }
}

/// Whether a call has a time limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    Set,
    None,
}

impl Deadline {
    /// Whether there is one.
    pub(crate) fn of(deadline: Option<Instant>) -> Self {
        if deadline.is_some() { Self::Set } else { Self::None }
    }
}

impl<T: Borrow<Arc<Ticker>>> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(ticker) = &self.0 {
            ticker.borrow().running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

fn run(ticker: &Weak<Ticker>) {
    while let Some(ticker) = ticker.upgrade() {
        if ticker.running.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(TICK);
            ticker.tick();
        } else {
            ticker.sleep();
        }
    }
}
