//! Every limit of the loader, its default, and the options an embedder sets.

use std::path::PathBuf;
use std::time::Duration;

use crate::mapping::Sealing;

/// Interval of the ticker that raises the epoch while a guest runs.
pub const TICK: Duration = Duration::from_millis(5);
/// Default of all memories of an instance together, in bytes (`limits.max_memory_bytes`).
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Default of all tables of an instance together, in elements (`limits.max_table_elements`).
pub const TABLE_ELEMENTS_MAX: u64 = 1_000_000;
/// Default of core instances in a call (`limits.max_instances`).
pub const INSTANCES_MAX: u64 = 1_000;
/// Stack of a guest, in bytes; deeper recursion is a trap.
pub const GUEST_STACK_BYTES: usize = 512 << 10;
/// Stack of a fibre: the guest's and that of the host functions that it calls, in bytes.
pub const FIBRE_STACK_BYTES: usize = 2 << 20;
/// Longest line of a guest's output that is logged as one, in bytes; a longer one is split.
pub const LOG_LINE_BYTES_MAX: usize = 16 << 10;

/// When the ticker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ticking {
    /// A thread ticks while any guest runs, so that guests share threads and can be cancelled.
    #[default]
    Always,
    /// A thread ticks only while a guest with a time limit runs: for one call in a process of its own.
    ForDeadlines,
    /// Nothing ticks but [`crate::Loader::tick`]: for tests, which assert order and counts.
    Manual,
}

/// Options of a [`crate::Loader`], all with defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether artifacts are mapped from their files or always from sealed copies.
    pub sealing: Sealing,
    /// When the epoch is raised.
    pub ticking: Ticking,
    /// Folder that relative paths of entries are resolved in; default: the working directory.
    pub root: Option<PathBuf>,
}
