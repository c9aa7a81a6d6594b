//! What it costs to pass 1 MiB as `list<u8>` to a function and back: by a signature that is called by its
//! types, and by one that is not among these. Medians of alternating calls, and their ratio.
//!
//! `cargo bench -p loader --bench bytes`, with the compiler of the dev profile built.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::time::{Duration, Instant};

use loader::{Loader, Val};

#[path = "../tests/support/mod.rs"]
mod support;

const ROUNDS: usize = 41;
const BYTES: u32 = 1 << 20;

/// Gives its list back, and may get a number beside it.
const ECHO: &str = "(module
  (memory (export \"memory\") 18)
  (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 64))
  (func $echo (param $start i32) (param $length i32) (result i32)
    (i32.store (i32.const 16) (local.get $start))
    (i32.store (i32.const 20) (local.get $length))
    (i32.const 16))
  (func (export \"typed\") (param i32 i32) (result i32) (call $echo (local.get 0) (local.get 1)))
  (func (export \"dynamic\") (param i32 i32 i32) (result i32) (call $echo (local.get 0) (local.get 1))))";

const WIT: &str =
    "wit: \"typed: func(v: list<u8>) -> list<u8>; dynamic: func(v: list<u8>, n: s8) -> list<u8>;\"";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let entry = |method: &str| format!("{WIT}\nmethod: {method}");
    let registry = support::Registry::new();
    let built = registry.wat("typed", ECHO, &entry("typed")).wat("dynamic", ECHO, &entry("dynamic")).build();
    let loader = Loader::open(&built).unwrap();
    let bytes = Val::List((0..BYTES).map(|n| Val::U8(n as u8)).collect());
    let functions = [
        (loader.function("app:typed").unwrap(), vec![bytes.clone()]),
        (loader.function("app:dynamic").unwrap(), vec![bytes.clone(), Val::S8(0)]),
    ];
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for ((function, args), times) in functions.iter().zip(&mut times) {
            let start = Instant::now();
            let back = function.call(args).await.unwrap();
            times.push(start.elapsed());
            assert!(back.as_ref() == Some(&bytes));
        }
    }
    let [typed, dynamic] = times.map(median);
    println!("1 MiB there and back by types: {typed:?}");
    println!("1 MiB there and back by dynamic values: {dynamic:?}, {:.1} times", ratio(dynamic, typed));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
