//! What it saves to keep memory of a slot resident for its next instance, by how much is kept, whether the kernel
//! says which pages were touched (`PAGEMAP_SCAN`), and where guests touch their memory.
//!
//! `cargo bench -p loader --bench resident`, with the compiler of the dev profile built. Medians of an instance, a
//! call and its end, in microseconds; and resident memory of a slot afterwards, in KiB.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::time::{Duration, Instant};

use loader::registry_schema::Profile;
use loader::registry_schema::engine::EngineOptions;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

#[path = "../tests/support/mod.rs"]
mod support;

const ROUNDS: usize = 15;
const CALLS: u32 = 300;
const KIB: usize = 1 << 10;
const SLOTS: u32 = 16;

/// Three mebibytes, and data where linkers of Rust and C programs put it: above a stack of one mebibyte.
const MODULE: &str = "(module
  (memory 48)
  (data (i32.const 1048576) \"some data of the program\")
  (func (export \"touch\") (param $at i32) (param $bytes i32) (result i32)
    (memory.fill (local.get $at) (i32.const 1) (local.get $bytes)) (local.get $bytes)))";

/// Name, where a call touches memory, and how much of it, in KiB.
const GUESTS: [(&str, u32, u32); 6] = [
    ("low 4", 0, 4),
    ("low 64", 0, 64),
    ("low 512", 0, 512),
    ("program 32", 1024 - 16, 32),
    ("program 160", 1024 - 32, 160),
    ("program 1024", 1024 - 32, 1024),
];

/// What is kept of a memory in KiB, and whether pages that were not touched are left alone.
const SETTINGS: [(usize, Enabled); 9] = [
    (0, Enabled::No),
    (64, Enabled::No),
    (256, Enabled::No),
    (2048, Enabled::No),
    (16, Enabled::Auto),
    (64, Enabled::Auto),
    (256, Enabled::Auto),
    (512, Enabled::Auto),
    (2048, Enabled::Auto),
];

fn engine(kept: usize, scan: Enabled) -> Engine {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS).total_core_instances(SLOTS).total_memories(SLOTS).total_tables(0);
    pool.total_stacks(SLOTS).linear_memory_keep_resident(kept * KIB).pagemap_scan(scan);
    let mut config = Config::new();
    EngineOptions::new(Profile::Sync).apply(&mut config).unwrap();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).unwrap()
}

async fn call(pre: &InstancePre<()>, at: u32, bytes: u32) {
    let mut store = Store::new(pre.engine(), ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = pre.instantiate_async(&mut store).await.unwrap();
    let touch = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, "touch").unwrap();
    assert_eq!(touch.call_async(&mut store, (at, bytes)).await.unwrap(), (bytes,));
}

async fn timed(pre: &InstancePre<()>, at: u32, bytes: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..CALLS {
        call(pre, at, bytes).await;
    }
    start.elapsed() / CALLS
}

/// Resident memory of this process, in KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let wit = "wit: \"touch: func(at: u32, bytes: u32) -> u32\"\nmethod: touch";
    let built = support::Registry::new().wat("touch", MODULE, wit).build();
    let bytes = std::fs::read(built.join(&built.artifact("touch").path())).unwrap();
    print!("{:14}", "kept, KiB");
    for (kept, scan) in SETTINGS {
        print!("{:>16}", format!("{kept}{}", if scan == Enabled::Auto { " scan" } else { "" }));
    }
    println!();
    for (name, at, touched) in GUESTS {
        let (at, touched) = (at * 1024, touched * 1024);
        let mut columns: Vec<(InstancePre<()>, Vec<Duration>, usize)> = Vec::new();
        for (kept, scan) in SETTINGS {
            let engine = engine(kept, scan);
            // SAFETY: the compiler has just written it.
            #[allow(unsafe_code, reason = "the loader's own mapping is not what is measured")]
            let component = unsafe { Component::deserialize(&engine, &bytes) }.unwrap();
            let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
            call(&pre, 0, 0).await;
            let before = resident();
            call(&pre, at, touched).await;
            let after = resident().saturating_sub(before);
            columns.push((pre, Vec::new(), after));
        }
        for _ in 0..ROUNDS {
            for (pre, times, _) in &mut columns {
                times.push(timed(pre, at, touched).await);
            }
        }
        print!("{name:14}");
        for (_, mut times, resident) in columns {
            times.sort_unstable();
            let micros = times[ROUNDS / 2].as_secs_f64() * 1e6;
            print!("{:>16}", format!("{micros:.1} us {resident}"));
        }
        println!();
    }
}
