//! Paths inside a volume: `/` is its root, and nothing leads above it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::FS_PATH_BYTES_MAX;
use crate::error::Error;
use crate::lua::modules::arguments::invalid;

/// A path without `.`, `..` and empty parts; empty is the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VolumePath(Vec<u8>);

impl VolumePath {
    /// `text`, relative to `self` unless it starts with `/`. A `..` at the root stays there.
    ///
    /// # Errors
    /// `INVALID` for an empty path, one with a zero byte, and one longer than systems take.
    pub(super) fn join(&self, text: &[u8]) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(invalid("the path is empty"));
        }
        if text.contains(&0) {
            return Err(invalid("the path has a zero byte"));
        }
        let mut parts: Vec<&[u8]> = match text.first() {
            Some(b'/') => Vec::new(),
            _ => self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect(),
        };
        for part in text.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => _ = parts.pop(),
                part => parts.push(part),
            }
        }
        let joined = parts.join(&b'/');
        if joined.len() > FS_PATH_BYTES_MAX {
            return Err(invalid(format!("the path has more than {FS_PATH_BYTES_MAX} bytes")));
        }
        Ok(Self(joined))
    }

    /// Relative to the root; `.` for the root itself.
    pub(super) fn relative(&self) -> &Path {
        let bytes: &[u8] = if self.0.is_empty() { b"." } else { &self.0 };
        Path::new(std::ffi::OsStr::from_bytes(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder that it is in, and its name there; `None` for the root.
    pub(super) fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => Some((Self(self.0[..at].to_vec()), &self.0[at + 1..])),
            None => Some((Self::default(), &self.0)),
        }
    }

    /// Its last part; `/` for the root.
    pub(super) fn name(&self) -> Vec<u8> {
        self.split().map_or_else(|| b"/".to_vec(), |(_, name)| name.to_vec())
    }

    /// With a `/` before it.
    pub(super) fn absolute(&self) -> Vec<u8> {
        [b"/", self.0.as_slice()].concat()
    }
}

impl std::fmt::Display for VolumePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_above_the_root() {
        let root = VolumePath::default();
        let join = |from: &VolumePath, text: &str| from.join(text.as_bytes()).unwrap().to_string();
        for (text, path) in [
            ("/", "/"),
            (".", "/"),
            ("/a/b", "/a/b"),
            ("a//b/", "/a/b"),
            ("./a/./b", "/a/b"),
            ("a/../b", "/b"),
            ("../../etc/passwd", "/etc/passwd"),
            ("/..", "/"),
            ("a/../../..", "/"),
        ] {
            assert_eq!(join(&root, text), path);
        }
        let folder = root.join(b"/a/b").unwrap();
        for (text, path) in
            [("c", "/a/b/c"), ("../c", "/a/c"), ("/c", "/c"), ("../../../c", "/c"), (".", "/a/b")]
        {
            assert_eq!(join(&folder, text), path);
        }
        assert_eq!(folder.split().unwrap(), (root.join(b"a").unwrap(), b"b".as_slice()));
        assert!(root.join(b"").is_err() && root.join(b"a\0b").is_err() && root.join(&[b'a'; 5000]).is_err());
    }
}
