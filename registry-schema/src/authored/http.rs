//! `http.service`, `http.router` and `http.endpoint` (`en/http/server.md`, `en/http/router.md`,
//! `en/http/endpoint.md`).
//!
//! Meta keys: a router reads `meta.server` ([`RouterMeta`]), an endpoint `meta.router`
//! ([`EndpointMeta`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::Duration;
use super::lifecycle::Lifecycle;
use super::scalar::{ScalarText, Templated, closed_set};
use crate::ids::EntryRef;

/// Middleware that runs before a route is looked up and is offered, sorted.
pub const MIDDLEWARE: &[&str] = &["compress", "cors", "ratelimit", "real_ip", "token_auth"];

/// Middleware that runs after a route matched and is offered, sorted.
pub const POST_MIDDLEWARE: &[&str] = &["endpoint_firewall", "resource_firewall"];

/// A listener (`en/http/server.md`, "Configuration").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpService {
    /// Address to listen on: `:8080`, `127.0.0.1:9090`. Required.
    pub addr: Templated<String>,
    /// Time limits. Default: none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpTimeouts>,
    /// Sizes of the message relay behind WebSocket and SSE. Default: those of [`HttpHost`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HttpHost>,
    /// Overlay network through which alone the listener is reachable. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<EntryRef>,
    /// TLS termination. Default: plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<HttpTls>,
    /// Sizes that requests must keep to. Default: those of [`HttpLimits`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<HttpLimits>,
    /// Supervision, and the identity that requests start with. Default: not started on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Time limits of a listener; `0` switches one off (`en/http/server.md`, "Timeouts").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpTimeouts {
    /// To read a whole request, headers and body. Default: the page names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Templated<Duration>>,
    /// To write a response. Default: the page names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Templated<Duration>>,
    /// That a kept connection may rest. Default: the page names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Templated<Duration>>,
}

/// Message relay of a listener (`en/http/server.md`, "Host Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpHost {
    /// Messages that may wait for each worker. Default: 1024. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_size: Option<Templated<u32>>,
    /// Workers. Default: number of CPUs. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_count: Option<Templated<u32>>,
}

/// Sizes that requests must keep to. Ours: not on the public page; the default is that of
/// `req:parse_multipart` and `http.request` (`en/lua/http/http.md`, "Loading").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpLimits {
    /// Largest request body in bytes; above it the answer is 413. Default: 125829120 (120 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<Templated<u64>>,
}

/// TLS termination (`en/http/server.md`, "TLS" and "Mutual TLS").
///
/// The `*_env` fields are the deprecated spelling of `${env:NAME}`: the public name or id of an
/// `env.variable`. Of each pair only one may be given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpTls {
    /// Where the certificate comes from. Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Templated<TlsMode>>,
    /// Certificate chain as PEM text. Required for `manual`, forbidden for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<Templated<String>>,
    /// Deprecated: the variable that holds `cert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_env: Option<Templated<String>>,
    /// Private key as PEM text. Required for `manual`, forbidden for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Templated<String>>,
    /// Deprecated: the variable that holds `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<Templated<String>>,
    /// Whether and how clients must identify. `manual` only. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<Templated<ClientAuth>>,
    /// Trusted client authorities as PEM text. Required for the two `verify` members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<Templated<String>>,
    /// Deprecated: the variable that holds `client_ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_env: Option<Templated<String>>,
}

closed_set! {
    /// Where a listener's certificate comes from (`en/http/server.md`, "Manual certificate").
    pub enum TlsMode {
        /// Plain HTTP.
        Off => "",
        /// From the overlay network.
        Auto => "auto",
        /// From `cert` and `key`.
        Manual => "manual",
    }
}

closed_set! {
    /// What is asked of clients (`en/http/server.md`, "Mutual TLS").
    pub enum ClientAuth {
        /// A certificate is asked for, none is needed, none is verified.
        Request => "request",
        /// Some certificate is needed, none is verified.
        RequireAny => "require_any",
        /// A certificate that is given must verify.
        VerifyIfGiven => "verify_if_given",
        /// A certificate is needed and must verify.
        RequireAndVerify => "require_and_verify",
    }
}

/// A prefix with middleware for its endpoints (`en/http/router.md`, "Router Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpRouter {
    /// Put before the path of every endpoint. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Templated<String>>,
    /// Run in this order before a route is looked up. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middleware: Vec<Templated<String>>,
    /// Settings of `middleware`, `<middleware>.<option>` (the legacy spelling has underscores for
    /// points). Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Templated<ScalarText>>,
    /// Run in this order after a route matched. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_middleware: Vec<Templated<String>>,
    /// Settings of `post_middleware`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub post_options: BTreeMap<String, Templated<ScalarText>>,
}

/// One route (`en/http/endpoint.md`, "Configuration").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpEndpoint {
    /// Method that the route answers. Required.
    pub method: Templated<HttpMethod>,
    /// Pattern that starts with `/`: `/users/{id}`, `/files/{path...}`. Required.
    pub path: Templated<String>,
    /// Function that answers. Required.
    pub func: EntryRef,
}

closed_set! {
    /// Methods of endpoints (`en/http/endpoint.md`, "HTTP Methods").
    pub enum HttpMethod {
        /// Retrieve.
        Get => "GET",
        /// Create.
        Post => "POST",
        /// Replace.
        Put => "PUT",
        /// Update in part.
        Patch => "PATCH",
        /// Remove.
        Delete => "DELETE",
        /// Headers only.
        Head => "HEAD",
        /// Capabilities; CORS preflight is answered without an endpoint.
        Options => "OPTIONS",
        /// Loop back for diagnosis.
        Trace => "TRACE",
    }
}

/// What a router reads from its `meta` (`en/http/router.md`, "Architecture").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RouterMeta {
    /// The `http.service` that serves the router. The page names no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<EntryRef>,
}

/// What an endpoint reads from its `meta` (`en/http/endpoint.md`, "Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndpointMeta {
    /// The `http.router` that holds the endpoint. Required; optional here, so that the missing one
    /// is reported with the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<EntryRef>,
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn http_service() {
        let service: HttpService = round_trip(json!({
            "addr": ":8080",
            "timeouts": {"read": "5s", "write": "30s", "idle": "60s"},
            "host": {"buffer_size": 1024, "worker_count": 4},
            "network": "app.net:tailnet",
            "limits": {"max_body_bytes": 1048576},
            "lifecycle": {
                "auto_start": true,
                "security": {"actor": {"id": "http-gateway"}, "policies": ["app:http_policy"]}
            }
        }));
        assert_eq!(service.addr, Templated::Value(":8080".to_owned()));
        round_trip::<HttpTimeouts>(json!({"read": 0}));
    }

    #[test]
    fn http_service_tls() {
        let tls: HttpTls = round_trip(json!({
            "mode": "manual",
            "cert": "${env:app.env:tls_cert}",
            "key": "${env:app.env:tls_key}",
            "client_ca": "-----BEGIN CERTIFICATE-----\n",
            "client_auth": "require_and_verify"
        }));
        assert!(tls.cert.expect("cert").is_template());
        assert_eq!(tls.client_auth, Some(Templated::Value(ClientAuth::RequireAndVerify)));
        let off: HttpTls =
            round_trip(json!({"mode": "", "cert_env": "a", "key_env": "b", "client_ca_env": "c"}));
        assert_eq!(off.mode, Some(Templated::Value(TlsMode::Off)));
        let wrong = serde_json::from_value::<HttpTls>(json!({"client_auth": ""})).unwrap_err();
        assert!(wrong.to_string().starts_with("found ``, expected one of `request`"));
    }

    #[test]
    fn http_router() {
        let router: HttpRouter = round_trip(json!({
            "prefix": "/api/v1",
            "middleware": ["cors", "compress", "ratelimit"],
            "options": {"cors.allow.origins": "*", "ratelimit.requests": "100"},
            "post_middleware": ["endpoint_firewall"],
            "post_options": {"endpoint_firewall.action": "access"}
        }));
        assert_eq!(router.middleware.len(), 3);
        let bare: HttpRouter = serde_json::from_value(json!({"options": {"cors.max.age": 600}})).unwrap();
        let age = bare.options.get("cors.max.age").and_then(Templated::value);
        assert_eq!(age, Some(&ScalarText("600".to_owned())));
        round_trip::<HttpRouter>(json!({}));
    }

    #[test]
    fn http_endpoint() {
        let endpoint: HttpEndpoint = round_trip(json!({
            "method": "GET",
            "path": "/users/{id}",
            "func": "app.users:get_user"
        }));
        assert_eq!(endpoint.method, Templated::Value(HttpMethod::Get));
        let wrong = serde_json::from_value::<Templated<HttpMethod>>(json!("get")).unwrap_err();
        assert!(wrong.to_string().ends_with("hint: write `GET`"));
    }

    #[test]
    fn meta_of_router_and_endpoint() {
        let router: RouterMeta =
            serde_json::from_value(json!({"server": "gateway", "comment": "free"})).unwrap();
        assert!(router.server.is_some());
        let endpoint: EndpointMeta = serde_json::from_value(json!({"router": "app:api"})).unwrap();
        assert!(endpoint.router.is_some());
    }
}
