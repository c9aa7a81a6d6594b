//! Numbers of calls, for the log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::TraceContext;

/// Which call of this process a line of the log is of; from 1, in the order in which calls began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

impl CallId {
    /// The next number.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

tokio::task_local! {
    /// The call that the current task runs, and its trace.
    static CURRENT: (CallId, TraceContext);
}

/// The trace of the call that runs on this thread now.
#[cfg(feature = "telemetry")]
pub(crate) fn current_trace() -> Option<TraceContext> {
    CURRENT.try_with(|(_, trace)| trace.clone()).ok()
}

impl CallId {
    /// The call that runs on this thread now, if one does.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|(call, _)| *call).ok()
    }

    /// `future`, in which this is the current call, with the trace `trace`, for the log.
    pub(crate) fn scope<F: Future>(
        self,
        trace: TraceContext,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope((self, trace), future)
    }

    /// The number itself.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
