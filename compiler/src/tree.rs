//! Reading and changing [`Node`] trees by dotted path.

use registry_schema::document::{Key, Node, Span, Value};

/// What stands in the way of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The part of the path that can't be stepped into.
    pub(crate) at: String,
    /// What is there instead.
    pub(crate) found: &'static str,
}

/// The node at `path`; list items by index.
pub(crate) fn get<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    if path.is_empty() {
        return Some(node);
    }
    path.split('.').try_fold(node, |node, step| match &node.value {
        Value::Seq(items) => items.get(step.parse::<usize>().ok()?),
        _ => node.get(step),
    })
}

/// Puts `value` at `path`, making mappings on the way.
///
/// # Errors
/// When a scalar, or a list without that item, stands on the way.
pub(crate) fn set(node: &mut Node, path: &str, value: Node) -> Result<(), Blocked> {
    *slot(node, path)? = value;
    Ok(())
}

/// Appends `value` to the list at `path`, making it if there is nothing; gives its index.
///
/// # Errors
/// When something else than a list is at `path` or stands on the way.
pub(crate) fn append(node: &mut Node, path: &str, value: Node) -> Result<usize, Blocked> {
    let list = slot(node, path)?;
    match &mut list.value {
        Value::Null => {
            list.value = Value::Seq(vec![value]);
            Ok(0)
        }
        Value::Seq(items) => {
            items.push(value);
            Ok(items.len() - 1)
        }
        other => Err(Blocked { at: path.to_owned(), found: other.describe() }),
    }
}

/// Removes the node at `path`, if there is one.
pub(crate) fn remove(node: &mut Node, path: &str) -> bool {
    let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
    let Some(parent) = get_mut(node, parent) else { return false };
    match &mut parent.value {
        Value::Map(pairs) => {
            let before = pairs.len();
            pairs.retain(|(key, _)| key.name != last);
            pairs.len() < before
        }
        Value::Seq(items) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                // Later items keep their index, so that their paths stay right.
                items[index].value = Value::Null;
                false
            }
            _ => false,
        },
        _ => false,
    }
}

/// The same tree without places: it comes from another file than the one that it is put into.
pub(crate) fn unplaced(node: &Node) -> Node {
    let value = match &node.value {
        Value::Seq(items) => Value::Seq(items.iter().map(unplaced).collect()),
        Value::Map(pairs) => Value::Map(
            pairs
                .iter()
                .map(|(key, node)| (Key { name: key.name.clone(), span: Span::default() }, unplaced(node)))
                .collect(),
        ),
        scalar => scalar.clone(),
    };
    Node { value, span: Span::default() }
}

/// Calls `visit` on every string in the tree, with its dotted path below `path`.
pub(crate) fn strings(node: &mut Node, path: &str, visit: &mut impl FnMut(&str, Span, &mut String)) {
    match &mut node.value {
        Value::String(text) => visit(path, node.span, text),
        Value::Seq(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                strings(item, &join(path, &index.to_string()), visit);
            }
        }
        Value::Map(pairs) => {
            for (key, node) in pairs {
                strings(node, &join(path, &key.name), visit);
            }
        }
        _ => {}
    }
}

/// `path` and `step` with a point between.
pub(crate) fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}

fn get_mut<'n>(node: &'n mut Node, path: &str) -> Option<&'n mut Node> {
    if path.is_empty() {
        return Some(node);
    }
    path.split('.').try_fold(node, |node, step| match &mut node.value {
        Value::Seq(items) => items.get_mut(step.parse::<usize>().ok()?),
        Value::Map(pairs) => pairs.iter_mut().find(|(key, _)| key.name == step).map(|(_, node)| node),
        _ => None,
    })
}

fn slot<'n>(mut node: &'n mut Node, path: &str) -> Result<&'n mut Node, Blocked> {
    let mut done = String::new();
    for step in path.split('.') {
        if matches!(node.value, Value::Null) {
            node.value = Value::Map(Vec::new());
        }
        let found = node.value.describe();
        let blocked = || Blocked { at: done.clone(), found };
        node = match &mut node.value {
            Value::Map(pairs) => {
                let at = pairs.iter().position(|(key, _)| key.name == step).unwrap_or_else(|| {
                    let key = Key { name: step.to_owned(), span: Span::default() };
                    pairs.push((key, Node { value: Value::Null, span: Span::default() }));
                    pairs.len() - 1
                });
                &mut pairs[at].1
            }
            Value::Seq(items) => {
                let index = step.parse::<usize>().map_err(|_| blocked())?;
                items.get_mut(index).ok_or_else(blocked)?
            }
            _ => return Err(blocked()),
        };
        done = join(&done, step);
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_schema::document::parse;

    fn json(node: &Node) -> String {
        node.to_json().to_string()
    }

    #[test]
    fn paths_reach_and_make() {
        let mut node = parse("a: {b: [1, {c: 2}]}\nd:\n").unwrap();
        assert_eq!(get(&node, "a.b.1.c").map(|node| &node.value), Some(&Value::Int(2)));
        set(&mut node, "a.b.1.c", parse("3").unwrap()).unwrap();
        set(&mut node, "d.e.f", parse("x").unwrap()).unwrap();
        append(&mut node, "a.b", parse("4").unwrap()).unwrap();
        append(&mut node, "g", parse("5").unwrap()).unwrap();
        assert_eq!(json(&node), r#"{"a":{"b":[1,{"c":3},4]},"d":{"e":{"f":"x"}},"g":[5]}"#);
        let blocked = set(&mut node, "a.b.0.x", parse("x").unwrap()).unwrap_err();
        assert_eq!((blocked.at.as_str(), blocked.found), ("a.b.0", "a whole number"));
        assert_eq!(append(&mut node, "a", parse("x").unwrap()).unwrap_err().found, "a mapping");
        assert!(remove(&mut node, "d.e") && !remove(&mut node, "d.e"));
    }
}
