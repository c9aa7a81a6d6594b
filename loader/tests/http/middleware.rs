//! Middleware and the security context of requests.

use loader::{Data, security::Actor};

use crate::app::{App, endpoint, lua, registry};

const POLICIES: &str = "- name: reads\n  kind: security.policy\n  policy: {actions: [access], resources: [\"app:*\"], effect: allow}\n\
    - name: none\n  kind: security.policy\n  policy: {actions: [other], resources: [\"*\"], effect: allow}\n\
    - name: memory\n  kind: store.memory\n- name: tokens\n  kind: security.token_store\n  store: memory\n";

const WHO: &str = "local actor = require('security').actor()\nres:write(actor and actor:id() or 'nobody')";

/// A token for `actor` with the policy `app:POLICY`.
fn token(app: &App, actor: &str, policy: &str) -> String {
    let policy = app.loader.policy(&format!("app:{policy}").parse().unwrap()).unwrap();
    let actor = Actor::new(actor, Data::Nil).unwrap();
    let store = app.loader.token_store(&"app:tokens".parse().unwrap()).unwrap();
    let scope = std::iter::once(policy).collect();
    store.create(actor.into(), std::sync::Arc::new(scope), None, Data::Nil).unwrap()
}

fn bearer(path: &str, token: &str) -> http::request::Builder {
    http::Request::get(path).header("authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn the_service_speaks_until_a_token_does() {
    let service = "lifecycle: {security: {actor: {id: gateway}, policies: [\"app:reads\"]}}";
    let router = "middleware: [token_auth]\noptions: {token_auth.store: tokens}";
    let registry = registry(service, router).entries(POLICIES);
    let app = App::new(lua(registry, "who", "GET /", WHO)).await;
    assert_eq!(app.get("/").await.text(), "gateway");
    let good = token(&app, "ada", "reads");
    assert_eq!(app.ask(bearer("/", &good), "").await.text(), "ada");
    assert_eq!(app.get(&format!("/?x-auth-token={good}")).await.text(), "ada");
    let cookie = http::Request::get("/").header("cookie", format!("x-auth-token={good}"));
    assert_eq!(app.ask(cookie, "").await.text(), "ada");
    assert_eq!(app.ask(bearer("/", "forged"), "").await.text(), "gateway");
}

#[tokio::test]
async fn what_handlers_call_inherits_the_caller() {
    let router = "middleware: [token_auth]\noptions: {token_auth.store: tokens}";
    let registry = registry("", router).entries(POLICIES);
    let registry = lua(
        registry,
        "outer",
        "GET /",
        "local who, err = require('funcs').call('app:inner')\nres:write(who or err:kind())",
    );
    let registry = registry.entries(
        "- name: inner\n  kind: function.lua\n  modules: [security]\n  source: |\n    return function() return require('security').actor():id() end\n\
         - name: calls\n  kind: security.policy\n  policy: {actions: [funcs.call], resources: [\"*\"], effect: allow}\n",
    );
    let app = App::new(registry).await;
    assert_eq!(app.ask(bearer("/", &token(&app, "ada", "calls")), "").await.text(), "ada");
    assert_eq!(app.ask(bearer("/", &token(&app, "eve", "reads")), "").await.text(), "PERMISSION_DENIED");
}

#[tokio::test]
async fn firewalls_refuse_strangers_and_who_may_not() {
    let router = "middleware: [token_auth]\noptions: {token_auth_store: \"app:tokens\"}\npost_middleware: [endpoint_firewall]";
    let service = "lifecycle: {security: {actor: {id: gateway}, policies: [\"app:reads\"]}}";
    let registry = registry(service, router).entries(POLICIES);
    let app = App::new(lua(registry, "who", "GET /", WHO)).await;
    assert_eq!(app.get("/").await.status, 401);
    assert_eq!(app.get("/nowhere").await.status, 404);
    assert_eq!(app.ask(bearer("/", &token(&app, "ada", "reads")), "").await.short(), (200, "ada"));
    assert_eq!(app.ask(bearer("/", &token(&app, "eve", "none")), "").await.status, 403);
    assert!(app.logged().iter().any(|line| line.contains("actor `eve` may not `access` on `app:who`")));
}

#[tokio::test]
async fn a_resource_is_protected_by_name() {
    let router = "middleware: [token_auth]\noptions: {token_auth.store: tokens}\n\
                  post_middleware: [resource_firewall]\npost_options: {resource_firewall.target: panel}";
    let registry = registry("", router).entries(POLICIES);
    let app = App::new(lua(registry, "who", "GET /", WHO)).await;
    assert_eq!(app.ask(bearer("/", &token(&app, "ada", "reads")), "").await.status, 200);
    assert_eq!(app.ask(bearer("/", &token(&app, "eve", "none")), "").await.status, 403);
}

#[tokio::test]
async fn cors_compression_and_rates_work_together() {
    let router = "middleware: [real_ip, cors, compress, ratelimit]\noptions:\n  cors.allow.origins: \"https://a.example\"\n  \
                  ratelimit_burst: \"2\"\n  compress.min.length: \"10\"";
    let app = App::new(lua(registry("", router), "f", "GET /", "res:write(('x'):rep(1000))")).await;
    let from = |ip: &str| {
        let request = http::Request::get("/").header("origin", "https://a.example");
        request.header("accept-encoding", "gzip").header("x-real-ip", ip)
    };
    let answer = app.ask(from("203.0.113.1"), "").await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
    assert!(answer.bytes.len() < 100);
    assert_eq!(answer.header("access-control-allow-origin"), "https://a.example");
    assert_eq!(app.ask(from("203.0.113.1"), "").await.status, 200);
    let refused = app.ask(from("203.0.113.1"), "").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-limit")), (429, "100"));
    assert_eq!(refused.header("access-control-allow-origin"), "https://a.example");
    assert_eq!(app.ask(from("203.0.113.2"), "").await.status, 200);
    let preflight = http::Request::options("/").header("origin", "https://a.example");
    let preflight =
        preflight.header("access-control-request-method", "GET").header("x-real-ip", "203.0.113.1");
    assert_eq!(app.ask(preflight, "").await.status, 204);
}

#[tokio::test]
async fn a_router_whose_store_is_not_there_is_closed() {
    let router = "middleware: [token_auth]\noptions: {token_auth.store: \"app:elsewhere\"}";
    let registry = lua(registry("", router), "f", "GET /", "res:write('open')");
    let app = App::new(endpoint(registry, "g", "GET /g", "f_function")).await;
    assert_eq!(app.get("/").await.status, 503);
    assert!(app.logged()[0].contains("there is no token store `app:elsewhere`"));
}
