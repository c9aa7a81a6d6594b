//! Runs bundles of precompiled WebAssembly components and Lua, without a code generator.
//!
//! A bundle is what the `compiler` of the same version wrote from a registry. [`Loader::open`] checks its
//! manifest and nothing else; artifacts are checked, mapped and linked when they are first used.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/example.rs"));
//! # fn main() -> Outcome { beside_a_bundle(example()) }
//! # async fn example() -> Outcome {
//! use loader::{Loader, Val};
//!
//! let loader = Loader::open("dist")?;
//! let sum = loader.call("samples.wat:add", &[Val::S32(40), Val::S32(2)]).await?;
//! assert_eq!(sum, Some(Val::S32(42)));
//! # Ok(())
//! # }
//! ```
//!
//! The way of a call: [`Loader::call`] looks the callable up (`loader.rs`), which loads and links its
//! artifact once (`function.rs`, `mapping.rs`, `hosts/`); the call runs as a task with a slot of the
//! function's pool and an instance (`call.rs`, `pool/`, `instance.rs`), and what ends it otherwise than by
//! returning becomes an [`Error`] (`failure.rs`).
//! [`Loader::call_data`] calls Lua as well, in a state of its own for as long as it runs (`lua/`).
//!
//! # Features
//! - `lua` (default): Lua entries, `funcs` between them and WebAssembly ones, and the Lua modules.
//! - `wasi` (default): WASI 0.2 host interfaces, for entries that are granted them.
//! - `http` (default): outgoing HTTP, of guests (`wasi:http`) and of Lua (`http_client`); with `lua` as well the
//!   services that entries of the kind `http.service` describe.
//! - `p3`: the asynchronous profile, for components that use component-model async.
//! - `signatures` (default): keys that bundles must be signed with.
//! - `pulley`: artifacts for the engine's interpreter, where no native ones fit.
//! - `telemetry` (default): the structured log, metrics and traces of calls.
//! - `otel`: traces to a collector.
//! - `full`: all of them.
//!
//! Without features the crate runs components that import nothing but the embedder's own interfaces.

mod budget;
mod bulk;
mod bundle;
mod call;
mod call_id;
#[cfg(feature = "lua")]
mod calls;
mod closing;
pub mod config;
mod context;
mod control_group;
#[cfg(feature = "lua")]
mod conversion;
mod data;
#[cfg(feature = "lua")]
mod deployment;
#[cfg(feature = "wasi")]
mod egress;
mod engines;
mod environment;
mod error;
mod failure;
#[cfg(any(feature = "lua", feature = "wasi"))]
mod filesystem;
mod folder;
mod function;
mod guest_log;
mod header;
mod host_state;
mod hosts;
#[cfg(all(feature = "http", feature = "lua"))]
pub mod http;
mod instance;
mod limits;
#[allow(clippy::module_inception)]
mod loader;
#[cfg(feature = "lua")]
mod lua;
mod machine;
mod mapping;
#[cfg(feature = "lua")]
mod meter;
#[cfg(feature = "lua")]
mod placeholders;
mod pool;
#[cfg(feature = "lua")]
pub mod process;
mod reservation;
#[cfg(feature = "lua")]
pub mod security;
pub mod settings;
pub mod supervisor;
mod task;
#[cfg(feature = "telemetry")]
mod telemetry;
#[cfg(not(feature = "telemetry"))]
#[path = "telemetry/none.rs"]
mod telemetry;
mod ticker;
#[cfg(feature = "http")]
mod tls;
pub mod trust;
pub mod values;
mod verify;
mod warm;

/// The examples in README.md are compiled, not run.
#[cfg(all(doctest, feature = "http", feature = "lua", feature = "signatures"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Bundles for unit tests.
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use budget::MemorySnapshot;
pub use bundle::Bundle;
pub use call_id::CallId;
pub use config::Options;
pub use context::Context;
pub use data::{Data, Table, TableForm};
#[cfg(feature = "lua")]
pub use deployment::{Deployment, Refusal};
pub use error::{Difference, Error, ErrorKind, Frame, OpenError, Stack};
pub use guest_log::{GuestLog, Level, Record, StderrLog, Stream};
pub use host_state::HostState;
#[cfg(feature = "wasi")]
pub use hosts::Streams;
pub use hosts::{HostTypes, Stdio};
pub use loader::{EntryInfo, Function, Loader, LoaderBuilder, WeakLoader};
pub use machine::PassedOver;
pub use mapping::{ArtifactError, Sealing};
pub use pool::bound::InstancesSnapshot;
pub use pool::{PoolKind, PoolSnapshot};
pub use registry_schema;
pub use settings::Settings;
#[cfg(all(feature = "telemetry", feature = "http"))]
pub use telemetry::MetricsServer;
#[cfg(feature = "telemetry")]
pub use telemetry::{Span, SpanKind, Trace};
pub use verify::{Fault, Verified};
/// A value of a WIT type, and the types themselves, as wasmtime has them.
pub use wasmtime::component::{LinkerInstance, Type, Val};
/// What standard streams of guests are made of.
#[cfg(feature = "wasi")]
pub use wasmtime_wasi;
