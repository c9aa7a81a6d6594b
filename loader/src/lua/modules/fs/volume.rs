//! Volumes and what can be done with them; all of it may block.

use std::fs::File;
use std::io::{Read, Write};

use registry_schema::{EntryId, ErrorKind};
use rustix::io::Errno;

use super::embedded::Embedded;
use super::folder::Folder;
use super::path::VolumePath;
use crate::config::FS_READ_BYTES_MAX;
use crate::error::Error;
use crate::filesystem::FileSystem;
use crate::loader::Inner;
use crate::lua::modules::arguments::invalid;
use crate::lua::modules::held::{Held, Share};

/// An entry of the kind `fs.*`.
pub(super) enum Volume {
    Directory(Folder),
    Embedded(Embedded),
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    /// What it had is lost.
    Write,
    Append,
    /// It must not be there.
    WriteNew,
}

impl Mode {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"r" => Some(Self::Read),
            b"w" => Some(Self::Write),
            b"a" => Some(Self::Append),
            b"wx" => Some(Self::WriteNew),
            _ => None,
        }
    }
}

/// What is known of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: u32,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) is_dir: bool,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) name: Vec<u8>,
    pub(super) is_dir: bool,
}

impl Volume {
    /// Opens the volume `id`.
    ///
    /// # Errors
    /// `NOT_FOUND` for what is no volume, `UNAVAILABLE` for one whose folder is not there.
    pub(super) fn open(inner: &Inner, id: &EntryId) -> Result<Self, Error> {
        match FileSystem::find(inner, id)? {
            FileSystem::Embedded(embedded) => Ok(Self::Embedded(Embedded::new(embedded))),
            FileSystem::Directory(directory) => {
                Folder::open(&directory.path, directory.mode, directory.auto_init)
                    .map(Self::Directory)
                    .map_err(|error| {
                        let path = directory.path.display();
                        let message = format!("the folder `{path}` of `{id}` can't be opened: {error}");
                        Error::new(ErrorKind::Unavailable, message)
                    })
            }
        }
    }

    /// Opens a regular file.
    pub(super) fn open_file(&self, inner: &Inner, path: &VolumePath, mode: Mode) -> Result<File, Error> {
        match self {
            Self::Directory(folder) => folder.open_file(path, mode).map_err(|errno| failure(path, errno)),
            Self::Embedded(embedded) if mode == Mode::Read => embedded.open_file(inner, path),
            Self::Embedded(_) => Err(read_only(path)),
        }
    }

    /// What a file has, and its share of the memory that `held` counts.
    pub(super) fn read(
        &self,
        inner: &Inner,
        path: &VolumePath,
        held: &Held,
    ) -> Result<(Vec<u8>, Share), Error> {
        let file = self.open_file(inner, path, Mode::Read)?;
        let size = file.metadata().map_err(|error| io_failure(path, &error))?.len();
        if size > FS_READ_BYTES_MAX {
            let message =
                format!("`{path}` has more than {FS_READ_BYTES_MAX} bytes: open it and read it in parts");
            return Err(invalid(message));
        }
        let capacity = usize::try_from(size).unwrap_or(0) + 1;
        let share = held.take(capacity)?;
        let mut bytes = Vec::with_capacity(capacity);
        // It may have grown meanwhile, or lie about its size as those of `/proc` do.
        let read = file.take(capacity as u64).read_to_end(&mut bytes);
        let read = read.map_err(|error| io_failure(path, &error))?;
        if read < capacity {
            return Ok((bytes, share));
        }
        Err(Error::new(ErrorKind::Conflict, format!("`{path}` grew while it was read")).retryable())
    }

    pub(super) fn write(
        &self,
        inner: &Inner,
        path: &VolumePath,
        data: &[u8],
        mode: Mode,
    ) -> Result<(), Error> {
        let mut file = self.open_file(inner, path, mode)?;
        file.write_all(data).map_err(|error| io_failure(path, &error))
    }

    pub(super) fn stat(&self, inner: &Inner, path: &VolumePath) -> Result<Stat, Error> {
        self.look(inner, path).map_err(|errno| failure(path, errno))
    }

    /// What is known of a path that may not be there; below a file nothing is.
    pub(super) fn stat_if_any(&self, inner: &Inner, path: &VolumePath) -> Result<Option<Stat>, Error> {
        match self.look(inner, path) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failure(path, errno)),
        }
    }

    fn look(&self, inner: &Inner, path: &VolumePath) -> Result<Stat, Errno> {
        match self {
            Self::Directory(folder) => folder.stat(path),
            Self::Embedded(embedded) => embedded.stat(inner, path),
        }
    }

    pub(super) fn make_folder(&self, path: &VolumePath) -> Result<(), Error> {
        match self {
            Self::Directory(folder) => folder.make_folder(path).map_err(|errno| failure(path, errno)),
            Self::Embedded(_) => Err(read_only(path)),
        }
    }

    pub(super) fn remove(&self, path: &VolumePath) -> Result<(), Error> {
        match self {
            Self::Directory(folder) => folder.remove(path).map_err(|errno| failure(path, errno)),
            Self::Embedded(_) => Err(read_only(path)),
        }
    }

    /// The items of a folder, sorted by name.
    pub(super) fn list(&self, inner: &Inner, path: &VolumePath) -> Result<Vec<Item>, Error> {
        let mut items = match self {
            Self::Directory(folder) => folder.list(path).map_err(|errno| failure(path, errno))?,
            Self::Embedded(embedded) => embedded.list(inner, path).map_err(|errno| failure(path, errno))?,
        };
        items.sort_unstable();
        Ok(items)
    }
}

fn read_only(path: &VolumePath) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("`{path}`: an embedded filesystem is read-only"))
}

/// The error of a system's answer, which names no path of the machine.
pub(super) fn failure(path: &VolumePath, errno: Errno) -> Error {
    let error = |kind, text: &str| Error::new(kind, format!("`{path}`: {text}"));
    match errno {
        Errno::NOENT => error(ErrorKind::NotFound, "not found"),
        Errno::EXIST => error(ErrorKind::AlreadyExists, "already exists"),
        Errno::ACCESS | Errno::PERM => error(ErrorKind::PermissionDenied, "permission denied"),
        Errno::ROFS => error(ErrorKind::PermissionDenied, "the filesystem is read-only"),
        Errno::XDEV | Errno::LOOP => error(
            ErrorKind::PermissionDenied,
            "permission denied: a link leads out of the filesystem or in circles",
        ),
        Errno::NOTDIR => error(ErrorKind::Invalid, "not a directory"),
        Errno::ISDIR => error(ErrorKind::Invalid, "is a directory"),
        // What opening a FIFO without a reader says, and what we say of devices and sockets.
        Errno::NXIO | Errno::NODEV => error(ErrorKind::Invalid, "not a regular file"),
        Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ => error(ErrorKind::Invalid, "no valid path here"),
        Errno::NOTEMPTY => error(ErrorKind::Conflict, "the directory is not empty"),
        Errno::BUSY => error(ErrorKind::Conflict, "in use"),
        Errno::OVERFLOW | Errno::TOOBIG => error(ErrorKind::Invalid, "more items than are listed at once"),
        Errno::FBIG => error(ErrorKind::Invalid, "the file is too large"),
        Errno::NOSPC | Errno::DQUOT => error(ErrorKind::Unavailable, "no space is left").retryable(),
        Errno::MFILE | Errno::NFILE => error(ErrorKind::Unavailable, "too many files are open").retryable(),
        Errno::BADF => error(ErrorKind::Internal, "the file was not opened for that"),
        errno => error(ErrorKind::Internal, &errno.to_string()),
    }
}

pub(super) fn io_failure(path: &VolumePath, error: &std::io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => failure(path, errno),
        None => Error::new(ErrorKind::Internal, format!("`{path}`: {error}")),
    }
}
