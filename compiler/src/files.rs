//! Files that several entries name, each read and hashed once.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};

/// Largest source, in bytes. The largest that toolchains make today (Python, JavaScript) have 20 MB.
pub(crate) const SOURCE_BYTES_MAX: u64 = 256 << 20;

/// Files that were read, so that each is read once.
#[derive(Debug, Default)]
pub(crate) struct Files {
    by_path: Mutex<HashMap<PathBuf, Arc<OnceLock<ReadResult>>>>,
}

/// What reading a file gave.
pub(crate) type ReadResult = Result<Arc<Loaded>, ReadError>;

/// A file and its hash.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Its content.
    pub(crate) bytes: Arc<Vec<u8>>,
    sha256: OnceLock<String>,
}

impl Loaded {
    /// `sha256:` and the hash in lower case.
    pub(crate) fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| {
            let hash = Sha256::digest(self.bytes.as_slice());
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha256:{digits}")
        })
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// There is nothing of that name.
    Missing,
    /// It is a folder, or no regular file.
    NoFile,
    /// It has more than [`SOURCE_BYTES_MAX`].
    TooBig,
    /// What the operating system says.
    Other(String),
}

impl Files {
    /// The file at `path`, which is absolute and free of links.
    pub(crate) fn read(&self, path: &Path) -> ReadResult {
        let slot = {
            let mut by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_path.entry(path.to_owned()).or_default())
        };
        slot.get_or_init(|| {
            let bytes = read_bounded(path, SOURCE_BYTES_MAX)?;
            Ok(Arc::new(Loaded { bytes: Arc::new(bytes), sha256: OnceLock::new() }))
        })
        .clone()
    }
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let other = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        _ => ReadError::Other(error.to_string()),
    };
    // Asked before opening: opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(other)?;
    if !metadata.is_file() {
        return Err(ReadError::NoFile);
    }
    if metadata.len() > bytes_max {
        return Err(ReadError::TooBig);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(other)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(other)?;
    if bytes.len() as u64 > bytes_max { Err(ReadError::TooBig) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_bounded_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(read_bounded(&path, 4), Err(ReadError::TooBig));
        assert_eq!(read_bounded(folder.path(), 4), Err(ReadError::NoFile));
        assert_eq!(read_bounded(&folder.path().join("g"), 4), Err(ReadError::Missing));
        let files = Files::default();
        let first = files.read(&path).unwrap();
        assert!(Arc::ptr_eq(&first, &files.read(&path).unwrap()));
        assert_eq!(first.sha256(), "sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5");
    }
}
