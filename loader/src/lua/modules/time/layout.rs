//! Layouts: how the reference time `Mon Jan 2 15:04:05 MST 2006` would be written, as Go's package `time`
//! reads them.

/// A part of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperHalf,
    LowerHalf,
    ZoneName,
    Zone(ZoneForm),
    Fraction(Fraction),
}

/// How an offset is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ZoneForm {
    /// Whether UTC is `Z`.
    pub(super) z: bool,
    pub(super) colons: bool,
    pub(super) precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precision {
    Hours,
    Minutes,
    Seconds,
}

/// How a fraction of a second is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fraction {
    /// `.` or `,`.
    pub(super) separator: char,
    pub(super) digits: usize,
    /// Whether zeros at the end are left out, and with all of them the separator.
    pub(super) trimmed: bool,
}

/// The parts of `layout`, in order; text between them is not split.
pub(super) fn parts(layout: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = layout;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        for (at, _) in rest.char_indices() {
            let Some((part, len)) = part(&rest[at..]) else { continue };
            if at > 0 {
                let (text, tail) = rest.split_at(at);
                rest = tail;
                return Some(Part::Text(text));
            }
            rest = &rest[len..];
            return Some(part);
        }
        Some(Part::Text(std::mem::take(&mut rest)))
    })
}

/// The part that `layout` starts with, and its length.
fn part(layout: &str) -> Option<(Part<'_>, usize)> {
    const ZONES: [(&str, bool, Precision); 5] = [
        ("070000", false, Precision::Seconds),
        ("07:00:00", true, Precision::Seconds),
        ("0700", false, Precision::Minutes),
        ("07:00", true, Precision::Minutes),
        ("07", false, Precision::Hours),
    ];
    // `Janet` and `Monty` are words.
    let no_word = |len: usize| !layout[len..].starts_with(|char: char| char.is_ascii_lowercase());
    let fixed = |candidates: &[(&str, Part<'static>)]| {
        let found = candidates.iter().find(|(text, _)| layout.starts_with(text));
        found.map(|(text, part)| (*part, text.len()))
    };
    match layout.as_bytes()[0] {
        b'J' => match fixed(&[("January", Part::LongMonth), ("Jan", Part::Month)]) {
            Some((Part::Month, len)) if !no_word(len) => None,
            found => found,
        },
        b'M' => {
            match fixed(&[("Monday", Part::LongWeekday), ("Mon", Part::Weekday), ("MST", Part::ZoneName)]) {
                Some((Part::Weekday, len)) if !no_word(len) => None,
                found => found,
            }
        }
        b'0' => fixed(&[
            ("002", Part::ZeroYearDay),
            ("01", Part::ZeroMonth),
            ("02", Part::ZeroDay),
            ("03", Part::ZeroHour12),
            ("04", Part::ZeroMinute),
            ("05", Part::ZeroSecond),
            ("06", Part::Year),
        ]),
        b'1' => fixed(&[("15", Part::Hour), ("1", Part::NumMonth)]),
        b'2' => fixed(&[("2006", Part::LongYear), ("2", Part::Day)]),
        b'3' => Some((Part::Hour12, 1)),
        b'4' => Some((Part::Minute, 1)),
        b'5' => Some((Part::Second, 1)),
        // `_2006` is an underscore and a year.
        b'_' if layout.starts_with("_2006") => None,
        b'_' => fixed(&[("__2", Part::UnderYearDay), ("_2", Part::UnderDay)]),
        b'P' => fixed(&[("PM", Part::UpperHalf)]),
        b'p' => fixed(&[("pm", Part::LowerHalf)]),
        sign @ (b'-' | b'Z') => {
            let found = ZONES.iter().find(|(text, ..)| layout[1..].starts_with(text));
            let form = |(text, colons, precision): &(&str, bool, Precision)| {
                let form = ZoneForm { z: sign == b'Z', colons: *colons, precision: *precision };
                (Part::Zone(form), 1 + text.len())
            };
            found.map(form)
        }
        separator @ (b'.' | b',') => {
            let digits = &layout[1..];
            let digit = digits.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
            let count = digits.chars().take_while(|other| *other == digit).count();
            if digits[count..].starts_with(|char: char| char.is_ascii_digit()) {
                return None;
            }
            let separator = char::from(separator);
            Some((Part::Fraction(Fraction { separator, digits: count, trimmed: digit == '9' }), 1 + count))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_their_parts() {
        let all = |layout| parts(layout).collect::<Vec<_>>();
        let text = Part::Text;
        assert_eq!(all("2006-01-02"), [Part::LongYear, text("-"), Part::ZeroMonth, text("-"), Part::ZeroDay]);
        assert_eq!(all("Jan _2"), [Part::Month, text(" "), Part::UnderDay]);
        assert_eq!(all("Janet Monty"), [text("Janet Monty")]);
        assert_eq!(all("_2006"), [text("_"), Part::LongYear]);
        assert_eq!(all("3:04PM"), [Part::Hour12, text(":"), Part::ZeroMinute, Part::UpperHalf]);
        let fraction = |digits, trimmed| Part::Fraction(Fraction { separator: '.', digits, trimmed });
        assert_eq!(all("05.000"), [Part::ZeroSecond, fraction(3, false)]);
        assert_eq!(all(".999999999"), [fraction(9, true)]);
        assert_eq!(all(".001"), [text(".0"), Part::ZeroMonth]);
        assert_eq!(all("é Monday 15"), [text("é "), Part::LongWeekday, text(" "), Part::Hour]);
    }
}
