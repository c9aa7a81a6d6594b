//! A core module before it is componentized: what it imports and exports, and its exports renamed to
//! what WIT calls them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use wasm_encoder::{ExportKind, ExportSection, RawSection};
use wasmparser::types::Types;
use wasmparser::{
    DataKind, DataSectionReader, ExportSectionReader, ExternalKind, FuncType, ImportSectionReader, Parser,
    Payload, TypeRef, ValType, Validator, WasmFeatures,
};

/// What a module shows to the outside.
#[derive(Debug, Default)]
pub(crate) struct CoreModule {
    /// Exports by name.
    pub(crate) exports: BTreeMap<String, CoreExport>,
    /// Imports by module, then by name.
    pub(crate) imports: BTreeMap<String, BTreeMap<String, CoreImport>>,
    /// Whether it carries its own WIT, as guests built with bindings generators do.
    pub(crate) has_metadata: bool,
    /// What it holds beside functions and numbers.
    pub(crate) parts: Parts,
}

/// Parts of a module that decide how it can be linked as an adapter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// It has a memory of its own.
    pub(crate) own_memory: bool,
    /// A data segment is written into a memory that is imported.
    pub(crate) data_in_foreign_memory: bool,
    /// It has a table, an element or data segment, or a start function.
    pub(crate) others: bool,
}

/// An export of a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CoreExport {
    /// A function of this type.
    Function(FuncType),
    /// A linear memory.
    Memory,
    /// Anything else.
    Other,
}

/// What is imported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CoreImport {
    /// A function of this type.
    Function(FuncType),
    /// A memory, table, global or tag, by that word.
    Other(&'static str),
}

impl CoreModule {
    /// Reads and validates `bytes`.
    ///
    /// # Errors
    /// When they are no valid module, whatever proposals are on.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let types = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes)?;
        let mut module = Self::default();
        let mut counts = Counts::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ImportSection(section) => module.read_imports(section, &types, &mut counts)?,
                Payload::ExportSection(section) => module.read_exports(section, &types)?,
                Payload::MemorySection(section) => module.parts.own_memory |= section.count() > 0,
                Payload::TableSection(_) | Payload::ElementSection(_) | Payload::StartSection { .. } => {
                    module.parts.others = true;
                }
                Payload::DataSection(section) => module.read_data(section, &counts)?,
                Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    module.has_metadata = true;
                }
                _ => {}
            }
        }
        Ok(module)
    }

    fn read_imports(
        &mut self,
        section: ImportSectionReader<'_>,
        types: &Types,
        counts: &mut Counts,
    ) -> Result<(), wasmparser::BinaryReaderError> {
        for import in section.into_imports() {
            let import = import?;
            let kind = match import.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                    let ty = types.as_ref().core_function_at(counts.functions);
                    counts.functions += 1;
                    CoreImport::Function(types[ty].unwrap_func().clone())
                }
                TypeRef::Table(_) => CoreImport::Other("table"),
                TypeRef::Memory(_) => {
                    counts.memories += 1;
                    CoreImport::Other("memory")
                }
                TypeRef::Global(_) => CoreImport::Other("global"),
                TypeRef::Tag(_) => CoreImport::Other("tag"),
            };
            let names = self.imports.entry(import.module.to_owned()).or_default();
            names.insert(import.name.to_owned(), kind);
        }
        Ok(())
    }

    fn read_exports(
        &mut self,
        section: ExportSectionReader<'_>,
        types: &Types,
    ) -> Result<(), wasmparser::BinaryReaderError> {
        for export in section {
            let export = export?;
            let kind = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    let ty = types.as_ref().core_function_at(export.index);
                    CoreExport::Function(types[ty].unwrap_func().clone())
                }
                ExternalKind::Memory => CoreExport::Memory,
                _ => CoreExport::Other,
            };
            self.exports.insert(export.name.to_owned(), kind);
        }
        Ok(())
    }

    fn read_data(
        &mut self,
        section: DataSectionReader<'_>,
        counts: &Counts,
    ) -> Result<(), wasmparser::BinaryReaderError> {
        self.parts.others = true;
        for data in section {
            if let DataKind::Active { memory_index, .. } = data?.kind {
                self.parts.data_in_foreign_memory |= memory_index < counts.memories;
            }
        }
        Ok(())
    }

    /// Names of the exported functions that are meant for callers.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (&str, &FuncType)> {
        self.exports.iter().filter_map(|(name, export)| match export {
            CoreExport::Function(ty) if !is_support(name) => Some((name.as_str(), ty)),
            _ => None,
        })
    }
}

/// How many things of a kind were imported.
#[derive(Debug, Default)]
struct Counts {
    functions: u32,
    memories: u32,
}

/// Whether an export serves the canonical ABI or a toolchain rather than a caller.
fn is_support(name: &str) -> bool {
    name.starts_with("cabi_") || name.starts_with("__") || matches!(name, "_initialize" | "_start")
}

/// `bytes` with the exports in `renamed` (from, to) under their new names.
///
/// # Errors
/// When `bytes` is no module.
pub(crate) fn rename_exports(
    bytes: &[u8],
    renamed: &BTreeMap<String, String>,
) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::ExportSection(section) = &payload {
            let mut exports = ExportSection::new();
            for export in section.clone() {
                let export = export?;
                let name = renamed.get(export.name).map_or(Cow::Borrowed(export.name), Cow::from);
                exports.export(&name, export_kind(export.kind), export.index);
            }
            module.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &bytes[range] });
        }
    }
    Ok(module.finish())
}

fn export_kind(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}

/// A core signature as messages show it: `[i32 i64] -> [f32]`.
#[derive(Debug)]
pub(crate) struct CoreSignature<'a> {
    params: &'a [ValType],
    results: &'a [ValType],
}

impl<'a> From<&'a FuncType> for CoreSignature<'a> {
    fn from(ty: &'a FuncType) -> Self {
        Self { params: ty.params(), results: ty.results() }
    }
}

impl fmt::Display for CoreSignature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        write!(f, "[{}] -> [{}]", list(self.params), list(self.results))
    }
}

/// A WIT signature that fits `ty`, to show what `wit` could say; `None` when it has types that no
/// single WIT type becomes.
pub(crate) fn suggested_wit(name: &str, ty: &FuncType) -> Option<String> {
    let wit = |ty: &ValType| match ty {
        ValType::I32 => Some("s32"),
        ValType::I64 => Some("s64"),
        ValType::F32 => Some("f32"),
        ValType::F64 => Some("f64"),
        _ => None,
    };
    let params: Option<Vec<String>> = ty
        .params()
        .iter()
        .zip('a'..='p')
        .map(|(param, letter)| wit(param).map(|param| format!("{letter}: {param}")))
        .collect();
    let result = match ty.results() {
        [] => String::new(),
        [result] => format!(" -> {}", wit(result)?),
        _ => return None,
    };
    Some(format!("{name}: func({}){result};", params?.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module
        (import "env" "log" (func (param i32)))
        (memory (export "memory") 1)
        (func (export "my_fn") (param i32 i64) (result f32) f32.const 0)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))"#;

    #[test]
    fn reads_what_a_module_shows() {
        let module = CoreModule::read(&wat::parse_str(MODULE).unwrap()).unwrap();
        let CoreImport::Function(log) = &module.imports["env"]["log"] else { panic!("a function") };
        assert_eq!(CoreSignature::from(log).to_string(), "[i32] -> []");
        assert_eq!(module.exports["memory"], CoreExport::Memory);
        let (name, ty) = module.functions().next().unwrap();
        assert_eq!(module.functions().count(), 1);
        assert_eq!(CoreSignature::from(ty).to_string(), "[i32 i64] -> [f32]");
        assert_eq!(suggested_wit(name, ty).unwrap(), "my_fn: func(a: s32, b: s64) -> f32;");
        assert!(CoreModule::read(b"\0asm\x01\0\0\0\x01").is_err());
    }

    #[test]
    fn renames_exports() {
        let bytes = wat::parse_str(MODULE).unwrap();
        let renamed = BTreeMap::from([("my_fn".to_owned(), "my-fn".to_owned())]);
        let module = CoreModule::read(&rename_exports(&bytes, &renamed).unwrap()).unwrap();
        assert!(module.exports.contains_key("my-fn") && !module.exports.contains_key("my_fn"));
        assert_eq!(module.exports.len(), 3);
    }
}
