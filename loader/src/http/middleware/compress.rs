//! `compress`: answers in gzip, for clients that take it.
//!
//! A body that is made while it is sent is compressed part by part: what waits for more is flushed, so that
//! events and progress arrive when they are written.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue, VARY,
};
use http::request::Parts;
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use crate::http::answer::Answer;
use crate::http::body::{Aborted, ResponseBody};
use crate::http::fields::Options;

pub(super) struct Compress {
    level: Compression,
    /// In bytes.
    length_min: u64,
}

/// Whether the client takes gzip.
pub(super) fn is_wanted(request: &Parts) -> bool {
    let values = request.headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut weights = values.flat_map(|value| value.split(',')).map(|part| {
        let mut parts = part.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
        (coding, weight.parse::<f32>().unwrap_or(0.0))
    });
    weights.any(|(coding, weight)| coding.eq_ignore_ascii_case("gzip") && weight > 0.0)
}

impl Compress {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let options = options.of("compress", &["level", "min.length"])?;
        let level = match options.text("level").unwrap_or("default") {
            "default" => Compression::default(),
            "fastest" => Compression::fast(),
            "best" => Compression::best(),
            other => {
                return Err(format!(
                    "the option `compress.level`: found `{other}`, expected `fastest`, `default` or `best`"
                ));
            }
        };
        Ok(Self { level, length_min: options.parsed("min.length")?.unwrap_or(1024) })
    }

    pub(super) fn after(&self, is_wanted: bool, answer: Answer) -> Answer {
        let (mut head, body) = answer.into_parts();
        head.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        let exact = body.size_hint().exact();
        let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_small = exact.or(declared).is_some_and(|length: u64| length < self.length_min);
        let is_encoded =
            head.headers.contains_key(CONTENT_ENCODING) || head.headers.contains_key(CONTENT_RANGE);
        let has_body = !head.status.is_informational()
            && !matches!(head.status.as_u16(), 204 | 206 | 304)
            && exact != Some(0);
        if !is_wanted || is_small || is_encoded || !has_body {
            return Answer::from_parts(head, body);
        }
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(ACCEPT_RANGES);
        weaken(&mut head.headers);
        let encoder = GzEncoder::new(Vec::new(), self.level);
        let body = Gzip { body, encoder: Some(encoder), is_flushed: true }.boxed_unsync();
        Answer::from_parts(head, body)
    }
}

/// The compressed form of a body is another one than its strong tag names.
fn weaken(headers: &mut http::HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

struct Gzip {
    body: ResponseBody,
    /// `None` at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
    is_flushed: bool,
}

impl Gzip {
    /// What the encoder has made so far.
    fn made(encoder: &mut GzEncoder<Vec<u8>>) -> Option<Bytes> {
        let made = std::mem::take(encoder.get_mut());
        (!made.is_empty()).then(|| Bytes::from(made))
    }
}

impl Body for Gzip {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        loop {
            let Some(encoder) = &mut this.encoder else { return Poll::Ready(None) };
            let made = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending if this.is_flushed => return Poll::Pending,
                Poll::Pending => {
                    this.is_flushed = true;
                    encoder.flush()?;
                    match Self::made(encoder) {
                        Some(made) => made,
                        None => return Poll::Pending,
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are dropped: what they are about is another body.
                    let Ok(data) = frame.into_data() else { continue };
                    encoder.write_all(&data)?;
                    this.is_flushed = false;
                    match Self::made(encoder) {
                        Some(made) => made,
                        None => continue,
                    }
                }
                Poll::Ready(None) => {
                    let Some(encoder) = this.encoder.take() else { return Poll::Ready(None) };
                    Bytes::from(encoder.finish()?)
                }
            };
            return Poll::Ready(Some(Ok(Frame::data(made))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http::{Response, StatusCode};
    use tokio::sync::mpsc;

    use super::*;
    use crate::http::body::{Parts as BodyParts, full};
    use crate::http::fields::testing::options;

    fn wanted(accept: &str) -> bool {
        let request = http::Request::builder().header("accept-encoding", accept).body(()).unwrap();
        is_wanted(&request.into_parts().0)
    }

    fn compress(pairs: &[(&str, &str)]) -> Compress {
        Compress::new(&options(pairs)).unwrap()
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        assert!(wanted("gzip") && wanted("br, GZIP;q=0.5"));
        assert!(!wanted("br") && !wanted("gzip;q=0") && !wanted("gzip;q=x") && !wanted("x-gzip"));
    }

    #[tokio::test]
    async fn a_large_answer_is_compressed_and_a_small_one_is_not() {
        let compress = compress(&[("compress.min.length", "100"), ("compress_level", "best")]);
        let text = "hello ".repeat(100);
        let mut answer = Response::new(full(text.clone()));
        answer.headers_mut().insert("etag", HeaderValue::from_static("\"1\""));
        answer.headers_mut().insert("content-length", HeaderValue::from(text.len()));
        let answer = compress.after(true, answer);
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert_eq!(answer.headers()["etag"], "W/\"1\"");
        assert!(!answer.headers().contains_key("content-length"));
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let mut out = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut out).unwrap();
        assert_eq!(out, text);

        let small = compress.after(true, Response::new(full("hello")));
        assert!(!small.headers().contains_key("content-encoding"));
        assert_eq!(small.headers()["vary"], "Accept-Encoding");
        let mut done = Response::new(full(text));
        done.headers_mut().insert("content-encoding", HeaderValue::from_static("br"));
        assert_eq!(compress.after(true, done).headers()["content-encoding"], "br");
        let mut none = Response::new(crate::http::body::empty());
        *none.status_mut() = StatusCode::NO_CONTENT;
        assert!(!compress.after(true, none).headers().contains_key("content-encoding"));
    }

    #[tokio::test]
    async fn what_waits_for_more_is_flushed() {
        let (sender, receiver) = mpsc::channel(1);
        let body = BodyParts(receiver).boxed_unsync();
        let mut body = compress(&[]).after(true, Response::new(body)).into_body();
        let mut decoder = flate2::write::GzDecoder::new(Vec::new());
        for part in ["one", "two"] {
            sender.send(Ok(Bytes::from_static(part.as_bytes()))).await.unwrap();
            while !decoder.get_ref().ends_with(part.as_bytes()) {
                let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
                decoder.write_all(&frame).unwrap();
                decoder.flush().unwrap();
            }
        }
        drop(sender);
        while let Some(frame) = body.frame().await {
            decoder.write_all(&frame.unwrap().into_data().unwrap()).unwrap();
        }
        assert_eq!(decoder.finish().unwrap(), b"onetwo");
    }

    #[test]
    fn options_are_checked() {
        let problem = Compress::new(&options(&[("compress.level", "most")])).err().unwrap();
        assert!(problem.contains("expected `fastest`, `default` or `best`"));
        assert!(Compress::new(&options(&[("compress.min.length", "-1")])).is_err());
        assert!(Compress::new(&options(&[("compress.type", "br")])).is_err());
    }
}
