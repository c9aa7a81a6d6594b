//! JSON Schema: the assertions of drafts 4 to 2020-12, compiled once and checked against values.
//!
//! References lead to places of the schema itself (`resources.rs`): nothing is fetched. Patterns are those of
//! `regex-lite`, linear in time. `format` is asserted for the formats in `format.rs`. What is not known is ignored,
//! as the standard says, but for references that lead nowhere, and `$dynamicRef` and `$recursiveRef` in a schema
//! of several resources: these restrict, so they don't compile.

use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::{Number, Value};

use super::check::check;
use super::compile::compile;
use super::format::Format;
use crate::data::{Data, Table};
use crate::error::Error;
use crate::lua::modules::arguments::invalid;

/// Deepest nesting of schemas in schemas, references followed. It bounds the stack.
pub(super) const DEPTH_MAX: usize = 512;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A JSON text.
    Text,
    /// Lua, whose empty tables are arrays and objects alike.
    Lua,
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    /// The first is the root.
    pub(super) nodes: Vec<Node>,
}

/// Index of a node.
pub(super) type Ref = usize;

/// A schema of a schema.
#[derive(Debug)]
pub(super) enum Node {
    Always,
    Never,
    Rules(Vec<Rule>),
}

/// What a keyword asks for.
#[derive(Debug)]
pub(super) enum Rule {
    Type(Vec<Type>),
    Enum(Vec<Value>),
    Const(Value),
    Minimum(f64),
    Maximum(f64),
    ExclusiveMinimum(f64),
    ExclusiveMaximum(f64),
    MultipleOf(Number),
    MinLength(usize),
    MaxLength(usize),
    Pattern(Regex),
    Format(Format),
    Items {
        prefix: Vec<Ref>,
        rest: Option<Ref>,
    },
    Contains {
        schema: Ref,
        min: usize,
        max: usize,
    },
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
    Properties {
        named: HashMap<String, Ref>,
        patterns: Vec<(Regex, Ref)>,
        others: Option<Ref>,
    },
    PropertyNames(Ref),
    Required(Vec<String>),
    MinProperties(usize),
    MaxProperties(usize),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, Ref)>),
    AllOf(Vec<Ref>),
    AnyOf(Vec<Ref>),
    OneOf(Vec<Ref>),
    Not(Ref),
    If {
        condition: Ref,
        then: Option<Ref>,
        otherwise: Option<Ref>,
    },
    Reference(Ref),
    /// Behind all others.
    UnevaluatedItems(Ref),
    /// Behind all others.
    UnevaluatedProperties(Ref),
}

/// A type of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Type {
    pub(super) const ALL: [(Self, &'static str); 7] = [
        (Self::Null, "null"),
        (Self::Boolean, "boolean"),
        (Self::Object, "object"),
        (Self::Array, "array"),
        (Self::Number, "number"),
        (Self::Integer, "integer"),
        (Self::String, "string"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }
}

impl Schema {
    /// Compiles `source`.
    ///
    /// # Errors
    /// Lower case, naming the place as a JSON pointer: a keyword with a value of the wrong type, a reference
    /// that leads nowhere, a pattern that is none.
    pub(super) fn compile(source: &Value) -> Result<Self, String> {
        compile(source).map(|nodes| Self { nodes })
    }

    /// Checks `value`.
    ///
    /// # Errors
    /// `INVALID` with every fault and its place, up to a bound; `details()` is the array of them.
    pub(super) fn check(&self, value: &Value, origin: Origin) -> Result<(), Error> {
        let Some(faults) = check(self, value, origin) else {
            return Err(invalid("the schema is too complex for this value, or refers to itself"));
        };
        if faults.is_empty() {
            return Ok(());
        }
        let message: Vec<String> = faults.iter().map(|(path, what)| format!("at `{path}`: {what}")).collect();
        let details = faults.into_iter().map(|(path, what)| {
            let fields = vec![("path".into(), path.into()), ("message".into(), what.into())];
            Data::Table(Table { fields, ..Table::default() })
        });
        Err(invalid(format!("validation failed: {}", message.join("; "))).with_details(details.collect()))
    }
}
