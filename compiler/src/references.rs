//! References between entries: each must lead to an entry of a kind that fits, or makes its own unavailable.

use std::collections::{BTreeMap, BTreeSet};

use registry_schema::authored::Definition;
use registry_schema::authored::http::{EndpointMeta, RouterMeta};
use registry_schema::authored::process::ProcessMeta;
use registry_schema::authored::scalar::Templated;
use registry_schema::{EntryId, EntryRef, decode};

use crate::constraints::lifecycle;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::link::{Unmet, waits_for};
use crate::modules::{Modules, Origin};
use crate::offered::is_known;
use crate::raw::RawEntry;
use crate::tree;
use registry_schema::suggest::did_you_mean;

/// Most missing references for which a similar id is looked for: each looks at all ids.
const SUGGESTIONS_MAX: usize = 64;

/// What a reference may lead to.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    FileSystem,
    Variable,
    Storage,
    Lua,
    Process,
    Host,
    Function,
    Router,
    Service,
    Store,
    Policy,
    Network,
    Any,
}

impl Wanted {
    fn accepts(self, kind: &str) -> bool {
        match self {
            Self::FileSystem => kind.starts_with("fs."),
            Self::Variable => kind == "env.variable",
            Self::Storage => kind.starts_with("env.storage."),
            Self::Lua => {
                let kind = kind.strip_suffix(".bc").unwrap_or(kind);
                // Tests of processes import them for what their chunk returns.
                matches!(kind, "library.lua" | "function.lua" | "process.lua" | "module.lua")
            }
            Self::Process => {
                kind.starts_with("process.") && !matches!(kind, "process.host" | "process.service")
            }
            Self::Host => matches!(kind, "process.host" | "terminal.host" | "temporal.worker"),
            Self::Function => kind.starts_with("function."),
            Self::Router => kind == "http.router",
            Self::Service => kind == "http.service",
            Self::Store => kind.starts_with("store."),
            Self::Policy => matches!(kind, "security.policy" | "security.policy.expr"),
            Self::Network => kind == "network" || kind.starts_with("network."),
            Self::Any => true,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::FileSystem => "`fs.directory` or `fs.embed`",
            Self::Variable => "an `env.variable`",
            Self::Storage => "one of `env.storage.*`",
            Self::Lua => "a `library.lua` or `function.lua`",
            Self::Process => "a `process.lua` or `process.wasm`",
            Self::Host => "a `process.host`",
            Self::Function => "one of `function.*`",
            Self::Router => "an `http.router`",
            Self::Service => "an `http.service`",
            Self::Store => "one of `store.*`",
            Self::Policy => "a `security.policy`",
            Self::Network => "one of `network.*`",
            Self::Any => "an entry",
        }
    }

    /// Whether it is followed when something is called or started, and not before: an application without it
    /// runs, but for what needs it.
    fn is_followed_late(self) -> bool {
        matches!(
            self,
            Self::Function
                | Self::Process
                | Self::Host
                | Self::Policy
                | Self::Storage
                | Self::Variable
                | Self::Any
        )
    }
}

/// All entries by id, for looking references up.
pub(crate) struct Index<'e> {
    /// Kinds of the entries that are there, faulty ones included.
    pub(crate) kinds: &'e BTreeMap<EntryId, String>,
    /// Those that `.wippy.yaml` took out.
    pub(crate) disabled: &'e BTreeSet<EntryId>,
    /// Fields that wait for a value of whoever mounts the module.
    unmet: &'e Unmet,
    /// Modules that may have what is not there.
    modules: &'e Modules,
    /// Public names of variables.
    pub(crate) variables: BTreeSet<String>,
    /// Missing references for which a similar id may still be looked for.
    pub(crate) suggestions: usize,
}

impl<'e> Index<'e> {
    /// An index of `kinds`; `entries` are those whose fields fit.
    pub(crate) fn new<'d>(
        kinds: &'e BTreeMap<EntryId, String>,
        disabled: &'e BTreeSet<EntryId>,
        unmet: &'e Unmet,
        modules: &'e Modules,
        definitions: impl Iterator<Item = &'d Definition>,
    ) -> Self {
        let variables = definitions.filter_map(public_name).map(str::to_owned).collect();
        Self { kinds, disabled, unmet, modules, variables, suggestions: SUGGESTIONS_MAX }
    }

    /// Checks all references of an entry; says why it can't run if what one leads to may be missing.
    pub(crate) fn check(
        &mut self,
        raw: &RawEntry,
        definition: &Definition,
        diagnostics: &mut Diagnostics,
    ) -> Option<String> {
        let mut lacking = None;
        for (path, reference, wanted) in references(raw, definition) {
            let id = reference.resolve(raw.id.namespace());
            let Some(kind) = self.kinds.get(&id) else {
                // Variables are found by their public name as well.
                let name = reference.to_string();
                if matches!(wanted, Wanted::Variable) && self.variables.contains(&name) {
                    continue;
                }
                let reason = match self.unmet.get(&(raw.id.clone(), path.clone())) {
                    // Of this a warning has told.
                    Some(requirement) => Some(waits_for(requirement)),
                    None => self.missing(raw, &path, &id, wanted, diagnostics),
                };
                lacking = lacking.or(reason);
                continue;
            };
            if is_known(kind) && !wanted.accepts(kind) {
                let message = format!("`{id}` is {} `{kind}`, expected {}", article(kind), wanted.noun());
                let place = raw.place_of(&path);
                diagnostics.push(raw.report(Code::ReferenceKind, message).at(place));
            }
        }
        lacking
    }

    /// Reports a reference that leads nowhere; says why the entry can't run if that is no error.
    fn missing(
        &mut self,
        raw: &RawEntry,
        path: &str,
        id: &EntryId,
        wanted: Wanted,
        diagnostics: &mut Diagnostics,
    ) -> Option<String> {
        let place = raw.place_of(path);
        let modules = self.modules;
        let origin = modules.origin(id, &place);
        if let Some(Origin::Absent(candidates)) = &origin {
            return Some(not_installed(id, candidates));
        }
        let is_fatal = origin.is_none() && !wanted.is_followed_late();
        let code = if is_fatal { Code::ReferenceMissing } else { Code::ReferenceUnmet };
        let message = format!("there is no entry `{id}`");
        let mut diagnostic = raw.report(code, message.clone()).at(place);
        diagnostic.help = match origin {
            _ if self.disabled.contains(id) => Some("it is disabled in `.wippy.yaml`".to_owned()),
            Some(Origin::Installed(module)) => {
                let other = || format!("it may be in another version of the module `{module}`");
                Some(self.similar(raw, id, wanted).unwrap_or_else(other))
            }
            _ => self.similar(raw, id, wanted),
        };
        diagnostics.push(diagnostic);
        (!is_fatal).then_some(message)
    }

    /// The same name in another namespace, else a similar id, of a kind that fits.
    fn similar(&mut self, raw: &RawEntry, id: &EntryId, wanted: Wanted) -> Option<String> {
        self.suggestions = self.suggestions.checked_sub(1)?;
        let fits = |(other, kind): &(&EntryId, &String)| **other != raw.id && wanted.accepts(kind);
        let fitting = || self.kinds.iter().filter(fits).map(|(id, _)| id);
        if let Some(other) = fitting().find(|other| other.name() == id.name()) {
            return Some(format!("did you mean `{other}`?"));
        }
        let ids: Vec<String> = fitting().map(EntryId::to_string).collect();
        did_you_mean(&id.to_string(), ids.iter().map(String::as_str))
    }
}

fn not_installed(id: &EntryId, candidates: &[&str]) -> String {
    match candidates {
        [module] => format!("needs `{id}` of the module `{module}`, which is not installed"),
        _ => format!("needs `{id}`, and modules that may have it are not installed"),
    }
}

/// All references of an entry: path, reference and what it must lead to.
fn references(raw: &RawEntry, definition: &Definition) -> Vec<(String, EntryRef, Wanted)> {
    let mut list = List(Vec::new());
    match definition {
        Definition::FunctionWat(wasm) | Definition::FunctionWasm(wasm) | Definition::ProcessWasm(wasm) => {
            list.add("fs", wasm.fs.iter(), Wanted::FileSystem);
            list.add_items("adapters", "fs", wasm.adapters.iter().map(|it| &it.fs), Wanted::FileSystem);
            if let Some(wasi) = &wasm.wasi {
                list.add_items("wasi.env", "id", wasi.env.iter().map(|it| &it.id), Wanted::Variable);
                list.add_items("wasi.mounts", "fs", wasi.mounts.iter().map(|it| &it.fs), Wanted::FileSystem);
            }
        }
        Definition::FunctionLua(lua) => list.imports(&lua.imports),
        Definition::ProcessLua(lua) => list.imports(&lua.imports),
        Definition::LibraryLua(lua) => list.imports(&lua.imports),
        Definition::ProcessService(service) => {
            list.add("process", [&service.process], Wanted::Process);
            list.add("host", [&service.host], Wanted::Host);
        }
        Definition::HttpService(service) => list.add("network", service.network.iter(), Wanted::Network),
        Definition::HttpRouter(_) => {
            if let Ok((meta, _)) = decode::decode::<RouterMeta>(&raw.meta) {
                list.add("meta.server", meta.server.iter(), Wanted::Service);
            }
        }
        Definition::HttpEndpoint(endpoint) => {
            list.add("func", [&endpoint.func], Wanted::Function);
            if let Ok((meta, _)) = decode::decode::<EndpointMeta>(&raw.meta) {
                list.add("meta.router", meta.router.iter(), Wanted::Router);
            }
        }
        Definition::TokenStore(store) => list.add("store", [&store.store], Wanted::Store),
        Definition::EnvStorageRouter(router) => {
            list.add_items("storages", "", router.storages.iter(), Wanted::Storage);
        }
        Definition::EnvVariable(variable) => list.add("storage", [&variable.storage], Wanted::Storage),
        _ => {}
    }
    if let Some(lifecycle) = lifecycle(definition) {
        let requires = match tree::get(&raw.data, "lifecycle.requires") {
            Some(_) => "lifecycle.requires",
            None => "lifecycle.depends_on",
        };
        list.add_items(requires, "", lifecycle.requires.iter(), Wanted::Any);
        let policies = lifecycle.security.iter().flat_map(|security| security.policies.iter().flatten());
        list.add_items("lifecycle.security.policies", "", policies, Wanted::Policy);
    }
    list.0
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

struct List(Vec<(String, EntryRef, Wanted)>);

impl List {
    fn add<'r>(&mut self, path: &str, references: impl IntoIterator<Item = &'r EntryRef>, wanted: Wanted) {
        self.0.extend(references.into_iter().map(|reference| (path.to_owned(), reference.clone(), wanted)));
    }

    fn add_items<'r>(
        &mut self,
        list: &str,
        field: &str,
        references: impl Iterator<Item = &'r EntryRef>,
        wanted: Wanted,
    ) {
        for (index, reference) in references.enumerate() {
            let item = tree::join(list, &index.to_string());
            let path = if field.is_empty() { item } else { tree::join(&item, field) };
            self.0.push((path, reference.clone(), wanted));
        }
    }

    fn imports(&mut self, imports: &BTreeMap<String, EntryRef>) {
        for (alias, reference) in imports {
            self.0.push((format!("imports.{alias}"), reference.clone(), Wanted::Lua));
        }
    }
}

/// The public name of a variable, if the definition is one that has it.
fn public_name(definition: &Definition) -> Option<&str> {
    match definition {
        Definition::EnvVariable(variable) => match &variable.variable {
            Some(Templated::Value(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// Names by which an application's entries are found besides their ids: of commands, and public ones of
/// variables. One that several have leads to the smallest id.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<(&'static str, String), BTreeMap<EntryId, Place>>);

impl Names {
    /// Notes the names of an entry.
    pub(crate) fn note(&mut self, raw: &RawEntry, definition: &Definition) {
        if let Some(name) = public_name(definition) {
            self.take("variable", name, raw, "variable");
        }
        if matches!(definition, Definition::ProcessWasm(_) | Definition::ProcessLua(_))
            && let Ok((ProcessMeta { command: Some(command) }, _)) = decode::decode(&raw.meta)
        {
            self.take("command", &command.name, raw, "meta.command.name");
        }
    }

    fn take(&mut self, what: &'static str, name: &str, raw: &RawEntry, path: &str) {
        let all = self.0.entry((what, name.to_owned())).or_default();
        all.insert(raw.id.clone(), raw.place_of(path));
    }

    /// Warns of those that several entries have.
    pub(crate) fn report(self, diagnostics: &mut Diagnostics) {
        for ((what, name), entries) in self.0 {
            let mut entries = entries.into_iter();
            let Some((first, _)) = entries.next() else { continue };
            for (id, place) in entries {
                let message =
                    format!("the {what} `{name}` is `{first}`, this one is reached by its id alone");
                diagnostics.push(Diagnostic::new(Code::NameTaken, message).entry(&id).at(place));
            }
        }
    }
}
