//! What becomes of the parameters and results of ordinary exports, and of calls that get no slot.

use loader::Context;
use serde_json::json;

use crate::app::{App, endpoint, registry};
use crate::support::Registry;

/// A module that keeps what it returns in its memory: `data` are strings of WAT at their addresses, `functions`
/// return addresses.
fn module(data: &[(u32, &str)], functions: &str) -> String {
    let data: String =
        data.iter().map(|(at, text)| format!("(data (i32.const {at}) \"{text}\")\n")).collect();
    format!(
        "(module (memory (export \"memory\") 1) (global $free (mut i32) (i32.const 4096))\n\
         (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)\n\
         (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))\n\
         (global.get $free) (global.set $free (i32.add (global.get $free) (local.get 3))))\n{data}{functions})"
    )
}

/// Adds the endpoint `METHOD /NAME` for the export `name` of `module`.
fn export(registry: Registry, name: &str, method: &str, wit: &str, module: &str) -> Registry {
    let fields = format!("wit: |\n  {wit}\nmethod: {name}\ntransport: wasi-http");
    let function = name.replace('-', "_");
    let registry = registry.wat(&function, module, &fields);
    endpoint(registry, &format!("{function}_endpoint"), &format!("{method} /{name}"), &function)
}

fn returning(address: u32, name: &str) -> String {
    format!("(func (export \"{name}\") (result i32) i32.const {address})")
}

#[tokio::test]
async fn errors_of_a_guest_have_the_status_that_they_name() {
    let mut app = registry("", "");
    // A result whose error is a record of a number and a text.
    for (name, field, number) in [
        ("teapot", "code", "\\a2\\01\\00\\00"),
        ("missing", "status", "\\94\\01\\00\\00"),
        ("fine", "status", "\\c8\\00\\00\\00"),
        ("beyond", "code", "\\58\\02\\00\\00"),
        ("other", "number", "\\94\\01\\00\\00"),
    ] {
        let error = format!("\\01\\00\\00\\00{number}\\40\\00\\00\\00\\05\\00\\00\\00");
        let module = module(&[(0, &error), (64, "short")], &returning(0, name));
        let wit = format!(
            "record problem {{ {field}: u32, text: string }} {name}: func() -> result<string, problem>;"
        );
        app = export(app, name, "GET", &wit, &module);
    }
    let text = module(
        &[(0, "\\01\\00\\00\\00\\40\\00\\00\\00\\05\\00\\00\\00"), (64, "short")],
        &returning(0, "text"),
    );
    app = export(app, "text", "GET", "text: func() -> result<_, string>;", &text);
    let unit = module(&[], "(func (export \"unit\") (result i32) i32.const 1)");
    app = export(app, "unit", "GET", "unit: func() -> result;", &unit);
    let done = module(&[], "(func (export \"done\") (result i32) i32.const 0)");
    app = export(app, "done", "GET", "done: func() -> result;", &done);
    let app = App::new(app).await;
    for (path, status, error) in [
        ("/teapot", 418, json!({"code": 418, "text": "short"})),
        ("/missing", 404, json!({"status": 404, "text": "short"})),
        ("/fine", 500, json!({"status": 200, "text": "short"})),
        ("/beyond", 500, json!({"code": 600, "text": "short"})),
        ("/other", 500, json!({"number": 404, "text": "short"})),
        ("/text", 500, json!("short")),
        ("/unit", 500, json!(null)),
    ] {
        let answer = app.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/json"), "{path}");
        assert_eq!(answer.json(), json!({"error": error}), "{path}");
    }
    assert_eq!(app.get("/done").await.short(), (204, ""));
    // Errors of a guest are answers like any other: the log says nothing.
    assert_eq!(app.logged(), Vec::<String>::new());
}

#[tokio::test]
async fn a_record_may_be_the_response() {
    let wit = "record response { status: u16, headers: list<tuple<string, string>>, body: option<string> } \
               NAME: func() -> response;";
    // `x-own: yes`, and a type of its own.
    let pairs = "\\80\\00\\00\\00\\05\\00\\00\\00\\88\\00\\00\\00\\03\\00\\00\\00\
                 \\90\\00\\00\\00\\0c\\00\\00\\00\\a0\\00\\00\\00\\08\\00\\00\\00";
    let texts =
        [(64, pairs), (128, "x-own"), (136, "yes"), (144, "content-type"), (160, "text/css"), (176, "a {}")];
    let response = |status: &str, body: &str| {
        format!("{status}\\00\\00\\40\\00\\00\\00\\02\\00\\00\\00{body}\\b0\\00\\00\\00\\04\\00\\00\\00")
    };
    let mut app = registry("", "");
    for (name, status, body) in [
        ("created", "\\c9\\00", "\\01\\00\\00\\00"),
        ("empty", "\\cc\\00", "\\01\\00\\00\\00"),
        ("bare", "\\a2\\01", "\\00\\00\\00\\00"),
        ("wrong", "\\07\\00", "\\00\\00\\00\\00"),
    ] {
        let response = response(status, body);
        let data: Vec<_> = [(0, response.as_str())].into_iter().chain(texts).collect();
        app = export(app, name, "GET", &wit.replace("NAME", name), &module(&data, &returning(0, name)));
    }
    let app = App::new(app).await;
    for (path, status, body) in [("/created", 201, "a {}"), ("/empty", 204, ""), ("/bare", 418, "")] {
        let answer = app.get(path).await;
        assert_eq!(answer.short(), (status, body), "{path} {:?}", app.logged());
        assert_eq!((answer.header("x-own"), answer.header("content-type")), ("yes", "text/css"), "{path}");
    }
    assert_eq!(app.get("/wrong").await.status, 500);
    let logged = app.logged().join("\n");
    assert!(logged.contains("returned what is no answer: the status 7 is none of an answer"), "{logged}");
}

#[tokio::test]
async fn a_record_may_be_the_request() {
    let wit = "record request { method: string, path: string, query: string, headers: list<tuple<string, string>>, \
               body: list<u8> } NAME: func(request: request) -> list<u8>;";
    let mut app = registry("", "");
    // Each returns one field, whose address and length are two of ten parameters.
    for (name, first) in [("method", 0), ("path", 2), ("query", 4), ("body", 8)] {
        let function = format!(
            "(func (export \"{name}\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)\n\
             (i32.store (i32.const 1024) (local.get {first})) (i32.store (i32.const 1028) (local.get {}))\n\
             i32.const 1024)",
            first + 1
        );
        app = export(app, name, "PUT", &wit.replace("NAME", name), &module(&[], &function));
    }
    let app = App::new(app).await;
    for (path, expected) in [
        ("/method?a=b%20c", "PUT"),
        ("/path?a=b%20c", "/path"),
        ("/query?a=b%20c", "a=b%20c"),
        ("/body?a=b%20c", "{\"x\": 1}"),
    ] {
        let answer = app.ask(http::Request::put(path), "{\"x\": 1}").await;
        assert_eq!(answer.short(), (200, expected), "{path} {:?}", app.logged());
        assert_eq!(answer.header("content-type"), "application/octet-stream");
    }
}

#[tokio::test]
async fn who_gets_no_slot_in_time_may_come_again() {
    let source = "- name: busy\n  kind: function.lua\n  pool: {type: static, workers: 1}\n  modules: [http, time]\n  \
                  source: |\n    return function()\n      local response = require('http').response()\n      \
                  if not response then require('time').sleep('1h') end\n      response:write('free')\n    end\n";
    let registry = registry("timeouts: {write: \"50ms\"}", "").entries(source);
    let app = App::new(endpoint(registry, "busy_endpoint", "GET /", "busy")).await;
    assert_eq!(app.get("/").await.short(), (200, "free"));
    let loader = app.loader.clone();
    let held =
        tokio::spawn(async move { loader.call_data("app:busy", Vec::new(), Context::default()).await });
    while app.loader.pools().iter().all(|pool| pool.busy == 0) {
        tokio::task::yield_now().await;
    }
    let answer = app.get("/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{:?}", app.logged());
    assert_eq!(answer.json()["error"]["kind"], "UNAVAILABLE");
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    assert_eq!(app.get("/").await.short(), (200, "free"));
}
