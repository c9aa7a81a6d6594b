//! Requirements: `ns.requirement` entries are holes that `ns.dependency` entries fill, and their values
//! are written into target entries before anything else looks at these.

use std::collections::{BTreeMap, BTreeSet};

use registry_schema::document::{Node, Value};
use registry_schema::{EntryId, EntryRef};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place};
use crate::raw::RawEntry;
use crate::tree;
use registry_schema::suggest::did_you_mean;

/// A parameter of a dependency.
struct Parameter {
    name: String,
    value: Node,
    /// Where the value stands.
    place: Place,
    /// `organization/module` that is mounted.
    component: String,
    /// Whether the application declares it; declarations of modules give way.
    is_root: bool,
    /// The dependency.
    dependency: EntryId,
}

/// A value to be written.
struct Injection {
    target: EntryId,
    path: String,
    appends: bool,
    value: Node,
    /// Where the target is named.
    at: Place,
    /// Where the value stands.
    from: Place,
}

/// Fields that requirements without a value were to fill in: of which entry, at which path, and the
/// requirement.
pub(crate) type Unmet = BTreeMap<(EntryId, String), EntryId>;

/// Why an entry with such a field can't run.
pub(crate) fn waits_for(requirement: &EntryId) -> String {
    format!("needs a value for the requirement `{requirement}`")
}

/// Resolves all requirements and writes their values into their targets; gives those that have none.
pub(crate) fn link(
    entries: &mut [RawEntry],
    disabled: &BTreeSet<EntryId>,
    diagnostics: &mut Diagnostics,
) -> Unmet {
    let parameters = parameters(entries, diagnostics);
    let mut used = vec![false; parameters.len()];
    let (mut injections, mut unmet) = (Vec::new(), Unmet::new());
    for entry in entries.iter().filter(|entry| entry.kind == "ns.requirement") {
        let value = resolve(entry, &parameters, &mut used, diagnostics);
        let is_unmet = value.is_none() && entry.data.get("default").is_none();
        for Target { id, path, appends, at } in targets(entry, diagnostics) {
            if let Some((value, from)) = value.clone() {
                let injection = Injection { target: id, path, appends, value, at, from };
                injections.push((entry.id.clone(), injection));
            } else if is_unmet {
                unmet.insert((id, path), entry.id.clone());
            }
        }
    }
    for (parameter, _) in parameters.iter().zip(&used).filter(|(_, used)| !**used) {
        unknown(parameter, entries, diagnostics);
    }
    let index: BTreeMap<EntryId, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.id.clone(), at)).collect();
    for (requirement, injection) in injections {
        let Some(at) = index.get(&injection.target) else {
            if !disabled.contains(&injection.target) {
                let ids: Vec<_> = index.keys().map(EntryId::to_string).collect();
                let message = format!("the target `{}` does not exist", injection.target);
                let mut diagnostic = Diagnostic::new(Code::RequirementInvalid, message).entry(&requirement);
                diagnostic.place = Some(injection.at);
                diagnostic.help = did_you_mean(&injection.target.to_string(), ids.iter().map(String::as_str));
                diagnostics.push(diagnostic);
            }
            continue;
        };
        inject(&mut entries[*at], &requirement, injection, diagnostics);
    }
    unmet
}

/// The parameters of all dependencies.
fn parameters(entries: &[RawEntry], diagnostics: &mut Diagnostics) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == "ns.dependency") {
        let Some(component) = entry.data.get("component").and_then(Node::as_str) else {
            let message = "a dependency has no `component`";
            diagnostics.push(entry.report(Code::RequirementInvalid, message).at(entry.place()));
            continue;
        };
        let is_root = entry.origin.module.is_none() && tree::get(&entry.meta, "module").is_none();
        let Some(list) = entry.data.get("parameters") else { continue };
        let items = match &list.value {
            Value::Seq(items) => items.as_slice(),
            Value::Null => &[],
            other => {
                let message = format!("found {}, expected a list of `name` and `value`", other.describe());
                let place = entry.place_at("parameters", list.span);
                diagnostics.push(entry.report(Code::RequirementInvalid, message).at(place));
                continue;
            }
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("parameters.{index}");
            match (item.get("name").and_then(Node::as_str), item.get("value")) {
                (Some(name), Some(value)) => parameters.push(Parameter {
                    name: name.to_owned(),
                    value: value.clone(),
                    place: entry.place_at(&format!("{path}.value"), value.span),
                    component: component.to_owned(),
                    is_root,
                    dependency: entry.id.clone(),
                }),
                _ => {
                    let message = "a parameter needs `name` and `value`";
                    let place = entry.place_at(&path, item.span);
                    diagnostics.push(entry.report(Code::RequirementInvalid, message).at(place));
                }
            }
        }
    }
    parameters
}

/// Whether the parameter is for this requirement: by full id, or by name within the mounted module.
fn is_for(parameter: &Parameter, requirement: &RawEntry) -> bool {
    if parameter.name.contains(':') {
        return parameter.name == requirement.id.to_string();
    }
    parameter.name == requirement.id.name() && belongs(requirement, &parameter.component)
}

/// Whether the entry is of the module `component`: its files are, or its namespace says so.
pub(crate) fn belongs(entry: &RawEntry, component: &str) -> bool {
    let namespace = component.replace('/', ".");
    let own = entry.id.namespace().as_str();
    entry.origin.module.as_deref() == Some(component)
        || own.strip_prefix(namespace.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The value of a requirement and its place; `None` when it keeps its targets as they are.
fn resolve(
    entry: &RawEntry,
    parameters: &[Parameter],
    used: &mut [bool],
    diagnostics: &mut Diagnostics,
) -> Option<(Node, Place)> {
    let mut matching = Vec::new();
    for (at, parameter) in parameters.iter().enumerate().filter(|(_, it)| is_for(it, entry)) {
        used[at] = true;
        matching.push(parameter);
    }
    if matching.iter().any(|parameter| parameter.is_root) {
        matching.retain(|parameter| parameter.is_root);
    }
    if let Some((first, rest)) = matching.split_first() {
        for other in rest.iter().filter(|other| other.value.to_json() != first.value.to_json()) {
            let message = format!(
                "`{}` and `{}` give `{}` different values",
                first.dependency, other.dependency, entry.id
            );
            diagnostics.push(
                entry
                    .report(Code::ParameterConflict, message)
                    .at(other.place.clone())
                    .help(format!("the other is at {}:{}", first.place.file.path, first.place.span.line)),
            );
        }
        return Some((first.value.clone(), first.place.clone()));
    }
    match entry.data.get("default") {
        // An empty default means that nothing is put in.
        Some(Node { value: Value::String(text), .. }) if text.is_empty() => None,
        Some(value) => Some((value.clone(), entry.place_at("default", value.span))),
        None => {
            let message = format!("`{}` has no default and no dependency gives it a value", entry.id);
            let help = format!("add a parameter `{}` to the dependency that mounts it", entry.id.name());
            diagnostics.push(entry.report(Code::RequirementUnmet, message).at(entry.place()).help(help));
            None
        }
    }
}

/// Where a value is written.
struct Target {
    id: EntryId,
    path: String,
    appends: bool,
    /// Where it is named.
    at: Place,
}

/// The targets of a requirement.
fn targets(entry: &RawEntry, diagnostics: &mut Diagnostics) -> Vec<Target> {
    let items = match entry.data.get("targets").map(|node| &node.value) {
        Some(Value::Seq(items)) if !items.is_empty() => items,
        _ => {
            let message = format!("`{}` has no targets", entry.id);
            diagnostics.push(
                entry
                    .report(Code::RequirementInvalid, message)
                    .at(entry.place())
                    .help("add `targets: [{entry: …, path: …}]`"),
            );
            return Vec::new();
        }
    };
    let mut targets = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = entry.place_at(&format!("targets.{index}"), item.span);
        match target(item, entry) {
            Ok((id, path, appends)) => targets.push(Target { id, path, appends, at }),
            Err(problem) => diagnostics.push(entry.report(Code::RequirementInvalid, problem).at(at)),
        }
    }
    targets
}

fn target(item: &Node, entry: &RawEntry) -> Result<(EntryId, String, bool), String> {
    let field = |key: &str| {
        item.get(key).and_then(Node::as_str).ok_or_else(|| format!("a target has no `{key}` as text"))
    };
    let reference: EntryRef = field("entry")?.parse().map_err(|error| format!("{error}"))?;
    let written = field("path")?;
    let (path, appends) = match written.trim().strip_suffix("+=") {
        Some(path) => (path.trim_end(), true),
        None => (written.trim(), false),
    };
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() || path.split('.').any(str::is_empty) {
        return Err(format!("found the path `{written}`, expected one such as `.meta.router`"));
    }
    Ok((reference.resolve(entry.id.namespace()), path.to_owned(), appends))
}

fn inject(entry: &mut RawEntry, requirement: &EntryId, injection: Injection, diagnostics: &mut Diagnostics) {
    let Injection { path, appends, value, at, from, .. } = injection;
    let value = tree::unplaced(&value);
    let result = if appends { entry.append(&path, value, from) } else { entry.set(&path, value, Some(from)) };
    if let Err(blocked) = result {
        let message =
            format!("`{path}` of `{}` can't be set, because `{}` is {}", entry.id, blocked.at, blocked.found);
        let diagnostic = Diagnostic::new(Code::RequirementInvalid, message);
        diagnostics.push(diagnostic.entry(requirement).at(at));
    }
}

fn unknown(parameter: &Parameter, entries: &[RawEntry], diagnostics: &mut Diagnostics) {
    let requirements = || entries.iter().filter(|entry| entry.kind == "ns.requirement");
    // A module that is not there has no requirements; that is reported once, by the walk.
    if !requirements().any(|entry| belongs(entry, &parameter.component)) && !parameter.name.contains(':') {
        return;
    }
    let names: Vec<String> = requirements()
        .filter(|entry| parameter.name.contains(':') || belongs(entry, &parameter.component))
        .map(|entry| match parameter.name.contains(':') {
            true => entry.id.to_string(),
            false => entry.id.name().to_owned(),
        })
        .collect();
    let message = format!("`{}` has no requirement `{}`", parameter.component, parameter.name);
    let mut diagnostic = Diagnostic::new(Code::ParameterUnknown, message).entry(&parameter.dependency);
    diagnostic.place = Some(parameter.place.clone());
    diagnostic.help = did_you_mean(&parameter.name, names.iter().map(String::as_str));
    diagnostics.push(diagnostic);
}
