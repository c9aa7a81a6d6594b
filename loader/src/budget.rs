//! Memory of all guests together: of both engines and of Lua, so that many of them can't exhaust the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::PROCESS_MEMORY_SHARE;
use crate::control_group;

/// What all guests of a loader may have.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: u64,
    used: AtomicU64,
}

/// What one guest has of it; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

/// The memory of all guests at one moment, as metrics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySnapshot {
    /// What guests have, in bytes.
    pub used: u64,
    /// Most that they may have together, in bytes.
    pub max: u64,
}

impl Budget {
    /// A budget of `bytes_max`, or of what the machine allows.
    pub(crate) fn new(bytes_max: Option<u64>) -> Arc<Self> {
        let bytes_max = bytes_max.unwrap_or_else(|| {
            let (part, whole) = PROCESS_MEMORY_SHARE;
            machine_bytes() / whole * part
        });
        Arc::new(Self { bytes_max, used: AtomicU64::new(0) })
    }

    /// A share of nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    pub(crate) fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot { used: self.used.load(Ordering::Relaxed), max: self.bytes_max }
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Share {
    /// What it is a share of.
    #[cfg(feature = "http")]
    pub(crate) fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }

    /// Most that all guests may have together, in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.budget.bytes_max
    }

    /// What it is now, in bytes.
    #[cfg(feature = "lua")]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` more; whether they were left.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Makes it `bytes`, for what is measured now and then; whether as much was left. What is given back is
    /// always given.
    #[cfg(any(feature = "http", feature = "lua"))]
    pub(crate) fn set(&mut self, bytes: u64) -> bool {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
                self.bytes = bytes;
                true
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Memory of the machine, or what the control groups of the process may have if that is less, in bytes.
fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.saturating_mul(u64::from(info.mem_unit));
    control_group::memory().map_or(machine, |group| group.max.min(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken_and_given_back() {
        let budget = Budget::new(Some(100));
        let mut one = budget.share();
        let mut other = budget.share();
        assert!(one.grow(60));
        assert!(!other.grow(41));
        assert!(other.grow(40));
        assert_eq!(budget.snapshot(), MemorySnapshot { used: 100, max: 100 });
        assert!(!one.grow(1));
        drop(other);
        assert!(one.grow(40));
        assert!(!one.grow(u64::MAX));
        drop(one);
        assert_eq!(budget.snapshot().used, 0);
    }

    #[cfg(any(feature = "http", feature = "lua"))]
    #[test]
    fn a_share_follows_what_is_measured() {
        let budget = Budget::new(Some(100));
        let mut share = budget.share();
        assert!(share.set(80));
        assert!(share.set(30));
        assert_eq!(budget.snapshot().used, 30);
        assert!(!share.set(101));
        assert_eq!(budget.snapshot().used, 30);
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(Budget::new(None).snapshot().max > 1 << 20);
    }
}
