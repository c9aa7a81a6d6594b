//! Answers HTTP requests of WASI 0.3, bodies as streams.

wit_bindgen::generate!({
    path: ["../../../../scripts/guests/wit/preview3", "wit"],
    world: "test:serve-async/serve-async",
    generate_all,
});

use exports::wasi::http::handler::Guest;
use wasi::http::types::{ErrorCode, Fields, Request, Response};
use wit_bindgen::StreamResult;

struct Component;

export!(Component);

/// Bytes that are read and written at once.
const PART: usize = 64 << 10;

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.as_str() {
            "/echo" => Ok(echo(request)),
            "/trap" => panic!("asked to"),
            "/refuse" => Err(ErrorCode::InternalError(None)),
            path => {
                let authority = request.get_authority().unwrap_or_default();
                let text = format!("{:?} {path} {authority}", request.get_method());
                let (mut writer, contents) = wit_stream::new();
                wit_bindgen::spawn_local(async move {
                    writer.write_all(text.into_bytes()).await;
                });
                Ok(answer(contents))
            }
        }
    }
}

fn answer(contents: wit_bindgen::StreamReader<u8>) -> Response {
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    Response::new(Fields::new(), Some(contents), no_trailers).0
}

/// Sends back what comes.
fn echo(request: Request) -> Response {
    let (done, outcome) = wit_future::new(|| Ok::<(), ErrorCode>(()));
    drop(done);
    let (mut reader, _trailers) = Request::consume_body(request, outcome);
    let (mut writer, contents) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        let mut part = Vec::with_capacity(PART);
        loop {
            let (result, mut bytes) = reader.read(part).await;
            bytes = writer.write_all(bytes).await;
            // What is left was not taken: the client has gone.
            if matches!(result, StreamResult::Dropped) || !bytes.is_empty() {
                break;
            }
            bytes.clear();
            bytes.reserve(PART);
            part = bytes;
        }
    });
    answer(contents)
}
