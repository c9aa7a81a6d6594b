//! The registry as the front half of the pipeline leaves it: every entry read, typed, its references
//! resolved and its `file://` values replaced by content.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use registry_schema::authored::Definition;
use registry_schema::document::{Node, Span};
use registry_schema::{EntryId, EntryRef};

use crate::diagnostic::{Place, SourceFile};

/// All entries of an application.
#[derive(Debug)]
pub struct Registry {
    /// The root that was walked, absolute; `fs.directory` paths are relative to it.
    pub root: PathBuf,
    /// Entries by id.
    pub entries: BTreeMap<EntryId, Entry>,
    /// Kinds of all entries by id, of those as well that have faults and are left out of `entries`.
    pub kinds: BTreeMap<EntryId, String>,
    /// The sections of `.wippy.yaml` that the loader reads, placeholders unresolved.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its kind.
    pub kind: String,
    /// Its metadata, that of its file merged under it.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// Its own fields, typed.
    pub definition: Definition,
    /// Its own fields as a mapping: all keys but `name`, `kind` and `meta`, or those of `data:`.
    pub data: Node,
    /// The definition file.
    pub file: Arc<SourceFile>,
    /// Where its name stands.
    pub span: Span,
    /// Text files that `file://` values brought in, by dotted field path such as `source`.
    pub included: BTreeMap<String, Arc<SourceFile>>,
    /// Why it can't run here, if so; the entry is carried all the same.
    pub unavailable: Option<String>,
}

impl Entry {
    /// Where the entry starts.
    pub fn place(&self) -> Place {
        Place { file: Arc::clone(&self.file), span: self.span }
    }

    /// Where the value of the field at `path` (dotted, list items by index) stands; the entry's own
    /// place when there is no such field.
    pub fn place_of(&self, path: &str) -> Place {
        match self.node(path) {
            Some(node) if node.span.line > 0 => Place { file: Arc::clone(&self.file), span: node.span },
            _ => self.place(),
        }
    }

    /// The node of the field at `path`.
    pub fn node(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(&self.data, |node, step| match (&node.value, step.parse::<usize>()) {
            (registry_schema::document::Value::Seq(items), Ok(index)) => items.get(index),
            _ => node.get(step),
        })
    }

    /// The place of `line` and `column` (from 1) inside the text of the field at `path`: in the file
    /// that `file://` named, or inside the YAML file.
    pub fn place_inside(&self, path: &str, line: u32, column: u32) -> Place {
        match (self.included.get(path), self.node(path)) {
            (Some(file), _) => Place { file: Arc::clone(file), span: Span { line, column, len: 1 } },
            (None, Some(node)) if node.span.line > 0 => self.place().inside(node, line, column),
            (None, _) => self.place(),
        }
    }

    /// The id that `reference` means in this entry.
    pub fn resolve(&self, reference: &EntryRef) -> EntryId {
        reference.resolve(self.id.namespace())
    }
}
