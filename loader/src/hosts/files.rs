//! `wasi:filesystem` as the host has it, but for what may be opened: files and folders alone.
//!
//! To open a FIFO is to wait for its other end, and a device may make its reader wait as long; both would hold a
//! thread of the system, of which there are few. A guest that could put one in a checked name's place, by a
//! renaming at the right moment, finds it there already: guests can't make any.
//!
//! What is open is counted: descriptors, and streams, which keep their file open beyond its descriptor.

#[cfg(feature = "p3")]
mod preview3;

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{self, DirectoryEntryStream, ErrorCode, HostDescriptor};
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsResult, InputStream, OutputStream, Pollable, StreamResult,
};

use crate::config::FILES_OPEN_MAX;
use crate::host_state::HostState;

/// The name of the interface in its 0.2 form.
const PREVIEW2: &str = "wasi:filesystem/types@0.2.12";
const OPEN_AT: &str = "[method]descriptor.open-at";
const READ_DIRECTORY: &str = "[method]descriptor.read-directory";
const READ_VIA_STREAM: &str = "[method]descriptor.read-via-stream";
const WRITE_VIA_STREAM: &str = "[method]descriptor.write-via-stream";
const APPEND_VIA_STREAM: &str = "[method]descriptor.append-via-stream";

/// What a guest opens: the folder, how links are followed, the path, and what is done with the file.
type Opening = (Resource<Descriptor>, types::PathFlags, String, types::OpenFlags, types::DescriptorFlags);

/// What a guest has of files beside its descriptors: one reference for each stream, and for each file that is
/// being opened.
#[derive(Default)]
pub(super) struct Open(Arc<()>);

/// One of those.
type Held = Arc<()>;

/// Room for one more file, if there is any.
fn room(state: &mut HostState) -> Option<Held> {
    let (table, Open(open)) = state.files();
    let is_open = |entry: &&mut (dyn std::any::Any + Send)| {
        entry.is::<Descriptor>() || entry.is::<DirectoryEntryStream>()
    };
    let count = table.iter_mut().filter(is_open).count() + Arc::strong_count(open) - 1;
    (count < FILES_OPEN_MAX).then(|| Arc::clone(open))
}

/// What keeps a stream counted.
fn held(state: &mut HostState) -> Held {
    let (_, Open(open)) = state.files();
    Arc::clone(open)
}

type Store<'a> = StoreContextMut<'a, HostState>;

/// Adds the 0.2 form.
pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    types::add_to_linker::<HostState, WasiFilesystem>(linker, HostState::filesystem)?;
    preopens::add_to_linker::<HostState, WasiFilesystem>(linker, HostState::filesystem)?;
    linker.allow_shadowing(true);
    let mut interface = linker.instance(PREVIEW2)?;
    interface.func_wrap_async(OPEN_AT, |mut store, opening: Opening| {
        Box::new(async move {
            let Some(_opening) = room(store.data_mut()) else { return Ok((Err(ErrorCode::Quota),)) };
            Ok((outcome(open(store.data_mut().filesystem(), opening).await)?,))
        })
    })?;
    interface.func_wrap_async(READ_DIRECTORY, |mut store, (folder,): (Resource<Descriptor>,)| {
        Box::new(async move {
            let Some(_opening) = room(store.data_mut()) else { return Ok((Err(ErrorCode::Quota),)) };
            let read: FsResult<Resource<DirectoryEntryStream>> =
                store.data_mut().filesystem().read_directory(folder).await;
            Ok((outcome(read)?,))
        })
    })?;
    count_streams(&mut interface)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Counts streams for as long as they are there.
fn count_streams(interface: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    type File = Resource<Descriptor>;
    interface.func_wrap(READ_VIA_STREAM, |mut store: Store<'_>, (file, from): (File, u64)| {
        let state = store.data_mut();
        let stream = HostDescriptor::read_via_stream(&mut state.filesystem(), file, from);
        let stream = outcome(stream)?;
        if let Ok(stream) = &stream {
            let held = held(state);
            let stream = state.files().0.get_mut(stream)?;
            let inner: DynInputStream = std::mem::replace(stream, Box::new(ClosedInputStream));
            *stream = Box::new(Counted { inner, _held: held });
        }
        Ok((stream,))
    })?;
    interface.func_wrap(WRITE_VIA_STREAM, |mut store: Store<'_>, (file, from): (File, u64)| {
        let state = store.data_mut();
        let stream = HostDescriptor::write_via_stream(&mut state.filesystem(), file, from);
        Ok((counted_output(state, stream)?,))
    })?;
    interface.func_wrap(APPEND_VIA_STREAM, |mut store: Store<'_>, (file,): (File,)| {
        let state = store.data_mut();
        let stream = HostDescriptor::append_via_stream(&mut state.filesystem(), file);
        Ok((counted_output(state, stream)?,))
    })
}

type Output = Resource<DynOutputStream>;

fn counted_output(
    state: &mut HostState,
    stream: FsResult<Output>,
) -> wasmtime::Result<Result<Output, ErrorCode>> {
    let stream = outcome(stream)?;
    if let Ok(stream) = &stream {
        let held = held(state);
        let stream = state.files().0.get_mut(stream)?;
        let inner: DynOutputStream = std::mem::replace(stream, Box::new(ClosedOutputStream));
        *stream = Box::new(Counted { inner, _held: held });
    }
    Ok(stream)
}

/// What the guest is told of `done`.
fn outcome<T>(done: FsResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// A stream of a file.
struct Counted<S> {
    inner: S,
    _held: Held,
}

#[async_trait]
impl<S: Pollable> Pollable for Counted<S> {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl InputStream for Counted<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.blocking_read(size).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl OutputStream for Counted<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.inner.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

async fn open(
    mut files: WasiFilesystemCtxView<'_>,
    (folder, links, path, how, rights): Opening,
) -> FsResult<Resource<Descriptor>> {
    use types::DescriptorType;
    let found = files.stat_at(Resource::new_borrow(folder.rep()), links, path.clone()).await;
    let is_special = found.is_ok_and(|found| {
        !matches!(
            found.type_,
            DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
        )
    });
    if is_special {
        return Err(ErrorCode::NotPermitted.into());
    }
    files.open_at(folder, links, path, how, rights).await
}

/// Adds the 0.3 form.
#[cfg(feature = "p3")]
pub(super) fn define_preview3(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    preview3::define(linker)
}
