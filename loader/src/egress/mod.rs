//! What leaves the machine: sockets and HTTP requests of guests and of Lua.
//!
//! One set of rules (`rules.rs`) decides for all of them. Names are looked up here, every address is checked, and
//! what was checked is dialled, so that a name which answers differently the second time gains nothing.

mod address;
#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod connection;
mod lookups;
mod names;
#[cfg(all(feature = "http", feature = "lua"))]
pub(crate) mod own_tls;
#[cfg(feature = "http")]
mod places;
#[cfg(feature = "http")]
mod pool;
pub(crate) mod preview2;
#[cfg(feature = "p3")]
pub(crate) mod preview3;
#[cfg(feature = "p3")]
mod relay;
mod rules;
pub(crate) mod sockets;
#[cfg(feature = "http")]
mod stall;
#[cfg(feature = "http")]
mod target;
#[cfg(all(test, feature = "http"))]
mod tests;
mod timed;
#[cfg(feature = "http")]
mod tls;
pub(crate) mod waits;
#[cfg(feature = "http")]
mod writing;

#[cfg(feature = "http")]
pub(crate) use client::{Egress, Route, Timeouts};
#[cfg(feature = "http")]
pub(crate) use connection::{Failure, Wait};
pub(crate) use names::Names;
#[cfg(feature = "http")]
pub(crate) use rules::Refused;
pub(crate) use rules::Rules;
#[cfg(feature = "http")]
pub(crate) use target::Target;
#[cfg(feature = "http")]
pub(crate) use tls::Tls;
