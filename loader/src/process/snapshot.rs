//! How many processes there are, and what they hold.

use std::sync::atomic::Ordering;

use crate::loader::Loader;

/// The processes of a loader at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessesSnapshot {
    /// Lua processes.
    pub lua: usize,
    /// WebAssembly processes.
    pub wasm: usize,
    /// Of these, those that have an instance.
    pub instances: usize,
    /// Names that processes have.
    pub names: usize,
    /// Messages that wait in mailboxes, those of calls that became processes included.
    pub messages: usize,
    /// Bytes of these messages.
    pub message_bytes: usize,
}

impl Loader {
    /// The processes that there are. Looks at each mailbox.
    pub fn processes(&self) -> ProcessesSnapshot {
        let inner = self.inner();
        let capacity = inner.capacity();
        let (names, held) = inner.processes.held();
        let (messages, message_bytes) =
            held.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        ProcessesSnapshot {
            lua: capacity.lua.load(Ordering::Relaxed),
            wasm: capacity.wasm.load(Ordering::Relaxed),
            instances: capacity.instances.snapshot().live,
            names,
            messages,
            message_bytes,
        }
    }
}
