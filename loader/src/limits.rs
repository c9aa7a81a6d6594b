//! What one call may use of memory, tables and instances.

use registry_schema::authored::scalar::Templated;
use registry_schema::authored::wasm::Limits;
use wasmtime::ResourceLimiter;

use crate::budget::Share;
use crate::config::{
    INSTANCE_MEMORIES_MAX, INSTANCE_TABLES_MAX, INSTANCES_MAX, MEMORY_BYTES_MAX, RETAINED_MEMORY_BYTES_MAX,
    TABLE_ELEMENTS_MAX,
};
use crate::error::Error;

/// Size of an element of a table, in bytes.
const ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// The limits of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryLimits {
    pub(crate) memory_bytes_max: u64,
    pub(crate) table_elements_max: u64,
    pub(crate) instances_max: u64,
    pub(crate) retained_bytes_max: u64,
}

impl EntryLimits {
    /// Those that an entry gives, defaults where it has none. `number` resolves a field.
    pub(crate) fn new(
        limits: &Limits,
        number: impl Fn(&str, &Templated<u64>) -> Result<u64, Error>,
    ) -> Result<Self, Error> {
        let or = |field, value: &Option<Templated<u64>>, default| match value {
            Some(value) => number(field, value),
            None => Ok(default),
        };
        Ok(Self {
            memory_bytes_max: or("limits.max_memory_bytes", &limits.max_memory_bytes, MEMORY_BYTES_MAX)?,
            table_elements_max: or(
                "limits.max_table_elements",
                &limits.max_table_elements,
                TABLE_ELEMENTS_MAX,
            )?,
            instances_max: or("limits.max_instances", &limits.max_instances, INSTANCES_MAX)?,
            retained_bytes_max: or(
                "limits.max_retained_memory_bytes",
                &limits.max_retained_memory_bytes,
                RETAINED_MEMORY_BYTES_MAX,
            )?,
        })
    }
}

/// A limit that was met.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Memory,
    Table,
    /// The one of all guests together.
    Process,
}

/// Counts what an instance has and refuses what is over.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: EntryLimits,
    memory_bytes: u64,
    table_elements: u64,
    /// What it has of the memory of all guests.
    share: Share,
    refused: Option<Refused>,
}

impl Limiter {
    pub(crate) fn new(limits: EntryLimits, share: Share) -> Self {
        Self { limits, memory_bytes: 0, table_elements: 0, share, refused: None }
    }

    /// The memory of all guests.
    #[cfg(feature = "http")]
    pub(crate) fn budget(&self) -> std::sync::Arc<crate::budget::Budget> {
        self.share.budget()
    }

    /// Forgets what was refused: another call begins.
    pub(crate) fn begin(&mut self) {
        self.refused = None;
    }

    /// Whether the instance has little enough memory to be kept between calls.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.memory_bytes <= self.limits.retained_bytes_max
    }

    /// The limit that was met, for the message of a trap that follows.
    pub(crate) fn refused(&self) -> Option<String> {
        let EntryLimits { memory_bytes_max, table_elements_max, .. } = self.limits;
        Some(match self.refused? {
            Refused::Memory => format!("limit `max_memory_bytes` of {memory_bytes_max} was reached"),
            Refused::Table => format!("limit `max_table_elements` of {table_elements_max} was reached"),
            Refused::Process => {
                format!("limit `wasm.total.max_memory_bytes` of {} was reached", self.share.bytes_max())
            }
        })
    }

    /// What a count becomes with a growth; `None` when a limit refuses it. A refusal by the guest's own maximum
    /// alone is none of our limits' business.
    fn grown(&mut self, used: u64, growth: Growth, what: Refused) -> Option<u64> {
        let (maximum, unit) = match what {
            Refused::Table => (self.limits.table_elements_max, ELEMENT_BYTES),
            _ => (self.limits.memory_bytes_max, 1),
        };
        let (current, desired, own_maximum) = growth;
        let by = desired.saturating_sub(current) as u64;
        let Some(total) = used.checked_add(by).filter(|total| *total <= maximum) else {
            self.refused = Some(what);
            return None;
        };
        if own_maximum.is_some_and(|own_maximum| desired > own_maximum) {
            return None;
        }
        if !self.share.grow(by.saturating_mul(unit)) {
            self.refused = Some(Refused::Process);
            return None;
        }
        Some(total)
    }
}

/// From which size to which, and the guest's own maximum.
type Growth = (usize, usize, Option<usize>);

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.grown(self.memory_bytes, (current, desired, maximum), Refused::Memory);
        self.memory_bytes = grown.unwrap_or(self.memory_bytes);
        Ok(grown.is_some())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.grown(self.table_elements, (current, desired, maximum), Refused::Table);
        self.table_elements = grown.unwrap_or(self.table_elements);
        Ok(grown.is_some())
    }

    fn instances(&self) -> usize {
        usize::try_from(self.limits.instances_max).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        INSTANCE_MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        INSTANCE_TABLES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::budget::Budget;

    fn limiter() -> Limiter {
        limiter_of(&Budget::new(Some(u64::MAX)))
    }

    fn limiter_of(budget: &std::sync::Arc<Budget>) -> Limiter {
        let limits = EntryLimits::new(&Limits::default(), |_, value| Ok(*value.value().unwrap()));
        Limiter::new(limits.unwrap(), budget.share())
    }

    #[test]
    fn counts_all_memories_together() {
        let mut limiter = limiter();
        let half = usize::try_from(MEMORY_BYTES_MAX / 2).unwrap();
        assert!(limiter.memory_growing(0, half, None).unwrap());
        assert!(limiter.memory_growing(0, half, None).unwrap());
        assert!(limiter.refused().is_none());
        assert!(!limiter.memory_growing(half, half + 1, None).unwrap());
        assert_eq!(limiter.refused().unwrap(), "limit `max_memory_bytes` of 268435456 was reached");
    }

    #[test]
    fn memories_and_tables_have_a_number() {
        assert_eq!((limiter().memories(), limiter().tables()), (1_000, 1_000));
    }

    #[test]
    fn a_refusal_by_the_guests_own_maximum_is_no_limit_of_ours() {
        let mut limiter = limiter();
        assert!(!limiter.memory_growing(0, 2, Some(1)).unwrap());
        assert!(!limiter.table_growing(0, 2, Some(1)).unwrap());
        assert!(limiter.refused().is_none());
    }

    #[test]
    fn all_guests_have_one_memory() {
        let budget = Budget::new(Some(1 << 20));
        let mut one = limiter_of(&budget);
        let mut other = limiter_of(&budget);
        assert!(one.memory_growing(0, 1 << 19, None).unwrap());
        assert!(!other.memory_growing(0, (1 << 19) + 1, None).unwrap());
        assert_eq!(other.refused().unwrap(), "limit `wasm.total.max_memory_bytes` of 1048576 was reached");
        // An element of a table is a pointer.
        assert!(!other.table_growing(0, (1 << 16) + 1, None).unwrap());
        assert!(other.table_growing(0, 1 << 16, None).unwrap());
        drop(one);
        assert!(other.memory_growing(0, 1 << 19, None).unwrap());
        drop(other);
        assert_eq!(budget.snapshot().used, 0);
    }
}
