//! Guests of WASI 0.2.

use loader::Val;
use tokio::net::TcpListener;

use crate::shared::{call, open, text};
use crate::support::{REACH as GUEST, Registry};

#[path = "http.rs"]
mod http;
#[path = "sockets.rs"]
mod sockets;

/// A connection whose other end never says anything.
#[tokio::test]
async fn a_stream_ends_after_its_longest_wait() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let more =
        "imports: [\"wasi:sockets\"]\nlimits: {socket_timeout_ms: 500}\nnetwork: {allow: [\"127.0.0.1:*\"]}";
    let built = Registry::new().guest("connect", GUEST, "connect", more).build();
    let loader = open(&built);
    let args = [text("127.0.0.1"), Val::U16(silent.local_addr().unwrap().port())];
    for _ in 0..2 {
        let outcome = call(&loader, "connect", &args, loader::Context::default()).await;
        assert_eq!(outcome, Err("read".to_owned()));
    }
}
