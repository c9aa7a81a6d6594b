//! `store.memory`: a key-value store (`en/system/store.md`).
//!
//! No meta keys are read.

use serde::{Deserialize, Serialize};

use super::duration::Duration;
use super::lifecycle::Lifecycle;
use super::scalar::Templated;

/// A key-value store that lives as long as the loader (`en/system/store.md`, "Memory Store").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoreMemory {
    /// Entries it may hold; further ones are refused. Default: 10000, also for 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Templated<u64>>,
    /// Time between removals of what expired; `0` removes nothing on its own. Default: `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_interval: Option<Templated<Duration>>,
    /// Supervision. Default: not started on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn store_memory() {
        let store: StoreMemory = round_trip(json!({
            "max_size": 10000,
            "cleanup_interval": "5m",
            "lifecycle": {"auto_start": true}
        }));
        assert_eq!(store.max_size, Some(Templated::Value(10_000)));
        round_trip::<StoreMemory>(json!({"cleanup_interval": 0}));
    }
}
