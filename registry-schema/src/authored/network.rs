//! `network.allow`: where an entry may connect to.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::scalar::{FromScalar, Scalar, ScalarError};

/// A pattern `host:port`.
///
/// The host is a name, `*.` and a name, which stands for all names below it, an IP address (version 6 in
/// brackets), or `*`. The port is a number or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    host: HostPattern,
    /// `None` for all.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// Every name that ends with a point and this one.
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl Destination {
    /// Whether `host`, a name in lower case without a point at its end, matches at `port`.
    pub fn matches_name(&self, host: &str, port: u16) -> bool {
        let name = match &self.host {
            HostPattern::Any => true,
            HostPattern::Below(name) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            HostPattern::Name(name) => host == name,
            HostPattern::Address(_) => false,
        };
        name && self.matches_port(port)
    }

    /// Whether `address` matches at `port`.
    pub fn matches_address(&self, address: IpAddr, port: u16) -> bool {
        let matches = match self.host {
            HostPattern::Any => true,
            HostPattern::Address(own) => own == address.to_canonical(),
            HostPattern::Below(_) | HostPattern::Name(_) => false,
        };
        matches && self.matches_port(port)
    }

    /// Whether it is an address, which any name may stand for, at `port`.
    pub fn is_address_at(&self, port: u16) -> bool {
        matches!(self.host, HostPattern::Address(_)) && self.matches_port(port)
    }

    /// Whether `host` matches at some port.
    pub fn matches_host(&self, host: &str) -> bool {
        Self { host: self.host.clone(), port: None }.matches_name(host, 0)
    }

    /// Whether it names no host, so that it says nothing about addresses which are closed unless named.
    pub fn is_any(&self) -> bool {
        self.host == HostPattern::Any
    }

    fn matches_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = match port {
            "*" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            return Some(Self { host: HostPattern::Address(IpAddr::V6(address).to_canonical()), port });
        }
        let lower = host.to_ascii_lowercase();
        let host = if lower == "*" {
            HostPattern::Any
        } else if let Ok(address) = lower.parse() {
            HostPattern::Address(IpAddr::V4(address))
        } else if let Some(below) = lower.strip_prefix("*.") {
            HostPattern::Below(name(below)?)
        } else {
            HostPattern::Name(name(&lower)?)
        };
        Some(Self { host, port })
    }
}

/// A host name: letters, digits, `-` and `_` between points.
fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.split('.').all(part).then(|| text.to_owned())
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Below(name) => write!(f, "*.{name}")?,
            HostPattern::Name(name) => f.write_str(name)?,
            HostPattern::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl FromScalar for Destination {
    const EXPECTED: &'static str =
        "`host:port`, such as `api.example.com:443`, `*.example.com:*` or `[::1]:80`";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        match &scalar {
            Scalar::Text(text) => Self::parse(text).ok_or_else(|| ScalarError::new::<Self>(&scalar)),
            other => Err(ScalarError::new::<Self>(other).hint("put the value in quotes")),
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Destination {
        Destination::from_text(text).unwrap()
    }

    #[test]
    fn names_and_ports() {
        let exact = pattern("API.example.com:443");
        assert!(exact.matches_name("api.example.com", 443));
        assert!(!exact.matches_name("api.example.com", 80) && !exact.matches_name("example.com", 443));
        assert!(exact.matches_host("api.example.com"));
        let below = pattern("*.example.com:*");
        assert!(below.matches_name("a.b.example.com", 1) && !below.matches_name("example.com", 1));
        assert!(!below.matches_name("evilexample.com", 1) && !below.matches_name(".example.com", 1));
        assert!(pattern("*:443").matches_name("anything", 443) && pattern("*:443").is_any());
    }

    #[test]
    fn addresses_in_every_spelling() {
        let loopback = pattern("127.0.0.1:80");
        assert!(loopback.matches_address("127.0.0.1".parse().unwrap(), 80));
        assert!(loopback.matches_address("::ffff:127.0.0.1".parse().unwrap(), 80));
        assert!(!loopback.matches_name("127.0.0.1", 80));
        assert!(loopback.is_address_at(80) && !loopback.is_address_at(81));
        assert!(pattern("[::1]:*").is_address_at(9) && !pattern("*:80").is_address_at(80));
        assert!(!pattern("a.example:80").is_address_at(80));
        assert!(pattern("[::1]:*").matches_address("::1".parse().unwrap(), 9));
        assert!(pattern("[::ffff:10.0.0.1]:*").matches_address("10.0.0.1".parse().unwrap(), 9));
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "",
            "host",
            ":80",
            "host:",
            "host:port",
            "host:70000",
            "::1:80",
            "[x]:1",
            "a b:1",
            "a..b:1",
            "*x:1",
        ] {
            assert!(Destination::from_text(text).is_err(), "{text}");
        }
        for text in ["a.example:1", "*:*", "*.example:2", "10.0.0.1:*", "[fd00::1]:3"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }
}
