//! How many processes fit, by what the kernel and the machine give.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_schema::ErrorKind;

use crate::config::{INSTANCE_ADDRESS_BYTES, INSTANCE_BYTES, INSTANCE_MAPS, LUA_STATE_BYTES, PROCESSES_MAX};
use crate::control_group;
use crate::error::Error;
use crate::loader::{Inner, Loader};
use crate::pool::bound::Bound;

/// How many processes fit at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Lua processes: each has a state of its own.
    pub lua: usize,
    /// WebAssembly processes: each has an instance of its own.
    pub wasm: usize,
}

/// What the kernel allows a process, read once.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Memory that is left, in bytes.
    memory_bytes: u64,
    /// Address space, in bytes; `None` for no limit but that of the processor.
    address_bytes: Option<u64>,
    /// Mappings that may still be made.
    maps: u64,
}

impl Limits {
    /// Those of this process. What can't be read is taken as the usual value of Linux.
    fn read() -> Self {
        let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let maps_max = number("/proc/sys/vm/max_map_count").unwrap_or(65_530);
        let maps =
            std::fs::read_to_string("/proc/self/maps").map_or(1_000, |maps| maps.lines().count() as u64);
        let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        });
        let group = control_group::memory().map(|group| group.left);
        let memory_bytes = available.map_or(1 << 30, |kilobytes| kilobytes << 10);
        Self {
            memory_bytes: group.map_or(memory_bytes, |group| memory_bytes.min(group)),
            address_bytes: rustix::process::getrlimit(rustix::process::Resource::As).current,
            maps: maps_max.saturating_sub(maps),
        }
    }

    /// How many processes fit, and what there is too little of for more. Half of all is left for all else.
    fn fits(self) -> [Fit; 2] {
        let fits = |have: u64, each: u64| usize::try_from(have / 2 / each).unwrap_or(usize::MAX);
        let by_address = |each| self.address_bytes.map_or(usize::MAX, |bytes| fits(bytes, each));
        let lua = [
            (fits(self.memory_bytes, LUA_STATE_BYTES), MEMORY),
            (by_address(LUA_STATE_BYTES), ADDRESSES),
            (PROCESSES_MAX, PROCESSES),
        ];
        let wasm = [
            (fits(self.memory_bytes, INSTANCE_BYTES), MEMORY),
            (fits(self.maps, INSTANCE_MAPS), MAPS),
            (by_address(INSTANCE_ADDRESS_BYTES), ADDRESSES),
            (PROCESSES_MAX, PROCESSES),
        ];
        [Fit::least(&lua), Fit::least(&wasm)]
    }
}

const MEMORY: &str = "the memory that was left";
const ADDRESSES: &str = "the address space, `ulimit -v`";
const MAPS: &str = "the mappings that are allowed, `vm.max_map_count`";
const PROCESSES: &str = "the loader";

/// How many processes of a kind fit.
#[derive(Debug, Clone, Copy)]
struct Fit {
    max: usize,
    /// What allows no more.
    by: &'static str,
}

impl Fit {
    fn least(limits: &[(usize, &'static str)]) -> Self {
        let least = limits.iter().min_by_key(|(max, _)| *max);
        least.map_or(Self { max: 1, by: MEMORY }, |(max, by)| Self { max: (*max).max(1), by })
    }
}

/// Counts the processes of a loader.
pub(crate) struct Capacity {
    fits: [Fit; 2],
    pub(super) lua: Arc<AtomicUsize>,
    pub(super) wasm: Arc<AtomicUsize>,
    /// Places for the instances of processes.
    pub(super) instances: Bound,
}

/// What a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Lua,
    Wasm,
}

/// The right to be one of the processes of a loader, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Capacity {
    fn new(fits: [Fit; 2]) -> Self {
        let instances = Bound::new(fits[1].max, "what this machine has room for");
        Self { fits, lua: Arc::default(), wasm: Arc::default(), instances }
    }

    fn room(&self) -> Room {
        let [lua, wasm] = self.fits;
        Room { lua: lua.max, wasm: wasm.max }
    }

    /// Takes one more process.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it does not fit.
    pub(super) fn seat(&self, language: Language) -> Result<Seat, Error> {
        let (taken, Fit { max, by }, what) = match language {
            Language::Lua => (&self.lua, self.fits[0], "Lua"),
            Language::Wasm => (&self.wasm, self.fits[1], "WebAssembly"),
        };
        let seat = Seat(Arc::clone(taken));
        if taken.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(seat);
        }
        let message = format!("there are {max} {what} processes already, the most by {by}");
        Err(Error::new(ErrorKind::Unavailable, message).retryable())
    }
}

impl Inner {
    pub(super) fn capacity(&self) -> &Capacity {
        self.processes.capacity.get_or_init(|| Capacity::new(Limits::read().fits()))
    }
}

impl Loader {
    /// How many processes fit at once, by the memory and the limits that this process had when it was first
    /// asked.
    pub fn process_room(&self) -> Room {
        self.inner().capacity().room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scarce_decides() {
        let limits = Limits { memory_bytes: 16 << 30, address_bytes: None, maps: 64_000 };
        let [lua, wasm] = limits.fits();
        assert!(lua.max >= 10_000 && wasm.max >= 2_000, "{lua:?} {wasm:?}");
        assert_eq!((lua.by, wasm.by), (MEMORY, MAPS));
        let few_maps = Limits { maps: INSTANCE_MAPS * 20, ..limits }.fits();
        assert_eq!((few_maps[0].max, few_maps[1].max), (lua.max, 10));
        let little_memory = Limits { memory_bytes: LUA_STATE_BYTES * 20, ..limits }.fits();
        assert_eq!((little_memory[0].max, little_memory[0].by), (10, MEMORY));
        let little_address = Limits { address_bytes: Some(INSTANCE_ADDRESS_BYTES * 6), ..limits }.fits();
        assert_eq!((little_address[1].max, little_address[1].by), (3, ADDRESSES));
        let nothing = Limits { memory_bytes: 0, address_bytes: Some(0), maps: 0 }.fits();
        assert_eq!(nothing.map(|fit| fit.max), [1, 1]);
        let much = Limits { memory_bytes: u64::MAX, address_bytes: None, maps: u64::MAX }.fits();
        assert_eq!(much.map(|fit| (fit.max, fit.by)), [(PROCESSES_MAX, PROCESSES); 2]);
    }

    #[test]
    fn a_full_loader_refuses_until_a_process_ends() {
        let capacity = Capacity::new([Fit { max: 1, by: MAPS }; 2]);
        let first = capacity.seat(Language::Lua).unwrap();
        let refused = capacity.seat(Language::Lua).unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Unavailable, true));
        let message = "there are 1 Lua processes already, the most by the mappings that are allowed, \
                       `vm.max_map_count`";
        assert_eq!(refused.message(), message);
        capacity.seat(Language::Wasm).unwrap();
        drop(first);
        capacity.seat(Language::Lua).unwrap();
    }
}
