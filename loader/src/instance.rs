//! An instance of a component: the store that it lives in, what happens at each tick, and how it is called.

use std::sync::Arc;

use registry_schema::ErrorKind;
use tokio::time::Instant;
use wasmtime::component::{Func, Val};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bulk::{self, Arguments, Value};
use crate::call_id::CallId;
#[cfg(feature = "p3")]
use crate::config::HANDLE_PARTS_MAX;
use crate::config::{HANDLES_MAX, HOSTCALL_BYTES_MAX};
use crate::context::Context;
use crate::error::Error;
use crate::failure;
use crate::function::{Prepared, WasmFunction};
use crate::host_state::HostState;
use crate::hosts::Stdio;
use crate::limits::Limiter;
use crate::loader::Inner;
use crate::pool::bound::Place;
use crate::values;

/// An instance of a function's component, for one call or kept for further ones.
pub(crate) struct Instance {
    store: Store<HostState>,
    /// The function's export. None before the first call, which instantiates within its limits.
    export: Option<Func>,
    /// Calls that returned.
    uses: u32,
    /// Whether a call has begun and not returned.
    is_broken: bool,
    /// Free when the store is gone.
    _place: Place,
}

impl Instance {
    /// A store for an instance that is made by the first call.
    ///
    /// # Errors
    /// Why the guest can't be given what its entry asks for.
    #[cfg_attr(
        not(feature = "wasi"),
        expect(
            unused_variables,
            clippy::unnecessary_wraps,
            reason = "only WASI gives a guest more than its arguments"
        )
    )]
    pub(crate) fn new(
        inner: &Arc<Inner>,
        function: &WasmFunction,
        prepared: &Prepared,
        context: &Context,
        stdio: Stdio,
        place: Place,
    ) -> Result<Self, Error> {
        let call = CallId::current().unwrap_or_else(CallId::next);
        let state = HostState {
            #[cfg(any(feature = "lua", feature = "wasi"))]
            inner: Arc::downgrade(inner),
            entry: Arc::clone(&function.id),
            call,
            limiter: Limiter::new(function.limits, inner.budget.share()),
            own_deadline: None,
            context: context.clone(),
            #[cfg(feature = "wasi")]
            wasi: crate::hosts::wasi::prepare(inner, &function.given, context, call, stdio)?,
        };
        let mut store = Store::new(prepared.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        #[cfg(feature = "p3")]
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(HANDLE_PARTS_MAX);
        }
        store.epoch_deadline_callback(at_tick);
        Ok(Self { store, export: None, uses: 0, is_broken: false, _place: place })
    }

    /// Gives the guest what takes long to open, before it is made.
    ///
    /// # Errors
    /// Why it can't be given.
    #[cfg_attr(not(feature = "wasi"), expect(clippy::unused_async, reason = "only WASI opens anything"))]
    pub(crate) async fn equip(&mut self) -> Result<(), Error> {
        #[cfg(feature = "wasi")]
        if self.store.data().wasi.has_slow_mounts() {
            let state = self.store.data_mut();
            let inner = state.inner.upgrade().expect("a call holds its loader");
            state.wasi.mount_slow(inner, &state.context).await?;
        }
        Ok(())
    }

    /// Calls the function's export. `own_deadline` is the end by the entry's own limit, if that is the
    /// deadline of `context`.
    ///
    /// # Errors
    /// What ended the guest.
    pub(crate) async fn call(
        &mut self,
        function: &WasmFunction,
        prepared: &Prepared,
        context: Context,
        own_deadline: Option<Instant>,
        args: Vec<Value>,
    ) -> Result<Option<Value>, Error> {
        // Until it returns: the future may be dropped at any time.
        self.is_broken = true;
        let state = self.store.data_mut();
        // It was made for an earlier call, or for none.
        if self.export.is_some() {
            state.next_call(context);
        }
        state.own_deadline = own_deadline;
        self.store.set_epoch_deadline(1);
        let export = match self.export {
            Some(export) => export,
            // Boxed: instances that are kept are made once.
            None => Box::pin(self.instantiated(function, prepared)).await?,
        };
        let mut args = Arguments::new(prepared.typed, args);
        match bulk::call(&mut self.store, export, &mut args, prepared.has_result).await {
            Ok(result) => {
                self.uses = self.uses.saturating_add(1);
                self.is_broken = false;
                Ok(result)
            }
            Err(error) => {
                // wasmtime refuses arguments of a wrong type before anything runs, with a plain error; the
                // check is repeated here, off the fast path, to say which part is wrong.
                if let Some(problem) = wrong_argument(prepared, args.unchecked()) {
                    return Err(Error::new(ErrorKind::Invalid, format!("`{}`: {problem}", function.id)));
                }
                let status = failure::exit_status(function, &error);
                status.map(|status| status.map(|result| result.map(Value::Val))).unwrap_or_else(|| {
                    Err(failure::of_guest(function, &self.store, &error, failure::During::Call))
                })
            }
        }
    }

    /// Makes the instance, without calling it.
    ///
    /// # Errors
    /// What ended the guest's start.
    pub(crate) async fn warm(
        &mut self,
        function: &WasmFunction,
        prepared: &Prepared,
        own_deadline: Option<Instant>,
    ) -> Result<(), Error> {
        self.store.data_mut().own_deadline = own_deadline;
        self.store.set_epoch_deadline(1);
        self.instantiated(function, prepared).await.map(|_| ())
    }

    /// Whether it was given what a call of the same actor and scope would get now.
    ///
    /// # Errors
    /// Why such a call would get nothing.
    #[cfg_attr(
        not(feature = "wasi"),
        expect(unused_variables, reason = "only WASI gives a guest more than its arguments")
    )]
    pub(crate) fn is_current(&self, inner: &Inner) -> Result<bool, Error> {
        #[cfg(feature = "wasi")]
        return self.store.data().wasi.is_current(inner);
        #[cfg(not(feature = "wasi"))]
        Ok(true)
    }

    /// The store, for a handler of `wasi:http`, which is instantiated and called by its own bindings.
    #[cfg(all(feature = "http", feature = "lua"))]
    pub(crate) fn store(&mut self) -> &mut Store<HostState> {
        &mut self.store
    }

    /// Whether it can serve another call: the last one returned, and it is neither used up nor too large.
    pub(crate) fn may_be_kept(&self, uses_max: u32) -> bool {
        !self.is_broken && self.uses < uses_max && self.store.data().limiter.may_be_kept()
    }

    /// The call is over, and the instance is kept.
    #[cfg_attr(not(feature = "wasi"), expect(clippy::unused_self, reason = "only WASI has output"))]
    pub(crate) fn rest(&self) {
        #[cfg(feature = "wasi")]
        self.store.data().wasi.flush_lines();
    }

    /// Makes the instance; its export.
    async fn instantiated(&mut self, function: &WasmFunction, prepared: &Prepared) -> Result<Func, Error> {
        self.equip().await?;
        let instance = prepared.pre.instantiate_async(&mut self.store).await.map_err(|error| {
            failure::of_guest(function, &self.store, &error, failure::During::Instantiation)
        })?;
        let export = instance.get_func(&mut self.store, prepared.export).ok_or_else(|| {
            let message = format!("`{}`: no export `{}`", function.id, function.wasm.export);
            Error::new(ErrorKind::Internal, message)
        })?;
        self.export = Some(export);
        Ok(export)
    }
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

fn wrong_argument(prepared: &Prepared, args: &[Val]) -> Option<String> {
    let mut pairs = prepared.params.iter().zip(args);
    pairs.find_map(|((name, ty), value)| values::check(name, value, ty).err())
}
