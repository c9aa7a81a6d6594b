//! Coroutines, channels, and waiting inside them.

use loader::{Data, ErrorKind};

use crate::shared::{App, library, lua};
use crate::support::Registry;

#[tokio::test]
async fn a_function_gets_arguments_and_returns_one_value() {
    let app = App::of("return function(a, b) return {sum = a + b, list = {a, b}} end");
    let sum = app.call("app:f", vec![Data::Integer(40), Data::Integer(2)]).await.unwrap();
    assert_eq!(sum.to_json().unwrap(), serde_json::json!({"sum": 42, "list": [40, 2]}));
}

#[tokio::test]
async fn the_method_is_a_member_of_the_returned_table() {
    let source = "local M = {}\nfunction M.main(x) return x * 2 end\nreturn M";
    let app = App::new(lua(Registry::new(), "f", source, "method: main"));
    assert_eq!(app.call("app:f", vec![Data::Integer(21)]).await.unwrap(), Data::Integer(42));
}

#[tokio::test]
async fn what_is_raised_or_returned_second_is_the_error() {
    let source = r##"
        return function(how)
            if how == "raise" then error("it broke") end
            if how == "return" then return nil, errors.new({message = "gone", kind = "NOT_FOUND", retryable = true}) end
            if how == "text" then return nil, "plain" end
            if how == "table" then error({code = 7}) end
            if how == "fields" then error({message = "taken", kind = "CONFLICT", retryable = true}) end
            if how == "object" then
                error(setmetatable({code = 7}, {__tostring = function(e) return "error " .. e.code end}))
            end
            return nil
        end"##;
    let app = App::of(source);
    let call = async |how: &str| app.call("app:f", vec![Data::from(how)]).await;
    let raised = call("raise").await.unwrap_err();
    assert_eq!((raised.kind(), raised.message()), (ErrorKind::Unknown, "app:f:2: it broke"));
    let lines: Vec<u32> = raised.stack().unwrap().frames.iter().map(|frame| frame.line).collect();
    assert_eq!(lines, [0, 2], "`error` itself and its caller");
    let returned = call("return").await.unwrap_err();
    assert_eq!((returned.kind(), returned.message()), (ErrorKind::NotFound, "gone"));
    assert!(returned.is_retryable());
    let text = call("text").await.unwrap_err();
    assert_eq!((text.kind(), text.message()), (ErrorKind::Unknown, "plain"));
    let table = call("table").await.unwrap_err();
    assert_eq!(table.message(), "a table was raised, which has no `message`: see its details");
    assert_eq!(table.details().get("code"), Some(&Data::Integer(7)));
    let fields = call("fields").await.unwrap_err();
    assert_eq!((fields.kind(), fields.message()), (ErrorKind::Conflict, "taken"));
    assert!(fields.is_retryable());
    assert_eq!(call("object").await.unwrap_err().message(), "error 7");
    assert_eq!(call("nothing").await.unwrap(), Data::Nil);
}

#[tokio::test]
async fn user_coroutines_pass_their_own_values() {
    let source = r##"
        return function()
            local out = {}
            local gen = coroutine.wrap(function(a)
                local b = coroutine.yield(a + 1)
                local c, d = coroutine.yield(b + 1)
                return c + d
            end)
            out[1] = gen(1)
            out[2] = gen(10)
            out[3] = gen(100, 200)
            local co = coroutine.create(function() coroutine.yield() end)
            out[4] = select("#", coroutine.resume(co))
            out[5] = select("#", coroutine.resume(co))
            out[6] = coroutine.status(co)
            local ok, problem = coroutine.resume(co)
            out[7] = tostring(ok) .. ": " .. problem
            out[8] = coroutine.running() == nil
            out[9] = select(2, pcall(coroutine.yield))
            return out
        end"##;
    let expected = serde_json::json!([
        2,
        11,
        300,
        1,
        1,
        "dead",
        "false: cannot resume dead coroutine",
        true,
        "attempt to yield from outside a coroutine"
    ]);
    assert_eq!(App::of(source).f().await.to_json().unwrap(), expected);
}

#[tokio::test]
async fn waiting_inside_a_users_coroutine_is_no_yield() {
    let source = r##"
        local funcs = require("funcs")
        return function()
            local seen = {}
            local co = coroutine.wrap(function()
                for i = 1, 3 do
                    coroutine.yield(funcs.call("app:double", i))
                end
                return "done"
            end)
            for i = 1, 4 do seen[i] = co() end
            return seen
        end"##;
    let double = "return function(x) return x * 2 end";
    let registry = lua(lua(Registry::new(), "double", double, ""), "f", source, "modules: [funcs]");
    assert_eq!(App::new(registry).f().await.to_json().unwrap(), serde_json::json!([2, 4, 6, "done"]));
}

#[tokio::test]
async fn waiting_in_a_callback_of_a_library_function_says_so() {
    let source = r##"
        local funcs = require("funcs")
        return function()
            local out = {}
            local function wait() return funcs.call("app:double", 1) end
            out[1] = select(2, pcall(table.sort, {3, 2, 1}, wait))
            out[2] = select(2, pcall(string.gsub, "abc", "%w", wait))
            out[3] = select(2, pcall(table.sort, {3, 2, 1}, function() coroutine.wrap(wait)() end))
            out[4] = funcs.call("app:double", 4)
            return out
        end"##;
    let double = "return function(x) return x * 2 end";
    let registry = lua(lua(Registry::new(), "double", double, ""), "f", source, "modules: [funcs]");
    let out = App::new(registry).f().await.to_json().unwrap();
    for index in 0..3 {
        let text = out[index].as_str().unwrap();
        assert!(text.contains("can't wait here: a callback of table.sort, string.gsub"), "{text}");
    }
    assert_eq!(out[3], 8);
}

/// What the coroutine yields itself, which its resumer could not take there.
#[tokio::test]
async fn yielding_in_a_callback_of_a_library_function_says_so() {
    let source = r##"
        return function()
            local out = {}
            local function try(f, ...)
                local args = table.pack(...)
                local co = coroutine.create(function() return f(table.unpack(args, 1, args.n)) end)
                local ok, problem = coroutine.resume(co)
                out[#out + 1] = {ok, problem, coroutine.status(co)}
            end
            try(table.sort, {3, 2, 1}, function() coroutine.yield(1) end)
            try(string.gsub, "abc", "%w", function() coroutine.yield(1) end)
            try(string.gsub, "abc", "%w", setmetatable({}, {__index = function() coroutine.yield(1) end}))
            try(function() return pcall(table.sort, {2, 1}, coroutine.yield) end)
            -- A coroutine of its own inside may.
            try(function()
                local list = {3, 1, 2}
                table.sort(list, function(a, b)
                    local less = coroutine.wrap(function() coroutine.yield(a < b) end)
                    return less()
                end)
                return table.concat(list, " ")
            end)
            return out
        end"##;
    let out = App::of(source).f().await.to_json().unwrap();
    for (index, at) in [(0, "app:f:9: "), (1, "app:f:10: "), (2, "app:f:11: ")] {
        let text = out[index][1].as_str().unwrap();
        let expected = format!("{at}can't wait here: a callback of table.sort, string.gsub");
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!((&out[index][0], &out[index][2]), (&false.into(), &"dead".into()));
    }
    assert_eq!(out[3], serde_json::json!([true, false, "dead"]));
    assert_eq!(out[4], serde_json::json!([true, "1 2 3", "dead"]));
}

#[tokio::test]
async fn channels_hand_values_over_in_order() {
    let source = r##"
        return function()
            local jobs, results = channel.new(), channel.new(2)
            for worker = 1, 3 do
                coroutine.spawn(function()
                    while true do
                        local job, ok = jobs:receive()
                        if not ok then break end
                        results:send(job * job)
                    end
                end)
            end
            coroutine.spawn(function()
                for i = 1, 10 do jobs:send(i) end
                jobs:close()
            end)
            local sum = 0
            for i = 1, 10 do sum = sum + results:receive() end
            local closed, ok = jobs:receive()
            local problem = select(2, pcall(jobs.send, jobs, 1))
            return {sum, tostring(closed), ok, problem}
        end"##;
    let out = App::of(source).f().await.to_json().unwrap();
    assert_eq!(out, serde_json::json!([385, "nil", false, "send on closed channel"]));
}

#[tokio::test]
async fn select_takes_what_is_ready_or_waits() {
    let source = r##"
        return function()
            local a, b, out = channel.new(1), channel.new(), {}
            local none = channel.select { a:case_receive(), b:case_receive(), default = true }
            out[1] = none.default and none.ok
            a:send("x")
            local got = channel.select { a:case_receive(), b:case_receive() }
            out[2] = got.channel == a and got.value == "x" and got.ok
            coroutine.spawn(function() b:send("y") end)
            got = channel.select { a:case_receive(), b:case_receive() }
            out[3] = got.channel == b and got.value == "y"
            coroutine.spawn(function() out[4] = b:receive() end)
            got = channel.select { b:case_send("z") }
            out[5] = got.channel == b and got.ok
            a:close()
            got = channel.select { a:case_receive() }
            out[6] = got.ok == false and got.value == nil
            local ok, problem = pcall(channel.select, { 1 })
            out[7] = problem
            return out
        end"##;
    let out = App::of(source).f().await.to_json().unwrap();
    let expected = serde_json::json!([
        true,
        true,
        true,
        "z",
        true,
        true,
        "invalid case 1 in select: expected case_send() or case_receive()"
    ]);
    assert_eq!(out, expected);
}

#[tokio::test]
async fn what_nothing_can_wake_is_an_error() {
    let error =
        App::of("return function() channel.new():receive() end").call("app:f", vec![]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(error.message(), "`app:f`: all its coroutines wait, and nothing is left to wake one");
}

#[tokio::test]
async fn libraries_get_what_they_list_themselves() {
    let helpers = "local funcs = require('funcs')\nreturn { twice = function(x) return funcs.call('app:double', x) end }";
    let f = r##"
        local lib = require("lib")
        return function()
            local ok, problem = pcall(require, "funcs")
            return {lib.twice(4), require("lib") == lib, ok, problem}
        end"##;
    let registry = lua(Registry::new(), "double", "return function(x) return x * 2 end", "");
    let registry = library(registry, "helpers", helpers, "modules: [funcs]");
    let app = App::new(lua(registry, "f", f, "imports:\n  lib: helpers"));
    let expected = serde_json::json!([
        8,
        true,
        false,
        "module 'funcs' is neither in `modules` nor in `imports` of app:f"
    ]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
}

/// A size is any number without a fraction, as in the rest of Lua.
#[tokio::test]
async fn channels_take_sizes_that_are_whole_numbers() {
    let source = r#"
        return function()
            local ch, sent = channel.new(2.0), 0
            for i = 1, 3 do
                local r = channel.select { ch:case_send(i), default = true }
                if not r.default then sent = sent + 1 end
            end
            local out = {sent}
            for _, size in ipairs({1.5, -1, -1.0, "2", {}, 0/0, 1/0}) do
                out[#out + 1] = select(2, pcall(channel.new, size)):match("size: .*")
            end
            return out
        end"#;
    let refused = |found: &str| format!("size: expected an integer from 0, got {found})");
    let found = App::of(source).f().await.to_json().unwrap();
    assert_eq!(found[0], 2);
    for (index, text) in ["1.5", "-1", "-1.0", "2"].iter().enumerate() {
        assert_eq!(found[index + 1], refused(text));
    }
    assert_eq!(found.as_array().unwrap().len(), 8, "{found}");
}

#[tokio::test]
async fn globals_may_be_required() {
    let f = "return function() return require('string') == string and require('errors') == errors end";
    for listed in ["modules: [string, errors]", ""] {
        let app = App::new(lua(Registry::new(), "f", f, listed));
        assert_eq!(app.f().await, Data::Bool(true));
    }
}
