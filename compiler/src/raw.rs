//! Raw entries: as written, with the values that `.wippy.yaml` and requirements put into them, before
//! their kind gives them a type.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use registry_schema::EntryId;
use registry_schema::document::{Node, Span};

use crate::diagnostic::{Code, Diagnostic, Place, SourceFile};
use crate::tree::{self, Blocked};
use crate::walk::Origin;

/// An entry as written, before its kind gives it a type.
#[derive(Debug)]
pub(crate) struct RawEntry {
    /// Its id.
    pub(crate) id: EntryId,
    /// Where its name stands.
    pub(crate) span: Span,
    /// Its kind.
    pub(crate) kind: String,
    /// Where its kind stands.
    pub(crate) kind_span: Span,
    /// Its metadata, a mapping, that of its file merged under it.
    pub(crate) meta: Node,
    /// Its own fields, a mapping.
    pub(crate) data: Node,
    /// The definition file.
    pub(crate) file: Arc<SourceFile>,
    /// The folder of the definition file.
    pub(crate) folder: PathBuf,
    /// What the definition file belongs to.
    pub(crate) origin: Arc<Origin>,
    /// Where values come from that are written in other files, by path; `meta.` for metadata.
    pub(crate) foreign: BTreeMap<String, Place>,
}

impl RawEntry {
    /// Where the entry starts.
    pub(crate) fn place(&self) -> Place {
        Place { file: Arc::clone(&self.file), span: self.span }
    }

    /// The place of `span` in the value at `path`; a value without a place comes from another file.
    pub(crate) fn place_at(&self, path: &str, span: Span) -> Place {
        if span.line > 0 {
            return Place { file: Arc::clone(&self.file), span };
        }
        let mut path = path;
        loop {
            match (self.foreign.get(path), path.rsplit_once('.')) {
                (Some(place), _) => return place.clone(),
                (None, Some((parent, _))) => path = parent,
                (None, None) => return self.place(),
            }
        }
    }

    /// The place of the value at `path`: a field, or `meta.` and a path in the metadata.
    pub(crate) fn place_of(&self, path: &str) -> Place {
        let node = match path.strip_prefix("meta.") {
            Some(path) => tree::get(&self.meta, path),
            None => tree::get(&self.data, path),
        };
        self.place_at(path, node.map_or_else(Span::default, |node| node.span))
    }

    /// Puts `value`, which stands at `from` in another file, at `path`: `meta.…`, `data.…` or a field.
    ///
    /// # Errors
    /// When something on the way is no mapping.
    pub(crate) fn set(&mut self, path: &str, value: Node, from: Option<Place>) -> Result<(), Blocked> {
        let (node, below) = self.target(path);
        tree::set(node, below, value)?;
        let known = path.strip_prefix("data.").unwrap_or(path);
        self.foreign.extend(from.map(|from| (known.to_owned(), from)));
        Ok(())
    }

    /// Appends `value`, which stands at `from` in another file, to the list at `path`.
    ///
    /// # Errors
    /// When there is something else than a list.
    pub(crate) fn append(&mut self, path: &str, value: Node, from: Place) -> Result<(), Blocked> {
        let (node, below) = self.target(path);
        let index = tree::append(node, below, value)?;
        let known = path.strip_prefix("data.").unwrap_or(path);
        self.foreign.insert(format!("{known}.{index}"), from);
        Ok(())
    }

    fn target<'p>(&mut self, path: &'p str) -> (&mut Node, &'p str) {
        match path.strip_prefix("meta.") {
            Some(below) => (&mut self.meta, below),
            None => (&mut self.data, path.strip_prefix("data.").unwrap_or(path)),
        }
    }

    /// A diagnostic of this entry.
    pub(crate) fn report(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, message).entry(&self.id)
    }
}
