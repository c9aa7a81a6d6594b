//! Spans to a collector: OTLP over HTTP, protobuf.
//!
//! Written by hand: `opentelemetry-otlp` brings a second HTTP client, or tonic, and a runtime of its own for
//! the eight messages that one request has (`encode.rs`).

mod encode;
mod send;

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::trace::Record;
use crate::config::{
    OTEL_BATCH_SPANS, OTEL_INTERVAL, OTEL_QUEUE_SPANS_MAX, OTEL_SEND_ATTEMPTS, OTEL_SEND_DELAY,
};
use crate::loader::{Inner, Loader};
use crate::settings::Protocol;
use send::Endpoint;

/// Spans that ended and were not sent yet.
#[derive(Default)]
pub(super) struct Queue {
    spans: Mutex<Vec<Record>>,
    enough: Notify,
}

impl Queue {
    fn spans(&self) -> MutexGuard<'_, Vec<Record>> {
        // Each change is one push or one cut: whole after any panic.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a span, unless there are too many.
    pub(super) fn push(&self, record: Record) -> bool {
        let mut spans = self.spans();
        if spans.len() >= OTEL_QUEUE_SPANS_MAX {
            return false;
        }
        spans.push(record);
        if spans.len() >= OTEL_BATCH_SPANS {
            self.enough.notify_one();
        }
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.spans().len()
    }

    fn batch(&self) -> Vec<Record> {
        let mut spans = self.spans();
        let end = spans.len().min(OTEL_BATCH_SPANS);
        spans.drain(..end).collect()
    }
}

impl Loader {
    /// Sends spans to the collector that the settings name, until `stop` and then the rest. Returns at once
    /// where nothing is exported. Spans that can't be sent are dropped, counted and logged; none is sent
    /// while nobody runs this.
    pub async fn export_spans(&self, stop: impl Future<Output = ()>) {
        let inner = self.inner();
        let Some(endpoint) = endpoint(inner) else { return };
        let queue = &inner.telemetry.tracer.queue;
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = queue.enough.notified() => {}
                () = tokio::time::sleep(OTEL_INTERVAL) => {}
            }
            send_all(inner, &endpoint).await;
        }
        send_all(inner, &endpoint).await;
    }
}

fn endpoint(inner: &Inner) -> Option<Endpoint> {
    let otel = &inner.settings.otel;
    if !otel.enabled || !otel.traces_enabled {
        return None;
    }
    if otel.protocol == Protocol::Grpc {
        tracing::warn!("spans are not exported: `otel.protocol` is `grpc`, which is not offered");
        return None;
    }
    let roots = inner.egress.roots().map_err(|unusable| unusable.problem);
    match roots.and_then(|roots| Endpoint::new(otel, roots)) {
        Ok(endpoint) => Some(endpoint),
        Err(problem) => {
            tracing::warn!("spans are not exported: `otel.endpoint`: {problem}");
            None
        }
    }
}

async fn send_all(inner: &Inner, endpoint: &Endpoint) {
    let tracer = &inner.telemetry.tracer;
    loop {
        let batch = tracer.queue.batch();
        if batch.is_empty() {
            return;
        }
        let body = encode::request(&inner.settings.otel, &batch);
        if let Err(problem) = send(endpoint, body).await {
            tracer.lose(batch.len());
            tracing::warn!("{} spans were dropped: {problem}", batch.len());
            // What comes next would fail as well; it waits for the next turn.
            return;
        }
    }
}

async fn send(endpoint: &Endpoint, body: Vec<u8>) -> Result<(), String> {
    let mut delay = OTEL_SEND_DELAY;
    for _ in 1..OTEL_SEND_ATTEMPTS {
        match endpoint.post(body.clone()).await {
            Err(problem) if problem.may_pass => tokio::time::sleep(delay).await,
            done => return done.map_err(|problem| problem.message),
        }
        delay *= 2;
    }
    endpoint.post(body).await.map_err(|problem| problem.message)
}

#[cfg(all(test, feature = "lua"))]
mod collector;
#[cfg(all(test, feature = "lua"))]
mod tests;
