//! One `http.service` and all that hangs on it, checked: what a server needs to know of a bundle.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use registry_schema::authored::duration::Duration as Authored;
use registry_schema::authored::http::{HttpEndpoint, HttpRouter, HttpService};
use registry_schema::authored::scalar::Templated;
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, ErrorKind};
use tokio_rustls::TlsAcceptor;

use super::fields::Fields;
use super::handler::Handler;
use super::middleware::Chain;
use super::routes::{self, Found, Prefix, Routes};
use super::tls;
use super::watch::Patience;
use crate::config::{
    HTTP_HEAD_TIME, HTTP_IDLE_TIME, HTTP_REQUEST_BYTES_MAX, HTTP_STALL_TIME, HTTP_STOP_TIME,
};
use crate::context::Context;
use crate::data::Data;
use crate::environment::Environment;
use crate::error::Error;
use crate::guest_log::Stream;
use crate::loader::Loader;

/// A listener with its routers and endpoints, of one bundle. A [`Server`](super::Server) serves it, and may be
/// given that of the next bundle while it runs.
pub struct Site {
    pub(super) loader: Loader,
    pub(super) id: EntryId,
    pub(super) address: String,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) times: Times,
    /// In bytes.
    pub(super) body_max: u64,
    /// What requests begin with.
    pub(super) context: Context,
    /// Those with the longest prefix first.
    routers: Vec<Router>,
}

/// Time limits; `None` is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) patience: Patience,
    /// For a whole request body.
    pub(super) read: Option<Duration>,
    /// For the next part of a request body.
    pub(super) stall: Option<Duration>,
    /// From the end of a request's head to the end of its answer.
    pub(super) write: Option<Duration>,
    pub(super) stop: Duration,
}

/// Routes that share a prefix and middleware.
pub(super) struct Router {
    pub(super) id: EntryId,
    prefix: Prefix,
    /// Or why it can't be offered.
    pub(super) chain: Result<Chain, String>,
    routes: Routes<Arc<Endpoint>>,
}

/// What a route leads to.
pub(super) struct Endpoint {
    pub(super) id: Arc<EntryId>,
    pub(super) name: String,
    pub(super) meta: Data,
    /// Or why it can't be called.
    pub(super) handler: Result<Handler, Error>,
}

impl Site {
    /// The service `id` of the bundle.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such `http.service`; what is wrong with its fields or with those of its
    /// routers and endpoints, naming entry, field and variable; `UNAVAILABLE` when it needs what is not
    /// offered. A router whose middleware is not offered, or an endpoint whose function is not, is no error:
    /// it answers 503, and the log says why.
    pub fn new(loader: &Loader, id: &EntryId) -> Result<Self, Error> {
        let entry = loader.bundle().manifest().entry(id)?.filter(|entry| entry.kind == "http.service");
        let entry = entry
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no `http.service` `{id}`")))?;
        if let Some(reason) = &entry.unavailable {
            return Err(Error::new(ErrorKind::Unavailable, format!("`{id}` is not available: {reason}")));
        }
        let environment = loader.inner().environment();
        let fields = Fields::new(&entry, &environment);
        let service: HttpService = fields.read()?;
        if service.network.is_some() {
            let message =
                format!("`{id}` is not available: `network` needs an overlay, which is not offered");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let limits = service.limits.clone().unwrap_or_default();
        let body_max = fields.optional("limits.max_body_bytes", limits.max_body_bytes.as_ref())?;
        let tls = service.tls.as_ref().map(|tls| tls::acceptor(id, &fields, tls)).transpose()?.flatten();
        Ok(Self {
            address: address(id, &fields.get("addr", &service.addr)?)?,
            times: Times::read(&fields, &service)?,
            body_max: body_max.unwrap_or(HTTP_REQUEST_BYTES_MAX),
            context: loader.service_context(id)?,
            routers: routers(loader, id, &environment)?,
            loader: loader.clone(),
            id: id.clone(),
            tls,
        })
    }

    /// Every `http.service` of the bundle that is not marked unavailable, sorted.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub fn services(loader: &Loader) -> Result<Vec<EntryId>, Error> {
        let mut services = Vec::new();
        for entry in loader.bundle().manifest().entries() {
            let entry = entry?;
            if entry.kind == "http.service" && entry.unavailable.is_none() {
                services.push(entry.id);
            }
        }
        Ok(services)
    }

    /// Loads and links whatever its endpoints call, so that no request has to wait for it.
    ///
    /// # Errors
    /// `INTERNAL` for a damaged artifact or one that can't be linked.
    pub fn warm(&self) -> Result<(), Error> {
        let endpoints = self.routers.iter().flat_map(|router| router.routes.all());
        let mut handlers = endpoints.filter_map(|endpoint| endpoint.handler.as_ref().ok());
        handlers.try_for_each(|handler| handler.warm(self.loader.inner()))
    }

    /// Where it listens: `address:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The router that answers a request, and what it has for it.
    ///
    /// # Errors
    /// What can't be decoded in the path.
    pub(super) fn route(&self, method: &Method, path: &str) -> Result<Option<Routed<'_>>, String> {
        // A prefix covers no path that can't be decoded.
        routes::check(path)?;
        let mut best: Option<Routed<'_>> = None;
        for router in self.routers.iter().filter(|router| router.prefix.covers(path)) {
            let found = router.routes.find(method, path)?;
            match (&found, &best) {
                (Found::Route(..), _) => return Ok(Some(Routed { router, found })),
                (Found::Methods(_), None | Some(Routed { found: Found::Nothing, .. }))
                | (Found::Nothing, None) => best = Some(Routed { router, found }),
                _ => {}
            }
        }
        Ok(best)
    }
}

/// What a path leads to.
pub(super) struct Routed<'s> {
    pub(super) router: &'s Router,
    pub(super) found: Found<'s, Arc<Endpoint>>,
}

impl Times {
    fn read(fields: &Fields<'_>, service: &HttpService) -> Result<Self, Error> {
        let timeouts = service.timeouts.clone().unwrap_or_default();
        let time = |field: &str, value: Option<&Templated<Authored>>| fields.optional(field, value);
        let read = time("timeouts.read", timeouts.read.as_ref())?;
        let write = time("timeouts.write", timeouts.write.as_ref())?;
        let idle = time("timeouts.idle", timeouts.idle.as_ref())?;
        let lifecycle = service.lifecycle.clone().unwrap_or_default();
        let stop = time("lifecycle.stop_timeout", lifecycle.stop_timeout.as_ref())?;
        // What is 0 is off, as documented; what is not given has a default that keeps idlers out.
        let or = |value: Option<Authored>, default: Duration| match value {
            Some(value) if value.is_zero() => None,
            Some(value) => Some(value.get()),
            None => Some(default),
        };
        let set = |value: Option<Authored>| value.filter(|value| !value.is_zero()).map(Authored::get);
        Ok(Self {
            patience: Patience {
                head: or(read, HTTP_HEAD_TIME),
                idle: or(idle, HTTP_IDLE_TIME),
                write: or(write, HTTP_STALL_TIME),
            },
            read: set(read),
            stall: or(read, HTTP_STALL_TIME),
            write: set(write),
            stop: set(stop).unwrap_or(HTTP_STOP_TIME),
        })
    }
}

/// `:8080` means every address.
fn address(id: &EntryId, text: &str) -> Result<String, Error> {
    let wrong = || {
        let message =
            format!("`{id}`: `addr`: found `{text}`, expected an address and a port, as in `:8080`");
        Error::new(ErrorKind::Invalid, message)
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    Ok(if host.is_empty() { format!("[::]:{port}") } else { text.to_owned() })
}

/// The routers of `service`, with their endpoints.
fn routers(loader: &Loader, service: &EntryId, environment: &Environment<'_>) -> Result<Vec<Router>, Error> {
    let mut routers = Vec::new();
    let mut endpoints = Vec::new();
    for entry in loader.bundle().manifest().entries() {
        let entry = entry?;
        match entry.kind.as_str() {
            "http.router"
                if Fields::new(&entry, environment).meta_reference("server").as_ref() == Some(service) =>
            {
                routers.push(router(loader, &entry, environment)?);
            }
            "http.endpoint" => endpoints.push(entry),
            _ => {}
        }
    }
    for entry in endpoints {
        let fields = Fields::new(&entry, environment);
        let Some(id) = fields.meta_reference("router") else { continue };
        if let Some((router, prefix)) = routers.iter_mut().find(|(router, _)| router.id == id) {
            add(loader, router, prefix, &entry, &fields)?;
        }
    }
    let mut routers: Vec<Router> = routers.into_iter().map(|(router, _)| router).collect();
    routers.sort_by_key(|router| std::cmp::Reverse(router.prefix.len()));
    Ok(routers)
}

/// A router without endpoints, and its prefix as text.
fn router(loader: &Loader, entry: &Entry, environment: &Environment<'_>) -> Result<(Router, String), Error> {
    let fields = Fields::new(entry, environment);
    let authored: HttpRouter = fields.read()?;
    let id = &entry.id;
    let prefix = fields.optional("prefix", authored.prefix.as_ref())?.unwrap_or_default();
    let parsed = Prefix::parse(&prefix)
        .map_err(|problem| Error::new(ErrorKind::Invalid, format!("`{id}`: `prefix`: {problem}")))?;
    let names = |field: &str, names: &[Templated<String>]| {
        names.iter().map(|name| fields.get(field, name)).collect::<Result<Vec<_>, Error>>()
    };
    let before = names("middleware", &authored.middleware)?;
    let after = names("post_middleware", &authored.post_middleware)?;
    let options = fields.options("options", &authored.options)?;
    let post_options = fields.options("post_options", &authored.post_options)?;
    let chain = match &entry.unavailable {
        Some(reason) => Err(reason.clone()),
        None => Chain::new(loader, id.namespace(), (&before, &options), (&after, &post_options)),
    };
    if let Err(reason) = &chain {
        let text = format!("this router answers 503: {reason}");
        loader.inner().log.line(id, Stream::Stderr, &text);
    }
    Ok((Router { id: id.clone(), prefix: parsed, chain, routes: Routes::default() }, prefix))
}

/// Adds an endpoint to its router.
fn add(
    loader: &Loader,
    router: &mut Router,
    prefix: &str,
    entry: &Entry,
    fields: &Fields<'_>,
) -> Result<(), Error> {
    let id = &entry.id;
    let authored: HttpEndpoint = fields.read()?;
    let method = fields.get("method", &authored.method)?;
    let path = fields.get("path", &authored.path)?;
    let log = |text: &str| loader.inner().log.line(id, Stream::Stderr, text);
    let handler = match &entry.unavailable {
        Some(reason) => Err(Error::new(ErrorKind::Unavailable, reason.clone())),
        None => Handler::new(loader, &authored.func.resolve(id.namespace())),
    };
    if let Err(error) = &handler {
        log(&format!("this endpoint answers 503: {}", error.message()));
    }
    let endpoint =
        Endpoint { id: Arc::new(id.clone()), name: id.to_string(), meta: Data::from(&entry.meta), handler };
    let pattern = format!("{}/{}", prefix.trim_end_matches('/'), path.trim_start_matches('/'));
    let added = router.routes.add(method.as_str(), &pattern, Arc::new(endpoint));
    let added =
        added.map_err(|problem| Error::new(ErrorKind::Invalid, format!("`{id}`: `path`: {problem}")))?;
    if added.is_some() {
        log(&format!("this endpoint is never reached: another one has `{} {pattern}`", method.as_str()));
    }
    Ok(())
}
