//! Values that pass from one Lua function to another.

use loader::Data;
use serde_json::json;

use crate::shared::{App, lua};
use crate::support::Registry;

/// Gives back the record that it is given: of text, with hyphens in its keys, and one in it.
const RECORDS: &str = r#"- name: tagged
  kind: function.wat
  method: same
  wit: |
    record tag { the-name: string }
    record tagged { tag-count: option<u32>, first-tag: tag }
    same: func(v: tagged) -> tagged;
  source: |
    (module (memory (export "memory") 1)
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      (func (export "same") (param i32 i32 i32 i32) (result i32)
        (i32.store (i32.const 16) (local.get 0))
        (i32.store (i32.const 20) (local.get 1))
        (i32.store (i32.const 24) (local.get 2))
        (i32.store (i32.const 28) (local.get 3))
        (i32.const 16)))
"#;

/// A record of a guest is readable by both spellings wherever it goes, and still a record for a guest.
#[tokio::test]
async fn records_keep_both_spellings_from_hop_to_hop() {
    // Nothing here ever calls the guest, so no name of it is known to the state but from the value.
    let reads = r#"
        return function(v)
            local tag = v.first_tag
            v["one-more"] = "more"
            local keys = {}
            for key in pairs(v) do keys[#keys + 1] = key end
            table.sort(keys)
            return {
                v.tag_count, v["tag-count"], tag.the_name, tag["the-name"], v.one_more, keys,
                v.no_such == nil, v["no-such"] == nil, rawget(v, "tag_count") == nil,
            }, nil
        end"#;
    let passes = "return function(v) return {list = {v}} end";
    let source = r#"
        local funcs = require("funcs")
        return function()
            local record = funcs.call("app:tagged", {["tag-count"] = 7, first_tag = {the_name = "x"}})
            local seen = funcs.call("app:reads", record)
            local passed = funcs.call("app:passes", record).list[1]
            local again = funcs.async("app:tagged", passed):response():receive():data()
            -- Of the caller's own making: one spelling is all it has.
            local plain = funcs.call("app:passes", {["tag-count"] = 1}).list[1]
            return {seen, passed.tag_count, passed.first_tag.the_name, again.first_tag.the_name,
                plain["tag-count"], plain.tag_count == nil}
        end"#;
    let registry = lua(Registry::new().entries(RECORDS), "reads", reads, "");
    let registry = lua(registry, "passes", passes, "");
    let app = App::new(lua(registry, "f", source, "modules: [funcs]"));
    let seen = json!([7, 7, "x", "x", "more", ["first-tag", "one-more", "tag-count"], true, true, true]);
    for _ in 0..2 {
        assert_eq!(app.f().await.to_json().unwrap(), json!([seen, 7, "x", "x", 1, true]));
    }
}

/// Also as a message, as what a process is started with and in the details of an error.
#[tokio::test(start_paused = true)]
async fn records_keep_both_spellings_everywhere() {
    let worker = r#"
        return function(v)
            local message = process.inbox():receive():payload():data()
            error(errors.new({message = v.tag_count .. message.first_tag.the_name, details = {v = v}}))
        end"#;
    let source = r#"
        local funcs, ctx = require("funcs"), require("ctx")
        return function()
            local record = funcs.call("app:tagged", {["tag-count"] = 7, first_tag = {the_name = "x"}})
            local pid = process.spawn_monitored("app:worker", "app:host", record)
            local events = process.events()
            process.send(pid, "topic", record)
            local err = events:receive().result.error
            local context = funcs.new():with_context({v = record}):call("app:context")
            return {err:message(), err:details().v.first_tag.the_name, context}
        end"#;
    let registry = Registry::new().entries(RECORDS).entries("- {name: host, kind: process.host}\n");
    let registry = crate::shared::process(registry, "worker", worker, "");
    let context = "return function() return require('ctx').get('v').tag_count end";
    let registry = lua(registry, "context", context, "modules: [ctx]");
    let app = App::new(lua(registry, "f", source, "modules: [funcs, ctx]"));
    assert_eq!(app.f().await.to_json().unwrap(), json!(["7x", "x", 7]));
}

/// What was an empty object in JSON is one after a hop, and from the command line.
#[tokio::test]
async fn empty_objects_stay_objects_from_hop_to_hop() {
    let text = r#"{"a":{},"b":[],"c":[{},[]]}"#;
    let source = r#"
        local funcs, json = require("funcs"), require("json")
        return function(text)
            local passed = funcs.call("app:passes", json.decode(text))
            local empty = funcs.call("app:passes", json.decode("{}"))
            empty.a = 1
            local filled = json.encode(empty)
            empty.a = nil
            return {json.encode(passed), filled, json.encode(empty), json.encode(funcs.call("app:passes", {}))}
        end"#;
    let registry = lua(Registry::new(), "passes", "return function(v) return v end", "");
    let app = App::new(lua(registry, "f", source, "modules: [funcs, json]"));
    let out = app.call("app:f", vec![Data::from(text)]).await.unwrap();
    assert_eq!(out.to_json().unwrap(), json!([text, r#"{"a":1}"#, "{}", "[]"]));
    let given: serde_json::Value = serde_json::from_str(text).unwrap();
    let passed = app.call("app:passes", vec![Data::from(&given)]).await.unwrap();
    assert_eq!(passed.to_json().unwrap(), given);
}
