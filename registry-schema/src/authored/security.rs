//! `security.policy` and `security.token_store`: who may do what to which resource, when, and how
//! callers prove who they are (`en/system/security.md`).
//!
//! No meta keys are read. Everything in a policy restricts: a key of a policy or of a condition that is not
//! listed must make the policy deny, never be dropped.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::duration::Duration;
use super::scalar::{FromScalar, ScalarValue, Templated, TemplatedVisitor, closed_set};
use crate::ids::EntryRef;

/// A declarative policy (`en/system/security.md`, "Declarative Policy").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecurityPolicy {
    /// The rule. Required.
    pub policy: PolicyRule,
    /// Groups that the policy belongs to, names of the policy's own namespace unless written in
    /// full (`security.named_scope("app.security:admin")`). Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<EntryRef>,
}

/// A rule (`en/system/security.md`, "Policy Structure").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyRule {
    /// Actions that it is about; `*` stands for any text. Required.
    pub actions: OneOrMany<String>,
    /// Resources that it is about; `*` stands for any text. Required.
    pub resources: OneOrMany<String>,
    /// What follows when action, resource and all conditions match. Required.
    pub effect: Templated<Effect>,
    /// All of these must hold. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

closed_set! {
    /// What a matching policy says (`en/system/security.md`, "Policy Structure").
    pub enum Effect {
        /// Allowed, unless another policy denies.
        Allow => "allow",
        /// Denied, whatever other policies say.
        Deny => "deny",
    }
}

/// One comparison (`en/system/security.md`, "Conditions").
///
/// `value` and `value_from` exclude each other; only `exists` and `nexists` do without both. Which
/// of these holds is checked by the build, since either may be a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Condition {
    /// Path that is compared: `actor.id`, `actor.meta.*`, `action`, `resource`, `meta.*`. Required.
    pub field: Templated<String>,
    /// How it is compared. Required.
    pub operator: Templated<Operator>,
    /// What it is compared with; a list for `in` and `nin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<OneOrMany<ScalarValue>>,
    /// Path of what it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Templated<String>>,
}

closed_set! {
    /// Comparisons (`en/system/security.md`, "Operators").
    pub enum Operator {
        /// Equal.
        Eq => "eq",
        /// Not equal.
        Ne => "ne",
        /// Less.
        Lt => "lt",
        /// Greater.
        Gt => "gt",
        /// Less or equal.
        Lte => "lte",
        /// Greater or equal.
        Gte => "gte",
        /// Member of the list.
        In => "in",
        /// Not a member of the list.
        Nin => "nin",
        /// The field exists.
        Exists => "exists",
        /// The field does not exist.
        Nexists => "nexists",
        /// The text contains the value.
        Contains => "contains",
        /// The text does not contain the value.
        Ncontains => "ncontains",
        /// The text matches the regular expression.
        Matches => "matches",
        /// The text does not match the regular expression.
        Nmatches => "nmatches",
    }
}

/// Issues and checks tokens (`en/system/security.md`, "Token Store Options").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenStore {
    /// The key-value store that holds the tokens. Required.
    pub store: EntryRef,
    /// Random bytes in a token. Default: 32 (256 bits). Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_length: Option<Templated<u32>>,
    /// Life of a token that is created without one. Default: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_expiration: Option<Templated<Duration>>,
    /// Key of the HMAC-SHA256 signature; a secret, never logged. Default: tokens are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_key: Option<Templated<String>>,
    /// Deprecated spelling of `token_key: ${env:NAME}`: public name or id of an `env.variable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_key_env: Option<Templated<String>>,
}

/// One scalar or a list of them, kept apart as written: `"*"`, `["read", "write"]`.
#[derive(Debug, Clone, PartialEq)]
pub enum OneOrMany<T> {
    /// Written without a list.
    One(Templated<T>),
    /// Written as a list, also of one or none.
    Many(Vec<Templated<T>>),
}

impl<T> OneOrMany<T> {
    /// The scalars, in the order written.
    pub fn as_slice(&self) -> &[Templated<T>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T: FromScalar> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => one.serialize(serializer),
            Self::Many(many) => many.serialize(serializer),
        }
    }
}

impl<'de, T: FromScalar> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: FromScalar> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such", T::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        TemplatedVisitor(PhantomData).visit_bool(value).map(OneOrMany::One)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        TemplatedVisitor(PhantomData).visit_i64(value).map(OneOrMany::One)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        TemplatedVisitor(PhantomData).visit_u64(value).map(OneOrMany::One)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        TemplatedVisitor(PhantomData).visit_f64(value).map(OneOrMany::One)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        TemplatedVisitor(PhantomData).visit_str(text).map(OneOrMany::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn security_policy() {
        let policy: SecurityPolicy = round_trip(json!({
            "policy": {
                "actions": ["read", "write", "delete"],
                "resources": "document:*",
                "effect": "allow",
                "conditions": [
                    {"field": "meta.owner", "operator": "eq", "value_from": "actor.id"},
                    {"field": "actor.meta.clearance", "operator": "gte", "value": 3},
                    {"field": "actor.meta.role", "operator": "in", "value": ["admin", "moderator"]},
                    {"field": "meta.public", "operator": "eq", "value": false}
                ]
            },
            "groups": ["default"]
        }));
        assert_eq!(policy.policy.actions.as_slice().len(), 3);
        assert_eq!(policy.policy.resources.as_slice().len(), 1);
        assert_eq!(policy.policy.effect, Templated::Value(Effect::Allow));
    }

    #[test]
    fn every_operator_of_the_page() {
        let words: Vec<_> = Operator::ALL.iter().map(|operator| operator.as_str()).collect();
        assert_eq!(
            words.join(" "),
            "eq ne lt gt lte gte in nin exists nexists contains ncontains matches nmatches"
        );
        for word in words {
            round_trip::<Condition>(json!({"field": "action", "operator": word, "value": "x"}));
        }
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        let condition = json!({"field": "action", "operator": "equals", "value": "x"});
        assert_eq!(
            serde_json::from_value::<Condition>(condition).unwrap_err().to_string(),
            "found `equals`, expected one of `eq`, `ne`, `lt`, `gt`, `lte`, `gte`, `in`, `nin`, \
             `exists`, `nexists`, `contains`, `ncontains`, `matches`, `nmatches`"
        );
        let rule = json!({"actions": "*", "resources": "*", "effect": "Deny"});
        assert!(serde_json::from_value::<PolicyRule>(rule).is_err());
        let nested = json!({"actions": {"a": 1}, "resources": "*", "effect": "deny"});
        assert_eq!(
            serde_json::from_value::<PolicyRule>(nested).unwrap_err().to_string(),
            "invalid type: map, expected text, or a list of such"
        );
    }

    #[test]
    fn token_store() {
        let tokens: TokenStore = round_trip(json!({
            "store": "app.auth:token_data",
            "token_length": 32,
            "default_expiration": "24h",
            "token_key": "${env:AUTH_SECRET_KEY}"
        }));
        assert!(tokens.token_key.is_some_and(|key| key.is_template()));
        round_trip::<TokenStore>(json!({"store": "a:b", "token_key_env": "AUTH_SECRET_KEY"}));
    }
}
