//! Connections: looked up, checked, dialled, encrypted, and spoken HTTP on.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "lua")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "lua")]
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use wasmtime_wasi_http::WasiBody;

use super::names::Names;
use super::places::Place;
use super::rules::{Door, Refused, Rules};
use super::stall::Stalling;
use super::target::{Encryption, Target};
use super::tls;
use super::writing::{RequestBody, Writing};
use crate::config::{EGRESS_ADDRESSES_MAX, EGRESS_HEADER_BYTES_MAX, EGRESS_HEADERS_MAX};

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refused),
    /// The request can't be sent.
    Invalid(String),
    /// Which wait took too long.
    Timeout(Wait),
    /// The name has no address.
    Lookup(String),
    Connect(io::Error),
    Tls(io::Error),
    Http(hyper::Error),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Connection,
    Response,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Invalid(problem) => f.write_str(problem),
            Self::Timeout(Wait::Connection) => f.write_str("no connection in time"),
            Self::Timeout(Wait::Response) => f.write_str("no response in time"),
            Self::Lookup(problem) => f.write_str(problem),
            Self::Connect(error) => write!(f, "can't connect: {error}"),
            Self::Tls(error) => write!(f, "no encrypted connection: {error}"),
            Self::Http(error) => {
                let cause = std::error::Error::source(error);
                write!(f, "{error}")?;
                cause.map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A connection that speaks HTTP.
pub(super) struct Connection {
    sender: Sender,
    /// What was dialled; `None` for a socket of this machine.
    pub(super) peer: Option<SocketAddr>,
}

enum Sender {
    Http1(http1::SendRequest<WasiBody>, Arc<Writing>),
    Http2(http2::SendRequest<WasiBody>),
}

/// A request that was not sent, or what went wrong while it was.
pub(super) type Unsent = TrySendError<Request<WasiBody>>;

impl Connection {
    /// Whether it may take a request later.
    pub(super) fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender, _) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Whether it has written all of its request, so that it may take the next one.
    pub(super) fn is_written(&self) -> bool {
        match &self.sender {
            Sender::Http1(_, writing) => writing.is_done(),
            Sender::Http2(_) => true,
        }
    }

    /// A second handle of a connection that takes many requests at once.
    pub(super) fn shared(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(..) => None,
            Sender::Http2(sender) => Some(Self { sender: Sender::Http2(sender.clone()), peer: self.peer }),
        }
    }

    /// Waits until it takes a request; `false` when it has gone.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender, _) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends `request`, whose URL is absolute.
    pub(super) async fn send(
        &mut self,
        mut request: Request<WasiBody>,
    ) -> Result<Response<Incoming>, Box<Unsent>> {
        match &mut self.sender {
            Sender::Http1(sender, writing) => {
                let mut request = request.map(|body| RequestBody::new(body, writing).boxed_unsync());
                // To a server, in contrast to a proxy, path and query alone are said.
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = path.map(http::Uri::from).unwrap_or_default();
                sender.try_send_request(request).await.map_err(Box::new)
            }
            Sender::Http2(sender) => {
                // The URL says it.
                request.headers_mut().remove(http::header::HOST);
                sender.try_send_request(request).await.map_err(Box::new)
            }
        }
    }
}

/// What a connection has for as long as it is open.
pub(super) struct Kept {
    /// Its place among those that may be open.
    pub(super) place: Place,
    /// How long its other end may take nothing of what is written.
    pub(super) write: Duration,
}

/// Connects to `target` by what `rules` allow of its addresses, one after another. Of what is left until `end`, each
/// has as much as each of those after it: one that does not answer leaves them their part.
pub(super) async fn dial(
    rules: &Rules,
    target: &Target,
    names: &Names,
    end: Instant,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let (mut failed, mut allowed) = (None, Vec::new());
    for address in addresses(rules, target, names).await? {
        match rules.address(Door::Http, &[&target.host], address) {
            Ok(()) => allowed.push(address),
            Err(refused) => failed = failed.or(Some(Failure::Refused(refused))),
        }
    }
    for (address, left) in allowed.iter().zip((1..=allowed.len()).rev()) {
        // There are few.
        let parts = u32::try_from(left).unwrap_or(u32::MAX);
        let part = end.saturating_duration_since(Instant::now()) / parts;
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written whole; a failure costs time, nothing else.
                let _ = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => failed = Some(Failure::Connect(error)),
            Err(_) => failed = Some(Failure::Timeout(Wait::Connection)),
        }
    }
    Err(failed.unwrap_or_else(|| Failure::Lookup(format!("`{}` has no address", target.host))))
}

/// What the host of `target` stands for, if `rules` may allow some of it.
async fn addresses(rules: &Rules, target: &Target, names: &Names) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = target.host.parse() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    rules.lookup_at(&target.host, target.port)?;
    let found = names.look_up(&target.host).await;
    let mut found =
        found.map_err(|error| Failure::Lookup(format!("`{}` can't be resolved: {error}", target.host)))?;
    found.truncate(EGRESS_ADDRESSES_MAX);
    found.iter_mut().for_each(|address| address.set_port(target.port));
    Ok(found)
}

/// Makes a connection of `stream`: encrypts it if `target` says so, and agrees on a version of HTTP.
pub(super) async fn start(
    stream: TcpStream,
    peer: SocketAddr,
    target: &Target,
    config: Option<(Arc<ClientConfig>, &str)>,
    kept: Kept,
) -> Result<Connection, Failure> {
    match (target.encryption, config) {
        (Encryption::Tls, Some((config, name))) => {
            let stream = tls::encrypt(config, name, stream).await.map_err(Failure::Tls)?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if is_http2 {
                http2(stream, Some(peer), kept).await
            } else {
                http1(stream, Some(peer), kept).await
            }
        }
        _ => http1(stream, Some(peer), kept).await,
    }
}

/// Makes a connection to the socket `path` of this machine.
#[cfg(feature = "lua")]
pub(super) async fn start_unix(path: &Path, kept: Kept) -> Result<Connection, Failure> {
    let stream = UnixStream::connect(path).await.map_err(Failure::Connect)?;
    http1(stream, None, kept).await
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    kept: Kept,
) -> Result<Connection, Failure> {
    let writing = Arc::<Writing>::default();
    let stream = Stalling::new(stream, kept.write, Arc::clone(&writing));
    let mut builder = http1::Builder::new();
    builder.max_headers(EGRESS_HEADERS_MAX).max_buf_size(EGRESS_HEADER_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    // It ends when its last handle does; what went wrong is seen by the request.
    tokio::spawn(async move {
        let _place = kept.place;
        let _ = connection.await;
    });
    Ok(Connection { sender: Sender::Http1(sender, writing), peer })
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Option<SocketAddr>,
    kept: Kept,
) -> Result<Connection, Failure> {
    let stream = Stalling::new(stream, kept.write, Arc::default());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let headers = u32::try_from(EGRESS_HEADER_BYTES_MAX).unwrap_or(u32::MAX);
    builder.timer(TokioTimer::new()).max_header_list_size(headers);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    tokio::spawn(async move {
        let _place = kept.place;
        let _ = connection.await;
    });
    Ok(Connection { sender: Sender::Http2(sender), peer })
}
