//! Whether a connection still writes its request: a server may answer before it has taken all of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

/// What a connection of HTTP/1.1 still writes.
#[derive(Default)]
pub(super) struct Writing {
    /// Whether a request's body is not at its end.
    has_body: AtomicBool,
    /// Whether the other end has not taken what was written last.
    is_stuck: AtomicBool,
}

impl Writing {
    /// Whether all of the last request was taken.
    pub(super) fn is_done(&self) -> bool {
        !self.has_body.load(Ordering::Acquire) && !self.is_stuck.load(Ordering::Acquire)
    }

    pub(super) fn stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::Release);
    }
}

/// The body of a request; whoever writes it drops it at its end.
pub(super) struct RequestBody {
    body: WasiBody,
    writing: Arc<Writing>,
}

impl RequestBody {
    pub(super) fn new(body: WasiBody, writing: &Arc<Writing>) -> Self {
        writing.has_body.store(true, Ordering::Release);
        Self { body, writing: Arc::clone(writing) }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.writing.has_body.store(false, Ordering::Release);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
