//! The one door: how code of the registry calls a function of it, from Lua or from a guest.
//!
//! Target, policy, depth, inherited context and repetition are settled here once, whoever calls.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use registry_schema::authored::lua::FunctionMeta;
use registry_schema::authored::scalar::{FromScalar, Templated};
use registry_schema::{EntryId, ErrorKind};
use tokio::time::Instant;

use crate::config::{CALL_DEPTH_MAX, RETRY_ATTEMPTS_MAX, RETRY_DELAY_MAX};
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::loader::{Callable, Inner};

/// How a failed call is repeated (`en/concepts/functions.md`, "Interceptors").
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Retry {
    /// Attempts, the first included.
    pub(crate) max_attempts: u32,
    /// Wait before the second.
    pub(crate) initial_delay: Duration,
    /// Factor from one wait to the next, from 1.
    pub(crate) backoff_factor: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 3, initial_delay: Duration::from_millis(100), backoff_factor: 2.0 }
    }
}

impl Retry {
    /// What an entry's `meta.options.retry` asks for.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it is malformed: nothing is called in a way that was not meant.
    pub(crate) fn of_entry(
        inner: &Inner,
        id: &EntryId,
        meta: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Option<Self>, Error> {
        let Some(options) = meta.get("options") else { return Ok(None) };
        let failed = |problem: String| {
            let message = format!("`{id}` is not available: `meta.options`: {problem}");
            Error::new(ErrorKind::Unavailable, message)
        };
        let options = serde_json::json!({ "options": options });
        let options: FunctionMeta =
            serde_json::from_value(options).map_err(|error| failed(error.to_string()))?;
        let Some(retry) = options.options.and_then(|options| options.retry) else { return Ok(None) };
        let default = Self::default();
        let environment = inner.environment();
        fn or<T: FromScalar + Clone>(
            environment: &crate::environment::Environment<'_>,
            id: &EntryId,
            field: &str,
            value: Option<&Templated<T>>,
        ) -> Result<Option<T>, Error> {
            value.map(|value| environment.resolve(id.namespace(), field, value)).transpose()
        }
        let resolved = || {
            let attempts =
                or(&environment, id, "meta.options.retry.max_attempts", retry.max_attempts.as_ref())?;
            let delay =
                or(&environment, id, "meta.options.retry.initial_delay", retry.initial_delay.as_ref())?;
            let factor =
                or(&environment, id, "meta.options.retry.backoff_factor", retry.backoff_factor.as_ref())?;
            Ok(Self {
                max_attempts: attempts.unwrap_or(default.max_attempts),
                initial_delay: delay.map_or(default.initial_delay, |delay| delay.0.get()),
                backoff_factor: factor.unwrap_or(default.backoff_factor),
            })
        };
        let retry = resolved().map_err(|error: Error| failed(error.message().to_owned()))?;
        retry.checked().map(Some).map_err(failed)
    }

    /// The same, if every part is in its range.
    ///
    /// # Errors
    /// Which part is not, and its range.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if !(1..=RETRY_ATTEMPTS_MAX).contains(&self.max_attempts) {
            return Err(format!(
                "`max_attempts` is {}, expected 1 to {RETRY_ATTEMPTS_MAX}",
                self.max_attempts
            ));
        }
        if !(self.backoff_factor.is_finite() && self.backoff_factor >= 1.0) {
            return Err(format!("`backoff_factor` is {}, expected 1 or more", self.backoff_factor));
        }
        Ok(self)
    }

    fn after(&self, delay: Duration) -> Duration {
        let longer = Duration::try_from_secs_f64(delay.as_secs_f64() * self.backoff_factor);
        longer.unwrap_or(RETRY_DELAY_MAX).min(RETRY_DELAY_MAX)
    }
}

/// Calls until it succeeds, fails for good, was tried often enough, or would be tried at `deadline` or later.
pub(crate) async fn repeat<T, F: Future<Output = Result<T, Error>>>(
    retry: Option<Retry>,
    deadline: Option<Instant>,
    mut call: impl FnMut() -> F,
) -> Result<T, Error> {
    let Some(retry) = retry else { return call().await };
    let mut delay = retry.initial_delay.min(RETRY_DELAY_MAX);
    for _ in 1..retry.max_attempts {
        match call().await {
            Err(error) if error.is_retryable() => {
                let next = Instant::now() + delay;
                // Nobody waits that long: what is known now is the answer.
                if deadline.is_some_and(|deadline| next >= deadline) {
                    return Err(error);
                }
                tokio::time::sleep_until(next).await;
                delay = retry.after(delay);
            }
            done => return done,
        }
    }
    call().await
}

/// A function that a caller may call now.
pub(crate) struct Target {
    pub(crate) callable: Callable,
    /// What the callee gets.
    pub(crate) context: Context,
}

impl Inner {
    /// Checks that code that runs with `context` may do `action` to `resource`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`.
    pub(crate) fn allowed(&self, context: &Context, action: &str, resource: &str) -> Result<(), Error> {
        context.check(&self.security, action, resource, &Data::Nil)
    }

    /// The function `id`, for a caller that runs with `context`.
    ///
    /// # Errors
    /// `INVALID` for a malformed id, `PERMISSION_DENIED`, `NOT_FOUND`, `UNAVAILABLE` for what is not offered
    /// here or nested too deep, and when the loader is closed.
    pub(crate) fn target(self: &Arc<Self>, context: &Context, id: &str) -> Result<Target, Error> {
        // Refused before it is used: a caller learns nothing of what it may not call. What is known has an id that
        // was checked.
        let known = self.known_callable(id);
        if known.is_none() && id.parse::<EntryId>().is_err() {
            return Err(Error::new(ErrorKind::Invalid, format!("invalid function target: {id}")));
        }
        let context = self.admitted(context, id)?;
        let callable = match known {
            Some(callable) => callable,
            None => self.callable(id)?,
        };
        if matches!(&callable, Callable::Wasm(function) if function.is_process) {
            let message = format!("`{id}` is a process: it is spawned, not called");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(Target { callable, context })
    }

    /// What the function `id` gets when a caller calls it that runs with `context`, if that may be now.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, and `UNAVAILABLE` for what is nested too deep, and when the loader is closed.
    pub(crate) fn admitted(&self, context: &Context, id: &str) -> Result<Context, Error> {
        self.allowed(context, "funcs.call", id)?;
        self.closing.check_nested(&id)?;
        if context.depth() >= CALL_DEPTH_MAX {
            let message = format!("`{id}` can't be called: {CALL_DEPTH_MAX} calls are nested already");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(context.nested())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(max_attempts: u32) -> Retry {
        Retry { max_attempts, initial_delay: Duration::from_secs(1_800), backoff_factor: 10.0 }
    }

    /// As often as may be asked for, with waits that grow up to their most; no more is taken.
    #[tokio::test(start_paused = true)]
    async fn attempts_and_waits_have_an_end() {
        let start = Instant::now();
        let mut attempts = 0;
        let outcome: Result<(), Error> =
            repeat(Some(retry(RETRY_ATTEMPTS_MAX).checked().unwrap()), None, || {
                attempts += 1;
                std::future::ready(Err(Error::new(ErrorKind::Unavailable, "later").retryable()))
            })
            .await;
        assert_eq!(outcome.unwrap_err().message(), "later");
        assert_eq!(attempts, RETRY_ATTEMPTS_MAX);
        let longest = RETRY_DELAY_MAX.as_secs() * u64::from(RETRY_ATTEMPTS_MAX - 2);
        assert_eq!(start.elapsed().as_secs(), 1_800 + longest);
        for wrong in [0, RETRY_ATTEMPTS_MAX + 1] {
            let message = format!("`max_attempts` is {wrong}, expected 1 to {RETRY_ATTEMPTS_MAX}");
            assert_eq!(retry(wrong).checked().unwrap_err(), message);
        }
    }
}
