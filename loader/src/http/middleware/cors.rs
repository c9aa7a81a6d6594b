//! `cors`: which pages of other origins may read the answers.
//!
//! With the origins `*` credentials are never allowed: any page could act as its visitor.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};

use crate::http::answer::{Answer, bare};
use crate::http::fields::Options;
use crate::http::visit::Visit;

const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

pub(super) struct Cors {
    /// `None` for all.
    origins: Option<Vec<String>>,
    methods: HeaderValue,
    headers: HeaderValue,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
    private_network: bool,
}

/// What to tell the page.
pub(super) struct Wish {
    /// The page's origin, if it may read the answer.
    origin: Option<HeaderValue>,
    is_preflight: bool,
    private_network: bool,
}

impl Cors {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let options = options.of(
            "cors",
            &[
                "allow.origins",
                "allow.methods",
                "allow.headers",
                "expose.headers",
                "allow.credentials",
                "max.age",
                "allow.private.network",
            ],
        )?;
        let list = |name: &str, default: &str| {
            let value = options.list(name).map_or_else(|| default.to_owned(), |parts| parts.join(","));
            HeaderValue::from_str(&value)
                .map_err(|_| format!("the option `cors.{name}` is no header's value"))
        };
        let origins = options.list("allow.origins").unwrap_or_else(|| vec!["*".to_owned()]);
        let credentials = options.parsed("allow.credentials")?.unwrap_or(false);
        let any = origins.iter().any(|origin| origin == "*");
        Ok(Self {
            credentials: credentials && !any,
            origins: (!any).then_some(origins),
            methods: list("allow.methods", "GET,POST,PUT,DELETE,OPTIONS,PATCH")?,
            headers: list("allow.headers", "Origin,Content-Type,Accept,Authorization,X-Requested-With")?,
            expose: options.text("expose.headers").map(|_| list("expose.headers", "")).transpose()?,
            max_age: HeaderValue::from(options.parsed::<u64>("max.age")?.unwrap_or(86_400)),
            private_network: options.parsed("allow.private.network")?.unwrap_or(false),
        })
    }

    fn allows(&self, origin: &str) -> bool {
        let Some(origins) = &self.origins else { return true };
        origins.iter().any(|own| match own.split_once('*') {
            None => own == origin,
            // A pattern without a scheme is one for hosts.
            Some((before, after)) => {
                let host = match before.contains("://") {
                    true => origin,
                    false => origin.split_once("://").map_or(origin, |(_, host)| host),
                };
                let within = host.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
                within.is_some_and(|within| !within.is_empty() && within.bytes().all(plain))
            }
        })
    }

    /// A preflight is answered here.
    pub(super) fn before(&self, visit: &Visit) -> (Wish, Option<Answer>) {
        let headers = &visit.parts.headers;
        let origin = headers.get(ORIGIN).filter(|origin| origin.to_str().is_ok_and(|text| self.allows(text)));
        let is_preflight = visit.parts.method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let asks_private = headers.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true");
        let wish = Wish {
            origin: origin.cloned(),
            is_preflight,
            private_network: asks_private && self.private_network,
        };
        (wish, is_preflight.then(|| bare(StatusCode::NO_CONTENT)))
    }

    pub(super) fn after(&self, wish: &Wish, answer: &mut Answer) {
        let headers = answer.headers_mut();
        if self.origins.is_some() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = &wish.origin else {
            // Not even the handler can open what the router closes.
            headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
            return;
        };
        let all = HeaderValue::from_static("*");
        let origin = if self.origins.is_some() { origin.clone() } else { all };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if !wish.is_preflight {
            if let Some(expose) = &self.expose {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
            return;
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if wish.private_network {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::testing::options;
    use crate::http::visit::testing::visit;

    fn cors(pairs: &[(&str, &str)]) -> Cors {
        Cors::new(&options(pairs)).unwrap()
    }

    /// The CORS headers of the answer to `request`, sorted.
    fn headers(cors: &Cors, request: http::request::Builder) -> Vec<String> {
        let (wish, answer) = cors.before(&visit(request));
        let mut answer = answer.unwrap_or_else(|| bare(StatusCode::OK));
        cors.after(&wish, &mut answer);
        let names = answer.headers().iter();
        let mut lines: Vec<_> =
            names.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines.insert(0, answer.status().as_str().to_owned());
        lines
    }

    fn get(origin: &str) -> http::request::Builder {
        http::Request::get("/").header("origin", origin)
    }

    #[test]
    fn origins_are_matched_whole() {
        let cors =
            cors(&[("cors.allow.origins", "https://a.example,*.example.com,https://*.b.example:8443")]);
        let allowed = [
            "https://a.example",
            "https://x.example.com",
            "http://y.x.example.com",
            "https://q.b.example:8443",
        ];
        for origin in allowed {
            assert!(cors.allows(origin), "{origin}");
        }
        let refused = [
            "http://a.example",
            "https://a.example.evil",
            "https://example.com",
            "https://evilexample.com",
            "https://evil/x.example.com",
            "https://q.b.example",
            "null",
        ];
        for origin in refused {
            assert!(!cors.allows(origin), "{origin}");
        }
    }

    #[test]
    fn a_preflight_is_answered_at_once() {
        let cors = cors(&[("cors.allow.origins", "https://a.example"), ("cors_allow_credentials", "true")]);
        let preflight = |origin: &str| {
            let request = http::Request::options("/").header("origin", origin);
            headers(&cors, request.header("access-control-request-method", "PUT"))
        };
        assert_eq!(
            preflight("https://a.example"),
            [
                "204",
                "access-control-allow-credentials: true",
                "access-control-allow-headers: Origin,Content-Type,Accept,Authorization,X-Requested-With",
                "access-control-allow-methods: GET,POST,PUT,DELETE,OPTIONS,PATCH",
                "access-control-allow-origin: https://a.example",
                "access-control-max-age: 86400",
                "vary: Origin",
            ]
        );
        assert_eq!(preflight("https://b.example"), ["204", "vary: Origin"]);
        assert_eq!(headers(&cors, http::Request::options("/")), ["200", "vary: Origin"]);
    }

    #[test]
    fn all_origins_never_come_with_credentials() {
        let cors = cors(&[("cors.allow.credentials", "true"), ("cors.expose.headers", "X-A, X-B")]);
        assert_eq!(
            headers(&cors, get("https://any.example")),
            ["200", "access-control-allow-origin: *", "access-control-expose-headers: X-A,X-B"]
        );
    }

    #[test]
    fn private_networks_are_opened_on_request() {
        let request = || {
            let request = http::Request::options("/").header("origin", "https://a.example");
            let request = request.header("access-control-request-method", "GET");
            request.header("access-control-request-private-network", "true")
        };
        let allowed = "access-control-allow-private-network: true".to_owned();
        assert!(!headers(&cors(&[]), request()).contains(&allowed));
        assert!(headers(&cors(&[("cors.allow.private.network", "true")]), request()).contains(&allowed));
    }
}
