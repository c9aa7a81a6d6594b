//! Memory of `wasi:http` that a guest has of its host: headers and trailers, methods and addresses of requests.
//!
//! Each of them is bounded, but a guest may have thousands. So what it gives to its host is counted as it comes, and
//! what is left of it is looked up whenever twice as much has come as there was. What there is counts towards the
//! memory of all guests.

#[cfg(feature = "p3")]
pub(super) mod preview3;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, HeaderError, HostFields, HostOutgoingRequest as HostRequest, Method, RequestOptions,
};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

use crate::budget::Share;
use crate::config::HTTP_FIELDS_BYTES_MAX;
use crate::host_state::HostState;

/// What a header takes beside its name and value, in bytes.
const HEADER_BYTES: u64 = 128;
/// What is not looked up again before as much has come, in bytes.
const COUNTED_BYTES_MIN: u64 = 1 << 20;

/// What a guest has.
pub(super) struct Fields {
    /// Of the memory of all guests: no less than there is.
    share: Share,
    /// What there was when it was last looked up, in bytes.
    counted: u64,
    /// What has come since.
    added: u64,
    /// What has come with responses and is not part of `added` yet.
    arrived: Arc<AtomicU64>,
}

impl Fields {
    pub(super) fn new(share: Share) -> Self {
        Self { share, counted: 0, added: 0, arrived: Arc::default() }
    }

    /// Where the heads of responses are counted.
    pub(super) fn arrived(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.arrived)
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// A trap when the guest, or all guests together, would have too much.
    fn add(&mut self, table: &mut ResourceTable, bytes: u64) -> wasmtime::Result<()> {
        let arrived = self.arrived.swap(0, Ordering::Relaxed);
        self.added = self.added.saturating_add(bytes).saturating_add(arrived);
        if self.added > self.counted.max(COUNTED_BYTES_MIN) {
            self.counted = count(table);
            self.added = bytes;
        }
        let all = self.counted.saturating_add(self.added);
        if all > HTTP_FIELDS_BYTES_MAX {
            wasmtime::bail!("limit of {HTTP_FIELDS_BYTES_MAX} bytes of headers was reached");
        }
        if !self.share.set(all) {
            wasmtime::bail!(
                "limit `wasm.total.max_memory_bytes` of {} was reached by headers",
                self.share.bytes_max()
            );
        }
        Ok(())
    }
}

/// What the headers of `map` take, in bytes.
pub(super) fn bytes(map: &HeaderMap) -> u64 {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().len() + value.len()) as u64 + HEADER_BYTES
    };
    map.iter().map(header).sum()
}

/// What everything in `table` takes.
fn count(table: &mut ResourceTable) -> u64 {
    let entry = |entry: &mut (dyn std::any::Any + Send)| {
        if let Some(fields) = entry.downcast_ref::<FieldMap>() {
            return bytes(fields);
        }
        if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
            let texts = [&request.authority, &request.path_with_query];
            let texts: usize = texts.into_iter().flatten().map(String::len).sum();
            return bytes(&request.headers) + texts as u64 + method_bytes(&request.method);
        }
        if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
            return bytes(&response.headers);
        }
        if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
            return bytes(&response.headers);
        }
        if let Some(HostFutureIncomingResponse::Ready(Ok((response, _)))) = entry.downcast_ref() {
            return bytes(response.headers());
        }
        #[cfg(feature = "p3")]
        {
            preview3::bytes(entry)
        }
        #[cfg(not(feature = "p3"))]
        0
    };
    table.iter_mut().map(entry).sum()
}

fn method_bytes(method: &Method) -> u64 {
    match method {
        Method::Other(name) => name.len() as u64,
        _ => 0,
    }
}

type Store<'a> = StoreContextMut<'a, HostState>;
type Own = Resource<FieldMap>;
type Pairs = Vec<(String, Vec<u8>)>;

/// Counts `bytes` more.
fn add(state: &mut HostState, bytes: u64) -> wasmtime::Result<()> {
    let (http, table) = state.http_state();
    http.fields.add(table, bytes)
}

/// What a header of such a name and value takes.
fn header(name: &str, value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64 + HEADER_BYTES
}

fn pairs_bytes(pairs: &Pairs) -> u64 {
    pairs.iter().map(|(name, value)| header(name, value)).sum()
}

fn values_bytes(name: &str, values: &[Vec<u8>]) -> u64 {
    values.iter().map(|value| header(name, value)).sum()
}

/// What a copy of `fields` takes.
fn copy_bytes(state: &mut HostState, fields: &Own) -> wasmtime::Result<u64> {
    let (_, table) = state.http_state();
    Ok(bytes(table.get(fields)?) + HEADER_BYTES)
}

/// Counts what guests of WASI 0.2 give; the interface is linked already.
pub(super) fn count_types(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    count_fields(&mut types)?;
    type Request = Resource<HostOutgoingRequest>;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: Store<'_>, (request, method): (Request, Method)| {
            add(store.data_mut(), method_bytes(&method))?;
            Ok((HostRequest::set_method(&mut store.data_mut().http(), request, method)?,))
        },
    )?;
    type Text = Option<String>;
    let length = |text: &Text| text.as_ref().map_or(0, |text| text.len() as u64);
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        move |mut store: Store<'_>, (request, path): (Request, Text)| {
            add(store.data_mut(), length(&path))?;
            Ok((HostRequest::set_path_with_query(&mut store.data_mut().http(), request, path)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        move |mut store: Store<'_>, (request, authority): (Request, Text)| {
            add(store.data_mut(), length(&authority))?;
            Ok((HostRequest::set_authority(&mut store.data_mut().http(), request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn count_fields(types: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    types.func_wrap("[constructor]fields", |mut store: Store<'_>, (): ()| {
        add(store.data_mut(), HEADER_BYTES)?;
        Ok((HostFields::new(&mut store.data_mut().http())?,))
    })?;
    types.func_wrap("[static]fields.from-list", |mut store: Store<'_>, (pairs,): (Pairs,)| {
        add(store.data_mut(), HEADER_BYTES + pairs_bytes(&pairs))?;
        let made = HostFields::from_list(&mut store.data_mut().http(), pairs);
        Ok((outcome(made)?,))
    })?;
    type Values = Vec<Vec<u8>>;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>, (fields, name, values): (Own, String, Values)| {
            add(store.data_mut(), values_bytes(&name, &values))?;
            let set = HostFields::set(&mut store.data_mut().http(), fields, name, values);
            Ok((outcome(set)?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut store: Store<'_>, (fields, name, value): (Own, String, Vec<u8>)| {
            add(store.data_mut(), header(&name, &value))?;
            let appended = HostFields::append(&mut store.data_mut().http(), fields, name, value);
            Ok((outcome(appended)?,))
        },
    )?;
    types.func_wrap("[method]fields.clone", |mut store: Store<'_>, (fields,): (Own,)| {
        let bytes = copy_bytes(store.data_mut(), &fields)?;
        add(store.data_mut(), bytes)?;
        Ok((HostFields::clone(&mut store.data_mut().http(), fields)?,))
    })
}

/// Counts what came with responses before the next request is sent.
pub(super) fn count_client(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    type Asked = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
    let mut handler = linker.instance("wasi:http/outgoing-handler@0.2.12")?;
    handler.func_wrap("handle", |mut store: Store<'_>, (request, options): Asked| {
        add(store.data_mut(), 0)?;
        let sent = outgoing_handler::Host::handle(&mut store.data_mut().http(), request, options);
        Ok((match sent {
            Ok(response) => Ok(response),
            Err(error) => Err::<_, ErrorCode>(error.downcast()?),
        },))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What the guest is told of `done`.
fn outcome<T>(done: wasmtime_wasi_http::p2::HeaderResult<T>) -> wasmtime::Result<Result<T, HeaderError>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}
