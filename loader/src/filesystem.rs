//! Entries of the kinds `fs.directory` and `fs.embed` (`en/system/filesystem.md`): what they name, for Lua's
//! `fs` and for the mounts of guests alike.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use registry_schema::authored::fs::{FsBase, FsDirectory};
use registry_schema::manifest::{EMBEDDED_DIR, Entry};
use registry_schema::{EntryId, ErrorKind};
use serde::Deserialize;

use crate::error::Error;
use crate::loader::Inner;

/// Permissions of a folder whose entry gives none.
const MODE: u32 = 0o755;

/// What an entry of the kind `fs.*` names.
pub(crate) enum FileSystem {
    Directory(Directory),
    Embedded(Embedded),
}

/// A folder of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Relative ones start in the project's root, or in the folder of the entry's module below it.
    pub(crate) path: PathBuf,
    /// Permission bits that restrict every operation, and that what is made gets.
    pub(crate) mode: u32,
    /// Whether it is made when it is missing.
    pub(crate) auto_init: bool,
}

/// A folder of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Embedded {
    /// Its path in the bundle, with a `/` at its end; `None` when it has no files.
    pub(crate) folder: Option<String>,
}

impl FileSystem {
    /// What the entry `id` names; nothing is opened.
    ///
    /// # Errors
    /// `NOT_FOUND` for what is no file system, `UNAVAILABLE` for one that is not offered.
    pub(crate) fn find(inner: &Inner, id: &EntryId) -> Result<Self, Error> {
        let missing = || Error::new(ErrorKind::NotFound, format!("no filesystem `{id}`"));
        let entry = inner.bundle.manifest().entry(id)?.ok_or_else(missing)?;
        if !matches!(entry.kind.as_str(), "fs.directory" | "fs.embed") {
            return Err(missing());
        }
        if let Some(reason) = &entry.unavailable {
            return Err(Error::new(ErrorKind::Unavailable, format!("`{id}` is not available: {reason}")));
        }
        match entry.kind.as_str() {
            "fs.embed" => Ok(Self::Embedded(Embedded::find(inner, id))),
            _ => Directory::read(inner, &entry).map(Self::Directory),
        }
    }
}

impl Directory {
    fn read(inner: &Inner, entry: &Entry) -> Result<Self, Error> {
        let id = &entry.id;
        let own = id.namespace();
        let fields = FsDirectory::deserialize(&entry.data)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("`{id}` can't be read: {error}")))?;
        let environment = inner.environment();
        let base = match &fields.base {
            Some(base) => environment.resolve(own, "base", base)?,
            None => FsBase::Project,
        };
        let base = match (base, &entry.module_folder) {
            (FsBase::Module, Some(folder)) => inner.root().join(folder),
            (FsBase::Module, None) | (FsBase::Project, _) => inner.root(),
        };
        let directory = environment.resolve(own, "directory", &fields.directory)?;
        let auto_init = match &fields.auto_init {
            Some(auto_init) => environment.resolve(own, "auto_init", auto_init)?,
            None => false,
        };
        let mode = match &fields.mode {
            Some(mode) => environment.resolve(own, "mode", mode)?.bits(),
            None => MODE,
        };
        Ok(Self { path: base.join(directory), mode, auto_init })
    }

    /// The path as a message shows it: from the root of the machine.
    #[cfg(feature = "wasi")]
    pub(crate) fn absolute(&self) -> PathBuf {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }
}

impl Embedded {
    fn find(inner: &Inner, id: &EntryId) -> Self {
        // Below the entry's folder is one more, named by the digest of all files.
        let prefix = format!("{EMBEDDED_DIR}/{id}/");
        let files = &inner.bundle.manifest().head().files;
        let first = files.range(prefix.clone()..).next().map(|(path, _)| path);
        let rest = first.and_then(|path| path.strip_prefix(&prefix));
        let folder =
            rest.and_then(|rest| rest.split_once('/')).map(|(digest, _)| format!("{prefix}{digest}/"));
        Self { folder }
    }
}

/// Makes the folder `path` and those above it.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(searchable(mode)).create(path)
}

/// Permissions with the right to search where there is one to read.
pub(crate) fn searchable(mode: u32) -> u32 {
    mode | (mode & 0o444) >> 2
}
