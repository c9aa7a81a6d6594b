//! Whether imported interfaces have the types of the host's.
//!
//! The loader links what was granted by types, so that an interface of another shape could never be linked. It is
//! asked before there is any native code: a component that has these imports and no code is made of the types, and
//! linked by the loader's own functions, in an engine that interprets. All interfaces of a component are asked
//! about at once, and one by one only if that fails; components with the same imports are asked about once.
//!
//! Known limit: interfaces of the embedding program are not known here, and are compared when it loads a bundle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use loader::HostTypes;
use registry_schema::grants::Group;
use registry_schema::profile::Triple;
use registry_schema::{Digest, Profile, Target};
use wasmtime::Engine;
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{InterfaceId, ManglingAndAbi, Resolve, WorldId, WorldItem};

use crate::precompile::engine;

/// The host's interfaces for each profile; they are the same in every build.
static HOSTS: LazyLock<BTreeMap<Profile, Host>> =
    LazyLock::new(|| Profile::ALL.into_iter().map(|profile| (profile, Host::default())).collect());

#[derive(Debug, Default)]
struct Host {
    types: HostTypes,
    engine: OnceLock<Option<Engine>>,
    /// What is known, by the digest of the imports and of the groups that they are compared with.
    known: Mutex<HashMap<Digest, Result<(), String>>>,
}

impl Host {
    /// What differs in the imports of `component` that belong to `groups`.
    fn check(&self, component: &[u8], profile: Profile, groups: &[Group]) -> Result<(), String> {
        let names = groups.iter().map(|group| group.token().as_bytes());
        let key = Digest::of_parts([component].into_iter().chain(names));
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&key) {
            return known.clone();
        }
        let target = Target { triple: Triple::Pulley64, level: None };
        let Some(engine) = self.engine.get_or_init(|| engine(profile, target).ok()) else { return Ok(()) };
        // What can't be made into a component has no imports to compare: the self check loads the real one.
        let checked = Component::new(engine, component)
            .map_or(Ok(()), |component| self.types.check(&component, profile, groups));
        known().insert(key, checked.clone());
        checked
    }
}

/// Imported interfaces of the host that have other types than the host's, with the first difference of each. Those
/// that only use what another one defines otherwise are left out.
pub(crate) fn mismatches(resolve: &Resolve, world: WorldId, profile: Profile) -> BTreeMap<String, String> {
    let imports = resolve.worlds[world].imports.iter();
    let asked: Vec<(InterfaceId, String, Group)> = imports
        .filter_map(|(key, item)| {
            let WorldItem::Interface { id, .. } = item else { return None };
            let name = resolve.name_world_key(key);
            let group = Group::of_interface(&name).filter(|group| group.has_version(&name))?;
            (!matches!(group, Group::Embedder(_) | Group::Socket)).then_some((*id, name, group))
        })
        .collect();
    let groups: BTreeSet<Group> = asked.iter().map(|(_, _, group)| group.clone()).collect();
    let groups: Vec<Group> = groups.into_iter().collect();
    let all = asked.iter().map(|(id, ..)| *id).collect();
    let host = &HOSTS[&profile];
    let check =
        |interfaces: BTreeSet<InterfaceId>, groups: &[Group]| match skeleton(resolve, world, interfaces) {
            Ok(component) => host.check(&component, profile, groups),
            Err(_) => Ok(()),
        };
    let mut found = BTreeMap::new();
    if asked.is_empty() || check(all, &groups).is_ok() {
        return found;
    }
    let mut differing: Vec<(InterfaceId, Group)> = Vec::new();
    for (id, name, group) in asked {
        let Err(difference) = check([id].into(), std::slice::from_ref(&group)) else { continue };
        let used = with_used(resolve, [id].into());
        // What is not granted with it is a stub, whose types are the component's own.
        let is_known =
            |(other, of): &(InterfaceId, Group)| used.contains(other) && (*of == group || *of == Group::Io);
        if !differing.iter().any(is_known) {
            found.insert(name, difference);
        }
        differing.push((id, group));
    }
    found
}

/// `interfaces`, and those that their types come from.
fn with_used(resolve: &Resolve, interfaces: BTreeSet<InterfaceId>) -> BTreeSet<InterfaceId> {
    let mut open: Vec<InterfaceId> = interfaces.iter().copied().collect();
    let mut all = interfaces;
    while let Some(id) = open.pop() {
        open.extend(resolve.interface_direct_deps(id).filter(|used| all.insert(*used)));
    }
    all
}

/// A component that imports `interfaces` of `world`, and whose only code is that of the calls to them.
fn skeleton(resolve: &Resolve, world: WorldId, interfaces: BTreeSet<InterfaceId>) -> anyhow::Result<Vec<u8>> {
    let mut resolve = resolve.clone();
    let wanted = with_used(&resolve, interfaces);
    let reduced = &mut resolve.worlds[world];
    reduced.exports.clear();
    reduced.imports.retain(|_, item| matches!(item, WorldItem::Interface { id, .. } if wanted.contains(id)));
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().module(&module)?.encode()
}

#[cfg(test)]
mod tests {
    use wit_parser::decoding::DecodedWasm;

    use super::*;

    fn found(imports: &str, profile: Profile) -> Vec<String> {
        let bytes = wat::parse_str(format!("(component {imports})")).unwrap();
        let DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes).unwrap() else {
            panic!("{imports}")
        };
        mismatches(&resolve, world, profile).into_keys().collect()
    }

    #[test]
    fn interfaces_are_compared_in_both_profiles() {
        let clock = |version: &str, now: &str| {
            format!(
                r#"(import "wasi:clocks/monotonic-clock@{version}" (instance (export "now" (func (result {now})))))"#
            )
        };
        for profile in Profile::ALL {
            assert_eq!(found(&clock("0.2.6", "u64"), profile), [""; 0]);
            assert_eq!(found(&clock("0.2.6", "u32"), profile), ["wasi:clocks/monotonic-clock@0.2.6"]);
        }
        assert_eq!(found(&clock("0.3.0", "u64"), Profile::Async), [""; 0]);
        assert_eq!(found(&clock("0.3.0", "u32"), Profile::Async), ["wasi:clocks/monotonic-clock@0.3.0"]);
    }

    #[test]
    fn what_the_host_does_not_have_is_not_compared() {
        for other in
            ["acme:kv/store@1.0.0", "wasi:keyvalue/store@0.2.0", "wasi:clocks/monotonic-clock@0.2.0-rc-1"]
        {
            let import = format!(r#"(import "{other}" (instance (export "now" (func (result u8)))))"#);
            assert_eq!(found(&import, Profile::Sync), [""; 0], "{other}");
        }
        assert_eq!(found(r#"(import "now" (func (result u8)))"#, Profile::Sync), [""; 0]);
    }

    /// A function that only a later release has is linked to a stub; one that both have is compared.
    #[test]
    fn later_releases_are_compared_as_far_as_the_host_has_them() {
        let random =
            |functions: &str| format!(r#"(import "wasi:random/random@0.2.99" (instance {functions}))"#);
        let new = r#"(export "get-random-u128" (func (result string)))"#;
        assert_eq!(found(&random(new), Profile::Sync), [""; 0]);
        let old = r#"(export "get-random-u64" (func (result string)))"#;
        assert_eq!(found(&random(&format!("{new}{old}")), Profile::Sync), ["wasi:random/random@0.2.99"]);
    }
}
