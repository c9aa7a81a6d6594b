//! `funcs.async`, executors, repetition, and many that wait at once.

use loader::{Context, Data, ErrorKind};
use serde_json::json;
use tokio::time::{Duration, Instant};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_wait_on_two_threads() {
    let source = r#"
        local funcs = require("funcs")
        return function(n) return funcs.call("app:sleep", "200ms", n) end"#;
    let app = App::new(lua(sleeper(Registry::new()), "f", source, MODULES));
    let calls = (0..1000).map(|n| app.call("app:f", vec![Data::Integer(n)]));
    let results = futures_util::future::join_all(calls).await;
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap(), Data::Integer(i64::try_from(n).unwrap()));
    }
}

#[tokio::test]
async fn a_dropped_call_ends_what_it_waits_for() {
    let app = App::new(lua(
        sleeper(Registry::new()),
        "f",
        "local funcs = require('funcs')\nreturn function() return funcs.call('app:sleep', '1h') end",
        MODULES,
    ));
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_millis(20)));
    let error = app.loader.call_data("app:f", vec![], context).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        app.call("app:sleep", vec![Data::from("1ms"), Data::Integer(1)]).await.unwrap(),
        Data::Integer(1)
    );
}
