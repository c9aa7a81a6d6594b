//! Bodies: what comes in is counted and may not stall, what goes out holds what produces it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

/// Why a request's body ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyProblem {
    /// It has more bytes than this.
    TooLarge(u64),
    /// It took too long, or stalled.
    TooSlow,
    /// The connection failed.
    Broken(String),
}

impl std::fmt::Display for BodyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(max) => write!(f, "the request body has more than {max} bytes"),
            Self::TooSlow => f.write_str("the request body did not arrive in time"),
            Self::Broken(problem) => write!(f, "the request body can't be read: {problem}"),
        }
    }
}

impl std::error::Error for BodyProblem {}

/// A request's body.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BodyProblem>;

/// What ends a response early; the connection is closed or the stream reset.
pub(crate) type Aborted = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, Aborted>;

/// A body that is known as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub(crate) fn empty() -> ResponseBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What became of a request's body, for whoever answers when its reader only knows that it failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<AtomicU8>);

impl Fate {
    const LARGE: u8 = 1;
    const SLOW: u8 = 2;

    fn note(&self, fate: u8) {
        self.0.store(fate, Ordering::Relaxed);
    }

    /// Whether it was refused for its size.
    pub(super) fn is_too_large(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::LARGE
    }

    /// Whether it was given up for its pace.
    pub(super) fn is_too_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::SLOW
    }
}

/// How large a request's body may be, and how slow.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// In bytes.
    pub(super) max: u64,
    /// When the whole of it must be there.
    pub(super) deadline: Option<Instant>,
    /// Longest wait for its next part.
    pub(super) stall: Option<Duration>,
}

/// A request's body within its limits.
pub(super) struct Limited<B> {
    body: B,
    limits: BodyLimits,
    left: u64,
    /// Runs while the next part is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
    fate: Fate,
}

impl<B> Limited<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    pub(super) fn body(body: B, limits: BodyLimits, fate: Fate) -> RequestBody {
        Self { body, limits, left: limits.max, waiting: None, fate }.boxed_unsync()
    }

    fn wait_until(&self) -> Option<Instant> {
        let stalled = self.limits.stall.and_then(|stall| Instant::now().checked_add(stall));
        match (self.limits.deadline, stalled) {
            (Some(deadline), Some(stalled)) => Some(deadline.min(stalled)),
            (deadline, stalled) => deadline.or(stalled),
        }
    }
}

impl<B> Body for Limited<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = BodyProblem;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyProblem>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            if this.waiting.is_none() {
                this.waiting = this.wait_until().map(|at| Box::pin(tokio::time::sleep_until(at)));
            }
            let Some(waiting) = &mut this.waiting else { return Poll::Pending };
            ready!(waiting.as_mut().poll(cx));
            this.fate.note(Fate::SLOW);
            return Poll::Ready(Some(Err(BodyProblem::TooSlow)));
        };
        this.waiting = None;
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyProblem::Broken(error.to_string())))),
            Some(Ok(frame)) => frame,
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(bytes) {
            Some(left) => this.left = left,
            None => {
                this.fate.note(Fate::LARGE);
                return Poll::Ready(Some(Err(BodyProblem::TooLarge(this.limits.max))));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body that is made while it is sent: the parts that a channel gives.
pub(super) struct Parts(pub(super) mpsc::Receiver<Result<Bytes, Aborted>>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

/// A response's body with what must live as long as it; ended at a deadline.
pub(super) struct Held<T> {
    body: ResponseBody,
    deadline: Option<Pin<Box<Sleep>>>,
    #[expect(dead_code, reason = "dropped with the body")]
    held: T,
}

impl<T: Send + Unpin + 'static> Held<T> {
    pub(super) fn body(body: ResponseBody, deadline: Option<Instant>, held: T) -> ResponseBody {
        // What is whole is sent at once; a client that does not read it is the connection's business.
        let deadline = deadline.filter(|_| body.size_hint().exact().is_none());
        let deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        Self { body, deadline, held }.boxed_unsync()
    }
}

impl<T: Send + Unpin + 'static> Body for Held<T> {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err("the response was not written in time".into())));
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: &[&'static str]) -> (mpsc::Sender<Result<Bytes, Aborted>>, Parts) {
        let (sender, receiver) = mpsc::channel(8);
        for part in parts {
            sender.try_send(Ok(Bytes::from_static(part.as_bytes()))).unwrap();
        }
        (sender, Parts(receiver))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_refused_for_its_size() {
        let (_sender, parts) = body(&["abc", "def"]);
        let (limits, fate) = (BodyLimits { max: 5, deadline: None, stall: None }, Fate::default());
        let mut limited = Limited::body(parts, limits, fate.clone());
        assert!(limited.frame().await.unwrap().is_ok());
        assert!(!fate.is_too_large());
        assert_eq!(limited.frame().await.unwrap().unwrap_err(), BodyProblem::TooLarge(5));
        assert!(fate.is_too_large());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_up_when_it_stalls() {
        let (sender, parts) = body(&["abc"]);
        let stall = Duration::from_secs(3);
        let start = Instant::now();
        let limits = BodyLimits { max: 99, deadline: Some(start + 2 * stall), stall: Some(stall) };
        let fate = Fate::default();
        let mut limited = Limited::body(parts, limits, fate.clone());
        assert!(limited.frame().await.unwrap().is_ok());
        tokio::time::advance(stall * 5 / 3).await;
        sender.try_send(Ok(Bytes::from_static(b"d"))).unwrap();
        // It did not wait for this one: the time between two reads is the handler's.
        assert!(limited.frame().await.unwrap().is_ok());
        assert_eq!(limited.frame().await.unwrap().unwrap_err(), BodyProblem::TooSlow);
        assert_eq!(Instant::now(), start + 2 * stall);
        assert!(fate.is_too_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_ends_at_its_deadline() {
        let (sender, parts) = body(&["abc"]);
        let deadline = Instant::now() + Duration::from_secs(1);
        let held = Arc::new(());
        let mut response = Held::body(parts.boxed_unsync(), Some(deadline), Arc::clone(&held));
        assert!(response.frame().await.unwrap().is_ok());
        assert!(response.frame().await.unwrap().is_err());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(response);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(sender.is_closed());
    }
}
