//! The third pass: raw entries to a registry whose every field has its type and every reference its
//! entry.
//!
//! In order: what `.wippy.yaml` disables is taken out; ids are unique; overrides and requirements put
//! values in; then, entry by entry, files are brought in and fields get their types; last, references.

use std::collections::BTreeMap;

use registry_schema::EntryId;
use registry_schema::authored::Definition;
use registry_schema::document::Value;

use crate::config::Config;
use crate::diagnostic::{Code, Diagnostics};
use crate::include::{self, Included, Texts};
use crate::link::Unmet;
use crate::modules::Modules;
use crate::offered::{is_known, lacking, offered};
use crate::overrides::{self, Stage};
use crate::parse::similar_kind;
use crate::raw::RawEntry;
use crate::references::{Index, Names};
use crate::registry::{Entry, Registry};
use crate::walk::Walked;
use crate::{constraints, fields, limits, link};

/// Makes the registry of `entries`, which are in the order in which they were found by `walked`.
pub(crate) fn resolve(
    walked: Walked,
    mut entries: Vec<RawEntry>,
    config: Config,
    diagnostics: &mut Diagnostics,
) -> Registry {
    let root = walked.root;
    let disabled = overrides::disable(&mut entries, &config, diagnostics);
    unique(&mut entries, diagnostics);
    overrides::apply(&mut entries, &disabled, &config, Stage::BeforeLink, diagnostics);
    let unmet = link::link(&mut entries, &disabled, diagnostics);
    overrides::apply(&mut entries, &disabled, &config, Stage::AfterLink, diagnostics);
    let modules = Modules::new(&entries, &walked.installed, &walked.missing, diagnostics);

    let kinds: BTreeMap<_, _> = entries.iter().map(|entry| (entry.id.clone(), entry.kind.clone())).collect();
    let mut texts = Texts::default();
    let mut typed = Vec::new();
    for mut raw in entries {
        let included = include::include(&root, &mut raw, &mut texts, diagnostics);
        if let Some((definition, unavailable)) = definition(&mut raw, &included, &kinds, &unmet, diagnostics)
        {
            typed.push(Ready { raw, included, definition, unavailable });
        }
    }
    let definitions = typed.iter().map(|ready| &ready.definition);
    let index = Index::new(&kinds, &disabled, &unmet, &modules, definitions);
    check_references(&mut typed, index, diagnostics);
    let usable = typed.into_iter().filter(|ready| !ready.included.is_incomplete);
    let entries = usable.map(Ready::entry).map(|entry| (entry.id.clone(), entry)).collect();
    Registry { root, entries, kinds, config: config.sections }
}

/// An entry whose fields have their types.
struct Ready {
    raw: RawEntry,
    included: Included,
    definition: Definition,
    unavailable: Option<String>,
}

impl Ready {
    fn entry(self) -> Entry {
        let meta = match self.raw.meta.to_json() {
            serde_json::Value::Object(meta) => meta,
            _ => serde_json::Map::new(),
        };
        Entry {
            id: self.raw.id,
            kind: self.raw.kind,
            meta,
            definition: self.definition,
            data: self.raw.data,
            file: self.raw.file,
            span: self.raw.span,
            included: self.included.files,
            unavailable: self.unavailable,
        }
    }
}

/// Keeps the first entry of each id, and reports the others.
fn unique(entries: &mut Vec<RawEntry>, diagnostics: &mut Diagnostics) {
    let mut first: BTreeMap<EntryId, String> = BTreeMap::new();
    entries.retain(|entry| {
        let here = format!("{}:{}", entry.file.path, entry.span.line);
        let Some(other) = first.get(&entry.id) else {
            first.insert(entry.id.clone(), here);
            return true;
        };
        let message = format!("the entry `{}` is already there", entry.id);
        let help = format!("the other is at {other}");
        diagnostics.push(entry.report(Code::DuplicateId, message).at(entry.place()).help(help));
        false
    });
}

/// The typed fields of an entry, and why it can't run if so.
fn definition(
    raw: &mut RawEntry,
    included: &Included,
    kinds: &BTreeMap<EntryId, String>,
    unmet: &Unmet,
    diagnostics: &mut Diagnostics,
) -> Option<(Definition, Option<String>)> {
    if !is_known(&raw.kind) {
        let message = format!("the kind `{}` is not known, so the entry is carried as data", raw.kind);
        let mut diagnostic = raw.report(Code::UnknownKind, message).at(raw.place_at("kind", raw.kind_span));
        diagnostic.help = similar_kind(&raw.kind);
        diagnostics.push(diagnostic);
    }
    // A field that is reported once needs no second report of its type.
    if !fields::without_placeholders(raw, |path| included.files.contains_key(path), diagnostics) {
        return None;
    }
    name_builtins(raw, kinds);
    let fields::Typed { mut definition, unavailable } = fields::read(raw, unmet, diagnostics)?;
    if let Definition::FunctionWat(wasm) | Definition::FunctionWasm(wasm) | Definition::ProcessWasm(wasm) =
        &mut definition
    {
        limits::merge(raw, wasm, diagnostics);
    }
    constraints::check(raw, &definition, diagnostics);
    let unavailable = unavailable.or_else(|| offered(&raw.kind).map(str::to_owned));
    let unavailable = unavailable.or_else(|| lacking(&definition));
    Some((definition, unavailable))
}

/// Writes imports of modules of the runtime as `:name`: a plain name that no entry of the namespace has,
/// and a documented module has, means that module.
fn name_builtins(raw: &mut RawEntry, kinds: &BTreeMap<EntryId, String>) {
    if !raw.kind.ends_with(".lua") {
        return;
    }
    let namespace = raw.id.namespace().clone();
    let Value::Map(fields) = &mut raw.data.value else { return };
    for (_, imports) in fields.iter_mut().filter(|(key, _)| key.name == "imports") {
        let Value::Map(imports) = &mut imports.value else { continue };
        for (_, import) in imports {
            let Value::String(name) = &mut import.value else { continue };
            let own = EntryId::new(namespace.clone(), name);
            if registry_schema::lua::is_documented(name) && !own.is_ok_and(|id| kinds.contains_key(&id)) {
                name.insert(0, ':');
            }
        }
    }
}

fn check_references(typed: &mut [Ready], mut index: Index<'_>, diagnostics: &mut Diagnostics) {
    let mut names = Names::default();
    for Ready { raw, definition, unavailable, .. } in typed {
        let lacking = index.check(raw, definition, diagnostics);
        *unavailable = unavailable.take().or(lacking);
        names.note(raw, definition);
    }
    names.report(diagnostics);
}
