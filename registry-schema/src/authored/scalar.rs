//! Scalar fields as people write them: text, numbers, switches and closed sets (durations are
//! [`super::duration`]'s), each of which may also be a placeholder that is resolved at boot.
//!
//! Placeholders (`en/system/env.md`, "Placeholder Interpolation"): `${env:NAME}`,
//! `${env:NAME|default}`, `${NAME|default}`; `$${` is a literal `${`. This file only tells the two
//! apart and keeps a template as written; the loader resolves it and then parses the text through
//! the same [`FromScalar`], so that build and boot agree on what a field accepts.
//!
//! Known limit: any unescaped `${` makes a template, also the bare `${NAME}` that the documentation
//! leaves untouched; resolving such a template yields the same text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A scalar field: a value, or a template that boot resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Templated<T> {
    /// Written literally; `$${` is already unescaped.
    Value(T),
    /// The text as written, with at least one unescaped `${`.
    Template(String),
}

impl<T> Templated<T> {
    /// The value, unless it is only known at boot.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Template(_) => None,
        }
    }

    /// The template as written, if it is one.
    pub fn template(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Template(text) => Some(text),
        }
    }

    /// Whether boot has to resolve this field.
    pub fn is_template(&self) -> bool {
        matches!(self, Self::Template(_))
    }
}

/// Whether `text` holds a `${` that is not escaped as `$${`.
pub fn has_placeholder(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if !rest[..at].ends_with('$') {
            return true;
        }
        rest = &rest[at + 2..];
    }
    false
}

/// One scalar, before the field's type is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// Any whole number of 64 bits, signed or not.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text, also that of a resolved placeholder.
    Text(Cow<'a, str>),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "`{value}`"),
            Self::Integer(value) => write!(f, "`{value}`"),
            Self::Float(value) => write!(f, "`{value}`"),
            Self::Text(text) if text.chars().count() > 60 => {
                write!(f, "text of {} bytes", text.len())
            }
            Self::Text(text) => write!(f, "`{}`", text.escape_debug()),
        }
    }
}

/// A scalar that does not fit its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalarError {
    /// What was found, in backticks. Leave it out where the value may be a secret.
    pub found: String,
    /// What the field accepts.
    pub expected: String,
    /// How to repair it.
    pub hint: Option<String>,
}

impl ScalarError {
    pub(crate) fn new<T: FromScalar>(found: &Scalar<'_>) -> Self {
        Self { found: found.to_string(), expected: T::EXPECTED.to_owned(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ScalarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScalarError {}

/// A type that a scalar field can have.
///
/// Text is accepted for every type, since that is what a resolved placeholder, a `-o` override and a
/// requirement's value are.
pub trait FromScalar: Sized {
    /// What is accepted, to end the sentence "expected …".
    const EXPECTED: &'static str;

    /// Parses one scalar.
    ///
    /// # Errors
    /// When it is of another type, out of range, or not a member of a closed set.
    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError>;

    /// The scalar that parses to this value again.
    fn to_scalar(&self) -> Scalar<'_>;

    /// Parses text, as boot does after resolving a placeholder.
    ///
    /// # Errors
    /// As [`FromScalar::from_scalar`].
    fn from_text(text: &str) -> Result<Self, ScalarError> {
        Self::from_scalar(Scalar::Text(Cow::Borrowed(text)))
    }
}

impl FromScalar for String {
    const EXPECTED: &'static str = "text";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        match scalar {
            Scalar::Text(text) => Ok(text.into_owned()),
            other => Err(ScalarError::new::<Self>(&other).hint("put the value in quotes")),
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(self))
    }
}

impl FromScalar for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    /// Text is read as Go's `ParseBool` does: also `1`, `0`, `t`, `f` and upper case.
    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        match &scalar {
            Scalar::Bool(value) => Ok(*value),
            Scalar::Text(text) => match text.as_ref() {
                "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
                "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
                _ => Err(ScalarError::new::<Self>(&scalar)),
            },
            _ => Err(ScalarError::new::<Self>(&scalar)),
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Bool(*self)
    }
}

macro_rules! integer_scalar {
    ($($type:ty => $expected:literal),+ $(,)?) => {$(
        impl FromScalar for $type {
            const EXPECTED: &'static str = $expected;

            fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
                let number = match &scalar {
                    Scalar::Integer(value) => <$type>::try_from(*value).ok(),
                    Scalar::Text(text) => text.parse().ok(),
                    _ => None,
                };
                number.ok_or_else(|| ScalarError::new::<Self>(&scalar))
            }

            fn to_scalar(&self) -> Scalar<'_> {
                Scalar::Integer(i128::from(*self))
            }
        }
    )+};
}

integer_scalar! {
    u16 => "a whole number from 0 to 65535",
    u32 => "a whole number from 0 to 4294967295",
    u64 => "a whole number from 0 to 18446744073709551615",
    i64 => "a whole number of 64 bits",
}

impl FromScalar for f64 {
    const EXPECTED: &'static str = "a finite number";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        let number = match &scalar {
            Scalar::Integer(value) => Some(*value as f64),
            Scalar::Float(value) => Some(*value),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Bool(_) => None,
        };
        number.filter(|value| value.is_finite()).ok_or_else(|| ScalarError::new::<Self>(&scalar))
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Float(*self)
    }
}

/// A value whose type the document leaves open: text, switch or number, kept as written.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other finite number.
    Float(f64),
    /// Text.
    Text(String),
}

impl FromScalar for ScalarValue {
    const EXPECTED: &'static str = "text, a number, `true` or `false`";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        match scalar {
            Scalar::Bool(value) => Ok(Self::Bool(value)),
            Scalar::Integer(_) => i64::from_scalar(scalar).map(Self::Integer),
            Scalar::Float(_) => f64::from_scalar(scalar).map(Self::Float),
            Scalar::Text(text) => Ok(Self::Text(text.into_owned())),
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        match self {
            Self::Bool(value) => Scalar::Bool(*value),
            Self::Integer(value) => Scalar::Integer(i128::from(*value)),
            Self::Float(value) => Scalar::Float(*value),
            Self::Text(text) => Scalar::Text(Cow::Borrowed(text)),
        }
    }
}

/// Text that may be written as a whole number or a switch: `"100"`, `100` and `true`.
///
/// Fractions are refused, because YAML has already dropped how they were spelled (`1.10`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalarText(pub String);

impl FromScalar for ScalarText {
    const EXPECTED: &'static str = "text, a whole number, `true` or `false`";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        match scalar {
            Scalar::Text(text) => Ok(Self(text.into_owned())),
            Scalar::Bool(value) => Ok(Self(value.to_string())),
            Scalar::Integer(value) => Ok(Self(value.to_string())),
            Scalar::Float(_) => Err(ScalarError::new::<Self>(&scalar).hint("put the value in quotes")),
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Borrowed(&self.0))
    }
}

#[cfg(feature = "schema")]
pub(crate) use super::scalar_schema::ScalarSchema;

/// Deserializes a scalar where no placeholder is allowed.
///
/// # Errors
/// Those of `T`, and for a placeholder.
pub(crate) fn literal<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromScalar,
    D: Deserializer<'de>,
{
    match Templated::<T>::deserialize(deserializer)? {
        Templated::Value(value) => Ok(value),
        Templated::Template(text) => Err(de::Error::custom(format_args!(
            "found the placeholder `{text}`, expected {} without one",
            T::EXPECTED
        ))),
    }
}

impl<T: FromScalar> Serialize for Templated<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Value(value) => value,
            Self::Template(text) => return serializer.serialize_str(text),
        };
        match value.to_scalar() {
            Scalar::Bool(value) => serializer.serialize_bool(value),
            Scalar::Integer(value) => match u64::try_from(value) {
                Ok(value) => serializer.serialize_u64(value),
                Err(_) => serializer.serialize_i64(value as i64),
            },
            Scalar::Float(value) => serializer.serialize_f64(value),
            Scalar::Text(text) => serializer.serialize_str(&text.replace("${", "$${")),
        }
    }
}

impl<'de, T: FromScalar> Deserialize<'de> for Templated<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TemplatedVisitor(PhantomData))
    }
}

/// Crate-visible so that fields of "one scalar or a list" can hand their scalars to it.
pub(crate) struct TemplatedVisitor<T>(pub(crate) PhantomData<T>);

impl<T: FromScalar> TemplatedVisitor<T> {
    fn take<E: de::Error>(scalar: Scalar<'_>) -> Result<Templated<T>, E> {
        T::from_scalar(scalar).map(Templated::Value).map_err(E::custom)
    }
}

impl<T: FromScalar> Visitor<'_> for TemplatedVisitor<T> {
    type Value = Templated<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Self::take(Scalar::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Self::take(Scalar::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Self::take(Scalar::Integer(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Self::take(Scalar::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if has_placeholder(text) {
            return Ok(Templated::Template(text.to_owned()));
        }
        Self::take(Scalar::Text(Cow::Owned(text.replace("$${", "${"))))
    }
}

/// Defines an enum whose members are written as fixed words, with everything a field needs.
macro_rules! closed_set {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $(#[$first_attribute:meta])* $first:ident => $first_word:literal,
            $($(#[$member_attribute:meta])* $member:ident => $word:literal,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[$first_attribute])* $first,
            $($(#[$member_attribute])* $member,)*
        }

        impl $name {
            /// All members, in the order of the documentation.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$member),*];

            /// The word that stands for this member in a definition file.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$member => $word,)*
                }
            }
        }

        impl $crate::authored::scalar::FromScalar for $name {
            const EXPECTED: &'static str =
                concat!("one of `", $first_word, "`" $(, ", `", $word, "`")*);

            fn from_scalar(
                scalar: $crate::authored::scalar::Scalar<'_>,
            ) -> Result<Self, $crate::authored::scalar::ScalarError> {
                $crate::authored::scalar::member(Self::ALL, Self::as_str, &scalar)
            }

            fn to_scalar(&self) -> $crate::authored::scalar::Scalar<'_> {
                $crate::authored::scalar::Scalar::Text(std::borrow::Cow::Borrowed(self.as_str()))
            }
        }

        #[cfg(feature = "schema")]
        impl $crate::authored::scalar::ScalarSchema for $name {
            fn schema() -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$first_word $(, $word)*] })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::authored::scalar::literal(deserializer)
            }
        }
    };
}
pub(crate) use closed_set;

/// Finds the member of a closed set that `scalar` names, exactly as documented.
pub(crate) fn member<T: FromScalar + Copy>(
    all: &[T],
    word: fn(T) -> &'static str,
    scalar: &Scalar<'_>,
) -> Result<T, ScalarError> {
    let error = ScalarError::new::<T>(scalar);
    let Scalar::Text(text) = scalar else { return Err(error) };
    if let Some(found) = all.iter().find(|member| word(**member) == text.as_ref()) {
        return Ok(*found);
    }
    let near = all.iter().map(|member| word(*member)).find(|it| it.eq_ignore_ascii_case(text));
    Err(match near {
        Some(near) => error.hint(format!("write `{near}`")),
        None => error,
    })
}

/// Reads a documented example, writes it, reads it again. No key may appear or get lost on the way.
#[cfg(test)]
pub(crate) fn round_trip<T>(example: serde_json::Value) -> T
where
    T: Serialize + de::DeserializeOwned + PartialEq + fmt::Debug,
{
    fn keys(value: &serde_json::Value, at: &str, into: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    into.push(format!("{at}/{key}"));
                    keys(value, &format!("{at}/{key}"), into);
                }
            }
            serde_json::Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    into.push(format!("{at}/{index}"));
                    keys(value, &format!("{at}/{index}"), into);
                }
            }
            _ => {}
        }
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    keys(&example, "", &mut before);
    let entry: T = serde_json::from_value(example).expect("example is accepted");
    let written = serde_json::to_value(&entry).expect("entry is written");
    keys(&written, "", &mut after);
    before.sort();
    after.sort();
    assert_eq!(before, after, "keys of the example and of what was written");
    let again: T = serde_json::from_str(&written.to_string()).expect("written text is accepted");
    assert_eq!(entry, again);
    entry
}

#[cfg(test)]
mod tests {
    use super::super::duration::Duration;
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_told_from_text() {
        for text in ["${env:A}", "x${A|b}y", "$${a}${env:B}", "${bare}"] {
            let field: Templated<String> = round_trip(json!(text));
            assert_eq!(field.template(), Some(text));
            assert!(serde_json::from_value::<Templated<u16>>(json!(text)).unwrap().is_template());
        }
        for (text, value) in [("plain", "plain"), ("$${env:A}", "${env:A}"), ("$$${", "$${")] {
            let field: Templated<String> = round_trip(json!(text));
            assert_eq!(field.value().map(String::as_str), Some(value));
            assert_eq!(serde_json::to_value(&field).unwrap(), json!(text));
        }
        let literal = serde_json::from_value::<Duration>(json!("${env:A}")).unwrap_err();
        assert!(literal.to_string().starts_with("found the placeholder `${env:A}`, expected"));
    }

    #[test]
    fn scalars_are_typed() {
        let error =
            |result: Result<Templated<u16>, serde_json::Error>| result.expect_err("out of range").to_string();
        assert_eq!(u16::from_text("8080"), Ok(8080));
        assert_eq!(bool::from_text("1"), Ok(true));
        assert_eq!(
            error(serde_json::from_value(json!(70000))),
            "found `70000`, expected a whole number from 0 to 65535"
        );
        assert_eq!(
            error(serde_json::from_value(json!([1]))),
            "invalid type: sequence, expected a whole number from 0 to 65535"
        );
        assert_eq!(
            String::from_scalar(Scalar::Integer(5)).unwrap_err().to_string(),
            "found `5`, expected text\nhint: put the value in quotes"
        );
        assert_eq!(
            serde_json::from_value::<Templated<ScalarText>>(json!(100)).unwrap().value(),
            Some(&ScalarText("100".to_owned()))
        );
        for value in [json!(true), json!(-3), json!(2.5), json!("x")] {
            let field: Templated<ScalarValue> = round_trip(value.clone());
            assert_eq!(serde_json::to_value(&field).unwrap(), value);
        }
        assert!(f64::from_text("nan").is_err());
        let big: Templated<u64> = round_trip(json!(u64::MAX));
        assert_eq!(big.value(), Some(&u64::MAX));
    }
}
