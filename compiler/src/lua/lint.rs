//! What a source says of other entries: names that it requires, and literal targets of `funcs`.
//!
//! All are warnings: the call may never be reached.

use std::collections::BTreeMap;

use registry_schema::EntryId;
use registry_schema::manifest::{LuaEntry, LuaImport};
use registry_schema::wit::{Signature, Type};

use super::chunk::{Arguments, Call, Chunk, Required};
use super::mistake::position;
use super::token::shortened;
use crate::diagnostic::Code;
use crate::fault::Fault;
use crate::offered::is_known;
use crate::plan::Planned;
use crate::registry::{Entry, Registry};
use registry_schema::suggest::did_you_mean;

/// Most unknown targets for which a similar id is looked for: each looks at all ids.
const SUGGESTIONS_MAX: usize = 64;

/// What targets are compared with.
pub(super) struct Linter<'r> {
    registry: &'r Registry,
    signatures: BTreeMap<&'r EntryId, &'r Signature>,
    suggestions: usize,
}

impl<'r> Linter<'r> {
    /// A linter of the sources in `registry`, whose WebAssembly entries are `planned`.
    pub(super) fn new(registry: &'r Registry, planned: &'r [Planned]) -> Self {
        let signatures = planned.iter().filter_map(|entry| {
            let signature = entry.callable.as_ref()?.wasm.signature.as_ref()?;
            Some((&entry.id, signature))
        });
        Self { registry, signatures: signatures.collect(), suggestions: SUGGESTIONS_MAX }
    }

    /// Warnings for `entry`, which the manifest knows as `lua` and whose source gave `chunk`.
    pub(super) fn check(&mut self, entry: &Entry, lua: &LuaEntry, source: &str, chunk: &Chunk) -> Vec<Fault> {
        let at = |mut fault: Fault, byte: usize| {
            fault.at = Some(position(source, byte));
            fault
        };
        let required = chunk.requires.iter().filter_map(|it| Some(at(self.required(entry, lua, it)?, it.at)));
        let mut faults: Vec<Fault> = required.collect();
        for call in chunk.calls.iter().filter(|call| is_funcs(lua, call)) {
            faults.extend(self.called(entry, call).map(|fault| at(fault, call.at)));
        }
        faults
    }

    fn required(&self, entry: &Entry, lua: &LuaEntry, required: &Required) -> Option<Fault> {
        let name = &required.name;
        let is_listed = lua.imports.contains_key(name) || lua.modules.binary_search(name).is_ok();
        if is_listed || registry_schema::lua::is_always_there(name) {
            return None;
        }
        let message = format!("neither `modules` nor `imports` has `{}`", shortened(name));
        let fault = Fault::new(Code::LuaRequireUnknown, "source", message);
        let library = || EntryId::new(entry.id.namespace().clone(), name).ok();
        let known = lua.imports.keys().chain(&lua.modules).map(String::as_str);
        let help = if registry_schema::lua::MODULES.contains(&name.as_str()) {
            Some(format!("add `{name}` to `modules`"))
        } else if let Some(id) = library().filter(|id| self.kind(id) == Some("library.lua")) {
            Some(format!("add `{name}: {id}` to `imports`"))
        } else {
            did_you_mean(name, known)
        };
        Some(Fault { help, ..fault })
    }

    fn kind(&self, id: &EntryId) -> Option<&'r str> {
        self.registry.kinds.get(id).map(String::as_str)
    }

    fn called(&mut self, entry: &Entry, call: &Call) -> Option<Fault> {
        let target = shortened(&call.target);
        let wrong = |message: String| Fault::new(Code::LuaTargetUnknown, "source", message);
        let id = match call.target.parse::<EntryId>() {
            Ok(id) => id,
            Err(error) if call.target.contains(':') => return Some(wrong(error.to_string())),
            Err(_) => {
                let own = EntryId::new(entry.id.namespace().clone(), &call.target).ok();
                let help = own.filter(|id| self.kind(id).is_some_and(is_function));
                let fault = wrong(format!("found the target `{target}`, expected `namespace:name`"));
                return Some(Fault { help: help.map(|id| format!("did you mean `{id}`?")), ..fault });
            }
        };
        match self.kind(&id) {
            None => {
                let help = self.similar(&id);
                Some(Fault { help, ..wrong(format!("there is no function `{target}`")) })
            }
            Some(kind) if is_known(kind) && !is_function(kind) => {
                Some(wrong(format!("`{target}` is of the kind `{kind}`, expected one of `function.*`")))
            }
            Some(_) => self.signatures.get(&id).and_then(|signature| arguments(&id, signature, call)),
        }
    }

    /// The same name in another namespace, else a similar id, of a function.
    fn similar(&mut self, id: &EntryId) -> Option<String> {
        self.suggestions = self.suggestions.checked_sub(1)?;
        let functions = || self.registry.kinds.iter().filter(|(_, kind)| is_function(kind)).map(|(id, _)| id);
        if let Some(other) = functions().find(|other| other.name() == id.name()) {
            return Some(format!("did you mean `{other}`?"));
        }
        let ids: Vec<String> = functions().map(EntryId::to_string).collect();
        did_you_mean(&id.to_string(), ids.iter().map(String::as_str))
    }
}

fn is_function(kind: &str) -> bool {
    kind.starts_with("function.")
}

/// Whether the call is one of `call` or `async` of the module `funcs`, whatever name it was required by.
fn is_funcs(lua: &LuaEntry, call: &Call) -> bool {
    let is_module = match lua.imports.get(&call.module) {
        Some(LuaImport::Module(module)) => module == "funcs",
        Some(LuaImport::Entry(_)) => false,
        None => call.module == "funcs",
    };
    is_module && matches!(call.function.as_str(), "call" | "async")
}

/// The fault that a call passes too few or too many arguments; missing options at the end are none.
fn arguments(id: &EntryId, signature: &Signature, call: &Call) -> Option<Fault> {
    let most = signature.params.len();
    let required = signature.params.iter().rposition(|param| !matches!(param.ty, Type::Option(_)));
    let least = required.map_or(0, |last| last + 1);
    let given = match call.arguments {
        Arguments::Exactly(given) if given < least || given > most => given.to_string(),
        Arguments::AtLeast(given) if given > most => format!("{given} or more"),
        _ => return None,
    };
    let expected = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let plural = if expected == "1" { "" } else { "s" };
    let message = format!("`{id}` takes {expected} argument{plural}, found {given}");
    Some(
        Fault::new(Code::LuaArgumentCount, "source", message).help(format!("its signature is `{signature}`")),
    )
}
