//! In place of `mod.rs` where the feature `telemetry` is off: nothing is seen.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use registry_schema::EntryId;

use crate::call_id::CallId;
use crate::error::Error;
use crate::settings::Settings;

/// What a loader keeps of its calls.
pub(crate) struct Telemetry;

/// An entry whose calls would be seen.
pub(crate) struct Seen;

/// A call under way.
pub(crate) struct Call(CallId);

/// What a call's context carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct TraceContext;

impl Telemetry {
    pub(crate) fn new(_: &Settings, _: Instant, _: Option<&Self>) -> Self {
        Self
    }

    pub(crate) fn entry(&self, _: &Arc<EntryId>) -> Seen {
        Seen
    }

    pub(crate) fn begin(&self, _: &Seen, _: &mut TraceContext) -> Call {
        Call(CallId::next())
    }
}

impl Call {
    pub(crate) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.scope(future)
    }

    pub(crate) fn end<T>(self, _: &Result<T, Error>) {}
}
