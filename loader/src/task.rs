//! A call as a task of its own: ended when its caller goes away, and with it alone when it panics.
//!
//! tokio ends an aborted task some time later. Here the caller's drop returns when the call is gone, with its
//! store and all that it holds: its future lies where both the task and the caller reach it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use registry_schema::{EntryId, ErrorKind};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::closing;
use crate::error::Error;
use crate::ticker::Ticker;

/// A call's future, until it has returned or is given up.
struct Shared<F> {
    future: Mutex<Option<Pin<Box<F>>>>,
    is_cancelled: AtomicBool,
    /// The thread that polls it, by [`this_thread`]; 0 for none.
    polled_by: AtomicUsize,
}

/// A number that no other living thread has; never 0.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl<F: Future> Shared<F> {
    /// `None` once the caller has gone.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        // Poisoned by a call that panicked; nobody polls it again.
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled.load(Ordering::Acquire) {
            *future = None;
        }
        let Some(running) = future.as_mut() else { return Poll::Ready(None) };
        let polled = Polled::new(&self.polled_by);
        let output = running.as_mut().poll(context);
        drop(polled);
        if output.is_ready() || self.is_cancelled.load(Ordering::Acquire) {
            *future = None;
        }
        output.map(Some)
    }

    /// Drops the call. A guest that computes just now on another thread is interrupted and waited for, which
    /// takes as long as a host function that it may be in.
    fn cancel(&self, ticker: &Ticker) {
        self.is_cancelled.store(true, Ordering::Release);
        if self.polled_by.load(Ordering::Acquire) == this_thread() {
            // Something in the call drops the call itself: it goes when that returns.
            return;
        }
        if let Ok(mut future) = self.future.try_lock() {
            *future = None;
            return;
        }
        // Raises the epoch, so that the guest gives way at once.
        ticker.tick();
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        *future = None;
    }
}

/// Marks a future as polled by this thread.
struct Polled<'a>(&'a AtomicUsize);

impl<'a> Polled<'a> {
    fn new(polled_by: &'a AtomicUsize) -> Self {
        polled_by.store(this_thread(), Ordering::Release);
        Self(polled_by)
    }
}

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Ends the call when its caller goes away.
struct Task<'a, T, F: Future> {
    handle: JoinHandle<Option<Result<T, Error>>>,
    shared: Arc<Shared<F>>,
    ticker: &'a Ticker,
}

impl<T, F: Future> Drop for Task<'_, T, F> {
    fn drop(&mut self) {
        self.handle.abort();
        self.shared.cancel(self.ticker);
    }
}

/// Runs `call`, of the entry `id`, as a task on the current tokio runtime.
pub(crate) async fn run<T, F>(id: &EntryId, ticker: &Ticker, call: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    run_on(&Handle::current(), id, ticker, call).await
}

/// Runs `call`, of the entry `id`, as a task on another runtime.
pub(crate) async fn run_on<T, F>(runtime: &Handle, id: &EntryId, ticker: &Ticker, call: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let shared = Arc::new(Shared {
        future: Mutex::new(Some(Box::pin(call))),
        is_cancelled: AtomicBool::new(false),
        polled_by: AtomicUsize::new(0),
    });
    let polled = Arc::clone(&shared);
    let handle = runtime.spawn(std::future::poll_fn(move |context| polled.poll(context)));
    let mut task = Task { handle, shared, ticker };
    match (&mut task.handle).await {
        Ok(Some(result)) => result,
        Err(error) if error.is_panic() => Err(panicked(id, error.into_panic())),
        // Of a caller that is gone, who does not see it.
        Ok(None) => Err(Error::new(ErrorKind::Canceled, format!("`{id}` was cancelled"))),
        // Nobody else ends the task: its runtime shuts down.
        Err(_) => Err(closing::refused(id)),
    }
}

/// The error of a call in which a host function panicked.
pub(crate) fn panicked(id: &EntryId, panic: Box<dyn Any + Send>) -> Error {
    let message = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => match panic.downcast::<&str>() {
            Ok(text) => (*text).to_owned(),
            Err(_) => "unknown".to_owned(),
        },
    };
    Error::new(ErrorKind::Internal, format!("`{id}`: a host function panicked: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_shuts_down_leaves_a_retryable_error() {
        let id: EntryId = "app:f".parse().unwrap();
        let ticker = Ticker::new(crate::config::Ticking::Manual);
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let here = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let call = async {
            started.send(()).unwrap();
            std::future::pending::<Result<(), Error>>().await
        };
        let handle = other.handle().clone();
        let outcome = here.block_on(async {
            let call = run_on(&handle, &id, &ticker, call);
            let shutdown = async {
                has_started.await.unwrap();
                other.shutdown_background();
            };
            tokio::join!(call, shutdown).0
        });
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
        assert_eq!(error.message(), "`app:f` can't run: the loader is shutting down");
    }
}
