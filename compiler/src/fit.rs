//! Whether a core module fits its WIT, said in the words of both, before the encoder is asked.
//!
//! The encoder stops at the first fault and knows core types only; here all are found, each at its
//! signature. What passes here and fails there is translated by [`encoder_fault`].

use std::collections::BTreeMap;

use wasmparser::{FuncType, ValType};
use wit_component::AdapterModuleDidNotExport;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};
use wit_parser::{Function, Resolve, Type, TypeDefKind};

use crate::adapters::{Adapters, PREVIEW1};
use crate::core_module::{CoreExport, CoreImport, CoreModule, CoreSignature};
use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use crate::signature::signature;
use crate::wit_source::WitSource;
use registry_schema::suggest::nearest;

/// What must be done for a module to fit.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    /// Exports to rename, from and to.
    pub(crate) renamed: BTreeMap<String, String>,
}

/// Compares `module` with `wit`.
///
/// # Errors
/// Every export that is missing or has another signature, every import that nothing provides.
pub(crate) fn fit(
    module: &CoreModule,
    wit: &WitSource,
    adapters: &Adapters,
    field: &str,
) -> Result<Fit, Vec<Fault>> {
    let mut faults = foreign_imports(module, wit, adapters, field);
    let mut fit = Fit::default();
    // The other way of naming exports; the encoder checks it.
    let standard_names = module.exports.keys().any(|name| name.starts_with("cm32p2"));
    if !standard_names {
        for (interface, function) in wit.functions() {
            check_function(module, wit, interface.as_deref(), function, &mut fit, &mut faults);
        }
    }
    faults.extend(adapters.faults(module, Some(wit), field));
    if faults.is_empty() { Ok(fit) } else { Err(faults) }
}

fn has_memory(module: &CoreModule) -> bool {
    module.exports.get("memory") == Some(&CoreExport::Memory)
}

fn check_function(
    module: &CoreModule,
    wit: &WitSource,
    interface: Option<&str>,
    function: &Function,
    fit: &mut Fit,
    faults: &mut Vec<Fault>,
) {
    let name = function.legacy_core_export_name(interface).into_owned();
    let asynchronous = |prefix: &str| module.exports.contains_key(&format!("{prefix}{name}"));
    if asynchronous("[async-lift]") || asynchronous("[async-lift-stackful]") {
        return;
    }
    let place = |fault: Fault| match wit.position(function) {
        Some((line, column)) => fault.at(line, column),
        None => fault,
    };
    let resolve = &wit.resolve;
    let lowered = resolve.wasm_signature(AbiVariant::GuestExport, function);
    let expected = core_type(&lowered);
    let shown = match signature(resolve, function) {
        Some(signature) => format!("{name}: {signature}"),
        None => name.clone(),
    };
    let Some((found_name, export)) = find_export(module, &name) else {
        let message = format!(
            "`{shown}` needs an exported function `{name}` of type `{}`",
            CoreSignature::from(&expected)
        );
        let fault = Fault::new(Code::CoreModuleMismatch, "wit", format!("{message}, which the module lacks"));
        let names: Vec<&str> = module.functions().map(|(name, _)| name).collect();
        faults.push(place(fault.help(match nearest(&name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the module exports {}", listed(&names)),
        })));
        return;
    };
    match export {
        CoreExport::Function(found) if *found == expected => {}
        CoreExport::Function(found) => {
            let message = format!(
                "`{shown}` needs the core signature `{}`, the export `{found_name}` has `{}`",
                CoreSignature::from(&expected),
                CoreSignature::from(found)
            );
            let fault = Fault::new(Code::CoreModuleMismatch, "wit", message);
            faults.push(place(fault.help(signature_help(&lowered))));
        }
        CoreExport::Memory | CoreExport::Other => {
            let message = format!("`{shown}` needs an exported function, the export `{found_name}` is none");
            faults.push(place(Fault::new(Code::CoreModuleMismatch, "wit", message)));
        }
    }
    let missing = missing_support(module, resolve, function, &lowered);
    if !missing.is_empty() {
        let message = format!("`{shown}` needs the module to export {}", missing.join(" and "));
        faults.push(place(Fault::new(Code::CoreModuleMismatch, "wit", message).help(
            "values of any length pass through the module's memory, and those that come in are put where \
             `cabi_realloc` says",
        )));
    }
    if found_name != name {
        fit.renamed.insert(found_name.to_owned(), name.clone());
    }
    let post_return = format!("cabi_post_{name}");
    if let Some((found, CoreExport::Function(_))) = find_export(module, &post_return)
        && found != post_return
    {
        fit.renamed.insert(found.to_owned(), post_return);
    }
}

/// The export `name`, or the one that spells it in snake_case.
fn find_export<'a>(module: &'a CoreModule, name: &str) -> Option<(&'a str, &'a CoreExport)> {
    let exact = module.exports.get_key_value(name);
    let (interface, function) = name.rsplit_once('#').map_or((None, name), |(i, f)| (Some(i), f));
    let snake = function.replace('-', "_");
    let snake = interface.map_or(snake.clone(), |interface| format!("{interface}#{snake}"));
    exact.or_else(|| module.exports.get_key_value(&snake)).map(|(name, export)| (name.as_str(), export))
}

fn signature_help(lowered: &WasmSignature) -> String {
    let mut notes = Vec::new();
    if lowered.indirect_params {
        notes.push("more than 16 flat parameters are passed as one pointer to memory");
    }
    if lowered.retptr {
        notes.push("a result of several parts is returned as a pointer to memory");
    }
    if notes.is_empty() {
        "change the signature in `wit`, or the types of the exported function".to_owned()
    } else {
        notes.join("; ")
    }
}

/// What the module must export beside the function: its memory, and an allocator.
fn missing_support(
    module: &CoreModule,
    resolve: &Resolve,
    function: &Function,
    lowered: &WasmSignature,
) -> Vec<&'static str> {
    let params = function.params.iter().any(|param| has_pointer(resolve, &param.ty));
    let result = function.result.as_ref().is_some_and(|result| has_pointer(resolve, result));
    let allocates = params || lowered.indirect_params;
    let mut missing = Vec::new();
    if (allocates || result || lowered.retptr) && !has_memory(module) {
        missing.push("a memory named `memory`");
    }
    let allocators = ["cabi_realloc", "canonical_abi_realloc", "cabi_export_realloc"];
    if allocates && !allocators.iter().any(|name| module.exports.contains_key(*name)) {
        missing.push("a function `cabi_realloc` of type `[i32 i32 i32 i32] -> [i32]`");
    }
    missing
}

/// Whether values of `ty` hold strings or lists.
fn has_pointer(resolve: &Resolve, ty: &Type) -> bool {
    let optional = |ty: &Option<Type>| ty.as_ref().is_some_and(|ty| has_pointer(resolve, ty));
    let Type::Id(id) = ty else { return *ty == Type::String };
    match &resolve.types[*id].kind {
        TypeDefKind::List(_) | TypeDefKind::Map(..) => true,
        TypeDefKind::Record(record) => record.fields.iter().any(|field| has_pointer(resolve, &field.ty)),
        TypeDefKind::Tuple(tuple) => tuple.types.iter().any(|ty| has_pointer(resolve, ty)),
        TypeDefKind::Variant(variant) => variant.cases.iter().any(|case| optional(&case.ty)),
        TypeDefKind::Option(ty) | TypeDefKind::Type(ty) | TypeDefKind::FixedLengthList(ty, _) => {
            has_pointer(resolve, ty)
        }
        TypeDefKind::Result(result) => optional(&result.ok) || optional(&result.err),
        _ => false,
    }
}

fn core_type(signature: &WasmSignature) -> FuncType {
    let value = |ty: &WasmType| match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
    };
    FuncType::new(signature.params.iter().map(value), signature.results.iter().map(value))
}

/// Faults of imports that neither the WIT nor an adapter provides, one per module.
fn foreign_imports(module: &CoreModule, wit: &WitSource, adapters: &Adapters, field: &str) -> Vec<Fault> {
    let declared = wit.imported();
    let provided = |name: &str| {
        let bare = name.split('@').next().unwrap_or(name);
        adapters.provide(name)
            || name == "$root"
            || name.starts_with("[export]")
            || name.starts_with("cm32p2")
            || declared.iter().any(|declared| declared == bare)
    };
    let foreign = module.imports.iter().filter(|(name, _)| !provided(name));
    foreign.map(|(name, items)| foreign_import(name, items, field)).collect()
}

/// The fault of a module that imports `items` of `name`.
fn foreign_import(name: &str, items: &BTreeMap<String, CoreImport>, field: &str) -> Fault {
    let message = format!("the module imports {} of `{name}`, which nothing provides", listed(items.keys()));
    let fault = Fault::new(Code::AdapterFailed, field, message);
    let other = items.values().find_map(|item| match item {
        CoreImport::Other(kind) => Some(*kind),
        CoreImport::Function(_) => None,
    });
    fault.help(match (name, other) {
        (_, Some(kind)) => {
            format!("a component imports functions only: define the {kind} in the module and export it")
        }
        ("wasi_unstable", None) => format!("rebuild it with a toolchain that targets `{PREVIEW1}`"),
        _ if name.contains('/') => format!("declare it in `wit`: `import {name};`"),
        _ => format!("satisfy it with `adapters: [{{name: {name}, …}}]`, or build the module without it"),
    })
}

/// The fault behind an error of the component encoder.
pub(crate) fn encoder_fault(error: &anyhow::Error, field: &str) -> Fault {
    if let Some(missing) = error.chain().find_map(|cause| cause.downcast_ref::<AdapterModuleDidNotExport>()) {
        let text = missing.to_string();
        let name = text.split('`').nth(1).unwrap_or_default();
        return Fault::new(Code::AdapterFailed, field, format!("`{PREVIEW1}` has no function `{name}`"))
            .help("the module was built for another system interface; build it for plain preview 1");
    }
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // The outermost layers say which step of the encoder failed, the innermost what is wrong.
    let mut message = causes.last().cloned().unwrap_or_default();
    if let Some(step) = causes.iter().rev().nth(1).filter(|step| step.starts_with("failed to")) {
        message = format!("{step}: {message}");
    }
    for (debug, text) in [("I32", "i32"), ("I64", "i64"), ("F32", "f32"), ("F64", "f64")] {
        message = message.replace(debug, text);
    }
    let code = if message.contains("import") { Code::AdapterFailed } else { Code::CoreModuleMismatch };
    Fault::new(code, field, message.replace('\n', "; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::componentize::{Form, Source};

    fn faults(module: &str, wit: &str) -> Vec<Fault> {
        let bytes = wat::parse_str(module).unwrap();
        let module = CoreModule::read(&bytes).unwrap();
        let source =
            Source { form: Form::Text, bytes: Arc::default(), wit: None, adapters: vec![], preinit: None };
        let adapters = Adapters::read(&source, &module).unwrap();
        let wit = WitSource::parse(wit).unwrap();
        fit(&module, &wit, &adapters, "source").map(|fit| fit.renamed).unwrap_err()
    }

    #[test]
    fn all_faults_name_both_signatures() {
        let module = r#"(module (func (export "add") (param i64) (result i64) local.get 0)
            (memory (export "mem") 1) (func (export "gret") (param i32 i32) (result i32) i32.const 0))"#;
        let faults =
            faults(module, "add: func(a: s32) -> s32\ngreet: func(n: string) -> string\n  x: func()");
        let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`add: func(a: s32) -> s32` needs the core signature `[i32] -> [i32]`, the export `add` has `[i64] -> [i64]`",
                "`greet: func(n: string) -> string` needs an exported function `greet` of type `[i32 i32] -> [i32]`, which the module lacks",
                "`x: func()` needs an exported function `x` of type `[] -> []`, which the module lacks",
            ]
        );
        let places: Vec<_> = faults.iter().map(|fault| fault.at.unwrap()).collect();
        assert_eq!(places, [(1, 1), (2, 1), (3, 3)]);
        assert_eq!(faults[1].help.as_deref(), Some("did you mean `gret`?"));
        assert_eq!(faults[2].help.as_deref(), Some("the module exports `add`, `gret`"));
    }

    #[test]
    fn memory_and_allocator_are_asked_for() {
        let module =
            r#"(module (func (export "f") (param i32 i32)) (func (export "g") (result i32) i32.const 0))"#;
        let faults = faults(module, "f: func(s: string); g: func() -> string;");
        assert_eq!(
            faults[0].message,
            "`f: func(s: string)` needs the module to export a memory named `memory` and a function \
             `cabi_realloc` of type `[i32 i32 i32 i32] -> [i32]`"
        );
        assert_eq!(
            faults[1].message,
            "`g: func() -> string` needs the module to export a memory named `memory`"
        );
    }

    #[test]
    fn foreign_imports_are_listed_by_module() {
        let module = r#"(module (import "env" "a" (func)) (import "env" "b" (func)) (import "m" "t" (table 1 funcref))
            (import "wasi:clocks/wall-clock@0.2.0" "now" (func (param i32))) (func (export "f")))"#;
        let faults = faults(module, "f: func()");
        assert_eq!(faults[0].message, "the module imports `a`, `b` of `env`, which nothing provides");
        assert!(faults[0].help.as_ref().unwrap().starts_with("satisfy it with `adapters: [{name: env"));
        assert!(faults[1].help.as_ref().unwrap().starts_with("a component imports functions only"));
        assert_eq!(
            faults[2].help.as_deref(),
            Some("declare it in `wit`: `import wasi:clocks/wall-clock@0.2.0;`")
        );
    }
}
