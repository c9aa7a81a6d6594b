//! WebAssembly functions: an entry, its artifact, and what was settled once so that a call does not look it up.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use registry_schema::authored::scalar::Templated;
use registry_schema::manifest::WasmEntry;
use registry_schema::{EntryId, ErrorKind, Profile};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Type};

use crate::bulk::TypedCall;
#[cfg(feature = "lua")]
use crate::calls::Retry;
use crate::config::Allocation;
#[cfg(feature = "lua")]
use crate::conversion::Plan;
use crate::error::Error;
use crate::host_state::HostState;
#[cfg(feature = "wasi")]
use crate::hosts::wasi::Given;
use crate::instance::Instance;
use crate::limits::EntryLimits;
use crate::loader::Inner;
use crate::pool::kept::Shelf;
use crate::pool::workers::Class;
use crate::pool::{Pool, Reader};
use crate::telemetry::Seen;

/// A WebAssembly entry that can be called.
pub(crate) struct WasmFunction {
    pub(crate) id: Arc<EntryId>,
    /// Whether it is a process, which code of the registry spawns and does not call.
    pub(crate) is_process: bool,
    pub(crate) wasm: WasmEntry,
    pub(crate) limits: EntryLimits,
    pub(crate) max_execution: Option<Duration>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) seen: Seen,
    /// The threads that its calls run on, where they have some of their own.
    pub(crate) class: Option<Arc<Class>>,
    /// Idle instances, where the entry keeps them.
    pub(crate) shelf: Option<Arc<Shelf<Instance>>>,
    /// How a failed call is repeated.
    #[cfg(feature = "lua")]
    pub(crate) retry: Option<Retry>,
    #[cfg(feature = "wasi")]
    pub(crate) given: Arc<Given>,
    /// Kept once made; a failure is not kept, since it may be the machine's (no descriptor left).
    prepared: OnceLock<Arc<Prepared>>,
    /// Held while it is made, once.
    preparing: Mutex<()>,
}

/// Everything about a function that comes from its artifact.
pub(crate) struct Prepared {
    pub(crate) pre: InstancePre<HostState>,
    pub(crate) export: ComponentExportIndex,
    pub(crate) params: Vec<(String, Type)>,
    pub(crate) has_result: bool,
    /// How its values are mapped to Lua and back.
    #[cfg(feature = "lua")]
    pub(crate) plan: Plan,
    /// What calls it by its types, if they are among those that pay.
    pub(crate) typed: Option<TypedCall>,
}

/// An entry's metadata.
pub(crate) type Meta = serde_json::Map<String, serde_json::Value>;

impl WasmFunction {
    #[cfg_attr(
        not(feature = "lua"),
        expect(unused_variables, reason = "only Lua and its callees repeat calls")
    )]
    pub(crate) fn new(
        inner: &Inner,
        id: EntryId,
        kind: &str,
        meta: &Meta,
        wasm: WasmEntry,
    ) -> Result<Self, Error> {
        #[cfg(feature = "lua")]
        let retry = Retry::of_entry(inner, &id, meta)?;
        let id = Arc::new(id);
        let environment = inner.environment();
        let own = id.namespace();
        let failed = |error: Error| {
            let message = format!("`{id}` is not available: {}", error.message());
            Error::new(ErrorKind::Unavailable, message)
        };
        let number =
            |field: &str, value: &Templated<u64>| environment.resolve(own, field, value).map_err(failed);
        let reader = Reader { environment: &environment, namespace: own };
        let shape = reader.of_wasm(wasm.pool.as_ref(), inner.workers.cores.workers()).map_err(failed)?;
        let slots = shape.slots_max.unwrap_or(usize::MAX);
        let class = shape.worker_class.as_deref().map(|name| inner.workers.class(name, slots));
        // What a guest of the asynchronous profile left running would go on in the next call.
        let keeps = shape.uses_max > 1 && wasm.profile == Profile::Sync;
        let shelf = keeps.then(Shelf::new);
        if let Some(shelf) = &shelf {
            let kept: Weak<Shelf<Instance>> = Arc::downgrade(shelf);
            inner.bound.add(kept);
        }
        let limits = inner.settings.wasm.limits.fill(wasm.limits.clone().unwrap_or_default());
        let milliseconds = limits.max_execution_ms.as_ref();
        let milliseconds = milliseconds.map(|value| number("limits.max_execution_ms", value)).transpose()?;
        Ok(Self {
            is_process: kind.starts_with("process."),
            limits: EntryLimits::new(&limits, number)?,
            #[cfg(feature = "lua")]
            retry,
            max_execution: milliseconds.map(Duration::from_millis),
            seen: inner.telemetry.entry(&id),
            pool: Pool::new(Arc::clone(&id), shape),
            shelf,
            class,
            #[cfg(feature = "wasi")]
            given: Arc::new(Given::new(inner, &id, &wasm).map_err(failed)?),
            wasm,
            id,
            prepared: OnceLock::new(),
            preparing: Mutex::default(),
        })
    }

    /// What comes from the artifact, which is loaded, checked and linked once.
    pub(crate) fn prepared(&self, inner: &Inner) -> Result<&Arc<Prepared>, Error> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        // Guards nothing that a panic could leave half done.
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.prepared.get() {
            Some(prepared) => Ok(prepared),
            None => {
                let prepared = Arc::new(self.prepare(inner)?);
                Ok(self.prepared.get_or_init(|| prepared))
            }
        }
    }

    fn prepare(&self, inner: &Inner) -> Result<Prepared, Error> {
        let wanted = if self.is_process { Allocation::OnDemand } else { Allocation::Reserved };
        let (component, allocation) = inner.component(&self.id, &self.wasm, &self.limits, wanted)?;
        let internal = |what: &str, error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Internal, format!("`{}`: {what}: {error}", self.id))
        };
        let pre = inner
            .hosts
            .link(&self.id, &self.wasm, (&component, allocation))
            .map_err(|error| internal("can't be linked", &format_args!("{error:#}")))?;
        let path = &self.wasm.export;
        let (export, ty) = find_export(&component, path.interface.as_deref(), &path.function)
            .ok_or_else(|| internal("its artifact has no export", &format_args!("`{path}`")))?;
        let params: Vec<_> = ty.params().map(|(name, ty)| (name.to_owned(), ty)).collect();
        let result = ty.results().next();
        Ok(Prepared {
            pre,
            export,
            has_result: result.is_some(),
            typed: TypedCall::find(&params, result.as_ref()),
            #[cfg(feature = "lua")]
            plan: Plan::new(&params, result.as_ref(), self.wasm.results),
            params,
        })
    }
}

fn find_export(
    component: &Component,
    interface: Option<&str>,
    function: &str,
) -> Option<(ComponentExportIndex, ComponentFunc)> {
    let engine = component.engine();
    let ty = component.component_type();
    let (parent, item) = match interface {
        None => (None, ty.get_export(engine, function)?.ty),
        Some(interface) => {
            let index = component.get_export_index(None, interface)?;
            let ComponentItem::ComponentInstance(instance) = ty.get_export(engine, interface)?.ty else {
                return None;
            };
            (Some(index), instance.get_export(engine, function)?.ty)
        }
    };
    let ComponentItem::ComponentFunc(func) = item else { return None };
    let index = component.get_export_index(parent.as_ref(), function)?;
    Some((index, func))
}
