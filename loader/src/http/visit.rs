//! One request on its way through a router.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use tokio::time::Instant;

use super::body::{Fate, RequestBody};
use super::routes::query_pairs;
use crate::context::Context;

/// Where a request came from, over what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
}

/// A request, and what the middleware found out about it.
pub(super) struct Visit {
    /// Stands in the log, in traces and in the answer.
    pub(super) request_id: String,
    pub(super) parts: Parts,
    pub(super) body: RequestBody,
    pub(super) fate: Fate,
    pub(super) peer: Peer,
    /// The client's address as a trusted proxy told it.
    pub(super) forwarded_for: Option<IpAddr>,
    /// What the handler gets: that of the service, or of the token's bearer.
    pub(super) context: Context,
    /// Whether a token said who asks.
    pub(super) identified: bool,
    /// When the answer must be written.
    pub(super) deadline: Option<Instant>,
}

impl Visit {
    /// The client's address.
    pub(super) fn client(&self) -> IpAddr {
        self.forwarded_for.unwrap_or_else(|| self.peer.address.ip().to_canonical())
    }

    /// The client as handlers see it: with the port, unless a proxy told the address.
    pub(super) fn remote_addr(&self) -> String {
        match self.forwarded_for {
            Some(address) => address.to_string(),
            None => {
                SocketAddr::new(self.peer.address.ip().to_canonical(), self.peer.address.port()).to_string()
            }
        }
    }

    /// The first value of the header `name`, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The query, without its question mark.
    pub(super) fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// The first value of the query's `name`.
    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        query_pairs(self.query()).into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The value of the cookie `name`.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.parts.headers.get_all(http::header::COOKIE).into_iter();
        let texts = cookies.filter_map(|value| value.to_str().ok());
        let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(own, _)| *own == name).map(|(_, value)| value.trim_matches('"'))
    }

    /// The host that was asked for.
    pub(super) fn host(&self) -> Option<Cow<'_, str>> {
        let named = self.parts.uri.authority().map(|authority| Cow::Borrowed(authority.as_str()));
        named.or_else(|| self.header("host").map(Cow::Borrowed))
    }
}

/// An id for a request: the client's own if it is one plain word, else a new one.
pub(super) fn request_id(given: Option<&http::HeaderValue>) -> String {
    const LENGTH_MAX: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let given = given.and_then(|value| value.to_str().ok());
    if let Some(given) =
        given.filter(|text| (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(plain))
    {
        return given.to_owned();
    }
    let mut random = [0_u8; 16];
    // Without random numbers the id says nothing, which ends no request.
    let _ = getrandom::fill(&mut random);
    random.iter().fold(String::with_capacity(2 * random.len()), |mut id, byte| {
        id.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        id
    })
}

#[cfg(test)]
pub(super) mod testing {
    use http_body_util::{BodyExt, Empty};

    use super::*;

    /// A request from 192.0.2.1.
    pub(crate) fn visit(request: http::request::Builder) -> Visit {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Visit {
            request_id: "test".to_owned(),
            parts,
            body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
            fate: Fate::default(),
            peer: Peer { address: "192.0.2.1:4711".parse().unwrap(), is_tls: false },
            forwarded_for: None,
            context: Context::default(),
            identified: false,
            deadline: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::visit;
    use super::*;

    #[test]
    fn an_id_is_kept_if_it_is_one_word() {
        let id = |text: &str| request_id(Some(&http::HeaderValue::from_str(text).unwrap()));
        assert_eq!(id("abc-1_2.3"), "abc-1_2.3");
        for odd in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_eq!(id(odd).len(), 32, "{odd}");
        }
        assert_ne!(request_id(None), request_id(None));
    }

    #[test]
    fn parts_of_a_request_are_found() {
        let request = http::Request::builder()
            .uri("/x?a=1&b=2%20&a=3")
            .header("host", "example.com")
            .header("cookie", "x=1; token=\"abc\"")
            .header("cookie", "y=2");
        let visit = visit(request);
        assert_eq!(visit.query_value("b").as_deref(), Some("2 "));
        assert_eq!(visit.query_value("a").as_deref(), Some("1"));
        assert_eq!(visit.cookie("token"), Some("abc"));
        assert_eq!(visit.cookie("y"), Some("2"));
        assert_eq!(visit.cookie("z"), None);
        assert_eq!(visit.host().as_deref(), Some("example.com"));
        assert_eq!(visit.remote_addr(), "192.0.2.1:4711");
    }
}
