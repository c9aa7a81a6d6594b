use std::future::poll_fn;
use std::pin::pin;

use crate::variant;
use crate::wasi::http::client;
use crate::wasi::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use crate::{wit_future, wit_stream};

pub async fn fetch(
    method: &str,
    scheme: &str,
    authority: String,
    path: String,
    body: String,
) -> Result<String, String> {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, _) = Request::new(Fields::new(), Some(contents), no_trailers, None);
    let invalid = |()| "invalid".to_owned();
    let method = match method {
        "GET" => Method::Get,
        other => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(invalid)?;
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(&authority)).map_err(invalid)?;
    request.set_path_with_query(Some(&path)).map_err(invalid)?;
    let writing = async move {
        writer.write_all(body.into_bytes()).await;
    };
    let response = while_doing(client::send(request), writing).await.map_err(variant)?;
    let status = response.get_status_code();
    let (done, outcome) = wit_future::new(|| Ok::<(), ErrorCode>(()));
    drop(done);
    let (stream, trailers) = Response::consume_body(response, outcome);
    let bytes = stream.collect().await;
    trailers.await.map_err(|_| "read".to_owned())?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&bytes)))
}

/// What `main` gives, while `side` runs beside it for as long as it takes or `main` does.
async fn while_doing<T>(main: impl Future<Output = T>, side: impl Future<Output = ()>) -> T {
    let (mut main, mut side, mut is_done) = (pin!(main), pin!(side), false);
    poll_fn(move |context| {
        is_done = is_done || side.as_mut().poll(context).is_ready();
        main.as_mut().poll(context)
    })
    .await
}
