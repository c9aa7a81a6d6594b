//! Adapters, which are linked into components at build time: those that an entry brings along
//! (`CustomAdapter`), and those from WASI preview 1 to WASI 0.2.
//!
//! Core modules that import `wasi_snapshot_preview1` get the adapters of the engine's own release: a
//! module that exports `_start` is a command and becomes a component that exports `wasi:cli/run`; any
//! other is a reactor, whose functions are those of its WIT. `_initialize` of either is run once, when
//! the component is instantiated: `wit-component` puts it behind everything that it may call. An entry
//! may bring an adapter of that name itself.
//!
//! Known limit: the command adapter turns every exit code but zero into 1.

use registry_schema::Digest;
use registry_schema::manifest::AdapterRecord;
use wasi_preview1_component_adapter_provider as provider;
use wit_component::ComponentEncoder;

use crate::componentize::Source;
use crate::core_module::{CoreExport, CoreModule};
use crate::custom_adapter::CustomAdapter;
use crate::diagnostic::Code;
use crate::fault::Fault;
use crate::wit_source::WitSource;

/// The module that preview-1 guests import.
pub(crate) const PREVIEW1: &str = provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;

/// The function that makes a module a command.
const START: &str = "_start";

/// Version of the crate that the adapters come from; the same as the engine's.
const VERSION: &str = registry_schema::engine::COMPILER_VERSION;

/// The adapters of one core module.
#[derive(Debug, Default)]
pub(crate) struct Adapters {
    custom: Vec<CustomAdapter>,
    preview1: Option<Preview1>,
}

impl Adapters {
    /// Reads the adapters of `source`, and adds the built-in one if `module` needs it.
    ///
    /// # Errors
    /// Every adapter that is no core module.
    pub(crate) fn read(source: &Source, module: &CoreModule) -> Result<Self, Vec<Fault>> {
        let (mut custom, mut faults) = (Vec::new(), Vec::new());
        for (index, adapter) in source.adapters.iter().enumerate() {
            match CustomAdapter::read(adapter, index) {
                Ok(adapter) => custom.push(adapter),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let preview1 = Preview1::needed_by(module).filter(|_| custom.iter().all(|it| it.name != PREVIEW1));
        Ok(Self { custom, preview1 })
    }

    /// Whether the imports of the module `name` are satisfied.
    pub(crate) fn provide(&self, name: &str) -> bool {
        (name == PREVIEW1 && self.preview1.is_some()) || self.custom.iter().any(|it| it.name == name)
    }

    /// Whether they may export functions, so that the module needs no `wit` of its own.
    pub(crate) fn bring_exports(&self) -> bool {
        self.preview1 == Some(Preview1::Command) || self.custom.iter().any(CustomAdapter::has_wit)
    }

    /// What keeps them from being linked to `module`, whose bytes stand in `field`.
    pub(crate) fn faults(&self, module: &CoreModule, wit: Option<&WitSource>, field: &str) -> Vec<Fault> {
        let names: Vec<&str> = self.custom.iter().map(|adapter| adapter.name.as_str()).collect();
        let custom = self.custom.iter().flat_map(|adapter| adapter.faults(module, field, &names, wit));
        let mut faults: Vec<Fault> = custom.collect();
        if self.preview1.is_some() && module.exports.get("memory") != Some(&CoreExport::Memory) {
            let message = format!("the module imports `{PREVIEW1}` and exports no memory named `memory`");
            faults.push(
                Fault::new(Code::CoreModuleMismatch, field, message)
                    .help("export the module's memory as `memory`"),
            );
        }
        faults
    }

    /// Hands those that `module` uses to the encoder.
    pub(crate) fn apply(
        &self,
        module: &CoreModule,
        encoder: ComponentEncoder,
    ) -> anyhow::Result<ComponentEncoder> {
        let mut used = self.custom.iter().filter(|adapter| adapter.is_used_by(module));
        let encoder = used.try_fold(encoder, |encoder, adapter| adapter.apply(encoder))?;
        match self.preview1 {
            Some(adapter) => encoder.adapter(PREVIEW1, adapter.bytes()),
            None => Ok(encoder),
        }
    }

    /// What the manifest says of those that `module` uses.
    pub(crate) fn records(&self, module: &CoreModule) -> Vec<AdapterRecord> {
        let used = self.custom.iter().filter(|adapter| adapter.is_used_by(module));
        used.map(CustomAdapter::record).chain(self.preview1.map(Preview1::record)).collect()
    }
}

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
