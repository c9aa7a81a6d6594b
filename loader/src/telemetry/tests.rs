//! Counters, spans and their trees, without any guest.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use registry_schema::{EntryId, ErrorKind};
use serde_json::json;

use super::*;
use crate::config::{METRICS_ENTRIES_MAX, TRACE_SPANS_MAX};
use crate::context::Context;
use crate::loader::Loader;
use crate::security::testing::{Opened, open};

fn id(text: &str) -> Arc<EntryId> {
    Arc::new(text.parse().unwrap())
}

fn call(loader: &Loader, seen: &Seen, context: &mut Context) -> Call {
    loader.inner().telemetry.begin(seen, &mut context.trace)
}

#[test]
fn calls_are_counted_by_entry_and_outcome() {
    let Opened { loader, .. } = open(json!({}), &[]);
    let seen = loader.inner().telemetry.entry(&id("app:f"));
    let failed: Result<(), _> = Err(Error::new(ErrorKind::Timeout, "late"));
    for result in [Ok(()), Ok(()), failed] {
        call(&loader, &seen, &mut Context::default()).end(&result);
    }
    drop(call(&loader, &seen, &mut Context::default()));
    let _running = call(&loader, &seen, &mut Context::default());
    let text = loader.metrics();
    for line in [
        "# TYPE wippy_calls_total counter",
        "wippy_calls_total{entry=\"app:f\",outcome=\"ok\"} 2",
        "wippy_calls_total{entry=\"app:f\",outcome=\"TIMEOUT\"} 1",
        "wippy_calls_total{entry=\"app:f\",outcome=\"CANCELED\"} 1",
        "wippy_calls_running{entry=\"app:f\"} 1",
        "wippy_call_duration_seconds_bucket{entry=\"app:f\",le=\"60\"} 4",
        "wippy_call_duration_seconds_bucket{entry=\"app:f\",le=\"+Inf\"} 4",
        "wippy_call_duration_seconds_count{entry=\"app:f\"} 4",
        "# TYPE wippy_boot_seconds gauge",
        "wippy_instances 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    // The form of the format: a sample belongs to the family that was named last.
    let mut family = "";
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(named) => family = named.split(' ').next().unwrap(),
            None => assert!(line.starts_with("# HELP ") || line.starts_with(family), "{line}"),
        }
    }
}

#[test]
fn entries_beyond_the_limit_are_counted_together() {
    let Opened { loader, .. } = open(json!({}), &[]);
    for number in 0..METRICS_ENTRIES_MAX + 3 {
        let seen = loader.inner().telemetry.entry(&id(&format!("app:f{number}")));
        call(&loader, &seen, &mut Context::default()).end(&Ok(()));
    }
    let text = loader.metrics();
    let of = |family: &str| text.lines().filter(|line| line.starts_with(family)).count();
    assert_eq!(of("wippy_calls_total{"), METRICS_ENTRIES_MAX + 1);
    assert!(text.contains("wippy_calls_total{entry=\"(others)\",outcome=\"ok\"} 3\n"));
}

#[test]
fn a_tree_of_nested_calls() {
    let Opened { loader, .. } = open(json!({}), &[]);
    let trace = Trace::default();
    assert_eq!(trace.tree(), "");
    let seen = |name: &str| loader.inner().telemetry.entry(&id(name));
    let mut outer = Context::default().with_trace(&trace);
    let outermost = call(&loader, &seen("app:outer"), &mut outer);
    for name in ["app:first", "app:second"] {
        let mut inner = outer.clone();
        let middle = call(&loader, &seen(name), &mut inner);
        call(&loader, &seen("app:leaf"), &mut inner.clone()).end(&Ok(()));
        middle.end::<()>(&Err(Error::new(ErrorKind::NotFound, "no\nmore")));
    }
    outermost.end(&Ok(()));
    // Without times, which differ.
    let shown: Vec<String> = trace
        .tree()
        .lines()
        .map(|line| {
            let id = line.find("app:").unwrap();
            let end = line[id..].find(' ').unwrap() + id;
            let (name, rest) = line.split_at(end);
            let failed = rest.split_once("NOT_FOUND").map_or("", |(_, message)| message);
            format!("{name}{failed}")
        })
        .collect();
    let expected = ["app:outer", "├─ app:first: no", "│  └─ app:leaf", "└─ app:second: no", "   └─ app:leaf"];
    assert_eq!(shown, expected, "{}", trace.tree());
    assert!(trace.tree().lines().all(|line| line.contains(" ms  at ")), "{}", trace.tree());
}

#[test]
fn a_trace_counts_what_it_does_not_collect() {
    let Opened { loader, .. } = open(json!({}), &[]);
    let seen = loader.inner().telemetry.entry(&id("app:f"));
    let trace = Trace::default();
    for _ in 0..TRACE_SPANS_MAX + 3 {
        call(&loader, &seen, &mut Context::default().with_trace(&trace)).end(&Ok(()));
    }
    let tree = trace.tree();
    assert_eq!(tree.lines().count(), TRACE_SPANS_MAX + 1);
    assert!(tree.ends_with("and 3 more spans\n"), "{}", &tree[tree.len() - 100..]);
}

#[test]
fn nothing_is_traced_where_nobody_collects() {
    let Opened { loader, .. } = open(json!({}), &[]);
    let mut context = Context::default();
    call(&loader, &loader.inner().telemetry.entry(&id("app:f")), &mut context).end(&Ok(()));
    assert!(loader.trace_headers(&context).is_empty());
}

#[cfg(feature = "otel")]
#[test]
fn traces_that_are_not_sampled_stay_so() {
    let Opened { loader, .. } = open(json!({"otel": {"enabled": true, "sample_rate": 0}}), &[]);
    let seen = loader.inner().telemetry.entry(&id("app:f"));
    let mut context = Context::default();
    let outer = call(&loader, &seen, &mut context);
    let headers = loader.trace_headers(&context);
    assert!(headers[0].1.ends_with("-00"), "{headers:?}");
    call(&loader, &seen, &mut context).end(&Ok(()));
    outer.end(&Ok(()));
    assert_eq!(loader.inner().telemetry.tracer.queue.len(), 0);
}
