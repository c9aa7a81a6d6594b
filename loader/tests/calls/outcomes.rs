//! Calls in short, and what is expected of them.

use std::sync::{Arc, Mutex};

use loader::registry_schema::EntryId;
use loader::{Error, ErrorKind, GuestLog, Loader, Stream, Val};

/// The output of functions, lines as they came.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<String>>>);

impl Kept {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl GuestLog for Kept {
    fn line(&self, entry: &EntryId, stream: Stream, line: &str) {
        self.0.lock().unwrap().push(format!("{entry} {stream:?}: {line}"));
    }
}

/// Calls `app:NAME` on the runtime that the test runs on.
pub(crate) async fn call(loader: &Loader, name: &str, args: &[Val]) -> Result<Option<Val>, Error> {
    loader.call(&format!("app:{name}"), args).await
}

/// The kind and message of a call that must fail.
pub(crate) async fn failure(loader: &Loader, name: &str, args: &[Val]) -> (ErrorKind, String) {
    match call(loader, name, args).await {
        Ok(value) => panic!("`{name}` returned {value:?}"),
        Err(error) => (error.kind(), error.message().to_owned()),
    }
}

/// Expects a failure with its exact message.
pub(crate) async fn expect_failure(
    loader: &Loader,
    name: &str,
    args: &[Val],
    kind: ErrorKind,
    message: &str,
) {
    assert_eq!(failure(loader, name, args).await, (kind, message.to_owned()));
}

/// Expects that a function without parameters returns `number`.
pub(crate) async fn expect_number(loader: &Loader, name: &str, number: u32) {
    assert_eq!(call(loader, name, &[]).await, Ok(Some(Val::U32(number))));
}

/// Lets others run until `reached`; panics when that takes for ever.
#[track_caller]
pub(crate) fn until(reached: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let reached = async move {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    // Only reached when something is wrong.
    let watched = tokio::time::timeout(std::time::Duration::from_secs(120), reached);
    async move { assert!(watched.await.is_ok(), "it does not come to what {caller} waits for") }
}
