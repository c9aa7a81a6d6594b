//! `endpoint_firewall` and `resource_firewall`: who may do what.

use http::StatusCode;
use registry_schema::{EntryRef, Namespace};

use crate::context::Context;
use crate::data::Data;
use crate::http::fields::Options;
use crate::loader::Loader;

pub(super) struct Firewall {
    action: String,
    /// What is protected; `None` for the endpoint itself.
    target: Option<String>,
}

impl Firewall {
    /// `endpoint_firewall`.
    pub(super) fn of_endpoint(options: &Options) -> Result<Self, String> {
        let options = options.of("endpoint_firewall", &["action"])?;
        Ok(Self { action: options.text("action").unwrap_or("access").to_owned(), target: None })
    }

    /// `resource_firewall`.
    pub(super) fn of_resource(own: &Namespace, options: &Options) -> Result<Self, String> {
        let options = options.of("resource_firewall", &["action", "target"])?;
        let target = options
            .text("target")
            .ok_or("`resource_firewall` needs the option `resource_firewall.target`")?;
        let target: EntryRef =
            target.parse().map_err(|error| format!("the option `resource_firewall.target`: {error}"))?;
        Ok(Self {
            action: options.text("action").unwrap_or("access").to_owned(),
            target: Some(target.resolve(own).to_string()),
        })
    }

    /// Whether a request with `context`, whose actor is `known`, may go on to `endpoint`.
    ///
    /// # Errors
    /// 401 when nobody is known to ask, 403 when who asks may not; and why, for the log.
    pub(super) fn check(
        &self,
        loader: &Loader,
        context: &Context,
        known: bool,
        endpoint: &str,
        meta: &Data,
    ) -> Result<(), (StatusCode, String)> {
        if !known {
            return Err((StatusCode::UNAUTHORIZED, "nobody is known to ask".to_owned()));
        }
        let allowed = match &self.target {
            None => loader.check(context, &self.action, endpoint, meta),
            Some(target) => loader.check(context, &self.action, target, &Data::Nil),
        };
        allowed.map_err(|error| (StatusCode::FORBIDDEN, error.message().to_owned()))
    }
}
