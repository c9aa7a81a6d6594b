//! Things of which an invocation has a bounded number at once, such as timers and open files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are. Cheap to clone.
#[derive(Clone)]
pub(in crate::lua) struct Places {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one of them, until it is dropped.
pub(in crate::lua) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// Places for `max` of them.
    pub(in crate::lua) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// A place for one more, if there is one.
    pub(in crate::lua) fn take(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.taken));
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.max).then_some(place)
    }

    /// How many are taken.
    pub(in crate::lua) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
