//! What TLS has in common wherever it is spoken: certificates and keys as PEM text, the roots that this process
//! trusts, and where settings begin.
//!
//! Problems name what a text was given as, never what is in it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
#[cfg(feature = "lua")]
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::config::CA_FILE_BYTES_MAX;

/// A file of roots that can't be used.
pub(crate) struct Unusable {
    /// Its position.
    pub(crate) at: usize,
    pub(crate) problem: String,
    pub(crate) hint: &'static str,
}

/// The public roots and the certificates in `files`.
///
/// # Errors
/// What is wrong with the first of `files` that can't be used.
pub(crate) fn roots(files: &[PathBuf]) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for (at, file) in files.iter().enumerate() {
        let name = file.display().to_string();
        let pem = read(file).map_err(|problem| Unusable {
            at,
            problem: format!("can't read `{name}`: {problem}"),
            hint: "a relative path in `.wippy.yaml` starts from `--root`, any other from the working directory",
        })?;
        trust(&mut roots, &name, &pem).map_err(|problem| Unusable {
            at,
            problem,
            hint: "a certificate in PEM format begins with `-----BEGIN CERTIFICATE-----`; `openssl x509 -inform der` \
                   makes it of one in DER",
        })?;
    }
    Ok(roots)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    let read = File::open(file).and_then(|file| file.take(CA_FILE_BYTES_MAX + 1).read_to_end(&mut pem));
    let bytes = read.map_err(|error| error.to_string())?;
    if bytes as u64 > CA_FILE_BYTES_MAX {
        return Err(format!("it has more than {CA_FILE_BYTES_MAX} bytes"));
    }
    Ok(pem)
}

/// Adds the certificates in `pem` to `roots`.
///
/// # Errors
/// What is wrong with `name`.
pub(crate) fn trust(roots: &mut RootCertStore, name: &str, pem: &[u8]) -> Result<(), String> {
    for certificate in certificates(name, pem)? {
        roots.add(certificate).map_err(|error| format!("`{name}`: {error}"))?;
    }
    Ok(())
}

/// The certificates in `pem`, one at least.
///
/// # Errors
/// What is wrong with `name`.
pub(crate) fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |problem: String| format!("`{name}` has no certificates as PEM text: {problem}");
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("found none".to_owned())) } else { Ok(found) }
}

/// The private key in `pem`.
///
/// # Errors
/// What is wrong with `name`.
#[cfg(feature = "lua")]
pub(crate) fn key(name: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem);
    key.map_err(|error| format!("`{name}` is no private key as PEM text: {error}"))
}

/// What encrypts, on both sides.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Settings of a client before anything is said of certificates.
pub(crate) fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

/// The versions of HTTP that are spoken, the preferred one first.
pub(crate) fn http_versions() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
