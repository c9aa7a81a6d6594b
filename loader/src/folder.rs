//! Files inside a bundle's folder: opened relative to it, never through links, under the lock that keeps a
//! build from removing them.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Name of the file whose shared lock a loader holds for life, so that a build removes nothing of it.
pub(crate) const LOCK_FILE: &str = ".lock";

/// Opens `relative` below `folder`; no part of it may be a link or leave the folder.
pub(crate) fn open_inside(folder: &OwnedFd, relative: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder, relative, flags, Mode::empty(), resolve) {
        // Kernels before 5.6 and sandboxes that do not know the call: the same, part by part.
        Err(Errno::NOSYS | Errno::PERM) => open_by_parts(folder, relative, flags),
        other => other,
    }
}

fn open_by_parts(folder: &OwnedFd, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (folders, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    if relative.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Errno::INVAL);
    }
    let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::io::fcntl_dupfd_cloexec(folder, 0)?;
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        at = rustix::fs::openat(&at, part, step, Mode::empty())?;
    }
    rustix::fs::openat(&at, name, flags, Mode::empty())
}

/// Takes the lock shared; where it can't even be created, nobody can remove anything either.
pub(crate) fn lock_shared(folder: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    // Not blocking: a FIFO in its place must not hang the start.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let lock = match rustix::fs::openat(folder, LOCK_FILE, flags, Mode::from_raw_mode(0o644)) {
        Ok(lock) => lock,
        Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => match open_inside(folder, LOCK_FILE) {
            Ok(lock) => lock,
            Err(_) => return Ok(None),
        },
        Err(errno) => return Err(errno),
    };
    rustix::fs::flock(&lock, FlockOperation::LockShared)?;
    Ok(Some(lock))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The kernel's own check, and ours for kernels that have none.
    #[test]
    fn no_name_leaves_the_folder_or_follows_a_link() {
        let outer = crate::support::temporary_folder();
        let bundle = outer.path().join("bundle");
        std::fs::create_dir_all(bundle.join("fs/deep")).unwrap();
        for file in ["outside", "bundle/top", "bundle/fs/deep/file"] {
            std::fs::write(outer.path().join(file), file).unwrap();
        }
        symlink("top", bundle.join("link")).unwrap();
        symlink("fs", bundle.join("folder")).unwrap();
        let folder: OwnedFd = File::open(&bundle).unwrap().into();
        let by_parts = |name: &str| open_by_parts(&folder, name, OFlags::RDONLY | OFlags::NOFOLLOW);
        for name in ["top", "fs/deep/file"] {
            for opened in [open_inside(&folder, name), by_parts(name)] {
                let mut text = String::new();
                File::from(opened.unwrap()).read_to_string(&mut text).unwrap();
                assert_eq!(text, format!("bundle/{name}"));
            }
        }
        let absolute = outer.path().join("outside");
        let names = [
            "../outside",
            "fs/../../outside",
            "fs/..",
            "link",
            "folder/deep/file",
            "",
            absolute.to_str().unwrap(),
        ];
        for name in names {
            let opened_folder =
                |file: &OwnedFd| File::from(file.try_clone().unwrap()).metadata().unwrap().is_dir();
            let inside = open_inside(&folder, name);
            // The kernel lets a name go up as long as it stays inside; no file of a bundle is a folder.
            assert!(inside.is_err() || inside.is_ok_and(|file| opened_folder(&file)), "`{name}`");
            assert!(by_parts(name).is_err(), "`{name}` by parts");
        }
    }
}
