//! `override` and `disable` of `.wippy.yaml`, applied to raw entries.

use std::collections::BTreeSet;

use registry_schema::document::{Key, Node};
use registry_schema::{EntryId, Namespace};

use crate::config::Config;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::raw::RawEntry;
use crate::tree;
use registry_schema::suggest::did_you_mean;

/// Takes the entries out that `disable` names, and says which they are.
pub(crate) fn disable(
    entries: &mut Vec<RawEntry>,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> BTreeSet<EntryId> {
    let mut disabled = BTreeSet::new();
    let patterns = config.disabled_namespaces.iter().map(|node| (node, Scope::Namespace));
    for (node, scope) in patterns.chain(config.disabled_entries.iter().map(|node| (node, Scope::Entry))) {
        let pattern = node.as_str().unwrap_or_default();
        let before = disabled.len();
        let matched = entries.iter().filter(|entry| scope.matches(pattern, &entry.id));
        disabled.extend(matched.map(|entry| entry.id.clone()));
        let anew = disabled.len() > before;
        if !anew && !disabled.iter().any(|id| scope.matches(pattern, id)) {
            let message = format!("`{pattern}` matches no {}", scope.noun());
            let mut diagnostic = Diagnostic::new(Code::DisableUnmatched, message);
            diagnostic.place = config.place(node.span);
            diagnostics.push(match scope {
                Scope::Entry if !pattern.contains(':') => diagnostic.help("write `namespace:name`"),
                _ => diagnostic,
            });
        }
    }
    entries.retain(|entry| !disabled.contains(&entry.id));
    disabled
}

#[derive(Clone, Copy)]
enum Scope {
    Namespace,
    Entry,
}

impl Scope {
    fn noun(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Entry => "entry",
        }
    }

    fn matches(self, pattern: &str, id: &EntryId) -> bool {
        match self {
            Self::Namespace => glob(pattern, id.namespace().as_str()),
            Self::Entry => pattern
                .split_once(':')
                .is_some_and(|(space, name)| glob(space, id.namespace().as_str()) && glob(name, id.name())),
        }
    }
}

/// Whether the dotted `text` matches: `*` stands for any characters of one part, a part `**` for any
/// number of parts, also none.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), text.split('.').collect());
    // `reached[n]`: the parts of the pattern so far match the first n parts of the text.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match part {
                "**" => reached[at] || (at > 0 && next[at - 1]),
                part => at > 0 && reached[at - 1] && part_matches(part, text[at - 1]),
            };
        }
        reached = next;
    }
    reached[text.len()]
}

/// Whether one part matches: the pieces between `*` follow one another in it.
fn part_matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

/// Which entries are overridden now: requirements and dependencies before they are linked, all others
/// after that, so that an override wins over what linking puts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `ns.requirement` and `ns.dependency`.
    BeforeLink,
    /// Everything else.
    AfterLink,
}

/// Applies the overrides of a stage; those that name no entry are reported after linking.
pub(crate) fn apply(
    entries: &mut [RawEntry],
    disabled: &BTreeSet<EntryId>,
    config: &Config,
    stage: Stage,
    diagnostics: &mut Diagnostics,
) {
    for (key, value) in &config.overrides {
        let (id, path) = match split(&key.name) {
            Ok(parts) => parts,
            Err(problem) => {
                if stage == Stage::AfterLink {
                    report(config, key, problem, None, diagnostics);
                }
                continue;
            }
        };
        let Some(entry) = entries.iter_mut().find(|entry| entry.id == id) else {
            if stage == Stage::AfterLink && !disabled.contains(&id) {
                let ids: Vec<_> = entries.iter().map(|entry| entry.id.to_string()).collect();
                let help = did_you_mean(&id.to_string(), ids.iter().map(String::as_str));
                report(config, key, format!("the entry `{id}` does not exist"), help, diagnostics);
            }
            continue;
        };
        let is_link = matches!(entry.kind.as_str(), "ns.requirement" | "ns.dependency");
        if is_link == (stage == Stage::BeforeLink)
            && let Err(problem) = put(entry, &path, value, config)
        {
            report(config, key, problem, None, diagnostics);
        }
    }
}

fn report(config: &Config, key: &Key, problem: String, help: Option<String>, diagnostics: &mut Diagnostics) {
    let mut diagnostic = Diagnostic::new(Code::OverrideInvalid, problem);
    diagnostic.place = config.place(key.span);
    diagnostic.help = help;
    diagnostics.push(diagnostic);
}

/// `namespace:entry:path`; the name may hold colons, the path holds none.
fn split(key: &str) -> Result<(EntryId, String), String> {
    let shape = || format!("found the key `{key}`, expected `namespace:entry:path`");
    let (id, path) = key.rsplit_once(':').ok_or_else(shape)?;
    let (space, name) = id.split_once(':').ok_or_else(shape)?;
    if path.is_empty() || path.split('.').any(str::is_empty) {
        return Err(shape());
    }
    let space: Namespace = space.parse().map_err(|_| shape())?;
    Ok((EntryId::new(space, name).map_err(|_| shape())?, path.to_owned()))
}

fn put(entry: &mut RawEntry, path: &str, value: &Node, config: &Config) -> Result<(), String> {
    if path == "kind" {
        let kind = value.as_str().filter(|kind| !kind.is_empty());
        let found = value.value.describe();
        kind.ok_or_else(|| format!("found {found}, expected a kind as text"))?.clone_into(&mut entry.kind);
        if let Some(place) = config.place(value.span) {
            entry.foreign.insert("kind".to_owned(), place);
            entry.kind_span = registry_schema::document::Span::default();
        }
        return Ok(());
    }
    let place = config.place(value.span);
    entry
        .set(path, tree::unplaced(value), place)
        .map_err(|blocked| format!("`{path}` can't be set, because `{}` is {}", blocked.at, blocked.found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, yes, no) in [
            ("legacy.**", &["legacy", "legacy.a", "legacy.a.b"][..], &["legacyx", "a.legacy"][..]),
            ("lib.*", &["lib.a"], &["lib", "lib.a.b"]),
            ("**", &["a", "a.b"], &[]),
            ("**.test", &["test", "a.b.test"], &["a.tests"]),
            ("a.**.z", &["a.z", "a.b.c.z"], &["a", "az"]),
            ("t*_x*y", &["t_xy", "test_x_y"], &["test_y", "t_xyz"]),
            ("a", &["a"], &["b", "a.a"]),
        ] {
            for text in yes {
                assert!(glob(pattern, text), "{pattern} {text}");
            }
            for text in no {
                assert!(!glob(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn keys() {
        let parts = |key: &str| split(key).map(|(id, path)| (id.to_string(), path));
        assert_eq!(parts("app:db:data.kind"), Ok(("app:db".into(), "data.kind".into())));
        assert_eq!(parts("app:h:v2:meta.a"), Ok(("app:h:v2".into(), "meta.a".into())));
        for key in ["app:db", "db", "app:db:", "app::x", ":a:b", "app:db:a..b"] {
            assert!(parts(key).is_err(), "{key}");
        }
    }
}
