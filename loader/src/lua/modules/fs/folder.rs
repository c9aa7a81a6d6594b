//! A folder of the machine that no path leaves.
//!
//! The kernel resolves paths below an open folder and refuses what leads out of it, by `..`, by a link or by
//! a rename meanwhile (`openat2`, `RESOLVE_BENEATH`). Where it does not know the call, parts are opened one
//! by one and no link is followed. What is made or removed is named by one part in an open folder.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::path::VolumePath;
use super::volume::{Item, Mode, Stat};
use crate::config::FS_LIST_MAX;
use crate::filesystem::{create, searchable};

/// Attempts to resolve a path while folders on its way are renamed.
const ATTEMPTS: usize = 16;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// An open folder.
pub(super) struct Folder {
    folder: OwnedFd,
    /// Permissions of the volume: they restrict what it is used for, and are those of what is made in it.
    mode: u32,
}

impl Folder {
    /// Opens the folder `path`; with `auto_init` it is made if it is not there.
    pub(super) fn open(path: &Path, mode: u32, auto_init: bool) -> std::io::Result<Self> {
        let open =
            || rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty());
        let folder = match open() {
            Err(Errno::NOENT) if auto_init => {
                create(path, mode)?;
                open()
            }
            opened => opened,
        };
        Ok(Self { folder: folder?, mode })
    }

    fn check(&self, access: Access) -> Result<(), Errno> {
        let bit = match access {
            Access::Read => 0o400,
            Access::Write => 0o200,
        };
        if self.mode & bit == 0 { Err(Errno::ACCESS) } else { Ok(()) }
    }

    pub(super) fn open_file(&self, path: &VolumePath, mode: Mode) -> Result<File, Errno> {
        let (access, flags) = match mode {
            Mode::Read => (Access::Read, OFlags::RDONLY),
            Mode::Write => (Access::Write, OFlags::WRONLY | OFlags::CREATE),
            Mode::Append => (Access::Write, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND),
            Mode::WriteNew => (Access::Write, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL),
        };
        self.check(access)?;
        // Not blocking: a FIFO must not hold the thread. It is refused once it is seen.
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file =
            File::from(self.beneath(path.relative(), flags, Bits::from_raw_mode(self.mode & 0o666))?);
        let kind =
            file.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?.file_type();
        if kind.is_dir() {
            return Err(Errno::ISDIR);
        }
        if !kind.is_file() {
            return Err(Errno::NODEV);
        }
        if mode == Mode::Write {
            // Not by opening, which would not have known what it empties.
            rustix::fs::ftruncate(&file, 0)?;
        }
        Ok(file)
    }

    pub(super) fn stat(&self, path: &VolumePath) -> Result<Stat, Errno> {
        self.check(Access::Read)?;
        let found = File::from(self.beneath(path.relative(), OFlags::PATH, Bits::empty())?);
        let metadata = found.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Stat {
            size: metadata.len(),
            mode: metadata.mode() & 0o777,
            modified: metadata.mtime(),
            is_dir: metadata.is_dir(),
        })
    }

    pub(super) fn make_folder(&self, path: &VolumePath) -> Result<(), Errno> {
        self.check(Access::Write)?;
        let (parent, name) = path.split().ok_or(Errno::EXIST)?;
        let parent = self.beneath(parent.relative(), OFlags::PATH | OFlags::DIRECTORY, Bits::empty())?;
        rustix::fs::mkdirat(parent, name, Bits::from_raw_mode(searchable(self.mode)))
    }

    /// Removes a file, a link or an empty folder.
    pub(super) fn remove(&self, path: &VolumePath) -> Result<(), Errno> {
        self.check(Access::Write)?;
        let (parent, name) = path.split().ok_or(Errno::INVAL)?;
        let parent = self.beneath(parent.relative(), OFlags::PATH | OFlags::DIRECTORY, Bits::empty())?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTDIR) => Err(Errno::PERM),
                    removed => removed,
                }
            }
            removed => removed,
        }
    }

    pub(super) fn list(&self, path: &VolumePath) -> Result<Vec<Item>, Errno> {
        self.check(Access::Read)?;
        let folder = self.beneath(path.relative(), OFlags::RDONLY | OFlags::DIRECTORY, Bits::empty())?;
        let mut items = Vec::new();
        for item in Dir::read_from(&folder)? {
            let item = item?;
            let name = item.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if items.len() >= FS_LIST_MAX {
                return Err(Errno::OVERFLOW);
            }
            let kind = match item.file_type() {
                FileType::Unknown => match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    // It went meanwhile.
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno),
                },
                kind => kind,
            };
            items.push(Item { name: name.to_vec(), is_dir: kind == FileType::Directory });
        }
        Ok(items)
    }

    fn beneath(&self, path: &Path, flags: OFlags, mode: Bits) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // The kernel takes a mode only where something may be made.
        let mode = if flags.contains(OFlags::CREATE) { mode } else { Bits::empty() };
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(&self.folder, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return by_parts(&self.folder, path, flags, mode),
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// The same without the kernel's help: no link is followed.
fn by_parts(folder: &OwnedFd, path: &Path, flags: OFlags, mode: Bits) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::io::fcntl_dupfd_cloexec(folder, 0)?;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let std::path::Component::Normal(name) = part else {
            // Only the root itself, which is `.`.
            return rustix::fs::openat(&at, ".", flags, Bits::empty());
        };
        if parts.peek().is_some() {
            at = rustix::fs::openat(&at, name, step, Bits::empty())?;
            continue;
        }
        let opened = rustix::fs::openat(&at, name, flags | OFlags::NOFOLLOW, mode)?;
        // A link itself can be opened when nothing but its place is asked for.
        if flags.contains(OFlags::PATH)
            && FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) == FileType::Symlink
        {
            return Err(Errno::LOOP);
        }
        return Ok(opened);
    }
    Err(Errno::INVAL)
}

#[cfg(test)]
mod tests;
