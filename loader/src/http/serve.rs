//! One request: its router and route, the middleware around the handler, and the answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body::Body;
use registry_schema::ErrorKind;
use tokio::time::Instant;

use super::answer::{self, Answer};
use super::body::{BodyLimits, Fate, Held, Limited};
use super::handler::Handled;
use super::routes::{Found, Parameters};
use super::site::{Endpoint, Routed, Router, Site};
use super::visit::{Peer, Visit, request_id};
use super::watch::Ticket;
use crate::guest_log::Stream;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers `request`; the answer's body holds `ticket`.
pub(super) async fn serve<B>(site: Arc<Site>, peer: Peer, request: Request<B>, ticket: Ticket) -> Answer
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    let now = Instant::now();
    let (parts, body) = request.into_parts();
    let fate = Fate::default();
    let after = |time: Option<std::time::Duration>| time.and_then(|time| now.checked_add(time));
    let limits = BodyLimits { max: site.body_max, deadline: after(site.times.read), stall: site.times.stall };
    let request_id = request_id(parts.headers.get(REQUEST_ID));
    let declared = body.size_hint().lower();
    let mut context = site.context.clone();
    let mut answering = site.loader.begin_request(&parts, &request_id, &mut context);
    let visit = Visit {
        request_id: request_id.clone(),
        parts,
        body: Limited::body(body, limits, fate.clone()),
        fate,
        peer,
        forwarded_for: None,
        context,
        identified: false,
        deadline: after(site.times.write),
    };
    let mut answer = match declared > site.body_max {
        true => answer::too_large(&request_id),
        false => routed(&site, visit).await,
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answering.answered(answer.status());
    answer.map(|body| Held::body(body, None, (ticket, answering, site)))
}

/// Finds the router of a request and lets it answer.
async fn routed(site: &Arc<Site>, visit: Visit) -> Answer {
    let request_id = visit.request_id.clone();
    let (router, found) = match site.route(&visit.parts.method, visit.parts.uri.path()) {
        Ok(Some(Routed { router, found })) => (router, found),
        Ok(None) => return answer::not_found(&request_id),
        Err(problem) => return answer::bad_request(&format!("the path: {problem}"), &request_id),
    };
    let Ok(chain) = &router.chain else { return answer::unavailable(&request_id) };
    let mut visit = visit;
    let (wishes, answered) = chain.before(&mut visit);
    let answer = match (answered, found) {
        (Some(answer), _) => answer,
        (None, Found::Nothing) => answer::not_found(&request_id),
        (None, Found::Methods(methods)) => answer::method_not_allowed(&methods, &request_id),
        (None, Found::Route(endpoint, parameters)) => {
            let endpoint = Arc::clone(endpoint);
            endpoint_answer(site, router, &endpoint, visit, parameters).await
        }
    };
    chain.after(&wishes, answer)
}

/// Checks whether the request may go on to `endpoint`, and lets it.
async fn endpoint_answer(
    site: &Arc<Site>,
    router: &Router,
    endpoint: &Endpoint,
    visit: Visit,
    parameters: Parameters,
) -> Answer {
    let request_id = visit.request_id.clone();
    let log = |text: &str| site.loader.inner().log.line(&endpoint.id, Stream::Stderr, text);
    if let Ok(chain) = &router.chain
        && let Err((status, why)) = chain.check(&site.loader, &visit, &endpoint.name, &endpoint.meta)
    {
        log(&format!("request {request_id} refused: {why}"));
        return refused(status, &request_id);
    }
    let handler = match &endpoint.handler {
        Ok(handler) => handler,
        Err(_) => return answer::unavailable(&request_id),
    };
    let Handled { answer, failure } = handler.handle(site.loader.inner(), visit, parameters).await;
    if let Some(error) = failure {
        log(&format!("request {request_id} failed: {error}"));
    }
    answer
}

fn refused(status: StatusCode, request_id: &str) -> Answer {
    let message = match status {
        StatusCode::UNAUTHORIZED => "a token is needed",
        _ => "this is not allowed",
    };
    answer::problem(status, ErrorKind::PermissionDenied, message, request_id)
}
