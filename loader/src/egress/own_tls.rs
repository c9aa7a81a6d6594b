//! TLS settings of one request.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::tls;

/// How the server's certificate is checked.
pub(crate) enum Verification {
    /// As those of requests without settings of their own.
    ByRoots(Arc<RootCertStore>),
    /// By these certificates in PEM format alone.
    By(Vec<u8>),
    Skipped,
}

/// Settings with `client`, certificate chain and key in PEM format, if it is given.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn config(
    verification: Verification,
    client: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Arc<ClientConfig>, String> {
    let builder = tls::client().map_err(|error| error.to_string())?;
    let builder = match verification {
        Verification::ByRoots(roots) => builder.with_root_certificates(roots),
        Verification::By(pem) => {
            let mut roots = RootCertStore::empty();
            tls::trust(&mut roots, "ca", &pem)?;
            builder.with_root_certificates(roots)
        }
        Verification::Skipped => {
            let provider = Arc::clone(builder.crypto_provider());
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        }
    };
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let (chain, key) = (tls::certificates("cert", &chain)?, tls::key("key", &key)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("`cert`: {error}"))?
        }
    };
    config.alpn_protocols = tls::http_versions();
    Ok(Arc::new(config))
}

/// Takes every certificate; that the server has its key is still checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
