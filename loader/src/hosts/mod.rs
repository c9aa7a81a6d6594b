//! Host interfaces: what a component imports, linked by what its entry was granted.
//!
//! A linker is made per set of grants and cached; the stubs for imports that were not granted are added
//! to a copy, one by one from the component's own import list, so that a stub never shadows a granted
//! interface of another version.

#[cfg(feature = "http")]
mod fields;
#[cfg(feature = "wasi")]
mod files;
#[cfg(feature = "lua")]
mod funcs;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "lua")]
mod inbox;
#[cfg(feature = "wasi")]
mod mounts;
mod stdio;
mod stub;
mod types;
#[cfg(feature = "wasi")]
pub(crate) mod wasi;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use registry_schema::grants::{Group, earlier_release};
use registry_schema::manifest::WasmEntry;
use registry_schema::{EntryId, Profile};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker, LinkerInstance};

use crate::config::Allocation;
use crate::host_state::HostState;

use stub::{Cause, Stub};

pub use stdio::Stdio;
#[cfg(feature = "wasi")]
pub use stdio::Streams;
pub(crate) use stub::Denied;
pub use types::HostTypes;

/// Adds the functions of one interface of the embedding program.
pub(crate) type Define =
    dyn Fn(&mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> + Send + Sync + 'static;

/// An interface that the embedding program offers.
pub(crate) struct EmbedderInterface {
    /// Full name, with version if it has one.
    pub(crate) name: String,
    pub(crate) define: Box<Define>,
}

/// Linkers by profile, allocation and the groups that they have: one engine's each.
type Linkers = HashMap<(Profile, Allocation, BTreeSet<Group>), Arc<Linker<HostState>>>;

/// Makes linkers.
#[derive(Default)]
pub(crate) struct Hosts {
    embedder: Vec<EmbedderInterface>,
    linkers: Mutex<Linkers>,
}

impl Hosts {
    pub(crate) fn new(embedder: Vec<EmbedderInterface>) -> Self {
        Self { embedder, linkers: Mutex::default() }
    }

    /// Why a component with `grants` can't be linked here, if so.
    pub(crate) fn missing(&self, grants: &[Group]) -> Option<String> {
        grants.iter().find_map(|group| match group {
            Group::Embedder(interface) => {
                let offered = self.embedder.iter().any(|own| bare(&own.name) == interface);
                (!offered).then(|| format!("needs host interface `{interface}` of the embedding program"))
            }
            Group::Funcs | Group::Inbox => (!cfg!(feature = "lua")).then(|| needs_feature("lua")),
            Group::Socket => Some("needs the host group `socket`, which is not offered".to_owned()),
            Group::Http => (!cfg!(feature = "http")).then(|| needs_feature("http")),
            Group::Io | Group::Clocks | Group::Cli | Group::Filesystem | Group::Random | Group::Sockets => {
                (!cfg!(feature = "wasi")).then(|| needs_feature("wasi"))
            }
        })
    }

    /// Links `component`: what its entry was granted, and stubs for the rest.
    pub(crate) fn link(
        &self,
        id: &EntryId,
        wasm: &WasmEntry,
        (component, allocation): (&Component, Allocation),
    ) -> wasmtime::Result<InstancePre<HostState>> {
        let imports = Imports::of(component, &wasm.grants, serves_http(wasm));
        self.link_imports(id, wasm.profile, imports, (component, allocation))
    }

    /// Links `component` with what becomes of its `imports`.
    fn link_imports(
        &self,
        id: &EntryId,
        profile: Profile,
        imports: Imports,
        (component, allocation): (&Component, Allocation),
    ) -> wasmtime::Result<InstancePre<HostState>> {
        let engine = component.engine();
        let Imports { groups, denied, later, has_http_types } = imports;
        let base = self.base(engine, (profile, allocation), groups)?;
        if denied.is_empty() && later.is_empty() && !has_http_types {
            return base.instantiate_pre(component);
        }
        let mut linker = (*base).clone();
        #[cfg(feature = "http")]
        if has_http_types {
            #[cfg(feature = "p3")]
            if profile == Profile::Async {
                http::preview3::define_types(&mut linker)?;
            }
            http::define_types(&mut linker)?;
        }
        let id = Arc::new(id.clone());
        for (stub, release) in later {
            stub.complete(&mut linker, &id, &release)?;
        }
        for stub in denied {
            stub.define(&mut linker, &id)?;
        }
        linker.instantiate_pre(component)
    }

    /// The linker with the host functions of `groups`.
    fn base(
        &self,
        engine: &Engine,
        (profile, allocation): (Profile, Allocation),
        groups: BTreeSet<Group>,
    ) -> wasmtime::Result<Arc<Linker<HostState>>> {
        let key = (profile, allocation, groups);
        // Linkers are inserted whole: a panic elsewhere leaves the map usable.
        let mut linkers = self.linkers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = linkers.get(&key) {
            return Ok(Arc::clone(linker));
        }
        let mut linker = Linker::new(engine);
        for group in &key.2 {
            self.define(&mut linker, profile, group)?;
        }
        let linker = Arc::new(linker);
        linkers.insert(key, Arc::clone(&linker));
        Ok(linker)
    }

    #[cfg_attr(
        not(all(feature = "p3", feature = "wasi")),
        expect(unused_variables, reason = "only WASI 0.3 differs by profile")
    )]
    fn define(
        &self,
        linker: &mut Linker<HostState>,
        profile: Profile,
        group: &Group,
    ) -> wasmtime::Result<()> {
        match group {
            Group::Embedder(interface) => {
                for own in self.embedder.iter().filter(|own| bare(&own.name) == interface) {
                    (own.define)(&mut linker.instance(&own.name)?)?;
                }
                Ok(())
            }
            #[cfg(feature = "lua")]
            Group::Funcs => funcs::define(linker),
            #[cfg(feature = "lua")]
            Group::Inbox => inbox::define(linker),
            #[cfg(not(feature = "lua"))]
            Group::Funcs | Group::Inbox => Ok(()),
            Group::Socket => Ok(()),
            #[cfg(feature = "http")]
            Group::Http => {
                #[cfg(feature = "p3")]
                if profile == Profile::Async {
                    http::preview3::define_types(linker)?;
                    http::preview3::define_client(linker)?;
                }
                http::define_types(linker)?;
                http::define_client(linker)
            }
            #[cfg(feature = "wasi")]
            group => {
                #[cfg(feature = "p3")]
                if profile == Profile::Async {
                    wasi::define_preview3(linker, group)?;
                }
                wasi::define(linker, group)
            }
            #[cfg(not(feature = "wasi"))]
            _ => Ok(()),
        }
    }
}

/// What becomes of the imports of a component.
struct Imports {
    /// Groups that were granted.
    groups: BTreeSet<Group>,
    /// What is stubbed as a whole.
    denied: Vec<Stub>,
    /// What was granted, in a later release than the host has: with that release.
    later: Vec<(Stub, String)>,
    /// Whether it has the types of `wasi:http` without a grant.
    has_http_types: bool,
}

impl Imports {
    fn of(component: &Component, grants: &[Group], serves_http: bool) -> Self {
        let engine = component.engine();
        let granted = |group: &Group| match group {
            // It acts only on handles that other groups gave. Without its host it is stubbed as well.
            Group::Io => cfg!(feature = "wasi"),
            group => grants.contains(group),
        };
        let mut imports =
            Self { groups: BTreeSet::new(), denied: Vec::new(), later: Vec::new(), has_http_types: false };
        let mut resources = Vec::new();
        for (name, item) in component.component_type().imports(engine) {
            let own = stub::own_resources(engine, &item.ty, &mut resources);
            let (group, later) = (Group::of_interface(name), earlier_release(name));
            // Whoever answers requests needs their types.
            let is_free = serves_http && bare(name) == "wasi:http/types";
            let is_granted = group.as_ref().is_some_and(granted);
            let cause = match (&group, &later) {
                (Some(_), _) if !is_granted && !is_free => Cause::NotGranted(group.clone()),
                (_, Some(release)) => Cause::Later(release.clone()),
                _ => Cause::NotGranted(None),
            };
            let stub = Stub { name: name.to_owned(), ty: item.ty, own, cause };
            match group {
                Some(group) if is_granted => _ = imports.groups.insert(group),
                _ if is_free => imports.has_http_types = true,
                _ => {
                    imports.denied.push(stub);
                    continue;
                }
            }
            imports.later.extend(later.map(|release| (stub, release)));
        }
        imports
    }
}

/// Whether a function is an HTTP handler, in a loader that has any.
fn serves_http(wasm: &WasmEntry) -> bool {
    let interface = wasm.export.interface.as_deref().map(bare);
    cfg!(feature = "http") && matches!(interface, Some("wasi:http/incoming-handler" | "wasi:http/handler"))
}

fn bare(interface: &str) -> &str {
    interface.split('@').next().unwrap_or(interface)
}

fn needs_feature(feature: &str) -> String {
    format!("needs a loader built with the feature `{feature}`")
}
