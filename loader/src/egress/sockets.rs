//! `wasi:sockets`: the address check that the host asks before it touches a socket, and look-ups of names.
//!
//! The check sees addresses alone. So the names that a guest looked up are kept with their addresses, and a name in
//! `network.allow` opens what it stood for.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{Host, HostResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, Network, SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};

use super::rules::{Door, Refused, Rules};
use crate::config::LOOKUP_ANSWERS_KEPT_MAX;
use crate::host_state::HostState;

/// What a call with sockets has of its own.
pub(crate) struct Sockets {
    rules: Rules,
    known: Arc<Known>,
    /// Names that are being looked up, by handle.
    lookups: HashMap<u32, String>,
    /// Sockets that may be open at once.
    open_max: usize,
}

/// Names of addresses, as the guest looked them up; the oldest give way.
#[derive(Default)]
struct Known(Mutex<VecDeque<(IpAddr, String)>>);

impl Known {
    fn add(&self, ip: IpAddr, name: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|(known, of)| *known == ip && of == name) {
            return;
        }
        if known.len() == LOOKUP_ANSWERS_KEPT_MAX {
            known.pop_front();
        }
        known.push_back((ip, name.to_owned()));
    }

    fn names(&self, ip: IpAddr) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(known, _)| *known == ip).map(|(_, name)| name.clone()).collect()
    }
}

impl Sockets {
    /// Lets the guest of `builder` use sockets by `rules`, at most `open_max` at once.
    pub(crate) fn give(rules: Rules, open_max: usize, builder: &mut WasiCtxBuilder) -> Self {
        let known = Arc::<Known>::default();
        let (own, names) = (rules.clone(), Arc::clone(&known));
        builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
        builder.socket_addr_check(move |address, action| {
            let allowed = check(&own, &names, address, action).is_ok();
            Box::pin(std::future::ready(allowed))
        });
        Self { rules, known, lookups: HashMap::new(), open_max }
    }
}

fn check(rules: &Rules, known: &Known, address: SocketAddr, action: SocketAddrUse) -> Result<(), Refused> {
    let ip = address.ip().to_canonical();
    let action = match action {
        // What the system binds itself, and a guest that leaves all to it: nobody can reach that.
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if ip.is_unspecified() && address.port() == 0 => {
            return Ok(());
        }
        // Who may listen may also hear.
        SocketAddrUse::TcpAccept => return Ok(()),
        SocketAddrUse::TcpBind | SocketAddrUse::TcpListen | SocketAddrUse::UdpBind => "socket.listen",
        SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => "socket.connect",
    };
    rules.policy(action, &SocketAddr::new(ip, address.port()).to_string())?;
    let names = known.names(ip);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    rules.address(Door::Socket, &names, address)
}

/// `host` as it is compared: in lower case, without a point at its end.
///
/// # Errors
/// When it is neither an address nor a name.
pub(crate) fn normal(host: &str) -> Result<String, ()> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(ip.to_canonical().to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // No name has more bytes.
    if host.is_empty() || host.len() > 253 || !host.bytes().all(valid) { Err(()) } else { Ok(host) }
}

/// Marks interfaces whose host is [`View`].
pub(crate) struct Checked;

impl HasData for Checked {
    type Data<'a> = View<'a>;
}

/// The host of what is checked here.
pub(crate) struct View<'a> {
    inner: WasiSocketsCtxView<'a>,
    own: &'a mut Sockets,
}

/// The view of `state`, a call whose entry has sockets.
pub(crate) fn view(state: &mut HostState) -> View<'_> {
    let (inner, own) = state.sockets();
    View { inner, own }
}

impl Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        let host = normal(&name).map_err(|()| ErrorCode::InvalidArgument)?;
        check_lookup(&self.own.rules, &host).map_err(|_| ErrorCode::AccessDenied)?;
        let stream = Host::resolve_addresses(&mut self.inner, network, host.clone())?;
        self.own.lookups.insert(stream.rep(), host);
        Ok(stream)
    }
}

fn check_lookup(rules: &Rules, host: &str) -> Result<(), Refused> {
    rules.policy("socket.resolve", host)?;
    // An address is no name: whether it may be reached is seen when it is.
    if host.parse::<IpAddr>().is_ok() { Ok(()) } else { rules.lookup(host) }
}

impl HostResolveAddressStream for View<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let host = self.own.lookups.get(&stream.rep()).cloned().unwrap_or_default();
        loop {
            let own = Resource::new_borrow(stream.rep());
            let Some(address) = self.inner.resolve_next_address(own)? else { return Ok(None) };
            let ip = ip(address);
            if self.own.rules.answer(&host, ip) {
                self.own.known.add(ip.to_canonical(), &host);
                return Ok(Some(address));
            }
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.inner.subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.own.lookups.remove(&stream.rep());
        HostResolveAddressStream::drop(&mut self.inner, stream)
    }
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

impl View<'_> {
    fn has_room(&mut self) -> SocketResult<()> {
        let sockets =
            self.inner.table.iter_mut().filter(|entry| entry.is::<TcpSocket>() || entry.is::<UdpSocket>());
        if sockets.count() < self.own.open_max { Ok(()) } else { Err(ErrorCode::NewSocketLimit.into()) }
    }
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(
        &mut self,
        family: tcp_create_socket::IpAddressFamily,
    ) -> SocketResult<Resource<TcpSocket>> {
        self.has_room()?;
        self.inner.create_tcp_socket(family)
    }
}

impl udp_create_socket::Host for View<'_> {
    async fn create_udp_socket(
        &mut self,
        family: udp_create_socket::IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        self.has_room()?;
        self.inner.create_udp_socket(family).await
    }
}

/// Errors are the host's own.
impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.inner, error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.inner.network_error_code(error)
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, own: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.inner, own)
    }
}

#[cfg(feature = "p3")]
mod preview3 {
    use std::net::IpAddr;

    use wasmtime::component::Accessor;
    use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{ErrorCode, Host, HostWithStore};
    use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;

    use super::{Checked, View, check_lookup, normal};

    impl Host for View<'_> {}

    impl<U> HostWithStore<U> for Checked {
        async fn resolve_addresses(
            store: &Accessor<U, Self>,
            name: String,
        ) -> wasmtime::Result<Result<Vec<IpAddress>, ErrorCode>> {
            let Ok(host) = normal(&name) else { return Ok(Err(ErrorCode::InvalidArgument)) };
            let (rules, known) = store.with(|mut view| {
                let view = view.get();
                (view.own.rules.clone(), view.own.known.clone())
            });
            if check_lookup(&rules, &host).is_err() {
                return Ok(Err(ErrorCode::AccessDenied));
            }
            let found: Vec<IpAddr> = match host.parse() {
                Ok(ip) => vec![ip],
                Err(_) => match tokio::net::lookup_host((host.as_str(), 0)).await {
                    Ok(found) => found.map(|address| address.ip().to_canonical()).collect(),
                    Err(_) => return Ok(Err(ErrorCode::NameUnresolvable)),
                },
            };
            let allowed = found.into_iter().filter(|ip| rules.answer(&host, *ip));
            let shown = allowed.map(|ip| {
                known.add(ip, &host);
                IpAddress::from(ip)
            });
            Ok(Ok(shown.collect()))
        }
    }
}
