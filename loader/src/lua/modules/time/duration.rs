//! Durations: nanoseconds in 64 bits, and the texts that Go writes them as.

use std::fmt::Write;

const NANOSECOND: i128 = 1;
pub(super) const MICROSECOND: i64 = 1_000;
pub(super) const MILLISECOND: i64 = 1_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// Nanoseconds of a text such as `1h30m45.5s`: numbers with units, `ns us ms s m h`; or `0`.
///
/// # Errors
/// Lower case: what is wrong with it.
pub(in crate::lua::modules) fn parse(text: &str) -> Result<i64, String> {
    let wrong = |what: &str| format!("invalid duration `{text}`: {what}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong("expected a number and a unit"));
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (integer, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if integer.is_empty() && fraction.is_empty() {
            return Err(wrong("expected a number"));
        }
        let end = after.find(|char: char| char == '.' || char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit = match unit {
            "ns" => NANOSECOND,
            "us" | "µs" | "μs" => MICROSECOND.into(),
            "ms" => MILLISECOND.into(),
            "s" => SECOND.into(),
            "m" => MINUTE.into(),
            "h" => HOUR.into(),
            "" => return Err(wrong("a unit is missing, expected `ns`, `us`, `ms`, `s`, `m` or `h`")),
            unit => return Err(wrong(&format!("unknown unit `{unit}`"))),
        };
        // Nineteen digits are all that 64 bits have; further ones of a fraction say nothing.
        let whole: i128 = match integer.trim_start_matches('0') {
            "" => 0,
            integer if integer.len() > 19 => return Err(wrong("it is too long")),
            integer => integer.parse().map_err(|_| wrong("expected a number"))?,
        };
        let fraction = &fraction[..fraction.len().min(18)];
        let part = fraction.parse::<i128>().unwrap_or(0) * unit / 10_i128.pow(fraction.len() as u32);
        total += whole * unit + part;
        if total > i128::from(i64::MAX) {
            return Err(wrong("it is too long"));
        }
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| wrong("it is too long"))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len()))
}

/// `1h30m0.5s`, `1.5ms`, `0s`: as Go writes them.
pub(super) fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanoseconds = nanoseconds.unsigned_abs();
    let in_units = |unit: i64| {
        let unit = unit.unsigned_abs();
        let (whole, rest) = (nanoseconds / unit, nanoseconds % unit);
        let digits = unit.ilog10() as usize;
        let fraction = format!("{rest:0digits$}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() || digits == 0 { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanoseconds}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", in_units(MICROSECOND)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", in_units(MILLISECOND)),
        _ => {
            let (minute, hour) = (MINUTE.unsigned_abs(), HOUR.unsigned_abs());
            let mut text = sign.to_owned();
            // Writing to a string does not fail.
            if nanoseconds >= hour {
                let _ = write!(text, "{}h", nanoseconds / hour);
            }
            if nanoseconds >= minute {
                let _ = write!(text, "{}m", nanoseconds % hour / minute);
            }
            let (whole, fraction) =
                (nanoseconds % minute / SECOND.unsigned_abs(), nanoseconds % SECOND.unsigned_abs());
            let fraction = format!("{fraction:09}");
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let _ = write!(text, "{whole}{point}{fraction}s");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers() {
        let cases = [
            ("0", 0, "0s"),
            ("1h30m45s", 5_445 * SECOND, "1h30m45s"),
            ("500ms", 500 * MILLISECOND, "500ms"),
            ("2h30m45s500ms", 9_045 * SECOND + 500 * MILLISECOND, "2h30m45.5s"),
            ("1.5s", 1_500 * MILLISECOND, "1.5s"),
            ("-1.5h", -90 * MINUTE, "-1h30m0s"),
            ("+.5us", 500, "500ns"),
            ("1.5µs", 1_500, "1.5µs"),
            ("1.000000001s", SECOND + 1, "1.000000001s"),
            ("2562047h47m16.854775807s", i64::MAX, "2562047h47m16.854775807s"),
            ("0.1000000000000000000000001s", 100 * MILLISECOND, "100ms"),
        ];
        for (text, nanoseconds, canonical) in cases {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
            assert_eq!(format(nanoseconds), canonical);
        }
        assert_eq!(format(i64::MIN), "-2562047h47m16.854775808s");
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "-",
            "5",
            "s",
            "1 s",
            "1d",
            "1h-1m",
            ".s",
            "1.2.3s",
            "9223372036854775808ns",
            "99999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
