use std::net::IpAddr;

use crate::wasi::io::poll::poll;
use crate::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::wasi::sockets::instance_network::instance_network;
use crate::wasi::sockets::ip_name_lookup::resolve_addresses;
use crate::wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use crate::wasi::sockets::tcp::TcpSocket;
use crate::wasi::sockets::tcp_create_socket::create_tcp_socket;
use crate::wasi::sockets::udp::OutgoingDatagram;
use crate::wasi::sockets::udp_create_socket::create_udp_socket;

fn name(code: ErrorCode) -> String {
    code.name().to_owned()
}

pub fn address(text: &str, port: u16) -> Result<IpSocketAddress, String> {
    Ok(match text.parse::<IpAddr>().map_err(|error| error.to_string())? {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) })
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments();
            let address = (a, b, c, d, e, f, g, h);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
        }
    })
}

fn family(address: &IpSocketAddress) -> IpAddressFamily {
    match address {
        IpSocketAddress::Ipv4(_) => IpAddressFamily::Ipv4,
        IpSocketAddress::Ipv6(_) => IpAddressFamily::Ipv6,
    }
}

/// A connection. Streams go before their socket, which comes first for that.
fn connected(address: IpSocketAddress) -> Result<(TcpSocket, InputStream, OutputStream), String> {
    let socket = create_tcp_socket(family(&address)).map_err(name)?;
    let ready = socket.subscribe();
    socket.start_connect(&instance_network(), address).map_err(name)?;
    let (input, output) = loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => ready.block(),
            done => break done.map_err(name)?,
        }
    };
    drop(ready);
    Ok((socket, input, output))
}

fn of_stream(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}

pub fn flood(address: IpSocketAddress, count: u64) -> Result<(), String> {
    let (_socket, _input, output) = connected(address)?;
    let mut left = count;
    while left > 0 {
        let room = output.check_write().map_err(of_stream)?.min(left).min(64 << 10);
        if room == 0 {
            output.subscribe().block();
            continue;
        }
        output.write(&vec![0; room as usize]).map_err(of_stream)?;
        left -= room;
    }
    output.blocking_flush().map_err(of_stream)
}

pub fn connect(address: IpSocketAddress) -> Result<String, String> {
    let (_socket, input, output) = connected(address)?;
    output.blocking_write_and_flush(b"ping").map_err(|_| "write".to_owned())?;
    let bytes = input.blocking_read(64).map_err(|_| "read".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub fn send(address: IpSocketAddress) -> Result<(), String> {
    let socket = create_udp_socket(family(&address)).map_err(name)?;
    let any = match address {
        IpSocketAddress::Ipv4(_) => "0.0.0.0",
        IpSocketAddress::Ipv6(_) => "::",
    };
    socket.start_bind(&instance_network(), self::address(any, 0)?).map_err(name)?;
    socket.finish_bind().map_err(name)?;
    let (_, outgoing) = socket.stream(None).map_err(name)?;
    outgoing.check_send().map_err(name)?;
    let datagram = OutgoingDatagram { data: b"ping".to_vec(), remote_address: Some(address) };
    outgoing.send(&[datagram]).map_err(name)?;
    Ok(())
}

pub fn listen(address: IpSocketAddress) -> Result<u16, String> {
    let socket = create_tcp_socket(family(&address)).map_err(name)?;
    socket.start_bind(&instance_network(), address).map_err(name)?;
    socket.finish_bind().map_err(name)?;
    socket.start_listen().map_err(name)?;
    socket.finish_listen().map_err(name)?;
    Ok(match socket.local_address().map_err(name)? {
        IpSocketAddress::Ipv4(address) => address.port,
        IpSocketAddress::Ipv6(address) => address.port,
    })
}

pub fn resolve(host: &str) -> Result<Vec<String>, String> {
    let stream = resolve_addresses(&instance_network(), host).map_err(name)?;
    let ready = stream.subscribe();
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Err(ErrorCode::WouldBlock) => ready.block(),
            Ok(None) => return Ok(found),
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => found.push(format!("{a}.{b}.{c}.{d}")),
            Ok(Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h)))) => {
                found.push(std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_string());
            }
            Err(code) => return Err(name(code)),
        }
    }
}

pub fn make(count: u32) -> u32 {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for at in 0..count {
        // Both kinds, in turn.
        let made = if at % 2 == 0 {
            create_tcp_socket(IpAddressFamily::Ipv4).map(|socket| tcp.push(socket))
        } else {
            create_udp_socket(IpAddressFamily::Ipv4).map(|socket| udp.push(socket))
        };
        if made.is_err() {
            break;
        }
    }
    (tcp.len() + udp.len()) as u32
}

pub fn receive(address: IpSocketAddress) -> Result<String, String> {
    let socket = create_udp_socket(family(&address)).map_err(name)?;
    socket.start_bind(&instance_network(), address).map_err(name)?;
    socket.finish_bind().map_err(name)?;
    let (incoming, _outgoing) = socket.stream(None).map_err(name)?;
    let ready = incoming.subscribe();
    loop {
        let datagrams = incoming.receive(1).map_err(name)?;
        if let Some(datagram) = datagrams.into_iter().next() {
            return Ok(String::from_utf8_lossy(&datagram.data).into_owned());
        }
        ready.block();
    }
}

pub fn accept(address: IpSocketAddress, count: u32) -> Result<u32, String> {
    let family = family(&address);
    let listener = create_tcp_socket(family).map_err(name)?;
    listener.start_bind(&instance_network(), address).map_err(name)?;
    listener.finish_bind().map_err(name)?;
    listener.start_listen().map_err(name)?;
    listener.finish_listen().map_err(name)?;
    let own = listener.local_address().map_err(name)?;
    let is_waiting = listener.subscribe();
    let mut open = Vec::new();
    let mut accepted = 0;
    while accepted < count {
        let Ok(client) = create_tcp_socket(family) else { break };
        let is_connected = client.subscribe();
        client.start_connect(&instance_network(), own).map_err(name)?;
        let streams = loop {
            match client.finish_connect() {
                Err(ErrorCode::WouldBlock) => is_connected.block(),
                done => break done.map_err(name)?,
            }
        };
        drop(is_connected);
        // Until it is accepted, or its other end is closed.
        let is_closed = streams.0.subscribe();
        poll(&[&is_waiting, &is_closed]);
        drop(is_closed);
        let Ok(server) = listener.accept() else { break };
        // Streams go before their sockets.
        open.push((streams, client));
        open.push(((server.1, server.2), server.0));
        accepted += 1;
    }
    Ok(accepted)
}
