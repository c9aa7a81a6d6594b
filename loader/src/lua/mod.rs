//! Lua entries.
//!
//! An invocation has a Lua state to itself for as long as it runs; states are kept and used again, each
//! time with a fresh environment (`prelude.lua`). It is driven as a future (`invocation.rs`): Lua runs until
//! each of its coroutines waits for an operation that a Rust function began (`host.rs`), and goes on when
//! one of these completes. Nothing here blocks a thread.

mod convert;
mod error;
mod host;
mod invocation;
mod modules;
mod own;
mod patterns;
mod state;
mod turns;
mod types;
mod wit;

use std::sync::Arc;

use registry_schema::manifest::LuaEntry;
use registry_schema::{EntryId, ErrorKind};
use tokio::time::Instant;

use crate::calls::Retry;
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::function::{Meta, WasmFunction};
use crate::loader::{Callable, Inner};
use crate::pool::{self, Patience, Pool, Reader};
use crate::task;
use crate::telemetry::Seen;

pub(crate) use state::States;

/// A `function.lua` entry.
pub(crate) struct LuaFunction {
    pub(crate) id: Arc<EntryId>,
    /// The id as text.
    name: String,
    lua: LuaEntry,
    pub(crate) pool: Arc<Pool>,
    seen: Seen,
    /// How a failed call is repeated.
    pub(crate) retry: Option<Retry>,
}

impl LuaFunction {
    pub(crate) fn new(inner: &Inner, id: EntryId, meta: &Meta, lua: LuaEntry) -> Result<Self, Error> {
        let retry = Retry::of_entry(inner, &id, meta)?;
        let environment = inner.environment();
        let reader = Reader { environment: &environment, namespace: id.namespace() };
        let shape = reader.of_lua(lua.pool.as_ref()).map_err(|error| {
            let message = format!("`{id}` is not available: {}", error.message());
            Error::new(ErrorKind::Unavailable, message)
        })?;
        let name = id.to_string();
        let id = Arc::new(id);
        Ok(Self {
            name,
            seen: inner.telemetry.entry(&id),
            pool: Pool::new(Arc::clone(&id), shape),
            id,
            lua,
            retry,
        })
    }
}

/// Calls `function` as a task of its own, once it has a slot: it may run for long, and beside its caller.
pub(crate) async fn call(
    inner: &Arc<Inner>,
    function: Arc<LuaFunction>,
    mut context: Context,
    args: Vec<Data>,
) -> Result<Data, Error> {
    let id = Arc::clone(&function.id);
    let seen = inner.telemetry.begin(&function.seen, &mut context.trace);
    let mut patience = Patience::of(&context);
    let owned = Arc::clone(inner);
    let call = async move {
        let _slot = function.pool.slot(&mut patience).await?;
        let _place = owned.lua.place(&function.id, &mut patience).await?;
        invocation::run(owned, function, context, args).await
    };
    // Boxed: it is large, and passes through several hands.
    let result = task::run(&id, &inner.ticker, pool::holding(seen.scope(Box::pin(call)))).await;
    seen.end(&result);
    result
}

/// Runs `function` once, without one of its slots: what a process is. It runs on the caller's task.
pub(crate) async fn run_process(
    inner: Arc<Inner>,
    function: Arc<LuaFunction>,
    context: Context,
    args: Vec<Data>,
) -> Result<Data, Error> {
    invocation::run(inner, function, context, args).await
}

/// Checks that the source of the entry `id` is there, whole, and compiles.
///
/// # Errors
/// `INTERNAL` when it is damaged or does not.
pub(crate) fn check(inner: &Inner, id: &EntryId) -> Result<(), Error> {
    let state = inner.lua.take()?;
    state.check(inner, &id.to_string())?;
    inner.lua.give(state);
    Ok(())
}

/// `value` as JSON text, as `json.encode` writes it.
///
/// # Errors
/// Those of `json.encode`; `TIMEOUT` when the deadline is past meanwhile.
pub(crate) fn json_text(value: &Data, deadline: Option<Instant>) -> Result<Vec<u8>, Error> {
    modules::json::encode_data(value, deadline)
}

/// Calls `callable` with untyped values.
pub(crate) async fn call_data(
    inner: &Arc<Inner>,
    callable: Callable,
    context: Context,
    args: Vec<Data>,
) -> Result<Data, Error> {
    match callable {
        Callable::Lua(function) => call(inner, function, context, args).await,
        Callable::Wasm(function) => {
            let prepared = function.prepared(inner)?;
            let plan = &prepared.plan;
            let args = plan.lower_data(&args).map_err(|error| named(&function, error))?;
            let value = inner.call_wasm(Arc::clone(&function), context, args).await?;
            plan.lift_data(value.as_ref())
        }
    }
}

fn named(function: &WasmFunction, error: Error) -> Error {
    error.wrapped(&format!("`{}`", function.id))
}
