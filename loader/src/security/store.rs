//! `store.memory`: values that live as long as the loader, each until it expires (`en/system/store.md`).
//!
//! What expired is never seen again. It is removed when another value is stored, so that it can neither pile
//! up nor take the place of one that counts; `cleanup_interval` has nothing left to do.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_schema::ErrorKind;
use tokio::time::Instant;

use crate::error::Error;

/// A key: a digest, so that how long a search takes says nothing of what is kept.
pub(super) type Key = [u8; 32];

/// A store.
#[derive(Debug)]
pub(super) struct MemoryStore<V> {
    values_max: usize,
    values: Mutex<Values<V>>,
}

#[derive(Debug)]
struct Values<V> {
    by_key: HashMap<Key, (Instant, Arc<V>)>,
    by_expiry: BTreeSet<(Instant, Key)>,
}

/// What came of storing a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It is stored.
    Done,
    /// The key has a value, which was kept.
    Taken,
}

impl<V> MemoryStore<V> {
    /// A store of at most `values_max` values.
    pub(super) fn new(values_max: usize) -> Self {
        let values = Values { by_key: HashMap::new(), by_expiry: BTreeSet::new() };
        Self { values_max, values: Mutex::new(values) }
    }

    fn lock(&self) -> MutexGuard<'_, Values<V>> {
        // A value that only one of the two maps has is as good as none.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores `value` until `expiry`, unless the key is taken.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable, when the store is full.
    pub(super) fn insert(&self, key: Key, value: V, expiry: Instant) -> Result<Inserted, Error> {
        let mut values = self.lock();
        let now = Instant::now();
        while let Some(first) = values.by_expiry.first().filter(|(expiry, _)| *expiry <= now).copied() {
            values.by_expiry.remove(&first);
            values.by_key.remove(&first.1);
        }
        if values.by_key.contains_key(&key) {
            return Ok(Inserted::Taken);
        }
        if values.by_key.len() >= self.values_max {
            let message = format!("the store is full: it holds {} values", self.values_max);
            return Err(Error::new(ErrorKind::Unavailable, message).retryable());
        }
        values.by_expiry.insert((expiry, key));
        values.by_key.insert(key, (expiry, Arc::new(value)));
        Ok(Inserted::Done)
    }

    /// The value of `key`, unless it expired.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<V>> {
        let values = self.lock();
        let (expiry, value) = values.by_key.get(key)?;
        (Instant::now() < *expiry).then(|| Arc::clone(value))
    }

    /// Removes `key`; whether it had a value.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let mut values = self.lock();
        let Some((expiry, _)) = values.by_key.remove(key) else { return false };
        values.by_expiry.remove(&(expiry, *key));
        Instant::now() < expiry
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(number: u8) -> Key {
        [number; 32]
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_store_refuses_until_something_expires() {
        let store = MemoryStore::new(2);
        let now = Instant::now();
        assert_eq!(store.insert(key(1), "a", now + SECOND).unwrap(), Inserted::Done);
        assert_eq!(store.insert(key(2), "b", now + 9 * SECOND).unwrap(), Inserted::Done);
        assert_eq!(store.insert(key(2), "c", now + SECOND).unwrap(), Inserted::Taken);
        let error = store.insert(key(3), "c", now + SECOND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable());
        tokio::time::advance(SECOND).await;
        assert_eq!(store.get(&key(1)), None);
        assert_eq!(store.insert(key(3), "c", now + 9 * SECOND).unwrap(), Inserted::Done);
        assert_eq!(store.lock().by_key.len(), 2);
        assert_eq!(store.get(&key(2)).as_deref(), Some(&"b"));
        assert!(store.remove(&key(2)));
        assert!(!store.remove(&key(2)));
        let values = store.lock();
        assert_eq!((values.by_key.len(), values.by_expiry.len()), (1, 1));
    }
}
