//! The environment registry: `env.variable` entries, their storages, and placeholders
//! (`en/system/env.md`).
//!
//! A name is looked up as a variable's public name, then as an entry id, then as an entry's name in the
//! asking entry's own namespace. Values are read when they are asked for, never kept.

#[cfg(feature = "lua")]
mod change;
mod file;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use registry_schema::authored::env::{EnvStorageFile, EnvStorageRouter, EnvStorageStatic, EnvVariable};
#[cfg(feature = "lua")]
use registry_schema::authored::scalar::ScalarError;
#[cfg(feature = "lua")]
use registry_schema::authored::scalar::has_placeholder;
use registry_schema::authored::scalar::{FromScalar, ScalarValue, Templated};
use registry_schema::manifest::Entry;
use registry_schema::manifest_file::Manifest;
use registry_schema::{EntryId, EntryRef, ErrorKind, Namespace};
#[cfg(feature = "lua")]
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::ENV_DEPTH_MAX;
#[cfg(feature = "lua")]
use crate::data::{Data, Table};
use crate::error::Error;

/// What a loader keeps of its variables.
#[derive(Default)]
pub(crate) struct Variables {
    /// Variables by public name, found when one is first asked for.
    names: OnceLock<BTreeMap<String, EntryId>>,
    /// What was written to each `env.storage.memory`.
    memory: Mutex<HashMap<EntryId, HashMap<String, String>>>,
}

/// Reads variables of one bundle.
pub(crate) struct Environment<'a> {
    manifest: &'a Manifest,
    /// Folder that `file_path` is relative to.
    root: PathBuf,
    variables: &'a Variables,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(manifest: &'a Manifest, root: PathBuf, variables: &'a Variables) -> Self {
        Self { manifest, root, variables }
    }

    #[cfg(any(feature = "lua", feature = "wasi", test))]
    /// The value of the `env.variable` entry `id`; `None` when nothing sets it and it has no default.
    pub(crate) fn variable(&self, id: &EntryId) -> Result<Option<String>, Error> {
        self.variable_at(id, 0)
    }

    /// `field` of an entry in `own`, its placeholders resolved.
    ///
    /// # Errors
    /// What is wrong with it: field and variable are named.
    pub(crate) fn resolve<T: FromScalar + Clone>(
        &self,
        own: &Namespace,
        field: &str,
        value: &Templated<T>,
    ) -> Result<T, Error> {
        match value {
            Templated::Value(value) => Ok(value.clone()),
            Templated::Template(text) => {
                self.resolve_text(own, text).map_err(|error| error.wrapped(&format!("`{field}`")))
            }
        }
    }

    /// The value of `text`, its placeholders resolved.
    fn resolve_text<T: FromScalar>(&self, own: &Namespace, text: &str) -> Result<T, Error> {
        let resolved = self.interpolate(own, text, 0)?;
        T::from_text(&resolved).map_err(|error| invalid(format!("`{text}`: {error}")))
    }

    /// What is wrong with the placeholders in `value` and all below it, of an entry in `own`.
    #[cfg(feature = "lua")]
    pub(crate) fn problems(&self, own: &Namespace, field: &str, value: &serde_json::Value) -> Vec<Error> {
        use serde_json::Value;
        let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        match value {
            Value::String(text) if has_placeholder(text) => {
                let resolved = self.resolve_text::<String>(own, text);
                resolved.err().map(|error| error.wrapped(&format!("`{field}`"))).into_iter().collect()
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .flat_map(|(index, item)| self.problems(own, &format!("{field}[{index}]"), item))
                    .collect()
            }
            Value::Object(fields) => {
                fields.iter().flat_map(|(name, value)| self.problems(own, &below(name), value)).collect()
            }
            _ => Vec::new(),
        }
    }

    #[cfg(feature = "lua")]
    /// `field` of an entry in `own` that may be text, number or switch. A value that is one placeholder and
    /// nothing else has the type of the variable's default.
    pub(crate) fn resolve_scalar(
        &self,
        own: &Namespace,
        field: &str,
        value: &Templated<ScalarValue>,
    ) -> Result<ScalarValue, Error> {
        let text = match value {
            Templated::Value(value) => return Ok(value.clone()),
            Templated::Template(text) => text,
        };
        let resolved = self.interpolate(own, text, 0)?;
        let typed = match self.typed_default(own, text)? {
            Some(ScalarValue::Bool(_)) => bool::from_text(&resolved).map(ScalarValue::Bool),
            Some(ScalarValue::Integer(_)) => i64::from_text(&resolved).map(ScalarValue::Integer),
            Some(ScalarValue::Float(_)) => f64::from_text(&resolved).map(ScalarValue::Float),
            Some(ScalarValue::Text(_)) | None => Ok(ScalarValue::Text(resolved)),
        };
        typed.map_err(|error: ScalarError| invalid(format!("`{field}`: {error}")))
    }

    #[cfg(feature = "lua")]
    /// `value` of an entry in `own`, every text in it resolved like a scalar.
    pub(crate) fn resolve_data(
        &self,
        own: &Namespace,
        field: &str,
        value: &serde_json::Value,
    ) -> Result<Data, Error> {
        use serde_json::Value;
        Ok(match value {
            Value::String(_) => {
                let text = Templated::<ScalarValue>::deserialize(value);
                let text = text.map_err(|error| invalid(format!("`{field}`: {error}")))?;
                match self.resolve_scalar(own, field, &text)? {
                    ScalarValue::Bool(value) => Data::Bool(value),
                    ScalarValue::Integer(value) => Data::Integer(value),
                    ScalarValue::Float(value) => Data::Float(value),
                    ScalarValue::Text(text) => Data::from(text),
                }
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolve_data(own, field, item));
                items.collect::<Result<Data, Error>>()?
            }
            Value::Object(object) => {
                let fields = object.iter().map(|(key, value)| {
                    Ok((Data::from(key.as_str()), self.resolve_data(own, field, value)?))
                });
                Data::Table(Table { fields: fields.collect::<Result<_, Error>>()?, ..Table::default() })
            }
            value => Data::from(value),
        })
    }

    /// `value` of the application's configuration, its placeholders resolved. It stands in no namespace:
    /// variables are named by public name or id.
    pub(crate) fn resolve_setting<T: FromScalar + Clone>(&self, value: &Templated<T>) -> Result<T, Error> {
        let nowhere = "config".parse().map_err(|error| invalid(format!("{error}")))?;
        match value {
            Templated::Value(value) => Ok(value.clone()),
            Templated::Template(text) => self.resolve_text(&nowhere, text),
        }
    }

    /// The default of the variable that `text` is a placeholder for, if it is that and no more.
    #[cfg(feature = "lua")]
    fn typed_default(&self, own: &Namespace, text: &str) -> Result<Option<ScalarValue>, Error> {
        let whole = text.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
        let Some(body) = whole.filter(|body| !body.contains('}')) else { return Ok(None) };
        let name = body.split('|').next().unwrap_or(body);
        let Some(id) = self.find(own, name)? else { return Ok(None) };
        Ok(self.definition(&id)?.default.and_then(|default| default.value().cloned()))
    }

    /// The variable that `name` means in `own`: by public name, id, or name in the namespace.
    ///
    /// # Errors
    /// `INVALID` when it is neither.
    pub(crate) fn find(&self, own: &Namespace, name: &str) -> Result<Option<EntryId>, Error> {
        if let Some(id) = self.names()?.get(name) {
            return Ok(Some(id.clone()));
        }
        let reference: EntryRef = name.parse().map_err(|error| invalid(format!("variable: {error}")))?;
        let id = reference.resolve(own);
        let entry = self.manifest.entry(&id)?;
        Ok(entry.is_some_and(|entry| entry.kind == "env.variable").then_some(id))
    }

    /// Every variable that has a public name, by it.
    pub(crate) fn names(&self) -> Result<&'a BTreeMap<String, EntryId>, Error> {
        if let Some(names) = self.variables.names.get() {
            return Ok(names);
        }
        let mut names = BTreeMap::new();
        for entry in self.manifest.entries() {
            let entry = entry?;
            let public = entry.data.get("variable").and_then(serde_json::Value::as_str);
            if let Some(name) = public.filter(|_| entry.kind == "env.variable") {
                names.entry(name.to_owned()).or_insert(entry.id);
            }
        }
        Ok(self.variables.names.get_or_init(|| names))
    }

    fn memory(&self) -> MutexGuard<'a, HashMap<EntryId, HashMap<String, String>>> {
        // Each change is one insertion: whole after any panic.
        self.variables.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn definition(&self, id: &EntryId) -> Result<EnvVariable, Error> {
        let missing = || Error::new(ErrorKind::NotFound, format!("no `env.variable` entry `{id}`"));
        let entry = self.manifest.entry(id)?.ok_or_else(missing)?;
        if entry.kind != "env.variable" {
            return Err(missing());
        }
        check_available(&entry)?;
        read(&entry)
    }

    /// The name that `variable` has in its storage.
    fn stored_name(&self, id: &EntryId, variable: &EnvVariable, depth: usize) -> Result<String, Error> {
        match &variable.variable {
            Some(name) => self.text(id.namespace(), name, depth),
            None => Ok(id.name().to_owned()),
        }
    }

    /// The entry of the storage `id`.
    fn storage(&self, id: &EntryId, depth: usize) -> Result<Entry, Error> {
        check_depth(id, depth)?;
        let entry = self.manifest.entry(id)?.filter(|entry| entry.kind.starts_with("env.storage."));
        let missing = || Error::new(ErrorKind::NotFound, format!("no `env.storage.*` entry `{id}`"));
        let entry = entry.ok_or_else(missing)?;
        check_available(&entry)?;
        Ok(entry)
    }

    fn variable_at(&self, id: &EntryId, depth: usize) -> Result<Option<String>, Error> {
        check_depth(id, depth)?;
        let variable = self.definition(id)?;
        let own = id.namespace();
        let name = self.stored_name(id, &variable, depth)?;
        if let Some(value) = self.stored(&variable.storage.resolve(own), &name, depth + 1)? {
            return Ok(Some(value));
        }
        match &variable.default {
            None => Ok(None),
            Some(Templated::Value(value)) => Ok(Some(plain(value))),
            Some(Templated::Template(text)) => self.interpolate(own, text, depth + 1).map(Some),
        }
    }

    /// What the storage `id` has under `name`.
    fn stored(&self, id: &EntryId, name: &str, depth: usize) -> Result<Option<String>, Error> {
        let entry = self.storage(id, depth)?;
        let own = id.namespace();
        match entry.kind.as_str() {
            "env.storage.os" => Ok(std::env::var(name).ok()),
            "env.storage.memory" => Ok(self.memory().get(id).and_then(|values| values.get(name)).cloned()),
            "env.storage.static" => match read::<EnvStorageStatic>(&entry)?.values.get(name) {
                None => Ok(None),
                Some(Templated::Value(value)) => Ok(Some(value.0.clone())),
                Some(Templated::Template(text)) => self.interpolate(own, text, depth + 1).map(Some),
            },
            "env.storage.file" => {
                let storage: EnvStorageFile = read(&entry)?;
                let path = self.root.join(self.text(own, &storage.file_path, depth)?);
                file::get(id, &path, name)
            }
            "env.storage.router" => {
                for next in &read::<EnvStorageRouter>(&entry)?.storages {
                    if let Some(value) = self.stored(&next.resolve(own), name, depth + 1)? {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }
            kind => {
                let message = format!("the storage `{id}` is of the unknown kind `{kind}`");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    fn text(&self, own: &Namespace, value: &Templated<String>, depth: usize) -> Result<String, Error> {
        match value {
            Templated::Value(value) => Ok(value.clone()),
            Templated::Template(text) => self.interpolate(own, text, depth + 1),
        }
    }

    /// Replaces `${env:NAME}`, `${env:NAME|default}` and `${NAME|default}`; `$${` is a literal `${`, and
    /// a bare `${NAME}` stays as it is.
    fn interpolate(&self, own: &Namespace, text: &str, depth: usize) -> Result<String, Error> {
        if depth > ENV_DEPTH_MAX {
            return Err(invalid(format!(
                "variables in `{text}` name each other in a circle, or more than {ENV_DEPTH_MAX} deep"
            )));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &from[2..];
                continue;
            }
            out.push_str(before);
            let end = from.find('}').ok_or_else(|| invalid(format!("`{text}` has a `${{` without `}}`")))?;
            let (body, default) = match from[2..end].split_once('|') {
                Some((body, default)) => (body, Some(default)),
                None => (&from[2..end], None),
            };
            rest = &from[end + 1..];
            let name = match (body.strip_prefix("env:"), default) {
                (Some(name), _) => name,
                (None, Some(_)) if is_upper_snake(body) => body,
                (None, _) => {
                    out.push_str(&from[..=end]);
                    continue;
                }
            };
            match (self.named(own, name, depth + 1)?, default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => {
                    let message = format!("variable `{name}` is not set and `{text}` has no default for it");
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value of the variable that `name` means in `own`.
    fn named(&self, own: &Namespace, name: &str, depth: usize) -> Result<Option<String>, Error> {
        match self.find(own, name)? {
            Some(id) => self.variable_at(&id, depth),
            None => Ok(None),
        }
    }
}

/// Names that the short form takes; other texts in braces are somebody else's syntax.
fn is_upper_snake(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The fields of an entry. Not through [`registry_schema::authored::Definition`], which would link the
/// reading of every kind into the smallest loader.
fn read<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    T::deserialize(&entry.data).map_err(|error| invalid(format!("`{}` can't be read: {error}", entry.id)))
}

fn check_depth(id: &EntryId, depth: usize) -> Result<(), Error> {
    if depth > ENV_DEPTH_MAX {
        return Err(invalid(format!(
            "storages and variables around `{id}` name each other in a circle, or more than {ENV_DEPTH_MAX} deep"
        )));
    }
    Ok(())
}

fn plain(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Bool(value) => value.to_string(),
        ScalarValue::Integer(value) => value.to_string(),
        ScalarValue::Float(value) => value.to_string(),
        ScalarValue::Text(text) => text.clone(),
    }
}

/// What restricts a variable or storage and was not understood makes it unavailable.
fn check_available(entry: &Entry) -> Result<(), Error> {
    match &entry.unavailable {
        Some(reason) => {
            let message = format!("`{}` is not available: {reason}", entry.id);
            Err(Error::new(ErrorKind::Unavailable, message))
        }
        None => Ok(()),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use registry_schema::envelope::to_bytes;
    use registry_schema::manifest::Body;
    use serde_json::json;

    use super::*;

    fn manifest(entries: &[(&str, &str, serde_json::Value)]) -> Manifest {
        let mut entries: Vec<Entry> = entries
            .iter()
            .map(|(id, kind, data)| {
                serde_json::from_value(json!({"id": id, "kind": kind, "data": data})).unwrap()
            })
            .collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let body = Body { entries, ..Body::default() };
        Manifest::read(to_bytes(&body).unwrap()).unwrap()
    }

    fn resolve(manifest: &Manifest, text: &str) -> Result<String, Error> {
        let variables = Variables::default();
        let environment = Environment::new(manifest, PathBuf::from("/nonexistent"), &variables);
        let own = "app".parse().unwrap();
        environment.resolve(&own, "field", &Templated::<String>::Template(text.to_owned()))
    }

    #[test]
    fn placeholders_resolve_by_name_id_and_own_namespace() {
        let manifest = manifest(&[
            ("app:fixed", "env.storage.static", json!({"values": {"HOST": "a", "port": 80}})),
            ("app:host", "env.variable", json!({"variable": "HOST", "storage": "fixed"})),
            ("app:port", "env.variable", json!({"storage": "fixed"})),
            ("app:none", "env.variable", json!({"storage": "fixed"})),
            ("app:def", "env.variable", json!({"storage": "fixed", "default": "${env:HOST}!"})),
        ]);
        let text = "${env:HOST}:${env:port} ${env:app:port} ${env:none|x} ${GONE|y} ${gone|y} $${z} ${bare} ${env:def}";
        assert_eq!(resolve(&manifest, text).unwrap(), "a:80 80 x y ${gone|y} ${z} ${bare} a!");
        let error = resolve(&manifest, "${env:none}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("variable `none` is not set"), "{error}");
    }

    #[test]
    fn circles_are_refused() {
        let manifest = manifest(&[
            ("app:r", "env.storage.router", json!({"storages": ["r"]})),
            ("app:a", "env.variable", json!({"storage": "m", "default": "${env:b}"})),
            ("app:b", "env.variable", json!({"storage": "m", "default": "${env:a}"})),
            ("app:c", "env.variable", json!({"storage": "r"})),
            ("app:m", "env.storage.memory", json!({})),
        ]);
        for name in ["a", "c"] {
            let error = resolve(&manifest, &format!("${{env:{name}}}")).unwrap_err();
            assert!(error.message().contains("in a circle"), "{error}");
        }
    }

    #[test]
    fn a_value_that_is_one_placeholder_has_the_type_of_the_default() {
        let manifest = manifest(&[
            ("app:m", "env.storage.memory", json!({})),
            ("app:level", "env.variable", json!({"variable": "LEVEL", "storage": "m", "default": 3})),
            ("app:text", "env.variable", json!({"storage": "m", "default": "3"})),
        ]);
        let variables = Variables::default();
        let environment = Environment::new(&manifest, PathBuf::new(), &variables);
        let own = "app".parse().unwrap();
        let resolve = |text: &str| {
            environment.resolve_scalar(&own, "value", &Templated::Template(text.to_owned())).unwrap()
        };
        assert_eq!(resolve("${env:LEVEL}"), ScalarValue::Integer(3));
        assert_eq!(resolve("${env:app:level|9}"), ScalarValue::Integer(3));
        assert_eq!(resolve("${env:LEVEL}0"), ScalarValue::Text("30".to_owned()));
        assert_eq!(resolve("${env:LEVEL}${env:LEVEL}"), ScalarValue::Text("33".to_owned()));
        assert_eq!(resolve("${env:text}"), ScalarValue::Text("3".to_owned()));
    }
}
