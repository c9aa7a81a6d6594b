//! Limits of the connector and its waits: each is reached, others go on, and it works again afterwards. Servers are
//! on the loopback interface; where time has to pass, it is paused and passes by itself.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use registry_schema::EntryId;
use registry_schema::authored::network::Destination;
use registry_schema::authored::scalar::{FromScalar, Scalar};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{advance, pause, resume, timeout};
use wasmtime_wasi_http::WasiBody;

use super::client::{Egress, Route, Timeouts};
use super::connection::{Connection, Failure};
use super::names::Names;
use super::places::Room;
use super::pool::{Key, Pool};
use super::rules::Rules;
use super::target::Target;
use super::tls::Tls;
use crate::config::{
    EGRESS_ADDRESSES_MAX, EGRESS_CONNECT, EGRESS_IDLE, EGRESS_IDLE_MAX, EGRESS_IDLE_PER_SERVER_MAX,
    EGRESS_LOOKUPS_MAX, EGRESS_WRITE,
};
use crate::context::Context;

/// Rules that open this machine, and names below `test`.
fn open() -> Rules {
    rules(&["127.0.0.1:*", "*.test:*"])
}

/// Rules that open what `allow` lists.
fn rules(allow: &[&str]) -> Rules {
    let item = |item: &&str| Destination::from_scalar(Scalar::Text((*item).into())).unwrap();
    Rules::new(Weak::new(), Context::default(), Some(allow.iter().map(item).collect()))
}

fn tls() -> Tls {
    Tls::new(Vec::new())
}

fn egress(names: Names, connections_max: usize) -> Egress {
    Egress::with_room(tls(), names, Room { of_all: connections_max, of_entry: connections_max })
}

fn entry(id: &str) -> Arc<EntryId> {
    Arc::new(id.parse().unwrap())
}

async fn connect(egress: &Egress, url: &str) -> Result<Connection, Failure> {
    let target = Target::parse(url).unwrap();
    egress.connect(&entry("app:one"), &open(), &target, &Route::Shared, Timeouts::default()).await
}

/// What went wrong, as it is said.
fn said(outcome: Result<Connection, Failure>) -> String {
    outcome.err().expect("there is no connection").to_string()
}

fn request(body: Vec<u8>) -> Request<WasiBody> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    Request::post("http://server.test/").header("host", "server.test").body(body).unwrap()
}

/// Asks for nothing; the answer's status.
async fn ask(connection: &mut Connection) -> StatusCode {
    connection.send(request(Vec::new())).await.map_err(|unsent| unsent.into_error()).unwrap().status()
}

/// A server that answers every request with nothing; how many of its connections are open, and its address.
async fn server(address: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                while read_head(&mut stream).await {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

/// Reads the head of a request; `false` at the end of the connection.
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

#[tokio::test]
async fn connections_at_once() {
    let (address, open) = server("127.0.0.1:0").await;
    let url = format!("http://{address}/");
    let egress = egress(Names::new(), 2);
    let (mut first, mut second) =
        (connect(&egress, &url).await.unwrap(), connect(&egress, &url).await.unwrap());
    pause();
    assert_eq!(said(connect(&egress, &url).await), "no connection in time");
    resume();
    // Those that are open go on.
    assert_eq!(ask(&mut first).await, StatusCode::OK);
    assert_eq!(ask(&mut second).await, StatusCode::OK);
    assert_eq!(open.load(Ordering::SeqCst), 2);
    drop(second);
    let mut third = connect(&egress, &url).await.unwrap();
    assert_eq!(ask(&mut third).await, StatusCode::OK);
}

/// An entry that has all the places that one may have does not keep others from theirs.
#[tokio::test]
async fn connections_of_one_entry() {
    let (address, open) = server("127.0.0.1:0").await;
    let egress = Egress::with_room(tls(), Names::new(), Room { of_all: 9, of_entry: 2 });
    let target = Target::parse(&format!("http://{address}/")).unwrap();
    let rules = self::open();
    let connect = async |id: &str| {
        egress.connect(&entry(id), &rules, &target, &Route::Shared, Timeouts::default()).await
    };
    for _ in 0..2 {
        let first = connect("app:one").await.unwrap();
        let mut second = connect("app:one").await.unwrap();
        let mut third = pin!(connect("app:one"));
        assert!(timeout(Duration::ZERO, &mut third).await.is_err());
        let mut other = connect("app:two").await.unwrap();
        assert_eq!(ask(&mut other).await, StatusCode::OK);
        assert_eq!(ask(&mut second).await, StatusCode::OK);
        assert_eq!(open.load(Ordering::SeqCst), 3, "the third waits");
        pause();
        assert_eq!(said(third.await), "no connection in time");
        resume();
        let mut fourth = pin!(connect("app:one"));
        assert!(timeout(Duration::ZERO, &mut fourth).await.is_err());
        drop(first);
        assert_eq!(ask(&mut fourth.await.unwrap()).await, StatusCode::OK);
        drop((second, other));
        while open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }
    // Entries without connections are forgotten.
    let _last = connect("app:three").await.unwrap();
    assert_eq!(egress.places().entries(), 1);
}

/// Idle connections of an entry give way to one for which there is no place.
#[tokio::test]
async fn idle_connections_give_way() {
    let (address, _) = server("127.0.0.1:0").await;
    let egress = Egress::with_room(tls(), Names::new(), Room { of_all: 9, of_entry: 2 });
    let url = format!("http://{address}/");
    let (own, other) = (key("app:one", address), key("app:two", address));
    let (pool, rules) = (egress.pool(), open());
    let stranger = connect(&self::egress(Names::new(), 1), &url).await.unwrap();
    pool.give(other.clone(), stranger);
    for _ in 0..2 {
        pool.give(own.clone(), connect(&egress, &url).await.unwrap());
        pool.give(own.clone(), connect(&egress, &url).await.unwrap());
        assert_eq!(pool.keys(), 2);
        let first = connect(&egress, &url).await.unwrap();
        assert_eq!(pool.keys(), 1, "those of the other entry are kept");
        // One that ends while another waits is not kept.
        let second = connect(&egress, &url).await.unwrap();
        let mut third = pin!(connect(&egress, &url));
        assert!(timeout(Duration::ZERO, &mut third).await.is_err());
        pool.give(own.clone(), second);
        assert_eq!(pool.keys(), 1);
        let mut third = third.await.unwrap();
        assert_eq!(ask(&mut third).await, StatusCode::OK);
        // Nobody waits any more.
        pool.give(own.clone(), first);
        assert!(pool.take(&own, &rules).is_some());
    }
    assert!(pool.take(&other, &rules).is_some());
}

/// A loader and the one in its place have the room of one, also where what is idle is the other's.
#[tokio::test]
async fn a_successor_has_no_room_of_its_own() {
    let (address, open) = server("127.0.0.1:0").await;
    let url = format!("http://{address}/");
    let before = egress(Names::new(), 1);
    let next = before.successor(tls(), Names::new());
    let busy = connect(&before, &url).await.unwrap();
    let mut waiting = pin!(connect(&next, &url));
    assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
    assert_eq!(open.load(Ordering::SeqCst), 1);
    drop(busy);
    drop(waiting.await.unwrap());
    before.pool().give(key("app:one", address), connect(&before, &url).await.unwrap());
    assert_eq!((before.pool().keys(), next.pool().keys()), (1, 0));
    let mut last = connect(&next, &url).await.unwrap();
    assert_eq!(before.pool().keys(), 0, "what is idle gives way");
    assert_eq!(ask(&mut last).await, StatusCode::OK);
}

/// That of a loader has the room that the limits say.
#[tokio::test]
async fn a_loader_s_own_room() {
    let egress = Egress::new(tls(), Names::new());
    assert_eq!(egress.places().room(), Room { of_all: 1_024, of_entry: 256 });
    assert_eq!(Pool::default().room(), EGRESS_IDLE_MAX);
}

fn key(entry: &str, address: SocketAddr) -> Key {
    let target = Target::parse(&format!("http://{address}/")).unwrap();
    Key::new(&self::entry(entry), &target)
}

#[tokio::test]
async fn idle_connections() {
    let (address, _) = server("127.0.0.1:0").await;
    let url = format!("http://{address}/");
    let egress = egress(Names::new(), 9);
    let pool = Arc::new(Pool::with_room(2));
    let rules = open();
    let keys = ["app:one", "app:two", "app:three"].map(|entry| key(entry, address));
    let give = async |key: &Key| pool.give(key.clone(), connect(&egress, &url).await.unwrap());
    let is_kept = |key: &Key| pool.take(key, &rules).is_some();
    for key in &keys {
        give(key).await;
    }
    // The third was one too many, and the others are still there.
    assert!(!is_kept(&keys[2]));
    let mut first = pool.take(&keys[0], &rules).unwrap();
    assert_eq!(ask(&mut first).await, StatusCode::OK);
    // There is room again.
    give(&keys[2]).await;
    give(&keys[0]).await;
    assert_eq!(keys.each_ref().map(is_kept), [false, true, true]);
}

#[tokio::test]
async fn idle_connections_to_one_server() {
    let (address, _) = server("127.0.0.1:0").await;
    let egress = egress(Names::new(), 99);
    let pool = Arc::new(Pool::default());
    let key = key("app:one", address);
    for _ in 0..=EGRESS_IDLE_PER_SERVER_MAX {
        pool.give(key.clone(), connect(&egress, &format!("http://{address}/")).await.unwrap());
    }
    let rules = open();
    let kept = std::iter::from_fn(|| pool.take(&key, &rules)).count();
    assert_eq!(kept, EGRESS_IDLE_PER_SERVER_MAX);
}

/// What is known of servers goes with their connections.
#[tokio::test]
async fn servers_without_idle_connections_are_forgotten() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let egress = egress(Names::new(), 1);
    let (pool, rules) = (Arc::new(Pool::default()), open());
    let entry = entry("app:one");
    let key = |host: usize| Key::new(&entry, &Target::parse(&format!("http://{host}.test/")).unwrap());
    let mut connection = connect(&egress, &format!("http://{address}/")).await.unwrap();
    for host in 0..2 * EGRESS_IDLE_MAX {
        pool.give(key(host), connection);
        assert_eq!(pool.keys(), 1);
        assert!(pool.take(&key(host + 1), &rules).is_none());
        connection = pool.take(&key(host), &rules).unwrap();
        assert_eq!(pool.keys(), 0);
    }
    // One that is closed already is not kept.
    drop(listener.accept().await.unwrap());
    while connection.is_ready().await {
        tokio::task::yield_now().await;
    }
    pool.give(key(0), connection);
    assert_eq!(pool.keys(), 0);
}

/// Nobody has to ask for another one.
#[tokio::test]
async fn an_idle_connection_is_closed_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let egress = egress(Names::new(), 1);
    let pool = Arc::new(Pool::default());
    for _ in 0..2 {
        let connection = connect(&egress, &format!("http://{address}/")).await.unwrap();
        let mut stream = listener.accept().await.unwrap().0;
        let began = tokio::time::Instant::now();
        pool.give(key("app:one", address), connection);
        pause();
        let closed = timeout(2 * EGRESS_IDLE, stream.read(&mut [0; 8])).await;
        assert_eq!(closed.expect("it is closed").unwrap(), 0);
        assert!(began.elapsed() >= EGRESS_IDLE);
        resume();
    }
}

/// A look-up that answers when it may.
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

/// Opens its gate however the test ends: the runtime waits for its threads.
struct Opening(Arc<Gate>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

/// Who gives up does not free the thread that still looks for him.
#[tokio::test]
async fn look_ups_at_once() {
    let (address, _) = server("127.0.0.1:0").await;
    let gate = Arc::new(Gate { is_open: Mutex::new(false), opened: Condvar::new() });
    let (begin, mut began) = mpsc::unbounded_channel();
    let (passed, _opening) = (Arc::clone(&gate), Opening(Arc::clone(&gate)));
    let names = Names::by(Arc::new(move |host: &str| {
        begin.send(host.to_owned()).unwrap();
        passed.pass();
        Ok(vec![(Ipv4Addr::LOCALHOST, 0).into()])
    }));
    let egress = egress(names.clone(), 99);
    for _ in 0..EGRESS_LOOKUPS_MAX {
        let names = names.clone();
        let looking = tokio::spawn(async move { names.look_up("slow.test").await });
        assert_eq!(began.recv().await.unwrap(), "slow.test");
        looking.abort();
    }
    let url = format!("http://next.test:{}/", address.port());
    pause();
    // Time does not pass by itself while a thread looks.
    let (late, ()) = tokio::join!(connect(&egress, &url), advance(2 * EGRESS_CONNECT));
    resume();
    assert_eq!(said(late), "no connection in time");
    assert!(began.try_recv().is_err(), "no further look-up began");
    // What needs none goes on.
    let mut literal = connect(&egress, &format!("http://{address}/")).await.unwrap();
    assert_eq!(ask(&mut literal).await, StatusCode::OK);
    gate.open();
    let mut named = connect(&egress, &url).await.unwrap();
    assert_eq!(ask(&mut named).await, StatusCode::OK);
    assert_eq!(began.recv().await.unwrap(), "next.test");
}

/// A name that can't be reached is not told to those who answer for it.
#[tokio::test]
async fn names_that_are_not_looked_up() {
    let (address, _) = server("127.0.0.1:0").await;
    let (begin, mut began) = mpsc::unbounded_channel();
    let names = Names::by(Arc::new(move |host: &str| {
        begin.send(host.to_owned()).unwrap();
        Ok(vec![(Ipv4Addr::LOCALHOST, 0).into()])
    }));
    let egress = egress(names, 9);
    let port = address.port();
    let target = Target::parse(&format!("http://secret.test:{port}/")).unwrap();
    let connect = async |allow: &[&str]| {
        let rules = rules(allow);
        egress.connect(&entry("app:one"), &rules, &target, &Route::Shared, Timeouts::default()).await
    };
    let (here, elsewhere) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port ^ 1));
    let other_port = format!("secret.test:{}", port ^ 1);
    let closed: [&[&str]; 4] = [&[], &["*.other.test:*"], &[&other_port], &[&elsewhere]];
    for allow in closed {
        let problem = said(connect(allow).await);
        assert_eq!(problem, format!("not allowed: `network.allow` does not list `secret.test:{port}`"));
        assert!(began.try_recv().is_err(), "{allow:?}");
    }
    // An address may be what a name stands for.
    let open: [&[&str]; 3] = [&["secret.test:*"], &["*.test:*"], &[&here]];
    for allow in open {
        connect(allow).await.unwrap();
        assert_eq!(began.try_recv().unwrap(), "secret.test", "{allow:?}");
    }
    // The name was looked up for an address that it does not have.
    let problem = said(connect(&["127.7.7.7:*"]).await);
    assert_eq!(problem, format!("not allowed: `network.allow` does not list `secret.test:{port}`"));
    assert_eq!(began.try_recv().unwrap(), "secret.test");
}

#[tokio::test]
async fn addresses_of_one_name() {
    // Nobody listens at the first ones.
    let last = u8::try_from(EGRESS_ADDRESSES_MAX).unwrap();
    let (good, _) = server(&format!("127.7.7.{}:0", last + 1)).await;
    let names = Names::by(Arc::new(move |host: &str| {
        let first = if host == "many.test" { 1 } else { 2 };
        Ok((first..=last + 1).map(|at| ([127, 7, 7, at], 0).into()).collect())
    }));
    let egress = egress(names, 9);
    let url = |host: &str| format!("http://{host}:{}/", good.port());
    for _ in 0..2 {
        let problem = said(connect(&egress, &url("many.test")).await);
        assert_eq!(problem, "can't connect: Connection refused (os error 111)");
        let mut connection = connect(&egress, &url("few.test")).await.unwrap();
        assert_eq!(ask(&mut connection).await, StatusCode::OK);
    }
}

/// An address that does not answer leaves the others their part of the time.
#[tokio::test]
async fn the_wait_for_one_of_several_addresses() {
    // Its queue is full: a further connection waits for ever.
    let full = TcpSocket::new_v4().unwrap();
    full.bind(([127, 8, 8, 1], 0).into()).unwrap();
    let full = full.listen(1).unwrap();
    let port = full.local_addr().unwrap().port();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(TcpStream::connect(full.local_addr().unwrap()).await.unwrap());
    }
    let _good = server(&format!("127.8.8.2:{port}")).await;
    let names = Names::by(Arc::new(|host: &str| {
        let last: &[u8] = match host {
            "second.test" => &[1, 2],
            "fourth.test" => &[1, 1, 1, 2],
            // Nobody listens at the third one.
            "closed.test" => &[1, 3],
            _ => &[1, 1],
        };
        Ok(last.iter().map(|last| ([127, 8, 8, *last], 0).into()).collect())
    }));
    let egress = egress(names, 1);
    let connect = async |host: &str| {
        let target = Target::parse(&format!("http://{host}:{port}/")).unwrap();
        pause();
        let began = tokio::time::Instant::now();
        let connected =
            egress.connect(&entry("app:one"), &open(), &target, &Route::Shared, Timeouts::default()).await;
        let took = began.elapsed();
        resume();
        (connected, took)
    };
    for (host, waits) in [("second.test", EGRESS_CONNECT / 2), ("fourth.test", EGRESS_CONNECT * 3 / 4)] {
        let (connected, took) = connect(host).await;
        assert_eq!(ask(&mut connected.unwrap()).await, StatusCode::OK);
        assert!(took >= waits && took < EGRESS_CONNECT, "{host}: {took:?}");
    }
    let (refused, _) = connect("closed.test").await;
    assert_eq!(said(refused), "can't connect: Connection refused (os error 111)");
    let (late, took) = connect("silent.test").await;
    assert_eq!(said(late), "no connection in time");
    assert!(took >= EGRESS_CONNECT);
}

/// A server that says nothing while encryption is agreed on; its place is free afterwards.
#[tokio::test]
async fn the_wait_for_encryption() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (good, _) = server("127.0.0.1:0").await;
    let egress = egress(Names::new(), 1);
    let url = format!("https://{}/", silent.local_addr().unwrap());
    for _ in 0..2 {
        let late = tokio::select! {
            late = connect(&egress, &url) => late,
            () = async {
                let mut stream = silent.accept().await.unwrap().0;
                assert!(stream.read(&mut [0; 8]).await.unwrap() > 0);
                pause();
                std::future::pending::<()>().await;
            } => unreachable!("it never ends"),
        };
        resume();
        assert_eq!(said(late), "no connection in time");
        let mut connection = connect(&egress, &format!("http://{good}/")).await.unwrap();
        assert_eq!(ask(&mut connection).await, StatusCode::OK);
    }
}

/// A server that answers at once and takes nothing of the request's body: the connection ends, whether somebody looks
/// at the answer or not, and its place is free.
#[tokio::test]
async fn the_wait_for_a_server_to_take_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let egress = egress(Names::new(), 1);
    let target = Target::parse(&format!("http://{address}/")).unwrap();
    let patient = Timeouts { connect: 9 * EGRESS_WRITE, ..Timeouts::default() };
    for is_looked_at in [true, false] {
        let mut connection = connect(&egress, &format!("http://{address}/")).await.unwrap();
        let mut stream = listener.accept().await.unwrap().0;
        let (response, ()) = tokio::join!(connection.send(request(vec![0; 64 << 20])), async {
            assert!(read_head(&mut stream).await);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        });
        let mut response = response.map_err(|unsent| unsent.into_error()).unwrap();
        drop(connection);
        pause();
        if is_looked_at {
            let part = timeout(9 * EGRESS_WRITE, response.body_mut().frame()).await;
            assert!(part.expect("it ends").unwrap().is_err());
        }
        let next = egress.connect(&entry("app:one"), &open(), &target, &Route::Shared, patient).await;
        resume();
        drop((next.unwrap(), listener.accept().await.unwrap()));
    }
}

/// A connection whose answer ended before its request did takes no further one.
#[tokio::test]
async fn an_answer_before_the_end_of_its_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let egress = egress(Names::new(), 9);
    let full = |bytes: Vec<u8>| request(bytes).into_body();
    let endless = || StreamBody::new(futures_util::stream::pending()).boxed_unsync();
    // What a server reads of a body before it answers, and whether all was written then.
    for (body, read, is_kept) in [
        (full(Vec::new()), 0, true),
        (full(vec![0; 8 << 20]), 8 << 20, true),
        (full(vec![0; 64 << 20]), 0, false),
        (endless(), 0, false),
    ] {
        let mut connection = connect(&egress, &format!("http://{address}/")).await.unwrap();
        let mut stream = listener.accept().await.unwrap().0;
        let (response, ()) = tokio::join!(connection.send(request(Vec::new()).map(|_| body)), async {
            assert!(read_head(&mut stream).await);
            stream.read_exact(&mut vec![0; read]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        });
        let response = response.map_err(|unsent| unsent.into_error()).unwrap();
        let key = key("app:one", address);
        let response = egress.answered(response, key.clone(), connection, Timeouts::default());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(egress.pool().keys(), usize::from(is_kept), "{read} bytes");
        assert_eq!(egress.pool().take(&key, &open()).is_some(), is_kept);
    }
}

/// One that takes a little at a time is waited for.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_no_silent_one() {
    let (near, mut far) = tokio::io::duplex(4);
    let mut near = super::stall::Stalling::new(near, EGRESS_WRITE, Arc::default());
    let reading = async {
        for _ in 0..4 {
            tokio::time::sleep(EGRESS_WRITE * 3 / 4).await;
            far.read_exact(&mut [0; 4]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(near.write_all(&[0; 20]), reading);
    written.unwrap();
    let stuck = timeout(2 * EGRESS_WRITE, near.write_all(&[0; 1])).await;
    let error = stuck.expect("it ends").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), format!("the other end took nothing for {EGRESS_WRITE:?}"));
}
