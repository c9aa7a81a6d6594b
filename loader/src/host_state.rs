//! What a store holds: the state of one call.

use std::sync::Arc;
#[cfg(any(feature = "lua", feature = "wasi"))]
use std::sync::Weak;

use registry_schema::EntryId;
use tokio::time::Instant;

use crate::call_id::CallId;
use crate::context::Context;
use crate::limits::Limiter;
#[cfg(any(feature = "lua", feature = "wasi"))]
use crate::loader::Inner;

/// The state of one call, which host functions see as `store.data()`.
pub struct HostState {
    /// Held by the call; an instance that is kept between calls does not hold its loader.
    #[cfg(any(feature = "lua", feature = "wasi"))]
    pub(crate) inner: Weak<Inner>,
    pub(crate) entry: Arc<EntryId>,
    pub(crate) call: CallId,
    pub(crate) limiter: Limiter,
    /// When the entry's own limit ends the call.
    pub(crate) own_deadline: Option<Instant>,
    pub(crate) context: Context,
    #[cfg(feature = "wasi")]
    pub(crate) wasi: crate::hosts::wasi::WasiState,
}

impl HostState {
    /// Makes it the state of another call of the same actor and scope, by the same instance.
    pub(crate) fn next_call(&mut self, context: Context) {
        self.call = CallId::current().unwrap_or_else(CallId::next);
        self.context = context;
        self.limiter.begin();
        #[cfg(feature = "wasi")]
        self.wasi.next_call(self.call);
    }

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
