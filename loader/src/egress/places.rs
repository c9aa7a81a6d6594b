//! Connections that may be open at once: of all entries, and of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use registry_schema::EntryId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::pool::{Pool, Waiting};
use crate::config::{EGRESS_CONNECTIONS_MAX, EGRESS_CONNECTIONS_PER_ENTRY_MAX};

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) of_all: usize,
    pub(super) of_entry: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { of_all: EGRESS_CONNECTIONS_MAX, of_entry: EGRESS_CONNECTIONS_PER_ENTRY_MAX }
    }
}

/// Loaders that are in each other's place share them.
pub(super) struct Places {
    room: Room,
    all: Arc<Semaphore>,
    /// Where idle connections are kept that have a place.
    pools: Mutex<Vec<Weak<Pool>>>,
    /// Those of entries that have connections, or wait for one.
    entries: Mutex<HashMap<Arc<EntryId>, Arc<Semaphore>>>,
}

/// A connection's place.
pub(super) struct Place {
    _of_entry: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(room: Room) -> Self {
        let all = Arc::new(Semaphore::new(room.of_all));
        Self { room, all, pools: Mutex::default(), entries: Mutex::default() }
    }

    /// Lets connections in `pool` give way to new ones.
    pub(super) fn join(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of a bundle that is gone.
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// Entries that are known.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits for a place of `entry`, whose idle connections give way to it, and then for one of all.
    ///
    /// # Errors
    /// None: its semaphores are never closed.
    pub(super) async fn take(&self, entry: &Arc<EntryId>) -> Result<Place, AcquireError> {
        let own = self.of_entry(entry);
        let of_entry = match Arc::clone(&own).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _waiting = self.make_way(entry);
                own.acquire_owned().await?
            }
        };
        let _of_all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Place { _of_entry: of_entry, _of_all })
    }

    fn make_way(&self, entry: &Arc<EntryId>) -> Vec<Waiting> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        pools.iter().filter_map(Weak::upgrade).map(|pool| pool.make_way(entry)).collect()
    }

    fn of_entry(&self, entry: &Arc<EntryId>) -> Arc<Semaphore> {
        // One semaphore is put in or taken out at a time.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = entries.get(entry) {
            return Arc::clone(own);
        }
        // Places and who waits for them have a handle of their own.
        entries.retain(|_, own| Arc::strong_count(own) > 1);
        let own = Arc::new(Semaphore::new(self.room.of_entry));
        entries.insert(Arc::clone(entry), Arc::clone(&own));
        own
    }
}
