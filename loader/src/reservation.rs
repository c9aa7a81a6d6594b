//! Memory that is reserved for instances when the first one is made: how much of it, and for which components.
//!
//! The pooling allocator reserves address space for every instance that there may be at once, and then makes
//! one in microseconds. Its sizes come from what the manifest says of the components. What does not fit is
//! allocated on demand instead, by an engine of its own: a component with more memories than are reserved for
//! each, or an entry whose limits allow more than a reserved memory or table can become.

use std::collections::HashMap;

use registry_schema::manifest::Needs;
use registry_schema::{Digest, Profile};
use wasmtime::{Enabled, PoolingAllocationConfig};

use crate::bundle::Bundle;
use crate::config::{
    INSTANCE_METADATA_BYTES_MAX, MEMORY_KEPT_BYTES, RESERVED_BYTES_MAX, RESERVED_MEMORIES_MAX,
    RESERVED_TABLES_MAX, TABLE_ELEMENTS_MAX, TABLE_KEPT_BYTES,
};
use crate::limits::EntryLimits;
use crate::pool;

/// Largest memory without a bounds check, in bytes: what one is reserved for.
const MEMORY_BYTES: u64 = 4 << 30;
/// What a memory reserves with its guard region, in bytes.
const MEMORY_RESERVED_BYTES: u64 = MEMORY_BYTES + (32 << 20);

/// What is reserved.
#[derive(Debug, PartialEq)]
pub(crate) struct Reservation {
    /// Instances at once.
    instances: u32,
    /// Of one instance, at most.
    memories: u32,
    tables: u32,
    core_instances: u32,
    needs: HashMap<Digest, Needs>,
}

impl Reservation {
    /// What `bundle` needs for at most `places_max` instances at once.
    ///
    /// # Errors
    /// Why nothing can be reserved.
    pub(crate) fn new(bundle: &Bundle, places_max: usize) -> Result<Self, String> {
        let components = bundle.components()?.into_iter();
        let components = components.filter(|component| component.profile == Profile::Sync);
        let needs: HashMap<Digest, Needs> =
            components.map(|component| (component.digest, component.needs)).collect();
        let instances = u32::try_from(instances(bundle, places_max)?).unwrap_or(u32::MAX);
        Self::of(instances.max(1), needs)
    }

    fn of(instances: u32, needs: HashMap<Digest, Needs>) -> Result<Self, String> {
        let affordable = RESERVED_BYTES_MAX / MEMORY_RESERVED_BYTES / u64::from(instances);
        let memories_max = u32::try_from(affordable).unwrap_or(u32::MAX).min(RESERVED_MEMORIES_MAX);
        if memories_max == 0 {
            let bytes = u64::from(instances).saturating_mul(MEMORY_RESERVED_BYTES);
            return Err(format!("{instances} instances need {bytes} bytes of address space"));
        }
        let fit = |needs: &&Needs| needs.memories <= memories_max && needs.tables <= RESERVED_TABLES_MAX;
        let most = |count: fn(&Needs) -> u32| needs.values().filter(fit).map(count).max().unwrap_or(0);
        Ok(Self {
            instances,
            memories: most(|needs| needs.memories),
            tables: most(|needs| needs.tables),
            core_instances: most(|needs| needs.core_instances),
            needs,
        })
    }

    /// Whether instances of `component` fit, with all that the entry's limits allow.
    pub(crate) fn fits(&self, component: Digest, limits: &EntryLimits) -> bool {
        let Some(needs) = self.needs.get(&component) else { return false };
        needs.memories <= self.memories
            && needs.tables <= self.tables
            && needs.memory_bytes_min <= MEMORY_BYTES
            && needs.table_elements_min <= TABLE_ELEMENTS_MAX
            && (needs.memories == 0 || limits.memory_bytes_max <= MEMORY_BYTES)
            && (needs.tables == 0 || limits.table_elements_max <= TABLE_ELEMENTS_MAX)
    }

    /// Address space that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let memories = u64::from(self.memories) * MEMORY_RESERVED_BYTES;
        let tables = u64::from(self.tables) * TABLE_ELEMENTS_MAX * size_of::<usize>() as u64;
        u64::from(self.instances).saturating_mul(memories.saturating_add(tables))
    }

    /// The allocator's settings.
    pub(crate) fn config(&self) -> PoolingAllocationConfig {
        let mut config = PoolingAllocationConfig::new();
        let elements = usize::try_from(TABLE_ELEMENTS_MAX).unwrap_or(usize::MAX);
        config
            .total_component_instances(self.instances)
            .total_core_instances(self.instances.saturating_mul(self.core_instances.max(1)))
            .total_memories(self.instances.saturating_mul(self.memories))
            .total_tables(self.instances.saturating_mul(self.tables))
            .total_stacks(self.instances)
            .max_core_instances_per_component(self.core_instances.max(1))
            .max_memories_per_component(self.memories)
            .max_memories_per_module(self.memories)
            .max_tables_per_component(self.tables)
            .max_tables_per_module(self.tables)
            .max_component_instance_size(INSTANCE_METADATA_BYTES_MAX)
            .max_core_instance_size(INSTANCE_METADATA_BYTES_MAX)
            .max_memory_size(usize::try_from(MEMORY_BYTES).unwrap_or(usize::MAX))
            .table_elements(elements)
            .pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
            .table_keep_resident(TABLE_KEPT_BYTES)
            // Where the system tells which pages were written to, these are cleared, wherever they lie: a stack of a
            // megabyte lies beyond what is kept by position.
            .pagemap_scan(Enabled::Auto);
        config
    }
}

/// How many instances there may be at once: as many as the pools of all functions have slots, and no more than
/// `places_max`.
fn instances(bundle: &Bundle, places_max: usize) -> Result<usize, String> {
    let mut sum = 0_usize;
    for entry in bundle.manifest().entries() {
        if sum >= places_max {
            break;
        }
        let entry = entry.map_err(|error| error.to_string())?;
        let Some(wasm) = entry.wasm else { continue };
        // Processes are allocated on demand.
        if wasm.profile != Profile::Sync || entry.kind.starts_with("process.") {
            continue;
        }
        sum = sum.saturating_add(pool::slots_max(wasm.pool.as_ref()).unwrap_or(places_max));
    }
    Ok(sum.min(places_max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_schema::authored::wasm::Limits;

    fn needs(memories: u32, tables: u32) -> Needs {
        Needs { core_instances: 2, memories, tables, memory_bytes_min: 65536, table_elements_min: 10 }
    }

    fn limits() -> EntryLimits {
        EntryLimits::new(&Limits::default(), |_, value| Ok(*value.value().unwrap())).unwrap()
    }

    #[test]
    fn it_has_the_size_of_the_largest_component_that_fits() {
        let [small, large, huge] = [b"small", b"large", b"huge."].map(|name| Digest::of(name));
        let components = [(small, needs(1, 0)), (large, needs(2, 3)), (huge, needs(99, 1))];
        let reservation = Reservation::of(10, components.into()).unwrap();
        assert_eq!((reservation.memories, reservation.tables, reservation.core_instances), (2, 3, 2));
        assert!(reservation.fits(small, &limits()) && reservation.fits(large, &limits()));
        assert!(!reservation.fits(huge, &limits()));
        assert!(!reservation.fits(Digest::of(b"unknown"), &limits()));
        let more = EntryLimits { memory_bytes_max: MEMORY_BYTES + 1, ..limits() };
        assert!(!reservation.fits(small, &more));
        let more = EntryLimits { table_elements_max: TABLE_ELEMENTS_MAX + 1, ..limits() };
        assert!(reservation.fits(small, &more) && !reservation.fits(large, &more));
    }

    #[test]
    fn many_instances_have_fewer_memories_each() {
        let component = Digest::of(b"component");
        let few = Reservation::of(1_000, [(component, needs(4, 0))].into()).unwrap();
        assert!(few.fits(component, &limits()));
        assert!(few.bytes() <= RESERVED_BYTES_MAX);
        let many = Reservation::of(10_000, [(component, needs(4, 0))].into()).unwrap();
        assert!(!many.fits(component, &limits()));
        let problem = Reservation::of(1_000_000, HashMap::new()).unwrap_err();
        assert!(problem.starts_with("1000000 instances need "), "{problem}");
    }
}
