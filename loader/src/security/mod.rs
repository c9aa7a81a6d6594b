//! Who calls, and what they may do (`en/system/security.md`).
//!
//! A [`Context`](crate::Context) carries an actor and a scope, a set of policies. Any policy that denies
//! decides; else one that allows; else it is not allowed. Without actor or scope everything is allowed, unless
//! the application is strict. What can't be evaluated denies.
//!
//! Policies are made from their entries (`policy.rs`) when they are first asked for, and kept as long as the
//! loader (`entries.rs`); tokens (`token.rs`) carry actor and scope from one request to the next.

mod check;
mod condition;
mod entries;
mod pattern;
mod policy;
mod store;
mod token;
mod value;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use registry_schema::{EntryId, ErrorKind};

pub(crate) use self::entries::Security;
pub use self::policy::{Decision, Policy};
pub use self::token::{Token, TokenStore};

use self::condition::Request;
use crate::config::SECURITY_META_BYTES_MAX;
use crate::data::{Data, Table};
use crate::error::Error;

/// Who a call is made for. Never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Actor {
    id: String,
    meta: Data,
}

impl Actor {
    /// An actor; `meta` is a table, or `Nil` for none.
    ///
    /// # Errors
    /// `INVALID` for an empty id, and for metadata that is no table or has more than
    /// [`SECURITY_META_BYTES_MAX`] bytes.
    pub fn new(id: impl Into<String>, meta: Data) -> Result<Self, Error> {
        let id = id.into();
        if id.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "an actor needs an id that is not empty"));
        }
        check_meta("actor metadata", &meta)?;
        let meta = if meta == Data::Nil { Data::Table(Table::default()) } else { meta };
        Ok(Self { id, meta })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its metadata, a table.
    pub fn meta(&self) -> &Data {
        &self.meta
    }
}

/// Checks metadata of actors, resources and tokens.
pub(crate) fn check_meta(what: &str, meta: &Data) -> Result<(), Error> {
    let problem = match meta {
        Data::Nil => return Ok(()),
        Data::Table(_) => match meta.bytes() {
            bytes if bytes <= SECURITY_META_BYTES_MAX => return Ok(()),
            bytes => format!("{what}: found {bytes} bytes, expected at most {SECURITY_META_BYTES_MAX}"),
        },
        _ => format!("{what}: expected a table"),
    };
    Err(Error::new(ErrorKind::Invalid, problem))
}

/// A set of policies. Never changes; what adds or removes a policy makes a new one.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    policies: Vec<Arc<Policy>>,
}

impl Scope {
    /// Whether `other` has the same policies, in the same order.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same = |(own, other): (&Arc<Policy>, &Arc<Policy>)| Arc::ptr_eq(own, other);
        self.policies.len() == other.policies.len() && self.policies.iter().zip(&other.policies).all(same)
    }

    /// The policies, in the order in which they were added.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// The same with `policy`.
    #[must_use]
    pub fn with(&self, policy: Arc<Policy>) -> Self {
        let mut scope = self.clone();
        if !scope.contains(policy.id()) {
            scope.policies.push(policy);
        }
        scope
    }

    /// The same without the policy `id`.
    #[must_use]
    pub fn without(&self, id: &EntryId) -> Self {
        let others = self.policies.iter().filter(|policy| policy.id() != id);
        Self { policies: others.cloned().collect() }
    }

    /// Whether the policy `id` is in it.
    pub fn contains(&self, id: &EntryId) -> bool {
        self.policies.iter().any(|policy| policy.id() == id)
    }

    /// What its policies say together when `actor` wants to do `action` to `resource`, which has the
    /// metadata `meta`.
    pub fn evaluate(&self, actor: Option<&Actor>, action: &str, resource: &str, meta: &Data) -> Decision {
        let request = Request { actor, action, resource, meta };
        let mut decision = Decision::Undefined;
        for policy in &self.policies {
            match policy.decide(request) {
                Decision::Deny => return Decision::Deny,
                Decision::Allow => decision = Decision::Allow,
                Decision::Undefined => {}
            }
        }
        decision
    }
}

impl FromIterator<Arc<Policy>> for Scope {
    fn from_iter<I: IntoIterator<Item = Arc<Policy>>>(policies: I) -> Self {
        policies.into_iter().fold(Self::default(), |scope, policy| scope.with(policy))
    }
}
