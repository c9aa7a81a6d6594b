//! Calls: values there and back, how calls fail and what goes on afterwards, limits, time, pools, and what a
//! guest is given of its host. One module each.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::duplicate_mod, reason = "the same tests hold for guests of both releases of WASI")]

mod asynchronous;
mod classes;
mod core_modules;
mod embedder;
mod failures;
mod grants;
mod handles;
mod isolation;
mod leaks;
mod limits;
mod outcomes;
mod pools;
mod preview2;
mod preview3;
mod processes;
mod releases;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod values;
