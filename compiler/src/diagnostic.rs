//! What the compiler says: faults and warnings with a stable code, a place and a way to mend them.
//!
//! Every pass reports into one [`Diagnostics`], and goes on with what is independent of the fault, so
//! that one run shows all. Rendering is [`crate::report`]'s.

use std::sync::Arc;

use registry_schema::EntryId;
use registry_schema::document::{Node, Span};

pub use crate::codes::Code;

/// A text file that diagnostics point into.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as shown: relative to the root, with `/`.
    pub path: String,
    /// The whole text, for excerpts.
    pub text: String,
}

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where in it; line 0 means the file as a whole.
    pub span: Span,
}

impl Place {
    /// The place of `line` and `column` (both from 1) of the text that stands in `node`, a scalar of
    /// this place's file: inline WAT and WIT are reported at their own line in the YAML file.
    pub fn inside(&self, node: &Node, line: u32, column: u32) -> Self {
        Self {
            file: Arc::clone(&self.file),
            span: crate::inline::locate(&self.file.text, node, line, column),
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The build fails.
    Error,
    /// The build goes on; an error with `--strict`.
    Warning,
}

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of fault it is; also says its severity.
    pub code: Code,
    /// Its severity after `--strict` was applied.
    pub severity: Severity,
    /// Lower case, no full stop: what was found and what was expected, literals in backticks.
    pub message: String,
    /// The entry that it is about.
    pub entry: Option<EntryId>,
    /// Where it is.
    pub place: Option<Place>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic of `code` with its default severity.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            entry: None,
            place: None,
            help: None,
        }
    }

    /// Says which entry it is about.
    #[must_use]
    pub fn entry(mut self, id: &EntryId) -> Self {
        self.entry = Some(id.clone());
        self
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether warnings are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Warnings stay warnings.
    #[default]
    Lenient,
    /// `--strict`: every warning is an error.
    Strict,
}

/// Everything that was said in a run.
#[derive(Debug, Default)]
pub struct Diagnostics {
    strictness: Strictness,
    all: Vec<Diagnostic>,
}

impl Diagnostics {
    /// An empty collection.
    pub fn new(strictness: Strictness) -> Self {
        Self { strictness, all: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        if self.strictness == Strictness::Strict {
            diagnostic.severity = Severity::Error;
        }
        self.all.push(diagnostic);
    }

    /// Adds several.
    pub fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        diagnostics.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether the build must fail.
    pub fn has_errors(&self) -> bool {
        self.all.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All of them in stable order: by file, line, column, code, message; those without a place last.
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        self.all.sort_by(|a, b| {
            let key = |d: &Diagnostic| {
                let place = d.place.as_ref().map(|p| (p.file.path.clone(), p.span.line, p.span.column));
                (place.is_none(), place, d.entry.clone(), d.code.as_str(), d.message.clone())
            };
            key(a).cmp(&key(b))
        });
        // Two passes may find the same: the first to say it has the better help.
        self.all.dedup_by(|b, a| {
            a.code == b.code && a.message == b.message && a.place == b.place && a.entry == b.entry
        });
        self.all
    }
}
