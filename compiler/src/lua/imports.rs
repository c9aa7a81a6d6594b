//! Imports between Lua entries as a graph: circles, and what is unavailable because of what it imports.
//!
//! Both walks keep their own stack: chains of imports may be as long as a registry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use registry_schema::EntryId;

use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use crate::offered::is_known;
use crate::registry::Registry;

/// What every Lua entry imports: alias and id.
pub(super) type Graph<'r> = BTreeMap<&'r EntryId, Vec<(String, EntryId)>>;

/// One fault for each import that closes a circle, with the entry that has it.
pub(super) fn cycles<'r>(graph: &Graph<'r>) -> Vec<(&'r EntryId, Fault)> {
    let mut faults = Vec::new();
    let mut done: BTreeSet<&EntryId> = BTreeSet::new();
    for start in graph.keys().copied() {
        // The way to where we are: each entry with the number of its imports that were looked at.
        let mut way: Vec<(&EntryId, usize)> = Vec::new();
        let mut on_way: BTreeSet<&EntryId> = BTreeSet::new();
        if !done.contains(start) {
            way.push((start, 0));
            on_way.insert(start);
        }
        while let Some((id, looked_at)) = way.last_mut() {
            let id: &'r EntryId = id;
            let Some((alias, target)) = graph[id].get(*looked_at) else {
                way.pop();
                on_way.remove(id);
                done.insert(id);
                continue;
            };
            *looked_at += 1;
            // Imports of other kinds lead nowhere.
            let Some((target, _)) = graph.get_key_value(target) else { continue };
            if on_way.contains(target) {
                let from = way.iter().position(|(on_way, _)| on_way == target).unwrap_or(0);
                faults.push((id, cycle(alias, way[from..].iter().map(|(id, _)| *id))));
            } else if !done.contains(target) {
                on_way.insert(target);
                way.push((target, 0));
            }
        }
    }
    faults
}

fn cycle<'r>(alias: &str, members: impl Iterator<Item = &'r EntryId>) -> Fault {
    let ids: Vec<String> = members.map(EntryId::to_string).collect();
    let message = match ids.as_slice() {
        [only] => format!("`{only}` imports itself"),
        ids => format!("{} import each other in a circle", listed(ids)),
    };
    Fault::new(Code::ImportCycle, format!("imports.{alias}"), message)
        .help("move what both need into a library that imports neither")
}

/// Why entries can't run: their own reasons in `own`, and the nearest one among what they import.
pub(super) fn unavailable<'r>(
    registry: &Registry,
    graph: &Graph<'r>,
    own: &BTreeMap<&'r EntryId, String>,
) -> BTreeMap<&'r EntryId, String> {
    let mut importers: BTreeMap<&EntryId, Vec<&'r EntryId>> = BTreeMap::new();
    let mut reasons = own.clone();
    // Ids of entries whose reason is to be handed on, with the entry that has it and the reason.
    let mut queue: VecDeque<(&EntryId, &EntryId, String)> = VecDeque::new();
    for (importer, targets) in graph {
        for (_, target) in targets {
            importers.entry(target).or_default().push(importer);
        }
    }
    for target in importers.keys() {
        let Some(entry) = registry.entries.get(*target) else { continue };
        let reason = own.get(target).cloned().or_else(|| entry.unavailable.clone()).or_else(|| {
            // Known kinds that can't be imported were reported as errors.
            (!is_known(&entry.kind))
                .then(|| format!("it is of the kind `{}`, which is not known", entry.kind))
        });
        queue.extend(reason.map(|reason| (*target, *target, reason)));
    }
    while let Some((id, root, reason)) = queue.pop_front() {
        for importer in importers.get(id).into_iter().flatten() {
            let has_own = registry.entries.get(*importer).is_some_and(|entry| entry.unavailable.is_some());
            if reasons.contains_key(importer) || has_own {
                continue;
            }
            reasons.insert(importer, format!("needs `{root}`, which is unavailable: {reason}"));
            queue.push_back((importer, root, reason.clone()));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<EntryId> {
        names.iter().map(|name| format!("a:{name}").parse().unwrap()).collect()
    }

    #[test]
    fn every_circle_is_found_once() {
        let all = ids(&["a", "b", "c", "d", "e"]);
        let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "d"), ("e", "a")];
        let mut graph: Graph<'_> = all.iter().map(|id| (id, Vec::new())).collect();
        for (from, to) in edges {
            let [from, to] = [from, to].map(|name| format!("a:{name}").parse::<EntryId>().unwrap());
            graph.get_mut(&from).unwrap().push((to.name().to_owned(), to));
        }
        let found: Vec<_> =
            cycles(&graph).into_iter().map(|(id, fault)| (id.name(), fault.message)).collect();
        assert_eq!(
            found,
            [
                ("c", "`a:a`, `a:b`, `a:c` import each other in a circle".to_owned()),
                ("d", "`a:d` imports itself".to_owned()),
            ]
        );
    }

    #[test]
    fn a_long_chain_is_no_problem() {
        let names: Vec<String> = (0..50_000).map(|n| format!("e{n:05}")).collect();
        let all = ids(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let next = |index: usize| all.get(index + 1).map(|id| ("next".to_owned(), id.clone()));
        let mut graph: Graph<'_> =
            all.iter().enumerate().map(|(index, id)| (id, next(index).into_iter().collect())).collect();
        assert_eq!(cycles(&graph), []);
        graph.get_mut(all.last().unwrap()).unwrap().push(("first".to_owned(), all[0].clone()));
        assert_eq!(cycles(&graph).len(), 1);
    }
}
