//! The parsed `wit` of a core module, with every fault at the line and column that was written.

use wit_parser::{
    Function, ParseErrorKind, Resolve, ResolveErrorKind, SourceMap, Span, Type, TypeDefKind, WorldId,
    WorldItem,
};

use crate::diagnostic::Code;
use crate::fault::Fault;
use crate::wit_text::WitText;
use registry_schema::suggest::nearest;

/// Types that need no definition, for suggestions.
const TYPES: &[&str] = &[
    "bool", "char", "f32", "f64", "list", "option", "result", "s16", "s32", "s64", "s8", "string", "tuple",
    "u16", "u32", "u64", "u8",
];

/// The field that all faults here are about.
/// Most parts of a type, every name in it written out.
const TYPE_SIZE_MAX: u64 = 10_000;

const FIELD: &str = "wit";

/// A world and where its pieces stand.
#[derive(Debug)]
pub(crate) struct WitSource {
    /// Everything that was defined.
    pub(crate) resolve: Resolve,
    /// The world that the module implements.
    pub(crate) world: WorldId,
    text: WitText,
}

impl WitSource {
    /// Parses `text`: see [`WitText`] for what is accepted.
    ///
    /// # Errors
    /// When it is no WIT, has not exactly one world, or its world exports no function.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let text = WitText::new(text);
        let mut map = SourceMap::new();
        map.push_str("wit", text.text.as_str());
        let group = map.parse().map_err(|(map, error)| {
            let fault = fault(&text, &map, error.kind().span(), &error.to_string());
            vec![match error.kind() {
                ParseErrorKind::ItemNotFound { name, .. } => match nearest(name, TYPES.iter().copied()) {
                    Some(near) => fault.help(format!("did you mean `{near}`?")),
                    None => fault.help("define it in the same text, before or behind its use"),
                },
                _ => fault,
            }]
        })?;
        let map = group.source_map.clone();
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group).map_err(|error| {
            let fault = |message: &str| fault(&text, &map, error.kind().span(), message);
            vec![match error.kind() {
                ResolveErrorKind::PackageNotFound { requested, .. } => fault(&format!(
                    "there is no package `{requested}`"
                ))
                .help(format!("define it in the same text: `package {requested} {{ interface … {{ … }} }}`")),
                _ => fault(&error.to_string()),
            }]
        })?;
        let world = resolve.select_world(&[package], None).map_err(|error| {
            let worlds = resolve.packages[package].worlds.keys();
            let names: Vec<&str> = worlds.map(String::as_str).collect();
            vec![if names.is_empty() {
                Fault::new(Code::WitSyntax, FIELD, "there is no world in it")
                    .help("add `world … { export … }` with what the module exports")
            } else if names.len() > 1 {
                let listed = crate::fault::listed(&names);
                Fault::new(Code::WitSyntax, FIELD, format!("expected one world, found {listed}"))
                    .help("keep the world that the module implements; interfaces may stay beside it")
            } else {
                Fault::new(Code::WitSyntax, FIELD, format!("{error:#}"))
            }]
        })?;
        check_type_sizes(&resolve)?;
        let source = Self { resolve, world, text };
        if source.functions().is_empty() {
            return Err(vec![
                Fault::new(Code::WitSyntax, FIELD, "it exports no function")
                    .help("write the signature of the method, such as `answer: func() -> s32;`"),
            ]);
        }
        Ok(source)
    }

    /// Exported functions, each with the interface that it is in.
    pub(crate) fn functions(&self) -> Vec<(Option<String>, &Function)> {
        let mut functions = Vec::new();
        for (key, item) in &self.resolve.worlds[self.world].exports {
            match item {
                WorldItem::Function(function) => functions.push((None, function)),
                WorldItem::Interface { id, .. } => {
                    let interface = self.resolve.name_world_key(key);
                    let all = self.resolve.interfaces[*id].functions.values();
                    functions.extend(all.map(|function| (Some(interface.clone()), function)));
                }
                WorldItem::Type { .. } => {}
            }
        }
        functions
    }

    /// Names of imported interfaces, without versions.
    pub(crate) fn imported(&self) -> Vec<String> {
        let imports = &self.resolve.worlds[self.world].imports;
        imports
            .iter()
            .filter(|(_, item)| matches!(item, WorldItem::Interface { .. }))
            .map(|(key, _)| {
                let name = self.resolve.name_world_key(key);
                name.split('@').next().unwrap_or(&name).to_owned()
            })
            .collect()
    }

    /// Line and column of `function` as written.
    pub(crate) fn position(&self, function: &Function) -> Option<(u32, u32)> {
        let location = self.resolve.source_map.resolve_span(function.span)?;
        Some(self.text.position(location.range.start))
    }
}

/// Refuses types that are too big when every name in them is replaced by what it means: a few lines of
/// `type a = tuple<b, b>` double with each line. Components are held to a like bound by validation.
fn check_type_sizes(resolve: &Resolve) -> Result<(), Vec<Fault>> {
    let mut sizes: Vec<u64> = Vec::with_capacity(resolve.types.len());
    // A type comes behind those that it is made of.
    for (_, definition) in resolve.types.iter() {
        let of = |ty: &Type| match ty {
            Type::Id(id) => sizes.get(id.index()).copied().unwrap_or(1),
            _ => 1,
        };
        let sum = |types: &mut dyn Iterator<Item = &Type>| {
            types.map(of).fold(1u64, |total, size| total.saturating_add(size))
        };
        let size = match &definition.kind {
            TypeDefKind::Record(record) => sum(&mut record.fields.iter().map(|field| &field.ty)),
            TypeDefKind::Tuple(tuple) => sum(&mut tuple.types.iter()),
            TypeDefKind::Variant(variant) => {
                sum(&mut variant.cases.iter().filter_map(|case| case.ty.as_ref()))
            }
            TypeDefKind::Result(result) => sum(&mut result.ok.iter().chain(&result.err)),
            TypeDefKind::Map(key, value) => sum(&mut [key, value].into_iter()),
            TypeDefKind::FixedLengthList(element, len) => of(element).saturating_mul(u64::from(*len)),
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => {
                of(ty).saturating_add(1)
            }
            _ => 1,
        };
        if size > TYPE_SIZE_MAX {
            let name = definition.name.as_deref().unwrap_or("a type");
            let message =
                format!("`{name}` has more than {TYPE_SIZE_MAX} parts when its names are written out");
            return Err(vec![
                Fault::new(Code::WitSyntax, FIELD, message)
                    .help("pass a list instead of nesting tuples or records in each other"),
            ]);
        }
        sizes.push(size);
    }
    Ok(())
}

fn fault(text: &WitText, map: &SourceMap, span: Span, message: &str) -> Fault {
    // What follows the first line is a hint that names packages of the parser's own making.
    let first = message.lines().next().unwrap_or_default().trim();
    let fault = Fault::new(Code::WitSyntax, FIELD, first);
    let Some(location) = map.resolve_span(span) else { return fault };
    let (line, column) = text.position(location.range.start);
    let mut fault = fault.at(line, column);
    if text.is_behind(location.range.start)
        && let Some((expected, _)) = fault.message.split_once(", found ")
    {
        fault.message = format!("{expected}, found the end of the text");
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_double_with_each_line_are_refused() {
        let mut text = String::from("type t0 = u8;\n");
        for n in 1..60 {
            text.push_str(&format!("type t{n} = tuple<t{0}, t{0}>;\n", n - 1));
        }
        text.push_str("f: func() -> t59;");
        assert!(fault_of(&text).message.contains("more than 10000 parts"), "{:?}", fault_of(&text));
    }

    fn fault_of(text: &str) -> Fault {
        WitSource::parse(text).unwrap_err().remove(0)
    }

    #[test]
    fn faults_stand_where_they_were_written() {
        let cases = [
            ("answer: func() -> s33;", "name `s33` does not exist", (1, 19)),
            ("a: func();\nb: func(x: nope_it) -> s32\n", "name `nope-it` does not exist", (2, 12)),
            ("a: func(;", "", (1, 9)),
            ("record r { x: u8 }\n\na func();", "", (3, 1)),
            ("a: func();\na: func();", "", (2, 1)),
            ("a: func()\n  b: func() -> list<u8 \n", "expected '>', found the end of the text", (2, 23)),
        ];
        for (text, message, at) in cases {
            let fault = fault_of(text);
            assert_eq!((fault.code, fault.at), (Code::WitSyntax, Some(at)), "{text}: {fault:?}");
            assert!(message.is_empty() || fault.message.contains(message), "{fault:?}");
        }
    }

    #[test]
    fn functions_know_their_place() {
        let wit = WitSource::parse("record r { x: u8 }\n  f: func(a: r)\n g_h: func()").unwrap();
        let places: Vec<_> = wit.functions().iter().map(|(_, f)| wit.position(f).unwrap()).collect();
        assert_eq!(places, [(2, 3), (3, 2)]);
    }

    #[test]
    fn one_world_with_functions_is_needed() {
        assert_eq!(fault_of("interface i { f: func(); }").message, "there is no world in it");
        let two = "world a { export f: func(); } world b { export f: func(); }";
        assert_eq!(fault_of(two).message, "expected one world, found `a`, `b`");
        assert_eq!(fault_of("record r { x: u8 }").message, "it exports no function");
        assert_eq!(fault_of("").message, "it exports no function");
        let missing = fault_of("import acme:kv/store@1.0.0; f: func();");
        assert!(missing.help.unwrap().starts_with("define it in the same text: `package acme:kv@1.0.0"));
    }

    #[test]
    fn the_runtime_interface_is_known() {
        let wit = WitSource::parse("import wippy:runtime/funcs@0.1.0;\nf: func();").unwrap();
        assert_eq!(wit.imported(), ["wippy:runtime/funcs"]);
    }
}
