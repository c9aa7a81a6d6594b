//! Adapters that an entry brings along: core modules that satisfy imports of its core module.
//!
//! An adapter of functions and numbers alone is linked as the built-in one is: reduced to what the
//! module imports. One with a memory, tables, segments or a start function of its own is linked whole,
//! as a library. Either may use the module's memory (`env.memory`), its exports (`__main_module__`), and
//! host interfaces that the entry's `wit` imports or that it carries the WIT of.
//!
//! Everything that can be told is checked here, in the words of both modules; the encoder would stop
//! at the first fault.

use registry_schema::Digest;
use registry_schema::manifest::AdapterRecord;
use wasmparser::{FuncType, ValType};
use wit_component::{ComponentEncoder, LibraryInfo};

use crate::adapters::PREVIEW1;
use crate::componentize::AdapterSource;
use crate::core_module::{CoreExport, CoreImport, CoreModule, CoreSignature};
use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use crate::wit_source::WitSource;
use registry_schema::suggest::nearest;

/// The module and field by which an adapter imports the memory of the module that it serves.
const MAIN_MEMORY: (&str, &str) = ("env", "memory");

/// The module by which an adapter imports other exports of the module that it serves.
const MAIN_MODULE: &str = "__main_module__";

/// What an entry's own adapters have for a version in the manifest: their digest tells them apart.
const VERSION: &str = "of the entry";

/// An adapter, read.
#[derive(Debug)]
pub(crate) struct CustomAdapter {
    /// The imported module that it satisfies.
    pub(crate) name: String,
    bytes: Vec<u8>,
    /// Of the file as it was read.
    digest: Digest,
    module: CoreModule,
    /// Dotted path of the field that names its file.
    field: String,
}

impl CustomAdapter {
    /// Reads the adapter `source`, text or binary, which is the one at `index` of the entry's list.
    ///
    /// # Errors
    /// When it is no core module, or has a name that means something else.
    pub(crate) fn read(source: &AdapterSource, index: usize) -> Result<Self, Fault> {
        let field = format!("adapters.{index}.path");
        let name = &source.name;
        let failed = |message: String| Fault::new(Code::AdapterFailed, field.clone(), message);
        if name.is_empty() || name == MAIN_MODULE || name == "$root" || name.starts_with("[export]") {
            let message = format!("`{name}` can't name an adapter");
            return Err(Fault::new(Code::AdapterFailed, format!("adapters.{index}.name"), message)
                .help("name the module that the core module imports from"));
        }
        let bytes = wat::parse_bytes(&source.bytes).map_err(|error| {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            failed(format!("the adapter `{name}` is not valid WebAssembly text: {first}"))
        })?;
        if wasmparser::Parser::is_component(&bytes) {
            return Err(failed(format!("the adapter `{name}` is a component, expected a core module"))
                .help("an adapter is linked into a core module: build it as one"));
        }
        let module = CoreModule::read(&bytes).map_err(|error| {
            let (message, offset) = (error.message(), error.offset());
            failed(format!(
                "the adapter `{name}` is not valid WebAssembly: {message} (at offset {offset:#x})"
            ))
        })?;
        Ok(Self {
            name: name.clone(),
            bytes: bytes.into_owned(),
            digest: Digest::of(&source.bytes),
            module,
            field,
        })
    }

    /// Whether it carries WIT, so that it may bring exports of its own.
    pub(crate) fn has_wit(&self) -> bool {
        self.module.has_metadata
    }

    /// Whether anything of it gets into the component of `main`.
    pub(crate) fn is_used_by(&self, main: &CoreModule) -> bool {
        self.has_wit() || main.imports.contains_key(&self.name)
    }

    /// What the manifest says of it.
    pub(crate) fn record(&self) -> AdapterRecord {
        AdapterRecord { name: self.name.clone(), version: VERSION.to_owned(), digest: self.digest }
    }

    /// What keeps it from being linked to `main`, whose bytes stand in `main_field`; `siblings` are the
    /// names of all adapters.
    pub(crate) fn faults(
        &self,
        main: &CoreModule,
        main_field: &str,
        siblings: &[&str],
        wit: Option<&WitSource>,
    ) -> Vec<Fault> {
        let mut faults = self.faults_of_exports(main, main_field);
        faults.extend(self.faults_of_imports(main, siblings, wit));
        if self.module.parts.data_in_foreign_memory {
            let message =
                format!("the adapter `{}` has data that would overwrite the module's memory", self.name);
            faults
                .push(self.fault(message).help("give the adapter a memory of its own, or no data segments"));
        }
        faults
    }

    fn fault(&self, message: String) -> Fault {
        Fault::new(Code::AdapterFailed, self.field.clone(), message)
    }

    /// Compares what `main` imports with what the adapter exports.
    fn faults_of_exports(&self, main: &CoreModule, main_field: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, import) in main.imports.get(&self.name).into_iter().flatten() {
            let wanted = match import {
                CoreImport::Function(ty) => ty,
                CoreImport::Other(kind) => {
                    let message = format!(
                        "the module imports the {kind} `{name}` of `{}`, and an adapter gives functions only",
                        self.name
                    );
                    faults.push(
                        Fault::new(Code::AdapterFailed, main_field, message)
                            .help(format!("define the {kind} in the module and export it")),
                    );
                    continue;
                }
            };
            faults.extend(self.fault_of_export(name, wanted));
        }
        faults
    }

    fn fault_of_export(&self, name: &str, wanted: &FuncType) -> Option<Fault> {
        if !wanted.params().iter().chain(wanted.results()).all(is_number) {
            let message = format!(
                "the module imports `{name}` of `{}` as `{}`, and adapters pass numbers only",
                self.name,
                CoreSignature::from(wanted)
            );
            return Some(self.fault(message).help("use `i32`, `i64`, `f32` and `f64`"));
        }
        match self.module.exports.get(name) {
            Some(CoreExport::Function(found)) if found == wanted => None,
            Some(CoreExport::Function(found)) => {
                let message = format!(
                    "the module imports `{name}` of `{}` as `{}`, the adapter exports it as `{}`",
                    self.name,
                    CoreSignature::from(wanted),
                    CoreSignature::from(found)
                );
                Some(self.fault(message).help("the module and its adapter are of different versions"))
            }
            Some(CoreExport::Memory | CoreExport::Other) => {
                let message = format!("the adapter `{}` exports `{name}`, which is no function", self.name);
                Some(self.fault(message))
            }
            None => {
                let message = format!(
                    "the adapter `{}` exports no function `{name}`, which the module imports",
                    self.name
                );
                let names: Vec<&str> = self.module.functions().map(|(name, _)| name).collect();
                Some(self.fault(message).help(match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the adapter exports {}", listed(&names)),
                }))
            }
        }
    }

    /// Looks for something that provides each import of the adapter.
    fn faults_of_imports(&self, main: &CoreModule, siblings: &[&str], wit: Option<&WitSource>) -> Vec<Fault> {
        let declared = wit.map(WitSource::imported).unwrap_or_default();
        let mut faults = Vec::new();
        let mut uses_main_memory = false;
        for (module, items) in &self.module.imports {
            let bare = module.split('@').next().unwrap_or(module);
            for (name, import) in items {
                match (module.as_str(), name.as_str()) {
                    MAIN_MEMORY => {
                        uses_main_memory = true;
                        faults.extend(self.fault_of_main_memory(main, import));
                    }
                    (MAIN_MODULE, name) => faults.extend(self.fault_of_main_export(main, name, import)),
                    (sibling, name) if siblings.contains(&sibling) || sibling == PREVIEW1 => {
                        let message = format!(
                            "the adapter `{}` imports `{name}` of the adapter `{sibling}`",
                            self.name
                        );
                        faults.push(
                            self.fault(message).help("adapters can't use each other: put both into one"),
                        );
                    }
                    (_, name) if !declared.iter().any(|known| known == bare) && !self.has_wit() => {
                        let message = format!(
                            "the adapter `{}` imports `{name}` of `{module}`, which nothing provides",
                            self.name
                        );
                        faults.push(self.fault(message).help(
                            "an adapter may use the module's memory, `env.memory`, its exports, \
                             `__main_module__`, and interfaces that `wit` imports",
                        ));
                    }
                    _ => {}
                }
            }
        }
        let uses_host = self.module.imports.keys().any(|name| name != MAIN_MODULE && name != MAIN_MEMORY.0);
        if faults.is_empty() && uses_host && self.module.parts.own_memory && !uses_main_memory {
            let message = format!(
                "the adapter `{}` calls the host and has only a memory of its own, which the host does not see",
                self.name
            );
            faults.push(
                self.fault(message).help("import the module's memory: `(import \"env\" \"memory\" …)`"),
            );
        }
        faults
    }

    fn fault_of_main_memory(&self, main: &CoreModule, import: &CoreImport) -> Option<Fault> {
        let is_memory = *import == CoreImport::Other("memory");
        if is_memory && main.exports.get("memory") == Some(&CoreExport::Memory) {
            return None;
        }
        let message = format!(
            "the adapter `{}` uses the module's memory, and the module exports no memory named `memory`",
            self.name
        );
        Some(self.fault(message).help("export the module's memory as `memory`"))
    }

    fn fault_of_main_export(&self, main: &CoreModule, name: &str, import: &CoreImport) -> Option<Fault> {
        let found = main.exports.get(name);
        let fits = match (import, found) {
            (CoreImport::Function(wanted), Some(CoreExport::Function(found))) => wanted == found,
            // The encoder makes one of `memory.grow` for reduced adapters.
            (CoreImport::Function(_), None) => name == "cabi_realloc" && !self.is_library(),
            (CoreImport::Other("memory"), Some(CoreExport::Memory)) => true,
            (CoreImport::Other(_), Some(CoreExport::Other)) => true,
            _ => false,
        };
        if fits {
            return None;
        }
        let message = match (import, found) {
            (CoreImport::Function(wanted), Some(CoreExport::Function(found))) => format!(
                "the adapter `{}` needs the module's `{name}` as `{}`, the module exports it as `{}`",
                self.name,
                CoreSignature::from(wanted),
                CoreSignature::from(found)
            ),
            _ => format!("the adapter `{}` needs an export `{name}`, which the module lacks", self.name),
        };
        Some(self.fault(message).help("imports of `__main_module__` are exports of the core module"))
    }

    fn is_library(&self) -> bool {
        self.module.parts.own_memory || self.module.parts.others
    }

    /// Hands it to the encoder.
    pub(crate) fn apply(&self, encoder: ComponentEncoder) -> anyhow::Result<ComponentEncoder> {
        if self.is_library() {
            // Behind the module, whose memory it may import, and before calls to it are wired.
            let info = LibraryInfo { instantiate_after_shims: false, arguments: Vec::new() };
            encoder.library(&self.name, &self.bytes, info)
        } else {
            encoder.adapter(&self.name, &self.bytes)
        }
    }
}

/// Whether values of `ty` pass through the table of functions between module and adapter.
fn is_number(ty: &ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}
