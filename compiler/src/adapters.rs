//! Adapters from WASI preview 1 to WASI 0.2, which are linked into components at build time.
//!
//! Core modules that import `wasi_snapshot_preview1` get the adapters of the engine's own release: a
//! module that exports `_start` is a command and becomes a component that exports `wasi:cli/run`; any
//! other is a reactor, whose functions are those of its WIT. `_initialize` of either is run once, when
//! the component is instantiated: `wit-component` puts it behind everything that it may call.
//!
//! Known limit: the command adapter turns every exit code but zero into 1.

use registry_schema::Digest;
use registry_schema::manifest::AdapterRecord;
use wasi_preview1_component_adapter_provider as provider;

use crate::core_module::{CoreExport, CoreModule};

/// The module that preview-1 guests import.
pub(crate) const PREVIEW1: &str = provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;

/// The function that makes a module a command.
const START: &str = "_start";

/// Version of the crate that the adapters come from; the same as the engine's.
const VERSION: &str = registry_schema::engine::COMPILER_VERSION;

/// An adapter for one module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preview1 {
    /// Runs `_start` as `wasi:cli/run`.
    Command,
    /// Leaves the exports to the module's WIT.
    Reactor,
}

impl Preview1 {
    /// The adapter that `module` needs, if it needs one.
    pub(crate) fn needed_by(module: &CoreModule) -> Option<Self> {
        module.imports.contains_key(PREVIEW1).then(|| match module.exports.get(START) {
            Some(CoreExport::Function(_)) => Self::Command,
            _ => Self::Reactor,
        })
    }

    /// The adapter's module.
    pub(crate) fn bytes(self) -> &'static [u8] {
        match self {
            Self::Command => provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            Self::Reactor => provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        }
    }

    /// What the manifest says of it.
    pub(crate) fn record(self) -> AdapterRecord {
        let world = match self {
            Self::Command => "command",
            Self::Reactor => "reactor",
        };
        AdapterRecord {
            name: PREVIEW1.to_owned(),
            version: format!("wasi-preview1-component-adapter-provider {VERSION} ({world})"),
            digest: Digest::of(self.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_pinned_one() {
        let lock = include_str!("../../Cargo.lock");
        let pinned =
            format!("name = \"wasi-preview1-component-adapter-provider\"\nversion = \"{VERSION}\"\n");
        assert!(lock.contains(&pinned), "the adapters' version differs from Cargo.lock");
    }

    #[test]
    fn commands_have_a_start() {
        let read = |text: &str| CoreModule::read(&wat::parse_str(text).unwrap()).unwrap();
        let import = r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))"#;
        let needed = |text: &str| Preview1::needed_by(&read(&format!("(module {text})")));
        assert_eq!(needed(r#"(func (export "_start"))"#), None);
        assert_eq!(needed(import), Some(Preview1::Reactor));
        assert_eq!(needed(&format!(r#"{import} (func (export "_start"))"#)), Some(Preview1::Command));
        assert!(Preview1::Reactor.record().version.ends_with(" 48.0.8 (reactor)"));
        assert_ne!(Preview1::Reactor.record().digest, Preview1::Command.record().digest);
    }
}
