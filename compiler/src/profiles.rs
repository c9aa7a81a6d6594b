//! Profiles of `.wippy.yaml`: named overlays that `--profile` lays over the file (`en/guides/configuration.md`,
//! "Profiles").
//!
//! A profile has the sections of the file. Values are merged leaf by leaf, the later one wins; a list is one
//! value, but for those of `disable`, which a profile may add to and take from.

use std::sync::Arc;

use registry_schema::document::{Key, Node, Value};
use registry_schema::suggest::did_you_mean;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Place, SourceFile};

/// The section that holds profiles.
const SECTION: &str = "profiles";

/// `node`, the file's content, with the profiles `names` laid over it in this order, and without the section
/// of profiles itself.
pub(crate) fn overlay(
    mut node: Node,
    names: &[String],
    file: &Arc<SourceFile>,
    diagnostics: &mut Diagnostics,
) -> Node {
    let Value::Map(sections) = &mut node.value else { return node };
    let profiles = match sections.iter().position(|(key, _)| key.name == SECTION) {
        Some(at) => sections.remove(at).1,
        None => Node { value: Value::Null, span: node.span },
    };
    let known: &[(Key, Node)] = match &profiles.value {
        Value::Map(pairs) => pairs,
        Value::Null => &[],
        other => {
            let message = format!("found {}, expected a mapping of profiles", other.describe());
            diagnostics.push(fault(message, &profiles, file));
            return node;
        }
    };
    for name in names {
        let Some((_, profile)) = known.iter().find(|(key, _)| key.name == *name) else {
            let mut unknown = fault(format!("there is no profile `{name}`"), &profiles, file);
            unknown.help = did_you_mean(name, known.iter().map(|(key, _)| key.name.as_str()));
            diagnostics.push(unknown);
            continue;
        };
        match &profile.value {
            Value::Map(body) => lay(sections, body, file, diagnostics),
            Value::Null => {}
            other => {
                let message = format!("found {}, expected a mapping of sections", other.describe());
                diagnostics.push(fault(message, profile, file));
            }
        }
    }
    node
}

/// Lays the sections of a profile over those of the file.
fn lay(
    sections: &mut Vec<(Key, Node)>,
    body: &[(Key, Node)],
    file: &Arc<SourceFile>,
    diagnostics: &mut Diagnostics,
) {
    for (key, section) in body {
        let into = slot(sections, key);
        match (key.name.as_str(), &section.value) {
            ("vars", value) => {
                if let Some(node) = environment(section) {
                    let message = "the variables of a profile can't be taken from the environment";
                    let help = "write `${env:NAME}` where the variable is used";
                    diagnostics.push(fault(message.to_owned(), node, file).help(help));
                } else if *value != Value::Null {
                    merge(into, section);
                }
            }
            ("disable", Value::Map(lists)) => disable(into, section, lists),
            _ => merge(into, section),
        }
    }
}

/// The value of `key` in `pairs`, made if it is not there.
fn slot<'p>(pairs: &'p mut Vec<(Key, Node)>, key: &Key) -> &'p mut Node {
    let at = pairs.iter().position(|(known, _)| known.name == key.name).unwrap_or_else(|| {
        pairs.push((key.clone(), Node { value: Value::Null, span: key.span }));
        pairs.len() - 1
    });
    &mut pairs[at].1
}

/// Lays `over` over `node`: mappings key by key, everything else as a whole.
fn merge(node: &mut Node, over: &Node) {
    match (&mut node.value, &over.value) {
        (Value::Map(pairs), Value::Map(above)) => {
            for (key, value) in above {
                merge(slot(pairs, key), value);
            }
        }
        _ => node.clone_from(over),
    }
}

/// Lays lists of `disable` over those of the file: `namespaces` takes its place, `namespaces.add` and
/// `namespaces.remove` change it; the same for `entries`.
fn disable(node: &mut Node, over: &Node, lists: &[(Key, Node)]) {
    if !matches!(node.value, Value::Map(_)) {
        *node = Node { value: Value::Map(Vec::new()), span: over.span };
    }
    let Value::Map(pairs) = &mut node.value else { return };
    for (key, list) in lists {
        let (name, change) = match key.name.rsplit_once('.') {
            Some((name, "add")) => (name, Some(Change::Add)),
            Some((name, "remove")) => (name, Some(Change::Remove)),
            _ => (key.name.as_str(), None),
        };
        let into = slot(pairs, &Key { name: name.to_owned(), span: key.span });
        match (change, &list.value) {
            (Some(change), Value::Seq(items)) => change.apply(into, items),
            // What is no list is reported by whoever reads the section.
            _ => into.clone_from(list),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Add,
    Remove,
}

impl Change {
    fn apply(self, list: &mut Node, items: &[Node]) {
        if list.value == Value::Null {
            list.value = Value::Seq(Vec::new());
        }
        let Value::Seq(old) = &mut list.value else { return };
        let is_in = |list: &[Node], item: &Node| list.iter().any(|other| other.value == item.value);
        match self {
            Self::Add => {
                let new: Vec<Node> = items.iter().filter(|item| !is_in(old, item)).cloned().collect();
                old.extend(new);
            }
            Self::Remove => old.retain(|item| !is_in(items, item)),
        }
    }
}

/// A text below `node` that refers to the process's environment.
fn environment(node: &Node) -> Option<&Node> {
    match &node.value {
        Value::String(text) => text.contains("${env:").then_some(node),
        Value::Seq(items) => items.iter().find_map(environment),
        Value::Map(pairs) => pairs.iter().find_map(|(_, node)| environment(node)),
        _ => None,
    }
}

fn fault(message: String, node: &Node, file: &Arc<SourceFile>) -> Diagnostic {
    let place = Place { file: Arc::clone(file), span: node.span };
    Diagnostic::new(Code::ConfigInvalid, message).at(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Strictness;
    use registry_schema::document::parse;

    fn run(text: &str, names: &[&str]) -> (String, Vec<String>) {
        let file = Arc::new(SourceFile { path: String::new(), text: text.to_owned() });
        let mut diagnostics = Diagnostics::new(Strictness::Lenient);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let done = overlay(parse(text).unwrap(), &names, &file, &mut diagnostics);
        let messages = diagnostics.sorted().into_iter().map(|diagnostic| diagnostic.message);
        (done.to_json().to_string(), messages.collect())
    }

    const FILE: &str = "{vars: {port: 1, host: h}, override: {'a:b:c': [1, 2]}, \
        disable: {namespaces: [x, y], entries: ['e:f']}, profiles: {\
        pg: {vars: {port: 2}, override: {'a:b:c': [3], 'a:b:d': 4}, disable: {namespaces.add: [z, x], \
        namespaces.remove: [y]}}, \
        last: {vars: {port: 3}, disable: {entries: []}, logger: {encoding: json}}, none: , \
        bad: {vars: {a: ['${env:HOME}']}}, list: []}}";

    #[test]
    fn without_a_profile_only_the_section_goes() {
        let (done, messages) = run(FILE, &[]);
        let expected = r#"{"vars":{"port":1,"host":"h"},"override":{"a:b:c":[1,2]},"disable":{"namespaces":["x","y"],"entries":["e:f"]}}"#;
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&done).unwrap(), expected);
        assert_eq!(messages, [""; 0]);
    }

    #[test]
    fn later_ones_win_leaf_by_leaf() {
        let (done, messages) = run(FILE, &["pg", "last", "none"]);
        let expected = r#"{"vars":{"port":3,"host":"h"},"override":{"a:b:c":[3],"a:b:d":4},"disable":{"namespaces":["x","z"],"entries":[]},"logger":{"encoding":"json"}}"#;
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&done).unwrap(), expected);
        assert_eq!(messages, [""; 0]);
    }

    #[test]
    fn what_is_no_profile_is_reported() {
        assert_eq!(run(FILE, &["lost"]).1, ["there is no profile `lost`"]);
        assert_eq!(run(FILE, &["list"]).1, ["found a list, expected a mapping of sections"]);
        assert_eq!(run(FILE, &["bad"]).1, ["the variables of a profile can't be taken from the environment"]);
        assert_eq!(run("{profiles: []}", &[]).1, ["found a list, expected a mapping of profiles"]);
        assert_eq!(run("{}", &["a"]).1, ["there is no profile `a`"]);
    }
}
