//! `.wippy.yaml`: what it changes in the registry, and what of it the loader reads.
//!
//! `vars` are put in place of `${name}` here; `${env:NAME}` and `${NAME|default}` are resolved at boot
//! and travel as written. Only the sections that the loader reads travel: others may hold secrets.

use std::path::Path;
use std::sync::Arc;

use registry_schema::document::{Key, Node, Value};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, SourceFile};
use crate::lock::{Replacement, replacements};
use crate::profiles::overlay;
use crate::read;
use crate::vars::Vars;
use registry_schema::suggest::did_you_mean;

/// Name of the file, in the root.
pub(crate) const CONFIG_FILE: &str = ".wippy.yaml";

/// Sections whose settings restrict: one that is not understood must not be dropped.
const RESTRICTING: [&str; 2] = ["security", "wasm"];

/// The file, checked; all empty when there is none.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The file itself.
    pub(crate) file: Option<Arc<SourceFile>>,
    /// `override`: key and value.
    pub(crate) overrides: Vec<(Key, Node)>,
    /// `disable.namespaces`: patterns.
    pub(crate) disabled_namespaces: Vec<Node>,
    /// `disable.entries`: patterns.
    pub(crate) disabled_entries: Vec<Node>,
    /// `workspace.replacements`.
    pub(crate) replacements: Vec<Replacement>,
    /// What travels.
    pub(crate) sections: serde_json::Map<String, serde_json::Value>,
}

impl Config {
    /// Reads the file in `root`, with the profiles of these names laid over it.
    pub(crate) fn read(root: &Path, profiles: &[String], diagnostics: &mut Diagnostics) -> Self {
        let path = root.join(CONFIG_FILE);
        if !path.is_file() {
            for profile in profiles {
                let message = format!("there is no profile `{profile}`");
                let help = format!("profiles stand in `{CONFIG_FILE}`, which is not there");
                diagnostics.push(Diagnostic::new(Code::ConfigInvalid, message).help(help));
            }
            return Self::default();
        }
        match read::yaml(&path, CONFIG_FILE.to_owned()) {
            Ok((file, node)) => {
                let node = overlay(node, profiles, &file, diagnostics);
                Reader { file, diagnostics }.config(&node)
            }
            Err(diagnostic) => {
                diagnostics.push(Diagnostic { code: Code::ConfigInvalid, ..*diagnostic });
                Self::default()
            }
        }
    }

    /// The place of a node of the file.
    pub(crate) fn place(&self, node_span: registry_schema::document::Span) -> Option<Place> {
        self.file.as_ref().map(|file| Place { file: Arc::clone(file), span: node_span })
    }
}

struct Reader<'a> {
    file: Arc<SourceFile>,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn config(mut self, node: &Node) -> Config {
        let Value::Map(pairs) = &node.value else {
            self.wrong(node, "expected a mapping of sections");
            return Config::default();
        };
        let vars = Vars::read(self.mapping(node, "vars"), &self.file, self.diagnostics);
        let overrides = self.mapping(node, "override").to_vec();
        let overrides = overrides
            .into_iter()
            .map(|(key, node)| (key, vars.interpolate(&node, self.diagnostics)))
            .collect();
        let (disabled_namespaces, disabled_entries) = self.disable(node, &vars);
        let replacements = node
            .get("workspace")
            .and_then(|workspace| workspace.get("replacements"))
            .map_or_else(Vec::new, |section| replacements(&self.file, section));
        let mut sections = serde_json::Map::new();
        for (key, node) in
            pairs.iter().filter(|(key, _)| loader::settings::SECTIONS.contains(&key.name.as_str()))
        {
            match node.value {
                Value::Map(_) => {
                    let resolved = vars.interpolate(node, self.diagnostics);
                    sections.insert(key.name.clone(), resolved.to_json());
                }
                Value::Null => {}
                _ => self.wrong(node, "expected a mapping"),
            }
        }
        for problem in loader::settings::check(&sections) {
            let is_dropped = problem.is_unknown && drop_setting(&mut sections, &problem.path);
            self.setting(node, problem, if is_dropped { Code::SettingUnknown } else { Code::ConfigInvalid });
        }
        Config {
            file: Some(self.file),
            overrides,
            disabled_namespaces,
            disabled_entries,
            replacements,
            sections,
        }
    }

    /// The pairs of the section `name`; none when it is absent or of another shape.
    fn mapping<'n>(&mut self, node: &'n Node, name: &str) -> &'n [(Key, Node)] {
        match node.get(name) {
            Some(Node { value: Value::Map(pairs), .. }) => pairs,
            None | Some(Node { value: Value::Null, .. }) => &[],
            Some(other) => {
                self.wrong(other, "expected a mapping");
                &[]
            }
        }
    }

    fn disable(&mut self, node: &Node, vars: &Vars) -> (Vec<Node>, Vec<Node>) {
        let (mut namespaces, mut entries) = (Vec::new(), Vec::new());
        for (key, list) in self.mapping(node, "disable") {
            let into = match key.name.as_str() {
                "namespaces" => &mut namespaces,
                "entries" => &mut entries,
                name => {
                    let message = format!("`disable` has no field `{name}`");
                    let help = did_you_mean(name, ["namespaces", "entries"])
                        .unwrap_or_else(|| "it holds the lists `namespaces` and `entries`".to_owned());
                    let place = Place { file: Arc::clone(&self.file), span: key.span };
                    self.diagnostics.push(Diagnostic::new(Code::ConfigInvalid, message).at(place).help(help));
                    continue;
                }
            };
            let Value::Seq(items) = &list.value else {
                self.wrong(list, "expected a list of patterns");
                continue;
            };
            for item in items {
                let item = vars.interpolate(item, self.diagnostics);
                match item.as_str() {
                    Some(_) => into.push(item),
                    None => self.wrong(&item, "expected a pattern"),
                }
            }
        }
        (namespaces, entries)
    }

    /// Says what is wrong with a setting, at the innermost key of its path.
    fn setting(&mut self, node: &Node, problem: loader::settings::Problem, code: Code) {
        let mut span = node.span;
        let mut within = Some(node);
        for part in problem.path.split('.') {
            let Some(Node { value: Value::Map(pairs), .. }) = within else { break };
            let Some((key, node)) = pairs.iter().find(|(key, _)| key.name == part) else { break };
            span = key.span;
            within = Some(node);
        }
        let message = format!("setting `{}`: {}", problem.path, problem.message);
        let place = Place { file: Arc::clone(&self.file), span };
        let mut diagnostic = Diagnostic::new(code, message).at(place);
        diagnostic.help = problem.help;
        self.diagnostics.push(diagnostic);
    }

    fn wrong(&mut self, node: &Node, expected: &str) {
        let message = format!("found {}, {expected}", node.value.describe());
        let place = Place { file: Arc::clone(&self.file), span: node.span };
        self.diagnostics.push(Diagnostic::new(Code::ConfigInvalid, message).at(place));
    }
}

/// Takes the setting at `path` out of `sections`, unless its section restricts what may be done.
fn drop_setting(sections: &mut serde_json::Map<String, serde_json::Value>, path: &str) -> bool {
    let Some((section, below)) = path.split_once('.') else { return false };
    if RESTRICTING.contains(&section) {
        return false;
    }
    let (parents, last) = match below.rsplit_once('.') {
        Some((parents, last)) => (parents.split('.').collect(), last),
        None => (Vec::new(), below),
    };
    let section = sections.get_mut(section);
    let parent = parents.into_iter().try_fold(section, |value, part| Some(value?.get_mut(part))).flatten();
    parent.and_then(serde_json::Value::as_object_mut).is_some_and(|fields| fields.remove(last).is_some())
}
