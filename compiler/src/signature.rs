//! Signatures of functions in the manifest's terms.
//!
//! Named types (records, variants, enums, flags) are collected once each, in the order of their first
//! use; aliases stand for what they name. Resources, streams, futures and error contexts have no value
//! outside a component, so that a function which uses one has no signature.

use registry_schema::wit::{NamedType, Param, Signature, Type, TypeDef};
use wit_parser::{Function, Resolve, Type as WitType, TypeDefKind, TypeId};

/// The signature of `function`; `None` when it uses what can't be passed from outside.
pub(crate) fn signature(resolve: &Resolve, function: &Function) -> Option<Signature> {
    let mut collector = Collector { resolve, types: Vec::new(), seen: Vec::new() };
    let params = function
        .params
        .iter()
        .map(|param| Some(Param { name: param.name.clone(), ty: collector.convert(&param.ty)? }))
        .collect::<Option<Vec<Param>>>()?;
    let result = match &function.result {
        Some(result) => Some(collector.convert(result)?),
        None => None,
    };
    Some(Signature { params, result, is_async: function.kind.is_async(), types: collector.finish()? })
}

struct Collector<'a> {
    resolve: &'a Resolve,
    /// In order of first use; `None` until the definition was read.
    types: Vec<(String, Option<TypeDef>)>,
    seen: Vec<(TypeId, String)>,
}

impl Collector<'_> {
    fn convert(&mut self, ty: &WitType) -> Option<Type> {
        Some(match ty {
            WitType::Bool => Type::Bool,
            WitType::U8 => Type::U8,
            WitType::U16 => Type::U16,
            WitType::U32 => Type::U32,
            WitType::U64 => Type::U64,
            WitType::S8 => Type::S8,
            WitType::S16 => Type::S16,
            WitType::S32 => Type::S32,
            WitType::S64 => Type::S64,
            WitType::F32 => Type::F32,
            WitType::F64 => Type::F64,
            WitType::Char => Type::Char,
            WitType::String => Type::String,
            WitType::ErrorContext => return None,
            WitType::Id(id) => return self.convert_defined(*id),
        })
    }

    fn convert_defined(&mut self, id: TypeId) -> Option<Type> {
        let resolve = self.resolve;
        Some(match &resolve.types[id].kind {
            TypeDefKind::Type(target) => return self.convert(target),
            TypeDefKind::List(element) => Type::List(Box::new(self.convert(element)?)),
            TypeDefKind::Option(some) => Type::Option(Box::new(self.convert(some)?)),
            TypeDefKind::Tuple(tuple) => {
                Type::Tuple(tuple.types.iter().map(|ty| self.convert(ty)).collect::<Option<_>>()?)
            }
            TypeDefKind::Result(result) => Type::Result(
                self.convert_optional(result.ok.as_ref())?.map(Box::new),
                self.convert_optional(result.err.as_ref())?.map(Box::new),
            ),
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_) => Type::Named(self.define(id)?),
            TypeDefKind::Resource
            | TypeDefKind::Handle(_)
            | TypeDefKind::Future(_)
            | TypeDefKind::Stream(_)
            | TypeDefKind::Map(..)
            | TypeDefKind::FixedLengthList(..)
            | TypeDefKind::Unknown => return None,
        })
    }

    /// The outer `None` is a type without a value outside, the inner one an absent type.
    fn convert_optional(&mut self, ty: Option<&WitType>) -> Option<Option<Type>> {
        match ty {
            Some(ty) => self.convert(ty).map(Some),
            None => Some(None),
        }
    }

    /// The name of the type `id`, which is defined when it is met for the first time.
    fn define(&mut self, id: TypeId) -> Option<String> {
        if let Some((_, name)) = self.seen.iter().find(|(seen, _)| *seen == id) {
            return Some(name.clone());
        }
        let resolve = self.resolve;
        let definition = &resolve.types[id];
        let name = self.free_name(definition.name.as_deref().unwrap_or(definition.kind.as_str()));
        self.seen.push((id, name.clone()));
        let slot = self.types.len();
        self.types.push((name.clone(), None));
        let definition = match &definition.kind {
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields = fields
                    .map(|field| Some(Param { name: field.name.clone(), ty: self.convert(&field.ty)? }));
                TypeDef::Record(fields.collect::<Option<_>>()?)
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases =
                    cases.map(|case| Some((case.name.clone(), self.convert_optional(case.ty.as_ref())?)));
                TypeDef::Variant(cases.collect::<Option<_>>()?)
            }
            TypeDefKind::Enum(cases) => {
                TypeDef::Enum(cases.cases.iter().map(|case| case.name.clone()).collect())
            }
            TypeDefKind::Flags(flags) => {
                TypeDef::Flags(flags.flags.iter().map(|flag| flag.name.clone()).collect())
            }
            _ => return None,
        };
        self.types[slot].1 = Some(definition);
        Some(name)
    }

    /// `name`, or with a number behind it when another interface's type has it already.
    fn free_name(&self, name: &str) -> String {
        let taken = |name: &str| self.types.iter().any(|(taken, _)| taken == name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }

    fn finish(self) -> Option<Vec<NamedType>> {
        let types = self.types.into_iter();
        types.map(|(name, definition)| Some(NamedType { name, definition: definition? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wit_parser::WorldItem;

    fn signature_of(wit: &str) -> Option<Signature> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let function = resolve.worlds[world].exports.values().find_map(|item| match item {
            WorldItem::Function(function) => Some(function),
            _ => None,
        });
        signature(&resolve, function.unwrap())
    }

    #[test]
    fn types_are_collected_in_order_of_first_use() {
        let signature = signature_of(
            "package a:b; interface i { record point { x: s32 } } world w {
                use i.{point as place};
                enum colour { red, green }
                type shade = option<colour>;
                variant shape { dot(place), tinted(tuple<shade, place>), none }
                record point { z: u8 }
                flags marks { a, b }
                export f: func(s: shape, m: marks, p: point) -> result<list<shape>, shade>;
            }",
        )
        .unwrap();
        let types: Vec<String> = signature.types.iter().map(ToString::to_string).collect();
        assert_eq!(
            types,
            [
                "variant shape { dot(point), tinted(tuple<option<colour>, point>), none }",
                "record point { x: s32 }",
                "enum colour { red, green }",
                "flags marks { a, b }",
                "record point-2 { z: u8 }",
            ]
        );
        assert_eq!(
            signature.to_string(),
            "func(s: shape, m: marks, p: point-2) -> result<list<shape>, option<colour>>"
        );
    }

    #[test]
    fn handles_have_no_signature() {
        for ty in ["own<r>", "list<borrow<r>>", "option<future<u8>>", "stream<u8>", "error-context"] {
            let wit = format!("package a:b; world w {{ resource r; export f: func(x: {ty}); }}");
            assert_eq!(signature_of(&wit), None, "{ty}");
        }
    }
}
