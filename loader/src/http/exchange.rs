//! A request and its answer as a Lua handler has them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use registry_schema::ErrorKind;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Answer};
use super::body::{Aborted, BodyProblem, Fate, Parts, RequestBody, full};
use super::routes::{Parameters, query_pairs};
use super::visit::Visit;
use crate::config::HTTP_WRITE_BUFFER_BYTES;
use crate::data::Data;
use crate::error::Error;

/// What `http.ERROR` names; in the details of errors, as `type`.
pub(crate) const INVALID_STATE: &str = "INVALID_STATE";
/// See [`INVALID_STATE`].
const WRITE_FAILED: &str = "WRITE_FAILED";
/// See [`INVALID_STATE`].
const STREAM_ERROR: &str = "STREAM_ERROR";
/// See [`INVALID_STATE`].
pub(crate) const PARSE_FAILED: &str = "PARSE_FAILED";

/// An error of `kind` whose details name its type.
pub(crate) fn error(kind: ErrorKind, of_type: &str, message: impl Into<String>) -> Error {
    let details = serde_json::json!({ "type": of_type });
    Error::new(kind, message).with_details(Data::from(&details))
}

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) host: Option<String>,
    pub(crate) remote_addr: String,
    pub(crate) parameters: Parameters,
    pub(crate) has_body: bool,
    request_id: String,
    fate: Fate,
    body: tokio::sync::Mutex<Incoming>,
    response: Mutex<Outgoing>,
}

/// The request's body.
#[derive(Debug)]
enum Incoming {
    Unread(RequestBody),
    Read(Bytes),
    /// A stream has it, or had.
    Taken,
    Failed(Error),
}

/// The response, as far as it was made.
#[derive(Debug)]
struct Outgoing {
    status: StatusCode,
    headers: HeaderMap,
    /// Whether it is a stream of events.
    has_events: bool,
    /// Written and not sent.
    buffer: Vec<u8>,
    /// Where the head goes; `None` once it has been sent.
    head: Option<oneshot::Sender<Answer>>,
    /// Where the body goes once the head has been sent.
    body: Option<mpsc::Sender<Result<Bytes, Aborted>>>,
}

impl Exchange {
    /// The exchange of a request, its context taken out; the receiver gets the answer.
    pub(super) fn new(visit: Visit, parameters: Parameters) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (head, answer) = oneshot::channel();
        let response = Outgoing {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            has_events: false,
            buffer: Vec::new(),
            head: Some(head),
            body: None,
        };
        let exchange = Self {
            path: visit.parts.uri.path().to_owned(),
            query: query_pairs(visit.query()),
            host: visit.host().map(std::borrow::Cow::into_owned),
            remote_addr: visit.remote_addr(),
            parameters,
            has_body: !visit.body.is_end_stream(),
            method: visit.parts.method,
            headers: visit.parts.headers,
            request_id: visit.request_id,
            fate: visit.fate,
            body: tokio::sync::Mutex::new(Incoming::Unread(visit.body)),
            response: Mutex::new(response),
        };
        (Arc::new(exchange), answer)
    }

    /// The first value of the header `name`.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(HeaderValue::as_bytes)
    }

    /// The whole body, which is kept for the next time.
    ///
    /// # Errors
    /// `INVALID` when it has more than `max` bytes, or a stream took it; `INTERNAL` when it did not arrive
    /// within `time`, or not at all.
    pub(crate) async fn body(&self, max: u64, time: Duration) -> Result<Bytes, Error> {
        let mut state = self.body.lock().await;
        let body = match std::mem::replace(&mut *state, Incoming::Taken) {
            Incoming::Unread(body) => body,
            Incoming::Read(bytes) => {
                *state = Incoming::Read(bytes.clone());
                return Ok(bytes);
            }
            Incoming::Taken => {
                return Err(error(ErrorKind::Invalid, INVALID_STATE, "the body was taken as a stream"));
            }
            Incoming::Failed(error) => {
                *state = Incoming::Failed(error.clone());
                return Err(error);
            }
        };
        let read = match tokio::time::timeout(time, collect(body, max)).await {
            Ok(read) => read,
            Err(_) => Err(Error::new(ErrorKind::Internal, "the request body did not arrive in time")),
        };
        *state = match &read {
            Ok(bytes) => Incoming::Read(bytes.clone()),
            Err(error) => Incoming::Failed(error.clone()),
        };
        read
    }

    /// The body for a stream; one that was read before is given again.
    ///
    /// # Errors
    /// `INVALID` when another stream has it; what reading it failed with.
    pub(crate) async fn take_body(&self) -> Result<RequestBody, Error> {
        let mut state = self.body.lock().await;
        match std::mem::replace(&mut *state, Incoming::Taken) {
            Incoming::Unread(body) => Ok(body),
            Incoming::Read(bytes) => {
                *state = Incoming::Read(bytes.clone());
                Ok(http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
            }
            Incoming::Taken => Err(error(ErrorKind::Invalid, INVALID_STATE, "another stream has the body")),
            Incoming::Failed(error) => {
                *state = Incoming::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn response(&self) -> MutexGuard<'_, Outgoing> {
        // Every change is whole after any panic.
        self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsent(&self) -> Result<MutexGuard<'_, Outgoing>, Error> {
        let response = self.response();
        match response.head {
            Some(_) => Ok(response),
            None => Err(error(ErrorKind::Invalid, INVALID_STATE, "the headers were sent already")),
        }
    }

    /// Sets the status.
    ///
    /// # Errors
    /// `INVALID` for what is no status of a final answer, and when the head was sent.
    pub(crate) fn set_status(&self, status: u16) -> Result<(), Error> {
        let status =
            StatusCode::from_u16(status).ok().filter(|status| (200..=999).contains(&status.as_u16()));
        let status = status.ok_or_else(|| Error::new(ErrorKind::Invalid, "a status is from 200 to 999"))?;
        self.unsent()?.status = status;
        Ok(())
    }

    /// Sets a header.
    ///
    /// # Errors
    /// `INVALID` for what is no header, for those that are the connection's, and when the head was sent.
    pub(crate) fn set_header(&self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let invalid = |message: &str| Error::new(ErrorKind::Invalid, message);
        let name = HeaderName::from_bytes(name).map_err(|_| invalid("this is no header's name"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| invalid("this is no header's value"))?;
        if matches!(name.as_str(), "transfer-encoding" | "connection" | "upgrade" | "keep-alive") {
            return Err(invalid("this header belongs to the connection"));
        }
        self.unsent()?.headers.insert(name, value);
        Ok(())
    }

    /// Sets the content type unless there is one; not once the head was sent.
    pub(crate) fn default_type(&self, content_type: &'static str) {
        if let Ok(mut response) = self.unsent() {
            answer::default_header(&mut response.headers, CONTENT_TYPE, content_type);
        }
    }

    /// Makes the answer a stream of events.
    ///
    /// # Errors
    /// `INVALID` when the head was sent.
    pub(crate) fn begin_events(&self) -> Result<(), Error> {
        let mut response = self.unsent()?;
        response.has_events = true;
        let headers = &mut response.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer::default_header(headers, CACHE_CONTROL, "no-cache");
        headers.remove(CONTENT_LENGTH);
        Ok(())
    }

    /// Whether the answer is a stream of events.
    pub(crate) fn has_events(&self) -> bool {
        self.response().has_events
    }

    /// Writes to the body; what is much is sent.
    ///
    /// # Errors
    /// `INTERNAL` when the client has gone.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let is_much = {
            let mut response = self.response();
            response.buffer.extend_from_slice(bytes);
            response.buffer.len() >= HTTP_WRITE_BUFFER_BYTES
        };
        if is_much { self.flush().await } else { Ok(()) }
    }

    /// Sends the head, if it was not, and what was written.
    ///
    /// # Errors
    /// `INTERNAL` when the client has gone.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let gone = || error(ErrorKind::Internal, WRITE_FAILED, "the client has gone");
        let (bytes, body) = {
            let mut response = self.response();
            if let Some(head) = response.head.take() {
                let (sender, receiver) = mpsc::channel(1);
                let answer = response.head_with(Parts(receiver).boxed_unsync());
                response.body = Some(sender);
                head.send(answer).map_err(|_| gone())?;
            }
            (std::mem::take(&mut response.buffer), response.body.clone())
        };
        let Some(body) = body else { return Err(gone()) };
        if bytes.is_empty() {
            return Ok(());
        }
        body.send(Ok(bytes.into())).await.map_err(|_| gone())
    }

    /// Ends the answer: with what was written, or, when the handler failed, with a problem, or the end of the
    /// connection if the head has been sent.
    pub(super) async fn finish(&self, outcome: &Result<(), Error>) {
        let (body, bytes) = {
            let mut response = self.response();
            if let Some(head) = response.head.take() {
                let answer = match outcome {
                    Ok(()) => {
                        let bytes = std::mem::take(&mut response.buffer);
                        response.head_with(full(bytes))
                    }
                    Err(error) => answer::failed(error, &self.fate, &self.request_id),
                };
                // Nobody waits for it any more.
                let _ = head.send(answer);
                return;
            }
            (response.body.take(), std::mem::take(&mut response.buffer))
        };
        let Some(body) = body else { return };
        let last = match outcome {
            Ok(()) if bytes.is_empty() => return,
            Ok(()) => Ok(Bytes::from(bytes)),
            Err(_) => Err("the handler failed".into()),
        };
        let _ = body.send(last).await;
    }
}

impl Outgoing {
    fn head_with(&mut self, body: super::body::ResponseBody) -> Answer {
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        *answer.headers_mut() = std::mem::take(&mut self.headers);
        answer
    }
}

async fn collect(mut body: RequestBody, max: u64) -> Result<Bytes, Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|problem| {
            let kind = match problem {
                BodyProblem::TooLarge(_) => ErrorKind::Invalid,
                BodyProblem::TooSlow | BodyProblem::Broken(_) => ErrorKind::Internal,
            };
            error(kind, STREAM_ERROR, problem.to_string())
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() as u64 + data.len() as u64 > max {
            let message = format!("the request body has more than {max} bytes");
            return Err(error(ErrorKind::Invalid, STREAM_ERROR, message));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.into())
}
