//! A collector on the loopback interface that decodes what it gets.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use registry_schema::ErrorKind;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::collector::{all, number, pair, request, request_over, text};
use crate::context::Context;
use crate::error::Error;
use crate::security::testing::{Opened, open};
use crate::support::crate_folder;
use crate::telemetry::SpanKind;

#[tokio::test]
async fn spans_arrive_as_they_were() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let otel = json!({"otel": {
        "enabled": true, "endpoint": address, "service_name": "shop", "service_version": "1.2",
        "headers": "authorization=Bearer s3cret"
    }});
    let Opened { loader, .. } = open(otel, &[]);
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut context =
        loader.trace_of_request(Context::default(), |name| (name == "traceparent").then_some(PARENT));
    let mut server = loader.begin_span(&mut context, SpanKind::Server, "GET /users");
    server.attribute("http.method", "GET");
    let entry = Arc::new("app:f".parse().unwrap());
    let telemetry = &loader.inner().telemetry;
    let call = telemetry.begin(&telemetry.entry(&entry), &mut context.trace);
    call.end::<()>(&Err(Error::new(ErrorKind::Timeout, "late")));
    server.end(None);

    let (_, (head, body)) =
        tokio::join!(loader.export_spans(std::future::ready(())), request(&listener, "200 OK"));
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    assert!(head.contains("authorization: bearer s3cret"), "{head}");
    let resource_spans = all(&body, 1);
    let attributes: Vec<_> = all(all(resource_spans[0], 1)[0], 1).into_iter().map(pair).collect();
    assert_eq!(attributes, [("service.name", "shop"), ("service.version", "1.2")]);
    let spans = all(all(resource_spans[0], 2)[0], 2);
    let [inner, outer] = spans[..] else { panic!("{} spans", spans.len()) };
    assert_eq!((text(outer, 5), number(outer, 6)), ("GET /users", 2));
    assert_eq!((text(inner, 5), number(inner, 6)), ("app:f", 1));
    let trace: Vec<u8> =
        [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c]
            .to_vec();
    assert_eq!((all(outer, 1)[0], all(inner, 1)[0]), (&trace[..], &trace[..]));
    assert_eq!(all(outer, 4)[0], [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(all(inner, 4)[0], all(outer, 2)[0]);
    assert_eq!(pair(all(outer, 9)[0]), ("http.method", "GET"));
    assert_eq!(pair(all(inner, 9)[0]), ("error.type", "TIMEOUT"));
    assert!(number(inner, 7) >= number(outer, 7) && number(inner, 8) <= number(outer, 8));
    let (failed, done) = (all(inner, 15)[0], all(outer, 15)[0]);
    assert_eq!((text(failed, 2), number(failed, 3), number(done, 3)), ("late", 2, 1));
    assert!(loader.metrics().contains("wippy_spans_dropped_total 0\n"));
}

#[tokio::test]
async fn spans_that_are_refused_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let Opened { loader, .. } = open(json!({"otel": {"enabled": true, "endpoint": address}}), &[]);
    let mut context = Context::default();
    loader.begin_span(&mut context, SpanKind::Client, "GET").end(None);
    tokio::join!(loader.export_spans(std::future::ready(())), request(&listener, "400 Bad Request"));
    assert!(loader.metrics().contains("wippy_spans_dropped_total 1\n"));
}

/// The certificate of the server of `tests/certificates`.
fn acceptor() -> TlsAcceptor {
    let pem = |name: &str| std::fs::read(crate_folder().join("tests/certificates").join(name)).unwrap();
    let chain = crate::tls::certificates("chain", &pem("server.pem")).unwrap();
    let key = crate::tls::key("key", &pem("server.key")).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(crate::tls::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = crate::tls::http_versions();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_collector_is_trusted_by_the_roots_of_the_setting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let otel = json!({"enabled": true, "endpoint": format!("https://localhost:{port}")});
    let ca = crate_folder().join("tests/certificates/ca.pem");
    let post = async |config: serde_json::Value| {
        let Opened { loader, .. } = open(config, &[]);
        let endpoint = super::endpoint(loader.inner()).unwrap();
        endpoint.post(b"spans".to_vec()).await.map_err(|problem| problem.message)
    };
    let (refused, accepted) = tokio::join!(post(json!({"otel": otel})), async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor().accept(stream).await
    });
    assert!(refused.unwrap_err().contains("UnknownIssuer") && accepted.is_err());
    let (sent, (head, body)) = tokio::join!(post(json!({"otel": otel, "tls": {"ca_files": [ca]}})), async {
        let (stream, _) = listener.accept().await.unwrap();
        request_over(acceptor().accept(stream).await.unwrap(), "200 OK").await
    });
    assert_eq!(sent, Ok(()));
    assert!(head.starts_with("post /v1/traces http/1.1") && body == b"spans", "{head}");
}

#[test]
fn a_queue_has_an_end() {
    use crate::config::OTEL_QUEUE_SPANS_MAX;
    let Opened { loader, .. } = open(json!({"otel": {"enabled": true}}), &[]);
    for _ in 0..OTEL_QUEUE_SPANS_MAX + 2 {
        loader.begin_span(&mut Context::default(), SpanKind::Internal, "x").end(None);
    }
    assert!(loader.metrics().contains("wippy_spans_dropped_total 2\n"));
}
