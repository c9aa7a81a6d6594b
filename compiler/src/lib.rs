//! Compiles WebAssembly registries ahead of time.
//!
//! The passes, in reading order: walk ([`walk`]) → parse ([`parse`]) → resolve ([`resolve`]) →
//! componentize ([`componentize`]) → check ([`check`](mod@check)) → precompile ([`precompile`]) →
//! bundle ([`bundle`]) → report ([`report`]). The first three are [`front`], the next two [`plan`];
//! [`build`](mod@build) runs all. Every pass reports into one list of diagnostics and goes on with what
//! is independent of a fault.

pub mod adapters;
pub mod build;
pub mod bundle;
pub mod cache;
pub mod check;
pub mod codes;
pub mod component;
pub mod componentize;
pub mod config;
mod constraints;
mod core_module;
mod custom_adapter;
pub mod diagnostic;
#[cfg(test)]
mod echo;
pub mod embed;
pub mod fault;
mod fields;
mod files;
mod fit;
pub mod front;
mod host_types;
mod include;
mod inline;
pub mod inspect;
mod limits;
mod link;
mod lock;
mod lua;
mod make;
mod method;
pub mod minimum;
mod modules;
mod needs;
mod offered;
mod overrides;
pub mod parse;
pub mod plan;
pub mod precompile;
mod preinit;
mod profiles;
pub mod progress;
mod raw;
mod read;
mod references;
pub mod registry;
pub mod report;
pub mod resolve;
mod self_check;
mod shown;
pub mod sign;
mod signature;
mod source;
mod tree;
pub mod types;
mod vars;
pub mod walk;
mod wit_source;
mod wit_text;
mod wit_tokens;

pub use build::{CheckOptions, check};
