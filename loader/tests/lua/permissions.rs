//! Who may call what, through every door; and what the builder of `funcs.new` takes from whom.

use loader::Data;
use serde_json::json;

use crate::guests::{Door, trampoline};
use crate::shared::{App, lua, process};
use crate::support::Registry;

const POLICIES: &str = r#"
- name: doors
  kind: security.policy
  policy: {actions: [funcs.call], resources: ["app:inner", "app:strings", "app:bytes"], effect: allow}
- name: hosts
  kind: security.policy
  policy: {actions: [process.host, "process.spawn.monitored"], resources: "*", effect: allow}
- name: by-id
  kind: security.policy
  policy: {actions: [funcs.call, process.spawn], resources: ["app:open", "app:open-process"], effect: allow}
- name: all
  kind: security.policy
  policy: {actions: [funcs.call, process.spawn], resources: "app:*", effect: allow}
- name: not-shut
  kind: security.policy
  policy: {actions: "*", resources: ["app:shut", "app:shut-process"], effect: deny}
- name: for-ann
  kind: security.policy
  policy:
    actions: [funcs.call, process.spawn]
    resources: "app:*"
    effect: allow
    conditions: [{field: actor.id, operator: eq, value: ann}]
"#;

/// Calls or spawns `target` through `door`: `true` if it ran, else what was answered.
const DOORS: &str = r#"
    local funcs = require("funcs")
    local doors = {}
    function doors.call(target) return funcs.call(target, "x") end
    function doors.async(target)
        local future, err = funcs.async(target, "x")
        if err then return nil, err end
        local payload = future:response():receive()
        return payload:data(), (future:error())
    end
    function doors.executor(target) return funcs.new():call(target, "x") end
    doors["executor, async"] = function(target)
        local future, err = funcs.new():with_options({timeout = "1m"}):async(target, "x")
        if err then return nil, err end
        return future:response():receive():data()
    end
    doors["call-string"] = function(target) return funcs.call("app:strings", target, "x") end
    doors["call-bytes"] = function(target) return funcs.call("app:bytes", target, "x") end
    function doors.spawn(target)
        local events = process.events()
        local _, err = process.spawn_monitored(target .. "-process", "app:host", "x")
        if err then return nil, err end
        local result = events:receive().result
        return result.value, result.error
    end
    return function(door, target)
        local value, err = doors[door](target)
        if value == "x ran" and err == nil then return true end
        local is_denied = value == nil and err:message():find("may not `", 1, true) ~= nil
        -- A guest knows the text alone.
        if door:find("call-", 1, true) then return is_denied and "denied" or err:message() end
        return is_denied and err:kind() == errors.PERMISSION_DENIED and err:retryable() == false and "denied"
            or err:message()
    end"#;

const AS: &str = r#"
    local funcs, security = require("funcs"), require("security")
    return function(actor, policies, door, target)
        local exec = funcs.new()
        if actor then
            local all = {}
            for i, name in ipairs(policies) do all[i] = assert(security.policy("app:" .. name)) end
            exec = exec:with_actor((security.new_actor(actor))):with_scope((security.new_scope(all)))
        end
        local value, err = exec:call("app:inner", door, target)
        if err then return err:message() end
        return value
    end"#;

fn doors() -> Registry {
    let ran = r#"return function(input) print("ran") return input .. " ran" end"#;
    let guest = "method: call\nimports: [funcs]";
    let mut registry = Registry::new()
        .entries(POLICIES)
        .entries("- {name: host, kind: process.host}\n")
        .wat("strings", &trampoline(Door::String, ""), guest)
        .wat("bytes", &trampoline(Door::Bytes, ""), guest);
    for name in ["open", "shut"] {
        registry = lua(registry, name, ran, "");
        registry = process(registry, &format!("{name}-process"), ran, "");
    }
    let registry = lua(registry, "inner", DOORS, "modules: [funcs]");
    lua(registry, "as", AS, "modules: [funcs, security]")
}

const ALL_DOORS: [&str; 7] =
    ["call", "async", "executor", "executor, async", "call-string", "call-bytes", "spawn"];

#[tokio::test]
async fn every_door_asks_the_same_policies() {
    let app = App::new(doors());
    let base = ["doors", "hosts"];
    // Who, with which policies, may use `open`, may use `shut`.
    let table: [(Option<&str>, &[&str], bool, bool); 8] = [
        (None, &[], true, true),
        (Some("ann"), &[], false, false),
        (Some("ann"), &["by-id"], true, false),
        (Some("ann"), &["all"], true, true),
        (Some("ann"), &["all", "not-shut"], true, false),
        (Some("ann"), &["by-id", "not-shut"], true, false),
        (Some("ann"), &["for-ann"], true, true),
        (Some("bob"), &["for-ann"], false, false),
    ];
    for (actor, policies, open, shut) in table {
        let policies: Vec<&str> = base.iter().chain(policies).copied().collect();
        for door in ALL_DOORS {
            for (target, may) in [("app:open", open), ("app:shut", shut)] {
                let actor = actor.map_or(Data::Nil, Data::from);
                let args = vec![actor, Data::from(&json!(policies)), Data::from(door), Data::from(target)];
                let found = app.call("app:as", args).await.unwrap().to_json().unwrap();
                let expected = if may { json!(true) } else { json!("denied") };
                assert_eq!(found, expected, "{policies:?} {door} {target}");
                // What is denied has not run.
                assert_eq!(app.logged().len(), usize::from(may), "{policies:?} {door} {target}");
            }
        }
    }
}

/// A state keeps what it needs to call a guest again. Whether that may be is asked each time.
#[tokio::test]
async fn a_guest_that_was_called_by_one_is_still_refused_to_others() {
    let twice = r#"
        local funcs = require("funcs")
        return function(_, target)
            local told = {}
            for i = 1, 2 do
                local value, err = funcs.call(target, 20 + i)
                told[i] = value or err:kind()
            end
            return told
        end"#;
    let guest = "(module (func (export \"run\") (param i32) (result i32) local.get 0 local.get 0 i32.add))";
    let registry = Registry::new().entries(POLICIES);
    let registry = registry.wat("open", guest, "wit: \"run: func(n: u32) -> u32;\"\nmethod: run");
    let registry = lua(registry, "inner", twice, "modules: [funcs]");
    let app = App::new(lua(registry, "as", AS, "modules: [funcs, security]"));
    for (actor, expected) in [
        (Some("ann"), json!([42, 44])),
        (Some("bob"), json!(["PERMISSION_DENIED", "PERMISSION_DENIED"])),
        (None, json!([42, 44])),
        (Some("bob"), json!(["PERMISSION_DENIED", "PERMISSION_DENIED"])),
        (Some("ann"), json!([42, 44])),
    ] {
        let policies = Data::from(&json!(["doors", "for-ann"]));
        let args =
            vec![actor.map_or(Data::Nil, Data::from), policies, Data::from("call"), Data::from("app:open")];
        let found = app.call("app:as", args).await.unwrap().to_json().unwrap();
        assert_eq!(found, expected, "{actor:?}");
    }
}

/// Without an actor strict mode denies what is allowed elsewhere.
#[tokio::test]
async fn strict_mode_closes_every_door_to_nobody() {
    let app = App::new(doors().file(".wippy.yaml", "security: {strict_mode: true}\n"));
    for door in ALL_DOORS {
        let args = vec![Data::from(door), Data::from("app:open")];
        let found = app.call("app:inner", args).await.unwrap();
        assert_eq!(found, Data::from("denied"), "{door}");
    }
    assert_eq!(app.logged(), Vec::<String>::new());
}

const BUILDER_POLICIES: &str = r#"
- name: calls
  kind: security.policy
  policy: {actions: [funcs.call, "security.*"], resources: "*", effect: allow}
- name: context
  kind: security.policy
  policy: {actions: funcs.context, resources: context, effect: allow}
- name: security
  kind: security.policy
  policy: {actions: funcs.security, resources: security, effect: allow}
"#;

/// A caller that may not change context, actor or scope gets no builder that has them changed.
#[tokio::test]
async fn the_builder_has_permissions_of_its_own() {
    let who = r#"
        local ctx, security = require("ctx"), require("security")
        return function() return (ctx.get("role") or "none") .. " " .. security.actor():id() end"#;
    let inner = r#"
        local funcs, security = require("funcs"), require("security")
        return function()
            local actor, scope = security.new_actor("admin"), security.scope()
            local function try(name, value)
                local exec = funcs.new()
                local built, err = exec[name](exec, value)
                if err then
                    return {built == nil, err:kind(), err:retryable(), err:message():find(err:kind() and "may not `", 1, true) ~= nil}
                end
                return built:call("app:who")
            end
            return {try("with_context", {role = "root"}), try("with_actor", actor), try("with_scope", scope)}
        end"#;
    let outer = r#"
        local funcs, security = require("funcs"), require("security")
        return function(policies)
            local all = {}
            for i, name in ipairs(policies) do all[i] = assert(security.policy("app:" .. name)) end
            local exec = funcs.new():with_actor((security.new_actor("ann"))):with_scope((security.new_scope(all)))
            local value, err = exec:call("app:inner")
            return err and err:message() or value
        end"#;
    let registry = lua(Registry::new().entries(BUILDER_POLICIES), "who", who, "modules: [ctx, security]");
    let registry = lua(registry, "inner", inner, "modules: [funcs, security]");
    let app = App::new(lua(registry, "f", outer, "modules: [funcs, security]"));
    let denied = json!([true, "PERMISSION_DENIED", false, true]);
    for (policies, expected) in [
        (json!(["calls"]), json!([denied, denied, denied])),
        (json!(["calls", "context"]), json!(["root ann", denied, denied])),
        (json!(["calls", "security"]), json!([denied, "none admin", "none ann"])),
        (json!(["calls", "context", "security"]), json!(["root ann", "none admin", "none ann"])),
    ] {
        let found = app.call("app:f", vec![Data::from(&policies)]).await.unwrap();
        assert_eq!(found.to_json().unwrap(), expected, "{policies}");
    }
}

/// Nothing that looks like an actor or a scope is one.
#[tokio::test]
async fn forged_actors_and_scopes_are_refused() {
    let who = r#"
        local security = require("security")
        return function()
            local actor = security.actor()
            return actor and actor:id() or "nobody"
        end"#;
    let source = r#"
        local funcs, security = require("funcs"), require("security")
        return function()
            local actor, scope = security.new_actor("ann"), security.new_scope()
            local like_actor = {id = function() return "admin" end, meta = function() return {} end}
            local like_scope = {contains = function() return true end, evaluate = function() return "allow" end}
            local out = {}
            local function refused(name, value)
                local exec = funcs.new()
                local built, err = exec[name](exec, value)
                local is_refused = built == nil and err:kind() == errors.INVALID and err:retryable() == false
                if not is_refused then out[#out + 1] = name .. " " .. type(value) end
            end
            for _, forged in ipairs({
                "admin", 1, true, {id = "admin"}, like_actor, setmetatable({}, {__index = actor}),
                setmetatable({}, like_actor), scope, errors.new("admin"), print, coroutine.create(print),
                funcs.new(), channel.new(),
            }) do refused("with_actor", forged) end
            for _, forged in ipairs({
                "app:all", 1, true, {}, like_scope, setmetatable({}, {__index = scope}), actor,
                errors.new("all"), print, funcs.new(),
            }) do refused("with_scope", forged) end
            refused("with_actor", nil)
            refused("with_scope", nil)
            -- An executor is a table: what it holds can't be made by hand either.
            for _, options in ipairs({actor, scope, {}, "x", {actor = actor}}) do
                local exec = funcs.new()
                exec.options = options
                local ok, ran = pcall(exec.call, exec, "app:who")
                if ok and ran ~= nil then out[#out + 1] = "options " .. type(options) end
            end
            if pcall(funcs.new().call, {options = nil}, "app:who") then out[#out + 1] = "a table" end
            out[#out + 1] = funcs.call("app:who")
            return out
        end"#;
    let registry = lua(Registry::new(), "who", who, "modules: [security]");
    let app = App::new(lua(registry, "f", source, "modules: [funcs, security, channel]"));
    assert_eq!(app.f().await.to_json().unwrap(), json!(["nobody"]));
}

#[tokio::test]
async fn wrong_arguments_of_the_builder_are_invalid() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local out = {}
            local function refused(name, value)
                local exec = funcs.new()
                local built, err = exec[name](exec, value)
                if built ~= nil or err:kind() ~= errors.INVALID or err:retryable() ~= false then return "taken" end
                return err:message()
            end
            for _, case in ipairs({
                {"with_context", 5}, {"with_context"}, {"with_context", {"a"}}, {"with_context", {[1.5] = "a"}},
                {"with_context", {f = print}},
                {"with_options", 5}, {"with_options"}, {"with_options", {timeout = -1}}, {"with_options", {timeout = "soon"}},
                {"with_options", {timeout = {}}}, {"with_options", {retry = 5}}, {"with_options", {retry = {max_attempts = "x"}}},
                {"with_options", {retry = {max_attempts = -1}}}, {"with_options", {retry = {initial_delay = "x"}}},
                {"with_options", {retry = {backoff_factor = "x"}}}, {"with_options", {retry = {backoff_factor = 0.5}}},
            }) do out[#out + 1] = refused(case[1], case[2]) end
            local exec = funcs.new()
            out[#out + 1] = select(2, pcall(exec.with_context, {}, {}))
            out[#out + 1] = select(2, pcall(exec.call, nil, "app:f"))
            return out
        end"#;
    let found = App::of(source).f().await.to_json().unwrap();
    let duration = "expected milliseconds or a duration such as `5s`";
    let expected = json!([
        "values: expected table, got integer",
        "values: expected table, got nil",
        "values: expected string keys, got an array",
        "values: expected string keys",
        "values.f: a function can't leave its invocation",
        "options: expected table, got integer",
        "options: expected table, got nil",
        format!("options.timeout: {duration}"),
        format!("options.timeout: {duration}"),
        format!("options.timeout: {duration}"),
        "options.retry: expected table",
        "options.retry.max_attempts: expected integer",
        "options.retry: `max_attempts` is 0, expected 1 to 100",
        format!("options.retry.initial_delay: {duration}"),
        "options.retry.backoff_factor: expected number",
        "options.retry: `backoff_factor` is 0.5, expected 1 or more",
        "bad argument to 'with_context' (executor expected, got table)",
        "bad argument to 'call' (executor expected, got nil)"
    ]);
    assert_eq!(found, expected);
}

/// A builder's method gives a new one; the one that it is called on stays as it is, and so does what it was given.
#[tokio::test]
async fn builders_are_never_changed() {
    let who = r#"
        local ctx, security = require("ctx"), require("security")
        return function()
            local actor = security.actor()
            return {ctx.get("a") or "none", ctx.get("b") or "none", actor and actor:id() or "nobody"}
        end"#;
    let source = r#"
        local funcs, security = require("funcs"), require("security")
        return function()
            local values = {a = {1}}
            local base = funcs.new()
            local one = base:with_context(values)
            values.a[1], values.b = 2, "late"
            local two = one:with_context({a = "over", b = "more"})
            local ann = two:with_actor((security.new_actor("ann")))
            local bob = ann:with_actor((security.new_actor("bob")))
            base:with_options({timeout = 1})
            local out = {}
            for i, exec in ipairs({base, one, two, ann, bob, base}) do out[i] = exec:call("app:who") end
            return out
        end"#;
    let registry = lua(Registry::new(), "who", who, "modules: [ctx, security]");
    let app = App::new(lua(registry, "f", source, "modules: [funcs, security]"));
    let expected = json!([
        ["none", "none", "nobody"],
        [[1], "none", "nobody"],
        ["over", "more", "nobody"],
        ["over", "more", "ann"],
        ["over", "more", "bob"],
        ["none", "none", "nobody"]
    ]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
}
