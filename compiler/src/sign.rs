//! Keys that sign bundles: Ed25519, the private half as PKCS#8 and the public half as SPKI, both in PEM, as
//! `openssl genpkey -algorithm ed25519` writes them.
//!
//! A private key is never printed, and what holds it clears its memory at the end.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};
use ed25519_dalek::{Signer, SigningKey};
use loader::trust::VerifyKey;
use registry_schema::signature::Signature;

/// A key that signs bundles.
#[derive(Clone)]
pub struct SignKey(SigningKey);

impl fmt::Debug for SignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignKey(…)")
    }
}

/// Where [`SignKey::generate`] put the two halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The private half, for builds.
    pub private: PathBuf,
    /// The public half, for loaders.
    pub public: PathBuf,
}

impl SignKey {
    /// Reads the private key in the file at `path`.
    ///
    /// # Errors
    /// When the file can't be read or holds something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        // Whole or not at all: a FIFO or a device is no key.
        let metadata = fs::metadata(path).with_context(|| unusable(path))?;
        anyhow::ensure!(metadata.is_file(), "{}: not a regular file", unusable(path));
        let key = SigningKey::read_pkcs8_pem_file(path).with_context(|| {
            format!("{}: expected an Ed25519 key in PKCS#8 (`BEGIN PRIVATE KEY`)", unusable(path))
        })?;
        Ok(Self(key))
    }

    /// Makes a key, writes its private half to `private` for its owner alone, and its public half beside it
    /// with the ending `.pub`. Nothing is overwritten.
    ///
    /// # Errors
    /// When either file exists or can't be written, or the system gives no random numbers.
    pub fn generate(private: &Path) -> anyhow::Result<KeyFiles> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the system gives no random numbers")?;
        let key = SigningKey::from_bytes(&seed);
        // Without the public half, which version 1 of PKCS#8 has no room for: older tools read nothing else.
        let document = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
        let pem = document.to_pkcs8_pem(LineEnding::LF).context("the key can't be written as PKCS#8")?;
        let mut public = private.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        anyhow::ensure!(!public.exists(), "`{}` exists already", public.display());
        write_new(private, pem.as_bytes(), 0o600)?;
        let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).context("the public key")?;
        write_new(&public, pem.as_bytes(), 0o644)?;
        Ok(KeyFiles { private: private.to_path_buf(), public })
    }

    /// Whether others than the owner can read the file at `path`.
    pub fn is_readable_by_others(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }

    /// The key that loaders check with.
    pub fn public(&self) -> VerifyKey {
        VerifyKey::from_bytes(&self.0.verifying_key().to_bytes())
            .expect("a public key is a point of the curve")
    }

    /// Signs `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

fn unusable(path: &Path) -> String {
    format!("can't use the key `{}`", path.display())
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::options().create_new(true).write(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("can't write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_reads_back_and_signs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let files = SignKey::generate(&path).unwrap();
        assert_eq!(files.private, path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!SignKey::is_readable_by_others(&path));
        let key = SignKey::read(&path).unwrap();
        assert_eq!(format!("{key:?}"), "SignKey(…)");
        let public = VerifyKey::read(&files.public).unwrap();
        assert_eq!(public, key.public());
        let signature = key.sign(&registry_schema::signature::message("blake3:0"));
        assert!(public.has_signed("blake3:0", &signature));
        assert!(!public.has_signed("blake3:1", &signature));
        // Never over an existing file.
        let before = fs::read(&path).unwrap();
        assert!(SignKey::generate(&path).is_err());
        fs::remove_file(&files.public).unwrap();
        assert!(SignKey::generate(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let files = SignKey::generate(&path).unwrap();
        let error = format!("{:#}", SignKey::read(&files.public).unwrap_err());
        assert!(error.contains("expected an Ed25519 key in PKCS#8 (`BEGIN PRIVATE KEY`)"), "{error}");
        assert!(SignKey::read(folder.path()).unwrap_err().to_string().ends_with("not a regular file"));
        assert!(SignKey::read(&folder.path().join("none")).is_err());
    }
}
