//! Whether the host's interfaces have the types that a component imports, for whoever builds bundles.

use std::fmt;

use registry_schema::grants::Group;
use registry_schema::{EntryId, Profile};
use wasmtime::component::Component;

use super::{Hosts, Imports};
use crate::config::Allocation;

/// The host's interfaces, to compare imports with. For components of one engine for each profile.
#[derive(Default)]
pub struct HostTypes {
    hosts: Hosts,
}

impl fmt::Debug for HostTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTypes").finish_non_exhaustive()
    }
}

impl HostTypes {
    /// Compares what `component` imports of `groups` with what the host has, as an entry's call does that is
    /// granted these groups. All other imports may have any types.
    ///
    /// # Errors
    /// The first difference: causes behind causes, divided by `: `.
    pub fn check(&self, component: &Component, profile: Profile, groups: &[Group]) -> Result<(), String> {
        let id: EntryId = "host:types".parse().map_err(|error| format!("{error}"))?;
        let imports = Imports::of(component, groups, false);
        let linked = self.hosts.link_imports(&id, profile, imports, (component, Allocation::OnDemand));
        linked.map(drop).map_err(|error| {
            // The first says that an import does not fit, which the caller knows then.
            let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
            if causes.is_empty() { error.to_string() } else { causes.join(": ") }
        })
    }
}
