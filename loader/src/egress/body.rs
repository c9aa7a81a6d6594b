//! Bodies of responses: a wait between two parts is bounded, and a connection whose response was read to its end
//! goes back to the pool.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

use super::connection::Connection;
use super::pool::{Key, Pool};

/// A connection and where it goes.
pub(super) struct Home {
    pub(super) pool: Arc<Pool>,
    pub(super) key: Key,
    pub(super) connection: Connection,
}

impl Home {
    fn give_back(self) {
        // The next request would wait behind what the server does not take of this one.
        if !self.connection.is_written() {
            return;
        }
        self.pool.give(self.key, self.connection);
    }
}

/// The body of a response.
pub(super) struct ResponseBody {
    incoming: Incoming,
    between: Duration,
    /// Made when a wait begins: the time that nobody asks is no wait.
    timer: Option<Pin<Box<Sleep>>>,
    home: Option<Home>,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, between: Duration, home: Option<Home>) -> Self {
        let mut body = Self { incoming, between, timer: None, home };
        body.check_end();
        body
    }

    fn check_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(home) = self.home.take()
        {
            home.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                self.check_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.home = None;
                Poll::Ready(Some(Err(Error::Hyper(error))))
            }
            Poll::Ready(None) => {
                if let Some(home) = self.home.take() {
                    home.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                let between = self.between;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
                std::task::ready!(timer.as_mut().poll(context));
                self.home = None;
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
