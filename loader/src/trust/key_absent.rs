//! Keys in a loader without the feature `signatures`: there are none, and whoever names one learns why.

use std::fmt;
use std::path::Path;

use registry_schema::signature::Signature;

/// The public half of a key that signs bundles; without the feature `signatures` there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyKey {}

/// Why a key can't be used.
#[derive(Debug)]
pub enum KeyError {
    /// This loader checks no signatures.
    NotOffered,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signatures need a loader built with the feature `signatures`")
    }
}

impl std::error::Error for KeyError {}

impl VerifyKey {
    /// No key.
    ///
    /// # Errors
    /// Always [`KeyError::NotOffered`].
    pub fn from_pem(_: &str) -> Result<Self, KeyError> {
        Err(KeyError::NotOffered)
    }

    /// No key.
    ///
    /// # Errors
    /// Always [`KeyError::NotOffered`].
    pub fn read(_: impl AsRef<Path>) -> Result<Self, KeyError> {
        Err(KeyError::NotOffered)
    }

    /// Never called: there is no key.
    pub fn has_signed(&self, _: &str, _: &Signature) -> bool {
        match *self {}
    }

    /// No file of a key is of any use here.
    pub fn is_writable_by_others(_: impl AsRef<Path>) -> bool {
        false
    }
}
