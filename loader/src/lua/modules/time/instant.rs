//! Times: a number of nanoseconds since 1970, and the zone whose clocks show it.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::civil::Civil;
use super::zone::{Offset, Zone};

const NANOS: i128 = 1_000_000_000;
/// The start of the year 1, Go's zero time and what rounding counts from, in seconds since 1970.
const ZERO: i64 = -62_135_596_800;
/// Times lie within this many seconds of 1970, a billion years; what is beyond is held at the end.
const SECONDS_MAX: i64 = 1 << 55;
/// Largest year, month, day, hour, minute or second that a time is made from, likewise.
const COMPONENT_MAX: i64 = 1_000_000_000;

/// A time.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// Since the start of 1970 in UTC.
    pub(super) seconds: i64,
    /// Below 1,000,000,000.
    pub(super) nanos: u32,
    pub(super) zone: Zone,
    /// What a clock that is never set showed then: differences of times of this process are taken from it.
    steady: Option<Instant>,
}

impl Moment {
    pub(super) fn new(seconds: i64, nanos: u32, zone: Zone) -> Self {
        Self { seconds: seconds.clamp(-SECONDS_MAX, SECONDS_MAX), nanos, zone, steady: None }
    }

    pub(super) fn now() -> Self {
        let (seconds, nanos) = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
            // A clock that was never set.
            Err(_) => (0, 0),
        };
        Self { steady: Some(Instant::now()), ..Self::new(seconds, nanos, Zone::Local) }
    }

    /// `nanos` may be any number.
    pub(super) fn from_unix(seconds: i64, nanos: i64) -> Self {
        Self::from_nanos(i128::from(seconds) * NANOS + i128::from(nanos), Zone::Local)
    }

    fn from_nanos(nanos: i128, zone: Zone) -> Self {
        let end = i128::from(SECONDS_MAX) * NANOS;
        let nanos = nanos.clamp(-end, end);
        // Both fit: the number is between the ends, a remainder below NANOS.
        Self::new(nanos.div_euclid(NANOS) as i64, nanos.rem_euclid(NANOS) as u32, zone)
    }

    /// When clocks of `zone` show `civil`, whose components may be beyond their ranges.
    pub(super) fn from_civil(civil: Civil, nanos: i64, zone: Zone) -> Self {
        let bounded = |component: i64| component.clamp(-COMPONENT_MAX, COMPONENT_MAX);
        let civil = Civil {
            year: bounded(civil.year),
            month: bounded(civil.month),
            day: bounded(civil.day),
            hour: bounded(civil.hour),
            minute: bounded(civil.minute),
            second: bounded(civil.second),
        };
        let wall = civil.to_seconds().saturating_add(nanos.div_euclid(NANOS as i64));
        let wall = wall.clamp(-SECONDS_MAX, SECONDS_MAX);
        Self::new(zone.utc_of_wall(wall), nanos.rem_euclid(NANOS as i64) as u32, zone)
    }

    /// What clocks of its zone show, and the offset that they have then.
    pub(super) fn wall(&self) -> (Civil, Offset) {
        let offset = self.zone.at(self.seconds);
        (Civil::from_seconds(self.seconds + offset.seconds), offset)
    }

    pub(super) fn civil(&self) -> Civil {
        self.wall().0
    }

    pub(super) fn nanos_since_1970(&self) -> i128 {
        i128::from(self.seconds) * NANOS + i128::from(self.nanos)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.seconds == ZERO && self.nanos == 0
    }

    pub(super) fn add(&self, nanoseconds: i64) -> Self {
        let later = Self::from_nanos(self.nanos_since_1970() + i128::from(nanoseconds), self.zone.clone());
        let by = std::time::Duration::from_nanos(nanoseconds.unsigned_abs());
        let steady = self
            .steady
            .and_then(|then| if nanoseconds < 0 { then.checked_sub(by) } else { then.checked_add(by) });
        Self { steady, ..later }
    }

    /// Nanoseconds from `other`; those beyond 64 bits are held at the end.
    pub(super) fn since(&self, other: &Self) -> i64 {
        let nanoseconds = match (self.steady, other.steady) {
            (Some(own), Some(other)) if own >= other => i128::try_from((own - other).as_nanos()),
            (Some(own), Some(other)) => {
                i128::try_from((other - own).as_nanos()).map(|nanoseconds| -nanoseconds)
            }
            _ => Ok(self.nanos_since_1970() - other.nanos_since_1970()),
        };
        saturated(nanoseconds.unwrap_or(i128::MAX))
    }

    pub(super) fn add_date(&self, years: i64, months: i64, days: i64) -> Self {
        let civil = self.civil();
        let civil = Civil {
            year: civil.year.saturating_add(years),
            month: civil.month.saturating_add(months),
            day: civil.day.saturating_add(days),
            ..civil
        };
        Self::from_civil(civil, self.nanos.into(), self.zone.clone())
    }

    pub(super) fn in_zone(&self, zone: Zone) -> Self {
        Self::new(self.seconds, self.nanos, zone)
    }

    /// Down to a multiple of `nanoseconds` since the year 1.
    pub(super) fn truncate(&self, nanoseconds: i64) -> Self {
        Self::from_nanos(self.nanos_since_1970() - self.beyond_multiple(nanoseconds), self.zone.clone())
    }

    /// To the nearest multiple of `nanoseconds` since the year 1, halves up.
    pub(super) fn round(&self, nanoseconds: i64) -> Self {
        let beyond = self.beyond_multiple(nanoseconds);
        let up =
            if beyond * 2 >= i128::from(nanoseconds.max(1)) && beyond > 0 { nanoseconds.into() } else { 0 };
        Self::from_nanos(self.nanos_since_1970() - beyond + up, self.zone.clone())
    }

    fn beyond_multiple(&self, nanoseconds: i64) -> i128 {
        if nanoseconds <= 0 {
            return 0;
        }
        (self.nanos_since_1970() - i128::from(ZERO) * NANOS).rem_euclid(nanoseconds.into())
    }
}

/// The nearest 64-bit integer.
pub(super) fn saturated(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}
