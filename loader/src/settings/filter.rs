//! What is logged: a level, and levels of parts.
//!
//! `info`, `warn,app.orders=debug`, `off,app:import=info`. A part is the beginning of an entry's id or of a
//! module's name (`loader::http`); the longest that fits decides.

use std::borrow::Cow;

use registry_schema::authored::scalar::{FromScalar, Scalar, ScalarError};

use crate::guest_log::Level;

/// A level, or nothing at all.
type Threshold = Option<Level>;

/// Which records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// As written.
    text: String,
    rest: Threshold,
    /// Longest first.
    parts: Vec<(String, Threshold)>,
}

impl Filter {
    /// Whether a record of `level` about `part` is written.
    pub fn passes(&self, level: Level, part: &str) -> bool {
        let found = self.parts.iter().find(|(prefix, _)| part.starts_with(prefix.as_str()));
        found.map_or(self.rest, |(_, threshold)| *threshold).is_some_and(|threshold| level >= threshold)
    }

    /// The lowest level that any part has.
    pub fn lowest(&self) -> Option<Level> {
        let thresholds = self.parts.iter().map(|(_, threshold)| threshold).chain([&self.rest]);
        thresholds.flatten().min().copied()
    }

    /// The same, but nothing below `level`.
    pub fn at_least(mut self, level: Level) -> Self {
        let thresholds = self.parts.iter_mut().map(|(_, threshold)| threshold).chain([&mut self.rest]);
        for threshold in thresholds.flatten() {
            *threshold = level.max(*threshold);
        }
        self
    }

    /// Nothing at all.
    pub fn off() -> Self {
        Self { text: "off".to_owned(), rest: None, parts: Vec::new() }
    }

    fn read(text: &str) -> Option<Self> {
        // Parts alone add to what is logged anyway.
        let mut filter = Self { text: text.to_owned(), rest: Some(Level::Info), parts: Vec::new() };
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            match directive.split_once('=') {
                Some((part, level)) => filter.parts.push((part.trim().to_owned(), threshold(level.trim())?)),
                None => filter.rest = threshold(directive)?,
            }
        }
        filter.parts.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
        Some(filter)
    }
}

impl Default for Filter {
    /// `info`.
    fn default() -> Self {
        Self { text: "info".to_owned(), rest: Some(Level::Info), parts: Vec::new() }
    }
}

impl FromScalar for Filter {
    const EXPECTED: &'static str = "`debug`, `info`, `warn`, `error` or `off`, or `PREFIX=LEVEL` of these";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        let read = match &scalar {
            Scalar::Text(text) => Self::read(text),
            _ => None,
        };
        read.ok_or_else(|| ScalarError {
            found: scalar.to_string(),
            expected: Self::EXPECTED.to_owned(),
            hint: None,
        })
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(&self.text))
    }
}

fn threshold(word: &str) -> Option<Threshold> {
    Some(match word.to_ascii_lowercase().as_str() {
        "off" => None,
        "trace" | "debug" => Some(Level::Debug),
        "info" => Some(Level::Info),
        "warn" | "warning" => Some(Level::Warn),
        "error" => Some(Level::Error),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::from_text(text).unwrap()
    }

    #[test]
    fn the_longest_part_that_fits_decides() {
        let filter = filter("warn, app=debug ,app.orders=off,app.orders:audit=info");
        for (level, part, passes) in [
            (Level::Info, "other:x", false),
            (Level::Warn, "other:x", true),
            (Level::Debug, "app:x", true),
            (Level::Error, "app.orders:x", false),
            (Level::Info, "app.orders:audit", true),
            (Level::Debug, "app.orders:audit", false),
        ] {
            assert_eq!(filter.passes(level, part), passes, "{level} {part}");
        }
        assert_eq!(filter.lowest(), Some(Level::Debug));
        let raised = filter.at_least(Level::Warn);
        assert!(!raised.passes(Level::Info, "app:x"));
        assert!(!raised.passes(Level::Error, "app.orders:x"));
    }

    #[test]
    fn words_of_any_case_and_nothing_else() {
        assert!(filter("").passes(Level::Info, "x") && !filter("INFO").passes(Level::Debug, "x"));
        assert_eq!(filter("off").lowest(), None);
        assert!(filter("app=debug").passes(Level::Info, "other"));
        assert_eq!(
            Filter::from_text("loud").unwrap_err().to_string(),
            "found `loud`, expected `debug`, `info`, `warn`, `error` or `off`, or `PREFIX=LEVEL` of these"
        );
    }
}
