//! Seeded mutations of input that programs must survive: shared by the test files `fuzz*` of both
//! programs, which `scripts/fuzz` runs at length.
//!
//! `FUZZ_COUNT` cases (default [`COUNT`]) are run from the seed `FUZZ_SEED` (default 1) on, one seed each, so
//! that `FUZZ_SEED=N FUZZ_COUNT=1` repeats case N. The seed of the case that runs is in
//! `target/tmp/fuzz-NAME.seed`, for crashes that leave no time to print it.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

/// Cases of a plain test run.
pub(crate) const COUNT: u64 = 200;
/// Most memory that all cases of a process may have held at once, in bytes.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One of `items`, of which there are some.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// `bytes` with one to four changes: bits flipped, bytes replaced, parts removed, repeated, moved or cut off.
pub(crate) fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
            continue;
        }
        let at = random.below(bytes.len());
        let len = (1 + random.below(64)).min(bytes.len() - at);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(at..at + len)),
            3 => {
                let part = bytes[at..at + len].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let part: Vec<u8> = bytes.drain(at..at + len).collect();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            5 => bytes.truncate(at),
            _ => {
                let text = random.pick(&["-1", "18446744073709551615", "1e999", "null"]);
                bytes.splice(at..at, text.bytes());
            }
        }
    }
    bytes
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("`{name}` is no number: `{text}`")),
        Err(_) => default,
    }
}

/// The folder that tests write into: they lie in `target/PROFILE/deps`.
fn folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    let target = exe.ancestors().nth(3).expect("tests lie three folders deep in the target folder");
    let folder = target.join("tmp");
    fs::create_dir_all(&folder).expect("the target folder can be written to");
    folder
}

/// Runs `case` for every seed, and checks how much memory the process held at most.
///
/// # Panics
/// When a case does, or the process held more than 1 GiB.
pub(crate) fn run(name: &str, mut case: impl FnMut(&mut Random)) {
    let (first, count) = (setting("FUZZ_SEED", 1), setting("FUZZ_COUNT", COUNT));
    let path = folder().join(format!("fuzz-{name}.seed"));
    let under_way = File::create(&path).expect("the target folder can be written to");
    for seed in first..first + count {
        let line = format!("{seed:020}\n");
        under_way.write_all_at(line.as_bytes(), 0).expect("the target folder can be written to");
        let mut random = Random::new(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&mut random))) {
            eprintln!("`{name}`: FUZZ_SEED={seed} FUZZ_COUNT=1 repeats this");
            resume_unwind(panic);
        }
    }
    let held = memory_bytes_held();
    assert!(held <= MEMORY_BYTES_MAX, "the process held {held} bytes at once");
    fs::remove_file(path).expect("the target folder can be written to");
}

/// Most memory that this process has held.
fn memory_bytes_held() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("Linux writes numbers");
    kilobytes << 10
}
