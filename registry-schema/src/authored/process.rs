//! `process.host`, `process.service` and `terminal.host`: where processes run and what keeps them
//! running (`en/system/process-host.md`, `en/guides/supervision.md`, `en/system/terminal.md`).
//!
//! Meta keys: every `process.*` entry that holds code reads `meta.command` ([`ProcessMeta`]).

use serde::{Deserialize, Serialize};

use super::lifecycle::Lifecycle;
use super::scalar::Templated;
use crate::ids::EntryRef;

/// A scheduler for processes (`en/system/process-host.md`, "Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessHost {
    /// Sizes. Default: the defaults of [`ProcessHostSettings`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<ProcessHostSettings>,
    /// Supervision. Default: not started on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Sizes of a process host (`en/system/process-host.md`, "Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessHostSettings {
    /// Processes that run at the same moment. Default: number of CPUs. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Templated<u32>>,
    /// Processes that may wait for a worker. Default: 1024. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_size: Option<Templated<u32>>,
    /// Processes that may wait for one particular worker. Default: 256. Range: 1 and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_queue_size: Option<Templated<u32>>,
    /// Processes that may exist at once. Default: the loader's bound. Range: 1 and up. Ours: not on
    /// the public page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<Templated<u32>>,
}

/// A supervised process (`en/guides/supervision.md`, "Lifecycle Configuration";
/// `en/guides/entry-kinds.md`, "Process Management").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessService {
    /// The `process.*` entry that is run. Required.
    pub process: EntryRef,
    /// The `process.host` that runs it. Required.
    pub host: EntryRef,
    /// Arguments of the process; free values, whose text may hold placeholders. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<serde_json::Value>,
    /// Supervision. Default: not started on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// Runs one process at a time on stdin, stdout and stderr (`en/system/terminal.md`,
/// "Configuration").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TerminalHost {
    /// Keep log lines off the event bus while a command runs. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hide_logs: Option<Templated<bool>>,
    /// Supervision. Default: not started on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// What a process reads from its `meta`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessMeta {
    /// Makes the process a command of the command line. Default: it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandMeta>,
}

/// `meta.command` (`en/guides/cli.md`, "Command Metadata Fields").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandMeta {
    /// Name on the command line, unique in the registry. Required.
    pub name: String,
    /// One line for `run list`. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
    /// The command that is taken when none is named. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<bool>,
    /// What the command is for; `wippy test` runs the one with `test`. Default: `run`. Other words
    /// are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_case: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn process_host() {
        let host: ProcessHost = round_trip(json!({
            "host": {"workers": 8, "queue_size": 1024, "local_queue_size": 256},
            "lifecycle": {"auto_start": true}
        }));
        assert_eq!(host.host.expect("host block").workers, Some(Templated::Value(8)));
        round_trip::<ProcessHost>(json!({}));
        round_trip::<ProcessHost>(json!({"host": {"max_processes": "${env:MAX|100}"}}));
    }

    #[test]
    fn process_service() {
        let service: ProcessService = round_trip(json!({
            "process": "app:worker_process",
            "host": "app:processes",
            "input": ["arg1", "arg2"],
            "lifecycle": {"auto_start": true, "restart": {"max_attempts": 10}}
        }));
        assert_eq!(service.input.len(), 2);
        let missing = serde_json::from_value::<ProcessService>(json!({"process": "a:b"}));
        assert_eq!(missing.unwrap_err().to_string(), "missing field `host`");
    }

    #[test]
    fn terminal_host() {
        round_trip::<TerminalHost>(json!({
            "hide_logs": false,
            "lifecycle": {"auto_start": true}
        }));
    }

    #[test]
    fn command_meta() {
        let meta: ProcessMeta = serde_json::from_value(json!({
            "comment": "free",
            "command": {"name": "migrate", "short": "Run database migrations"}
        }))
        .unwrap();
        let command = meta.command.expect("command block");
        assert_eq!(command.name, "migrate");
        round_trip::<CommandMeta>(json!({"name": "t", "main": true, "use_case": "test"}));
    }
}
