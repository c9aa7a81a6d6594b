//! What a context allows.

use registry_schema::ErrorKind;
use registry_schema::authored::scalar::Templated;
use serde::Deserialize;
use serde_json::Value;

use super::{Decision, Security};
use crate::context::Context;
use crate::data::Data;
use crate::environment::Environment;
use crate::error::Error;
use crate::loader::Loader;

/// Whether something is allowed when nobody is known to ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    Permissive,
    Strict,
    /// The setting can't be understood, so the stricter is taken.
    NotUnderstood(String),
}

impl Strictness {
    /// Reads the section `security` of the application's configuration.
    pub(super) fn read(environment: &Environment<'_>) -> Self {
        let section = match environment.setting("security") {
            None | Some(Value::Null) => return Self::Permissive,
            Some(Value::Object(section)) => section,
            Some(_) => return Self::NotUnderstood("the section `security` is no mapping".to_owned()),
        };
        if let Some(key) = section.keys().find(|key| *key != "strict_mode") {
            return Self::NotUnderstood(format!("the setting `security.{key}` is not understood"));
        }
        let Some(setting) = section.get("strict_mode") else { return Self::Permissive };
        let field = "security.strict_mode";
        let strict = Templated::<bool>::deserialize(setting).map_err(|error| format!("`{field}`: {error}"));
        let strict = strict.and_then(|strict| {
            environment.resolve_setting(field, &strict).map_err(|error| error.message().to_owned())
        });
        match strict {
            Ok(true) => Self::Strict,
            Ok(false) => Self::Permissive,
            Err(problem) => Self::NotUnderstood(problem),
        }
    }
}

impl Context {
    /// Whether `action` may be done to `resource`, which has the metadata `meta`.
    pub(crate) fn allows(&self, security: &Security, action: &str, resource: &str, meta: &Data) -> bool {
        match (self.actor(), self.scope()) {
            (Some(actor), Some(scope)) => {
                scope.evaluate(Some(actor), action, resource, meta) == Decision::Allow
            }
            _ => security.strictness == Strictness::Permissive,
        }
    }

    /// Like [`Context::allows`] for something that goes by several names: it is allowed by any of them, and
    /// denied by any.
    #[cfg(feature = "lua")]
    pub(crate) fn allows_known_as(&self, security: &Security, action: &str, names: &[&str]) -> bool {
        let (Some(actor), Some(scope)) = (self.actor(), self.scope()) else {
            return security.strictness == Strictness::Permissive;
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
        Err(self.denied(security, action, resource))
    }

    /// The error of what is not allowed.
    pub(crate) fn denied(&self, security: &Security, action: &str, resource: &str) -> Error {
        let who = match self.actor() {
            Some(actor) => format!("actor `{}`", printable(actor.id())),
            None => "a caller without an actor".to_owned(),
        };
        let why = match (&security.strictness, self.actor(), self.scope()) {
            (_, Some(_), Some(_)) => String::new(),
            (Strictness::NotUnderstood(problem), ..) => format!(": strict mode is on, since {problem}"),
            (_, Some(_), None) => ": there is no scope, and strict mode is on".to_owned(),
            (_, None, _) => ": strict mode is on".to_owned(),
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
