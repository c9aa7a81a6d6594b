//! Guests of WASI 0.2.

use crate::support::REACH as GUEST;

#[path = "http.rs"]
mod http;
#[path = "sockets.rs"]
mod sockets;
