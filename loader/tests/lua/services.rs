//! `process.service`: order, restarts, stops and identity of supervised processes. Time stands still and moves
//! when everybody waits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use loader::supervisor::{Jitter, Serving, State};
use tokio::time::Instant;

use crate::shared::{App, process};
use crate::support::Registry;

const HOST: &str = "- {name: host, kind: process.host}\n";

/// The service `NAME` of the process `NAME-process`; `lifecycle` are the fields of that block.
fn service(registry: Registry, name: &str, source: &str, modules: &str, lifecycle: &str) -> Registry {
    let registry = process(registry, &format!("{name}-process"), source, &format!("modules: [{modules}]"));
    registry.entries(&format!(
        "- name: {name}\n  kind: process.service\n  process: {name}-process\n  host: host\n  lifecycle: {{{lifecycle}}}"
    ))
}

/// Says what happens to it.
const SAYS: &str = r#"
    return function()
        print("starts")
        process.events():receive()
        print("ends")
    end"#;

/// Starts the services; what becomes of `app:NAME`, with the time.
fn start(app: &App, name: &'static str) -> (Serving, Arc<Mutex<Vec<String>>>) {
    let states = Arc::new(Mutex::new(Vec::new()));
    let (seen, begun) = (Arc::clone(&states), Instant::now());
    let supervisor = app.loader.supervisor().unwrap().jitter(Jitter::From(Arc::new(|| 1.0)));
    let supervisor = supervisor.observer(move |id, state| {
        if id == format!("app:{name}") {
            let state = match state {
                State::Failed(_) => "failed".to_owned(),
                State::Exited(Some(error)) => format!("exited: {}", error.message()),
                state => state.to_string(),
            };
            seen.lock().unwrap().push(format!("{:?} {state}", begun.elapsed()));
        }
    });
    (supervisor.start().unwrap(), states)
}

async fn ticks() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_has_its_input_and_is_asked_to_end() {
    let service = r#"
- name: flaky
  kind: process.service
  process: counts
  host: host
  input: [3]
  lifecycle:
    auto_start: true
    security:
      actor: {id: "service:flaky"}
      policies: [everything]
- name: everything
  kind: security.policy
  policy: {actions: "*", resources: "*", effect: allow}
"#;
    let source = r#"
        local security = require("security")
        local time = require("time")
        return function(failures)
            print("starts as " .. security.actor():id() .. ", given " .. failures)
            local event = process.events():receive()
            print("asked to end: " .. event.reason)
            time.sleep("3s")
            print("ends")
        end"#;
    let registry = Registry::new().entries(HOST).entries(service);
    let app = App::new(process(registry, "counts", source, "modules: [security, time]"));
    let (serving, _) = start(&app, "flaky");
    serving.status().settled().await;
    assert_eq!(serving.status().started(), 2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let status = serving.status().clone();
    let start = Instant::now();
    serving.stop().await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let expected = [
        "[app:counts] starts as service:flaky, given 3",
        "[app:counts] asked to end: its service stops",
        "[app:counts] ends",
    ];
    assert_eq!(app.logged(), expected);
    assert!(status.states().iter().all(|(_, state)| *state == State::Stopped), "{:?}", status.states());
}

#[tokio::test(start_paused = true)]
async fn services_start_after_what_they_require_and_stop_before_it() {
    let registry = service(Registry::new().entries(HOST), "a", SAYS, "", "auto_start: true, requires: [b]");
    let registry = service(registry, "b", SAYS, "", "auto_start: true, depends_on: [c]");
    // Started since it is required, not by itself.
    let registry = service(registry, "c", SAYS, "", "auto_start: false");
    let registry = service(registry, "d", SAYS, "", "");
    let app = App::new(registry);
    let (serving, _) = start(&app, "a");
    serving.status().settled().await;
    ticks().await;
    let starts = app.logged();
    assert_eq!(starts.len(), 3, "{starts:?}");
    serving.stop().await;
    assert_eq!(app.logged(), ["[app:a-process] ends", "[app:b-process] ends", "[app:c-process] ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_process_is_retried_with_growing_waits_until_max_attempts() {
    let fails = r#"return function() error("boom") end"#;
    let lifecycle = "auto_start: true, restart: {initial_delay: 2s, max_delay: 5s, backoff_factor: 2, jitter: 0.5, \
                     max_attempts: 3}";
    let app = App::new(service(Registry::new().entries(HOST), "s", fails, "", lifecycle));
    let (serving, states) = start(&app, "s");
    serving.status().settled().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // 2, 4 and 5 seconds, and half as much on top.
    let seen: Vec<String> =
        states.lock().unwrap().iter().filter(|state| !state.ends_with("running")).cloned().collect();
    let expected = [
        "0ns starting",
        "0ns failed",
        "3s starting",
        "3s failed",
        "9s starting",
        "9s failed",
        "16.5s starting",
    ];
    assert_eq!(seen[..7], expected);
    assert!(
        seen[7].starts_with("16.5s exited: ") && seen[7].ends_with("boom") && seen.len() == 8,
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ran_for_its_threshold_begins_again_with_the_first_wait() {
    let fails = r#"return function() require("time").sleep("3s") error("boom") end"#;
    let restart = "restart: {initial_delay: 1s, jitter: 0}";
    for (threshold, expected) in [("3s", ["0ns", "4s", "8s", "12s"]), ("4s", ["0ns", "4s", "9s", "16s"])] {
        let lifecycle = format!("auto_start: true, stable_threshold: {threshold}, {restart}");
        let app = App::new(service(Registry::new().entries(HOST), "s", fails, "time", &lifecycle));
        let (_serving, states) = start(&app, "s");
        tokio::time::sleep(Duration::from_secs(18)).await;
        let states = states.lock().unwrap();
        let starts: Vec<&str> = states.iter().filter_map(|state| state.strip_suffix(" starting")).collect();
        assert_eq!(starts[..4], expected, "{threshold}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_normal_return_is_a_clean_exit_and_no_retry_helps_against_refusals() {
    let returns = r#"return function() return 5 end"#;
    let refused = r#"return function() return nil, errors.new({message = "no", retryable = false}) end"#;
    for (source, expected) in [(returns, "0ns exited"), (refused, "0ns exited: no")] {
        let app = App::new(service(Registry::new().entries(HOST), "s", source, "", "auto_start: true"));
        let (serving, states) = start(&app, "s");
        serving.status().settled().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(states.lock().unwrap().last().unwrap(), expected);
        assert_eq!(states.lock().unwrap().len(), 3, "{states:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_end_is_ended_at_its_stop_timeout() {
    let stubborn = "return function() print('starts') while true do process.inbox():receive() end end";
    let app = App::new(service(
        Registry::new().entries(HOST),
        "s",
        stubborn,
        "",
        "auto_start: true, stop_timeout: 2s",
    ));
    let (serving, states) = start(&app, "s");
    serving.status().settled().await;
    ticks().await;
    assert_eq!(app.loader.processes().lua, 1);
    let stopped = Instant::now();
    serving.stop().await;
    assert_eq!(stopped.elapsed(), Duration::from_secs(2));
    ticks().await;
    assert_eq!(app.loader.processes().lua, 0);
    assert!(states.lock().unwrap().last().unwrap().ends_with("stopped"));
}

/// What a process's own entry says holds for services of it that say nothing.
#[tokio::test(start_paused = true)]
async fn a_process_has_the_identity_of_its_own_entry_unless_its_service_has_one() {
    let policies =
        "- {name: read, kind: security.policy, policy: {actions: read, resources: \"*\", effect: allow}}\n";
    let says = r#"
        local security = require("security")
        return function()
            print(security.actor():id(), security.can("read", "x"), security.can("write", "x"))
        end"#;
    let own = "modules: [security]\nlifecycle: {security: {actor: {id: own}, policies: [read]}}";
    for (identity, expected) in [
        ("", "own\ttrue\tfalse"),
        (", security: {actor: {id: service}, policies: []}", "service\tfalse\tfalse"),
    ] {
        let registry = process(Registry::new().entries(HOST).entries(policies), "p", says, own);
        let app = App::new(registry.entries(&format!(
            "- {{name: s, kind: process.service, process: p, host: host, lifecycle: {{auto_start: true{identity}}}}}"
        )));
        let (serving, _) = start(&app, "s");
        serving.status().settled().await;
        ticks().await;
        assert_eq!(app.logged(), [format!("[app:p] {expected}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_acts_with_its_own_identity() {
    let policies = r#"
- name: read
  kind: security.policy
  policy: {actions: read, resources: "*", effect: allow}
- name: write
  kind: security.policy
  groups: [writers]
  policy: {actions: write, resources: "*", effect: allow}
"#;
    let says = r#"
        local security = require("security")
        return function()
            local actor = security.actor()
            print(actor and actor:id() or "nobody", actor and actor:meta().role or "no role",
                security.can("read", "x"), security.can("write", "x"), security.can("delete", "x"))
        end"#;
    for (identity, expected) in [
        ("", "nobody\tno role\ttrue\ttrue\ttrue"),
        // Nobody is refused nothing.
        ("policies: [read]", "nobody\tno role\ttrue\ttrue\ttrue"),
        (
            "actor: {id: \"service:s\", meta: {role: admin}}, policies: [read], groups: [writers]",
            "service:s\tadmin\ttrue\ttrue\tfalse",
        ),
        ("actor: {id: \"service:s\"}, groups: [writers]", "service:s\tno role\tfalse\ttrue\tfalse"),
    ] {
        let security =
            if identity.is_empty() { String::new() } else { format!(", security: {{{identity}}}") };
        let registry = Registry::new().entries(HOST).entries(policies);
        let app = App::new(service(registry, "s", says, "security", &format!("auto_start: true{security}")));
        let (serving, _) = start(&app, "s");
        serving.status().settled().await;
        ticks().await;
        assert_eq!(app.logged(), [format!("[app:s-process] {expected}")], "{identity}");
    }
}

/// As the public tutorial of supervision has it: no service, and no host that is named.
#[tokio::test(start_paused = true)]
async fn a_process_that_starts_itself_is_a_service() {
    let says = r#"
        local security = require("security")
        return function(count)
            print("starts as " .. security.actor():id() .. ", given " .. tostring(count))
            process.events():receive()
            print("ends")
        end"#;
    let lifecycle =
        "modules: [security]\nlifecycle: {auto_start: true, security: {actor: {id: pool}, policies: []}}";
    let registry = process(Registry::new().entries(HOST), "pool", says, lifecycle);
    let registry = process(registry, "quiet", SAYS, "lifecycle: {auto_start: false}");
    let app = App::new(process(registry, "plain", SAYS, ""));
    let (serving, _) = start(&app, "pool");
    serving.status().settled().await;
    ticks().await;
    let states = serving.status().states();
    let names: Vec<&str> = states.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["app:host", "app:pool"]);
    serving.stop().await;
    let expected = ["[app:pool] starts as pool, given nil", "[app:pool] ends"];
    assert_eq!(app.logged(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_a_service_does_not_start_itself() {
    let registry = process(Registry::new().entries(HOST), "p", SAYS, "lifecycle: {auto_start: true}");
    let service = "- {name: s, kind: process.service, process: p, host: host, lifecycle: {auto_start: true}}";
    let app = App::new(registry.entries(service));
    let (serving, _) = start(&app, "s");
    serving.status().settled().await;
    ticks().await;
    assert_eq!(app.logged(), ["[app:p] starts"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_itself_needs_one_host() {
    for hosts in ["", "- {name: host, kind: process.host}\n- {name: other, kind: process.host}\n"] {
        let registry = process(Registry::new().entries(hosts), "p", SAYS, "lifecycle: {auto_start: true}");
        let app = App::new(registry);
        let (serving, states) = start(&app, "p");
        serving.status().settled().await;
        let states = states.lock().unwrap().clone();
        assert!(states.last().unwrap().contains("the only `process.host`"), "{states:?}");
        assert_eq!(app.logged(), Vec::<String>::new());
    }
}
