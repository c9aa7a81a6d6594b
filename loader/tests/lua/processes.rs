//! Processes: messages, ties, ends, limits. Time stands still and moves when everybody waits.

use loader::{Data, ErrorKind};
use serde_json::json;

use crate::shared::{App, lua, process};
use crate::support::Registry;

const HOST: &str = "- {name: host, kind: process.host}\n";

fn registry() -> Registry {
    Registry::new().entries(HOST)
}

/// What the function `app:f` with this source returns, beside the processes of `registry`.
async fn f(registry: Registry, source: &str) -> serde_json::Value {
    let app = App::new(lua(registry, "f", source, "modules: [time, security, ctx, funcs]"));
    app.f().await.to_json().unwrap()
}

fn echo(registry: Registry) -> Registry {
    let source = r#"
        return function()
            local inbox = process.inbox()
            while true do
                local message = inbox:receive()
                process.send(message:from(), "echo", {message:topic(), message:payload():data()})
            end
        end"#;
    process(registry, "echo", source, "")
}

/// Returns what it is given, raises it, or waits for ever.
fn worker(registry: Registry) -> Registry {
    let source = r#"
        return function(what, value)
            if what == "return" then return value end
            if what == "fail" then return nil, errors.new({message = value, kind = errors.UNAVAILABLE}) end
            if what == "raise" then error(value) end
            if what == "spin" then while true do end end
            if what == "ends" then return process.events():receive().reason end
            process.inbox():receive()
        end"#;
    process(registry, "worker", source, "")
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_in_order_by_topic_and_with_their_sender() {
    let source = r#"
        return function()
            local pid = process.spawn("app:echo", "app:host")
            local echoes = process.listen("echo")
            local out = {}
            process.send(pid, "a", 1, 2)
            process.send(pid, "b", {x = "y"})
            for i = 1, 3 do out[i] = echoes:receive() end
            out[4] = process.pid() == process.pid() and pid:match("^{app:host|0x%x+}$") ~= nil
            out[5] = {process.send(pid, "@x", 1)}
            out[5] = {out[5][1] == nil, out[5][2]:kind()}
            local _, err = process.send("nobody", "x")
            out[6] = err:kind()
            process.unlisten(echoes)
            process.send(pid, "c")
            local message = process.inbox():receive()
            out[7] = {message:topic(), message:from() == pid, message:payload():data()[1]}
            return out
        end"#;
    let out = f(echo(registry()), source).await;
    let expected = json!([
        ["a", 1], ["a", 2], ["b", {"x": "y"}], true, [true, "INVALID"], "NOT_FOUND", ["echo", true, "c"]
    ]);
    assert_eq!(out, expected);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_monitored_process_is_an_event() {
    let source = r#"
        return function()
            local events = process.events()
            local out = {}
            for i, args in ipairs({{"return", 5}, {"fail", "no"}, {"raise", "boom"}, {"wait"}}) do
                local pid = process.spawn_monitored("app:worker", "app:host", args[1], args[2])
                if args[1] == "wait" then process.terminate(pid) end
                local event = events:receive()
                local result = event.result
                local err = result.error
                out[i] = {event.kind == process.event.EXIT, event.from == pid, result.value or false,
                    err and err:kind() or false}
            end
            local pid = process.spawn_monitored("app:worker", "app:host", "wait")
            process.unmonitor(pid)
            process.terminate(pid)
            local later = process.spawn_monitored("app:worker", "app:host", "return", 1)
            out[5] = events:receive().from == later
            out[6] = select(2, process.monitor(later)):kind()
            return out
        end"#;
    let out = f(worker(registry()), source).await;
    let expected = json!([
        [true, true, 5, false],
        [true, true, false, "UNAVAILABLE"],
        [true, true, false, "UNKNOWN"],
        [true, true, false, "CANCELED"],
        true,
        "NOT_FOUND"
    ]);
    assert_eq!(out, expected);
}

#[tokio::test(start_paused = true)]
async fn linked_processes_end_together_unless_they_trap_it() {
    let chain = r#"
        local function main(depth)
            if depth > 0 then process.spawn_linked("app:chain", "app:host", depth - 1) end
            process.registry.register("chain" .. depth)
            if depth == 0 then error("the last") end
            process.inbox():receive()
        end
        return main"#;
    let source = r#"
        return function()
            local events = process.events()
            process.set_options({trap_links = true})
            local out = {process.get_options().trap_links}
            local child = process.spawn_linked("app:worker", "app:host", "raise", "boom")
            local event = events:receive()
            out[2] = {event.kind == process.event.LINK_DOWN, event.from == child, event.result.error:message()}
            -- A normal end is none of the others' business.
            process.spawn_linked("app:worker", "app:host", "return", 1)
            local top = process.spawn_linked_monitored("app:chain", "app:host", 5)
            local kinds = {}
            for i = 1, 2 do
                local event = events:receive()
                kinds[event.kind] = event.result.error:message():match("the last$")
            end
            out[3] = kinds[process.event.EXIT] and kinds[process.event.LINK_DOWN]
            out[4] = select(2, process.registry.lookup("chain3")):kind()
            local waits = process.spawn("app:worker", "app:host", "wait")
            process.link(waits)
            process.unlink(waits)
            process.terminate(waits)
            process.monitor(process.spawn("app:worker", "app:host", "return", 2))
            out[5] = events:receive().result.value
            return out
        end"#;
    let out = f(process(worker(registry()), "chain", chain, ""), source).await;
    assert_eq!(out[0], json!(true));
    assert_eq!(out[1][0], json!(true));
    assert!(out[1][2].as_str().unwrap().ends_with("boom"), "{out}");
    assert_eq!(out[2], json!("the last"));
    assert_eq!(out[3], json!("NOT_FOUND"));
    assert_eq!(out[4], json!(2));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_process_has_a_while_to_end() {
    let source = r#"
        local time = require("time")
        return function()
            local events = process.events()
            local out, start = {}, time.now()
            local willing = process.spawn_monitored("app:worker", "app:host", "ends")
            process.cancel(willing, "enough")
            out[1] = events:receive().result.value
            for i, what in ipairs({"wait", "spin"}) do
                local pid = process.spawn_monitored("app:worker", "app:host", what)
                if what == "wait" then process.cancel(pid, "now") else process.terminate(pid) end
                out[i + 1] = events:receive().result.error:message()
            end
            out[4] = time.now():sub(start):seconds()
            return out
        end"#;
    let out = f(worker(registry()), source).await;
    let expected = json!(["enough", "the process was cancelled: now", "the process was terminated", 5]);
    assert_eq!(out, expected);
}

#[tokio::test(start_paused = true)]
async fn exec_waits_and_gives_what_the_process_returned() {
    let source = r#"
        return function()
            local value = process.exec("app:worker", "app:host", "return", {1, 2})
            local none, err = process.exec("app:worker", "app:host", "fail", "no")
            local _, unknown = process.exec("app:nothing", "app:host")
            local _, no_host = process.exec("app:worker", "app:worker")
            local _, called = require("funcs").call("app:worker", "return", 1)
            return {value, none == nil, err:message(), unknown:kind(), no_host:kind(), called:kind()}
        end"#;
    let out = f(worker(registry()), source).await;
    assert_eq!(out, json!([[1, 2], true, "no", "NOT_FOUND", "INVALID", "UNAVAILABLE"]));
}

#[tokio::test(start_paused = true)]
async fn names_belong_to_one_process_until_it_ends() {
    let source = r#"
        return function()
            local events = process.events()
            local named = process.with_context({}):with_name("one")
            local pid = named:spawn_monitored("app:worker", "app:host", "wait")
            local _, taken = named:spawn("app:worker", "app:host", "wait")
            local _, also = process.registry.register("one")
            local again = process.registry.register("one", pid)
            local _, cluster = process.registry.register("two", nil, process.registry.STRONG)
            local found = process.registry.lookup("one") == pid
            process.terminate("one")
            events:receive()
            local _, gone = process.registry.lookup("one")
            process.registry.register("mine")
            local own = process.registry.lookup("mine") == process.pid()
            return {taken:kind(), also:kind(), again, cluster:kind(), found, gone:kind(), own,
                process.registry.unregister("mine"), process.registry.unregister("mine")}
        end"#;
    let out = f(worker(registry()), source).await;
    let expected = json!([
        "ALREADY_EXISTS",
        "ALREADY_EXISTS",
        true,
        "UNAVAILABLE",
        true,
        "NOT_FOUND",
        true,
        true,
        false
    ]);
    assert_eq!(out, expected);
}

#[tokio::test(start_paused = true)]
async fn context_is_inherited_and_builders_change_it() {
    let child = r#"
        local security, ctx = require("security"), require("ctx")
        return function()
            local actor = security.actor()
            local first = process.inbox():receive()
            return {actor and actor:id(), security.scope() ~= nil, ctx.get("a"), ctx.get("b"), first:topic(),
                first:payload():data(), first:from() ~= nil}
        end"#;
    let source = r#"
        local security = require("security")
        return function()
            local actor = security.new_actor("user:1")
            local base = process.with_context({a = 1})
            local built = base:with_context({b = 2}):with_actor(actor):with_scope(security.new_scope())
            local value, err = built:with_message("hello", "you"):exec("app:child", "app:host")
            if err then return {err:message()} end
            local _, network = process.with_options({network = "app:tor"})
            return {value, network:kind()}
        end"#;
    let out = f(process(registry(), "child", child, "modules: [security, ctx]"), source).await;
    assert_eq!(out, json!([["user:1", true, 1, 2, "hello", "you", true], "UNAVAILABLE"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_allowed_is_refused() {
    let policy = r#"
- name: some
  kind: security.policy
  policy: {actions: ["process.*", "security.*"], resources: "*", effect: allow}
- name: none
  kind: security.policy
  policy:
    actions: ["process.spawn.linked", "process.cancel", "process.security", "process.registry.foreign"]
    resources: "*"
    effect: deny
"#;
    let inner = r#"
        return function()
            local function kind(value, err) return err and err:kind() or true end
            local pid = process.spawn("app:worker", "app:host", "wait")
            return {
                kind(process.spawn_monitored("app:worker", "app:host", "return")),
                kind(process.spawn_linked("app:worker", "app:host", "return")),
                kind(process.send(pid, "x")), kind(process.cancel(pid)),
                kind(process.registry.register("a")), kind(process.registry.register("b", pid)),
                kind(process.terminate(pid)),
            }
        end"#;
    let source = r#"
        local security = require("security")
        return function()
            local scope = security.new_scope({security.policy("app:some"), security.policy("app:none")})
            local actor = security.new_actor("user:1")
            return require("funcs").new():with_actor(actor):with_scope(scope):call("app:inner")
        end"#;
    let registry = lua(worker(registry()).entries(policy), "inner", inner, "modules: [security]");
    let denied = "PERMISSION_DENIED";
    assert_eq!(f(registry, source).await, json!([true, denied, true, denied, true, denied, true]));
}

/// One worker and places for four: what runs counts as none that waits.
#[tokio::test(start_paused = true)]
async fn a_full_host_refuses_and_recovers() {
    let host = r#"
- name: small
  kind: process.host
  host: {workers: 1, queue_size: 1, local_queue_size: 1, max_processes: 3}
"#;
    let source = r#"
        local time = require("time")
        return function()
            local function spawn() return process.spawn("app:worker", "app:small", "wait") end
            local out, pids = {}, {}
            -- None of them is polled before this waits.
            for i = 1, 3 do
                local pid, err = spawn()
                pids[i], out[i] = pid, err and {err:kind(), err:retryable(), err:message()} or true
            end
            time.sleep("1ms")
            out[4] = spawn() ~= nil
            out[5] = select(2, spawn()):message()
            process.terminate(pids[1])
            time.sleep("1ms")
            out[6] = spawn() ~= nil
            return out
        end"#;
    let out = f(worker(registry().entries(host)), source).await;
    let expected = json!([
        true,
        true,
        ["UNAVAILABLE", true, "`app:small` takes no process now: 2 processes wait for a worker already"],
        true,
        "`app:small` takes no process now: it has its `max_processes` of 3",
        true
    ]);
    assert_eq!(out, expected);
}

#[tokio::test(start_paused = true)]
async fn guests_are_processes_too() {
    let source = r#"
        return function()
            local events = process.events()
            local out = {}
            local function run(id, ...)
                local pid, err = process.spawn_monitored(id, "app:host", ...)
                if err then return {err:kind()} end
                local result = events:receive().result
                return {result.value or false, result.error and result.error:kind() or false}
            end
            out[1] = run("app:prime", 100)
            out[2] = run("app:prime", 1)
            out[3] = run("app:prime", "x")
            local prime = process.spawn("app:prime", "app:host", 7)
            local _, refused = process.send(prime, "x", 1)
            out[4] = {refused:kind(), refused:message():match("imports: %[inbox%]") ~= nil}
            local sum = process.spawn_monitored("app:sum", "app:host")
            for i = 1, 3 do process.send(sum, "add", i) end
            process.send(sum, "stop")
            out[5] = events:receive().result.value
            local canceled = process.spawn_monitored("app:sum", "app:host")
            process.cancel(canceled, "enough")
            out[6] = events:receive().result.error:message()
            local idle = process.spawn_monitored("app:sum", "app:host")
            process.terminate(idle)
            out[7] = events:receive().result.error:message()
            return out
        end"#;
    let registry = registry().sample_worker("prime", "largest-prime", "").sample_worker(
        "sum",
        "sum",
        "imports: [inbox]",
    );
    let expected = json!([
        [97, false],
        [false, "INTERNAL"],
        ["INVALID"],
        ["UNAVAILABLE", true],
        "3 numbers make 6",
        "enough after 0 numbers",
        "the process was terminated"
    ]);
    assert_eq!(f(registry, source).await, expected);
}

#[tokio::test]
async fn ten_thousand_lua_processes_live_at_once() {
    let source = r#"
        return function(count)
            local events = process.events()
            local failed
            for i = 1, count do
                local pid, err = process.spawn_monitored("app:small", "app:wide", process.pid())
                failed = failed or err
            end
            local ready = process.listen("ready")
            local pids = {}
            for i = 1, count do pids[i] = ready:receive() end
            process.send(pids[1], "go", "crash")
            local crashed = events:receive().result.error ~= nil
            for i = 2, count do process.send(pids[i], "go", i) end
            local sum = 0
            for i = 2, count do sum = sum + events:receive().result.value end
            return {failed and failed:message() or "none", crashed, sum}
        end"#;
    let small = r#"
        return function(parent)
            local go = process.listen("go")
            process.send(parent, "ready", process.pid())
            local value = go:receive()
            if value == "crash" then error("crash") end
            return value
        end"#;
    let host = "- {name: wide, kind: process.host, host: {queue_size: 20000}}\n";
    let registry = process(registry().entries(host), "small", small, "");
    let app = App::new(lua(registry, "many", source, ""));
    // All that fit, on a small machine.
    let count = app.loader.process_room().lua.min(10_000);
    let out = app.call("app:many", vec![Data::Integer(i64::try_from(count).unwrap())]).await.unwrap();
    let sum = count * (count + 1) / 2 - 1;
    assert_eq!(out.to_json().unwrap(), json!(["none", true, sum]));
}

#[tokio::test]
async fn two_thousand_guests_live_at_once() {
    let source = r#"
        return function(count)
            local events = process.events()
            local pids, failed = {}, nil
            for i = 1, count do
                local pid, err = process.spawn_monitored("app:sum", "app:wide")
                pids[i], failed = pid, failed or err
            end
            process.send(pids[1], "add", "nonsense")
            local crashed = events:receive().result.error ~= nil
            for i = 2, count do
                process.send(pids[i], "add", 1)
            end
            for i = 2, count do process.send(pids[i], "stop") end
            local fine = 0
            for i = 2, count do
                if events:receive().result.value == "1 numbers make 1" then fine = fine + 1 end
            end
            return {failed and failed:message() or "none", crashed, fine}
        end"#;
    let host = "- {name: wide, kind: process.host, host: {queue_size: 20000}}\n";
    let registry = registry().entries(host).sample_worker("sum", "sum", "imports: [inbox]");
    // With the options of an embedding program, whose calls have 1,000 instances.
    let app = App::new(lua(registry, "many", source, ""));
    let count = app.loader.process_room().wasm.min(2_000);
    let out = app.call("app:many", vec![Data::Integer(i64::try_from(count).unwrap())]).await.unwrap();
    assert_eq!(out.to_json().unwrap(), json!(["none", true, count - 1]));
}

#[tokio::test(start_paused = true)]
async fn a_process_without_a_terminal_has_no_io() {
    let source = r#"
        local io = require("io")
        return function()
            local ok, err = io.print("x")
            return {ok == nil, err:kind(), select(2, io.readline()):kind(), select(2, io.args()):kind()}
        end"#;
    let app = App::new(lua(registry(), "f", source, "modules: [io]"));
    let out = app.f().await.to_json().unwrap();
    assert_eq!(out, json!([true, "UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"]));
    let error = app.call("app:f", vec![]).await.map_err(|error| error.kind());
    assert_ne!(error, Err(ErrorKind::Internal));
}

/// The globals are what a process listens to: one topic, one channel.
#[tokio::test(start_paused = true)]
async fn subscriptions_are_what_a_process_listens_to() {
    let source = r#"
        return function()
            local topic = subscribe("news")
            process.send(process.pid(), "news", "first")
            process.send(process.pid(), "other", "unheard")
            local out = {topic:receive(), subscribe("news", 10) == topic, process.listen("news") == topic}
            out[4], out[5] = unsubscribe(topic), unsubscribe(topic)
            out[6] = select(2, topic:receive())
            local none, err = subscribe("@inbox")
            out[7] = none == nil and err:kind()
            return out
        end"#;
    let expected = json!(["first", true, true, true, false, false, "INVALID"]);
    assert_eq!(f(registry(), source).await, expected);
}
