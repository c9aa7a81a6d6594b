use std::io::Read;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn path(text: &str) -> VolumePath {
    VolumePath::default().join(text.as_bytes()).unwrap()
}

/// `volume` with files and links, beside `outside`.
fn world() -> (tempfile::TempDir, Folder) {
    let world = crate::support::temporary_folder();
    let volume = world.path().join("volume");
    std::fs::create_dir_all(volume.join("folder/deep")).unwrap();
    std::fs::create_dir(world.path().join("outside")).unwrap();
    std::fs::write(world.path().join("outside/secret"), "secret").unwrap();
    std::fs::write(volume.join("folder/file"), "inside").unwrap();
    symlink("folder", volume.join("link")).unwrap();
    symlink("../outside", volume.join("out")).unwrap();
    symlink("../outside/secret", volume.join("leak")).unwrap();
    symlink(world.path().join("outside"), volume.join("absolute")).unwrap();
    symlink("../../outside/made", volume.join("folder/dangling")).unwrap();
    symlink("circle", volume.join("circle")).unwrap();
    let folder = Folder::open(&volume, 0o755, false).unwrap();
    (world, folder)
}

#[test]
fn links_inside_are_followed_and_others_refused() {
    let (_world, folder) = world();
    let mut text = String::new();
    folder.open_file(&path("link/file"), Mode::Read).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "inside");
    for name in ["out/secret", "leak", "absolute/secret", "out", "absolute", "circle", "folder/dangling"] {
        let refused = |result: Result<(), Errno>| {
            assert!(matches!(result, Err(Errno::XDEV | Errno::LOOP)), "{name}: {result:?}");
        };
        for mode in [Mode::Read, Mode::Write, Mode::Append] {
            refused(folder.open_file(&path(name), mode).map(|_| ()));
        }
        refused(folder.stat(&path(name)).map(|_| ()));
        refused(folder.list(&path(name)).map(|_| ()));
    }
    for name in ["out/new", "absolute/new", "out/secret"] {
        assert_eq!(folder.make_folder(&path(name)), Err(Errno::XDEV));
        assert_eq!(folder.remove(&path(name)), Err(Errno::XDEV));
        assert!(matches!(folder.open_file(&path(name), Mode::WriteNew), Err(Errno::XDEV)));
    }
    // A link is removed itself, not what it leads to.
    folder.remove(&path("leak")).unwrap();
    folder.remove(&path("out")).unwrap();
}

#[test]
fn nothing_outside_was_touched() {
    let (world, folder) = world();
    for name in ["out/secret", "leak", "absolute/secret", "folder/dangling", "out/made"] {
        for mode in [Mode::Write, Mode::Append, Mode::WriteNew] {
            assert!(folder.open_file(&path(name), mode).is_err());
        }
    }
    assert_eq!(std::fs::read_to_string(world.path().join("outside/secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(world.path().join("outside")).unwrap().count(), 1);
}

/// For kernels that do not know `openat2`: no link at all is followed.
#[test]
fn by_parts_follows_no_links() {
    let (_world, folder) = world();
    let open = |name: &str, flags| by_parts(&folder.folder, Path::new(name), flags, Bits::empty());
    for flags in [OFlags::RDONLY, OFlags::PATH] {
        assert!(
            open("folder/file", flags).is_ok()
                && open("folder/deep", flags).is_ok()
                && open(".", flags).is_ok()
        );
        for name in
            ["out/secret", "leak", "absolute/secret", "out", "link", "link/file", "circle", "folder/dangling"]
        {
            assert!(matches!(open(name, flags), Err(Errno::LOOP | Errno::NOTDIR)), "{name}");
        }
        assert!(matches!(open("none", flags), Err(Errno::NOENT)));
    }
}

/// Somebody swaps a folder for a link that leads out while paths through it are opened.
#[test]
fn no_race_leads_out() {
    let (world, folder) = world();
    let volume = world.path().join("volume");
    std::fs::create_dir(volume.join("real")).unwrap();
    std::fs::write(volume.join("real/secret"), "inside").unwrap();
    std::fs::rename(volume.join("real"), volume.join("swap")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [("swap", "real"), ("out", "swap"), ("swap", "out"), ("real", "swap")] {
                    std::fs::rename(volume.join(from), volume.join(to)).unwrap();
                }
            }
        });
        for _ in 0..5_000 {
            if let Ok(mut file) = folder.open_file(&path("swap/secret"), Mode::Read) {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, "inside");
            }
            let _ = folder.remove(&path("swap/none"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_to_string(world.path().join("outside/secret")).unwrap(), "secret");
}

#[test]
fn a_fifo_is_refused_at_once() {
    let (world, folder) = world();
    let fifo = world.path().join("volume/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Bits::from_raw_mode(0o600), 0).unwrap();
    for mode in [Mode::Read, Mode::Write, Mode::Append] {
        assert!(matches!(folder.open_file(&path("fifo"), mode), Err(Errno::NODEV | Errno::NXIO)));
    }
}

#[test]
fn modes_restrict_and_are_given_on() {
    let world = crate::support::temporary_folder();
    let made = world.path().join("a/b");
    assert!(Folder::open(&made, 0o750, false).is_err());
    let folder = Folder::open(&made, 0o640, true).unwrap();
    folder.make_folder(&path("c")).unwrap();
    folder.open_file(&path("f"), Mode::Write).unwrap();
    // Search rights follow those to read; a umask can only take away.
    let bits = |name: &str| std::fs::metadata(made.join(name)).unwrap().mode() & 0o777;
    assert_eq!(bits("."), bits("c"));
    assert_eq!(bits("c") & !0o750, 0);
    assert_eq!(bits("c") & 0o500, 0o500);
    assert_eq!(bits("f") & !0o640, 0);
    let read_only = Folder::open(&made, 0o555, false).unwrap();
    assert!(read_only.open_file(&path("f"), Mode::Read).is_ok());
    for mode in [Mode::Write, Mode::Append, Mode::WriteNew] {
        assert!(matches!(read_only.open_file(&path("g"), mode), Err(Errno::ACCESS)));
    }
    assert_eq!(read_only.make_folder(&path("d")), Err(Errno::ACCESS));
    assert_eq!(read_only.remove(&path("f")), Err(Errno::ACCESS));
    let write_only = Folder::open(&made, 0o333, false).unwrap();
    assert!(write_only.open_file(&path("g"), Mode::Write).is_ok());
    assert!(matches!(write_only.open_file(&path("g"), Mode::Read), Err(Errno::ACCESS)));
    assert_eq!(write_only.stat(&path("g")), Err(Errno::ACCESS));
    assert_eq!(write_only.list(&path("/")), Err(Errno::ACCESS));
}
