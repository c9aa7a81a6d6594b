//! The services among a bundle's entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use registry_schema::authored::lifecycle::Lifecycle;
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, EntryRef, ErrorKind, Namespace};
use serde_json::Value;

use super::{Boxed, Declared, Run, Running, Service, Settings, Supervisor};
use crate::context::Context;
use crate::error::Error;
use crate::loader::Loader;

/// Makes the service of an entry; what can't be started says so when it is.
type Make = fn(&Loader, &Entry) -> Result<Arc<dyn Service>, Error>;

/// Kinds of entries that are services.
const KINDS: &[(&str, Make)] = &[
    #[cfg(all(feature = "http", feature = "lua"))]
    ("http.service", crate::http::service),
    #[cfg(feature = "lua")]
    ("process.host", crate::process::host_service),
    #[cfg(feature = "lua")]
    ("process.service", crate::process::process_service),
    #[cfg(feature = "lua")]
    (OWN, crate::process::own_service),
];

/// The kind of processes that are services of their own (`en/tutorials/supervision.md`, "Worker Pool with
/// Supervision"): those with `lifecycle.auto_start` that no `process.service` runs.
const OWN: &str = "process.lua";

/// A service that can't be started, and why.
struct Unusable(Error);

impl Service for Unusable {
    fn start(&self, _: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async { Err(self.0.clone()) })
    }

    fn warm(&self) -> Result<(), Error> {
        Err(self.0.clone())
    }
}

impl Loader {
    /// The services of the bundle: those of its entries that run as long as the loader serves, and those that
    /// the settings `prometheus` and `otel` ask for. One that can't
    /// be understood or is not offered here fails when it starts. May read files.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub fn supervisor(&self) -> Result<Supervisor, Error> {
        self.supervisor_of(|_| true)
    }

    /// The supervised processes of the bundle and their hosts, and no other service: what a command that runs
    /// beside a server needs.
    ///
    /// # Errors
    /// Those of [`Loader::supervisor`].
    pub fn process_supervisor(&self) -> Result<Supervisor, Error> {
        self.supervisor_of(|kind| kind.starts_with("process."))
    }

    fn supervisor_of(&self, wanted: impl Fn(&str) -> bool) -> Result<Supervisor, Error> {
        let mut entries: BTreeMap<EntryId, (Entry, Make)> = BTreeMap::new();
        let mut hosts = Vec::new();
        for entry in self.bundle().manifest().entries() {
            let entry = entry?;
            if entry.kind == "process.host" {
                hosts.push(entry.id.to_string());
            }
            let found = KINDS.iter().find(|(kind, _)| *kind == entry.kind && wanted(kind));
            if let Some((_, make)) = found
                && (entry.kind != OWN || starts_itself(&entry))
            {
                entries.insert(entry.id.clone(), (entry, *make));
            }
        }
        let run: BTreeSet<EntryId> = entries.values().filter_map(|(entry, _)| process_of(entry)).collect();
        entries.retain(|id, (entry, _)| entry.kind != OWN || !run.contains(id));
        for (entry, _) in entries.values_mut().filter(|(entry, _)| entry.kind == OWN) {
            // As if it were the field of a service.
            if let ([host], Value::Object(fields)) = (hosts.as_slice(), &mut entry.data) {
                fields.entry("host").or_insert_with(|| host.as_str().into());
            }
        }
        let services: BTreeSet<EntryId> = entries.keys().cloned().collect();
        let mut supervisor = Supervisor::default();
        for (entry, make) in entries.values() {
            supervisor.add(self.declared(entry, *make, &services)?);
        }
        #[cfg(all(feature = "telemetry", feature = "http"))]
        self.add_observers(&mut supervisor);
        Ok(supervisor)
    }

    /// The service of `entry`.
    fn declared(&self, entry: &Entry, make: Make, services: &BTreeSet<EntryId>) -> Result<Declared, Error> {
        let mut requires = BTreeSet::new();
        references(&entry.data, entry.id.namespace(), services, &mut requires);
        requires.remove(&entry.id);
        let mut declared = Declared {
            name: entry.id.to_string(),
            settings: Settings { auto_start: true, ..Settings::default() },
            requires: Vec::new(),
            context: Context::default(),
            service: Arc::new(Unusable(Error::new(ErrorKind::Unavailable, "it was not made"))),
        };
        let made = self.read_lifecycle(entry, services, &mut requires, &mut declared);
        declared.requires = requires.iter().map(ToString::to_string).collect();
        declared.service = match made.and_then(|()| make(self, entry)) {
            Ok(service) => service,
            Err(error) => Arc::new(Unusable(error)),
        };
        Ok(declared)
    }

    /// Reads the entry's `lifecycle` into `declared`, and what it requires into `requires`.
    fn read_lifecycle(
        &self,
        entry: &Entry,
        services: &BTreeSet<EntryId>,
        requires: &mut BTreeSet<EntryId>,
        declared: &mut Declared,
    ) -> Result<(), Error> {
        let own = entry.id.namespace();
        let lifecycle: Lifecycle = match entry.data.get("lifecycle") {
            None => Lifecycle::default(),
            Some(lifecycle) => serde_json::from_value(lifecycle.clone()).map_err(|problem| {
                Error::new(ErrorKind::Unavailable, format!("its `lifecycle` can't be read: {problem}"))
            })?,
        };
        declared.settings = Settings::read(&lifecycle, own, &self.inner().environment())?;
        if let Some(reason) = self.inner().unavailable(entry) {
            return Err(Error::new(ErrorKind::Unavailable, reason));
        }
        for reference in &lifecycle.requires {
            let id = reference.resolve(own);
            if services.contains(&id) {
                requires.insert(id);
                continue;
            }
            let unavailable =
                |why: &str| Error::new(ErrorKind::Unavailable, format!("it requires `{id}`, {why}"));
            let Some(required) = self.bundle().manifest().entry(&id)? else {
                return Err(unavailable("which does not exist"));
            };
            // What runs no longer than a call needs no start.
            if let Some(reason) = self.inner().unavailable(&required) {
                return Err(unavailable(&format!("which is not available: {reason}")));
            }
        }
        if lifecycle.security.is_some() {
            declared.context = self.identity(&entry.id)?;
        }
        Ok(())
    }

    /// What the service `id` begins with.
    #[cfg(feature = "lua")]
    fn identity(&self, id: &EntryId) -> Result<Context, Error> {
        self.service_context(id)
    }

    /// What the service `id` begins with: nothing here knows policies.
    #[cfg(not(feature = "lua"))]
    #[expect(clippy::unused_self, reason = "policies come with Lua")]
    fn identity(&self, _: &EntryId) -> Result<Context, Error> {
        let message = "its `lifecycle.security` needs a loader built with the feature `lua`";
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

/// Whether a process is to start without a `process.service`; a placeholder is looked at when it does.
fn starts_itself(entry: &Entry) -> bool {
    let wish = entry.data.get("lifecycle").and_then(|lifecycle| lifecycle.get("auto_start"));
    wish.is_some_and(|wish| *wish != Value::Bool(false))
}

/// The process that a `process.service` runs.
fn process_of(entry: &Entry) -> Option<EntryId> {
    let process = entry.data.get("process").filter(|_| entry.kind == "process.service")?;
    let process: EntryRef = serde_json::from_value(process.clone()).ok()?;
    Some(process.resolve(entry.id.namespace()))
}

/// Adds every service that a text in `value`, of an entry in `own`, names.
fn references(value: &Value, own: &Namespace, services: &BTreeSet<EntryId>, found: &mut BTreeSet<EntryId>) {
    match value {
        Value::String(text) => {
            let id = text.parse::<EntryRef>().map(|reference| reference.resolve(own));
            if let Ok(id) = id
                && services.contains(&id)
            {
                found.insert(id);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, own, services, found)),
        Value::Object(object) => object.values().for_each(|item| references(item, own, services, found)),
        _ => {}
    }
}
