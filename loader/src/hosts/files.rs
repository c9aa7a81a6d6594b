//! `wasi:filesystem` as the host has it, but for what may be opened: files and folders alone.
//!
//! To open a FIFO is to wait for its other end, and a device may make its reader wait as long; both would hold a
//! thread of the system, of which there are few. A guest that could put one in a checked name's place, by a
//! renaming at the right moment, finds it there already: guests can't make any.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};

use crate::host_state::HostState;

/// The name of the interface in its 0.2 form.
const PREVIEW2: &str = "wasi:filesystem/types@0.2.12";
const OPEN_AT: &str = "[method]descriptor.open-at";

/// What a guest opens: the folder, how links are followed, the path, and what is done with the file.
type Opening = (Resource<Descriptor>, types::PathFlags, String, types::OpenFlags, types::DescriptorFlags);

/// Adds the 0.2 form.
pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    types::add_to_linker::<HostState, WasiFilesystem>(linker, HostState::filesystem)?;
    preopens::add_to_linker::<HostState, WasiFilesystem>(linker, HostState::filesystem)?;
    linker.allow_shadowing(true);
    linker.instance(PREVIEW2)?.func_wrap_async(OPEN_AT, |mut store, opening: Opening| {
        Box::new(async move {
            let opened = open(store.data_mut().filesystem(), opening).await;
            let opened = opened.map_or_else(|error| error.downcast().map(Err), |file| Ok(Ok(file)));
            Ok((opened?,))
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn open(
    mut files: WasiFilesystemCtxView<'_>,
    (folder, links, path, how, rights): Opening,
) -> FsResult<Resource<Descriptor>> {
    use types::{DescriptorType, HostDescriptor};
    let found = files.stat_at(Resource::new_borrow(folder.rep()), links, path.clone()).await;
    let is_special = found.is_ok_and(|found| {
        !matches!(
            found.type_,
            DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
        )
    });
    if is_special {
        return Err(types::ErrorCode::NotPermitted.into());
    }
    files.open_at(folder, links, path, how, rights).await
}

/// Adds the 0.3 form.
#[cfg(feature = "p3")]
pub(super) fn define_preview3(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    preview3::define(linker)
}

#[cfg(feature = "p3")]
mod preview3 {
    use wasmtime::component::{Accessor, Linker, Resource};
    use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
    use wasmtime_wasi::p3::bindings::filesystem::types::{self, DescriptorType, HostDescriptorWithStore};
    use wasmtime_wasi::p3::filesystem::{FilesystemResult, add_to_linker};

    use super::OPEN_AT;
    use crate::host_state::HostState;

    /// The name of the interface in its 0.3 form.
    const PREVIEW3: &str = "wasi:filesystem/types@0.3.0";

    type Opening = (Resource<Descriptor>, types::PathFlags, String, types::OpenFlags, types::DescriptorFlags);

    pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
        add_to_linker(linker)?;
        linker.allow_shadowing(true);
        linker.instance(PREVIEW3)?.func_wrap_concurrent(OPEN_AT, |store, opening: Opening| {
            Box::pin(async move {
                let files = store.with_getter::<WasiFilesystem>(HostState::filesystem);
                let opened = open(&files, opening).await;
                let opened = opened.map_or_else(|error| error.downcast().map(Err), |file| Ok(Ok(file)));
                Ok((opened?,))
            })
        })?;
        linker.allow_shadowing(false);
        Ok(())
    }

    async fn open(
        files: &Accessor<HostState, WasiFilesystem>,
        (folder, links, path, how, rights): Opening,
    ) -> FilesystemResult<Resource<Descriptor>> {
        let found = WasiFilesystem::stat_at(files, Resource::new_borrow(folder.rep()), links, path.clone());
        let is_special = found.await.is_ok_and(|found| {
            !matches!(
                found.type_,
                DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
            )
        });
        if is_special {
            return Err(types::ErrorCode::NotPermitted.into());
        }
        WasiFilesystem::open_at(files, folder, links, path, how, rights).await
    }
}
