//! Stand-ins for imports that an entry was not granted, and for functions that are newer than the host.
//!
//! Toolchains import far more than a program uses, so such components load. A function that is called
//! all the same ends the call with `PERMISSION_DENIED` or `UNAVAILABLE`; the guest can't catch it. Functions
//! that only tell a guest what it was given answer "nothing".

use std::fmt;
use std::sync::Arc;

use registry_schema::grants::Group;
use registry_schema::{EntryId, ErrorKind};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Linker, LinkerInstance, ResourceType, Val};

use crate::host_state::HostState;

/// The resource type of interfaces that are stubbed as a whole; no value of it ever exists.
struct Nothing;

/// A function that was called and is not there for its caller.
#[derive(Debug, Clone)]
pub(crate) struct Denied {
    interface: String,
    function: String,
    entry: Arc<EntryId>,
    cause: Cause,
}

/// Why a function is not there.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// The entry was not granted its group, if it has one.
    NotGranted(Option<Group>),
    /// The host has this release, which is earlier.
    Later(String),
}

impl Denied {
    /// The kind of error that ends the call.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self.cause {
            Cause::NotGranted(_) => ErrorKind::PermissionDenied,
            Cause::Later(_) => ErrorKind::Unavailable,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, function, entry, cause } = self;
        write!(f, "`{entry}` called `{function}` of `{interface}`, which ")?;
        match cause {
            Cause::NotGranted(Some(group)) => {
                write!(f, "it was not granted; add `{group}` to its `imports`")
            }
            Cause::NotGranted(None) => f.write_str("it was not granted; no host of this loader offers it"),
            Cause::Later(release) => write!(f, "is not in version {release}, the last one of this loader"),
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

/// An import that the host does not serve, or not wholly.
pub(super) struct Stub {
    pub(super) name: String,
    pub(super) ty: ComponentItem,
    /// Resources that are its own; others are the type that they are where they come from.
    pub(super) own: Vec<String>,
    pub(super) cause: Cause,
}

impl Stub {
    /// Stands in for all of it.
    pub(super) fn define(
        &self,
        linker: &mut Linker<HostState>,
        entry: &Arc<EntryId>,
    ) -> wasmtime::Result<()> {
        let engine = linker.engine().clone();
        match &self.ty {
            ComponentItem::ComponentInstance(ty) => {
                let mut stubs = linker.instance(&self.name)?;
                for resource in &self.own {
                    stubs.resource(resource, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                for (name, ty) in functions(&engine, ty) {
                    match nothing(&self.name, name) {
                        Some(nothing) => answer(&mut stubs, name, nothing)?,
                        None => refuse(&mut stubs, (name, &ty), self.denied(entry, name))?,
                    }
                }
                Ok(())
            }
            ComponentItem::ComponentFunc(ty) => {
                refuse(&mut linker.root(), (&self.name, ty), self.denied(entry, &self.name))
            }
            _ => Ok(()),
        }
    }

    /// Adds what the host's `release` of it does not have.
    pub(super) fn complete(
        &self,
        linker: &mut Linker<HostState>,
        entry: &Arc<EntryId>,
        release: &str,
    ) -> wasmtime::Result<()> {
        let ComponentItem::ComponentInstance(ty) = &self.ty else { return Ok(()) };
        let engine = linker.engine().clone();
        let mut host = linker.instance(&format!("{}@{release}", super::bare(&self.name)))?;
        // Defining fails for what the host has, which stays as it is.
        for resource in &self.own {
            let _ = host.resource(resource, ResourceType::host::<Nothing>(), |_, _| Ok(()));
        }
        for (name, ty) in functions(&engine, ty) {
            let _ = refuse(&mut host, (name, &ty), self.denied(entry, name));
        }
        Ok(())
    }

    fn denied(&self, entry: &Arc<EntryId>, function: &str) -> Denied {
        Denied {
            interface: self.name.clone(),
            function: function.to_owned(),
            entry: Arc::clone(entry),
            cause: self.cause.clone(),
        }
    }
}

/// The functions of an interface.
fn functions<'t>(
    engine: &'t Engine,
    interface: &'t ComponentInstance,
) -> impl Iterator<Item = (&'t str, ComponentFunc)> {
    interface.exports(engine).filter_map(|(name, item)| match item.ty {
        ComponentItem::ComponentFunc(ty) => Some((name, ty)),
        _ => None,
    })
}

/// Adds a function that ends its caller.
fn refuse(
    instance: &mut LinkerInstance<'_, HostState>,
    (name, ty): (&str, &ComponentFunc),
    denied: Denied,
) -> wasmtime::Result<()> {
    let refused = move || Err(wasmtime::Error::from(denied.clone()));
    // The engine tells asynchronous functions of WASI 0.3 from others.
    #[cfg(feature = "p3")]
    if ty.async_() {
        return instance.func_new_concurrent(name, move |_, _, _, _| Box::pin(std::future::ready(refused())));
    }
    #[cfg(not(feature = "p3"))]
    let _ = ty;
    instance.func_new(name, move |_, _, _, _| refused())
}

/// Adds a function that always returns `value`.
fn answer(instance: &mut LinkerInstance<'_, HostState>, name: &str, value: Val) -> wasmtime::Result<()> {
    instance.func_new(name, move |_, _, _, results| {
        results.iter_mut().for_each(|result| result.clone_from(&value));
        Ok(())
    })
}

/// The answer "nothing" of a function that only tells what a guest was given.
fn nothing(interface: &str, function: &str) -> Option<Val> {
    match (super::bare(interface), function) {
        ("wasi:filesystem/preopens", "get-directories")
        | ("wasi:cli/environment", "get-environment" | "get-arguments") => Some(Val::List(Vec::new())),
        ("wasi:cli/environment", "initial-cwd" | "get-initial-cwd")
        | ("wasi:cli/terminal-stdin", "get-terminal-stdin")
        | ("wasi:cli/terminal-stdout", "get-terminal-stdout")
        | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => Some(Val::Option(None)),
        _ => None,
    }
}
