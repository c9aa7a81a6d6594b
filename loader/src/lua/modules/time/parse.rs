//! Times from texts by layouts.

use super::civil::{Civil, MONTHS, WEEKDAYS, days_in};
use super::instant::Moment;
use super::layout::{Fraction, Part, Precision, ZoneForm, parts};
use super::zone::Zone;

/// The time that `value` says when it is read by `layout`. Without an offset or a zone of its own it is one
/// of `default`; `local` is where abbreviations and offsets are looked up.
///
/// # Errors
/// Lower case: what was expected where.
pub(super) fn parse(layout: &str, value: &str, default: &Zone, local: &Zone) -> Result<Moment, String> {
    let wrong = |problem: String| format!("can't parse `{value}` as `{layout}`: {problem}");
    let mut reader = Reader { rest: value, ..Reader::default() };
    let mut parts = parts(layout).peekable();
    while let Some(part) = parts.next() {
        reader.part(part).map_err(wrong)?;
        // Seconds may have a fraction that the layout does not show.
        let shown = matches!(parts.peek(), Some(Part::Fraction(_)));
        if matches!(part, Part::Second | Part::ZeroSecond) && !shown {
            reader.fraction_if_any();
        }
    }
    if !reader.rest.is_empty() {
        return Err(wrong(format!("`{}` is left over", reader.rest)));
    }
    reader.moment(default, local).map_err(wrong)
}

#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
    /// Whether it is after noon, if that was said.
    afternoon: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    zone_name: Option<&'a str>,
}

impl<'a> Reader<'a> {
    fn part(&mut self, part: Part<'_>) -> Result<(), String> {
        match part {
            Part::Text(text) => self.text(text)?,
            Part::LongMonth => self.month = Some(self.name(&MONTHS, usize::MAX, "a month")?),
            Part::Month => self.month = Some(self.name(&MONTHS, 3, "a month")?),
            Part::NumMonth => self.month = Some(self.number(1, 1..=12, "a month")?),
            Part::ZeroMonth => self.month = Some(self.number(2, 1..=12, "a month")?),
            Part::LongWeekday => _ = self.name(&WEEKDAYS, usize::MAX, "a weekday")?,
            Part::Weekday => _ = self.name(&WEEKDAYS, 3, "a weekday")?,
            Part::Day => self.day = Some(self.number(1, 0..=31, "a day")?),
            Part::UnderDay => {
                self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
                self.day = Some(self.number(1, 0..=31, "a day")?);
            }
            Part::ZeroDay => self.day = Some(self.number(2, 0..=31, "a day")?),
            Part::UnderYearDay => {
                let spaces = self.rest.bytes().take(2).take_while(|byte| *byte == b' ').count();
                self.rest = &self.rest[spaces..];
                let count = self.rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
                self.year_day = Some(self.digits(count.max(1), "a day of the year")?);
            }
            Part::ZeroYearDay => self.year_day = Some(self.digits(3, "a day of the year")?),
            Part::Hour => self.hour = self.number(1, 0..=23, "an hour")?,
            Part::Hour12 => self.hour = self.number(1, 0..=12, "an hour")?,
            Part::ZeroHour12 => self.hour = self.number(2, 0..=12, "an hour")?,
            Part::Minute => self.minute = self.number(1, 0..=59, "a minute")?,
            Part::ZeroMinute => self.minute = self.number(2, 0..=59, "a minute")?,
            Part::Second => self.second = self.number(1, 0..=59, "a second")?,
            Part::ZeroSecond => self.second = self.number(2, 0..=59, "a second")?,
            Part::LongYear => self.year = self.digits(4, "a year")?,
            Part::Year => {
                let year = self.digits(2, "a year")?;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
            }
            Part::UpperHalf => self.half("AM", "PM")?,
            Part::LowerHalf => self.half("am", "pm")?,
            Part::ZoneName => self.zone_name()?,
            Part::Zone(form) => self.zone(form)?,
            Part::Fraction(Fraction { digits, trimmed: false, .. }) => {
                self.separator().ok_or_else(|| self.expected("a fraction of a second"))?;
                let shown =
                    self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let shown = shown.ok_or_else(|| self.expected("a fraction of a second"))?;
                self.nanos = nanos(shown);
                self.rest = &self.rest[digits..];
            }
            Part::Fraction(_) => self.fraction_if_any(),
        }
        Ok(())
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what}, found `{}`", self.rest)
    }

    /// Literal text; a run of spaces stands for any other.
    fn text(&mut self, text: &str) -> Result<(), String> {
        let mut wanted = text;
        while let Some(char) = wanted.chars().next() {
            if char == ' ' {
                if !self.rest.is_empty() && !self.rest.starts_with(' ') {
                    return Err(self.expected("a space"));
                }
                wanted = wanted.trim_start_matches(' ');
                self.rest = self.rest.trim_start_matches(' ');
                continue;
            }
            self.rest = self.rest.strip_prefix(char).ok_or_else(|| self.expected(&format!("`{wanted}`")))?;
            wanted = &wanted[char.len_utf8()..];
        }
        Ok(())
    }

    /// Index from 1 of the one of `names`, cut to `len`, that comes next, in any case.
    fn name(&mut self, names: &[&str], len: usize, what: &str) -> Result<i64, String> {
        for (index, name) in (1..).zip(names) {
            let name = &name[..name.len().min(len)];
            if let Some(start) = self.rest.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name))
            {
                self.rest = &self.rest[start.len()..];
                return Ok(index);
            }
        }
        Err(self.expected(what))
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize, what: &str) -> Result<i64, String> {
        let digits = self.rest.get(..count).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| self.expected(what))?;
        self.rest = &self.rest[count..];
        Ok(number)
    }

    /// One or two digits, `least` at least.
    fn number(
        &mut self,
        least: usize,
        range: std::ops::RangeInclusive<i64>,
        what: &str,
    ) -> Result<i64, String> {
        let count = self.rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        let number = self.digits(count.max(least), what)?;
        if range.contains(&number) { Ok(number) } else { Err(format!("{number} is out of range for {what}")) }
    }

    fn half(&mut self, before: &str, after: &str) -> Result<(), String> {
        for (text, afternoon) in [(before, false), (after, true)] {
            if let Some(rest) = self.rest.strip_prefix(text) {
                (self.rest, self.afternoon) = (rest, Some(afternoon));
                return Ok(());
            }
        }
        Err(self.expected(&format!("`{before}` or `{after}`")))
    }

    fn separator(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(['.', ','])?;
        Some(())
    }

    fn fraction_if_any(&mut self) {
        let Some(fraction) = self.rest.strip_prefix(['.', ',']) else { return };
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            self.nanos = nanos(&fraction[..count]);
            self.rest = &fraction[count..];
        }
    }

    fn zone(&mut self, form: ZoneForm) -> Result<(), String> {
        if form.z
            && let Some(rest) = self.rest.strip_prefix('Z')
        {
            (self.rest, self.utc) = (rest, true);
            return Ok(());
        }
        let sign = match self.rest.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(self.expected("an offset")),
        };
        self.rest = &self.rest[1..];
        let mut seconds = self.digits(2, "an offset")? * 3_600;
        let finer = [(Precision::Minutes, 60), (Precision::Seconds, 1)];
        for (_, unit) in finer.into_iter().filter(|(precision, _)| form.precision >= *precision) {
            if form.colons {
                self.text(":")?;
            }
            seconds += self.digits(2, "an offset")? * unit;
        }
        if seconds > 25 * 3_600 {
            return Err("the offset is out of range".to_owned());
        }
        self.offset = Some(sign * seconds);
        Ok(())
    }

    fn zone_name(&mut self) -> Result<(), String> {
        if let Some(rest) = self.rest.strip_prefix("UTC") {
            (self.rest, self.utc) = (rest, true);
            return Ok(());
        }
        let len = abbreviation_len(self.rest).ok_or_else(|| self.expected("a time zone"))?;
        let (name, rest) = self.rest.split_at(len);
        (self.zone_name, self.rest) = (Some(name), rest);
        Ok(())
    }

    fn moment(self, default: &Zone, local: &Zone) -> Result<Moment, String> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let (month, day) = self.date()?;
        let civil = Civil { year: self.year, month, day, hour, minute: self.minute, second: self.second };
        let wall = civil.to_seconds();
        let at = |seconds: i64, zone: &Zone| Moment::new(seconds, self.nanos, zone.clone());
        if self.utc {
            return Ok(at(wall, &Zone::Utc));
        }
        if let Some(offset) = self.offset {
            let seconds = wall - offset;
            let own = local.at(seconds);
            if own.seconds == offset && self.zone_name.is_none_or(|name| name == own.name) {
                return Ok(at(seconds, local));
            }
            let offset = i32::try_from(offset).map_err(|error| error.to_string())?;
            let name = self.zone_name.unwrap_or_default().into();
            return Ok(at(seconds, &Zone::Fixed { name, offset }));
        }
        if let Some(name) = self.zone_name {
            if let Some(offset) = local.offset_named(name, wall) {
                return Ok(at(wall - offset, local));
            }
            // Go's rule: an abbreviation that is not known has no offset, but for `GMT+3` and the like.
            let offset =
                name.strip_prefix("GMT").and_then(|hours| hours.parse::<i32>().ok()).unwrap_or(0) * 3_600;
            return Ok(at(wall - i64::from(offset), &Zone::Fixed { name: name.into(), offset }));
        }
        Ok(at(default.utc_of_wall(wall), default))
    }

    /// Month and day, which agree with the day of the year if that was said too.
    fn date(&self) -> Result<(i64, i64), String> {
        if let Some(year_day) = self.year_day {
            let days = 365 + i64::from(days_in(self.year, 2) == 29);
            if !(1..=days).contains(&year_day) {
                return Err(format!("{year_day} is out of range for a day of the year"));
            }
            let first = Civil { year: self.year, month: 1, day: year_day, hour: 0, minute: 0, second: 0 };
            let Civil { month, day, .. } = Civil::from_seconds(first.to_seconds());
            if self.month.is_some_and(|said| said != month) || self.day.is_some_and(|said| said != day) {
                return Err("the day of the year is another than that of the month".to_owned());
            }
            return Ok((month, day));
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if day < 1 || day > days_in(self.year, month) {
            return Err(format!("{day} is out of range for a day of its month"));
        }
        Ok((month, day))
    }
}

/// Nanoseconds of the digits behind a point.
fn nanos(digits: &str) -> u32 {
    let mut digits = digits.bytes().map(|byte| u32::from(byte - b'0'));
    (0..9).fold(0, |nanos, _| nanos * 10 + digits.next().unwrap_or(0))
}

/// Length of the abbreviation that `text` starts with: three or four capital letters, five that end in `T`,
/// `ChST`, `MeST`, `GMT` with hours, or hours alone.
fn abbreviation_len(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed_hours_len(rest));
    }
    if text.starts_with(['+', '-']) {
        return Some(signed_hours_len(text)).filter(|len| *len > 0);
    }
    let capitals = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match capitals {
        3 => Some(3),
        4 if text[..4].ends_with('T') || text.starts_with("WITA") => Some(4),
        5 if text[..5].ends_with('T') => Some(5),
        _ => None,
    }
}

/// Length of a sign and hours below 24; 0 when there are none.
fn signed_hours_len(text: &str) -> usize {
    let Some(hours) = text.strip_prefix(['+', '-']) else { return 0 };
    let count = hours.bytes().take_while(u8::is_ascii_digit).count();
    match hours[..count].parse::<u32>() {
        Ok(hours) if hours < 24 => 1 + count,
        _ => 0,
    }
}
