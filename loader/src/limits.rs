//! What one call may use of memory, tables and instances.

use registry_schema::authored::scalar::Templated;
use registry_schema::authored::wasm::Limits;
use wasmtime::ResourceLimiter;

use crate::config::{INSTANCES_MAX, MEMORY_BYTES_MAX, RETAINED_MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX};
use crate::error::Error;

/// Counts what an instance has and refuses what is over.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    memory_bytes_max: u64,
    memory_bytes: u64,
    table_elements_max: u64,
    table_elements: u64,
    instances_max: u64,
    retained_bytes_max: u64,
    refused: Option<&'static str>,
}

impl Limiter {
    /// The limits of an entry, defaults where it has none. `number` resolves a field.
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
            memory_bytes: 0,
            table_elements_max: or(
                "limits.max_table_elements",
                &limits.max_table_elements,
                TABLE_ELEMENTS_MAX,
            )?,
            table_elements: 0,
            instances_max: or("limits.max_instances", &limits.max_instances, INSTANCES_MAX)?,
            retained_bytes_max: or(
                "limits.max_retained_memory_bytes",
                &limits.max_retained_memory_bytes,
                RETAINED_MEMORY_BYTES_MAX,
            )?,
            refused: None,
        })
    }

    /// Forgets what was refused: another call begins.
    pub(crate) fn begin(&mut self) {
        self.refused = None;
    }

    /// Whether the instance has little enough memory to be kept between calls.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.memory_bytes <= self.retained_bytes_max
    }

    /// The limit that was met, for the message of a trap that follows.
    pub(crate) fn refused(&self) -> Option<String> {
        let limit = self.refused?;
        let maximum = match limit {
            "max_memory_bytes" => self.memory_bytes_max,
            _ => self.table_elements_max,
        };
        Some(format!("limit `{limit}` of {maximum} was reached"))
    }
}

/// Counts a growth from `current` to `desired` towards `used`; whether it is allowed. What the guest's own
/// maximum refuses is none of our limits' business.
fn grow(
    used: &mut u64,
    limit: (&'static str, u64),
    refused: &mut Option<&'static str>,
    (current, desired, maximum): (usize, usize, Option<usize>),
) -> bool {
    if maximum.is_some_and(|maximum| desired > maximum) {
        return false;
    }
    let total = used.saturating_add(desired.saturating_sub(current) as u64);
    if total > limit.1 {
        *refused = Some(limit.0);
        return false;
    }
    *used = total;
    true
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = ("max_memory_bytes", self.memory_bytes_max);
        Ok(grow(&mut self.memory_bytes, limit, &mut self.refused, (current, desired, maximum)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = ("max_table_elements", self.table_elements_max);
        Ok(grow(&mut self.table_elements, limit, &mut self.refused, (current, desired, maximum)))
    }

    fn instances(&self) -> usize {
        usize::try_from(self.instances_max).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Limiter {
        Limiter::new(&Limits::default(), |_, value| Ok(*value.value().unwrap())).unwrap()
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
    fn a_refusal_by_the_guests_own_maximum_is_no_limit_of_ours() {
        let mut limiter = limiter();
        assert!(!limiter.memory_growing(0, 2, Some(1)).unwrap());
        assert!(!limiter.table_growing(0, 2, Some(1)).unwrap());
        assert!(limiter.refused().is_none());
    }
}
