//! The sections that decide how entries run: `scheduler`, `security`, `shutdown`, `supervisor`, `wasm`.

use std::time::Duration;

use registry_schema::authored::duration;
use registry_schema::authored::scalar::Templated;
use registry_schema::authored::wasm::Limits;

use super::reader::Reader;
use crate::config::{
    INSTANCES_MAX, MEMORY_BYTES_MAX, PROCESS_INSTANCES_MAX, RETAINED_MEMORY_BYTES_MAX, SHUTDOWN_TIMEOUT,
    TABLE_ELEMENTS_MAX,
};

/// `scheduler`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduler {
    /// Cores for WebAssembly alone.
    pub wasm_isolation: WasmIsolation,
}

/// `scheduler.wasm_isolation` (`en/wasm/functions.md`, "Worker Classes and Core Affinity").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmIsolation {
    /// Whether pools with a worker class have cores of their own. Default: no.
    pub enabled: bool,
    /// How many, 1 or more. Default: 1.
    pub reserved_cores: u32,
}

impl Scheduler {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.value("scheduler.wasm_isolation.enabled", false);
        let reserved_cores = reader.ranged("scheduler.wasm_isolation.reserved_cores", &[], 1, (1, u32::MAX));
        Self { wasm_isolation: WasmIsolation { enabled, reserved_cores } }
    }
}

/// `security`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Whether a call without actor or scope is denied what policies govern. Default: no.
    pub strict_mode: bool,
}

impl Security {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { strict_mode: reader.value("security.strict_mode", false) }
    }
}

/// `shutdown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// How long services have to stop. Default: 30 s.
    pub timeout: Duration,
}

impl Shutdown {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { timeout: reader.value("shutdown.timeout", duration::Duration::new(SHUTDOWN_TIMEOUT)).get() }
    }
}

/// `supervisor`: the sizes of a mailbox that this loader does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor;

impl Supervisor {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        reader.without_effect("supervisor.host.buffer_size");
        reader.without_effect("supervisor.host.worker_count");
        Self
    }
}

/// `wasm`: of this loader alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wasm {
    /// What all entries have together.
    pub total: WasmTotal,
    /// What holds where an entry's `limits` say nothing.
    pub limits: WasmLimits,
}

/// `wasm.total`: what all entries have together. [`crate::Options`] win over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmTotal {
    /// Instances of functions at once, idle ones included, 1 or more. Default: 1,000.
    pub max_instances: u32,
    /// Memory of guests, Lua included, in bytes. Default: three quarters of the machine's.
    pub max_memory_bytes: Option<u64>,
}

/// `wasm.limits`: the fields of an entry's `limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmLimits {
    /// Time of a call, in milliseconds, 1 or more. Default: none.
    pub max_execution_ms: Option<u64>,
    /// Memory that an idle instance may keep, in bytes. Default: 64 MiB.
    pub max_retained_memory_bytes: u64,
    /// Sockets open at once. Default: none.
    pub max_open_sockets: Option<u32>,
    /// Longest wait of a socket operation, in milliseconds. Default: none.
    pub socket_timeout_ms: Option<u64>,
    /// All memories of an instance together, in bytes. Default: 256 MiB.
    pub max_memory_bytes: u64,
    /// All tables of an instance together, in elements. Default: 1,000,000.
    pub max_table_elements: u64,
    /// Core instances of a call. Default: 1,000.
    pub max_instances: u64,
}

impl Wasm {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let limits = WasmLimits {
            max_execution_ms: reader.optional_from("wasm.limits.max_execution_ms", 1),
            max_retained_memory_bytes: reader
                .value("wasm.limits.max_retained_memory_bytes", RETAINED_MEMORY_BYTES_MAX),
            max_open_sockets: reader.optional("wasm.limits.max_open_sockets"),
            socket_timeout_ms: reader.optional("wasm.limits.socket_timeout_ms"),
            max_memory_bytes: reader.value("wasm.limits.max_memory_bytes", MEMORY_BYTES_MAX),
            max_table_elements: reader.value("wasm.limits.max_table_elements", TABLE_ELEMENTS_MAX),
            max_instances: reader.value("wasm.limits.max_instances", INSTANCES_MAX),
        };
        let total = WasmTotal {
            max_instances: reader.ranged(
                "wasm.total.max_instances",
                &[],
                PROCESS_INSTANCES_MAX,
                (1, u32::MAX),
            ),
            max_memory_bytes: reader.optional("wasm.total.max_memory_bytes"),
        };
        Self { total, limits }
    }
}

impl WasmLimits {
    /// The limits of an entry, these where it says nothing.
    pub(crate) fn fill(&self, mut limits: Limits) -> Limits {
        fn or<T: Copy>(own: &mut Option<Templated<T>>, general: Option<T>) {
            if own.is_none() {
                *own = general.map(Templated::Value);
            }
        }
        or(&mut limits.max_execution_ms, self.max_execution_ms);
        or(&mut limits.max_retained_memory_bytes, Some(self.max_retained_memory_bytes));
        or(&mut limits.max_open_sockets, self.max_open_sockets);
        or(&mut limits.socket_timeout_ms, self.socket_timeout_ms);
        or(&mut limits.max_memory_bytes, Some(self.max_memory_bytes));
        or(&mut limits.max_table_elements, Some(self.max_table_elements));
        or(&mut limits.max_instances, Some(self.max_instances));
        limits
    }
}
