//! What a deployment demands of a bundle beyond its being whole: a signature by one of its keys, and a
//! compiler and parts that no advisory has burnt.
//!
//! Signatures are checked when the digest of the manifest is known and before its body is read, so before
//! any byte of an artifact. The rest is checked once the body is read; files that are denied are never
//! opened.

mod deny;
#[cfg_attr(not(feature = "signatures"), path = "key_absent.rs")]
mod key;

use std::fmt;
use std::str::FromStr;

use registry_schema::envelope::Envelope;
use registry_schema::manifest_file::Manifest;

pub(crate) use deny::Denied;
pub use deny::{DenyList, DenyListError};
pub use key::{KeyError, VerifyKey};

use crate::error::OpenError;

/// What is demanded of a bundle; nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// One of them must have signed the bundle; with none, signatures are not looked at. Several serve while
    /// keys are changed.
    pub keys: Vec<VerifyKey>,
    /// The oldest compiler whose artifacts are used.
    pub minimum_compiler: Option<CompilerVersion>,
    /// What must not be used.
    pub denied: DenyList,
}

impl Trust {
    /// Checks who signed a manifest whose body was not read yet.
    pub(crate) fn check_signature(&self, envelope: &Envelope) -> Result<(), OpenError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let Some(signature) = envelope.signature() else { return Err(OpenError::Unsigned) };
        if self.keys.iter().any(|key| key.has_signed(envelope.digest(), signature)) {
            return Ok(());
        }
        Err(OpenError::ForeignSignature { keys: self.keys.len() })
    }

    /// Checks the compiler of a bundle and the bundle itself.
    pub(crate) fn check_compiler(&self, manifest: &Manifest) -> Result<(), OpenError> {
        let text = &manifest.head().compiler;
        if let Some(minimum) = self.minimum_compiler
            && text.parse::<CompilerVersion>().is_ok_and(|found| found < minimum)
        {
            return Err(OpenError::CompilerTooOld { minimum, found: text.clone() });
        }
        match self.denied.whole_bundle(manifest) {
            Some((what, reason)) => Err(OpenError::Denied { what, reason }),
            None => Ok(()),
        }
    }
}

/// What is said of anything that the deny list has.
pub(crate) fn denied(reason: &str) -> String {
    format!("denied by the deny list: {reason}")
}

/// Version of the compiler crate, such as `48.0.8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompilerVersion([u64; 3]);

impl fmt::Display for CompilerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A text that is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidVersion;

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a version of three numbers, such as `48.0.8`")
    }
}

impl std::error::Error for InvalidVersion {}

impl FromStr for CompilerVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let numbers = text.split('.').map(|number| {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| digits)
        });
        let numbers: Option<Vec<u64>> = numbers.collect();
        let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
        numbers.map(Self).ok_or(InvalidVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let version = |text: &str| text.parse::<CompilerVersion>().unwrap();
        assert!(version("48.0.10") > version("48.0.9"));
        assert!(version("49.0.0") > version("48.9.9"));
        assert_eq!(version("48.0.8").to_string(), "48.0.8");
        for text in ["", "48", "48.0", "48.0.8.1", "48.0.x", "48.0.+8", "48..8", "99999999999999999999.0.0"] {
            assert_eq!(text.parse::<CompilerVersion>(), Err(InvalidVersion), "{text:?}");
        }
    }
}
