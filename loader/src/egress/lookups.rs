//! `wasi:sockets/ip-name-lookup` of WASI 0.2. The host's own look-ups would hold threads without a bound.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::JoinHandle;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, SocketResult};

use super::rules::Rules;
use super::sockets::{View, addresses, check_lookup, normal};

/// A look-up, behind a guest's handle of `resolve-address-stream`.
struct Lookup {
    host: String,
    looking: Looking,
    found: Option<Found>,
}

/// Addresses that are not given yet; `None` when nobody knows the name.
type Found = Option<std::vec::IntoIter<IpAddr>>;

/// A task, which gets its turn whether its guest looks for it or not, and ends with its handle.
struct Looking(JoinHandle<Option<Vec<IpAddr>>>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lookup {
    fn begin(rules: Rules, host: String) -> Self {
        let name = host.clone();
        let looking = Looking(tokio::spawn(async move { addresses(&rules, &name).await }));
        Self { host, looking, found: None }
    }

    fn poll_found(&mut self, context: &mut Context<'_>) -> Poll<&mut Found> {
        if self.found.is_none() {
            // It is not aborted before it is dropped; one that panicked knows nothing.
            let found = ready!(Pin::new(&mut self.looking.0).poll(context)).unwrap_or_default();
            self.found = Some(found.map(Vec::into_iter));
        }
        Poll::Ready(self.found.get_or_insert_default())
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll_found(context).map(|_| ())).await;
    }
}

/// The [`Lookup`] behind `stream`: guests see the host's own type.
fn lookup(stream: &Resource<ResolveAddressStream>) -> Resource<Lookup> {
    if stream.owned() { Resource::new_own(stream.rep()) } else { Resource::new_borrow(stream.rep()) }
}

impl Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        self.inner.table.get(&network)?;
        let host = normal(&name).map_err(|()| ErrorCode::InvalidArgument)?;
        check_lookup(&self.own.rules, &host).map_err(|_| ErrorCode::AccessDenied)?;
        let lookup = Lookup::begin(self.own.rules.clone(), host);
        Ok(Resource::new_own(self.inner.table.push(lookup)?.rep()))
    }
}

impl HostResolveAddressStream for View<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let lookup = self.inner.table.get_mut(&lookup(&stream))?;
        let host = lookup.host.clone();
        let next = match lookup.poll_found(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(None) => Err(ErrorCode::NameUnresolvable.into()),
            Poll::Ready(Some(found)) => {
                let next = found.find(|ip| self.own.rules.answer(&host, *ip));
                if let Some(ip) = next {
                    self.own.known.add(ip, &host);
                }
                Ok(next.map(IpAddress::from))
            }
        };
        self.unless_over(stream.rep(), next)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let what = stream.rep();
        let pollable = wasmtime_wasi::p2::subscribe(self.inner.table, lookup(&stream))?;
        self.own.waits.watch(&pollable, what);
        Ok(pollable)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.own.waits.end(stream.rep());
        self.inner.table.delete(lookup(&stream))?;
        Ok(())
    }
}
