//! Large bodies: they pass through handlers part by part.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

use crate::app::{App, endpoint, lua, registry};
use crate::support::{Registry, SERVE, SERVE_ASYNC};

const BODY: usize = 64 << 20;
const PART: usize = 64 << 10;
/// Most bytes on the way at once: in the buffers of both sides' sockets (10 MiB as Linux has them by default), and
/// little else.
const HELD_MAX: usize = 14 << 20;

fn large(more: &str) -> Registry {
    registry(&format!("limits: {{max_body_bytes: {BODY}}}\n{more}"), "")
}

/// Sends a body to `POST /echo` and takes it back, each byte compared; what was on the way at most.
async fn echo(app: &App) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let stream = socket.connect(app.address()).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let parts = futures_util::stream::iter((0..BODY / PART).map(move |number| {
        counted.fetch_add(PART, Ordering::Relaxed);
        Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from(vec![number as u8; PART])))
    }));
    let request = http::Request::post("/echo").header("host", "x").body(StreamBody::new(parts)).unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    let (mut back, mut held_max) = (0, 0);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        let expected = data.iter().enumerate().all(|(at, byte)| *byte == ((back + at) / PART) as u8);
        assert!(expected, "after {back} bytes");
        held_max = held_max.max(sent.load(Ordering::Relaxed) - back);
        back += data.len();
    }
    assert_eq!(back, BODY);
    held_max
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_lua() {
    let source = r#"
local stream = req:stream()
while true do
  local part, err = stream:read(65536)
  assert(not err)
  if not part then break end
  res:write(part)
end
"#;
    let app = App::new(lua(large(""), "f", "POST /echo", source)).await;
    let held = echo(&app).await;
    assert!(held <= HELD_MAX, "{held} bytes, {:?}", app.logged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_component_of_wasi_0_2() {
    let registry = large("").guest("serve", SERVE, "incoming-handler#handle", "");
    let app = App::new(endpoint(registry, "echo", "POST /echo", "serve")).await;
    let held = echo(&app).await;
    assert!(held <= HELD_MAX, "{held} bytes, {:?}", app.logged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_component_of_wasi_0_3() {
    let registry = large("").guest("serve", SERVE_ASYNC, "handler#handle", "");
    let app = App::new(endpoint(registry, "echo", "POST /echo", "serve")).await;
    let held = echo(&app).await;
    assert!(held <= HELD_MAX, "{held} bytes, {:?}", app.logged());
}
