//! How many processes fit, by what the kernel and the machine give.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_schema::ErrorKind;

use crate::config::{INSTANCE_ADDRESS_BYTES, INSTANCE_BYTES, INSTANCE_MAPS, LUA_STATE_BYTES, PROCESSES_MAX};
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
        let group = number("/sys/fs/cgroup/memory.max")
            .map(|max| max.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
        let memory_bytes = available.map_or(1 << 30, |kilobytes| kilobytes << 10);
        Self {
            memory_bytes: group.map_or(memory_bytes, |group| memory_bytes.min(group)),
            address_bytes: rustix::process::getrlimit(rustix::process::Resource::As).current,
            maps: maps_max.saturating_sub(maps),
        }
    }

    /// Half of what there is is left for all else.
    fn room(self) -> Room {
        let fits = |have: u64, each: u64| usize::try_from(have / 2 / each).unwrap_or(usize::MAX);
        let by_address = |each| self.address_bytes.map_or(usize::MAX, |bytes| fits(bytes, each));
        let lua = fits(self.memory_bytes, LUA_STATE_BYTES).min(by_address(LUA_STATE_BYTES));
        let wasm = fits(self.memory_bytes, INSTANCE_BYTES)
            .min(fits(self.maps, INSTANCE_MAPS))
            .min(by_address(INSTANCE_ADDRESS_BYTES));
        Room { lua: lua.clamp(1, PROCESSES_MAX), wasm: wasm.clamp(1, PROCESSES_MAX) }
    }
}

/// Counts the processes of a loader.
pub(crate) struct Capacity {
    room: Room,
    lua: Arc<AtomicUsize>,
    wasm: Arc<AtomicUsize>,
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
    fn new(room: Room) -> Self {
        Self { room, lua: Arc::default(), wasm: Arc::default(), instances: Bound::new(room.wasm) }
    }

    /// Takes one more process.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it does not fit.
    pub(super) fn seat(&self, language: Language) -> Result<Seat, Error> {
        let (taken, max, what) = match language {
            Language::Lua => (&self.lua, self.room.lua, "Lua"),
            Language::Wasm => (&self.wasm, self.room.wasm, "WebAssembly"),
        };
        let seat = Seat(Arc::clone(taken));
        if taken.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(seat);
        }
        let message = format!("there are {max} {what} processes already, more do not fit on this machine");
        Err(Error::new(ErrorKind::Unavailable, message).retryable())
    }
}

impl Inner {
    pub(super) fn capacity(&self) -> &Capacity {
        self.processes.capacity.get_or_init(|| Capacity::new(Limits::read().room()))
    }
}

impl Loader {
    /// How many processes fit at once, by the memory and the limits that this process had when it was first
    /// asked.
    pub fn process_room(&self) -> Room {
        self.inner().capacity().room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scarce_decides() {
        let limits = Limits { memory_bytes: 16 << 30, address_bytes: None, maps: 64_000 };
        let room = limits.room();
        assert!(room.lua >= 10_000 && room.wasm >= 2_000, "{room:?}");
        let few_maps = Limits { maps: INSTANCE_MAPS * 20, ..limits }.room();
        assert_eq!(few_maps, Room { lua: room.lua, wasm: 10 });
        let little_memory = Limits { memory_bytes: LUA_STATE_BYTES * 20, ..limits }.room();
        assert_eq!(little_memory.lua, 10);
        let little_address = Limits { address_bytes: Some(INSTANCE_ADDRESS_BYTES * 6), ..limits }.room();
        assert_eq!(little_address.wasm, 3);
        assert_eq!(
            Limits { memory_bytes: 0, address_bytes: Some(0), maps: 0 }.room(),
            Room { lua: 1, wasm: 1 }
        );
    }

    #[test]
    fn a_full_loader_refuses_until_a_process_ends() {
        let capacity = Capacity::new(Room { lua: 1, wasm: 1 });
        let first = capacity.seat(Language::Lua).unwrap();
        let refused = capacity.seat(Language::Lua).unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Unavailable, true));
        capacity.seat(Language::Wasm).unwrap();
        drop(first);
        capacity.seat(Language::Lua).unwrap();
    }
}
