//! Waits between the runs of a service that fails.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::Restart;

/// Where the random share of a wait comes from.
#[derive(Clone, Default)]
pub enum Jitter {
    /// Of the process: different each time, of no cryptographic worth.
    #[default]
    Random,
    /// A function that gives numbers from 0 to 1, for tests.
    From(Arc<dyn Fn() -> f64 + Send + Sync>),
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "Random",
            Self::From(_) => "From(..)",
        })
    }
}

impl Jitter {
    /// A number from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a random number, whose last bits don't matter")]
    fn next(&self) -> f64 {
        match self {
            // Each hasher of the standard library has keys of its own.
            Self::Random => RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64,
            Self::From(next) => next(),
        }
    }
}

/// The wait before retry `attempt`, counted from 1: it grows by the factor up to the longest, and the random
/// share is added to or taken from that.
pub(super) fn delay(restart: &Restart, attempt: u32, jitter: &Jitter) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = restart.initial_delay.as_secs_f64() * restart.backoff_factor.powi(exponent);
    let capped = grown.min(restart.max_delay.as_secs_f64());
    let share = restart.jitter * (2.0 * jitter.next() - 1.0);
    Duration::try_from_secs_f64(capped * (1.0 + share)).unwrap_or(restart.max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(jitter: &Jitter, attempts: impl IntoIterator<Item = u32>) -> Vec<u128> {
        let restart = Restart::default();
        attempts.into_iter().map(|attempt| delay(&restart, attempt, jitter).as_millis()).collect()
    }

    #[test]
    fn waits_are_those_of_the_documentation() {
        let at = |share: f64| Jitter::From(Arc::new(move || share));
        assert_eq!(delays(&at(0.5), [1, 2, 3, 4, 8, 1000]), [1000, 2000, 4000, 8000, 90_000, 90_000]);
        assert_eq!(delays(&at(0.0), [1, 2, 3, 4, 8]), [900, 1800, 3600, 7200, 81_000]);
        assert_eq!(delays(&at(1.0), [1, 2, 3, 4, 8]), [1100, 2200, 4400, 8800, 99_000]);
    }

    #[test]
    fn random_shares_stay_in_range_and_differ() {
        let shares: Vec<f64> = (0..100).map(|_| Jitter::Random.next()).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!(shares.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.01));
    }
}
