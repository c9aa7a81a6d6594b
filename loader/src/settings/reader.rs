//! Reads one setting after the other, and keeps what was read, what is wrong, and what is known.

use std::borrow::Cow;
use std::path::PathBuf;

use registry_schema::authored::scalar::{FromScalar, Scalar, Templated, has_placeholder};
use registry_schema::suggest::nearest;
use serde_json::{Map, Value};

use super::{Effect, Listed, Overrides, Problem, SettingsError, Source};
use crate::environment::Environment;

/// What a list or mapping is where one value is expected.
const SHAPE: &str = "found a list or a mapping, expected one value";

/// The layers, from the top.
pub(super) struct Reader<'a> {
    overrides: &'a Overrides,
    bundle: &'a Map<String, Value>,
    /// Resolves placeholders; none at build time, where what has one counts as not set.
    environment: Option<&'a Environment<'a>>,
    listed: Vec<Listed>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        bundle: &'a Map<String, Value>,
        environment: Option<&'a Environment<'a>>,
        overrides: &'a Overrides,
    ) -> Self {
        Self { overrides, bundle, environment, listed: Vec::new(), problems: Vec::new() }
    }

    /// The setting `path`.
    pub(super) fn value<T: FromScalar>(&mut self, path: &'static str, default: T) -> T {
        self.value_or(path, &[], default)
    }

    /// The same, with other variables that set it.
    pub(super) fn value_or<T: FromScalar>(&mut self, path: &'static str, aliases: &[&str], default: T) -> T {
        let (value, source) = match self.typed(path, aliases) {
            Some((source, value)) => (value, source),
            None => (default, Source::Default),
        };
        self.list(path, shown(&value.to_scalar()), source, Effect::Applied);
        value
    }

    /// The setting `path`, which has no default.
    pub(super) fn optional<T: FromScalar>(&mut self, path: &'static str) -> Option<T> {
        let (source, value) = match self.typed::<T>(path, &[]) {
            Some((source, value)) => (source, Some(value)),
            None => (Source::Default, None),
        };
        let text = value.as_ref().map_or_else(|| "(unset)".to_owned(), |value| shown(&value.to_scalar()));
        self.list(path, text, source, Effect::Applied);
        value
    }

    /// The same, from `low` on.
    pub(super) fn optional_from<T: FromScalar + PartialOrd + Copy>(
        &mut self,
        path: &'static str,
        low: T,
    ) -> Option<T> {
        let value: Option<T> = self.optional(path);
        if let Some(value) = value.as_ref().filter(|value| **value < low) {
            let message =
                format!("found {}, expected {} or more", value.to_scalar(), shown(&low.to_scalar()));
            let source = self.last_source();
            self.problem(path, message, None, source);
        }
        value
    }

    /// A text that is never shown.
    pub(super) fn secret(&mut self, path: &'static str, aliases: &[&str]) -> Option<String> {
        let found = self.typed::<String>(path, aliases);
        let (source, value) = match found {
            Some((source, value)) => (source, Some(value)),
            None => (Source::Default, None),
        };
        let text = if value.is_some() { "(hidden)" } else { "(unset)" };
        self.list(path, text.to_owned(), source, Effect::Applied);
        value
    }

    /// The same as [`Reader::value_or`], within a range.
    pub(super) fn ranged<T: FromScalar + PartialOrd>(
        &mut self,
        path: &'static str,
        aliases: &[&str],
        default: T,
        (low, high): (T, T),
    ) -> T {
        let value = self.value_or(path, aliases, default);
        if value < low || value > high {
            let message = format!(
                "found {}, expected {} to {}",
                value.to_scalar(),
                shown(&low.to_scalar()),
                shown(&high.to_scalar())
            );
            let source = self.last_source();
            self.problem(path, message, None, source);
        }
        value
    }

    /// Where the setting that was read last came from.
    fn last_source(&self) -> Source {
        self.listed.last().map_or(Source::Default, |listed| listed.source.clone())
    }

    /// One of `words`.
    pub(super) fn word<T: Copy + PartialEq>(
        &mut self,
        path: &'static str,
        aliases: &[&str],
        words: &[(&'static str, T)],
        default: T,
    ) -> T {
        let found = self.typed::<String>(path, aliases);
        let (value, source) = match found {
            None => (default, Source::Default),
            Some((source, text)) => match words.iter().find(|(word, _)| *word == text) {
                Some((_, value)) => (*value, source),
                None => {
                    let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                    let message =
                        format!("found `{}`, expected one of {}", text.escape_debug(), known.join(", "));
                    self.problem(path, message, None, source.clone());
                    (default, source)
                }
            },
        };
        let word = words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word);
        self.list(path, shown(&Scalar::Text(Cow::Borrowed(word))), source, Effect::Applied);
        value
    }

    /// Texts: a list in `.wippy.yaml`, with commas between them elsewhere.
    pub(super) fn texts(&mut self, path: &'static str, aliases: &[&str], default: &[&str]) -> Vec<String> {
        let (texts, source) = match self.raw(path, aliases) {
            None => (default.iter().map(|text| (*text).to_owned()).collect(), Source::Default),
            Some((source, Raw::Text(text))) => (split(&text), source),
            Some((source, Raw::Json(value))) => (self.items(path, value), source),
        };
        self.list(path, Value::from(texts.clone()).to_string(), source, Effect::Applied);
        texts
    }

    /// Paths of files: a list or one text in `.wippy.yaml`, with commas between them elsewhere. But a flag of its
    /// own gives one each time, and `variable`, which other programs read as well, gives one. Empty ones don't count.
    pub(super) fn files(&mut self, path: &'static str, variable: &str) -> Vec<PathBuf> {
        let (files, source) = match self.overrides.values(path).filter(|(flag, _)| *flag != "--set") {
            Some((flag, files)) => (files.to_vec(), Source::Flag(flag)),
            None => match self.raw(path, &[variable]) {
                None => (Vec::new(), Source::Default),
                Some((source, Raw::Json(value))) => (self.items(path, value), source),
                Some((source @ Source::Bundle, Raw::Text(file))) => (vec![file], source),
                Some((Source::Environment(name), Raw::Text(file))) if name == variable => {
                    (vec![file], Source::Environment(name))
                }
                Some((source, Raw::Text(files))) => (split(&files), source),
            },
        };
        let files: Vec<String> = files.into_iter().filter(|file| !file.is_empty()).collect();
        self.list(path, Value::from(files.clone()).to_string(), source, Effect::Applied);
        files.into_iter().map(PathBuf::from).collect()
    }

    /// The texts of a list in `.wippy.yaml`.
    fn items(&mut self, path: &'static str, value: &Value) -> Vec<String> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
        if !value.is_array() || texts.len() < items.len() {
            self.problem(path, "expected a list of texts".to_owned(), None, Source::Bundle);
        }
        texts.into_iter().filter_map(|text| self.text(path, text)).collect()
    }

    /// A switch that a variable of the opposite meaning turns off.
    pub(super) fn enabled_unless(&mut self, path: &'static str, disabling: &str, default: bool) -> bool {
        let disabled = self.overrides.variable(disabling).filter(|(_, value)| *value == "true");
        match disabled {
            Some((source, _)) if !self.overrides.paths().any(|(known, _)| known == path) => {
                self.list(path, "false".to_owned(), source, Effect::Applied);
                false
            }
            _ => self.value(path, default),
        }
    }

    /// A documented setting that changes nothing here.
    pub(super) fn without_effect(&mut self, path: &'static str) {
        let (source, value) = match self.raw(path, &[]) {
            None => (Source::Default, "(unset)".to_owned()),
            Some((source, Raw::Text(text))) => (source, shown(&Scalar::Text(Cow::Owned(text)))),
            Some((source, Raw::Json(value))) => (source, value.to_string()),
        };
        self.list(path, value, source, Effect::None);
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Everything that was wrong, and every key that was not asked for.
    pub(super) fn finish(mut self) -> Result<Vec<Listed>, SettingsError> {
        let mut unknown = Vec::new();
        if self.overrides.reads_bundle() {
            for (section, value) in self.bundle {
                self.leaves(section.clone(), value, &mut unknown);
            }
        }
        for (path, flag) in self.overrides.paths() {
            if !self.is_known(path) {
                unknown.push((path.to_owned(), Source::Flag(flag)));
            }
        }
        for (path, source) in unknown {
            let (help, message) = (self.help(&path), "there is no such setting".to_owned());
            self.problems.push(Problem { path, message, help, source, is_unknown: true });
        }
        if self.problems.is_empty() {
            return Ok(self.listed);
        }
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        Err(SettingsError { problems: self.problems })
    }

    fn is_known(&self, path: &str) -> bool {
        self.listed.iter().any(|listed| listed.path == path)
    }

    /// Collects the paths below `path` that are not known.
    fn leaves(&self, path: String, value: &Value, unknown: &mut Vec<(String, Source)>) {
        if self.is_known(&path) {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.leaves(format!("{path}.{name}"), value, unknown);
                }
            }
            Value::Null if self.keys_below(&path).next().is_some() => {}
            _ => unknown.push((path, Source::Bundle)),
        }
    }

    fn keys_below<'s>(&'s self, path: &str) -> impl Iterator<Item = &'s str> {
        let within = format!("{path}.");
        self.listed.iter().filter_map(move |listed| listed.path.strip_prefix(&within))
    }

    fn help(&self, path: &str) -> Option<String> {
        let below: Vec<String> = self.keys_below(path).map(|key| format!("`{key}`")).collect();
        if !below.is_empty() {
            return Some(format!("it is a mapping of {}", below.join(", ")));
        }
        let known = nearest(path, self.listed.iter().map(|listed| listed.path));
        known.map(|known| format!("did you mean `{known}`?"))
    }

    /// The value of `path`, as the topmost layer that has one says it.
    fn raw(&mut self, path: &'static str, aliases: &[&str]) -> Option<(Source, Raw<'a>)> {
        if let Some((source, text)) = self.overrides.get(path, aliases) {
            return Some((source, Raw::Text(text.to_owned())));
        }
        if !self.overrides.reads_bundle() {
            return None;
        }
        let mut parts = path.split('.');
        let section = self.bundle.get(parts.next()?)?;
        let value = parts.try_fold(section, |value, part| value.get(part))?;
        match value {
            Value::Null => None,
            Value::String(text) => Some((Source::Bundle, Raw::Text(self.text(path, text)?))),
            value => Some((Source::Bundle, Raw::Json(value))),
        }
    }

    /// A text of `.wippy.yaml`, its placeholders resolved; `None` where they are not.
    fn text(&mut self, path: &str, text: &str) -> Option<String> {
        if !has_placeholder(text) {
            return Some(text.replace("$${", "${"));
        }
        let resolved = self.environment?.resolve_setting(&Templated::Template(text.to_owned()));
        match resolved {
            Ok(text) => Some(text),
            Err(error) => {
                self.problem(path, error.message().to_owned(), None, Source::Bundle);
                None
            }
        }
    }

    fn typed<T: FromScalar>(&mut self, path: &'static str, aliases: &[&str]) -> Option<(Source, T)> {
        let (source, raw) = self.raw(path, aliases)?;
        let scalar = match raw {
            Raw::Text(text) => Scalar::Text(Cow::Owned(text)),
            Raw::Json(Value::Bool(value)) => Scalar::Bool(*value),
            Raw::Json(Value::Number(number)) => number_scalar(number),
            Raw::Json(_) => {
                self.problem(path, SHAPE.to_owned(), None, source);
                return None;
            }
        };
        match T::from_scalar(scalar) {
            Ok(value) => Some((source, value)),
            Err(error) => {
                let message = format!("found {}, expected {}", error.found, error.expected);
                self.problem(path, message, error.hint, source);
                None
            }
        }
    }

    fn list(&mut self, path: &'static str, value: String, source: Source, effect: Effect) {
        self.listed.push(Listed { path, value, source, effect });
    }

    fn problem(&mut self, path: &str, message: String, help: Option<String>, source: Source) {
        self.problems.push(Problem { path: path.to_owned(), message, help, source, is_unknown: false });
    }
}

/// Texts with commas between them.
fn split(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

/// A value before its type is known.
enum Raw<'a> {
    Text(String),
    /// No text.
    Json(&'a Value),
}

fn number_scalar(number: &serde_json::Number) -> Scalar<'static> {
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match integer {
        Some(value) => Scalar::Integer(value),
        None => Scalar::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A value as `loader config` shows it: texts in quotes.
fn shown(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Float(value) => format!("{value:?}"),
        Scalar::Text(text) => format!("\"{}\"", without_password(text).escape_debug()),
    }
}

/// An address without the user and password that it may hold.
fn without_password(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://***{}", &rest[at..])),
        None => Cow::Borrowed(text),
    }
}
