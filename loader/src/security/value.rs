//! Comparing the values of conditions.
//!
//! Numbers are compared as such, integers exactly; text byte by byte. Values of two types differ, unless they
//! look alike (`3` and `"3"`) or one is a table: that can't be decided.

use std::cmp::Ordering;

use crate::data::{Data, Table};

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Undecided,
}

impl Truth {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Undecided => Self::Undecided,
        }
    }

    /// Whether all of them hold.
    pub(super) fn all(truths: impl Iterator<Item = Self>) -> Self {
        Self::any(truths.map(Self::negated)).negated()
    }

    /// Whether one of them holds.
    fn any(truths: impl Iterator<Item = Self>) -> Self {
        let mut found = Self::False;
        for truth in truths {
            match truth {
                Self::True => return Self::True,
                Self::False => {}
                Self::Undecided => found = Self::Undecided,
            }
        }
        found
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A value as it is compared.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Missing,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a [u8]),
    List(&'a [Data]),
    /// What nothing is compared with.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn of(data: &'a Data) -> Self {
        match data {
            Data::Nil => Self::Missing,
            Data::Bool(value) => Self::Bool(*value),
            Data::Integer(value) => Self::Integer(*value),
            Data::Float(value) => Self::Float(*value),
            Data::String(text) => Self::Text(text),
            Data::Table(Table { array, fields, .. }) if fields.is_empty() => Self::List(array),
            Data::Table(_) | Data::Error(_) => Self::Other,
        }
    }
}

pub(super) fn equal(left: Value<'_>, right: Value<'_>) -> Truth {
    match (left, right) {
        (Value::Missing, _) | (_, Value::Missing) => Truth::False,
        (Value::List(_) | Value::Other, _) | (_, Value::List(_) | Value::Other) => Truth::Undecided,
        (Value::Bool(left), Value::Bool(right)) => (left == right).into(),
        (Value::Text(left), Value::Text(right)) => (left == right).into(),
        (Value::Text(text), other) | (other, Value::Text(text)) => {
            if look_alike(text, other) {
                Truth::Undecided
            } else {
                Truth::False
            }
        }
        (left, right) => (order(left, right) == Some(Ordering::Equal)).into(),
    }
}

/// Whether `text` reads as `other`, which is no text.
fn look_alike(text: &[u8], other: Value<'_>) -> bool {
    let Ok(text) = std::str::from_utf8(text).map(str::trim) else { return false };
    match other {
        Value::Bool(value) => text.eq_ignore_ascii_case(if value { "true" } else { "false" }),
        Value::Integer(value) => text.parse().is_ok_and(|number: f64| number == value as f64),
        Value::Float(value) => text.parse().is_ok_and(|number: f64| number == value),
        _ => false,
    }
}

pub(super) fn order(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(&right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(&right),
        (Value::Integer(left), Value::Float(right)) => order_mixed(left, right),
        (Value::Float(left), Value::Integer(right)) => order_mixed(right, left).map(Ordering::reverse),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Without rounding the integer to a float.
fn order_mixed(left: i64, right: f64) -> Option<Ordering> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if right.is_nan() {
        None
    } else if right >= END {
        Some(Ordering::Less)
    } else if right < -END {
        Some(Ordering::Greater)
    } else {
        let whole = right.trunc();
        Some(left.cmp(&(whole as i64)).then_with(|| {
            if right > whole {
                Ordering::Less
            } else if right < whole {
                Ordering::Greater
            } else {
                Ordering::Equal
            }
        }))
    }
}

pub(super) fn member(value: Value<'_>, list: Value<'_>) -> Truth {
    match (value, list) {
        (Value::Missing, _) => Truth::False,
        (value, Value::List(items)) => Truth::any(items.iter().map(|item| equal(value, Value::of(item)))),
        (value, one) => equal(value, one),
    }
}

pub(super) fn contains(whole: Value<'_>, part: Value<'_>) -> Truth {
    match (whole, part) {
        (Value::Missing, _) | (_, Value::Missing) => Truth::False,
        (Value::List(items), part) => Truth::any(items.iter().map(|item| equal(Value::of(item), part))),
        (Value::Text(whole), Value::Text(part)) => {
            match (std::str::from_utf8(whole), std::str::from_utf8(part)) {
                (Ok(whole), Ok(part)) => whole.contains(part).into(),
                _ => Truth::Undecided,
            }
        }
        _ => Truth::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_exactly() {
        const BIG: i64 = (1 << 53) + 1;
        for (left, right, expected) in [
            (1, 1.0, Some(Ordering::Equal)),
            (1, 1.5, Some(Ordering::Less)),
            (-1, -1.5, Some(Ordering::Greater)),
            (BIG, 9_007_199_254_740_992.0, Some(Ordering::Greater)),
            (i64::MAX, 9_223_372_036_854_775_808.0, Some(Ordering::Less)),
            (i64::MIN, -9_223_372_036_854_775_808.0, Some(Ordering::Equal)),
            (i64::MIN, f64::NEG_INFINITY, Some(Ordering::Greater)),
            (0, f64::NAN, None),
        ] {
            assert_eq!(order(Value::Integer(left), Value::Float(right)), expected, "{left} {right}");
            let reverse = expected.map(Ordering::reverse);
            assert_eq!(order(Value::Float(right), Value::Integer(left)), reverse, "{right} {left}");
        }
    }

    #[test]
    fn values_of_two_types_differ_unless_they_look_alike() {
        let (text, list) = (Value::Text(b"3"), Value::List(&[]));
        assert_eq!(equal(text, Value::Integer(3)), Truth::Undecided);
        assert_eq!(equal(Value::Float(3.0), text), Truth::Undecided);
        assert_eq!(equal(text, Value::Integer(4)), Truth::False);
        assert_eq!(equal(text, Value::Bool(true)), Truth::False);
        assert_eq!(equal(Value::Text(b"TRUE"), Value::Bool(true)), Truth::Undecided);
        assert_eq!(equal(Value::Bool(true), Value::Integer(1)), Truth::False);
        assert_eq!(equal(list, list), Truth::Undecided);
        assert_eq!(equal(Value::Missing, list), Truth::False);
        assert_eq!(order(text, Value::Integer(4)), None);
    }
}
