//! What these tests share: an application with one server, and a client for it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use loader::http::{Server, Site};
use loader::registry_schema::EntryId;
use loader::{Error, GuestLog, Loader, Stream};
use tokio::net::TcpStream;

use crate::support::{Built, Registry};

/// Lines of the log.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Those since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl GuestLog for Lines {
    fn line(&self, entry: &EntryId, _: Stream, line: &str) {
        self.0.lock().unwrap().push(format!("[{entry}] {line}"));
    }
}

/// A registry with the service `app:web`; `service` and `router` are further fields, one per line.
pub(crate) fn registry(service: &str, router: &str) -> Registry {
    let more = |text: &str| {
        text.lines().fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "  {line}");
            out
        })
    };
    let (service, router) = (more(service), more(router));
    Registry::new().entries(&format!(
        "- name: web\n  kind: http.service\n  addr: \"127.0.0.1:0\"\n{service}- name: api\n  kind: http.router\n  \
         meta: {{server: web}}\n{router}"
    ))
}

/// Adds the endpoint `NAME` of the router `app:api`, and the Lua function `NAME_function` that answers it.
pub(crate) fn lua(registry: Registry, name: &str, route: &str, source: &str) -> Registry {
    let source: String = source.trim_matches('\n').lines().map(|line| format!("    {line}\n")).collect();
    endpoint(registry, name, route, &format!("{name}_function")).entries(&format!(
        "- name: {name}_function\n  kind: function.lua\n  modules: [http, funcs, json, time, security, channel]\n  source: |\n    \
         local http = require(\"http\")\n    return function()\n    local req, res = http.request(), http.response()\n{source}    end\n"
    ))
}

/// Adds an endpoint; `route` is its method and path.
pub(crate) fn endpoint(registry: Registry, name: &str, route: &str, function: &str) -> Registry {
    let (method, path) = route.split_once(' ').unwrap();
    registry.entries(&format!(
        "- name: {name}\n  kind: http.endpoint\n  meta: {{router: api}}\n  method: {method}\n  path: \"{path}\"\n  \
         func: {function}\n"
    ))
}

/// A server under way.
pub(crate) struct App {
    pub(crate) server: Server,
    pub(crate) loader: Loader,
    pub(crate) built: Built,
    lines: Lines,
}

pub(crate) fn id() -> EntryId {
    "app:web".parse().unwrap()
}

impl App {
    pub(crate) async fn new(registry: Registry) -> Self {
        Self::try_new(registry).await.unwrap()
    }

    pub(crate) async fn try_new(registry: Registry) -> Result<Self, Error> {
        let built = registry.build();
        let lines = Lines::default();
        let loader = Loader::builder().guest_log(lines.clone()).open(&built).unwrap();
        let server = Server::start(Site::new(&loader, &id())?).await?;
        Ok(Self { server, loader, built, lines })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// What was logged since this was last asked.
    pub(crate) fn logged(&self) -> Vec<String> {
        self.lines.take()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(self.address()).await
    }

    /// The answer to one request on a connection of its own.
    pub(crate) async fn ask(&self, request: http::request::Builder, body: &str) -> Answer {
        self.client().await.ask(request, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(http::Request::get(path), "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(http::Request::post(path), body).await
    }
}

/// One keep-alive connection.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn ask(&mut self, request: http::request::Builder, body: &str) -> Answer {
        self.try_ask(request, body).await.unwrap()
    }

    pub(crate) async fn try_ask(
        &mut self,
        request: http::request::Builder,
        body: &str,
    ) -> Result<Answer, hyper::Error> {
        let (parts, body) = self.start(request, body).await?.into_parts();
        let bytes = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes })
    }

    /// The answer's head, its body to come.
    pub(crate) async fn start(
        &mut self,
        request: http::request::Builder,
        body: &str,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
        let request = request.header("host", "test.example");
        self.0.ready().await?;
        self.0.send_request(request.body(Full::from(body.to_owned())).unwrap()).await
    }
}

/// An answer as a whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and text.
    pub(crate) fn short(&self) -> (u16, &str) {
        (self.status, self.text())
    }
}
