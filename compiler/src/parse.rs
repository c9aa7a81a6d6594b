//! The second pass: definition files to raw entries.
//!
//! A definition file has a `namespace` and either `entries` or one entry at its top; any other YAML
//! file is not ours and is skipped. Faults of one entry or file don't stop the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use registry_schema::document::{FILE_BYTES_MAX, Key, Node, Span, Value};
use registry_schema::version::AUTHORED_VERSION;
use registry_schema::{EntryId, Namespace};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, Severity, SourceFile};
use crate::raw::RawEntry;
use crate::read;
use crate::walk::{Candidate, Walked};
use registry_schema::suggest::{did_you_mean, nearest};

/// Keys of a definition file that are no field of an entry.
const FILE_KEYS: [&str; 4] = ["version", "namespace", "meta", "entries"];

/// Reads the entries of all files that were found.
pub(crate) fn parse(walked: &Walked, diagnostics: &mut Diagnostics) -> Vec<RawEntry> {
    let mut entries = Vec::new();
    for candidate in &walked.files {
        if let Some((file, node)) = read_file(candidate, diagnostics) {
            File { file, candidate, diagnostics, entries: &mut entries }.read(&node);
        }
    }
    entries
}

/// Reads a file, if it is one of ours as far as can be told.
fn read_file(candidate: &Candidate, diagnostics: &mut Diagnostics) -> Option<(Arc<SourceFile>, Node)> {
    let text = match read::bytes(&candidate.path, FILE_BYTES_MAX + 1) {
        Ok(bytes) if !is_ours(&candidate.path, &bytes) => return None,
        Ok(bytes) => read::checked(bytes),
        Err(error) => Err(read::TextError::Unreadable(error)),
    };
    match read::document(candidate.shown.clone(), text) {
        Ok(read) => Some(read),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            None
        }
    }
}

/// Whether a file is worth a fault when it can't be read: an index is, and what names a namespace at
/// its top. Other files may be templates or several documents and are not ours to judge.
fn is_ours(path: &Path, bytes: &[u8]) -> bool {
    if path.file_stem().is_some_and(|stem| stem == "_index") {
        return true;
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    bytes.split(|byte| *byte == b'\n').any(|line| {
        let line = if is_json { line.trim_ascii_start() } else { line };
        let line = line.strip_prefix(b"{").map_or(line, <[u8]>::trim_ascii_start);
        [&b"namespace"[..], b"\"namespace\"", b"'namespace'"]
            .iter()
            .any(|key| line.strip_prefix(*key).is_some_and(|rest| rest.trim_ascii_start().starts_with(b":")))
    })
}

/// Where an entry stands in its file.
#[derive(Clone, Copy)]
enum Position<'n> {
    /// It is the file.
    Top,
    /// In `entries`, beside the file's `meta`.
    Listed(Option<&'n Node>),
}

/// One file that is being read.
struct File<'a> {
    file: Arc<SourceFile>,
    candidate: &'a Candidate,
    diagnostics: &'a mut Diagnostics,
    entries: &'a mut Vec<RawEntry>,
}

impl File<'_> {
    fn read(&mut self, node: &Node) {
        let Value::Map(pairs) = &node.value else { return };
        let Some(namespace) = node.get("namespace") else {
            if let Some((key, _)) = pairs.iter().find(|(key, _)| key.name == "entries") {
                self.without_namespace(pairs, key);
            }
            return;
        };
        let is_entry = node.get("name").is_some() && node.get("kind").is_some();
        let Some(entries) = node.get("entries") else {
            if is_entry && self.checked_version(node) {
                self.entry(node, namespace, Position::Top);
            } else if !is_entry {
                self.unknown_keys(pairs);
            }
            return;
        };
        if !self.checked_version(node) {
            return;
        }
        self.unknown_keys(pairs);
        match &entries.value {
            Value::Null => {}
            Value::Seq(items) => {
                for item in items {
                    self.entry(item, namespace, Position::Listed(node.get("meta")));
                }
            }
            other => {
                let message = format!("found {}, expected a list of entries", other.describe());
                self.report(Code::EntryShape, message, entries.span);
            }
        }
    }

    fn without_namespace(&mut self, pairs: &[(Key, Node)], entries: &Key) {
        let names = pairs.iter().map(|(key, _)| key.name.as_str());
        let diagnostic = Diagnostic::new(
            Code::NamespaceMissing,
            "the file has `entries` and no `namespace`, so it is skipped",
        );
        let help = match nearest("namespace", names) {
            Some(near) => format!("`{near}` may be meant to be `namespace`"),
            None => "add `namespace: …` at the top of the file".to_owned(),
        };
        self.diagnostics.push(diagnostic.at(self.place(entries.span)).help(help));
    }

    /// Whether the file is of a version that is read.
    fn checked_version(&mut self, node: &Node) -> bool {
        let Some(version) = node.get("version") else { return true };
        let found = match &version.value {
            Value::Null => return true,
            Value::String(text) => text.clone(),
            // Unquoted, `1.0` is a number, and so is `1`.
            Value::Float(number) if *number == 1.0 => return true,
            Value::Int(1) => return true,
            other => other.describe().to_owned(),
        };
        if matches!(found.as_str(), AUTHORED_VERSION | "1") {
            return true;
        }
        let message = format!("found the version `{found}`, expected `\"{AUTHORED_VERSION}\"`");
        let is_later = is_later_format(&found);
        let mut diagnostic = Diagnostic::new(Code::FormatVersion, message).at(self.place(version.span));
        if !is_later {
            diagnostic.severity = Severity::Warning;
            diagnostic.help = Some(
                "the file is read as one of this version; that of a module stands in `wippy.yaml`".to_owned(),
            );
        }
        self.diagnostics.push(diagnostic);
        !is_later
    }

    /// Keys beside `entries` have no meaning; without `entries`, one may be a misspelt `entries`.
    fn unknown_keys(&mut self, pairs: &[(Key, Node)]) {
        let has_entries = pairs.iter().any(|(key, _)| key.name == "entries");
        for (key, _) in pairs.iter().filter(|(key, _)| !FILE_KEYS.contains(&key.name.as_str())) {
            let near = nearest(&key.name, FILE_KEYS);
            if !has_entries && near != Some("entries") {
                continue;
            }
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a file has the keys {}", list(&FILE_KEYS)),
            };
            let message = format!("a definition file has no key `{}`", key.name);
            let diagnostic = Diagnostic::new(Code::UnknownField, message);
            self.diagnostics.push(diagnostic.at(self.place(key.span)).help(help));
        }
    }

    fn entry(&mut self, node: &Node, namespace: &Node, position: Position<'_>) {
        let Value::Map(pairs) = &node.value else {
            let message =
                format!("found {}, expected an entry with `name` and `kind`", node.value.describe());
            self.report(Code::EntryShape, message, node.span);
            return;
        };
        let file_meta = match position {
            Position::Top => None,
            Position::Listed(meta) => meta,
        };
        let id = self.id(node, namespace);
        let kind = self.kind(node, pairs);
        let meta = self.meta(node.get("meta"), file_meta);
        let (Some((id, span)), Some((kind, kind_span)), Some(meta)) = (id, kind, meta) else { return };
        self.entries.push(RawEntry {
            id,
            span,
            kind,
            kind_span,
            meta,
            data: data(node, pairs, position),
            file: Arc::clone(&self.file),
            folder: self.candidate.path.parent().map(Path::to_owned).unwrap_or_default(),
            origin: Arc::clone(&self.candidate.origin),
            foreign: BTreeMap::new(),
        });
    }

    /// The id of an entry: its name in the file's namespace, or written in full as `{ns:, name:}`.
    fn id(&mut self, node: &Node, namespace: &Node) -> Option<(EntryId, Span)> {
        let Some(written) = node.get("name") else {
            self.report(Code::EntryShape, "an entry has no `name`".to_owned(), node.span);
            return None;
        };
        let (name, space) = match &written.value {
            Value::Map(_) => (written.get("name").unwrap_or(written), written.get("ns").unwrap_or(namespace)),
            _ => (written, namespace),
        };
        let own: Result<Namespace, _> = self.text(space, "a namespace")?.parse();
        let text = self.text(name, "a name")?;
        let (result, span) = match own {
            Ok(own) => (EntryId::new(own, text), name.span),
            Err(error) => (Err(error), space.span),
        };
        match result {
            Ok(id) => Some((id, span)),
            Err(error) => {
                self.report(Code::InvalidId, error.to_string(), span);
                None
            }
        }
    }

    fn kind(&mut self, node: &Node, pairs: &[(Key, Node)]) -> Option<(String, Span)> {
        let Some(kind) = node.get("kind") else {
            let keys = pairs.iter().map(|(key, _)| key.name.as_str());
            let near = keys.filter(|key| *key != "name").find(|key| nearest(key, ["kind"]).is_some());
            let span = node.get("name").map_or(node.span, |name| name.span);
            let place = self.place(span);
            let mut diagnostic = Diagnostic::new(Code::EntryShape, "an entry has no `kind`").at(place);
            diagnostic.help = near.map(|near| format!("`{near}` may be meant to be `kind`"));
            self.diagnostics.push(diagnostic);
            return None;
        };
        let text = self.text(kind, "a kind")?;
        if text.is_empty() {
            self.report(Code::EntryShape, "the kind is empty".to_owned(), kind.span);
            return None;
        }
        Some((text.to_owned(), kind.span))
    }

    /// The entry's metadata over that of the file.
    fn meta(&mut self, own: Option<&Node>, file: Option<&Node>) -> Option<Node> {
        let mut merged: Vec<(Key, Node)> = Vec::new();
        for node in [own, file].into_iter().flatten() {
            match &node.value {
                Value::Null => {}
                Value::Map(pairs) => {
                    for (key, value) in pairs {
                        if !merged.iter().any(|(known, _)| known.name == key.name) {
                            merged.push((key.clone(), value.clone()));
                        }
                    }
                }
                other => {
                    let message = format!("found {}, expected a mapping as `meta`", other.describe());
                    self.report(Code::EntryShape, message, node.span);
                    return None;
                }
            }
        }
        let span = own.or(file).map_or_else(Span::default, |node| node.span);
        Some(Node { value: Value::Map(merged), span })
    }

    fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if node.as_str().is_none() {
            let message = format!("found {}, expected {what} as text", node.value.describe());
            let help = match node.value {
                Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => Some("put it in quotes"),
                _ => None,
            };
            let mut diagnostic = Diagnostic::new(Code::EntryShape, message).at(self.place(node.span));
            diagnostic.help = help.map(str::to_owned);
            self.diagnostics.push(diagnostic);
        }
        node.as_str()
    }

    fn report(&mut self, code: Code, message: String, span: Span) {
        let place = self.place(span);
        self.diagnostics.push(Diagnostic::new(code, message).at(place));
    }

    fn place(&self, span: Span) -> Place {
        Place { file: Arc::clone(&self.file), span }
    }
}

/// Whether `version` is that of a later format, such as `2.0`, rather than of a module, such as `0.4.1`.
fn is_later_format(version: &str) -> bool {
    let number = version.strip_suffix(".0").unwrap_or(version);
    number.parse::<u32>().is_ok_and(|number| number > 1)
}

/// The entry's own fields: a `data` mapping if it stands alone, else all keys that are not the entry's
/// frame, which at the top includes that of the file.
fn data(node: &Node, pairs: &[(Key, Node)], position: Position<'_>) -> Node {
    let frame = |key: &Key| match key.name.as_str() {
        "name" | "kind" | "meta" => true,
        "namespace" | "version" => matches!(position, Position::Top),
        _ => false,
    };
    let own: Vec<&(Key, Node)> = pairs.iter().filter(|(key, _)| !frame(key)).collect();
    if let [(key, data)] = own.as_slice()
        && key.name == "data"
        && matches!(data.value, Value::Map(_))
    {
        return data.clone();
    }
    Node { value: Value::Map(own.into_iter().cloned().collect()), span: node.span }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Did-you-mean for kinds.
pub(crate) fn similar_kind(kind: &str) -> Option<String> {
    use registry_schema::authored::{CARRIED_KINDS, Definition};
    did_you_mean(kind, Definition::KINDS.iter().chain(CARRIED_KINDS).copied())
}
