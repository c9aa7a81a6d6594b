//! What makes an answer, driven by whoever sends it: by the request until the head is there, then by the answer's
//! body. So a request needs no task of its own, and a client that takes nothing holds its handler up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::http::answer::Answer;
use crate::http::body::{Aborted, ResponseBody};

/// What makes an answer and its body, and may go on after them. Dropping it ends it.
pub(super) struct Maker(Pin<Box<dyn Future<Output = ()> + Send>>);

/// A task that ends when nobody waits for it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Maker {
    pub(super) fn new(making: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(making))
    }

    /// One that runs on another runtime.
    pub(super) fn on(runtime: &Handle, making: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut task = Task(runtime.spawn(making));
        Self::new(async move {
            // What panics there has sent no answer, or ends its body.
            let _ = (&mut task.0).await;
        })
    }

    /// Runs until it has sent the head of the answer, or `None` if it ended without. The rest of it is left, unless
    /// it has ended.
    pub(super) async fn head<T>(mut self, mut head: oneshot::Receiver<T>) -> (Option<T>, Option<Self>) {
        let mut has_ended = false;
        let head = std::future::poll_fn(|cx| {
            has_ended = has_ended || self.0.as_mut().poll(cx).is_ready();
            Pin::new(&mut head).poll(cx)
        });
        let head = head.await.ok();
        (head, (!has_ended).then_some(self))
    }
}

/// `answer` to a request for `method`, whose body drives the rest of `maker`.
pub(super) fn drive(answer: Answer, maker: Option<Maker>, method: &http::Method) -> Answer {
    let Some(maker) = maker else { return answer };
    let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let left = if *method == http::Method::HEAD { Some(0) } else { length };
    answer.map(|body| Driven { body, maker: Some(maker), left, has_ended: false }.boxed_unsync())
}

struct Driven {
    body: ResponseBody,
    maker: Option<Maker>,
    /// Bytes that the client still waits for, where the head says how many.
    left: Option<u64>,
    has_ended: bool,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        if let Some(maker) = &mut this.maker
            && maker.0.as_mut().poll(cx).is_ready()
        {
            this.maker = None;
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => this.has_ended = true,
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.left = this.left.map(|left| left.saturating_sub(length));
            }
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // A handler may go on after an answer that was taken whole, and ends with a client that left before.
        if (self.has_ended || self.left == Some(0))
            && let Some(maker) = self.maker.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(maker.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Response};
    use tokio::sync::mpsc;

    use super::*;
    use crate::http::body::Parts;

    /// An answer whose maker writes `parts` after its head, waits for `go` and says that it is done.
    async fn answer(
        method: &Method,
        parts: &'static [&'static str],
        go: oneshot::Receiver<()>,
        done: oneshot::Sender<()>,
    ) -> Answer {
        let (head, receiver) = oneshot::channel();
        let maker = Maker::new(async move {
            let (sender, body) = mpsc::channel(1);
            let length: usize = parts.iter().map(|part| part.len()).sum();
            let answer = Response::builder().header(CONTENT_LENGTH, length);
            head.send(answer.body(Parts(body).boxed_unsync()).unwrap()).unwrap();
            for part in parts {
                // Fails when nobody takes it.
                let _ = sender.send(Ok(Bytes::from_static(part.as_bytes()))).await;
            }
            let _ = go.await;
            let _ = done.send(());
        });
        let (answer, rest) = maker.head(receiver).await;
        drive(answer.unwrap(), rest, method)
    }

    #[tokio::test]
    async fn a_maker_goes_on_after_an_answer_that_was_taken() {
        for (method, takes) in [(Method::GET, 2), (Method::HEAD, 0)] {
            let ((go, goes), (done, is_done)) = (oneshot::channel(), oneshot::channel());
            let mut answer = answer(&method, &["abc", "def"], goes, done).await;
            for _ in 0..takes {
                assert!(answer.body_mut().frame().await.unwrap().is_ok());
            }
            drop(answer);
            go.send(()).unwrap();
            is_done.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_maker_ends_with_a_client_that_leaves() {
        let ((go, goes), (done, is_done)) = (oneshot::channel(), oneshot::channel());
        let mut answer = answer(&Method::GET, &["abc", "def"], goes, done).await;
        assert!(answer.body_mut().frame().await.unwrap().is_ok());
        drop(answer);
        assert!(go.send(()).is_err());
        is_done.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_maker_may_end_without_an_answer() {
        let (head, receiver) = oneshot::channel::<()>();
        let (answer, rest) = Maker::new(async move { drop(head) }).head(receiver).await;
        assert!(answer.is_none() && rest.is_none());
        let (head, receiver) = oneshot::channel();
        let runtime = Handle::current();
        let maker = Maker::on(&runtime, async move { head.send(7).unwrap() });
        assert_eq!(maker.head(receiver).await.0, Some(7));
    }
}
