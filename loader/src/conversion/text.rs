//! WIT values as one text each: for callers that know no types.
//!
//! Strings and bytes are as they are, all else is in the JSON form of WIT values.

use registry_schema::ErrorKind;
use wasmtime::component::{Type, Val};

use super::types::{Node, Shape};
use super::{Plan, Returned, lift};
use crate::bulk::Value;
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
