//! `unevaluatedItems` and `unevaluatedProperties`: what no other rule of a schema looked at (JSON Schema 2020-12,
//! core, 11).
//!
//! A rule looks at a part of a value if it has a schema for it, also in what the schema includes: references, and
//! those alternatives that the value fits. So these are tried once more when they are asked for; the steps that
//! a check may take bound it.

use serde_json::Value;

use super::check::{Check, Place, Stopped};
use super::schema::{DEPTH_MAX, Node, Ref, Rule};

impl Check<'_> {
    pub(super) fn unevaluated_items(
        &mut self,
        rules: &[Rule],
        schema: Ref,
        place: &Place<'_>,
        value: &Value,
    ) -> Result<(), Stopped> {
        let Value::Array(items) = value else { return Ok(()) };
        let mut seen = vec![false; items.len()];
        self.mark(rules, place, value, &mut seen)?;
        let unseen = items.iter().enumerate().zip(seen).filter(|(_, seen)| !seen);
        for ((index, item), _) in unseen {
            self.node(schema, &Place::Item(place, index), item)?;
        }
        Ok(())
    }

    pub(super) fn unevaluated_properties(
        &mut self,
        rules: &[Rule],
        schema: Ref,
        place: &Place<'_>,
        value: &Value,
    ) -> Result<(), Stopped> {
        let Value::Object(fields) = value else { return Ok(()) };
        let mut seen = vec![false; fields.len()];
        self.mark(rules, place, value, &mut seen)?;
        for ((key, field), _) in fields.iter().zip(seen).filter(|(_, seen)| !seen) {
            self.node(schema, &Place::Field(place, key), field)?;
        }
        Ok(())
    }

    /// Marks those items or fields of `value`, in order, that a schema with `rules` looks at.
    fn mark(
        &mut self,
        rules: &[Rule],
        place: &Place<'_>,
        value: &Value,
        seen: &mut [bool],
    ) -> Result<(), Stopped> {
        for rule in rules {
            match (rule, value) {
                (Rule::Items { prefix, rest }, Value::Array(_)) => {
                    let count = if rest.is_some() { seen.len() } else { prefix.len().min(seen.len()) };
                    seen[..count].fill(true);
                }
                (Rule::Contains { schema, .. }, Value::Array(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        seen[index] |= self.fits(*schema, &Place::Item(place, index), item)?;
                    }
                }
                (Rule::Properties { named, patterns, others }, Value::Object(fields)) => {
                    for (key, seen) in fields.keys().zip(seen.iter_mut()) {
                        self.step(1 + patterns.len() * (1 + key.len() / 16))?;
                        let is_known = named.contains_key(key) || others.is_some();
                        *seen |= is_known || patterns.iter().any(|(pattern, _)| pattern.is_match(key));
                    }
                }
                (Rule::DependentSchemas(all), Value::Object(fields)) => {
                    for (_, node) in all.iter().filter(|(key, _)| fields.contains_key(key)) {
                        self.mark_by(*node, place, value, seen)?;
                    }
                }
                (Rule::AllOf(nodes), _) => {
                    nodes.iter().try_for_each(|node| self.mark_by(*node, place, value, seen))?;
                }
                (Rule::AnyOf(nodes) | Rule::OneOf(nodes), _) => {
                    for node in nodes {
                        self.mark_if_fitting(*node, place, value, seen)?;
                    }
                }
                (Rule::If { condition, then, otherwise }, _) => {
                    let fits = self.mark_if_fitting(*condition, place, value, seen)?;
                    if let Some(node) = if fits { then } else { otherwise } {
                        self.mark_by(*node, place, value, seen)?;
                    }
                }
                (Rule::Reference(node), _) => self.mark_by(*node, place, value, seen)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn mark_if_fitting(
        &mut self,
        node: Ref,
        place: &Place<'_>,
        value: &Value,
        seen: &mut [bool],
    ) -> Result<bool, Stopped> {
        let fits = self.fits(node, place, value)?;
        if fits {
            self.mark_by(node, place, value, seen)?;
        }
        Ok(fits)
    }

    /// [`Self::mark`] by the rules of `node`, which an `unevaluated*` of its own leaves nothing of.
    fn mark_by(
        &mut self,
        node: Ref,
        place: &Place<'_>,
        value: &Value,
        seen: &mut [bool],
    ) -> Result<(), Stopped> {
        self.step(1)?;
        if self.depth == DEPTH_MAX {
            return Err(Stopped::TooMuch);
        }
        let schema = self.schema;
        let Node::Rules(rules) = &schema.nodes[node] else { return Ok(()) };
        let is_last = |rule: &Rule| match rule {
            Rule::UnevaluatedItems(_) => value.is_array(),
            Rule::UnevaluatedProperties(_) => value.is_object(),
            _ => false,
        };
        if rules.iter().any(is_last) {
            seen.fill(true);
            return Ok(());
        }
        self.depth += 1;
        let marked = self.mark(rules, place, value, seen);
        self.depth -= 1;
        marked
    }
}
