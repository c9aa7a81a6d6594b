//! The span of a request that a server answers.

use http::StatusCode;
use http::request::Parts;
use registry_schema::ErrorKind;

use super::trace::{Span, SpanKind};
use crate::context::Context;
use crate::loader::Loader;

/// A request that is answered; its span ends when this is dropped.
pub(crate) struct Answering(Span);

impl Loader {
    /// Begins a request: `context` becomes that of what is done for it, in the trace that its headers name.
    pub(crate) fn begin_request(&self, parts: &Parts, request_id: &str, context: &mut Context) -> Answering {
        let header = |name: &str| parts.headers.get(name)?.to_str().ok();
        *context = self.trace_of_request(std::mem::take(context), header);
        if !self.settings().otel.http.enabled {
            return Answering(Span::none());
        }
        let mut span = self.begin_span(context, SpanKind::Server, parts.method.as_str());
        span.attribute("http.request.method", parts.method.as_str());
        span.attribute("url.path", parts.uri.path());
        span.attribute("request_id", request_id);
        Answering(span)
    }
}

impl Answering {
    /// Notes how the answer begins.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.0.attribute("http.response.status_code", status.as_str());
        if status.is_server_error() {
            self.0.failed(ErrorKind::Unknown, status.to_string());
        }
    }
}
