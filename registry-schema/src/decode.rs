//! Typed values from [`Node`]s: a serde deserializer that knows where it is.
//!
//! An error points at the node that caused it, and keys that a struct does not have are collected as
//! [`UnknownField`]s at every depth instead of ending the reading: whether they are a warning or an
//! error is not for this crate to say. It sees them by the list of fields that serde's derive hands
//! to `deserialize_struct`, so kinds use neither `flatten` nor untagged enums.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::document::{Key, Node, Span, Value};

/// A key that the struct it stands in does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The key.
    pub name: String,
    /// Where it is written.
    pub span: Span,
    /// Dotted path of the mapping that holds it, empty at the top.
    pub path: String,
    /// The fields that the struct has, aliases included.
    pub known: &'static [&'static str],
}

/// Why a node is not a value of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Lower case: what was found and what was expected.
    pub message: String,
    /// The innermost node that was being read.
    pub span: Option<Span>,
    /// Dotted path of that node.
    pub path: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "`{}`: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), span: None, path: String::new() }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("found {}, expected {}", in_words(found), in_our_words(expected)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let expected: Vec<_> = expected.iter().map(|word| format!("`{word}`")).collect();
        Self::custom(format_args!("found `{}`, expected one of {}", shortened(found), expected.join(", ")))
    }
}

/// What was found, as [`Value::describe`] says it; scalars by their value.
fn in_words(found: de::Unexpected<'_>) -> String {
    use de::Unexpected;
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Str(text) => format!("`{}`", shortened(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// What serde's own visitors expect, in the words of definition files.
fn in_our_words(expected: &dyn de::Expected) -> String {
    match expected.to_string().as_str() {
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a string" => "text".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

/// Text for a message: long ones by their start only.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
    .escape_debug()
    .to_string()
}

/// Reads a `T` from `node`, and says which keys it did not know.
///
/// # Errors
/// At the first node that does not fit.
pub fn decode<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<(T, Vec<UnknownField>), DecodeError> {
    let unknown = RefCell::new(Vec::new());
    let reader = Reader { node, path: String::new(), unknown: &unknown };
    let value = T::deserialize(reader)?;
    Ok((value, unknown.into_inner()))
}

struct Reader<'de, 'u> {
    node: &'de Node,
    path: String,
    unknown: &'u RefCell<Vec<UnknownField>>,
}

impl<'de, 'u> Reader<'de, 'u> {
    fn child(&self, node: &'de Node, step: impl fmt::Display) -> Reader<'de, 'u> {
        let path = if self.path.is_empty() { step.to_string() } else { format!("{}.{step}", self.path) };
        Reader { node, path, unknown: self.unknown }
    }

    /// Marks an error that has no place yet with this one: the innermost wins.
    fn place<T>(&self, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        result.map_err(|mut error| {
            if error.span.is_none() {
                error.span = Some(self.node.span);
                error.path.clone_from(&self.path);
            }
            error
        })
    }

    fn visit_map<V: Visitor<'de>>(
        &self,
        pairs: &'de [(Key, Node)],
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if let Some(known) = known {
            let strangers = pairs.iter().filter(|(key, _)| !known.contains(&key.name.as_str()));
            self.unknown.borrow_mut().extend(strangers.map(|(key, _)| UnknownField {
                name: key.name.clone(),
                span: key.span,
                path: self.path.clone(),
                known,
            }));
        }
        visitor.visit_map(Pairs { reader: self, rest: pairs.iter(), known, value: None })
    }
}

struct Pairs<'r, 'de, 'u> {
    reader: &'r Reader<'de, 'u>,
    rest: std::slice::Iter<'de, (Key, Node)>,
    /// The fields of the struct that is read; other keys are not shown to it.
    known: Option<&'static [&'static str]>,
    value: Option<(&'de Key, &'de Node)>,
}

impl<'de> de::MapAccess<'de> for Pairs<'_, 'de, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let known = |key: &Key| self.known.is_none_or(|known| known.contains(&key.name.as_str()));
        let Some((key, node)) = self.rest.find(|(key, _)| known(key)) else { return Ok(None) };
        self.value = Some((key, node));
        let text: StrDeserializer<'_, DecodeError> = key.name.as_str().into_deserializer();
        let key_reader = self.reader.child(node, &key.name);
        key_reader.place(seed.deserialize(text)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let (key, node) = self.value.take().expect("serde asks for a value after its key");
        let child = self.reader.child(node, &key.name);
        let place = Reader { node, path: child.path.clone(), unknown: child.unknown };
        place.place(seed.deserialize(child))
    }
}

struct Items<'r, 'de, 'u> {
    reader: &'r Reader<'de, 'u>,
    rest: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de, '_> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        let child = self.reader.child(node, index);
        let place = Reader { node, path: child.path.clone(), unknown: child.unknown };
        place.place(seed.deserialize(child)).map(Some)
    }
}

impl<'de> de::Deserializer<'de> for Reader<'de, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::UInt(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Seq(nodes) => visitor.visit_seq(Items { reader: &self, rest: nodes.iter().enumerate() }),
            Value::Map(pairs) => self.visit_map(pairs, None, visitor),
        };
        self.place(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(pairs) => {
                let result = self.visit_map(pairs, Some(fields), visitor);
                self.place(result)
            }
            // A block that is named and left empty is an empty block.
            Value::Null => self.visit_map(&[], Some(fields), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_seq(Items { reader: &self, rest: [].iter().enumerate() }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => self.visit_map(&[], None, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let result = match self.node.as_str() {
            Some(name) => visitor.visit_enum(name.into_deserializer()),
            None => Err(de::Error::custom(format!("found {}, expected a name", self.node.value.describe()))),
        };
        self.place(result)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        #[serde(default)]
        size: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        inner: Vec<Inner>,
        #[serde(default)]
        colour: Option<Colour>,
    }

    fn read(text: &str) -> Result<(Outer, Vec<UnknownField>), DecodeError> {
        decode(&parse(text).unwrap())
    }

    #[test]
    fn unknown_keys_are_collected_at_every_depth() {
        let (value, unknown) = read("inner: [{size: 1, sise: 2}]\ncolour: red\nextra: 1\n").unwrap();
        assert_eq!(value, Outer { inner: vec![Inner { size: 1 }], colour: Some(Colour::Red) });
        let seen: Vec<_> = unknown.iter().map(|u| (u.path.as_str(), u.name.as_str(), u.span.line)).collect();
        assert_eq!(seen, [("", "extra", 3), ("inner.0", "sise", 1)]);
        assert_eq!(unknown[1].known, ["size"]);
    }

    #[test]
    fn errors_name_the_innermost_place() {
        let error = read("inner:\n  - size: 1\n  - size: many\n").unwrap_err();
        assert_eq!(error.to_string(), "`inner.1.size`: found `many`, expected u32");
        assert_eq!(error.span.unwrap().line, 3);
        let error = read("inner: []\ncolour: blue\n").unwrap_err();
        assert_eq!(error.to_string(), "`colour`: found `blue`, expected one of `red`");
        let error = read("inner: {}\n").unwrap_err();
        assert_eq!(error.to_string(), "`inner`: found a mapping, expected a list");
        let error = read("inner: [5]\n").unwrap_err();
        assert_eq!(error.to_string(), "`inner.0`: found `5`, expected a mapping");
        let error = read("colour: red\n").unwrap_err();
        assert_eq!((error.message.as_str(), error.path.as_str()), ("missing field `inner`", ""));
    }

    #[test]
    fn an_empty_block_is_an_empty_mapping() {
        assert_eq!(read("inner:\n").unwrap().0, Outer { inner: vec![], colour: None });
    }
}
