//! `env.storage.*` and `env.variable`: where settings are kept and under which names they are found
//! (`en/system/env.md`).
//!
//! No meta keys are read. The page's own examples have no `lifecycle`; those of
//! `en/tutorials/dataflow.md` do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fs::FileMode;
use super::lifecycle::Lifecycle;
use super::scalar::{ScalarText, ScalarValue, Templated};
use crate::ids::EntryRef;

/// The environment of the loader's own process, read-only (`en/system/env.md`, "OS Storage").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvStorageOs {
    /// Supervision. Default: started when needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Values that live as long as the loader (`en/system/env.md`, "Memory Storage").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvStorageMemory {
    /// Supervision. Default: started when needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Fixed values, read-only (`en/system/env.md`, "Static Storage").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvStorageStatic {
    /// Text by name; whole numbers and switches are taken as text. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Templated<ScalarText>>,
    /// Supervision. Default: started when needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// A file of `KEY=VALUE` lines with `#` comments (`en/system/env.md`, "File Storage").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvStorageFile {
    /// Path of the file. Required.
    pub file_path: Templated<String>,
    /// Create the file when it is missing. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_create: Option<Templated<bool>>,
    /// Permissions of a created file. Default: 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<Templated<FileMode>>,
    /// Permissions of created folders. Default: 0755.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir_mode: Option<Templated<FileMode>>,
    /// Supervision. Default: started when needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Several storages as one (`en/system/env.md`, "Router Storage").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvStorageRouter {
    /// Searched in this order; the first one takes writes. Required.
    pub storages: Vec<EntryRef>,
    /// Supervision. Default: started when needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// A named value in a storage (`en/system/env.md`, "Variables").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvVariable {
    /// Public name of letters, digits and `_`, unique in the registry. Default: reachable by id
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<Templated<String>>,
    /// The storage that holds the value. Required.
    pub storage: EntryRef,
    /// Value when the storage has none. Its type is that of the value: "coerced … when a typed
    /// default is given" ("Placeholder Interpolation"). Default: the variable is not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Templated<ScalarValue>>,
    /// Refuse writes. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Templated<bool>>,
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn env_storage_os() {
        round_trip::<EnvStorageOs>(json!({}));
        round_trip::<EnvStorageOs>(json!({"lifecycle": {"auto_start": true}}));
    }

    #[test]
    fn env_storage_memory() {
        round_trip::<EnvStorageMemory>(json!({}));
    }

    #[test]
    fn env_storage_static() {
        let storage: EnvStorageStatic = round_trip(json!({
            "values": {
                "PUBLIC_API_HOST": "https://api.example.com",
                "PUBLIC_WS_HOST": "wss://api.example.com/ws",
                "APP_ENV": "production"
            }
        }));
        assert_eq!(storage.values.len(), 3);
        let fraction = serde_json::from_value::<EnvStorageStatic>(json!({"values": {"V": 1.5}}));
        assert!(fraction.unwrap_err().to_string().ends_with("hint: put the value in quotes"));
    }

    #[test]
    fn env_storage_file() {
        // `0600` in YAML is this number.
        let storage: EnvStorageFile = round_trip(json!({
            "file_path": "/etc/app/config.env",
            "auto_create": true,
            "file_mode": 0o600,
            "dir_mode": "0700"
        }));
        let modes = [storage.file_mode, storage.dir_mode];
        let bits = modes.map(|mode| mode.and_then(|mode| mode.value().map(|mode| mode.bits())));
        assert_eq!(bits, [Some(0o600), Some(0o700)]);
    }

    #[test]
    fn env_storage_router() {
        let storage: EnvStorageRouter = round_trip(json!({
            "storages": ["app.config:memory", "app.config:file", "app.config:os"]
        }));
        assert_eq!(storage.storages.len(), 3);
    }

    #[test]
    fn env_variable() {
        let variable: EnvVariable = round_trip(json!({
            "variable": "DATABASE_URL",
            "storage": "app.config:file",
            "default": "postgres://localhost/app",
            "readonly": false
        }));
        assert_eq!(variable.readonly, Some(Templated::Value(false)));
        let port: EnvVariable = round_trip(json!({"storage": "os", "default": 8080}));
        assert_eq!(port.default, Some(Templated::Value(ScalarValue::Integer(8080))));
        assert_eq!(port.variable, None);
    }
}
