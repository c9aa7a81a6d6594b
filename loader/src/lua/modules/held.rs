//! Memory of ours that Lua values of a state hold, or operations that it waits for: Lua's own limit does not
//! see it, and the collector does not hurry for it. It counts towards the memory of all guests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use mlua::Lua;
use registry_schema::ErrorKind;

use crate::budget::{self, Budget};
use crate::config::LUA_HELD_BYTES_MAX;
use crate::error::Error;
use crate::lua::host::Host;

/// How much a state holds, in bytes. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::lua) struct Held(Arc<Amount>);

#[derive(Default)]
struct Amount {
    bytes: AtomicUsize,
    /// The memory of all guests, as the first invocation knows it.
    budget: OnceLock<Arc<Budget>>,
}

/// A part of what a state holds, until it is dropped.
pub(in crate::lua) struct Share {
    held: Held,
    bytes: usize,
    _of_all: Option<budget::Share>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// That of the state.
    pub(in crate::lua) fn of(lua: &Lua) -> Self {
        let own = lua.app_data_ref::<Self>().map(|held| held.clone());
        let held = own.unwrap_or_else(|| {
            let held = Self::default();
            lua.set_app_data(held.clone());
            held
        });
        if held.0.budget.get().is_none()
            && let Some(host) = lua.app_data_ref::<Host>()
            && let Ok(budget) = host.with(|current| Arc::clone(&current.inner.budget))
        {
            let _ = held.0.budget.set(budget);
        }
        held
    }

    /// What is held now, in bytes.
    pub(in crate::lua) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Adds `bytes`.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is no room at the moment.
    pub(in crate::lua) fn take(&self, bytes: usize) -> Result<Share, Error> {
        let mut of_all = self.0.budget.get().map(Budget::share);
        if let Some(share) = &mut of_all
            && !share.grow(bytes as u64)
        {
            let message = format!("limit `wasm.total.max_memory_bytes` of {} was reached", share.bytes_max());
            return Err(Error::new(ErrorKind::Unavailable, message).retryable());
        }
        let share = Share { held: self.clone(), bytes, _of_all: of_all };
        let before = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= LUA_HELD_BYTES_MAX {
            return Ok(share);
        }
        let message = format!(
            "errors, loggers, files and calls of this invocation would hold more than {LUA_HELD_BYTES_MAX} bytes"
        );
        Err(Error::new(ErrorKind::Unavailable, message).retryable())
    }
}

/// Adds `bytes` to what the state holds, if need be after it let go of its garbage.
///
/// # Errors
/// `UNAVAILABLE` when there is no room at the moment.
pub(in crate::lua) fn hold(lua: &Lua, bytes: usize) -> Result<Share, Error> {
    let held = Held::of(lua);
    // A collection that fails leaves the room that there is.
    held.take(bytes).or_else(|_| {
        let _ = lua.gc_collect();
        held.take(bytes)
    })
}

/// [`hold`], for values that can't do without.
///
/// # Errors
/// One of memory when there is no room.
pub(in crate::lua) fn hold_or_raise(lua: &Lua, bytes: usize) -> mlua::Result<Share> {
    hold(lua, bytes).map_err(|error| mlua::Error::MemoryError(error.message().to_owned()))
}
