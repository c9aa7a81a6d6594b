//! What is wrong with a source, said without a place: the same bytes may stand behind many entries.
//!
//! [`crate::componentize`], [`crate::component`] and [`mod@crate::check`] are pure functions of what they
//! are given, so that their results are shared between entries and kept between builds. A fault names
//! the field that it is about and the position inside that field's text; [`Fault::report`] turns it
//! into a diagnostic of one entry.

use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::registry::Entry;

/// A fault of a field, or of a position inside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault it is.
    pub code: Code,
    /// Lower case, no full stop: what was found and what was expected.
    pub message: String,
    /// Dotted path of the field, such as `source`; empty for the entry as a whole.
    pub field: String,
    /// Line and column, both from 1, inside the field's text.
    pub at: Option<(u32, u32)>,
    /// How to mend it.
    pub help: Option<String>,
    /// How bad it is, where that is not the code's own severity.
    pub severity: Severity,
}

impl Fault {
    /// A fault of the whole field, with the code's own severity.
    pub fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        let severity = code.severity();
        Self { code, message: message.into(), field: field.into(), at: None, help: None, severity }
    }

    /// Makes it an error, whatever the code says.
    #[must_use]
    pub fn as_error(mut self) -> Self {
        self.severity = Severity::Error;
        self
    }

    /// Says where in the field's text it is.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.at = Some((line, column));
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The fault as a diagnostic of `entry`.
    pub fn report(&self, entry: &Entry) -> Diagnostic {
        let mut diagnostic =
            Diagnostic::new(self.code, self.message.clone()).entry(&entry.id).at(self.place(entry));
        diagnostic.severity = self.severity;
        diagnostic.help.clone_from(&self.help);
        diagnostic
    }

    fn place(&self, entry: &Entry) -> Place {
        match self.at {
            Some((line, column)) => entry.place_inside(&self.field, line, column),
            None if self.field.is_empty() => entry.place(),
            None => entry.place_of(&self.field),
        }
    }
}

/// The text of `names` for a message: each in backticks, at most twelve, the rest counted.
pub(crate) fn listed<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    const SHOWN_MAX: usize = 12;
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        count if count <= SHOWN_MAX => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN_MAX].join(", "), count - SHOWN_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_short() {
        assert_eq!(listed::<&str>([]), "nothing");
        assert_eq!(listed(["a", "b"]), "`a`, `b`");
        let many: Vec<String> = (0..14).map(|n| n.to_string()).collect();
        assert!(listed(&many).ends_with("`11` and 2 more"));
    }
}
