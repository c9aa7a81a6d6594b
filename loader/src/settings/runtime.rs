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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each with a number of its own, so that none stands for another.
    const GENERAL: WasmLimits = WasmLimits {
        max_execution_ms: Some(1),
        max_retained_memory_bytes: 2,
        max_open_sockets: Some(3),
        socket_timeout_ms: Some(4),
        max_memory_bytes: 5,
        max_table_elements: 6,
        max_instances: 7,
    };

    /// All fields: one more does not compile until it is here.
    fn numbers(limits: &Limits) -> [Option<u64>; 7] {
        let Limits {
            max_execution_ms,
            max_retained_memory_bytes,
            max_open_sockets,
            socket_timeout_ms,
            max_memory_bytes,
            max_table_elements,
            max_instances,
        } = limits;
        let value = |value: &Option<Templated<u64>>| value.as_ref().and_then(Templated::value).copied();
        let sockets = max_open_sockets.as_ref().and_then(Templated::value).copied().map(u64::from);
        [
            value(max_execution_ms),
            value(max_retained_memory_bytes),
            sockets,
            value(socket_timeout_ms),
            value(max_memory_bytes),
            value(max_table_elements),
            value(max_instances),
        ]
    }

    #[test]
    fn each_limit_holds_where_an_entry_says_nothing_of_it() {
        let all = [1, 2, 3, 4, 5, 6, 7].map(Some);
        assert_eq!(numbers(&GENERAL.fill(Limits::default())), all);
        let fields = [
            "max_execution_ms",
            "max_retained_memory_bytes",
            "max_open_sockets",
            "socket_timeout_ms",
            "max_memory_bytes",
            "max_table_elements",
            "max_instances",
        ];
        for (at, field) in fields.iter().enumerate() {
            let own: Limits = serde_json::from_value(serde_json::json!({*field: 90})).unwrap();
            let mut expected = all;
            expected[at] = Some(90);
            assert_eq!(numbers(&GENERAL.fill(own)), expected, "{field}");
        }
    }
}
