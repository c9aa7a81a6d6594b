//! Sockets and look-ups of a guest (`wasi:sockets`).

use loader::{Context, Loader, Val};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::GUEST;
use crate::shared::{call, full, open, policy, reach, text, with_policies};
use crate::support::Registry;

/// Answers `pong` to whoever connects, once.
async fn pong() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4];
            if stream.read_exact(&mut bytes).await.is_ok() && &bytes == b"ping" {
                let _ = stream.write_all(b"pong").await;
            }
        }
    });
    (port, task)
}

async fn on(loader: &Loader, name: &str, address: &str, port: u16) -> Result<String, String> {
    call(loader, name, &[text(address), Val::U16(port)], Context::default()).await
}

fn denied() -> Result<String, String> {
    Err("access-denied".to_owned())
}

#[tokio::test]
async fn what_is_not_public_is_closed() {
    let (port, _task) = pong().await;
    let methods = ["connect", "send", "listen"];
    let registry = methods.iter().fold(Registry::new(), |all, name| reach(GUEST, all, name, name, None));
    let built = reach(GUEST, registry, "wide", "connect", Some(&["*:*".to_owned()])).build();
    let loader = open(&built);
    for address in ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fd00::1", "fe80::1"] {
        for name in ["connect", "send", "wide", "listen"] {
            assert_eq!(on(&loader, name, address, port).await, denied(), "{name} {address}");
        }
    }
    // Every interface of this machine is as private as each of them.
    assert_eq!(on(&loader, "listen", "0.0.0.0", port).await, denied());
    assert_eq!(on(&loader, "listen", "0.0.0.0", 0).await, denied());
}

#[tokio::test]
async fn the_entry_opens_what_it_lists_and_nothing_else() {
    let (port, _task) = pong().await;
    let (other, _other_task) = pong().await;
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagrams = receiver.local_addr().unwrap().port();
    let listed = vec![format!("127.0.0.1:{port}"), format!("127.0.0.1:{datagrams}")];
    let registry = reach(GUEST, Registry::new(), "connect", "connect", Some(&listed));
    let registry = reach(GUEST, registry, "send", "send", Some(&listed));
    let built = reach(GUEST, registry, "listen", "listen", Some(&["127.0.0.1:*".to_owned()])).build();
    let loader = open(&built);
    assert_eq!(on(&loader, "connect", "127.0.0.1", port).await.unwrap(), "pong");
    assert_eq!(on(&loader, "connect", "127.0.0.1", other).await, denied());
    assert_eq!(on(&loader, "connect", "8.8.8.8", 53).await, denied());
    assert_eq!(on(&loader, "send", "127.0.0.1", datagrams).await, Ok(String::new()));
    let mut bytes = [0; 8];
    assert_eq!(receiver.recv(&mut bytes).await.unwrap(), 4);
    assert_eq!(on(&loader, "send", "127.0.0.1", other).await, denied());
    assert_ne!(on(&loader, "listen", "127.0.0.1", 0).await.unwrap(), "0");
    assert_eq!(on(&loader, "listen", "0.0.0.0", 0).await, denied());
}

/// A name that is listed opens what it was looked up to, for this call alone.
#[tokio::test]
async fn names_open_what_they_stood_for() {
    let (port, _task) = pong().await;
    let listed = vec![format!("localhost:{port}")];
    let registry = reach(GUEST, Registry::new(), "by-name", "connect-name", Some(&listed));
    let registry = reach(GUEST, registry, "by-address", "connect", Some(&listed));
    let registry = reach(GUEST, registry, "resolve", "resolve", Some(&listed));
    let built = reach(GUEST, registry, "closed", "resolve", None).build();
    let loader = open(&built);
    assert_eq!(on(&loader, "by-name", "localhost", port).await.unwrap(), "pong");
    assert_eq!(on(&loader, "by-name", "LOCALHOST.", port).await.unwrap(), "pong");
    assert_eq!(on(&loader, "by-name", "localhost", port + 1).await, denied());
    assert_eq!(on(&loader, "by-address", "127.0.0.1", port).await, denied());
    let resolve = async |name: &str, host: &str| call(&loader, name, &[text(host)], Context::default()).await;
    let found = resolve("resolve", "localhost").await.unwrap();
    assert!(found.split(' ').any(|address| address == "127.0.0.1"), "{found}");
    assert_eq!(resolve("resolve", "example.com").await, denied());
    // Without a list names may be looked up, and answers that are not public are left out.
    assert_eq!(resolve("closed", "localhost").await.unwrap(), "");
    assert_eq!(resolve("closed", "no name").await.unwrap_err(), "invalid-argument");
}

#[tokio::test]
async fn the_scope_is_asked() {
    let (port, _task) = pong().await;
    let registry = Registry::new()
        .entries(&policy("may-connect", "socket.connect", &format!("\"127.0.0.1:{port}\"")))
        .entries(&policy("private", "socket.private_ip", "\"127.0.0.1\""))
        .entries(&policy("http", "http_client.private_ip", "\"*\""))
        .entries(&policy("may-listen", "socket.listen", "\"127.0.0.1:0\""))
        .entries(&policy("may-resolve", "socket.resolve", "localhost"));
    let methods = ["connect", "connect-name", "listen", "resolve"];
    let built = methods.iter().fold(registry, |all, name| reach(GUEST, all, name, name, None)).build();
    let loader = open(&built);
    let ask = async |name: &str, args: &[Val], policies: &[&str]| {
        call(&loader, name, args, with_policies(&loader, policies)).await
    };
    let connect = [text("127.0.0.1"), Val::U16(port)];
    assert_eq!(ask("connect", &connect, &["may-connect", "private"]).await.unwrap(), "pong");
    for scope in [&["may-connect"][..], &["private"], &["may-connect", "http"], &["may-listen", "private"]] {
        assert_eq!(ask("connect", &connect, scope).await, denied(), "{scope:?}");
    }
    let by_name = [text("localhost"), Val::U16(port)];
    assert_eq!(
        ask("connect-name", &by_name, &["may-connect", "private", "may-resolve"]).await.unwrap(),
        "pong"
    );
    assert_eq!(ask("connect-name", &by_name, &["may-connect", "private"]).await, denied());
    let listen = [text("127.0.0.1"), Val::U16(0)];
    assert!(ask("listen", &listen, &["private"]).await.is_err());
    assert_eq!(ask("resolve", &[text("localhost")], &["may-resolve"]).await.unwrap(), "");
    assert_eq!(ask("resolve", &[text("localhost")], &["may-connect"]).await, denied());
}

#[tokio::test]
async fn sockets_of_a_call_are_bounded() {
    let more = "imports: [\"wasi:sockets\"]\nlimits: {max_open_sockets: 3}";
    let built = Registry::new()
        .guest("three", GUEST, "sockets", more)
        .guest("default", GUEST, "sockets", "imports: [\"wasi:sockets\"]")
        .build();
    let loader = open(&built);
    let make = async |name: &str| loader.call(&format!("app:{name}"), &[Val::U32(1_000)]).await;
    for _ in 0..2 {
        assert_eq!(make("three").await, Ok(Some(Val::U32(3))));
        assert_eq!(make("default").await, Ok(Some(Val::U32(loader::config::SOCKETS_OPEN_MAX))));
    }
}

/// An application's own number holds where an entry says nothing.
#[tokio::test]
async fn an_application_bounds_the_sockets_of_all_its_entries() {
    let built = Registry::new()
        .file(".wippy.yaml", "wasm: {limits: {max_open_sockets: 2}}\n")
        .guest("three", GUEST, "sockets", "imports: [\"wasi:sockets\"]\nlimits: {max_open_sockets: 3}")
        .guest("default", GUEST, "sockets", "imports: [\"wasi:sockets\"]")
        .build();
    let loader = open(&built);
    for (name, count) in [("app:three", 3), ("app:default", 2)] {
        assert_eq!(loader.call(name, &[Val::U32(1_000)]).await, Ok(Some(Val::U32(count))), "{name}");
    }
}

/// Connections that a guest accepts count like sockets that it makes: one too many is closed.
#[tokio::test]
async fn accepted_connections_are_bounded() {
    let more = |most: u32| {
        format!(
            "imports: [\"wasi:sockets\"]\nlimits: {{max_open_sockets: {most}}}\nnetwork: {{allow: \
             [\"127.0.0.1:*\"]}}"
        )
    };
    let built = Registry::new()
        .guest("four", GUEST, "accept", &more(4))
        .guest("five", GUEST, "accept", &more(5))
        .build();
    let loader = open(&built);
    let accept = async |name: &str, count: u32| {
        let args = [text("127.0.0.1"), Val::U32(count)];
        match loader.call(&format!("app:{name}"), &args).await {
            Ok(Some(Val::Result(Ok(Some(count))))) => *count,
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..2 {
        // A listener and two clients leave room for one of them.
        assert_eq!(accept("four", 9).await, Val::U32(1));
        assert_eq!(accept("five", 9).await, Val::U32(2));
        assert_eq!(accept("five", 1).await, Val::U32(1));
    }
}

const SHORT: &str = "imports: [\"wasi:sockets\", \"wasi:http\"]\nlimits: {socket_timeout_ms: 500}\nnetwork: {allow: \
                     [\"127.0.0.1:*\", \"localhost:*\"]}";

#[tokio::test]
async fn operations_end_after_their_longest_wait() {
    let (port, _task) = pong().await;
    let (closed, _waiting, _listener) = full().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quiet = silent.local_addr().unwrap().port();
    let methods = ["connect", "receive", "fetch"];
    let built = methods.iter().fold(Registry::new(), |all, name| all.guest(name, GUEST, name, SHORT)).build();
    let loader = open(&built);
    for _ in 0..2 {
        assert_eq!(on(&loader, "connect", "127.0.0.1", closed).await, Err("timeout".to_owned()));
        assert_eq!(on(&loader, "receive", "127.0.0.1", 0).await, Err("timeout".to_owned()));
        let fetch = async |port: u16| {
            let request = ["GET", "http", &format!("127.0.0.1:{port}"), "/", ""].map(text);
            call(&loader, "fetch", &request, Context::default()).await.unwrap_err()
        };
        assert_eq!(fetch(quiet).await, "ConnectionReadTimeout");
        assert_eq!(fetch(closed).await, "ConnectionTimeout");
        assert_eq!(on(&loader, "connect", "127.0.0.1", port).await.unwrap(), "pong");
    }
}

/// A connection whose other end never says anything.
#[tokio::test]
async fn a_stream_ends_after_its_longest_wait() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quiet = silent.local_addr().unwrap().port();
    let (port, _task) = pong().await;
    let built = Registry::new().guest("connect", GUEST, "connect", SHORT).build();
    let loader = open(&built);
    for _ in 0..2 {
        let error = on(&loader, "connect", "127.0.0.1", quiet).await.unwrap_err();
        assert!(matches!(error.as_str(), "read" | "timeout"), "{error}");
        assert_eq!(on(&loader, "connect", "127.0.0.1", port).await.unwrap(), "pong");
    }
}

/// Look-ups hold threads; one that gets none in time fails, and the next one works.
#[test]
fn a_lookup_ends_after_its_longest_wait() {
    let built = Registry::new().guest("resolve", GUEST, "resolve", SHORT).build();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(1).build().unwrap().block_on(async {
        let loader = open(&built);
        let resolve = async || call(&loader, "resolve", &[text("localhost")], Context::default()).await;
        assert!(resolve().await.is_ok());
        for _ in 0..2 {
            let (release, held) = std::sync::mpsc::channel::<()>();
            let holding = tokio::task::spawn_blocking(move || held.recv());
            let error = resolve().await.unwrap_err();
            assert!(matches!(error.as_str(), "timeout" | "temporary-resolver-failure"), "{error}");
            release.send(()).unwrap();
            holding.await.unwrap().unwrap();
            assert!(resolve().await.is_ok());
        }
    });
}

/// The other end takes nothing.
#[tokio::test]
async fn writes_end_after_their_longest_wait() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quiet = silent.local_addr().unwrap().port();
    let (port, _task) = pong().await;
    let built = Registry::new()
        .guest("flood", GUEST, "flood", SHORT)
        .guest("connect", GUEST, "connect", SHORT)
        .build();
    let loader = open(&built);
    let flood = async |port: u16, count: u64| {
        call(&loader, "flood", &[text("127.0.0.1"), Val::U16(port), Val::U64(count)], Context::default())
            .await
    };
    for _ in 0..2 {
        let error = flood(quiet, 1 << 30).await.unwrap_err();
        // A backtrace may follow.
        assert!(matches!(error.lines().next(), Some("timed out" | "timeout")), "{error}");
        assert_eq!(on(&loader, "connect", "127.0.0.1", port).await.unwrap(), "pong");
        // The system takes a little, whether anybody reads it or not.
        assert_eq!(flood(quiet, 1 << 10).await, Ok(String::new()));
    }
}

/// What an application says holds where an entry says nothing.
#[tokio::test]
async fn an_application_bounds_the_waits_of_all_its_entries() {
    let (silent, slow) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let own =
        |more: &str| format!("imports: [\"wasi:sockets\"]\nnetwork: {{allow: [\"127.0.0.1:*\"]}}\n{more}");
    let built = Registry::new()
        .file(".wippy.yaml", "wasm: {limits: {socket_timeout_ms: 500}}\n")
        .guest("default", GUEST, "connect", &own(""))
        .guest("patient", GUEST, "connect", &own("limits: {socket_timeout_ms: 3600000}"))
        .build();
    let loader = open(&built);
    let patient = on(&loader, "patient", "127.0.0.1", port(&slow));
    let others = async {
        let mut stream = slow.accept().await.unwrap().0;
        stream.read_exact(&mut [0; 4]).await.unwrap();
        for _ in 0..2 {
            let error = on(&loader, "default", "127.0.0.1", port(&silent)).await.unwrap_err();
            assert!(matches!(error.as_str(), "read" | "timeout"), "{error}");
        }
        stream.write_all(b"pong").await.unwrap();
    };
    let (patient, ()) = tokio::join!(patient, others);
    assert_eq!(patient.unwrap(), "pong");
    // The next one has its time.
    let (answered, ()) = tokio::join!(on(&loader, "default", "127.0.0.1", port(&slow)), async {
        slow.accept().await.unwrap().0.write_all(b"pong").await.unwrap();
    });
    assert_eq!(answered.unwrap(), "pong");
}
