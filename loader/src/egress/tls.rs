//! TLS of outgoing connections: certificates are checked against the public roots, and those that the options
//! add (`--ca-file`, `SSL_CERT_FILE`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::CA_FILE_BYTES_MAX;

/// The settings that requests without settings of their own share.
pub(crate) struct Tls {
    extra_roots: Vec<PathBuf>,
    shared: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(extra_roots: Vec<PathBuf>) -> Self {
        Self { extra_roots, shared: OnceLock::new() }
    }

    /// Made when they are first asked for: a file of roots that can't be read fails every encrypted request.
    pub(super) fn shared(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.shared.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for path in &self.extra_roots {
            let named = |error: &dyn std::fmt::Display| {
                io::Error::other(format!("the file of certificates `{}`: {error}", path.display()))
            };
            let pem = read(path).map_err(|error| named(&error))?;
            add(&mut roots, &pem).map_err(|error| named(&error))?;
        }
        let config = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Arc::clone(self.shared.get_or_init(|| Arc::new(with_protocols(config)))))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > CA_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {CA_FILE_BYTES_MAX} bytes")));
    }
    std::fs::read(path)
}

/// Adds the certificates in `pem`, of which there must be one.
pub(super) fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    let mut is_empty = true;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        is_empty = false;
    }
    if is_empty { Err("it has no certificate in PEM format".to_owned()) } else { Ok(()) }
}

/// Settings before anything is said of certificates.
pub(super) fn builder() -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)
}

/// `config` with the versions of HTTP that are spoken.
pub(super) fn with_protocols(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Encrypts `stream`; the server must be `host`.
pub(super) async fn encrypt(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await
}
