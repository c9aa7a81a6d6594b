//! The ticker: raises the epoch of every engine while a guest runs.
//!
//! Guests look at the epoch at loop heads and function entries; what happens then is decided by the
//! store's callback (`call.rs`). The thread is started with the first guest and sleeps while none runs.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use wasmtime::Engine;

use crate::config::{TICK, Ticking};

/// Shared by a loader and its running calls.
pub(crate) struct Ticker {
    mode: Ticking,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    engines: Vec<Engine>,
    running: usize,
    thread_started: bool,
    /// Whether the thread waits for a guest to run.
    is_asleep: bool,
}

/// While it lives, the epoch goes up.
pub(crate) struct Running(Option<Arc<Ticker>>);

impl Ticker {
    pub(crate) fn new(mode: Ticking) -> Arc<Self> {
        Arc::new(Self { mode, state: Mutex::default(), wake: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain counters and a list: whole after any panic.
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

    /// Says that a guest runs, with or without a deadline, until the answer is dropped.
    pub(crate) fn running(self: &Arc<Self>, deadline: Deadline) -> Running {
        let ticks = match self.mode {
            Ticking::Always => true,
            Ticking::ForDeadlines => deadline == Deadline::Set,
            Ticking::Manual => false,
        };
        if !ticks {
            return Running(None);
        }
        let mut state = self.state();
        state.running += 1;
        if !state.thread_started {
            let ticker = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("epoch".into());
            // Without a thread (the process is at its limit) guests run on, only not shared out in slices;
            // the next one tries again.
            state.thread_started = thread.spawn(move || run(&ticker)).is_ok();
        }
        // Waking costs a call of the system, a third of a call of a small guest.
        let was_asleep = std::mem::replace(&mut state.is_asleep, false);
        drop(state);
        if was_asleep {
            self.wake.notify_one();
        }
        Running(Some(Arc::clone(self)))
    }
}

/// Whether a call has a time limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    Set,
    None,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(ticker) = &self.0 {
            ticker.state().running -= 1;
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
        let mut state = ticker.state();
        if state.running == 0 {
            // Bounded, because the last owner's drop can't wake a thread that holds an owner itself.
            let idle = std::time::Duration::from_secs(1);
            state.is_asleep = true;
            state = ticker.wake.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner).0;
            state.is_asleep = false;
        }
        let ticks = state.running > 0;
        drop(state);
        if ticks {
            std::thread::sleep(TICK);
            ticker.tick();
        }
    }
}
