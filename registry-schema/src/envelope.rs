//! What lies around a manifest's body: format, digest and signature.
//!
//! The file is `{"format", "digest", "signature", "body"}`. `digest` covers the exact bytes of `body`,
//! and `body` names digest and size of every other file of the bundle, so that one check covers all. The
//! signature, where there is one, is over the digest ([`crate::signature`]), so that it can be checked
//! before the body is read.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::manifest::Body;
use crate::manifest_file::body_text;
use crate::signature::{self, Signature};
use crate::version::{self, MANIFEST_FORMAT};

/// Why a manifest can't be read.
#[derive(Debug)]
pub enum ManifestError {
    /// It is no JSON of the expected form.
    Malformed(String),
    /// It has a format that is not read here.
    Format(u64),
    /// It was changed after it was written.
    Digest {
        /// What it says of itself.
        expected: String,
        /// What its body has.
        found: String,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(problem) => write!(f, "malformed: {problem}"),
            Self::Format(found) => write!(f, "format {found}, expected {MANIFEST_FORMAT}"),
            Self::Digest { expected, found } => write!(f, "digest {expected}, but the body has {found}"),
        }
    }
}

impl std::error::Error for ManifestError {}

pub(crate) fn malformed(error: impl fmt::Display) -> ManifestError {
    ManifestError::Malformed(error.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer<'a> {
    #[serde(rename = "format")]
    _format: u64,
    digest: &'a str,
    signature: Option<String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// A manifest whose format and digest were checked and whose body was not read yet.
#[derive(Debug)]
pub struct Envelope {
    pub(crate) text: String,
    pub(crate) body: Range<usize>,
    pub(crate) digest: String,
    pub(crate) signature: Option<Signature>,
}

impl Envelope {
    /// Reads `manifest.json` but for its body: the format number first and alone, then the digest.
    ///
    /// # Errors
    /// When it has another format, was changed, or is malformed.
    pub fn read(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        let text = String::from_utf8(bytes).map_err(malformed)?;
        let (expected, signature, body) = match split(&text) {
            Some((digest, signature, body)) => (digest.to_owned(), signature, body),
            None => parse_outer(&text)?,
        };
        let digest = check_digest(&expected, &text[body.clone()])?;
        Ok(Self { text, body, digest, signature })
    }

    /// The digest of the body, `blake3:` and 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its signature, which nobody has checked yet.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }
}

/// Digest, signature and place of the body of a manifest in any layout.
fn parse_outer(text: &str) -> Result<(String, Option<Signature>, Range<usize>), ManifestError> {
    let format = version::manifest_format(text).map_err(malformed)?;
    if format != MANIFEST_FORMAT {
        return Err(ManifestError::Format(format));
    }
    let outer: Outer<'_> = serde_json::from_str(text).map_err(malformed)?;
    let signature = outer.signature.map(|text| text.parse()).transpose().map_err(malformed)?;
    let body = outer.body.get();
    // The raw value is a part of `text`.
    let start = body.as_ptr() as usize - text.as_ptr() as usize;
    Ok((outer.digest.to_owned(), signature, start..start + body.len()))
}

fn check_digest(expected: &str, body: &str) -> Result<String, ManifestError> {
    let found = body_digest(body);
    if expected == found {
        Ok(found)
    } else {
        Err(ManifestError::Digest { expected: expected.to_owned(), found })
    }
}

pub(crate) fn body_digest(body: &str) -> String {
    format!("blake3:{}", Digest::of(body.as_bytes()))
}

/// Start of a manifest as [`to_bytes`] writes it, before the digest.
fn start() -> String {
    format!("{{\"format\":{MANIFEST_FORMAT},\"digest\":\"")
}
const TO_SIGNATURE: &str = "\",\"signature\":";
const UNSIGNED: &str = "null";
const TO_BODY: &str = ",\"body\":";
const CLOSE: &str = "}\n";

/// Digest, signature and body of a manifest as [`to_bytes`] writes it, without scanning the body.
fn split(text: &str) -> Option<(&str, Option<Signature>, Range<usize>)> {
    let rest = text.strip_prefix(&start())?;
    let (digest, rest) = rest.split_at_checked("blake3:".len() + 64)?;
    let rest = rest.strip_prefix(TO_SIGNATURE)?;
    let (signature, rest) = match rest.strip_prefix('"') {
        Some(rest) => {
            let (signature, rest) = rest.split_at_checked(Signature::TEXT_LEN)?;
            (Some(signature.parse().ok()?), rest.strip_prefix('"')?)
        }
        None => (None, rest.strip_prefix(UNSIGNED)?),
    };
    let body = rest.strip_prefix(TO_BODY)?.strip_suffix(CLOSE)?;
    let end = text.len() - CLOSE.len();
    Some((digest, signature, end - body.len()..end))
}

/// The bytes of `manifest.json` for `body`, unsigned.
///
/// # Errors
/// Never for bodies that were read or built from plain data; the error is serde's.
pub fn to_bytes(body: &Body) -> Result<Vec<u8>, serde_json::Error> {
    let body = body_text(body)?;
    Ok(assemble(&body, &body_digest(&body), None))
}

/// The bytes of `manifest.json` for `body`; `sign` is given the message to sign.
///
/// # Errors
/// Those of [`to_bytes`].
pub fn to_signed_bytes(
    body: &Body,
    sign: impl FnOnce(&[u8]) -> Signature,
) -> Result<Vec<u8>, serde_json::Error> {
    let body = body_text(body)?;
    let digest = body_digest(&body);
    let signature = sign(&signature::message(&digest));
    Ok(assemble(&body, &digest, Some(signature)))
}

fn assemble(body: &str, digest: &str, signature: Option<Signature>) -> Vec<u8> {
    let signature = signature.map_or(UNSIGNED.to_owned(), |signature| format!("\"{signature}\""));
    [&start(), digest, TO_SIGNATURE, &signature, TO_BODY, body, CLOSE].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest_file::Manifest;

    #[test]
    fn a_signature_is_carried_beside_the_body() {
        let body = Body::default();
        let mut signed = Vec::new();
        let bytes = to_signed_bytes(&body, |message| {
            signed = message.to_vec();
            Signature([7; 64])
        });
        let bytes = bytes.unwrap();
        let envelope = Envelope::read(bytes.clone()).unwrap();
        assert_eq!(envelope.signature(), Some(&Signature([7; 64])));
        assert_eq!(signed, signature::message(envelope.digest()));
        let manifest = Manifest::open(envelope).unwrap();
        assert_eq!(
            (manifest.signature(), manifest.body().unwrap()),
            (Some(&Signature([7; 64])), body.clone())
        );
        assert_eq!(manifest.digest(), Envelope::read(to_bytes(&body).unwrap()).unwrap().digest());
        // In any layout, and never another text than a signature.
        let spaced = String::from_utf8(bytes).unwrap().replacen("\"signature\":", "\"signature\" : ", 1);
        assert!(Envelope::read(spaced.clone().into_bytes()).unwrap().signature().is_some());
        let other = spaced.replacen("ed25519:0", "ed25519:x", 1);
        assert!(matches!(Envelope::read(other.into_bytes()), Err(ManifestError::Malformed(_))));
    }
}
