//! A call as a task of its own: ended when its caller goes away, and with it alone when it panics.

use std::any::Any;
use std::future::Future;

use registry_schema::{EntryId, ErrorKind};
use tokio::task::JoinHandle;

use crate::error::Error;

/// Aborts the task when its caller goes away.
struct Task<T>(JoinHandle<Result<T, Error>>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `call`, of the entry `id`, as a task on the current tokio runtime.
pub(crate) async fn run<T: Send + 'static>(
    id: &EntryId,
    call: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut task = Task(tokio::spawn(call));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(panicked(id, error.into_panic())),
        Err(_) => Err(Error::new(ErrorKind::Canceled, format!("`{id}` was cancelled"))),
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
