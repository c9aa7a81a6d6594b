//! A `lifecycle` block, checked, its placeholders resolved and its defaults applied.

use std::time::Duration;

use registry_schema::authored::duration;
use registry_schema::authored::lifecycle::{Lifecycle, Restart as AuthoredRestart};
use registry_schema::authored::scalar::{FromScalar, Templated};
use registry_schema::{ErrorKind, Namespace};

use crate::config::{
    SERVICE_BACKOFF_FACTOR, SERVICE_DELAY_INITIAL, SERVICE_DELAY_MAX, SERVICE_JITTER, SERVICE_STABLE,
    SERVICE_START_TIMEOUT, SERVICE_STOP_TIMEOUT,
};
use crate::environment::Environment;
use crate::error::Error;

/// How a service is started, restarted and stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether it starts with the supervisor; otherwise only when another service requires it.
    pub auto_start: bool,
    /// Longest start.
    pub start_timeout: Duration,
    /// Longest stop.
    pub stop_timeout: Duration,
    /// Time of running after which retries are counted from zero.
    pub stable_threshold: Duration,
    /// What happens after a failure.
    pub restart: Restart,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_start: false,
            start_timeout: SERVICE_START_TIMEOUT,
            stop_timeout: SERVICE_STOP_TIMEOUT,
            stable_threshold: SERVICE_STABLE,
            restart: Restart::default(),
        }
    }
}

/// Waits between the runs of a service that fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Restart {
    /// Wait before the first retry.
    pub initial_delay: Duration,
    /// Longest wait, before the random share.
    pub max_delay: Duration,
    /// Factor from one wait to the next, from 1.
    pub backoff_factor: f64,
    /// Random share added to or taken from a wait, 0 to 1.
    pub jitter: f64,
    /// Retries before giving up; 0 for no end.
    pub max_attempts: u32,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            initial_delay: SERVICE_DELAY_INITIAL,
            max_delay: SERVICE_DELAY_MAX,
            backoff_factor: SERVICE_BACKOFF_FACTOR,
            jitter: SERVICE_JITTER,
            max_attempts: 0,
        }
    }
}

/// Resolves fields of one block.
struct Reader<'a> {
    environment: &'a Environment<'a>,
    own: &'a Namespace,
}

impl Reader<'_> {
    fn or<T: FromScalar + Clone>(
        &self,
        field: &str,
        value: Option<&Templated<T>>,
        default: T,
    ) -> Result<T, Error> {
        match value {
            None => Ok(default),
            Some(value) => self.environment.resolve(self.own, &format!("lifecycle.{field}"), value),
        }
    }

    fn duration_or(
        &self,
        field: &str,
        value: Option<&Templated<duration::Duration>>,
        default: Duration,
    ) -> Result<Duration, Error> {
        self.or(field, value, duration::Duration::new(default)).map(duration::Duration::get)
    }

    fn restart(&self, restart: &AuthoredRestart) -> Result<Restart, Error> {
        let default = Restart::default();
        let read = Restart {
            initial_delay: self.duration_or(
                "restart.initial_delay",
                restart.initial_delay.as_ref(),
                default.initial_delay,
            )?,
            max_delay: self.duration_or(
                "restart.max_delay",
                restart.max_delay.as_ref(),
                default.max_delay,
            )?,
            backoff_factor: self.or(
                "restart.backoff_factor",
                restart.backoff_factor.as_ref(),
                default.backoff_factor,
            )?,
            jitter: self.or("restart.jitter", restart.jitter.as_ref(), default.jitter)?,
            max_attempts: self.or(
                "restart.max_attempts",
                restart.max_attempts.as_ref(),
                default.max_attempts,
            )?,
        };
        if !(read.backoff_factor.is_finite() && read.backoff_factor >= 1.0) {
            return Err(outside("restart.backoff_factor", read.backoff_factor, "1 or more"));
        }
        if !(0.0..=1.0).contains(&read.jitter) {
            return Err(outside("restart.jitter", read.jitter, "0 to 1"));
        }
        Ok(read)
    }
}

fn outside(field: &str, found: f64, expected: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("`lifecycle.{field}` is {found}, expected {expected}"))
}

impl Settings {
    /// The settings of an entry in `own` with the block `lifecycle`.
    ///
    /// # Errors
    /// `INVALID` for a field outside its range, and for what a placeholder gives that does not fit.
    pub(crate) fn read(
        lifecycle: &Lifecycle,
        own: &Namespace,
        environment: &Environment<'_>,
    ) -> Result<Self, Error> {
        let reader = Reader { environment, own };
        let default = Self::default();
        let restart = lifecycle.restart.as_ref().map(|restart| reader.restart(restart)).transpose()?;
        Ok(Self {
            auto_start: reader.or("auto_start", lifecycle.auto_start.as_ref(), default.auto_start)?,
            start_timeout: reader.duration_or(
                "start_timeout",
                lifecycle.start_timeout.as_ref(),
                default.start_timeout,
            )?,
            stop_timeout: reader.duration_or(
                "stop_timeout",
                lifecycle.stop_timeout.as_ref(),
                default.stop_timeout,
            )?,
            stable_threshold: reader.duration_or(
                "stable_threshold",
                lifecycle.stable_threshold.as_ref(),
                default.stable_threshold,
            )?,
            restart: restart.unwrap_or(default.restart),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use registry_schema::envelope::to_bytes;
    use registry_schema::manifest::Body;
    use registry_schema::manifest_file::Manifest;
    use serde_json::{Value, json};

    use super::*;
    use crate::environment::Variables;

    fn read(lifecycle: Value) -> Result<Settings, Error> {
        let manifest = Manifest::read(to_bytes(&Body::default()).unwrap()).unwrap();
        let variables = Variables::default();
        let environment = Environment::new(&manifest, PathBuf::new(), &variables);
        let lifecycle = serde_json::from_value(lifecycle).unwrap();
        Settings::read(&lifecycle, &"app".parse().unwrap(), &environment)
    }

    #[test]
    fn every_field_is_read_and_has_its_documented_default() {
        let seconds = Duration::from_secs;
        let defaults = Settings {
            auto_start: false,
            start_timeout: seconds(10),
            stop_timeout: seconds(10),
            stable_threshold: seconds(5),
            restart: Restart {
                initial_delay: seconds(1),
                max_delay: seconds(90),
                backoff_factor: 2.0,
                jitter: 0.1,
                max_attempts: 0,
            },
        };
        assert_eq!(read(json!({})), Ok(defaults));
        let given = Settings {
            auto_start: true,
            start_timeout: seconds(30),
            stop_timeout: Duration::from_millis(250),
            stable_threshold: seconds(90),
            restart: Restart {
                initial_delay: seconds(2),
                max_delay: seconds(60),
                backoff_factor: 1.5,
                jitter: 0.0,
                max_attempts: 10,
            },
        };
        let lifecycle = json!({
            "auto_start": true, "start_timeout": "30s", "stop_timeout": "250ms", "stable_threshold": "1m30s",
            "restart": {"initial_delay": "${DELAY|2s}", "max_delay": "60s", "backoff_factor": 1.5, "jitter": 0,
                "max_attempts": "${ATTEMPTS|10}"},
        });
        assert_eq!(read(lifecycle), Ok(given));
    }

    #[test]
    fn what_is_outside_its_range_is_refused() {
        for (restart, expected) in [
            (json!({"backoff_factor": 0.5}), "`lifecycle.restart.backoff_factor` is 0.5, expected 1 or more"),
            (json!({"jitter": 1.5}), "`lifecycle.restart.jitter` is 1.5, expected 0 to 1"),
        ] {
            let error = read(json!({"restart": restart})).unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, expected));
        }
    }
}
