//! The first pass: which definition files an application has.
//!
//! `wippy.lock` names a folder of sources and one of modules, which may be replaced by folders of
//! `.wippy.yaml`'s `workspace`; without it the root itself is walked. Below these, every `.yaml` and
//! `.yml` file at any depth is a candidate, in order of their names. Hidden folders, `node_modules` and
//! build output are skipped. Folders behind symbolic links are not entered, as today's runtime does:
//! what they lead to is walked anyway, or is not part of the project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

use crate::config::Config;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::lock::{LOCK_FILE, Lock};
use crate::shown::{io_reason, show, whole};

/// What was found.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The root, absolute, without links.
    pub(crate) root: PathBuf,
    /// Candidates: sources first, then replaced modules, then modules.
    pub(crate) files: Vec<Candidate>,
    /// Modules that are there in one form or another.
    pub(crate) installed: BTreeSet<String>,
    /// Modules that `wippy.lock` pins and that are not there.
    pub(crate) missing: BTreeSet<String>,
}

/// A YAML file that may be a definition file.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Where it is, absolute.
    pub(crate) path: PathBuf,
    /// Its path as shown: relative to the root, with `/`.
    pub(crate) shown: String,
    /// What it belongs to.
    pub(crate) origin: Arc<Origin>,
}

/// The sources or the module that a file belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// What `file:///` starts from.
    pub(crate) source_root: PathBuf,
    /// What `file://` can't leave.
    pub(crate) boundary: PathBuf,
    /// `organization/module`, for modules.
    pub(crate) module: Option<String>,
}

/// Walks the folder `root`, which is absolute and without links; `out` is not entered.
pub(crate) fn walk(
    root: &Path,
    out: Option<&Path>,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Walked {
    let lock = Lock::read(root, diagnostics);
    let mut walk = Walk {
        root,
        out: out.and_then(|out| root.join(out).canonicalize().ok()),
        modules: lock.as_ref().and_then(|lock| lock.modules.canonicalize().ok()),
        replaced: BTreeMap::new(),
        files: Vec::new(),
        packs: Vec::new(),
        found: BTreeSet::new(),
        missing: BTreeSet::new(),
        diagnostics,
    };
    match &lock {
        None => walk.sources(root),
        Some(lock) => {
            if let Some(source) = lock.source(walk.diagnostics) {
                walk.sources(&source);
            }
            walk.replacements(lock, config);
            walk.modules();
            walk.missing(lock);
        }
    }
    let Walk { files, found, missing, .. } = walk;
    Walked { root: root.to_owned(), files, installed: found, missing }
}

struct Walk<'a> {
    root: &'a Path,
    out: Option<PathBuf>,
    modules: Option<PathBuf>,
    /// Modules that are read from elsewhere.
    replaced: BTreeMap<String, PathBuf>,
    files: Vec<Candidate>,
    /// `.wapp` files.
    packs: Vec<PathBuf>,
    found: BTreeSet<String>,
    missing: BTreeSet<String>,
    diagnostics: &'a mut Diagnostics,
}

impl Walk<'_> {
    fn sources(&mut self, folder: &Path) {
        let origin =
            Arc::new(Origin { source_root: folder.to_owned(), boundary: folder.to_owned(), module: None });
        for path in self.candidates(folder) {
            self.add(path, &origin);
        }
        // A pack among the sources is no module: `wippy pack` may have written it there.
        self.packs.clear();
    }

    fn replacements(&mut self, lock: &Lock, config: &Config) {
        let mut replacements = lock.replacements.clone();
        for replacement in &config.replacements {
            replacements.retain(|other| other.module != replacement.module);
            replacements.push(replacement.clone());
        }
        for replacement in replacements {
            let Some(target) = replacement.path else { continue };
            match self.root.join(&target).canonicalize() {
                Ok(folder) if folder.is_dir() => {
                    self.module(&folder, &replacement.module);
                    self.found.insert(replacement.module.clone());
                    self.replaced.insert(replacement.module, folder);
                }
                _ => {
                    let code = match replacement.place.file.path == LOCK_FILE {
                        true => Code::LockInvalid,
                        false => Code::ConfigInvalid,
                    };
                    let message =
                        format!("`{}` is replaced by `{target}`, which is no folder", replacement.module);
                    self.diagnostics.push(Diagnostic::new(code, message).at(replacement.place));
                }
            }
        }
    }

    fn module(&mut self, folder: &Path, name: &str) {
        let source = folder.join("src");
        let origin = Arc::new(Origin {
            source_root: if source.is_dir() { source } else { folder.to_owned() },
            boundary: folder.to_owned(),
            module: Some(name.to_owned()),
        });
        for path in self.candidates(folder) {
            self.add(path, &origin);
        }
    }

    /// Modules lie in `[vendor/]organization/module/`; what lies elsewhere belongs to the folder of modules.
    fn modules(&mut self) {
        let Some(folder) = self.modules.take() else { return };
        let all = self.candidates(&folder);
        let mut origins: BTreeMap<PathBuf, Arc<Origin>> = BTreeMap::new();
        for path in all {
            let home = module_home(&folder, &path);
            let name = module_name(&folder, &home);
            if name.as_ref().is_some_and(|name| self.replaced.contains_key(name)) {
                continue;
            }
            self.found.extend(name.clone());
            let origin = origins.entry(home.clone()).or_insert_with(|| {
                let source = home.join("src");
                Arc::new(Origin {
                    source_root: if source.is_dir() { source } else { home.clone() },
                    boundary: home,
                    module: name,
                })
            });
            let origin = Arc::clone(origin);
            self.add(path, &origin);
        }
        self.packed(&folder);
    }

    fn packed(&mut self, modules: &Path) {
        for pack in std::mem::take(&mut self.packs) {
            let stem = pack.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bare = without_version(&stem);
            let name = module_name(modules, &pack.with_file_name(bare));
            let unpacked = [stem.as_str(), bare].iter().any(|name| pack.with_file_name(name).is_dir());
            self.found.extend(name.clone());
            if unpacked || name.is_some_and(|name| self.replaced.contains_key(&name)) {
                continue;
            }
            let shown = show(self.root, &pack);
            self.diagnostics.push(
                Diagnostic::new(Code::ModulePacked, "found a `.wapp` pack, expected an unpacked folder")
                    .at(whole(shown))
                    .help(
                        "write `options: {unpack_modules: true}` into `wippy.lock` and run `wippy install`",
                    ),
            );
        }
    }

    fn missing(&mut self, lock: &Lock) {
        for (name, place) in &lock.pinned {
            if !self.found.contains(name) {
                self.missing.insert(name.clone());
                self.diagnostics.push(
                    Diagnostic::new(Code::ModuleMissing, format!("the module `{name}` is not installed"))
                        .at(place.clone())
                        .help("run `wippy install`"),
                );
            }
        }
    }

    fn add(&mut self, path: PathBuf, origin: &Arc<Origin>) {
        let shown = show(self.root, &path);
        self.files.push(Candidate { path, shown, origin: Arc::clone(origin) });
    }

    /// The YAML files below `folder`, sorted.
    fn candidates(&mut self, folder: &Path) -> Vec<PathBuf> {
        let (root, out, modules) = (self.root.to_owned(), self.out.clone(), self.modules.clone());
        let enter = |entry: &DirEntry| {
            let path = entry.path();
            entry.depth() == 0
                || !entry.file_type().is_dir()
                || !(is_skipped(&root, entry)
                    || out.as_deref() == Some(path)
                    || modules.as_deref() == Some(path))
        };
        let mut paths = Vec::new();
        for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(enter) {
            match entry {
                Ok(entry) if entry.file_type().is_symlink() => {
                    if self.link(&entry) {
                        paths.push(entry.into_path());
                    }
                }
                Ok(entry) if entry.file_type().is_file() => match extension(entry.path()) {
                    Some("yaml" | "yml") => paths.push(entry.into_path()),
                    Some("wapp") => self.packs.push(entry.into_path()),
                    _ => {}
                },
                Ok(_) => {}
                Err(error) => self.unreadable(&error),
            }
        }
        paths.retain(|path| path.parent() != Some(self.root) || !is_settings(path));
        paths
    }

    /// Whether the link is a YAML file; says why a linked folder is not entered.
    fn link(&mut self, entry: &DirEntry) -> bool {
        let is_yaml = matches!(extension(entry.path()), Some("yaml" | "yml"));
        let path = entry.path();
        match path.canonicalize() {
            // An unreadable link with the name of a definition file is reported when it is read.
            Err(_) => is_yaml,
            Ok(target) if target.is_dir() => {
                let loops = path.starts_with(&target);
                if loops || !target.starts_with(self.root) {
                    let to = if loops { "back to a parent" } else { "out of the root" };
                    let shown = show(self.root, path);
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::LinkNotFollowed,
                            format!("the symbolic link leads {to} and is not followed"),
                        )
                        .at(whole(shown)),
                    );
                }
                false
            }
            Ok(target) => is_yaml && target.is_file(),
        }
    }

    fn unreadable(&mut self, error: &walkdir::Error) {
        let reason = error.io_error().map_or_else(|| "it can't be read".to_owned(), io_reason);
        let shown = error.path().map_or_else(String::new, |path| show(self.root, path));
        self.diagnostics.push(
            Diagnostic::new(Code::FileUnreadable, format!("the folder can't be read: {reason}"))
                .at(whole(shown)),
        );
    }
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

fn is_settings(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == ".wippy.yaml")
}

fn is_skipped(root: &Path, entry: &DirEntry) -> bool {
    let (name, path) = (entry.file_name().to_string_lossy(), entry.path());
    let at_top = path.parent() == Some(root);
    match name.as_ref() {
        "node_modules" => true,
        "target" => at_top || path.join("CACHEDIR.TAG").exists(),
        "dist" => at_top || path.join("manifest.json").exists(),
        name => name.starts_with('.'),
    }
}

/// The folder of the module that `path`, a file below `modules`, belongs to.
fn module_home(modules: &Path, path: &Path) -> PathBuf {
    let below = path.strip_prefix(modules).unwrap_or(path);
    let depth = if below.starts_with("vendor") { 3 } else { 2 };
    if below.components().count() <= depth {
        return modules.to_owned();
    }
    modules.join(below.components().take(depth).collect::<PathBuf>())
}

/// `organization/module` of the module in the folder `home`; without the version of a folder's name.
fn module_name(modules: &Path, home: &Path) -> Option<String> {
    let below = home.strip_prefix(modules).ok()?;
    let below = below.strip_prefix("vendor").unwrap_or(below);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    match parts.as_slice() {
        [organization, module] => Some(format!("{organization}/{}", without_version(module))),
        _ => None,
    }
}

/// `http` for `http-v1.2.0`.
fn without_version(name: &str) -> &str {
    match name.rsplit_once("-v") {
        Some((bare, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => bare,
        _ => name,
    }
}
