use super::super::harness::Harness;

fn run(source: &str) {
    const HELP: &str = r#"
        function fails(kind, text, value, err)
            assert(value == nil and errors.is(err, kind) and err:retryable() == false, tostring(err))
            assert(err:message():find(text, 1, true), err:message())
        end
        function raises(text, f, ...)
            local ok, err = pcall(f, ...)
            assert(not ok and tostring(err):find(text, 1, true), tostring(err))
        end
    "#;
    Harness::new().module("time", super::module).run(&format!("{HELP}{source}"));
}

#[test]
fn now() {
    run(r#"
        local t = time.now()
        assert(math.abs(t:unix() - os.time()) <= 1)
        assert(t:location():string() == "Local" and not t:is_zero())
        local start = time.now()
        time.sleep("90s")
        assert(time.now():sub(start):seconds() == 90)
        assert(start:sub(start:add("5s")):milliseconds() == -5000)
    "#);
}

#[test]
fn dates() {
    run(r#"
        local t = time.date(2024, time.DECEMBER, 25, 10, 30, 0, 0, time.utc)
        assert(t:format_rfc3339() == "2024-12-25T10:30:00Z")
        local ny = time.load_location("America/New_York")
        local t = time.date(2024, time.JANUARY, 15, 14, 0, 0, 0, ny)
        assert(t:format_rfc3339() == "2024-01-15T14:00:00-05:00" and t:utc():hour() == 19)
        assert(time.date(2024, 1, 15, 12, 0, 0, 0):location():string() == "Local")
        assert(time.date(2024, 1, 15):hour() == 0)
        -- What is beyond a range counts on.
        assert(time.date(2023, 14, 30, 25, 61, 61, -1, time.utc):format(time.RFC3339NANO)
            == "2024-03-02T02:02:00.999999999Z")
        assert(time.date(2024.9, 1, 1, 0, 0, 0, 0, time.utc):year() == 2024)
        for _, n in ipairs({math.maxinteger, math.mininteger, 1/0, -1/0}) do
            local t = time.date(n, n, n, n, n, n, n, ny)
            assert(#t:format(time.RFC3339) > 0 and t:sub(time.now()) and t:add_date(n, n, n):year())
            assert(#time.unix(n, n):format(time.RFC850) > 0)
        end
        raises("bad argument #2 to 'date' (number expected, got no value)", time.date, 2024)
        raises("bad argument #3 to 'date' (number expected, got string)", time.date, 2024, 1, "1")
        raises("bad argument #8 to 'date' (Location expected, got string)", time.date, 2024, 1, 1, 0, 0, 0, 0, "UTC")
    "#);
}

#[test]
fn unix() {
    run(r#"
        assert(time.unix(1703862245, 0):utc():format_rfc3339() == "2023-12-29T15:04:05Z")
        assert(time.unix(1703862245):unix() == 1703862245)
        local t = time.unix(1703862245, 500000000)
        assert(t:nanosecond() == 500000000 and t:unix_nano() == 1703862245500000000)
        local js = 1703862245123
        assert(time.unix(js // 1000, (js % 1000) * 1000000):unix_nano() == js * 1000000)
        assert(time.unix(0, -1):unix() == -1 and time.unix(0, -1):nanosecond() == 999999999)
        assert(time.unix(1, 2500000000):unix() == 3)
        assert(time.unix(math.maxinteger):unix_nano() == math.maxinteger)
        raises("bad argument #1 to 'unix' (number expected, got string)", time.unix, "1")
        raises("bad argument #2 to 'unix'", time.unix, 1, {})
    "#);
}

#[test]
fn arithmetic() {
    run(r#"
        local t = time.date(2024, 1, 31, 12, 0, 0, 0, time.utc)
        assert(t:add("24h"):day() == 1 and t:add(5 * time.MINUTE):minute() == 5)
        assert(t:add(time.parse_duration("1h30m")):format(time.TIME_ONLY) == "13:30:00")
        assert(t:add("24h"):sub(t):hours() == 24 and t:sub(t:add("1s")):seconds() == -1)
        assert(t:add_date(0, 1, 0):format(time.DATE_ONLY) == "2024-03-02")
        assert(t:add_date(1, 0, 0):format(time.DATE_ONLY) == "2025-01-31")
        assert(t:add_date(0, 0, -7):format(time.DATE_ONLY) == "2024-01-24")
        assert(time.date(1, 1, 1, 0, 0, 0, 0, time.utc):sub(t):nanoseconds() == math.mininteger)
        fails(errors.INVALID, "invalid duration `soon`", t:add("soon"))
        raises("add_date", t.add_date, t, "1")
        assert(not pcall(t.sub, t, 5))
    "#);
}

#[test]
fn comparison() {
    run(r#"
        local t1 = time.date(2024, 1, 1, 0, 0, 0, 0, time.utc)
        local t2 = time.date(2024, 1, 2, 0, 0, 0, 0, time.utc)
        assert(t1:before(t2) and not t1:before(t1) and t2:after(t1) and not t1:after(t2))
        assert(t1:equal(t1) and not t1:equal(t2))
        local elsewhere = t1:in_location(time.fixed_zone("X", 3600))
        assert(t1:equal(elsewhere) and t1 == elsewhere and t1 < t2 and t1 <= t1 and t1 ~= t2)
        assert(t1 ~= time.utc)
        local d1, d2 = time.parse_duration("1s"), time.parse_duration("1000ms")
        assert(d1 == d2 and d1 <= d2 and not (d1 < d2) and d1 ~= t1)
    "#);
}

#[test]
fn components() {
    run(r#"
        local t = time.date(2024, 12, 29, 15, 4, 5, 678, time.utc)
        local year, month, day = t:date()
        assert(year == 2024 and month == 12 and day == 29)
        local hour, minute, second = t:clock()
        assert(hour == 15 and minute == 4 and second == 5)
        assert(t:year() == 2024 and t:month() == time.DECEMBER and t:day() == 29)
        assert(t:hour() == 15 and t:minute() == 4 and t:second() == 5 and t:nanosecond() == 678)
        assert(t:weekday() == time.SUNDAY and t:year_day() == 364 and t:is_zero() == false)
        assert(t:unix() == 1735484645 and t:unix_nano() == 1735484645000000678)
        assert(time.date(1, 1, 1, 0, 0, 0, 0, time.utc):is_zero())
    "#);
}

#[test]
fn formats() {
    run(r#"
        local t = time.date(2024, 2, 5, 15, 4, 5, 120000000, time.utc)
        local function is(layout, text) assert(t:format(layout) == text, t:format(layout)) end
        is(time.RFC3339, "2024-02-05T15:04:05Z") is(time.RFC3339NANO, "2024-02-05T15:04:05.12Z")
        is(time.RFC822, "05 Feb 24 15:04 UTC") is(time.RFC822Z, "05 Feb 24 15:04 +0000")
        is(time.RFC850, "Monday, 05-Feb-24 15:04:05 UTC") is(time.RFC1123, "Mon, 05 Feb 2024 15:04:05 UTC")
        is(time.RFC1123Z, "Mon, 05 Feb 2024 15:04:05 +0000")
        is(time.DATE_TIME, "2024-02-05 15:04:05") is(time.DATE_ONLY, "2024-02-05") is(time.TIME_ONLY, "15:04:05")
        is(time.KITCHEN, "3:04PM") is(time.STAMP, "Feb  5 15:04:05") is(time.STAMP_MILLI, "Feb  5 15:04:05.120")
        is(time.STAMP_MICRO, "Feb  5 15:04:05.120000") is(time.STAMP_NANO, "Feb  5 15:04:05.120000000")
        is("Mon Jan 2, 2006", "Mon Feb 5, 2024") is("January Monday 1 01 2 02 _2 002 __2", "February Monday 2 02 5 05  5 036  36")
        is("3 03 4 04 5 05 pm PM", "3 03 4 04 5 05 pm PM") is("05,999", "05,12") is(".000000000000", ".120000000000")
        is("", "") is("Janet é 2", "Janet é 5")
        t = time.date(-5, 1, 1, 0, 30, 0, 0, time.fixed_zone("", -(9 * 3600 + 30 * 60 + 15)))
        is("2006 3PM -07:00:00 -070000 -0700 -07 Z07:00 Z0700 Z07 MST", "-0005 12AM -09:30:15 -093015 -0930 -09 -09:30 -0930 -09 -0930")
        t = time.unix(0):in_location(time.load_location("Asia/Tokyo"))
        is("15:04 MST -07:00", "09:00 JST +09:00")
        assert(tostring(time.unix(0, 500000000):utc()) == "1970-01-01 00:00:00.5 +0000 UTC")
        raises("bad argument #1 to 'format' (string expected, got no value)", t.format, t)
    "#);
}

#[test]
fn parsing() {
    run(r#"
        local function is(layout, value, text, ...)
            local t, err = time.parse(layout, value, ...)
            assert(t and err == nil, tostring(err))
            assert(t:format(time.RFC3339NANO) == text, t:format(time.RFC3339NANO))
            return t
        end
        is(time.RFC3339, "2024-12-29T15:04:05Z", "2024-12-29T15:04:05Z")
        is(time.RFC3339, "2024-12-29T15:04:05.25Z", "2024-12-29T15:04:05.25Z")
        is(time.RFC3339, "2024-12-29T15:04:05+05:30", "2024-12-29T15:04:05+05:30")
        is(time.RFC3339NANO, "2024-12-29T15:04:05Z", "2024-12-29T15:04:05Z")
        is("2006-01-02", "2024-12-29", "2024-12-29T00:00:00Z")
        is("15:04:05", "14:30:00", "0000-01-01T14:30:00Z")
        is("2006-01-02 15:04:05 MST", "2024-12-29 14:30:00 UTC", "2024-12-29T14:30:00Z")
        assert(is("2006-01-02 15:04 MST", "2024-12-29 14:30 EST", "2024-12-29T14:30:00Z"):location():string() == "EST")
        is("2006-01-02 15:04 MST", "2024-12-29 14:30 GMT+3", "2024-12-29T14:30:00+03:00")
        local ny = time.load_location("America/New_York")
        is("2006-01-02 15:04", "2024-12-29 14:30", "2024-12-29T14:30:00-05:00", ny)
        is("2006-01-02 15:04 MST", "2024-12-29 14:30 EDT", "2024-12-29T13:30:00-05:00", ny)
        assert(is("2006-01-02 15:04 -0700", "2024-12-29 14:30 -0500", "2024-12-29T14:30:00-05:00", ny):location():string() == "America/New_York")
        is(time.KITCHEN, "3:04PM", "0000-01-01T15:04:00Z") is("3PM", "12AM", "0000-01-01T00:00:00Z")
        is("3pm", "12pm", "0000-01-01T12:00:00Z")
        is(time.STAMP_MILLI, "Feb  5 15:04:05.120", "0000-02-05T15:04:05.12Z")
        is(time.RFC850, "monday, 05-FEB-70 15:04:05 UTC", "1970-02-05T15:04:05Z")
        is("January _2 06", "september 7 68", "2068-09-07T00:00:00Z")
        is("2006 002", "2024 060", "2024-02-29T00:00:00Z") is("2006 __2", "2024   9", "2024-01-09T00:00:00Z")
        is("2006-1-2 3:4:5 -07:00:00", "2024-11-12 1:2:3 -01:02:03", "2024-11-12T01:02:03-01:02")
        is("05,000", "01,500", "0000-01-01T00:00:01.5Z", time.utc)
    "#);
}

#[test]
fn what_is_no_time() {
    run(r#"
        for layout, values in pairs({
            [time.RFC3339] = {"invalid", "", "2024-12-29", "2024-13-01T00:00:00Z", "2024-02-30T00:00:00Z",
                "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00Zx",
                "2024-01-01T00:00:00+5", "2024-01-01T00:00:00+99:00", "é"},
            ["Jan 2"] = {"Foo 2", "Jan x", "Jan 0", "Jan 32"},
            ["3PM"] = {"13PM", "3XM", "3"},
            ["15:04 MST"] = {"15:04 x", "15:04 ABCDEF", "15:04 AB"},
            ["2006 002"] = {"2023 366", "2023 000"},
            ["2006 002 01"] = {"2023 001 02"},
            ["05.000"] = {"01.1", "01"},
            ["Monday"] = {"Monda", "Mon"},
        }) do
            for _, value in ipairs(values) do fails(errors.INVALID, "can't parse", time.parse(layout, value)) end
        end
        fails(errors.INVALID, "`layout` must be a string", time.parse(1, "x"))
        fails(errors.INVALID, "`value` must be a string", time.parse("x"))
        fails(errors.INVALID, "`location` must be a Location, got string", time.parse("15", "15", "UTC"))
    "#);
}

#[test]
fn locations() {
    run(r#"
        assert(time.utc:string() == "UTC" and time.localtz:string() == "Local" and tostring(time.utc) == "UTC")
        local tokyo, err = time.load_location("Asia/Tokyo")
        assert(err == nil and tokyo:string() == "Asia/Tokyo")
        assert(time.load_location("Asia/Tokyo"):string() == "Asia/Tokyo")
        assert(time.load_location("UTC"):string() == "UTC" and time.load_location("Local"):string() == "Local")
        local ist = time.fixed_zone("IST", 5*3600 + 30*60)
        local t = time.date(2024, 1, 15, 12, 0, 0, 0, ist)
        assert(t:format("15:04 MST -0700") == "12:00 IST +0530" and t:location():string() == "IST")
        assert(t:utc():format(time.TIME_ONLY) == "06:30:00" and t:utc():location():string() == "UTC")
        assert(t:in_location(tokyo):hour() == 15 and t:in_local():location():string() == "Local")
        fails(errors.INVALID, "empty", time.load_location(""))
        fails(errors.INVALID, "`name` must be a string", time.load_location(5))
        fails(errors.NOT_FOUND, "location `Unknown/Zone` not found", time.load_location("Unknown/Zone"))
        fails(errors.NOT_FOUND, "not found", time.load_location("../../etc/passwd"))
        raises("bad argument #1 to 'fixed_zone' (string expected", time.fixed_zone, 5, 5)
        raises("bad argument #2 to 'fixed_zone' (number expected", time.fixed_zone, "X")
        raises("bad argument #1 to 'in_location' (Location expected, got string)", t.in_location, t, "UTC")
        raises("more than 255 bytes", time.fixed_zone, ("x"):rep(256), 0)
        assert(time.fixed_zone("X", 1e300):string() == "X")
    "#);
}

#[test]
fn rounding() {
    run(r#"
        local t = time.date(2024, 1, 15, 12, 37, 30, 500000000, time.utc)
        local function d(text) return (time.parse_duration(text)) end
        assert(t:round(d("1h")):format(time.TIME_ONLY) == "13:00:00")
        assert(t:truncate(d("1h")):format(time.TIME_ONLY) == "12:00:00")
        assert(t:truncate(d("15m")):format(time.TIME_ONLY) == "12:30:00")
        assert(t:round(d("1s")):second() == 31 and t:truncate(d("1s")):second() == 30)
        assert(t:truncate(d("168h")):weekday() == time.MONDAY)
        assert(t:round(d("0")):equal(t) and t:truncate(d("-1s")):equal(t))
        assert(time.unix(-1, 500000000):truncate(d("1s")):unix() == -1)
        for _, wrong in ipairs({5, "1h", t}) do
            raises("bad argument #1 to 'round' (Duration expected", t.round, t, wrong)
            raises("bad argument #1 to 'truncate' (Duration expected", t.truncate, t, wrong)
        end
    "#);
}

#[test]
fn durations() {
    run(r#"
        local d, err = time.parse_duration("1h30m45s500ms")
        assert(err == nil and d:hours() == 5445.5 / 3600 and d:minutes() == 90 + 45.5 / 60 and d:seconds() == 5445.5)
        assert(d:milliseconds() == 5445500 and d:microseconds() == 5445500000 and d:nanoseconds() == 5445500000000)
        assert(math.type(d:milliseconds()) == "integer" and tostring(d) == "1h30m45.5s")
        assert(time.parse_duration(time.SECOND):seconds() == 1)
        assert(time.parse_duration(5 * time.MINUTE):minutes() == 5 and time.parse_duration(1.9):nanoseconds() == 1)
        assert(time.parse_duration(d) == d and time.parse_duration("1500us"):milliseconds() == 1)
        assert(time.parse_duration(1e300):nanoseconds() == math.maxinteger)
        assert(math.type(time.parse_duration("2h"):hours()) == "integer")
        for _, text in ipairs({"", "1", "h", "1x", "1h-5m"}) do
            fails(errors.INVALID, "invalid duration `" .. text .. "`", time.parse_duration(text))
        end
        fails(errors.INVALID, "got table", time.parse_duration({}))
        fails(errors.INVALID, "got no value", time.parse_duration())
        fails(errors.INVALID, "got NaN", time.parse_duration(0/0))
        fails(errors.INVALID, "got userdata", time.parse_duration(time.utc))
    "#);
}

#[test]
fn constants() {
    run(r#"
        assert(time.NANOSECOND == 1 and time.MICROSECOND == 1000 and time.MILLISECOND == 1000000)
        assert(time.SECOND == 1000000000 and time.MINUTE == 60 * time.SECOND and time.HOUR == 60 * time.MINUTE)
        for i, name in ipairs({"JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER",
            "OCTOBER", "NOVEMBER", "DECEMBER"}) do assert(time[name] == i) end
        for i, name in ipairs({"SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"}) do
            assert(time[name] == i - 1)
        end
    "#);
}

#[test]
fn sleeping() {
    run(r#"
        local function took(f, ...)
            local start = time.now()
            local value, err = f(...)
            return time.now():sub(start):milliseconds(), value, err
        end
        assert(took(time.sleep, "5s") == 5000 and took(time.sleep, 500 * time.MILLISECOND) == 500)
        assert(took(time.sleep, time.parse_duration("2s")) == 2000)
        assert(took(time.sleep, 0) == 0 and took(time.sleep, -5) == 0 and took(time.sleep, "-1h") == 0)
        assert(select('#', time.sleep("1ms")) == 0)
        local ms, value, err = took(time.sleep, "soon")
        assert(ms == 0) fails(errors.INVALID, "invalid duration", value, err)
    "#);
}

#[test]
fn after() {
    run(r#"
        local start = time.now()
        local channel, err = time.after("5s")
        assert(err == nil)
        local at, ok = channel:receive()
        assert(ok and at:unix() and time.now():sub(start):seconds() == 5)
        time.after(0):receive()
        assert(time.now():sub(start):seconds() == 5)
        -- They run beside each other.
        local a, b = time.after("3s"), time.after("1s")
        b:receive() assert(time.now():sub(start):seconds() == 6)
        a:receive() assert(time.now():sub(start):seconds() == 8)
        time.after(math.maxinteger)
        fails(errors.INVALID, "invalid duration", time.after("soon"))
    "#);
}

#[test]
fn timers() {
    run(r#"
        local start = time.now()
        local function elapsed() return time.now():sub(start):seconds() end
        local timer, err = time.timer("5s")
        assert(err == nil and timer:response() == timer:channel())
        timer:response():receive()
        assert(elapsed() == 5 and timer:stop() == false)
        assert(timer:reset("2s") == false)
        timer:channel():receive()
        assert(elapsed() == 7)
        -- A reset replaces what was under way.
        local timer = time.timer("1s")
        assert(timer:reset("3s") == true)
        timer:response():receive()
        assert(elapsed() == 10)
        local timer = time.timer("1s")
        assert(timer:stop() == true and timer:stop() == false)
        time.sleep("2s")
        assert(channel.select({timer:response():case_receive()}, true).default)
        fails(errors.INVALID, "above 0", time.timer(0)) fails(errors.INVALID, "above 0", time.timer("-1s"))
        fails(errors.INVALID, "above 0", timer:reset(0)) fails(errors.INVALID, "invalid duration", timer:reset("x"))
        fails(errors.INVALID, "invalid duration", time.timer("soon"))
    "#);
}

#[test]
fn tickers() {
    run(r#"
        local start = time.now()
        local function elapsed() return time.now():sub(start):seconds() end
        local ticker, err = time.ticker("30s")
        assert(err == nil and ticker:response() == ticker:channel())
        for i = 1, 3 do
            local at = ticker:response():receive()
            assert(at:unix() and elapsed() == 30 * i)
        end
        -- One tick is kept, the others are dropped.
        time.sleep("95s")
        ticker:response():receive() assert(elapsed() == 185)
        ticker:response():receive() assert(elapsed() == 210)
        assert(ticker:stop() == true and ticker:stop() == false)
        time.sleep("100s")
        assert(channel.select({ticker:response():case_receive()}, true).default)
        fails(errors.INVALID, "above 0", time.ticker(0)) fails(errors.INVALID, "above 0", time.ticker("-1s"))
        fails(errors.INVALID, "invalid duration", time.ticker("soon"))
    "#);
}

#[test]
fn timers_are_counted() {
    run(r#"
        local timers = {}
        for i = 1, 10000 do timers[i] = assert(time.timer("1h")) end
        local none, err = time.after("1s")
        assert(none == nil and errors.is(err, errors.RATE_LIMITED) and err:retryable() == true)
        for _, timer in ipairs(timers) do timer:stop() end
        time.sleep("1ms")
        assert(time.after("1s")):receive()
    "#);
}
