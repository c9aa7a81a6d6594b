//! Outgoing HTTP of a guest (`wasi:http`).

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use loader::{Context, Loader, OpenError, Options};

use super::GUEST;
use crate::server::{Encryption, Server, certificate, echo};
use crate::shared::{call, open, options, policy, reach, text, with_policies};
use crate::support::Registry;

async fn fetch(loader: &Loader, name: &str, authority: &str) -> Result<String, String> {
    fetch_with(loader, name, "GET", "http", authority, "/path", Context::default()).await
}

async fn fetch_with(
    loader: &Loader,
    name: &str,
    method: &str,
    scheme: &str,
    authority: &str,
    path: &str,
    context: Context,
) -> Result<String, String> {
    let args = [text(method), text(scheme), text(authority), text(path), text("body")];
    call(loader, name, &args, context).await
}

/// The client sends no body with this method.
const ECHOED: &str = "200 GET /path HTTP/1.1 ";

/// Whatever way an address of this machine or of its network is written.
#[tokio::test]
async fn what_is_not_public_is_closed() {
    let server = Server::echo().await;
    let port = server.port();
    let every = vec!["*:*".to_owned()];
    let registry = reach(GUEST, Registry::new(), "fetch", "fetch", None);
    let built = reach(GUEST, registry, "wide", "fetch", Some(&every)).build();
    let loader = open(&built);
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
    ];
    for host in hosts {
        for name in ["fetch", "wide"] {
            let error = fetch(&loader, name, &format!("{host}:{port}")).await.unwrap_err();
            // A resolver need not know every spelling.
            assert!(
                error.starts_with("DestinationIpProhibited") || error.starts_with("DnsError"),
                "{host}: {error}"
            );
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_entry_opens_what_it_lists_and_nothing_else() {
    let (server, other) = (Server::echo().await, Server::echo().await);
    let by_address = vec![format!("127.0.0.1:{}", server.port())];
    let by_name = vec![format!("localhost:{}", server.port())];
    let registry = reach(GUEST, Registry::new(), "address", "fetch", Some(&by_address));
    let registry = reach(GUEST, registry, "name", "fetch", Some(&by_name));
    let built = reach(GUEST, registry, "nothing", "fetch", Some(&[])).build();
    let loader = open(&built);
    let (own, others) = (server.port(), other.port());
    assert_eq!(fetch(&loader, "address", &format!("127.0.0.1:{own}")).await.as_deref(), Ok(ECHOED));
    // The name stands for the address that is listed.
    assert_eq!(fetch(&loader, "address", &format!("localhost:{own}")).await.as_deref(), Ok(ECHOED));
    assert_eq!(fetch(&loader, "name", &format!("localhost:{own}")).await.as_deref(), Ok(ECHOED));
    for (name, authority) in [
        ("address", format!("127.0.0.1:{others}")),
        ("address", "127.0.0.1".to_owned()),
        ("address", format!("127.0.0.2:{own}")),
        ("name", format!("127.0.0.1:{own}")),
        ("name", format!("localhost:{others}")),
        ("nothing", format!("127.0.0.1:{own}")),
        ("nothing", "8.8.8.8".to_owned()),
    ] {
        let error = fetch(&loader, name, &authority).await.unwrap_err();
        assert_eq!(error, "HttpRequestDenied", "{name} {authority}");
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn the_scope_is_asked_for_the_url_and_for_private_addresses() {
    let server = Server::echo().await;
    let port = server.port();
    let public = format!("\"http://127.0.0.1:{port}/public/*\"");
    let listed = vec![format!("127.0.0.1:{port}")];
    let registry = Registry::new()
        .entries(&policy("requests", "http_client.request", &public))
        .entries(&policy("private", "http_client.private_ip", "\"127.0.0.1\""))
        .entries(&policy("sockets", "socket.private_ip", "\"*\""));
    let registry = reach(GUEST, registry, "fetch", "fetch", None);
    let built = reach(GUEST, registry, "listed", "fetch", Some(&listed)).build();
    let loader = open(&built);
    let authority = format!("127.0.0.1:{port}");
    let ask = async |name: &str, path: &str, policies: &[&str]| {
        let context = with_policies(&loader, policies);
        fetch_with(&loader, name, "GET", "http", &authority, path, context).await
    };
    let both = ["requests", "private"];
    let echoed = Ok("200 GET /public/x HTTP/1.1 ".to_owned());
    assert_eq!(ask("fetch", "/public/x", &both).await, echoed);
    assert_eq!(ask("fetch", "/public/y/.././x", &both).await, echoed);
    for path in ["/private", "/", "/public/../private", "/public/%2e%2E/private"] {
        assert_eq!(ask("fetch", path, &both).await, Err("HttpRequestDenied".to_owned()), "{path}");
    }
    for scope in [&["requests"][..], &["requests", "sockets"]] {
        let error = ask("fetch", "/public/x", scope).await.unwrap_err();
        assert_eq!(error, "DestinationIpProhibited");
    }
    assert_eq!(ask("fetch", "/public/x", &["private"]).await, Err("HttpRequestDenied".to_owned()));
    // The entry's list opens the address, and the scope still decides about the request.
    assert_eq!(ask("listed", "/public/x", &["requests"]).await, echoed);
    assert_eq!(ask("listed", "/private", &["requests"]).await, Err("HttpRequestDenied".to_owned()));
}

#[tokio::test]
async fn requests_that_go_round_the_checks_are_refused() {
    let server = Server::echo().await;
    let port = server.port();
    let listed = vec![format!("127.0.0.1:{port}")];
    let built = reach(GUEST, Registry::new(), "fetch", "fetch", Some(&listed)).build();
    let loader = open(&built);
    let own = format!("127.0.0.1:{port}");
    let send = async |method: &str, authority: &str, path: &str| {
        fetch_with(&loader, "fetch", method, "http", authority, path, Context::default()).await
    };
    assert_eq!(send("CONNECT", &own, "/").await.unwrap_err(), "HttpRequestMethodInvalid");
    assert!(send("GET", &format!("user@{own}"), "/").await.is_err());
    assert!(send("GET", &own, "http://other/").await.is_err());
    assert_eq!(server.connections(), 0);
    assert_eq!(send("PURGE", &own, "/x").await.unwrap(), "200 PURGE /x HTTP/1.1 body");
}

/// Encrypted, by the name that was asked for, and by a root that the options add.
#[tokio::test]
async fn certificates_are_checked_by_name() {
    let server = Server::start(Encryption::Tls, echo).await;
    let port = server.port();
    let listed = vec![format!("localhost:{port}"), format!("127.0.0.1:{port}")];
    let built = reach(GUEST, Registry::new(), "fetch", "fetch", Some(&listed)).build();
    let trusting = Options { extra_roots: vec![certificate("ca.pem")], ..options(&built) };
    let trusting = Loader::builder().options(trusting).open(&built).unwrap();
    let ask = async |loader: &Loader, host: &str| {
        let authority = format!("{host}:{port}");
        fetch_with(loader, "fetch", "POST", "https", &authority, "/x", Context::default()).await
    };
    assert_eq!(ask(&trusting, "localhost").await.unwrap(), "200 POST /x HTTP/2.0 body");
    assert_eq!(ask(&trusting, "127.0.0.1").await.unwrap_err(), "TlsProtocolError");
    assert_eq!(ask(&open(&built), "localhost").await.unwrap_err(), "TlsProtocolError");
    let broken = Options { extra_roots: vec![certificate("server.key")], ..options(&built) };
    assert!(matches!(Loader::builder().options(broken).open(&built), Err(OpenError::Roots { .. })));
}

#[tokio::test]
async fn the_roots_of_the_setting_are_trusted() {
    crate::roots::a_guest_trusts_the_roots_of_the_setting(GUEST).await;
}

/// One connection serves the requests of one entry, in turn or, encrypted, at once; entries don't share.
#[tokio::test]
async fn connections_are_used_again_by_the_same_entry() {
    let server = Server::echo().await;
    let listed = vec![format!("127.0.0.1:{}", server.port())];
    let registry = reach(GUEST, Registry::new(), "one", "fetch", Some(&listed));
    let built = reach(GUEST, registry, "two", "fetch", Some(&listed)).build();
    let loader = open(&built);
    let authority = format!("127.0.0.1:{}", server.port());
    for _ in 0..3 {
        assert_eq!(fetch(&loader, "one", &authority).await.as_deref(), Ok(ECHOED));
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(fetch(&loader, "two", &authority).await.as_deref(), Ok(ECHOED));
    assert_eq!(server.connections(), 2);
}

/// What one actor may do is no answer for another.
#[tokio::test]
async fn an_idle_connection_is_checked_for_who_takes_it() {
    let server = Server::echo().await;
    let registry = Registry::new()
        .entries(&policy("requests", "http_client.request", "\"*\""))
        .entries(&policy("private", "http_client.private_ip", "\"127.0.0.1\""));
    let built = reach(GUEST, registry, "fetch", "fetch", None).build();
    let loader = open(&built);
    let authority = format!("127.0.0.1:{}", server.port());
    let ask = async |policies: &[&str]| {
        let context = with_policies(&loader, policies);
        fetch_with(&loader, "fetch", "GET", "http", &authority, "/path", context).await
    };
    for _ in 0..2 {
        assert_eq!(ask(&["requests", "private"]).await.as_deref(), Ok(ECHOED));
        assert_eq!(ask(&["requests"]).await.unwrap_err(), "DestinationIpProhibited");
        assert_eq!(fetch(&loader, "fetch", &authority).await.unwrap_err(), "DestinationIpProhibited");
    }
    assert_eq!(server.connections(), 1);
}

fn many_headers(_: Request<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    for at in 0..=loader::config::EGRESS_HEADERS_MAX {
        let name = hyper::header::HeaderName::from_bytes(format!("x-{at}").as_bytes()).unwrap();
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static("x"));
    }
    response
}

/// The heads of responses are bounded; the next request works.
#[tokio::test]
async fn a_response_with_too_many_headers_fails() {
    let (hostile, good) = (Server::start(Encryption::Plain, many_headers).await, Server::echo().await);
    let listed = vec!["127.0.0.1:*".to_owned()];
    let built = reach(GUEST, Registry::new(), "fetch", "fetch", Some(&listed)).build();
    let loader = open(&built);
    let error = fetch(&loader, "fetch", &format!("127.0.0.1:{}", hostile.port())).await.unwrap_err();
    assert_eq!(error, "HttpProtocolError");
    assert_eq!(fetch(&loader, "fetch", &format!("127.0.0.1:{}", good.port())).await.as_deref(), Ok(ECHOED));
}

/// A call that is given up closes its connection.
#[tokio::test]
async fn a_dropped_call_leaves_no_connection() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let built = reach(GUEST, Registry::new(), "fetch", "fetch", Some(&[format!("127.0.0.1:{port}")])).build();
    let loader = open(&built);
    let authority = format!("127.0.0.1:{port}");
    let mut stream = {
        let asking = fetch(&loader, "fetch", &authority);
        tokio::select! {
            answer = asking => panic!("{answer:?}"),
            accepted = async {
                let mut stream = listener.accept().await.unwrap().0;
                // The request is under way.
                assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
                stream
            } => accepted,
        }
    };
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}
