//! `fs.embed`: files inside the bundle. The manifest says what there is; a file's digest is checked before
//! its first byte is given away.

use std::fs::File;
use std::io::Seek;

use registry_schema::manifest::FileRecord;
use registry_schema::{Digest, ErrorKind};
use rustix::io::Errno;

use super::path::VolumePath;
use super::volume::{Item, Stat, failure, io_failure};
use crate::config::FS_LIST_MAX;
use crate::error::Error;
use crate::filesystem;
use crate::loader::Inner;

/// Where the files of one entry are in the bundle.
pub(super) struct Embedded {
    /// With a `/` at its end; `None` when there are no files.
    folder: Option<String>,
}

impl Embedded {
    pub(super) fn new(found: filesystem::Embedded) -> Self {
        Self { folder: found.folder }
    }

    /// The path in the bundle.
    fn path(&self, path: &VolumePath) -> Option<String> {
        Some(format!("{}{}", self.folder.as_deref()?, std::str::from_utf8(path.bytes()).ok()?))
    }

    /// What is in the folder `path`: paths from there, and their records.
    fn below<'a>(
        &self,
        inner: &'a Inner,
        path: &VolumePath,
    ) -> impl Iterator<Item = (&'a str, &'a FileRecord)> + use<'a> {
        let prefix = self.path(path).map(|prefix| match prefix.strip_suffix('/') {
            Some(root) => format!("{root}/"),
            None => prefix + "/",
        });
        let files = &inner.bundle.manifest().head().files;
        prefix.into_iter().flat_map(move |prefix| {
            let from = files.range(prefix.clone()..);
            from.map_while(move |(path, record)| Some((path.strip_prefix(&prefix)?, record)))
        })
    }

    fn record<'a>(&self, inner: &'a Inner, path: &VolumePath) -> Result<(String, &'a FileRecord), Errno> {
        let full = self.path(path).ok_or(Errno::NOENT)?;
        match inner.bundle.manifest().head().files.get(&full) {
            Some(record) => Ok((full, record)),
            None if self.is_folder(inner, path) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    fn is_folder(&self, inner: &Inner, path: &VolumePath) -> bool {
        path.bytes().is_empty() || self.below(inner, path).next().is_some()
    }

    pub(super) fn open_file(&self, inner: &Inner, path: &VolumePath) -> Result<File, Error> {
        let (full, record) = self.record(inner, path).map_err(|errno| failure(path, errno))?;
        let damaged = |problem: String| {
            Error::new(ErrorKind::Internal, format!("`{path}`: the bundle's file is damaged: {problem}"))
        };
        let file = inner.bundle.open_file(&full).map_err(|error| damaged(error.to_string()))?;
        let mut file = File::from(file);
        let metadata = file.metadata().map_err(|error| io_failure(path, &error))?;
        if !metadata.is_file() || metadata.len() != record.size {
            return Err(damaged(format!("expected a file of {} bytes", record.size)));
        }
        let digest = Digest::of_reader(&mut file).map_err(|error| io_failure(path, &error))?;
        if digest != record.digest {
            return Err(damaged(format!("expected digest {}, found {digest}", record.digest)));
        }
        file.rewind().map_err(|error| io_failure(path, &error))?;
        Ok(file)
    }

    /// Bundles have no times: the start of 1970.
    pub(super) fn stat(&self, inner: &Inner, path: &VolumePath) -> Result<Stat, Errno> {
        match self.record(inner, path) {
            Ok((_, record)) => Ok(Stat { size: record.size, mode: 0o444, modified: 0, is_dir: false }),
            Err(Errno::ISDIR) => Ok(Stat { size: 0, mode: 0o555, modified: 0, is_dir: true }),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn list(&self, inner: &Inner, path: &VolumePath) -> Result<Vec<Item>, Errno> {
        if !self.is_folder(inner, path) {
            return Err(if self.record(inner, path).is_ok() { Errno::NOTDIR } else { Errno::NOENT });
        }
        let mut items: Vec<Item> = Vec::new();
        for (rest, _) in self.below(inner, path) {
            let (name, is_dir) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            // Files of one folder are not all beside each other: `a-b` comes before `a/b`.
            let item = Item { name: name.as_bytes().to_vec(), is_dir };
            if items.last() != Some(&item) {
                items.push(item);
            }
            if items.len() > FS_LIST_MAX {
                return Err(Errno::OVERFLOW);
            }
        }
        items.sort_unstable();
        items.dedup();
        Ok(items)
    }
}
