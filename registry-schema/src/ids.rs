//! Identifiers of registry entries, checked when they are read.
//!
//! An id is `namespace:name`, split at the first colon. A reference may leave the namespace out, and
//! then means the namespace of the entry that it stands in.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest namespace or name, in bytes; ids are printed in every message.
pub const ID_PART_BYTES_MAX: usize = 255;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    found: String,
    problem: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no valid id: {}", self.found, self.problem)
    }
}

impl std::error::Error for InvalidId {}

fn check_part(whole: &str, part: &str) -> Result<(), InvalidId> {
    let problem = if part.is_empty() {
        "namespace and name must not be empty"
    } else if part.len() > ID_PART_BYTES_MAX {
        "namespace and name are at most 255 bytes long"
    } else if part.contains(char::is_whitespace) || part.contains(char::is_control) {
        "white space and control characters are not allowed"
    } else if part.contains(['/', '\\', '"', '\'', '`', '{', '}', '#']) {
        "only letters, digits, `.`, `_`, `-` and `:` after the first colon are allowed"
    } else {
        return Ok(());
    };
    Err(InvalidId { found: whole.chars().take(80).collect(), problem })
}

/// A dotted namespace such as `app.users`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        check_part(text, text)?;
        if text.contains(':') {
            return Err(InvalidId { found: text.to_owned(), problem: "a namespace holds no colon" });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The full id of an entry, `namespace:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    namespace: Namespace,
    name: String,
}

impl EntryId {
    /// The id of `name` in `namespace`.
    ///
    /// # Errors
    /// When `name` is empty, too long or has characters that ids don't have.
    pub fn new(namespace: Namespace, name: &str) -> Result<Self, InvalidId> {
        check_part(name, name)?;
        Ok(Self { namespace, name: name.to_owned() })
    }

    /// The part before the first colon.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The part after the first colon.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for EntryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let Some((namespace, name)) = text.split_once(':') else {
            return Err(InvalidId {
                found: text.chars().take(80).collect(),
                problem: "expected `namespace:name`",
            });
        };
        check_part(text, name)?;
        check_part(text, namespace)?;
        Ok(Self { namespace: Namespace(namespace.to_owned()), name: name.to_owned() })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.name)
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A reference as people write it: `namespace:name`, `name` alone, or `{ns:, name:}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryRef {
    namespace: Option<Namespace>,
    name: String,
}

impl EntryRef {
    /// The id that this reference means when it stands in an entry of `own` namespace.
    pub fn resolve(&self, own: &Namespace) -> EntryId {
        EntryId { namespace: self.namespace.clone().unwrap_or_else(|| own.clone()), name: self.name.clone() }
    }
}

impl FromStr for EntryRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.contains(':') {
            let id: EntryId = text.parse()?;
            return Ok(Self { namespace: Some(id.namespace), name: id.name });
        }
        check_part(text, text)?;
        Ok(Self { namespace: None, name: text.to_owned() })
    }
}

impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}:{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Serialize for EntryRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RefVisitor)
    }
}

struct RefVisitor;

impl<'de> Visitor<'de> for RefVisitor {
    type Value = EntryRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry id: `namespace:name`, `name` or `{ns:, name:}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<EntryRef, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EntryRef, A::Error> {
        let (mut namespace, mut name) = (None::<String>, None::<String>);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "ns" => namespace = Some(map.next_value()?),
                "name" => name = Some(map.next_value()?),
                _ => return Err(de::Error::unknown_field(&key, &["ns", "name"])),
            }
        }
        let name = name.ok_or_else(|| de::Error::missing_field("name"))?;
        let text = match namespace {
            Some(namespace) => format!("{namespace}:{name}"),
            None => name,
        };
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_colon() {
        let id: EntryId = "app.users:handler:v2".parse().unwrap();
        assert_eq!((id.namespace().as_str(), id.name()), ("app.users", "handler:v2"));
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in ["", "a", ":", "a:", ":b", "a b:c", "a:b\n", "a/b:c"] {
            assert!(text.parse::<EntryId>().is_err(), "{text:?}");
        }
        assert!("x".repeat(256).parse::<EntryRef>().is_err());
    }

    #[test]
    fn references_resolve_in_their_own_namespace() {
        let own: Namespace = "app".parse().unwrap();
        let read = |json: &str| serde_json::from_str::<EntryRef>(json).map(|r| r.resolve(&own));
        assert_eq!(read("\"x\"").unwrap().to_string(), "app:x");
        assert_eq!(read("\"b:x\"").unwrap().to_string(), "b:x");
        assert_eq!(read(r#"{"ns":"b","name":"x"}"#).unwrap().to_string(), "b:x");
        assert_eq!(read(r#"{"name":"x"}"#).unwrap().to_string(), "app:x");
        assert!(read(r#"{"ns":"b","nam":"x"}"#).is_err());
    }
}
