//! Streams of sockets whose waits are bounded (`limits.socket_timeout_ms`).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

/// A stream that fails once it has let its guest wait for too long.
pub(super) struct Timed<S> {
    inner: S,
    longest: Duration,
    /// When the wait began that has gone on since.
    since: Option<Instant>,
    is_over: bool,
}

impl<S> Timed<S> {
    pub(super) fn new(inner: S, longest: Duration) -> Self {
        Self { inner, longest, since: None, is_over: false }
    }

    fn check(&self) -> StreamResult<()> {
        if !self.is_over {
            return Ok(());
        }
        let error = io::Error::from(io::ErrorKind::TimedOut);
        Err(StreamError::LastOperationFailed(error.into()))
    }
}

#[async_trait]
impl<S: Pollable> Pollable for Timed<S> {
    async fn ready(&mut self) {
        if self.is_over {
            return;
        }
        let until = *self.since.get_or_insert_with(Instant::now) + self.longest;
        match timeout_at(until, self.inner.ready()).await {
            Ok(()) => self.since = None,
            Err(_) => self.is_over = true,
        }
    }
}

#[async_trait]
impl InputStream for Timed<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.check()?;
        let bytes = self.inner.read(size)?;
        if !bytes.is_empty() {
            self.since = None;
        }
        Ok(bytes)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl OutputStream for Timed<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check()?;
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        let room = self.inner.check_write()?;
        if room > 0 {
            self.since = None;
        }
        Ok(room)
    }

    async fn cancel(&mut self) {
        // What the peer does not take is not waited for any longer either.
        if !self.is_over {
            let _ = tokio::time::timeout(self.longest, self.inner.cancel()).await;
        }
    }
}
