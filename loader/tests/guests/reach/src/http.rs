use crate::wasi::http::outgoing_handler::handle;
use crate::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use crate::wasi::io::streams::StreamError;

fn name(code: ErrorCode) -> String {
    let text = format!("{code:?}");
    text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned()
}

pub fn fetch(
    method: &str,
    scheme: &str,
    authority: &str,
    path: &str,
    body: &str,
) -> Result<String, String> {
    let request = OutgoingRequest::new(Fields::new());
    let invalid = |()| "invalid".to_owned();
    let method = match method {
        "GET" => Method::Get,
        other => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(invalid)?;
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let outgoing = request.body().map_err(invalid)?;
    let future = handle(request, None).map_err(name)?;
    let stream = outgoing.write().map_err(invalid)?;
    // Who refuses a request reads no body: that is the answer's to say.
    let written = body.as_bytes().chunks(4096).try_for_each(|part| stream.blocking_write_and_flush(part));
    drop(stream);
    let finished = OutgoingBody::finish(outgoing, None);
    future.subscribe().block();
    let response = future.get().unwrap().map_err(|()| "taken".to_owned())?.map_err(name)?;
    written.map_err(|_| "write".to_owned())?;
    finished.map_err(name)?;
    let mut text = format!("{} ", response.status());
    let incoming: IncomingBody = response.consume().map_err(invalid)?;
    let stream = incoming.stream().map_err(invalid)?;
    loop {
        match stream.blocking_read(4096) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(StreamError::Closed) => return Ok(text),
            Err(StreamError::LastOperationFailed(_)) => return Err("read".to_owned()),
        }
    }
}
