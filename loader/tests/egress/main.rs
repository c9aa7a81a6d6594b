//! What leaves the machine: outgoing HTTP, sockets, look-ups. A guest tries to reach servers of the loopback
//! interface, which are closed unless something opens them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::duplicate_mod, reason = "the same tests hold for guests of both releases of WASI")]

mod http_client;
mod limits;
mod memory;
mod preview2;
mod preview3;
mod roots;
#[path = "../support/server.rs"]
mod server;
mod shared;
#[path = "../support/mod.rs"]
mod support;
