//! One call of a WebAssembly function: a store of its own, a limit in time, what the guest returned.
//!
//! The callee is never polled inside the future of a guest that calls it: such a call is a task of its own
//! (`task.rs`), whose store is dropped when the caller's future is.

use std::sync::Arc;

use registry_schema::ErrorKind;
use tokio::time::Instant;
use wasmtime::component::Val;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bulk::{self, Arguments, Value};
use crate::call_id::CallId;
use crate::context::Context;
use crate::error::Error;
use crate::failure;
use crate::function::{Prepared, WasmFunction};
use crate::host_state::HostState;
use crate::hosts::Stdio;
use crate::loader::Inner;
use crate::ticker::Deadline;
use crate::values;

/// Calls `function` with `args`; its standard streams are `stdio`. Dropping the future ends the call and drops its store.
pub(crate) async fn call(
    inner: Arc<Inner>,
    function: Arc<WasmFunction>,
    context: Context,
    args: Vec<Value>,
    stdio: Stdio,
) -> Result<Option<Value>, Error> {
    let prepared = function.prepared(&inner)?;
    check_arity(&function, &prepared, args.len())?;
    // A limit beyond the clock's range is no limit.
    let own = function.max_execution.and_then(|limit| Instant::now().checked_add(limit));
    let context = context.with_deadline(own);
    let deadline = context.deadline();
    let _running = inner.ticker.running(if deadline.is_some() { Deadline::Set } else { Deadline::None });
    let guest = async {
        let store = new_store(&inner, &function, &prepared, context, own, stdio).await?;
        guest(store, &function, &prepared, args).await
    };
    match deadline {
        None => guest.await,
        Some(deadline) => match tokio::time::timeout_at(deadline, guest).await {
            Ok(result) => result,
            Err(_) => Err(failure::timeout(&function, own == Some(deadline))),
        },
    }
}

fn check_arity(function: &WasmFunction, prepared: &Prepared, found: usize) -> Result<(), Error> {
    let expected = prepared.params.len();
    if expected == found {
        return Ok(());
    }
    let signature = function.wasm.signature.as_ref().map(|s| format!(": {s}")).unwrap_or_default();
    let message = format!("`{}` takes {expected} arguments, {found} were given{signature}", function.id);
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg_attr(
    not(feature = "wasi"),
    expect(
        unused_variables,
        clippy::unused_async,
        reason = "only WASI gives a guest more than its arguments"
    )
)]
async fn new_store(
    inner: &Arc<Inner>,
    function: &WasmFunction,
    prepared: &Prepared,
    context: Context,
    own_deadline: Option<Instant>,
    stdio: Stdio,
) -> Result<Store<HostState>, Error> {
    let call = CallId::next();
    let state = HostState {
        #[cfg(feature = "lua")]
        inner: Arc::clone(inner),
        entry: Arc::clone(&function.id),
        call,
        limiter: function.limiter.clone(),
        own_deadline,
        #[cfg(feature = "wasi")]
        wasi: crate::hosts::wasi::prepare(inner, &function.given, &context, call, stdio).await?,
        context,
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
    let state = store.data();
    if let Some(deadline) = state.context.deadline()
        && Instant::now() >= deadline
    {
        let own = state.own_deadline == Some(deadline);
        return Err(wasmtime::Error::from(failure::TimeLimit { own }));
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

async fn guest(
    mut store: Store<HostState>,
    function: &WasmFunction,
    prepared: &Prepared,
    args: Vec<Value>,
) -> Result<Option<Value>, Error> {
    let instance = match prepared.pre.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => {
            return Err(failure::of_guest(function, &store, &error, failure::During::Instantiation));
        }
    };
    let export = instance.get_func(&mut store, prepared.export).ok_or_else(|| {
        let message = format!("`{}`: no export `{}`", function.id, function.wasm.export);
        Error::new(ErrorKind::Internal, message)
    })?;
    let mut args = Arguments::new(prepared.typed, args);
    match bulk::call(&mut store, export, &mut args, prepared.has_result).await {
        Ok(result) => Ok(result),
        Err(error) => {
            // wasmtime refuses arguments of a wrong type before anything runs, with a plain error; the
            // check is repeated here, off the fast path, to say which part is wrong.
            if let Some(problem) = wrong_argument(prepared, args.unchecked()) {
                return Err(Error::new(ErrorKind::Invalid, format!("`{}`: {problem}", function.id)));
            }
            failure::exit_status(function, &error)
                .map(|status| status.map(|result| result.map(Value::Val)))
                .unwrap_or_else(|| Err(failure::of_guest(function, &store, &error, failure::During::Call)))
        }
    }
}

fn wrong_argument(prepared: &Prepared, args: &[Val]) -> Option<String> {
    let mut pairs = prepared.params.iter().zip(args);
    pairs.find_map(|((name, ty), value)| values::check(name, value, ty).err())
}
