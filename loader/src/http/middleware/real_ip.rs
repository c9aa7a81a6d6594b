//! `real_ip`: the client's address as a trusted proxy tells it.

use std::net::IpAddr;

use crate::http::fields::Options;
use crate::http::visit::Visit;

/// Networks that are private, loopback or link-local.
const PRIVATE: &[&str] = &[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

pub(super) struct RealIp {
    /// `None` for all.
    trusted: Option<Vec<Subnet>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subnet {
    address: IpAddr,
    bits: u32,
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl RealIp {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let options = options.of("real_ip", &["trusted.subnets", "trust_all"])?;
        if options.parsed("trust_all")?.unwrap_or(false) {
            return Ok(Self { trusted: None });
        }
        let private = || PRIVATE.iter().map(|subnet| (*subnet).to_owned()).collect();
        let subnets = options.list("trusted.subnets").unwrap_or_else(private);
        let parsed = subnets.iter().map(|text| {
            Subnet::parse(text)
                .ok_or_else(|| format!("the option `real_ip.trusted.subnets`: `{text}` is no subnet"))
        });
        Ok(Self { trusted: Some(parsed.collect::<Result<_, _>>()?) })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.as_ref().is_none_or(|trusted| trusted.iter().any(|subnet| subnet.has(address)))
    }

    /// Notes the client's address, if the request came from a proxy that is trusted to tell it.
    pub(super) fn before(&self, visit: &mut Visit) {
        if !self.trusts(visit.peer.address.ip()) {
            return;
        }
        let single = ["true-client-ip", "x-real-ip"].into_iter();
        let mut single = single.filter_map(|name| visit.header(name)?.trim().parse::<IpAddr>().ok());
        let told = single.next().or_else(|| self.forwarded(visit));
        visit.forwarded_for = told.map(|address| address.to_canonical());
    }

    /// The client in `X-Forwarded-For`: the last address that no trusted proxy has, since whatever stands
    /// before it the client may have written itself.
    fn forwarded(&self, visit: &Visit) -> Option<IpAddr> {
        let values = visit.parts.headers.get_all("x-forwarded-for").into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let addresses: Vec<Option<IpAddr>> =
            texts.flat_map(|text| text.split(',')).map(|text| text.trim().parse().ok()).collect();
        let Some(trusted) = &self.trusted else { return addresses.first().copied().flatten() };
        let is_trusted = |address: &IpAddr| trusted.iter().any(|subnet| subnet.has(address.to_canonical()));
        // What is no address ends the chain of those that can be believed.
        let chain = addresses.into_iter().rev().map_while(|address| address);
        let mut last = None;
        for address in chain {
            last = Some(address);
            if !is_trusted(&address) {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::testing::options;
    use crate::http::visit::testing::visit;

    /// The client's address of a request with these headers that came from `peer`.
    fn client(pairs: &[(&str, &str)], peer: &str, headers: &[(&str, &str)]) -> String {
        let request = headers
            .iter()
            .fold(http::Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let mut visit = visit(request);
        visit.peer.address = peer.parse().unwrap();
        RealIp::new(&options(pairs)).unwrap().before(&mut visit);
        visit.remote_addr()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let headers = [("x-real-ip", "203.0.113.9")];
        assert_eq!(client(&[], "10.1.2.3:80", &headers), "203.0.113.9");
        assert_eq!(client(&[], "[::ffff:10.1.2.3]:80", &headers), "203.0.113.9");
        assert_eq!(client(&[], "198.51.100.1:80", &headers), "198.51.100.1:80");
        assert_eq!(client(&[("real_ip.trust_all", "true")], "198.51.100.1:80", &headers), "203.0.113.9");
        let subnets = [("real_ip_trusted_subnets", "198.51.100.0/24, 2001:db8::/32")];
        assert_eq!(client(&subnets, "198.51.100.1:80", &headers), "203.0.113.9");
        assert_eq!(client(&subnets, "[2001:db8::1]:80", &headers), "203.0.113.9");
        assert_eq!(client(&subnets, "10.1.2.3:80", &headers), "10.1.2.3:80");
    }

    #[test]
    fn headers_have_an_order() {
        let all = [
            ("x-forwarded-for", "203.0.113.1"),
            ("x-real-ip", "203.0.113.2"),
            ("true-client-ip", "203.0.113.3"),
        ];
        assert_eq!(client(&[], "127.0.0.1:1", &all), "203.0.113.3");
        assert_eq!(client(&[], "127.0.0.1:1", &all[..2]), "203.0.113.2");
        assert_eq!(client(&[], "127.0.0.1:1", &all[..1]), "203.0.113.1");
        assert_eq!(client(&[], "127.0.0.1:1", &[("x-real-ip", "nobody")]), "127.0.0.1:1");
    }

    #[test]
    fn what_a_client_wrote_before_its_proxy_is_not_believed() {
        let chain = [("x-forwarded-for", "1.1.1.1, 203.0.113.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(&[], "10.0.0.1:1", &chain), "203.0.113.7");
        assert_eq!(client(&[("real_ip.trust_all", "true")], "10.0.0.1:1", &chain), "1.1.1.1");
        assert_eq!(client(&[], "10.0.0.1:1", &[("x-forwarded-for", "1.1.1.1, junk, 10.0.0.3")]), "10.0.0.3");
    }

    #[test]
    fn options_are_checked() {
        for subnet in ["10.0.0.0/33", "10.0.0", "::/129", "/8"] {
            assert!(RealIp::new(&options(&[("real_ip.trusted.subnets", subnet)])).is_err(), "{subnet}");
        }
        assert_eq!(Subnet::parse("0.0.0.0/0").unwrap().bits, 0);
        assert!(Subnet::parse("0.0.0.0/0").unwrap().has("9.9.9.9".parse().unwrap()));
    }
}
