//! `loader run`: commands with their streams, arguments, exit codes and signals, and services until a signal.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod commands;
mod completions;
mod console;
mod services;
mod shared;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
