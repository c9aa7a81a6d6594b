//! Components that are HTTP handlers: `wasi:http/incoming-handler` (0.2) and `wasi:http/handler` (0.3).
//!
//! Both bodies pass part by part; what neither side has taken yet is one part.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use http::uri::Scheme;
use http_body_util::BodyExt;
use registry_schema::ErrorKind;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
#[cfg(feature = "p3")]
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{Error as WasiError, WasiBody, WasiHttpView};

use super::Handled;
use super::driven::{Maker, drive};
use crate::call::{self, Opened};
use crate::context::Context;
use crate::error::Error;
use crate::failure;
use crate::function::{Prepared, WasmFunction};
use crate::guest_log::Stream;
use crate::host_state::HostState;
use crate::http::answer;
use crate::http::body::{BodyProblem, Fate, Held, RequestBody};
use crate::http::visit::Visit;
use crate::loader::Inner;
use crate::pool::{self, Patience};

/// The answer as the guest makes it.
type Response = http::Response<WasiBody>;

/// Takes the guest's answer, or what it gives in place of one.
type Sender = oneshot::Sender<Result<Response, String>>;

/// A component that is an HTTP handler.
pub(in crate::http) struct Component {
    pub(super) function: Arc<WasmFunction>,
    /// Made with the first request.
    pre: OnceLock<Pre>,
}

/// Where the handler is among the component's exports.
enum Pre {
    Preview2(ProxyPre<HostState>),
    #[cfg(feature = "p3")]
    Preview3(ServicePre<HostState>),
}

impl Component {
    /// `function`, if it is such a component.
    pub(super) fn of(function: &Arc<WasmFunction>) -> Option<Self> {
        let interface = function.wasm.export.interface.as_deref()?;
        let is_handler = interface.starts_with("wasi:http/incoming-handler@")
            || interface.starts_with("wasi:http/handler@");
        is_handler.then(|| Self { function: Arc::clone(function), pre: OnceLock::new() })
    }

    fn pre(&self, prepared: &Prepared) -> Result<&Pre, Error> {
        if let Some(pre) = self.pre.get() {
            return Ok(pre);
        }
        let pre = self.find(prepared).map_err(|error| self.internal(&error))?;
        Ok(self.pre.get_or_init(|| pre))
    }

    fn find(&self, prepared: &Prepared) -> wasmtime::Result<Pre> {
        #[cfg(feature = "p3")]
        if self
            .function
            .wasm
            .export
            .interface
            .as_deref()
            .is_some_and(|it| it.starts_with("wasi:http/handler@"))
        {
            return ServicePre::new(prepared.pre.clone()).map(Pre::Preview3);
        }
        ProxyPre::new(prepared.pre.clone()).map(Pre::Preview2)
    }

    fn internal(&self, error: &wasmtime::Error) -> Error {
        Error::new(ErrorKind::Internal, format!("`{}`: {error:#}", self.function.id))
    }
}

pub(super) async fn handle(inner: &Arc<Inner>, component: &Arc<Component>, mut visit: Visit) -> Handled {
    let mut context = std::mem::take(&mut visit.context).with_deadline(visit.deadline);
    let (request_id, fate, deadline) = (visit.request_id.clone(), visit.fate.clone(), visit.deadline);
    let method = visit.parts.method.clone();
    let scheme = if visit.peer.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let request = match request(visit, &scheme) {
        Ok(request) => request,
        Err(problem) => return answer::bad_request(&problem, &request_id).into(),
    };
    let assigned = match component.function.class.as_ref().map(|class| class.assign()).transpose() {
        Ok(assigned) => assigned,
        Err(error) => return failed_with(error, &fate, &request_id),
    };
    let (sender, receiver) = oneshot::channel();
    let (failed, failure) = oneshot::channel();
    let (owned, callee, id) = (Arc::clone(inner), Arc::clone(component), request_id.clone());
    let seen = inner.telemetry.begin(&component.function.seen, &mut context.trace);
    let making = async move {
        let patience = Patience::of(&context);
        let guest = guest(&owned, &callee, context, request, &scheme, patience, sender);
        let guest = pool::holding(seen.scope(guest));
        let result = AssertUnwindSafe(guest).catch_unwind().await;
        let result = result.unwrap_or_else(|panic| Err(crate::task::panicked(&callee.function.id, panic)));
        seen.end(&result);
        let Err(error) = result else { return };
        // Whoever waits for the answer logs it; if it was sent, nobody does.
        if let Err(error) = failed.send(error) {
            let text = format!("request {id} failed: {error}");
            owned.log.line(&callee.function.id, Stream::Stderr, &text);
        }
    };
    let maker = match &assigned {
        None => Maker::new(making),
        Some(worker) => {
            let runtime = worker.handle.clone();
            // The thread has the call until it has ended.
            Maker::on(&runtime, async move {
                let _assigned = assigned;
                making.await;
            })
        }
    };
    let (answered, rest) = maker.head(receiver).await;
    let error = match answered {
        Some(Ok(response)) => {
            drop(failure);
            let answer = response.map(|body| body.map_err(|error| error.to_string().into()).boxed_unsync());
            return drive(answer, rest, &method).map(|body| Held::body(body, deadline, ())).into();
        }
        Some(Err(message)) => {
            Error::new(ErrorKind::Internal, format!("`{}`: {message}", component.function.id))
        }
        None => match failure.await {
            Ok(error) => error,
            Err(_) => {
                let message = format!("`{}` did not answer", component.function.id);
                Error::new(ErrorKind::Internal, message)
            }
        },
    };
    failed_with(error, &fate, &request_id)
}

fn failed_with(error: Error, fate: &Fate, request: &str) -> Handled {
    Handled { answer: answer::failed(&error, fate, request), failure: Some(error) }
}

/// The request as the guest gets it: with scheme and authority.
fn request(visit: Visit, scheme: &Scheme) -> Result<http::Request<RequestBody>, String> {
    let host = visit.host().map(std::borrow::Cow::into_owned).unwrap_or_else(|| "localhost".to_owned());
    let mut parts = visit.parts;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(scheme.clone());
    uri.authority = Some(host.parse().map_err(|_| "the host is malformed".to_owned())?);
    if uri.path_and_query.is_none() {
        uri.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    parts.uri = http::Uri::from_parts(uri).map_err(|_| "the path is malformed".to_owned())?;
    Ok(http::Request::from_parts(parts, visit.body))
}

fn wasi_error(problem: &BodyProblem) -> WasiError {
    match problem {
        BodyProblem::TooLarge(max) => WasiError::HttpRequestBodySize(Some(*max)),
        BodyProblem::TooSlow => WasiError::ConnectionReadTimeout,
        BodyProblem::Broken(_) => WasiError::ConnectionTerminated,
    }
}

/// Runs the guest to its end, which may be after its answer's.
async fn guest(
    inner: &Arc<Inner>,
    component: &Component,
    context: Context,
    request: http::Request<RequestBody>,
    scheme: &Scheme,
    patience: Patience,
    sender: Sender,
) -> Result<(), Error> {
    let request = request.map(|body| body.map_err(|problem| wasi_error(&problem)).boxed_unsync());
    let function = &component.function;
    let mut opened = call::open(inner, function, context, patience).await?;
    let limit = opened.limit;
    match component.pre(&Arc::clone(&opened.prepared))? {
        Pre::Preview2(pre) => {
            limit.within(function, preview2(component, &mut opened, pre, request, scheme, sender)).await
        }
        #[cfg(feature = "p3")]
        Pre::Preview3(pre) => {
            limit.within(function, preview3(component, &mut opened, pre, request, sender)).await
        }
    }
}

async fn preview2(
    component: &Component,
    opened: &mut Opened,
    pre: &ProxyPre<HostState>,
    request: http::Request<WasiBody>,
    scheme: &Scheme,
    sender: Sender,
) -> Result<(), Error> {
    use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme as WasiScheme};
    let (function, store) = (&component.function, opened.instance.store());
    let proxy = match pre.instantiate_async(&mut *store).await {
        Ok(proxy) => proxy,
        Err(error) => {
            return Err(failure::of_guest(function, store, &error, failure::During::Instantiation));
        }
    };
    let scheme = if *scheme == Scheme::HTTPS { WasiScheme::Https } else { WasiScheme::Http };
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(scheme, request).map_err(|error| component.internal(&error))?;
    let answer = move |result: Result<Response, ErrorCode>| {
        // Nobody waits for it when the client has gone.
        let _ = sender.send(result.map_err(refusal));
    };
    let out = view.new_response_outparam_from_callback(answer).map_err(|error| component.internal(&error))?;
    let handled = proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await;
    handled.map_err(|error| failure::of_guest(function, store, &error, failure::During::Call))
}

/// What a guest gave in place of an answer.
fn refusal(code: impl std::fmt::Debug) -> String {
    format!("the guest answered with the error {code:?}")
}

#[cfg(feature = "p3")]
async fn preview3(
    component: &Component,
    opened: &mut Opened,
    pre: &ServicePre<HostState>,
    request: http::Request<WasiBody>,
    sender: Sender,
) -> Result<(), Error> {
    use wasmtime_wasi_http::p3::Request;
    let (function, store) = (&component.function, opened.instance.store());
    let service = match pre.instantiate_async(&mut *store).await {
        Ok(service) => service,
        Err(error) => {
            return Err(failure::of_guest(function, store, &error, failure::During::Instantiation));
        }
    };
    let (request, transmitted) = Request::from_http(store.data_mut().http().hooks, request);
    let handled = store
        .run_concurrent(async |accessor| {
            let response = match service.handle(accessor, request).await? {
                Ok(response) => response,
                Err(code) => {
                    let _ = sender.send(Err(refusal(code)));
                    return Ok(());
                }
            };
            let response = accessor.with(|store| response.into_http(store, transmitted))?;
            let _ = sender.send(Ok(response));
            // The guest goes on: it may write the body, and more.
            std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::error::Ok(())
        })
        .await;
    handled
        .and_then(|handled| handled)
        .map_err(|error| failure::of_guest(function, store, &error, failure::During::Call))
}
