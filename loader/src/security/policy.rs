//! Policies, made from `security.policy` entries (`en/system/security.md`, "Policies").
//!
//! Fail closed: an entry that can't be evaluated, whatever the reason, is a policy that denies everything.

use registry_schema::EntryId;
use registry_schema::authored::scalar::{ScalarValue, Templated};
use registry_schema::authored::security::{self as authored, Effect, OneOrMany, SecurityPolicy};
use registry_schema::manifest::Entry;
use serde::Deserialize;
use serde_json::Value;

use super::Actor;
use super::condition::{Condition, Request, Written};
use super::pattern::Pattern;
use super::value::Truth;
use crate::data::Data;
use crate::environment::Environment;

/// The kind of policies that are evaluated.
const KIND: &str = "security.policy";

/// Whether entries of `kind` are policies, also those that are not evaluated here.
pub(super) fn is_policy(kind: &str) -> bool {
    kind.strip_prefix(KIND).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What a policy or a scope says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may be done, unless another policy denies it.
    Allow,
    /// It must not be done, whatever other policies say.
    Deny,
    /// It is not this policy's matter.
    Undefined,
}

impl Decision {
    /// The word that Lua sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Undefined => "undefined",
        }
    }
}

/// A policy.
#[derive(Debug)]
pub struct Policy {
    id: EntryId,
    rule: Result<Rule, String>,
}

#[derive(Debug)]
struct Rule {
    actions: Vec<Pattern>,
    resources: Vec<Pattern>,
    effect: Effect,
    conditions: Vec<Condition>,
}

impl Policy {
    /// The policy that `entry` defines, its placeholders resolved.
    pub(super) fn read(entry: &Entry, environment: &Environment<'_>) -> Self {
        Self { id: entry.id.clone(), rule: Rule::read(entry, environment) }
    }

    /// Its id.
    pub fn id(&self) -> &EntryId {
        &self.id
    }

    /// Why it can't be evaluated and denies everything, if so.
    pub fn problem(&self) -> Option<&str> {
        self.rule.as_ref().err().map(String::as_str)
    }

    /// What it says when `actor` wants to do `action` to `resource`, which has the metadata `meta`.
    pub fn evaluate(&self, actor: Option<&Actor>, action: &str, resource: &str, meta: &Data) -> Decision {
        self.decide(Request { actor, action, resource, meta })
    }

    pub(super) fn decide(&self, request: Request<'_>) -> Decision {
        let Ok(rule) = &self.rule else { return Decision::Deny };
        let matches = |patterns: &[Pattern], text: &str| patterns.iter().any(|p| p.matches(text));
        if !matches(&rule.actions, request.action) || !matches(&rule.resources, request.resource) {
            return Decision::Undefined;
        }
        let applies = Truth::all(rule.conditions.iter().map(|condition| condition.holds(request)));
        match (rule.effect, applies) {
            (Effect::Allow, Truth::True) => Decision::Allow,
            (Effect::Deny, Truth::True | Truth::Undecided) => Decision::Deny,
            (Effect::Allow, Truth::False | Truth::Undecided) | (Effect::Deny, Truth::False) => {
                Decision::Undefined
            }
        }
    }
}

impl Rule {
    fn read(entry: &Entry, environment: &Environment<'_>) -> Result<Self, String> {
        if let Some(reason) = &entry.unavailable {
            return Err(reason.clone());
        }
        if entry.kind != KIND {
            return Err(format!("policies of the kind `{}` are not evaluated", entry.kind));
        }
        check_keys(&entry.data)?;
        let policy = SecurityPolicy::deserialize(&entry.data).map_err(|error| error.to_string())?.policy;
        let resolver = Resolver { environment, entry };
        let patterns = |field: &str, texts: &OneOrMany<String>| {
            let texts = texts.as_slice().iter();
            texts.map(|text| Ok(Pattern::new(&resolver.text(field, text)?))).collect::<Result<_, String>>()
        };
        let conditions = policy.conditions.iter().enumerate().map(|(index, condition)| {
            resolver.condition(condition).map_err(|problem| format!("`policy.conditions.{index}`: {problem}"))
        });
        Ok(Self {
            actions: patterns("policy.actions", &policy.actions)?,
            resources: patterns("policy.resources", &policy.resources)?,
            effect: resolver.resolve("policy.effect", &policy.effect)?,
            conditions: conditions.collect::<Result<_, _>>()?,
        })
    }
}

/// Resolves the placeholders of one entry.
struct Resolver<'a> {
    environment: &'a Environment<'a>,
    entry: &'a Entry,
}

impl Resolver<'_> {
    fn resolve<T>(&self, field: &str, value: &Templated<T>) -> Result<T, String>
    where
        T: registry_schema::authored::scalar::FromScalar + Clone,
    {
        let resolved = self.environment.resolve(self.entry.id.namespace(), field, value);
        resolved.map_err(|error| error.message().to_owned())
    }

    fn text(&self, field: &str, value: &Templated<String>) -> Result<String, String> {
        self.resolve(field, value)
    }

    fn scalar(&self, value: &Templated<ScalarValue>) -> Result<ScalarValue, String> {
        let resolved = self.environment.resolve_scalar(self.entry.id.namespace(), "value", value);
        resolved.map_err(|error| error.message().to_owned())
    }

    fn condition(&self, condition: &authored::Condition) -> Result<Condition, String> {
        let written = match (&condition.value, &condition.value_from) {
            (Some(_), Some(_)) => return Err("has both `value` and `value_from`".to_owned()),
            (None, None) => Written::Nothing,
            (None, Some(path)) => Written::From(self.text("value_from", path)?),
            (Some(OneOrMany::One(value)), None) => Written::One(self.scalar(value)?),
            (Some(OneOrMany::Many(values)), None) => {
                Written::Many(values.iter().map(|value| self.scalar(value)).collect::<Result<_, _>>()?)
            }
        };
        let operator = self.resolve("operator", &condition.operator)?;
        Condition::new(&self.text("field", &condition.field)?, operator, written)
    }
}

/// Finds keys that are not known: everything in a policy restricts.
fn check_keys(data: &Value) -> Result<(), String> {
    only("", data, &["policy", "groups"])?;
    let rule = &data["policy"];
    only("policy.", rule, &["actions", "resources", "effect", "conditions"])?;
    for (index, condition) in rule["conditions"].as_array().into_iter().flatten().enumerate() {
        let within = format!("policy.conditions.{index}.");
        only(&within, condition, &["field", "operator", "value", "value_from"])?;
    }
    Ok(())
}

fn only(within: &str, value: &Value, known: &[&str]) -> Result<(), String> {
    let mut keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
    match keys.find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("the field `{within}{key}` is not understood")),
        None => Ok(()),
    }
}
