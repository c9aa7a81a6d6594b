//! Memory of what leaves the machine: a body counts until it is sent.

use std::time::Duration;

use loader::{Data, ErrorKind, Loader, Options};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::shared::{options, policy, with_policies};
use crate::support::{Built, Registry};

const BODY_BYTES: u64 = 32 << 20;

/// Lets others run until `reached`.
async fn until(reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    // Only reached when something is wrong.
    tokio::time::timeout(Duration::from_secs(120), reached).await.expect("it comes to that");
}

/// A function that sends a form with a file, which is in no memory of Lua.
fn sending() -> Built {
    let source = "- name: f
  kind: function.lua
  modules: [http_client, fs]
  source: |
    local http_client, fs = require('http_client'), require('fs')
    return function(url)
      local file = assert(assert(fs.get('app:data')):open('big'))
      local response, err = http_client.post(url, {files = {{name = 'big', reader = file}}})
      return nil, err
    end
";
    Registry::new()
        .entries("- name: data\n  kind: fs.directory\n  directory: data\n")
        .entries(&policy("all", "[http_client.request, http_client.private_ip, fs.get]", "\"*\""))
        .entries(source)
        .file("data/big", &"x".repeat(usize::try_from(BODY_BYTES).unwrap()))
        .build()
}

#[tokio::test]
async fn a_body_counts_while_it_is_sent() {
    let built = sending();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let begin = |loader: &Loader| {
        let (loader, url) = (loader.clone(), Data::from(url.clone()));
        tokio::spawn(
            async move { loader.call_data("app:f", vec![url], with_policies(&loader, &["all"])).await },
        )
    };
    let loader = Loader::builder().options(options(&built)).open(&built).unwrap();
    for _ in 0..2 {
        let sending = begin(&loader);
        // It reads the first of it and no more.
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        assert!(loader.memory().used >= BODY_BYTES, "{} bytes", loader.memory().used);
        sending.abort();
        drop(stream);
        until(|| loader.memory().used == 0).await;
    }
    // Where all guests have less, it is not sent.
    let few = Options { memory_bytes_max: Some(BODY_BYTES), ..options(&built) };
    let loader = Loader::builder().options(few).open(&built).unwrap();
    let error = begin(&loader).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let message = format!("limit `wasm.total.max_memory_bytes` of {BODY_BYTES} was reached");
    assert!(error.message().contains(&message), "{error}");
    drop(loader);
}
