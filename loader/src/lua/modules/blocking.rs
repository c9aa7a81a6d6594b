//! Work that may wait for files, away from the threads that run Lua.

use registry_schema::ErrorKind;

use crate::error::Error;

/// What `work` gives, on a thread that may block.
///
/// # Errors
/// Those of `work`; `INTERNAL` when it panics.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Internal, format!("the operation did not end: {error}"))),
    }
}
