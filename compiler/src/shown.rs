//! Files as messages show them: paths that are the same on every machine, reasons in plain words.

use std::path::Path;
use std::sync::Arc;

use registry_schema::document::Span;

use crate::diagnostic::{Place, SourceFile};

/// `path` as shown: relative to `root`, with `/`.
pub(crate) fn show(root: &Path, path: &Path) -> String {
    let mut base = root;
    let mut up = String::new();
    loop {
        if let Ok(below) = path.strip_prefix(base) {
            let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            let shown = format!("{up}{}", parts.join("/"));
            return if shown.is_empty() { ".".to_owned() } else { shown };
        }
        match base.parent() {
            Some(parent) => base = parent,
            None => return path.to_string_lossy().into_owned(),
        }
        up.push_str("../");
    }
}

/// A place that is a file or folder as a whole.
pub(crate) fn whole(shown: String) -> Place {
    Place { file: Arc::new(SourceFile { path: shown, text: String::new() }), span: Span::default() }
}

/// The reason of an error in words that are the same everywhere.
pub(crate) fn io_reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        ErrorKind::InvalidData => "it is no UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}
