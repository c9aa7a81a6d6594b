//! TLS termination: a certificate from the entry, and what is asked of clients (`en/http/server.md`, "TLS").

use std::sync::Arc;

use registry_schema::authored::http::{ClientAuth, HttpTls, TlsMode};
use registry_schema::authored::scalar::Templated;
use registry_schema::{EntryId, ErrorKind};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use super::fields::Fields;
use crate::error::Error;
use crate::tls as common;

/// What accepts TLS connections for the entry `id`; `None` for plain HTTP.
///
/// # Errors
/// What is wrong with the block; never what is in a key.
pub(super) fn acceptor(
    id: &EntryId,
    fields: &Fields<'_>,
    tls: &HttpTls,
) -> Result<Option<TlsAcceptor>, Error> {
    let wrong = |message: String| Error::new(ErrorKind::Invalid, format!("`{id}`: `tls`: {message}"));
    let mode = fields.optional("tls.mode", tls.mode.as_ref())?.unwrap_or(TlsMode::Off);
    let text = |name: &str, value: Option<&Templated<String>>, variable: Option<&Templated<String>>| match (
        value, variable,
    ) {
        (Some(_), Some(_)) => Err(wrong(format!("`{name}` and `{name}_env` are both given"))),
        (Some(value), None) => fields.get(&format!("tls.{name}"), value).map(Some),
        (None, Some(variable)) => {
            let field = format!("tls.{name}_env");
            let variable = fields.get(&field, variable)?;
            fields.variable(&field, &variable).map(Some)
        }
        (None, None) => Ok(None),
    };
    let cert = text("cert", tls.cert.as_ref(), tls.cert_env.as_ref())?;
    let key = text("key", tls.key.as_ref(), tls.key_env.as_ref())?;
    let client_ca = text("client_ca", tls.client_ca.as_ref(), tls.client_ca_env.as_ref())?;
    let client_auth = fields.optional("tls.client_auth", tls.client_auth.as_ref())?;
    match mode {
        TlsMode::Off if cert.is_none() && key.is_none() && client_ca.is_none() && client_auth.is_none() => {
            return Ok(None);
        }
        // Plain HTTP is not what somebody meant who wrote a certificate.
        TlsMode::Off => return Err(wrong("certificates need `mode: manual`".to_owned())),
        TlsMode::Auto => {
            let message = format!("`{id}`: `tls.mode: auto` needs an overlay network, which is not offered");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        TlsMode::Manual => {}
    }
    let (Some(cert), Some(key)) = (cert, key) else {
        return Err(wrong("`mode: manual` needs `cert` and `key`".to_owned()));
    };
    let provider = common::provider();
    let verifier = verifier(&provider, client_auth, client_ca.as_deref()).map_err(wrong)?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = common::certificates("cert", cert.as_bytes()).map_err(wrong)?;
    let key = common::key("key", key.as_bytes()).map_err(wrong)?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| wrong(error.to_string()))?;
    config.alpn_protocols = common::http_versions();
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// What looks at the certificates of clients; `None` when none is asked for.
fn verifier(
    provider: &Arc<CryptoProvider>,
    client_auth: Option<ClientAuth>,
    client_ca: Option<&str>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let verified = |ca: Option<&str>| {
        let ca = ca.ok_or("`client_auth` needs `client_ca`")?;
        let mut roots = RootCertStore::empty();
        common::trust(&mut roots, "client_ca", ca.as_bytes())?;
        Ok::<_, String>(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)))
    };
    let unverified = |needed| {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(AnyCertificate { needed, algorithms }) as Arc<dyn ClientCertVerifier>
    };
    let built = match client_auth {
        // A list of authorities that nobody is checked against would protect nothing.
        None if client_ca.is_some() => return Err("`client_ca` needs `client_auth`".to_owned()),
        None => return Ok(None),
        Some(ClientAuth::Request) => return Ok(Some(unverified(Needed::No))),
        Some(ClientAuth::RequireAny) => return Ok(Some(unverified(Needed::Yes))),
        Some(ClientAuth::VerifyIfGiven) => verified(client_ca)?.allow_unauthenticated().build(),
        Some(ClientAuth::RequireAndVerify) => verified(client_ca)?.build(),
    };
    built.map(Some).map_err(|error| format!("`client_ca`: {error}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    Yes,
    No,
}

/// Takes any certificate whose key the client has: `request` and `require_any` name no authority.
#[derive(Debug)]
struct AnyCertificate {
    needed: Needed,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.needed == Needed::Yes
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
