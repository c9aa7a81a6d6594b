//! `wasi:http`, 0.2 and 0.3: outgoing requests go through the loader's own connector (`egress/`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, Response};
use registry_schema::EntryId;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::fields::{self, Fields};
use crate::budget::Budget;
use crate::config::{EGRESS_HEADER_BYTES_MAX, HTTP_PART_BYTES};
use crate::egress::{Failure, Refused, Route, Rules, Target, Timeouts, Wait};
use crate::host_state::HostState;
use crate::loader::Inner;

/// What a call has of `wasi:http`.
pub(crate) struct HttpState {
    ctx: WasiHttpCtx,
    hooks: Hooks,
    pub(super) fields: Fields,
}

/// Sends the requests of one call.
struct Hooks {
    inner: Weak<Inner>,
    entry: Arc<EntryId>,
    rules: Rules,
    /// `limits.socket_timeout_ms`
    longest_wait: Option<Duration>,
    /// The memory of all guests, of which requests on their way have a share each.
    budget: Arc<Budget>,
    /// Where the heads of responses are counted.
    arrived: Arc<AtomicU64>,
}

impl HttpState {
    pub(super) fn new(
        inner: Weak<Inner>,
        entry: Arc<EntryId>,
        rules: Rules,
        longest_wait: Option<Duration>,
        budget: Arc<Budget>,
    ) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(EGRESS_HEADER_BYTES_MAX);
        let fields = Fields::new(budget.share());
        let arrived = fields.arrived();
        Self { ctx, hooks: Hooks { inner, entry, rules, longest_wait, budget, arrived }, fields }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (HttpState { ctx, hooks, .. }, table) = self.http_state();
        WasiHttpCtxView { hooks, table, ctx }
    }
}

/// What becomes of a request: the response, and nothing more to do for it.
type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (inner, entry, rules) = (self.inner.upgrade(), Arc::clone(&self.entry), self.rules.clone());
        let timeouts = timeouts(options, self.longest_wait);
        if let Some(inner) = &inner {
            inner.carry_trace(request.headers_mut());
        }
        // What is on its way is in no table any more.
        let mut share = self.budget.share();
        let has_room = share.grow(fields::bytes(request.headers()));
        let arrived = Arc::clone(&self.arrived);
        Box::new(async move {
            if !has_room {
                let message =
                    format!("limit `wasm.total.max_memory_bytes` of {} was reached", share.bytes_max());
                return Err(Error::InternalError(Some(message)));
            }
            // Nothing runs without its loader.
            let inner = inner.ok_or(Error::ConnectionTerminated)?;
            let target = Target::of(request.uri()).map_err(|_| Error::HttpRequestUriInvalid)?;
            let sent = inner.egress.send(&entry, &rules, &target, request, &Route::Shared, timeouts).await;
            let response = sent.map_err(error)?;
            drop(share);
            arrived.fetch_add(fields::bytes(response.headers()), Ordering::Relaxed);
            let nothing = Box::new(std::future::ready(Ok(()))) as Box<dyn Future<Output = _> + Send>;
            Ok((response, nothing))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        HTTP_PART_BYTES
    }

    #[cfg(feature = "p3")]
    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        HTTP_PART_BYTES
    }
}

/// Waits that the guest asks for, as far as they are shorter than ours and than its entry's `longest`.
fn timeouts(options: Option<RequestOptions>, longest: Option<Duration>) -> Timeouts {
    let ours = Timeouts::default();
    let shorter =
        |asked: Option<Duration>, own: Duration| asked.into_iter().chain(longest).fold(own, Duration::min);
    let options = options.unwrap_or_default();
    Timeouts {
        connect: shorter(options.connect_timeout, ours.connect),
        first_byte: shorter(options.first_byte_timeout, ours.first_byte),
        between_bytes: shorter(options.between_bytes_timeout, ours.between_bytes),
        write: shorter(None, ours.write),
    }
}

fn error(failure: Failure) -> Error {
    match failure {
        Failure::Refused(Refused::Private(_)) => Error::DestinationIpProhibited,
        Failure::Refused(_) => Error::HttpRequestDenied,
        Failure::Invalid(_) => Error::HttpRequestMethodInvalid,
        Failure::Timeout(Wait::Connection) => Error::ConnectionTimeout,
        Failure::Timeout(Wait::Response) => Error::ConnectionReadTimeout,
        Failure::Lookup(_) => Error::DnsError { rcode: None, info_code: None },
        Failure::Connect(error) => Error::Connect(error),
        Failure::Tls(error) => Error::Tls(error),
        Failure::Http(error) => Error::Hyper(error),
    }
}

/// Adds the types of WASI 0.2, which servers have as well.
pub(super) fn define_types(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    use wasmtime_wasi_http::p2::bindings::{LinkOptions, http};
    let options = LinkOptions::default();
    http::types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), HostState::http)?;
    fields::count_types(linker)
}

/// Adds outgoing requests of WASI 0.2.
pub(super) fn define_client(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::bindings::http::outgoing_handler::add_to_linker::<_, WasiHttp>(
        linker,
        HostState::http,
    )?;
    fields::count_client(linker)
}

/// WASI 0.3.
#[cfg(feature = "p3")]
pub(super) mod preview3 {
    use wasmtime::component::Linker;
    use wasmtime_wasi_http::WasiHttp;
    use wasmtime_wasi_http::WasiHttpView;
    use wasmtime_wasi_http::p3::bindings::http;

    use super::fields;
    use crate::host_state::HostState;

    /// Adds the types, which servers have as well.
    pub(in crate::hosts) fn define_types(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
        http::types::add_to_linker::<_, WasiHttp>(linker, HostState::http)?;
        fields::preview3::count_types(linker)
    }

    /// Adds outgoing requests.
    pub(in crate::hosts) fn define_client(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
        http::client::add_to_linker::<_, WasiHttp>(linker, HostState::http)?;
        fields::preview3::count_client(linker)
    }
}
