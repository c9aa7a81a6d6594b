//! Files of WASI 0.3.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{
    Access, Accessor, FutureConsumer, FutureReader, Linker, LinkerInstance, Resource, Source, StreamReader,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types as preview2;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    self, DescriptorType, DirectoryEntry, ErrorCode, HostDescriptorWithStore,
};
use wasmtime_wasi::p3::filesystem::{FilesystemResult, add_to_linker};

use super::{
    APPEND_VIA_STREAM, Held, OPEN_AT, READ_DIRECTORY, READ_VIA_STREAM, Store, WRITE_VIA_STREAM, held, room,
};
use crate::host_state::HostState;

/// The name of the interface in its 0.3 form.
const PREVIEW3: &str = "wasi:filesystem/types@0.3.0";

type File = Resource<Descriptor>;
type Opening = (File, types::PathFlags, String, types::OpenFlags, types::DescriptorFlags);
type Outcome = Result<(), ErrorCode>;

pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_to_linker(linker)?;
    linker.allow_shadowing(true);
    let mut interface = linker.instance(PREVIEW3)?;
    interface.func_wrap_concurrent(OPEN_AT, |store: &Accessor<HostState>, opening: Opening| {
        Box::pin(async move {
            let Some(_opening) = store.with(|mut access| room(access.data_mut())) else {
                return Ok((Err(ErrorCode::Quota),));
            };
            let files = store.with_getter::<WasiFilesystem>(HostState::filesystem);
            let opened = open(&files, opening).await;
            let opened = opened.map_or_else(|error| error.downcast().map(Err), |file| Ok(Ok(file)));
            Ok((opened?,))
        })
    })?;
    count_streams(&mut interface)?;
    read_directories(&mut interface)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn access<'a>(store: &'a mut Store<'_>) -> Access<'a, HostState, WasiFilesystem> {
    Access::<_, WasiFilesystem>::new(store.as_context_mut(), files)
}

fn files(state: &mut HostState) -> WasiFilesystemCtxView<'_> {
    state.filesystem()
}

/// Counts streams until they have ended: what they end with says so.
fn count_streams(interface: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    type Host = WasiFilesystem;
    interface.func_wrap(READ_VIA_STREAM, |mut store: Store<'_>, (file, from): (File, u64)| {
        let (bytes, outcome) = Host::read_via_stream(access(&mut store), file, from)?;
        Ok(((bytes, counted(&mut store, outcome)?),))
    })?;
    type Bytes = StreamReader<u8>;
    interface.func_wrap(
        WRITE_VIA_STREAM,
        |mut store: Store<'_>, (file, bytes, from): (File, Bytes, u64)| {
            let outcome = Host::write_via_stream(access(&mut store), file, bytes, from)?;
            Ok((counted(&mut store, outcome)?,))
        },
    )?;
    interface.func_wrap(APPEND_VIA_STREAM, |mut store: Store<'_>, (file, bytes): (File, Bytes)| {
        let outcome = Host::append_via_stream(access(&mut store), file, bytes)?;
        Ok((counted(&mut store, outcome)?,))
    })
}

fn counted(store: &mut Store<'_>, outcome: FutureReader<Outcome>) -> wasmtime::Result<FutureReader<Outcome>> {
    let (tell, told) = oneshot::channel();
    let held = held(store.data_mut());
    outcome.pipe(store.as_context_mut(), Listener { tell: Some(tell), _held: held })?;
    FutureReader::new(store, async move { Ok::<_, wasmtime::Error>(told.await.unwrap_or(Ok(()))) })
}

/// Hears how a stream ends, and keeps it counted until then.
struct Listener {
    tell: Option<oneshot::Sender<Outcome>>,
    _held: Held,
}

impl FutureConsumer<HostState> for Listener {
    type Item = Outcome;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, HostState>,
        mut source: Source<'_, Outcome>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        if let (Some(tell), Some(outcome)) = (self.tell.take(), outcome) {
            let _ = tell.send(outcome);
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads folders at once, as in 0.2. The host's own stream keeps a thread of the system until the guest has
/// read all of it: a dozen that nobody reads would leave none for anyone's files.
fn read_directories(interface: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    interface.func_wrap_async(READ_DIRECTORY, |mut store: Store<'_>, (folder,): (File,)| {
        Box::new(async move {
            let (entries, outcome) = match room(store.data_mut()) {
                Some(_opening) => entries(&mut store, folder).await?,
                None => (Vec::new(), Err(ErrorCode::Quota)),
            };
            let entries = StreamReader::new(&mut store, entries)?;
            let outcome = FutureReader::new(&mut store, async move { Ok::<_, wasmtime::Error>(outcome) })?;
            Ok(((entries, outcome),))
        })
    })
}

/// What is in `folder`, up to what can't be read.
async fn entries(store: &mut Store<'_>, folder: File) -> wasmtime::Result<(Vec<DirectoryEntry>, Outcome)> {
    use preview2::{HostDescriptor, HostDirectoryEntryStream};
    let mut files = store.data_mut().filesystem();
    let read: FsResult<Resource<preview2::DirectoryEntryStream>> =
        HostDescriptor::read_directory(&mut files, folder).await;
    let stream = match read {
        Ok(stream) => stream,
        Err(error) => return Ok((Vec::new(), Err(code(error.downcast()?)))),
    };
    let mut entries = Vec::new();
    let outcome = loop {
        match files.read_directory_entry(Resource::new_borrow(stream.rep())).await {
            Ok(Some(entry)) => {
                entries.push(DirectoryEntry { type_: kind(entry.type_), name: entry.name });
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(code(error.downcast()?)),
        }
    };
    HostDirectoryEntryStream::drop(&mut files, stream)?;
    Ok((entries, outcome))
}

fn kind(kind: preview2::DescriptorType) -> DescriptorType {
    use preview2::DescriptorType as Kind;
    match kind {
        Kind::BlockDevice => DescriptorType::BlockDevice,
        Kind::CharacterDevice => DescriptorType::CharacterDevice,
        Kind::Directory => DescriptorType::Directory,
        Kind::Fifo => DescriptorType::Fifo,
        Kind::SymbolicLink => DescriptorType::SymbolicLink,
        Kind::RegularFile => DescriptorType::RegularFile,
        Kind::Socket => DescriptorType::Socket,
        Kind::Unknown => DescriptorType::Other(None),
    }
}

/// What may go wrong while a folder is read.
fn code(code: preview2::ErrorCode) -> ErrorCode {
    use preview2::ErrorCode as Code;
    match code {
        Code::Access => ErrorCode::Access,
        Code::BadDescriptor => ErrorCode::BadDescriptor,
        Code::IllegalByteSequence => ErrorCode::IllegalByteSequence,
        Code::InsufficientMemory => ErrorCode::InsufficientMemory,
        Code::NoEntry => ErrorCode::NoEntry,
        Code::NotDirectory => ErrorCode::NotDirectory,
        Code::NotPermitted => ErrorCode::NotPermitted,
        _ => ErrorCode::Io,
    }
}

async fn open(
    files: &Accessor<HostState, WasiFilesystem>,
    (folder, links, path, how, rights): Opening,
) -> FilesystemResult<File> {
    let found = WasiFilesystem::stat_at(files, Resource::new_borrow(folder.rep()), links, path.clone());
    let is_special = found.await.is_ok_and(|found| {
        !matches!(
            found.type_,
            DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
        )
    });
    if is_special {
        return Err(ErrorCode::NotPermitted.into());
    }
    WasiFilesystem::open_at(files, folder, links, path, how, rights).await
}
