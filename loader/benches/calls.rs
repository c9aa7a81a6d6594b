//! What it costs Lua to call a component and get its answer, beside wasmtime's own calls of the same function
//! in the same run: dynamic and typed, asynchronous, on one instance and on a fresh one for each call.
//!
//! `cargo bench -p loader --bench calls`, with the compiler of the dev profile built. Medians of rounds that
//! alternate, and their ratios to the dynamic call on one instance.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use loader::registry_schema::Profile;
use loader::registry_schema::engine::EngineOptions;
use loader::{Context, Data, Loader, Val};
use wasmtime::component::{Component, ComponentNamedList, Func, Instance, InstancePre, Lift, Linker, Lower};
use wasmtime::{Config, Engine, Store};

#[path = "../tests/support/mod.rs"]
mod support;

const ROUNDS: usize = 15;

/// Gives back what it gets. What it allocates is free again when the next call begins.
const MODULE: &str = "(module
  (memory (export \"memory\") 40)
  (global $next (mut i32) (i32.const 1024))
  (func (export \"cabi_realloc\") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $next)
    (global.set $next
      (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8))))
  (func $list (param $start i32) (param $length i32) (result i32)
    (global.set $next (i32.const 1024))
    (i32.store (i32.const 16) (local.get $start))
    (i32.store (i32.const 20) (local.get $length))
    (i32.const 16))
  (func (export \"scalar\") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (export \"text\" (func $list))
  (export \"users\" (func $list))
  (export \"numbers\" (func $list))
  (export \"bytes\" (func $list))
  (func (export \"user\") (param $id i32) (param $start i32) (param $length i32) (param $active i32) (result i32)
    (global.set $next (i32.const 1024))
    (i32.store (i32.const 16) (local.get $id))
    (i32.store (i32.const 20) (local.get $start))
    (i32.store (i32.const 24) (local.get $length))
    (i32.store8 (i32.const 28) (local.get $active))
    (i32.const 16)))";

const WIT: &str = "record user { id: u32, name: string, active: bool }
scalar: func(a: u32, b: u32) -> u32;
text: func(v: string) -> string;
user: func(v: user) -> user;
users: func(v: list<user>) -> list<user>;
numbers: func(v: list<u32>) -> list<u32>;
bytes: func(v: list<u8>) -> list<u8>;
";

/// Makes the arguments of a function, then calls it so often.
const DRIVER: &str = "
local funcs = require('funcs')
local function user(id) return {id = id, name = 'Ada Lovelace', active = true} end
local users, numbers = {}, {}
for i = 1, 100 do users[i] = user(i) end
for i = 1, 1000 do numbers[i] = i end
local arguments = {
  scalar = {40, 2}, text = {'a text of some words'}, user = {user(7)}, users = {users}, numbers = {numbers},
  bytes = {('x'):rep(1 << 20)},
}
return function(name, target, calls)
  local a, b = table.unpack(arguments[name])
  local call = funcs.call
  for _ = 1, calls do
    local value, err = call(target, a, b)
    if err then error(err) end
  end
end";

/// Name, calls of a round, and whether typed calls of wasmtime can take it without types of their own.
const FUNCTIONS: [(&str, u32); 6] =
    [("scalar", 5_000), ("text", 5_000), ("user", 3_000), ("users", 200), ("numbers", 500), ("bytes", 20)];

fn open() -> (support::Built, Loader) {
    let indented: String = DRIVER.lines().map(|line| format!("    {line}\n")).collect();
    let mut entries =
        format!("- name: driver\n  kind: function.lua\n  modules: [funcs]\n  source: |\n{indented}");
    for (name, _) in FUNCTIONS {
        for (entry, pool) in [(name.to_owned(), ""), (format!("{name}-kept"), "  pool: {reuse: true}\n")] {
            let source = "source: file://a.wat\n  wit: file://a.wit";
            write!(entries, "- name: {entry}\n  kind: function.wat\n  {source}\n  method: {name}\n{pool}")
                .unwrap();
        }
    }
    let registry = support::Registry::new().file("a.wat", MODULE).file("a.wit", WIT);
    let built = registry.entries(&entries).build();
    let loader = Loader::open(&built).unwrap();
    (built, loader)
}

fn arguments(name: &str) -> Vec<Val> {
    let user = |id| {
        let name = ("name".to_owned(), Val::String("Ada Lovelace".to_owned()));
        Val::Record(vec![("id".to_owned(), Val::U32(id)), name, ("active".to_owned(), Val::Bool(true))])
    };
    match name {
        "scalar" => vec![Val::U32(40), Val::U32(2)],
        "text" => vec![Val::String("a text of some words".to_owned())],
        "user" => vec![user(7)],
        "users" => vec![Val::List((1..=100).map(user).collect())],
        "numbers" => vec![Val::List((1..=1000).map(Val::U32).collect())],
        _ => vec![Val::List(vec![Val::U8(b'x'); 1 << 20])],
    }
}

/// wasmtime without the loader.
struct Plain {
    store: Store<()>,
    pre: InstancePre<()>,
    instance: Instance,
}

impl Plain {
    async fn new(built: &support::Built) -> Self {
        let mut config = Config::new();
        EngineOptions::new(Profile::Sync).apply(&mut config).unwrap();
        let engine = Engine::new(&config).unwrap();
        let bytes = std::fs::read(built.join(&built.artifact("scalar").path())).unwrap();
        // SAFETY: the compiler has just written it.
        #[allow(unsafe_code, reason = "the loader's own mapping is not what is measured")]
        let component = unsafe { Component::deserialize(&engine, bytes) }.unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
        let mut store = store(&engine);
        let instance = pre.instantiate_async(&mut store).await.unwrap();
        Self { store, pre, instance }
    }

    fn function(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    async fn dynamic(&mut self, name: &str, calls: u32) -> Duration {
        let (function, args) = (self.function(name), arguments(name));
        let start = Instant::now();
        for _ in 0..calls {
            let mut results = [Val::Bool(false)];
            function.call_async(&mut self.store, &args, &mut results).await.unwrap();
        }
        start.elapsed() / calls
    }

    async fn fresh(&mut self, name: &str, calls: u32) -> Duration {
        let args = arguments(name);
        let start = Instant::now();
        for _ in 0..calls {
            let mut store = store(self.pre.engine());
            let instance = self.pre.instantiate_async(&mut store).await.unwrap();
            let function = instance.get_func(&mut store, name).unwrap();
            let mut results = [Val::Bool(false)];
            function.call_async(&mut store, &args, &mut results).await.unwrap();
        }
        start.elapsed() / calls
    }

    async fn typed<P, R>(&mut self, name: &str, calls: u32, args: P) -> Duration
    where
        P: ComponentNamedList + Lower + Clone + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function = self.function(name).typed::<P, R>(&self.store).unwrap();
        let start = Instant::now();
        for _ in 0..calls {
            function.call_async(&mut self.store, args.clone()).await.unwrap();
        }
        start.elapsed() / calls
    }

    /// Records have no type here that stands for them.
    async fn by_types(&mut self, name: &str, calls: u32) -> Option<Duration> {
        Some(match name {
            "scalar" => self.typed::<_, (u32,)>(name, calls, (40_u32, 2_u32)).await,
            "text" => self.typed::<_, (String,)>(name, calls, ("a text of some words".to_owned(),)).await,
            "numbers" => self.typed::<_, (Vec<u32>,)>(name, calls, ((1..=1000).collect::<Vec<u32>>(),)).await,
            "bytes" => self.typed::<_, (Vec<u8>,)>(name, calls, (vec![b'x'; 1 << 20],)).await,
            _ => return None,
        })
    }
}

fn store(engine: &Engine) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    store
}

async fn from_lua(loader: &Loader, name: &str, target: &str, calls: u32) -> Duration {
    let args = vec![Data::from(name), Data::from(target), Data::Integer(i64::from(calls))];
    let start = Instant::now();
    loader.call_data("app:driver", args, Context::default()).await.unwrap();
    start.elapsed() / calls
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (built, loader) = open();
    let mut plain = Plain::new(&built).await;
    println!(
        "{:10}{:>14}{:>14}{:>14}{:>16}{:>16}",
        "", "dynamic", "fresh", "typed", "Lua, fresh", "Lua, kept"
    );
    for (name, calls) in FUNCTIONS {
        let mut columns: [Vec<Duration>; 5] = Default::default();
        for _ in 0..ROUNDS {
            columns[0].push(plain.dynamic(name, calls).await);
            columns[1].push(plain.fresh(name, calls).await);
            columns[2].extend(plain.by_types(name, calls).await);
            columns[3].push(from_lua(&loader, name, &format!("app:{name}"), calls).await);
            columns[4].push(from_lua(&loader, name, &format!("app:{name}-kept"), calls).await);
        }
        let medians = columns.map(median);
        let base = medians[0].unwrap_or_default().as_secs_f64();
        print!("{name:10}");
        for median in medians {
            let text = median.map_or_else(
                || "-".to_owned(),
                |time| format!("{:.2} us {:.2}", time.as_secs_f64() * 1e6, time.as_secs_f64() / base),
            );
            print!("{text:>16}");
        }
        println!();
    }
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}
