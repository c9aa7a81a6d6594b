//! Limits of what leaves the machine: each is reached, and the next request works.

use std::fs::File;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use loader::{Context, Loader, OpenError, Options, config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

use crate::server::{Encryption, Server, certificate, echo};
use crate::shared::{call, open, options, reach, text};
use crate::support::{Built, REACH, Registry};

/// A guest that fetches from any port of this machine.
fn fetching() -> Built {
    let listed = vec!["127.0.0.1:*".to_owned(), "localhost:*".to_owned()];
    reach(REACH, Registry::new(), "fetch", "fetch", Some(&listed)).build()
}

async fn fetch(loader: &Loader, scheme: &str, authority: &str) -> Result<String, String> {
    let args = ["GET", scheme, authority, "/", ""].map(text);
    call(loader, "fetch", &args, Context::default()).await
}

async fn fetch_from(loader: &Loader, port: u16) -> Result<String, String> {
    fetch(loader, "http", &format!("127.0.0.1:{port}")).await
}

fn long_header(_: Request<Bytes>) -> Response<Full<Bytes>> {
    let value = "x".repeat(4 * config::EGRESS_HEADER_BYTES_MAX);
    let mut response = Response::new(Full::default());
    response.headers_mut().insert("x-long", HeaderValue::from_str(&value).unwrap());
    response
}

#[tokio::test]
async fn the_bytes_of_a_response_s_headers() {
    let (hostile, good) = (Server::start(Encryption::Plain, long_header).await, Server::echo().await);
    let built = fetching();
    let loader = open(&built);
    for _ in 0..2 {
        assert_eq!(fetch_from(&loader, hostile.port()).await.unwrap_err(), "HttpProtocolError");
        assert!(fetch_from(&loader, good.port()).await.is_ok());
    }
}

#[tokio::test]
async fn the_size_of_a_file_of_roots() {
    let server = Server::start(Encryption::Tls, echo).await;
    let built = fetching();
    let large = built.root().join("large.pem");
    File::create(&large).unwrap().set_len(config::CA_FILE_BYTES_MAX + 1).unwrap();
    let open = |roots| {
        let trusting = Options { extra_roots: vec![roots], ..options(&built) };
        Loader::builder().options(trusting).open(&built)
    };
    assert!(matches!(open(large), Err(OpenError::Roots { .. })));
    let loader = open(certificate("ca.pem")).unwrap();
    fetch(&loader, "https", &format!("localhost:{}", server.port())).await.unwrap();
}

/// Reads the head of one request.
async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// A server that answers requests in groups of `count`; the number of its connections.
async fn in_groups(count: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    let together = Arc::new(Barrier::new(count));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let together = Arc::clone(&together);
            tokio::spawn(async move {
                while read_head(&mut stream).await {
                    together.wait().await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    (port, connections)
}

#[tokio::test]
async fn idle_connections_to_one_server() {
    let count = config::EGRESS_IDLE_PER_SERVER_MAX + 1;
    let (port, connections) = in_groups(count).await;
    let built = fetching();
    let loader = open(&built);
    // All but one are used again, each time.
    for round in 0..3 {
        let fetched = join_all((0..count).map(|_| fetch_from(&loader, port))).await;
        assert!(fetched.iter().all(Result::is_ok), "{fetched:?}");
        assert_eq!(connections.load(Ordering::SeqCst), count + round);
    }
}

#[tokio::test]
async fn the_time_that_a_connection_is_kept() {
    let server = Server::echo().await;
    let built = fetching();
    let loader = open(&built);
    for connections in 1..=2 {
        for _ in 0..2 {
            assert!(fetch_from(&loader, server.port()).await.is_ok());
            assert_eq!(server.connections(), connections);
        }
        tokio::time::pause();
        tokio::time::advance(config::EGRESS_IDLE + Duration::from_secs(1)).await;
        tokio::time::resume();
    }
}

/// Sends `answer` to one request, and lets time pass when nothing happens any longer.
async fn stall(listener: &TcpListener, answer: &[u8]) {
    let mut stream = listener.accept().await.unwrap().0;
    assert!(read_head(&mut stream).await);
    stream.write_all(answer).await.unwrap();
    tokio::time::pause();
    pending::<()>().await;
}

#[tokio::test]
async fn waits_for_a_response_and_between_its_parts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let good = Server::echo().await;
    let built = fetching();
    let loader = open(&built);
    let part = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    for (answer, error) in [(&b""[..], "ConnectionReadTimeout"), (part, "read")] {
        let fetched = tokio::select! {
            fetched = fetch_from(&loader, port) => fetched,
            () = stall(&listener, answer) => unreachable!("it never ends"),
        };
        tokio::time::resume();
        assert_eq!(fetched.unwrap_err(), error);
        assert!(fetch_from(&loader, good.port()).await.is_ok());
    }
}

#[tokio::test]
async fn the_wait_for_a_connection() {
    let (port, _waiting, _listener) = crate::shared::full().await;
    let good = Server::echo().await;
    let built = fetching();
    let loader = open(&built);
    // Everything is loaded before time passes by itself.
    assert!(fetch_from(&loader, good.port()).await.is_ok());
    tokio::time::pause();
    assert_eq!(fetch_from(&loader, port).await.unwrap_err(), "ConnectionTimeout");
    tokio::time::resume();
    assert!(fetch_from(&loader, good.port()).await.is_ok());
}

/// A server that says nothing while encryption is agreed on.
#[tokio::test]
async fn the_wait_for_encryption() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let good = Server::echo().await;
    let built = fetching();
    let loader = open(&built);
    let authority = format!("127.0.0.1:{port}");
    for _ in 0..2 {
        let fetched = tokio::select! {
            fetched = fetch(&loader, "https", &authority) => fetched,
            () = async {
                let mut stream = silent.accept().await.unwrap().0;
                assert!(stream.read(&mut [0; 8]).await.unwrap() > 0);
                tokio::time::pause();
                pending::<()>().await;
            } => unreachable!("it never ends"),
        };
        tokio::time::resume();
        assert_eq!(fetched.unwrap_err(), "ConnectionTimeout");
        assert!(fetch_from(&loader, good.port()).await.is_ok());
    }
}

/// A server that takes nothing of a body, before it answers and after it has.
#[tokio::test]
async fn the_wait_for_a_server_to_take_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let good = Server::echo().await;
    let built = fetching();
    let loader = open(&built);
    // More than the system takes on its way.
    let body = "x".repeat(32 << 20);
    let args = ["POST", "http", authority.as_str(), "/", body.as_str()].map(text);
    let answered = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for (answer, error) in [(&b""[..], "ConnectionReadTimeout"), (answered, "write")] {
        let fetched = tokio::select! {
            fetched = call(&loader, "fetch", &args, Context::default()) => fetched,
            () = stall(&listener, answer) => unreachable!("it never ends"),
        };
        tokio::time::resume();
        assert_eq!(fetched.unwrap_err(), error);
        assert!(fetch_from(&loader, good.port()).await.is_ok());
    }
}
