use serde_json::{Value, json};

use super::module;
use crate::context::Context;
use crate::data::Data;
use crate::loader::Loader;
use crate::lua::modules::harness::Harness;
use crate::security::Actor;

fn rule(effect: &str, actions: &Value, resources: &str, group: &str) -> Value {
    json!({"policy": {"actions": actions, "resources": resources, "effect": effect}, "groups": [group]})
}

/// Policies, and two token stores over one store.
fn harness() -> Harness {
    let none = || json!({});
    let owner = json!({
        "policy": {
            "actions": ["read", "delete"], "resources": "document:*", "effect": "allow",
            "conditions": [{"field": "meta.owner", "operator": "eq", "value_from": "actor.id"}]
        },
        "groups": ["default"]
    });
    Harness::new()
        .module("security", module)
        .module("time", crate::lua::modules::time::module)
        .entry("app:read", "security.policy", none(), rule("allow", &json!("*.read"), "*", "default"))
        .entry("app:owner", "security.policy", none(), owner)
        .entry("app:deny", "security.policy", none(), rule("deny", &json!("*"), "secret:*", "other:g"))
        .entry("app:expr", "security.policy.expr", none(), json!({"groups": ["expr"]}))
        .entry("app:data", "store.memory", none(), json!({"max_size": 3}))
        .entry("app:tokens", "security.token_store", none(), json!({"store": "data", "token_key": "k"}))
        .entry(
            "app:more",
            "security.token_store",
            none(),
            json!({"store": "data", "default_expiration": "1m"}),
        )
        .entry(
            "app:broken",
            "security.token_store",
            none(),
            json!({"store": "data", "token_key": "${env:X}"}),
        )
}

/// The same, called by `user:1` who may do what `allowed` names and nothing with `app:deny`.
fn guarded(allowed: &Value) -> Harness {
    harness()
        .entry("app:guard", "security.policy", json!({}), rule("allow", allowed, "*", "guard"))
        .entry(
            "app:hidden",
            "security.policy",
            json!({}),
            rule("deny", &json!("security.*"), "app:deny", "guard"),
        )
        .context(|loader: &Loader| {
            let scope = loader.policy_group(&"app:guard".parse().unwrap()).unwrap();
            let meta = json!({"role": "user", "tags": ["a"]});
            let actor = Actor::new("user:1", Data::from(&meta)).unwrap();
            Context::default().with_actor(Some(actor.into())).with_scope(Some(scope))
        })
}

#[test]
fn the_context_is_seen_and_cant_be_changed() {
    harness().run(
        r#"
        assert(security.actor() == nil and security.scope() == nil)
        assert(security.can("anything", "at:all") == true)
        "#,
    );
    guarded(&json!("x.read")).run(
        r#"
        local actor = security.actor()
        assert(actor:id() == "user:1" and actor:meta().role == "user")
        actor:meta().role = "admin"
        actor:meta().tags[1] = "b"
        assert(actor:meta().role == "user" and security.actor():meta().tags[1] == "a")
        local ids = {}
        for _, policy in ipairs(security.scope():policies()) do table.insert(ids, policy:id()) end
        assert(table.concat(ids, " ") == "app:guard app:hidden")
        security.scope():policies()[1] = nil
        assert(#security.scope():policies() == 2)
        assert(security.can("x.read", "y") == true and security.can("y.read", "y") == false)
        for _, object in ipairs({actor, security.scope(), security.scope():policies()[1]}) do
            assert(not pcall(function() object.id = function() return "root" end end))
            assert(not pcall(setmetatable, object, {}))
            assert(type(getmetatable(object)) ~= "table")
        end
        "#,
    );
}

#[test]
fn actors() {
    harness().run(
        r#"
        local meta = {role = "user", nested = {level = 1}}
        local actor, err = security.new_actor("user:1", meta)
        assert(err == nil and actor:id() == "user:1")
        -- What happens to the table afterwards is not the actor's.
        meta.role, meta.nested.level = "admin", 9
        assert(actor:meta().role == "user" and actor:meta().nested.level == 1)
        assert(next(security.new_actor("x"):meta()) == nil)
        local function fails(words, value, err)
            assert(value == nil and err:kind() == errors.INVALID, tostring(err))
            assert(err:message():find(words, 1, true), err:message())
        end
        fails("an id that is not empty", security.new_actor(""))
        fails("`id` must be a string, got no value", security.new_actor())
        fails("`id` must be a string, got table", security.new_actor({}))
        fails("UTF-8", security.new_actor("\xff"))
        fails("`meta` must be a table, got string", security.new_actor("x", "admin"))
        fails("meta.f: a function", security.new_actor("x", {f = print}))
        local ring = {}
        ring.ring = ring
        fails("in itself", security.new_actor("x", ring))
        fails("at most 65536", security.new_actor("x", {text = ("x"):rep(65536)}))
        local wide = {}
        for n = 1, 10000 do wide["k" .. n] = n end
        fails("at most 65536", security.new_actor("x", wide))
        -- Metamethods have no say.
        local calls = 0
        local tricky = setmetatable({role = "user"}, {
            __index = function() calls = calls + 1 return "admin" end,
            __pairs = function() calls = calls + 1 return next, {role = "admin"} end,
        })
        local actor = security.new_actor("x", tricky)
        assert(actor:meta().role == "user" and actor:meta().other == nil and calls == 0)
        "#,
    );
}

#[test]
fn scopes_are_made_of_policies() {
    harness().run(
        r#"
        local read, err = security.policy("app:read")
        assert(err == nil and read:id() == "app:read")
        local deny = security.policy("deny")
        local empty = security.new_scope()
        local scope, err = security.new_scope({read})
        assert(err == nil and #scope:policies() == 1 and #empty:policies() == 0)
        local more = scope:with(deny):with(deny)
        assert(#scope:policies() == 1 and #more:policies() == 2)
        assert(more:contains("app:deny") and more:contains("deny") and more:contains(deny))
        assert(not scope:contains("app:deny") and not more:contains("app:Deny"))
        local less = more:without("app:read")
        assert(#less:policies() == 1 and #more:policies() == 2 and less:contains(deny))
        assert(#more:without(read):without("deny"):without("app:gone"):policies() == 0)
        local actor = security.new_actor("user:1")
        assert(empty:evaluate(actor, "x.read", "y") == "undefined")
        assert(scope:evaluate(actor, "x.read", "secret:1") == "allow")
        assert(more:evaluate(actor, "x.read", "secret:1") == "deny")
        assert(more:evaluate(nil, "x.read", "y") == "allow")
        local named, err = security.named_scope("app:default")
        assert(err == nil and #named:policies() == 2)
        assert(#security.named_scope("default"):policies() == 2)
        assert(security.named_scope("other:g"):contains("app:deny"))
        assert(named:evaluate(actor, "delete", "document:1", {owner = "user:1"}) == "allow")
        assert(named:evaluate(actor, "delete", "document:1", {owner = "user:2"}) == "undefined")
        local owner = security.policy("app:owner")
        assert(owner:evaluate(actor, "read", "document:1", {owner = "user:1"}) == "allow")
        assert(owner:evaluate(actor, "read", "document:1") == "undefined")
        assert(owner:evaluate(nil, "read", "document:1", {owner = "user:1"}) == "undefined")
        -- One that can't be evaluated denies.
        assert(security.policy("app:expr"):evaluate(actor, "x", "y") == "deny")
        assert(security.named_scope("app:expr"):evaluate(actor, "x", "y") == "deny")
        "#,
    );
}

#[test]
fn wrong_arguments() {
    harness().run(
        r#"
        local function fails(kind, words, value, err)
            assert(not value and err:kind() == kind and err:retryable() == false, tostring(err))
            assert(err:message():find(words, 1, true), err:message())
        end
        local scope, policy = security.new_scope(), security.policy("app:read")
        local actor = security.new_actor("x")
        fails(errors.INTERNAL, "the policy `app:gone` was not found", security.policy("app:gone"))
        fails(errors.INTERNAL, "the policy `app:data` was not found", security.policy("app:data"))
        fails(errors.INTERNAL, "the policy `app:re*` was not found", security.policy("app:re*"))
        fails(errors.INTERNAL, "the policy group `app:gone`", security.named_scope("app:gone"))
        fails(errors.INTERNAL, "the token store `app:gone`", security.token_store("app:gone"))
        fails(errors.INTERNAL, "the token store `app:data`", security.token_store("app:data"))
        fails(errors.UNAVAILABLE, "`X` is not set", security.token_store("app:broken"))
        for _, get in ipairs({security.policy, security.named_scope, security.token_store}) do
            fails(errors.INVALID, "must not be empty", get(""))
            fails(errors.INVALID, "`id` must be a string, got no value", get())
            fails(errors.INVALID, "no valid id", get("a b:c"))
            fails(errors.INVALID, "no valid id", get("app:read\0"))
            fails(errors.INVALID, "no valid id", get("app:" .. ("x"):rep(256)))
        end
        fails(errors.INVALID, "`policies[2]` must be a policy, got string", security.new_scope({policy, "app:deny"}))
        fails(errors.INVALID, "`policies` must be an array", security.new_scope("app:read"))
        fails(errors.INVALID, "without holes", security.new_scope({policy, nil, policy}))
        fails(errors.INVALID, "without holes", security.new_scope({read = policy}))
        fails(errors.INVALID, "`policy` must be a policy, got string", scope:with("app:read"))
        fails(errors.INVALID, "`policy` must be a policy, got userdata", scope:with(actor))
        fails(errors.INVALID, "`policy` must be a string", scope:without())
        fails(errors.INVALID, "`policy` must be a string", scope:contains(5))
        for _, object in ipairs({scope, policy}) do
            fails(errors.INVALID, "`actor` must be an actor, got string", object:evaluate("user:1", "a", "r"))
            fails(errors.INVALID, "`actor` must be an actor, got userdata", object:evaluate(scope, "a", "r"))
            fails(errors.INVALID, "`action` must be a string, got no value", object:evaluate(actor))
            fails(errors.INVALID, "`resource` must be a string, got number", object:evaluate(actor, "a", 5))
            fails(errors.INVALID, "`meta` must be a table, got boolean", object:evaluate(actor, "a", "r", true))
        end
        fails(errors.INVALID, "`action` must be a string", security.can())
        fails(errors.INVALID, "`resource` must be a string", security.can("a"))
        fails(errors.INVALID, "UTF-8", security.can("a", "\xff"))
        fails(errors.INVALID, "`meta` must be a table", security.can("a", "r", "m"))
        fails(errors.INVALID, "at most 65536", security.can("a", "r", {text = ("x"):rep(65536)}))
        "#,
    );
}

#[test]
fn each_operation_needs_its_permission() {
    let calls = [
        ("security.policy.get", "security.policy('app:read')"),
        ("security.policy_group.get", "security.named_scope('app:default')"),
        ("security.scope.create", "security.new_scope()"),
        ("security.scope.create", "security.scope():with(security.scope():policies()[1])"),
        ("security.scope.create", "security.scope():without('app:hidden')"),
        ("security.actor.create", "security.new_actor('root')"),
        ("security.token_store.get", "security.token_store('app:tokens')"),
    ];
    for (action, call) in calls {
        guarded(&json!(action))
            .run(&format!("local value, err = {call} assert(value ~= nil and err == nil, tostring(err))"));
        let others: Vec<&str> =
            calls.iter().map(|(action, _)| *action).filter(|other| *other != action).collect();
        guarded(&json!(others)).run(&format!(
            "local value, err = {call}
            assert(value == nil and err:kind() == errors.INVALID, tostring(err))
            assert(err:message():find('actor `user:1` may not `{action}` on `', 1, true), err:message())"
        ));
    }
}

#[test]
fn a_denied_id_has_no_other_spelling() {
    guarded(&json!("security.*")).run(
        r#"
        assert(security.policy("app:read"))
        for _, id in ipairs({"app:deny", "deny"}) do
            local policy, err = security.policy(id)
            assert(policy == nil and err:message():find("on `app:deny`", 1, true), tostring(err))
        end
        -- Other ids are other entries, or none.
        local odd = {"APP:deny", "app:Deny", "app:deny ", " app:deny", "app:deny\0", "app::deny", "app:*",
            "app:den?", "app:d%65ny", "app:dеny", "app:de\u{200b}ny", "app/deny", "./app:deny", "app:deny:"}
        for _, id in ipairs(odd) do
            local policy, err = security.policy(id)
            assert(policy == nil and err, id)
        end
        "#,
    );
}

#[test]
fn tokens() {
    harness().run(
        r#"
        local store, err = security.token_store("app:tokens")
        assert(err == nil)
        local actor = security.new_actor("user:123", {role = "user", nested = {level = 3}})
        local scope = security.named_scope("app:default")
        local token, err = store:create(actor, scope, {expiration = "7d", meta = {device = "mobile"}})
        assert(err == nil and token:match("^[%w_-]+%.%x+$") and #token == 43 + 1 + 64, token)
        -- Another handle of the same store.
        local found, rights, err = security.token_store("tokens"):validate(token)
        assert(err == nil and found:id() == "user:123" and found:meta().nested.level == 3)
        assert(rights:contains("app:read") and rights:contains("app:owner"))
        local other = security.token_store("app:more")
        local none, nothing, err = other:validate(token)
        assert(none == nil and nothing == nil and err:kind() == errors.INTERNAL)
        local ok, err = other:revoke(token)
        assert(ok == false and err == nil)
        local ok, err = store:revoke(token)
        assert(ok == true and err == nil)
        assert(store:revoke(token) == false and store:validate(token) == nil)
        assert(store:close() == true and store:close() == true)
        for _, method in ipairs({"create", "validate", "revoke"}) do
            local results = table.pack(store[method](store, actor, scope))
            assert(results[1] == nil and results[results.n]:kind() == errors.INTERNAL)
            assert(results[results.n]:message() == "the token store `app:tokens` was closed")
        end
        assert(other:create(actor, scope))
        "#,
    );
}

#[test]
fn tokens_expire() {
    harness().run(
        r#"
        local store = security.token_store("app:more")
        local actor, scope = security.new_actor("x"), security.new_scope()
        local usual = store:create(actor, scope)
        local short = store:create(actor, scope, {expiration = 1500})
        local long = store:create(actor, scope, {expiration = "1d12h"})
        local full, err = store:create(actor, scope)
        assert(full == nil and err:kind() == errors.UNAVAILABLE and err:retryable() == true)
        time.sleep("1499ms")
        assert(store:validate(short) and store:validate(usual))
        time.sleep("1ms")
        assert(not store:validate(short) and store:validate(usual))
        -- What expired makes room.
        assert(store:create(actor, scope, {expiration = 0.5}))
        time.sleep("1m")
        assert(not store:validate(usual) and store:validate(long))
        time.sleep("36h")
        assert(not store:validate(long))
        "#,
    );
}

#[test]
fn wrong_arguments_of_token_stores() {
    harness().run(
        r#"
        local store = security.token_store("app:tokens")
        local actor, scope = security.new_actor("x"), security.new_scope()
        local function fails(words, value, err)
            assert(value == nil and err:kind() == errors.INVALID, tostring(err))
            assert(err:message():find(words, 1, true), err:message())
        end
        fails("`actor` must be an actor, got string", store:create("user:1", scope))
        fails("`actor` must be an actor, got no value", store:create())
        fails("`scope` must be a scope, got no value", store:create(actor))
        fails("`scope` must be a scope, got userdata", store:create(actor, actor))
        fails("`options` must be a table, got string", store:create(actor, scope, "24h"))
        fails("there is no option `expires`", store:create(actor, scope, {expires = "1h"}))
        fails("`meta` must be a table", store:create(actor, scope, {meta = "x"}))
        fails("at most 65536", store:create(actor, scope, {meta = {text = ("x"):rep(65536)}}))
        local odd = {"", "soon", "1", "d", "1.5d", "-1h", "0", "0d", "1h1d", "1d1d", "d1h", "999999999999999999d",
            0, -1, 0.0, -0.5, 0/0, 1/0, math.mininteger, 1e300, true, {}}
        for _, expiration in ipairs(odd) do
            fails("`expiration` must be a duration above 0", store:create(actor, scope, {expiration = expiration}))
        end
        fails("can't be good for", store:create(actor, scope, {expiration = 1e22}))
        local function refused(token, kind)
            local a, s, err = store:validate(token)
            assert(a == nil and s == nil and err:kind() == kind, tostring(err))
        end
        refused(nil, errors.INVALID)
        refused(5, errors.INVALID)
        refused("", errors.INTERNAL)
        refused("x.y", errors.INTERNAL)
        refused(("x"):rep(100000), errors.INTERNAL)
        local ok, err = store:revoke("")
        assert(ok == false and err == nil)
        fails("`token` must be a string", store:revoke())
        "#,
    );
}

#[test]
fn tokens_need_permissions() {
    let get = ["security.token_store.get", "security.actor.create", "security.scope.create"];
    for (action, call) in [
        ("security.token.create", "store:create(security.new_actor('x'), security.new_scope())"),
        ("security.token.validate", "store:validate('x')"),
        ("security.token.revoke", "store:revoke('x')"),
    ] {
        guarded(&json!(get)).run(&format!(
            "local store = security.token_store('app:tokens')
            local results = table.pack({call})
            local err = results[results.n]
            assert(results[1] == nil and err:kind() == errors.INVALID, tostring(err))
            assert(err:message() == 'actor `user:1` may not `{action}` on `app:tokens`', err:message())"
        ));
        let mut allowed = get.to_vec();
        allowed.push(action);
        guarded(&json!(allowed)).run(&format!(
            "local store = security.token_store('app:tokens')
            local results = table.pack({call})
            local err = results[results.n]
            assert(err == nil or err:kind() == errors.INTERNAL, tostring(err))"
        ));
    }
}
