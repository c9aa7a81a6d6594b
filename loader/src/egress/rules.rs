//! What one call may reach: its entry's `network.allow` and its scope.
//!
//! `network.allow` closes everything that it does not list. Addresses that are not public are closed unless an
//! item of it names their host or a policy allows `http_client.private_ip` or `socket.private_ip`; that nobody
//! is known to ask, or that an item stands for every host, does not open them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use registry_schema::ErrorKind;
use registry_schema::authored::network::Destination;

use super::address::is_public;
use super::names::Names;
use crate::context::Context;
use crate::error::Error;
use crate::loader::Inner;

/// Which actions of policies are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `http_client.*`
    #[cfg(feature = "http")]
    Http,
    /// `socket.*`
    Socket,
}

impl Door {
    #[cfg(feature = "lua")]
    fn private_action(self) -> &'static str {
        match self {
            #[cfg(feature = "http")]
            Self::Http => "http_client.private_ip",
            Self::Socket => "socket.private_ip",
        }
    }
}

/// Why something may not be reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refused {
    /// A policy, or the lack of one.
    #[cfg(feature = "lua")]
    ByPolicy(Error),
    /// `network.allow` does not list it.
    NotListed(String),
    /// It is not public.
    Private(IpAddr),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "lua")]
            Self::ByPolicy(error) => f.write_str(error.message()),
            Self::NotListed(what) => write!(f, "not allowed: `network.allow` does not list `{what}`"),
            Self::Private(address) => write!(f, "not allowed: private IP {address}"),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(ErrorKind::PermissionDenied, refused.to_string())
    }
}

/// What one call may reach. Cheap to clone; it does not keep the loader open, since an instance that is kept
/// between calls holds it.
#[derive(Clone)]
pub(crate) struct Rules {
    inner: Weak<Inner>,
    #[cfg_attr(not(feature = "lua"), expect(dead_code, reason = "policies need it"))]
    context: Context,
    /// `None` for everything that is public.
    allow: Option<Arc<[Destination]>>,
}

impl Rules {
    pub(crate) fn new(inner: Weak<Inner>, context: Context, allow: Option<Arc<[Destination]>>) -> Self {
        Self { inner, context, allow }
    }

    /// Checks that the scope allows `action` on `resource`.
    pub(crate) fn policy(&self, action: &str, resource: &str) -> Result<(), Refused> {
        #[cfg(feature = "lua")]
        return match self.inner.upgrade() {
            Some(inner) => inner.allowed(&self.context, action, resource).map_err(Refused::ByPolicy),
            // Nothing runs without its loader.
            None => {
                let message = format!("`{action}` on `{resource}`: the loader has gone");
                Err(Refused::ByPolicy(Error::new(ErrorKind::PermissionDenied, message)))
            }
        };
        #[cfg(not(feature = "lua"))]
        {
            let _ = (action, resource);
            Ok(())
        }
    }

    /// What looks names up; `None` when the loader has gone.
    pub(super) fn names(&self) -> Option<Names> {
        self.inner.upgrade().map(|inner| inner.names.clone())
    }

    /// Checks that the name `host`, in lower case, may be looked up.
    pub(crate) fn lookup(&self, host: &str) -> Result<(), Refused> {
        match &self.allow {
            Some(allow) if !allow.iter().any(|item| item.matches_host(host)) => {
                Err(Refused::NotListed(host.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Checks that what the name `host` stands for may be reachable at `port`: by this name, or by an address that it
    /// may turn out to have. Otherwise a look-up, which tells others the name, is in vain.
    #[cfg(feature = "http")]
    pub(super) fn lookup_at(&self, host: &str, port: u16) -> Result<(), Refused> {
        let matches = |item: &Destination| item.matches_name(host, port) || item.is_address_at(port);
        match &self.allow {
            Some(allow) if !allow.iter().any(matches) => Err(Refused::NotListed(format!("{host}:{port}"))),
            _ => Ok(()),
        }
    }

    /// Checks that `address` may be reached, which `names` were looked up for.
    pub(crate) fn address(&self, door: Door, names: &[&str], address: SocketAddr) -> Result<(), Refused> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let mut is_named = false;
        if let Some(allow) = &self.allow {
            let matches = |item: &&Destination| {
                item.matches_address(ip, port) || names.iter().any(|name| item.matches_name(name, port))
            };
            let mut listed = allow.iter().filter(matches).peekable();
            if listed.peek().is_none() {
                let what = names.first().map_or_else(|| ip.to_string(), |name| (*name).to_owned());
                return Err(Refused::NotListed(format!("{what}:{port}")));
            }
            is_named = listed.any(|item| !item.is_any());
        }
        if is_named || is_public(ip) || self.opens_private(door, ip) {
            return Ok(());
        }
        Err(Refused::Private(ip))
    }

    /// Whether an answer of a lookup of `name` may be shown.
    pub(crate) fn answer(&self, name: &str, ip: IpAddr) -> bool {
        let named = |item: &Destination| !item.is_any() && item.matches_host(name);
        let ip = ip.to_canonical();
        self.allow.as_ref().is_some_and(|allow| allow.iter().any(named))
            || is_public(ip)
            || self.opens_private(Door::Socket, ip)
    }

    /// Whether a policy, not the lack of one, opens an address that is not public.
    fn opens_private(&self, door: Door, ip: IpAddr) -> bool {
        #[cfg(feature = "lua")]
        return self.context.is_granted(door.private_action(), &ip.to_string());
        #[cfg(not(feature = "lua"))]
        {
            let _ = (door, ip);
            false
        }
    }
}
