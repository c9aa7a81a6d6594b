//! Which services start, and what has to run before each.

use std::collections::HashMap;

use registry_schema::ErrorKind;

use super::Declared;
use crate::error::Error;

/// Services by their place among the declared ones.
#[derive(Debug)]
pub(super) struct Order {
    /// What each requires, in the order of [`Declared::requires`].
    pub(super) requires: Vec<Vec<usize>>,
    /// What requires each, of those that start.
    pub(super) dependents: Vec<Vec<usize>>,
    /// Whether each starts: on its own, or since one that starts requires it.
    pub(super) started: Vec<bool>,
}

impl Order {
    pub(super) fn new(declared: &[Declared]) -> Result<Self, Error> {
        let mut places = HashMap::new();
        for (index, service) in declared.iter().enumerate() {
            if places.insert(service.name.as_str(), index).is_some() {
                return Err(invalid(format!("there are two services `{}`", service.name)));
            }
        }
        let required = |service: &Declared| {
            let one = |name: &String| {
                let found = places.get(name.as_str()).copied();
                found.ok_or_else(|| {
                    invalid(format!("`{}` requires `{name}`, which is no service", service.name))
                })
            };
            service.requires.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let requires = declared.iter().map(required).collect::<Result<Vec<_>, _>>()?;
        if let Some(circle) = circle(&requires) {
            let names: Vec<String> =
                circle.iter().map(|index| format!("`{}`", declared[*index].name)).collect();
            let message = format!("services require each other in a circle: {}", names.join(" → "));
            return Err(invalid(message));
        }
        let mut started = vec![false; declared.len()];
        let mut next: Vec<usize> = (0..declared.len()).filter(|i| declared[*i].settings.auto_start).collect();
        while let Some(index) = next.pop() {
            if !std::mem::replace(&mut started[index], true) {
                next.extend(&requires[index]);
            }
        }
        let mut dependents = vec![Vec::new(); declared.len()];
        for (index, required) in requires.iter().enumerate().filter(|(index, _)| started[*index]) {
            for required in required {
                dependents[*required].push(index);
            }
        }
        Ok(Self { requires, dependents, started })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// A circle, its first service again at its end, if there is one. Without recursion: chains may be long.
fn circle(requires: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut done = vec![false; requires.len()];
    for start in 0..requires.len() {
        // The way from `start`, each service with how many of its requirements were looked at.
        let mut way: Vec<(usize, usize)> = if done[start] { Vec::new() } else { vec![(start, 0)] };
        while let Some((index, looked_at)) = way.last_mut() {
            let Some(next) = requires[*index].get(*looked_at).copied() else {
                done[*index] = true;
                way.pop();
                continue;
            };
            *looked_at += 1;
            if let Some(from) = way.iter().position(|(index, _)| *index == next) {
                let mut circle: Vec<usize> = way[from..].iter().map(|(index, _)| *index).collect();
                circle.push(next);
                return Some(circle);
            }
            if !done[next] {
                way.push((next, 0));
            }
        }
    }
    None
}
