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
