//! Lua handlers: they have the request and its answer through the module `http`.

use std::sync::Arc;

use super::Handled;
use super::driven::{Maker, drive};
use crate::error::Error;
use crate::guest_log::Stream;
use crate::http::answer;
use crate::http::body::Held;
use crate::http::exchange::Exchange;
use crate::http::routes::Parameters;
use crate::http::visit::Visit;
use crate::loader::Inner;
use crate::lua::{self, LuaFunction};

pub(super) async fn handle(
    inner: &Arc<Inner>,
    function: &Arc<LuaFunction>,
    mut visit: Visit,
    parameters: Parameters,
) -> Handled {
    let context = std::mem::take(&mut visit.context).with_deadline(visit.deadline);
    let (request_id, fate, deadline) = (visit.request_id.clone(), visit.fate.clone(), visit.deadline);
    let method = visit.parts.method.clone();
    let (exchange, answer) = Exchange::new(visit, parameters);
    let context = context.with_exchange(Arc::clone(&exchange));
    let (inner, function, id) = (Arc::clone(inner), Arc::clone(function), request_id.clone());
    let maker = Maker::new(async move {
        let outcome = lua::call(&inner, Arc::clone(&function), context, Vec::new()).await.map(|_| ());
        if let Err(error) = &outcome {
            log_failure(&inner, &function, &id, error);
        }
        exchange.finish(&outcome).await;
    });
    let (answer, rest) = maker.head(answer).await;
    match answer {
        Some(answer) => drive(answer, rest, &method).map(|body| Held::body(body, deadline, ())).into(),
        // The handler panicked before it answered.
        None => {
            let error = Error::new(registry_schema::ErrorKind::Internal, "the handler did not answer");
            let answer = answer::failed(&error, &fate, &request_id);
            Handled { answer, failure: Some(error) }
        }
    }
}

fn log_failure(inner: &Inner, function: &LuaFunction, request: &str, error: &Error) {
    let stack = error.stack().map(|stack| format!("\n{stack}")).unwrap_or_default();
    for line in format!("request {request} failed: {error}{stack}").lines() {
        inner.log.line(&function.id, Stream::Stderr, line);
    }
}
