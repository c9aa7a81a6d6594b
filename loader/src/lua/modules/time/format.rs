//! Times as texts by layouts.

use std::fmt::Write;

use super::civil::{Civil, MONTHS, WEEKDAYS};
use super::instant::Moment;
use super::layout::{Fraction, Part, Precision, ZoneForm, parts};
use super::zone::Offset;

/// `moment` as `layout` writes it.
pub(super) fn format(moment: &Moment, layout: &str) -> String {
    let (civil, offset) = moment.wall();
    let mut text = String::with_capacity(layout.len() + 16);
    for part in parts(layout) {
        // Writing to a string does not fail.
        let _ = write(&mut text, part, civil, moment.nanos, &offset);
    }
    text
}

fn write(text: &mut String, part: Part<'_>, civil: Civil, nanos: u32, offset: &Offset) -> std::fmt::Result {
    let Civil { year, month, day, hour, minute, second } = civil;
    let month_name = MONTHS[(month - 1) as usize];
    let weekday = WEEKDAYS[civil.weekday()];
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    match part {
        Part::Text(literal) => text.write_str(literal),
        Part::LongMonth => text.write_str(month_name),
        Part::Month => text.write_str(&month_name[..3]),
        Part::NumMonth => write!(text, "{month}"),
        Part::ZeroMonth => write!(text, "{month:02}"),
        Part::LongWeekday => text.write_str(weekday),
        Part::Weekday => text.write_str(&weekday[..3]),
        Part::Day => write!(text, "{day}"),
        Part::UnderDay => write!(text, "{day:2}"),
        Part::ZeroDay => write!(text, "{day:02}"),
        Part::UnderYearDay => write!(text, "{:3}", civil.year_day()),
        Part::ZeroYearDay => write!(text, "{:03}", civil.year_day()),
        Part::Hour => write!(text, "{hour:02}"),
        Part::Hour12 => write!(text, "{hour12}"),
        Part::ZeroHour12 => write!(text, "{hour12:02}"),
        Part::Minute => write!(text, "{minute}"),
        Part::ZeroMinute => write!(text, "{minute:02}"),
        Part::Second => write!(text, "{second}"),
        Part::ZeroSecond => write!(text, "{second:02}"),
        Part::LongYear if year < 0 => write!(text, "-{:04}", -year),
        Part::LongYear => write!(text, "{year:04}"),
        Part::Year => write!(text, "{:02}", year.rem_euclid(100)),
        Part::UpperHalf => text.write_str(if hour < 12 { "AM" } else { "PM" }),
        Part::LowerHalf => text.write_str(if hour < 12 { "am" } else { "pm" }),
        Part::ZoneName if !offset.name.is_empty() => text.write_str(&offset.name),
        Part::ZoneName => write_offset(
            text,
            ZoneForm {
                z: false,
                colons: false,
                precision: if offset.seconds % 3_600 == 0 { Precision::Hours } else { Precision::Minutes },
            },
            offset.seconds,
        ),
        Part::Zone(form) => write_offset(text, form, offset.seconds),
        Part::Fraction(Fraction { separator, digits, trimmed }) => {
            let all = format!("{nanos:09}");
            // Below nanoseconds there is nothing but zeros.
            let padded = format!("{all:0<digits$}");
            let shown = &padded[..digits];
            let shown = if trimmed { shown.trim_end_matches('0') } else { shown };
            if shown.is_empty() { Ok(()) } else { write!(text, "{separator}{shown}") }
        }
    }
}

fn write_offset(text: &mut String, form: ZoneForm, seconds: i64) -> std::fmt::Result {
    if form.z && seconds == 0 {
        return text.write_str("Z");
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    let colon = if form.colons { ":" } else { "" };
    write!(text, "{sign}{:02}", seconds / 3_600)?;
    if form.precision >= Precision::Minutes {
        write!(text, "{colon}{:02}", seconds / 60 % 60)?;
    }
    if form.precision == Precision::Seconds {
        write!(text, "{colon}{:02}", seconds % 60)?;
    }
    Ok(())
}
