//! Channels and timers that are waited for many times: what was served or forgotten leaves nothing behind.

use loader::{Data, Options};
use serde_json::json;
use tokio::time::Instant;

use crate::shared::{App, lua};
use crate::support::Registry;

/// Room for Lua itself and a few rounds of what these programs do, and for no more.
fn tight(registry: Registry) -> App {
    App::with(registry, Options { memory_bytes_max: Some(8 << 20), ..Options::default() })
}

/// A select leaves the queues of the channels that did not fire, whether it would send or receive.
#[tokio::test]
async fn selects_leave_quiet_channels() {
    let source = r#"
        return function(rounds)
            local busy, quiet, full, events = channel.new(), channel.new(), channel.new(), process.events()
            coroutine.spawn(function() for i = 1, rounds do busy:send(i) end end)
            local sum = 0
            for _ = 1, rounds do
                local r = channel.select {
                    quiet:case_receive(), busy:case_receive(), events:case_receive(), full:case_send("x"),
                }
                sum = sum + r.value
            end
            -- Nobody waits there any more: these are not served by a select of the past.
            coroutine.spawn(function() quiet:send("quiet") end)
            coroutine.spawn(function() full:send("full") end)
            return {sum, (quiet:receive()), (full:receive())}
        end"#;
    let app = tight(lua(Registry::new(), "f", source, ""));
    let rounds: i64 = 200_000;
    let out = app.call("app:f", vec![Data::Integer(rounds)]).await.unwrap().to_json().unwrap();
    assert_eq!(out, json!([rounds * (rounds + 1) / 2, "quiet", "full"]));
}

/// Those that wait are served in their order, also when one between them has left.
#[tokio::test]
async fn those_that_wait_keep_their_order() {
    let source = r#"
        return function()
            local ch, other, out = channel.new(), channel.new(), {}
            local function receiver(name)
                coroutine.spawn(function()
                    local value = ch:receive()
                    out[#out + 1] = name .. tostring(value)
                end)
            end
            local function selector(name)
                coroutine.spawn(function()
                    local r = channel.select { ch:case_receive(), other:case_receive(), ch:case_receive() }
                    out[#out + 1] = name .. tostring(r.value) .. tostring(r.channel == other)
                end)
            end
            selector("a") receiver("b") selector("c") receiver("d") selector("e")
            coroutine.spawn(function()
                other:send(1) ch:send(2) other:send(3) ch:send(4)
                ch:close()
            end)
            for _ = 1, 20 do
                local turn = channel.new()
                coroutine.spawn(function() turn:close() end)
                turn:receive()
            end
            return out
        end"#;
    let out = App::of(source).f().await.to_json().unwrap();
    assert_eq!(out, json!(["a1true", "b2", "c3true", "d4", "enilfalse"]));
}

/// A select that would send several things sends one of them.
#[tokio::test]
async fn a_select_sends_once() {
    let source = r#"
        return function()
            local a, b, done = channel.new(), channel.new(), channel.new()
            coroutine.spawn(function()
                local r = channel.select { a:case_send("to a"), b:case_send("to b"), a:case_send("again") }
                done:send(r.channel == b and r.value)
            end)
            local turn = channel.new()
            coroutine.spawn(function() turn:close() end)
            turn:receive()
            local got = b:receive()
            local sent = done:receive()
            local r = channel.select({ a:case_receive(), b:case_receive() }, true)
            return { got, sent, r.default }
        end"#;
    assert_eq!(App::of(source).f().await.to_json().unwrap(), json!(["to b", "to b", true]));
}

/// What could not be waited for in a callback takes nothing from others.
#[tokio::test]
async fn a_wait_that_was_refused_receives_nothing() {
    let source = r#"
        return function()
            local ch, other = channel.new(), channel.new()
            local waits = {
                function() ch:receive() end,
                function() channel.select { other:case_receive(), ch:case_receive() } end,
                function() coroutine.wrap(function() ch:receive() end)() end,
            }
            local refused = 0
            for _, wait in ipairs(waits) do
                if not pcall(table.sort, {2, 1}, function() coroutine.wrap(wait)() end) then
                    refused = refused + 1
                end
            end
            coroutine.spawn(function() ch:send("kept") end)
            return { refused, (ch:receive()) }
        end"#;
    assert_eq!(App::of(source).f().await.to_json().unwrap(), json!([3, "kept"]));
}

/// As a number that divisions and JSON give.
#[tokio::test]
async fn a_size_is_any_number_without_fraction() {
    let source = r#"
        return function()
            local ch, refused = channel.new(4 / 2), {}
            ch:send(1) ch:send(2)
            for i, size in ipairs { 1.5, -1, "2", 2.0 ^ 70, {}, 0 / 0 } do
                refused[i] = not pcall(channel.new, size)
            end
            local full = channel.select({ ch:case_send(3) }, true).default
            return { (ch:receive()), (ch:receive()), full, refused }
        end"#;
    let refused = [true; 6];
    assert_eq!(App::of(source).f().await.to_json().unwrap(), json!([1, 2, true, refused]));
}

/// The documented loop with a timeout in each round, for more rounds than there may be timers.
#[tokio::test(start_paused = true)]
async fn a_timeout_in_each_round_of_a_loop() {
    let source = r#"
        local time = require("time")
        return function(how, rounds)
            local jobs = channel.new(how == "ready" and rounds or 0)
            -- Lua collects the less often, the more there is.
            local hoard = how == "large" and string.rep("x", 3 << 20)
            local function produce() for i = 1, rounds do jobs:send(i) end end
            if how == "ready" then produce() else coroutine.spawn(produce) end
            local sum = 0
            for _ = 1, rounds do
                local timeout = how == "timer" and time.timer("30s"):response() or time.after("30s")
                local r = channel.select { jobs:case_receive(), timeout:case_receive() }
                sum = sum + r.value
            end
            local late = channel.select { jobs:case_receive(), time.after("30s"):case_receive() }
            return { sum, late.channel ~= jobs and late.ok, hoard and #hoard }
        end"#;
    let rounds = 25_000;
    for how in ["waits", "ready", "timer", "large"] {
        let app = tight(lua(Registry::new(), "f", source, "modules: [time]"));
        let start = Instant::now();
        let out = app.call("app:f", vec![Data::from(how), Data::Integer(rounds)]).await;
        let out = out.unwrap_or_else(|error| panic!("{how}: {error}")).to_json().unwrap();
        assert_eq!((&out[0], &out[1]), (&json!(rounds * (rounds + 1) / 2), &json!(true)), "{how}");
        assert_eq!(start.elapsed().as_secs(), 30, "{how}");
    }
}

/// A timer that somebody waits for fires, though nothing else holds it.
#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_no_garbage() {
    let source = r#"
        local time = require("time")
        return function()
            local fired = 0
            local never = channel.new()
            for i = 1, 100 do
                coroutine.spawn(function() time.after("1m"):receive() fired = fired + 1 end)
                coroutine.spawn(function()
                    channel.select { never:case_receive(), time.timer("1m"):channel():case_receive() }
                    fired = fired + 1
                end)
                coroutine.spawn(function()
                    local ticks = time.ticker("30s"):channel()
                    ticks:receive() ticks:receive()
                    fired = fired + 1
                end)
                coroutine.spawn(function()
                    coroutine.wrap(function() time.after("1m"):receive() end)()
                    fired = fired + 1
                end)
            end
            time.sleep("1s")
            -- Collections.
            for _ = 1, 200 do local _ = string.rep("x", 1 << 20) time.sleep("1ms") end
            time.sleep("2m")
            return fired
        end"#;
    let app = tight(lua(Registry::new(), "f", source, "modules: [time]"));
    assert_eq!(app.f().await, Data::Integer(400));
}

/// Timers that fire at once do so in the order in which they were made, however many there are.
#[tokio::test(start_paused = true)]
async fn timers_of_one_moment_fire_in_order() {
    let source = r#"
        local time = require("time")
        return function()
            local out = {}
            for i = 1, 300 do
                coroutine.spawn(function() time.after("1s"):receive() out[#out + 1] = i end)
            end
            time.sleep("2s")
            for i = 1, 300 do if out[i] ~= i then return i end end
            return #out
        end"#;
    assert_eq!(App::new(lua(Registry::new(), "f", source, "modules: [time]")).f().await, Data::Integer(300));
}

/// Timers end with their invocation, and its state has room for as many again.
#[tokio::test(start_paused = true)]
async fn timers_end_with_their_invocation() {
    let source = r#"
        local time = require("time")
        return function()
            local kept = {}
            for i = 1, 10000 do kept[i] = assert(time.timer("1h")) end
            return #kept
        end"#;
    let app = App::new(lua(Registry::new(), "f", source, "modules: [time]"));
    for _ in 0..2 {
        assert_eq!(app.f().await, Data::Integer(10_000));
    }
}
