//! Modules inside real invocations: what waits lets others run, and what an invocation leaves behind is gone
//! in the next.

use loader::registry_schema::manifest::lua_path;
use loader::trust::{DenyList, Trust};
use loader::{Context, Data, ErrorKind, Loader, Options};
use serde_json::json;
use tokio::time::Instant;

use crate::shared::{App, lua, process};
use crate::support::{Built, ECHO, Registry, replace};

const MODULES: &str = "modules: [time, json, fs, registry, logger]";

fn app(source: &str) -> App {
    App::new(lua(Registry::new(), "f", source, MODULES))
}

#[tokio::test(start_paused = true)]
async fn timers_and_tickers_fire_into_channels() {
    let app = app(r#"
        local time = require("time")
        return function()
            local log, done = {}, channel.new(1)
            local ticker = time.ticker("30s")
            coroutine.spawn(function()
                for i = 1, 3 do
                    ticker:response():receive()
                    log[#log + 1] = "tick"
                end
                log[#log + 1] = tostring(ticker:stop())
                done:send(true)
            end)
            local timer, stopped = time.timer("45s"), time.timer("50s")
            stopped:stop()
            timer:response():receive()
            log[#log + 1] = "timer"
            local late = time.after("1h")
            local r = channel.select { done:case_receive(), late:case_receive(), stopped:channel():case_receive() }
            log[#log + 1] = tostring(r.channel == done)
            return log
        end"#);
    let start = Instant::now();
    let log = app.f().await.to_json().unwrap();
    assert_eq!(log, json!(["tick", "timer", "tick", "tick", "true", "true"]));
    assert_eq!(start.elapsed().as_secs(), 90);
}

/// Timers of an invocation end with it, and are not counted for the next one of the same state.
#[tokio::test(start_paused = true)]
async fn forgotten_timers_end_with_their_invocation() {
    let app = app(r#"
        local time = require("time")
        return function()
            for _ = 1, 9000 do assert(time.after("1h")) end
            return true
        end"#);
    for _ in 0..3 {
        assert_eq!(app.f().await, Data::Bool(true));
    }
}

fn with_files(source: &str) -> (Built, Loader) {
    let registry = Registry::new()
        .entries("- name: data\n  kind: fs.directory\n  directory: state\n  auto_init: true")
        .entries("- name: assets\n  kind: fs.embed\n  directory: assets")
        .file("assets/page.html", "<p>");
    let built = lua(registry, "f", source, MODULES).build();
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    (built, loader)
}

#[tokio::test]
async fn files_of_folders_and_of_the_bundle() {
    let (built, loader) = with_files(
        r#"
        local fs, json = require("fs"), require("json")
        return function()
            local vol = assert(fs.get("data"))
            assert(vol:writefile("/a.json", json.encode({n = 1})))
            local file = assert(vol:open("log", "a"))
            local done = channel.new(10)
            for i = 1, 10 do
                coroutine.spawn(function() file:write("line\n") done:send(i) end)
            end
            for _ = 1, 10 do done:receive() end
            file:close()
            local lines, names = 0, {}
            local scanner = vol:open("log", "r"):scanner()
            while scanner:scan() do lines = lines + 1 end
            for entry in vol:readdir("/") do names[#names + 1] = entry.name end
            vol:remove("log")
            local page = assert(fs.get("app:assets")):readfile("page.html")
            local _, err = vol:readfile("../../_index.yaml")
            return {json.decode(vol:readfile("a.json")).n, lines, names, page, err:kind()}
        end"#,
    );
    let out = loader.call_data("app:f", Vec::new(), Context::default()).await.unwrap();
    assert_eq!(out.to_json().unwrap(), json!([1, 10, ["a.json", "log"], "<p>", "NOT_FOUND"]));
    assert_eq!(std::fs::read(built.root().join("state/a.json")).unwrap(), br#"{"n":1}"#);
}

/// `base: module` is the folder of the module that defines the entry, in the build and at run time.
#[tokio::test]
async fn folders_of_a_module_start_in_its_own() {
    // A module whose export `answer` gives 42, and its digest.
    const ANSWER: &str = "\0asm\x01\0\0\0\x01\x05\x01`\0\x01\x7f\x03\x02\x01\0\x07\x0a\x01\x06answer\0\0\x0a\x06\x01\x04\0A*\x0b";
    let module = r#"
namespace: acme
entries:
  - {name: own, kind: fs.directory, directory: data, base: module}
  - {name: project, kind: fs.directory, directory: data, base: project}
  - name: answer
    kind: function.wasm
    fs: own
    path: answer.wasm
    hash: sha256:ccf59f0f7a7625ee380ed228905aadfa11072ac14cea1c53d1e7f3953d4d48c6
    wit: "answer: func() -> u32"
    method: answer
"#;
    let registry = Registry::new()
        .file("vendor/jobs/wippy.yaml", "organization: acme\nmodule: jobs\n")
        .file("vendor/jobs/_index.yaml", module)
        .file("vendor/jobs/data/answer.wasm", ANSWER)
        .file("vendor/jobs/data/name", "of the module")
        .file("data/name", "of the project");
    let source = r#"
        local fs = require("fs")
        return function()
            return {fs.get("acme:own"):readfile("name"), fs.get("acme:project"):readfile("name")}
        end"#;
    let built = lua(registry, "f", source, MODULES).build();
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let out = loader.call_data("app:f", Vec::new(), Context::default()).await.unwrap();
    assert_eq!(out.to_json().unwrap(), json!(["of the module", "of the project"]));
    let answer = loader.call_data("acme:answer", Vec::new(), Context::default()).await.unwrap();
    assert_eq!(answer, Data::Integer(42));
}

/// Files that an invocation forgot do not take the places of the next one of the same state.
#[tokio::test]
async fn forgotten_files_end_with_their_invocation() {
    let (_built, loader) = with_files(
        r#"
        local fs = require("fs")
        return function()
            local vol, kept = assert(fs.get("data")), {}
            for i = 1, 60 do kept[i] = assert(vol:open("f" .. i, "w")) end
            return #kept
        end"#,
    );
    for _ in 0..3 {
        let out = loader.call_data("app:f", Vec::new(), Context::default()).await.unwrap();
        assert_eq!(out, Data::Integer(60));
    }
}

#[tokio::test]
async fn errors_keep_what_they_say_on_their_way() {
    let app = app(r#"
        local function fail()
            return errors.new({message = "gone", kind = errors.NOT_FOUND, retryable = true, details = {id = 7}})
        end
        return function() return nil, (errors.wrap(fail(), "loading")) end"#);
    let error = app.call("app:f", Vec::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "loading: gone"));
    assert!(error.is_retryable());
    assert_eq!(error.details().get("id"), Some(&Data::Integer(7)));
    assert_eq!(error.stack().unwrap().thread, "app:f");
}

#[tokio::test]
async fn the_registry_and_the_log() {
    let app = app(r#"
        local registry, logger = require("registry"), require("logger")
        return function()
            local found = registry.find({[".kind"] = "function.lua"})
            logger:named("x"):info("found", {n = #found})
            local _, err = registry.snapshot():changes():delete("app:f"):apply()
            return {found[1].id, registry.get("app:f").kind, err:kind()}
        end"#);
    assert_eq!(app.f().await.to_json().unwrap(), json!(["app:f", "function.lua", "UNAVAILABLE"]));
    assert_eq!(app.logged(), ["[app:f] INFO x: found n=1"]);
}

/// Fields of every kind are those that their author wrote; sources of Lua are those that run.
#[tokio::test]
async fn the_registry_has_what_entries_were_written_with() {
    let more = "imports: [\"wasi:random\"]\nlimits: {max_execution_ms: 5}\nown: {note: [1, 2]}";
    let text = "(module (func (export \"one\") (result i32) i32.const 1))";
    let registry = Registry::new()
        .guest("echo", ECHO, "echo-s8", more)
        .wat("one", text, "wit: \"one: func() -> s32\"\nmethod: one\npool: {type: inline}")
        .entries("- {name: free, kind: registry.entry, value: 1}");
    let worker = "local n: number = 1\nreturn function() return n end";
    let registry = process(registry, "worker", worker, "own: mine\nlifecycle: {auto_start: false}");
    let source = r#"
        local registry = require("registry")
        return function(id)
            if id then return assert(registry.get(id)).data end
            local sources = {}
            for i, entry in ipairs(registry.find({[".ns"] = "app"})) do
                sources[i] = entry.id .. " " .. tostring(entry.data.source and #entry.data.source)
            end
            return sources
        end"#;
    let built = lua(registry, "f", source, MODULES).build();
    let size = |name: &str| {
        let entry =
            built.body().entries.into_iter().find(|entry| entry.id.to_string() == format!("app:{name}"));
        std::fs::metadata(built.join(&lua_path(entry.unwrap().lua.unwrap().source))).unwrap().len()
    };
    let sizes = [("f", size("f")), ("worker", size("worker"))];
    let app = App::open(built, Options::default());
    let data = async |id: &str| app.call("app:f", vec![Data::from(id)]).await.unwrap().to_json().unwrap();

    let echo = data("app:echo").await;
    let hash = echo["hash"].as_str().unwrap();
    assert!(hash.starts_with("sha256:") && hash.len() == 71, "{hash}");
    let expected = json!({
        "fs": "files", "path": "/echo.wasm", "hash": hash, "method": "echo-s8", "imports": ["wasi:random"],
        "limits": {"max_execution_ms": 5}, "own": {"note": [1, 2]},
    });
    assert_eq!(echo, expected);
    let expected = json!({
        "source": format!("{text}\n"), "wit": "one: func() -> s32", "method": "one", "pool": {"type": "inline"},
    });
    assert_eq!(data("app:one").await, expected);
    assert_eq!(data("app:free").await, json!({"value": 1}));
    let expected = json!({
        "source": "local n         = 1\nreturn function() return n end\n", "own": "mine",
        "lifecycle": {"auto_start": false},
    });
    assert_eq!(data("app:worker").await, expected);

    let found = app.f().await.to_json().unwrap();
    let [f, worker] = sizes.map(|(name, size)| format!("app:{name} {size}"));
    let one = format!("app:one {}", text.len() + 1);
    assert_eq!(found, json!(["app:echo nil", f, "app:files nil", "app:free nil", one, worker]));
}

/// A source that is damaged is an error of who asks for it, and of nobody else.
#[tokio::test]
async fn the_registry_tells_of_damaged_sources() {
    let source = r#"
        local registry = require("registry")
        return function()
            local entry, err = registry.get("app:other")
            local all, problem = registry.find({})
            return {entry == nil, err:kind(), all == nil, problem:kind(), registry.get("app:f").kind}
        end"#;
    let registry = lua(Registry::new(), "other", "return function() end", "");
    let built = lua(registry, "f", source, MODULES).build();
    let entry = built.body().entries.into_iter().find(|entry| entry.id.to_string() == "app:other").unwrap();
    replace(&built.join(&lua_path(entry.lua.unwrap().source)), b"return function() return 'other' end\n");
    let app = App::open(built, Options::default());
    let expected = json!([true, "INTERNAL", true, "INTERNAL", "function.lua"]);
    assert_eq!(app.f().await.to_json().unwrap(), expected);
}

/// What a deny list has is read by nobody, and everything else is found.
#[tokio::test]
async fn the_registry_leaves_denied_sources_out() {
    let source = r#"
        local registry = require("registry")
        return function()
            local all = assert(registry.find({}))
            return {#all, type(all[1].data.source), type(all[2].data.source), all[2].data.own}
        end"#;
    let registry = lua(Registry::new(), "other", "return function() end", "own: 1");
    let built = lua(registry, "f", source, MODULES).build();
    let entry = built.body().entries.into_iter().find(|entry| entry.id.to_string() == "app:other").unwrap();
    let list = format!("file blake3:{} burnt", entry.lua.unwrap().source);
    let trust = Trust { denied: DenyList::parse(&list).unwrap(), ..Trust::default() };
    let app = App::open(built, Options { trust, ..Options::default() });
    assert_eq!(app.f().await.to_json().unwrap(), json!([2, "string", "nil", 1]));
}

/// A change to a module, or to what hangs on an object of one, is not seen by the next invocation.
#[tokio::test]
async fn modules_and_their_objects_are_not_shared() {
    let app = app(r#"
        local time, fs, json, logger = require("time"), require("fs"), require("json"), require("logger")
        return function()
            local seen = {tostring(time.leak), tostring(fs.type.leak), tostring(os.leak), tostring(payload.format.leak)}
            time.leak, fs.type.leak, os.leak, payload.format.leak = 1, 1, 1, 1
            for _, object in ipairs({time.now(), time.utc, time.timer("1s"), payload.new(1), logger:with({}),
                time.parse_duration("1s"), require("registry").snapshot()}) do
                seen[#seen + 1] = tostring(getmetatable(object))
                seen[#seen + 1] = tostring(pcall(function() object.leak = 1 end))
            end
            local metatable = getmetatable(json.decode("{}"))
            seen[#seen + 1] = tostring(metatable.leak)
            metatable.leak = 1
            return table.concat(seen, " ")
        end"#);
    let expected = format!("nil nil nil nil {}nil", "false false ".repeat(7));
    for _ in 0..2 {
        assert_eq!(app.f().await, Data::from(expected.as_str()));
    }
}
