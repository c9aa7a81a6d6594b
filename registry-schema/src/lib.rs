//! The formats that the compiler and the loader share.
//!
//! - [`authored`]: entries of `_index.yaml` registries as people write them.
//! - [`manifest`], [`manifest_file`] and [`envelope`]: a bundle as the compiler writes it and the loader reads it.
//! - [`engine`] (feature `engine`): every engine option on which both sides must agree.
//! - [`suggest`]: the word that a misspelt one most likely stands for.
//! - [`document`] and [`decode`] (feature `yaml`): definition files with positions.
//! - [`json_schema`] (feature `schema`): what definition files may hold, for editors.
//!
//! Authored format and manifest are versioned separately ([`version`]). Nothing here runs anything.

pub mod authored;
#[cfg(feature = "yaml")]
pub mod decode;
pub mod digest;
#[cfg(feature = "yaml")]
pub mod document;
#[cfg(feature = "engine")]
pub mod engine;
pub mod envelope;
pub mod error;
pub mod grants;
pub mod ids;
#[cfg(feature = "schema")]
pub mod json_schema;
pub mod lua;
pub mod manifest;
pub mod manifest_file;
pub mod profile;
pub mod signature;
pub mod suggest;
pub mod version;
pub mod wit;
#[cfg(feature = "yaml")]
mod yaml_error;

pub use digest::Digest;
pub use error::ErrorKind;
pub use ids::{EntryId, EntryRef, Namespace};
pub use profile::{Profile, Target};
