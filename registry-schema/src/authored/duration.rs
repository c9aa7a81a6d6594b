//! Lengths of time in Go's notation.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration as StdDuration;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::scalar::{FromScalar, Scalar, ScalarError, literal};

/// A length of time in Go's notation: `300ms`, `1.5h`, `1h30m`, `2m`, `0` (`en/http/server.md`,
/// "Timeouts"). Range: 0 to about 292 years, to the nanosecond.
///
/// Units are `ns us µs ms s m h`, as in Go: there is no day. The documents give a bare number no
/// unit, so only `0` may do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(StdDuration);

impl Duration {
    /// Wraps a length of time; what exceeds Go's range is cut to it.
    pub fn new(duration: StdDuration) -> Self {
        Self(duration.min(StdDuration::from_nanos(i64::MAX as u64)))
    }

    /// The length of time.
    pub fn get(self) -> StdDuration {
        self.0
    }

    /// Whether it is `0`, which most fields read as "off".
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

/// Longest suffixes first, so that `m` does not eat the `ms` of `300ms`.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for Duration {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let error = |hint: &str| ScalarError::new::<Self>(&Scalar::Text(Cow::Borrowed(text))).hint(hint);
        if text == "0" {
            return Ok(Self::default());
        }
        if text.starts_with('-') {
            return Err(error("a duration can't be negative"));
        }
        let mut rest = text;
        let mut nanos: u64 = 0;
        loop {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(end);
            if tail.is_empty() && !number.is_empty() {
                return Err(error("add a unit, as in `30s` or `500ms`"));
            }
            let Some((suffix, unit)) = UNITS.iter().find(|(suffix, _)| tail.starts_with(suffix)) else {
                return Err(error(if tail.starts_with('d') {
                    "there is no unit for days, one day is `24h`"
                } else {
                    "units are `ns`, `us`, `ms`, `s`, `m` and `h`"
                }));
            };
            let part = scaled(number, *unit).ok_or_else(|| error("write it like `1h30m`"))?;
            nanos = nanos
                .checked_add(part)
                .filter(|sum| *sum <= i64::MAX as u64)
                .ok_or_else(|| error("the longest duration is about 292 years"))?;
            rest = &tail[suffix.len()..];
            if rest.is_empty() {
                return Ok(Self(StdDuration::from_nanos(nanos)));
            }
        }
    }
}

/// `number` (digits with at most one point) times `unit`, in nanoseconds: cut to whole ones, and
/// held at the largest number, which no duration reaches. `None` when it is not such a number.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    // Eighteen digits are finer than a nanosecond of an hour and keep the product within u128.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction.parse::<u128>() {
        Ok(digits) => digits * u128::from(unit) / 10u128.pow(fraction.len() as u32),
        Err(_) => 0,
    };
    Some(whole.saturating_mul(unit).saturating_add(u64::try_from(part).unwrap_or(u64::MAX)))
}

impl fmt::Display for Duration {
    /// The shortest form that Go reads back: `1h30m`, `1.5s`, `300ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as u64;
        let (unit, suffix) = match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let mut rest = nanos;
        for (suffix, unit) in [("h", 3_600_000_000_000), ("m", 60_000_000_000)] {
            if rest >= unit {
                write!(f, "{}{suffix}", rest / unit)?;
                rest %= unit;
            }
        }
        let fraction = format!("{:0width$}", rest % unit, width = unit.ilog10() as usize);
        match (rest, fraction.trim_end_matches('0')) {
            (0, _) => Ok(()),
            (_, "") => write!(f, "{}{suffix}", rest / unit),
            (_, fraction) => write!(f, "{}.{fraction}{suffix}", rest / unit),
        }
    }
}

impl FromScalar for Duration {
    const EXPECTED: &'static str = "a duration such as `30s`, `300ms` or `1h30m`";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        match &scalar {
            Scalar::Text(text) => text.parse(),
            Scalar::Integer(0) => Ok(Self::default()),
            Scalar::Integer(_) | Scalar::Float(_) => {
                Err(ScalarError::new::<Self>(&scalar).hint("add a unit, as in `30s` or `500ms`"))
            }
            Scalar::Bool(_) => Err(ScalarError::new::<Self>(&scalar)),
        }
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.to_string()))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        literal(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar::Templated;
    use super::*;
    use serde_json::json;

    fn nanos(text: &str) -> u128 {
        text.parse::<Duration>().expect(text).get().as_nanos()
    }

    #[test]
    fn durations_are_read_as_go_does() {
        assert_eq!(nanos("0"), 0);
        assert_eq!(nanos("300ms"), 300_000_000);
        assert_eq!(nanos("1.5h"), 5_400_000_000_000);
        assert_eq!(nanos("1h30m"), 5_400_000_000_000);
        assert_eq!(nanos("2h30m45s500ms"), 9_045_500_000_000);
        assert_eq!(nanos("5us"), 5_000);
        assert_eq!(nanos("5\u{b5}s"), 5_000);
        assert_eq!(nanos(".5s"), 500_000_000);
        assert_eq!(nanos("1.s"), 1_000_000_000);
        assert_eq!(nanos("0.0000000019s"), 1);
    }

    #[test]
    fn durations_are_written_in_the_shortest_form() {
        for (text, shortest) in [
            ("0", "0s"),
            ("120s", "2m"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m"),
            ("1h0m5s", "1h5s"),
            ("1500ms", "1.5s"),
            ("61.25s", "1m1.25s"),
            ("1500us", "1.5ms"),
            ("7ns", "7ns"),
            ("24h", "24h"),
        ] {
            let duration: Duration = text.parse().expect(text);
            assert_eq!(duration.to_string(), shortest);
            assert_eq!(nanos(shortest), duration.get().as_nanos());
        }
    }

    #[test]
    fn wrong_durations_say_what_to_write() {
        let message = |text: &str| text.parse::<Duration>().expect_err(text).to_string();
        let expected = "expected a duration such as `30s`, `300ms` or `1h30m`";
        let unit = "add a unit, as in `30s` or `500ms`";
        assert_eq!(message("30"), format!("found `30`, {expected}\nhint: {unit}"));
        assert!(message("7d").ends_with("hint: there is no unit for days, one day is `24h`"));
        assert!(message("-1s").ends_with("hint: a duration can't be negative"));
        assert!(message("1..5s").ends_with("hint: write it like `1h30m`"));
        assert!(message("99999999h").ends_with("hint: the longest duration is about 292 years"));
        for text in ["", "s", "1x", "1h 30m", "1m30", "."] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
        let number = serde_json::from_value::<Templated<Duration>>(json!(30)).unwrap_err();
        assert_eq!(number.to_string(), format!("found `30`, {expected}\nhint: {unit}"));
        assert!(serde_json::from_value::<Duration>(json!(0)).unwrap().is_zero());
    }
}
