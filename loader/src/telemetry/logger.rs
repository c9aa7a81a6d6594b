//! The log: records of functions and of the loader itself, as lines for people or as JSON.
//!
//! A subscriber of `tracing`, for what the loader and its libraries say, and a [`GuestLog`], for what
//! functions write. Where the embedding program has set a subscriber of its own, what functions write goes
//! there as events (`target` is `guest`, with `entry`, `call`, `stream` or `logger`, and `fields` as JSON).
//!
//! Written by hand rather than with `tracing-subscriber`: functions are filtered by their ids, which are no
//! static targets, and a call from the command line pays nothing to set it up.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_schema::EntryId;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::call_id::{CallId, current_trace};
use crate::config::{LOG_LINE_BYTES_MAX, LogTimes};
use crate::guest_log::{GuestLog, Level, Record, Stream, write_record};
use crate::settings::{Encoding, Filter, Settings};

/// Writes to standard error.
#[derive(Clone)]
pub(crate) struct Logger {
    encoding: Encoding,
    times: LogTimes,
    colours: bool,
    filter: Filter,
}

/// A record, from wherever it came.
#[derive(Default)]
struct Line<'a> {
    level: Option<Level>,
    /// What it is about: an entry's id or a module's name.
    part: &'a str,
    call: Option<CallId>,
    stream: Option<Stream>,
    /// Name of the logger; empty for none.
    logger: &'a str,
    message: &'a str,
    fields: Map<String, Value>,
}

impl Logger {
    /// What the settings say, written to standard error.
    pub(crate) fn new(settings: &Settings, times: LogTimes) -> Self {
        let level = match settings.logmanager.min_level {
            ..=-1 => Level::Debug,
            0 => Level::Info,
            1 => Level::Warn,
            _ => Level::Error,
        };
        let filter = match settings.logmanager.propagate_downstream {
            true => settings.logger.level.clone().at_least(level),
            false => Filter::off(),
        };
        Self { encoding: settings.logger.encoding, times, colours: std::io::stderr().is_terminal(), filter }
    }

    fn write(&self, line: &Line<'_>) {
        let level = line.level.unwrap_or(Level::Info);
        if !self.filter.passes(level, line.part) {
            return;
        }
        let mut text = match self.encoding {
            Encoding::Console => self.console(level, line),
            Encoding::Json => json(level, line),
        };
        text.push('\n');
        // One write for each line, so that lines of threads don't mix. Nowhere is left to report a closed
        // standard error to.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn console(&self, level: Level, line: &Line<'_>) -> String {
        let mut out = String::with_capacity(line.message.len() + 64);
        if self.times == LogTimes::Written {
            write_time(&mut out, SystemTime::now());
            out.push(' ');
        }
        out.push('[');
        out.push_str(line.part);
        // Without times a person reads what one call says.
        if let (Some(call), LogTimes::Written) = (line.call, self.times) {
            // Writing to a string can't fail, here and below.
            let _ = write!(out, " #{call}");
        }
        out.push_str("] ");
        if line.stream.is_none() || self.times == LogTimes::Written {
            let (on, off) = if self.colours { (colour(level), "\x1b[0m") } else { ("", "") };
            let _ = write!(out, "{on}{level}{off} ");
        }
        let fields: Vec<(&str, &Value)> =
            line.fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let _ = write_record(&mut out, line.logger, line.message, &fields);
        out.truncate(out.floor_char_boundary(LOG_LINE_BYTES_MAX + 256));
        out
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Debug => "\x1b[2m",
        Level::Info => "\x1b[32m",
        Level::Warn => "\x1b[33m",
        Level::Error => "\x1b[31m",
    }
}

fn json(level: Level, line: &Line<'_>) -> String {
    let mut time = String::new();
    write_time(&mut time, SystemTime::now());
    let mut record = Map::new();
    let mut put = |name: &str, value: Value| record.insert(name.to_owned(), value);
    put("time", time.into());
    put("level", level.to_string().to_ascii_lowercase().into());
    put(
        if line.part.contains("::") || !line.part.contains(':') { "target" } else { "entry" },
        line.part.into(),
    );
    if let Some(call) = line.call {
        put("call", call.number().into());
    }
    if let Some(trace) = current_trace() {
        for (name, id) in trace.ids() {
            put(name, id.into());
        }
    }
    if let Some(stream) = line.stream {
        put("stream", stream.as_str().into());
    }
    if !line.logger.is_empty() {
        put("logger", line.logger.into());
    }
    put("message", line.message[..line.message.floor_char_boundary(LOG_LINE_BYTES_MAX)].into());
    if !line.fields.is_empty() {
        put("fields", Value::Object(line.fields.clone()));
    }
    Value::Object(record).to_string()
}

/// Whether the embedding program has a subscriber of its own.
fn is_elsewhere() -> bool {
    tracing::dispatcher::has_been_set()
        && tracing::dispatcher::get_default(|dispatch| !dispatch.is::<Logger>())
}

impl GuestLog for Logger {
    fn line(&self, entry: &EntryId, stream: Stream, line: &str) {
        self.output(entry, None, stream, line);
    }

    fn call_line(&self, entry: &EntryId, call: CallId, stream: Stream, line: &str) {
        self.output(entry, Some(call), stream, line);
    }

    fn record(&self, entry: &EntryId, record: &Record<'_>) {
        let call = CallId::current();
        let json = |value: &crate::Data| value.to_json().unwrap_or_else(|_| Value::from("<bytes>"));
        let fields: Map<_, _> =
            record.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect();
        if is_elsewhere() {
            let (number, fields) = (call.map(CallId::number), Value::Object(fields).to_string());
            let (logger, message) = (record.logger, record.message);
            macro_rules! event {
                ($level:ident) => {
                    tracing::event!(target: "guest", tracing::Level::$level, %entry, call = number, logger, fields, "{message}")
                };
            }
            match record.level {
                Level::Debug => event!(DEBUG),
                Level::Info => event!(INFO),
                Level::Warn => event!(WARN),
                Level::Error => event!(ERROR),
            }
            return;
        }
        self.write(&Line {
            level: Some(record.level),
            part: &entry.to_string(),
            call,
            logger: record.logger,
            message: record.message,
            fields,
            ..Line::default()
        });
    }
}

impl Logger {
    fn output(&self, entry: &EntryId, call: Option<CallId>, stream: Stream, line: &str) {
        let call = call.or_else(CallId::current);
        if is_elsewhere() {
            let (number, stream) = (call.map(CallId::number), stream.as_str());
            tracing::info!(target: "guest", %entry, call = number, stream, "{line}");
            return;
        }
        let part = entry.to_string();
        self.write(&Line { part: &part, call, stream: Some(stream), message: line, ..Line::default() });
    }
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

impl Subscriber for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() != tracing::Level::TRACE
            && self.filter.passes(level_of(*metadata.level()), metadata.target())
    }

    // No span is enabled.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.write(&Line {
            level: Some(level_of(*event.metadata().level())),
            part: event.metadata().target(),
            call: CallId::current(),
            message: &fields.message,
            fields: fields.others,
            ..Line::default()
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message.push_str(value) } else { self.put(field, value.into()) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// Writes a moment as RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut String, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years from March on, so that the odd day of a leap year is the last: 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let milliseconds = since.subsec_millis();
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut text = String::new();
            write_time(&mut text, UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn lines_for_people() {
        let logger = Logger {
            encoding: Encoding::Console,
            times: LogTimes::LeftOut,
            colours: false,
            filter: Filter::default(),
        };
        let output =
            Line { part: "a:b", stream: Some(Stream::Stdout), message: "x\u{1b}", ..Line::default() };
        assert_eq!(logger.console(Level::Info, &output), "[a:b] x\\u{1b}");
        let fields = Map::from_iter([("k".to_owned(), Value::from("v w"))]);
        let record = Line { part: "a:b", logger: "auth", message: "m", fields, ..Line::default() };
        assert_eq!(logger.console(Level::Warn, &record), "[a:b] WARN auth: m k=\"v w\"");
        let coloured = Logger { colours: true, ..logger };
        assert_eq!(coloured.console(Level::Error, &Line::default()), "[] \x1b[31mERROR\x1b[0m ");
    }

    #[test]
    fn lines_of_json() {
        let fields = Map::from_iter([("k".to_owned(), Value::from(1))]);
        let line = Line { part: "a:b", logger: "auth", message: "m\n\u{1b}", fields, ..Line::default() };
        let text = json(Level::Warn, &line);
        assert!(!text.contains(['\n', '\u{1b}']), "{text}");
        let mut read: Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.remove("time").unwrap().as_str().unwrap().len(), 24);
        let expected = serde_json::json!(
            {"level": "warn", "entry": "a:b", "logger": "auth", "message": "m\n\u{1b}", "fields": {"k": 1}}
        );
        assert_eq!(Value::Object(read), expected);
        assert!(json(Level::Info, &Line { part: "loader::http", ..Line::default() }).contains("\"target\""));
    }
}
