//! Definition files as trees that know where each node stands.
//!
//! YAML is read by `serde-saphyr`: it is maintained, reports positions for every node
//! ([`serde_saphyr::Spanned`]) and bounds aliases, depth and size while it parses. `yaml_serde`, the
//! other maintained successor of `serde_yaml`, keeps that crate's interface, which has neither.
//!
//! Typed kinds are not read from YAML directly but from [`Node`]s (see [`crate::decode`]): between
//! the two, `file://` values, overrides and namespace defaults are applied to the tree.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

pub use crate::yaml_error::{YamlError, YamlFault};
use crate::yaml_error::{key_error, yaml_error};

/// Largest definition file, in bytes. A 10,000-entry file has a few megabytes.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Deepest nesting of a definition file; also bounds recursion over the tree.
pub const DEPTH_MAX: usize = 96;
/// Stack for reading one file. The reader recurses, and takes up to 85 KiB for each level when it is
/// built without optimisation (8 MiB at [`DEPTH_MAX`], measured): more than threads usually have. Only
/// what is touched costs memory.
const STACK_BYTES: usize = 32 << 20;
/// Most nodes of a definition file, aliases expanded.
pub const NODES_MAX: usize = 2_000_000;
/// Most nodes that aliases of a definition file stand for, all together. Aliases are bounded by this
/// and not by their number: one anchor that each of 10,000 entries refers to is no attack.
pub const ALIASED_NODES_MAX: usize = 1_000_000;

/// Where a node starts in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u32,
    /// Length in characters of what is marked; at least 1 is shown.
    pub len: u32,
}

impl From<Location> for Span {
    fn from(location: Location) -> Self {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: narrow(location.line()),
            column: narrow(location.column()),
            len: narrow(location.span().len()),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it is written; for an alias, where the alias is.
    pub span: Span,
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key as text; `8080:` is the key `"8080"`.
    pub name: String,
    /// Where it is written.
    pub span: Span,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// Any other scalar.
    String(String),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What the value is, for messages: `a string`, `a mapping`, …
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::UInt(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Seq(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().find(|(k, _)| k.name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The same value as JSON; `NaN` and infinities become `null`.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::from(*value),
            Value::Int(value) => Json::from(*value),
            Value::UInt(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::String(text) => Json::from(text.as_str()),
            Value::Seq(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Map(pairs) => pairs.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect(),
        }
    }
}

/// Reads one YAML document, on a thread of its own, which has the stack for [`DEPTH_MAX`].
///
/// # Errors
/// When the text is no YAML, has a key twice, or exceeds [`FILE_BYTES_MAX`], [`DEPTH_MAX`],
/// [`NODES_MAX`] or [`ALIASED_NODES_MAX`]. An empty file is an empty mapping.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(YamlError {
            fault: YamlFault::Limit,
            message: format!(
                "the file has {} bytes, at most {FILE_BYTES_MAX} are read; split it into several files",
                text.len()
            ),
            span: Span { line: 1, column: 1, len: 1 },
        });
    }
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || read(text));
        match reader.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(YamlError {
                fault: YamlFault::Limit,
                message: format!("no thread can be started to read the file: {error}"),
                span: Span::default(),
            }),
        }
    })
}

fn read(text: &str) -> Result<Node, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_documents: 1,
            max_anchors: NODES_MAX,
            max_aliases: NODES_MAX,
            max_merge_keys: NODES_MAX,
            max_recorded_anchor_events: ALIASED_NODES_MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_NODES_MAX,
        },
        strict_booleans: true,
        // `0755` is octal, as in Go, which existing registries are written for.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let spanned: Option<Spanned<Value>> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| yaml_error(&error))?;
    Ok(match spanned {
        Some(Spanned { value, referenced, .. }) => Node { value, span: referenced.into() },
        None => Node { value: Value::Map(Vec::new()), span: Span::default() },
    })
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::UInt(value), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(Spanned { value, referenced, .. }) = seq.next_element::<Spanned<Value>>()? {
            nodes.push(Node { value, span: referenced.into() });
        }
        Ok(Value::Seq(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Spanned { value: key, referenced, .. }) = map.next_key::<Spanned<Value>>()? {
            let name = match key {
                Value::String(text) => text,
                Value::Int(number) => number.to_string(),
                Value::UInt(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                other => {
                    return Err(de::Error::custom(key_error(other.describe(), referenced.into())));
                }
            };
            let Spanned { value, referenced: at, .. } = map.next_value::<Spanned<Value>>()?;
            pairs.push((Key { name, span: referenced.into() }, Node { value, span: at.into() }));
        }
        Ok(Value::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_anchor_may_serve_many() {
        let text = format!("b: &b {{type: inline}}\na:\n{}", "- {pool: *b}\n".repeat(60_000));
        assert!(parse(&text).is_ok());
        let anchors: String = (0..60_000).map(|n| format!("- &a{n} x\n")).collect();
        assert!(parse(&anchors).is_ok());
    }

    #[test]
    fn the_deepest_file_needs_no_large_stack_of_its_caller() {
        let deepest = |text: String| {
            let node = parse(&text).expect("within the limit");
            let (value, _) = crate::decode::decode::<serde_json::Value>(&node).expect("any value fits");
            assert_eq!((value, node.clone()), (node.to_json(), node));
        };
        let flow = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        let maps = (0..DEPTH_MAX - 1).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let caller = small.spawn(move || [flow, maps].into_iter().for_each(deepest));
        caller.expect("a thread").join().expect("no overflow");
    }

    #[test]
    fn numbers_are_read_as_go_does() {
        let value = |text: &str| parse(text).unwrap().value;
        assert_eq!(value("0755"), Value::Int(0o755));
        assert_eq!(value("0o755"), Value::Int(0o755));
        assert_eq!(value("'0755'"), Value::String("0755".to_owned()));
        assert_eq!(value("18446744073709551615"), Value::UInt(u64::MAX));
        assert_eq!(value("yes"), Value::String("yes".to_owned()));
    }
}
