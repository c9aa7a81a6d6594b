//! Policies, groups and token stores from their entries: made when they are first asked for, kept as long as
//! the loader.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use registry_schema::authored::lifecycle::LifecycleSecurity;
use registry_schema::authored::store::StoreMemory;
use registry_schema::manifest::Entry;
use registry_schema::{EntryId, EntryRef, ErrorKind, Namespace};
use serde::Deserialize;
use serde_json::Value;

use super::store::MemoryStore;
use super::{Actor, Policy, Scope, Token, TokenStore, policy, token};
use crate::config::STORE_VALUES_MAX;
use crate::context::Context;
use crate::data::{Data, Table};
use crate::error::Error;
use crate::guest_log::Stream;
use crate::loader::{Inner, Loader};

/// What a loader keeps of its policies and tokens.
pub(crate) struct Security {
    /// Whether what policies govern is denied when nobody is known to ask.
    pub(super) strict: bool,
    policies: Mutex<HashMap<EntryId, Arc<Policy>>>,
    groups: OnceLock<HashMap<EntryId, Arc<Scope>>>,
    token_stores: Mutex<HashMap<EntryId, Arc<TokenStore>>>,
    stores: Mutex<HashMap<EntryId, Arc<MemoryStore<Token>>>>,
}

impl Security {
    /// Reads no entry.
    pub(crate) fn new(strict: bool) -> Self {
        Self {
            strict,
            policies: Mutex::default(),
            groups: OnceLock::new(),
            token_stores: Mutex::default(),
            stores: Mutex::default(),
        }
    }

    /// The policy `id`, made when it is first asked for: that may read files. `None` when no entry of a kind
    /// of policies has this id.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub(crate) fn policy(&self, inner: &Inner, id: &EntryId) -> Result<Option<Arc<Policy>>, Error> {
        if let Some(policy) = self.known_policy(id) {
            return Ok(Some(policy));
        }
        let entry = inner.bundle.manifest().entry(id)?;
        Ok(entry.filter(|entry| policy::is_policy(&entry.kind)).map(|entry| self.make(inner, &entry)))
    }

    /// The policy `id`, if it was made before.
    pub(crate) fn known_policy(&self, id: &EntryId) -> Option<Arc<Policy>> {
        // Only whole values are inserted into these maps: a panic elsewhere leaves them usable.
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn make(&self, inner: &Inner, entry: &Entry) -> Arc<Policy> {
        let made = Arc::new(Policy::read(entry, &inner.environment()));
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = policies.get(&entry.id) {
            return Arc::clone(policy);
        }
        if let Some(problem) = made.problem() {
            let text = format!("this policy denies everything, since it can't be evaluated: {problem}");
            inner.log.line(&entry.id, Stream::Stderr, &text);
        }
        policies.insert(entry.id.clone(), Arc::clone(&made));
        made
    }

    /// The scope of all policies of the group `id`, collected when a group is first asked for: that reads
    /// every entry. `None` when no policy belongs to it.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub(crate) fn group(&self, inner: &Inner, id: &EntryId) -> Result<Option<Arc<Scope>>, Error> {
        if let Some(groups) = self.groups.get() {
            return Ok(groups.get(id).cloned());
        }
        let groups = self.collect_groups(inner)?;
        Ok(self.groups.get_or_init(|| groups).get(id).cloned())
    }

    /// The scope of the group `id`, if groups were collected before.
    #[cfg(feature = "lua")]
    pub(crate) fn known_group(&self, id: &EntryId) -> Option<Arc<Scope>> {
        self.groups.get()?.get(id).cloned()
    }

    fn collect_groups(&self, inner: &Inner) -> Result<HashMap<EntryId, Arc<Scope>>, Error> {
        let mut groups: HashMap<EntryId, Vec<Arc<Policy>>> = HashMap::new();
        let mut everywhere = Vec::new();
        for entry in inner.bundle.manifest().entries() {
            let entry = entry?;
            if !policy::is_policy(&entry.kind) {
                continue;
            }
            let known = self.known_policy(&entry.id);
            let policy = known.unwrap_or_else(|| self.make(inner, &entry));
            match Vec::<EntryRef>::deserialize(entry.data.get("groups").unwrap_or(&Value::Array(Vec::new())))
            {
                Ok(references) => {
                    for reference in references {
                        let group = reference.resolve(entry.id.namespace());
                        groups.entry(group).or_default().push(Arc::clone(&policy));
                    }
                }
                // Nobody knows what it protects.
                Err(error) => {
                    let text =
                        format!("this policy belongs to every group, since its own can't be read: {error}");
                    inner.log.line(&entry.id, Stream::Stderr, &text);
                    everywhere.push(policy);
                }
            }
        }
        let scopes = groups.into_iter().map(|(id, policies)| {
            (id, Arc::new(policies.into_iter().chain(everywhere.iter().cloned()).collect()))
        });
        Ok(scopes.collect())
    }

    /// The token store `id`, made when it is first asked for: that may read files. `None` when no entry of
    /// that kind has this id.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it can't be used, `INTERNAL` when a record of the manifest is malformed.
    pub(crate) fn token_store(&self, inner: &Inner, id: &EntryId) -> Result<Option<Arc<TokenStore>>, Error> {
        if let Some(store) = self.known_token_store(id) {
            return Ok(Some(store));
        }
        let unusable = |problem: String| {
            Error::new(ErrorKind::Unavailable, format!("the token store `{id}` can't be used: {problem}"))
        };
        let entry = inner.bundle.manifest().entry(id)?.filter(|entry| entry.kind == token::KIND);
        let Some(entry) = entry else { return Ok(None) };
        if let Some(reason) = &entry.unavailable {
            return Err(unusable(reason.clone()));
        }
        let settings = token::Settings::read(&entry, &inner.environment()).map_err(unusable)?;
        let store = self.store(inner, &settings.store)?.map_err(unusable)?;
        let mut stores = self.token_stores.lock().unwrap_or_else(PoisonError::into_inner);
        let made = stores.entry(id.clone());
        Ok(Some(Arc::clone(made.or_insert_with(|| Arc::new(TokenStore::new(id.clone(), settings, store))))))
    }

    /// The token store `id`, if it was made before.
    pub(crate) fn known_token_store(&self, id: &EntryId) -> Option<Arc<TokenStore>> {
        self.token_stores.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The `store.memory` entry `id`, or why it can't hold tokens.
    fn store(&self, inner: &Inner, id: &EntryId) -> Result<Result<Arc<MemoryStore<Token>>, String>, Error> {
        let Some(entry) = inner.bundle.manifest().entry(id)? else {
            return Ok(Err(format!("there is no entry `{id}`")));
        };
        if let Some(reason) = &entry.unavailable {
            return Ok(Err(format!("`{id}` is not available: {reason}")));
        }
        if entry.kind != "store.memory" {
            return Ok(Err(format!("`{id}` is a `{}`, expected a `store.memory`", entry.kind)));
        }
        let values_max =
            StoreMemory::deserialize(&entry.data).map_err(|error| error.to_string()).and_then(|store| {
                let Some(values_max) = store.max_size else { return Ok(0) };
                let resolved = inner.environment().resolve(id.namespace(), "max_size", &values_max);
                resolved.map_err(|error| error.message().to_owned())
            });
        let values_max = match values_max {
            Ok(0) => STORE_VALUES_MAX,
            Ok(values_max) => values_max,
            Err(problem) => return Ok(Err(format!("`{id}`: {problem}"))),
        };
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let made = stores.entry(id.clone());
        let values_max = usize::try_from(values_max).unwrap_or(usize::MAX);
        Ok(Ok(Arc::clone(made.or_insert_with(|| Arc::new(MemoryStore::new(values_max))))))
    }

    /// The context that an entry in `own` begins with: `lifecycle.security`, placeholders resolved. May read
    /// files.
    ///
    /// # Errors
    /// `UNAVAILABLE` when a policy or group is unknown, since it may be what restricts; what is wrong with
    /// the actor.
    pub(crate) fn initial_context(
        &self,
        inner: &Inner,
        own: &Namespace,
        security: &LifecycleSecurity,
    ) -> Result<Context, Error> {
        let environment = inner.environment();
        let unknown = |what: &str, id: &EntryId| {
            let message = format!("`lifecycle.security` names the {what} `{id}`, which does not exist");
            Error::new(ErrorKind::Unavailable, message)
        };
        let actor = match &security.actor {
            None => None,
            Some(actor) => {
                let id = environment.resolve(own, "lifecycle.security.actor.id", &actor.id)?;
                let meta = actor.meta.iter().map(|(key, value)| {
                    let field = format!("lifecycle.security.actor.meta.{key}");
                    Ok((Data::from(key.as_str()), environment.resolve_data(own, &field, value)?))
                });
                let fields = meta.collect::<Result<_, Error>>()?;
                Some(Arc::new(Actor::new(id, Data::Table(Table { fields, ..Table::default() }))?))
            }
        };
        let mut policies = Vec::new();
        for reference in security.policies.iter().flatten() {
            let id = reference.resolve(own);
            policies.push(self.policy(inner, &id)?.ok_or_else(|| unknown("policy", &id))?);
        }
        for reference in security.groups.iter().flatten() {
            let id = reference.resolve(own);
            let scope = self.group(inner, &id)?.ok_or_else(|| unknown("policy group", &id))?;
            policies.extend(scope.policies().iter().cloned());
        }
        let is_scoped = security.policies.is_some() || security.groups.is_some();
        let scope = is_scoped.then(|| Arc::new(policies.into_iter().collect()));
        Ok(Context::default().with_actor(actor).with_scope(scope))
    }
}

impl Loader {
    /// The context that the entry `id`, a service, begins with: actor and scope of its `lifecycle.security`;
    /// that of nobody when it has none. May read files.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such entry; `UNAVAILABLE` when its security can't be understood or names
    /// a policy or group that does not exist, since that may be what restricts.
    pub fn service_context(&self, id: &EntryId) -> Result<Context, Error> {
        let entry = self.bundle().manifest().entry(id)?;
        let entry =
            entry.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no entry `{id}`")))?;
        let Some(security) = entry.data.get("lifecycle").and_then(|lifecycle| lifecycle.get("security"))
        else {
            return Ok(Context::default());
        };
        let security = serde_json::from_value(security.clone()).map_err(|problem| {
            Error::new(ErrorKind::Unavailable, format!("`{id}`: `lifecycle.security`: {problem}"))
        })?;
        self.inner().security.initial_context(self.inner(), id.namespace(), &security)
    }

    /// The policy `id`; one that can't be evaluated denies everything. May read files.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none, `INTERNAL` when the manifest is malformed.
    pub fn policy(&self, id: &EntryId) -> Result<Arc<Policy>, Error> {
        found("policy", id, self.inner().security.policy(self.inner(), id)?)
    }

    /// The scope of all policies of the group `id`. May read files.
    ///
    /// # Errors
    /// `NOT_FOUND` when no policy belongs to it, `INTERNAL` when the manifest is malformed.
    pub fn policy_group(&self, id: &EntryId) -> Result<Arc<Scope>, Error> {
        found("policy group", id, self.inner().security.group(self.inner(), id)?)
    }

    /// The token store `id`. May read files.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none, `UNAVAILABLE` when it can't be used, `INTERNAL` when the manifest is
    /// malformed.
    pub fn token_store(&self, id: &EntryId) -> Result<Arc<TokenStore>, Error> {
        found("token store", id, self.inner().security.token_store(self.inner(), id)?)
    }
}

fn found<T>(what: &str, id: &EntryId, found: Option<T>) -> Result<T, Error> {
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {what} `{id}`")))
}
