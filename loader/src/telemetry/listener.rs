//! `/metrics`, `/healthz` and `/readyz` over HTTP/1.1, on an address of their own.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::{METRICS_ACCEPT_DELAY, METRICS_CONNECTION_MAX, METRICS_CONNECTIONS_MAX};
use crate::loader::Loader;

/// Whether the program is ready to serve.
pub(super) type Ready = dyn Fn() -> bool + Send + Sync;

/// Serves what is counted. A socket that listens from the start; connections are taken by
/// [`MetricsServer::serve`].
pub struct MetricsServer {
    listener: TcpListener,
    shown: Shown,
}

/// What is shown now. Clones are the same.
#[derive(Clone)]
pub(super) struct Shown(Arc<RwLock<Arc<State>>>);

struct State {
    loader: Loader,
    ready: Box<Ready>,
}

impl Shown {
    fn get(&self) -> Arc<State> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the program is ready.
    pub(super) fn is_ready(&self) -> bool {
        (self.get().ready)()
    }

    /// Shows `loader` from now on.
    pub(super) fn replace(&self, loader: Loader, ready: Box<Ready>) {
        let next = Arc::new(State { loader, ready });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl MetricsServer {
    /// Listens on `address`, `host:port`; `:port` is every address of the machine. `/readyz` answers 200
    /// while `ready` says so, else 503.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub async fn bind(
        loader: Loader,
        address: &str,
        ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let address = if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
        let listener = TcpListener::bind(address).await?;
        let state = Arc::new(State { loader, ready: Box::new(ready) });
        Ok(Self { listener, shown: Shown(Arc::new(RwLock::new(state))) })
    }

    /// What it shows.
    pub(super) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `stop`. At most [`METRICS_CONNECTIONS_MAX`] connections are open, each for at
    /// most [`METRICS_CONNECTION_MAX`]; further ones wait.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            let (Ok(place), Ok((stream, _))) = accepted else {
                // No descriptor left: that passes when connections end.
                tokio::time::sleep(METRICS_ACCEPT_DELAY).await;
                continue;
            };
            let shown = self.shown.clone();
            connections.spawn(async move {
                let answer = service_fn(move |request| {
                    let answer = answer(&shown.get(), &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(METRICS_CONNECTION_MAX);
                let connection = server.serve_connection(TokioIo::new(stream), answer);
                // A client that breaks off is no failure of ours.
                let _ = tokio::time::timeout(METRICS_CONNECTION_MAX, connection).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    }
}

fn answer<B>(state: &State, request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", state.loader.metrics())
        }
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match (state.ready)() {
            true => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
            false => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "not ready\n".to_owned()),
        },
        (_, "/metrics" | "/healthz" | "/readyz") => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", "see /metrics, /healthz and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(all(test, feature = "lua"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::security::testing::{Opened, open};

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_what_is_asked_until_it_is_stopped() {
        let Opened { loader, .. } = open(serde_json::json!({}), &[]);
        let is_ready = Arc::new(AtomicBool::new(false));
        let ready = Arc::clone(&is_ready);
        let server =
            MetricsServer::bind(loader, "127.0.0.1:0", move || ready.load(Ordering::Relaxed)).await.unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        let metrics = get(address, "GET /metrics").await;
        assert!(
            metrics.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"),
            "{metrics}"
        );
        assert!(metrics.contains("\nwippy_instances 0\n"), "{metrics}");
        assert!(get(address, "GET /healthz").await.ends_with("\r\n\r\nok\n"));
        assert!(get(address, "GET /readyz").await.starts_with("HTTP/1.1 503 "));
        is_ready.store(true, Ordering::Relaxed);
        assert!(get(address, "GET /readyz").await.starts_with("HTTP/1.1 200 "));
        assert!(get(address, "GET /other").await.starts_with("HTTP/1.1 404 "));
        let refused = get(address, "POST /metrics").await;
        assert!(
            refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD\r\n"),
            "{refused}"
        );
        // Connections beyond the limit wait, and are served when others end.
        let mut idle = Vec::new();
        for _ in 0..METRICS_CONNECTIONS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let waiting = tokio::spawn(async move { get(address, "GET /healthz").await });
        // Far more turns than one that is served takes, those that look at sockets among them.
        for _ in 0..20_000 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        drop(idle);
        assert!(waiting.await.unwrap().ends_with("ok\n"));
        stop.send(()).unwrap();
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
