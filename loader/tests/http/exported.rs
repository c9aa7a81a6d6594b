//! Spans of requests that components answer, as a collector gets them over OTLP.

use tokio::net::TcpListener;

use crate::app::{App, endpoint, registry};
use crate::support::{SERVE, SERVE_ASYNC};

#[path = "../../src/telemetry/otlp/collector.rs"]
mod collector;

use collector::{all, number, request, text};

/// The request is a span in the trace that its headers name, and the guest's call is one below it.
#[tokio::test]
async fn a_request_and_its_guest_are_spans_of_one_trace() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (guest, method, more) in [
        (SERVE, "incoming-handler#handle", ""),
        (SERVE, "incoming-handler#handle", "pool: {worker_class: own, workers: 1}"),
        (SERVE_ASYNC, "handler#handle", ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = format!("otel:\n  enabled: true\n  endpoint: \"{address}\"\n");
        let registry = registry("", "").file(".wippy.yaml", &settings).guest("serve", guest, method, more);
        let app = App::new(endpoint(registry, "get", "GET /{path...}", "serve")).await;
        let answer = app.ask(http::Request::get("/a?b=c").header("traceparent", PARENT), "").await;
        assert_eq!(answer.status, 200, "{:?}", app.logged());
        // The request's span ends with its answer's body, which the client may have before the server knows.
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        let spans = loop {
            let spans: Vec<&[u8]> =
                bodies.iter().flat_map(|body| all(all(all(body, 1)[0], 2)[0], 2)).collect();
            if spans.len() == 2 {
                break spans;
            }
            tokio::select! {
                (_, body) = request(&listener, "200 OK") => bodies.push(body),
                () = app.loader.export_spans(std::future::ready(())) => tokio::task::yield_now().await,
            }
        };
        let of = |name: &str| *spans.iter().find(|span| text(span, 5) == name).expect("it is a span");
        let guest = of("app:serve");
        let server = spans.iter().copied().find(|span| text(span, 5) != "app:serve").unwrap();
        // Of the kind "server".
        assert_eq!(number(server, 6), 2);
        assert_eq!(all(server, 4)[0], [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(all(guest, 4)[0], all(server, 2)[0]);
        assert_eq!(all(guest, 1)[0], all(server, 1)[0]);
        assert_eq!(all(guest, 1)[0][..4], [0x0a, 0xf7, 0x65, 0x19]);
    }
}
