//! Streams of sockets of WASI 0.3, which have outcomes of their own.

use loader::{Context, Val};
use tokio::net::TcpListener;

use super::GUEST;
use crate::shared::{call, open, text};
use crate::support::Registry;

const SHORT: &str = "imports: [\"wasi:sockets\", \"wasi:clocks\"]\nlimits: {socket_timeout_ms: 500}\nnetwork: \
                     {allow: [\"127.0.0.1:*\"]}";

/// Who wrote everything waits for it to be sent, and who reads no further for nothing.
#[tokio::test]
async fn outcomes_come_within_the_longest_wait() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let args = [text("127.0.0.1"), Val::U16(silent.local_addr().unwrap().port())];
    let methods = ["deliver", "ignore"];
    let built = methods.iter().fold(Registry::new(), |all, name| all.guest(name, GUEST, name, SHORT)).build();
    let loader = open(&built);
    for _ in 0..2 {
        let delivered = call(&loader, "deliver", &args, Context::default()).await;
        assert_eq!(delivered, Err("timeout".to_owned()));
        assert_eq!(call(&loader, "ignore", &args, Context::default()).await, Ok(String::new()));
    }
}

/// A connection counts until its streams are at their end, whether its socket is there or not.
#[tokio::test]
async fn streams_without_their_sockets_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Val::U16(listener.local_addr().unwrap().port());
    let more = |limits: &str| {
        format!(
            "imports: [\"wasi:sockets\", \"wasi:clocks\"]\nlimits: {{max_open_sockets: 3{limits}}}\nnetwork: \
             {{allow: [\"127.0.0.1:*\"]}}"
        )
    };
    let built = Registry::new()
        .guest("any", GUEST, "keep", &more(""))
        .guest("bounded", GUEST, "keep", &more(", socket_timeout_ms: 60000"))
        .build();
    let loader = open(&built);
    let keep = async |name: &str, count: u32| {
        let args = [text("127.0.0.1"), port.clone(), Val::U32(count)];
        match loader.call(&format!("app:{name}"), &args).await {
            Ok(Some(Val::Result(Ok(Some(kept))))) => match *kept {
                Val::List(rounds) => rounds,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..2 {
        assert_eq!(keep("any", 9).await, [Val::U32(3), Val::U32(3)]);
        assert_eq!(keep("any", 2).await, [Val::U32(2), Val::U32(2)]);
        // There, a connection that is read no further is open, and counts, until its other end says something.
        assert_eq!(keep("bounded", 9).await[0], Val::U32(3));
    }
}
