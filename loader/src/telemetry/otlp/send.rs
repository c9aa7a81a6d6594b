//! One request to the collector: a connection of its own, plain or TLS.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::OTEL_SEND_TIMEOUT;
use crate::settings::Otel;
use crate::tls;

/// Where spans go.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    tls: Option<tokio_rustls::TlsConnector>,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a request failed.
pub(super) struct Problem {
    pub(super) message: String,
    /// Whether the same request may succeed later.
    pub(super) may_pass: bool,
}

fn passing(error: impl fmt::Display) -> Problem {
    Problem { message: error.to_string(), may_pass: true }
}

impl Endpoint {
    /// The endpoint of the settings, whose certificate is checked by `roots`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(otel: &Otel, roots: &Arc<RootCertStore>) -> Result<Self, String> {
        let scheme = if otel.insecure { "http" } else { "https" };
        let text = match otel.endpoint.contains("://") {
            true => otel.endpoint.clone(),
            false => format!("{scheme}://{}", otel.endpoint),
        };
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let host = uri.host().ok_or("it names no host")?.trim_matches(['[', ']']).to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(connector(roots)?), 443),
            _ => return Err("expected `http://` or `https://`".to_owned()),
        };
        let mut headers = Vec::new();
        for pair in otel.headers.iter().flat_map(|headers| headers.split(',')).map(str::trim) {
            // The text is a secret: no part of it is shown.
            let header = pair.split_once('=').and_then(|(name, value)| {
                let name = HeaderName::try_from(name.trim()).ok()?;
                let mut value = HeaderValue::try_from(value.trim()).ok()?;
                value.set_sensitive(true);
                Some((name, value))
            });
            headers.push(header.ok_or("`otel.headers` must be `name=value`, with commas between")?);
        }
        let path = format!("{}/v1/traces", uri.path().trim_end_matches('/'));
        Ok(Self { host, port: uri.port_u16().unwrap_or(port), tls, path, headers })
    }

    /// Sends one request.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<(), Problem> {
        let sent = tokio::time::timeout(OTEL_SEND_TIMEOUT, self.connect_and_post(body)).await;
        sent.unwrap_or_else(|_| Err(passing("the collector does not answer")))
    }

    async fn connect_and_post(&self, body: Vec<u8>) -> Result<(), Problem> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(passing)?;
        match &self.tls {
            None => self.post_over(stream, body).await,
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from(self.host.clone())
                    .map_err(|error| Problem { message: error.to_string(), may_pass: false })?;
                let stream = tls.connect(name, stream).await.map_err(passing)?;
                self.post_over(stream, body).await
            }
        }
    }

    async fn post_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: Vec<u8>,
    ) -> Result<(), Problem> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(passing)?;
        let mut request = Request::post(self.path.as_str())
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Problem { message: error.to_string(), may_pass: false })?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(passing)?;
            let status = answer.status();
            let may_pass = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            match status.is_success() {
                true => Ok(()),
                false => Err(Problem { message: format!("the collector answered {status}"), may_pass }),
            }
        };
        // The connection ends with the answer: the next batch makes its own.
        tokio::select! {
            answer = answer => answer,
            Err(error) = connection => Err(passing(error)),
        }
    }
}

fn connector(roots: &Arc<RootCertStore>) -> Result<tokio_rustls::TlsConnector, String> {
    let client = tls::client().map_err(|error| error.to_string())?;
    Ok(Arc::new(client.with_root_certificates(Arc::clone(roots)).with_no_client_auth()).into())
}
