//! What guests of WASI 0.2 find of their host.

use crate::support::REACH as GUEST;

#[path = "mounts.rs"]
mod mounts;
#[path = "stdio.rs"]
mod stdio;
