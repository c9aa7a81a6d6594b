//! Artifacts in memory: the only unsafe code of this crate.
//!
//! Order for each artifact: open read-only without following links, check type and size, map, hash
//! through the mapping, close, hand to wasmtime. One private read-and-execute mapping per artifact is
//! given to `Component::deserialize_raw`, so nothing is copied, no descriptor stays open, and no page
//! is ever writable and executable.
//!
//! # Safety argument
//! Native code is only as safe as the file that it comes from. What is deserialized here has the
//! digest that the manifest names, and the manifest names what our own compiler wrote (its own digest,
//! compiler version and engine fingerprint were checked before). A mapping must not change while it
//! lives: it is private, lives as long as the process, and is made in place only from a file that
//! nobody but root or this user may write, or that lies on a read-only file system; else from a sealed
//! memory file. The owner of a file mapped in place can still write into it: `Sealing::Always` is for
//! those who do not trust that (SECURITY.md).
#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use registry_schema::Digest;
use rustix::fs::{FileType, MemfdFlags, SealFlags, StatVfsMountFlags};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use wasmtime::component::Component;
use wasmtime::{CustomCodeMemory, Engine};

/// Whether artifacts may be mapped from their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sealing {
    /// In place where only root or this user can write the file, or nobody can; sealed otherwise.
    #[default]
    WhereNeeded,
    /// Always from a sealed copy in memory.
    Always,
}

/// Why an artifact can't be used.
#[derive(Debug)]
pub enum ArtifactError {
    /// It could not be read or mapped.
    Io(std::io::Error),
    /// It is no regular file.
    NotAFile,
    /// It has another size than the manifest says.
    Size {
        /// By the manifest, in bytes.
        expected: u64,
        /// Of the file, in bytes.
        found: u64,
    },
    /// It has another digest than the manifest says.
    Digest {
        /// By the manifest.
        expected: Digest,
        /// Of the file.
        found: Digest,
    },
    /// The deny list has it, with this reason.
    Denied(String),
    /// Its header is not that of the artifact in the manifest.
    Header(String),
    /// The engine refused it.
    Engine(wasmtime::Error),
}

impl std::fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Size { expected, found } => {
                write!(f, "the manifest says {expected} bytes, the file has {found}")
            }
            Self::Digest { expected, found } => {
                write!(f, "the manifest says blake3:{expected}, the file has blake3:{found}")
            }
            Self::Denied(reason) => f.write_str(&crate::trust::denied(reason)),
            Self::Header(problem) => f.write_str(problem),
            Self::Engine(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for ArtifactError {}

impl From<rustix::io::Errno> for ArtifactError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// An executable range that lives as long as the process.
#[derive(Clone, Copy)]
struct Mapping {
    start: usize,
    len: usize,
}

impl Mapping {
    fn bytes(self) -> &'static [u8] {
        // SAFETY: the range was mapped readable by `map_executable`, is never unmapped once it is a
        // `Mapping`, and does not change (see the module's safety argument).
        unsafe { std::slice::from_raw_parts(self.start as *const u8, self.len) }
    }

    fn as_ptr(self) -> NonNull<[u8]> {
        NonNull::from(self.bytes())
    }
}

/// Where mapped code lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// In the bundle's own file, which its owner can still write.
    InPlace,
    /// In a sealed copy.
    Sealed,
}

/// A mapping that a component uses.
#[derive(Clone, Copy)]
struct Lent {
    mapping: Mapping,
    digest: Digest,
    source: Source,
    /// Tells this loan from earlier ones of the same mapping.
    number: u64,
}

/// All mappings of the process.
///
/// wasmtime registers code by its address, so a mapping serves one component at a time. It is lent when
/// it is handed to the engine and comes back when the engine unpublishes its code, which it does after
/// the last user of the component is gone; a loader that is opened later takes it again.
#[derive(Default)]
struct Mappings {
    /// Those that nobody uses.
    free: HashMap<(Digest, Source), Vec<Mapping>>,
    /// Those that are used, by address.
    lent: BTreeMap<usize, Lent>,
    loans: u64,
}

impl Mappings {
    /// A free mapping of `digest` that `sealing` allows, if there is one.
    fn take(&mut self, digest: Digest, sealing: Sealing) -> Option<Lent> {
        let allowed = match sealing {
            Sealing::Always => &[Source::Sealed][..],
            Sealing::WhereNeeded => &[Source::Sealed, Source::InPlace],
        };
        let (mapping, source) = allowed.iter().find_map(|source| {
            let mapping = self.free.get_mut(&(digest, *source))?.pop()?;
            Some((mapping, *source))
        })?;
        Some(self.lend(mapping, digest, source))
    }

    fn lend(&mut self, mapping: Mapping, digest: Digest, source: Source) -> Lent {
        self.loans += 1;
        let lent = Lent { mapping, digest, source, number: self.loans };
        self.lent.insert(mapping.start, lent);
        lent
    }

    /// The loan that the range is part of.
    fn around(&self, start: usize, len: usize) -> Option<Lent> {
        let (_, lent) = self.lent.range(..=start).next_back()?;
        (start + len <= lent.mapping.start + lent.mapping.len).then_some(*lent)
    }

    /// Takes a loan back, unless that was done already.
    fn give_back(&mut self, loan: Lent) {
        let start = loan.mapping.start;
        if self.lent.get(&start).is_some_and(|lent| lent.number == loan.number) {
            self.lent.remove(&start);
            self.free.entry((loan.digest, loan.source)).or_default().push(loan.mapping);
        }
    }
}

fn mappings() -> MutexGuard<'static, Mappings> {
    static ALL: OnceLock<Mutex<Mappings>> = OnceLock::new();
    // What a panic elsewhere can leave behind is a loan that never ends.
    ALL.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Code memory of every engine: ranges inside our mappings are executable already; all others are
/// published as wasmtime does it.
struct CodeMemory;

/// The code memory to configure engines with.
pub(crate) fn code_memory() -> Arc<dyn CustomCodeMemory> {
    Arc::new(CodeMemory)
}

fn protect(start: *const u8, len: usize, flags: MprotectFlags) -> wasmtime::Result<()> {
    // SAFETY: wasmtime asks for this on ranges that it owns alone and that hold no live borrow; the
    // ranges of our own mappings never come here.
    unsafe { rustix::mm::mprotect(start as *mut c_void, len, flags) }
        .map_err(|errno| wasmtime::Error::msg(format!("can't change protection of code: {errno}")))
}

impl CustomCodeMemory for CodeMemory {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, start: *const u8, len: usize) -> wasmtime::Result<()> {
        if mappings().around(start as usize, len).is_some() {
            return Ok(());
        }
        // Code that was written through the data cache must reach the instruction fetch of every core
        // first. Nothing to do on x86-64; artifacts are compiled without branch protection, so plain
        // read-and-execute is what wasmtime would set as well.
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the range was just written by wasmtime and is valid for `len` bytes.
        unsafe {
            wasmtime_internal_jit_icache_coherence::clear_cache(start.cast(), len)?;
        }
        protect(start, len, MprotectFlags::READ | MprotectFlags::EXEC)?;
        #[cfg(not(target_arch = "x86_64"))]
        wasmtime_internal_jit_icache_coherence::pipeline_flush_mt()?;
        Ok(())
    }

    fn unpublish_executable(&self, start: *const u8, len: usize) -> wasmtime::Result<()> {
        let mut all = mappings();
        if let Some(loan) = all.around(start as usize, len) {
            all.give_back(loan);
            return Ok(());
        }
        drop(all);
        protect(start, len, MprotectFlags::READ | MprotectFlags::WRITE)
    }
}

/// How an artifact came into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// Mapped, in place or from a sealed copy.
    Mapped,
    /// Copied, because an executable mapping was refused.
    Copied,
    /// Copied, as bytecode of the interpreter, which needs no executable memory.
    Interpreted,
}

/// What the manifest says of the file that is to be loaded.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Checks the artifact in `file` and makes a component of it.
///
/// The caller has opened `file` read-only inside the bundle, without following links.
pub(crate) fn load(
    engine: &Engine,
    file: OwnedFd,
    expected: Expected,
    sealing: Sealing,
) -> Result<(Component, Loaded), ArtifactError> {
    if engine.is_pulley() {
        check_file(&file, expected.size)?;
        return load_copied(engine, file, expected).map(|component| (component, Loaded::Interpreted));
    }
    // Not in the `if`: the lock would be held while the engine asks for it again.
    let earlier = mappings().take(expected.digest, sealing);
    if let Some(loan) = earlier {
        return deserialize_mapped(engine, loan).map(|component| (component, Loaded::Mapped));
    }
    check_file(&file, expected.size)?;
    let (file, source) = if sealing == Sealing::Always || !may_map_in_place(&file)? {
        (sealed_copy(file, expected.size)?, Source::Sealed)
    } else {
        (file, Source::InPlace)
    };
    match map_executable(&file, expected, source) {
        Ok(loan) => deserialize_mapped(engine, loan).map(|component| (component, Loaded::Mapped)),
        // A file system mounted noexec or a policy; the code then lives in memory of wasmtime's own.
        Err(ArtifactError::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            load_copied(engine, file, expected).map(|component| (component, Loaded::Copied))
        }
        Err(error) => Err(error),
    }
}

/// Checks a file that is not code, and returns its bytes.
pub(crate) fn read_checked(file: OwnedFd, expected: Expected) -> Result<Vec<u8>, ArtifactError> {
    check_file(&file, expected.size)?;
    read_verified(file, expected)
}

fn check_file(file: &OwnedFd, expected: u64) -> Result<(), ArtifactError> {
    let stat = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ArtifactError::NotAFile);
    }
    let found = u64::try_from(stat.st_size).unwrap_or(0);
    if found != expected || found == 0 {
        return Err(ArtifactError::Size { expected, found });
    }
    Ok(())
}

/// Whether nobody but root and this user can write the file.
fn may_map_in_place(file: &OwnedFd) -> Result<bool, ArtifactError> {
    let stat = rustix::fs::fstat(file)?;
    let owned = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
    if owned && stat.st_mode & 0o022 == 0 {
        return Ok(true);
    }
    Ok(rustix::fs::fstatvfs(file)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// A copy in memory that nobody can change any more.
fn sealed_copy(file: OwnedFd, size: u64) -> Result<OwnedFd, ArtifactError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create("artifact", flags)?);
    let copied = std::io::copy(&mut File::from(file).take(size), &mut copy).map_err(ArtifactError::Io)?;
    if copied != size {
        return Err(ArtifactError::Size { expected: size, found: copied });
    }
    copy.flush().map_err(ArtifactError::Io)?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

/// Maps the whole file readable and executable, checks its digest through the mapping and registers it.
fn map_executable(file: &OwnedFd, expected: Expected, source: Source) -> Result<Lent, ArtifactError> {
    let len = usize::try_from(expected.size)
        .map_err(|_| ArtifactError::Io(std::io::Error::from(std::io::ErrorKind::FileTooLarge)))?;
    // SAFETY: a fresh mapping at an address of the kernel's choice, of a file of at least `len` bytes.
    let start = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::EXEC,
            MapFlags::PRIVATE,
            file.as_fd(),
            0,
        )
    }?;
    let mapping = Mapping { start: start as usize, len };
    let found = Digest::of(mapping.bytes());
    if found != expected.digest {
        // SAFETY: mapped above, and the only borrow of it has ended.
        unsafe { rustix::mm::munmap(start, len) }?;
        return Err(ArtifactError::Digest { expected: expected.digest, found });
    }
    Ok(mappings().lend(mapping, expected.digest, source))
}

fn deserialize_mapped(engine: &Engine, loan: Lent) -> Result<Component, ArtifactError> {
    // SAFETY: the bytes are what our compiler wrote (module's safety argument), page-aligned, readable
    // and executable, never modified, and live as long as the process; no other component has them.
    let component = unsafe { Component::deserialize_raw(engine, loan.mapping.as_ptr()) };
    component.map_err(|error| {
        // Code that was never published is not unpublished either.
        mappings().give_back(loan);
        ArtifactError::Engine(error)
    })
}

fn read_verified(file: OwnedFd, expected: Expected) -> Result<Vec<u8>, ArtifactError> {
    let mut file = File::from(file);
    // A sealed copy was written through this descriptor.
    file.rewind().map_err(ArtifactError::Io)?;
    let mut bytes = Vec::new();
    file.take(expected.size + 1).read_to_end(&mut bytes).map_err(ArtifactError::Io)?;
    let found = Digest::of(&bytes);
    if found != expected.digest {
        return Err(ArtifactError::Digest { expected: expected.digest, found });
    }
    Ok(bytes)
}

/// The path for places where a file can't be mapped executable: the same engine, checked bytes.
pub(crate) fn load_copied(
    engine: &Engine,
    file: OwnedFd,
    expected: Expected,
) -> Result<Component, ArtifactError> {
    let bytes = read_verified(file, expected)?;
    // SAFETY: the bytes are what our compiler wrote (module's safety argument); wasmtime copies them.
    unsafe { Component::deserialize(engine, bytes) }.map_err(ArtifactError::Engine)
}

#[cfg(test)]
mod tests {
    use registry_schema::Profile;
    use wasmtime::Store;
    use wasmtime::component::Linker;

    use super::*;
    use crate::bundle::Bundle;
    use crate::config::Ticking;
    use crate::engines::Engines;
    use crate::support::{Registry, distinct};
    use crate::ticker::Ticker;

    async fn answer(engine: &Engine, component: &Component) -> u32 {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        let instance = Linker::new(engine).instantiate_async(&mut store, component).await.unwrap();
        let function = instance.get_typed_func::<(), (u32,)>(&mut store, "answer").unwrap();
        function.call_async(&mut store, ()).await.unwrap().0
    }

    #[tokio::test]
    async fn one_engine_runs_mapped_and_copied_code() {
        let (first, second) = (distinct(), distinct());
        let built = Registry::new().answer("mapped", first).answer("copied", second).build();
        let bundle = Bundle::open(&built).unwrap();
        let engines = Engines::new(bundle.target(), Ticker::new(Ticking::Manual));
        let engine = engines.get(Profile::Sync).unwrap();
        let open = |name| {
            let artifact = built.artifact(name);
            let expected = Expected { digest: artifact.digest, size: artifact.size };
            (bundle.open_file(&artifact.path()).unwrap(), expected)
        };
        let (file, expected) = open("mapped");
        let (mapped, how) = load(engine, file, expected, Sealing::WhereNeeded).unwrap();
        assert_eq!(how, Loaded::Mapped);
        let (file, expected) = open("copied");
        let copied = load_copied(engine, file, expected).unwrap();

        assert_eq!(answer(engine, &mapped).await, first);
        assert_eq!(answer(engine, &copied).await, second);
        // What is freed is only what wasmtime owns.
        drop(copied);
        assert_eq!(answer(engine, &mapped).await, first);
        drop(mapped);
        let (file, expected) = open("mapped");
        let (again, _) = load(engine, file, expected, Sealing::WhereNeeded).unwrap();
        assert_eq!(answer(engine, &again).await, first);
    }

    #[test]
    fn a_sealed_copy_can_not_be_changed() {
        let folder = crate::support::temporary_folder();
        let path = folder.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        let copy = sealed_copy(File::open(&path).unwrap().into(), 7).unwrap();
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        assert_eq!(rustix::fs::fcntl_get_seals(&copy).unwrap(), seals);
        let mut copy = File::from(copy);
        copy.rewind().unwrap();
        assert!(copy.write(b"other").is_err());
        assert!(copy.set_len(1).is_err());
        let error = sealed_copy(File::open(&path).unwrap().into(), 8).unwrap_err();
        assert!(matches!(error, ArtifactError::Size { expected: 8, found: 7 }), "{error}");
    }
}
