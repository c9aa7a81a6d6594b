//! The module `ctx` (`en/lua/core/context.md`): the values that the caller gave to this call.
//!
//! What it gives are copies: nothing that is done to them is seen by anyone else.

use mlua::{Lua, Table, Value};
use registry_schema::ErrorKind;

use super::arguments::{invalid, string};
use crate::data::Data;
use crate::error::Error;
use crate::lua::host::Host;
use crate::lua::{convert, error};

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let own = host.clone();
    let get = lua.create_function(move |lua, key: Value| match value(&own, &key) {
        Ok(data) => error::answer(lua, Ok(convert::to_lua(lua, &data)?)),
        Err(problem) => error::pair(lua, problem),
    })?;
    module.set("get", get)?;
    let own = host.clone();
    let all = lua.create_function(move |lua, ()| {
        let all = lua.create_table()?;
        for (key, data) in own.context()?.values() {
            all.raw_set(key.as_str(), convert::to_lua(lua, data)?)?;
        }
        error::answer(lua, Ok(all))
    })?;
    module.set("all", all)?;
    Ok(module)
}

fn value(host: &Host, key: &Value) -> Result<Data, Error> {
    let key = string(key, "key")?.to_string_lossy();
    if key.is_empty() {
        return Err(invalid("`key` must not be empty"));
    }
    let context = host.context().map_err(|_| Error::new(ErrorKind::Internal, "no context is available"))?;
    let missing = || Error::new(ErrorKind::NotFound, format!("the context has no `{key}`"));
    context.values().get(&key).cloned().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::context::Context;
    use crate::lua::modules::harness::Harness;

    fn harness() -> Harness {
        Harness::new().module("ctx", module).context(|_| {
            let values = json!({"id": "r-1", "flags": {"dark": true, "list": [1, 2]}, "off": false, "n": 0});
            let values = values.as_object().cloned().unwrap_or_default();
            Context::default().with_values(values.iter().map(|(key, value)| (key.clone(), Data::from(value))))
        })
    }

    #[test]
    fn values_are_read_by_key_or_all_at_once() {
        harness().run(
            r#"
            local id, err = ctx.get("id")
            assert(id == "r-1" and err == nil)
            assert(ctx.get("n") == 0)
            local off, err = ctx.get("off")
            assert(off == false and err == nil)
            assert(ctx.get("flags").dark == true and ctx.get("flags").list[2] == 2)
            local all, err = ctx.all()
            assert(err == nil and all.id == "r-1" and all.off == false and all.flags.list[1] == 1)
            local count = 0
            for _ in pairs(all) do count = count + 1 end
            assert(count == 4)
            "#,
        );
        Harness::new().module("ctx", module).run("assert(next(ctx.all()) == nil)");
    }

    #[test]
    fn what_is_done_to_a_value_is_not_seen() {
        harness().run(
            r#"
            ctx.get("flags").dark = false
            ctx.all().flags.list[1] = 9
            ctx.all().id = "forged"
            assert(ctx.get("flags").dark == true and ctx.get("flags").list[1] == 1)
            assert(ctx.get("id") == "r-1")
            "#,
        );
    }

    #[test]
    fn errors() {
        harness().run(
            r#"
            local function fails(kind, key)
                local value, err = ctx.get(key)
                assert(value == nil and err:kind() == kind and err:retryable() == false, tostring(err))
            end
            fails(errors.INVALID, "")
            fails(errors.INVALID)
            fails(errors.INVALID, 5)
            fails(errors.INVALID, {})
            fails(errors.NOT_FOUND, "gone")
            fails(errors.NOT_FOUND, "ID")
            fails(errors.NOT_FOUND, "\xff")
            "#,
        );
    }
}
