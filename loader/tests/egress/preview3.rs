//! Guests of WASI 0.3.

use crate::support::REACH_ASYNC as GUEST;

#[path = "http.rs"]
mod http;
#[path = "sockets.rs"]
mod sockets;
#[path = "streams.rs"]
mod streams;
