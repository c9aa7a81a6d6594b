//! WebAssembly handlers.

use crate::app::{App, endpoint, registry};
use crate::support::{ECHO, Registry};

/// Adds the endpoint `NAME` for an export of the echo guest.
fn echo(registry: Registry, route: &str, method: &str, more: &str) -> Registry {
    let name = method.replace('-', "_");
    let registry = registry.guest(&name, ECHO, method, &format!("transport: wasi-http\n{more}"));
    endpoint(registry, &format!("{name}_endpoint"), route, &name)
}

#[tokio::test]
async fn values_come_from_path_query_and_body() {
    let wat = "(module (func (export \"add\") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add) \
               (func (export \"nothing\")) (func (export \"spin\") (loop br 0)))";
    let wit = "add: func(a: s32, b: s32) -> s32; nothing: func(); spin: func();";
    let registry = ["add", "nothing", "spin"].iter().fold(registry("", ""), |registry, name| {
        let limits = if *name == "spin" { "\nlimits: {max_execution_ms: 50}" } else { "" };
        let fields = format!("wit: \"{wit}\"\nmethod: {name}\ntransport: wasi-http{limits}");
        registry.wat(name, wat, &fields)
    });
    let registry = endpoint(registry, "add_query", "GET /add", "add");
    let registry = endpoint(registry, "add_path", "POST /add/{a}", "add");
    let registry = endpoint(registry, "nothing_", "GET /nothing", "nothing");
    let app = App::new(endpoint(registry, "spin_", "GET /spin", "spin")).await;
    let sum = app.get("/add?a=40&b=2").await;
    assert_eq!(
        (sum.short(), sum.header("content-type")),
        ((200, "42"), "application/json"),
        "{:?}",
        app.logged()
    );
    assert_eq!(app.post("/add/40", "{\"b\": 2}").await.short(), (200, "42"));
    assert_eq!(app.post("/add/40?b=3", "").await.short(), (200, "43"));
    for (path, body, expected) in [
        ("/add/40", "", "the parameter `b` is missing, expected s32"),
        ("/add/x", "{}", "a: expected s32, found `x`"),
        ("/add/1", "[1]", "expected the body to be a JSON object"),
        ("/add/1", "{", "the body is no JSON"),
        ("/add/1", "{\"b\": 3000000000}", "b: 3000000000 is out of range of s32"),
    ] {
        let answer = app.post(path, body).await;
        assert_eq!(answer.status, 400);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(app.get("/nothing").await.short(), (204, ""));
    assert_eq!(app.get("/spin").await.status, 504);
    assert_eq!(app.get("/add?a=1&b=2").await.short(), (200, "3"));
}

#[tokio::test]
async fn one_text_is_the_body_or_the_value_of_its_name() {
    let app = App::new(echo(registry("", ""), "POST /text", "echo-string", "")).await;
    let answer = app.post("/text", "hello").await;
    assert_eq!(
        (answer.short(), answer.header("content-type")),
        ((200, "hello"), "text/plain; charset=utf-8"),
        "{:?}",
        app.logged()
    );
    assert_eq!(app.post("/text?v=query", "").await.short(), (200, "query"));
    assert_eq!(app.post("/text", "").await.short(), (200, ""));
}
