//! Stand-ins for imports that an entry was not granted.
//!
//! Toolchains import far more than a program uses, so such components load. A function that is called
//! all the same ends the call with `PERMISSION_DENIED`; the guest can't catch it. Functions that only
//! tell a guest what it was given answer "nothing".

use std::fmt;
use std::sync::Arc;

use registry_schema::EntryId;
use registry_schema::grants::Group;
use wasmtime::Engine;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{LinkerInstance, ResourceType, Val};

use crate::host_state::HostState;

/// The resource type of interfaces that are stubbed as a whole; no value of it ever exists.
struct Nothing;

/// A function that was called without a grant.
#[derive(Debug)]
pub(crate) struct Denied {
    interface: String,
    function: String,
    entry: Arc<EntryId>,
    token: Option<String>,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, function, entry, token } = self;
        write!(f, "`{entry}` called `{function}` of `{interface}`, which it was not granted")?;
        match token {
            Some(token) => write!(f, "; add `{token}` to its `imports`"),
            None => f.write_str("; no host of this loader offers it"),
        }
    }
}

impl std::error::Error for Denied {}

/// Names of the resources that an import brings itself, in contrast to those of `known`, earlier imports',
/// that it only refers to. They are added to `known`.
pub(super) fn own_resources(
    engine: &Engine,
    import: &ComponentItem,
    known: &mut Vec<ResourceType>,
) -> Vec<String> {
    let ComponentItem::ComponentInstance(instance) = import else { return Vec::new() };
    let mut own = Vec::new();
    for (name, item) in instance.exports(engine) {
        if let ComponentItem::Resource(resource) = item.ty
            && !known.contains(&resource)
        {
            known.push(resource);
            own.push(name.to_owned());
        }
    }
    own
}

/// Stubs every function of an imported interface, and those resources that are its `own`; others are the
/// type that they are where they come from.
pub(super) fn interface(
    stubs: &mut LinkerInstance<'_, HostState>,
    engine: &Engine,
    entry: &Arc<EntryId>,
    name: &str,
    ty: &ComponentInstance,
    own: &[String],
    group: Option<&Group>,
) -> wasmtime::Result<()> {
    for resource in own {
        stubs.resource(resource, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
    }
    for (export, item) in ty.exports(engine) {
        if let ComponentItem::ComponentFunc(_) = item.ty {
            function(stubs, entry, name, export, group)?;
        }
    }
    Ok(())
}

/// Stubs one function.
pub(super) fn function(
    instance: &mut LinkerInstance<'_, HostState>,
    entry: &Arc<EntryId>,
    interface: &str,
    name: &str,
    group: Option<&Group>,
) -> wasmtime::Result<()> {
    let bare = interface.split('@').next().unwrap_or(interface);
    if let Some(nothing) = nothing(bare, name) {
        return instance.func_new(name, move |_, _, _, results| {
            results.iter_mut().for_each(|result| result.clone_from(&nothing));
            Ok(())
        });
    }
    let entry = Arc::clone(entry);
    let (interface, function) = (interface.to_owned(), name.to_owned());
    let token = group.map(|group| group.token().to_owned());
    instance.func_new(name, move |_, _, _, _| {
        Err(wasmtime::Error::from(Denied {
            interface: interface.clone(),
            function: function.clone(),
            entry: Arc::clone(&entry),
            token: token.clone(),
        }))
    })
}

/// The answer "nothing" of a function that only tells what a guest was given.
fn nothing(interface: &str, function: &str) -> Option<Val> {
    match (interface, function) {
        ("wasi:filesystem/preopens", "get-directories")
        | ("wasi:cli/environment", "get-environment" | "get-arguments") => Some(Val::List(Vec::new())),
        ("wasi:cli/environment", "initial-cwd" | "get-initial-cwd")
        | ("wasi:cli/terminal-stdin", "get-terminal-stdin")
        | ("wasi:cli/terminal-stdout", "get-terminal-stdout")
        | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => Some(Val::Option(None)),
        _ => None,
    }
}
