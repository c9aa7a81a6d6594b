//! Limits and waits: each is reached, and the next request works.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use loader::{Data, config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{App, holds, text};
use crate::server::{Encryption, Server};
use crate::shared::with_policies;

/// Lets everybody else do what they can do now.
async fn settle() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

/// The time of a request, when its options say nothing and when they say too much.
#[tokio::test]
async fn the_time_of_a_request() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let good = Server::echo().await;
    let app = App::of(
        r#"
        if more == "good" then return http_client.get(url).body end
        local none, err = http_client.get(url, {timeout = more})
        assert(none == nil and err:kind() == errors.INTERNAL and err:retryable())
        return err:message()"#,
    );
    let context = || with_policies(&app.loader, &["all"]);
    let most = format!("{}h", 2 * config::HTTP_TIMEOUT_MAX.as_secs() / 3600);
    for (timeout, expected) in [
        (Data::Nil, config::HTTP_TIMEOUT),
        (Data::from("10m"), Duration::from_secs(600)),
        (Data::from(most.as_str()), config::HTTP_TIMEOUT_MAX),
    ] {
        let good = format!("http://127.0.0.1:{}/", good.port());
        let answered = app.run_with(&good, Data::from("good"), context());
        assert_eq!(answered.await, Data::from("GET / HTTP/1.1 "));
        let began = tokio::time::Instant::now();
        let late = tokio::select! {
            late = app.run_with(&url, timeout, context()) => late,
            () = async {
                let mut stream = silent.accept().await.unwrap().0;
                assert!(stream.read(&mut [0; 8]).await.unwrap() > 0);
                tokio::time::pause();
                std::future::pending::<()>().await;
            } => unreachable!("it never ends"),
        };
        let passed = began.elapsed();
        tokio::time::resume();
        assert_eq!(late, Data::from(format!("the request took longer than {expected:?}").as_str()));
        assert!(passed >= expected, "{passed:?}");
    }
}

/// A server that sends the head of an answer and its first part, and then nothing.
#[tokio::test]
async fn the_time_between_parts_of_a_stream() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = App::of(
        r#"
        local resp = assert(http_client.get(url, {stream = true, timeout = more}))
        assert(resp.stream:read() == "half")
        local none, err = resp.stream:read()
        assert(none == nil and err:kind() == errors.INTERNAL and err:retryable())
        return err:message()"#,
    );
    for (timeout, expected) in [("30s", config::EGRESS_BETWEEN_BYTES), ("10m", Duration::from_secs(600))] {
        let running = app.run_with(&url, Data::from(timeout), with_policies(&app.loader, &["all"]));
        let half = async {
            let mut stream = listener.accept().await.unwrap().0;
            stream.read_exact(&mut [0; 16]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await.unwrap();
            settle().await;
            let began = tokio::time::Instant::now();
            tokio::time::pause();
            (stream, began)
        };
        let (said, (_stream, began)) = tokio::join!(running, half);
        // A little of it had passed before.
        let passed = began.elapsed();
        tokio::time::resume();
        assert!(passed > expected / 2, "{passed:?}");
        let said = String::from_utf8(text(&said).to_vec()).unwrap();
        assert!(said.starts_with("the stream can't be read: "), "{said}");
    }
}

/// A body of as many bytes as the path says.
#[allow(clippy::needless_pass_by_value, reason = "the type of an answer")]
fn large(request: Request<Bytes>) -> Response<Full<Bytes>> {
    let count = request.uri().path()[1..].parse().unwrap_or(0);
    Response::new(Full::from(vec![b'x'; count]))
}

#[tokio::test]
async fn the_largest_bodies() {
    let server = Server::start(Encryption::Plain, large).await;
    let url = format!("http://127.0.0.1:{}", server.port());
    let source = format!(
        r#"
        local body, default, most = {}, {}, {}
        local function refused(kind, message, method, path, options)
          local none, err = http_client.request(method, url .. path, options)
          assert(none == nil and err:kind() == kind and not err:retryable(), tostring(err))
          assert(err:message() == message, err:message())
          assert(http_client.get(url .. "/3").body == "xxx")
        end
        refused(errors.INVALID, "the body has more than " .. body .. " bytes", "POST", "/", {{body = ("x"):rep(body + 1)}})
        local half = ("x"):rep(body // 2 + 1)
        refused(errors.INVALID, "the files have more than " .. body .. " bytes", "POST", "/",
          {{files = {{{{name = "a", content = half}}, {{name = "b", content = half}}}}}})
        half = nil
        local function too_large(most) return "the response has more than " .. most .. " bytes (`max_response_body`)" end
        refused(errors.INTERNAL, too_large(default), "GET", "/" .. default + 1)
        refused(errors.INTERNAL, too_large(most), "GET", "/" .. most + 1, {{max_response_body = 2 * most}})
        assert(http_client.get(url .. "/" .. default).body_size == default)
        return true"#,
        config::HTTP_BODY_BYTES_MAX,
        config::HTTP_RESPONSE_BYTES,
        config::HTTP_RESPONSE_BYTES_MAX,
    );
    holds(&url, &source).await;
}

/// A server that answers when as many requests as a batch may have at once are there, and has waited for more.
async fn counting(most: usize) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (open, peak) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (together, seen) = (Arc::new(tokio::sync::Barrier::new(most)), Arc::clone(&peak));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (together, open, peak) = (Arc::clone(&together), Arc::clone(&open), Arc::clone(&peak));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    head.clear();
                    peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    together.wait().await;
                    settle().await;
                    open.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (url, seen)
}

#[tokio::test]
async fn requests_of_a_batch_at_once() {
    let (url, peak) = counting(config::HTTP_BATCH_AT_ONCE).await;
    let app = App::of(&format!(
        r#"
        local all = {{}}
        for at = 1, {} do all[at] = {{"GET", url}} end
        local responses, problems = http_client.request_batch(all)
        assert(problems == nil and #responses == #all)
        return true"#,
        2 * config::HTTP_BATCH_AT_ONCE
    ));
    for _ in 0..2 {
        assert_eq!(app.run(&url).await, Data::Bool(true));
        assert_eq!(peak.load(Ordering::SeqCst), config::HTTP_BATCH_AT_ONCE);
    }
}
