//! `file://` values: replaced by the text of the file that they name.
//!
//! `file://x` is relative to the definition file, `file:///x` to the source root; neither leaves the
//! folder that is walked, by `..` or by a symbolic link.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use registry_schema::document::Span;

use crate::diagnostic::{Code, Diagnostics, SourceFile};
use crate::raw::RawEntry;
use crate::read;
use crate::shown::show;
use crate::tree;

/// How a value says that it is the content of a file.
const SCHEME: &str = "file://";

/// Texts that were read, by the path as shown: entries often share one.
#[derive(Debug, Default)]
pub(crate) struct Texts(BTreeMap<String, Arc<SourceFile>>);

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Included {
    /// The files, by the path of the field.
    pub(crate) files: BTreeMap<String, Arc<SourceFile>>,
    /// Whether something is missing; the entry can't be used then.
    pub(crate) is_incomplete: bool,
}

/// Replaces all `file://` values of `entry`, in its fields and in its metadata.
pub(crate) fn include(
    root: &Path,
    entry: &mut RawEntry,
    texts: &mut Texts,
    diagnostics: &mut Diagnostics,
) -> Included {
    let mut wanted: Vec<(String, Span, String)> = Vec::new();
    let mut note = |path: &str, span: Span, text: &mut String| {
        if text.starts_with(SCHEME) {
            wanted.push((path.to_owned(), span, text.clone()));
        }
    };
    tree::strings(&mut entry.data, "", &mut note);
    tree::strings(&mut entry.meta, "meta", &mut note);
    let mut included = Included::default();
    for (path, span, value) in wanted {
        match find(root, entry, &value, texts) {
            Ok(file) => {
                included.files.insert(path, file);
            }
            Err(problem) => {
                let place = entry.place_at(&path, span);
                let mut diagnostic = entry.report(problem.code, problem.message).at(place);
                diagnostic.help = problem.help;
                diagnostics.push(diagnostic);
                included.is_incomplete = true;
            }
        }
    }
    if !included.files.is_empty() {
        let mut fill = |path: &str, _: Span, text: &mut String| {
            if let Some(file) = included.files.get(path) {
                text.clone_from(&file.text);
            }
        };
        tree::strings(&mut entry.data, "", &mut fill);
        tree::strings(&mut entry.meta, "meta", &mut fill);
    }
    included
}

/// Why a value can't be replaced.
struct Problem {
    code: Code,
    message: String,
    help: Option<String>,
}

fn find(root: &Path, entry: &RawEntry, value: &str, texts: &mut Texts) -> Result<Arc<SourceFile>, Problem> {
    let written = &value[SCHEME.len()..];
    let path = match written.strip_prefix('/') {
        Some(below) => entry.origin.source_root.join(below),
        None => entry.folder.join(written),
    };
    let missing = |reason: &str, help: Option<String>| Problem {
        code: Code::IncludeMissing,
        message: format!("`{value}` can't be read: {reason}"),
        help,
    };
    if written.trim_matches('/').is_empty() {
        return Err(missing("it names no file", Some("write `file://` and a path".to_owned())));
    }
    let escapes = || Problem {
        code: Code::IncludeEscapes,
        message: format!("`{value}` leads out of `{}`", show(root, &entry.origin.boundary)),
        help: Some("move or copy the file into it".to_owned()),
    };
    // A path that climbs out is refused whether or not there is something.
    if !climbs_within(&entry.origin.boundary, &path) {
        return Err(escapes());
    }
    let target = path.canonicalize().map_err(|error| {
        let looked = (error.kind() == std::io::ErrorKind::NotFound)
            .then(|| format!("it was looked for at `{}`", show(root, &normal(&path))));
        missing(&crate::shown::io_reason(&error), looked)
    })?;
    if !target.starts_with(&entry.origin.boundary) {
        return Err(escapes());
    }
    let shown = show(root, &target);
    if let Some(known) = texts.0.get(&shown) {
        return Ok(Arc::clone(known));
    }
    if !target.is_file() {
        return Err(missing("it is no file", None));
    }
    let text = read::text(&target).map_err(|error| missing(&error.reason(), None))?;
    if text.trim().is_empty() {
        return Err(missing("it is empty", None));
    }
    let file = Arc::new(SourceFile { path: shown.clone(), text });
    texts.0.insert(shown, Arc::clone(&file));
    Ok(file)
}

/// `path` without `.` and `..`, links not looked at.
fn normal(path: &Path) -> std::path::PathBuf {
    use std::path::Component;
    let mut normal = std::path::PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

fn climbs_within(boundary: &Path, path: &Path) -> bool {
    normal(path).starts_with(boundary)
}
