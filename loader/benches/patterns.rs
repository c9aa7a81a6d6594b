//! Functions of `string` that search by patterns, beside those of Lua's own library on the same texts.

use std::time::Instant;

use loader::{Context, Data, Loader};
use mlua::{Function, HookTriggers, Lua, VmState};

use crate::measure::{Series, print};
use crate::support::Registry;

const ROUNDS: u32 = 101;
const CALLS: u32 = 20;

/// Runs a function of the library on a text of 30 kB so often.
const SOURCE: &str = r#"
local line = "2024-05-17T10:11:12Z level=info user=ada.lovelace@example.com path=/users/42 took=0.25ms\n"
local text, short = line:rep(340), line
local run = {
  ["find a class"] = function() return text:find("%u%u%u") end,
  ["find behind a repetition"] = function() return text:find("[%w%.]+@nowhere") end,
  ["match the start of a line"] = function()
    for _ = 1, 300 do short:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+)") end
  end,
  ["match key and value"] = function() for _ = 1, 300 do short:match("user=([^ ]+)") end end,
  ["gmatch words"] = function() for word in text:gmatch("%a+") do end end,
  ["gmatch pairs"] = function() for key, value in text:gmatch("(%w+)=(%S+)") do end end,
  ["gsub by a text"] = function() return text:gsub("%d+", "N") end,
  ["gsub by a table"] = function() return text:gsub("%a+", {level = "LEVEL"}) end,
  ["gsub by a function"] = function() return text:gsub("%a+", function(word) return word end) end,
  ["trim"] = function() for _ = 1, 300 do short:match("^%s*(.-)%s*$") end end,
  -- About as long as may be left to Lua's own library.
  ["fail late"] = function() return ("x"):rep(500):find("x-y") end,
  ["fail late in captures"] = function() return ("x"):rep(90):find("(x-)x-()()()y") end,
}
return function(name, calls) for _ = 1, calls do run[name]() end end"#;

const NAMES: [&str; 12] = [
    "find a class",
    "find behind a repetition",
    "match the start of a line",
    "match key and value",
    "gmatch words",
    "gmatch pairs",
    "gsub by a text",
    "gsub by a table",
    "gsub by a function",
    "trim",
    "fail late",
    "fail late in captures",
];

pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measured());
}

async fn measured() {
    let indented: String = SOURCE.lines().map(|line| format!("    {line}\n")).collect();
    let built =
        Registry::new().entries(&format!("- name: f\n  kind: function.lua\n  source: |\n{indented}")).build();
    let loader = Loader::open(&built).unwrap();
    let lua = Lua::new();
    // As the loader's states have one: it is paid for by what is Lua, not by the library.
    let turn = HookTriggers::new().every_nth_instruction(20_000);
    lua.set_global_hook(turn, |_, _| Ok(VmState::Continue)).unwrap();
    let plain: Function = lua.load(SOURCE).eval().unwrap();
    for name in NAMES {
        let mut all = [Series::new("Lua's own library"), Series::new("ours")];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            plain.call::<()>((name, CALLS)).unwrap();
            all[0].add(start.elapsed(), CALLS);
            let start = Instant::now();
            let args = vec![Data::from(name), Data::Integer(i64::from(CALLS))];
            loader.call_data("app:f", args, Context::default()).await.unwrap();
            all[1].add(start.elapsed(), CALLS);
        }
        print(name, &all);
    }
}
