//! What one invocation of a Lua function costs: called by the embedding program, and by another one.

use std::time::Instant;

use loader::{Context, Data, Loader};

use crate::measure::{Series, print};
use crate::support::Registry;

const ROUNDS: u32 = 201;
const CALLS: u32 = 100;
const SLEEPING: [u32; 4] = [500, 1_000, 2_000, 4_000];

const ENTRIES: &str = "
- name: empty
  kind: function.lua
  source: return function() end
- name: modules
  kind: function.lua
  modules: [funcs, json, time, logger]
  source: |
    local funcs, json, time, logger = require('funcs'), require('json'), require('time'), require('logger')
    return function() end
- name: driver
  kind: function.lua
  modules: [funcs]
  source: |
    local funcs = require('funcs')
    return function(target, calls) for _ = 1, calls do assert(not select(2, funcs.call(target))) end end
- name: sleeping
  kind: function.lua
  modules: [funcs, time]
  pool: {size: 10000}
  source: |
    local funcs, time = require('funcs'), require('time')
    return function(calls)
      if not calls then return time.sleep('10ms') end
      local futures = {}
      for i = 1, calls do futures[i] = assert(funcs.async('app:sleeping')) end
      for i = 1, calls do
        futures[i]:response():receive()
        assert(not futures[i]:error())
      end
    end
";

pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measured());
}

async fn measured() {
    let built = Registry::new().entries(ENTRIES).build();
    let loader = Loader::open(&built).unwrap();
    let mut all = [
        Series::new("by the embedding program"),
        Series::new("by a Lua function"),
        Series::new("of one that requires four modules"),
    ];
    let driver = |target: &str| {
        let args = vec![Data::from(target), Data::Integer(i64::from(CALLS))];
        loader.call_data("app:driver", args, Context::default())
    };
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            loader.call_data("app:empty", Vec::new(), Context::default()).await.unwrap();
        }
        all[0].add(start.elapsed(), CALLS);
        for (target, series) in ["app:empty", "app:modules"].iter().zip(&mut all[1..]) {
            let start = Instant::now();
            driver(target).await.unwrap();
            series.add(start.elapsed(), CALLS);
        }
    }
    print("an invocation of a Lua function", &all);
    let mut all: Vec<Series> = SLEEPING.iter().map(|calls| Series::new(format!("of {calls}"))).collect();
    for _ in 0..ROUNDS / 40 {
        for (calls, series) in SLEEPING.iter().zip(&mut all) {
            let start = Instant::now();
            let args = vec![Data::Integer(i64::from(*calls))];
            loader.call_data("app:sleeping", args, Context::default()).await.unwrap();
            series.add(start.elapsed(), *calls);
        }
    }
    print("one of many calls of a function to itself that sleep 10 ms at the same time", &all);
}
