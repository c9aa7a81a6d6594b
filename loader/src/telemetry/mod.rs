//! What is seen of calls from outside: counters (`metrics.rs`), spans (`trace.rs`), records of the log
//! (`logger.rs`).
//!
//! Every call of a function, whoever makes it, is seen once, where its future is made (`loader.rs`, `lua/mod.rs`,
//! and `lua/modules/funcs.rs` for guests on their caller's task): [`Telemetry::begin`] before it, [`Call::end`]
//! with what came of it. Without the feature `telemetry` there is `none.rs` in place of this.

mod exposition;
#[cfg(feature = "http")]
mod listener;
mod logger;
mod metrics;
#[cfg(feature = "otel")]
mod otlp;
mod propagation;
#[cfg(all(feature = "http", feature = "lua"))]
mod request;
#[cfg(feature = "http")]
mod services;
mod trace;
mod tree;

use std::future::Future;
use std::sync::Arc;

use registry_schema::{EntryId, ErrorKind};
use tokio::time::Instant;

use crate::call_id::CallId;
use crate::error::Error;
use crate::settings::Settings;

#[cfg(feature = "http")]
pub use listener::MetricsServer;
pub(crate) use logger::Logger;
use metrics::{Counts, Metrics};
#[cfg(feature = "http")]
pub(crate) use services::Served;
pub(crate) use trace::TraceContext;
use trace::Tracer;
pub use trace::{Span, SpanKind, Trace};

/// What a loader keeps of its calls.
pub(crate) struct Telemetry {
    metrics: Metrics,
    tracer: Arc<Tracer>,
}

/// An entry whose calls are seen.
pub(crate) struct Seen {
    id: Arc<EntryId>,
    counts: Arc<Counts>,
}

/// A call under way. One that is dropped before it ends was cancelled.
pub(crate) struct Call {
    id: CallId,
    trace: TraceContext,
    counts: Arc<Counts>,
    started: Instant,
    /// None once it has ended.
    span: Option<Span>,
}

impl Telemetry {
    /// That of a loader which goes on counting where `previous` stands.
    pub(crate) fn new(settings: &Settings, opened: std::time::Instant, previous: Option<&Self>) -> Self {
        let entries = previous.map(|previous| previous.metrics.shared()).unwrap_or_default();
        let metrics = Metrics::new(opened.elapsed(), entries);
        Self { metrics, tracer: Arc::new(Tracer::new(&settings.otel)) }
    }

    /// What counts the calls of `id`.
    pub(crate) fn entry(&self, id: &Arc<EntryId>) -> Seen {
        Seen { id: Arc::clone(id), counts: self.metrics.counts(id) }
    }

    /// Begins the span of a process of `id`; `trace` becomes that of what happens in it.
    #[cfg(feature = "lua")]
    pub(crate) fn process(&self, id: &EntryId, trace: &mut TraceContext) -> Span {
        self.tracer.process(trace, id)
    }

    /// Begins a call; `trace`, which its context carries, becomes that of its span.
    pub(crate) fn begin(&self, seen: &Seen, trace: &mut TraceContext) -> Call {
        let span = self.tracer.call(trace, &seen.id);
        seen.counts.begin();
        Call {
            id: CallId::next(),
            trace: trace.clone(),
            counts: Arc::clone(&seen.counts),
            started: Instant::now(),
            span: Some(span),
        }
    }
}

impl Call {
    /// `future`, in which the log knows the call.
    pub(crate) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.id.scope(self.trace.clone(), future)
    }

    /// Ends the call with what came of it.
    pub(crate) fn end<T>(self, result: &Result<T, Error>) {
        self.end_at(result, Instant::now());
    }

    /// [`Self::end`] for a call that ended at `now`, where the clock was looked at for others as well: when its guest
    /// returned, before its instance was kept or let go.
    pub(crate) fn end_at<T>(mut self, result: &Result<T, Error>, now: Instant) {
        self.ended(result.as_ref().err(), now);
    }

    fn ended(&mut self, error: Option<&Error>, now: Instant) {
        if let Some(span) = self.span.take() {
            self.counts.end(error.map(Error::kind), now.saturating_duration_since(self.started));
            span.end(error);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.span.is_some() {
            self.ended(Some(&Error::new(ErrorKind::Canceled, "its caller went away")), Instant::now());
        }
    }
}

#[cfg(all(test, feature = "lua"))]
mod tests;
