//! Middleware (`en/http/middleware.md`): what a router does to every request before and after its routes.
//!
//! Those that come before a route is looked up may answer themselves, and see the answer on its way back;
//! those that come after it only refuse. A router with any that is not here is not available.

mod compress;
mod cors;
mod firewall;
mod rate_limit;
mod real_ip;
mod token_auth;

use http::StatusCode;

use self::compress::Compress;
use self::cors::Cors;
use self::firewall::Firewall;
use self::rate_limit::RateLimit;
use self::real_ip::RealIp;
use self::token_auth::TokenAuth;
use super::answer::Answer;
use super::fields::Options;
use super::visit::Visit;
use crate::data::Data;
use crate::loader::Loader;

/// The middleware of one router.
pub(super) struct Chain {
    before: Vec<Middleware>,
    after: Vec<Firewall>,
    /// Whether tokens say who asks.
    identifies: bool,
}

enum Middleware {
    Cors(Cors),
    Compress(Compress),
    RateLimit(RateLimit),
    RealIp(RealIp),
    TokenAuth(TokenAuth),
}

/// What a request asked for that the answer depends on, kept until it is there.
pub(super) struct Wishes {
    /// What of the chain has seen the request.
    seen: usize,
    cors: Option<cors::Wish>,
    gzip: bool,
}

impl Chain {
    /// The chain of `names` and `post_names`.
    ///
    /// # Errors
    /// Why the router can't be offered.
    pub(super) fn new(
        loader: &Loader,
        own: &registry_schema::Namespace,
        (names, options): (&[String], &Options),
        (post_names, post_options): (&[String], &Options),
    ) -> Result<Self, String> {
        let mut before = Vec::with_capacity(names.len());
        for name in names {
            before.push(match name.as_str() {
                "cors" => Middleware::Cors(Cors::new(options)?),
                "compress" => Middleware::Compress(Compress::new(options)?),
                "ratelimit" => Middleware::RateLimit(RateLimit::new(options)?),
                "real_ip" => Middleware::RealIp(RealIp::new(options)?),
                "token_auth" => Middleware::TokenAuth(TokenAuth::new(loader, own, options)?),
                "endpoint_firewall" | "resource_firewall" => {
                    return Err(format!("`{name}` belongs to `post_middleware`: it needs the route"));
                }
                name => return Err(format!("the middleware `{name}` is not offered")),
            });
        }
        let after = post_names.iter().map(|name| match name.as_str() {
            "endpoint_firewall" => Firewall::of_endpoint(post_options),
            "resource_firewall" => Firewall::of_resource(own, post_options),
            name => Err(format!("the middleware `{name}` is not offered after the route")),
        });
        let identifies = before.iter().any(|middleware| matches!(middleware, Middleware::TokenAuth(_)));
        Ok(Self { after: after.collect::<Result<_, _>>()?, before, identifies })
    }

    /// Lets every middleware see the request; the answer of the first that has one.
    pub(super) fn before(&self, visit: &mut Visit) -> (Wishes, Option<Answer>) {
        let mut wishes = Wishes { seen: 0, cors: None, gzip: false };
        for middleware in &self.before {
            wishes.seen += 1;
            let answer = match middleware {
                Middleware::Cors(cors) => {
                    let (wish, answer) = cors.before(visit);
                    wishes.cors = Some(wish);
                    answer
                }
                Middleware::Compress(_) => {
                    wishes.gzip = compress::is_wanted(&visit.parts);
                    None
                }
                Middleware::RateLimit(limit) => limit.before(visit),
                Middleware::RealIp(real_ip) => {
                    real_ip.before(visit);
                    None
                }
                Middleware::TokenAuth(auth) => {
                    auth.before(visit);
                    None
                }
            };
            if answer.is_some() {
                return (wishes, answer);
            }
        }
        (wishes, None)
    }

    /// Whether the request may go on to the endpoint `id`, which has the metadata `meta`.
    ///
    /// # Errors
    /// The status to refuse it with, and why.
    pub(super) fn check(
        &self,
        loader: &Loader,
        visit: &Visit,
        id: &str,
        meta: &Data,
    ) -> Result<(), (StatusCode, String)> {
        let known = visit.context.actor().is_some() && (visit.identified || !self.identifies);
        self.after.iter().try_for_each(|firewall| firewall.check(loader, &visit.context, known, id, meta))
    }

    /// Lets every middleware that saw the request see the answer, the last one first.
    pub(super) fn after(&self, wishes: &Wishes, mut answer: Answer) -> Answer {
        for middleware in self.before[..wishes.seen].iter().rev() {
            match middleware {
                Middleware::Cors(cors) => {
                    if let Some(wish) = &wishes.cors {
                        cors.after(wish, &mut answer);
                    }
                }
                Middleware::Compress(compress) => answer = compress.after(wishes.gzip, answer),
                Middleware::RateLimit(_) | Middleware::RealIp(_) | Middleware::TokenAuth(_) => {}
            }
        }
        answer
    }
}
