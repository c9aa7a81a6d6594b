//! A value against the rules of a schema.

use serde_json::{Map, Number, Value};

use super::schema::{DEPTH_MAX, Node, Origin, Ref, Rule, Schema, Type};
use crate::config::JSON_SCHEMA_STEPS_MAX;

/// Faults that one check names.
const FAULTS_MAX: usize = 10;

/// Where a value is: a step and what it leads from.
pub(super) enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(outer, key) => format!("{}/{key}", outer.pointer()),
            Self::Item(outer, index) => format!("{}/{index}", outer.pointer()),
        }
    }
}

/// Why a check went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Enough faults are known.
    Enough,
    /// It took too many steps.
    TooMuch,
}

/// The faults of `value` and where they are, up to [`FAULTS_MAX`]; `None` when it took too long to tell.
pub(super) fn check(schema: &Schema, value: &Value, origin: Origin) -> Option<Vec<(String, String)>> {
    let mut check = Check { schema, origin, steps: 0, depth: 0, faults: Vec::new() };
    match check.node(0, &Place::Root, value) {
        Ok(()) | Err(Stopped::Enough) => Some(check.faults),
        Err(Stopped::TooMuch) => None,
    }
}

pub(super) struct Check<'a> {
    pub(super) schema: &'a Schema,
    origin: Origin,
    steps: u64,
    pub(super) depth: usize,
    faults: Vec<(String, String)>,
}

impl Check<'_> {
    fn fault(&mut self, place: &Place<'_>, message: impl Into<String>) -> Result<(), Stopped> {
        self.faults.push((format!("/{}", place.pointer().trim_start_matches('/')), message.into()));
        if self.faults.len() >= FAULTS_MAX { Err(Stopped::Enough) } else { Ok(()) }
    }

    pub(super) fn step(&mut self, steps: usize) -> Result<(), Stopped> {
        self.steps += steps as u64;
        if self.steps > JSON_SCHEMA_STEPS_MAX { Err(Stopped::TooMuch) } else { Ok(()) }
    }

    pub(super) fn node(&mut self, node: Ref, place: &Place<'_>, value: &Value) -> Result<(), Stopped> {
        self.step(1)?;
        if self.depth == DEPTH_MAX {
            return Err(Stopped::TooMuch);
        }
        self.depth += 1;
        let checked = match &self.schema.nodes[node] {
            Node::Always => Ok(()),
            Node::Never => self.fault(place, "nothing is allowed here"),
            Node::Rules(rules) => rules.iter().try_for_each(|rule| match rule {
                Rule::UnevaluatedItems(schema) => self.unevaluated_items(rules, *schema, place, value),
                Rule::UnevaluatedProperties(schema) => {
                    self.unevaluated_properties(rules, *schema, place, value)
                }
                rule => self.rule(rule, place, value),
            }),
        };
        self.depth -= 1;
        checked
    }

    /// Whether `value` fits, whatever the faults are.
    pub(super) fn fits(&mut self, node: Ref, place: &Place<'_>, value: &Value) -> Result<bool, Stopped> {
        let (faults, depth) = (std::mem::take(&mut self.faults), self.depth);
        let outcome = self.node(node, place, value);
        let fits = self.faults.is_empty();
        (self.faults, self.depth) = (faults, depth);
        if outcome == Err(Stopped::TooMuch) { Err(Stopped::TooMuch) } else { Ok(fits) }
    }

    fn rule(&mut self, rule: &Rule, place: &Place<'_>, value: &Value) -> Result<(), Stopped> {
        match rule {
            Rule::Type(types) => {
                if types.iter().any(|kind| self.is(*kind, value)) {
                    return Ok(());
                }
                let names: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
                self.fault(place, format!("expected {}, got {}", names.join(" or "), kind_of(value)))
            }
            Rule::Enum(values) => {
                if values.iter().any(|allowed| equal(self.origin, allowed, value)) {
                    return Ok(());
                }
                let allowed: Vec<String> = values.iter().map(Value::to_string).collect();
                self.fault(place, format!("must be one of {}", allowed.join(", ")))
            }
            Rule::Const(only) if equal(self.origin, only, value) => Ok(()),
            Rule::Const(only) => self.fault(place, format!("must be {only}")),
            Rule::AllOf(nodes) => nodes.iter().try_for_each(|node| self.node(*node, place, value)),
            Rule::AnyOf(nodes) => {
                for node in nodes {
                    if self.fits(*node, place, value)? {
                        return Ok(());
                    }
                }
                self.fault(place, "fits none of the alternatives")
            }
            Rule::OneOf(nodes) => {
                let mut fitting = 0;
                for node in nodes {
                    fitting += usize::from(self.fits(*node, place, value)?);
                }
                match fitting {
                    1 => Ok(()),
                    0 => self.fault(place, "fits none of the alternatives"),
                    _ => self.fault(place, format!("fits {fitting} alternatives, must fit one")),
                }
            }
            Rule::Not(node) => match self.fits(*node, place, value)? {
                true => self.fault(place, "fits what it must not"),
                false => Ok(()),
            },
            Rule::If { condition, then, otherwise } => {
                let branch = if self.fits(*condition, place, value)? { then } else { otherwise };
                branch.map_or(Ok(()), |node| self.node(node, place, value))
            }
            Rule::Reference(node) => self.node(*node, place, value),
            rule => match value {
                Value::Number(number) => self.number(rule, place, number),
                Value::String(text) => self.string(rule, place, text),
                Value::Array(items) if items.is_empty() && self.origin == Origin::Lua => {
                    self.array(rule, place, items)?;
                    self.object(rule, place, &Map::new())
                }
                Value::Array(items) => self.array(rule, place, items),
                Value::Object(fields) => self.object(rule, place, fields),
                Value::Null | Value::Bool(_) => Ok(()),
            },
        }
    }

    fn is(&self, kind: Type, value: &Value) -> bool {
        match (kind, value) {
            (Type::Null, Value::Null)
            | (Type::Boolean, Value::Bool(_))
            | (Type::Number, Value::Number(_))
            | (Type::String, Value::String(_))
            | (Type::Array, Value::Array(_))
            | (Type::Object, Value::Object(_)) => true,
            (Type::Object, Value::Array(items)) => items.is_empty() && self.origin == Origin::Lua,
            (Type::Integer, Value::Number(number)) => {
                number.as_f64().is_some_and(|float| float.fract() == 0.0)
            }
            _ => false,
        }
    }

    fn number(&mut self, rule: &Rule, place: &Place<'_>, number: &Number) -> Result<(), Stopped> {
        let float = number.as_f64().unwrap_or(f64::NAN);
        match rule {
            Rule::Minimum(limit) if float < *limit => self.fault(place, format!("must be at least {limit}")),
            Rule::Maximum(limit) if float > *limit => self.fault(place, format!("must be at most {limit}")),
            Rule::ExclusiveMinimum(limit) if float <= *limit => {
                self.fault(place, format!("must be more than {limit}"))
            }
            Rule::ExclusiveMaximum(limit) if float >= *limit => {
                self.fault(place, format!("must be less than {limit}"))
            }
            Rule::MultipleOf(divisor) if !is_multiple(number, divisor) => {
                self.fault(place, format!("must be a multiple of {divisor}"))
            }
            _ => Ok(()),
        }
    }

    fn string(&mut self, rule: &Rule, place: &Place<'_>, text: &str) -> Result<(), Stopped> {
        match rule {
            Rule::MinLength(limit) if text.chars().count() < *limit => {
                self.fault(place, format!("must have at least {limit} characters"))
            }
            Rule::MaxLength(limit) if text.chars().count() > *limit => {
                self.fault(place, format!("must have at most {limit} characters"))
            }
            Rule::Pattern(pattern) => {
                self.step(text.len() / 16)?;
                match pattern.is_match(text) {
                    true => Ok(()),
                    false => self.fault(place, format!("must match `{}`", pattern.as_str())),
                }
            }
            Rule::Format(format) if !format.fits(text) => {
                self.fault(place, format!("must have the format `{}`", format.name()))
            }
            _ => Ok(()),
        }
    }

    fn array(&mut self, rule: &Rule, place: &Place<'_>, items: &[Value]) -> Result<(), Stopped> {
        match rule {
            Rule::MinItems(limit) if items.len() < *limit => {
                self.fault(place, format!("must have at least {limit} items"))
            }
            Rule::MaxItems(limit) if items.len() > *limit => {
                self.fault(place, format!("must have at most {limit} items"))
            }
            Rule::UniqueItems => {
                self.step(items.len())?;
                let mut texts: Vec<String> = items.iter().map(canonical).collect();
                texts.sort_unstable();
                match texts.windows(2).any(|pair| pair[0] == pair[1]) {
                    true => self.fault(place, "must not have equal items"),
                    false => Ok(()),
                }
            }
            Rule::Items { prefix, rest } => {
                for (index, item) in items.iter().enumerate() {
                    let Some(node) = prefix.get(index).copied().or(*rest) else { break };
                    self.node(node, &Place::Item(place, index), item)?;
                }
                Ok(())
            }
            Rule::Contains { schema, min, max } => {
                let mut found = 0;
                for (index, item) in items.iter().enumerate() {
                    found += usize::from(self.fits(*schema, &Place::Item(place, index), item)?);
                }
                if (*min..=*max).contains(&found) {
                    return Ok(());
                }
                self.fault(
                    place,
                    format!("{found} items are as they must be, expected {min} or more, up to {max}"),
                )
            }
            _ => Ok(()),
        }
    }

    fn object(&mut self, rule: &Rule, place: &Place<'_>, fields: &Map<String, Value>) -> Result<(), Stopped> {
        match rule {
            Rule::MinProperties(limit) if fields.len() < *limit => {
                self.fault(place, format!("must have at least {limit} properties"))
            }
            Rule::MaxProperties(limit) if fields.len() > *limit => {
                self.fault(place, format!("must have at most {limit} properties"))
            }
            Rule::Required(names) => self.required(names, place, fields),
            Rule::DependentRequired(all) => {
                let present = all.iter().filter(|(key, _)| fields.contains_key(key));
                present.map(|(_, names)| names).try_for_each(|names| self.required(names, place, fields))
            }
            Rule::DependentSchemas(all) => {
                for (key, node) in all {
                    if fields.contains_key(key) {
                        self.node(*node, place, &Value::Object(fields.clone()))?;
                    }
                }
                Ok(())
            }
            Rule::PropertyNames(node) => fields
                .keys()
                .try_for_each(|key| self.node(*node, &Place::Field(place, key), &Value::String(key.clone()))),
            Rule::Properties { named, patterns, others } => {
                for (key, field) in fields {
                    let at = Place::Field(place, key);
                    let mut known = false;
                    if let Some(node) = named.get(key) {
                        known = true;
                        self.node(*node, &at, field)?;
                    }
                    for (pattern, node) in patterns {
                        self.step(1 + key.len() / 16)?;
                        if pattern.is_match(key) {
                            known = true;
                            self.node(*node, &at, field)?;
                        }
                    }
                    match others {
                        Some(node) if !known => self.node(*node, &at, field)?,
                        _ => {}
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn required(
        &mut self,
        names: &[String],
        place: &Place<'_>,
        fields: &Map<String, Value>,
    ) -> Result<(), Stopped> {
        let missing = names.iter().filter(|name| !fields.contains_key(*name));
        missing.into_iter().try_for_each(|name| self.fault(place, format!("`{name}` is missing")))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether two values are one to JSON Schema: numbers by their value, whatever they are written as.
fn equal(origin: Origin, a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(origin, a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(origin, a, b)))
        }
        (Value::Object(fields), Value::Array(items)) | (Value::Array(items), Value::Object(fields)) => {
            origin == Origin::Lua && fields.is_empty() && items.is_empty()
        }
        (a, b) => a == b,
    }
}

/// A text that equal values share.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key:?}:{}", canonical(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        value => value.to_string(),
    }
}

fn is_multiple(number: &Number, divisor: &Number) -> bool {
    if let (Some(number), Some(divisor)) = (number.as_i64(), divisor.as_i64()) {
        return number % divisor == 0;
    }
    let (Some(number), Some(divisor)) = (number.as_f64(), divisor.as_f64()) else { return false };
    let quotient = number / divisor;
    // 4.35 / 0.01 is 434.99999999999994: what a decimal notation calls a multiple is one.
    (quotient - quotient.round()).abs() <= quotient.abs().max(1.0) * f64::EPSILON * 4.0
}
