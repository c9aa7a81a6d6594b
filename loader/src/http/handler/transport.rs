//! `transport: wasi-http`: requests as parameters of an ordinary export, and its result as the answer.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use registry_schema::ErrorKind;
use wasmtime::component::Val;

use super::Handled;
use super::typed::{Source, arguments};
use crate::bulk::Value;
use crate::error::Error;
use crate::function::WasmFunction;
use crate::http::answer::{self, Answer};
use crate::http::body::{BodyProblem, full};
use crate::http::routes::Parameters;
use crate::http::visit::Visit;
use crate::loader::Inner;
use crate::values::json;

pub(super) async fn handle(
    inner: &Arc<Inner>,
    function: &Arc<WasmFunction>,
    visit: Visit,
    parameters: Parameters,
) -> Handled {
    let Visit { request_id, parts, body, fate, context, deadline, .. } = visit;
    let failed = |error: Error| {
        let answer = answer::failed(&error, &fate, &request_id);
        Handled { answer, failure: Some(error) }
    };
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(BodyProblem::Broken(problem)) => return answer::bad_request(&problem, &request_id).into(),
        Err(problem) => return failed(Error::new(ErrorKind::Invalid, problem.to_string())),
    };
    let prepared = match function.prepared(inner) {
        Ok(prepared) => prepared,
        Err(error) => return failed(error),
    };
    let source = Source {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        parameters: &parameters,
        body,
    };
    let args = match arguments(&source, &prepared.params) {
        Ok(args) => args,
        Err(problem) => return answer::bad_request(&problem, &request_id).into(),
    };
    let context = context.with_deadline(deadline);
    let made = match inner.call_wasm(Arc::clone(function), context, args).await {
        Ok(value) => answer_of(value),
        Err(error) => return failed(error),
    };
    match made {
        Ok(answer) => answer.into(),
        Err(problem) => {
            let message = format!("`{}` returned what is no answer: {problem}", function.id);
            failed(Error::new(ErrorKind::Internal, message))
        }
    }
}

/// The answer that a result is.
fn answer_of(value: Option<Value>) -> Result<Answer, String> {
    match value {
        None | Some(Value::Result(Ok(None)) | Value::Val(Val::Result(Ok(None)))) => {
            Ok(answer::bare(StatusCode::NO_CONTENT))
        }
        Some(Value::Bytes(bytes)) => Ok(octets(StatusCode::OK, bytes)),
        Some(Value::Result(Ok(Some(value)))) => answer_of(Some(*value)),
        Some(Value::Val(Val::Result(Ok(Some(value))))) => answer_of(Some(Value::Val(*value))),
        Some(Value::Result(Err(problem))) => refused(problem.map(|problem| Val::from(*problem)).as_ref()),
        Some(Value::Val(Val::Result(Err(problem)))) => refused(problem.as_deref()),
        Some(Value::Val(Val::String(text))) => {
            Ok(answer::with_type(StatusCode::OK, "text/plain; charset=utf-8", text))
        }
        Some(Value::Val(Val::Record(fields))) => match Response::of(&fields) {
            Some(response) => response.answer(),
            None => in_json(StatusCode::OK, &Val::Record(fields)),
        },
        Some(Value::Val(Val::List(items))) if items.first().is_some_and(|it| matches!(it, Val::U8(_))) => {
            Ok(octets(StatusCode::OK, bytes_of(&items)))
        }
        Some(value @ (Value::Val(_) | Value::Numbers(_))) => in_json(StatusCode::OK, &Val::from(value)),
    }
}

fn octets(status: StatusCode, bytes: Vec<u8>) -> Answer {
    answer::with_type(status, "application/octet-stream", bytes)
}

fn bytes_of(items: &[Val]) -> Vec<u8> {
    items.iter().filter_map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None }).collect()
}

fn in_json(status: StatusCode, value: &Val) -> Result<Answer, String> {
    Ok(answer::with_type(status, "application/json", json::print(value)?))
}

/// A guest's own `err`: its status if it names one, and what it says.
fn refused(problem: Option<&Val>) -> Result<Answer, String> {
    let status = match problem {
        Some(Val::Record(fields)) => fields
            .iter()
            .filter(|(name, _)| name == "status" || name == "code")
            .filter_map(|(_, value)| integer(value))
            .find(|status| (400..600).contains(status)),
        _ => None,
    };
    let status = status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    let payload = problem.map(json::print).transpose()?.unwrap_or_else(|| "null".to_owned());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(answer::with_type(status, "application/json", format!("{{\"error\":{payload}}}")))
}

fn integer(value: &Val) -> Option<i64> {
    match value {
        Val::U8(value) => Some(i64::from(*value)),
        Val::U16(value) => Some(i64::from(*value)),
        Val::U32(value) => Some(i64::from(*value)),
        Val::U64(value) => i64::try_from(*value).ok(),
        Val::S8(value) => Some(i64::from(*value)),
        Val::S16(value) => Some(i64::from(*value)),
        Val::S32(value) => Some(i64::from(*value)),
        Val::S64(value) => Some(*value),
        _ => None,
    }
}

/// A record that is a response: `status`, `headers` and `body`.
struct Response<'v> {
    status: i64,
    headers: &'v Val,
    body: &'v Val,
}

impl<'v> Response<'v> {
    fn of(fields: &'v [(String, Val)]) -> Option<Self> {
        let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        let (status, headers, body) = (field("status")?, field("headers")?, field("body")?);
        (fields.len() == 3).then_some(Self { status: integer(status)?, headers, body })
    }

    fn answer(&self) -> Result<Answer, String> {
        let status = u16::try_from(self.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.filter(|status| status.as_u16() >= 200);
        let status = status.ok_or_else(|| format!("the status {} is none of an answer", self.status))?;
        let mut answer = match some(self.body) {
            None => answer::bare(status),
            Some(Val::String(text)) => answer::with_type(status, "text/plain; charset=utf-8", text.clone()),
            Some(Val::List(items)) if items.iter().all(|item| matches!(item, Val::U8(_))) => {
                octets(status, bytes_of(items))
            }
            Some(value) => in_json(status, value)?,
        };
        let headers = headers(self.headers)?;
        if headers.contains_key(CONTENT_TYPE) {
            answer.headers_mut().remove(CONTENT_TYPE);
        }
        answer.headers_mut().extend(headers);
        if matches!(status.as_u16(), 204 | 304) {
            *answer.body_mut() = full(bytes::Bytes::new());
        }
        Ok(answer)
    }
}

/// The value of an option, or the value itself.
fn some(value: &Val) -> Option<&Val> {
    match value {
        Val::Option(value) => value.as_deref(),
        value => Some(value),
    }
}

/// Headers from a list of pairs.
fn headers(value: &Val) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let Some(Val::List(pairs)) = some(value) else { return Ok(headers) };
    for pair in pairs {
        let Val::Tuple(pair) = pair else { return Err("`headers` is no list of pairs".to_owned()) };
        let [Val::String(name), value] = pair.as_slice() else {
            return Err("`headers` is no list of pairs".to_owned());
        };
        let bytes = match value {
            Val::String(text) => text.clone().into_bytes(),
            Val::List(items) => bytes_of(items),
            _ => return Err(format!("the header `{name}` has no text")),
        };
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| format!("`{}` is no header", name.escape_debug()))?;
        if matches!(parsed.as_str(), "transfer-encoding" | "connection" | "upgrade" | "content-length") {
            continue;
        }
        let value = HeaderValue::from_bytes(&bytes);
        headers.append(parsed, value.map_err(|_| format!("the header `{name}` has no valid value"))?);
    }
    Ok(headers)
}
