//! How long a connection may do nothing: wait for the head of a request, rest between two, or not take what
//! is written to it.
//!
//! hyper's own limit for heads also runs while a connection rests, so it can't tell the two apart.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The limits; `None` is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request to the end of its head.
    pub(super) head: Option<Duration>,
    /// Between two requests.
    pub(super) idle: Option<Duration>,
    /// For the other side to take what is written.
    pub(super) write: Option<Duration>,
}

/// What a connection is waiting for. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<(Patience, Mutex<State>)>);

#[derive(Debug)]
struct State {
    /// Requests that were read and are not answered yet.
    requests: usize,
    /// When the last one was answered, or the connection was made.
    resting: Instant,
    /// When the first byte of the next one came.
    head: Option<Instant>,
    /// When a write was first refused.
    writing: Option<Instant>,
    /// Heads of HTTP/2 come in frames among others, so there is no first byte to tell.
    is_http2: Option<bool>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Ticket(Watch);

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.resting = Instant::now();
    }
}

impl Watch {
    /// Of a connection that is new: its first request must come as fast as a head.
    pub(super) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let state = State { requests: 0, resting: now, head: Some(now), writing: None, is_http2: None };
        Self(Arc::new((patience, Mutex::new(state))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values: whole after any panic.
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was read.
    pub(super) fn request(&self) -> Ticket {
        let mut state = self.state();
        state.requests += 1;
        state.head = None;
        Ticket(self.clone())
    }

    /// Whether its preface said so.
    pub(super) fn is_http2(&self) -> bool {
        self.state().is_http2 == Some(true)
    }

    fn has_read(&self, bytes: &[u8]) {
        let mut state = self.state();
        let is_http2 = *state.is_http2.get_or_insert_with(|| bytes.starts_with(b"PRI"));
        if is_http2 {
            // The first request after the preface has the time that any other has.
            state.head = None;
        } else if state.requests == 0 && state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }

    fn has_written(&self, refused: bool) {
        let mut state = self.state();
        state.writing = if refused { state.writing.or_else(|| Some(Instant::now())) } else { None };
    }

    /// When this connection is given up if nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let Patience { head, idle, write } = self.0.0;
        let state = self.state();
        let after =
            |start: Instant, limit: Option<Duration>| limit.and_then(|limit| start.checked_add(limit));
        let waiting = match (state.requests, state.head) {
            (0, Some(start)) => after(start, head),
            (0, None) => after(state.resting, idle),
            _ => None,
        };
        let writing = state.writing.and_then(|start| after(start, write));
        match (waiting, writing) {
            (Some(waiting), Some(writing)) => Some(waiting.min(writing)),
            (waiting, writing) => waiting.or(writing),
        }
    }

    /// Completes when the connection has to be given up.
    pub(super) async fn exhausted(&self) {
        let Patience { head, idle, write } = self.0.0;
        let Some(shortest) = [head, idle, write].into_iter().flatten().min() else {
            return std::future::pending().await;
        };
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            // Any deadline that is set while this sleeps is later than it wakes.
            let next = now.checked_add(shortest).unwrap_or(now);
            tokio::time::sleep_until(deadline.map_or(next, |deadline| deadline.min(next))).await;
        }
    }
}

/// A stream that tells its [`Watch`] what it does.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) watch: Watch,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready()
            && let bytes = &buffer.filled()[before..]
            && !bytes.is_empty()
        {
            self.watch.has_read(bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn written<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.watch.has_written(polled.is_pending());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Watch {
        Watch::new(Patience { head: Some(5 * SECOND), idle: Some(60 * SECOND), write: Some(9 * SECOND) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_less_time_than_a_rest() {
        let start = Instant::now();
        let connection = watch();
        connection.exhausted().await;
        assert_eq!(Instant::now(), start + 5 * SECOND);

        let connection = watch();
        connection.has_read(b"GET /");
        drop(connection.request());
        let rest = Instant::now();
        connection.exhausted().await;
        assert_eq!(Instant::now(), rest + 60 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_after_a_rest_is_timed_from_there() {
        let connection = watch();
        drop(connection.request());
        let start = Instant::now();
        let slow = async {
            tokio::time::sleep(17 * SECOND).await;
            connection.has_read(b"G");
            tokio::time::sleep(2 * SECOND).await;
            connection.has_read(b"E");
            std::future::pending::<()>().await;
        };
        tokio::select! { () = connection.exhausted() => {}, () = slow => {} }
        assert_eq!(Instant::now(), start + 22 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_is_not_timed_but_a_stalled_write_is() {
        let connection = watch();
        let ticket = connection.request();
        let start = Instant::now();
        let stalls = async {
            tokio::time::sleep(600 * SECOND).await;
            connection.has_written(true);
            tokio::time::sleep(8 * SECOND).await;
            connection.has_written(false);
            connection.has_written(true);
            tokio::time::sleep(SECOND).await;
            connection.has_written(true);
            std::future::pending::<()>().await;
        };
        tokio::select! { () = connection.exhausted() => {}, () = stalls => {} }
        assert_eq!(Instant::now(), start + 617 * SECOND);
        drop(ticket);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http2_are_no_heads() {
        let connection = watch();
        connection.has_read(b"PRI * HTTP/2.0");
        drop(connection.request());
        let start = Instant::now();
        connection.has_read(b"ping");
        connection.exhausted().await;
        assert_eq!(Instant::now(), start + 60 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_ends() {
        let connection = Watch::new(Patience { head: None, idle: None, write: None });
        let ended = tokio::time::timeout(3600 * SECOND, connection.exhausted()).await;
        assert!(ended.is_err());
    }
}
