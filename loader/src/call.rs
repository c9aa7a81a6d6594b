//! One call of a WebAssembly function: a slot, an instance, a limit in time, what the guest returned.
//!
//! The callee is never polled inside the future of a guest that calls it: such a call is a task of its own
//! (`task.rs`), whose store is dropped when the caller's future is.

use std::pin::pin;
use std::sync::Arc;

use registry_schema::ErrorKind;
use tokio::time::Instant;

use crate::bulk::Value;
use crate::context::Context;
use crate::error::Error;
use crate::failure;
use crate::function::{Prepared, WasmFunction};
use crate::hosts::Stdio;
use crate::instance::Instance;
use crate::loader::Inner;
use crate::pool::bound::Place;
use crate::pool::kept::Owner;
use crate::pool::{Patience, Slot};
use crate::ticker::{Deadline, Ticker};

/// Where a call's instance comes from.
enum Source {
    Kept(Owner, Instance),
    Fresh(Place),
}

/// When a call must end.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    deadline: Option<Instant>,
    /// The end by the entry's own limit, which may be the nearer one.
    own: Option<Instant>,
}

impl Limit {
    /// That of a call of `function`, which begins now, also as the deadline of its `context`.
    fn of(function: &WasmFunction, context: Context) -> (Self, Context) {
        // A limit beyond the clock's range is no limit.
        let own = function.max_execution.and_then(|limit| Instant::now().checked_add(limit));
        let context = context.with_deadline(own);
        (Self { deadline: context.deadline(), own }, context)
    }

    /// Runs `guest`, of `function`, within it.
    ///
    /// # Errors
    /// Those of `guest`; `TIMEOUT`.
    pub(crate) async fn within<T>(
        self,
        function: &WasmFunction,
        guest: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.deadline {
            None => guest.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, guest).await {
                Ok(result) => result,
                Err(_) => Err(failure::timeout(function, self.own == self.deadline)),
            },
        }
    }
}

/// A store for a handler of `wasi:http`, with all that its call holds, in the order in which it goes.
#[cfg(all(feature = "http", feature = "lua"))]
pub(crate) struct Opened {
    pub(crate) instance: Instance,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) limit: Limit,
    _running: crate::ticker::Running<Arc<Ticker>>,
    _slot: Slot,
}

/// What a handler of `wasi:http` needs to be called, once it has a slot.
///
/// # Errors
/// Those of [`call`] before the guest runs.
#[cfg(all(feature = "http", feature = "lua"))]
pub(crate) async fn open(
    inner: &Arc<Inner>,
    function: &Arc<WasmFunction>,
    context: Context,
    mut patience: Patience,
) -> Result<Opened, Error> {
    let prepared = Arc::clone(function.prepared(inner)?);
    let slot = function.pool.slot(&mut patience).await?;
    let place = inner.bound.place(&function.id, &mut patience).await?;
    let (limit, context) = Limit::of(function, context);
    let running = Ticker::running(Arc::clone(&inner.ticker), Deadline::of(limit.deadline));
    let mut instance = Instance::new(inner, function, &prepared, &context, Stdio::Log, place)?;
    instance.equip().await?;
    let store = instance.store();
    store.data_mut().own_deadline = limit.own;
    store.set_epoch_deadline(1);
    Ok(Opened { instance, prepared, limit, _running: running, _slot: slot })
}

/// Calls `function`, for which the caller holds `slot`, with `args`; its standard streams are `stdio`. Dropping the
/// future ends the call and drops its store.
///
/// The entry's own limit begins when it has what it needs to run: time in a queue is the inherited deadline's.
pub(crate) async fn call(
    inner: &Arc<Inner>,
    function: &WasmFunction,
    context: Context,
    args: Vec<Value>,
    stdio: Stdio,
    slot: &mut Slot,
    mut patience: Patience,
) -> Result<Option<Value>, Error> {
    let prepared = function.prepared(inner)?;
    check_arity(function, prepared, args.len())?;
    let source = match kept(inner, function, &context, &stdio, slot.free)? {
        Some((owner, instance)) => Source::Kept(owner, instance),
        None => Source::Fresh(inner.bound.place(&function.id, &mut patience).await?),
    };
    let (limit, context) = Limit::of(function, context);
    let _running = Ticker::running(&inner.ticker, Deadline::of(limit.deadline));
    // Stays where it is made: it is large, and is given to one of several futures.
    let guest = pin!(async {
        let (owner, mut instance) = match source {
            Source::Kept(owner, instance) => (owner, instance),
            Source::Fresh(place) => {
                let instance = Instance::new(inner, function, prepared, &context, stdio, place)?;
                (Owner::of(&context), instance)
            }
        };
        let result = instance.call(function, prepared, context, limit.own, args).await;
        let now = Instant::now();
        keep(inner, function, owner, instance, now);
        slot.end(now);
        result
    });
    limit.within(function, guest).await
}

/// Runs `function` once in a fresh instance, without one of its slots: what a process is.
#[cfg(feature = "lua")]
pub(crate) async fn run(
    inner: Arc<Inner>,
    function: Arc<WasmFunction>,
    context: Context,
    args: Vec<Value>,
    stdio: Stdio,
    place: Place,
) -> Result<Option<Value>, Error> {
    let prepared = function.prepared(&inner)?;
    check_arity(&function, prepared, args.len())?;
    let (limit, context) = Limit::of(&function, context);
    let _running = Ticker::running(&inner.ticker, Deadline::of(limit.deadline));
    let guest = pin!(async {
        let mut instance = Instance::new(&inner, &function, prepared, &context, stdio, place)?;
        instance.call(&function, prepared, context, limit.own, args).await
    });
    limit.within(&function, guest).await
}

/// An idle instance for a call with `context`; the `free` slots of the function hold one each at most, also those
/// that are not for this call. Its streams are the log. One whose environment has changed since it was made goes:
/// guests read it once.
fn kept(
    inner: &Inner,
    function: &WasmFunction,
    context: &Context,
    stdio: &Stdio,
    free: usize,
) -> Result<Option<(Owner, Instance)>, Error> {
    let Some(shelf) = &function.shelf else { return Ok(None) };
    match shelf.take(matches!(stdio, Stdio::Log).then_some(context), free) {
        Some((owner, instance)) if instance.is_current(inner)? => Ok(Some((owner, instance))),
        _ => Ok(None),
    }
}

/// Keeps `instance` from `now` on for the next call of `owner`, where the entry keeps instances and this one is good
/// for that.
fn keep(inner: &Inner, function: &WasmFunction, owner: Owner, instance: Instance, now: Instant) {
    if let Some(shelf) = &function.shelf
        && instance.may_be_kept(function.pool.shape().uses_max)
        && !inner.bound.is_wanted()
    {
        instance.rest();
        shelf.put(owner, instance, now);
    }
}

/// Makes as many instances of `function` as its pool has slots reserved, one at least, all at the same time. Where
/// the entry keeps instances, these are the first ones; else they go, and what the calls after that find is loaded,
/// linked and mapped.
///
/// Pages that the guest will write are not touched: which these are it alone knows, and the engine shows a component's
/// memory to nobody. Each is one page fault of the first call in a slot, and stays for those after it
/// (`MEMORY_KEPT_BYTES`). Code is in memory since its digest was checked through the mapping. So a first call has 3
/// faults instead of 20 and takes a fifteenth of the time; one that writes 160 KiB has 40 more, 50 µs
/// (`cargo bench -p loader --bench warm`).
///
/// # Errors
/// Those of [`call`] before the guest's export is called.
pub(crate) async fn warm(inner: Arc<Inner>, function: Arc<WasmFunction>) -> Result<(), Error> {
    let prepared = function.prepared(&inner)?;
    let context = Context::default();
    let mut patience = Patience::of(&context);
    let mut warmed = Vec::new();
    // No more than there is room for: those that were made stay until all are.
    let room = inner.bound.snapshot();
    let room = room.max.saturating_sub(room.live);
    for _ in 0..function.pool.shape().reserved().max(1).min(room) {
        let slot = function.pool.slot(&mut patience).await?;
        let place = inner.bound.place(&function.id, &mut patience).await?;
        let (limit, context) = Limit::of(&function, context.clone());
        let _running = Ticker::running(&inner.ticker, Deadline::of(limit.deadline));
        let instance = limit.within(&function, async {
            let mut instance = Instance::new(&inner, &function, prepared, &context, Stdio::Log, place)?;
            instance.warm(&function, prepared, limit.own).await?;
            Ok(instance)
        });
        warmed.push((instance.await?, slot));
    }
    for (instance, _slot) in warmed {
        keep(&inner, &function, Owner::of(&context), instance, Instant::now());
    }
    Ok(())
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
