//! Spans of real calls, as a collector gets them over OTLP.

use loader::{Context, Data};
use tokio::net::TcpListener;

use crate::calls::chains;
use crate::shared::App;

#[path = "../../src/telemetry/otlp/collector.rs"]
mod collector;

use collector::{all, number, request, text};

/// A request that names a trace goes through Lua and guests of both engines; each call is a span below its caller's.
#[tokio::test]
async fn calls_of_guests_are_exported_below_their_callers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = format!("otel:\n  enabled: true\n  endpoint: \"{address}\"\n  service_name: shop\n");
    let app = App::new(chains().file(".wippy.yaml", &settings));
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let header = |name: &str| (name == "traceparent").then_some(PARENT);
    let context = app.loader.trace_of_request(Context::default(), header);
    let way = Data::from("app:sync app:hop app:async app:last !");
    app.loader.call_data("app:hop", vec![way], context).await.unwrap();

    let (_, (_, body)) =
        tokio::join!(app.loader.export_spans(std::future::ready(())), request(&listener, "200 OK"));
    let spans = all(all(all(&body, 1)[0], 2)[0], 2);
    // Each ends before its caller.
    let names: Vec<&str> = spans.iter().map(|span| text(span, 5)).collect();
    assert_eq!(names, ["app:last", "app:async", "app:hop", "app:sync", "app:hop"]);
    let trace =
        [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c];
    assert!(spans.iter().all(|span| all(span, 1)[0] == trace));
    for pair in spans.windows(2) {
        let [callee, caller] = pair else { unreachable!("windows of two") };
        assert_eq!(all(callee, 4)[0], all(caller, 2)[0]);
        assert!(number(callee, 7) >= number(caller, 7) && number(callee, 8) <= number(caller, 8));
    }
    assert_eq!(all(spans[4], 4)[0], [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert!(app.loader.metrics().contains("wippy_spans_dropped_total 0\n"));
}
