//! What the YAML reader's errors say: in our words where a reader of ours would not understand the
//! library's, and without the position, which is carried apart.

use std::fmt;

use crate::document::{ALIASED_NODES_MAX, DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX, Span};

/// Whether a file is wrong or too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YamlFault {
    /// The text is no YAML that can be read.
    Syntax,
    /// A bound of this module is exceeded.
    Limit,
}

/// Why a file could not be read as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// Whether the file is wrong or too much.
    pub fault: YamlFault,
    /// Lower case, without position.
    pub message: String,
    /// Where reading stopped.
    pub span: Span,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for YamlError {}

/// The library's error in our words where a reader of ours would not understand the library's.
pub(crate) fn yaml_error(error: &serde_saphyr::Error) -> YamlError {
    use serde_saphyr::Error;
    let error = match error.without_snippet() {
        Error::AliasError { error, .. } => error.without_snippet(),
        other => other,
    };
    let span = error.location().map(Span::from).unwrap_or_default();
    let limit = |message: String| YamlError { fault: YamlFault::Limit, message, span };
    let syntax = |message: String| YamlError { fault: YamlFault::Syntax, message, span };
    match error {
        Error::Budget { breach, .. } => limit_error(breach, span),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => limit(too_many_aliases()),
        Error::DuplicateMappingKey { key, .. } => syntax(match key {
            Some(key) => format!("the key `{key}` stands twice in one mapping"),
            None => "a key stands twice in one mapping".to_owned(),
        }),
        Error::NonFiniteFloat { .. } => syntax("infinite numbers and `.nan` are not accepted".to_owned()),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            syntax("an alias stands inside the value that its anchor names".to_owned())
        }
        other => {
            let message = message(other);
            match unplaced_key(&message) {
                Some((message, span)) => YamlError { fault: YamlFault::Syntax, message, span },
                // The scanner's bound on nested brackets has no kind of its own.
                None if message == "recursion limit exceeded" => limit(too_deep()),
                None => syntax(message),
            }
        }
    }
}

fn too_deep() -> String {
    format!("values are nested more than {DEPTH_MAX} deep")
}

fn too_many_aliases() -> String {
    format!("aliases stand for more than {ALIASED_NODES_MAX} values")
}

fn limit_error(breach: &serde_saphyr::budget::BudgetBreach, span: Span) -> YamlError {
    use serde_saphyr::budget::BudgetBreach as Breach;
    let (fault, message) = match breach {
        Breach::Documents { .. } => {
            (YamlFault::Syntax, "a second document begins, expected one in a file".to_owned())
        }
        Breach::Depth { .. } => (YamlFault::Limit, too_deep()),
        Breach::RecordedAnchorEvents { .. } | Breach::RecordedAnchorBytes { .. } => {
            (YamlFault::Limit, too_many_aliases())
        }
        Breach::Nodes { .. } | Breach::Events { .. } => {
            (YamlFault::Limit, format!("the file has more than {NODES_MAX} values, aliases expanded"))
        }
        Breach::ScalarBytes { .. } => {
            (YamlFault::Limit, format!("texts have more than {FILE_BYTES_MAX} bytes, aliases expanded"))
        }
        _ => (YamlFault::Limit, "the file exceeds a limit of the reader".to_owned()),
    };
    YamlError { fault, message, span }
}

/// The library's message in one line, without the position, which is carried apart.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let mut text = text.lines().next().unwrap_or_default().to_owned();
    if let Some(location) = error.location() {
        let (line, column) = (location.line(), location.column());
        for tail in [
            format!(" at line {line}, column {column}"),
            format!(" (line {line}, column {column})"),
            format!("line {line} column {column}: "),
        ] {
            text = text.replace(&tail, "");
        }
    }
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (None, _) => "unreadable".to_owned(),
        // An acronym at the start stays as it is.
        (Some(_), Some(second)) if second.is_uppercase() => text,
        (Some(first), _) => first.to_lowercase().chain(chars).collect(),
    }
}

/// Begins the message about a key, and its place follows: errors of visitors have none in this library.
const KEY_MARK: &str = "key at ";

pub(crate) fn key_error(found: &str, span: Span) -> String {
    format!("{KEY_MARK}{}:{}:{found} can't be a key", span.line, span.column)
}

fn unplaced_key(message: &str) -> Option<(String, Span)> {
    let mut parts = message.strip_prefix(KEY_MARK)?.splitn(3, ':');
    let (line, column) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((parts.next()?.to_owned(), Span { line, column, len: 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    fn error(text: &str) -> (YamlFault, String, u32, u32) {
        let YamlError { fault, message, span } = parse(text).unwrap_err();
        (fault, message, span.line, span.column)
    }

    #[test]
    fn errors_say_what_and_where() {
        use YamlFault::{Limit, Syntax};
        for (text, fault, message, line, column) in [
            ("a: [1,\n", Syntax, "unclosed bracket '['", 1, 4),
            ("a: 1\na: 2\n", Syntax, "the key `a` stands twice in one mapping", 2, 1),
            ("a: *b\n", Syntax, "alias references unknown anchor", 1, 4),
            ("a: &a [*a]\n", Syntax, "an alias stands inside the value that its anchor names", 1, 8),
            ("a: 1\n? [b]\n: 2\n", Syntax, "a list can't be a key", 2, 3),
            ("---\na: 1\n---\nb: 2\n", Syntax, "a second document begins, expected one in a file", 3, 1),
            ("a: .inf\n", Syntax, "infinite numbers and `.nan` are not accepted", 1, 4),
            (&"[".repeat(200), Limit, "values are nested more than 96 deep", 1, 97),
        ] {
            assert_eq!(error(text), (fault, message.to_owned(), line, column), "{text:?}");
        }
    }

    #[test]
    fn what_multiplies_is_refused() {
        let mut nested = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let inner = vec![format!("*a{}", level - 1); 10].join(",");
            nested.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert_eq!(error(&nested).1, "aliases stand for more than 1000000 values");
        let flat = format!("b: &b [{}]\na:\n{}", "x,".repeat(1000), "- *b\n".repeat(40_000));
        assert_eq!(error(&flat).1, "aliases stand for more than 1000000 values");
        let text = format!("b: &b {}\na:\n{}", "x".repeat(100_000), "- *b\n".repeat(1_000));
        assert_eq!(error(&text).0, YamlFault::Limit);
    }
}
