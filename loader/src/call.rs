//! One call: a task of its own with a store of its own.
//!
//! The callee is never polled inside its caller's future: its task is aborted, and its store dropped,
//! when the caller's future is dropped. A panic in a host function ends that call, not the process.

use std::sync::Arc;

use registry_schema::ErrorKind;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wasmtime::component::Val;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::error::Error;
use crate::failure;
use crate::function::{Callable, Prepared};
use crate::host_state::HostState;
use crate::loader::Inner;
use crate::ticker::Deadline;
use crate::values;

/// Aborts the task when its caller goes away.
struct Task(JoinHandle<Result<Option<Val>, Error>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Calls `callable` with `args` on the current tokio runtime.
pub(crate) async fn call(
    inner: Arc<Inner>,
    callable: Arc<Callable>,
    args: Vec<Val>,
) -> Result<Option<Val>, Error> {
    let id = Arc::clone(&callable.id);
    let mut task = Task(tokio::spawn(run(inner, callable, args)));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            let message = format!("`{id}`: a host function panicked: {}", panic_message(error.into_panic()));
            Err(Error::new(ErrorKind::Internal, message))
        }
        Err(_) => Err(Error::new(ErrorKind::Canceled, format!("`{id}` was cancelled"))),
    }
}

fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => match panic.downcast::<&str>() {
            Ok(text) => (*text).to_owned(),
            Err(_) => "unknown".to_owned(),
        },
    }
}

async fn run(inner: Arc<Inner>, callable: Arc<Callable>, args: Vec<Val>) -> Result<Option<Val>, Error> {
    let prepared = callable.prepared(&inner)?;
    check_arity(&callable, &prepared, args.len())?;
    // A limit beyond the clock's range is no limit.
    let deadline = callable.max_execution.and_then(|limit| Instant::now().checked_add(limit));
    let _running = inner.ticker.running(if deadline.is_some() { Deadline::Set } else { Deadline::None });
    let store = new_store(&inner, &callable, &prepared, deadline)?;
    let guest = guest(store, &callable, &prepared, &args);
    match deadline {
        None => guest.await,
        Some(deadline) => match tokio::time::timeout_at(deadline, guest).await {
            Ok(result) => result,
            Err(_) => Err(failure::timeout(&callable)),
        },
    }
}

fn check_arity(callable: &Callable, prepared: &Prepared, found: usize) -> Result<(), Error> {
    let expected = prepared.params.len();
    if expected == found {
        return Ok(());
    }
    let signature = callable.wasm.signature.as_ref().map(|s| format!(": {s}")).unwrap_or_default();
    let message = format!("`{}` takes {expected} arguments, {found} were given{signature}", callable.id);
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg_attr(not(feature = "wasi"), expect(unused_variables, reason = "only WASI reads the environment"))]
fn new_store(
    inner: &Inner,
    callable: &Callable,
    prepared: &Prepared,
    deadline: Option<Instant>,
) -> Result<Store<HostState>, Error> {
    let state = HostState {
        entry: Arc::clone(&callable.id),
        limiter: callable.limiter.clone(),
        deadline,
        #[cfg(feature = "wasi")]
        wasi: {
            let variables = callable.given.environment(&inner.environment())?;
            crate::hosts::wasi::WasiState::new(callable.given.clone(), variables)
        },
    };
    let mut store = Store::new(prepared.pre.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(at_tick);
    Ok(store)
}

/// At each tick: end what is past its deadline, let others run.
#[expect(clippy::needless_pass_by_value, reason = "the callback's type")]
fn at_tick(store: StoreContextMut<'_, HostState>) -> wasmtime::Result<UpdateDeadline> {
    if store.data().deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(wasmtime::Error::from(failure::TimeLimit));
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

async fn guest(
    mut store: Store<HostState>,
    callable: &Callable,
    prepared: &Prepared,
    args: &[Val],
) -> Result<Option<Val>, Error> {
    let instance = match prepared.pre.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => {
            return Err(failure::of_guest(callable, &store, &error, failure::During::Instantiation));
        }
    };
    let function = instance.get_func(&mut store, prepared.export).ok_or_else(|| {
        let message = format!("`{}`: no export `{}`", callable.id, callable.wasm.export);
        Error::new(ErrorKind::Internal, message)
    })?;
    let mut results = [Val::Bool(false)];
    let results = if prepared.has_result { &mut results[..] } else { &mut [] };
    match function.call_async(&mut store, args, results).await {
        Ok(()) => Ok(results.first_mut().map(|value| std::mem::replace(value, Val::Bool(false)))),
        Err(error) => {
            // wasmtime refuses arguments of a wrong type before anything runs, with a plain error; the
            // check is repeated here, off the fast path, to say which part is wrong.
            if let Some(problem) = wrong_argument(prepared, args) {
                return Err(Error::new(ErrorKind::Invalid, format!("`{}`: {problem}", callable.id)));
            }
            failure::exit_status(callable, &error)
                .unwrap_or_else(|| Err(failure::of_guest(callable, &store, &error, failure::During::Call)))
        }
    }
}

fn wrong_argument(prepared: &Prepared, args: &[Val]) -> Option<String> {
    let mut pairs = prepared.params.iter().zip(args);
    pairs.find_map(|((name, ty), value)| values::check(name, value, ty).err())
}
