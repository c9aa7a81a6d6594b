//! `function.lua`, `process.lua` and `library.lua` (`en/lua/entries.md`,
//! `en/concepts/functions.md`).
//!
//! `source`, `method`, `modules` and `imports` decide what is built, so they are plain text: a
//! placeholder in them is the resolver's error, never a template.
//!
//! Meta keys: `function.lua` reads `meta.options` ([`FunctionMeta`]); `process.lua` reads
//! `meta.command` ([`super::process::ProcessMeta`]).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::Duration;
use super::lifecycle::Lifecycle;
use super::scalar::{FromScalar, Scalar, ScalarError, Templated, closed_set};
use crate::ids::EntryRef;

/// A stateless function, every call on its own (`en/lua/entries.md`, "function.lua").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FunctionLua {
    /// Lua source, usually `file://…`. Required.
    pub source: String,
    /// Member of the returned table that is called. The page's table requires it, its examples and
    /// those of migrations leave it out when the chunk itself returns a function. Default: that
    /// function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Modules that `require` may give. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Entries that `require` gives under the alias of the key. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imports: BTreeMap<String, EntryRef>,
    /// How many calls run at once. Default: [`LuaPoolType::Lazy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<LuaPool>,
}

/// A long-running actor (`en/lua/entries.md`, "process.lua").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessLua {
    /// Lua source, usually `file://…`. Required.
    pub source: String,
    /// Member of the returned table that is run. Default: the returned function, as for functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Modules that `require` may give. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Entries that `require` gives under the alias of the key. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imports: BTreeMap<String, EntryRef>,
    /// Supervision, of a process that no `process.service` runs (`en/tutorials/supervision.md`, "Worker
    /// Pool with Supervision"): with `auto_start` it starts in the only `process.host`. Its `security`
    /// holds for services of it that have none (`en/system/security.md`, "Service-Level Security").
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Code that other entries import (`en/lua/entries.md`, "library.lua").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LibraryLua {
    /// Lua source, usually `file://…`. Required.
    pub source: String,
    /// Accepted and not used: a library is what its chunk returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Modules that `require` may give. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Entries that `require` gives under the alias of the key. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imports: BTreeMap<String, EntryRef>,
}

/// Concurrency of a Lua function (`en/lua/entries.md`, "Pool Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LuaPool {
    /// Kind of pool. Default: `static` if `workers` or `size` is given, else `lazy`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub pool_type: Option<Templated<LuaPoolType>>,
    /// Slots of a static pool. Default: `size`, else 8. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Templated<u32>>,
    /// Slots of a static pool when `workers` is absent. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Templated<u32>>,
    /// Calls that may wait for a static pool. Default: `workers` × 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Templated<u32>>,
    /// Most slots of a lazy or adaptive pool. Default: 16; 100 when no pool is configured at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Templated<u32>>,
}

closed_set! {
    /// Kinds of pool (`en/lua/entries.md`, "Pool Configuration").
    pub enum LuaPoolType {
        /// On the caller's task, without a queue.
        Inline => "inline",
        /// Nothing kept ready; grows on demand, shrinks when idle.
        Lazy => "lazy",
        /// A fixed number of slots with a queue.
        Static => "static",
        /// Grows and shrinks with load.
        Adaptive => "adaptive",
    }
}

/// What a function reads from its `meta` (`en/concepts/functions.md`, "Interceptors").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FunctionMeta {
    /// Settings of the interceptors around a call. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<CallOptions>,
}

/// Settings of the built-in interceptors (`en/concepts/functions.md`, "Interceptors"). Names of
/// other interceptors are free.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallOptions {
    /// Repeat a call that failed with a retryable error. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<CallRetry>,
}

/// Repetition of a failed call (`en/concepts/functions.md`, "Interceptors";
/// `en/lua/core/contract.md`, "Call Options").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallRetry {
    /// Attempts including the first; 1 never repeats. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<Templated<u32>>,
    /// Wait before the first repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Templated<RetryDelay>>,
    /// Factor from one wait to the next. Range: 1.0 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_factor: Option<Templated<f64>>,
}

/// A duration whose bare number means milliseconds (`en/lua/core/contract.md`, "Call Options").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelay(pub Duration);

impl FromScalar for RetryDelay {
    const EXPECTED: &'static str = "a duration such as `100ms`, or a whole number of milliseconds";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        let number = match &scalar {
            Scalar::Integer(number) => u64::try_from(*number).ok(),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Bool(_) | Scalar::Float(_) => None,
        };
        match number {
            Some(millis) => Ok(Self(Duration::new(std::time::Duration::from_millis(millis)))),
            None => match Duration::from_scalar(scalar) {
                Ok(duration) => Ok(Self(duration)),
                Err(error) => Err(ScalarError { expected: Self::EXPECTED.to_owned(), ..error }),
            },
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn function_lua() {
        let function: FunctionLua = round_trip(json!({
            "source": "file://handler.lua",
            "method": "main",
            "modules": ["http", "json"],
            "imports": {"utils": "app.lib:helpers"},
            "pool": {"type": "adaptive", "max_size": 16}
        }));
        let pool = function.pool.expect("pool block");
        assert_eq!(pool.pool_type, Some(Templated::Value(LuaPoolType::Adaptive)));
        round_trip::<FunctionLua>(json!({
            "source": "file://01_create_users_table.lua",
            "imports": {"migration": "wippy.migration:migration"}
        }));
    }

    #[test]
    fn static_pool() {
        round_trip::<LuaPool>(json!({"type": "static", "workers": 8, "size": 4, "buffer": 512}));
        let wrong = serde_json::from_value::<LuaPool>(json!({"type": "Lazy"})).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "found `Lazy`, expected one of `inline`, `lazy`, `static`, `adaptive`\nhint: write `lazy`"
        );
    }

    #[test]
    fn process_lua() {
        round_trip::<ProcessLua>(json!({
            "source": "file://worker.lua",
            "method": "main",
            "modules": ["process", "sql"]
        }));
        let process: ProcessLua = round_trip(json!({
            "source": "file://worker.lua",
            "lifecycle": {
                "auto_start": true,
                "security": {
                    "actor": {"id": "service:worker", "meta": {"role": "worker", "service": true}},
                    "policies": ["app.security:worker_policy"],
                    "groups": ["workers"]
                }
            }
        }));
        assert!(process.lifecycle.expect("lifecycle block").security.is_some());
    }

    #[test]
    fn library_lua() {
        round_trip::<LibraryLua>(json!({
            "source": "file://helpers.lua",
            "modules": ["json", "base64"]
        }));
    }

    #[test]
    fn function_meta() {
        let meta: FunctionMeta = serde_json::from_value(json!({
            "title": "free",
            "options": {"retry": {"max_attempts": 3, "initial_delay": 100, "backoff_factor": 2.0}}
        }))
        .unwrap();
        let retry = meta.options.and_then(|options| options.retry).expect("retry block");
        let delay = retry.initial_delay.and_then(|delay| delay.value().copied());
        assert_eq!(delay.map(|delay| delay.0.to_string()), Some("100ms".to_owned()));
        assert!(RetryDelay::from_scalar(Scalar::Integer(-1)).is_err());
    }
}
