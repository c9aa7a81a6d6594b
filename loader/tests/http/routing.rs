//! Routes, placeholders, and what is not there.

use crate::app::{App, endpoint, id, lua, registry};
use crate::support::Registry;

#[tokio::test]
async fn routes_methods_and_what_is_missing() {
    let registry = registry("", "prefix: /api");
    let registry =
        lua(registry, "show", "GET /users/{id}", "res:write(req:param('id') .. ' ' .. req:path())");
    let registry = lua(registry, "put", "PUT /users/:id", "res:set_status(http.STATUS.NO_CONTENT)");
    let registry = lua(registry, "files", "GET /files/{path...}", "res:write(req:path())");
    let app = App::new(registry).await;
    let mut client = app.client().await;
    let mut get = async |path: &str| client.ask(http::Request::get(path), "").await;
    assert_eq!(get("/api/users/a%20b").await.short(), (200, "a b /api/users/a%20b"));
    assert_eq!(get("/api/files/a/b").await.short(), (200, "/api/files/a/b"));
    let missing = get("/api/nothing").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["error"]["kind"], "NOT_FOUND");
    assert_eq!(missing.json()["error"]["request_id"], missing.header("x-request-id"));
    assert_eq!(get("/elsewhere").await.status, 404);
    assert_eq!(get("/api/users/%zz").await.status, 400);
    let mut client = app.client().await;
    let wrong = client.ask(http::Request::post("/api/users/7"), "").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET, HEAD, PUT"));
    assert_eq!(client.ask(http::Request::put("/api/users/7"), "").await.short(), (204, ""));
    let head = client.ask(http::Request::head("/api/users/7").header("x-request-id", "mine"), "").await;
    assert_eq!((head.status, head.header("x-request-id"), head.text()), (200, "mine", ""));
}

#[tokio::test]
async fn a_missing_placeholder_names_entry_field_and_variable() {
    let built = Registry::new()
        .entries("- name: web\n  kind: http.service\n  addr: \"${env:PORT_OF_NOBODY}\"\n")
        .build();
    let loader = loader::Loader::open(&built).unwrap();
    let error = loader::http::Site::new(&loader, &id()).err().unwrap();
    let message = error.message();
    assert!(message.contains("`app:web`: `addr`: variable `PORT_OF_NOBODY` is not set"), "{message}");
}

#[tokio::test]
async fn what_is_not_offered_answers_503_and_says_why() {
    let registry = registry("", "prefix: /api\nmiddleware: [cors, sendfile]");
    let registry = lua(registry, "hello", "GET /", "res:write('hello')");
    let registry = registry.entries(
        "- name: open\n  kind: http.router\n  meta: {server: web}\n  prefix: /open\n  options: {cors.unknown: \"1\"}\n",
    );
    let app = App::new(endpoint(registry, "gone", "GET /gone", "hello_function")).await;
    let answer = app.get("/api").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, ""));
    assert_eq!(answer.json()["error"]["kind"], "UNAVAILABLE");
    let logged = app.logged();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("[app:api] this router answers 503: ") && logged[0].contains("sendfile"));
    assert_eq!(app.get("/open/x").await.status, 404);
}
