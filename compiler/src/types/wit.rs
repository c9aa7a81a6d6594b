//! WIT to annotations, as values are mapped between WIT and Lua.
//!
//! What Lua passes may have more forms than what it is given: a name of an enum or its index, a record with
//! keys in either spelling. A type for which they differ has two names, the one for parameters with
//! `.input` behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use registry_schema::EntryId;
use registry_schema::authored::wasm::Results;
use registry_schema::wit::{NamedType, Param, Signature, Type, TypeDef};

use super::{Callable, text};
use crate::plan::Planned;

/// Which way a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// From Lua.
    In,
    /// To Lua.
    Out,
}

/// Names of WIT types in the registry, and what is declared so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names that stand for different types within a namespace; entries qualify them.
    ambiguous: BTreeSet<String>,
    /// Declarations by name.
    declared: BTreeMap<String, String>,
}

/// A signature whose types are being named.
struct Context<'s> {
    id: &'s EntryId,
    signature: &'s Signature,
}

impl Names {
    /// Names for all types of `planned`: a name that means one thing in its namespace is used as it is.
    pub(super) fn new(planned: &[Planned]) -> Self {
        let mut meanings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in planned {
            let signature = entry.callable.as_ref().and_then(|callable| callable.wasm.signature.as_ref());
            let Some(signature) = signature else { continue };
            let context = Context { id: &entry.id, signature };
            for named in &signature.types {
                meanings.entry(context.shared_name(&named.name)).or_default().insert(context.meaning(named));
            }
        }
        let ambiguous = meanings.into_iter().filter(|(_, meanings)| meanings.len() > 1);
        Self { ambiguous: ambiguous.map(|(name, _)| name).collect(), declared: BTreeMap::new() }
    }

    /// The function `id` as callers see it.
    pub(super) fn callable(&mut self, id: &EntryId, signature: &Signature, results: Results) -> Callable {
        let context = Context { id, signature };
        let last_required = signature.params.iter().rposition(|param| !matches!(param.ty, Type::Option(_)));
        let params = signature.params.iter().enumerate().map(|(index, param)| {
            let name = text::param(&param.name);
            let can_be_left_out = last_required.is_none_or(|last| index > last);
            match &param.ty {
                Type::Option(some) if can_be_left_out && !matches!(**some, Type::Option(_)) => {
                    format!("{name}?: {}", self.ty(&context, some, Way::In))
                }
                ty => format!("{name}: {}", self.ty(&context, ty, Way::In)),
            }
        });
        let params = params.collect();
        let result = match (&signature.result, results) {
            (None, _) | (Some(Type::Result(None, _)), Results::Pair) => "nil".to_owned(),
            (Some(Type::Result(Some(ok), _)), Results::Pair) => self.ty(&context, ok, Way::Out),
            (Some(ty), _) => self.ty(&context, ty, Way::Out),
        };
        Callable { params, result }
    }

    /// All declarations, sorted.
    pub(super) fn finish(self) -> String {
        self.declared.into_values().map(|declaration| format!("\n{declaration}")).collect()
    }

    fn ty(&mut self, context: &Context<'_>, ty: &Type, way: Way) -> String {
        match ty {
            Type::Bool => "boolean".to_owned(),
            Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::S64 | Type::U64 => {
                "integer".to_owned()
            }
            Type::F32 | Type::F64 => "number".to_owned(),
            Type::Char if way == Way::In => "string|integer".to_owned(),
            Type::Char | Type::String => "string".to_owned(),
            Type::List(element) if **element == Type::U8 => match way {
                Way::In => "string|integer[]".to_owned(),
                Way::Out => "string".to_owned(),
            },
            Type::List(element) => text::list(&self.ty(context, element, way)),
            // A second level needs a table: nil is the outer none.
            Type::Option(some) => match &**some {
                Type::Option(_) => {
                    format!("{{ some: {} }}|{{ none: true }}|nil", self.ty(context, some, way))
                }
                some => text::optional(&self.ty(context, some, way)),
            },
            Type::Tuple(items) => {
                let items = items.iter().enumerate();
                let items =
                    items.map(|(index, item)| format!("[{}]: {}", index + 1, self.ty(context, item, way)));
                format!("{{ {} }}", items.collect::<Vec<_>>().join(", "))
            }
            Type::Result(ok, err) => {
                let mut side = |ty: &Option<Box<Type>>| match ty {
                    Some(ty) => self.ty(context, ty, way),
                    None => "true".to_owned(),
                };
                let (ok, err) = (side(ok), side(err));
                format!("{{ ok: {ok} }}|{{ err: {err} }}")
            }
            Type::Named(name) => self.named(context, name, way),
        }
    }

    /// The name of a named type, which is declared if it is not yet.
    fn named(&mut self, context: &Context<'_>, name: &str, way: Way) -> String {
        let Some(named) = context.find(name) else { return "any".to_owned() };
        let shared = context.shared_name(name);
        let mut class = match self.ambiguous.contains(&shared) {
            true => text::class(context.id.namespace().as_str(), &[context.id.name(), name]),
            false => shared,
        };
        if way == Way::In && context.differs(&Type::Named(name.to_owned())) {
            class.push_str(".input");
        }
        if !self.declared.contains_key(&class) {
            let declaration = self.declaration(context, &class, &named.definition, way);
            self.declared.insert(class.clone(), declaration);
        }
        class
    }

    fn declaration(&mut self, context: &Context<'_>, class: &str, ty: &TypeDef, way: Way) -> String {
        let forms = match ty {
            TypeDef::Record(fields) => return self.record(context, class, fields, way),
            TypeDef::Enum(cases) => {
                let names = cases.iter().map(|case| text::literal(case));
                let index = (way == Way::In).then(|| "integer".to_owned());
                text::union(names.chain(index))
            }
            TypeDef::Flags(names) => {
                let fields: Vec<String> =
                    names.iter().map(|name| format!("{}?: boolean", text::key(name))).collect();
                let set = format!("{{ {} }}", fields.join(", "));
                match way {
                    Way::Out => set,
                    Way::In => {
                        let names = text::union(names.iter().map(|name| text::literal(name)));
                        text::union([text::list(&names), set, "integer".to_owned()])
                    }
                }
            }
            TypeDef::Variant(cases) => {
                let tables: Vec<String> = cases
                    .iter()
                    .map(|(name, payload)| {
                        let payload =
                            payload.as_ref().map_or("true".to_owned(), |ty| self.ty(context, ty, way));
                        format!("{{ {}: {payload} }}", text::key(name))
                    })
                    .collect();
                let units = cases.iter().filter(|(_, payload)| way == Way::In && payload.is_none());
                text::union(tables.into_iter().chain(units.map(|(name, _)| text::literal(name))))
            }
        };
        format!("---@alias {class} {forms}\n")
    }

    /// Keys of a record have two spellings: to Lua both are there, from Lua one of them is enough.
    fn record(&mut self, context: &Context<'_>, class: &str, fields: &[Param], way: Way) -> String {
        let mut out = format!("---@class {class}\n");
        for field in fields {
            let (ty, is_option) = match &field.ty {
                Type::Option(some) if !matches!(**some, Type::Option(_)) => {
                    (self.ty(context, some, way), true)
                }
                ty => (self.ty(context, ty, way), false),
            };
            let snake = text::snake(&field.name);
            let has_two = snake != field.name;
            let mark = if is_option || (has_two && way == Way::In) { "?" } else { "" };
            // Writing to a string can't fail.
            let _ = writeln!(out, "---@field {}{mark} {ty}", text::key(&snake));
            if has_two {
                let _ =
                    writeln!(out, "---@field {}{mark} {ty} the same as `{snake}`", text::key(&field.name));
            }
        }
        out
    }
}

impl Context<'_> {
    fn find(&self, name: &str) -> Option<&NamedType> {
        self.signature.types.iter().find(|named| named.name == name)
    }

    /// The name of a type where it means one thing in its namespace.
    fn shared_name(&self, name: &str) -> String {
        text::class(self.id.namespace().as_str(), &[name])
    }

    /// The definition of a type with those of all types that it uses.
    fn meaning(&self, named: &NamedType) -> String {
        let mut names = vec![named.name.as_str()];
        let mut looked_at = 0;
        let mut meaning = String::new();
        while let Some(definition) = names.get(looked_at).and_then(|name| self.find(name)) {
            let _ = writeln!(meaning, "{definition}");
            for name in parts(&definition.definition).into_iter().flat_map(used) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            looked_at += 1;
        }
        meaning
    }

    /// Whether Lua may pass other forms of the type than it is given.
    fn differs(&self, ty: &Type) -> bool {
        match ty {
            Type::Char => true,
            Type::List(element) => **element == Type::U8 || self.differs(element),
            Type::Option(some) => self.differs(some),
            Type::Tuple(items) => items.iter().any(|item| self.differs(item)),
            Type::Result(ok, err) => ok.iter().chain(err).any(|ty| self.differs(ty)),
            Type::Named(name) => self.find(name).is_some_and(|named| match &named.definition {
                TypeDef::Enum(_) | TypeDef::Flags(_) => true,
                TypeDef::Record(fields) => {
                    fields.iter().any(|field| field.name.contains('-') || self.differs(&field.ty))
                }
                TypeDef::Variant(cases) => {
                    cases.iter().any(|(_, payload)| payload.as_ref().is_none_or(|ty| self.differs(ty)))
                }
            }),
            _ => false,
        }
    }
}

/// Types that a definition is made of.
fn parts(definition: &TypeDef) -> Vec<&Type> {
    match definition {
        TypeDef::Record(fields) => fields.iter().map(|field| &field.ty).collect(),
        TypeDef::Variant(cases) => cases.iter().filter_map(|(_, payload)| payload.as_ref()).collect(),
        TypeDef::Enum(_) | TypeDef::Flags(_) => Vec::new(),
    }
}

/// Names that a type uses.
fn used(ty: &Type) -> Vec<&str> {
    match ty {
        Type::Named(name) => vec![name],
        Type::List(inner) | Type::Option(inner) => used(inner),
        Type::Tuple(items) => items.iter().flat_map(used).collect(),
        Type::Result(ok, err) => ok.iter().chain(err).flat_map(|ty| used(ty)).collect(),
        _ => Vec::new(),
    }
}
