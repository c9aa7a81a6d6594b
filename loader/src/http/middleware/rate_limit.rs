//! `ratelimit`: a token bucket for each client.
//!
//! A bucket that is full again is as good as none, so it is forgotten. When all places are taken by buckets
//! that are not, new clients are refused: forgetting one would give its client its tokens back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use registry_schema::ErrorKind;
use registry_schema::authored::duration::Duration as Authored;
use tokio::time::Instant;

use crate::config::RATE_KEY_BYTES_MAX;
use crate::http::answer::{Answer, problem};
use crate::http::fields::Options;
use crate::http::visit::Visit;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const WINDOW: HeaderName = HeaderName::from_static("x-ratelimit-window");

pub(super) struct RateLimit {
    requests: u64,
    window: Duration,
    window_text: HeaderValue,
    burst: f64,
    key: Key,
    cleanup_interval: Duration,
    entry_ttl: Duration,
    entries_max: usize,
    buckets: Mutex<Buckets>,
}

/// What tells clients apart.
enum Key {
    Address,
    Header(HeaderName),
    Query(String),
}

struct Buckets {
    by_key: HashMap<String, Bucket>,
    cleaned: Instant,
}

struct Bucket {
    /// When it was last taken from.
    at: Instant,
    /// What it held then.
    tokens: f64,
}

impl RateLimit {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let options = options.of(
            "ratelimit",
            &["requests", "window", "burst", "key", "cleanup_interval", "entry_ttl", "max_entries"],
        )?;
        let positive = |name: &str, default: u64| match options.parsed::<u64>(name)? {
            Some(0) => Err(format!("the option `ratelimit.{name}`: found `0`, expected 1 or more")),
            value => Ok(value.unwrap_or(default)),
        };
        let duration = |name: &str, default: u64| match options.parsed::<Authored>(name)? {
            Some(value) if value.is_zero() => {
                Err(format!("the option `ratelimit.{name}`: found `0`, expected a time"))
            }
            value => Ok(value.map_or(Duration::from_secs(default), |value| value.get())),
        };
        let window = duration("window", 60)?;
        let window_text = options.text("window").unwrap_or("1m");
        let key = options.text("key").unwrap_or("ip");
        Ok(Self {
            requests: positive("requests", 100)?,
            window,
            window_text: HeaderValue::from_str(window_text)
                .map_err(|_| "the option `ratelimit.window` is no header's value".to_owned())?,
            burst: positive("burst", 20)? as f64,
            key: Key::parse(key).ok_or_else(|| {
                format!(
                    "the option `ratelimit.key`: found `{key}`, expected `ip`, `header:NAME` or `query:NAME`"
                )
            })?,
            cleanup_interval: duration("cleanup_interval", 300)?,
            entry_ttl: duration("entry_ttl", 600)?,
            entries_max: usize::try_from(positive("max_entries", 100_000)?).unwrap_or(usize::MAX),
            buckets: Mutex::new(Buckets { by_key: HashMap::new(), cleaned: Instant::now() }),
        })
    }

    fn per_second(&self) -> f64 {
        self.requests as f64 / self.window.as_secs_f64()
    }

    /// Takes a token of the client; the answer if there is none.
    pub(super) fn before(&self, visit: &Visit) -> Option<Answer> {
        let wait = self.take(self.key.of(visit)).err()?;
        let message = "too many requests";
        let mut answer =
            problem(StatusCode::TOO_MANY_REQUESTS, ErrorKind::RateLimited, message, &visit.request_id);
        let headers: &mut HeaderMap = answer.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(self.requests));
        headers.insert(WINDOW, self.window_text.clone());
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
        Some(answer)
    }

    /// Takes a token of `key`.
    ///
    /// # Errors
    /// How long to wait for one.
    fn take(&self, key: String) -> Result<(), Duration> {
        let now = Instant::now();
        // Each change is one insertion or one removal: whole after any panic.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !buckets.by_key.contains_key(&key);
        let is_due = now.duration_since(buckets.cleaned) >= self.cleanup_interval;
        // At most once a second, since it looks at all.
        let is_full = is_new
            && buckets.by_key.len() >= self.entries_max
            && now.duration_since(buckets.cleaned) >= Duration::from_secs(1);
        if is_due || is_full {
            buckets.cleaned = now;
            buckets.by_key.retain(|_, bucket| {
                now.duration_since(bucket.at) < self.entry_ttl && self.tokens(bucket, now) < self.burst
            });
        }
        if is_new && buckets.by_key.len() >= self.entries_max {
            return Err(Duration::from_secs(1));
        }
        let bucket = buckets.by_key.entry(key).or_insert(Bucket { at: now, tokens: self.burst });
        let tokens = self.tokens(bucket, now);
        *bucket = Bucket { at: now, tokens };
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second()));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// What `bucket` holds now.
    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        let gained = now.duration_since(bucket.at).as_secs_f64() * self.per_second();
        (bucket.tokens + gained).min(self.burst)
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        if text == "ip" {
            return Some(Self::Address);
        }
        match text.split_once(':')? {
            ("header", name) => name.parse().ok().map(Self::Header),
            ("query", name) if !name.is_empty() => Some(Self::Query(name.to_owned())),
            _ => None,
        }
    }

    /// A client that does not say who it is goes by its address.
    fn of(&self, visit: &Visit) -> String {
        let own = match self {
            Self::Address => None,
            Self::Header(name) => visit.header(name.as_str()).map(str::to_owned),
            Self::Query(name) => visit.query_value(name),
        };
        match own.filter(|own| !own.is_empty() && own.len() <= RATE_KEY_BYTES_MAX) {
            // No address has this form.
            Some(own) => format!("key {own}"),
            None => visit.client().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::testing::options;
    use crate::http::visit::testing::visit;

    fn limit(pairs: &[(&str, &str)]) -> RateLimit {
        RateLimit::new(&options(pairs)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_and_fills() {
        let limit =
            limit(&[("ratelimit.requests", "60"), ("ratelimit.window", "1m"), ("ratelimit.burst", "2")]);
        let visit = visit(http::Request::get("/"));
        assert!(limit.before(&visit).is_none());
        assert!(limit.before(&visit).is_none());
        let refused = limit.before(&visit).unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["x-ratelimit-limit"], "60");
        assert_eq!(refused.headers()["x-ratelimit-window"], "1m");
        assert_eq!(refused.headers()["retry-after"], "1");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limit.before(&visit).is_none());
        assert!(limit.before(&visit).is_some());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(limit.before(&visit).is_none() && limit.before(&visit).is_none());
        assert!(limit.before(&visit).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_and_come_back() {
        let limit =
            limit(&[("ratelimit.max_entries", "2"), ("ratelimit.burst", "1"), ("ratelimit.window", "100s")]);
        let take = |key: &str| limit.take(key.to_owned());
        assert!(take("a").is_ok() && take("b").is_ok());
        assert!(take("c").is_err() && take("a").is_err());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(take("c").is_ok());
        assert!(limit.buckets.lock().unwrap().by_key.len() <= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_apart_by_the_key() {
        let limit = limit(&[("ratelimit.burst", "1"), ("ratelimit.key", "header:X-API-Key")]);
        let with = |key: &str| visit(http::Request::get("/").header("x-api-key", key));
        assert!(limit.before(&with("a")).is_none());
        assert!(limit.before(&with("b")).is_none());
        assert!(limit.before(&with("a")).is_some());
        assert!(limit.before(&visit(http::Request::get("/"))).is_none());
        assert!(limit.before(&with(&"x".repeat(RATE_KEY_BYTES_MAX + 1))).is_some());
        let query = self::limit(&[("ratelimit.burst", "1"), ("ratelimit_key", "query:k")]);
        assert!(query.before(&visit(http::Request::get("/?k=1"))).is_none());
        assert!(query.before(&visit(http::Request::get("/?k=1"))).is_some());
    }

    #[test]
    fn options_are_checked() {
        for (name, value) in
            [("requests", "0"), ("key", "cookie:x"), ("key", "header:"), ("window", "0"), ("per", "1")]
        {
            assert!(
                RateLimit::new(&options(&[(&format!("ratelimit.{name}"), value)])).is_err(),
                "{name} {value}"
            );
        }
    }
}
