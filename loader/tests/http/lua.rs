//! Lua handlers.

use http_body_util::BodyExt;
use serde_json::json;

use crate::app::{App, lua, registry};

#[tokio::test]
async fn a_request_is_seen_from_all_sides() {
    let source = r#"
assert(req:method() == http.METHOD.POST and req:path() == "/a/7" and req:host() == "test.example")
assert(req:query("x") == "1" and req:query("none") == nil and req:query_params().x == "1,2")
assert(req:header("X-Own") == "yes" and req:header("none") == nil)
assert(req:content_type() == "application/json; charset=utf-8" and req:is_content_type("application/json"))
assert(req:content_length() == 14 and req:has_body() and req:accepts("text/html") and not req:accepts("image/png"))
assert(req:params().id == "7" and req:remote_addr():match("^127%.0%.0%.1:%d+$"))
local body = req:body()
local data, err = req:body_json()
assert(err == nil and data.name == "Ada")
assert(req:body() == body)
res:set_status(201)
res:set_header("X-Answer", "42")
res:write_json({name = data.name, raw = body})
"#;
    let app = App::new(lua(registry("", ""), "f", "POST /a/{id}", source)).await;
    let request = http::Request::post("/a/7?x=1&x=2")
        .header("x-own", "yes")
        .header("accept", "text/*")
        .header("content-type", "application/json; charset=utf-8");
    let answer = app.ask(request, r#"{"name":"Ada"}"#).await;
    let text = answer.text().to_owned();
    assert_eq!(answer.status, 201, "{text} {:?}", app.logged());
    assert_eq!((answer.header("x-answer"), answer.header("content-type")), ("42", "application/json"));
    assert_eq!(answer.json(), json!({"name": "Ada", "raw": "{\"name\":\"Ada\"}"}));
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let source = r#"
local stream, total = req:stream(), 0
while true do
  local chunk, err = stream:read(1000)
  assert(err == nil)
  if not chunk then break end
  assert(#chunk <= 1000)
  total = total + #chunk
end
stream:close()
for i = 1, 3 do
  res:write(total .. ":" .. i .. "\n")
  res:flush()
end
local ok, err = res:set_status(500)
assert(ok == nil and err:kind() == "INVALID" and err:details().type == http.ERROR.INVALID_STATE)
"#;
    let app = App::new(lua(registry("", ""), "f", "POST /", source)).await;
    let answer = app.post("/", &"x".repeat(100_000)).await;
    assert_eq!(answer.short(), (200, "100000:1\n100000:2\n100000:3\n"), "{:?}", app.logged());
    assert_eq!(answer.header("content-length"), "");
}

#[tokio::test]
async fn events_arrive_as_they_are_written() {
    let source = r#"
res:set_transfer(http.TRANSFER.SSE)
res:write_event({name = "connected", data = {id = 1}})
res:write_event("two\nlines")
time = require("time")
time.sleep("1h")
"#;
    let app = App::new(lua(registry("", ""), "f", "GET /", source)).await;
    let mut client = app.client().await;
    let answer = client.start(http::Request::get("/"), "").await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(text, "event: connected\ndata: {\"id\":1}\n\ndata: two\ndata: lines\n\n");
}

#[tokio::test]
async fn forms_have_values_and_files() {
    let source = r#"
local form, err = req:parse_multipart()
if err then
  res:set_status(400)
  return res:write(err:details().type)
end
local file = form.files.doc[1]
res:write_json({form.values.title, file:name(), file:size(), file:header("Content-Type"), file:stream():read(0)})
"#;
    let app = App::new(lua(registry("", ""), "f", "POST /", source)).await;
    let form = "--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHello\r\n--x\r\n\
                Content-Disposition: form-data; name=\"doc\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n\
                content\r\n--x--\r\n";
    let request = || http::Request::post("/").header("content-type", "multipart/form-data; boundary=x");
    let answer = app.ask(request(), form).await;
    assert_eq!(answer.json(), json!(["Hello", "a.txt", 7, "text/plain", "content"]), "{:?}", app.logged());
    assert_eq!(app.ask(request(), "no form").await.short(), (400, "PARSE_FAILED"));
    assert_eq!(app.post("/", "x").await.short(), (400, "PARSE_FAILED"));
}

#[tokio::test]
async fn forms_have_so_many_parts() {
    let source = r#"
local form, err = req:parse_multipart()
if err then
  res:set_status(400)
  return res:write(err:message())
end
res:write(form.values.last)
"#;
    let app = App::new(lua(registry("", ""), "f", "POST /", source)).await;
    let form = |count: usize| {
        let part =
            |name: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nv\r\n");
        (1..count).map(|_| part("p")).chain([part("last")]).collect::<String>() + "--x--\r\n"
    };
    let request = || http::Request::post("/").header("content-type", "multipart/form-data; boundary=x");
    let most = loader::config::HTTP_FORM_PARTS_MAX;
    for _ in 0..2 {
        assert_eq!(app.ask(request(), &form(most)).await.short(), (200, "v"));
        let refused = app.ask(request(), &form(most + 1)).await;
        let message = format!("the form can't be read: it has more than {most} parts");
        assert_eq!(refused.short(), (400, message.as_str()));
    }
}

#[tokio::test]
async fn failures_have_their_status() {
    let registry = registry("limits: {max_body_bytes: 10}\ntimeouts: {write: \"200ms\"}", "");
    let registry = lua(registry, "raise", "GET /raise", "error('secret')");
    let registry = lua(registry, "slow", "GET /slow", "require('time').sleep('1h')");
    let registry = lua(
        registry,
        "read",
        "POST /read",
        "local body, err = req:body()\nif err then error(err) end\nres:write(body)",
    );
    let registry = lua(registry, "late", "GET /late", "res:write('part')\nres:flush()\nerror('late')");
    let app = App::new(registry).await;
    let answer = app.get("/raise").await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    let logged = app.logged();
    assert!(
        logged[0].starts_with("[app:raise_function] request ") && logged[0].contains("secret"),
        "{logged:?}"
    );
    assert!(logged[0].contains(answer.header("x-request-id")));
    assert_eq!(app.get("/slow").await.status, 504);
    assert_eq!(app.post("/read", "0123456789").await.short(), (200, "0123456789"));
    assert_eq!(app.post("/read", "0123456789a").await.status, 413);
    assert!(app.client().await.try_ask(http::Request::get("/late"), "").await.is_err());
    assert_eq!(app.post("/read", "again").await.short(), (200, "again"));
}

#[tokio::test]
async fn without_a_request_there_is_none() {
    let registry = lua(
        registry("", ""),
        "f",
        "GET /",
        "local got, err = require('funcs').call('app:g')\nres:write(tostring(err))",
    );
    let registry = registry.entries(
        "- name: g\n  kind: function.lua\n  modules: [http]\n  source: |\n    local http = require('http')\n    return function() return http.request() end\n",
    );
    let app = App::new(registry).await;
    assert_eq!(app.get("/").await.text(), "this invocation answers no HTTP request");
}
