//! Fields of an entry, their placeholders resolved.

use registry_schema::authored::scalar::{FromScalar, ScalarText, Templated};
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, EntryRef, ErrorKind};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::error::Error;

/// The fields of one entry.
pub(super) struct Fields<'a> {
    entry: &'a Entry,
    environment: &'a Environment<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(entry: &'a Entry, environment: &'a Environment<'a>) -> Self {
        Self { entry, environment }
    }

    /// The entry's data as its kind's type.
    ///
    /// # Errors
    /// `INVALID`, naming the entry.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.entry.data)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("`{}`: {error}", self.entry.id)))
    }

    /// The value of `field`.
    ///
    /// # Errors
    /// Those of the placeholder, naming entry, field and variable.
    pub(super) fn get<T: FromScalar + Clone>(&self, field: &str, value: &Templated<T>) -> Result<T, Error> {
        let resolved = self.environment.resolve(self.entry.id.namespace(), field, value);
        resolved.map_err(|error| error.wrapped(&format!("`{}`", self.entry.id)))
    }

    /// [`Fields::get`] of a field that may be left out.
    ///
    /// # Errors
    /// Those of [`Fields::get`].
    pub(super) fn optional<T: FromScalar + Clone>(
        &self,
        field: &str,
        value: Option<&Templated<T>>,
    ) -> Result<Option<T>, Error> {
        value.map(|value| self.get(field, value)).transpose()
    }

    /// Every value of a map of options, by name.
    ///
    /// # Errors
    /// Those of [`Fields::get`].
    pub(super) fn options(
        &self,
        field: &str,
        values: &BTreeMap<String, Templated<ScalarText>>,
    ) -> Result<Options, Error> {
        let each = values.iter().map(|(name, value)| {
            let value = self.get(&format!("{field}.{name}"), value)?;
            Ok((normal(name), (name.clone(), value.0)))
        });
        Ok(Options(each.collect::<Result<_, Error>>()?))
    }

    /// The value of the variable `name`, as the deprecated `*_env` fields name it.
    ///
    /// # Errors
    /// `NOT_FOUND` when it is not set.
    pub(super) fn variable(&self, field: &str, name: &str) -> Result<String, Error> {
        let id = self.environment.find(self.entry.id.namespace(), name)?;
        let value = id.map(|id| self.environment.variable(&id)).transpose()?.flatten();
        value.ok_or_else(|| {
            let message = format!("`{}`: `{field}`: variable `{name}` is not set", self.entry.id);
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// The id that `meta.FIELD` refers to.
    pub(super) fn meta_reference(&self, field: &str) -> Option<EntryId> {
        let reference: EntryRef = serde_json::from_value(self.entry.meta.get(field)?.clone()).ok()?;
        Some(reference.resolve(self.entry.id.namespace()))
    }
}

/// Options of a router's middleware. The dotted spelling and the legacy one with underscores are the same.
#[derive(Debug, Default)]
pub(super) struct Options(BTreeMap<String, (String, String)>);

fn normal(name: &str) -> String {
    name.replace('.', "_")
}

impl Options {
    /// The options of `middleware`, all of which must be among `known`, written with points.
    ///
    /// # Errors
    /// The option that is not: it may restrict what the middleware lets through.
    pub(super) fn of<'o>(&'o self, middleware: &str, known: &[&str]) -> Result<Own<'o>, String> {
        let prefix = format!("{middleware}_");
        let known: Vec<String> = known.iter().map(|name| format!("{prefix}{}", normal(name))).collect();
        let mut own = self.0.iter().filter(|(name, _)| name.starts_with(&prefix));
        match own.find(|(name, _)| !known.contains(name)) {
            Some((_, (written, _))) => Err(format!("the option `{written}` is not understood")),
            None => Ok(Own { options: self, prefix }),
        }
    }
}

/// The options of one middleware.
pub(super) struct Own<'o> {
    options: &'o Options,
    prefix: String,
}

impl<'o> Own<'o> {
    fn written(&self, name: &str) -> Option<&'o (String, String)> {
        self.options.0.get(&format!("{}{}", self.prefix, normal(name)))
    }

    /// The option `name`, which is written with points.
    pub(super) fn text(&self, name: &str) -> Option<&'o str> {
        self.written(name).map(|(_, value)| value.as_str())
    }

    /// The option `name` as a value of its type.
    ///
    /// # Errors
    /// What is expected of it.
    pub(super) fn parsed<T: FromScalar>(&self, name: &str) -> Result<Option<T>, String> {
        let Some((written, value)) = self.written(name) else { return Ok(None) };
        T::from_text(value).map(Some).map_err(|error| format!("the option `{written}`: {error}"))
    }

    /// The parts of a list with commas.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        let parts = self.text(name)?.split(',').map(str::trim).filter(|part| !part.is_empty());
        Some(parts.map(str::to_owned).collect())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
        let pairs =
            pairs.iter().map(|(name, value)| (normal(name), ((*name).to_owned(), (*value).to_owned())));
        Options(pairs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::options;

    #[test]
    fn both_spellings_are_the_same() {
        let options = options(&[("cors.allow.origins", "a, b,"), ("cors_max_age", "9"), ("other.x", "")]);
        let own = options.of("cors", &["allow.origins", "max.age"]).unwrap();
        assert_eq!(own.list("allow.origins"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(own.parsed::<u64>("max.age"), Ok(Some(9)));
        assert_eq!(own.text("missing"), None);
        assert!(own.parsed::<bool>("max.age").unwrap_err().starts_with("the option `cors_max_age`: "));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let options = options(&[("ratelimit.requests", "1"), ("ratelimit.per_user", "yes")]);
        let problem = options.of("ratelimit", &["requests"]).err().unwrap();
        assert_eq!(problem, "the option `ratelimit.per_user` is not understood");
    }
}
