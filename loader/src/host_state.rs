//! What a store holds: the state of one call.

use registry_schema::EntryId;
use std::sync::Arc;

use crate::call_id::CallId;
use crate::context::Context;
use crate::limits::Limiter;
#[cfg(feature = "lua")]
use crate::loader::Inner;

/// The state of one call, which host functions see as `store.data()`.
pub struct HostState {
    #[cfg(feature = "lua")]
    pub(crate) inner: Arc<Inner>,
    pub(crate) entry: Arc<EntryId>,
    pub(crate) call: CallId,
    pub(crate) limiter: Limiter,
    /// When the entry's own limit ends the call.
    pub(crate) own_deadline: Option<tokio::time::Instant>,
    pub(crate) context: Context,
    #[cfg(feature = "wasi")]
    pub(crate) wasi: crate::hosts::wasi::WasiState,
}

impl HostState {
    /// The entry that is called.
    pub fn entry(&self) -> &EntryId {
        &self.entry
    }

    /// The number of the call.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// What the call carries: actor, scope, request context, deadline.
    pub fn context(&self) -> &Context {
        &self.context
    }
}
