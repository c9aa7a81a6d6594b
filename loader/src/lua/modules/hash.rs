//! The module `hash` (`en/lua/security/hash.md`). FNV is FNV-1a; 64 bits in two's complement.

use hmac::digest::Digest;
use hmac::digest::block_api::BlockSizeUser;
use hmac::{KeyInit, Mac, SimpleHmac};
use md5::Md5;
use mlua::{IntoLua, Lua, LuaString, Table, Value};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::arguments::string;
use crate::error::Error;
use crate::lua::host::Host;
use crate::lua::{error, turns};

pub(in crate::lua) fn module(lua: &Lua, _: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    add::<Md5>(lua, &module, "md5")?;
    add::<Sha1>(lua, &module, "sha1")?;
    add::<Sha256>(lua, &module, "sha256")?;
    add::<Sha512>(lua, &module, "sha512")?;
    let fnv32 = lua.create_function(|lua, data: Value| {
        error::answer(lua, long(lua, &data)?.map(|data| i64::from(fnv32(&data.as_bytes()))))
    })?;
    module.set("fnv32", fnv32)?;
    let fnv64 = lua.create_function(|lua, data: Value| {
        error::answer(lua, long(lua, &data)?.map(|data| fnv64(&data.as_bytes()).cast_signed()))
    })?;
    module.set("fnv64", fnv64)?;
    Ok(module)
}

/// Adds `name` and `hmac_name`.
fn add<D: Digest + BlockSizeUser + 'static>(lua: &Lua, module: &Table, name: &str) -> mlua::Result<()> {
    let plain = lua.create_function(|lua, (data, raw): (Value, Value)| {
        let digest = long(lua, &data)?.map(|data| D::digest(data.as_bytes()));
        error::answer(lua, digest.map(|digest| Shown { digest: digest.to_vec(), raw: is_raw(&raw) }))
    })?;
    module.set(name, plain)?;
    let keyed = lua.create_function(|lua, (data, secret, raw): (Value, Value, Value)| {
        let both = long(lua, &data)?.and_then(|data| Ok((data, string(&secret, "secret")?)));
        let code = both.map(|(data, secret)| authenticated::<D>(data, secret));
        error::answer(lua, code.map(|digest| Shown { digest, raw: is_raw(&raw) }))
    })?;
    module.set(format!("hmac_{name}"), keyed)
}

/// What is hashed, which may be long.
fn long<'a>(lua: &Lua, data: &'a Value) -> mlua::Result<Result<&'a LuaString, Error>> {
    let data = string(data, "data");
    if let Ok(data) = &data {
        turns::worked(lua, data.as_bytes().len())?;
    }
    Ok(data)
}

fn authenticated<D: Digest + BlockSizeUser>(data: &LuaString, secret: &LuaString) -> Vec<u8> {
    let mac = SimpleHmac::<D>::new_from_slice(&secret.as_bytes());
    let mac = mac.expect("HMAC takes keys of any length");
    mac.chain_update(data.as_bytes()).finalize().into_bytes().to_vec()
}

fn is_raw(value: &Value) -> bool {
    matches!(value, Value::Boolean(true))
}

/// A digest as bytes, or as hexadecimal digits in lower case.
struct Shown {
    digest: Vec<u8>,
    raw: bool,
}

impl IntoLua for Shown {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let Self { digest, raw } = self;
        let text = if raw { digest } else { super::uuid::hex(&digest).into_bytes() };
        lua.create_string(text).map(Value::String)
    }
}

fn fnv32(data: &[u8]) -> u32 {
    data.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn fnv64(data: &[u8]) -> u64 {
    data.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;

    fn run(source: &str) {
        Harness::new().module("hash", super::module).run(source);
    }

    #[test]
    fn digests() {
        run(r#"
            local function is(name, expected)
                local hex, err = hash[name]("abc")
                assert(hex == expected and err == nil, name)
                local raw = hash[name]("abc", true)
                assert(#raw * 2 == #hex)
                assert(raw:gsub(".", function(c) return ("%02x"):format(c:byte()) end) == hex)
                assert(hash[name]("abc", false) == hex)
            end
            is("md5", "900150983cd24fb0d6963f7d28e17f72")
            is("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d")
            is("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
            is("sha512", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                .. "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f")
        "#);
    }

    /// RFC 2202 and RFC 4231, test case 2.
    #[test]
    fn authentication_codes() {
        run(r#"
            local data, secret = "what do ya want for nothing?", "Jefe"
            local function is(name, expected)
                local hex, err = hash[name](data, secret)
                assert(hex == expected and err == nil, name)
                assert(#hash[name](data, secret, true) * 2 == #hex)
            end
            is("hmac_md5", "750c783e6ab0b503eaa86e310a5db738")
            is("hmac_sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
            is("hmac_sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
            is("hmac_sha512", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                .. "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737")
            assert(hash.hmac_sha256("", "") == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
        "#);
    }

    #[test]
    fn fnv() {
        run(r#"
            assert(hash.fnv32("") == 0x811c9dc5 and hash.fnv32("foobar") == 0xbf9cf968)
            assert(hash.fnv64("") == 0xcbf29ce484222325 and hash.fnv64("foobar") == 0x85944171f73967e8)
            assert(math.type(hash.fnv64("a")) == "integer" and select(2, hash.fnv32("a")) == nil)
        "#);
    }

    #[test]
    fn wrong_arguments() {
        run(r#"
            local function fails(name, value, err)
                assert(value == nil and errors.is(err, errors.INVALID) and err:retryable() == false)
                assert(err:message():find("`" .. name .. "` must be a string", 1, true), err:message())
            end
            for _, name in ipairs({"md5", "sha1", "sha256", "sha512"}) do
                fails("data", hash[name](42)) fails("data", hash[name]())
                fails("data", hash["hmac_" .. name]({}, "secret")) fails("secret", hash["hmac_" .. name]("data"))
            end
            fails("data", hash.fnv32(1)) fails("data", hash.fnv64(nil))
        "#);
    }
}
