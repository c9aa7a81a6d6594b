//! The bytes that a WASM entry names: text in `source`, or a binary in a file system entry, checked
//! against its hash.
//!
//! Binaries are read at build time only, from inside the folder of an `fs.directory` or `fs.embed`:
//! `..` is refused, and so are links that lead out. Each file is read and hashed once, however many
//! entries name it.

use std::path::{Component as Part, Path, PathBuf};
use std::sync::Arc;

use registry_schema::authored::Definition;
use registry_schema::authored::fs::{FsBase, FsDirectory, FsEmbed};
use registry_schema::authored::scalar::Templated;
use registry_schema::authored::wasm::Wasm;
use registry_schema::{EntryId, EntryRef};

use crate::componentize::{AdapterSource, Form, Source};
use crate::diagnostic::Code;
use crate::fault::Fault;
use crate::files::{Files, Loaded, ReadError, SOURCE_BYTES_MAX};
use crate::front::load_root;
use crate::offered::is_known;
use crate::registry::{Entry, Registry};

/// The source of `entry`, whose fields are `wasm`, with its adapters.
///
/// # Errors
/// Every fault of what its fields name. Fields that are missing and references that lead nowhere were
/// reported when the registry was read: there may be no fault left to tell.
pub(crate) fn load(
    registry: &Registry,
    files: &Files,
    entry: &Entry,
    wasm: &Wasm,
) -> Result<Source, Vec<Fault>> {
    let adapters = load_adapters(registry, files, entry, wasm);
    let module = match entry.kind.as_str() {
        "function.wat" => match &wasm.source {
            Some(text) => Ok((Form::Text, Arc::new(text.as_bytes().to_vec()))),
            None => Err(Vec::new()),
        },
        _ => load_binary(registry, files, entry, wasm).map(|bytes| (Form::Binary, bytes)),
    };
    match (module, adapters) {
        (Ok((form, bytes)), Ok(adapters)) => {
            Ok(Source { form, bytes, wit: wasm.wit.clone(), adapters, preinit: wasm.preinit.clone() })
        }
        (module, adapters) => {
            let mut faults = module.err().unwrap_or_default();
            faults.extend(adapters.err().unwrap_or_default());
            Err(faults)
        }
    }
}

/// The binary that `fs`, `path` and `hash` name.
fn load_binary(
    registry: &Registry,
    files: &Files,
    entry: &Entry,
    wasm: &Wasm,
) -> Result<Arc<Vec<u8>>, Vec<Fault>> {
    let mut faults = Vec::new();
    let hash = wasm.hash.as_deref().map(|hash| parse_hash(hash, "hash"));
    let expected = hash.and_then(|hash| hash.map_err(|fault| faults.push(fault)).ok());
    let loaded = match (&wasm.fs, &wasm.path) {
        (Some(fs), Some(path)) => {
            let place = BinaryPlace { fs, path, prefix: "" };
            binary(registry, files, entry, &place, expected.as_deref())
        }
        _ => Err(None),
    };
    match (loaded, expected) {
        (Ok(loaded), Some(_)) => Ok(Arc::clone(&loaded.bytes)),
        (loaded, _) => {
            faults.extend(loaded.err().flatten());
            Err(faults)
        }
    }
}

/// Where a binary is said to be.
#[derive(Debug, Clone, Copy)]
struct BinaryPlace<'a> {
    /// The file system entry.
    fs: &'a EntryRef,
    /// The path inside it.
    path: &'a str,
    /// Dotted path of the mapping that holds the fields, with a dot at its end, or nothing.
    prefix: &'a str,
}

/// The files under `adapters`.
fn load_adapters(
    registry: &Registry,
    files: &Files,
    entry: &Entry,
    wasm: &Wasm,
) -> Result<Vec<AdapterSource>, Vec<Fault>> {
    let (mut adapters, mut faults, mut complete) = (Vec::new(), Vec::new(), true);
    for (index, adapter) in wasm.adapters.iter().enumerate() {
        let prefix = format!("adapters.{index}.");
        let place = BinaryPlace { fs: &adapter.fs, path: &adapter.path, prefix: &prefix };
        let loaded = match parse_hash(&adapter.hash, &format!("{prefix}hash")) {
            Ok(hash) => binary(registry, files, entry, &place, Some(&hash)),
            Err(fault) => Err(Some(fault)),
        };
        match loaded {
            Ok(loaded) => {
                let bytes = Arc::clone(&loaded.bytes);
                adapters.push(AdapterSource { name: adapter.name.clone(), bytes });
            }
            Err(fault) => {
                complete = false;
                faults.extend(fault);
            }
        }
    }
    if complete { Ok(adapters) } else { Err(faults) }
}

/// Reads the binary at `place` and compares its hash with `expected`.
///
/// # Errors
/// What is wrong; `None` when it was reported before.
fn binary(
    registry: &Registry,
    files: &Files,
    entry: &Entry,
    place: &BinaryPlace<'_>,
    expected: Option<&str>,
) -> Result<Arc<Loaded>, Option<Fault>> {
    let field = |name: &str| format!("{}{name}", place.prefix);
    if was_reported(registry, &entry.resolve(place.fs)) {
        return Err(None);
    }
    let root = fs_root(registry, entry, place.fs, &field("fs"))?;
    let path = inside(&root, place.path, &field("path"))?;
    let shown = shown_path(registry, &path);
    let loaded = files.read(&path).map_err(|error| {
        let fault = |code, message: String| Fault::new(code, field("path"), message);
        match error {
            ReadError::Missing => fault(Code::FileMissing, format!("there is no file `{shown}`")).help(
                format!("`{}` is the folder `{}`", entry.resolve(place.fs), shown_path(registry, &root)),
            ),
            ReadError::NoFile => fault(Code::FileMissing, format!("`{shown}` is not a file"))
                .help("name the module or component itself"),
            ReadError::TooBig => {
                let mebibytes = SOURCE_BYTES_MAX >> 20;
                fault(Code::FileTooBig, format!("`{shown}` has more than {mebibytes} MiB"))
                    .help("strip debug information from the binary, or split the component")
            }
            ReadError::Other(error) => {
                fault(Code::FileUnreadable, format!("`{shown}` can't be read: {error}"))
            }
        }
    })?;
    match expected {
        Some(expected) if expected != loaded.sha256() => {
            let message =
                format!("`{shown}` has another hash: expected `{expected}`, found `{}`", loaded.sha256());
            let help = format!("if the file was rebuilt on purpose, write `hash: {}`", loaded.sha256());
            Err(Some(Fault::new(Code::HashMismatch, field("hash"), message).help(help)))
        }
        _ => Ok(loaded),
    }
}

/// Whether the reading of the registry has said already that `id` is no file system: it is not there,
/// has faults of its own, or is of a known kind that holds no files.
fn was_reported(registry: &Registry, id: &EntryId) -> bool {
    match registry.entries.get(id).map(|fs| (&fs.definition, fs.kind.as_str())) {
        None => true,
        Some((Definition::FsDirectory(_) | Definition::FsEmbed(_), _)) => false,
        Some((_, kind)) => is_known(kind),
    }
}

/// The hash in lower case.
fn parse_hash(text: &str, field: &str) -> Result<String, Fault> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.strip_prefix("sha256:");
    if digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Ok(lower);
    }
    let found: String = text.chars().take(80).collect();
    let message = format!("expected `sha256:` and 64 hexadecimal digits, found `{found}`");
    Err(Fault::new(Code::HashMalformed, field, message)
        .help("write the SHA-256 of the file, as `sha256sum` prints it, behind `sha256:`"))
}

/// The folder of the file system that `reference` names, absolute and free of links.
///
/// `field` is where the reference stands in `entry`.
///
/// # Errors
/// When it is no file system, its folder is only known at boot, or the folder does not exist.
pub(crate) fn fs_root(
    registry: &Registry,
    entry: &Entry,
    reference: &EntryRef,
    field: &str,
) -> Result<PathBuf, Fault> {
    let id = entry.resolve(reference);
    let Some(fs) = registry.entries.get(&id) else {
        return Err(Fault::new(Code::ReferenceMissing, field, format!("there is no entry `{id}`")));
    };
    let (directory, base, embedded) = match &fs.definition {
        Definition::FsDirectory(definition) => {
            (directory_path(definition), directory_base(registry, fs, definition), false)
        }
        Definition::FsEmbed(definition) => {
            (embed_path(definition), Some(definition_folder(registry, fs)), true)
        }
        _ => {
            let message = format!("`{id}` is a `{}`, expected `fs.directory` or `fs.embed`", fs.kind);
            return Err(Fault::new(Code::ReferenceKind, field, message));
        }
    };
    let unknown = if directory.is_none() { "directory" } else { "base" };
    let (Some(directory), Some(base)) = (directory, base) else {
        let message =
            format!("`{unknown}` of `{id}` holds a placeholder, and the build reads the binary from there");
        return Err(Fault::new(Code::PlaceholderAtBuild, field, message)
            .help("write the folder literally, or give binaries a file system of their own"));
    };
    let path = base.join(&directory);
    let found = path.canonicalize().map_err(|_| {
        let message = format!("`{id}` is the folder `{directory}`, which does not exist");
        let from = match embedded {
            true => "the definition file",
            false if base == registry.root => "the root of the project",
            false => "the folder of its module",
        };
        Fault::new(Code::FileMissing, field, message).help(format!("`directory` is relative to {from}"))
    })?;
    if embedded && !registry.root.canonicalize().is_ok_and(|root| found.starts_with(root)) {
        let message = format!("`{id}` is the folder `{directory}`, which lies outside of the project");
        return Err(Fault::new(Code::FileEscapes, field, message)
            .help("what is embedded is part of the project: move or copy the folder"));
    }
    Ok(found)
}

fn directory_path(fs: &FsDirectory) -> Option<String> {
    fs.directory.value().cloned()
}

/// What a relative `directory` of `entry` starts from; `None` where that is only known at boot.
fn directory_base(registry: &Registry, entry: &Entry, fs: &FsDirectory) -> Option<PathBuf> {
    match &fs.base {
        None | Some(Templated::Value(FsBase::Project)) => Some(registry.root.clone()),
        Some(Templated::Value(FsBase::Module)) => Some(load_root(&registry.root, &entry.file)),
        Some(Templated::Template(_)) => None,
    }
}

/// The folder that `base: module` of `entry` means, relative to the project's root; `None` where that is the root
/// itself, or where `base` does not mean it.
pub(crate) fn module_folder(registry: &Registry, entry: &Entry) -> Option<String> {
    let Definition::FsDirectory(fs) = &entry.definition else { return None };
    if matches!(fs.base, None | Some(Templated::Value(FsBase::Project))) {
        return None;
    }
    let folder = load_root(&registry.root, &entry.file);
    let relative = folder.strip_prefix(&registry.root).ok()?;
    let steps: Vec<_> = relative.iter().map(|step| step.to_string_lossy()).collect();
    (!steps.is_empty()).then(|| steps.join("/"))
}

fn embed_path(fs: &FsEmbed) -> Option<String> {
    match &fs.directory {
        None => Some(".".to_owned()),
        Some(Templated::Value(directory)) => Some(directory.clone()),
        Some(Templated::Template(_)) => None,
    }
}

/// The folder of the file that defines `entry`.
fn definition_folder(registry: &Registry, entry: &Entry) -> PathBuf {
    let file = registry.root.join(&entry.file.path);
    file.parent().map_or_else(|| registry.root.clone(), Path::to_owned)
}

/// The file `path` inside `root`; a leading `/` is the root itself.
fn inside(root: &Path, path: &str, field: &str) -> Result<PathBuf, Fault> {
    let relative = path.trim_start_matches('/');
    let escapes = |why: &str| {
        Fault::new(Code::FileEscapes, field, format!("`{path}` {why}"))
            .help("name a file below the folder of the file system")
    };
    let parts = Path::new(relative).components();
    if parts.clone().any(|part| matches!(part, Part::ParentDir)) {
        return Err(escapes("leads out of its file system by `..`"));
    }
    if parts.clone().any(|part| matches!(part, Part::Prefix(_) | Part::RootDir)) || relative.contains('\\') {
        return Err(escapes("is no path inside a file system"));
    }
    if relative.is_empty() {
        return Err(Fault::new(Code::FileMissing, field, format!("`{path}` names no file")));
    }
    let joined = root.join(relative);
    // A file that is missing has no canonical path; reading it says so.
    let found = joined.canonicalize().unwrap_or(joined);
    if found.starts_with(root) { Ok(found) } else { Err(escapes("leads out of its file system by a link")) }
}

/// `path` relative to the root where it is below it.
fn shown_path(registry: &Registry, path: &Path) -> String {
    let root = registry.root.canonicalize().unwrap_or_else(|_| registry.root.clone());
    let shown = path.strip_prefix(&root).unwrap_or(path).display().to_string().replace('\\', "/");
    if shown.is_empty() { ".".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn hashes_have_one_form() {
        let digits = "AB".repeat(32);
        assert_eq!(
            parse_hash(&format!("SHA256:{digits}"), "hash"),
            Ok(format!("sha256:{}", digits.to_lowercase()))
        );
        for text in
            ["", "sha256:", &digits, "sha256:xyz", &format!("sha512:{digits}"), &format!("sha256:{digits}0")]
        {
            assert_eq!(parse_hash(text, "hash").unwrap_err().code, Code::HashMalformed, "{text}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/a.wasm"), b"a").unwrap();
        fs::write(folder.path().join("out.wasm"), b"b").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../out.wasm", root.join("link.wasm")).unwrap();
            std::os::unix::fs::symlink("sub/a.wasm", root.join("good.wasm")).unwrap();
            assert_eq!(inside(&root, "link.wasm", "path").unwrap_err().code, Code::FileEscapes);
            assert_eq!(inside(&root, "good.wasm", "path").unwrap(), root.join("sub/a.wasm"));
        }
        assert_eq!(inside(&root, "/sub/a.wasm", "path").unwrap(), root.join("sub/a.wasm"));
        assert_eq!(inside(&root, "./sub/a.wasm", "path").unwrap(), root.join("sub/a.wasm"));
        for path in ["../out.wasm", "sub/../../out.wasm", "/../out.wasm", "sub\\a.wasm"] {
            assert_eq!(inside(&root, path, "path").unwrap_err().code, Code::FileEscapes, "{path}");
        }
        assert_eq!(inside(&root, "/", "path").unwrap_err().code, Code::FileMissing);
    }
}
