//! From a source to a component: text is assembled, core modules are lifted by their WIT and linked
//! with the preview-1 adapter, components are taken as they are.
//!
//! A pure function of the [`Source`]: the same bytes give the same component, whichever entry they
//! stand behind, and [`Source::key`] names the result in a cache.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use registry_schema::engine::{COMPILER_VERSION, EngineOptions};
use registry_schema::grants::RUNTIME_VERSION;
use registry_schema::{Digest, Profile};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::adapters::Adapters;
use crate::component::Origin;
use crate::core_module::{CoreModule, rename_exports, suggested_wit};
use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use crate::fit::{encoder_fault, fit};
use crate::preinit;
use crate::wit_source::WitSource;

/// Changes whenever the same source would give another component or another record of it; raised when
/// this crate changes either, or the loader its own interfaces.
const RECIPE: &str = "3";

/// The crates that make components and read them, with their versions. Those of the engine's own version are not
/// here: that stands beside them.
const TOOLS: [(&str, &str); 5] = [
    ("wasm-encoder", "0.254.2"),
    ("wasmparser", "0.254.2"),
    ("wat", "1.254.2"),
    ("wit-component", "0.254.2"),
    ("wit-parser", "0.254.2"),
];

/// The recipe with what it depends on beside this crate: the tools, the version of adapters, of the host's
/// interfaces and of what runs `preinit`, and the engine options that decide what is valid for which profile.
static RECIPE_KEY: LazyLock<String> = LazyLock::new(|| {
    let tools = TOOLS.map(|(name, version)| format!("{name} {version}"));
    let fingerprints = Profile::ALL.map(|profile| EngineOptions::new(profile).fingerprint());
    let engine = format!("wasmtime {COMPILER_VERSION}, runtime {RUNTIME_VERSION}");
    format!("{RECIPE} {} {engine} {}", tools.join(" "), fingerprints.join(" "))
});

/// What a component is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How the bytes are written.
    pub form: Form,
    /// Text or binary, as read.
    pub bytes: Arc<Vec<u8>>,
    /// The entry's `wit`.
    pub wit: Option<String>,
    /// The entry's own adapters.
    pub adapters: Vec<AdapterSource>,
    /// The export that is run at build time.
    pub preinit: Option<String>,
}

/// An adapter that an entry brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSource {
    /// The imported module that it satisfies.
    pub name: String,
    /// Text or binary, as read.
    pub bytes: Arc<Vec<u8>>,
}

/// How a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// WebAssembly text, in the field `source`.
    Text,
    /// A binary, named by the field `path`.
    Binary,
}

impl Form {
    /// The field that the source stands in.
    pub fn field(self) -> &'static str {
        match self {
            Self::Text => "source",
            Self::Binary => "path",
        }
    }
}

impl Source {
    /// A digest of everything that the component depends on.
    pub fn key(&self) -> Digest {
        let mut parts: Vec<&[u8]> = vec![RECIPE_KEY.as_bytes(), self.form.field().as_bytes(), &self.bytes];
        for text in [&self.wit, &self.preinit] {
            // What is left out differs from what is empty.
            parts.push(if text.is_some() { b"given" } else { b"" });
            parts.push(text.as_deref().unwrap_or_default().as_bytes());
        }
        for adapter in &self.adapters {
            parts.extend([adapter.name.as_bytes(), adapter.bytes.as_slice()]);
        }
        Digest::of_parts(parts)
    }
}

/// A component and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Componentized {
    /// The component's bytes.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// What the record says of its making.
    pub(crate) origin: Origin,
}

/// Makes the component of `source`.
///
/// # Errors
/// All faults of text, WIT and module that can be told apart; at least one.
pub(crate) fn componentize(source: &Source) -> Result<Componentized, Vec<Fault>> {
    let field = source.form.field();
    let origin = Origin { source: Some(Digest::of(&source.bytes)), field, ..Origin::default() };
    let binary = match source.form {
        Form::Text => Arc::new(assemble(&source.bytes).map_err(|fault| vec![fault])?),
        Form::Binary => Arc::clone(&source.bytes),
    };
    if wasmparser::Parser::is_component(&binary) {
        let bytes = match &source.preinit {
            Some(name) => Arc::new(preinit::component(&binary, name, field).map_err(|fault| vec![fault])?),
            None => binary,
        };
        return Ok(Componentized { bytes, origin });
    }
    if !wasmparser::Parser::is_core_wasm(&binary) {
        return Err(vec![not_wasm(&binary, field)]);
    }
    let module = CoreModule::read(&binary).map_err(|error| {
        let message = format!("not valid WebAssembly: {} (at offset {:#x})", error.message(), error.offset());
        vec![Fault::new(Code::WasmInvalid, field, message)]
    })?;
    let adapters = Adapters::read(source, &module)?;
    let bytes = Arc::new(encode(source, &binary, &module, &adapters)?);
    let adapters = adapters.records(&module);
    Ok(Componentized { bytes, origin: Origin { adapters, from_core: true, ..origin } })
}

/// Assembles WebAssembly text.
fn assemble(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let field = Form::Text.field();
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Fault::new(Code::WatSyntax, field, "the text is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Fault::new(
            Code::WatSyntax,
            field,
            "the text is empty, expected `(module …)` or `(component …)`",
        ));
    }
    wat::parse_str(text).map_err(|error| text_fault(&error.to_string()))
}

/// The fault behind an error of the text parser, which says its place only within its message:
/// `message`, then `--> <anon>:LINE:COLUMN`, then an excerpt.
fn text_fault(rendered: &str) -> Fault {
    let (message, place) = match rendered.split_once("\n     --> ") {
        Some((message, rest)) => (message, rest.lines().next()),
        None => match rendered.rsplit_once(" at <anon>:") {
            Some((message, rest)) => (message, Some(rest)),
            None => (rendered, None),
        },
    };
    let message = message.trim().replace('\n', "; ");
    let fault = Fault::new(Code::WatSyntax, Form::Text.field(), message);
    let numbers = place.and_then(|place| {
        let (rest, column) = place.rsplit_once(':')?;
        let line = rest.rsplit(':').next()?;
        Some((line.parse().ok()?, column.parse().ok()?))
    });
    match numbers {
        Some((line, column)) => fault.at(line, column),
        None => fault,
    }
}

/// The fault of bytes that have no WebAssembly header.
fn not_wasm(bytes: &[u8], field: &str) -> Fault {
    let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let fault = Fault::new(
        Code::WasmInvalid,
        field,
        format!("expected WebAssembly, which starts with `00 61 73 6d`, found `{}`", shown.join(" ")),
    );
    if wat::Detect::from_bytes(bytes).is_wasm() {
        fault.help("this looks like WebAssembly text: use `kind: function.wat` and `source: file://…`")
    } else if bytes.starts_with(b"version https://git-lfs") {
        fault.help("this is a Git LFS pointer: fetch the file itself with `git lfs pull`")
    } else {
        fault.help("name a core module or a component in binary form")
    }
}

/// Lifts a core module.
fn encode(
    source: &Source,
    binary: &[u8],
    module: &CoreModule,
    adapters: &Adapters,
) -> Result<Vec<u8>, Vec<Fault>> {
    let field = source.form.field();
    let invalid = |message: String| vec![Fault::new(Code::WasmInvalid, field, message)];
    // A module that was built with bindings carries its WIT, imports included.
    let wit = source.wit.as_deref().filter(|_| !module.has_metadata).map(WitSource::parse).transpose()?;
    let renamed = match &wit {
        Some(wit) => fit(module, wit, adapters, field)?.renamed,
        None if module.has_metadata || adapters.bring_exports() => {
            let faults = adapters.faults(module, None, field);
            if !faults.is_empty() {
                return Err(faults);
            }
            BTreeMap::new()
        }
        None => return Err(vec![wit_missing(module, field)]),
    };
    let mut bytes = Cow::Borrowed(binary);
    if let Some(name) = &source.preinit {
        bytes = Cow::Owned(preinit::module(&bytes, module, name, field).map_err(|fault| vec![fault])?);
    }
    if !renamed.is_empty() {
        let with_new_names = rename_exports(&bytes, &renamed);
        bytes = Cow::Owned(with_new_names.map_err(|error| invalid(error.message().to_owned()))?);
    }
    if let Some(wit) = &wit {
        embed_component_metadata(bytes.to_mut(), &wit.resolve, wit.world, StringEncoding::UTF8)
            .map_err(|error| vec![Fault::new(Code::WitSyntax, "wit", format!("{error:#}"))])?;
    }
    let encoder = ComponentEncoder::default().validate(true).module(&bytes);
    let encoder = encoder.and_then(|encoder| adapters.apply(module, encoder));
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| vec![encoder_fault(&error, field)])
}

fn wit_missing(module: &CoreModule, field: &str) -> Fault {
    let fault = Fault::new(
        Code::WitMissing,
        field,
        format!(
            "the core module needs `wit` with the signatures of its functions; it exports {}",
            listed(module.functions().map(|(name, _)| name))
        ),
    );
    let example = module.functions().find_map(|(name, ty)| suggested_wit(name, ty));
    let example = example.unwrap_or_else(|| "answer: func() -> s32;".to_owned());
    fault.help(format!("add `wit` to the entry, such as `{example}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Inspected, inspect};

    fn source(text: &str, wit: Option<&str>) -> Source {
        let bytes = Arc::new(text.as_bytes().to_vec());
        Source { form: Form::Text, bytes, wit: wit.map(str::to_owned), adapters: vec![], preinit: None }
    }

    fn made(text: &str, wit: &str) -> Inspected {
        let made = componentize(&source(text, Some(wit))).unwrap_or_else(|faults| panic!("{faults:#?}"));
        inspect(&made.bytes, made.origin).unwrap()
    }

    fn faults(text: &str, wit: Option<&str>) -> Vec<Fault> {
        componentize(&source(text, wit)).unwrap_err()
    }

    fn exports(inspected: &Inspected) -> Vec<String> {
        let exports = inspected.record.exports.iter();
        exports
            .map(|export| {
                let signature = export.signature.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("{}: {signature}", export.path)
            })
            .collect()
    }

    const ANSWER: &str = r#"(module (func (export "answer") (result i32) i32.const 42))"#;

    #[test]
    fn bare_signatures_lift_core_modules() {
        for wit in [
            "answer: func() -> s32;",
            "answer: func() -> s32",
            "export answer: func() -> s32;",
            "// c\n/* d */ answer: func() -> s32",
            "world w { export answer: func() -> s32; }",
            "package a:b; world w { export answer: func() -> s32; }",
        ] {
            let inspected = made(ANSWER, wit);
            assert_eq!(exports(&inspected), ["answer: func() -> s32"], "{wit}");
            assert!(inspected.from_core);
        }
    }

    #[test]
    fn snake_case_is_mapped_on_both_sides() {
        for name in ["add_two", "add-two"] {
            let text = format!(
                r#"(module (func (export "{name}") (param i32) (result i32) local.get 0) (func (export "other")))"#
            );
            assert_eq!(
                exports(&made(&text, "add_two: func(first_arg: u32) -> u32")),
                ["add-two: func(first-arg: u32) -> u32"]
            );
        }
    }

    #[test]
    fn more_than_sixteen_flat_parameters_and_every_type() {
        let params: Vec<String> = (0..20).map(|n| format!("p{n}: u8")).collect();
        let text = r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "f") (param i32) (result i32) local.get 0 i32.load8_u offset=19))"#;
        let signature = format!("f: func({}) -> u8", params.join(", "));
        assert_eq!(exports(&made(text, &signature)), [signature]);
        let wit = "record r { a: s8, b: u16, c: s64, d: u64, e: f32, g: f64, h: char, i: bool }
            variant v { none, one(string) } enum e { x, y } flags l { m, n }
            f: func(r: r, v: v, e: e, l: l, o: option<u8>, t: tuple<s16, list<u8>>) -> result<r, string>";
        assert_eq!(made(text, wit).record.exports.len(), 1);
    }

    #[test]
    fn component_text_is_taken_as_it_is() {
        let made = componentize(&source("(component)", None)).unwrap();
        assert!(!made.origin.from_core);
        let bytes = Arc::new(wat::parse_str("(component)").unwrap());
        let binary = Source { form: Form::Binary, bytes, ..source("", None) };
        assert_eq!(componentize(&binary).unwrap().bytes, binary.bytes);
    }

    #[test]
    fn text_faults_have_their_place() {
        let fault = &faults("(module\n  (func (export \"é\") i32.cost 1))", None)[0];
        assert_eq!((fault.code, fault.at), (Code::WatSyntax, Some((2, 22))), "{fault:?}");
        assert_eq!(fault.message, "unknown operator or unexpected token");
        let long = format!("(module {}(func bad))", " ".repeat(600));
        assert_eq!(faults(&long, None)[0].at, Some((1, 615)));
        assert_eq!(faults(" \n", None)[0].code, Code::WatSyntax);
        // Definition files and `file://` are UTF-8; other callers may not be.
        let bytes = Source { bytes: Arc::new(vec![b'(', 0xff]), ..source("", None) };
        let fault = componentize(&bytes).unwrap_err().remove(0);
        assert_eq!((fault.code, fault.message.as_str()), (Code::WatSyntax, "the text is not UTF-8"));
    }

    #[test]
    fn wit_is_needed_for_core_modules() {
        let fault = &faults(ANSWER, None)[0];
        assert_eq!(fault.code, Code::WitMissing);
        assert!(fault.message.ends_with("it exports `answer`"));
        assert!(fault.help.as_ref().unwrap().contains("`answer: func() -> s32;`"));
    }

    #[test]
    fn commands_and_reactors_are_adapted() {
        let import = r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
            (memory (export "memory") 1)"#;
        let command = format!(r#"(module {import} (func (export "_start")))"#);
        let made = componentize(&source(&command, None)).unwrap();
        let inspected = inspect(&made.bytes, made.origin).unwrap();
        assert_eq!(exports(&inspected), ["wasi:cli/run@0.2.12#run: func() -> result"]);
        assert!(inspected.record.adapters[0].version.ends_with("(command)"));
        let reactor = format!(
            r#"(module {import} (func (export "_initialize")) (func (export "f") (result i32) i32.const 1))"#
        );
        let made = componentize(&source(&reactor, Some("f: func() -> u32"))).unwrap();
        let inspected = inspect(&made.bytes, made.origin).unwrap();
        assert_eq!(exports(&inspected), ["f: func() -> u32"]);
        assert!(
            inspected.record.imports.iter().any(|import| import.name.starts_with("wasi:random/random@0.2."))
        );
        assert!(inspected.record.adapters[0].version.ends_with("(reactor)"));
    }

    #[test]
    fn modules_may_carry_their_wit() {
        let mut bytes = wat::parse_str(ANSWER).unwrap();
        let wit = WitSource::parse("answer: func() -> u32").unwrap();
        embed_component_metadata(&mut bytes, &wit.resolve, wit.world, StringEncoding::UTF8).unwrap();
        for wit in [None, Some("answer: func() -> s32".to_owned())] {
            let source =
                Source { form: Form::Binary, bytes: Arc::new(bytes.clone()), wit, ..source("", None) };
            let made = componentize(&source).unwrap();
            let inspected = inspect(&made.bytes, made.origin).unwrap();
            assert_eq!(exports(&inspected), ["answer: func() -> u32"]);
        }
    }

    #[test]
    fn what_is_no_wasm_is_said() {
        let binary = |bytes: &[u8]| {
            let bytes = Arc::new(bytes.to_vec());
            let source = Source { form: Form::Binary, bytes, ..source("", None) };
            componentize(&source).unwrap_err().remove(0)
        };
        assert!(binary(b"MZ\x90\0").message.ends_with("found `4d 5a 90 00`"));
        assert!(binary(b"(module)").help.unwrap().contains("function.wat"));
        assert_eq!(binary(b"\0asm\x01\0\0\0\x01").code, Code::WasmInvalid);
        assert_eq!(binary(b"").code, Code::WasmInvalid);
    }

    /// With another release of a tool, what is known of a source counts for nothing.
    #[test]
    fn versions_of_the_key_are_those_in_use() {
        let lock = include_str!("../../Cargo.lock");
        let of_the_engine = ["wasmtime", "wasmtime-wizer", "wasi-preview1-component-adapter-provider"]
            .map(|name| (name, COMPILER_VERSION));
        for (name, version) in TOOLS.into_iter().chain(of_the_engine) {
            let named = lock.matches(&format!("name = \"{name}\"\n")).count();
            let pinned = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            // Of one alone it is certain that it is the one in use.
            assert_eq!((named, lock.matches(&pinned).count()), (1, 1), "{name} {version}");
            assert!(RECIPE_KEY.contains(version), "{name} {version}");
        }
    }

    #[test]
    fn keys_tell_sources_apart() {
        let adapter = |name: &str, bytes: &str| AdapterSource {
            name: name.to_owned(),
            bytes: Arc::new(bytes.as_bytes().to_vec()),
        };
        let base = source("a", None);
        let keys = [
            base.key(),
            source("a", Some("-")).key(),
            source("a", Some("")).key(),
            source("b", None).key(),
            Source { form: Form::Binary, ..base.clone() }.key(),
            Source { preinit: Some("init".to_owned()), ..base.clone() }.key(),
            Source { preinit: Some(String::new()), ..base.clone() }.key(),
            Source { adapters: vec![adapter("env", "a")], ..base.clone() }.key(),
            Source { adapters: vec![adapter("env", "b")], ..base.clone() }.key(),
            Source { adapters: vec![adapter("enva", "")], ..base.clone() }.key(),
            Source { adapters: vec![adapter("env", "a"), adapter("x", "")], ..base }.key(),
        ];
        assert!((1..keys.len()).all(|index| !keys[..index].contains(&keys[index])));
    }
}
