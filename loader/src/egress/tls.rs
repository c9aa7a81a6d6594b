//! TLS of outgoing connections.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{self, Unusable};

/// What all outgoing connections of a loader trust, and the settings that requests without settings of their own
/// share.
pub(crate) struct Tls {
    files: Vec<PathBuf>,
    roots: OnceLock<Arc<RootCertStore>>,
    shared: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Trusts the public roots and those in `files`.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, roots: OnceLock::new(), shared: OnceLock::new() }
    }

    /// The roots that certificates are checked against unless a request names its own. Files are read when these are
    /// first asked for.
    ///
    /// # Errors
    /// What is wrong with the first file that can't be used.
    pub(crate) fn roots(&self) -> Result<&Arc<RootCertStore>, Unusable> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let roots = Arc::new(tls::roots(&self.files)?);
        Ok(self.roots.get_or_init(|| roots))
    }

    /// Made when they are first asked for: they keep what resumes connections.
    pub(super) fn shared(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.shared.get() {
            return Ok(Arc::clone(config));
        }
        let roots = self.roots().map_err(|unusable| io::Error::other(unusable.problem))?;
        let client = tls::client().map_err(io::Error::other)?;
        let mut config = client.with_root_certificates(Arc::clone(roots)).with_no_client_auth();
        config.alpn_protocols = tls::http_versions();
        Ok(Arc::clone(self.shared.get_or_init(|| Arc::new(config))))
    }
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
