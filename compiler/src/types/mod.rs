//! `compiler types`: the functions of a registry in the annotations of the Lua language server.
//!
//! The file stands for the module `funcs`: one overload of `funcs.call` and `funcs.async`, and of the same
//! methods of executors, for every function of the registry, with its id as a literal type. Types of
//! WebAssembly functions come from their signatures (`wit.rs`), those of Lua functions from their annotations
//! (`lua.rs`); what does not say is `any`. Output is sorted and depends on nothing but the registry.

mod lua;
mod text;
mod wit;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use registry_schema::EntryId;
use registry_schema::authored::wasm::Results;

use crate::diagnostic::{Diagnostic, Diagnostics, Strictness};
use crate::front::{self, Selection};
use crate::lua as lua_entries;
use crate::plan::{PlanOptions, Planned, plan};
use crate::registry::Registry;

/// Text before the functions: what `funcs` is besides.
const HEAD: &str = include_str!("head.lua");

/// A function as callers see it.
#[derive(Debug, Default)]
struct Callable {
    /// Parameters behind the target, as in `fun(…)`.
    params: Vec<String>,
    /// What a call gives if it does not fail.
    result: String,
}

/// The annotations of the registry in `root`, if it has no errors, and everything that was said of it.
///
/// `profiles` are laid over `.wippy.yaml`; `results` is how a top-level `result` reaches Lua where an entry does
/// not say.
pub fn types(root: &Path, profiles: &[String], results: Results) -> (Option<String>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::new(Strictness::Lenient);
    let text = front::read(root, Selection { out: None, profiles }, &mut diagnostics).map(|registry| {
        let options = PlanOptions { results, memo: None };
        annotations(&registry, options, &mut diagnostics)
    });
    let text = text.filter(|_| !diagnostics.has_errors());
    (text, diagnostics.sorted())
}

fn annotations(registry: &Registry, options: PlanOptions<'_>, diagnostics: &mut Diagnostics) -> String {
    let planned = plan(registry, options, diagnostics);
    let lua = lua_entries::plan(registry, &planned, diagnostics);
    let mut names = wit::Names::new(&planned);
    let mut declarations = lua::Declarations::default();
    let by_id: BTreeMap<&EntryId, &Planned> = planned.iter().map(|entry| (&entry.id, entry)).collect();
    let mut functions: Vec<(&EntryId, Callable)> = Vec::new();
    for entry in registry.entries.values().filter(|entry| entry.kind.starts_with("function.")) {
        let wasm = by_id.get(&entry.id).and_then(|planned| planned.callable.as_ref());
        let callable = match (wasm, lua.entries.get(&entry.id)) {
            (Some(callable), _) => match &callable.wasm.signature {
                Some(signature) => names.callable(&entry.id, signature, callable.wasm.results),
                // It serves HTTP and is called by nobody else.
                None => continue,
            },
            (None, Some(lua)) => declarations.callable(&entry.id, lua.lua.method.as_deref(), &lua.chunk),
            (None, None) => unknown(),
        };
        functions.push((&entry.id, callable));
    }
    let mut out = HEAD.to_owned();
    out.push_str(&names.finish());
    out.push_str(&declarations.finish());
    for (name, receiver, gives) in [
        ("funcs.call", "", Gives::Result),
        ("funcs.async", "", Gives::Future),
        ("executor:call", "self: funcs.Executor, ", Gives::Result),
        ("executor:async", "self: funcs.Executor, ", Gives::Future),
    ] {
        function(&mut out, name, receiver, gives, &functions);
    }
    out.push_str("\nreturn funcs\n");
    out
}

/// What a call gives.
#[derive(Debug, Clone, Copy)]
enum Gives {
    /// What the function gives.
    Result,
    /// A future.
    Future,
}

impl Gives {
    fn of(self, result: &str) -> String {
        match self {
            Self::Result => text::optional(result),
            Self::Future => "funcs.Future?".to_owned(),
        }
    }
}

/// A function that nothing is known of.
fn unknown() -> Callable {
    Callable { params: vec!["...: any".to_owned()], result: "any".to_owned() }
}

/// One function of the module or of executors with all overloads.
fn function(out: &mut String, name: &str, receiver: &str, gives: Gives, functions: &[(&EntryId, Callable)]) {
    out.push('\n');
    // Writing to a string can't fail.
    for (id, callable) in functions {
        let params: String = callable.params.iter().map(|param| format!(", {param}")).collect();
        let result = gives.of(&callable.result);
        let target = text::literal(&id.to_string());
        let _ = writeln!(out, "---@overload fun({receiver}target: {target}{params}): {result}, funcs.Error?");
    }
    let _ = write!(
        out,
        "---@param target string\n---@param ... any\n---@return {} result\n---@return funcs.Error? err\n\
         function {name}(target, ...) end\n",
        gives.of("any"),
    );
}
