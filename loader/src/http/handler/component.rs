//! Components that are HTTP handlers: `wasi:http/incoming-handler` (0.2) and `wasi:http/handler` (0.3).
//!
//! Both bodies pass part by part; what neither side has taken yet is one part.

use std::sync::Arc;

use http_body_util::BodyExt;
use registry_schema::ErrorKind;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error as WasiError, WasiBody, WasiHttpView};

use super::Handled;
use crate::call;
use crate::error::Error;
use crate::failure;
use crate::function::WasmFunction;
use crate::guest_log::Stream;
use crate::http::answer;
use crate::http::body::{BodyProblem, Fate, Held, RequestBody};
use crate::http::visit::Visit;
use crate::loader::Inner;
use crate::pool::{self, Patience};

/// The answer as the guest makes it.
type Response = http::Response<WasiBody>;

/// Whether a function is called as an HTTP handler.
pub(super) fn is_handler(function: &WasmFunction) -> bool {
    function.wasm.export.interface.as_deref().is_some_and(|interface| {
        interface.starts_with("wasi:http/incoming-handler@") || interface.starts_with("wasi:http/handler@")
    })
}

/// Ends the guest of a client that has gone.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn handle(inner: &Arc<Inner>, function: &Arc<WasmFunction>, mut visit: Visit) -> Handled {
    let context = std::mem::take(&mut visit.context).with_deadline(visit.deadline);
    let (request_id, fate, deadline) = (visit.request_id.clone(), visit.fate.clone(), visit.deadline);
    let scheme = if visit.peer.is_tls { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP };
    let request = match request(visit, &scheme) {
        Ok(request) => request,
        Err(problem) => return answer::bad_request(&problem, &request_id).into(),
    };
    let (sender, receiver) = oneshot::channel();
    let (owned, callee, id) = (Arc::clone(inner), Arc::clone(function), request_id.clone());
    let patience = Patience::of(&context);
    let (failed, failure) = oneshot::channel();
    let running = async move {
        let guest = guest(&owned, &callee, context, request, scheme, patience, sender);
        let Err(error) = pool::holding(guest).await else { return };
        // Whoever waits for the answer logs it; if it was sent, nobody does.
        if let Err(error) = failed.send(error) {
            let text = format!("request {id} failed: {error}");
            owned.log.line(&callee.id, Stream::Stderr, &text);
        }
    };
    let mut running = Running(tokio::spawn(running));
    let answered = receiver.await;
    let error = match answered {
        Ok(Ok(response)) => {
            drop(failure);
            return answered_with(response, deadline, running).into();
        }
        Ok(Err(message)) => Error::new(ErrorKind::Internal, format!("`{}`: {message}", function.id)),
        Err(_) => {
            let ended = (&mut running.0).await;
            match (failure.await, ended) {
                (Ok(error), _) => error,
                (Err(_), Err(ended)) if ended.is_panic() => {
                    crate::task::panicked(&function.id, ended.into_panic())
                }
                _ => Error::new(ErrorKind::Internal, format!("`{}` did not answer", function.id)),
            }
        }
    };
    failed_with(error, &fate, &request_id)
}

fn failed_with(error: Error, fate: &Fate, request: &str) -> Handled {
    Handled { answer: answer::failed(&error, fate, request), failure: Some(error) }
}

/// The guest's answer, which ends the guest when it is dropped.
fn answered_with(response: Response, deadline: Option<Instant>, running: Running) -> answer::Answer {
    response.map(|body| {
        let body = body.map_err(|error| error.to_string().into()).boxed_unsync();
        Held::body(body, deadline, running)
    })
}

/// The request as the guest gets it: with scheme and authority.
fn request(visit: Visit, scheme: &http::uri::Scheme) -> Result<http::Request<RequestBody>, String> {
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

/// Runs the guest to its end, which is after its answer's.
async fn guest(
    inner: &Arc<Inner>,
    function: &Arc<WasmFunction>,
    context: crate::context::Context,
    request: http::Request<RequestBody>,
    scheme: http::uri::Scheme,
    patience: Patience,
    sender: oneshot::Sender<Result<Response, String>>,
) -> Result<(), Error> {
    let request = request.map(|body| body.map_err(|problem| wasi_error(&problem)).boxed_unsync());
    let mut opened = call::open(inner, function, context, patience).await?;
    let (prepared, limit) = (Arc::clone(&opened.prepared), opened.limit);
    let store = opened.instance.store();
    #[cfg(feature = "p3")]
    if is_preview3(function) {
        return limit.within(function, preview3(function, store, &prepared.pre, request, sender)).await;
    }
    limit.within(function, preview2(function, store, &prepared.pre, request, &scheme, sender)).await
}

#[cfg(feature = "p3")]
fn is_preview3(function: &WasmFunction) -> bool {
    function.wasm.export.interface.as_deref().is_some_and(|it| it.starts_with("wasi:http/handler@"))
}

type Store = wasmtime::Store<crate::host_state::HostState>;
type Pre = wasmtime::component::InstancePre<crate::host_state::HostState>;

async fn preview2(
    function: &WasmFunction,
    store: &mut Store,
    pre: &Pre,
    request: http::Request<WasiBody>,
    scheme: &http::uri::Scheme,
    sender: oneshot::Sender<Result<Response, String>>,
) -> Result<(), Error> {
    use wasmtime_wasi_http::p2::bindings::ProxyPre;
    use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
    let internal =
        |error: &wasmtime::Error| Error::new(ErrorKind::Internal, format!("`{}`: {error:#}", function.id));
    let pre = ProxyPre::new(pre.clone()).map_err(|error| internal(&error))?;
    let proxy = match pre.instantiate_async(&mut *store).await {
        Ok(proxy) => proxy,
        Err(error) => {
            return Err(failure::of_guest(function, store, &error, failure::During::Instantiation));
        }
    };
    let scheme = if *scheme == http::uri::Scheme::HTTPS { Scheme::Https } else { Scheme::Http };
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(scheme, request).map_err(|error| internal(&error))?;
    let answer = move |result: Result<Response, _>| {
        let result = result.map_err(|code: wasmtime_wasi_http::p2::bindings::http::types::ErrorCode| {
            format!("the guest answered with the error {code:?}")
        });
        // Nobody waits for it when the client has gone.
        let _ = sender.send(result);
    };
    let out = view.new_response_outparam_from_callback(answer).map_err(|error| internal(&error))?;
    let handled = proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await;
    handled.map_err(|error| failure::of_guest(function, store, &error, failure::During::Call))
}

#[cfg(feature = "p3")]
async fn preview3(
    function: &WasmFunction,
    store: &mut Store,
    pre: &Pre,
    request: http::Request<WasiBody>,
    sender: oneshot::Sender<Result<Response, String>>,
) -> Result<(), Error> {
    use wasmtime_wasi_http::p3::Request;
    use wasmtime_wasi_http::p3::bindings::ServicePre;
    let internal =
        |error: &wasmtime::Error| Error::new(ErrorKind::Internal, format!("`{}`: {error:#}", function.id));
    let pre = ServicePre::new(pre.clone()).map_err(|error| internal(&error))?;
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
                    let _ = sender.send(Err(format!("the guest answered with the error {code:?}")));
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
