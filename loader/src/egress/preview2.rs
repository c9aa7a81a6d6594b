//! `wasi:sockets` of WASI 0.2. Most of it is the host's own; functions that count sockets, look names up or wait are
//! replaced.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets as p2;
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode};
use wasmtime_wasi::p2::bindings::sockets::tcp::{HostTcpSocket, TcpSocket};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram,
    IncomingDatagramStream, OutgoingDatagramStream, UdpSocket,
};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, Network, SocketError, SocketResult};
use wasmtime_wasi::sockets::WasiSockets;

use super::sockets::{Checked, View, view, wasi_sockets};
use super::timed::Timed;
use crate::host_state::HostState;

/// Adds the interfaces.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type S = HostState;
    let options = network::LinkOptions::default();
    p2::instance_network::add_to_linker::<S, WasiSockets>(linker, wasi_sockets)?;
    network::add_to_linker::<S, WasiSockets>(linker, &options, wasi_sockets)?;
    p2::tcp::add_to_linker::<S, WasiSockets>(linker, wasi_sockets)?;
    tcp_create_socket::add_to_linker::<S, Checked>(linker, view)?;
    p2::udp::add_to_linker::<S, WasiSockets>(linker, wasi_sockets)?;
    udp_create_socket::add_to_linker::<S, Checked>(linker, view)?;
    p2::ip_name_lookup::add_to_linker::<S, Checked>(linker, view)?;
    linker.allow_shadowing(true);
    replace_tcp(&mut linker.instance("wasi:sockets/tcp@0.2.12")?)?;
    replace_udp(&mut linker.instance("wasi:sockets/udp@0.2.12")?)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Store<'a> = StoreContextMut<'a, HostState>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

fn replace_tcp(tcp: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, handle| {
        let mut view = view(store.data_mut());
        view.own.waits.end(handle);
        HostTcpSocket::drop(&mut view.inner, Resource::new_own(handle))?;
        view.count();
        Ok(())
    })?;
    tcp.func_wrap(
        "[method]tcp-socket.subscribe",
        |mut store: Store<'_>, (socket,): (Resource<TcpSocket>,)| {
            let mut view = view(store.data_mut());
            let what = socket.rep();
            let is_listening = view.inner.is_listening(Resource::new_borrow(what))?;
            let pollable = HostTcpSocket::subscribe(&mut view.inner, socket)?;
            // A server waits for its clients for as long as it likes.
            if !is_listening {
                view.own.waits.watch(&pollable, what);
            }
            Ok((pollable,))
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.finish-connect",
        |mut store: Store<'_>, (socket,): (Resource<TcpSocket>,)| {
            let mut view = view(store.data_mut());
            let what = socket.rep();
            let done = view.inner.finish_connect(socket).and_then(|streams| view.timed(streams));
            let done = view.unless_over(what, done);
            Ok((view.outcome(done)?,))
        },
    )?;
    tcp.func_wrap("[method]tcp-socket.accept", |mut store: Store<'_>, (socket,): (Resource<TcpSocket>,)| {
        let mut view = view(store.data_mut());
        let done = view.inner.accept(socket).and_then(|(client, input, output)| {
            let (input, output) = view.timed((input, output))?;
            Ok((client, input, output))
        });
        Ok((view.outcome(done)?,))
    })
}

fn replace_udp(udp: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    udp.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut store, handle| {
        let mut view = view(store.data_mut());
        HostUdpSocket::drop(&mut view.inner, Resource::new_own(handle))?;
        view.count();
        Ok(())
    })?;
    type Incoming = Resource<IncomingDatagramStream>;
    let ty = ResourceType::host::<IncomingDatagramStream>();
    udp.resource("incoming-datagram-stream", ty, |mut store, handle| {
        let mut view = view(store.data_mut());
        view.own.waits.end(handle);
        HostIncomingDatagramStream::drop(&mut view.inner, Resource::new_own(handle))
    })?;
    udp.func_wrap(
        "[method]incoming-datagram-stream.subscribe",
        |mut store: Store<'_>, (stream,): (Incoming,)| {
            let mut view = view(store.data_mut());
            let what = stream.rep();
            let pollable = HostIncomingDatagramStream::subscribe(&mut view.inner, stream)?;
            view.own.waits.watch(&pollable, what);
            Ok((pollable,))
        },
    )?;
    udp.func_wrap(
        "[method]incoming-datagram-stream.receive",
        |mut store: Store<'_>, (stream, most): (Incoming, u64)| {
            let mut view = view(store.data_mut());
            let what = stream.rep();
            let found: SocketResult<Vec<IncomingDatagram>> = view.inner.receive(stream, most);
            let found = match found {
                Ok(none) if none.is_empty() && view.own.waits.is_over(what) => Err(ErrorCode::Timeout.into()),
                found => found,
            };
            Ok((view.outcome(found)?,))
        },
    )?;
    replace_sending(udp)
}

/// A datagram is on its way until the system takes it, and the next one waits for that.
fn replace_sending(udp: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    type Outgoing = Resource<OutgoingDatagramStream>;
    let ty = ResourceType::host::<OutgoingDatagramStream>();
    udp.resource_async("outgoing-datagram-stream", ty, |mut store, handle| {
        Box::new(async move {
            let mut view = view(store.data_mut());
            view.own.waits.end(handle);
            let longest = view.own.longest_wait();
            let dropping = HostOutgoingDatagramStream::drop(&mut view.inner, Resource::new_own(handle));
            match longest {
                None => dropping.await,
                // What the system does not take is not waited for any longer.
                Some(longest) => tokio::time::timeout(longest, dropping).await.unwrap_or(Ok(())),
            }
        })
    })?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.subscribe",
        |mut store: Store<'_>, (stream,): (Outgoing,)| {
            let mut view = view(store.data_mut());
            let what = stream.rep();
            let pollable = HostOutgoingDatagramStream::subscribe(&mut view.inner, stream)?;
            view.own.waits.watch(&pollable, what);
            Ok((pollable,))
        },
    )?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.check-send",
        |mut store: Store<'_>, (stream,): (Outgoing,)| {
            let mut view = view(store.data_mut());
            let what = stream.rep();
            let room: SocketResult<u64> = view.inner.check_send(stream);
            let room = view.own.waits.sending(what, room);
            Ok((view.outcome(room)?,))
        },
    )
}

impl View<'_> {
    /// Bounds the waits of the streams of a connection.
    fn timed(&mut self, (input, output): Streams) -> SocketResult<Streams> {
        if let Some(longest) = self.own.longest_wait() {
            let stream = self.inner.table.get_mut(&input)?;
            let inner = std::mem::replace(stream, Box::new(ClosedInputStream));
            *stream = Box::new(Timed::new(inner, longest));
            let stream = self.inner.table.get_mut(&output)?;
            let inner = std::mem::replace(stream, Box::new(ClosedOutputStream));
            *stream = Box::new(Timed::new(inner, longest));
        }
        Ok((input, output))
    }

    /// `done`, unless it would have to wait and has for too long.
    pub(super) fn unless_over<T>(&mut self, what: u32, done: SocketResult<T>) -> SocketResult<T> {
        match done {
            Err(error) if matches!(error.downcast_ref(), Some(ErrorCode::WouldBlock)) => {
                if self.own.waits.is_over(what) { Err(ErrorCode::Timeout.into()) } else { Err(error) }
            }
            done => {
                self.own.waits.end(what);
                done
            }
        }
    }

    /// What the guest is told of `done`.
    fn outcome<T>(&mut self, done: SocketResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
        match done {
            Ok(value) => Ok(Ok(value)),
            Err(error) => Ok(Err(network::Host::convert_error_code(&mut self.inner, error)?)),
        }
    }
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(
        &mut self,
        family: tcp_create_socket::IpAddressFamily,
    ) -> SocketResult<Resource<TcpSocket>> {
        if !self.has_room() {
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let socket = self.inner.create_tcp_socket(family)?;
        self.count();
        Ok(socket)
    }
}

impl udp_create_socket::Host for View<'_> {
    async fn create_udp_socket(
        &mut self,
        family: udp_create_socket::IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        if !self.has_room() {
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let socket = self.inner.create_udp_socket(family).await?;
        self.count();
        Ok(socket)
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
