//! The module `uuid` (`en/lua/security/uuid.md`): RFC 9562.
//!
//! Times of versions 1 and 7 only go up within the process, so that what one makes is distinct and sorted.
//! The node of version 1 is random: it says nothing of the machine.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::Md5;
use mlua::{Lua, Table, Value};
use registry_schema::ErrorKind;
use sha1::{Digest, Sha1};

use super::arguments::{invalid, string, type_name};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::Host;

/// 100 ns intervals between the start of the Gregorian calendar and 1970.
const GREGORIAN_OFFSET: u64 = 0x01b2_1dd2_1381_4000;

type Make = fn() -> Result<Uuid, Error>;
type Derive = fn(Uuid, &[u8]) -> Uuid;

pub(in crate::lua) fn module(lua: &Lua, _: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let made: [(&str, Make); 3] = [("v1", v1), ("v4", v4), ("v7", v7)];
    for (name, make) in made {
        let make = lua.create_function(move |lua, ()| error::answer(lua, make().map(Uuid::standard)))?;
        module.set(name, make)?;
    }
    let named: [(&str, Derive); 2] = [("v3", v3), ("v5", v5)];
    for (name, make) in named {
        let make = lua.create_function(move |lua, (namespace, name): (Value, Value)| {
            let namespace = read(&namespace, "namespace").and_then(|uuid| Ok((uuid, string(&name, "name")?)));
            error::answer(lua, namespace.map(|(uuid, name)| make(uuid, &name.as_bytes()).standard()))
        })?;
        module.set(name, make)?;
    }
    // Documented for any input: what is no text is not valid, and the error says why.
    let validate = lua.create_function(|lua, input: Value| {
        let (valid, problem) = match string(&input, "input") {
            Ok(text) => (Uuid::parse(&text.as_bytes()).is_some(), Value::Nil),
            Err(error) => (false, error::to_lua(lua, error)?),
        };
        Ok((valid, problem))
    })?;
    module.set("validate", validate)?;
    let version =
        lua.create_function(|lua, uuid: Value| error::answer(lua, read(&uuid, "uuid").map(Uuid::version)))?;
    module.set("version", version)?;
    let variant =
        lua.create_function(|lua, uuid: Value| error::answer(lua, read(&uuid, "uuid").map(Uuid::variant)))?;
    module.set("variant", variant)?;
    let parse = lua.create_function(|lua, uuid: Value| match read(&uuid, "uuid") {
        Ok(uuid) => error::answer(lua, Ok(parts(lua, uuid)?)),
        Err(error) => error::pair(lua, error),
    })?;
    module.set("parse", parse)?;
    let format = lua.create_function(|lua, (uuid, format): (Value, Value)| {
        error::answer(lua, read(&uuid, "uuid").and_then(|uuid| formatted(uuid, &format)))
    })?;
    module.set("format", format)?;
    Ok(module)
}

#[derive(Clone, Copy)]
struct Uuid([u8; 16]);

impl Uuid {
    /// One of RFC 9562's own: sets version and variant.
    fn new(mut bytes: [u8; 16], version: u8) -> Self {
        bytes[6] = bytes[6] & 0x0f | version << 4;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads the standard form, 32 digits, and either in braces or after `urn:uuid:`.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = match text {
            [b'{', inner @ .., b'}'] => inner,
            text => match text.split_at_checked(9) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case(b"urn:uuid:") => rest,
                _ => text,
            },
        };
        let dashed = text.len() == 36;
        if dashed && [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') || !dashed && text.len() != 32 {
            return None;
        }
        let mut digits = text.iter().enumerate().filter(|(at, _)| !dashed || !matches!(at, 8 | 13 | 18 | 23));
        let mut digit = || digits.next().and_then(|(_, byte)| char::from(*byte).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
        }
        Some(Self(bytes))
    }

    fn standard(self) -> String {
        let digits = hex(&self.0);
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
    }

    fn version(self) -> u8 {
        self.0[6] >> 4
    }

    fn variant(self) -> &'static str {
        match self.0[8] >> 5 {
            0..=3 => "NCS",
            4 | 5 => "RFC4122",
            6 => "Microsoft",
            _ => "Future",
        }
    }
}

/// Hexadecimal digits in lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

fn read(value: &Value, name: &str) -> Result<Uuid, Error> {
    let text = string(value, name)?;
    Uuid::parse(&text.as_bytes()).ok_or_else(|| invalid(format!("`{name}` has an invalid UUID format")))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("generation failed: no random numbers: {error}"))
    })?;
    Ok(bytes)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `now`, or one more than the last that was given.
fn rising(last: &AtomicU64, now: u64) -> u64 {
    let next = |last: u64| Some(now.max(last.wrapping_add(1)));
    let last = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    now.max(last.wrapping_add(1))
}

fn v1() -> Result<Uuid, Error> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    static SEQUENCE_AND_NODE: OnceLock<[u8; 8]> = OnceLock::new();
    let own = match SEQUENCE_AND_NODE.get() {
        Some(own) => *own,
        None => {
            let mut own = random::<8>()?;
            // The bit that no network card's address has.
            own[2] |= 1;
            *SEQUENCE_AND_NODE.get_or_init(|| own)
        }
    };
    let intervals = u64::try_from(since_epoch().as_nanos() / 100).unwrap_or(u64::MAX / 2);
    let time = rising(&LAST, intervals.wrapping_add(GREGORIAN_OFFSET));
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(time as u32).to_be_bytes());
    bytes[4..6].copy_from_slice(&((time >> 32) as u16).to_be_bytes());
    bytes[6..8].copy_from_slice(&((time >> 48) as u16).to_be_bytes());
    bytes[8..].copy_from_slice(&own);
    Ok(Uuid::new(bytes, 1))
}

fn v4() -> Result<Uuid, Error> {
    random().map(|bytes| Uuid::new(bytes, 4))
}

/// Milliseconds, twelve bits of what is below them, and random bits.
fn v7() -> Result<Uuid, Error> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = since_epoch();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX) << 12;
    let below = u64::from(now.subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
    let time = rising(&LAST, millis | below);
    let mut bytes = random::<16>()?;
    bytes[..6].copy_from_slice(&(time >> 12).to_be_bytes()[2..]);
    bytes[6..8].copy_from_slice(&((time & 0xfff) as u16).to_be_bytes());
    Ok(Uuid::new(bytes, 7))
}

fn v3(namespace: Uuid, name: &[u8]) -> Uuid {
    let digest = Md5::new().chain_update(namespace.0).chain_update(name).finalize();
    Uuid::new(digest.into(), 3)
}

fn v5(namespace: Uuid, name: &[u8]) -> Uuid {
    let digest = Sha1::new().chain_update(namespace.0).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new(bytes, 5)
}

fn parts(lua: &Lua, uuid: Uuid) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("version", uuid.version())?;
    table.raw_set("variant", uuid.variant())?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
    let bytes = &uuid.0;
    match uuid.version() {
        1 => {
            let time =
                (number(&bytes[6..8]) & 0x0fff) << 48 | number(&bytes[4..6]) << 32 | number(&bytes[..4]);
            let seconds = (time - GREGORIAN_OFFSET.cast_signed()).div_euclid(10_000_000);
            table.raw_set("timestamp", seconds)?;
            table.raw_set("node", hex(&bytes[10..]))?;
        }
        7 => table.raw_set("timestamp", number(&bytes[..6]) / 1000)?,
        _ => {}
    }
    Ok(table)
}

fn formatted(uuid: Uuid, format: &Value) -> Result<String, Error> {
    let name = match format {
        Value::Nil => return Ok(uuid.standard()),
        Value::String(name) => name.to_string_lossy(),
        other => return Err(invalid(format!("`format` must be a string, got {}", type_name(other)))),
    };
    match name.as_str() {
        "standard" => Ok(uuid.standard()),
        "simple" => Ok(hex(&uuid.0)),
        "urn" => Ok(format!("urn:uuid:{}", uuid.standard())),
        other => {
            Err(invalid(format!("unsupported format `{other}`, expected `standard`, `simple` or `urn`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;

    fn run(source: &str) {
        Harness::new().module("uuid", super::module).run(source);
    }

    #[test]
    fn made_ones_are_distinct_and_what_they_say() {
        run(r#"
            for _, version in ipairs({1, 4, 7}) do
                local seen, last = {}, ""
                for _ = 1, 1000 do
                    local id, err = uuid["v" .. version]()
                    assert(err == nil and #id == 36 and not seen[id], id)
                    seen[id] = true
                    assert(uuid.validate(id) == true and uuid.version(id) == version)
                    assert(uuid.variant(id) == "RFC4122")
                    if version == 7 then assert(last < id) last = id end
                    local parts = uuid.parse(id)
                    assert(parts.version == version and parts.variant == "RFC4122")
                    if version == 4 then
                        assert(parts.timestamp == nil and parts.node == nil)
                    else
                        assert(math.abs(parts.timestamp - os.time()) <= 2, parts.timestamp)
                        assert((parts.node ~= nil) == (version == 1))
                    end
                end
            end
            assert(uuid.parse(uuid.v1()).node == uuid.parse(uuid.v1()).node)
        "#);
    }

    /// RFC 9562, appendix A.
    #[test]
    fn vectors() {
        run(r#"
            local dns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
            assert(uuid.v3(dns, "www.example.com") == "5df41881-3aed-3515-88a7-2f4a814cf09e")
            assert(uuid.v5(dns, "www.example.com") == "2ed6657d-e927-568b-95e1-2665a8aea6a2")
            local v1 = uuid.parse("C232AB00-9414-11EC-B3C8-9F6BDECED846")
            assert(v1.timestamp == 1645557742 and v1.node == "9f6bdeced846" and v1.version == 1)
            local v7 = uuid.parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
            assert(v7.timestamp == 1645557742 and v7.node == nil and v7.version == 7)
        "#);
    }

    #[test]
    fn forms() {
        run(r#"
            local id = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
            for _, form in ipairs({id, id:upper(), "{" .. id .. "}", "urn:uuid:" .. id, "URN:UUID:" .. id,
                "6ba7b8119dad11d180b400c04fd430c8"}) do
                assert(uuid.validate(form) == true, form)
                assert(uuid.format(form) == id and uuid.format(form, "standard") == id)
                assert(uuid.format(form, "simple") == "6ba7b8119dad11d180b400c04fd430c8")
                assert(uuid.format(form, "urn") == "urn:uuid:" .. id)
            end
            assert(uuid.variant("6ba7b811-9dad-11d1-00b4-00c04fd430c8") == "NCS")
            assert(uuid.variant("6ba7b811-9dad-11d1-c0b4-00c04fd430c8") == "Microsoft")
            assert(uuid.variant("6ba7b811-9dad-11d1-e0b4-00c04fd430c8") == "Future")
        "#);
    }

    #[test]
    fn what_is_refused() {
        run(r#"
            local function fails(text, value, err)
                assert(value == nil and errors.is(err, errors.INVALID) and err:retryable() == false)
                assert(err:message():find(text, 1, true), err:message())
            end
            local id = uuid.v4()
            for _, bad in ipairs({"", "x", id .. "0", id:sub(2), id:gsub("-", "_"), "{" .. id, "g" .. id:sub(2),
                "urn:uuid:", id:gsub("-", "") .. "zzzz"}) do
                local valid, err = uuid.validate(bad)
                assert(valid == false and err == nil, bad)
                for _, name in ipairs({"version", "variant", "parse", "format"}) do
                    fails("invalid UUID format", uuid[name](bad))
                end
                fails("`namespace` has an invalid UUID format", uuid.v3(bad, "name"))
            end
            for _, name in ipairs({"version", "variant", "parse", "format", "v3", "v5"}) do
                fails("must be a string", uuid[name](42))
                fails("must be a string", uuid[name]())
            end
            for _, input in ipairs({42, true, {}, print}) do
                local valid, err = uuid.validate(input)
                assert(valid == false)
                fails("`input` must be a string", nil, err)
            end
            assert(uuid.validate(nil) == false and uuid.validate() == false)
            fails("`name` must be a string", uuid.v5(id, 1))
            fails("unsupported format `hex`", uuid.format(id, "hex"))
            fails("`format` must be a string", uuid.format(id, 1))
        "#);
    }
}
