//! What is refused while a loader shuts down, and what goes on until then. Time stands still and moves when
//! everybody waits.

use std::sync::Arc;

use loader::{Context, Data, Deployment, ErrorKind};
use serde_json::json;

use crate::guests::{Door, trampoline};
use crate::shared::{App, lua, process};
use crate::support::Registry;

const REFUSED: &str = "can't run: the loader is shutting down";

/// `app:f` says that it has begun, sleeps, and calls `app:inner`; guests are `app:answer` and `app:guest`.
fn registry() -> Registry {
    let source = r#"
        local funcs, time = require("funcs"), require("time")
        return function(target)
            print("began")
            time.sleep("10s")
            local pid, refused = process.spawn("app:nothing", "app:nowhere")
            local value, err = funcs.call(target, "app:inner", "x")
            if refused:kind() ~= "NOT_FOUND" then return {refused:kind(), refused:retryable(), err:message()} end
            return err and {err:kind(), err:retryable(), err:message()} or value
        end"#;
    let registry = Registry::new().answer("answer", 42).wat(
        "guest",
        &trampoline(Door::String, ""),
        "method: call\nimports: [funcs]",
    );
    let registry = lua(registry, "inner", "return function(x) return x .. ' answered' end", "");
    lua(registry, "f", source, "modules: [funcs, time]")
}

async fn until_logged(app: &App, expected: &str) {
    while app.logged() != [expected] {
        tokio::task::yield_now().await;
    }
}

/// What every way in from the embedding program answers.
async fn ways_in(app: &App) -> Vec<Result<(), (ErrorKind, bool, String)>> {
    let short = |error: loader::Error| (error.kind(), error.is_retryable(), error.message().to_owned());
    let function = app.loader.function("app:answer").unwrap();
    let typed = app.loader.call("app:answer", &[]).await;
    let with_context = app.loader.call_with_context("app:answer", &[], Context::default()).await;
    let looked_up = function.call(&[]).await;
    let streams =
        app.loader.call_with_streams("app:answer", &[], Context::default(), loader::Stdio::Log).await;
    let lua = app.call("app:inner", vec![Data::from("x")]).await.map(|_| None);
    let guest = app.call("app:answer", vec![]).await.map(|_| None);
    [typed, with_context, looked_up, streams, lua, guest].map(|it| it.map(|_| ()).map_err(short)).to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_draining_loader_takes_no_calls_and_finishes_those_that_run() {
    let app = App::new(registry());
    assert!(ways_in(&app).await.iter().all(Result::is_ok));
    let running = app.call("app:f", vec![Data::from("app:guest")]);
    let drained = async {
        until_logged(&app, "[app:f] began").await;
        app.loader.drain();
        ways_in(&app).await
    };
    // The call of the guest, and the guest's own call, are made after the drain has begun.
    let (running, refused) = tokio::join!(running, drained);
    assert_eq!(running.unwrap(), Data::from("x answered"));
    for (refused, id) in refused.iter().zip(["answer", "answer", "answer", "answer", "inner", "answer"]) {
        assert_eq!(*refused, Err((ErrorKind::Unavailable, true, format!("`app:{id}` {REFUSED}"))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_loader_refuses_calls_of_what_still_runs() {
    let app = App::new(registry());
    let running = app.call("app:f", vec![Data::from("app:guest")]);
    let closed = async {
        until_logged(&app, "[app:f] began").await;
        app.loader.close();
        // There is no way back.
        app.loader.drain();
    };
    let (running, ()) = tokio::join!(running, closed);
    let expected = json!(["UNAVAILABLE", true, format!("`app:guest` {REFUSED}")]);
    assert_eq!(running.unwrap().to_json().unwrap(), expected);
    assert!(ways_in(&app).await.iter().all(Result::is_err));
}

/// A supervised process that is asked to end still calls; the program does not.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_stops_drains_and_closes_its_loader() {
    let worker = r#"
        local funcs, time = require("funcs"), require("time")
        return function()
            print("starts")
            process.events():receive()
            print("asked")
            time.sleep("1s")
            print((funcs.call("app:inner", "process")))
        end"#;
    let service = r#"
- {name: host, kind: process.host}
- name: worker
  kind: process.service
  process: worker-process
  host: host
  lifecycle: {auto_start: true}
"#;
    let registry = process(registry().entries(service), "worker-process", worker, "modules: [funcs, time]");
    let app = App::new(registry);
    let deployment = Deployment::start(app.loader.clone(), Arc::new(|_, _| {})).unwrap();
    until_logged(&app, "[app:worker-process] starts").await;
    let meanwhile = async {
        until_logged(&app, "[app:worker-process] asked").await;
        ways_in(&app).await
    };
    let (stopped, refused) = tokio::join!(deployment.stop(), meanwhile);
    stopped.unwrap();
    assert!(refused.iter().all(|way| matches!(way, Err((ErrorKind::Unavailable, true, _)))), "{refused:?}");
    assert_eq!(app.logged(), ["[app:worker-process] process answered"]);
    assert!(ways_in(&app).await.iter().all(Result::is_err));
}
