//! What a store holds: the state of one call.

use registry_schema::EntryId;
use std::sync::Arc;

use crate::limits::Limiter;

/// The state of one call, which host functions see as `store.data()`.
pub struct HostState {
    pub(crate) entry: Arc<EntryId>,
    pub(crate) limiter: Limiter,
    /// When the call must end, if it has a limit.
    pub(crate) deadline: Option<tokio::time::Instant>,
    #[cfg(feature = "wasi")]
    pub(crate) wasi: crate::hosts::wasi::WasiState,
}

impl HostState {
    /// The entry that is called.
    pub fn entry(&self) -> &EntryId {
        &self.entry
    }
}
