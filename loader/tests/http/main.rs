//! HTTP servers of bundles, over the loopback interface.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod app;
mod component;
mod connections;
#[cfg(feature = "otel")]
mod exported;
mod lua;
mod middleware;
mod program;
mod reload;
mod routing;
mod statuses;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod transport;
