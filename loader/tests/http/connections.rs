//! Connections: limits, TLS, HTTP/2, draining.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use loader::config::HTTP_HANDSHAKE_TIME;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::app::{App, lua, registry};
use crate::support::{Registry, crate_folder};

fn hello(service: &str) -> Registry {
    lua(registry(service, ""), "hello", "GET /", "res:write('hello')")
}

/// What the server sends until it closes the connection, after `sent`.
async fn raw(app: &App, sent: &str) -> String {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn idlers_and_slow_heads_are_let_go() {
    let app = App::new(hello("timeouts: {read: \"100ms\", idle: \"100ms\"}")).await;
    assert_eq!(raw(&app, "").await, "");
    assert_eq!(raw(&app, "GET / HTTP/1.1\r\nHost: x").await, "");
    let answered = raw(&app, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answered.starts_with("HTTP/1.1 200 OK") && answered.ends_with("hello"), "{answered}");
    assert_eq!(app.get("/").await.short(), (200, "hello"));
}

#[tokio::test]
async fn heads_have_a_size() {
    let app = App::new(hello("")).await;
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100 << 10));
    let refused = raw(&app, &large).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let refused = raw(&app, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    assert_eq!(app.get("/").await.status, 200);
}

fn certificate(name: &str) -> String {
    std::fs::read_to_string(crate_folder().join("tests/certificates").join(name)).unwrap()
}

/// A service with the test's certificate.
fn encrypted(more: &str) -> Registry {
    let indented =
        |name: &str| certificate(name).lines().map(|line| format!("    {line}\n")).collect::<String>();
    let tls = format!(
        "tls:\n  mode: manual\n  cert: |\n{}  key: |\n{}{}",
        indented("server.pem"),
        indented("server.key"),
        more.replace("CA", &indented("ca.pem"))
    );
    hello(&tls)
}

enum Shows {
    Nothing,
    Certificate,
}

/// The answer over TLS and HTTP/2.
async fn over_tls(app: &App, shows: Shows) -> Result<String, Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate("ca.pem").as_bytes())?)?;
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match shows {
        Shows::Nothing => builder.with_no_client_auth(),
        Shows::Certificate => builder.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(certificate("client.pem").as_bytes())?],
            PrivateKeyDer::from_pem_slice(certificate("client.key").as_bytes())?,
        )?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(app.address()).await?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let version = answer.version();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(format!("{version:?} {}", String::from_utf8_lossy(&body)))
}

#[tokio::test]
async fn tls_and_http2() {
    let app = App::new(encrypted("")).await;
    assert_eq!(over_tls(&app, Shows::Nothing).await.unwrap(), "HTTP/2.0 hello");
    assert!(app.client().await.try_ask(http::Request::get("/"), "").await.is_err());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let app = App::new(encrypted("")).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(raw(&app, "").await, "");
    assert!(began.elapsed() >= HTTP_HANDSHAKE_TIME);
    tokio::time::resume();
    assert_eq!(over_tls(&app, Shows::Nothing).await.unwrap(), "HTTP/2.0 hello");
}

#[tokio::test]
async fn clients_must_show_a_certificate_that_verifies() {
    let app = App::new(encrypted("  client_auth: require_and_verify\n  client_ca: |\nCA")).await;
    assert!(over_tls(&app, Shows::Nothing).await.is_err());
    assert_eq!(over_tls(&app, Shows::Certificate).await.unwrap(), "HTTP/2.0 hello");
    let app = App::new(encrypted("  client_auth: verify_if_given\n  client_ca: |\nCA")).await;
    assert_eq!(over_tls(&app, Shows::Nothing).await.unwrap(), "HTTP/2.0 hello");
    let app = App::new(encrypted("  client_auth: require_any\n")).await;
    assert!(over_tls(&app, Shows::Nothing).await.is_err());
    assert_eq!(over_tls(&app, Shows::Certificate).await.unwrap(), "HTTP/2.0 hello");
}

#[tokio::test]
async fn requests_under_way_end_and_new_ones_are_refused() {
    let source = "res:write('begun ')\nres:flush()\nrequire('time').sleep('200ms')\nres:write('ended')";
    let app = App::new(lua(registry("", ""), "slow", "GET /", source)).await;
    let (address, mut client) = (app.address(), app.client().await);
    let mut idle = app.client().await;
    let answer = client.start(http::Request::get("/"), "").await.unwrap();
    let App { server, .. } = app;
    let stopping = tokio::spawn(server.stop(Some(Duration::from_secs(60))));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "begun ended");
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert!(idle.try_ask(http::Request::get("/"), "").await.is_err());
    assert!(client.try_ask(http::Request::get("/"), "").await.is_err());
}

#[tokio::test]
async fn a_request_that_is_on_its_way_when_a_server_stops_is_answered() {
    let app = App::new(lua(registry("", ""), "hello", "GET /", "res:write('hello')")).await;
    let mut client = app.client().await;
    assert_eq!(client.ask(http::Request::get("/"), "").await.header("connection"), "");
    let waits = TcpStream::connect(app.address()).await.unwrap();
    let App { server, .. } = app;
    let stopping = tokio::spawn(server.stop(Some(Duration::from_secs(60))));
    // The server is told.
    tokio::task::yield_now().await;
    let answer = client.ask(http::Request::get("/"), "").await;
    assert_eq!((answer.short(), answer.header("connection")), ((200, "hello"), "close"));
    assert!(client.try_ask(http::Request::get("/"), "").await.is_err());
    drop(waits);
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_takes_too_long_to_end_is_cut_off() {
    let source = "res:write('begun')\nres:flush()\nrequire('time').sleep('1h')";
    let app = App::new(lua(registry("", ""), "slow", "GET /", source)).await;
    let answer = app.client().await.start(http::Request::get("/"), "").await.unwrap();
    let App { server, loader, built, .. } = app;
    server.stop(Some(Duration::from_millis(50))).await;
    assert!(answer.into_body().collect().await.is_err());
    drop((loader, built));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_a_408() {
    let source = "local body, err = req:body()\nif err then return nil, err end\nres:write(body)";
    let app = App::new(lua(registry("timeouts: {read: \"100ms\"}", ""), "f", "POST /", source)).await;
    let refused = raw(&app, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").await;
    assert!(refused.starts_with("HTTP/1.1 408 "), "{refused}");
    assert_eq!(app.post("/", "ab").await.short(), (200, "ab"));
}

#[tokio::test]
async fn a_function_that_is_too_busy_is_a_503_that_says_when_to_come_back() {
    let busy = r#"
- {name: e, kind: http.endpoint, meta: {router: api}, method: GET, path: /, func: busy}
- name: busy
  kind: function.lua
  modules: [http, time]
  pool: {type: static, workers: 1}
  source: |
    return function(holds)
      if holds then require("time").sleep("1h") end
      require("http").response():write("served")
    end
"#;
    let app = App::new(registry("timeouts: {write: \"100ms\"}", "").entries(busy)).await;
    let loader = app.loader.clone();
    let holding = tokio::spawn(async move {
        loader.call_data("app:busy", vec![loader::Data::Bool(true)], loader::Context::default()).await
    });
    while app.loader.pools().iter().all(|pool| pool.busy == 0) {
        tokio::task::yield_now().await;
    }
    let refused = app.get("/").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text());
    assert_eq!(refused.json()["error"]["kind"], "UNAVAILABLE");
    holding.abort();
    assert!(holding.await.is_err());
    assert_eq!(app.get("/").await.short(), (200, "served"));
}

#[tokio::test]
async fn a_connection_has_so_many_streams_at_once() {
    let held = r#"
- {name: e, kind: http.endpoint, meta: {router: api}, method: POST, path: /, func: held}
- name: held
  kind: function.lua
  modules: [http]
  pool: {type: inline}
  source: |
    return function()
      require("http").response():write((require("http").request():body()))
    end
"#;
    let app = App::new(registry("", "").entries(held)).await;
    let io = TokioIo::new(TcpStream::connect(app.address()).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let most = usize::try_from(loader::config::HTTP_STREAMS_MAX).unwrap();
    let mut answers = tokio::task::JoinSet::new();
    let mut bodies = Vec::new();
    for _ in 0..most + 2 {
        let (body, rest) = tokio::sync::oneshot::channel::<Bytes>();
        bodies.push(body);
        let frames = futures_util::stream::once(async move {
            Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(rest.await.unwrap()))
        });
        let request = http::Request::post(format!("http://{}/", app.address()));
        let request = request.body(http_body_util::StreamBody::new(Box::pin(frames))).unwrap();
        let mut sender = sender.clone();
        answers.spawn(async move {
            sender.ready().await.unwrap();
            sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        });
    }
    let busy = || app.loader.pools().iter().map(|pool| pool.busy).sum::<usize>();
    while busy() < most {
        tokio::task::yield_now().await;
    }
    // Another connection is served, this one has its fill; the rest is served when others end.
    assert_eq!(app.post("/", "other").await.text(), "other");
    assert_eq!(busy(), most);
    for body in bodies {
        body.send(Bytes::from_static(b"x")).unwrap();
    }
    while let Some(answer) = answers.join_next().await {
        assert_eq!(answer.unwrap(), "x");
    }
}
