//! The program `loader run` as a server: another bundle in its place, signals, probes, a service manager.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::process::{Child, Command, Stdio};

use loader::config::HTTP_CONNECTIONS_MAX;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::app::{Client, lua, registry};
use crate::support::{Built, Registry, temporary_folder};

const STARTS: &str = "lifecycle: {auto_start: true}";
const METRICS: [&str; 4] = ["--set", "prometheus.enabled=true", "--set", "prometheus.address=127.0.0.1:0"];

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A program under way.
struct Program {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    passed_over: Vec<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(built: &Built, options: &[&str]) -> Self {
        Self::start_with(built, options, &[])
    }

    fn start_with(built: &Built, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
        command.arg("--bundle").arg(built.as_ref()).args(options).arg("run");
        command.envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines, passed_over: Vec::new() }
    }

    /// The first line that has `part` and was not asked for before.
    async fn line(&mut self, part: &str) -> String {
        loop {
            if let Some(index) = self.passed_over.iter().position(|line| line.contains(part)) {
                return self.passed_over.remove(index);
            }
            match self.lines.recv().await {
                Some(line) => self.passed_over.push(line),
                None => panic!("no line with `{part}` in {:#?}", self.passed_over),
            }
        }
    }

    /// Where the service `app:NAME` listens.
    async fn address(&mut self, name: &str) -> SocketAddr {
        let line = self.line(&format!("[app:{name}] listens on ")).await;
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Puts `next` in the bundle's place.
    async fn reload(&mut self, built: &Built, next: Registry) {
        next.build_over(built);
        self.signal("-HUP");
        self.line("reloaded: ").await;
    }

    /// Its exit code, and the lines that it wrote until then.
    async fn ended(&mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = std::mem::take(&mut self.passed_over);
        while let Some(line) = self.lines.recv().await {
            lines.push(line);
        }
        (self.child.wait().unwrap().code(), lines)
    }
}

/// An application whose answer, what it calls and what it supervises name the same version.
fn version(number: u32) -> Registry {
    let source = format!("local inner = require('funcs').call('app:inner')\nres:write('{number} ' .. inner)");
    lua(registry(STARTS, ""), "f", "GET /", &source).entries(&format!(
        r#"
- name: inner
  kind: function.lua
  source: |
    return function() return '{number}' end
- {{name: host, kind: process.host}}
- name: worker
  kind: process.lua
  source: |
    return function()
      print('worker {number} begins')
      process.events():receive()
      print('worker {number} ends')
    end
- name: service
  kind: process.service
  process: worker
  host: host
  lifecycle: {{auto_start: true}}
"#
    ))
}

/// Makes room for `count` descriptors in this process and those that it starts, if the machine lets it.
fn descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    limit.current.is_none_or(|current| current >= count)
        || setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit }).is_ok()
}

#[tokio::test]
async fn clients_beyond_the_connections_of_a_server_wait_for_one_to_go() {
    if !descriptors(HTTP_CONNECTIONS_MAX as u64 + 500) {
        println!("skipped: `ulimit -Hn` is too low for {HTTP_CONNECTIONS_MAX} connections");
        return;
    }
    let (_built, _program, address) = hello().await;
    let mut held = Vec::new();
    for _ in 0..HTTP_CONNECTIONS_MAX {
        held.push(answered(address).await);
    }
    one_waits(address, held).await;
}

#[tokio::test]
async fn clients_wait_for_a_descriptor_to_go() {
    let (_built, program, address) = hello().await;
    // What the first answer needs stays open.
    let mut held = vec![answered(address).await];
    let pid = program.child.id();
    let open =
        || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().file_name());
    let highest = open().map(|number| number.into_string().unwrap().parse::<usize>().unwrap()).max().unwrap();
    // The limit is one of numbers, and those that are free below it are given first.
    let limit = highest + 4;
    let limits = Rlimit { current: Some(limit as u64), maximum: Some(limit as u64) };
    prlimit(Pid::from_raw(pid.cast_signed()), Resource::Nofile, limits).unwrap();
    while open().count() != limit {
        held.push(answered(address).await);
    }
    one_waits(address, held).await;
}

/// A program that serves `hello`, and where.
async fn hello() -> (Built, Program, SocketAddr) {
    let built = lua(registry(STARTS, ""), "hello", "GET /", "res:write('hello')").build();
    let mut program = Program::start(&built, &[]);
    let address = program.address("web").await;
    (built, program, address)
}

/// A connection that was answered once.
async fn answered(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await;
    stream
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
}

/// One client more than `held` is served when another has gone, and not before.
async fn one_waits(address: SocketAddr, mut held: Vec<TcpStream>) {
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(REQUEST).await.unwrap();
    // Those who are in are served meanwhile.
    for round in 0..100 {
        let at = round % held.len();
        ask(&mut held[at]).await;
    }
    let mut buffer = [0; 1024];
    assert_eq!(next.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    held.pop();
    assert!(next.read(&mut buffer).await.unwrap() > 0);
}

#[tokio::test]
async fn ten_bundles_take_each_others_place_under_one_connection() {
    let built = version(0).build();
    let mut program = Program::start(&built, &[]);
    let address = program.address("web").await;
    program.line("ready: ").await;
    // Another connection never rests.
    let busy = tokio::spawn(async move {
        let mut client = Client::new(address).await;
        loop {
            let answer = client.ask(http::Request::get("/"), "").await;
            let (outer, inner) = answer.text().split_once(' ').unwrap();
            assert_eq!((answer.status, outer), (200, inner));
            if outer == "10" {
                return;
            }
        }
    });
    let mut client = Client::new(address).await;
    for number in 1..=10 {
        program.reload(&built, version(number)).await;
        let expected = format!("{number} {number}");
        assert_eq!(client.ask(http::Request::get("/"), "").await.short(), (200, expected.as_str()));
    }
    busy.await.unwrap();
    program.signal("-TERM");
    let (code, lines) = program.ended().await;
    assert_eq!(
        (code, lines.contains(&"[app:worker] worker 10 ends".to_owned())),
        (Some(0), true),
        "{lines:?}"
    );
}

#[tokio::test]
async fn services_start_on_the_next_bundle_and_leave_the_last() {
    let built = version(1).build();
    let mut program = Program::start(&built, &[]);
    program.line("worker 1 begins").await;
    program.line("ready: ").await;
    version(2).build_over(&built);
    program.signal("-HUP");
    program.line("worker 2 begins").await;
    program.line("worker 1 ends").await;
}

#[tokio::test]
async fn a_bad_bundle_is_refused() {
    let built = version(1).build();
    let mut program = Program::start(&built, &[]);
    let address = program.address("web").await;
    program.line("ready: ").await;
    let mut client = Client::new(address).await;
    let good = built.manifest();

    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    built.replace_manifest(&bad);
    program.signal("-HUP");
    let line = program.line("is refused").await;
    assert!(line.contains("goes on: ") && line.starts_with("error: the bundle in `"), "{line}");
    assert_eq!(client.ask(http::Request::get("/"), "").await.short(), (200, "1 1"));

    // A good manifest over a damaged file.
    let next = version(2).answer("number", crate::support::distinct());
    next.build_over(&built);
    let artifact = built.artifact("number").path();
    crate::support::replace(&built.join(&artifact), b"damaged");
    program.signal("-HUP");
    let line = program.line("is refused").await;
    assert!(line.contains(&artifact), "{line}");
    assert_eq!(client.ask(http::Request::get("/"), "").await.short(), (200, "1 1"));

    // A variable that is not set on this machine.
    let unset = format!("timeouts: {{idle: \"${{env:NOWHERE}}\"}}\n{STARTS}");
    lua(registry(&unset, ""), "f", "GET /", "res:write('3')").build_over(&built);
    program.signal("-HUP");
    let line = program.line("is refused").await;
    assert!(line.contains("`app:web`: `timeouts.idle`: variable `NOWHERE` is not set"), "{line}");
    assert_eq!(client.ask(http::Request::get("/"), "").await.short(), (200, "1 1"));

    program.reload(&built, version(4)).await;
    assert_eq!(client.ask(http::Request::get("/"), "").await.short(), (200, "4 4"));
}

/// A handler that starts a process, and passes it the body when it is there; the process says `number` and
/// what it got.
fn slow(number: u32) -> Registry {
    let source = r#"
local pid = process.spawn_monitored('app:kept', 'app:host')
local events = process.events()
res:write('begun ')
res:flush()
process.send(pid, 'body', req:body())
local event = events:receive()
res:write(event.result.value)"#;
    let kept = format!(
        r#"
- {{name: host, kind: process.host}}
- name: kept
  kind: process.lua
  source: |
    return function()
      local received = process.listen('body'):receive()
      return 'ended {number} ' .. tostring(received)
    end
"#
    );
    lua(registry(STARTS, ""), "f", "POST /", source).entries(&kept)
}

/// A request whose body has begun and waits for its last byte.
async fn half_a_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\na";
    stream.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(6).any(|part| part == b"begun ") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    stream
}

/// What is answered when the body is whole.
async fn other_half(mut stream: TcpStream) -> String {
    stream.write_all(b"b").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    rest
}

#[tokio::test]
async fn processes_and_requests_end_on_the_bundle_that_they_began_with() {
    let built = slow(1).build();
    let mut program = Program::start(&built, &[]);
    let address = program.address("web").await;
    program.line("ready: ").await;
    let old = half_a_request(address).await;
    program.reload(&built, slow(2)).await;
    let new = half_a_request(address).await;
    program.reload(&built, version(3)).await;
    assert_eq!(Client::new(address).await.ask(http::Request::get("/"), "").await.text(), "3 3");
    assert!(other_half(old).await.contains("ended 1 ab"));
    assert!(other_half(new).await.contains("ended 2 ab"));
    program.signal("-TERM");
    assert_eq!(program.ended().await.0, Some(0));
}

#[tokio::test]
async fn services_are_added_moved_and_removed() {
    let service = |name: &str, address: &str, answer: &str| {
        Registry::new().entries(&format!(
            r#"
- {{name: {name}, kind: http.service, addr: "{address}", {STARTS}}}
- {{name: api, kind: http.router, meta: {{server: {name}}}}}
- {{name: e, kind: http.endpoint, meta: {{router: api}}, method: GET, path: /, func: f}}
- name: f
  kind: function.lua
  modules: [http]
  source: |
    return function() require("http").response():write("{answer}") end
"#
        ))
    };
    let built = service("web", "127.0.0.1:0", "one").build();
    let mut program = Program::start(&built, &[]);
    let one = program.address("web").await;
    program.line("ready: ").await;
    assert_eq!(Client::new(one).await.ask(http::Request::get("/"), "").await.text(), "one");

    service("web", "127.0.0.2:0", "two").build_over(&built);
    program.signal("-HUP");
    let two = program.address("web").await;
    program.line("reloaded: ").await;
    assert_eq!(Client::new(two).await.ask(http::Request::get("/"), "").await.text(), "two");
    refused(one).await;

    service("other", "127.0.0.1:0", "three").build_over(&built);
    program.signal("-HUP");
    let three = program.address("other").await;
    program.line("reloaded: ").await;
    assert_eq!(Client::new(three).await.ask(http::Request::get("/"), "").await.text(), "three");
    refused(two).await;

    // Renamed, on an address that is taken: the socket stays.
    let fixed = three.to_string();
    service("third", &fixed, "four").build_over(&built);
    program.signal("-HUP");
    program.line("the service `app:third` failed").await;
    program.line("reloaded: ").await;
    assert_eq!(program.address("third").await, three);
    program.reload(&built, service("fourth", &fixed, "five")).await;
    assert_eq!(Client::new(three).await.ask(http::Request::get("/"), "").await.text(), "five");
}

/// Waits until nobody listens there.
async fn refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn probe(address: SocketAddr, path: &str) -> u16 {
    Client::new(address).await.ask(http::Request::get(path), "").await.status
}

#[tokio::test]
async fn a_drain_lets_requests_end_and_probes_know() {
    let built = slow(1).build();
    let mut program = Program::start(&built, &METRICS);
    let metrics = program.line("metrics are served on http://").await;
    let metrics =
        metrics.rsplit_once("http://").unwrap().1.strip_suffix("/metrics").unwrap().parse().unwrap();
    let address = program.address("web").await;
    program.line("ready: ").await;
    assert_eq!((probe(metrics, "/healthz").await, probe(metrics, "/readyz").await), (200, 200));
    // The same address shows the next bundle.
    program.reload(&built, slow(2)).await;
    assert_eq!((probe(metrics, "/healthz").await, probe(metrics, "/readyz").await), (200, 200));
    let under_way = half_a_request(address).await;
    program.signal("-TERM");
    refused(address).await;
    assert_eq!((probe(metrics, "/healthz").await, probe(metrics, "/readyz").await), (200, 503));
    let shown = Client::new(metrics).await.ask(http::Request::get("/metrics"), "").await;
    assert!(shown.text().contains("wippy_calls_running{entry=\"app:f_function\"} 1\n"), "{}", shown.text());
    assert!(other_half(under_way).await.contains("ended 2 ab"));
    let (code, lines) = program.ended().await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(TcpStream::connect(metrics).await.is_err());
}

#[tokio::test]
async fn a_drain_ends_at_its_limits() {
    let wait = "res:write('begun ')\nres:flush()\nreq:body()";
    let service = |stop: &str| {
        lua(
            registry(&format!("lifecycle: {{auto_start: true, stop_timeout: {stop}}}"), ""),
            "f",
            "POST /",
            wait,
        )
        .build()
    };
    for (stop, options, expected) in
        [("50ms", &[][..], (Some(0), false)), ("1h", &["--set", "shutdown.timeout=50ms"], (Some(1), true))]
    {
        let built = service(stop);
        let mut program = Program::start(&built, options);
        let address = program.address("web").await;
        program.line("ready: ").await;
        let mut under_way = half_a_request(address).await;
        program.signal("-TERM");
        let (code, lines) = program.ended().await;
        let said = lines.iter().any(|line| line.contains("the `shutdown.timeout` of 50ms"));
        assert_eq!((code, said), expected, "{lines:?}");
        let mut rest = Vec::new();
        // Cut off: the answer has no end.
        let _ = under_way.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_variable_that_is_missing_stops_boot() {
    let router = "options: {\"ratelimit.requests\": \"${env:RATE}\"}\nmiddleware: [ratelimit]";
    let built = lua(registry(STARTS, router), "f", "GET /", "")
        .wat(
            "limited",
            "(module (func (export \"f\") (result i32) i32.const 1))",
            "wit: \"f: func() -> u32\"\nmethod: f\nlimits: {max_execution_ms: \"${env:TIME}\"}",
        )
        .entries(
            r#"
- {name: os, kind: env.storage.os}
- {name: TIME, kind: env.variable, variable: LOADER_TEST_TIME, storage: os}
"#,
        )
        .build();
    let (code, lines) = Program::start(&built, &[]).ended().await;
    let expected = [
        "error: `app:api`: `options.ratelimit.requests`: variable `RATE` is not set and `${env:RATE}` has no default for it",
        "`app:limited` is not available: `limits.max_execution_ms`: variable `TIME` is not set and `${env:TIME}` has no default for it",
    ];
    assert_eq!((code, lines), (Some(3), expected.map(str::to_owned).to_vec()));
    // Neither is it of the field's type.
    let (code, lines) = Program::start_with(&built, &[], &[("LOADER_TEST_TIME", "soon")]).ended().await;
    assert_eq!((code, lines.len()), (Some(3), 2));
    let wrong = "`app:limited` is not available: `limits.max_execution_ms`: `${env:TIME}`: ";
    assert!(lines[1].starts_with(wrong), "{lines:?}");
}

#[tokio::test]
async fn what_a_request_does_is_in_its_trace() {
    let built = lua(registry(STARTS, ""), "f", "GET /", "print('done')").build();
    let mut program = Program::start(&built, &["--log-format", "json"]);
    let listens = program.line("listens on ").await;
    let listens: serde_json::Value = serde_json::from_str(&listens).unwrap();
    let address = listens["message"].as_str().unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = http::Request::get("/").header("traceparent", parent).header("x-request-id", "mine");
    let answer = Client::new(address).await.ask(request, "").await;
    assert_eq!(answer.header("x-request-id"), "mine");
    let line: serde_json::Value = serde_json::from_str(&program.line("done").await).unwrap();
    assert_eq!(line["trace"], "0af7651916cd43dd8448eb211c80319c", "{line}");
}

/// A service manager, which reads its messages at once.
struct Manager(mpsc::UnboundedReceiver<String>);

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self(messages)
    }

    async fn message(&mut self) -> String {
        self.0.recv().await.unwrap()
    }

    /// The next message that is no sign of life.
    async fn said(&mut self) -> String {
        loop {
            let message = self.message().await;
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn a_service_manager_is_told() {
    let folder = temporary_folder();
    let path = folder.path().join("notify");
    let name = format!("loader-test-{}", std::process::id());
    let abstract_address = UnixAddress::from_abstract_name(&name).unwrap();
    for (socket, variable) in [
        (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
        (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}")),
    ] {
        let mut manager = Manager::new(socket);
        let built = version(1).build();
        let variables = [("NOTIFY_SOCKET", variable.as_str()), ("WATCHDOG_USEC", "20000")];
        let mut program = Program::start_with(&built, &[], &variables);
        assert_eq!(manager.said().await, "READY=1\nSTATUS=3 of 3 services");
        program.reload(&built, version(2)).await;
        let reloading = manager.said().await;
        let moment = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let moment: u64 = moment.split_once('\n').unwrap().0.parse().unwrap();
        assert!(moment > 0);
        assert_eq!(manager.said().await, "READY=1\nSTATUS=3 of 3 services");
        built.replace_manifest(b"{}");
        program.signal("-HUP");
        assert!(manager.said().await.starts_with("RELOADING=1\n"));
        let refused = "READY=1\nSTATUS=3 of 3 services; the next bundle was refused";
        assert_eq!(manager.said().await, refused);
        while manager.message().await != "WATCHDOG=1" {}
        program.signal("-TERM");
        assert!(manager.said().await.starts_with("STOPPING=1\n"));
        assert_eq!(program.ended().await.0, Some(0));
    }
}
