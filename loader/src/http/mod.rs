//! HTTP (`en/http/*`): the services, routers and endpoints of a bundle, served.
//!
//! A [`Site`] is one `http.service` with all that hangs on it, checked (`site.rs`); a [`Server`] listens for
//! it (`server.rs`) and can be given the site of the next bundle while it runs. The way of a request:
//! `server.rs` reads its head within the limits of `watch.rs`, `serve.rs` finds its router and route and runs
//! the middleware around the handler (`handler/`). Requests and answers are streams throughout (`body.rs`).

mod answer;
mod body;
mod exchange;
mod fields;
mod handler;
mod middleware;
mod routes;
mod serve;
mod server;
mod service;
mod site;
mod tls;
mod visit;
mod watch;

pub(crate) use body::{BodyProblem, RequestBody};
pub(crate) use exchange::{Exchange, INVALID_STATE, PARSE_FAILED, error};
pub use server::Server;
pub(crate) use service::service;
pub use site::Site;
