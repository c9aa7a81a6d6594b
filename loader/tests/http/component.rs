//! Components that export `wasi:http/incoming-handler` (0.2) or `wasi:http/handler` (0.3).

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::app::{App, endpoint, registry};
use crate::support::{Guest, SERVE, SERVE_ASYNC};

async fn app() -> App {
    serving(SERVE, "incoming-handler#handle", "limits: {max_execution_ms: 60000}").await
}

/// An application that answers by `guest`; `more` are further fields of its entry.
async fn serving(guest: Guest, method: &str, more: &str) -> App {
    let registry = registry("limits: {max_body_bytes: 100000000}", "").guest("serve", guest, method, more);
    let registry = endpoint(registry, "post", "POST /{path...}", "serve");
    App::new(endpoint(registry, "get", "GET /{path...}", "serve")).await
}

#[tokio::test]
async fn a_guest_sees_the_request_and_answers() {
    let app = app().await;
    assert_eq!(
        app.get("/a?b=c").await.short(),
        (200, "Method::Get /a?b=c test.example"),
        "{:?}",
        app.logged()
    );
    let answer = app.post("/echo", "hello").await;
    assert_eq!(answer.short(), (200, "hello"));
    assert_eq!(answer.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn a_guest_that_fails_ends_its_own_request() {
    let app = app().await;
    let answer = app.get("/trap").await;
    assert_eq!(answer.status, 500);
    let logged = app.logged().join("\n");
    assert!(
        logged.contains(answer.header("x-request-id")) && logged.contains("`app:serve` failed"),
        "{logged}"
    );
    assert_eq!(app.get("/silent").await.status, 500);
    assert!(app.logged().join("\n").contains("`app:serve` did not answer"));
    assert_eq!(app.get("/a").await.status, 200);
}

#[tokio::test]
async fn a_guest_of_wasi_0_3_answers_and_fails() {
    let app = serving(SERVE_ASYNC, "handler#handle", "").await;
    assert_eq!(
        app.get("/a?b=c").await.short(),
        (200, "Method::Get /a?b=c test.example"),
        "{:?}",
        app.logged()
    );
    assert_eq!(app.post("/echo", "hello").await.short(), (200, "hello"));
    assert_eq!(app.get("/trap").await.status, 500);
    assert!(app.logged().join("\n").contains("`app:serve` failed"));
    assert_eq!(app.get("/refuse").await.status, 500);
    assert!(app.logged().join("\n").contains("the guest answered with the error"));
    assert_eq!(app.get("/a").await.status, 200);
    both_ways(&app).await;
}

#[tokio::test]
async fn a_guest_runs_on_the_threads_of_its_class() {
    let app = serving(SERVE, "incoming-handler#handle", "pool: {worker_class: own, workers: 1}").await;
    assert_eq!(app.post("/echo", "hello").await.short(), (200, "hello"), "{:?}", app.logged());
    assert_eq!(app.get("/trap").await.status, 500);
    assert_eq!(app.get("/a").await.status, 200);
    both_ways(&app).await;
}

#[tokio::test]
async fn bodies_pass_while_they_are_sent() {
    both_ways(&app().await).await;
}

async fn both_ways(app: &App) {
    let stream = TcpStream::connect(app.address()).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let parts = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let part = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(part)), receiver))
    });
    let request = http::Request::post("/echo").header("host", "x").body(StreamBody::new(Box::pin(parts)));
    sender.send(Bytes::from_static(b"first")).await.unwrap();
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let mut body = answer.into_body();
    // Each part is back before the next one is sent.
    let mut expected = Bytes::from_static(b"first");
    for number in 0..20_u8 {
        let mut back = Vec::new();
        while back.len() < expected.len() {
            let frame = body.frame().await.unwrap().unwrap();
            back.extend_from_slice(frame.data_ref().unwrap());
        }
        assert_eq!(back, expected);
        expected = Bytes::from(vec![number; 100_000]);
        sender.send(expected.clone()).await.unwrap();
    }
}
