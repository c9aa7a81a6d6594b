//! What a call carries and its callees inherit.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::data::Data;
#[cfg(feature = "lua")]
use crate::process::Process;
#[cfg(feature = "lua")]
use crate::security::{Actor, Scope};
use crate::telemetry::TraceContext;

/// Actor, scope, request context and deadline of a call. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Context {
    #[cfg(feature = "lua")]
    actor: Option<Arc<Actor>>,
    #[cfg(feature = "lua")]
    scope: Option<Arc<Scope>>,
    values: Arc<BTreeMap<String, Data>>,
    deadline: Option<Instant>,
    depth: u32,
    /// Where spans of calls with this context hang.
    pub(crate) trace: TraceContext,
    /// The request that is answered: its handler's alone.
    #[cfg(all(feature = "http", feature = "lua"))]
    exchange: Option<Arc<crate::http::Exchange>>,
    /// The process that runs, unless it is a call that does.
    #[cfg(feature = "lua")]
    process: Option<Arc<Process>>,
}

impl Context {
    /// The same with another actor.
    #[cfg(feature = "lua")]
    #[must_use]
    pub fn with_actor(mut self, actor: Option<Arc<Actor>>) -> Self {
        self.actor = actor;
        self
    }

    /// The same with another scope.
    #[cfg(feature = "lua")]
    #[must_use]
    pub fn with_scope(mut self, scope: Option<Arc<Scope>>) -> Self {
        self.scope = scope;
        self
    }

    /// The same with `values` added to the request context; equal keys are replaced.
    #[must_use]
    pub fn with_values(mut self, values: impl IntoIterator<Item = (String, Data)>) -> Self {
        Arc::make_mut(&mut self.values).extend(values);
        self
    }

    /// The same, ended at `deadline` unless it ends before.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = match (self.deadline, deadline) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        self
    }

    /// The same, its calls collected by `trace`.
    #[cfg(feature = "telemetry")]
    #[must_use]
    pub fn with_trace(mut self, trace: &crate::telemetry::Trace) -> Self {
        self.trace = trace.context();
        self
    }

    /// Who the call is made for.
    #[cfg(feature = "lua")]
    pub fn actor(&self) -> Option<&Arc<Actor>> {
        self.actor.as_ref()
    }

    /// What it may do.
    #[cfg(feature = "lua")]
    pub fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// The request context.
    pub fn values(&self) -> &BTreeMap<String, Data> {
        &self.values
    }

    /// When the call must end, if it must.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How many calls this one is nested in.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The context of a call that is made inside this one.
    #[cfg(feature = "lua")]
    pub(crate) fn nested(&self) -> Self {
        Self {
            depth: self.depth.saturating_add(1),
            #[cfg(feature = "http")]
            exchange: None,
            process: None,
            ..self.clone()
        }
    }

    /// The same for the handler of a request.
    #[cfg(all(feature = "http", feature = "lua"))]
    pub(crate) fn with_exchange(mut self, exchange: Arc<crate::http::Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// The request that is answered.
    #[cfg(all(feature = "http", feature = "lua"))]
    pub(crate) fn exchange(&self) -> Option<&Arc<crate::http::Exchange>> {
        self.exchange.as_ref()
    }

    /// The context of a process that is spawned with this one: it outlives its spawner's deadline.
    #[cfg(feature = "lua")]
    pub(crate) fn of_process(self, process: Arc<Process>) -> Self {
        Self {
            deadline: None,
            depth: 0,
            #[cfg(feature = "http")]
            exchange: None,
            process: Some(process),
            ..self
        }
    }

    /// The process that runs, unless it is a call that does.
    #[cfg(feature = "lua")]
    pub(crate) fn process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref()
    }
}
