//! Conditions of policies (`en/system/security.md`, "Conditions").
//!
//! A condition holds, does not hold, or can't be decided, and then counts against the caller: an `allow`
//! does not apply, a `deny` does.
//!
//! A field that is missing equals nothing, is in no list, contains and matches nothing; so `ne`, `nin`,
//! `ncontains` and `nmatches` hold for it. Whether it is less or greater can't be decided: a `deny` below some
//! clearance also denies an actor that has none.

use std::cmp::Ordering;

use regex_lite::{Regex, RegexBuilder};
use registry_schema::authored::scalar::ScalarValue;
use registry_schema::authored::security::Operator;

use super::Actor;
use super::value::{self, Truth, Value};
use crate::config::{POLICY_REGEX_BYTES_MAX, POLICY_REGEX_TEXT_BYTES_MAX};
use crate::data::Data;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) actor: Option<&'a Actor>,
    pub(super) action: &'a str,
    pub(super) resource: &'a str,
    /// Metadata of the resource.
    pub(super) meta: &'a Data,
}

/// A condition whose placeholders are resolved.
#[derive(Debug)]
pub(super) struct Condition {
    field: Path,
    comparison: Comparison,
    negated: bool,
}

#[derive(Debug)]
enum Comparison {
    Exists,
    Equal(Operand),
    Ordered(fn(Ordering) -> bool, Operand),
    In(Operand),
    Contains(Operand),
    Matches(Expression),
}

#[derive(Debug)]
enum Operand {
    Value(Data),
    From(Path),
}

#[derive(Debug)]
enum Expression {
    Fixed(Regex),
    From(Path),
}

/// What a field is compared with, as written.
pub(super) enum Written {
    /// Nothing.
    Nothing,
    /// One value.
    One(ScalarValue),
    /// A list of values.
    Many(Vec<ScalarValue>),
    /// Another field.
    From(String),
}

impl Condition {
    /// Checks a condition.
    ///
    /// # Errors
    /// Why it can't be evaluated.
    pub(super) fn new(field: &str, operator: Operator, written: Written) -> Result<Self, String> {
        let field = Path::read(field)?;
        let name = operator.as_str();
        let comparison = match operator {
            Operator::Exists | Operator::Nexists => match written {
                Written::Nothing | Written::One(ScalarValue::Bool(true)) => Comparison::Exists,
                Written::One(ScalarValue::Text(text)) if text == "true" => Comparison::Exists,
                _ => return Err(format!("`{name}` takes the value `true` or none")),
            },
            Operator::Eq | Operator::Ne => Comparison::Equal(Operand::one(name, written)?),
            Operator::Lt => Comparison::Ordered(Ordering::is_lt, Operand::one(name, written)?),
            Operator::Gt => Comparison::Ordered(Ordering::is_gt, Operand::one(name, written)?),
            Operator::Lte => Comparison::Ordered(Ordering::is_le, Operand::one(name, written)?),
            Operator::Gte => Comparison::Ordered(Ordering::is_ge, Operand::one(name, written)?),
            Operator::In | Operator::Nin => Comparison::In(match written {
                Written::Many(values) => Operand::Value(values.into_iter().map(data).collect()),
                written => Operand::one(name, written)?,
            }),
            Operator::Contains | Operator::Ncontains => Comparison::Contains(Operand::one(name, written)?),
            Operator::Matches | Operator::Nmatches => Comparison::Matches(Expression::read(name, written)?),
        };
        let negated = matches!(
            operator,
            Operator::Ne | Operator::Nin | Operator::Nexists | Operator::Ncontains | Operator::Nmatches
        );
        Ok(Self { field, comparison, negated })
    }

    pub(super) fn holds(&self, request: Request<'_>) -> Truth {
        let field = self.field.get(request);
        let truth = match &self.comparison {
            Comparison::Exists => Truth::from(!matches!(field, Value::Missing)),
            Comparison::Equal(other) => value::equal(field, other.get(request)),
            Comparison::Ordered(is, other) => {
                value::order(field, other.get(request)).map_or(Truth::Undecided, |order| is(order).into())
            }
            Comparison::In(other) => value::member(field, other.get(request)),
            Comparison::Contains(other) => value::contains(field, other.get(request)),
            Comparison::Matches(expression) => expression.matches(field, request),
        };
        if self.negated { truth.negated() } else { truth }
    }
}

impl Operand {
    fn one(operator: &str, written: Written) -> Result<Self, String> {
        match written {
            Written::One(value) => Ok(Self::Value(data(value))),
            Written::From(path) => Path::read(&path).map(Self::From),
            Written::Nothing => Err(format!("`{operator}` needs `value` or `value_from`")),
            Written::Many(_) => Err(format!("`{operator}` takes one value, not a list")),
        }
    }

    fn get<'a>(&'a self, request: Request<'a>) -> Value<'a> {
        match self {
            Self::Value(data) => Value::of(data),
            Self::From(path) => path.get(request),
        }
    }
}

impl Expression {
    fn read(operator: &str, written: Written) -> Result<Self, String> {
        match Operand::one(operator, written)? {
            Operand::From(path) => Ok(Self::From(path)),
            Operand::Value(data) => match data.as_str() {
                Some(text) => regex(text).map(Self::Fixed),
                None => Err(format!("`{operator}` takes text")),
            },
        }
    }

    fn matches(&self, field: Value<'_>, request: Request<'_>) -> Truth {
        let text = match field {
            Value::Missing => return Truth::False,
            Value::Text(text) if text.len() <= POLICY_REGEX_TEXT_BYTES_MAX => text,
            _ => return Truth::Undecided,
        };
        let Ok(text) = std::str::from_utf8(text) else { return Truth::Undecided };
        match self {
            Self::Fixed(regex) => regex.is_match(text).into(),
            Self::From(path) => match path.get(request) {
                Value::Missing => Truth::False,
                Value::Text(pattern) => match std::str::from_utf8(pattern).map(regex) {
                    Ok(Ok(regex)) => regex.is_match(text).into(),
                    _ => Truth::Undecided,
                },
                _ => Truth::Undecided,
            },
        }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(POLICY_REGEX_BYTES_MAX).build();
    built.map_err(|error| format!("the regular expression `{text}` can't be used: {error}"))
}

fn data(value: ScalarValue) -> Data {
    match value {
        ScalarValue::Bool(value) => Data::Bool(value),
        ScalarValue::Integer(value) => Data::Integer(value),
        ScalarValue::Float(value) => Data::Float(value),
        ScalarValue::Text(text) => Data::from(text),
    }
}

/// Where in a request a value is.
#[derive(Debug)]
enum Path {
    ActorId,
    ActorMeta(Vec<String>),
    Action,
    Resource,
    Meta(Vec<String>),
}

impl Path {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "actor.id" => return Ok(Self::ActorId),
            "action" => return Ok(Self::Action),
            "resource" => return Ok(Self::Resource),
            _ => {}
        }
        let steps = |rest: &str| {
            let steps: Vec<_> = rest.split('.').map(str::to_owned).collect();
            (!steps.iter().any(String::is_empty)).then_some(steps)
        };
        let path = match (text.strip_prefix("actor.meta."), text.strip_prefix("meta.")) {
            (Some(rest), _) => steps(rest).map(Self::ActorMeta),
            (None, Some(rest)) => steps(rest).map(Self::Meta),
            (None, None) => None,
        };
        path.ok_or_else(|| {
            format!(
                "`{text}` is no field: there are `actor.id`, `actor.meta.*`, `action`, `resource` and `meta.*`"
            )
        })
    }

    fn get<'a>(&self, request: Request<'a>) -> Value<'a> {
        let (root, steps) = match self {
            Self::Action => return Value::Text(request.action.as_bytes()),
            Self::Resource => return Value::Text(request.resource.as_bytes()),
            Self::ActorId => {
                return request.actor.map_or(Value::Missing, |actor| Value::Text(actor.id().as_bytes()));
            }
            Self::ActorMeta(steps) => (request.actor.map(Actor::meta), steps),
            Self::Meta(steps) => (Some(request.meta), steps),
        };
        let found = steps.iter().try_fold(root, |at, step| Some(at?.get(step))).flatten();
        found.map_or(Value::Missing, Value::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repetition makes large expressions of short texts.
    #[test]
    fn expressions_up_to_their_size() {
        regex("^[a-z]{1,40}$").unwrap();
        for text in ["(a{100}){100}", "(?:[a-z]{50}){50}"] {
            let refused = regex(text).unwrap_err();
            assert!(
                refused.starts_with(&format!("the regular expression `{text}` can't be used: ")),
                "{refused}"
            );
        }
    }
}
