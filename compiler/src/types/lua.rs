//! Annotations of Lua sources to those of the language server.
//!
//! Types that a source declares are declared under the id of the entry. What has no counterpart (types of
//! other modules, type parameters without a bound, intersections of what is no record) is `any`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use registry_schema::EntryId;

use super::{Callable, text, unknown};
use crate::lua::chunk::{Chunk, Function, TypeDeclaration};
use crate::lua::types::{FunctionType, Generic, Table, Type};
use crate::lua::value::Value;

/// Most types with parameters within each other that are written out; one may contain itself.
const FILLED_IN_MAX: usize = 4;

/// What is declared so far.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    declared: BTreeMap<String, String>,
    /// Types of the source at hand that were named and are to be declared.
    wanted: Vec<String>,
}

/// Where a type stands.
struct Context<'c> {
    id: &'c EntryId,
    chunk: &'c Chunk,
    /// What type parameters stand for; `None` is `any`.
    parameters: BTreeMap<&'c str, Option<String>>,
    /// How many types with parameters are being filled in.
    filled_in: usize,
}

impl Declarations {
    /// The function that the chunk of `id` returns, or has under `method` in the table that it returns.
    pub(super) fn callable(&mut self, id: &EntryId, method: Option<&str>, chunk: &Chunk) -> Callable {
        let Some(function) = find(chunk, method) else { return unknown() };
        let mut context = Context { id, chunk, parameters: BTreeMap::new(), filled_in: 0 };
        context.parameters = self.bounds(&context, &function.generics);
        let mut params: Vec<String> = Vec::new();
        for param in &function.params {
            let name = text::param(&param.name);
            params.push(match &param.ty {
                // Nobody has to pass what says nothing.
                None => format!("{name}?: any"),
                Some(Type::Optional(ty)) => format!("{name}?: {}", self.ty(&context, ty)),
                Some(ty) => format!("{name}: {}", self.ty(&context, ty)),
            });
        }
        params.extend(function.rest.as_ref().map(|ty| format!("...: {}", self.ty(&context, ty))));
        let result = match &function.returns {
            None => "any".to_owned(),
            Some(types) => types.first().map_or("nil".to_owned(), |ty| self.ty(&context, ty)),
        };
        self.declare(&Context { parameters: BTreeMap::new(), ..context });
        Callable { params, result }
    }

    /// All declarations, sorted.
    pub(super) fn finish(self) -> String {
        self.declared.into_values().map(|declaration| format!("\n{declaration}")).collect()
    }

    /// What type parameters stand for: what they must be.
    fn bounds<'c>(
        &mut self,
        context: &Context<'c>,
        generics: &'c [Generic],
    ) -> BTreeMap<&'c str, Option<String>> {
        let mut bounds = context.parameters.clone();
        for generic in generics {
            let bound = generic.bound.as_ref().map(|bound| self.ty(context, bound));
            bounds.insert(&generic.name, bound);
        }
        bounds
    }

    fn ty(&mut self, context: &Context<'_>, ty: &Type) -> String {
        match ty {
            Type::Name(name, arguments) => self.name(context, name, arguments),
            Type::Literal(written) => literal(written),
            Type::Optional(ty) => text::optional(&self.ty(context, ty)),
            Type::Union(members) => text::union(members.iter().map(|member| self.ty(context, member))),
            Type::Intersection(members) => match merged(context, members) {
                Some(table) => self.table(context, &table),
                None => "any".to_owned(),
            },
            Type::Table(table) => self.table(context, table),
            Type::Function(function) => self.function(context, function),
            Type::Checked(ty, _) => self.ty(context, ty),
        }
    }

    fn name(&mut self, context: &Context<'_>, name: &str, arguments: &[Type]) -> String {
        if let Some(known) = context.parameters.get(name) {
            return known.clone().unwrap_or_else(|| "any".to_owned());
        }
        if let Some(declaration) = context.find(name) {
            return match declaration.generics.is_empty() {
                true => {
                    self.wanted.push(name.to_owned());
                    context.class(name)
                }
                // The language server has no parameters of aliases: they are filled in.
                false if context.filled_in < FILLED_IN_MAX => self.fill_in(context, declaration, arguments),
                false => "any".to_owned(),
            };
        }
        match name {
            "number" | "integer" | "string" | "boolean" | "any" | "unknown" | "function" | "table"
            | "thread" => name.to_owned(),
            // Nothing comes back.
            "never" => "nil".to_owned(),
            "error" => "funcs.Error".to_owned(),
            _ => "any".to_owned(),
        }
    }

    /// Declares the types that were named, and those that they name.
    fn declare(&mut self, context: &Context<'_>) {
        while let Some(name) = self.wanted.pop() {
            let class = context.class(&name);
            let Some(declaration) = context.find(&name).filter(|_| !self.declared.contains_key(&class))
            else {
                continue;
            };
            let written = match &declaration.body {
                Type::Table(table) if table.maps.is_empty() && table.elements.is_empty() => {
                    let mut out = format!("---@class {class}\n");
                    for field in &table.fields {
                        let (ty, mark) = self.field(context, &field.ty, field.is_optional);
                        // Writing to a string can't fail.
                        let _ = writeln!(out, "---@field {}{mark} {ty}", text::key(&field.name));
                    }
                    out
                }
                body => format!("---@alias {class} {}\n", self.ty(context, body)),
            };
            self.declared.insert(class, written);
        }
    }

    fn fill_in(
        &mut self,
        context: &Context<'_>,
        declaration: &TypeDeclaration,
        arguments: &[Type],
    ) -> String {
        let names = declaration.generics.iter().map(|generic| generic.name.as_str());
        let given: Vec<Option<String>> = arguments.iter().map(|ty| Some(self.ty(context, ty))).collect();
        let parameters = names.zip(given.into_iter().chain(std::iter::repeat(None))).collect();
        self.ty(&Context { parameters, filled_in: context.filled_in + 1, ..*context }, &declaration.body)
    }

    fn field(&mut self, context: &Context<'_>, ty: &Type, is_optional: bool) -> (String, &'static str) {
        match ty {
            Type::Optional(ty) => (self.ty(context, ty), "?"),
            ty => (self.ty(context, ty), if is_optional { "?" } else { "" }),
        }
    }

    fn table(&mut self, context: &Context<'_>, table: &Table) -> String {
        if table.fields.is_empty() {
            match (table.maps.as_slice(), table.elements.as_slice()) {
                ([], []) => return "table".to_owned(),
                ([(key, value)], []) => {
                    return format!("table<{}, {}>", self.ty(context, key), self.ty(context, value));
                }
                ([], [element]) => return text::list(&self.ty(context, element)),
                _ => {}
            }
        }
        let mut parts = Vec::new();
        for field in &table.fields {
            let (ty, mark) = self.field(context, &field.ty, field.is_optional);
            parts.push(format!("{}{mark}: {ty}", text::key(&field.name)));
        }
        for (key, value) in &table.maps {
            parts.push(format!("[{}]: {}", self.ty(context, key), self.ty(context, value)));
        }
        for element in &table.elements {
            parts.push(format!("[integer]: {}", self.ty(context, element)));
        }
        format!("{{ {} }}", parts.join(", "))
    }

    fn function(&mut self, context: &Context<'_>, function: &FunctionType) -> String {
        let parameters = self.bounds(context, &function.generics);
        let context = &Context { parameters, ..*context };
        let mut params = Vec::new();
        for (index, (name, ty)) in function.params.iter().enumerate() {
            let name = name.as_ref().map_or_else(|| format!("p{}", index + 1), |name| text::param(name));
            let (ty, mark) = self.field(context, ty, false);
            params.push(format!("{name}{mark}: {ty}"));
        }
        params.extend(function.rest.as_ref().map(|ty| format!("...: {}", self.ty(context, ty))));
        let returns: Vec<String> = function.returns.iter().map(|ty| self.ty(context, ty)).collect();
        let returns = if returns.is_empty() { String::new() } else { format!(": {}", returns.join(", ")) };
        format!("fun({}){returns}", params.join(", "))
    }
}

impl<'c> Context<'c> {
    /// The last declaration of a type: sources declare a name once.
    fn find(&self, name: &str) -> Option<&'c TypeDeclaration> {
        self.chunk.types.iter().rev().find(|ty| ty.name == name)
    }

    fn class(&self, name: &str) -> String {
        text::class(self.id.namespace().as_str(), &[self.id.name(), name])
    }
}

/// The function that is called.
fn find<'c>(chunk: &'c Chunk, method: Option<&str>) -> Option<&'c Function> {
    let value = match (&chunk.returned, method) {
        (Value::Table(table), Some(method)) => chunk.tables.get(*table)?.get(method)?,
        (Value::Table(_), None) => return None,
        (value, _) => value,
    };
    match value {
        Value::Function(index) => chunk.functions.get(*index),
        _ => None,
    }
}

/// The fields of all members, if they are tables.
fn merged(context: &Context<'_>, members: &[Type]) -> Option<Table> {
    let mut all = Table::default();
    let mut followed: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<&Type> = members.iter().rev().collect();
    while let Some(member) = left.pop() {
        match member {
            Type::Table(table) => {
                all.fields.extend(table.fields.iter().cloned());
                all.maps.extend(table.maps.iter().cloned());
                all.elements.extend(table.elements.iter().cloned());
            }
            Type::Intersection(members) => left.extend(members.iter().rev()),
            Type::Name(name, arguments) if arguments.is_empty() && followed.insert(name) => {
                left.push(&context.find(name)?.body);
            }
            _ => return None,
        }
    }
    Some(all)
}

/// A literal as the language server has it; numbers other than whole ones it has not.
fn literal(written: &str) -> String {
    match written {
        "true" | "false" | "nil" => written.to_owned(),
        _ if written.bytes().all(|byte| byte.is_ascii_digit()) => written.to_owned(),
        _ => match crate::lua::unquoted(written) {
            Some(value) => text::literal(&value),
            None => "number".to_owned(),
        },
    }
}
