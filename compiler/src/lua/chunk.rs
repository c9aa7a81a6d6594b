//! What the parser says of a source that is valid.

use std::collections::BTreeMap;

use super::mistake::Mistake;
use super::types::{Generic, Type};
use super::value::Value;

/// A source without its types, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The source with spaces in place of types and `__types` in place of those that are values: every line is where
    /// it was.
    pub(crate) erased: String,
    /// Calls of `require` with a literal name.
    pub(crate) requires: Vec<Required>,
    /// Calls of functions of modules whose first argument is a literal.
    pub(crate) calls: Vec<Call>,
    /// Every function, in the order in which they end.
    pub(crate) functions: Vec<Function>,
    /// What is known of the fields of tables.
    pub(crate) tables: Vec<BTreeMap<String, Value>>,
    /// What the chunk returns at its end.
    pub(crate) returned: Value,
    /// Types that are declared, in order.
    pub(crate) types: Vec<TypeDeclaration>,
    /// Uses of types as values of which no validator can be made.
    pub(crate) validations: Vec<Mistake>,
}

/// `require("name")`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Required {
    /// The name.
    pub(crate) name: String,
    /// The byte where the literal begins.
    pub(crate) at: usize,
}

/// A call such as `funcs.call("app:f", 1)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The name that `require` gave the module under.
    pub(crate) module: String,
    /// The function of the module, or of an executor that it made.
    pub(crate) function: String,
    /// The first argument.
    pub(crate) target: String,
    /// The byte where the first argument begins.
    pub(crate) at: usize,
    /// The other arguments.
    pub(crate) arguments: Arguments,
}

/// How many arguments follow the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// So many.
    Exactly(usize),
    /// So many or more: the last one is a call or `...`.
    AtLeast(usize),
}

/// What a function says of itself.
#[derive(Debug, Default)]
pub(crate) struct Function {
    /// Type parameters.
    pub(crate) generics: Vec<Generic>,
    /// Parameters in order, without `self`.
    pub(crate) params: Vec<Param>,
    /// Whether it takes more, and of which type.
    pub(crate) rest: Option<Type>,
    /// Types of what it returns; `None` when it does not say.
    pub(crate) returns: Option<Vec<Type>>,
}

/// A parameter of a function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Param {
    /// Its name.
    pub(crate) name: String,
    /// Its type, if it says one.
    pub(crate) ty: Option<Type>,
}

/// `type Name<T> = …`.
#[derive(Debug)]
pub(crate) struct TypeDeclaration {
    /// Its name.
    pub(crate) name: String,
    /// Type parameters.
    pub(crate) generics: Vec<Generic>,
    /// What it is.
    pub(crate) body: Type,
}
