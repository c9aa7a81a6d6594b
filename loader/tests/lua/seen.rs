//! What is seen of calls that go from language to language.

use loader::{Context, ErrorKind, Trace};

use crate::shared::{App, lua};
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

#[tokio::test]
async fn one_span_per_call_across_every_border() {
    let app = app();
    let trace = Trace::default();
    app.loader.call_data("app:outer", Vec::new(), Context::default().with_trace(&trace)).await.unwrap();
    let tree = trace.tree();
    // A name ends where its time begins.
    let name = |line: &str| {
        let end = line.find("app:").unwrap();
        line[..end].to_owned() + line[end..].split(' ').next().unwrap()
    };
    let names: Vec<String> = tree.lines().map(name).collect();
    assert_eq!(names, ["app:outer", "├─ app:inner", "│  └─ app:add", "├─ app:add", "└─ app:fails"], "{tree}");
    assert!(tree.lines().last().unwrap().ends_with("NOT_FOUND: gone"), "{tree}");
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
