//! How long after its limit of time a call ends: a guest that computes, one that waits, and Lua.

use std::time::{Duration, Instant};

use loader::{Context, ErrorKind, Loader};

use crate::measure::{Series, print};
use crate::support::Registry;

const ROUNDS: u32 = 41;
const LIMIT: Duration = Duration::from_millis(30);

const SPIN: &str = "(module (func (export \"spin\") (loop (br 0))))";

const LUA: &str = "
- name: loop
  kind: function.lua
  source: return function() while true do end end
";

pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measured());
}

async fn measured() {
    let limit = LIMIT.as_millis();
    let more = format!("wit: \"spin: func()\"\nmethod: spin\nlimits: {{max_execution_ms: {limit}}}");
    let built = Registry::new().wat("spin", SPIN, &more).entries(LUA).build();
    let loader = Loader::open(&built).unwrap();
    let mut all = [Series::new("a loop of a guest"), Series::new("a loop of Lua")];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let error = loader.call("app:spin", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        all[0].add(start.elapsed().saturating_sub(LIMIT), 1);
        let start = Instant::now();
        let deadline = tokio::time::Instant::now() + LIMIT;
        let context = Context::default().with_deadline(Some(deadline));
        let error = loader.call_data("app:loop", Vec::new(), context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        all[1].add(start.elapsed().saturating_sub(LIMIT), 1);
    }
    print(&format!("time beyond a limit of {limit} ms"), &all);
}
