//! `ExportTraceServiceRequest` of OTLP 1.x in protobuf's wire format.
//!
//! Fields by number, as in `opentelemetry/proto/trace/v1/trace.proto` and `…/collector/trace/v1`.

use std::time::{Duration, UNIX_EPOCH};

use crate::settings::Otel;
use crate::telemetry::trace::{Record, SpanKind};

/// Wire types.
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// A request with `spans`.
pub(super) fn request(otel: &Otel, spans: &[Record]) -> Vec<u8> {
    let mut resource = Vec::new();
    attribute(&mut resource, 1, "service.name", &otel.service_name);
    if let Some(version) = &otel.service_version {
        attribute(&mut resource, 1, "service.version", version);
    }
    let mut scope = Vec::new();
    bytes(&mut scope, 1, env!("CARGO_PKG_NAME").as_bytes());
    bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut scope_spans = Vec::new();
    bytes(&mut scope_spans, 1, &scope);
    for record in spans {
        bytes(&mut scope_spans, 2, &span(record));
    }
    let mut resource_spans = Vec::new();
    bytes(&mut resource_spans, 1, &resource);
    bytes(&mut resource_spans, 2, &scope_spans);
    let mut request = Vec::new();
    bytes(&mut request, 1, &resource_spans);
    request
}

fn span(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, &record.trace);
    bytes(&mut out, 2, &record.span);
    if !record.state.is_empty() {
        bytes(&mut out, 3, record.state.as_bytes());
    }
    if record.parent != [0; 8] {
        bytes(&mut out, 4, &record.parent);
    }
    bytes(&mut out, 5, record.name.as_bytes());
    let kind = match record.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    number(&mut out, 6, kind);
    let began = record.began.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    fixed64(&mut out, 7, nanoseconds(began));
    fixed64(&mut out, 8, nanoseconds(began + record.took));
    for (name, value) in &record.attributes {
        attribute(&mut out, 9, name, value);
    }
    let mut status = Vec::new();
    match &record.failed {
        None => number(&mut status, 3, 1),
        Some((kind, message)) => {
            attribute(&mut out, 9, "error.type", kind.as_str());
            bytes(&mut status, 2, message.as_bytes());
            number(&mut status, 3, 2);
        }
    }
    bytes(&mut out, 15, &status);
    out
}

fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A `KeyValue` whose value is text.
fn attribute(out: &mut Vec<u8>, field: u32, name: &str, value: &str) {
    let mut any = Vec::new();
    bytes(&mut any, 1, value.as_bytes());
    let mut pair = Vec::new();
    bytes(&mut pair, 1, name.as_bytes());
    bytes(&mut pair, 2, &any);
    bytes(out, field, &pair);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3));
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field << 3 | BYTES));
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3 | FIXED64));
    out.extend_from_slice(&value.to_le_bytes());
}
