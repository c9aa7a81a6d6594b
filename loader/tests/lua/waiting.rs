//! `funcs.async`, executors, repetition, and many that wait at once.

use std::sync::Arc;

use loader::config::Ticking;
use loader::{Context, Data, ErrorKind, Options};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::{Duration, Instant};

use crate::guests::{ASYNCHRONOUS, Door, trampoline};
use crate::shared::{App, lua};
use crate::support::Registry;

const MODULES: &str = "modules: [funcs, time, ctx]";

fn sleeper(registry: Registry) -> Registry {
    let source = "local time = require('time')\nreturn function(d, v) time.sleep(d) return v end";
    lua(registry, "sleep", source, "modules: [time]")
}

#[tokio::test(start_paused = true)]
async fn asynchronous_calls_run_side_by_side() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local futures = {}
            for i = 1, 5 do futures[i] = funcs.async("app:sleep", "10s", i) end
            local out = {futures[1]:is_complete(), futures[1]:result() == nil}
            for i = 1, 5 do
                local payload, ok = futures[i]:response():receive()
                out[#out + 1] = ok and payload:data()
            end
            local value, err = futures[1]:result()
            out[#out + 1] = value:data()
            out[#out + 1] = futures[1]:is_complete() and not futures[1]:is_canceled()
            return out
        end"#;
    let app = App::new(lua(sleeper(Registry::new()), "f", source, MODULES));
    let start = Instant::now();
    let out = app.f().await.to_json().unwrap();
    assert_eq!(out, json!([false, true, 1, 2, 3, 4, 5, 1, true]));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_future_fails_is_cancelled_and_takes_part_in_select() {
    let source = r#"
        local funcs, time = require("funcs"), require("time")
        return function()
            local failed = funcs.async("app:fail")
            local payload, ok = failed:response():receive()
            local err, has_error = failed:error()
            local slow = funcs.async("app:sleep", "1h", 1)
            local timeout = time.after("5s")
            local r = channel.select { slow:channel():case_receive(), timeout:case_receive() }
            local cancelled = r.channel == timeout and slow:cancel()
            local value, problem = slow:result()
            local none, unknown = funcs.async("app:nothing")
            return {
                payload == nil, ok, err:message(), has_error, cancelled, slow:is_canceled(), slow:is_complete(),
                value == nil, problem:kind(), none == nil, unknown:kind(),
            }
        end"#;
    let registry = lua(sleeper(Registry::new()), "fail", "return function() error(errors.new('no')) end", "");
    let app = App::new(lua(registry, "f", source, MODULES));
    let start = Instant::now();
    let expected = json!([true, false, "no", true, true, true, true, true, "CANCELED", true, "NOT_FOUND"]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn only_retryable_failures_are_repeated() {
    let callee = r#"
        return function(kind)
            print("attempt")
            return nil, errors.new({message = "again", kind = kind, retryable = kind == "UNAVAILABLE"})
        end"#;
    let source = r#"
        local funcs = require("funcs")
        return function(kind, retry)
            local exec, problem = funcs.new():with_options({retry = retry})
            if problem then return problem:message() end
            local _, err = exec:call("app:flaky", kind)
            return err:message()
        end"#;
    let registry = lua(Registry::new(), "flaky", callee, "");
    let app = App::new(lua(registry, "f", source, MODULES));
    let call = async |kind: &str, retry: serde_json::Value| {
        let start = Instant::now();
        let answer = app.call("app:f", vec![Data::from(kind), Data::from(&retry)]).await.unwrap();
        (answer.as_str().unwrap().to_owned(), app.logged().len(), start.elapsed().as_millis())
    };
    // Three attempts: after 100 ms, and 300 ms after that.
    let retry = json!({"max_attempts": 3, "initial_delay": 100, "backoff_factor": 3.0});
    assert_eq!(call("UNAVAILABLE", retry.clone()).await, ("again".to_owned(), 3, 400));
    assert_eq!(call("NOT_FOUND", retry).await, ("again".to_owned(), 1, 0));
    assert_eq!(call("UNAVAILABLE", json!({"max_attempts": 1})).await, ("again".to_owned(), 1, 0));
    let text = json!({"max_attempts": 2, "initial_delay": "2s"});
    assert_eq!(call("UNAVAILABLE", text).await, ("again".to_owned(), 2, 2000));
    let refused = "options.retry: `max_attempts` is 0, expected 1 to 100";
    assert_eq!(call("UNAVAILABLE", json!({"max_attempts": 0})).await, (refused.to_owned(), 0, 0));
}

/// `meta.options.retry` of the callee holds for callers that say nothing else.
#[tokio::test(start_paused = true)]
async fn an_entry_says_how_its_calls_are_repeated() {
    let source = r#"
        local funcs = require("funcs")
        return function() return select(2, funcs.call("app:flaky")):message() end"#;
    let flaky = r#"
- name: flaky
  kind: function.lua
  meta: {options: {retry: {max_attempts: 4, initial_delay: 10, backoff_factor: 2}}}
  source: |
    return function() print("attempt") return nil, errors.new({message = "again", retryable = true}) end
"#;
    let app = App::new(lua(Registry::new().entries(flaky), "f", source, MODULES));
    let start = Instant::now();
    assert_eq!(app.f().await, Data::from("again"));
    assert_eq!(app.logged(), ["[app:flaky] attempt"; 4]);
    assert_eq!(start.elapsed().as_millis(), 10 + 20 + 40);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_call_and_not_its_caller() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local exec = funcs.new():with_options({timeout = 5000})
            local value, err = exec:call("app:sleep", "1h")
            return {value == nil, err:kind(), err:retryable(), funcs.call("app:sleep", "1s", "fine")}
        end"#;
    let app = App::new(lua(sleeper(Registry::new()), "f", source, MODULES));
    let start = Instant::now();
    assert_eq!(app.f().await.to_json().unwrap(), json!([true, "TIMEOUT", true, "fine"]));
    assert_eq!(start.elapsed().as_secs(), 6);
}

/// A timeout is one of all attempts: none begins at or after its end.
#[tokio::test(start_paused = true)]
async fn a_timeout_bounds_all_attempts() {
    let callee = r#"
        local time = require("time")
        return function(wait)
            print("attempt")
            time.sleep(wait)
            return nil, errors.new({message = "again", kind = "UNAVAILABLE", retryable = true})
        end"#;
    let source = r#"
        local funcs = require("funcs")
        return function(options, wait)
            local calls = funcs.new():with_options(options)
            local _, err = calls:call("app:flaky", wait)
            local _, again = calls:async("app:flaky", wait):response():receive()
            return err:kind()
        end"#;
    let registry = lua(Registry::new(), "flaky", callee, "modules: [time]");
    let app = App::new(lua(registry, "f", source, MODULES));
    let retry = |attempts: u32, delay: u64| json!({"max_attempts": attempts, "initial_delay": delay, "backoff_factor": 1});
    for (options, wait, kind, attempts, elapsed) in [
        (json!({"timeout": 1000, "retry": retry(3, 10_000)}), 0, "UNAVAILABLE", 1, 0),
        (json!({"timeout": 1000, "retry": retry(5, 300)}), 0, "UNAVAILABLE", 4, 900),
        (json!({"timeout": 1000, "retry": retry(5, 500)}), 0, "UNAVAILABLE", 2, 500),
        (json!({"timeout": 1000, "retry": retry(5, 100)}), 400, "UNAVAILABLE", 2, 900),
        (json!({"timeout": 1000, "retry": retry(5, 100)}), 700, "TIMEOUT", 2, 1000),
        (json!({"timeout": 1000, "retry": retry(5, 100)}), 5000, "TIMEOUT", 1, 1000),
        (json!({"timeout": 1000, "retry": retry(2, 100)}), 0, "UNAVAILABLE", 2, 100),
    ] {
        let start = Instant::now();
        let wait = Data::Integer(wait * 1_000_000);
        let answer = app.call("app:f", vec![Data::from(&options), wait]).await;
        assert_eq!(answer, Ok(Data::from(kind)), "{options}");
        // Once by `call` and once by `async`.
        assert_eq!(app.logged(), vec!["[app:flaky] attempt"; 2 * attempts], "{options}");
        assert_eq!(start.elapsed().as_millis(), 2 * elapsed, "{options}");
    }
    // A deadline that is inherited is one as well.
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_secs(1)));
    let args = vec![Data::from(&json!({"retry": retry(3, 10_000)})), Data::Integer(0)];
    assert_eq!(app.loader.call_data("app:f", args, context).await, Ok(Data::from("UNAVAILABLE")));
    assert_eq!(app.logged(), vec!["[app:flaky] attempt"; 2]);
}

/// Guests are called again as Lua is, and call again as Lua does.
#[tokio::test(start_paused = true)]
async fn guests_are_repeated_and_repeat() {
    let sleeper = "return function() print('attempt') require('time').sleep('1h') end";
    let source = r#"
        local funcs = require("funcs")
        return function(options, guest, target)
            local _, err = funcs.new():with_options(options):call(guest, target, "")
            return err:kind() .. " " .. err:message()
        end"#;
    let flaky = r#"
- name: flaky
  kind: function.lua
  meta: {options: {retry: {max_attempts: 4, initial_delay: 10, backoff_factor: 2}}}
  source: |
    return function() print("attempt") return nil, errors.new({message = "again", retryable = true}) end
"#;
    let mut registry = lua(Registry::new().entries(flaky), "sleeper", sleeper, "modules: [time]");
    for (profile, more) in [("sync", ""), ("async", ASYNCHRONOUS)] {
        let guest = trampoline(Door::String, more);
        let granted = "method: call\nimports: [funcs]";
        registry = registry.wat(profile, &guest, granted);
        let limited = format!("{granted}\nlimits: {{max_execution_ms: 50}}");
        registry = registry.wat(&format!("limited-{profile}"), &guest, &limited);
    }
    let app = App::new(lua(registry, "f", source, MODULES));
    let retry = json!({"max_attempts": 3, "initial_delay": 10});
    for profile in ["sync", "async"] {
        let call = async |options: serde_json::Value, guest: &str, target: &str| {
            let start = Instant::now();
            let args = vec![Data::from(&options), Data::from(guest), Data::from(target)];
            let answer = app.call("app:f", args).await.unwrap();
            (answer.as_str().unwrap().to_owned(), app.logged().len(), start.elapsed().as_millis())
        };
        let limited = format!("app:limited-{profile}");
        let (error, attempts, elapsed) = call(json!({"retry": retry}), &limited, "app:sleeper").await;
        assert!(error.starts_with("TIMEOUT "), "{error}");
        assert_eq!((attempts, elapsed), (3, 50 + 10 + 50 + 20 + 50));
        let options = json!({"timeout": 100, "retry": retry});
        let (error, attempts, elapsed) = call(options, &limited, "app:sleeper").await;
        assert!(error.starts_with("TIMEOUT "), "{error}");
        assert_eq!((attempts, elapsed), (2, 100));
        let guest = format!("app:{profile}");
        let (error, attempts, elapsed) = call(json!({"timeout": 70}), &guest, "app:sleeper").await;
        assert!(error.starts_with("TIMEOUT "), "{error}");
        assert_eq!((attempts, elapsed), (1, 70));
        // What the guest calls is called again, for as long as the guest has time.
        let again = "UNKNOWN again".to_owned();
        assert_eq!(call(json!({}), &guest, "app:flaky").await, (again.clone(), 4, 10 + 20 + 40));
        assert_eq!(call(json!({"timeout": 30}), &guest, "app:flaky").await, (again, 2, 10));
    }
}

/// What computes is ended as what waits is; its caller goes on.
#[tokio::test]
async fn a_timeout_ends_what_computes() {
    let source = r#"
        local funcs = require("funcs")
        return function(target)
            local value, err = funcs.new():with_options({timeout = 50}):call(target)
            return {value == nil, err:kind(), err:retryable(), funcs.call("app:fine")}
        end"#;
    let spin = "(module (func (export \"spin\") (loop $again (br $again))))";
    let registry = Registry::new().wat("wasm", spin, "wit: \"spin: func();\"\nmethod: spin");
    let registry = lua(registry, "lua", "return function() while true do end end", "");
    let registry = lua(registry, "fine", "return function() return 'fine' end", "");
    let app = App::new(lua(registry, "f", source, MODULES));
    for target in ["app:lua", "app:wasm"] {
        let out = app.call("app:f", vec![Data::from(target)]).await.unwrap();
        assert_eq!(out.to_json().unwrap(), json!([true, "TIMEOUT", true, "fine"]), "{target}");
    }
}

const INLINE: &str = "pool: {type: inline}";

/// A caller that waits has no thread: one is enough for all of them.
#[tokio::test(start_paused = true)]
async fn a_thousand_callers_wait_side_by_side() {
    let callee = r#"
        local time = require("time")
        return function(n)
            print("waits")
            time.sleep("200ms")
            print("goes on")
            return n
        end"#;
    let source = r#"
        local funcs = require("funcs")
        return function(n) return funcs.call("app:sleep", n) end"#;
    let registry = lua(Registry::new(), "sleep", callee, &format!("modules: [time]\n{INLINE}"));
    let app = App::new(lua(registry, "f", source, &format!("{MODULES}\n{INLINE}")));
    let start = Instant::now();
    let calls = (0..1000).map(|n| app.call("app:f", vec![Data::Integer(n)]));
    let results = futures_util::future::join_all(calls).await;
    for (n, result) in (0..).zip(results) {
        assert_eq!(result, Ok(Data::Integer(n)));
    }
    let logged = app.logged();
    assert_eq!(logged[..1000], vec!["[app:sleep] waits"; 1000]);
    assert_eq!(logged[1000..], vec!["[app:sleep] goes on"; 1000]);
    assert_eq!(start.elapsed().as_millis(), 200);
}

/// A thousand callers of guests which wait until all of them do, on two threads. Blocked threads would be two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_wait_on_two_threads() {
    const CALLERS: i64 = 1000;
    let gate = r#"(component
      (import "acme:host/gate@1.0.0" (instance $gate (export "pass" (func (param "n" u32) (result u32)))))
      (core func $pass (canon lower (func $gate "pass")))
      (core module $module
        (import "gate" "pass" (func $pass (param i32) (result i32)))
        (func (export "pass") (param i32) (result i32) (call $pass (local.get 0))))
      (core instance $instance (instantiate $module (with "gate" (instance (export "pass" (func $pass))))))
      (func (export "pass") (param "n" u32) (result u32) (canon lift (core func $instance "pass"))))"#;
    let source = r#"
        local funcs = require("funcs")
        return function(n) return funcs.call("app:gate", n) end"#;
    let more = format!("method: pass\nimports: [\"acme:host/gate\"]\n{INLINE}");
    let registry = Registry::new().wat("gate", gate, &more);
    let registry = lua(registry, "f", source, &format!("{MODULES}\n{INLINE}"));
    let all = Arc::new(Barrier::new(usize::try_from(CALLERS).unwrap()));
    let app = App::built(registry, |builder| {
        builder.host_interface("acme:host/gate@1.0.0", move |interface| {
            let all = Arc::clone(&all);
            interface.func_wrap_async("pass", move |_, (n,): (u32,)| {
                let all = Arc::clone(&all);
                Box::new(async move {
                    all.wait().await;
                    Ok((n,))
                })
            })
        })
    });
    // Those that could not all wait at once fail in the end.
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_secs(120)));
    let calls = (0..CALLERS).map(|n| app.loader.call_data("app:f", vec![Data::Integer(n)], context.clone()));
    let results = futures_util::future::join_all(calls).await;
    for (n, result) in (0..).zip(results) {
        assert_eq!(result, Ok(Data::Integer(n)));
    }
}

/// What nobody waits for any more does not go on, whatever is between.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_ends_what_it_waits_for() {
    let callee = r#"
        local time = require("time")
        return function(text)
            print("waits")
            time.sleep("1h")
            print("goes on")
            return text
        end"#;
    let source = r#"
        local funcs = require("funcs")
        return function(how)
            if how == "async" then return funcs.async("app:sleep", ""):response():receive():data() end
            if how == "lua" then return funcs.call("app:sleep", "") end
            return funcs.call(how, "app:sleep", "")
        end"#;
    let registry = lua(Registry::new(), "sleep", callee, "modules: [time]\npool: {type: static, size: 1}");
    let granted = "method: call\nimports: [funcs]";
    let registry = registry.wat("sync", &trampoline(Door::String, ""), granted);
    let registry = registry.wat("other", &trampoline(Door::String, ASYNCHRONOUS), granted);
    let app = App::new(lua(registry, "f", source, MODULES));
    for how in ["lua", "async", "app:sync", "app:other"] {
        {
            let mut call = std::pin::pin!(app.call("app:f", vec![Data::from(how)]));
            let mut logged = Vec::new();
            while logged.is_empty() {
                tokio::select! {
                    biased;
                    ended = &mut call => panic!("{ended:?}"),
                    () = tokio::task::yield_now() => logged = app.logged(),
                }
            }
            assert_eq!(logged, ["[app:sleep] waits"]);
        }
        tokio::time::sleep(Duration::from_secs(7200)).await;
        assert_eq!(app.logged(), Vec::<String>::new(), "{how}");
        // Its place is free.
        let start = Instant::now();
        assert_eq!(app.call("app:sleep", vec![Data::from("x")]).await, Ok(Data::from("x")));
        assert_eq!((start.elapsed().as_secs(), app.logged().len()), (3600, 2));
    }
    // The end of its time is as good as being dropped.
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_secs(5)));
    let error = app.loader.call_data("app:f", vec![Data::from("lua")], context).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(app.logged(), ["[app:sleep] waits"]);
}

/// What is called begins when it is called, not when all have waited that run beside its caller.
#[tokio::test]
async fn a_callee_runs_beside_those_who_compute() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local done = channel.new(1)
            coroutine.spawn(function() funcs.call("app:callee") end)
            coroutine.spawn(function()
                while funcs.call("app:count", 0) < 7 do end
                done:send(true)
            end)
            return (done:receive())
        end"#;
    // Never waits: an instance is free for each call, and no tick ends its turn.
    let count = "(module (global $count (mut i32) (i32.const 0))
        (func (export \"count\") (param i32) (result i32)
            (global.set $count (i32.add (global.get $count) (local.get 0))) (global.get $count)))";
    let more =
        "wit: \"count: func(by: u32) -> u32;\"\nmethod: count\npool: {reuse: true, max_uses: 1000000000}";
    let registry = Registry::new().wat("count", count, more);
    let callee = "local funcs = require('funcs') return function() return funcs.call('app:count', 7) end";
    let registry = lua(registry, "callee", callee, "modules: [funcs]");
    let options = Options { ticking: Ticking::Manual, ..Options::default() };
    let app = App::with(lua(registry, "f", source, "modules: [funcs]"), options);
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_secs(20)));
    let ran = app.loader.call_data("app:f", vec![], context).await;
    assert_eq!(ran.unwrap(), Data::Bool(true));
}
