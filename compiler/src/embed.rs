//! What `fs.embed` entries carry: the files of a folder, copied into the bundle.
//!
//! They lie below `fs/<entry>/<digest of all>/`, so that a changed folder is a new one and a loader of
//! the old bundle keeps its files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use registry_schema::Digest;
use registry_schema::authored::Definition;
use registry_schema::manifest::EMBEDDED_DIR;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::registry::Registry;
use crate::source;

/// Most bytes that one `fs.embed` entry may carry.
pub const EMBED_BYTES_MAX: u64 = 1 << 30;

/// A file that the bundle carries.
#[derive(Debug)]
pub struct Carried {
    /// Path inside the bundle.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Reads the files of every `fs.embed` entry of `registry`, sorted by path.
pub fn read(registry: &Registry, diagnostics: &mut Diagnostics) -> Vec<Carried> {
    let mut all = Vec::new();
    for entry in registry.entries.values() {
        let Definition::FsEmbed(_) = &entry.definition else { continue };
        let Ok(own) = entry.id.to_string().parse() else { continue };
        let folder = match source::fs_root(registry, entry, &own, "directory") {
            Ok(folder) => folder,
            Err(fault) => {
                diagnostics.push(fault.report(entry));
                continue;
            }
        };
        match files(&folder) {
            Ok(files) => {
                let parts = files.iter().flat_map(|(path, bytes)| [path.as_bytes(), bytes.as_slice()]);
                let digest = Digest::of_parts(parts);
                all.extend(files.into_iter().map(|(path, bytes)| Carried {
                    path: format!("{EMBEDDED_DIR}/{}/{digest}/{path}", entry.id),
                    bytes,
                }));
            }
            Err(problem) => diagnostics.push(
                Diagnostic::new(Code::FileMissing, problem)
                    .entry(&entry.id)
                    .at(entry.place())
                    .help("`fs.embed` carries regular files; name a folder of the application's own files"),
            ),
        }
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// Regular files below `folder`, by their path in it with `/`; links are not followed.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let (mut total, mut found) = (0u64, Vec::new());
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let unreadable = |error| format!("the folder can't be read: {error}");
        let entry = entry.map_err(unreadable)?;
        if !entry.file_type().is_file() {
            continue;
        }
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let Some(path) = relative.to_str() else {
            return Err(format!("the file name `{}` is no UTF-8", relative.display()));
        };
        let bytes = entry.metadata().map_err(unreadable)?.len();
        total = total.saturating_add(bytes);
        found.push((path.replace(std::path::MAIN_SEPARATOR, "/"), entry.path().to_owned(), bytes));
    }
    // Before anything is read: a file may be far larger than what fits into memory.
    if total > EMBED_BYTES_MAX {
        return Err(format!("the folder has {total} bytes, more than {EMBED_BYTES_MAX}"));
    }
    let read = |(path, file, bytes): (String, PathBuf, u64)| {
        let unreadable = |error| format!("`{path}` can't be read: {error}");
        let mut content = Vec::new();
        fs::File::open(&file)
            .and_then(|file| file.take(bytes + 1).read_to_end(&mut content))
            .map_err(unreadable)?;
        // What grows meanwhile is not bounded by what was counted.
        if content.len() as u64 > bytes {
            Err(format!("`{path}` grew while it was read"))
        } else {
            Ok((path, content))
        }
    };
    found.into_iter().map(read).collect()
}
