//! Trace contexts in headers: `traceparent` and `tracestate` (<https://www.w3.org/TR/trace-context/>), and
//! `baggage`, which is passed on and not read.

use super::trace::{Link, TraceContext, hex};
use crate::config::TRACE_HEADER_BYTES_MAX;
use crate::context::Context;
use crate::loader::Loader;
use crate::settings::Otel;

impl Loader {
    /// `context` in the trace that the headers of a request name, by `header`; the same where settings or
    /// headers have none. What is malformed counts as absent, as the recommendation says.
    #[must_use]
    pub fn trace_of_request<'h>(
        &self,
        mut context: Context,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Context {
        context.trace = extract(&self.settings().otel, header);
        context
    }

    /// The headers of a request that is made with `context`.
    pub fn trace_headers(&self, context: &Context) -> Vec<(&'static str, String)> {
        inject(&self.settings().otel, &context.trace)
    }
}

#[cfg(feature = "http")]
impl crate::loader::Inner {
    /// Gives a request that the call on this thread makes the headers of its trace, unless it has its own.
    pub(crate) fn carry_trace(&self, headers: &mut http::HeaderMap) {
        let Some(trace) = crate::call_id::current_trace().filter(|_| !headers.contains_key("traceparent"))
        else {
            return;
        };
        for (name, value) in inject(&self.settings.otel, &trace) {
            // What came in may hold what can't be sent.
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
    }
}

fn extract<'h>(otel: &Otel, header: impl Fn(&str) -> Option<&'h str>) -> TraceContext {
    if !otel.http.extract_headers || !propagates(otel, "tracecontext") {
        return TraceContext::default();
    }
    let Some((trace, span, sampled)) = header("traceparent").and_then(parse) else {
        return TraceContext::default();
    };
    let other = |name: &str| {
        let value = header(name).filter(|value| value.len() <= TRACE_HEADER_BYTES_MAX);
        value.unwrap_or_default().to_owned()
    };
    let baggage = if propagates(otel, "baggage") { other("baggage") } else { String::new() };
    TraceContext::of(Link { trace, span, sampled, state: other("tracestate"), baggage, collector: None })
}

fn inject(otel: &Otel, context: &TraceContext) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    let Some(link) = context.link().filter(|link| link.span != [0; 8]) else { return headers };
    if !otel.http.inject_headers || !propagates(otel, "tracecontext") {
        return headers;
    }
    let flags = u8::from(link.sampled);
    headers.push(("traceparent", format!("00-{}-{}-{flags:02x}", hex(&link.trace), hex(&link.span))));
    if !link.state.is_empty() {
        headers.push(("tracestate", link.state.clone()));
    }
    if !link.baggage.is_empty() && propagates(otel, "baggage") {
        headers.push(("baggage", link.baggage.clone()));
    }
    headers
}

fn propagates(otel: &Otel, propagator: &str) -> bool {
    otel.propagators.iter().any(|known| known == propagator)
}

/// Trace, span and whether it is sampled. A later version may have more parts, which are ignored.
fn parse(text: &str) -> Option<([u8; 16], [u8; 8], bool)> {
    let mut parts = text.trim().split('-');
    let [version] = bytes(parts.next()?)?;
    let (trace, span) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
    let [flags] = bytes(parts.next()?)?;
    let is_valid = version != 0xff && (version != 0 || parts.next().is_none());
    (is_valid && trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags & 1 == 1))
}

/// Exactly `N` bytes in lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |char: u8| match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'a'..=b'f' => Some(char - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(all(test, feature = "lua"))]
mod tests {
    use super::*;
    use crate::security::testing::open;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_comes_in_goes_out() {
        let loader = open(serde_json::json!({}), &[]).loader;
        let otel = &loader.settings().otel;
        let header = |name: &str| match name {
            "traceparent" => Some(PARENT),
            "tracestate" => Some("a=b"),
            "baggage" => Some("user=7"),
            _ => None,
        };
        let context = extract(otel, header);
        let expected = [("traceparent", PARENT), ("tracestate", "a=b"), ("baggage", "user=7")]
            .map(|(n, v)| (n, v.to_owned()));
        assert_eq!(inject(otel, &context), expected);
        let silent = Otel { propagators: vec!["b3".to_owned()], ..otel.clone() };
        assert!(inject(&silent, &context).is_empty());
        assert!(extract(&silent, header).link().is_none());
    }

    #[test]
    fn headers_that_are_too_long_are_not_passed_on() {
        let loader = open(serde_json::json!({}), &[]).loader;
        let otel = &loader.settings().otel;
        for (length, passed) in [(TRACE_HEADER_BYTES_MAX, true), (TRACE_HEADER_BYTES_MAX + 1, false)] {
            let long = "x".repeat(length);
            let header = |name: &str| match name {
                "traceparent" => Some(PARENT),
                _ => Some(long.as_str()),
            };
            let names: Vec<_> =
                inject(otel, &extract(otel, header)).into_iter().map(|(name, _)| name).collect();
            let expected: &[&str] =
                if passed { &["traceparent", "tracestate", "baggage"] } else { &["traceparent"] };
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn malformed_contexts_count_as_absent() {
        assert!(parse(PARENT).is_some_and(|(_, _, sampled)| sampled));
        assert!(parse(&PARENT.replace("-01", "-00")).is_some_and(|(_, _, sampled)| !sampled));
        assert!(parse(&PARENT.replacen("00-", "01-", 1).replace("-01", "-01-more")).is_some());
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
