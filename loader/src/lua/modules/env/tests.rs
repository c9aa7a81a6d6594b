use serde_json::json;

use super::module;
use crate::context::Context;
use crate::data::Data;
use crate::loader::Loader;
use crate::lua::modules::harness::Harness;
use crate::security::Actor;
use crate::support::temporary_folder;

fn harness() -> Harness {
    let none = || json!({});
    Harness::new()
        .module("env", module)
        .entry("app:fixed", "env.storage.static", none(), json!({"values": {"HOST": "h", "secret": "s"}}))
        .entry("app:memory", "env.storage.memory", none(), none())
        .entry("app:os", "env.storage.os", none(), none())
        .entry("app:router", "env.storage.router", none(), json!({"storages": ["memory", "fixed"]}))
        .entry("app:file", "env.storage.file", none(), json!({"file_path": "conf/.env", "auto_create": true}))
        .entry("app:host", "env.variable", none(), json!({"variable": "HOST", "storage": "router"}))
        .entry("app:fixed_host", "env.variable", none(), json!({"variable": "FIXED", "storage": "fixed"}))
        .entry(
            "app:port",
            "env.variable",
            none(),
            json!({"variable": "PORT", "storage": "memory", "default": 8080}),
        )
        .entry(
            "app:locked",
            "env.variable",
            none(),
            json!({"variable": "LOCKED", "storage": "memory", "default": "x", "readonly": true}),
        )
        .entry("app:secret", "env.variable", none(), json!({"storage": "fixed"}))
        .entry("app:home", "env.variable", none(), json!({"variable": "HOME_GONE_X", "storage": "os"}))
        .entry("app:kept", "env.variable", none(), json!({"variable": "KEPT", "storage": "file"}))
        .entry("other:private", "env.variable", none(), json!({"storage": "app:memory", "default": "p"}))
        .entry("app:lost", "env.variable", none(), json!({"variable": "LOST", "storage": "gone"}))
}

#[test]
fn variables_are_found_by_name_id_and_own_namespace() {
    harness().run(
        r#"
        assert(env.get("HOST") == "h" and env.get("app:host") == "h" and env.get("host") == "h")
        assert(env.get("PORT") == "8080")
        assert(env.get("secret") == "s" and env.get("app:secret") == "s")
        assert(env.get("other:private") == "p")
        local value, err = env.get("private")
        assert(value == nil and err:kind() == errors.NOT_FOUND)
        "#,
    );
}

#[test]
fn what_is_set_is_seen() {
    let folder = temporary_folder();
    harness().root(folder.path()).run(
        r#"
        local ok, err = env.set("PORT", "1")
        assert(ok == true and err == nil)
        assert(env.get("PORT") == "1" and env.get("app:port") == "1")
        -- A router is written to at its first storage, which is read first.
        assert(env.set("HOST", "other") and env.get("HOST") == "other")
        assert(env.set("KEPT", "it's kept") and env.get("KEPT") == "it's kept")
        assert(env.set("KEPT", "") and env.get("KEPT") == "")
        assert(env.set("KEPT", "twice"))
        assert(env.set("PORT", "") and env.get("PORT") == "")
        "#,
    );
    let text = std::fs::read_to_string(folder.path().join("conf/.env")).unwrap();
    assert_eq!(text, "KEPT=twice\n");
}

#[test]
fn all_are_those_with_a_public_name_and_a_value() {
    harness().run(
        r#"
        local all, err = env.get_all()
        assert(err == nil)
        local names = {}
        for name, value in pairs(all) do table.insert(names, name .. "=" .. value) end
        table.sort(names)
        assert(table.concat(names, " ") == "HOST=h LOCKED=x PORT=8080", table.concat(names, " "))
        "#,
    );
}

#[test]
fn errors() {
    let folder = temporary_folder();
    harness().root(folder.path()).run(
        r#"
        local function fails(kind, words, value, err)
            assert(value == nil and err:kind() == kind and err:retryable() == false, tostring(err))
            assert(err:message():find(words, 1, true), err:message())
        end
        fails(errors.INVALID, "`key` must not be empty", env.get(""))
        fails(errors.INVALID, "`key` must be a string, got no value", env.get())
        fails(errors.INVALID, "`key` must be a string, got number", env.get(5))
        fails(errors.INVALID, "UTF-8", env.get("\xff"))
        fails(errors.INVALID, "white space", env.get("a b"))
        fails(errors.NOT_FOUND, "`GONE`", env.get("GONE"))
        fails(errors.NOT_FOUND, "`port_`", env.get("port_"))
        fails(errors.NOT_FOUND, "`app:fixed`", env.get("app:fixed"))
        fails(errors.NOT_FOUND, "`HOME_GONE_X`", env.get("HOME_GONE_X"))
        fails(errors.NOT_FOUND, "`KEPT`", env.get("KEPT"))
        fails(errors.NOT_FOUND, "`app:gone`", env.get("LOST"))
        fails(errors.NOT_FOUND, "`app:gone`", env.set("LOST", "x"))
        fails(errors.INVALID, "`key` must not be empty", env.set("", "x"))
        fails(errors.INVALID, "`value` must be a string, got number", env.set("PORT", 5))
        fails(errors.INVALID, "`value` must be a string, got no value", env.set("PORT"))
        fails(errors.INVALID, "at most 65536", env.set("PORT", ("x"):rep(65537)))
        fails(errors.INVALID, "a line of a file", env.set("KEPT", "a\nB=b"))
        fails(errors.NOT_FOUND, "`GONE`", env.set("GONE", "x"))
        fails(errors.PERMISSION_DENIED, "the variable `app:locked` is read-only", env.set("LOCKED", "y"))
        fails(errors.PERMISSION_DENIED, "the storage `app:fixed` is read-only", env.set("secret", "y"))
        fails(errors.PERMISSION_DENIED, "the storage `app:os` is read-only", env.set("HOME_GONE_X", "y"))
        assert(env.set("PORT", ("x"):rep(65536)))
        "#,
    );
}

/// May read what begins with `P`, `HOST` by its id, all of `other`; not `LOCKED` by any name.
fn guarded() -> Harness {
    let policy = |effect: &str, actions: serde_json::Value, resources: serde_json::Value| json!({"policy": {"actions": actions, "resources": resources, "effect": effect}, "groups": ["g"]});
    let none = || json!({});
    harness()
        .entry(
            "app:allow",
            "security.policy",
            none(),
            policy("allow", json!("env.get"), json!(["P*", "app:host", "other:*", "app:locked", "NEW*"])),
        )
        .entry("app:write", "security.policy", none(), policy("allow", json!("env.set"), json!("PORT")))
        .entry("app:deny", "security.policy", none(), policy("deny", json!("env.*"), json!("LOCKED")))
        .context(|loader: &Loader| {
            let scope = loader.policy_group(&"app:g".parse().unwrap()).unwrap();
            let actor = Actor::new("user:1", Data::Nil).unwrap();
            Context::default().with_actor(Some(actor.into())).with_scope(Some(scope))
        })
}

#[test]
fn policies_name_a_variable_by_any_of_its_names() {
    guarded().run(
        r#"
        for _, key in ipairs({"PORT", "app:port", "port", "HOST", "app:host", "host", "other:private"}) do
            assert(env.get(key), key)
        end
        local function denied(value, err)
            assert(value == nil and err:kind() == errors.PERMISSION_DENIED, tostring(err))
        end
        -- Denied by its public name, whatever it is called.
        for _, key in ipairs({"LOCKED", "app:locked", "locked"}) do denied(env.get(key)) end
        for _, key in ipairs({"secret", "app:secret", "KEPT"}) do denied(env.get(key)) end
        -- Who may not ask is not told what there is.
        for _, key in ipairs({"GONE", "app:gone", "locked_"}) do denied(env.get(key)) end
        local value, err = env.get("NEWS")
        assert(value == nil and err:kind() == errors.NOT_FOUND)
        denied(env.set("HOST", "x"))
        denied(env.set("LOCKED", "x"))
        denied(env.set("other:private", "x"))
        assert(env.set("app:port", "1") and env.get("PORT") == "1")
        local names = {}
        for name in pairs((env.get_all())) do table.insert(names, name) end
        table.sort(names)
        assert(table.concat(names, " ") == "HOST PORT", table.concat(names, " "))
        local _, err = env.get("LOCKED")
        assert(err:message() == "actor `user:1` may not `env.get` on `LOCKED`", err:message())
        "#,
    );
}

#[test]
fn strict_mode_needs_actor_and_scope() {
    harness().settings(json!({"security": {"strict_mode": true}})).run(
        r#"
        local value, err = env.get("PORT")
        assert(value == nil and err:kind() == errors.PERMISSION_DENIED)
        assert(not env.set("PORT", "1"))
        assert(next((env.get_all())) == nil)
        "#,
    );
}
