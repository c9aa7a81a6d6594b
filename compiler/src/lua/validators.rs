//! Types that a source uses as values: what the loader makes validators of (`en/lua/types.md`, "Type Casts" and
//! "Type Reflection").
//!
//! The types that are used, and those that they are made of, become a flat list of nodes, which refer to each other
//! by number. It is written in front of the first line, as Lua that builds it, and `__types` in place of each
//! use of a type:
//!
//! ```lua
//! local __types <const> = require(":types")({{"number"},{"record",{"x",1,false}},{"named","Point",2}},{Point=3});
//! ```
//!
//! Generic types are written out for each list of arguments.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use super::chunk::TypeDeclaration;
use super::types::{Check, Field, FunctionType, Generic, Table, Type};

/// Most nodes of a source. Generic types that grow in themselves would have no end.
const NODES_MAX: usize = 10_000;
/// Types that Lua and the type system have by themselves.
const BUILT_IN: &[&str] = &[
    "any", "boolean", "error", "function", "integer", "never", "nil", "number", "string", "table", "thread",
    "unknown", "userdata",
];
/// Built-in types as values: the name of the global, and of the type.
const VALUES: &[(&str, &str)] =
    &[("Boolean", "boolean"), ("Integer", "integer"), ("Number", "number"), ("String", "string")];

/// A type that is used as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Used {
    /// By its name.
    Named(String),
    /// `typeof` of a variable of this type.
    Of(Type),
    /// `typeof` of a value whose type is seen when it runs.
    Unknown,
}

/// Why a type can't be a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There is no type of this name.
    Name(String),
    /// It is too big when it is written out.
    TooBig,
    /// A text in it has several lines, and none may be added.
    Lines,
}

/// Whether a global of this name is a type that the type system defines as a value.
pub(super) fn is_built_in(name: &str) -> bool {
    VALUES.iter().any(|(value, _)| *value == name)
}

/// The nodes of a source.
#[derive(Debug)]
pub(super) struct Validators<'t> {
    declared: BTreeMap<&'t str, &'t TypeDeclaration>,
    /// Modules by the variables that hold them.
    modules: &'t BTreeMap<String, String>,
    nodes: Vec<String>,
    /// Nodes that may be used again, by what they stand for.
    known: BTreeMap<String, usize>,
    /// Bodies of declared types that are still to be written: the node's number, its declaration and arguments.
    pending: VecDeque<(usize, &'t TypeDeclaration, Bindings)>,
    names: BTreeMap<String, usize>,
}

/// Type parameters and the nodes that stand for them.
type Bindings = BTreeMap<String, usize>;

impl<'t> Validators<'t> {
    pub(super) fn new(declared: &'t [TypeDeclaration], modules: &'t BTreeMap<String, String>) -> Self {
        Self {
            declared: declared.iter().map(|it| (it.name.as_str(), it)).collect(),
            modules,
            nodes: Vec::new(),
            known: BTreeMap::new(),
            pending: VecDeque::new(),
            names: BTreeMap::new(),
        }
    }

    /// What takes the place of the use of a type.
    pub(super) fn replacement(&mut self, used: &Used) -> Result<String, Unusable> {
        match used {
            Used::Named(name) => {
                if !self.names.contains_key(name) {
                    let value = VALUES.iter().find(|(value, _)| *value == name.as_str());
                    let is_declared = self.declared.contains_key(name.as_str());
                    let own = value.filter(|_| !is_declared).map_or(name.as_str(), |(_, own)| own);
                    let node = self.finished(&Type::Name(own.to_owned(), Vec::new()))?;
                    self.names.insert(name.clone(), node);
                }
                Ok(format!("__types.{name}"))
            }
            Used::Of(ty) => self.finished(ty).map(|node| format!("__types[{node}]")),
            Used::Unknown => Ok("__types.typeof".to_owned()),
        }
    }

    /// What stands in front of the source.
    pub(super) fn prefix(self) -> String {
        let names: Vec<String> = self.names.iter().map(|(name, node)| format!("{name}={node}")).collect();
        let nodes = self.nodes.join(",");
        format!("local __types <const> = require(\":types\")({{{nodes}}},{{{}}}); ", names.join(","))
    }

    /// The node of `ty`, with all that it is made of.
    fn finished(&mut self, ty: &Type) -> Result<usize, Unusable> {
        let node = self.node(ty, &Bindings::new())?;
        while let Some((own, declaration, bindings)) = self.pending.pop_front() {
            let body = self.node(&declaration.body, &bindings)?;
            self.nodes[own - 1] = format!("{{\"named\",\"{}\",{body}}}", declaration.name);
        }
        Ok(node)
    }

    fn node(&mut self, ty: &Type, bindings: &Bindings) -> Result<usize, Unusable> {
        let text = match ty {
            Type::Name(name, arguments) => return self.named(name, arguments, bindings),
            Type::Literal(written) if written.contains(['\n', '\r']) => return Err(Unusable::Lines),
            Type::Literal(written) if written == "nil" => return self.simple("nil"),
            Type::Literal(written) => format!("{{\"literal\",{written}}}"),
            Type::Optional(inner) => format!("{{\"optional\",{}}}", self.node(inner, bindings)?),
            Type::Union(members) => format!("{{\"union\",{{{}}}}}", self.list(members, bindings)?),
            Type::Intersection(members) => {
                format!("{{\"intersection\",{{{}}}}}", self.list(members, bindings)?)
            }
            Type::Table(table) => self.table(table, bindings)?,
            Type::Function(function) => self.function(function, bindings)?,
            Type::Checked(inner, checks) => {
                let inner = self.node(inner, bindings)?;
                format!("{{\"checked\",{inner},{{{}}}}}", written_checks(checks)?)
            }
        };
        self.shared(text)
    }

    fn simple(&mut self, name: &str) -> Result<usize, Unusable> {
        self.shared(format!("{{\"{name}\"}}"))
    }

    /// The node that is written as `text`; equal ones are one.
    fn shared(&mut self, text: String) -> Result<usize, Unusable> {
        if let Some(node) = self.known.get(&text) {
            return Ok(*node);
        }
        let node = self.push(text.clone())?;
        self.known.insert(text, node);
        Ok(node)
    }

    fn push(&mut self, text: String) -> Result<usize, Unusable> {
        if self.nodes.len() >= NODES_MAX {
            return Err(Unusable::TooBig);
        }
        self.nodes.push(text);
        Ok(self.nodes.len())
    }

    fn list(&mut self, types: &[Type], bindings: &Bindings) -> Result<String, Unusable> {
        let nodes: Result<Vec<String>, Unusable> =
            types.iter().map(|ty| self.node(ty, bindings).map(|node| node.to_string())).collect();
        Ok(nodes?.join(","))
    }

    fn named(&mut self, name: &str, arguments: &[Type], bindings: &Bindings) -> Result<usize, Unusable> {
        if let Some(node) = bindings.get(name) {
            return Ok(*node);
        }
        if let Some(declaration) = self.declared.get(name).copied() {
            let mut bound = Bindings::new();
            for (index, generic) in declaration.generics.iter().enumerate() {
                let node = match (arguments.get(index), &generic.bound) {
                    (Some(argument), _) => self.node(argument, bindings)?,
                    (None, Some(bound)) => self.node(bound, &Bindings::new())?,
                    (None, None) => self.simple("any")?,
                };
                bound.insert(generic.name.clone(), node);
            }
            let key = format!("{name}<{:?}>", bound.values());
            if let Some(node) = self.known.get(&key) {
                return Ok(*node);
            }
            let node = self.push(String::new())?;
            self.known.insert(key, node);
            self.pending.push_back((node, declaration, bound));
            return Ok(node);
        }
        if BUILT_IN.contains(&name) {
            return self.simple(name);
        }
        if let Some((variable, member)) = name.split_once('.')
            && let Some(module) = self.modules.get(variable)
            && !module.contains(['"', '\\', '\n', '\r'])
        {
            return self.shared(format!("{{\"library\",\"{module}\",\"{member}\"}}"));
        }
        Err(Unusable::Name(name.to_owned()))
    }

    fn table(&mut self, table: &Table, bindings: &Bindings) -> Result<String, Unusable> {
        if let ([], [], [element]) = (&*table.fields, &*table.maps, &*table.elements) {
            return Ok(format!("{{\"array\",{}}}", self.node(element, bindings)?));
        }
        if let ([], [(key, value)], []) = (&*table.fields, &*table.maps, &*table.elements) {
            return Ok(format!("{{\"map\",{},{}}}", self.node(key, bindings)?, self.node(value, bindings)?));
        }
        let mut fields = String::new();
        for Field { name, ty, is_optional } in &table.fields {
            let node = self.node(ty, bindings)?;
            write!(fields, "\"{name}\",{node},{is_optional},").expect("texts can be written to");
        }
        let mut maps = String::new();
        for (key, value) in &table.maps {
            let pair = (self.node(key, bindings)?, self.node(value, bindings)?);
            write!(maps, "{},{},", pair.0, pair.1).expect("texts can be written to");
        }
        // Several elements are a tuple of this length.
        let elements = self.list(&table.elements, bindings)?;
        Ok(format!("{{\"record\",{{{fields}}},{{{maps}}},{{{elements}}}}}"))
    }

    fn function(&mut self, function: &FunctionType, bindings: &Bindings) -> Result<String, Unusable> {
        let mut bindings = bindings.clone();
        for Generic { name, bound } in &function.generics {
            let node = match bound {
                Some(bound) => self.node(bound, &bindings)?,
                None => self.simple("any")?,
            };
            bindings.insert(name.clone(), node);
        }
        let params: Result<Vec<String>, Unusable> =
            function.params.iter().map(|(_, ty)| Ok(self.node(ty, &bindings)?.to_string())).collect();
        let returns = self.list(&function.returns, &bindings)?;
        Ok(format!("{{\"function\",{{{}}},{{{returns}}}}}", params?.join(",")))
    }
}

fn written_checks(checks: &[Check]) -> Result<String, Unusable> {
    let mut written = String::new();
    for Check { name, arguments } in checks {
        let argument = arguments.first().map_or("true", String::as_str);
        if argument.contains(['\n', '\r']) {
            return Err(Unusable::Lines);
        }
        write!(written, "\"{name}\",{argument},").expect("texts can be written to");
    }
    Ok(written)
}
