//! The formats that a schema may ask a string for.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A format that is checked; others are only notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Date,
    DateTime,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Time,
    Uri,
    Uuid,
}

const NAMES: [(Format, &str); 9] = [
    (Format::Date, "date"),
    (Format::DateTime, "date-time"),
    (Format::Email, "email"),
    (Format::Hostname, "hostname"),
    (Format::Ipv4, "ipv4"),
    (Format::Ipv6, "ipv6"),
    (Format::Time, "time"),
    (Format::Uri, "uri"),
    (Format::Uuid, "uuid"),
];

impl Format {
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Self::Date => is_date(text),
            Self::DateTime => match text.split_once(['T', 't']) {
                Some((date, time)) => is_date(date) && is_time(time),
                None => false,
            },
            Self::Email => match text.rsplit_once('@') {
                Some((local, domain)) => {
                    (1..=64).contains(&local.len())
                        && !local
                            .contains(|char: char| char.is_whitespace() || char.is_control() || char == '@')
                        && is_hostname(domain)
                }
                None => false,
            },
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Time => is_time(text),
            Self::Uri => match text.split_once(':') {
                Some((scheme, rest)) => {
                    scheme.starts_with(|char: char| char.is_ascii_alphabetic())
                        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                        && rest.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b))
                }
                None => false,
            },
            Self::Uuid => {
                text.len() == 36
                    && text.bytes().enumerate().all(|(index, byte)| match index {
                        8 | 13 | 18 | 23 => byte == b'-',
                        _ => byte.is_ascii_hexdigit(),
                    })
            }
        }
    }
}

fn number(text: &str, digits: usize) -> Option<u32> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `HH:MM:SS[.fraction]` and `Z` or an offset.
fn is_time(text: &str) -> bool {
    let Some(at) = text.find(['Z', 'z', '+', '-']) else { return false };
    let (clock, zone) = text.split_at(at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.splitn(3, ':');
    let mut part = |max| parts.next().and_then(|part| number(part, 2)).is_some_and(|part| part <= max);
    let zone = zone.eq_ignore_ascii_case("z")
        || zone[1..].split_once(':').is_some_and(|(hours, minutes)| {
            number(hours, 2).is_some_and(|hours| hours < 24)
                && number(minutes, 2).is_some_and(|minutes| minutes < 60)
        });
    part(23)
        && part(59)
        && part(60)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && zone
}

fn is_hostname(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let cases = [
            ("date", "2024-02-29", "2023-02-29"),
            ("date-time", "2024-12-29T15:04:05.5+02:00", "2024-12-29 15:04:05Z"),
            ("email", "alice@example.com", "not-an-email"),
            ("hostname", "a-b.example", "-a.example"),
            ("ipv4", "127.0.0.1", "127.0.0.256"),
            ("ipv6", "::1", "::g"),
            ("time", "23:59:60Z", "24:00:00Z"),
            ("uri", "https://example.com/?a=b#c", "no uri"),
            ("uuid", "6ba7b811-9dad-11d1-80b4-00c04fd430c8", "6ba7b8119dad11d180b400c04fd430c8"),
        ];
        for (name, good, bad) in cases {
            let format = Format::named(name).unwrap();
            assert_eq!(format.name(), name);
            assert!(format.fits(good) && !format.fits(bad) && !format.fits(""), "{name}");
        }
        assert_eq!(Format::named("regex"), None);
    }
}
