//! Headers of WASI 0.3.

use std::any::Any;

use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
use wasmtime_wasi_http::p3::bindings::http::types::{
    ErrorCode, HeaderError, HostFields, HostRequest, Method,
};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

use super::{HEADER_BYTES, Own, Pairs, Store, add, copy_bytes, header, pairs_bytes, values_bytes};
use crate::host_state::HostState;

/// What an entry of the table takes.
pub(super) fn bytes(entry: &(dyn Any + Send)) -> u64 {
    if let Some(request) = entry.downcast_ref::<Request>() {
        let path = request.path_with_query.as_ref().map_or(0, |path| path.as_str().len());
        let authority = request.authority.as_ref().map_or(0, |authority| authority.as_str().len());
        let texts = path + authority + request.method.as_str().len();
        return super::bytes(&request.headers) + texts as u64;
    }
    entry.downcast_ref::<Response>().map_or(0, |response| super::bytes(&response.headers))
}

/// Counts what guests give; the interface is linked already.
pub(in crate::hosts) fn count_types(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    types.func_wrap("[constructor]fields", |mut store: Store<'_>, (): ()| {
        add(store.data_mut(), HEADER_BYTES)?;
        Ok((HostFields::new(&mut store.data_mut().http())?,))
    })?;
    types.func_wrap("[static]fields.from-list", |mut store: Store<'_>, (pairs,): (Pairs,)| {
        add(store.data_mut(), HEADER_BYTES + pairs_bytes(&pairs))?;
        let made = HostFields::from_list(&mut store.data_mut().http(), pairs);
        Ok((outcome(made)?,))
    })?;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>, (fields, name, values): (Own, String, Vec<Vec<u8>>)| {
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
    })?;
    type Text = Option<String>;
    let length = |text: &Text| text.as_ref().map_or(0, |text| text.len() as u64);
    types.func_wrap(
        "[method]request.set-method",
        |mut store: Store<'_>, (request, method): (Resource<Request>, Method)| {
            add(store.data_mut(), if let Method::Other(name) = &method { name.len() as u64 } else { 0 })?;
            Ok((HostRequest::set_method(&mut store.data_mut().http(), request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-path-with-query",
        move |mut store: Store<'_>, (request, path): (Resource<Request>, Text)| {
            add(store.data_mut(), length(&path))?;
            Ok((HostRequest::set_path_with_query(&mut store.data_mut().http(), request, path)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-authority",
        move |mut store: Store<'_>, (request, authority): (Resource<Request>, Text)| {
            add(store.data_mut(), length(&authority))?;
            Ok((HostRequest::set_authority(&mut store.data_mut().http(), request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Counts what came with responses before the next request is sent.
pub(in crate::hosts) fn count_client(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:http/client@0.3.0")?.func_wrap_concurrent(
        "send",
        |store: &Accessor<HostState>, (request,): (Resource<Request>,)| {
            Box::pin(async move {
                store.with(|mut access| add(access.data_mut(), 0))?;
                let http = store.with_getter::<WasiHttp>(HostState::http);
                let sent = <WasiHttp as HostWithStore<HostState>>::send(&http, request).await;
                Ok((match sent {
                    Ok(response) => Ok(response),
                    Err(error) => Err::<_, ErrorCode>(error.downcast()?),
                },))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What the guest is told of `done`.
fn outcome<T>(
    done: Result<T, wasmtime_wasi::TrappableError<HeaderError>>,
) -> wasmtime::Result<Result<T, HeaderError>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}
