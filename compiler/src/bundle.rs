//! Writes a bundle so that whoever reads it sees the old one whole or the new one whole.
//!
//! Files are only ever added, under names that say their content: written under a temporary name, made
//! read-only, synced, renamed. The manifest is written under a temporary name as well: that is the staged
//! bundle, which is checked before its manifest is renamed into place. What no manifest names is removed
//! afterwards, and only if no loader holds the bundle's lock: a lazy loader never loses a file of its own
//! manifest. Two builds into one folder run one after the other.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use registry_schema::Digest;
use registry_schema::envelope::{to_bytes, to_signed_bytes};
use registry_schema::manifest::{
    ARTIFACTS_DIR, AUTHORED_DIR, Body, COMPONENTS_DIR, EMBEDDED_DIR, LUA_DIR, MANIFEST_FILE,
};
use registry_schema::{EntryId, Target};
use rustix::fs::{FlockOperation, OFlags};

use crate::sign::SignKey;

/// Held by a build from start to end.
const BUILD_LOCK: &str = ".build";
/// Held shared by loaders for life.
const LOADER_LOCK: &str = ".lock";
/// Start of the names of files that are not finished.
const TEMPORARY: &str = ".tmp-";

/// A file to be put into a bundle.
#[derive(Debug)]
pub struct NewFile<'a> {
    /// Path inside the bundle, with `/`.
    pub path: String,
    /// Its content.
    pub bytes: &'a [u8],
}

/// An output folder that is locked for this build.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    _build: File,
}

impl Output {
    /// Creates `folder` if it does not exist, and waits for another build into it to end.
    ///
    /// # Errors
    /// When the folder can't be created or locked.
    pub fn lock(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("can't create `{}`", folder.display()))?;
        check_is_bundle(folder)?;
        let build = open_lock(folder, BUILD_LOCK)?;
        rustix::fs::flock(&build, FlockOperation::LockExclusive)
            .with_context(|| format!("can't lock `{}`", folder.join(BUILD_LOCK).display()))?;
        Ok(Self { folder: folder.to_path_buf(), _build: build })
    }

    /// Writes `files`, and the manifest of `body` under a temporary name, signed with `key` if there is one.
    /// The bundle that is in place stays as it is. Files that are there already with the same content are
    /// left alone.
    ///
    /// # Errors
    /// When anything can't be written; what was written is removed then.
    pub fn stage<'a>(
        &'a self,
        files: &[NewFile<'_>],
        body: &'a Body,
        key: Option<&SignKey>,
    ) -> anyhow::Result<Staged<'a>> {
        let manifest = match key {
            Some(key) => to_signed_bytes(body, |message| key.sign(message)),
            None => to_bytes(body),
        };
        let manifest = manifest.context("the manifest")?;
        let name = format!("{TEMPORARY}{}", std::process::id());
        let mut staged =
            Staged { output: self, body, manifest, name, renamed: 0, added: Vec::new(), in_place: false };
        let mut renames = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let path = self.folder.join(&file.path);
            if is_same(&path, file.bytes) {
                continue;
            }
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder).with_context(|| format!("can't create `{}`", folder.display()))?;
            let temporary = folder.join(format!("{TEMPORARY}{}-{index}", std::process::id()));
            staged.added.push(temporary.clone());
            write_new(&temporary, file.bytes)?;
            renames.push((temporary, path));
        }
        if !renames.is_empty() {
            // One sync for all files instead of one for each.
            self.sync()?;
        }
        for (temporary, path) in &renames {
            // What is written over was damaged, and may be the old bundle's: it is mended and stays.
            let is_new = fs::symlink_metadata(path).is_err();
            fs::rename(temporary, path).with_context(|| format!("can't write `{}`", path.display()))?;
            if is_new {
                staged.added.push(path.clone());
            }
        }
        staged.renamed = renames.len();
        write_new(&staged.path(), &staged.manifest)?;
        Ok(staged)
    }

    fn sync(&self) -> anyhow::Result<()> {
        let folder = File::open(&self.folder)?;
        rustix::fs::syncfs(&folder).context("can't sync the bundle's file system")
    }

    /// Removes files that `body` does not name, if no loader is open.
    fn remove_unnamed(&self, body: &Body) -> anyhow::Result<()> {
        let lock = open_lock(&self.folder, LOADER_LOCK)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let mut named: BTreeSet<PathBuf> =
            body.artifacts.iter().map(|artifact| self.folder.join(artifact.path())).collect();
        named.extend(body.head.files.keys().map(|path| self.folder.join(path)));
        for folder in [ARTIFACTS_DIR, COMPONENTS_DIR, AUTHORED_DIR, LUA_DIR, EMBEDDED_DIR] {
            let entries = walkdir::WalkDir::new(self.folder.join(folder)).contents_first(true);
            for entry in entries.into_iter().filter_map(Result::ok) {
                let relative = entry.path().strip_prefix(&self.folder).unwrap_or(entry.path());
                if entry.file_type().is_dir() {
                    // Fails for folders that still hold something, as it should.
                    let _ = fs::remove_dir(entry.path());
                } else if is_ours(relative) && !named.contains(entry.path()) {
                    fs::remove_file(entry.path())
                        .with_context(|| format!("can't remove `{}`", entry.path().display()))?;
                }
            }
        }
        for entry in fs::read_dir(&self.folder)?.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // Left by a build that was killed.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

/// A bundle that was written beside the one in place, and is not in its place yet. Dropped, it is removed.
#[derive(Debug)]
pub struct Staged<'a> {
    output: &'a Output,
    body: &'a Body,
    manifest: Vec<u8>,
    /// Of the manifest for now.
    name: String,
    /// How many files were written.
    renamed: usize,
    /// Files that were not there before, and those under temporary names.
    added: Vec<PathBuf>,
    in_place: bool,
}

impl Staged<'_> {
    /// Name of the file that becomes the manifest.
    pub fn manifest_name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        self.output.folder.join(&self.name)
    }

    /// Puts the bundle into the place of the one that was there, and removes what it does not name if no
    /// loader is open.
    ///
    /// # Errors
    /// When the manifest can't be renamed, in which case the old bundle is whole, or when what is left of
    /// it can't be removed.
    pub fn put_in_place(mut self) -> anyhow::Result<()> {
        let path = self.output.folder.join(MANIFEST_FILE);
        let unchanged = self.renamed == 0 && fs::read(&path).is_ok_and(|old| old == self.manifest);
        if !unchanged {
            self.output.sync()?;
            fs::rename(self.path(), &path).with_context(|| format!("can't write `{}`", path.display()))?;
        }
        self.in_place = true;
        if !unchanged {
            File::open(&self.output.folder)
                .and_then(|folder| folder.sync_all())
                .context("can't sync the bundle's folder")?;
        }
        self.output.remove_unnamed(self.body)
    }
}

impl Drop for Staged<'_> {
    /// Removes as much as can be removed; the next build removes the rest.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
        if self.in_place {
            return;
        }
        for path in self.added.iter().rev() {
            let _ = fs::remove_file(path);
            let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.output.folder);
            for folder in folders {
                // Fails for folders that still hold something, as it should.
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
    }
}

/// Whether a build may have written the file at `path` inside a bundle: what has another name is somebody
/// else's and stays.
fn is_ours(path: &Path) -> bool {
    let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
    let is_digest = |text: &str| text.parse::<Digest>().is_ok();
    let named = |file: &str, ending: &str| file.strip_suffix(ending).is_some_and(is_digest);
    match parts.as_deref() {
        Some([.., file]) if file.starts_with(TEMPORARY) => true,
        Some([ARTIFACTS_DIR, target, file]) => target.parse::<Target>().is_ok() && named(file, ".cwasm"),
        Some([COMPONENTS_DIR | AUTHORED_DIR, file]) => named(file, ".json"),
        Some([LUA_DIR, file]) => named(file, ".lua"),
        Some([EMBEDDED_DIR, entry, digest, _, ..]) => entry.parse::<EntryId>().is_ok() && is_digest(digest),
        _ => false,
    }
}

/// Refuses a folder that holds something and no bundle.
fn check_is_bundle(folder: &Path) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(folder).with_context(|| format!("can't read `{}`", folder.display()))?;
    if folder.join(BUILD_LOCK).is_file() || entries.next().is_none() {
        return Ok(());
    }
    let manifest = fs::read_to_string(folder.join(MANIFEST_FILE));
    if manifest.is_ok_and(|text| registry_schema::version::manifest_format(&text).is_ok()) {
        return Ok(());
    }
    anyhow::bail!("`{}` is not empty and holds no bundle; name another folder with `--out`", folder.display())
}

fn open_lock(folder: &Path, name: &str) -> anyhow::Result<File> {
    let path = folder.join(name);
    // Not blocking: a FIFO in its place must not hang the build.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let open = File::options().create(true).truncate(false).write(true).custom_flags(flags).open(&path);
    open.with_context(|| format!("can't open `{}`", path.display()))
}

fn is_same(path: &Path, bytes: &[u8]) -> bool {
    let same_size = fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == bytes.len() as u64);
    same_size && fs::read(path).is_ok_and(|old| Digest::of(&old) == Digest::of(bytes))
}

fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        // A killed build may have had the same process id.
        let _ = fs::remove_file(path);
        let mut file = File::options().create_new(true).write(true).open(path)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(0o444))
    };
    write().with_context(|| format!("can't write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_build_gives_are_ours() {
        let digest = Digest::of(b"");
        for ours in [
            format!("artifacts/x86_64-unknown-linux-gnu:v2/{digest}.cwasm"),
            format!("components/{digest}.json"),
            format!("authored/{digest}.json"),
            format!("lua/{digest}.lua"),
            format!("fs/app:assets/{digest}/css/site.css"),
            "artifacts/x86_64-unknown-linux-gnu:v2/.tmp-7-0".to_owned(),
        ] {
            assert!(is_ours(Path::new(&ours)), "{ours}");
        }
        for other in [
            "components/app.js",
            "lua/main.lua",
            "artifacts/rel.zip",
            "fs/data/db",
            "fs/a:b/x/y",
            "components/ui/a.json",
            "authored/notes.json",
        ] {
            assert!(!is_ours(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest.json"), "{}").unwrap();
        let error = Output::lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty and holds no bundle"), "{error}");
        assert!(!folder.path().join(BUILD_LOCK).exists());
        fs::remove_file(folder.path().join("manifest.json")).unwrap();
        Output::lock(folder.path()).unwrap();
        Output::lock(folder.path()).unwrap();
    }
}
