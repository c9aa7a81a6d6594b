//! What one invocation of a Lua function costs: called by the embedding program, and by another one.
//!
//! `cargo bench -p loader --bench invocation`, with the compiler of the dev profile built.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::time::Instant;

use loader::{Context, Data, Loader};

#[path = "../tests/support/mod.rs"]
mod support;

const ROUNDS: u32 = 25;
const CALLS: u32 = 2_000;

const ENTRIES: &str = "
- name: empty
  kind: function.lua
  source: return function() end
- name: driver
  kind: function.lua
  modules: [funcs]
  source: |
    local funcs = require('funcs')
    return function(calls) for _ = 1, calls do funcs.call('app:empty') end end
";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let built = support::Registry::new().entries(ENTRIES).build();
    let loader = Loader::open(&built).unwrap();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            loader.call_data("app:empty", Vec::new(), Context::default()).await.unwrap();
        }
        times[0].push(start.elapsed() / CALLS);
        let start = Instant::now();
        let calls = vec![Data::Integer(i64::from(CALLS))];
        loader.call_data("app:driver", calls, Context::default()).await.unwrap();
        times[1].push(start.elapsed() / CALLS);
    }
    for (caller, times) in ["the embedding program", "a Lua function"].iter().zip(&mut times) {
        times.sort_unstable();
        println!("an invocation by {caller}: {:?} (least {:?})", times[times.len() / 2], times[0]);
    }
}
