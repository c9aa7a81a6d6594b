//! Fetches a page over HTTP.

wit_bindgen::generate!({
    path: ["../../../scripts/guests/wit/preview2", "wit"],
    world: "samples:fetch/fetch",
    generate_all,
});

use wasi::http::outgoing_handler::handle;
use wasi::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};
use wasi::io::streams::StreamError;

/// Bytes that are read at once.
const PART: u64 = 64 << 10;

struct Component;

export!(Component);

impl Guest for Component {
    fn get(authority: String, path: String) -> Result<Page, String> {
        let request = OutgoingRequest::new(Fields::new());
        let invalid = |()| "the address is not valid".to_owned();
        request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
        request.set_authority(Some(&authority)).map_err(invalid)?;
        request.set_path_with_query(Some(&path)).map_err(invalid)?;
        let pending = handle(request, None).map_err(failed)?;
        pending.subscribe().block();
        let response = pending.get().expect("it is ready").expect("it is taken once").map_err(failed)?;
        let body = response.consume().expect("it is consumed once");
        let stream = body.stream().expect("it is taken once");
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(PART) {
                Ok(part) => bytes.extend(part),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
            }
        }
        let body = String::from_utf8(bytes).map_err(|_| "the page is no text".to_owned())?;
        Ok(Page { status: response.status(), body })
    }
}

fn failed(code: ErrorCode) -> String {
    match code {
        ErrorCode::DestinationIpProhibited => "the address is not public".to_owned(),
        ErrorCode::HttpRequestDenied => "the request is not allowed".to_owned(),
        other => other.to_string(),
    }
}
