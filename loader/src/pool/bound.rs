//! The bound on instances of the whole process: of both engines and all functions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use registry_schema::{EntryId, ErrorKind};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Patience;
use super::gate::{Gate, Refused};
use crate::config::{POOL_GROW_DELAY, POOL_WAITING_MAX};
use crate::error::Error;

/// Instances that are kept for the next call, which may be given up for others.
pub(crate) trait Kept: Send + Sync {
    /// Since when the one that was kept first lies idle.
    fn oldest(&self) -> Option<Instant>;

    /// Gives that one up.
    fn give_up(&self);
}

/// Counts the instances that there are.
pub(crate) struct Bound {
    places_max: usize,
    /// What its number comes from, as messages say it.
    limit: &'static str,
    gate: Gate,
    made: AtomicU64,
    kept: Mutex<Vec<Weak<dyn Kept>>>,
}

/// The right to have one instance. Drop it after the instance.
#[must_use]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The instances of a process at one moment, as metrics show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstancesSnapshot {
    /// Those that there are, idle ones that are kept included.
    pub live: usize,
    /// Most that there may be at once.
    pub max: usize,
    /// Calls that wait for one to go.
    pub waiting: usize,
    /// Those that were made so far.
    pub made: u64,
}

impl Bound {
    pub(crate) fn new(places_max: usize, limit: &'static str) -> Self {
        Self {
            places_max,
            limit,
            gate: Gate::new(places_max),
            made: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// Makes the instances of `kept` go when none is left for a call.
    pub(crate) fn add(&self, kept: Weak<dyn Kept>) {
        let mut all = self.kept();
        // Those of a bundle that is gone.
        all.retain(|kept| kept.strong_count() > 0);
        all.push(kept);
    }

    /// A place for one instance of `id`, after those that wait already.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable, when none got free in time.
    pub(crate) async fn place(&self, id: &EntryId, patience: &mut Patience) -> Result<Place, Error> {
        let permit = match self.gate.try_enter() {
            Some(permit) => permit,
            None => {
                self.give_up_oldest();
                // Boxed: few calls wait, and all would have room for it.
                let entered = Box::pin(self.gate.enter(patience.until(), POOL_GROW_DELAY, || {})).await;
                entered.map_err(|refused| self.full(id, refused))?
            }
        };
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Place { _permit: permit })
    }

    /// Whether calls wait for a place: nothing should be kept then.
    pub(crate) fn is_wanted(&self) -> bool {
        self.gate.waiting() > 0
    }

    pub(crate) fn snapshot(&self) -> InstancesSnapshot {
        let live = self.places_max.saturating_sub(self.gate.free());
        let made = self.made.load(Ordering::Relaxed);
        InstancesSnapshot { live, max: self.places_max, waiting: self.gate.waiting(), made }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Weak<dyn Kept>>> {
        // A list of handles: whole after any panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up_oldest(&self) {
        let shelves: Vec<Arc<dyn Kept>> = self.kept().iter().filter_map(Weak::upgrade).collect();
        let oldest = shelves.iter().filter_map(|kept| Some((kept.oldest()?, kept)));
        if let Some((_, kept)) = oldest.min_by_key(|(since, _)| *since) {
            kept.give_up();
        }
    }

    fn full(&self, id: &EntryId, refused: Refused) -> Error {
        let (max, limit) = (self.places_max, self.limit);
        let message = match refused {
            Refused::Crowded => {
                format!(
                    "`{id}` can't run: {max} instances, the most by {limit}, are in use, and {POOL_WAITING_MAX} calls \
                     wait already"
                )
            }
            Refused::Late => {
                format!("`{id}` could not run in time: {max} instances, the most by {limit}, are in use")
            }
        };
        Error::new(ErrorKind::Unavailable, message).retryable()
    }
}
