//! The module `time` (`en/lua/core/time.md`), after Go's package `time`.
//!
//! Times have nanoseconds, durations are 64-bit nanoseconds. What is beyond a range is held at its end: a
//! duration of 300 years lasts 292, a year of twelve digits is the last that is counted.

pub(super) mod civil;
mod duration;
mod format;
mod instant;
mod layout;
mod parse;
mod timer;
pub(super) mod zone;

use mlua::{Lua, MetaMethod, MultiValue, Table, UserData, UserDataMethods, UserDataRef, Value};
use registry_schema::ErrorKind;

use self::civil::{Civil, MONTHS, WEEKDAYS};
use self::instant::{Moment, saturated};
use self::zone::Zone;
use super::arguments::{bad, invalid, string, type_name};
use crate::config::ZONE_NAME_BYTES_MAX;
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Host};

#[cfg(feature = "http")]
pub(super) use self::duration::parse as parse_duration;

const LAYOUTS: [(&str, &str); 15] = [
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339NANO", "2006-01-02T15:04:05.999999999Z07:00"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("DATE_TIME", "2006-01-02 15:04:05"),
    ("DATE_ONLY", "2006-01-02"),
    ("TIME_ONLY", "15:04:05"),
    ("KITCHEN", "3:04PM"),
    ("STAMP", "Jan _2 15:04:05"),
    ("STAMP_MILLI", "Jan _2 15:04:05.000"),
    ("STAMP_MICRO", "Jan _2 15:04:05.000000"),
    ("STAMP_NANO", "Jan _2 15:04:05.000000000"),
];

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    for (name, layout) in LAYOUTS {
        module.set(name, layout)?;
    }
    for (number, name) in (1..).zip(MONTHS) {
        module.set(name.to_uppercase(), number)?;
    }
    for (number, name) in (0..).zip(WEEKDAYS) {
        module.set(name.to_uppercase(), number)?;
    }
    let units = [
        ("NANOSECOND", 1),
        ("MICROSECOND", duration::MICROSECOND),
        ("MILLISECOND", duration::MILLISECOND),
        ("SECOND", duration::SECOND),
        ("MINUTE", duration::MINUTE),
        ("HOUR", duration::HOUR),
    ];
    for (name, nanoseconds) in units {
        module.set(name, nanoseconds)?;
    }
    module.set("utc", Zone::Utc)?;
    module.set("localtz", Zone::Local)?;
    module.set("now", lua.create_function(|_, ()| Ok(Moment::now()))?)?;
    module.set("date", lua.create_function(|_, args: MultiValue| date(&args))?)?;
    let unix = lua.create_function(|_, (seconds, nanos): (Value, Value)| {
        let seconds = integer(&seconds).ok_or_else(|| bad(1, "unix", "number", &seconds))?;
        let nanos = match &nanos {
            Value::Nil => 0,
            nanos => integer(nanos).ok_or_else(|| bad(2, "unix", "number", nanos))?,
        };
        Ok(Moment::from_unix(seconds, nanos))
    })?;
    module.set("unix", unix)?;
    let parse = lua.create_function(|lua, (layout, value, zone): (Value, Value, Value)| {
        error::answer(lua, parsed(&layout, &value, &zone))
    })?;
    module.set("parse", parse)?;
    let parse_duration =
        lua.create_function(|lua, value: Value| error::answer(lua, nanoseconds(&value).map(Span)))?;
    module.set("parse_duration", parse_duration)?;
    module.set("load_location", host.waiting(lua, |lua, _, name: Value| load_location(lua, &name))?)?;
    let fixed_zone = lua.create_function(|_, (name, offset): (Value, Value)| {
        let Value::String(name) = &name else { return Err(bad(1, "fixed_zone", "string", &name)) };
        let offset = integer(&offset).ok_or_else(|| bad(2, "fixed_zone", "number", &offset))?;
        let offset = offset.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        if name.as_bytes().len() > ZONE_NAME_BYTES_MAX {
            let message = format!("the zone's name has more than {ZONE_NAME_BYTES_MAX} bytes");
            return Err(mlua::Error::runtime(message));
        }
        Ok(Zone::Fixed { name: name.to_string_lossy().into(), offset })
    })?;
    module.set("fixed_zone", fixed_zone)?;
    timer::add(lua, host, &module)?;
    Ok(module)
}

/// A number's integer part.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        // The cast holds what is beyond the range at its end.
        Value::Number(float) if !float.is_nan() => Some(*float as i64),
        _ => None,
    }
}

/// A duration: nanoseconds, a text such as `5s`, or an object.
fn nanoseconds(value: &Value) -> Result<i64, Error> {
    let found = match value {
        Value::String(text) => return duration::parse(&text.to_string_lossy()).map_err(invalid),
        Value::UserData(object) => object.borrow::<Span>().ok().map(|span| span.0),
        value => integer(value),
    };
    found.ok_or_else(|| {
        let found = if matches!(value, Value::Number(_)) { "NaN" } else { type_name(value) };
        invalid(format!("a duration must be a number, a string or a Duration, got {found}"))
    })
}

fn zone_argument(value: &Value) -> Option<Zone> {
    value.as_userdata()?.borrow::<Zone>().ok().map(|zone| zone.clone())
}

fn date(args: &MultiValue) -> mlua::Result<Moment> {
    let part = |position: usize, default: Option<i64>| {
        let value = args.get(position - 1).unwrap_or(&Value::Nil);
        match (integer(value), value, default) {
            (Some(integer), ..) => Ok(integer),
            (None, Value::Nil, Some(default)) => Ok(default),
            _ => Err(bad(position, "date", "number", value)),
        }
    };
    let civil = Civil {
        year: part(1, None)?,
        month: part(2, None)?,
        day: part(3, None)?,
        hour: part(4, Some(0))?,
        minute: part(5, Some(0))?,
        second: part(6, Some(0))?,
    };
    let zone = match args.get(7) {
        None | Some(Value::Nil) => Zone::Local,
        Some(value) => zone_argument(value).ok_or_else(|| bad(8, "date", "Location", value))?,
    };
    Ok(Moment::from_civil(civil, part(7, Some(0))?, zone))
}

fn parsed(layout: &Value, value: &Value, zone: &Value) -> Result<Moment, Error> {
    let (layout, value) = (string(layout, "layout")?, string(value, "value")?);
    let (default, local) = match zone {
        Value::Nil => (Zone::Utc, Zone::Local),
        zone => {
            let found = type_name(zone);
            let zone = zone_argument(zone)
                .ok_or_else(|| invalid(format!("`location` must be a Location, got {found}")))?;
            (zone.clone(), zone)
        }
    };
    parse::parse(&layout.to_string_lossy(), &value.to_string_lossy(), &default, &local).map_err(invalid)
}

fn load_location(lua: &Lua, name: &Value) -> mlua::Result<Answer> {
    let name = match string(name, "name").map(|name| name.to_string_lossy()) {
        Ok(name) if name.is_empty() => Err(invalid("the location name is empty")),
        name => name,
    };
    let name = match name {
        Ok(name) => name,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    if let Some(zone) = Zone::known(&name) {
        return Ok(Answer::Now(error::answer(lua, Ok(zone))?));
    }
    let reading = tokio::task::spawn_blocking(move || {
        let missing = || Error::new(ErrorKind::NotFound, format!("location `{name}` not found"));
        Zone::load(&name).ok_or_else(missing)
    });
    Ok(Answer::later(reading, |lua, read| {
        let ended = |error| Err(Error::new(ErrorKind::Internal, format!("the zone can't be read: {error}")));
        error::answer(lua, read.unwrap_or_else(ended))
    }))
}

impl UserData for Zone {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("string", |_, this, ()| Ok(this.name().to_owned()));
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.name().to_owned()));
    }
}

/// A duration in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span(i64);

impl Span {
    /// In a larger unit: an integer when it is one.
    fn in_units(self, unit: i64) -> Value {
        if self.0 % unit == 0 {
            return Value::Integer(self.0 / unit);
        }
        // Apart, so that the fraction keeps its digits.
        Value::Number((self.0 / unit) as f64 + (self.0 % unit) as f64 / unit as f64)
    }
}

impl UserData for Span {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("nanoseconds", |_, this, ()| Ok(this.0));
        methods.add_method("microseconds", |_, this, ()| Ok(this.0 / duration::MICROSECOND));
        methods.add_method("milliseconds", |_, this, ()| Ok(this.0 / duration::MILLISECOND));
        methods.add_method("seconds", |_, this, ()| Ok(this.in_units(duration::SECOND)));
        methods.add_method("minutes", |_, this, ()| Ok(this.in_units(duration::MINUTE)));
        methods.add_method("hours", |_, this, ()| Ok(this.in_units(duration::HOUR)));
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(duration::format(this.0)));
        add_order::<Self, M, _>(methods, |a, b| a.cmp(b));
    }
}

/// `==`, `<` and `<=` between objects of one type.
fn add_order<T, M, C>(methods: &mut M, compare: C)
where
    T: UserData + 'static,
    M: UserDataMethods<T>,
    C: Fn(&T, &T) -> std::cmp::Ordering + Copy + Send + 'static,
{
    methods.add_meta_function(MetaMethod::Eq, move |_, (a, b): (Value, Value)| {
        let (Some(a), Some(b)) = (a.as_userdata(), b.as_userdata()) else { return Ok(false) };
        let (Ok(a), Ok(b)) = (a.borrow::<T>(), b.borrow::<T>()) else { return Ok(false) };
        Ok(compare(&a, &b).is_eq())
    });
    methods.add_meta_method(MetaMethod::Lt, move |_, this, other: UserDataRef<T>| {
        Ok(compare(this, &other).is_lt())
    });
    methods.add_meta_method(MetaMethod::Le, move |_, this, other: UserDataRef<T>| {
        Ok(compare(this, &other).is_le())
    });
}

impl Moment {
    fn format(&self, layout: &str) -> String {
        format::format(self, layout)
    }
}

impl UserData for Moment {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        add_arithmetic(methods);
        add_components(methods);
        methods.add_method("before", |_, this, other: UserDataRef<Self>| {
            Ok(this.nanos_since_1970() < other.nanos_since_1970())
        });
        methods.add_method("after", |_, this, other: UserDataRef<Self>| {
            Ok(this.nanos_since_1970() > other.nanos_since_1970())
        });
        methods.add_method("equal", |_, this, other: UserDataRef<Self>| {
            Ok(this.nanos_since_1970() == other.nanos_since_1970())
        });
        add_order::<Self, M, _>(methods, |a, b| a.nanos_since_1970().cmp(&b.nanos_since_1970()));
        methods.add_method("format", |_, this, layout: Value| match &layout {
            Value::String(layout) => Ok(this.format(&layout.to_string_lossy())),
            layout => Err(bad(1, "format", "string", layout)),
        });
        methods.add_method("format_rfc3339", |_, this, ()| Ok(this.format("2006-01-02T15:04:05Z07:00")));
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            Ok(this.format("2006-01-02 15:04:05.999999999 -0700 MST"))
        });
        methods.add_method("utc", |_, this, ()| Ok(this.in_zone(Zone::Utc)));
        methods.add_method("in_local", |_, this, ()| Ok(this.in_zone(Zone::Local)));
        methods.add_method("in_location", |_, this, zone: Value| match zone_argument(&zone) {
            Some(zone) => Ok(this.in_zone(zone)),
            None => Err(bad(1, "in_location", "Location", &zone)),
        });
        methods.add_method("location", |_, this, ()| Ok(this.zone.clone()));
    }
}

fn add_arithmetic<M: UserDataMethods<Moment>>(methods: &mut M) {
    methods.add_method("add", |lua, this, by: Value| match nanoseconds(&by) {
        Ok(by) => Ok(MultiValue::from_iter([Value::UserData(lua.create_userdata(this.add(by))?)])),
        Err(error) => error::pair(lua, error),
    });
    methods.add_method("sub", |_, this, other: UserDataRef<Moment>| Ok(Span(this.since(&other))));
    methods.add_method("add_date", |_, this, (years, months, days): (Value, Value, Value)| {
        let part = |position, value: &Value| match value {
            Value::Nil => Ok(0),
            value => integer(value).ok_or_else(|| bad(position, "add_date", "number", value)),
        };
        Ok(this.add_date(part(1, &years)?, part(2, &months)?, part(3, &days)?))
    });
    let rounded = [("round", Moment::round as fn(&Moment, i64) -> Moment), ("truncate", Moment::truncate)];
    for (name, round) in rounded {
        methods.add_method(name, move |_, this, to: Value| {
            match to.as_userdata().and_then(|object| object.borrow::<Span>().ok()) {
                Some(span) => Ok(round(this, span.0)),
                None => Err(bad(1, name, "Duration", &to)),
            }
        });
    }
}

fn add_components<M: UserDataMethods<Moment>>(methods: &mut M) {
    methods.add_method("unix", |_, this, ()| Ok(this.seconds));
    methods.add_method("unix_nano", |_, this, ()| Ok(saturated(this.nanos_since_1970())));
    methods.add_method("date", |_, this, ()| {
        let Civil { year, month, day, .. } = this.civil();
        Ok((year, month, day))
    });
    methods.add_method("clock", |_, this, ()| {
        let Civil { hour, minute, second, .. } = this.civil();
        Ok((hour, minute, second))
    });
    methods.add_method("year", |_, this, ()| Ok(this.civil().year));
    methods.add_method("month", |_, this, ()| Ok(this.civil().month));
    methods.add_method("day", |_, this, ()| Ok(this.civil().day));
    methods.add_method("hour", |_, this, ()| Ok(this.civil().hour));
    methods.add_method("minute", |_, this, ()| Ok(this.civil().minute));
    methods.add_method("second", |_, this, ()| Ok(this.civil().second));
    methods.add_method("nanosecond", |_, this, ()| Ok(this.nanos));
    methods.add_method("weekday", |_, this, ()| Ok(this.civil().weekday()));
    methods.add_method("year_day", |_, this, ()| Ok(this.civil().year_day()));
    methods.add_method("is_zero", |_, this, ()| Ok(this.is_zero()));
}

#[cfg(test)]
mod tests;
