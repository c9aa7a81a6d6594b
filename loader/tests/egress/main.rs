//! What leaves the machine: outgoing HTTP, sockets, look-ups. A guest tries to reach servers of the loopback
//! interface, which are closed unless something opens them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod http;
mod http_client;
#[path = "../support/server.rs"]
mod server;
mod shared;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
