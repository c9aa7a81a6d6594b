//! The table of errors that Lua sees, row by row: kind, whether it is retryable, details.

use loader::Options;
use serde_json::{Value, json};

use crate::guests::{Door, trampoline};
use crate::shared::{App, lua, process};
use crate::support::Registry;

/// Calls by name; each row is `{kind, retryable, details, whether the message has the text}`.
const ROWS: &str = r#"
    local funcs, security = require("funcs"), require("security")
    local function row(text, value, err)
        if value ~= nil or err == nil then return "no error" end
        local has = err:message():find(text, 1, true) ~= nil or err:message()
        return {err:kind(), tostring(err:retryable()), err:details() or "none", has}
    end
    local rows = {}
    function rows.malformed_target() return row("invalid function target: nonsense", funcs.call("nonsense")) end
    function rows.empty_target() return row("invalid function target", funcs.call("")) end
    function rows.half_a_target() return row("invalid function target", funcs.call("app:")) end
    function rows.no_target() return row("expected string, got integer", funcs.call(7)) end
    function rows.argument() return row("`app:add`: b: expected s32, got string", funcs.call("app:add", 1, "x")) end
    function rows.range() return row("b:", funcs.call("app:add", 1, 1 << 40)) end
    function rows.arity() return row("expected 2 arguments, got 1", funcs.call("app:add", 1)) end
    function rows.policy()
        local nobody = funcs.new():with_actor((security.new_actor("eve"))):with_scope((security.new_scope()))
        -- Whom the callee acts for.
        return row("on `app:add`", nobody:call("app:relay"))
    end
    function rows.unknown() return row("no entry `app:nothing` in this bundle", funcs.call("app:nothing")) end
    function rows.unknown_namespace() return row("no entry `none:add`", funcs.call("none:add")) end
    function rows.pool_full()
        funcs.async("app:one", "1h")
        require("time").sleep("1ms")
        return row("`app:one` had no free slot in time", funcs.call("app:one", "1s"))
    end
    function rows.waits_too_long()
        return row("deadline", funcs.new():with_options({timeout = "2s"}):call("app:sleep", "1h"))
    end
    function rows.not_granted() return row("add `funcs` to its `imports`", funcs.call("app:ungranted", "app:add", "")) end
    function rows.data() return row("`app:data` is a `registry.entry`, which can't be called", funcs.call("app:data")) end
    function rows.unavailable() return row("needs the Lua module `sql`", funcs.call("app:unavailable")) end
    function rows.a_process() return row("can't be called", funcs.call("app:process")) end
    function rows.canceled()
        local future = funcs.async("app:sleep", "1h")
        future:cancel()
        return row("the call of `app:sleep` was canceled", future:result())
    end
    function rows.trap() return row("`app:trap` failed in `boom`: wasm trap: wasm `unreachable`", funcs.call("app:trap")) end
    function rows.memory() return row("limit `max_memory_bytes` of 131072", funcs.call("app:memory")) end
    function rows.elements() return row("limit `max_table_elements` of 10", funcs.call("app:table")) end
    function rows.stack() return row("`app:depth` failed in `depth`: wasm trap: call stack exhausted", funcs.call("app:depth")) end
    function rows.instantiation() return row("`app:broken`", funcs.call("app:broken")) end
    return function(name) return rows[name]() end"#;

fn registry() -> Registry {
    let add = "(module (func (export \"add\") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))";
    let trap = "(module (func $inner unreachable) (func $boom (export \"boom\") call $inner))";
    let memory = r#"(module (memory 1)
        (func $grow (if (i32.eq (memory.grow (i32.const 2)) (i32.const -1)) (then unreachable)))
        (func $run (export "grow") call $grow))"#;
    let table = r#"(module (table $t 1 funcref)
        (func $grow (if (i32.eq (table.grow $t (ref.null func) (i32.const 20)) (i32.const -1)) (then unreachable)))
        (func $run (export "grow") call $grow))"#;
    let depth = "(module (func $depth (export \"depth\") call $depth))";
    let broken = "(module (memory 1) (data (i32.const 65536) \"x\") (func (export \"f\")))";
    let sleeps = "local time = require('time')\nreturn function(d) time.sleep(d) return 'slept' end";
    let registry = Registry::new()
        .wat("add", add, "wit: \"add: func(a: s32, b: s32) -> s32;\"\nmethod: add")
        .wat("trap", trap, "wit: \"boom: func();\"\nmethod: boom")
        .wat("memory", memory, "wit: \"grow: func();\"\nmethod: grow\nlimits: {max_memory_bytes: 131072}")
        .wat("table", table, "wit: \"grow: func();\"\nmethod: grow\nlimits: {max_table_elements: 10}")
        .wat("depth", depth, "wit: \"depth: func();\"\nmethod: depth")
        .wat("broken", broken, "wit: \"f: func();\"\nmethod: f")
        .wat("ungranted", &trampoline(Door::String, ""), "method: call")
        .entries("- name: data\n  kind: registry.entry\n");
    let registry = lua(registry, "one", sleeps, "modules: [time]\npool: {type: static, workers: 1}");
    let relay = "return function() return require('funcs').call('app:add', 1, 2) end";
    let registry = lua(registry, "relay", relay, "modules: [funcs]");
    let registry = lua(registry, "sleep", sleeps, "modules: [time]");
    let registry = lua(registry, "unavailable", "return function() end", "modules: [sql]");
    let registry = process(registry, "process", "return function() end", "");
    lua(registry, "rows", ROWS, "modules: [funcs, security, time]")
}

#[tokio::test(start_paused = true)]
async fn every_row_has_its_kind() {
    let app = App::new(registry());
    let none = || json!("none");
    let (yes, no) = ("true", "false");
    let table: Vec<(&str, &str, &str, Value)> = vec![
        ("malformed_target", "INVALID", no, none()),
        ("empty_target", "INVALID", no, none()),
        ("half_a_target", "INVALID", no, none()),
        ("no_target", "INVALID", no, none()),
        ("argument", "INVALID", no, none()),
        ("range", "INVALID", no, none()),
        ("arity", "INVALID", no, none()),
        ("policy", "PERMISSION_DENIED", no, none()),
        ("unknown", "NOT_FOUND", no, none()),
        ("unknown_namespace", "NOT_FOUND", no, none()),
        ("pool_full", "UNAVAILABLE", yes, none()),
        ("waits_too_long", "TIMEOUT", yes, none()),
        ("not_granted", "PERMISSION_DENIED", no, none()),
        ("data", "UNAVAILABLE", no, none()),
        ("unavailable", "UNAVAILABLE", no, none()),
        ("a_process", "UNAVAILABLE", no, none()),
        ("canceled", "CANCELED", no, none()),
        // The guest's backtrace by function name, innermost first.
        ("trap", "INTERNAL", no, json!(["inner", "boom"])),
        ("memory", "INTERNAL", no, json!(["grow", "run"])),
        ("elements", "INTERNAL", no, json!(["grow", "run"])),
        ("instantiation", "INTERNAL", no, none()),
    ];
    for (row, kind, retryable, details) in table {
        let found = app.call("app:rows", vec![row.into()]).await.unwrap().to_json().unwrap();
        assert_eq!(found, json!([kind, retryable, details, true]), "{row}");
    }
    let stack = app.call("app:rows", vec!["stack".into()]).await.unwrap().to_json().unwrap();
    assert_eq!((&stack[0], &stack[1], &stack[3]), (&json!("INTERNAL"), &json!("false"), &json!(true)));
    assert_eq!(stack[2][0], "depth", "{stack}");
}

/// A loop is ended by the ticker, at the tick behind its limit; the same for Lua at its caller's.
#[tokio::test]
async fn computing_too_long_is_a_timeout() {
    let forever = "(module (func (export \"spin\") (loop $l (br $l))))";
    let registry = Registry::new().wat(
        "spin",
        forever,
        "wit: \"spin: func();\"\nmethod: spin\nlimits: {max_execution_ms: 10}",
    );
    let registry = lua(registry, "loop", "return function() while true do end end", "");
    let source = r#"
        local funcs = require("funcs")
        return function()
            local out = {}
            local _, err = funcs.call("app:spin")
            out[1] = {err:kind(), err:retryable(), err:message()}
            _, err = funcs.new():with_options({timeout = 10}):call("app:loop")
            out[2] = {err:kind(), err:retryable()}
            return out
        end"#;
    let app = App::with(lua(registry, "f", source, "modules: [funcs]"), Options::default());
    let expected = json!([
        ["TIMEOUT", true, "`app:spin` was ended after its limit `max_execution_ms` of 10"],
        ["TIMEOUT", true]
    ]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
}
