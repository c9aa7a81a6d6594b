//! Calls from Lua to guests, from guests to Lua, and chains of both.

use loader::{Context, Data, ErrorKind};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::guests::{ASYNCHRONOUS, Door, trampoline};
use crate::shared::{App, lua};
use crate::support::{Caching, ECHO, Registry};

/// Trampolines of both profiles, and Lua that goes through them.
pub(crate) fn chains() -> Registry {
    let hop = r#"
        local funcs = require("funcs")
        -- input: "id id … id", the way that is left.
        return function(way)
            local target, rest = way:match("^(%S+)%s*(.*)$")
            if not target then return "end" end
            if target:match("hop$") then return funcs.call(target, rest) end
            local next_target, remaining = rest:match("^(%S+)%s*(.*)$")
            return funcs.call(target, next_target or "app:last", remaining or "")
        end"#;
    let registry = Registry::new()
        .wat("sync", &trampoline(Door::String, ""), "method: call\nimports: [funcs]")
        .wat("async", &trampoline(Door::String, ASYNCHRONOUS), "method: call\nimports: [funcs]");
    let registry = lua(registry, "hop", hop, "modules: [funcs]");
    lua(registry, "last", "return function(x) return 'last' .. x end", "")
}

#[tokio::test]
async fn lua_calls_a_guest_with_values_of_its_types() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local sum, err = funcs.call("app:add", 40, 2)
            local bad, problem = funcs.call("app:add", 40, "two")
            local few, count = funcs.call("app:add", 1)
            return {sum, err == nil, problem:kind(), problem:message(), count:kind()}
        end"#;
    let add = "(module (func (export \"add\") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))";
    let registry = Registry::new().wat("add", add, "wit: \"add: func(a: s32, b: s32) -> s32;\"\nmethod: add");
    let app = App::new(lua(registry, "f", source, "modules: [funcs]"));
    let found = app.f().await.to_json().unwrap();
    let expected = json!([42, true, "INVALID", "`app:add`: b: expected s32, got string", "INVALID"]);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_err_of_a_guest_is_an_error_object_or_a_table() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local value, err = funcs.call("app:pair", {err = "it is gone"})
            local fine = funcs.call("app:pair", {ok = 7})
            local table = funcs.call("app:table", {err = "it is gone"})
            return {value == nil, err:message(), err:kind(), fine, table}
        end"#;
    let registry = Registry::new().guest("pair", ECHO, "test:echo/values#echo-result", "").guest(
        "table",
        ECHO,
        "test:echo/values#echo-result",
        "results: table",
    );
    let app = App::new(lua(registry, "f", source, "modules: [funcs]"));
    let expected = json!([true, "it is gone", "UNKNOWN", 7, {"err": "it is gone"}]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
}

#[tokio::test]
async fn a_build_says_what_results_are_where_an_entry_does_not() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local pair, err = funcs.call("app:pair", {err = "gone"})
            return {
                funcs.call("app:own", {ok = 7}), funcs.call("app:own", {err = "gone"}),
                pair == nil and err:message(),
            }
        end"#;
    let echo = "test:echo/values#echo-result";
    let registry = Registry::new().guest("own", ECHO, echo, "").guest("pair", ECHO, echo, "results: pair");
    let registry = lua(registry, "f", source, "modules: [funcs]");
    let built = registry.build_as(Caching::Cached, &["--results", "table"]);
    let app = App::open(built, loader::Options::default());
    let expected = json!([{"ok": 7}, {"err": "gone"}, "gone"]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
}

#[tokio::test]
async fn a_guest_calls_lua_and_all_failures_are_err() {
    let callee = r#"
        return function(input)
            if input == "number" then return 42 end
            if input == "table" then return {a = {1, 2}} end
            if input == "nil" then return nil end
            if input == "raise" then error("broken") end
            if input == "fail" then return nil, errors.new("not today") end
            return "got " .. input
        end"#;
    let registry =
        Registry::new().wat("guest", &trampoline(Door::String, ""), "method: call\nimports: [funcs]");
    let app = App::new(lua(registry, "callee", callee, "modules: [errors]"));
    let call = async |target: &str, input: &str| match app
        .call("app:guest", vec![Data::from(target), Data::from(input)])
        .await
    {
        Ok(value) => value.as_str().unwrap().to_owned(),
        Err(error) => format!("err: {}", error.message()),
    };
    for (input, expected) in [
        ("text", "got text"),
        ("number", "42"),
        ("table", r#"{"a":[1,2]}"#),
        ("nil", ""),
        ("raise", "err: app:callee:5: broken"),
        ("fail", "err: not today"),
    ] {
        assert_eq!(call("app:callee", input).await, expected);
    }
    assert_eq!(call("nonsense", "").await, "err: invalid function target: nonsense");
    assert_eq!(call("app:nothing", "").await, "err: no entry `app:nothing` in this bundle");
}

/// A guest that imports `funcs` and was not granted it calls nobody, in both profiles.
#[tokio::test]
async fn a_guest_calls_nobody_without_a_grant() {
    let called = "return function() error('called') end";
    let registry = Registry::new()
        .wat("sync", &trampoline(Door::String, ""), "method: call")
        .wat("async", &trampoline(Door::String, ASYNCHRONOUS), "method: call")
        .wat("granted", &trampoline(Door::String, ""), "method: call\nimports: [funcs]");
    let app = App::new(lua(registry, "callee", called, ""));
    let args = || vec![Data::from("app:callee"), Data::from("x")];
    for guest in ["sync", "async"] {
        for _ in 0..2 {
            let error = app.call(&format!("app:{guest}"), args()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let message = format!(
                "`app:{guest}` called `call-string` of `wippy:runtime/funcs@0.1.0`, which it was not granted; add \
                 `funcs` to its `imports`"
            );
            assert_eq!(error.message(), message);
            // One that was granted it is not in its way, nor helps it.
            let error = app.call("app:granted", args()).await.unwrap_err();
            assert!(error.message().contains("called"), "{error}");
        }
    }
}

#[tokio::test]
async fn all_pairs_of_engines_and_lua_call_each_other() {
    let app = App::new(chains());
    for first in ["sync", "async"] {
        for second in ["sync", "async"] {
            // A guest calls a guest through Lua, and Lua at the end.
            let way = format!("app:{first} app:hop app:{second} app:last !");
            assert_eq!(app.call("app:hop", vec![Data::from(way)]).await.unwrap(), Data::from("last!"));
        }
    }
}

#[tokio::test]
async fn calls_nest_to_a_depth_of_64() {
    let app = App::new(chains());
    for guest in ["sync", "async"] {
        // The outermost call is at depth 0, and each `guest hop` adds two.
        let way = |pairs: usize| format!("app:{guest} app:hop ").repeat(pairs);
        let deepest = app.call("app:hop", vec![Data::from(way(32))]).await;
        assert_eq!(deepest.unwrap(), Data::from("end"));
        let error = app.call("app:hop", vec![Data::from(way(33))]).await.unwrap_err();
        assert!(error.message().contains("64 calls are nested already"), "{error}");
    }
}

#[tokio::test]
async fn a_trap_in_a_chain_names_the_guest() {
    let source = "local funcs = require('funcs')\nreturn function() return funcs.call('app:trap') end";
    let trap = "(module (func $inner unreachable) (func (export \"boom\") call $inner))";
    let registry = Registry::new().wat("trap", trap, "wit: \"boom: func();\"\nmethod: boom");
    let error =
        App::new(lua(registry, "f", source, "modules: [funcs]")).call("app:f", vec![]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(
        error.message(),
        "`app:trap` failed in `boom`: wasm trap: wasm `unreachable` instruction executed"
    );
    assert_eq!(error.backtrace()[0], "inner");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_inherited_through_every_border() {
    let registry =
        lua(chains(), "sleeper", "return function() require('time').sleep('1h') end", "modules: [time]");
    let app = App::new(registry);
    for way in ["app:sync app:sleeper", "app:async app:sleeper", "app:hop app:sync app:sleeper"] {
        let start = Instant::now();
        let context = Context::default().with_deadline(Some(start + Duration::from_secs(5)));
        let error = app.loader.call_data("app:hop", vec![Data::from(way)], context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{way}: {error}");
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn actor_scope_and_values_pass_through_guests() {
    let who = r#"
        local ctx, security = require("ctx"), require("security")
        return function() return security.actor():id() .. " " .. ctx.get("request") end"#;
    let source = r#"
        local funcs, security = require("funcs"), require("security")
        return function(guest)
            local scope = security.new_scope({ (security.policy("app:policy")) })
            local ann = funcs.new():with_actor((security.new_actor("ann"))):with_scope(scope)
            local calls = ann:with_context({ request = "r-1" })
            local seen = calls:call(guest, "app:who", "")
            local _, denied = calls:call(guest, "app:last", "")
            return { seen, denied:message() }
        end"#;
    let registry = lua(chains(), "who", who, "modules: [ctx, security]");
    let registry = lua(registry, "f", source, "modules: [funcs, security]").entries(
        "- name: policy\n  kind: security.policy\n  \
         policy: {actions: funcs.call, resources: \"app:who\", effect: allow}\n",
    );
    let app = App::new(registry);
    for guest in ["app:sync", "app:async"] {
        let found = app.call("app:f", vec![Data::from(guest)]).await.unwrap().to_json().unwrap();
        assert_eq!(found[0], "ann r-1");
        assert!(found[1].as_str().unwrap().contains("app:last"), "{found}");
    }
}

/// Where an error was made is kept from Lua to Lua; what Rust made has the stack of who called.
#[tokio::test(start_paused = true)]
async fn errors_have_a_stack_as_text() {
    let callee = r#"
        local function inner(how)
            if how == "raise" then error("broken") end
            return (errors.new("returned"))
        end
        return function(how) return nil, inner(how) end"#;
    let source = r#"
        local funcs, json = require("funcs"), require("json")
        local registry = require("registry")
        local out = {}
        local function seen(err) out[#out + 1] = "at " .. err:stack() end
        return function()
            seen(select(2, funcs.call("app:callee", "raise")))
            seen(select(2, funcs.call("app:callee", "return")))
            seen(select(2, funcs.call("app:nothing")))
            seen(select(2, funcs.call("app:trap")))
            seen(select(2, json.decode("{")))
            local function waits()
                local _, err = funcs.new():with_options({timeout = 5}):call("app:sleep")
                return err
            end
            seen(waits())
            local future = funcs.async("app:trap")
            future:response():receive()
            seen(select(2, future:result()))
            seen((future:error()))
            seen(select(2, pcall(function() registry.snapshot():find(5) end)))
            coroutine.wrap(function() seen(select(2, funcs.call("app:nothing"))) end)()
            return out
        end"#;
    let trap = "(module (func (export \"boom\") unreachable))";
    let registry = Registry::new().wat("trap", trap, "wit: \"boom: func();\"\nmethod: boom");
    let registry = lua(registry, "callee", callee, "");
    let registry =
        lua(registry, "sleep", "return function() require('time').sleep('1h') end", "modules: [time]");
    let app = App::new(lua(registry, "f", source, "modules: [funcs, json, registry]"));
    let found = app.f().await.to_json().unwrap();
    let stacks: Vec<&str> = found.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let callee = |line: u32| format!("at stack traceback:\n\t[C]: in error\n\tapp:callee:{line}: in inner\n");
    assert!(stacks[0].starts_with(&callee(2)), "{}", stacks[0]);
    assert!(
        stacks[1].starts_with("at stack traceback:\n\tapp:callee:3: in inner\n\tapp:callee:5: in "),
        "{}",
        stacks[1]
    );
    assert!(!stacks[0].contains("app:f") && !stacks[1].contains("app:f"));
    for (index, line) in [(2, 8), (3, 9), (4, 10), (6, 18), (7, 19), (8, 20), (9, 21)] {
        assert!(stacks[index].contains(&format!("\tapp:f:{line}: in function")), "{}", stacks[index]);
    }
    assert!(stacks[5].contains("\tapp:f:12: in waits\n\tapp:f:15: in function"), "{}", stacks[5]);
}
