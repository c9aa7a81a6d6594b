//! The global `os` (`en/lua/system/ostime.md`): times only.

use mlua::{Lua, Table, Value};
use tokio::time::Instant;

use super::arguments::bad;
use super::time::civil::{Civil, MONTHS, WEEKDAYS};
use super::time::zone::{Offset, Zone};
use crate::lua::host::Host;

/// Largest magnitude of a field of `os.time` and of a time of `os.date`: about a hundred million years.
const NUMBER_MAX: i64 = 1 << 52;
/// Of a year or month, so that the seconds are a number of that size too.
const YEAR_MAX: i64 = 100_000_000;

pub(in crate::lua) fn module(lua: &Lua, _: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    module.set("platform", "wippy")?;
    let started = Instant::now();
    module.set("clock", lua.create_function(move |_, ()| Ok(started.elapsed().as_secs_f64()))?)?;
    let difftime = lua.create_function(|_, (later, earlier): (Value, Value)| {
        let seconds = |position, value: &Value| match value {
            Value::Integer(seconds) => Ok(*seconds as f64),
            Value::Number(seconds) => Ok(*seconds),
            value => Err(bad(position, "difftime", "number", value)),
        };
        Ok(seconds(1, &later)? - seconds(2, &earlier)?)
    })?;
    module.set("difftime", difftime)?;
    module.set("time", lua.create_function(|_, spec: Value| time(&spec))?)?;
    module
        .set("date", lua.create_function(|lua, (format, time): (Value, Value)| date(lua, &format, &time))?)?;
    Ok(module)
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(NUMBER_MAX)
}

fn local(seconds: i64) -> (Civil, Offset) {
    in_zone(seconds, &Zone::Local)
}

fn in_zone(seconds: i64, zone: &Zone) -> (Civil, Offset) {
    let offset = zone.at(seconds);
    (Civil::from_seconds(seconds + offset.seconds), offset)
}

fn time(spec: &Value) -> mlua::Result<i64> {
    let spec = match spec {
        Value::Nil => return Ok(now()),
        Value::Table(spec) => spec,
        value => return Err(bad(1, "time", "table", value)),
    };
    let (today, _) = local(now());
    let field = |name: &str, default: i64, max: i64| {
        let value: Value = spec.get(name)?;
        let number = match &value {
            Value::Nil => return Ok(default),
            Value::Integer(number) => Some(*number),
            Value::Number(number) if number.fract() == 0.0 => Some(*number as i64),
            Value::String(text) => text.to_string_lossy().trim().parse().ok(),
            _ => None,
        };
        let number = number
            .ok_or_else(|| mlua::Error::runtime(format!("field '{name}' is not an integer in 'time'")))?;
        if number.unsigned_abs() > max.unsigned_abs() {
            return Err(mlua::Error::runtime(format!("field '{name}' is out-of-bound in 'time'")));
        }
        Ok(number)
    };
    let civil = Civil {
        year: field("year", today.year, YEAR_MAX)?,
        month: field("month", today.month, YEAR_MAX)?,
        day: field("day", today.day, NUMBER_MAX >> 20)?,
        hour: field("hour", 0, NUMBER_MAX >> 12)?,
        minute: field("min", 0, NUMBER_MAX >> 6)?,
        second: field("sec", 0, NUMBER_MAX)?,
    };
    Ok(Zone::Local.utc_of_wall(civil.to_seconds()))
}

fn date(lua: &Lua, format: &Value, time: &Value) -> mlua::Result<Value> {
    let seconds = match time {
        Value::Nil => now(),
        Value::Integer(seconds) => *seconds,
        // Held at the end where it is beyond an integer's range.
        Value::Number(seconds) if !seconds.is_nan() => seconds.floor() as i64,
        value => return Err(bad(2, "date", "number", value)),
    };
    if seconds.unsigned_abs() > NUMBER_MAX.unsigned_abs() {
        return Err(mlua::Error::runtime("bad argument #2 to 'date' (time out-of-bounds)"));
    }
    let format = match format {
        Value::Nil => "%c".to_owned(),
        Value::String(format) => format.to_string_lossy(),
        value => return Err(bad(1, "date", "string", value)),
    };
    let (format, zone) = match format.strip_prefix('!') {
        Some(format) => (format, Zone::Utc),
        None => (format.as_str(), Zone::Local),
    };
    let (civil, offset) = in_zone(seconds, &zone);
    if format.starts_with("*t") {
        return table(lua, civil, &offset).map(Value::Table);
    }
    let mut text = String::with_capacity(format.len() + 16);
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        match (char, chars.clone().next()) {
            ('%', Some(code)) => {
                chars.next();
                write(&mut text, code, civil, &offset);
            }
            _ => text.push(char),
        }
    }
    lua.create_string(text).map(Value::String)
}

fn table(lua: &Lua, civil: Civil, offset: &Offset) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 9)?;
    let numbers = [
        ("year", civil.year),
        ("month", civil.month),
        ("day", civil.day),
        ("hour", civil.hour),
        ("min", civil.minute),
        ("sec", civil.second),
        ("yday", civil.year_day()),
    ];
    for (name, number) in numbers {
        table.raw_set(name, number)?;
    }
    table.raw_set("wday", civil.weekday() + 1)?;
    table.raw_set("isdst", offset.daylight_saving)?;
    Ok(table)
}

/// Writes what `%` and `code` stand for; a code that stands for nothing is left as it is.
fn write(text: &mut String, code: char, civil: Civil, offset: &Offset) {
    let Civil { year, month, day, hour, minute, second } = civil;
    let (month_name, weekday) = (MONTHS[(month - 1) as usize], WEEKDAYS[civil.weekday()]);
    let part = match code {
        'Y' => year.to_string(),
        'y' => format!("{:02}", year.rem_euclid(100)),
        'm' => format!("{month:02}"),
        'd' => format!("{day:02}"),
        'H' => format!("{hour:02}"),
        'I' => format!("{:02}", if hour % 12 == 0 { 12 } else { hour % 12 }),
        'M' => format!("{minute:02}"),
        'S' => format!("{second:02}"),
        'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        'A' => weekday.to_owned(),
        'a' => weekday[..3].to_owned(),
        'B' => month_name.to_owned(),
        'b' => month_name[..3].to_owned(),
        'w' => civil.weekday().to_string(),
        'j' => format!("{:03}", civil.year_day()),
        'U' => format!("{:02}", civil.iso_week()),
        'z' => {
            let (sign, seconds) = (if offset.seconds < 0 { '-' } else { '+' }, offset.seconds.abs());
            format!("{sign}{:02}{:02}", seconds / 3_600, seconds / 60 % 60)
        }
        'Z' => offset.name.clone(),
        'c' => {
            format!("{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}", &weekday[..3], &month_name[..3])
        }
        'x' => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
        'X' => format!("{hour:02}:{minute:02}:{second:02}"),
        '%' => "%".to_owned(),
        other => format!("%{other}"),
    };
    text.push_str(&part);
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;

    fn run(source: &str) {
        Harness::new().module("time", super::super::time::module).module("os", super::module).run(source);
    }

    #[test]
    fn times() {
        run(r#"
            assert(math.type(os.time()) == "integer" and math.abs(os.time() - time.now():unix()) <= 1)
            local t = os.time({year = 2024, month = 12, day = 25, hour = 10, min = 30, sec = 0})
            assert(t == time.date(2024, 12, 25, 10, 30, 0, 0):unix())
            assert(os.time({year = 2024, month = 6, day = 15}) == time.date(2024, 6, 15, 0, 0, 0, 0):unix())
            local now = os.date("*t")
            assert(os.time({day = 1}) == time.date(now.year, now.month, 1):unix())
            assert(os.time({year = 2024, month = 14, day = -3}) == time.date(2025, 2, -3):unix())
            assert(os.time({year = 2024.0, month = "6", day = 15}) == os.time({year = 2024, month = 6, day = 15}))
            assert(os.time(os.date("*t", 1718462445)) == 1718462445)
        "#);
    }

    #[test]
    fn formats() {
        run(r#"
            local t = time.date(2024, 6, 15, 14, 30, 45, 0, time.utc):unix()
            local function is(format, text) assert(os.date("!" .. format, t) == text, os.date("!" .. format, t)) end
            is("%Y-%m-%d", "2024-06-15") is("%H:%M:%S", "14:30:45") is("%y %I %p", "24 02 PM")
            is("%A %a %B %b", "Saturday Sat June Jun") is("%w %j %U", "6 167 24") is("%z %Z", "+0000 UTC")
            is("%c", "Sat Jun 15 14:30:45 2024") is("%x", "06/15/24") is("%X", "14:30:45") is("100%%", "100%")
            is("%Y-%m-%dT%H:%M:%S", "2024-06-15T14:30:45") is("é%Q%", "é%Q%") is("", "")
            assert(os.date("%c", t) == os.date(nil, t) and #os.date() >= 24)
            assert(os.date("!%c", 0) == "Thu Jan  1 00:00:00 1970" and os.date("!%I", 0) == "12")
            assert(os.date("!%S", 59.9) == "59")
        "#);
    }

    #[test]
    fn tables() {
        run(r#"
            local t = os.date("!*t", 1718461845)
            assert(t.year == 2024 and t.month == 6 and t.day == 15 and t.hour == 14 and t.min == 30 and t.sec == 45)
            assert(t.wday == 7 and t.yday == 167 and t.isdst == false)
        "#);
    }

    #[test]
    fn clocks() {
        run(r#"
            local start = os.clock()
            time.sleep("1500ms")
            assert(math.abs(os.clock() - start - 1.5) < 1e-6)
            local t1 = os.time({year = 2024, month = 1, day = 1})
            local t2 = os.time({year = 2024, month = 12, day = 31})
            assert(os.difftime(t2, t1) / 86400 == 365 and os.difftime(1, 2) == -1)
            assert(os.platform == "wippy")
            for _, name in ipairs({"execute", "exit", "remove", "rename", "tmpname", "getenv", "setlocale"}) do
                assert(os[name] == nil)
            end
        "#);
    }

    #[test]
    fn wrong_arguments() {
        run(r#"
            local function raises(text, f, ...)
                local ok, err = pcall(f, ...)
                assert(not ok and tostring(err):find(text, 1, true), tostring(err))
            end
            raises("bad argument #1 to 'time' (table expected, got number)", os.time, 5)
            raises("field 'day' is not an integer", os.time, {day = 1.5})
            raises("field 'sec' is out-of-bound", os.time, {sec = math.maxinteger})
            raises("field 'year' is out-of-bound", os.time, {year = 1e300})
            raises("time out-of-bounds", os.date, "%c", math.mininteger)
            raises("bad argument #1 to 'date' (string expected", os.date, {})
            raises("bad argument #2 to 'date' (number expected", os.date, "%c", "x")
            raises("bad argument #1 to 'difftime' (number expected, got no value)", os.difftime)
            assert(os.time({year = 1e8, month = 1e8, day = 4e9, hour = 1e12, min = 1e13, sec = 4e15}))
        "#);
    }
}
