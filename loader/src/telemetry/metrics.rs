//! Counters: of each entry's calls, and of the loader as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use registry_schema::{EntryId, ErrorKind};

use crate::config::METRICS_ENTRIES_MAX;

/// Upper bounds of the histogram's buckets. Calls of a few microseconds and of a minute both occur.
pub(super) const BUCKETS: [Duration; 14] = [
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Calls of one entry, or of all beyond [`METRICS_ENTRIES_MAX`].
#[derive(Default)]
pub(crate) struct Counts {
    running: AtomicU64,
    returned: AtomicU64,
    /// By [`ErrorKind::ALL`].
    failed: [AtomicU64; ErrorKind::ALL.len()],
    /// Calls that took as long as [`BUCKETS`] says, and longer than the bucket before; the last takes the rest.
    took: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Counts {
    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, failed: Option<ErrorKind>, took: Duration) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        let failed = failed.and_then(|kind| ErrorKind::ALL.iter().position(|known| *known == kind));
        let outcome = failed.map_or(&self.returned, |index| &self.failed[index]);
        outcome.fetch_add(1, Ordering::Relaxed);
        let bucket = BUCKETS.iter().position(|bound| took <= *bound).unwrap_or(BUCKETS.len());
        self.took[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Calls under way.
    pub(super) fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Calls that ended, by outcome; those that never occurred are left out.
    pub(super) fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let failed = ErrorKind::ALL.iter().zip(&self.failed).map(|(kind, count)| (kind.as_str(), count));
        let all = std::iter::once(("ok", &self.returned)).chain(failed);
        let all = all.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Calls in each bucket, the last one of the rest, and the time of all together in seconds.
    pub(super) fn took(&self) -> ([u64; BUCKETS.len() + 1], f64) {
        let took = std::array::from_fn(|index| self.took[index].load(Ordering::Relaxed));
        (took, self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9)
    }
}

/// Counters of a loader.
pub(crate) struct Metrics {
    pub(super) started: SystemTime,
    /// Time that opening the bundle took.
    pub(super) boot: Duration,
    shared: Arc<Shared>,
}

/// What the loaders of one bundle after the other count in.
#[derive(Default)]
pub(super) struct Shared {
    entries: Mutex<BTreeMap<Arc<EntryId>, Arc<Counts>>>,
    others: Arc<Counts>,
}

impl Metrics {
    pub(super) fn new(boot: Duration, shared: Arc<Shared>) -> Self {
        Self { started: SystemTime::now(), boot, shared }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn by_entry(&self) -> MutexGuard<'_, BTreeMap<Arc<EntryId>, Arc<Counts>>> {
        // Each change is one insertion: whole after any panic.
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of `id`.
    pub(super) fn counts(&self, id: &Arc<EntryId>) -> Arc<Counts> {
        let mut entries = self.by_entry();
        if let Some(counts) = entries.get(id) {
            return Arc::clone(counts);
        }
        if entries.len() >= METRICS_ENTRIES_MAX {
            return Arc::clone(&self.shared.others);
        }
        Arc::clone(entries.entry(Arc::clone(id)).or_default())
    }

    /// Every entry that was called, sorted, and the rest under a name that no entry has.
    pub(super) fn entries(&self) -> Vec<(String, Arc<Counts>)> {
        let entries = self.by_entry();
        let named = entries.iter().map(|(id, counts)| (id.to_string(), Arc::clone(counts)));
        let mut all: Vec<_> = named.collect();
        if entries.len() >= METRICS_ENTRIES_MAX {
            all.push(("(others)".to_owned(), Arc::clone(&self.shared.others)));
        }
        all
    }
}
