//! A request and what follows from it: redirects, and the body of the last answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use registry_schema::{EntryId, ErrorKind};
use wasmtime_wasi_http::WasiBody;

use super::failed;
use super::options::{Asked, Wanted};
use crate::config::HTTP_REDIRECTS_MAX;
use crate::egress::{Failure, Route, Rules, Target, Timeouts};
use crate::error::Error;
use crate::loader::Inner;
use crate::lua::modules::held::{Held, Share};

/// Who asks.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) inner: Arc<Inner>,
    pub(super) entry: Arc<EntryId>,
    pub(super) rules: Rules,
    pub(super) held: Held,
}

/// The last answer.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Where it came from.
    pub(super) url: String,
    pub(super) content: Content,
}

/// What came with it.
pub(super) enum Content {
    Body(Vec<u8>, Vec<Share>),
    Stream(WasiBody),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            Failure::Invalid(problem) => Self::new(ErrorKind::Invalid, problem),
            other => failed(other.to_string()),
        }
    }
}

impl Caller {
    /// Asks, within the time that is given.
    pub(super) async fn ask(&self, asked: Asked) -> Result<Answered, Error> {
        let limit = asked.timeout;
        // Its waits are not shorter, so that it is this one that ends.
        tokio::select! {
            biased;
            () = tokio::time::sleep(limit) => Err(failed(format!("the request took longer than {limit:?}"))),
            answered = self.ask_at_leisure(asked) => answered,
        }
    }

    async fn ask_at_leisure(&self, asked: Asked) -> Result<Answered, Error> {
        let Asked { method, target, headers, body, timeout, route, wanted } = asked;
        let timeouts = timeouts(timeout);
        self.check(&route, &target)?;
        let body = body.bytes(&self.held).await?;
        let (mut method, mut target, mut headers, mut body) = (method, target, headers, body);
        for _ in 0..=HTTP_REDIRECTS_MAX {
            let response = self.send(&method, &target, &headers, body.as_ref(), &route, timeouts).await?;
            let Some(next) = redirect(&response, &target)? else {
                return self.answered(response, &target, wanted).await;
            };
            let is_repeated =
                matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if !is_repeated {
                if method != Method::HEAD {
                    method = Method::GET;
                }
                body = None;
                headers.remove(CONTENT_TYPE);
            }
            if !target.same_server(&next) {
                headers.remove(AUTHORIZATION);
                headers.remove(COOKIE);
            }
            target = next;
            self.check(&route, &target)?;
        }
        Err(failed(format!("stopped after {HTTP_REDIRECTS_MAX} redirects")).with_retryable(Some(false)))
    }

    /// Checks what is special about the way; the rest is checked where it is sent.
    fn check(&self, route: &RequestRoute, target: &Target) -> Result<(), Error> {
        match route {
            RequestRoute::Shared | RequestRoute::OwnTls { is_checked: true, .. } => Ok(()),
            RequestRoute::OwnTls { .. } => {
                Ok(self.rules.policy("http_client.insecure_tls", &target.url())?)
            }
            RequestRoute::Unix(path) => {
                Ok(self.rules.policy("http_client.unix_socket", &path.to_string_lossy())?)
            }
        }
    }

    async fn send(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        body: Option<&Bytes>,
        route: &RequestRoute,
        timeouts: Timeouts,
    ) -> Result<Response<WasiBody>, Error> {
        let body = body.cloned();
        let length = body.as_ref().map(Bytes::len);
        let full = Full::new(body.unwrap_or_default()).map_err(|never| match never {});
        let mut request = Request::new(full.boxed_unsync());
        *request.method_mut() = method.clone();
        *request.headers_mut() = headers.clone();
        if let Some(length) = length {
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        self.inner.carry_trace(request.headers_mut());
        let egress = &self.inner.egress;
        let route = route.of_egress();
        let sent = egress.send(&self.entry, &self.rules, target, request, &route, timeouts);
        Ok(sent.await?)
    }

    async fn answered(
        &self,
        response: Response<WasiBody>,
        target: &Target,
        wanted: Wanted,
    ) -> Result<Answered, Error> {
        let (head, body) = response.into_parts();
        let content = match wanted {
            Wanted::Stream => Content::Stream(body),
            Wanted::Body { max } => self.read(body, max).await?,
        };
        Ok(Answered { status: head.status.as_u16(), headers: head.headers, url: target.url(), content })
    }

    /// The whole of `body`, which counts towards what the invocation holds.
    async fn read(&self, mut body: WasiBody, max: usize) -> Result<Content, Error> {
        let (mut all, mut shares) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failed(format!("the response ended early: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + data.len() > max {
                let message = format!("the response has more than {max} bytes (`max_response_body`)");
                return Err(Error::new(ErrorKind::Internal, message));
            }
            shares.push(self.held.take(data.len())?);
            all.extend_from_slice(&data);
        }
        Ok(Content::Body(all, shares))
    }
}

/// Waits of a request that may take `limit`: who asks for more time waits for a slow answer, and for each part of a
/// stream, as long.
fn timeouts(limit: Duration) -> Timeouts {
    let ours = Timeouts::default();
    Timeouts { first_byte: ours.first_byte.max(limit), between_bytes: ours.between_bytes.max(limit), ..ours }
}

/// Where `response` sends its reader, if it does.
fn redirect(response: &Response<WasiBody>, from: &Target) -> Result<Option<Target>, Error> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let location = location.to_str().map_err(|error| error.to_string());
    let next = location.and_then(|location| from.join(location));
    let refused = |problem| {
        let message = format!("the server redirects to what can't be followed: {problem}");
        Error::new(ErrorKind::Internal, message)
    };
    next.map(Some).map_err(refused)
}

/// The way of a request, and what has to be allowed for it.
#[derive(Clone)]
pub(super) enum RequestRoute {
    Shared,
    OwnTls {
        config: Arc<rustls::ClientConfig>,
        name: Option<String>,
        /// Whether the server's certificate is.
        is_checked: bool,
    },
    Unix(std::path::PathBuf),
}

impl RequestRoute {
    fn of_egress(&self) -> Route {
        match self {
            Self::Shared => Route::Shared,
            Self::OwnTls { config, name, .. } => Route::OwnTls(Arc::clone(config), name.clone()),
            Self::Unix(path) => Route::Unix(path.clone()),
        }
    }
}
