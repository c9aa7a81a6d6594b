//! Spans: one per call, and one for whatever else wants one.
//!
//! A trace context travels in [`crate::Context`], so it crosses every border that a call crosses, and in
//! `traceparent` headers (<https://www.w3.org/TR/trace-context/>). Where nobody collects spans, none are
//! made: a context without a trace costs a call nothing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use registry_schema::{EntryId, ErrorKind};

use crate::config::TRACE_SPANS_MAX;
use crate::context::Context;
use crate::error::Error;
use crate::loader::Loader;
use crate::settings::Otel;

/// What a call's context carries of its trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct TraceContext(Option<Arc<Link>>);

/// A place in a trace.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) trace: [u8; 16],
    /// The span whose children the next ones are; all zeros at the root of a new trace.
    pub(super) span: [u8; 8],
    pub(super) sampled: bool,
    /// `tracestate` and `baggage` as they came.
    pub(super) state: String,
    pub(super) baggage: String,
    pub(super) collector: Option<Trace>,
}

impl TraceContext {
    pub(super) fn link(&self) -> Option<&Link> {
        self.0.as_deref()
    }

    /// Trace and span as the log shows them.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let ids = self.link().map(|link| [("trace", hex(&link.trace)), ("span", hex(&link.span))]);
        ids.into_iter().flatten()
    }

    pub(super) fn of(link: Link) -> Self {
        Self(Some(Arc::new(link)))
    }
}

/// Which side of what a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Inside of this process.
    Internal,
    /// A request that is answered.
    Server,
    /// A request that is made.
    Client,
}

/// A span that ended.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only the exporter tells all of it"))]
pub(super) struct Record {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: [u8; 8],
    pub(super) state: String,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) began: SystemTime,
    pub(super) took: Duration,
    pub(super) attributes: Vec<(&'static str, String)>,
    pub(super) failed: Option<(ErrorKind, String)>,
}

/// Collects the spans of calls that are made with it ([`crate::Context::with_trace`]): up to
/// [`TRACE_SPANS_MAX`], further ones are counted. Clones collect together.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Collected>>);

#[derive(Default)]
pub(super) struct Collected {
    pub(super) spans: Vec<Record>,
    pub(super) dropped: u64,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// A context at the root of this trace.
    pub(crate) fn context(&self) -> TraceContext {
        TraceContext::of(Link {
            trace: random(),
            span: [0; 8],
            sampled: true,
            state: String::new(),
            baggage: String::new(),
            collector: Some(self.clone()),
        })
    }

    /// The tree of nested calls that ended: name, when it began, counted from the first, how long it took,
    /// and the error that ended it. Empty when there was none.
    pub fn tree(&self) -> String {
        super::tree::render(&self.collected())
    }

    fn collected(&self) -> std::sync::MutexGuard<'_, Collected> {
        // Each change is one push: whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) {
        let mut collected = self.collected();
        if collected.spans.len() < TRACE_SPANS_MAX {
            collected.spans.push(record);
        } else {
            collected.dropped += 1;
        }
    }
}

/// Makes spans, and takes them when they end.
pub(crate) struct Tracer {
    /// Part of new traces that is kept; none when nothing is exported.
    sampled: Option<f64>,
    calls: bool,
    #[cfg(feature = "lua")]
    processes: bool,
    dropped: AtomicU64,
    #[cfg(feature = "otel")]
    pub(super) queue: super::otlp::Queue,
}

impl Tracer {
    pub(super) fn new(otel: &Otel) -> Self {
        let exports = cfg!(feature = "otel") && otel.enabled && otel.traces_enabled;
        Self {
            sampled: exports.then_some(otel.sample_rate),
            calls: otel.interceptor_enabled,
            #[cfg(feature = "lua")]
            processes: otel.process.enabled && otel.process.trace_lifecycle,
            dropped: AtomicU64::new(0),
            #[cfg(feature = "otel")]
            queue: super::otlp::Queue::default(),
        }
    }

    /// Spans that were lost since they came too fast to be sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    #[cfg(feature = "otel")]
    pub(super) fn lose(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Begins the span of a call of `id`.
    pub(super) fn call(self: &Arc<Self>, trace: &mut TraceContext, id: &EntryId) -> Span {
        let collected = trace.link().is_some_and(|link| link.collector.is_some());
        if collected || (self.calls && self.sampled.is_some()) {
            self.begin(trace, SpanKind::Internal, || id.to_string())
        } else {
            Span(None)
        }
    }

    /// Begins the span of a process of `id`, from its start to its end.
    #[cfg(feature = "lua")]
    pub(super) fn process(self: &Arc<Self>, trace: &mut TraceContext, id: &EntryId) -> Span {
        if !self.processes {
            return Span::none();
        }
        self.begin(trace, SpanKind::Internal, || format!("process {id}"))
    }

    /// Begins a span below `trace`, if anybody collects it; `trace` becomes that of what happens inside.
    fn begin(
        self: &Arc<Self>,
        trace: &mut TraceContext,
        kind: SpanKind,
        name: impl FnOnce() -> String,
    ) -> Span {
        let link = match (trace.link(), self.sampled) {
            (Some(link), sampled) if link.collector.is_some() || (link.sampled && sampled.is_some()) => {
                link.clone()
            }
            (Some(_), _) | (None, None) => return Span(None),
            (None, Some(rate)) => Link {
                trace: random(),
                span: [0; 8],
                sampled: rate >= 1.0 || fraction() < rate,
                state: String::new(),
                baggage: String::new(),
                collector: None,
            },
        };
        let own = random();
        let record = Record {
            trace: link.trace,
            span: own,
            parent: link.span,
            state: link.state.clone(),
            name: name(),
            kind,
            began: SystemTime::now(),
            took: Duration::ZERO,
            attributes: Vec::new(),
            failed: None,
        };
        let link = Link { span: own, ..link };
        *trace = TraceContext::of(link.clone());
        // A trace that is not kept has spans too, so that nested calls don't begin traces of their own.
        Span(Some(Box::new(Open { tracer: Arc::clone(self), link, started: Instant::now(), record })))
    }

    fn take(&self, link: &Link, record: Record) {
        if let Some(trace) = &link.collector {
            trace.push(record.clone());
        }
        #[cfg(feature = "otel")]
        if link.sampled && self.sampled.is_some() && !self.queue.push(record) {
            self.lose(1);
        }
    }
}

/// A span under way, or none where nobody collects it. It ends when it is dropped.
#[must_use]
pub struct Span(Option<Box<Open>>);

struct Open {
    tracer: Arc<Tracer>,
    link: Link,
    started: Instant,
    record: Record,
}

impl Span {
    /// One that nobody collects.
    #[cfg(feature = "lua")]
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Notes that it failed; it goes on.
    #[cfg(all(feature = "http", feature = "lua"))]
    pub(super) fn failed(&mut self, kind: ErrorKind, message: String) {
        if let Some(open) = &mut self.0 {
            open.record.failed = Some((kind, message));
        }
    }

    /// Adds what is known of it.
    pub fn attribute(&mut self, name: &'static str, value: impl Into<String>) {
        if let Some(open) = &mut self.0 {
            open.record.attributes.push((name, value.into()));
        }
    }

    /// Ends it, with the error that ended what it is of.
    pub fn end(mut self, error: Option<&Error>) {
        if let Some(open) = &mut self.0 {
            open.record.failed = error.map(|error| (error.kind(), error.message().to_owned()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let Open { tracer, link, started, mut record } = *open;
            record.took = started.elapsed();
            tracer.take(&link, record);
        }
    }
}

impl Loader {
    /// Begins a span around what is done with `context`, such as a request that is answered or made: spans
    /// of calls with the context hang below it.
    pub fn begin_span(&self, context: &mut Context, kind: SpanKind, name: &str) -> Span {
        self.inner().telemetry.tracer.begin(&mut context.trace, kind, || name.to_owned())
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes; never all zeros, which is no id.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The generator of the system does not fail on the platforms that the loader runs on. If it did, ids
    // would be equal, which only a reader of traces would notice.
    let _ = getrandom::fill(&mut bytes);
    if bytes == [0; N] {
        bytes[0] = 1;
    }
    bytes
}

/// A number from 0 to 1.
fn fraction() -> f64 {
    (u32::from_le_bytes(random()) as f64) / f64::from(u32::MAX)
}
