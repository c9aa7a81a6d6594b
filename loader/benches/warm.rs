//! What a warm start (`pool.warm_start`) leaves to the first calls.
//!
//! `cargo bench -p loader --bench warm`, with the compiler of the dev profile built. Page faults of the calling thread
//! and microseconds, of the warm start and of three calls after it. Calls of one function run in turn, so in the
//! slot that was used last.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::time::Instant;

use loader::{Context, Loader, Stdio, Val};
use support::{Built, Registry};

#[path = "../tests/support/mod.rs"]
mod support;

/// Writes `n` bytes, below the data of a program.
const WRITES: &str = "(module (memory 48) (data (i32.const 1048576) \"some data of the program\")
  (func (export \"run\") (param $n i32) (result i32)
    (memory.fill (i32.const 524288) (i32.const 1) (local.get $n)) (local.get $n)))";

/// The same after a start that counts to a million.
const STARTS: &str = "(module (memory 48)
  (func $start (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 1000000)))))
  (start $start)
  (func (export \"run\") (param $n i32) (result i32)
    (memory.fill (i32.const 524288) (i32.const 1) (local.get $n)) (local.get $n)))";

/// Name, source, further fields of the pool, bytes that a call writes.
const ROWS: [(&str, &str, &str, u32); 5] = [
    ("4 KiB", WRITES, "type: static, workers: 3", 4 << 10),
    ("160 KiB", WRITES, "type: static, workers: 3", 160 << 10),
    ("160 KiB, kept", WRITES, "type: static, workers: 3, reuse: true", 160 << 10),
    ("with a start", STARTS, "type: static, workers: 3", 4 << 10),
    ("with a start, kept", STARTS, "type: static, workers: 3, reuse: true", 4 << 10),
];

/// Page faults of this thread.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
}

async fn measured(what: impl Future) -> String {
    let (before, start) = (faults(), Instant::now());
    what.await;
    let elapsed = start.elapsed().as_micros();
    format!("{:>5} {elapsed:>6}", faults() - before)
}

async fn call(loader: &Loader, bytes: u32) {
    let called = loader.call_with_streams("app:f", &[Val::U32(bytes)], Context::default(), Stdio::Log).await;
    assert_eq!(called.unwrap(), Some(Val::U32(bytes)));
}

fn build(source: &str, pool: &str) -> Built {
    let fields =
        format!("wit: \"run: func(n: u32) -> u32\"\nmethod: run\npool: {{{pool}, warm_start: true}}");
    Registry::new().wat("f", source, &fields).build()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // What the process needs once is paid before anything is measured.
    let built = build(WRITES, "type: inline");
    runtime.block_on(call(&Loader::open(&built).unwrap(), 1));
    println!(
        "{:<20} {:<5} {:>12} {:>12} {:>12} {:>12}",
        "", "warm", "warm start", "call 1", "call 2", "call 3"
    );
    for (name, source, pool, bytes) in ROWS {
        let built = build(source, pool);
        for is_warm in [false, true] {
            let loader = Loader::open(&built).unwrap();
            let mut row = format!("{name:<20} {:<5}", if is_warm { "yes" } else { "no" });
            runtime.block_on(async {
                row += &match is_warm {
                    true => format!(" {}", measured(loader.warm_up()).await),
                    false => format!(" {:>12}", ""),
                };
                for _ in 0..3 {
                    row += &format!(" {}", measured(call(&loader, bytes)).await);
                }
            });
            println!("{row}");
        }
    }
}
