//! Filters of `find`: fields that an entry must have, all of them.
//!
//! `.kind`, `.ns`, `.name` and `.id` are the entry's own; `meta.x.y` and bare names are of its metadata, as
//! are the names in a nested table `meta`. A prefix says how to compare: none by equality, `~` by a regular
//! expression, `*` by what is contained, in a text or a list, `^` and `$` by the start and the end.

use mlua::{Table, Value as LuaValue};
use regex_lite::Regex;
use registry_schema::manifest::Entry;
use serde_json::Value;

use crate::config::REGISTRY_PATTERN_BYTES_MAX;
use crate::error::Error;
use crate::lua::convert;
use crate::lua::modules::arguments::{invalid, type_name};

/// What an entry must have to be found.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<Condition>);

#[derive(Debug)]
struct Condition {
    field: Field,
    test: Test,
}

#[derive(Debug)]
enum Field {
    Kind,
    Namespace,
    Name,
    Id,
    /// Steps into the metadata.
    Meta(Vec<String>),
}

#[derive(Debug)]
enum Test {
    Equals(Value),
    Matches(Regex),
    Contains(Value),
    StartsWith(String),
    EndsWith(String),
}

impl Filter {
    /// Entries of a namespace.
    pub(super) fn namespace(name: String) -> Self {
        Self(vec![Condition { field: Field::Namespace, test: Test::Equals(name.into()) }])
    }

    /// Reads a table of `find`.
    ///
    /// # Errors
    /// `INVALID`: a key that is no string or no field, a value that does not suit its comparison.
    pub(super) fn read(table: &Table) -> Result<Self, Error> {
        let mut conditions = Vec::new();
        for pair in table.pairs::<LuaValue, LuaValue>() {
            let (key, value) = pair.map_err(|error| invalid(error.to_string()))?;
            let LuaValue::String(key) = &key else {
                return Err(invalid(format!("a filter's keys must be strings, got {}", type_name(&key))));
            };
            let key = key.to_string_lossy();
            if let ("meta", LuaValue::Table(nested)) = (key.as_str(), &value) {
                let Self(nested) = Self::read(nested)?;
                if nested.iter().any(|condition| !matches!(condition.field, Field::Meta(_))) {
                    return Err(invalid("a filter's `meta` has fields of metadata only"));
                }
                conditions.extend(nested);
                continue;
            }
            conditions.push(Condition::new(&key, &value)?);
        }
        Ok(Self(conditions))
    }

    pub(super) fn takes(&self, entry: &Entry) -> bool {
        self.0.iter().all(|condition| condition.holds(entry))
    }
}

impl Condition {
    fn new(key: &str, value: &LuaValue) -> Result<Self, Error> {
        let (operator, name) = match key.as_bytes().first() {
            Some(operator @ (b'~' | b'*' | b'^' | b'$')) => (Some(*operator), &key[1..]),
            _ => (None, key),
        };
        let field = match name {
            ".kind" => Field::Kind,
            ".ns" => Field::Namespace,
            ".name" => Field::Name,
            ".id" => Field::Id,
            name if name.is_empty() || name.starts_with('.') => {
                return Err(invalid(format!("a filter has no field `{name}`")));
            }
            name => {
                let name = name.strip_prefix("meta.").unwrap_or(name);
                Field::Meta(name.split('.').map(str::to_owned).collect())
            }
        };
        let wanted = convert::from_lua(key, value)?.to_json().map_err(invalid)?;
        let text = || match &wanted {
            Value::String(text) => Ok(text.clone()),
            _ => Err(invalid(format!("`{key}` must be a string"))),
        };
        let test = match operator {
            None => Test::Equals(wanted),
            Some(b'~') => {
                let pattern = text()?;
                if pattern.len() > REGISTRY_PATTERN_BYTES_MAX {
                    return Err(invalid(format!("`{key}` has more than {REGISTRY_PATTERN_BYTES_MAX} bytes")));
                }
                let regex = Regex::new(&pattern);
                Test::Matches(
                    regex.map_err(|error| invalid(format!("`{key}` is no regular expression: {error}")))?,
                )
            }
            Some(b'*') => Test::Contains(wanted),
            Some(b'^') => Test::StartsWith(text()?),
            Some(_) => Test::EndsWith(text()?),
        };
        Ok(Self { field, test })
    }

    fn holds(&self, entry: &Entry) -> bool {
        match &self.field {
            Field::Kind => self.test.text_holds(&entry.kind),
            Field::Namespace => self.test.text_holds(entry.id.namespace().as_str()),
            Field::Name => self.test.text_holds(entry.id.name()),
            Field::Id => self.test.text_holds(&entry.id.to_string()),
            Field::Meta(steps) => {
                // A key may have points of its own.
                let whole = entry.meta.get(&steps.join("."));
                let mut steps = steps.iter();
                let first = steps.next().and_then(|step| entry.meta.get(step));
                let nested = steps.try_fold(first, |at, step| at.map(|at| at.get(step)));
                whole.or(nested.flatten()).is_some_and(|value| self.test.holds(value))
            }
        }
    }
}

impl Test {
    fn text_holds(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => wanted.as_str() == Some(text),
            Self::Matches(regex) => regex.is_match(text),
            Self::Contains(wanted) => wanted.as_str().is_some_and(|wanted| text.contains(wanted)),
            Self::StartsWith(start) => text.starts_with(start.as_str()),
            Self::EndsWith(end) => text.ends_with(end.as_str()),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::String(text)) => self.text_holds(text),
            (Self::Equals(Value::Number(wanted)), Value::Number(number)) => {
                wanted == number || wanted.as_f64() == number.as_f64()
            }
            (Self::Equals(Value::Object(wanted)), Value::Array(items)) => {
                wanted.is_empty() && items.is_empty()
            }
            (Self::Equals(wanted), value) => wanted == value,
            (Self::Contains(wanted), Value::Array(items)) => items.contains(wanted),
            _ => false,
        }
    }
}
