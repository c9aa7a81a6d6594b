//! `wippy.lock`: which folders are walked, and which modules must be there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry_schema::document::{Node, Value, parse};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, SourceFile};
use crate::read;
use crate::shown::whole;

/// Name of the lock file, in the root.
pub(crate) const LOCK_FILE: &str = "wippy.lock";

/// The lock file, checked.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The folder of sources, absolute.
    sources: PathBuf,
    /// Where it is named; the file as a whole for the default.
    sources_place: Place,
    /// The folder of modules, absolute; need not exist.
    pub(crate) modules: PathBuf,
    /// Modules that must be there.
    pub(crate) pinned: Vec<(String, Place)>,
    /// Modules that are read from elsewhere (deprecated here).
    pub(crate) replacements: Vec<Replacement>,
}

/// A module that is read from another folder than that of modules.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// `organization/module`.
    pub(crate) module: String,
    /// The folder, relative to the root; `None` takes a replacement back.
    pub(crate) path: Option<String>,
    /// Where it is named.
    pub(crate) place: Place,
}

impl Lock {
    /// Reads the lock file of `root`; `None` when there is none. One that can't be read counts as one
    /// with the default folders.
    pub(crate) fn read(root: &Path, diagnostics: &mut Diagnostics) -> Option<Self> {
        let path = root.join(LOCK_FILE);
        if !path.is_file() {
            return None;
        }
        let (file, node) = match read::yaml(&path, LOCK_FILE.to_owned()) {
            Ok(read) => read,
            Err(diagnostic) => {
                diagnostics.push(Diagnostic { code: Code::LockInvalid, ..*diagnostic });
                let file = Arc::new(SourceFile { path: LOCK_FILE.to_owned(), text: String::new() });
                (file, parse("").ok()?)
            }
        };
        Some(Reader { file, diagnostics }.lock(root, &node))
    }

    /// The folder of sources without links, if it is there.
    pub(crate) fn source(&self, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
        let folder = self.sources.canonicalize().ok().filter(|folder| folder.is_dir());
        if folder.is_none() {
            diagnostics.push(
                Diagnostic::new(Code::LockInvalid, "the source folder does not exist")
                    .at(self.sources_place.clone())
                    .help("name the folder of the definition files under `directories.src`"),
            );
        }
        folder
    }
}

struct Reader<'a> {
    file: Arc<SourceFile>,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn lock(mut self, root: &Path, node: &Node) -> Lock {
        let directories = node.get("directories");
        let folder = |this: &mut Self, key: &str, default: &str| match directories
            .and_then(|directories| directories.get(key))
        {
            None => (root.join(default), whole(LOCK_FILE.to_owned())),
            Some(node) => match node.as_str() {
                Some(path) => (root.join(path), this.place(node)),
                None => {
                    this.wrong(node, "expected the path of a folder");
                    (root.join(default), this.place(node))
                }
            },
        };
        let (sources, sources_place) = folder(&mut self, "src", "src");
        let (modules, _) = folder(&mut self, "modules", ".wippy");
        Lock {
            sources,
            sources_place,
            modules,
            pinned: self.pinned(node),
            replacements: self.replacements(node),
        }
    }

    fn pinned(&mut self, node: &Node) -> Vec<(String, Place)> {
        let Some(list) = node.get("modules") else { return Vec::new() };
        let Value::Seq(items) = &list.value else {
            if list.value != Value::Null {
                self.wrong(list, "expected a list of modules");
            }
            return Vec::new();
        };
        let mut pinned = Vec::new();
        for item in items {
            match item.get("name").and_then(|name| Some((name, name.as_str()?))) {
                Some((node, name)) => pinned.push((name.to_owned(), self.place(node))),
                None => self.wrong(item, "expected a module with a `name`"),
            }
        }
        pinned
    }

    /// Either a mapping, as in `.wippy.yaml`, or a list of `{from, to}`.
    fn replacements(&mut self, node: &Node) -> Vec<Replacement> {
        let Some(section) = node.get("replacements") else { return Vec::new() };
        match &section.value {
            Value::Seq(items) => items
                .iter()
                .filter_map(|item| {
                    Some(Replacement {
                        module: item.get("from")?.as_str()?.to_owned(),
                        path: Some(item.get("to")?.as_str()?.to_owned()),
                        place: self.place(item.get("to")?),
                    })
                })
                .collect(),
            _ => replacements(&self.file, section),
        }
    }

    fn place(&self, node: &Node) -> Place {
        Place { file: Arc::clone(&self.file), span: node.span }
    }

    fn wrong(&mut self, node: &Node, expected: &str) {
        let message = format!("found {}, {expected}", node.value.describe());
        self.diagnostics.push(Diagnostic::new(Code::LockInvalid, message).at(self.place(node)));
    }
}

/// The replacements of a mapping `organization/module: folder`.
pub(crate) fn replacements(file: &Arc<SourceFile>, section: &Node) -> Vec<Replacement> {
    let Value::Map(pairs) = &section.value else { return Vec::new() };
    pairs
        .iter()
        .map(|(key, node)| Replacement {
            module: key.name.clone(),
            path: node.as_str().map(str::to_owned),
            place: Place { file: Arc::clone(file), span: node.span },
        })
        .collect()
}
