//! Connections that wait for the next request of the same entry to the same server.
//!
//! Whoever takes one has its address checked by its own rules first: another actor, or another scope, gains
//! nothing by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Key, Vec<Idle>>>);

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_good(&self) -> bool {
        self.connection.is_open() && self.since.elapsed() < EGRESS_IDLE
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Idle>>> {
        // Connections are put in and taken out whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that `rules` allow, the youngest first.
    pub(super) fn take(&self, key: &Key, rules: &Rules) -> Option<Connection> {
        let mut all = self.lock();
        let idle = all.get_mut(key)?;
        idle.retain(Idle::is_good);
        let allowed = |idle: &Idle| {
            let peer = idle.connection.peer;
            peer.is_some_and(|peer| rules.address(Door::Http, &[&key.host], peer).is_ok())
        };
        let at = idle.iter().rposition(allowed)?;
        if let Some(shared) = idle[at].connection.shared() {
            idle[at].since = Instant::now();
            return Some(shared);
        }
        Some(idle.remove(at).connection)
    }

    /// Keeps `connection` for the next request.
    pub(super) fn give(&self, key: Key, connection: Connection) {
        let mut all = self.lock();
        let count: usize = all.values().map(Vec::len).sum();
        if count >= EGRESS_IDLE_MAX {
            all.retain(|_, idle| {
                idle.retain(Idle::is_good);
                !idle.is_empty()
            });
            if all.values().map(Vec::len).sum::<usize>() >= EGRESS_IDLE_MAX {
                return;
            }
        }
        let idle = all.entry(key).or_default();
        if idle.len() < EGRESS_IDLE_PER_SERVER_MAX && connection.is_open() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}
