//! What it costs Lua to call a component and get its answer, beside wasmtime's own calls of the same function:
//! dynamic and typed, asynchronous, on one instance and on a fresh one for each call.

use std::fmt::Write;
use std::time::{Duration, Instant};

use loader::{Context, Data, Loader, Val};

use crate::measure::{Series, print};
use crate::plain::Plain;
use crate::support::{Built, Registry};

const ROUNDS: u32 = 101;

/// A function of numbers alone needs no memory.
const SCALAR: &str = "(module
  (func (export \"scalar\") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))";

/// Gives back what it gets. What it allocates is free again when the next call begins.
const ECHO: &str = "(module
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

const ECHO_WIT: &str = "record user { id: u32, name: string, active: bool }
text: func(v: string) -> string;
user: func(v: user) -> user;
users: func(v: list<user>) -> list<user>;
numbers: func(v: list<u32>) -> list<u32>;
bytes: func(v: list<u8>) -> list<u8>;
";

/// Makes the arguments of a function, then calls it so often. Without a target it calls a function of a module that
/// does next to nothing.
const DRIVER: &str = "
local funcs = require('funcs')
local actor = require('security').actor
local function user(id) return {id = id, name = 'Ada Lovelace', active = true} end
local function list(count, item)
  local made = {}
  for i = 1, count do made[i] = item(i) end
  return made
end
local arguments = {
  scalar = function() return 40, 2 end,
  text = function() return 'a text of some words' end,
  user = function() return user(7) end,
  users = function() return list(100, user) end,
  numbers = function() return list(1000, function(i) return i end) end,
  bytes = function() return ('0123456789abcdef'):rep(1 << 16) end,
}
return function(name, target, calls)
  if target == '' then
    for _ = 1, calls do actor() end
    return
  end
  local a, b = arguments[name]()
  local call = funcs.call
  for _ = 1, calls do
    local value, err = call(target, a, b)
    if err then error(err) end
  end
end";

/// Names of functions, and calls of a round.
const FUNCTIONS: [(&str, u32); 6] =
    [("scalar", 1_000), ("text", 1_000), ("user", 500), ("users", 20), ("numbers", 50), ("bytes", 8)];

pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measured());
}

fn open() -> (Built, Loader) {
    let indented: String = DRIVER.lines().map(|line| format!("    {line}\n")).collect();
    let mut entries = format!(
        "- name: driver\n  kind: function.lua\n  modules: [funcs, security]\n  source: |\n{indented}"
    );
    for (name, _) in FUNCTIONS {
        let file = if name == "scalar" { "scalar" } else { "echo" };
        for (entry, pool) in [(name.to_owned(), ""), (format!("{name}-kept"), "  pool: {reuse: true}\n")] {
            let source = format!("source: file://{file}.wat\n  wit: file://{file}.wit");
            write!(entries, "- name: {entry}\n  kind: function.wat\n  {source}\n  method: {name}\n{pool}")
                .unwrap();
        }
    }
    let registry = Registry::new().file("scalar.wat", SCALAR).file("echo.wat", ECHO);
    let registry = registry.file("scalar.wit", "scalar: func(a: u32, b: u32) -> u32;");
    let built = registry.file("echo.wit", ECHO_WIT).entries(&entries).build();
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

/// Calls by types; records have none here that stands for them.
async fn typed(plain: &mut Plain, name: &str, calls: u32) -> Option<Duration> {
    Some(match name {
        "scalar" => plain.typed::<_, (u32,)>(name, (40_u32, 2_u32), calls).await,
        "text" => plain.typed::<_, (String,)>(name, ("a text of some words".to_owned(),), calls).await,
        "numbers" => plain.typed::<_, (Vec<u32>,)>(name, ((1..=1000).collect::<Vec<u32>>(),), calls).await,
        "bytes" => plain.typed::<_, (Vec<u8>,)>(name, (vec![b'x'; 1 << 20],), calls).await,
        _ => return None,
    })
}

async fn from_lua(loader: &Loader, name: &str, target: &str, calls: u32) -> Duration {
    let args = vec![Data::from(name), Data::from(target), Data::Integer(i64::from(calls))];
    let start = Instant::now();
    loader.call_data("app:driver", args, Context::default()).await.unwrap();
    start.elapsed()
}

async fn measured() {
    let (built, loader) = open();
    let mut scalar = Plain::new(&built, "scalar").await;
    let mut echo = Plain::new(&built, "text").await;
    for (name, calls) in FUNCTIONS {
        let plain = if name == "scalar" { &mut scalar } else { &mut echo };
        let args = arguments(name);
        let mut all = [
            "wasmtime, dynamic",
            "wasmtime, dynamic, fresh instance",
            "Lua, reused instance",
            "Lua, fresh instance",
            "wasmtime, typed",
        ]
        .map(Series::new);
        // A mebibyte of dynamic values takes a tenth of a second.
        let rounds = if name == "bytes" { ROUNDS / 5 } else { ROUNDS };
        for _ in 0..rounds {
            all[0].add(plain.dynamic(name, &args, calls).await, calls);
            all[1].add(plain.fresh(name, &args, calls).await, calls);
            all[2].add(from_lua(&loader, name, &format!("app:{name}-kept"), calls).await, calls);
            all[3].add(from_lua(&loader, name, &format!("app:{name}"), calls).await, calls);
            if let Some(time) = typed(plain, name, calls).await {
                all[4].add(time, calls);
            }
        }
        let has_types = matches!(name, "scalar" | "text" | "numbers" | "bytes");
        print(name, &all[..if has_types { 5 } else { 4 }]);
    }
    let mut least = [Series::new("a module's function")];
    for _ in 0..ROUNDS {
        least[0].add(from_lua(&loader, "scalar", "", 1_000).await, 1_000);
    }
    print("the least that a call out of Lua costs", &least);
    copies();
}

/// What it costs to copy what the last function gets.
fn copies() {
    let mut series = [Series::new("one copy in memory")];
    let bytes = vec![1_u8; 1 << 20];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let copy = std::hint::black_box(&bytes).clone();
        series[0].add(start.elapsed(), 1);
        drop(std::hint::black_box(copy));
    }
    print("1 MiB", &series);
}
