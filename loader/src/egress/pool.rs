//! Connections that wait for the next request of the same entry to the same server.
//!
//! Whoever takes one has its address checked by its own rules first: another actor, or another scope, gains
//! nothing by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use registry_schema::EntryId;
use tokio::time::Instant;

use super::connection::Connection;
use super::rules::{Door, Rules};
use super::target::{Encryption, Target};
use crate::config::{EGRESS_IDLE, EGRESS_IDLE_MAX, EGRESS_IDLE_PER_SERVER_MAX};

/// Whose connection it is, and to what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    entry: Arc<EntryId>,
    encryption: Encryption,
    host: String,
    port: u16,
}

impl Key {
    pub(super) fn new(entry: &Arc<EntryId>, target: &Target) -> Self {
        Self {
            entry: Arc::clone(entry),
            encryption: target.encryption,
            host: target.host.clone(),
            port: target.port,
        }
    }
}

/// Idle connections, and shared ones.
pub(super) struct Pool {
    idle_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: HashMap<Key, Vec<Idle>>,
    /// How many wait for a place among the connections of an entry.
    waiting: HashMap<Arc<EntryId>, usize>,
    /// Whether a task closes what was idle for too long.
    is_swept: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_good(&self) -> bool {
        self.connection.is_open() && self.since.elapsed() < EGRESS_IDLE
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_room(EGRESS_IDLE_MAX)
    }
}

impl State {
    fn count(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }

    /// Lets go of what is closed or was idle for too long.
    fn prune(&mut self) {
        self.idle.retain(|_, idle| {
            idle.retain(Idle::is_good);
            !idle.is_empty()
        });
    }
}

impl Pool {
    /// One that keeps `idle_max` connections.
    pub(super) fn with_room(idle_max: usize) -> Self {
        Self { idle_max, state: Mutex::default() }
    }

    /// Connections that it keeps.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.idle_max
    }

    /// Entries and servers that it knows.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.lock().idle.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Connections are put in and taken out whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that `rules` allow, the youngest first.
    pub(super) fn take(&self, key: &Key, rules: &Rules) -> Option<Connection> {
        let mut state = self.lock();
        let idle = state.idle.get_mut(key)?;
        idle.retain(Idle::is_good);
        let taken = take_from(idle, &key.host, rules);
        if idle.is_empty() {
            state.idle.remove(key);
        }
        taken
    }

    /// Lets go of idle connections of `entry`, which has no place for a new one, and keeps no further ones of it for as
    /// long as what is returned lives.
    pub(super) fn make_way(self: &Arc<Self>, entry: &Arc<EntryId>) -> Waiting {
        let mut state = self.lock();
        state.idle.retain(|key, _| key.entry != *entry);
        *state.waiting.entry(Arc::clone(entry)).or_default() += 1;
        Waiting { pool: Arc::clone(self), entry: Arc::clone(entry) }
    }

    /// Keeps `connection` for the next request.
    pub(super) fn give(self: &Arc<Self>, key: Key, connection: Connection) {
        if !connection.is_open() {
            return;
        }
        let mut state = self.lock();
        if state.waiting.contains_key(&key.entry) {
            return;
        }
        if state.count() >= self.idle_max {
            state.prune();
            if state.count() >= self.idle_max {
                return;
            }
        }
        let idle = state.idle.entry(key).or_default();
        if idle.len() < EGRESS_IDLE_PER_SERVER_MAX {
            idle.push(Idle { connection, since: Instant::now() });
        }
        if !state.is_swept {
            state.is_swept = true;
            tokio::spawn(sweep(Sweeping(Arc::downgrade(self))));
        }
    }

    /// Lets go of what was idle for too long; when the next one will have been.
    fn sweep(&self) -> Option<Instant> {
        let mut state = self.lock();
        state.prune();
        let since = state.idle.values().flatten().map(|idle| idle.since).min();
        state.is_swept = since.is_some();
        since.map(|since| since + EGRESS_IDLE)
    }
}

/// Somebody who waits for a place.
pub(super) struct Waiting {
    pool: Arc<Pool>,
    entry: Arc<EntryId>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(count) = state.waiting.get_mut(&self.entry) {
            *count -= 1;
            if *count == 0 {
                state.waiting.remove(&self.entry);
            }
        }
    }
}

/// The youngest of `idle` to `host` that `rules` allow.
fn take_from(idle: &mut Vec<Idle>, host: &str, rules: &Rules) -> Option<Connection> {
    let allowed = |idle: &Idle| {
        let peer = idle.connection.peer;
        peer.is_some_and(|peer| rules.address(Door::Http, &[host], peer).is_ok())
    };
    let at = idle.iter().rposition(allowed)?;
    if let Some(shared) = idle[at].connection.shared() {
        idle[at].since = Instant::now();
        return Some(shared);
    }
    Some(idle.remove(at).connection)
}

/// The task that closes idle connections of a pool. Where it ends early, with its runtime, the next one begins with
/// the next connection.
struct Sweeping(Weak<Pool>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.lock().is_swept = false;
        }
    }
}

async fn sweep(mut sweeping: Sweeping) {
    while let Some(next) = sweeping.0.upgrade().and_then(|pool| pool.sweep()) {
        tokio::time::sleep_until(next).await;
    }
    // The pool knows.
    sweeping.0 = Weak::new();
}
