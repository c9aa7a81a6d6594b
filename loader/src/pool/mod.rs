//! How many calls run at once, and how others wait their turn.
//!
//! Each function has a [`Pool`], which counts slots: calls that run. A call beyond waits in the order of
//! arrival, until its deadline or [`POOL_WAIT_MAX`], at most [`POOL_WAIT_NESTED_MAX`] when its caller holds
//! a slot itself: so callers never wait for each other in a circle for long. Then it fails with
//! `UNAVAILABLE`, which is worth repeating.
//!
//! A slot of a WebAssembly function needs a place among the instances of the whole process as well
//! ([`bound::Bound`]), taken after the slot, so that calls which wait for a busy function hold no place that
//! others could use. Slots hold no instance between calls; where an entry asks for it, instances lie in a
//! [`kept::Shelf`] meanwhile. Lua functions have slots alone.

pub(crate) mod bound;
mod gate;
pub(crate) mod kept;
mod shape;
pub(crate) mod workers;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_schema::{EntryId, ErrorKind};
use tokio::time::Instant;

use crate::config::{POOL_GROW_DELAY, POOL_IDLE_MAX, POOL_WAIT_MAX, POOL_WAIT_NESTED_MAX, POOL_WAITING_MAX};
use crate::context::Context;
use crate::error::Error;
use gate::{Gate, Refused};

pub use shape::PoolKind;
pub(crate) use shape::{Reader, Shape, slots_max};
use workers::Assigned;

tokio::task_local! {
    /// Set while a call runs that holds a slot.
    static HOLDING: ();
}

/// Runs a call that takes a slot: what it calls in turn is nested, whatever its context says.
pub(crate) fn holding<F: Future>(call: F) -> impl Future<Output = F::Output> {
    HOLDING.scope((), call)
}

/// How long a call waits for a slot and for a place together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    deadline: Option<Instant>,
    is_nested: bool,
    /// Known once it waits: most calls never do, and a look at the clock is a part of what they cost.
    until: Option<Instant>,
}

impl Patience {
    /// That of a call with `context`, made by the current task.
    pub(crate) fn of(context: &Context) -> Self {
        let is_nested = context.depth() > 0 || HOLDING.try_with(|()| ()).is_ok();
        Self { deadline: context.deadline(), is_nested, until: None }
    }

    /// The end of its waits, of which the first begins now.
    fn until(&mut self) -> Instant {
        let Self { deadline, is_nested, until } = self;
        *until.get_or_insert_with(|| {
            let now = Instant::now();
            let until = deadline.unwrap_or(now + POOL_WAIT_MAX);
            if *is_nested { until.min(now + POOL_WAIT_NESTED_MAX) } else { until }
        })
    }
}

/// The slots of one function.
pub(crate) struct Pool {
    id: Arc<EntryId>,
    shape: Shape,
    gate: Gate,
    slots: Mutex<Slots>,
}

/// The slots that there are.
#[derive(Default)]
struct Slots {
    /// Those that calls hold.
    busy: usize,
    /// Since when each of the others is free, the longest first.
    idle: VecDeque<Instant>,
}

/// A pool at one moment, as metrics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// The function.
    pub id: EntryId,
    /// How its slots come and go.
    pub kind: PoolKind,
    /// Slots that there are, busy ones included.
    pub size: usize,
    /// Most slots; `None` without a limit of its own.
    pub size_max: Option<usize>,
    /// Slots that calls hold.
    pub busy: usize,
    /// Calls in its queue.
    pub queued: usize,
    /// Calls that wait for a place in the full queue.
    pub overflow: usize,
}

/// A slot that a call holds; free again when it is dropped.
#[must_use]
pub(crate) struct Slot {
    pool: Arc<Pool>,
    /// Slots that no call held when it was taken, and that may hold an idle instance each.
    pub(crate) free: usize,
    /// The thread that the call has, where those of its function have some of their own.
    pub(crate) worker: Option<Assigned>,
    /// When its call ended, if it did.
    ended: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(id: Arc<EntryId>, shape: Shape) -> Arc<Self> {
        let slots_max = shape.slots_max.unwrap_or(usize::MAX);
        let permits = match shape.kind {
            PoolKind::Inline | PoolKind::Lazy | PoolKind::Static => slots_max,
            PoolKind::Adaptive => 1,
        };
        let idle = VecDeque::from(vec![Instant::now(); shape.reserved()]);
        let slots = Mutex::new(Slots { busy: 0, idle });
        Arc::new(Self { id, shape, gate: Gate::new(permits), slots })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// A slot, after those that wait already.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable, when none got free in time.
    pub(crate) async fn slot(self: &Arc<Self>, patience: &mut Patience) -> Result<Slot, Error> {
        if self.gate.try_take() {
            return Ok(self.occupied());
        }
        // Boxed: few calls wait, and all would have room for it.
        let entered = Box::pin(self.gate.enter(patience.until(), POOL_GROW_DELAY, || self.grow())).await;
        entered.map_err(|refused| self.full(refused))?.forget();
        Ok(self.occupied())
    }

    /// The slot of a call that has taken a permit.
    fn occupied(self: &Arc<Self>) -> Slot {
        let mut slots = self.slots();
        slots.busy += 1;
        // The one that was used last: the others may go.
        slots.idle.pop_back();
        let free = self.shape.slots_max.unwrap_or(usize::MAX).saturating_sub(slots.busy);
        drop(slots);
        Slot { pool: Arc::clone(self), free, worker: None, ended: None }
    }

    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let waiting = self.gate.waiting();
        let mut slots = self.slots();
        self.let_go(&mut slots, Instant::now());
        PoolSnapshot {
            id: (*self.id).clone(),
            kind: self.shape.kind,
            size: slots.busy + slots.idle.len(),
            size_max: self.shape.slots_max,
            busy: slots.busy,
            queued: waiting.min(self.shape.buffer),
            overflow: waiting.saturating_sub(self.shape.buffer),
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Plain counters: whole after any panic.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has waited for long: one more slot, if this pool grows.
    fn grow(&self) {
        if self.shape.kind != PoolKind::Adaptive {
            return;
        }
        let mut slots = self.slots();
        if Some(slots.busy + slots.idle.len()) < self.shape.slots_max {
            slots.idle.push_back(Instant::now());
            self.gate.grow();
        }
    }

    /// Lets slots go that were idle for long.
    fn let_go(&self, slots: &mut Slots, now: Instant) {
        let is_long = |since: &Instant| now.saturating_duration_since(*since) >= POOL_IDLE_MAX;
        while slots.idle.front().is_some_and(is_long) {
            match self.shape.kind {
                PoolKind::Inline | PoolKind::Lazy => {}
                PoolKind::Static => return,
                // The last one stays, and one that a call just takes.
                PoolKind::Adaptive if slots.busy + slots.idle.len() == 1 || !self.gate.shrink() => return,
                PoolKind::Adaptive => {}
            }
            slots.idle.pop_front();
        }
    }

    fn full(&self, refused: Refused) -> Error {
        let id = &self.id;
        let message = match refused {
            Refused::Crowded => format!("`{id}` has no free slot, and {POOL_WAITING_MAX} calls wait already"),
            Refused::Late => {
                let PoolSnapshot { size, queued, overflow, .. } = self.snapshot();
                format!("`{id}` had no free slot in time: {size} are busy, {} calls wait", queued + overflow)
            }
        };
        Error::new(ErrorKind::Unavailable, message).retryable()
    }
}

impl Slot {
    /// Notes that its call ended at `now`.
    pub(crate) fn end(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// When its call ended, if it did.
    #[cfg(feature = "lua")]
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.ended
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Whoever gets the slot finds the thread free.
        self.worker = None;
        let now = self.ended.unwrap_or_else(Instant::now);
        let mut slots = self.pool.slots();
        slots.busy -= 1;
        if self.pool.shape.kind != PoolKind::Inline {
            slots.idle.push_back(now);
        }
        self.pool.let_go(&mut slots, now);
        drop(slots);
        // Now that the next one finds its slot.
        self.pool.gate.leave();
    }
}
