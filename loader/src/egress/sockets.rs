//! `wasi:sockets`: the address check that the host asks before it touches a socket, and what a call with sockets has
//! of its own. `preview2.rs` and `preview3.rs` link the interfaces of the two releases.
//!
//! The check sees addresses alone. So the names that a guest looked up are kept with their addresses, and a name in
//! `network.allow` opens what it stood for.

#[cfg(feature = "p3")]
use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "p3")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::component::HasData;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};
use wasmtime_wasi::{WasiCtxBuilder, p2, sockets};

use super::rules::{Door, Refused, Rules};
use super::waits::Waits;
use crate::config::LOOKUP_ANSWERS_KEPT_MAX;
use crate::host_state::HostState;

/// What a call with sockets has of its own.
pub(crate) struct Sockets {
    pub(super) rules: Rules,
    pub(super) known: Arc<Known>,
    /// What a guest of WASI 0.2 waits for.
    pub(crate) waits: Waits,
    tally: Arc<Tally>,
    /// Connections with streams of WASI 0.3, by the handles of their sockets.
    #[cfg(feature = "p3")]
    streaming: HashMap<u32, Arc<Streaming>>,
    limits: SocketLimits,
}

/// Limits of a call's sockets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketLimits {
    /// Sockets that may be open at once, accepted ones included (`limits.max_open_sockets`), and connections that
    /// streams alone keep open.
    pub(crate) open_max: usize,
    /// Longest wait of an operation and of a look-up, if there is one (`limits.socket_timeout_ms`).
    pub(crate) longest_wait: Option<Duration>,
}

/// How many sockets are open, for the check, which does not see them.
#[derive(Default)]
struct Tally {
    sockets: AtomicUsize,
    /// Connections whose sockets are gone, but not their streams.
    streams: AtomicUsize,
}

/// What the streams of one connection share. The host's own streams keep the connection, not the socket.
#[cfg(feature = "p3")]
pub(super) struct Streaming {
    tally: Arc<Tally>,
    is_left: AtomicBool,
}

#[cfg(feature = "p3")]
impl Drop for Streaming {
    fn drop(&mut self) {
        if self.is_left.load(Ordering::Relaxed) {
            self.tally.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Names of addresses, as the guest looked them up; the oldest give way.
#[derive(Default)]
pub(super) struct Known(Mutex<VecDeque<(IpAddr, String)>>);

impl Known {
    pub(super) fn add(&self, ip: IpAddr, name: &str) {
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
    /// Lets the guest of `builder` use sockets by `rules` and within `limits`.
    pub(crate) fn give(rules: Rules, limits: SocketLimits, builder: &mut WasiCtxBuilder) -> Self {
        let (known, tally) = (Arc::<Known>::default(), Arc::<Tally>::default());
        let (own, names, open) = (rules.clone(), Arc::clone(&known), Arc::clone(&tally));
        builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
        builder.socket_addr_check(move |address, action| {
            let allowed = match action {
                // Who may listen may also hear.
                SocketAddrUse::TcpAccept => open.take(limits.open_max),
                action => check(&own, &names, address, action).is_ok(),
            };
            Box::pin(std::future::ready(allowed))
        });
        let waits = Waits::new(limits.longest_wait);
        Self {
            rules,
            known,
            waits,
            tally,
            #[cfg(feature = "p3")]
            streaming: HashMap::new(),
            limits,
        }
    }

    /// For a stream of the connection of `socket`: as long as it lives, the connection counts.
    #[cfg(feature = "p3")]
    pub(super) fn streaming(&mut self, socket: u32) -> Arc<Streaming> {
        let own = self.streaming.entry(socket);
        let new = || Arc::new(Streaming { tally: Arc::clone(&self.tally), is_left: AtomicBool::new(false) });
        Arc::clone(own.or_insert_with(new))
    }

    /// `socket` is gone: what is left of its streams counts in its place.
    #[cfg(feature = "p3")]
    pub(super) fn leave(&mut self, socket: u32) {
        if let Some(streaming) = self.streaming.remove(&socket) {
            self.tally.streams.fetch_add(1, Ordering::Relaxed);
            streaming.is_left.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn longest_wait(&self) -> Option<Duration> {
        self.limits.longest_wait
    }
}

impl Tally {
    /// Counts one more, if `maximum` allows it.
    fn take(&self, maximum: usize) -> bool {
        let streams = self.streams.load(Ordering::Relaxed);
        let more = |open| (open + streams < maximum).then_some(open + 1);
        self.sockets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

fn check(rules: &Rules, known: &Known, address: SocketAddr, action: SocketAddrUse) -> Result<(), Refused> {
    let ip = address.ip().to_canonical();
    let action = match action {
        // What the system binds itself, and a guest that leaves all to it: nobody can reach that.
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if ip.is_unspecified() && address.port() == 0 => {
            return Ok(());
        }
        SocketAddrUse::TcpBind | SocketAddrUse::TcpListen | SocketAddrUse::UdpBind => "socket.listen",
        SocketAddrUse::TcpAccept
        | SocketAddrUse::TcpConnect
        | SocketAddrUse::UdpSend
        | SocketAddrUse::UdpReceive => "socket.connect",
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

/// Checks that the name `host`, or what is an address already, may be looked up.
pub(super) fn check_lookup(rules: &Rules, host: &str) -> Result<(), Refused> {
    rules.policy("socket.resolve", host)?;
    // An address is no name: whether it may be reached is seen when it is.
    if host.parse::<IpAddr>().is_ok() { Ok(()) } else { rules.lookup(host) }
}

/// What `host` stands for; `None` when nobody knows it.
pub(super) async fn addresses(rules: &Rules, host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Some(vec![ip]);
    }
    let found = rules.names()?.look_up(host).await.ok()?;
    Some(found.into_iter().map(|address| address.ip().to_canonical()).collect())
}

/// Marks interfaces whose host is [`View`].
pub(super) struct Checked;

impl HasData for Checked {
    type Data<'a> = View<'a>;
}

/// The host of what is checked here.
pub(super) struct View<'a> {
    pub(super) inner: WasiSocketsCtxView<'a>,
    pub(super) own: &'a mut Sockets,
}

/// The view of `state`, a call whose entry has sockets.
pub(super) fn view(state: &mut HostState) -> View<'_> {
    let (inner, own) = state.sockets();
    View { inner, own }
}

/// The host's own sockets, whose addresses are checked by what [`Sockets::give`] gave it.
pub(super) fn wasi_sockets(state: &mut HostState) -> WasiSocketsCtxView<'_> {
    state.sockets().0
}

impl View<'_> {
    /// Whether one more socket may be opened.
    pub(super) fn has_room(&mut self) -> bool {
        self.count() < self.own.limits.open_max
    }

    /// Counts the sockets that are open, and the connections that streams alone keep open.
    pub(super) fn count(&mut self) -> usize {
        let is_socket = |entry: &&mut (dyn std::any::Any + Send)| {
            entry.is::<p2::TcpSocket>()
                || entry.is::<p2::UdpSocket>()
                || entry.is::<sockets::TcpSocket>()
                || entry.is::<sockets::UdpSocket>()
        };
        let open = self.inner.table.iter_mut().filter(is_socket).count();
        self.own.tally.sockets.store(open, Ordering::Relaxed);
        open + self.own.tally.streams.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oldest answer gives way to the next one, and can be looked up again.
    #[test]
    fn answers_that_are_kept() {
        let known = Known::default();
        let ip = |at: usize| {
            let [.., high, low] = at.to_be_bytes();
            IpAddr::from([10, 0, high, low])
        };
        for at in 0..LOOKUP_ANSWERS_KEPT_MAX {
            known.add(ip(at), "first.test");
            // The same answer is kept once.
            known.add(ip(at), "first.test");
        }
        let names = |at: usize| known.names(ip(at));
        assert!((0..LOOKUP_ANSWERS_KEPT_MAX).all(|at| names(at) == ["first.test"]));
        known.add(ip(7), "second.test");
        assert_eq!(names(0), [""; 0]);
        assert_eq!(names(7), ["first.test", "second.test"]);
        assert!((1..LOOKUP_ANSWERS_KEPT_MAX).all(|at| !names(at).is_empty()));
        known.add(ip(0), "first.test");
        assert_eq!(names(0), ["first.test"]);
        assert_eq!(names(1), [""; 0]);
    }
}
