//! `wasi:sockets` of WASI 0.3. Most of it is the host's own; functions that count sockets, look names up or wait are
//! replaced.

use std::time::Duration;

use wasmtime::component::{Access, Accessor, Linker, LinkerInstance, Resource, ResourceType, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{self, Host, HostWithStore};
use wasmtime_wasi::p3::bindings::sockets::types::{
    self, ErrorCode, HostTcpSocket, HostTcpSocketWithStore, HostUdpSocket, HostUdpSocketWithStore, IpAddress,
    IpAddressFamily, IpSocketAddress, TcpSocket, UdpSocket,
};
use wasmtime_wasi::p3::sockets::SocketResult;
use wasmtime_wasi::sockets::WasiSockets;

use super::relay;
use super::sockets::{Checked, View, addresses, check_lookup, normal, view, wasi_sockets};
use crate::host_state::HostState;

/// Adds the interfaces.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    ip_name_lookup::add_to_linker::<_, Checked>(linker, view)?;
    types::add_to_linker::<_, WasiSockets>(linker, wasi_sockets)?;
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:sockets/types@0.3.0")?;
    replace_tcp(&mut types)?;
    replace_udp(&mut types)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Store<'a> = StoreContextMut<'a, HostState>;

fn replace_tcp(types: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    types.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, handle| {
        let mut view = view(store.data_mut());
        HostTcpSocket::drop(&mut view.inner, Resource::new_own(handle))?;
        view.own.leave(handle);
        view.count();
        Ok(())
    })?;
    types.func_wrap("[static]tcp-socket.create", |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
        let mut view = view(store.data_mut());
        if !view.has_room() {
            return Ok((Err(no_room()),));
        }
        let socket = HostTcpSocket::create(&mut view.inner, family);
        view.count();
        Ok((outcome(socket)?,))
    })?;
    types.func_wrap_concurrent(
        "[method]tcp-socket.connect",
        |store: &Accessor<HostState>, (socket, address): (Resource<TcpSocket>, IpSocketAddress)| {
            Box::pin(async move {
                let own = store.with_getter::<WasiSockets>(wasi_sockets);
                let connecting = WasiSockets::connect(&own, socket, address);
                Ok((outcome(within(store, connecting).await)?,))
            })
        },
    )?;
    types.func_wrap(
        "[method]tcp-socket.receive",
        |mut store: Store<'_>, (socket,): (Resource<TcpSocket>,)| {
            let own = view(store.data_mut()).own;
            let (streaming, longest) = (own.streaming(socket.rep()), own.longest_wait());
            let access = Access::<_, WasiSockets>::new(store.as_context_mut(), wasi_sockets);
            let (bytes, outcome) =
                <WasiSockets as HostTcpSocketWithStore<HostState>>::receive(access, socket)?;
            let (bytes, late) = match longest {
                None => (bytes, None),
                Some(longest) => {
                    let (bytes, late) = relay::reading(&mut store, bytes, longest)?;
                    (bytes, Some(late))
                }
            };
            Ok(((bytes, relay::outcome(&mut store, outcome, late, streaming)?),))
        },
    )?;
    type Sent = (Resource<TcpSocket>, StreamReader<u8>);
    types.func_wrap("[method]tcp-socket.send", |mut store: Store<'_>, (socket, bytes): Sent| {
        let own = view(store.data_mut()).own;
        let (streaming, longest) = (own.streaming(socket.rep()), own.longest_wait());
        let (bytes, late) = match longest {
            None => (bytes, None),
            Some(longest) => {
                let (bytes, late) = relay::writing(&mut store, bytes, longest)?;
                (bytes, Some(late))
            }
        };
        let access = Access::<_, WasiSockets>::new(store.as_context_mut(), wasi_sockets);
        let outcome = <WasiSockets as HostTcpSocketWithStore<HostState>>::send(access, socket, bytes)?;
        Ok((relay::outcome(&mut store, outcome, late, streaming)?,))
    })
}

fn replace_udp(types: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    types.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut store, handle| {
        let mut view = view(store.data_mut());
        HostUdpSocket::drop(&mut view.inner, Resource::new_own(handle))?;
        view.count();
        Ok(())
    })?;
    types.func_wrap_async(
        "[static]udp-socket.create",
        |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let mut view = view(store.data_mut());
                if !view.has_room() {
                    return Ok((Err(no_room()),));
                }
                let socket = HostUdpSocket::create(&mut view.inner, family).await;
                view.count();
                Ok((outcome(socket)?,))
            })
        },
    )?;
    type Sent = (Resource<UdpSocket>, Vec<u8>, Option<IpSocketAddress>);
    types.func_wrap_concurrent(
        "[method]udp-socket.send",
        |store: &Accessor<HostState>, (socket, data, to): Sent| {
            Box::pin(async move {
                let own = store.with_getter::<WasiSockets>(wasi_sockets);
                let sending =
                    <WasiSockets as HostUdpSocketWithStore<HostState>>::send(&own, socket, data, to);
                Ok((outcome(within(store, sending).await)?,))
            })
        },
    )?;
    types.func_wrap_concurrent(
        "[method]udp-socket.receive",
        |store: &Accessor<HostState>, (socket,): (Resource<UdpSocket>,)| {
            Box::pin(async move {
                let own = store.with_getter::<WasiSockets>(wasi_sockets);
                let receiving = <WasiSockets as HostUdpSocketWithStore<HostState>>::receive(&own, socket);
                Ok((outcome(within(store, receiving).await)?,))
            })
        },
    )
}

fn no_room() -> ErrorCode {
    ErrorCode::Other(Some("`max_open_sockets` sockets are open".to_owned()))
}

/// What the guest is told of `done`.
fn outcome<T>(done: SocketResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn longest_wait(store: &Accessor<HostState>) -> Option<Duration> {
    store.with(|mut access| view(access.data_mut()).own.longest_wait())
}

/// `operation`, for as long as a socket of the call may take.
async fn within<T>(
    store: &Accessor<HostState>,
    operation: impl Future<Output = SocketResult<T>>,
) -> SocketResult<T> {
    match longest_wait(store) {
        None => operation.await,
        Some(longest) => match tokio::time::timeout(longest, operation).await {
            Ok(done) => done,
            Err(_) => Err(ErrorCode::Timeout.into()),
        },
    }
}

impl Host for View<'_> {}

impl<U> HostWithStore<U> for Checked {
    async fn resolve_addresses(
        store: &Accessor<U, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ip_name_lookup::ErrorCode>> {
        use ip_name_lookup::ErrorCode;
        let Ok(host) = normal(&name) else { return Ok(Err(ErrorCode::InvalidArgument)) };
        let (rules, known, longest) = store.with(|mut view| {
            let own = view.get().own;
            (own.rules.clone(), own.known.clone(), own.longest_wait())
        });
        if check_lookup(&rules, &host).is_err() {
            return Ok(Err(ErrorCode::AccessDenied));
        }
        let found = match longest {
            None => addresses(&rules, &host).await,
            Some(longest) => match tokio::time::timeout(longest, addresses(&rules, &host)).await {
                Ok(found) => found,
                Err(_) => return Ok(Err(ErrorCode::TemporaryResolverFailure)),
            },
        };
        let Some(found) = found else { return Ok(Err(ErrorCode::NameUnresolvable)) };
        let allowed = found.into_iter().filter(|ip| rules.answer(&host, *ip));
        let shown = allowed.map(|ip| {
            known.add(ip, &host);
            IpAddress::from(ip)
        });
        Ok(Ok(shown.collect()))
    }
}
