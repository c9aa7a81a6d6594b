//! From what wasmtime reports to what a caller is told.

use registry_schema::{EntryId, ErrorKind};
use wasmtime::component::{ResourceTableError, Val};
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::config::HANDLES_MAX;
use crate::data::Data;
#[cfg(feature = "wasi")]
use crate::data::Table;
use crate::error::Error;
use crate::function::WasmFunction;
use crate::host_state::HostState;
use crate::hosts::Denied;

/// Marks the end of a call by its time limit.
#[derive(Debug)]
pub(crate) struct TimeLimit {
    /// Whether it was the entry's own, not one that the call inherited.
    pub(crate) own: bool,
}

impl std::fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("time limit reached")
    }
}

impl std::error::Error for TimeLimit {}

/// When a guest failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    Instantiation,
    Call,
}

/// The error of a call that met its time limit.
///
/// `own` says that it was the entry's, not one that the call inherited.
pub(crate) fn timeout(function: &WasmFunction, own: bool) -> Error {
    if !own {
        return inherited_timeout(&function.id);
    }
    let limit = function.max_execution.unwrap_or_default().as_millis();
    let message = format!("`{}` was ended after its limit `max_execution_ms` of {limit}", function.id);
    Error::new(ErrorKind::Timeout, message).retryable()
}

/// The error of a call that was ended by the deadline of its caller.
pub(crate) fn inherited_timeout(id: &EntryId) -> Error {
    Error::new(ErrorKind::Timeout, format!("`{id}` was ended at the deadline of its caller")).retryable()
}

/// The error of a guest that did not return.
pub(crate) fn of_guest(
    function: &WasmFunction,
    store: &Store<HostState>,
    error: &wasmtime::Error,
    during: During,
) -> Error {
    if let Some(TimeLimit { own }) = error.downcast_ref() {
        return timeout(function, *own);
    }
    if let Some(denied) = error.downcast_ref::<Denied>() {
        return Error::new(denied.kind(), denied.to_string());
    }
    let method = &function.wasm.export;
    let at = match during {
        During::Instantiation => format!("`{}` can't be instantiated", function.id),
        During::Call => format!("`{}` failed in `{method}`", function.id),
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>().map_or(Data::Nil, frames);
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => without_backtrace(error),
    };
    let limit = store.data().limiter.refused().or_else(|| handles(error));
    let limit = limit.map(|limit| format!(" ({limit})")).unwrap_or_default();
    let hint = if is_descriptor_limit(error) {
        "; the process has no file descriptor left, raise `ulimit -n`"
    } else {
        ""
    };
    Error::new(ErrorKind::Internal, format!("{at}: {cause}{limit}{hint}")).with_details(backtrace)
}

/// The limit of handles, if it was met.
fn handles(error: &wasmtime::Error) -> Option<String> {
    let is_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.chain().any(|cause| cause.to_string().contains("store handle limit exceeded"));
    is_full.then(|| format!("limit of {HANDLES_MAX} handles was reached"))
}

/// Function names, innermost first.
fn frames(backtrace: &WasmBacktrace) -> Data {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => Data::from(name),
        None => Data::from(format!("function {}", frame.func_index())),
    };
    backtrace.frames().iter().map(name).collect()
}

/// The causes of an error in one line, the backtrace that wasmtime adds left out.
fn without_backtrace(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(ToString::to_string)
        .filter(|cause| !cause.starts_with("error while executing at wasm backtrace"))
        .collect();
    causes.join(": ")
}

fn is_descriptor_limit(error: &wasmtime::Error) -> bool {
    let limit = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<std::io::Error>() {
        Some(error) => {
            matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::MFILE.raw_os_error() || code == rustix::io::Errno::NFILE.raw_os_error())
        }
        None => cause.to_string().contains("Too many open files"),
    };
    error.chain().any(limit)
}

/// What a guest that ended itself with `exit` returned, if it did: success is the `ok` of a method that
/// returns a `result`, and nothing for others.
#[cfg(feature = "wasi")]
pub(crate) fn exit_status(
    function: &WasmFunction,
    error: &wasmtime::Error,
) -> Option<Result<Option<Val>, Error>> {
    let status = error.downcast_ref::<wasmtime_wasi::I32Exit>()?.0;
    if status != 0 {
        let message = format!("`{}` ended itself with exit status {status}", function.id);
        let fields = vec![(Data::from("exit_status"), Data::Integer(i64::from(status)))];
        let details = Data::Table(Table { fields, ..Table::default() });
        return Some(Err(Error::new(ErrorKind::Internal, message).with_details(details)));
    }
    let result = function.wasm.signature.as_ref().and_then(|signature| signature.result.as_ref());
    Some(Ok(match result {
        Some(registry_schema::wit::Type::Result(None, _)) => Some(Val::Result(Ok(None))),
        _ => None,
    }))
}

#[cfg(not(feature = "wasi"))]
pub(crate) fn exit_status(_: &WasmFunction, _: &wasmtime::Error) -> Option<Result<Option<Val>, Error>> {
    None
}
