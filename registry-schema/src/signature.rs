//! Signatures of bundles: what is signed, and how a signature is written.
//!
//! A bundle is signed with Ed25519 (RFC 8032). What is signed is [`message`]: a purpose, so that no signature
//! for anything else counts here, the manifest's format, so that no other reading of the same bytes counts,
//! and the digest, which covers the body and through it every file. Making and checking signatures is the
//! compiler's and the loader's; nothing here knows keys.

use std::fmt;
use std::str::FromStr;

use crate::digest::{decode_hex, write_hex};
use crate::version::MANIFEST_FORMAT;

/// What a written signature begins with.
const PREFIX: &str = "ed25519:";

/// An Ed25519 signature, written as `ed25519:` and 128 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Length of the written form, in bytes.
    pub const TEXT_LEN: usize = PREFIX.len() + 128;
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSignature;

impl fmt::Display for InvalidSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a signature: `ed25519:` and 128 lower-case hexadecimal digits")
    }
}

impl std::error::Error for InvalidSignature {}

impl FromStr for Signature {
    type Err = InvalidSignature;

    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidSignature)?;
        decode_hex(digits).map(Self).ok_or(InvalidSignature)
    }
}

/// The bytes that are signed for a manifest with `digest`, as the manifest writes it.
pub fn message(digest: &str) -> Vec<u8> {
    format!("wippy-aot bundle\nformat {MANIFEST_FORMAT}\n{digest}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_read_back() {
        let signature = Signature(std::array::from_fn(|index| index as u8 * 3));
        let text = signature.to_string();
        assert_eq!(text.len(), Signature::TEXT_LEN);
        assert_eq!(text.parse(), Ok(signature));
        for other in [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), ""] {
            assert_eq!(other.parse::<Signature>(), Err(InvalidSignature), "{other}");
        }
    }

    #[test]
    fn the_message_names_purpose_format_and_digest() {
        let message = String::from_utf8(message("blake3:00")).unwrap();
        assert_eq!(message, format!("wippy-aot bundle\nformat {MANIFEST_FORMAT}\nblake3:00\n"));
    }
}
