//! Permits behind a fair queue: whoever waits longest comes first, at most until a given time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::POOL_WAITING_MAX;

/// Permits and the calls that wait for one.
pub(super) struct Gate {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Why no permit was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The time to wait is over.
    Late,
    /// [`POOL_WAITING_MAX`] calls wait already.
    Crowded,
}

/// Counts a call that waits for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(super) fn new(permits: usize) -> Self {
        let permits = permits.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(permits)), waiting: AtomicUsize::new(0) }
    }

    /// A permit, unless somebody holds the last one or waits for it.
    pub(super) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Takes a permit as [`Self::try_enter`] does, to be given back by [`Self::leave`]; whether there was one. For
    /// those who hold the gate anyway, and so need no handle of it per permit.
    pub(super) fn try_take(&self) -> bool {
        self.free.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Gives back a permit that was taken.
    pub(super) fn leave(&self) {
        self.free.add_permits(1);
    }

    /// Waits for a permit until `until`; after `delay` of waiting, `late` is called once.
    pub(super) async fn enter(
        &self,
        until: Instant,
        delay: Duration,
        late: impl FnOnce(),
    ) -> Result<OwnedSemaphorePermit, Refused> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= POOL_WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Crowded);
        }
        let _waiting = Waiting(&self.waiting);
        let mut permit = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        let first = until.min(Instant::now() + delay);
        let entered = match tokio::time::timeout_at(first, &mut permit).await {
            Ok(entered) => entered,
            Err(_) if first == until => return Err(Refused::Late),
            Err(_) => {
                late();
                tokio::time::timeout_at(until, permit).await.map_err(|_| Refused::Late)?
            }
        };
        Ok(entered.expect("nothing closes the semaphore"))
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Permits that nobody holds.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Adds a permit.
    pub(super) fn grow(&self) {
        self.free.add_permits(1);
    }

    /// Takes a permit away that nobody holds; whether there was one.
    pub(super) fn shrink(&self) -> bool {
        self.free.forget_permits(1) == 1
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_may_and_one_more_fails_at_once() {
        let gate = Gate::new(1);
        let held = gate.try_enter().unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> =
            (0..POOL_WAITING_MAX).map(|_| Box::pin(gate.enter(until, Duration::ZERO, || {}))).collect();
        assert!(waiting.iter_mut().all(|call| call.as_mut().poll(&mut context).is_pending()));
        assert_eq!(gate.waiting(), POOL_WAITING_MAX);
        let refused = gate.enter(until, Duration::ZERO, || {}).await;
        assert_eq!(refused.map(|_| ()), Err(Refused::Crowded));
        waiting.truncate(1);
        assert_eq!(gate.waiting(), 1);
        drop(held);
        assert!(waiting.remove(0).await.is_ok());
        assert_eq!((gate.waiting(), gate.free()), (0, 1));
    }
}
