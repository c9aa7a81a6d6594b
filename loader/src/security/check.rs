//! What a context allows.

use registry_schema::ErrorKind;

use super::{Decision, Security};
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::loader::Loader;

impl Context {
    /// Whether `action` may be done to `resource`, which has the metadata `meta`.
    pub(crate) fn allows(&self, security: &Security, action: &str, resource: &str, meta: &Data) -> bool {
        match (self.actor(), self.scope()) {
            (Some(actor), Some(scope)) => {
                scope.evaluate(Some(actor), action, resource, meta) == Decision::Allow
            }
            _ => !security.strict,
        }
    }

    /// Whether a policy of the scope allows it: neither the lack of an actor nor that of a scope does.
    #[cfg(feature = "wasi")]
    pub(crate) fn is_granted(&self, action: &str, resource: &str) -> bool {
        let (Some(actor), Some(scope)) = (self.actor(), self.scope()) else { return false };
        scope.evaluate(Some(actor), action, resource, &Data::Nil) == Decision::Allow
    }

    /// Like [`Context::allows`] for something that goes by several names: it is allowed by any of them, and
    /// denied by any.
    #[cfg(feature = "lua")]
    pub(crate) fn allows_known_as(&self, security: &Security, action: &str, names: &[&str]) -> bool {
        let (Some(actor), Some(scope)) = (self.actor(), self.scope()) else {
            return !security.strict;
        };
        let decide = |name: &&str| scope.evaluate(Some(actor), action, name, &Data::Nil);
        let decisions: Vec<Decision> = names.iter().map(decide).collect();
        !decisions.contains(&Decision::Deny) && decisions.contains(&Decision::Allow)
    }

    /// Checks that `action` may be done to `resource`, which has the metadata `meta`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, naming actor, action and resource.
    pub(crate) fn check(
        &self,
        security: &Security,
        action: &str,
        resource: &str,
        meta: &Data,
    ) -> Result<(), Error> {
        if self.allows(security, action, resource, meta) {
            return Ok(());
        }
        Err(self.denied(action, resource))
    }

    /// The error of what is not allowed.
    pub(crate) fn denied(&self, action: &str, resource: &str) -> Error {
        let who = match self.actor() {
            Some(actor) => format!("actor `{}`", printable(actor.id())),
            None => "a caller without an actor".to_owned(),
        };
        let why = match (self.actor(), self.scope()) {
            (Some(_), Some(_)) => "",
            (Some(_), None) => ": there is no scope, and strict mode is on",
            (None, _) => ": strict mode is on",
        };
        let message = format!("{who} may not `{}` on `{}`{why}", printable(action), printable(resource));
        Error::new(ErrorKind::PermissionDenied, message)
    }
}

/// Text of a caller as a message shows it: no control characters, and not all of it.
fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut shown: String = text.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

impl Loader {
    /// Whether a call in `context` may do `action` to `resource`, which has the metadata `meta`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, naming actor, action and resource.
    pub fn check(&self, context: &Context, action: &str, resource: &str, meta: &Data) -> Result<(), Error> {
        context.check(&self.inner().security, action, resource, meta)
    }
}
