//! What is seen of calls that go from language to language.

use loader::{Context, Data, ErrorKind, Trace};

use crate::calls::chains;
use crate::guests::{Door, trampoline};
use crate::shared::{App, lua, process};
use crate::support::Registry;

fn app() -> App {
    let add = "(module (func (export \"add\") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1))))";
    let registry = Registry::new().wat("add", add, "wit: \"add: func(a: s32, b: s32) -> s32\"\nmethod: add");
    let inner = r#"
        local funcs = require("funcs")
        return function(x) return funcs.call("app:add", x, 1) end"#;
    let registry = lua(registry, "inner", inner, "modules: [funcs]");
    let outer = r#"
        local funcs = require("funcs")
        return function()
            local first = funcs.call("app:inner", 1)
            funcs.call("app:add", 1, "no number")
            funcs.call("app:add", first, 1)
            funcs.call("app:fails")
            return first
        end"#;
    let registry = lua(registry, "outer", outer, "modules: [funcs]");
    App::new(lua(
        registry,
        "fails",
        "return function() return nil, errors.new({kind = 'NOT_FOUND', message = 'gone'}) end",
        "",
    ))
}

/// The lines of a tree without times: a name ends where its time begins.
fn names(tree: &str) -> Vec<String> {
    let name = |line: &str| {
        let end = line.find("app:").unwrap();
        line[..end].to_owned() + line[end..].split(' ').next().unwrap()
    };
    tree.lines().map(name).collect()
}

#[tokio::test]
async fn one_span_per_call_across_every_border() {
    let app = app();
    let trace = Trace::default();
    app.loader.call_data("app:outer", Vec::new(), Context::default().with_trace(&trace)).await.unwrap();
    let tree = trace.tree();
    assert_eq!(
        names(&tree),
        ["app:outer", "├─ app:inner", "│  └─ app:add", "├─ app:add", "└─ app:fails"],
        "{tree}"
    );
    assert!(tree.lines().last().unwrap().ends_with("NOT_FOUND: gone"), "{tree}");
}

/// Guests of both engines and of a worker class call Lua, which calls the next of them.
#[tokio::test]
async fn one_span_per_call_of_every_pair_of_engines() {
    let classed = "method: call\nimports: [funcs]\npool: {worker_class: heavy, workers: 1}";
    let app = App::new(chains().wat("classed", &trampoline(Door::String, ""), classed));
    for first in ["sync", "async", "classed"] {
        for second in ["sync", "async", "classed"] {
            // A class of one thread has one call at a time.
            if first == "classed" && second == "classed" {
                continue;
            }
            let way = format!("app:{first} app:hop app:{second} app:last !");
            let trace = Trace::default();
            let context = Context::default().with_trace(&trace);
            app.loader.call_data("app:hop", vec![Data::from(way)], context).await.unwrap();
            let tree = trace.tree();
            let expected = [
                "app:hop".to_owned(),
                format!("└─ app:{first}"),
                "   └─ app:hop".to_owned(),
                format!("      └─ app:{second}"),
                "         └─ app:last".to_owned(),
            ];
            assert_eq!(names(&tree), expected, "{tree}");
        }
    }
}

/// A process is a span of its own below what spawned it, and what it calls is below it.
#[tokio::test]
async fn one_span_per_process_and_per_call_of_it() {
    let registry = chains().entries("- {name: host, kind: process.host}\n");
    let worker = r#"
        local funcs = require("funcs")
        return function() return funcs.call("app:sync", "app:last", "!") end"#;
    let registry = process(registry, "worker", worker, "modules: [funcs]");
    let outer = r#"
        return function()
            local events = process.events()
            process.spawn_monitored("app:worker", "app:host")
            return events:receive().result.value
        end"#;
    let app = App::new(lua(registry, "outer", outer, ""));
    let trace = Trace::default();
    let context = Context::default().with_trace(&trace);
    let value = app.loader.call_data("app:outer", Vec::new(), context).await.unwrap();
    assert_eq!(value, Data::from("last!"));
    let tree = trace.tree();
    let expected = ["app:outer", "└─ process app:worker", "   └─ app:sync", "      └─ app:last"];
    assert_eq!(names(&tree), expected, "{tree}");
}

#[tokio::test]
async fn every_call_is_counted_once() {
    let app = app();
    app.loader.call_data("app:outer", Vec::new(), Context::default()).await.unwrap();
    let error = app.loader.call_data("app:fails", Vec::new(), Context::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let metrics = app.loader.metrics();
    for line in [
        "wippy_calls_total{entry=\"app:add\",outcome=\"ok\"} 2",
        "wippy_calls_total{entry=\"app:fails\",outcome=\"NOT_FOUND\"} 2",
        "wippy_calls_total{entry=\"app:inner\",outcome=\"ok\"} 1",
        "wippy_calls_total{entry=\"app:outer\",outcome=\"ok\"} 1",
        "wippy_calls_running{entry=\"app:add\"} 0",
        "wippy_pool_slots_busy{entry=\"app:add\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}
