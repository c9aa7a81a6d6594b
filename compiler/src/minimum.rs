//! What a component starts with, against what its entry's limits and the loader allow: an instance that could
//! never be made is refused when it is built.

use loader::config;
use registry_schema::authored::scalar::Templated;
use registry_schema::authored::wasm::Limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::Code;
use crate::fault::Fault;

/// What every instance of a component has at least, all of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Minimum {
    /// Memories.
    pub memories: u32,
    /// Their sizes, in bytes.
    pub memory_bytes: u64,
    /// Tables.
    pub tables: u32,
    /// Their sizes, in elements.
    pub table_elements: u64,
    /// Core instances.
    pub core_instances: u32,
}

/// Limits of entries that give none: those of `.wippy.yaml`, else the loader's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    memory_bytes: u64,
    table_elements: u64,
    instances: u64,
}

impl Defaults {
    /// Those of an application with the sections `settings`.
    pub(crate) fn of(settings: &serde_json::Map<String, Value>) -> Self {
        let limits = settings.get("wasm").and_then(|wasm| wasm.get("limits"));
        let or = |field: &str, default: u64| {
            limits.and_then(|limits| limits.get(field)).and_then(Value::as_u64).unwrap_or(default)
        };
        Self {
            memory_bytes: or("max_memory_bytes", config::MEMORY_BYTES_MAX),
            table_elements: or("max_table_elements", config::TABLE_ELEMENTS_MAX),
            instances: or("max_instances", config::INSTANCES_MAX),
        }
    }
}

/// One fault for each limit that `minimum` is over. A limit that a placeholder gives is known at boot alone.
pub(crate) fn check(minimum: &Minimum, limits: Option<&Limits>, defaults: &Defaults) -> Vec<Fault> {
    let none = Limits::default();
    let limits = limits.unwrap_or(&none);
    let Minimum { memories, memory_bytes, tables, table_elements, core_instances } = *minimum;
    let limited = [
        Limited {
            needed: memory_bytes,
            what: format!("{memory_bytes} bytes of memory in {memories} memories"),
            field: "max_memory_bytes",
            own: limits.max_memory_bytes.as_ref(),
            default: defaults.memory_bytes,
        },
        Limited {
            needed: table_elements,
            what: format!("{table_elements} elements in {tables} tables"),
            field: "max_table_elements",
            own: limits.max_table_elements.as_ref(),
            default: defaults.table_elements,
        },
        Limited {
            needed: core_instances.into(),
            what: format!("{core_instances} core instances"),
            field: "max_instances",
            own: limits.max_instances.as_ref(),
            default: defaults.instances,
        },
    ];
    let fixed = [
        ("memories", memories, config::INSTANCE_MEMORIES_MAX),
        ("tables", tables, config::INSTANCE_TABLES_MAX),
    ];
    let fixed = fixed.into_iter().filter(|(_, found, max)| found > max).map(|(what, found, max)| {
        let message = format!("the component starts with {found} {what}, an instance has {max} at most");
        Fault::new(Code::ArtifactTooBig, "", message).help("split it into components that call each other")
    });
    limited.iter().filter_map(Limited::fault).chain(fixed).collect()
}

/// One limit, and what is needed of it.
struct Limited<'a> {
    needed: u64,
    what: String,
    field: &'static str,
    own: Option<&'a Templated<u64>>,
    default: u64,
}

impl Limited<'_> {
    fn fault(&self) -> Option<Fault> {
        let Self { needed, what, field, own, default } = self;
        let (allowed, path, which) = match own {
            Some(own) => (*own.value()?, format!("limits.{field}"), ""),
            None => (*default, String::new(), " by default"),
        };
        if *needed <= allowed {
            return None;
        }
        let message = format!("the component starts with {what}, and `{field}` is {allowed}{which}");
        let fault = Fault::new(Code::ArtifactTooBig, path, message);
        Some(fault.help(format!("set `limits.{field}` to {needed} or more, or build it to start with less")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_so_many_memories_and_tables_whatever_its_limits() {
        let defaults = Defaults::of(&serde_json::Map::new());
        let at_most = Minimum { memories: 1_000, tables: 1_000, ..Minimum::default() };
        assert_eq!(check(&at_most, None, &defaults), []);
        let over = Minimum { memories: 1_001, tables: 1_001, ..Minimum::default() };
        let faults = check(&over, None, &defaults);
        let said: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        let expected = [
            "the component starts with 1001 memories, an instance has 1000 at most",
            "the component starts with 1001 tables, an instance has 1000 at most",
        ];
        assert_eq!(said, expected);
    }
}
