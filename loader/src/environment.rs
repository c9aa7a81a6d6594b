//! The environment registry: `env.variable` entries, their storages, and placeholders
//! (`en/system/env.md`).
//!
//! A name is looked up as a variable's public name, then as an entry id, then as an entry's name in the
//! asking entry's own namespace. Values are read when they are asked for, never kept.

use std::borrow::Cow;
use std::path::PathBuf;

use registry_schema::authored::env::{EnvStorageFile, EnvStorageRouter, EnvStorageStatic, EnvVariable};
use registry_schema::authored::scalar::{FromScalar, ScalarValue, Templated};
use registry_schema::manifest::Entry;
use registry_schema::manifest_file::Manifest;
use registry_schema::{EntryId, EntryRef, ErrorKind, Namespace};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Deepest nesting of storages and of variables whose values name others.
const DEPTH_MAX: usize = 16;
/// Largest file of an `env.storage.file`, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads variables of one bundle.
pub(crate) struct Environment<'a> {
    manifest: &'a Manifest,
    /// Folder that `file_path` is relative to.
    root: PathBuf,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(manifest: &'a Manifest, root: PathBuf) -> Self {
        Self { manifest, root }
    }

    #[cfg(any(feature = "wasi", test))]
    /// The value of the `env.variable` entry `id`; `None` when nothing sets it and it has no default.
    pub(crate) fn variable(&self, id: &EntryId) -> Result<Option<String>, Error> {
        self.variable_at(id, 0)
    }

    /// `field` of an entry in `own`, its placeholders resolved.
    pub(crate) fn resolve<T: FromScalar + Clone>(
        &self,
        own: &Namespace,
        field: &str,
        value: &Templated<T>,
    ) -> Result<T, Error> {
        let text = match value {
            Templated::Value(value) => return Ok(value.clone()),
            Templated::Template(text) => self.interpolate(own, text, 0)?,
        };
        T::from_text(&text).map_err(|error| invalid(format!("`{field}`: {error}")))
    }

    fn variable_at(&self, id: &EntryId, depth: usize) -> Result<Option<String>, Error> {
        check_depth(id, depth)?;
        let missing = || Error::new(ErrorKind::NotFound, format!("no `env.variable` entry `{id}`"));
        let entry = self.manifest.entry(id)?.ok_or_else(missing)?;
        if entry.kind != "env.variable" {
            return Err(missing());
        }
        let variable: EnvVariable = read(&entry)?;
        let own = id.namespace();
        let name = match &variable.variable {
            Some(name) => self.text(own, name, depth)?,
            None => id.name().to_owned(),
        };
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
        check_depth(id, depth)?;
        let own = id.namespace();
        let missing = || Error::new(ErrorKind::NotFound, format!("no `env.storage.*` entry `{id}`"));
        let entry = self.manifest.entry(id)?.ok_or_else(missing)?;
        match entry.kind.as_str() {
            "env.storage.os" => Ok(std::env::var(name).ok()),
            // Nothing writes to it before Lua does.
            "env.storage.memory" => Ok(None),
            "env.storage.static" => match read::<EnvStorageStatic>(&entry)?.values.get(name) {
                None => Ok(None),
                Some(Templated::Value(value)) => Ok(Some(value.0.clone())),
                Some(Templated::Template(text)) => self.interpolate(own, text, depth + 1).map(Some),
            },
            "env.storage.file" => {
                let storage: EnvStorageFile = read(&entry)?;
                let path = self.root.join(self.text(own, &storage.file_path, depth)?);
                read_file(id, &path, name)
            }
            "env.storage.router" => {
                for next in &read::<EnvStorageRouter>(&entry)?.storages {
                    if let Some(value) = self.stored(&next.resolve(own), name, depth + 1)? {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }
            _ => Err(missing()),
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
        if depth > DEPTH_MAX {
            return Err(invalid(format!(
                "variables in `{text}` name each other in a circle, or more than {DEPTH_MAX} deep"
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

    /// The variable that `name` means in `own`: by public name, id, or name in the namespace.
    fn named(&self, own: &Namespace, name: &str, depth: usize) -> Result<Option<String>, Error> {
        for entry in self.manifest.entries() {
            let entry = entry?;
            let public = entry.data.get("variable").and_then(serde_json::Value::as_str);
            if entry.kind == "env.variable" && public == Some(name) {
                return self.variable_at(&entry.id, depth);
            }
        }
        let reference: EntryRef = name.parse().map_err(|error| invalid(format!("placeholder: {error}")))?;
        let id = reference.resolve(own);
        match self.manifest.entry(&id)? {
            Some(_) => self.variable_at(&id, depth),
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
    if depth > DEPTH_MAX {
        return Err(invalid(format!(
            "storages and variables around `{id}` name each other in a circle, or more than {DEPTH_MAX} deep"
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

/// `NAME=VALUE` lines; `#` starts a comment, `export ` and quotes around a value are dropped.
fn read_file(id: &EntryId, path: &std::path::Path, name: &str) -> Result<Option<String>, Error> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(id, path, &error)),
    };
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| unreadable(id, path, &error))?;
    Ok(text.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        (key.trim() == name).then(|| unquote(value.trim()).into_owned())
    }))
}

fn unquote(value: &str) -> Cow<'_, str> {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Cow::Borrowed(inner);
        }
    }
    Cow::Borrowed(value)
}

fn unreadable(id: &EntryId, path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("`{id}` can't read `{}`: {error}", path.display()))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use registry_schema::manifest::Body;
    use registry_schema::manifest_file::to_bytes;
    use serde_json::json;

    use super::*;

    fn manifest(entries: &[(&str, &str, serde_json::Value)]) -> Manifest {
        let mut entries: Vec<Entry> = entries
            .iter()
            .map(|(id, kind, data)| Entry {
                id: id.parse().unwrap(),
                kind: (*kind).to_owned(),
                meta: serde_json::Map::new(),
                unavailable: None,
                wasm: None,
                lua: None,
                data: data.clone(),
            })
            .collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let body = Body { entries, ..Body::default() };
        Manifest::read(to_bytes(&body).unwrap()).unwrap()
    }

    fn resolve(manifest: &Manifest, text: &str) -> Result<String, Error> {
        let environment = Environment::new(manifest, PathBuf::from("/nonexistent"));
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
    fn quotes_are_dropped_in_pairs() {
        assert_eq!(unquote("\"a b\""), "a b");
        assert_eq!(unquote("'a'"), "a");
        assert_eq!(unquote("\"a"), "\"a");
    }
}
