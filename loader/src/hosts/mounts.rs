//! Directories of a guest (`wasi.mounts`), components and preview-1 modules alike.
//!
//! The host opens paths below the mounted folder and refuses what leads out of it, by `..` or by a link. A
//! mount may be used if the caller's scope allows `fs.get` on its entry. Its folder is opened for each call: one
//! that is missing makes the call fail, and `auto_init` makes it.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use registry_schema::authored::wasm;
use registry_schema::{Digest, EntryId, ErrorKind, Namespace};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::error::Error;
use crate::filesystem::{self, Directory, FileSystem};
use crate::loader::Inner;

/// A folder as the guest sees it.
pub(super) struct Mount {
    /// The entry of the kind `fs.*`.
    pub(super) fs: EntryId,
    /// Path inside the guest.
    guest: String,
    perms: FsPerms,
    source: Source,
}

enum Source {
    Directory(Directory),
    /// A folder of the bundle, its path there, and whether its files were checked.
    Embedded {
        folder: String,
        checked: OnceLock<()>,
    },
}

impl Mount {
    /// What `mount`, of an entry in `own`, stands for; nothing is opened.
    ///
    /// # Errors
    /// `UNAVAILABLE` and `NOT_FOUND` of the file system; `INVALID` for a placeholder that can't be resolved.
    pub(super) fn read(inner: &Inner, own: &Namespace, mount: &wasm::Mount) -> Result<Self, Error> {
        let fs = mount.fs.resolve(own);
        let read_only = match &mount.read_only {
            Some(read_only) => inner.environment().resolve(own, "wasi.mounts.read_only", read_only)?,
            None => false,
        };
        let (source, writable) = match FileSystem::find(inner, &fs)? {
            FileSystem::Directory(directory) if directory.mode & 0o400 == 0 => {
                let message = format!("the `mode` of `{fs}` lets nobody read, so it can't be mounted");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            FileSystem::Directory(directory) => {
                let writable = directory.mode & 0o200 != 0;
                (Source::Directory(directory), writable)
            }
            FileSystem::Embedded(embedded) => {
                let empty = || Error::new(ErrorKind::Unavailable, format!("`{fs}` has no files"));
                let folder = embedded.folder.ok_or_else(empty)?;
                (Source::Embedded { folder, checked: OnceLock::new() }, false)
            }
        };
        let perms = if read_only || !writable { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        Ok(Self { fs, guest: mount.guest.clone(), perms, source })
    }

    /// Why the folder can't be mounted now, if so.
    pub(super) fn missing(&self) -> Option<String> {
        match &self.source {
            Source::Directory(directory) if !directory.auto_init && !directory.path.is_dir() => {
                let path = directory.absolute();
                Some(format!("needs the folder `{}` of `{}`, which is not there", path.display(), self.fs))
            }
            _ => None,
        }
    }

    /// Gives the folder to the guest of `builder`.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it is not there, `INTERNAL` when a file of the bundle is damaged.
    pub(super) fn give(&self, inner: &Inner, builder: &mut WasiCtxBuilder) -> Result<(), Error> {
        let path = match &self.source {
            Source::Directory(directory) => {
                if directory.auto_init && !directory.path.is_dir() {
                    filesystem::create(&directory.path, directory.mode)
                        .map_err(|error| self.unavailable("made", &directory.absolute(), &error))?;
                }
                directory.absolute()
            }
            Source::Embedded { folder, checked } => {
                if checked.get().is_none() {
                    check_files(inner, folder)?;
                    _ = checked.set(());
                }
                inner.bundle.path().join(folder)
            }
        };
        match builder.preopened_dir(&path, &self.guest, self.perms) {
            Ok(_) => Ok(()),
            Err(error) => Err(match self.missing() {
                Some(reason) => Error::new(ErrorKind::Unavailable, reason),
                None => self.unavailable("opened", &path, &error.root_cause()),
            }),
        }
    }

    /// Whether giving it may read whole files.
    pub(super) fn is_slow(&self) -> bool {
        matches!(&self.source, Source::Embedded { checked, .. } if checked.get().is_none())
    }

    fn unavailable(&self, done: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
        let message = format!("the folder `{}` of `{}` can't be {done}: {error}", path.display(), self.fs);
        Error::new(ErrorKind::Unavailable, message)
    }
}

/// Checks every file below `folder` of the bundle.
fn check_files(inner: &Inner, folder: &str) -> Result<(), Error> {
    let damaged = |path: &str, problem: &dyn std::fmt::Display| {
        let message = format!("the bundle's file `{path}` is damaged: {problem}");
        Error::new(ErrorKind::Internal, message)
    };
    let files = inner.bundle.manifest().head().files.range(folder.to_owned()..);
    for (path, record) in files.take_while(|(path, _)| path.starts_with(folder)) {
        let file = inner.bundle.open_file(path).map_err(|error| damaged(path, &error))?;
        let digest = Digest::of_reader(File::from(file)).map_err(|error| damaged(path, &error))?;
        if digest != record.digest {
            let problem = format!("expected digest {}, found {digest}", record.digest);
            return Err(damaged(path, &problem));
        }
    }
    Ok(())
}
