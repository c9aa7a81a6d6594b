//! A folder of results by key: native code, and what was found out about sources.
//!
//! A file is the digest of its content, a line end, and the content: an entry that was damaged is
//! noticed, reported, and written again. Files appear by rename, so that builds at the same time do not
//! disturb each other; whichever is last wins with the same bytes. A build removes the files that were
//! not used for longest until the folder is within its bound.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use registry_schema::Digest;

use crate::diagnostic::{Code, Diagnostic};
use crate::fault::listed;

/// Bound of the folder, in bytes.
pub const CACHE_BYTES_MAX: u64 = 2 << 30;

/// What a build does with the results of earlier ones.
#[derive(Debug, Clone)]
pub enum Caching {
    /// It looks nothing up and keeps nothing.
    Off,
    /// It uses the cache.
    On(Cache),
    /// As off, with a warning that says why.
    Unusable(String),
}

impl Caching {
    /// The cache in its default folder; off where there is none.
    pub fn in_default_folder() -> Self {
        match Cache::default_folder() {
            None => Self::Off,
            Some(folder) => match Cache::open(&folder) {
                Ok(cache) => Self::On(cache),
                Err(error) => Self::Unusable(format!("`{}`: {error}", folder.display())),
            },
        }
    }

    /// The cache, if it is on.
    pub fn cache(&self) -> Option<&Cache> {
        match self {
            Self::On(cache) => Some(cache),
            Self::Off | Self::Unusable(_) => None,
        }
    }

    /// Warnings about what could not be used; of a cache that is on, each once.
    pub(crate) fn take_warnings(&self) -> Vec<Diagnostic> {
        match self {
            Self::Off => Vec::new(),
            Self::On(cache) => cache.take_warnings(),
            Self::Unusable(why) => {
                let warning = Diagnostic::new(Code::CacheUnusable, format!("the cache can't be used: {why}"));
                vec![warning.help("name a folder with `--cache-dir`, or none with `--no-cache`")]
            }
        }
    }
}

/// An opened cache. Clones share what was noticed of it.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    noticed: Arc<Mutex<Noticed>>,
}

/// What is wrong with a cache.
#[derive(Debug, Default)]
struct Noticed {
    /// Paths of damaged entries inside the folder.
    damaged: BTreeSet<String>,
    /// Why one could not be written, as far as one could not.
    unwritable: Option<String>,
}

impl Cache {
    /// Opens the cache in `folder`, which is created if it does not exist.
    ///
    /// # Errors
    /// When the folder can't be created or written to.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        tempfile::NamedTempFile::new_in(&folder)?;
        Ok(Self { folder, noticed: Arc::default() })
    }

    /// The folder that is used when none is named: `$XDG_CACHE_HOME/wippy-aot`, else
    /// `~/.cache/wippy-aot`. `None` without a home.
    pub fn default_folder() -> Option<PathBuf> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
        Some(base.join("wippy-aot"))
    }

    fn path(&self, key: Digest) -> PathBuf {
        let name = key.to_string();
        self.folder.join(&name[..2]).join(&name[2..])
    }

    fn noticed(&self) -> MutexGuard<'_, Noticed> {
        // A set and a text: a panic elsewhere leaves them usable.
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Warnings about what was noticed since it was last asked for.
    fn take_warnings(&self) -> Vec<Diagnostic> {
        let Noticed { damaged, unwritable } = std::mem::take(&mut *self.noticed());
        let folder = self.folder.display();
        let damaged = (!damaged.is_empty()).then(|| {
            let message = format!("the cache `{folder}` has damaged entries: {}", listed(&damaged));
            Diagnostic::new(Code::CacheUnusable, message)
                .help("what they held was made again; if more are found, look at the disk")
        });
        let unwritable = unwritable.map(|error| {
            Diagnostic::new(Code::CacheUnusable, format!("the cache `{folder}` can't be written: {error}"))
                .help("the next build has to make again what was made now; make room or mend its permissions")
        });
        damaged.into_iter().chain(unwritable).collect()
    }

    /// The content under `key`, if it is there and whole.
    pub fn get(&self, key: Digest) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => {
                self.reject(key);
                return None;
            }
        };
        let is_whole = bytes.get(..64).and_then(|head| std::str::from_utf8(head).ok()).is_some_and(|head| {
            let (digest, content) = (head.parse::<Digest>().ok(), bytes.get(65..));
            bytes.get(64) == Some(&b'\n')
                && content.is_some_and(|content| digest == Some(Digest::of(content)))
        });
        if !is_whole {
            self.reject(key);
            return None;
        }
        // Marks it as used; failing to is only a worse guess at what to remove.
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        bytes.drain(..65);
        Some(bytes)
    }

    /// Notes that what is under `key` is of no use: whoever asked for it makes it again and puts it there.
    pub fn reject(&self, key: Digest) {
        let path = self.path(key);
        let shown = path.strip_prefix(&self.folder).unwrap_or(&path).display().to_string();
        self.noticed().damaged.insert(shown);
    }

    /// Keeps `content` under `key`. A cache that can't be written is only slower: the error is a warning.
    pub fn put(&self, key: Digest, content: &[u8]) {
        if let Err(error) = self.try_put(key, content) {
            self.noticed().unwritable.get_or_insert(error.to_string());
        }
    }

    fn try_put(&self, key: Digest, content: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{}", Digest::of(content))?;
        file.write_all(content)?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes what was not used for longest until the folder holds at most `bytes_max`.
    pub fn trim(&self, bytes_max: u64) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = list(&self.folder);
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        if total <= bytes_max {
            return;
        }
        files.sort();
        for (_, size, path) in files {
            if total <= bytes_max {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= size;
            }
        }
    }
}

impl crate::plan::Memo for Cache {
    fn get(&self, key: Digest) -> Option<Vec<u8>> {
        Self::get(self, key)
    }

    fn reject(&self, key: Digest) {
        Self::reject(self, key);
    }

    fn put(&self, key: Digest, value: &[u8]) {
        Self::put(self, key, value);
    }
}

fn list(folder: &Path) -> Vec<(SystemTime, u64, PathBuf)> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.into_path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_got_until_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        assert_eq!(cache.get(key), None);
        cache.put(key, b"content");
        assert_eq!(cache.get(key).unwrap(), b"content");
        assert_eq!(cache.take_warnings(), []);
        for damage in [&b""[..], b"content", b"0000\ncontent"] {
            fs::write(cache.path(key), damage).unwrap();
            assert_eq!(cache.get(key), None, "{damage:?}");
            let warnings = cache.take_warnings();
            let name = key.to_string();
            let expected = format!("damaged entries: `{}/{}`", &name[..2], &name[2..]);
            assert!(warnings.len() == 1 && warnings[0].message.ends_with(&expected), "{warnings:?}");
        }
        assert_eq!(cache.take_warnings(), []);
        let mut bytes = format!("{}\n", Digest::of(b"content")).into_bytes();
        bytes.extend_from_slice(b"contenT");
        fs::write(cache.path(key), bytes).unwrap();
        assert_eq!(cache.get(key), None);
    }

    #[test]
    fn what_can_not_be_kept_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        // A file stands where the folders of these keys would be.
        let keys: Vec<Digest> = (0..2u8).map(|n| Digest::of(&[n])).collect();
        for key in &keys {
            fs::write(cache.path(*key).parent().unwrap(), "").unwrap();
            cache.put(*key, b"content");
        }
        let warnings = cache.take_warnings();
        let start = format!("the cache `{}` can't be written: ", folder.path().display());
        assert!(warnings.len() == 1 && warnings[0].message.starts_with(&start), "{warnings:?}");
        assert!(Cache::open(cache.path(keys[0]).parent().unwrap()).is_err());
    }

    #[test]
    fn trim_removes_the_least_recently_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let keys: Vec<Digest> = (0..4u8).map(|n| Digest::of(&[n])).collect();
        for (age, key) in keys.iter().enumerate() {
            cache.put(*key, &[0; 35]);
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64);
            fs::File::open(cache.path(*key)).unwrap().set_modified(time).unwrap();
        }
        cache.trim(200);
        let kept: Vec<bool> = keys.iter().map(|key| cache.path(*key).exists()).collect();
        assert_eq!(kept, [false, false, true, true]);
    }
}
