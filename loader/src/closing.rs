//! How far a loader is with its end: what is refused while it shuts down.

use std::sync::atomic::{AtomicU8, Ordering};

use registry_schema::ErrorKind;

use crate::error::Error;

/// What a loader still takes.
#[derive(Debug, Default)]
pub(crate) struct Closing(AtomicU8);

const OPEN: u8 = 0;
const DRAINING: u8 = 1;
const CLOSED: u8 = 2;

impl Closing {
    /// From now on nothing is taken from outside. What runs goes on, and may call.
    pub(crate) fn drain(&self) {
        self.0.fetch_max(DRAINING, Ordering::Relaxed);
    }

    /// From now on nothing is taken at all.
    pub(crate) fn close(&self) {
        self.0.fetch_max(CLOSED, Ordering::Relaxed);
    }

    /// Refuses a call of `id` by the embedding program, unless the loader is open.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable.
    pub(crate) fn check_outer(&self, id: &impl std::fmt::Display) -> Result<(), Error> {
        self.check(OPEN, id)
    }

    /// Refuses a call of `id` by code that runs, if the loader is closed.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable.
    #[cfg(feature = "lua")]
    pub(crate) fn check_nested(&self, id: &impl std::fmt::Display) -> Result<(), Error> {
        self.check(DRAINING, id)
    }

    fn check(&self, latest: u8, id: &impl std::fmt::Display) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) <= latest { Ok(()) } else { Err(refused(id)) }
    }
}

/// The error of a run of `id` that the end of the loader, or of its runtime, leaves no room for: retryable,
/// since another loader may serve it.
pub(crate) fn refused(id: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, format!("`{id}` can't run: the loader is shutting down")).retryable()
}
