//! Lua's `http_client`: every documented function, option and error, against servers of the loopback interface.

mod limits;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use loader::{Context, Data, Loader, config};

use crate::server::{Encryption, Server, certificate, echo};
use crate::shared::{open, policy, with_policies};
use crate::support::{Built, Registry};

/// A registry with the function `app:f`, whose body is `source`, with the arguments `url` and `more`.
fn with(registry: Registry, source: &str) -> Registry {
    let indented: String = source.trim_matches('\n').lines().map(|line| format!("      {line}\n")).collect();
    registry.entries(&format!(
        "- name: f\n  kind: function.lua\n  modules: [http_client, errors, fs, json]\n  source: |\n    \
         local http_client, errors, fs = require('http_client'), require('errors'), require('fs')\n    \
         return function(url, more)\n{indented}    end\n"
    ))
}

/// Everything that the tests allow themselves.
fn allowing(registry: Registry) -> Registry {
    let actions = "[http_client.request, http_client.private_ip, http_client.unix_socket, \
                   http_client.insecure_tls, fs.get]";
    registry.entries(&policy("all", actions, "\"*\""))
}

struct App {
    built: Built,
    loader: Loader,
}

impl App {
    fn of(source: &str) -> Self {
        let built = with(allowing(Registry::new()), source).build();
        let loader = open(&built);
        Self { built, loader }
    }

    async fn run(&self, url: &str) -> Data {
        self.run_with(url, Data::Nil, with_policies(&self.loader, &["all"])).await
    }

    async fn run_with(&self, url: &str, more: Data, context: Context) -> Data {
        self.loader.call_data("app:f", vec![Data::from(url), more], context).await.unwrap()
    }
}

/// Runs `source` with `url`; it must return true.
async fn holds(url: &str, source: &str) {
    assert_eq!(App::of(source).run(url).await, Data::Bool(true), "{source}");
}

/// Says everything of a request.
#[allow(clippy::needless_pass_by_value, reason = "the type of an answer")]
fn describe(request: Request<Bytes>) -> Response<Full<Bytes>> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    }
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(request.body()));
    let mut response = Response::new(Full::from(text));
    let headers = response.headers_mut();
    headers.append("set-cookie", HeaderValue::from_static("a=1; Path=/; HttpOnly"));
    headers.append("set-cookie", HeaderValue::from_static("b=\"two\""));
    headers.insert(HeaderName::from_static("x-own-header"), HeaderValue::from_static("yes"));
    response
}

async fn describing() -> (Server, String) {
    let server = Server::start(Encryption::Plain, describe).await;
    let url = format!("http://127.0.0.1:{}", server.port());
    (server, url)
}

#[tokio::test]
async fn methods_headers_and_responses() {
    let (_server, url) = describing().await;
    holds(
        &url,
        r#"
        for _, name in ipairs({"get", "post", "put", "patch", "delete"}) do
          local resp, err = http_client[name](url .. "/p?q=1#part", {headers = {["X-Asked"] = "thing"}})
          assert(not err, err)
          assert(resp.status_code == 200 and resp.url == url .. "/p?q=1")
          assert(resp.body:find(name:upper() .. " /p?q=1\n", 1, true) == 1, resp.body)
          assert(resp.body:find("x-asked: thing\n", 1, true))
          assert(resp.body_size == #resp.body)
          assert(resp.headers["X-Own-Header"] == "yes" and resp.headers["Content-Length"] == tostring(#resp.body))
          assert(resp.cookies.a == "1" and resp.cookies.b == "two")
        end
        local resp = assert(http_client.head(url))
        assert(resp.status_code == 200 and resp.body == "" and resp.body_size == 0)
        assert(tonumber(resp.headers["Content-Length"]) > 0)
        resp = assert(http_client.request("PROPFIND", url, {headers = {Depth = "1"}}))
        assert(resp.body:find("PROPFIND /\n", 1, true) == 1 and resp.body:find("depth: 1\n", 1, true))
        return true"#,
    )
    .await;
}

#[tokio::test]
async fn queries_bodies_forms_cookies_and_users() {
    let (_server, url) = describing().await;
    holds(
        &url,
        r#"
        local function asked(options, method)
          return assert(http_client.request(method or "POST", url .. "/p", options)).body
        end
        local function has(text, part) assert(text:find(part, 1, true), part .. " is not in\n" .. text) end
        has(asked({query = {q = "lua programming", page = 1, all = {"a&b", "c"}}}), "POST /p?all=a%26b&all=c&page=1&q=lua+programming\n")
        has(assert(http_client.get(url .. "?x=1", {query = {y = "2"}})).body, "GET /?x=1&y=2\n")
        has(asked({body = "the body"}), "\n\nthe body")
        has(asked({body = "x"}), "content-length: 1\n")
        local form = asked({form = {b = "2 3", a = "ü"}})
        has(form, "content-type: application/x-www-form-urlencoded\n")
        has(form, "\n\na=%C3%BC&b=2+3")
        has(asked({cookies = {one = "1", two = "2"}}), "cookie: one=1; two=2\n")
        has(asked({headers = {Cookie = "own=0"}, cookies = {one = "1"}}), "cookie: own=0; one=1\n")
        has(asked({}), "user-agent: wippy-loader/")
        local named = asked({headers = {["User-Agent"] = "mine/1"}})
        has(named, "user-agent: mine/1\n")
        assert(not named:find("wippy-loader", 1, true))
        has(asked({auth = {user = "admin", pass = "secret"}}), "authorization: Basic YWRtaW46c2VjcmV0\n")
        local files = asked({form = {title = "Doc"}, files = {
          {name = "attachment", filename = "report.pdf", content = "data", content_type = "application/pdf"}}})
        has(files, "content-type: multipart/form-data; boundary=")
        has(files, 'Content-Disposition: form-data; name="title"\r\n\r\nDoc\r\n')
        has(files, 'name="attachment"; filename="report.pdf"\r\nContent-Type: application/octet-stream\r\n\r\ndata\r\n')
        -- What says how a message is sent is not the caller's.
        local own = asked({headers = {Host = "other", ["Transfer-Encoding"] = "chunked", Connection = "close"}, body = "x"})
        assert(not own:find("other", 1, true) and not own:find("chunked", 1, true))
        return true"#,
    )
    .await;
}

#[tokio::test]
async fn files_and_streams_are_read_for_a_form() {
    let (_server, url) = describing().await;
    let registry = allowing(Registry::new())
        .entries("- name: data\n  kind: fs.directory\n  directory: data\n")
        .file("data/report", "from a file");
    let source = r#"
        local file = assert(assert(fs.get("app:data")):open("report", "r"))
        local resp, err = http_client.post(url, {files = {{name = "f", reader = file}}})
        assert(not err, err)
        assert(resp.body:find("from a file", 1, true), resp.body)
        local first = assert(http_client.get(url .. "/inner", {stream = true}))
        resp = assert(http_client.post(url, {files = {{name = "f", reader = first.stream}}}))
        assert(resp.body:find("GET /inner", 1, true), resp.body)
        return true"#;
    let built = with(registry, source).build();
    let app = App { loader: open(&built), built };
    assert_eq!(app.run(&url).await, Data::Bool(true));
}

#[tokio::test]
async fn wrong_arguments_are_answered() {
    holds(
        "http://127.0.0.1:1",
        r#"
        local function refused(part, ...)
          local resp, err = http_client.request(...)
          assert(resp == nil and err:kind() == errors.INVALID and not err:retryable(), tostring(err))
          assert(err:message():find(part, 1, true), err:message())
        end
        refused("`method` must be a string", nil, url)
        refused("is no method", "G ET", url)
        refused("`CONNECT` is not offered", "CONNECT", url)
        refused("`url` must be a string", "GET", 7)
        refused("can't be read", "GET", "127.0.0.1/x")
        refused("no scheme", "GET", "/x")
        refused("neither `http` nor `https`", "GET", "ftp://h/")
        refused("has a user", "GET", "http://a:b@h/")
        refused("`options` must be a table", "GET", url, "x")
        refused("`headers` must be a table", "GET", url, {headers = "x"})
        refused("is no header", "GET", url, {headers = {["a b"] = "x"}})
        refused("characters that none may have", "GET", url, {headers = {A = "x\r\nB: y"}})
        refused("characters that none may have", "GET", url, {cookies = {a = "x\ny"}})
        refused("`body` must be a string", "GET", url, {body = {}})
        refused("either `body` or `form`", "POST", url, {body = "x", form = {a = "b"}})
        refused("`auth` needs `user`", "GET", url, {auth = {}})
        refused("unknown unit", "GET", url, {timeout = "5 parsecs"})
        refused("`timeout`", "GET", url, {timeout = {}})
        refused("out of range", "GET", url, {timeout = -1})
        refused("`stream` must be a boolean", "GET", url, {stream = 1})
        refused("`max_response_body`", "GET", url, {max_response_body = "x"})
        refused("`cert` and `key`", "GET", url, {tls = {cert = "x"}})
        refused("`ca`", "GET", url, {tls = {ca = "no certificate"}})
        refused("a file needs `name`", "POST", url, {files = {{content = "x"}}})
        refused("`content` or `reader`", "POST", url, {files = {{name = "x"}}})
        refused("neither a file nor a stream", "POST", url, {files = {{name = "x", reader = errors.new("x")}}})
        local resp, err = http_client.get(url, {overlay_network = "app:tor"})
        assert(resp == nil and err:kind() == errors.UNAVAILABLE)
        return true"#,
    )
    .await;
}

#[tokio::test]
async fn texts_of_urls() {
    holds(
        "",
        r#"
        assert(http_client.encode_uri("hello world") == "hello+world")
        assert(http_client.decode_uri("hello+world") == "hello world")
        assert(http_client.decode_uri(http_client.encode_uri("ü/?&=%\0")) == "ü/?&=%\0")
        local text, err = http_client.decode_uri("%zz")
        assert(text == nil and err:kind() == errors.INVALID)
        assert(not pcall(http_client.encode_uri, {}))
        return true"#,
    )
    .await;
}

/// Without an actor, with one whose scope says nothing, and where each action is missing.
#[tokio::test]
async fn what_is_not_public_and_what_is_not_allowed() {
    let server = Server::echo().await;
    let url = format!("http://127.0.0.1:{}/x", server.port());
    let registry = Registry::new()
        .entries(&policy("requests", "http_client.request", "\"http://127.0.0.1*/x\""))
        .entries(&policy("private", "http_client.private_ip", "\"127.0.0.1\""));
    let source = r"
        local resp, err = http_client.get(url)
        if resp then return resp.body end
        assert(err:kind() == errors.PERMISSION_DENIED and not err:retryable())
        return err:message()";
    let built = with(registry, source).build();
    let app = App { loader: open(&built), built };
    let private = Data::from("not allowed: private IP 127.0.0.1");
    let ask = async |url: &str, policies: &[&str]| {
        app.run_with(url, Data::Nil, with_policies(&app.loader, policies)).await
    };
    assert_eq!(app.run_with(&url, Data::Nil, Context::default()).await, private);
    assert_eq!(ask(&url, &["requests"]).await, private);
    let refused = format!("actor `ann` may not `http_client.request` on `{url}`");
    assert_eq!(ask(&url, &["private"]).await, Data::from(refused.as_str()));
    assert_eq!(ask(&url, &["requests", "private"]).await, Data::from("GET /x HTTP/1.1 "));
    let other = ask(&url.replace("/x", "/y"), &["requests", "private"]).await;
    assert!(matches!(&other, Data::String(text) if text.starts_with(b"actor `ann` may not")), "{other:?}");
    let public = app.run_with("http://[::ffff:10.0.0.1]/", Data::Nil, Context::default()).await;
    assert_eq!(public, Data::from("not allowed: private IP 10.0.0.1"));
    assert_eq!(server.connections(), 1);
}

/// Sends its reader on: the path says how and where to.
#[allow(clippy::needless_pass_by_value, reason = "the type of an answer")]
fn redirecting(request: Request<Bytes>) -> Response<Full<Bytes>> {
    let Some((status, to)) =
        request.uri().path()[1..].split_once('/').filter(|(status, _)| status.len() == 3)
    else {
        return describe(request);
    };
    let to = if to.contains(':') { format!("http://{to}") } else { format!("/{to}") };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap_or(StatusCode::OK);
    response.headers_mut().insert("location", to.parse().unwrap());
    response
}

#[tokio::test]
async fn redirects_are_followed_as_browsers_do() {
    let server = Server::start(Encryption::Plain, redirecting).await;
    let url = format!("http://127.0.0.1:{}", server.port());
    holds(
        &url,
        r#"
        local function asked(path, options) return assert(http_client.post(url .. path, options)) end
        for _, status in ipairs({"301", "302", "303"}) do
          local resp = asked("/" .. status .. "/end", {body = "x", headers = {["Content-Type"] = "text/x"}})
          assert(resp.body:find("GET /end\n", 1, true) == 1 and resp.url == url .. "/end")
          assert(not resp.body:find("text/x", 1, true))
        end
        for _, status in ipairs({"307", "308"}) do
          local resp = asked("/" .. status .. "/end", {body = "x"})
          assert(resp.body:find("POST /end\n", 1, true) == 1 and resp.body:find("\n\nx", 1, true))
        end
        assert(asked("/302/307/end").body:find("GET /end", 1, true))
        local resp = asked("/302/end", {auth = {user = "a", pass = "b"}, cookies = {c = "1"}})
        assert(resp.body:find("authorization", 1, true) and resp.body:find("cookie", 1, true))
        local path = "/end"
        for _ = 1, 11 do path = "/302" .. path end
        local none, err = http_client.get(url .. path)
        assert(none == nil and err:message() == "stopped after 10 redirects", tostring(err))
        assert(http_client.get(url .. path:sub(5)))
        return true"#,
    )
    .await;
}

/// A server that may be asked sends its reader to one that may not.
#[tokio::test]
async fn every_redirect_is_checked_like_a_request() {
    let first = Server::start(Encryption::Plain, redirecting).await;
    let second = Server::start(Encryption::Plain, redirecting).await;
    let (one, two) = (first.port(), second.port());
    let registry = Registry::new()
        .entries(&policy("first", "http_client.request", &format!("\"http://127.0.0.1:{one}/*\"")))
        .entries(&policy("second", "http_client.request", &format!("\"http://127.0.0.*:{two}/*\"")))
        .entries(&policy("private", "http_client.private_ip", "\"127.0.0.1\""));
    let source = r"
        local resp, err = http_client.get(url, {auth = {user = 'a', pass = 'b'}, cookies = {c = '1'}})
        if resp then return resp.body end
        return err:kind() .. ' ' .. err:message()";
    let built = with(registry, source).build();
    let app = App { loader: open(&built), built };
    let to = |host: &str| format!("http://127.0.0.1:{one}/302/{host}:{two}/end");
    let ask = async |url: &str, policies: &[&str]| match app
        .run_with(url, Data::Nil, with_policies(&app.loader, policies))
        .await
    {
        Data::String(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    };
    let refused = ask(&to("127.0.0.1"), &["first", "private"]).await;
    assert!(refused.starts_with("PERMISSION_DENIED actor `ann` may not `http_client.request`"), "{refused}");
    let private = ask(&to("127.0.0.2"), &["first", "second", "private"]).await;
    assert_eq!(private, "PERMISSION_DENIED not allowed: private IP 127.0.0.2");
    assert_eq!(second.connections(), 0);
    // What was meant for the first is not told to the second.
    let reached = ask(&to("127.0.0.1"), &["first", "second", "private"]).await;
    assert!(reached.starts_with("GET /end\n"), "{reached}");
    assert!(!reached.contains("authorization") && !reached.contains("cookie: "), "{reached}");
}

#[tokio::test]
async fn bodies_are_bounded_and_streams_are_read_in_parts() {
    let (_server, url) = describing().await;
    holds(
        &url,
        r#"
        local none, err = http_client.post(url, {body = ("x"):rep(1000), max_response_body = 100})
        assert(none == nil and err:kind() == errors.INTERNAL and not err:retryable())
        assert(err:message():find("more than 100 bytes", 1, true))
        local resp = assert(http_client.post(url, {body = ("x"):rep(100000), stream = true}))
        assert(resp.body == nil and resp.body_size == -1 and resp.status_code == 200)
        local stream, total = resp.stream, 0
        local stat = assert(stream:stat())
        assert(stat.position == 0 and stat.readable and not stat.writable and not stat.seekable)
        assert(#assert(stream:read(10)) == 10 and stream:stat().position == 10)
        while true do
          local chunk, err = stream:read(65536)
          assert(not err, err)
          if not chunk then break end
          assert(#chunk <= 65536)
          total = total + #chunk
        end
        assert(total + 10 == tonumber(resp.headers["Content-Length"]))
        for _, name in ipairs({"seek", "write"}) do
          local none, err = stream[name](stream, "set", 0)
          assert(none == nil and err:kind() == errors.INTERNAL)
        end
        assert(stream:close() and stream:close())
        none, err = stream:read()
        assert(none == nil and err:kind() == errors.INTERNAL)
        local lines = assert(assert(http_client.post(url, {body = "a\nb", stream = true})).stream:scanner("lines"))
        local seen = {}
        while true do
          local more, err = lines:scan()
          assert(not err, err)
          if not more then break end
          seen[#seen + 1] = lines:text()
        end
        assert(seen[1] == "POST /" and seen[#seen - 1] == "a" and seen[#seen] == "b" and lines:err() == nil)
        none, err = assert(http_client.get(url, {stream = true})).stream:scanner("pages")
        assert(none == nil and err:kind() == errors.INVALID)
        return true"#,
    )
    .await;
}

#[tokio::test]
async fn batches_answer_in_order() {
    let (_server, url) = describing().await;
    holds(
        &url,
        r#"
        local responses, problems = http_client.request_batch({
          {"GET", url .. "/one"}, {"POST", url .. "/two", {body = "event"}}})
        assert(problems == nil and #responses == 2)
        assert(responses[1].body:find("GET /one", 1, true) and responses[2].body:find("POST /two", 1, true))
        responses, problems = http_client.request_batch({
          {"GET", url .. "/one"}, {"GET", "no url"}, {"GET", url, {stream = true}}, {"GET", "http://127.0.0.1:1/"}})
        assert(#responses == 4 and #problems == 4 and responses[1].status_code == 200 and problems[1] == false)
        assert(responses[2] == false and problems[2]:kind() == errors.INVALID)
        assert(problems[3]:message() == "`stream` is not supported in a batch")
        assert(problems[4]:kind() == errors.INTERNAL and problems[4]:retryable())
        local none, err = http_client.request_batch("x")
        assert(none == nil and err:kind() == errors.INVALID)
        return true"#,
    )
    .await;
    let many = format!(
        "local all = {{}}
         for at = 1, {} do all[at] = {{'GET', 'x'}} end
         local none, err = http_client.request_batch(all)
         assert(none == nil and err:kind() == errors.INVALID)
         all[#all] = nil
         local _, problems = http_client.request_batch(all)
         return #problems == {}",
        config::HTTP_BATCH_MAX + 1,
        config::HTTP_BATCH_MAX
    );
    holds(&url, &many).await;
}

/// What a network does: nobody listens, nobody answers.
#[tokio::test]
async fn failures_may_pass_and_say_so() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    holds(
        &url,
        r#"
        for _, timeout in ipairs({0.05, "50ms"}) do
          local none, err = http_client.get(url, {timeout = timeout})
          assert(none == nil and err:kind() == errors.INTERNAL and err:retryable())
          assert(err:message() == "the request took longer than 50ms", err:message())
        end
        for _, other in ipairs({"http://127.0.0.1:1/", "http://no-such-host.invalid/"}) do
          local none, err = http_client.get(other)
          assert(none == nil and err:kind() == errors.INTERNAL and err:retryable(), tostring(err))
        end
        return true"#,
    )
    .await;
}

#[tokio::test]
async fn encryption_by_request() {
    let server = Server::start(Encryption::MutualTls, echo).await;
    let url = format!("https://localhost:{}/x", server.port());
    let by_address = format!("https://127.0.0.1:{}/x", server.port());
    let pem = |name: &str| Data::from(std::fs::read_to_string(certificate(name)).unwrap());
    let app = App::of(
        r#"
        local ca, cert, key, by_address = more[1], more[2], more[3], more[4]
        local resp = assert(http_client.get(url, {tls = {ca = ca, cert = cert, key = key}}))
        assert(resp.body == "GET /x HTTP/2.0 ", resp.body)
        local function refused(url, tls)
          local none, err = http_client.get(url, {tls = tls})
          assert(none == nil and err:kind() == errors.INTERNAL, tostring(err))
        end
        refused(url, {ca = ca})
        refused(url, {cert = cert, key = key})
        refused(url, nil)
        refused(by_address, {ca = ca, cert = cert, key = key})
        assert(http_client.get(by_address, {tls = {ca = ca, cert = cert, key = key, server_name = "localhost"}}))
        assert(http_client.get(by_address, {tls = {cert = cert, key = key, insecure_skip_verify = true}}))
        return true"#,
    );
    let more: Data = [pem("ca.pem"), pem("client.pem"), pem("client.key"), Data::from(by_address.as_str())]
        .into_iter()
        .collect();
    let done = app.run_with(&url, more, with_policies(&app.loader, &["all"])).await;
    assert_eq!(done, Data::Bool(true));
}

#[tokio::test]
async fn sockets_of_this_machine_and_unchecked_certificates_need_their_own_permission() {
    let registry =
        Registry::new().entries(&policy("requests", "[http_client.request]", "\"*\"")).entries(&policy(
            "rest",
            "[http_client.private_ip, http_client.insecure_tls, http_client.unix_socket]",
            "\"*\"",
        ));
    let source = r#"
        local options = more == "unix" and {unix_socket = url} or {tls = {insecure_skip_verify = true}}
        local resp, err = http_client.get(more == "unix" and "http://socket/path" or url, options)
        return resp and resp.body or err:message()"#;
    let built = with(registry, source).build();
    let app = App { loader: open(&built), built };
    let ask = async |url: &str, kind: &str, policies: &[&str]| {
        app.run_with(url, Data::from(kind), with_policies(&app.loader, policies)).await
    };
    let server = Server::start(Encryption::Tls, echo).await;
    let url = format!("https://127.0.0.1:{}/x", server.port());
    let refused = format!("actor `ann` may not `http_client.insecure_tls` on `{url}`");
    assert_eq!(ask(&url, "tls", &["requests"]).await, Data::from(refused.as_str()));
    assert_eq!(ask(&url, "tls", &["requests", "rest"]).await, Data::from("GET /x HTTP/2.0 "));

    let path = app.built.root().join("socket");
    let _unix = Server::unix(&path, echo);
    let path = path.to_str().unwrap();
    let refused = format!("actor `ann` may not `http_client.unix_socket` on `{path}`");
    let answer = ask(path, "unix", &["requests"]).await;
    assert!(refused.starts_with(std::str::from_utf8(&text(&answer)[..40]).unwrap()), "{answer:?}");
    assert_eq!(ask(path, "unix", &["requests", "rest"]).await, Data::from("GET /path HTTP/1.1 "));
}

fn text(data: &Data) -> &[u8] {
    match data {
        Data::String(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_carry_the_trace_of_their_call() {
    let (_server, url) = describing().await;
    let app = App::of("return http_client.get(url).body");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let header = |name: &str| match name {
        "traceparent" => Some(parent),
        "tracestate" => Some("vendor=1"),
        _ => None,
    };
    let context = app.loader.trace_of_request(with_policies(&app.loader, &["all"]), header);
    let text = |data| match data {
        Data::String(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    let seen = text(app.run_with(&url, Data::Nil, context).await);
    assert!(
        seen.contains(&format!("traceparent: {parent}")) && seen.contains("tracestate: vendor=1"),
        "{seen}"
    );
    let seen = text(app.run(&url).await);
    assert!(!seen.contains("traceparent"), "{seen}");
}
