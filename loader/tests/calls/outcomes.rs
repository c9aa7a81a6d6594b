//! Calls in short, and what is expected of them.

use loader::{Error, ErrorKind, Loader, Val};

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
