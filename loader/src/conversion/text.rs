//! WIT values as one text each: for callers that know no types.
//!
//! Strings and bytes are as they are, all else is in the JSON form of WIT values.

use registry_schema::ErrorKind;
use wasmtime::component::{Type, Val};

use super::types::{Node, Shape};
use super::{Plan, Returned, lift};
use crate::bulk::Value;
use crate::config::VALUE_BYTES_MAX;
use crate::data::Data;
use crate::error::Error;
use crate::values::json;

impl Plan {
    /// The arguments of a call with `input` as the first one, of a function with `params`.
    ///
    /// # Errors
    /// `INVALID`: a function that does not take one argument, or the path of the part that does not fit.
    pub(crate) fn lower_text(&self, params: &[(String, Type)], input: Vec<u8>) -> Result<Vec<Value>, Error> {
        let invalid = |message| Error::new(ErrorKind::Invalid, message);
        let [(name, ty), rest @ ..] = params else { return self.lower_data(&[Data::String(input)]) };
        let is_text = match ty {
            Type::String => true,
            Type::List(list) => list.ty() == Type::U8,
            _ => false,
        };
        if is_text || self.required > 1 {
            return self.lower_data(&[Data::String(input)]);
        }
        if input.len().saturating_add(values(&input).saturating_mul(JSON_VALUE_BYTES)) > VALUE_BYTES_MAX {
            return Err(invalid(format!("{name}: its values would have more than {VALUE_BYTES_MAX} bytes")));
        }
        let json = serde_json::from_slice(&input)
            .map_err(|error| invalid(format!("{name}: expected JSON, since it is no string: {error}")))?;
        let value = json::parse(name, &json, ty).map_err(invalid)?;
        let rest = rest.iter().map(|_| Val::Option(None));
        Ok(std::iter::once(value).chain(rest).map(Value::Val).collect())
    }

    /// What was returned, as bytes; nothing and an option without value are empty.
    ///
    /// # Errors
    /// The guest's own error, where a result is one; `INTERNAL` for a value of another type.
    pub(crate) fn lift_text(&self, value: Option<Value>) -> Result<Vec<u8>, Error> {
        match (&self.returned, value) {
            (Returned::Nothing, None) => Ok(Vec::new()),
            (Returned::Value(node), Some(value)) => text(node, value),
            (Returned::Pair(sides), Some(value)) => {
                match (&sides.ok, lift::payload(&self.names, sides, value)?) {
                    (None, None) => Ok(Vec::new()),
                    (Some(node), Some(value)) => text(node, value),
                    _ => Err(lift::mismatch("payload")),
                }
            }
            _ => Err(lift::mismatch("result")),
        }
    }
}

/// About what a value of JSON takes while it is read, as JSON and as what its type makes of it.
const JSON_VALUE_BYTES: usize = 128;

/// How many values and names a JSON text has at most.
fn values(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b':' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn text(node: &Node, value: Value) -> Result<Vec<u8>, Error> {
    match (&node.shape, value) {
        (Shape::Bytes, Value::Bytes(bytes)) => Ok(bytes),
        (Shape::Bytes, Value::Val(Val::List(items))) => {
            let byte = |item: Val| match item {
                Val::U8(byte) => Ok(byte),
                _ => Err(lift::mismatch("list<u8>")),
            };
            items.into_iter().map(byte).collect()
        }
        (Shape::String, Value::Val(Val::String(text))) => Ok(text.into_bytes()),
        (_, Value::Val(Val::Option(None))) => Ok(Vec::new()),
        (_, value) => {
            let json = json::print(&Val::from(value));
            json.map(String::into_bytes).map_err(|problem| Error::new(ErrorKind::Internal, problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use registry_schema::authored::wasm::Results;

    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (text, count) in [
            ("1", 1),
            ("[]", 2),
            ("[1,2,3]", 4),
            (r#"{"a":1,"b":[]}"#, 6),
            (r#"",[\"{:""#, 1),
            (r#"["\\",1]"#, 3),
        ] {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
    }

    /// A text of few bytes that is many values is refused before any of them is made.
    #[test]
    fn texts_of_too_many_values_are_refused() {
        let params = [("v".to_owned(), Type::U32)];
        let plan = Plan::new(&params, None, Results::Pair);
        let message = |text: Vec<u8>| plan.lower_text(&params, text).unwrap_err().message().to_owned();
        // The bracket is a value as well, and so is what would stand before the first comma.
        let most = (VALUE_BYTES_MAX - 1 - 2 * JSON_VALUE_BYTES) / (JSON_VALUE_BYTES + 1);
        assert_eq!(
            message([b"[".as_slice(), &b",".repeat(most)].concat()),
            "v: expected JSON, since it is no string: expected value at line 1 column 2"
        );
        let refused = format!("v: its values would have more than {VALUE_BYTES_MAX} bytes");
        assert_eq!(message([b"[".as_slice(), &b",".repeat(most + 1)].concat()), refused);
        assert_eq!(message(vec![b' '; VALUE_BYTES_MAX + 1]), refused);
        assert_eq!(plan.lower_text(&params, b" 7 ".to_vec()), Ok(vec![Value::Val(Val::U32(7))]));
    }
}
