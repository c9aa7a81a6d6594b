//! The module `base64` (`en/lua/data/base64.md`): the standard alphabet with padding.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use mlua::{Lua, Table, Value};

use super::arguments::{invalid, string};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::Host;

/// As lenient as today's runtime: unused bits of the last character may be set.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

pub(in crate::lua) fn module(lua: &Lua, _: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let encode = lua.create_function(|lua, data: Value| {
        error::answer(lua, string(&data, "data").map(|data| BASE64.encode(data.as_bytes())))
    })?;
    module.set("encode", encode)?;
    let decode = lua.create_function(|lua, data: Value| match decoded(&data) {
        Ok(bytes) => error::answer(lua, Ok(lua.create_string(bytes)?)),
        Err(error) => error::pair(lua, error),
    })?;
    module.set("decode", decode)?;
    Ok(module)
}

/// Line ends are skipped, as in texts of MIME and PEM.
fn decoded(data: &Value) -> Result<Vec<u8>, Error> {
    let data = string(data, "data")?.as_bytes();
    let bytes = if data.contains(&b'\n') || data.contains(&b'\r') {
        BASE64.decode(data.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect::<Vec<u8>>())
    } else {
        BASE64.decode(&*data)
    };
    bytes.map_err(|error| invalid(format!("invalid base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;

    fn run(source: &str) {
        Harness::new().module("base64", super::module).run(source);
    }

    #[test]
    fn there_and_back() {
        run(r#"
            local text, err = base64.encode("Hello, World!")
            assert(text == "SGVsbG8sIFdvcmxkIQ==" and err == nil)
            local data, err = base64.decode(text)
            assert(data == "Hello, World!" and err == nil)
            assert(base64.encode("") == "" and base64.decode("") == "")
            local all = {}
            for byte = 0, 255 do all[#all + 1] = string.char(byte) end
            all = table.concat(all)
            assert(base64.decode(base64.encode(all)) == all)
            assert(base64.decode("SGVs\r\nbG8=\n") == "Hello")
            assert(base64.decode("SGVsbG9=") == "Hello")
        "#);
    }

    #[test]
    fn what_is_refused() {
        run(r#"
            local function fails(data, err)
                assert(data == nil and errors.is(err, errors.INVALID) and err:retryable() == false)
            end
            fails(base64.encode(42)) fails(base64.encode()) fails(base64.decode({}))
            for _, text in ipairs({"SGVs!G8=", "SGVsbG8", "SGVsbG8==", "=", "SGVsb", "_-==", "SGVs bG8="}) do
                fails(base64.decode(text))
            end
        "#);
    }
}
