//! Keys that bundles are checked with: the public half of an Ed25519 key, as SPKI in PEM.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;
use registry_schema::signature::{self, Signature};

use crate::config::KEY_FILE_BYTES_MAX;

/// The public half of a key that signs bundles.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyKey(VerifyingKey);

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyKey(")?;
        self.0.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Why a key can't be used.
#[derive(Debug)]
pub enum KeyError {
    /// The file can't be read.
    Io(std::io::Error),
    /// It holds a private key, which has no place where bundles are run.
    Private,
    /// It is no Ed25519 key in SPKI and PEM.
    Malformed(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Private => f.write_str(
                "it is a private key, which belongs where bundles are built\n\
                 name its public half, which `compiler keygen` wrote beside it",
            ),
            Self::Malformed(problem) => {
                write!(f, "expected the public half of an Ed25519 key (`BEGIN PUBLIC KEY`): {problem}")
            }
        }
    }
}

impl std::error::Error for KeyError {}

impl VerifyKey {
    /// The key in `pem`.
    ///
    /// # Errors
    /// When it is anything else than one public Ed25519 key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let key = VerifyingKey::from_public_key_pem(pem.trim());
        key.map(Self).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// The key in the file at `path`.
    ///
    /// # Errors
    /// When the file can't be read, is larger than any key, or holds something else.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let mut pem = String::new();
        let file = File::open(path).map_err(KeyError::Io)?;
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut pem).map_err(KeyError::Io)?;
        Self::from_pem(&pem)
    }

    /// The key that is `bytes` in RFC 8032's form.
    ///
    /// # Errors
    /// When they are no point of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes);
        key.map(Self).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// Whether `signature` is this key's over a manifest with `digest`.
    pub fn has_signed(&self, digest: &str, signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        // Strict: no key and no signature that is good for more than one message.
        self.0.verify_strict(&signature::message(digest), &signature).is_ok()
    }

    /// Whether others than the owner can write the file at `path`: whoever can, decides which bundles run.
    pub fn is_writable_by_others(path: impl AsRef<Path>) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8410, section 10.1.
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = crate::support::temporary_folder();
        let path = folder.path().join("key.pem");
        let room = usize::try_from(KEY_FILE_BYTES_MAX).unwrap() - PUBLIC.len();
        std::fs::write(&path, "\n".repeat(room) + PUBLIC).unwrap();
        assert_eq!(VerifyKey::read(&path).unwrap(), VerifyKey::from_pem(PUBLIC).unwrap());
        // Some of the key lies behind it.
        std::fs::write(&path, "\n".repeat(room + 8) + PUBLIC).unwrap();
        assert!(matches!(VerifyKey::read(&path), Err(KeyError::Malformed(_))));
    }

    #[test]
    fn public_keys_are_read_and_nothing_else() {
        let key = VerifyKey::from_pem(PUBLIC).unwrap();
        assert!(format!("{key:?}").starts_with("VerifyKey(19bf44096984cdfe85"));
        assert_eq!(VerifyKey::from_pem(&PUBLIC.replace('\n', "\r\n")).unwrap(), key);
        let private = PUBLIC.replace("PUBLIC", "PRIVATE");
        assert!(matches!(VerifyKey::from_pem(&private), Err(KeyError::Private)));
        for other in ["", "MCowBQYDK2VwAyEA", &PUBLIC.replace("K2Vw", "K2Vu"), &PUBLIC[..60]] {
            assert!(matches!(VerifyKey::from_pem(other), Err(KeyError::Malformed(_))), "{other:?}");
        }
    }
}
