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

/// A span that nobody collects.
#[cfg(feature = "lua")]
pub(crate) struct Span;

#[cfg(feature = "lua")]
impl Telemetry {
    pub(crate) fn process(&self, _: &EntryId, _: &mut TraceContext) -> Span {
        Span
    }
}

#[cfg(feature = "lua")]
impl Span {
    pub(crate) fn end(self, _: Option<&Error>) {}
}

/// A request that is answered.
#[cfg(all(feature = "http", feature = "lua"))]
pub(crate) struct Answering;

#[cfg(all(feature = "http", feature = "lua"))]
impl crate::loader::Loader {
    pub(crate) fn begin_request(
        &self,
        _: &http::request::Parts,
        _: &str,
        _: &mut crate::context::Context,
    ) -> Answering {
        Answering
    }
}

#[cfg(all(feature = "http", feature = "lua"))]
impl Answering {
    pub(crate) fn answered(&mut self, _: http::StatusCode) {}
}

#[cfg(feature = "http")]
impl crate::loader::Inner {
    pub(crate) fn carry_trace(&self, _: &mut http::HeaderMap) {}
}

impl Call {
    pub(crate) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.scope(TraceContext, future)
    }

    pub(crate) fn end<T>(self, _: &Result<T, Error>) {}

    #[cfg(feature = "lua")]
    pub(crate) fn end_at<T>(self, _: &Result<T, Error>, _: tokio::time::Instant) {}
}
