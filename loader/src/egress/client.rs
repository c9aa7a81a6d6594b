//! One request: checked, sent over a connection of the pool or a new one, answered.

use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use registry_schema::EntryId;
#[cfg(feature = "lua")]
use rustls::ClientConfig;
#[cfg(any(feature = "lua", feature = "otel"))]
use rustls::RootCertStore;
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi_http::WasiBody;

use super::body::{Home, ResponseBody};
use super::connection::{self, Connection, Failure, Kept, Wait};
use super::names::Names;
use super::places::{Places, Room};
use super::pool::{Key, Pool};
use super::rules::Rules;
use super::target::{Encryption, Target};
use super::tls::Tls;
use crate::config::{EGRESS_BETWEEN_BYTES, EGRESS_CONNECT, EGRESS_FIRST_BYTE, EGRESS_WRITE};

/// Sends requests for guests and for Lua.
pub(crate) struct Egress {
    pool: Arc<Pool>,
    tls: Tls,
    /// Connections that may be open at once.
    places: Arc<Places>,
    names: Names,
}

/// Longest waits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For a connection: a place, a look-up and encryption included.
    pub(crate) connect: Duration,
    /// From the request to the head of the response.
    pub(crate) first_byte: Duration,
    /// Between two parts of the response.
    pub(crate) between_bytes: Duration,
    /// For the server to take more of the request; of the connection, so it is the same for all requests of an entry.
    pub(crate) write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: EGRESS_CONNECT,
            first_byte: EGRESS_FIRST_BYTE,
            between_bytes: EGRESS_BETWEEN_BYTES,
            write: EGRESS_WRITE,
        }
    }
}

/// How a server is reached.
#[derive(Clone, Default)]
pub(crate) enum Route {
    /// By connections that requests share.
    #[default]
    Shared,
    /// With encryption of the request's own, on a connection of its own; the name is checked instead of the host.
    #[cfg(feature = "lua")]
    OwnTls(Arc<ClientConfig>, Option<String>),
    /// By a socket of this machine.
    #[cfg(feature = "lua")]
    Unix(std::path::PathBuf),
}

impl Egress {
    pub(crate) fn new(tls: Tls, names: Names) -> Self {
        Self::with_room(tls, names, Room::default())
    }

    /// One with `room` for connections.
    pub(super) fn with_room(tls: Tls, names: Names, room: Room) -> Self {
        Self::with_places(tls, names, Arc::new(Places::new(room)))
    }

    /// One in the place of this: both together have as many connections as one. They share none, since what they trust
    /// may differ.
    pub(crate) fn successor(&self, tls: Tls, names: Names) -> Self {
        Self::with_places(tls, names, Arc::clone(&self.places))
    }

    fn with_places(tls: Tls, names: Names, places: Arc<Places>) -> Self {
        let pool = Arc::default();
        places.join(&pool);
        Self { pool, tls, places, names }
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What its connections trust.
    ///
    /// # Errors
    /// What is wrong with the first file of roots that can't be used.
    #[cfg(any(feature = "lua", feature = "otel"))]
    pub(crate) fn roots(&self) -> Result<&Arc<RootCertStore>, crate::tls::Unusable> {
        self.tls.roots()
    }

    /// Sends `request` to `target` for the entry `entry`, by its `rules`. Redirects are not followed.
    pub(crate) async fn send(
        &self,
        entry: &Arc<EntryId>,
        rules: &Rules,
        target: &Target,
        request: Request<WasiBody>,
        route: &Route,
        timeouts: Timeouts,
    ) -> Result<Response<WasiBody>, Failure> {
        let mut request = prepared(target, request)?;
        rules.policy("http_client.request", &target.url())?;
        let key = Key::new(entry, target);
        let is_shared = matches!(route, Route::Shared);
        if is_shared && let Some(mut connection) = self.pool.take(&key, rules) {
            let ready = timeout(timeouts.connect, connection.is_ready()).await;
            if ready.unwrap_or(false) {
                match timeout(timeouts.first_byte, connection.send(request)).await {
                    Err(_) => return Err(Failure::Timeout(Wait::Response)),
                    Ok(Ok(response)) => return Ok(self.answered(response, key, connection, timeouts)),
                    // It had gone meanwhile: what was not sent is sent on a new one.
                    Ok(Err(mut unsent)) => match unsent.take_message() {
                        Some(back) => request = restored(target, back)?,
                        None => return Err(Failure::Http(unsent.into_error())),
                    },
                }
            }
        }
        let mut connection = self.connect(entry, rules, target, route, timeouts).await?;
        let shared = connection.shared().filter(|_| is_shared);
        if let Some(shared) = shared {
            self.pool.give(key.clone(), shared);
        }
        let sending = timeout(timeouts.first_byte, connection.send(request));
        let response = sending.await.map_err(|_| Failure::Timeout(Wait::Response))?;
        let response = response.map_err(|unsent| Failure::Http(unsent.into_error()))?;
        if is_shared {
            return Ok(self.answered(response, key, connection, timeouts));
        }
        Ok(response.map(|body| ResponseBody::new(body, timeouts.between_bytes, None).boxed_unsync()))
    }

    /// A new connection of `entry`: a place for it, a look-up, the connection itself and its encryption together take no longer
    /// than `timeouts` say.
    pub(super) async fn connect(
        &self,
        entry: &Arc<EntryId>,
        rules: &Rules,
        target: &Target,
        route: &Route,
        timeouts: Timeouts,
    ) -> Result<Connection, Failure> {
        let end = Instant::now() + timeouts.connect;
        let connecting = async {
            let place = self.places.take(entry).await;
            let place = place.map_err(|error| Failure::Connect(std::io::Error::other(error)))?;
            self.connected(rules, target, route, end, Kept { place, write: timeouts.write }).await
        };
        timeout_at(end, connecting).await.map_err(|_| Failure::Timeout(Wait::Connection))?
    }

    async fn connected(
        &self,
        rules: &Rules,
        target: &Target,
        route: &Route,
        end: Instant,
        kept: Kept,
    ) -> Result<Connection, Failure> {
        #[cfg(feature = "lua")]
        if let Route::Unix(path) = route {
            return connection::start_unix(path, kept).await;
        }
        let (stream, peer) = connection::dial(rules, target, &self.names, end).await?;
        let config = match (target.encryption, route) {
            (Encryption::Plain, _) => None,
            #[cfg(feature = "lua")]
            (Encryption::Tls, Route::OwnTls(config, name)) => {
                Some((Arc::clone(config), name.as_deref().unwrap_or(&target.host)))
            }
            (Encryption::Tls, _) => Some((self.tls.shared().map_err(Failure::Tls)?, target.host.as_str())),
        };
        connection::start(stream, peer, target, config, kept).await
    }

    /// The response as its reader sees it; `connection` goes to the pool at its end.
    pub(super) fn answered(
        &self,
        response: Response<hyper::body::Incoming>,
        key: Key,
        connection: Connection,
        timeouts: Timeouts,
    ) -> Response<WasiBody> {
        // A shared one is in the pool already.
        let home =
            connection.shared().is_none().then(|| Home { pool: Arc::clone(&self.pool), key, connection });
        response.map(|body| ResponseBody::new(body, timeouts.between_bytes, home).boxed_unsync())
    }
}

/// `request` with the URL and the host of `target`, which is what was checked.
fn prepared(target: &Target, request: Request<WasiBody>) -> Result<Request<WasiBody>, Failure> {
    // A tunnel would carry what nobody checks.
    if request.method() == Method::CONNECT {
        return Err(Failure::Invalid("the method `CONNECT` is not offered".to_owned()));
    }
    restored(target, request)
}

fn restored(target: &Target, mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::Invalid(format!("the URL can't be sent: {error}"));
    *request.uri_mut() = target.url().parse().map_err(|error| invalid(&error))?;
    let host = HeaderValue::from_str(&target.authority()).map_err(|error| invalid(&error))?;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}
