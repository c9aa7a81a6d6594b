//! A folder of results by key: native code, and what was found out about sources.
//!
//! A file is the digest of its content, a line end, and the content: an entry that was damaged is
//! noticed, dropped and made again. Files appear by rename, so that builds at the same time do not
//! disturb each other; whichever is last wins with the same bytes. A build removes the files that were
//! not used for longest until the folder is within its bound.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use registry_schema::Digest;

/// Bound of the folder, in bytes.
pub const CACHE_BYTES_MAX: u64 = 2 << 30;

/// An opened cache.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the cache in `folder`, which is created if it does not exist.
    ///
    /// # Errors
    /// When the folder can't be created.
    pub fn open(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
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

    /// The content under `key`, if it is there and whole.
    pub fn get(&self, key: Digest) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut bytes = fs::read(&path).ok()?;
        // A damaged one is made again and replaced by the caller.
        bytes.get(..64).and_then(|head| std::str::from_utf8(head).ok()).and_then(|head| {
            let digest: Digest = head.parse().ok()?;
            let content = bytes.get(65..)?;
            (bytes.get(64) == Some(&b'\n') && Digest::of(content) == digest).then_some(())
        })?;
        // Marks it as used; failing to is only a worse guess at what to remove.
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        bytes.drain(..65);
        Some(bytes)
    }

    /// Keeps `content` under `key`. A cache that can't be written is only slower: the error is dropped.
    pub fn put(&self, key: Digest, content: &[u8]) {
        let _ = self.try_put(key, content);
    }

    fn try_put(&self, key: Digest, content: &[u8]) -> std::io::Result<()> {
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
        for damage in [&b""[..], b"content", b"0000\ncontent"] {
            fs::write(cache.path(key), damage).unwrap();
            assert_eq!(cache.get(key), None, "{damage:?}");
        }
        let mut bytes = format!("{}\n", Digest::of(b"content")).into_bytes();
        bytes.extend_from_slice(b"contenT");
        fs::write(cache.path(key), bytes).unwrap();
        assert_eq!(cache.get(key), None);
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
