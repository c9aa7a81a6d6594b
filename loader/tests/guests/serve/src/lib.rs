//! Answers HTTP requests, bodies as streams.

wit_bindgen::generate!({
    path: ["../../../../scripts/guests/wit/preview2", "wit"],
    world: "test:serve/serve",
    generate_all,
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::io::streams::StreamError;

struct Component;

export!(Component);

impl Guest for Component {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/echo" => echo(&request, out),
            "/trap" => panic!("asked to"),
            "/silent" => {}
            path => {
                let authority = request.authority().unwrap_or_default();
                answer(out, &format!("{:?} {path} {authority}", request.method()));
            }
        }
    }
}

/// Begins the answer.
fn begin(out: ResponseOutparam) -> OutgoingBody {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    body
}

fn answer(out: ResponseOutparam, text: &str) {
    let body = begin(out);
    let stream = body.write().unwrap();
    stream.blocking_write_and_flush(text.as_bytes()).unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// Sends back what comes.
fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let from = incoming.stream().unwrap();
    let body = begin(out);
    let to = body.write().unwrap();
    loop {
        match from.blocking_read(4096) {
            Ok(bytes) => to.blocking_write_and_flush(&bytes).unwrap(),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
    drop((from, to));
    OutgoingBody::finish(body, None).unwrap();
}
