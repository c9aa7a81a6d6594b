//! Opening a bundle: manifest first and alone, every other file when it is first used.
//!
//! Opening costs in proportion to the manifest: format, digest, compiler version, engine fingerprints,
//! target. Files are opened relative to the bundle's folder and never through links.

mod fit;

#[cfg(feature = "lua")]
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
#[cfg(feature = "lua")]
use std::sync::OnceLock;

use registry_schema::envelope::{Envelope, ManifestError};
use registry_schema::manifest::{
    Artifact, COMPONENTS_DIR, Component, Entry, MANIFEST_BYTES_MAX, MANIFEST_FILE, lua_path,
};
use registry_schema::manifest_file::Manifest;
use registry_schema::{Digest, Profile, Target};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::config::Options;
use crate::error::OpenError;
use crate::folder::{LOCK_FILE, lock_shared, open_inside};
use crate::header;
use crate::machine::{Machine, PassedOver};
use crate::mapping::{self, ArtifactError, Expected};
use crate::trust::{self, Denied};

/// The fields of entries by id.
#[cfg(feature = "lua")]
pub(crate) type Authored = BTreeMap<String, serde_json::Value>;

/// An opened bundle.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    folder: OwnedFd,
    manifest: Manifest,
    target: Option<Target>,
    denied: Denied,
    /// Read when code first asks for it, and kept.
    #[cfg(feature = "lua")]
    authored: OnceLock<Authored>,
    /// Held for life; `None` where the bundle lies on a file system that nobody can write.
    _lock: Option<OwnedFd>,
}

impl Bundle {
    /// Opens the bundle in `path` and checks its manifest.
    ///
    /// # Errors
    /// When the manifest can't be read, was changed, or was made for another loader or machine: then
    /// every difference is listed, not the first.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, &Options::default())
    }

    /// Opens the bundle in `path` as `options` say.
    ///
    /// # Errors
    /// Those of [`Bundle::open`], and when the bundle is not what [`Options::trust`] demands.
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, OpenError> {
        Self::open_manifest(path.as_ref(), MANIFEST_FILE, options)
    }

    /// Opens the bundle in `path` whose manifest is the file `manifest`.
    pub(crate) fn open_manifest(path: &Path, manifest: &str, options: &Options) -> Result<Self, OpenError> {
        let demanded = &options.trust;
        let mut bundle = Self::read_if(path, manifest, |envelope| demanded.check_signature(envelope))?;
        let manifest = &bundle.manifest;
        demanded.check_compiler(manifest)?;
        bundle.target =
            fit::target(manifest.head(), manifest.artifact_count(), options.target, &Machine::own())?;
        let components = if demanded.denied.needs_origins() {
            bundle.components().map_err(OpenError::Malformed)?
        } else {
            Vec::new()
        };
        bundle.denied =
            demanded.denied.apply(&bundle.manifest, bundle.target, &components).map_err(refused)?;
        Ok(bundle)
    }

    /// Opens the bundle in `path` to look at it: it may be for another machine, by another compiler, and
    /// signed by anybody.
    ///
    /// # Errors
    /// When the manifest can't be read or was changed.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::read_staged(path, MANIFEST_FILE)
    }

    /// Like [`Bundle::read`], for a bundle that a build has not put in place yet: `manifest` is the file in
    /// `path` that becomes its manifest.
    ///
    /// # Errors
    /// Those of [`Bundle::read`].
    pub fn read_staged(path: impl AsRef<Path>, manifest: &str) -> Result<Self, OpenError> {
        Self::read_if(path.as_ref(), manifest, |_| Ok(()))
    }

    /// Reads the file `manifest`; its body only if `accept` lets it pass.
    fn read_if(
        path: &Path,
        manifest: &str,
        accept: impl FnOnce(&Envelope) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let path = path.to_path_buf();
        let io = |file: &Path| {
            let file = file.to_path_buf();
            move |errno: Errno| OpenError::Io { path: file, source: errno.into() }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty()).map_err(io(&path))?;
        let lock = lock_shared(&folder).map_err(io(&path.join(LOCK_FILE)))?;
        let manifest_path = path.join(manifest);
        let file = open_inside(&folder, manifest).map_err(io(&manifest_path))?;
        let envelope = Envelope::read(read_manifest(file, &manifest_path)?).map_err(refused)?;
        accept(&envelope)?;
        let manifest = Manifest::open(envelope).map_err(refused)?;
        Ok(Self {
            path,
            folder,
            manifest,
            target: None,
            denied: Denied::default(),
            #[cfg(feature = "lua")]
            authored: OnceLock::new(),
            _lock: lock,
        })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The target whose artifacts are used: the best of the bundle's that this machine runs. `None` for a
    /// bundle that no call is made of: one without artifacts, which fits every machine, or one that was
    /// opened by [`Bundle::read`].
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// The other targets of the bundle, and why this machine does not use them.
    pub fn passed_over(&self) -> Vec<(Target, PassedOver)> {
        Machine::own().passed_over(&self.manifest.head().targets)
    }

    /// Where the bundle is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The artifact of `component` in `profile` for this machine.
    pub(crate) fn artifact(&self, component: Digest, profile: Profile) -> Result<Artifact, String> {
        let missing = || format!("the bundle has no artifact of component {component} for this machine");
        let target = self.target.ok_or_else(missing)?;
        let found = self.manifest.artifact(component, profile, target).map_err(|error| error.to_string())?;
        let artifact = found.ok_or_else(missing)?;
        let head = self.manifest.head();
        let engine = head.engines.get(&profile).map(|engine| engine.fingerprint.as_str());
        if artifact.compiler != head.compiler || Some(artifact.engine.as_str()) != engine {
            return Err(format!(
                "`{}` is by compiler {} for engine {}, the bundle is by {} for {}",
                artifact.path(),
                artifact.compiler,
                artifact.engine,
                head.compiler,
                engine.unwrap_or("none")
            ));
        }
        Ok(artifact)
    }

    /// Why what `entry` runs must not be used, if the deny list has it.
    pub(crate) fn denied(&self, entry: &Entry) -> Option<String> {
        let component = entry.wasm.as_ref().and_then(|wasm| self.denied.component(wasm.component));
        let source = entry.lua.as_ref().and_then(|lua| self.denied.file(&lua_path(lua.source)));
        component.or(source).map(trust::denied)
    }

    /// What is known of the components: where they came from, what they import and export.
    ///
    /// # Errors
    /// When the file is missing, damaged or malformed; the message says which.
    pub fn components(&self) -> Result<Vec<Component>, String> {
        Ok(self.read_one_of(COMPONENTS_DIR)?.unwrap_or_default())
    }

    /// The fields of WebAssembly entries as their author wrote them, by id; none in a bundle of an earlier
    /// compiler.
    ///
    /// # Errors
    /// When the file is missing, damaged or malformed; the message says which.
    #[cfg(feature = "lua")]
    pub(crate) fn authored(&self) -> Result<&Authored, String> {
        if let Some(authored) = self.authored.get() {
            return Ok(authored);
        }
        let read = self.read_one_of(registry_schema::manifest::AUTHORED_DIR)?;
        Ok(self.authored.get_or_init(|| read.unwrap_or_default()))
    }

    /// What the one file below `folder` says, if there is one.
    fn read_one_of<T: DeserializeOwned>(&self, folder: &str) -> Result<Option<T>, String> {
        let mut files = self.manifest.head().files.iter();
        let below = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let Some((path, record)) = files.find(|(path, _)| below(path)) else { return Ok(None) };
        let expected = Expected { digest: record.digest, size: record.size };
        let bytes = self.read_file(path, expected).map_err(|error| format!("`{path}`: {error}"))?;
        let text = str::from_utf8(&bytes).map_err(|error| format!("`{path}`: {error}"))?;
        serde_json::from_str(text).map(Some).map_err(|error| format!("`{path}`: {error}"))
    }

    /// The text of a Lua source, without its types.
    ///
    /// # Errors
    /// When the file is missing or damaged; the message says which.
    #[cfg(feature = "lua")]
    pub(crate) fn lua_source(&self, source: Digest) -> Result<Vec<u8>, String> {
        let path = lua_path(source);
        let record = self.manifest.head().files.get(&path);
        let record = record.ok_or_else(|| format!("the bundle has no `{path}`"))?;
        let expected = Expected { digest: record.digest, size: record.size };
        self.read_file(&path, expected).map_err(|error| format!("`{path}`: {error}"))
    }

    /// Opens a file of the bundle read-only, without following links.
    pub(crate) fn open_file(&self, relative: &str) -> Result<OwnedFd, ArtifactError> {
        if let Some(reason) = self.denied.file(relative) {
            return Err(ArtifactError::Denied(reason.to_owned()));
        }
        open_inside(&self.folder, relative).map_err(ArtifactError::from)
    }

    /// Checks digest and size of every file, and the header of every artifact, whatever its target; returns
    /// those that are damaged.
    ///
    /// # Errors
    /// When a record of the manifest is malformed.
    pub fn damaged_files(&self) -> Result<Vec<(String, ArtifactError)>, ManifestError> {
        let mut damaged = Vec::new();
        for artifact in self.manifest.artifacts() {
            let artifact = artifact?;
            let expected = Expected { digest: artifact.digest, size: artifact.size };
            let checked = self
                .read_file(&artifact.path(), expected)
                .and_then(|bytes| header::check(&bytes, &artifact).map_err(ArtifactError::Header));
            damaged.extend(checked.err().map(|error| (artifact.path(), error)));
        }
        for (path, file) in &self.manifest.head().files {
            let expected = Expected { digest: file.digest, size: file.size };
            damaged.extend(self.read_file(path, expected).err().map(|error| (path.clone(), error)));
        }
        Ok(damaged)
    }

    fn read_file(&self, relative: &str, expected: Expected) -> Result<Vec<u8>, ArtifactError> {
        mapping::read_checked(self.open_file(relative)?, expected)
    }
}

fn read_manifest(file: OwnedFd, path: &Path) -> Result<Vec<u8>, OpenError> {
    let io = |source| OpenError::Io { path: path.to_path_buf(), source };
    let file = File::from(file);
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(io(std::io::Error::other("not a regular file")));
    }
    if metadata.len() > MANIFEST_BYTES_MAX {
        return Err(OpenError::TooLarge { bytes: metadata.len() });
    }
    // One more than it has, so that the end is seen without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
    file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn refused(error: ManifestError) -> OpenError {
    match error {
        ManifestError::Malformed(problem) => OpenError::Malformed(problem),
        ManifestError::Format(found) => OpenError::Format { found },
        ManifestError::Digest { expected, found } => OpenError::Digest { expected, found },
    }
}
