//! JSON Schemas of scalar fields: what [`FromScalar`](super::scalar::FromScalar) accepts, for editors.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::duration::Duration;
use super::fs::FileMode;
use super::lua::RetryDelay;
use super::network::Destination;
use super::scalar::{ScalarText, ScalarValue, Templated};
use super::security::OneOrMany;
use crate::ids::EntryRef;

/// Text with a placeholder.
const PLACEHOLDER: &str = r"\$\{";

/// What a scalar may be, placeholders aside.
pub(crate) trait ScalarSchema {
    /// Its schema.
    fn schema() -> Schema;
}

macro_rules! scalar_schemas {
    ($($type:ty => $schema:tt,)+) => {$(
        impl ScalarSchema for $type {
            fn schema() -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

scalar_schemas! {
    String => { "type": "string" },
    bool => { "enum": [true, false, "true", "false", "1", "0", "t", "f", "T", "F", "True", "False", "TRUE", "FALSE"] },
    u16 => { "type": ["integer", "string"], "minimum": 0, "maximum": u16::MAX, "pattern": r"^\+?[0-9]+$" },
    u32 => { "type": ["integer", "string"], "minimum": 0, "maximum": u32::MAX, "pattern": r"^\+?[0-9]+$" },
    u64 => { "type": ["integer", "string"], "minimum": 0, "maximum": u64::MAX, "pattern": r"^\+?[0-9]+$" },
    f64 => { "type": ["number", "string"], "pattern": r"^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$" },
    ScalarValue => { "type": ["string", "number", "boolean"] },
    ScalarText => { "type": ["string", "integer", "boolean"] },
    Duration => { "type": ["string", "integer"], "maximum": 0, "minimum": 0, "pattern": r"^(0|([0-9.]+(ns|us|µs|μs|ms|s|m|h))+)$" },
    RetryDelay => { "type": ["string", "integer"], "minimum": 0, "pattern": r"^([0-9]+|([0-9.]+(ns|us|µs|μs|ms|s|m|h))+)$" },
    Destination => { "type": "string", "minLength": 3, "pattern": r"^[^:]+:([0-9]+|\*)$|^\[.+\]:([0-9]+|\*)$" },
    FileMode => { "type": ["string", "integer"], "minimum": 0, "maximum": 0o777, "pattern": "^(0o)?0?[0-7]{1,3}$" },
}

impl<T: ScalarSchema> JsonSchema for Templated<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Templated".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scalar = T::schema();
        // Any text is a text, with a placeholder or without.
        let is_open = scalar.get("enum").is_none() && scalar.get("pattern").is_none();
        if scalar.get("type").and_then(|ty| ty.as_str()) == Some("string") && is_open {
            return scalar;
        }
        json_schema!({ "anyOf": [scalar, { "type": "string", "pattern": PLACEHOLDER }] })
    }
}

impl<T: ScalarSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Templated::<T>::json_schema(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl JsonSchema for EntryRef {
    fn schema_name() -> Cow<'static, str> {
        "Reference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An entry: `namespace:name`, or `name` in the same namespace.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                {
                    "type": "object",
                    "properties": { "ns": { "type": "string" }, "name": { "type": "string" } },
                    "required": ["name"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
