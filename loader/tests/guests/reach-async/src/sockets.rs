use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use crate::code;
use crate::wasi::clocks::monotonic_clock::wait_for;
use crate::wasi::sockets::ip_name_lookup::resolve_addresses;
use crate::wasi::sockets::types::{
    IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket, UdpSocket,
};
use crate::wit_stream;

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

fn port(address: &IpSocketAddress) -> u16 {
    match address {
        IpSocketAddress::Ipv4(address) => address.port,
        IpSocketAddress::Ipv6(address) => address.port,
    }
}

pub async fn connect(address: IpSocketAddress) -> Result<String, String> {
    let socket = TcpSocket::create(family(&address)).map_err(code)?;
    socket.connect(address).await.map_err(code)?;
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    writer.write_all(b"ping".to_vec()).await;
    drop(writer);
    sent.await.map_err(code)?;
    let (mut input, outcome) = socket.receive();
    let (_, bytes) = input.read(Vec::with_capacity(64)).await;
    if bytes.is_empty() {
        outcome.await.map_err(code)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub async fn flood(address: IpSocketAddress, count: u64) -> Result<(), String> {
    let socket = TcpSocket::create(family(&address)).map_err(code)?;
    socket.connect(address).await.map_err(code)?;
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let mut left = count;
    while left > 0 {
        let part = left.min(64 << 10);
        // What is left over was not taken.
        if !writer.write_all(vec![0; part as usize]).await.is_empty() {
            break;
        }
        left -= part;
    }
    drop(writer);
    sent.await.map_err(code)
}

pub async fn deliver(address: IpSocketAddress) -> Result<(), String> {
    let socket = TcpSocket::create(family(&address)).map_err(code)?;
    socket.connect(address).await.map_err(code)?;
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    while first(writer.write_all(vec![0; 64 << 10]), wait_for(100_000_000)).await.is_some() {}
    drop(writer);
    sent.await.map_err(code)
}

pub async fn ignore(address: IpSocketAddress) -> Result<(), String> {
    let socket = TcpSocket::create(family(&address)).map_err(code)?;
    socket.connect(address).await.map_err(code)?;
    let (input, outcome) = socket.receive();
    drop(input);
    outcome.await.map_err(code)
}

pub async fn keep(address: IpSocketAddress, count: u32) -> Result<u32, String> {
    let mut kept = Vec::new();
    while kept.len() < count as usize {
        let Ok(socket) = TcpSocket::create(family(&address)) else { break };
        socket.connect(address).await.map_err(code)?;
        kept.push(socket.receive().0);
    }
    let made = kept.len() as u32;
    drop(kept);
    // What was let go of is seen by the host between two turns.
    wait_for(1).await;
    Ok(made)
}

pub async fn send(address: IpSocketAddress) -> Result<(), String> {
    let socket = UdpSocket::create(family(&address)).map_err(code)?;
    let any = match address {
        IpSocketAddress::Ipv4(_) => "0.0.0.0",
        IpSocketAddress::Ipv6(_) => "::",
    };
    socket.bind(self::address(any, 0)?).map_err(code)?;
    socket.send(b"ping".to_vec(), Some(address)).await.map_err(code)
}

pub async fn receive(address: IpSocketAddress) -> Result<String, String> {
    let socket = UdpSocket::create(family(&address)).map_err(code)?;
    socket.bind(address).map_err(code)?;
    let (bytes, _) = socket.receive().await.map_err(code)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub fn listen(address: IpSocketAddress) -> Result<u16, String> {
    let socket = TcpSocket::create(family(&address)).map_err(code)?;
    socket.bind(address).map_err(code)?;
    socket.listen().map_err(code)?;
    Ok(port(&socket.get_local_address().map_err(code)?))
}

pub async fn accept(address: IpSocketAddress, count: u32) -> Result<u32, String> {
    let family = family(&address);
    let listener = TcpSocket::create(family).map_err(code)?;
    listener.bind(address).map_err(code)?;
    let mut incoming = listener.listen().map_err(code)?;
    let own = listener.get_local_address().map_err(code)?;
    let mut open = Vec::new();
    let mut accepted = 0;
    while accepted < count {
        let Ok(client) = TcpSocket::create(family) else { break };
        client.connect(own).await.map_err(code)?;
        // Until it is accepted, or its other end is closed.
        let (mut input, _) = client.receive();
        let Some(Some(server)) = first(incoming.next(), input.next()).await else { break };
        drop(input);
        open.extend([client, server]);
        accepted += 1;
    }
    Ok(accepted)
}

/// What `main` gives, unless `other` comes first.
async fn first<T, U>(main: impl Future<Output = T>, other: impl Future<Output = U>) -> Option<T> {
    let (mut main, mut other) = (pin!(main), pin!(other));
    poll_fn(move |context| match main.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => other.as_mut().poll(context).map(|_| None),
    })
    .await
}

pub async fn resolve(host: String) -> Result<Vec<String>, String> {
    let found = resolve_addresses(host).await.map_err(code)?;
    let text = |address| match address {
        IpAddress::Ipv4((a, b, c, d)) => format!("{a}.{b}.{c}.{d}"),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
            std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_string()
        }
    };
    Ok(found.into_iter().map(text).collect())
}

pub fn make(count: u32) -> u32 {
    let mut sockets = Vec::new();
    while sockets.len() < count as usize {
        // Both kinds, in turn.
        let made = if sockets.len() % 2 == 0 {
            TcpSocket::create(IpAddressFamily::Ipv4).map(Ok)
        } else {
            UdpSocket::create(IpAddressFamily::Ipv4).map(Err)
        };
        match made {
            Ok(socket) => sockets.push(socket),
            Err(_) => break,
        }
    }
    sockets.len() as u32
}
