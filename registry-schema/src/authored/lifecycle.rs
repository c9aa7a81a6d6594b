//! The `lifecycle` block that supervised entries share: start order, time limits, restarts, and the
//! identity that the entry's code runs under (`en/guides/supervision.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::Duration;
use super::scalar::Templated;
use crate::ids::EntryRef;

/// How the supervisor starts, restarts and stops an entry (`en/guides/supervision.md`, "Lifecycle
/// Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lifecycle {
    /// Start with the supervisor. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_start: Option<Templated<bool>>,
    /// Longest start-up. Default: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<Templated<Duration>>,
    /// Longest graceful stop. Default: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Templated<Duration>>,
    /// Time of running after which the service counts as stable and the restart counter goes back
    /// to zero. Default: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_threshold: Option<Templated<Duration>>,
    /// Entries that must run first; the legacy spelling is `depends_on`. What other fields refer to
    /// is a dependency anyway. Default: none.
    #[serde(default, alias = "depends_on", skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<EntryRef>,
    /// What happens after a failure. Default: the defaults of [`Restart`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// The identity that the entry's code starts with. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<LifecycleSecurity>,
}

/// Retries with exponential back-off (`en/guides/supervision.md`, "Restart Policy").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Restart {
    /// Wait before the first retry. Default: `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Templated<Duration>>,
    /// Longest wait before jitter. Default: `90s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Templated<Duration>>,
    /// Factor from one wait to the next. Default: 2.0. Range: 1.0 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_factor: Option<Templated<f64>>,
    /// Random share added to or taken from a wait. Default: 0.1 (±10 %). Range: 0.0 to 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Templated<f64>>,
    /// Retries before giving up. Default: 0, which means without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<Templated<u32>>,
}

/// Actor and policies that code starts with (`en/guides/supervision.md`, "Security Context").
///
/// The lists are kept apart from absent ones: an empty scope allows nothing, no scope is another
/// matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifecycleSecurity {
    /// Who acts. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<LifecycleActor>,
    /// Policies of the scope, by entry. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<EntryRef>>,
    /// Policy groups whose members join the scope. A group belongs to a namespace like an entry.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<EntryRef>>,
}

/// Who acts (`en/guides/supervision.md`, "Security Context").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifecycleActor {
    /// Identity, for example `service:admin-worker`. Required.
    pub id: Templated<String>,
    /// Free attributes that policies compare as `actor.meta.*`; text in them may hold placeholders.
    /// Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn documented_example() {
        let lifecycle: Lifecycle = round_trip(json!({
            "auto_start": true,
            "start_timeout": "30s",
            "stop_timeout": "10s",
            "stable_threshold": "5s",
            "requires": ["app:database"],
            "restart": {
                "initial_delay": "1s",
                "max_delay": "90s",
                "backoff_factor": 2.0,
                "jitter": 0.1,
                "max_attempts": 0
            },
            "security": {
                "actor": {"id": "service:admin-worker", "meta": {"role": "admin"}},
                "groups": ["app:admin_policies"],
                "policies": ["app:data_access"]
            }
        }));
        assert_eq!(lifecycle.auto_start, Some(Templated::Value(true)));
        let restart = lifecycle.restart.expect("restart block");
        assert_eq!(restart.max_delay.expect("delay").value().map(Duration::to_string), Some("1m30s".into()));
    }

    #[test]
    fn legacy_spelling_and_absence() {
        let lifecycle: Lifecycle = serde_json::from_value(json!({"depends_on": ["app:database"]})).unwrap();
        assert_eq!(lifecycle.requires.len(), 1);
        round_trip::<Lifecycle>(json!({}));
        let security: LifecycleSecurity = round_trip(json!({"policies": []}));
        assert_eq!(security.policies, Some(Vec::new()));
        assert_eq!(security.groups, None);
    }
}
