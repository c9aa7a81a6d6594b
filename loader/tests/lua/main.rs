//! Lua entries: how invocations run, wait, fail and stay apart, and how they call and are called.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod calls;
mod channels;
mod closing;
mod coroutines;
#[cfg(feature = "otel")]
mod exported;
mod guests;
mod hostile;
mod isolation;
mod kinds;
mod modules;
mod permissions;
mod processes;
mod rebuild;
mod seen;
mod services;
mod shared;
#[path = "../support/mod.rs"]
mod support;
mod types;
mod values;
mod waiting;
