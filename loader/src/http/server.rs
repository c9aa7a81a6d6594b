//! Listening: connections are accepted, read within limits, and let to their end when the server stops.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use registry_schema::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::serve::serve;
use super::site::Site;
use super::visit::Peer;
use super::watch::{Watch, Watched};
use crate::config::{
    HTTP_ACCEPT_WAIT, HTTP_CONNECTIONS_MAX, HTTP_HANDSHAKE_TIME, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX,
    HTTP_LINGER_TIME, HTTP_STREAMS_MAX,
};
use crate::error::Error;

/// A listener that serves a [`Site`]. Dropping it ends it and its connections at once.
pub struct Server {
    address: SocketAddr,
    current: Arc<Current>,
    draining: watch::Sender<bool>,
    accepting: Accepting,
}

/// What is served now.
struct Current(RwLock<Arc<Site>>);

impl Current {
    fn get(&self) -> Arc<Site> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Accepts connections until it is told to drain, then waits for them.
struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Listens for `site`, on the current tokio runtime.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable, when the address can't be listened on.
    pub async fn start(site: Site) -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            let message = format!("`{}` can't listen on `{}`: {error}", site.id, site.address);
            Error::new(ErrorKind::Unavailable, message).retryable()
        };
        let listener = match TcpListener::bind(site.address()).await {
            Ok(listener) => listener,
            // Without IPv6, every address is one of IPv4.
            Err(error) => match site.address().strip_prefix("[::]:") {
                Some(port) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                    TcpListener::bind(format!("0.0.0.0:{port}")).await.map_err(failed)?
                }
                _ => return Err(failed(error)),
            },
        };
        let address = listener.local_addr().map_err(failed)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(site))));
        let (draining, drained) = watch::channel(false);
        let accepting = Accepting(tokio::spawn(accept(listener, Arc::clone(&current), drained)));
        Ok(Self { address, current, draining, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn site(&self) -> Arc<Site> {
        self.current.get()
    }

    /// Serves `site` from now on, on the same address: the next request on any connection is answered by it,
    /// those under way by what they began with. Limits of connections, and certificates, are those of the
    /// next connection.
    pub fn replace(&self, site: Site) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
    }

    /// Stops: new connections are refused, requests under way have `limit` to end, the service's
    /// `stop_timeout` when it is not given.
    pub async fn stop(mut self, limit: Option<Duration>) {
        let limit = limit.unwrap_or(self.current.get().times.stop);
        // It is gone when the task has ended already.
        let _ = self.draining.send(true);
        // What is left then is dropped with the task.
        let _ = tokio::time::timeout(limit, &mut self.accepting.0).await;
    }
}

async fn accept(listener: TcpListener, current: Arc<Current>, mut draining: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let drained = draining.clone();
    loop {
        let accepted = async {
            // Further clients wait in the system's queue.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            biased;
            () = requested(&mut draining) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (accepted, permit) = accepted => match (accepted, permit) {
                (Ok((stream, address)), Ok(permit)) => {
                    let connection = connection(stream, address, Arc::clone(&current), drained.clone());
                    connections.spawn(held(permit, connection));
                }
                // No descriptor is left, or the client went away: neither lasts.
                _ => tokio::time::sleep(HTTP_ACCEPT_WAIT).await,
            },
        }
    }
    // Clients that are connected already may have sent requests. The listener is asked itself: what tokio knows of it
    // may be older than its queue.
    if let Ok(listener) = listener.into_std() {
        while let Some((stream, address)) = waiting(&listener)
            && let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
        {
            let connection = connection(stream, address, Arc::clone(&current), drained.clone());
            connections.spawn(held(permit, connection));
        }
    }
    while connections.join_next().await.is_some() {}
}

/// A connection in the queue of a listener, which does not block.
fn waiting(listener: &std::net::TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    Some((TcpStream::from_std(stream).ok()?, address))
}

/// Waits until the server stops.
async fn requested(draining: &mut watch::Receiver<bool>) {
    // A server that is gone wants nothing to go on.
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn held(_permit: OwnedSemaphorePermit, connection: impl Future<Output = ()>) {
    connection.await;
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    current: Arc<Current>,
    draining: watch::Receiver<bool>,
) {
    let site = current.get();
    // Answers are small, and none should wait for the next.
    let _ = stream.set_nodelay(true);
    let watch = Watch::new(site.times.patience);
    let tls = site.tls.clone();
    // A connection outlives the bundle that it began with.
    drop(site);
    match tls {
        None => {
            let peer = Peer { address, is_tls: false };
            requests(Watched { stream, watch: watch.clone() }, watch, peer, current, draining).await;
        }
        Some(acceptor) => {
            let handshake = tokio::time::timeout(HTTP_HANDSHAKE_TIME, acceptor.accept(stream));
            let Ok(Ok(stream)) = handshake.await else { return };
            let peer = Peer { address, is_tls: true };
            requests(Watched { stream, watch: watch.clone() }, watch, peer, current, draining).await;
        }
    }
}

/// Serves the requests of one connection.
async fn requests<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: Watched<S>,
    watch: Watch,
    peer: Peer,
    current: Arc<Current>,
    mut draining: watch::Receiver<bool>,
) {
    let (counted, closing) = (watch.clone(), Arc::new(AtomicBool::new(false)));
    let closes = Arc::clone(&closing);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (site, ticket, closes) = (current.get(), counted.request(), Arc::clone(&closes));
        async move {
            let is_http1 = request.version() < Version::HTTP_2;
            let mut answer = serve(site, peer, request, ticket).await;
            if is_http1 && closes.load(Ordering::Relaxed) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut exhausted = std::pin::pin!(watch.exhausted());
    let lingering = async {
        requested(&mut draining).await;
        closing.store(true, Ordering::Relaxed);
        if !watch.is_http2() {
            tokio::time::sleep(HTTP_LINGER_TIME).await;
        }
    };
    let mut lingering = std::pin::pin!(lingering);
    let mut has_lingered = false;
    loop {
        tokio::select! {
            // What a client did wrong was answered, as far as it could be.
            _ = connection.as_mut() => return,
            () = exhausted.as_mut() => return,
            () = lingering.as_mut(), if !has_lingered => {
                has_lingered = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `watch.rs` has what this is for.
        .header_read_timeout(None)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HTTP_HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    builder
}
