//! Calls: values there and back, how calls fail and what goes on afterwards, limits, time, pools, and what a
//! guest is given of its host. One module each.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod embedder;
mod failures;
mod grants;
mod limits;
mod mounts;
mod outcomes;
mod pools;
mod stdio;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod values;
