//! What it costs guests that they can be interrupted: three loops, compiled with the options of bundles and with
//! the same ones but for the epoch. What is measured is generated code, the same in every profile of this program.
//!
//! `cargo run -p compiler --example interruption`
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::time::Instant;

use registry_schema::Profile;
use registry_schema::engine::EngineOptions;
use wasmtime::{Config, Engine, Instance, Module, Store, TypedFunc};

const ROUNDS: usize = 61;

/// A loop without anything in it, calls, and a loop over memory.
const SOURCE: &str = r#"(module
  (memory 16)
  (func (export "spin") (param $n i32) (result i32)
    (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $n))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add
        (call $fib (i32.sub (local.get $n) (i32.const 1)))
        (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  (func (export "memory") (param $n i32) (result i32)
    (local $at i32) (local $sum i32)
    (loop $again
      (local.set $at (i32.const 0))
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (i32.store (local.get $at) (local.get $sum))
        (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 1048576))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))"#;

const LOOPS: [(&str, i32); 3] = [("spin", 3_000_000), ("fib", 25), ("memory", 6)];

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new();
        EngineOptions::new(Profile::Sync).apply(&mut config).unwrap();
        change(&mut config);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat::parse_str(SOURCE).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        Self { store, instance }
    }

    fn microseconds(&mut self, name: &str, n: i32) -> f64 {
        let function: TypedFunc<i32, i32> = self.instance.get_typed_func(&mut self.store, name).unwrap();
        let start = Instant::now();
        function.call(&mut self.store, n).unwrap();
        start.elapsed().as_secs_f64() * 1e6
    }
}

fn main() {
    let mut without = Guest::new(|config| {
        config.epoch_interruption(false);
    });
    let mut with = Guest::new(|_| {});
    println!("loop          without        with   median   least");
    for (name, n) in LOOPS {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(without.microseconds(name, n));
            times[1].push(with.microseconds(name, n));
        }
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        let [without, with] = times;
        let (middle, least) = (ROUNDS / 2, with[0] / without[0]);
        let ratio = with[middle] / without[middle];
        println!("{name:8}{:>10.0} us{:>10.0} us{ratio:>9.2}{least:>8.2}", without[middle], with[middle]);
    }
}
