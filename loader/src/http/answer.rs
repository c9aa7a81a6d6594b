//! Answers that the server makes itself, in JSON: `{"error": {"kind", "message", "request_id"}}`.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use registry_schema::ErrorKind;
use serde_json::json;

use super::body::{Fate, ResponseBody, empty, full};
use crate::config::HTTP_RETRY_AFTER;
use crate::error::Error;

/// An answer.
pub(crate) type Answer = Response<ResponseBody>;

/// An answer with a problem.
pub(super) fn problem(status: StatusCode, kind: ErrorKind, message: &str, request: &str) -> Answer {
    let error = json!({"kind": kind.as_str(), "message": message, "request_id": request});
    json_with_status(status, &json!({ "error": error }))
}

/// `value` as the body.
pub(super) fn json_with_status(status: StatusCode, value: &serde_json::Value) -> Answer {
    with_type(status, "application/json", value.to_string())
}

/// `body` with its content type.
pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<bytes::Bytes>,
) -> Answer {
    let mut answer = Response::new(full(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A status alone.
pub(super) fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    answer
}

/// 400.
pub(super) fn bad_request(message: &str, request: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, ErrorKind::Invalid, message, request)
}

/// 404.
pub(super) fn not_found(request: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, ErrorKind::NotFound, "no route for this path", request)
}

/// 405, with the methods that there are.
pub(super) fn method_not_allowed(methods: &[&str], request: &str) -> Answer {
    let message = "this path has no route for this method";
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::Invalid, message, request);
    if let Ok(allowed) = HeaderValue::from_str(&methods.join(", ")) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

/// 413.
pub(super) fn too_large(request: &str) -> Answer {
    problem(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::Invalid, "the request body is too large", request)
}

/// 503 of something that is not offered: no time will mend it. Why stands in the log.
pub(super) fn unavailable(request: &str) -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable, "this route is not available", request)
}

/// The answer to a request whose handler failed with `error`. What `error` says beyond its kind is for the
/// log: it may name what a client must not know.
pub(super) fn failed(error: &Error, fate: &Fate, request: &str) -> Answer {
    if fate.is_too_large() {
        return too_large(request);
    }
    if fate.is_too_slow() {
        let message = "the request body did not arrive in time";
        return problem(StatusCode::REQUEST_TIMEOUT, ErrorKind::Timeout, message, request);
    }
    match error.kind() {
        ErrorKind::Timeout => {
            problem(StatusCode::GATEWAY_TIMEOUT, ErrorKind::Timeout, "the time limit was reached", request)
        }
        ErrorKind::Unavailable if error.is_retryable() => {
            let message = "too busy at the moment";
            let mut answer =
                problem(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable, message, request);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(HTTP_RETRY_AFTER.as_secs()));
            answer
        }
        ErrorKind::Unavailable => unavailable(request),
        kind => problem(StatusCode::INTERNAL_SERVER_ERROR, kind, "the handler failed", request),
    }
}

/// Sets `name` unless it is there.
pub(super) fn default_header(headers: &mut HeaderMap, name: http::HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
