//! Memory of ours that Lua values of a state hold, or operations that it waits for: Lua's own limit does not
//! see it, and the collector does not hurry for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::Lua;
use registry_schema::ErrorKind;

use crate::config::LUA_HELD_BYTES_MAX;
use crate::error::Error;

/// How much a state holds, in bytes. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::lua) struct Held(Arc<AtomicUsize>);

/// A part of what a state holds, until it is dropped.
pub(in crate::lua) struct Share {
    held: Held,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// That of the state.
    pub(in crate::lua) fn of(lua: &Lua) -> Self {
        if let Some(held) = lua.app_data_ref::<Self>() {
            return held.clone();
        }
        let held = Self::default();
        lua.set_app_data(held.clone());
        held
    }

    /// What is held now, in bytes.
    pub(in crate::lua) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `bytes`.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is no room at the moment.
    pub(in crate::lua) fn take(&self, bytes: usize) -> Result<Share, Error> {
        let share = Share { held: self.clone(), bytes };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
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
