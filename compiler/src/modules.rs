//! Modules that entries ask for: which namespaces are whose, and what is not installed.
//!
//! A reference that leads nowhere is the author's fault where it stands in the application and stays there. One
//! that stands in a module, or leads into one, is not: the rest of the application is built, and the entry that
//! has it is unavailable.

use std::collections::{BTreeMap, BTreeSet};

use registry_schema::{EntryId, Namespace};

use crate::diagnostic::{Code, Diagnostics, Place};
use crate::link::belongs;
use crate::raw::RawEntry;

/// What is known of modules.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Namespaces of the application itself.
    own: BTreeSet<Namespace>,
    /// Namespaces of modules, and whose they are.
    installed: BTreeMap<Namespace, String>,
    /// Definition files of modules.
    files: BTreeSet<String>,
    /// Modules that are asked for and not there.
    absent: BTreeSet<String>,
}

/// Why a missing entry is none of the application's own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin<'m> {
    /// It may be one of modules that are not installed.
    Absent(Vec<&'m str>),
    /// Its namespace is that of this module, which has no such entry.
    Installed(&'m str),
    /// The reference stands in a module.
    Foreign,
}

impl Modules {
    /// What `entries` and the walk say of modules; warns of dependencies that are not installed.
    pub(crate) fn new(
        entries: &[RawEntry],
        installed: &BTreeSet<String>,
        missing: &BTreeSet<String>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut modules = Self { absent: missing.clone(), ..Self::default() };
        for entry in entries {
            match &entry.origin.module {
                None => {
                    modules.own.insert(entry.id.namespace().clone());
                }
                Some(module) => {
                    modules.installed.insert(entry.id.namespace().clone(), module.clone());
                    modules.files.insert(entry.file.path.clone());
                }
            }
        }
        for entry in entries.iter().filter(|entry| entry.kind == "ns.dependency") {
            let Some(node) = entry.data.get("component") else { continue };
            let Some(component) = node.as_str() else { continue };
            let is_there = installed.contains(component) || entries.iter().any(|it| belongs(it, component));
            if is_there || !modules.absent.insert(component.to_owned()) {
                continue;
            }
            let message = format!("the module `{component}` is not installed");
            let diagnostic =
                entry.report(Code::ModuleMissing, message).at(entry.place_at("component", node.span));
            diagnostics
                .push(diagnostic.help("run `wippy update`, which pins and installs what dependencies name"));
        }
        modules
    }

    /// Why `id`, which a reference at `place` leads to, is not there; `None` when it should be the application's
    /// own.
    pub(crate) fn origin(&self, id: &EntryId, place: &Place) -> Option<Origin<'_>> {
        let namespace = id.namespace();
        if self.own.contains(namespace) {
            return self.files.contains(&place.file.path).then_some(Origin::Foreign);
        }
        if let Some(module) = self.installed.get(namespace) {
            return Some(Origin::Installed(module));
        }
        let may_be = |module: &&str| names(module, namespace.as_str());
        let named: Vec<&str> = self.absent.iter().map(String::as_str).filter(may_be).collect();
        if !named.is_empty() {
            return Some(Origin::Absent(named));
        }
        if !self.absent.is_empty() {
            return Some(Origin::Absent(self.absent.iter().map(String::as_str).collect()));
        }
        self.files.contains(&place.file.path).then_some(Origin::Foreign)
    }
}

/// Whether the module `organization/name` would use `namespace`: `organization.name` or `name`, or below.
fn names(module: &str, namespace: &str) -> bool {
    let name = module.rsplit_once('/').map_or(module, |(_, name)| name);
    [module.replace('/', ".").as_str(), name]
        .iter()
        .any(|own| namespace.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}
