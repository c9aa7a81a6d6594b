//! No invocation sees a change of another, and none gets out of its limits.

use loader::registry_schema::Digest;
use loader::registry_schema::manifest::lua_path;
use loader::{Context, Data, ErrorKind, Options};
use tokio::time::{Duration, Instant};

use crate::shared::{App, library, lua};
use crate::support::{Built, Registry, replace};

#[tokio::test]
async fn no_change_of_one_invocation_is_seen_by_another() {
    let lib = "return {count = 0}";
    let source = r#"
        local lib, funcs = require("lib"), require("funcs")
        return function()
            local seen = {
                tostring(leak), tostring(string.leak), tostring(("x").leak), tostring(funcs.leak),
                tostring(errors.leak), tostring(channel.leak), lib.count, tostring(getmetatable("").leak),
                tostring(_G.leak), type(string.upper), tostring(coroutine.leak), type(pairs),
            }
            leak, string.leak, funcs.leak, errors.leak, channel.leak = 1, 1, 1, 1, 1
            _G.leak, coroutine.leak, string.upper, pairs = 1, 1, nil, nil
            lib.count = lib.count + 1
            getmetatable("").leak = 1
            getmetatable("").__index = nil
            math.randomseed(42)
            return seen
        end"#;
    let registry = library(Registry::new(), "lib", lib, "");
    let app = App::new(lua(registry, "f", source, "modules: [funcs]\nimports: {lib: lib}"));
    let expected = serde_json::json!([
        "nil", "nil", "nil", "nil", "nil", "nil", 0, "nil", "nil", "function", "nil", "function"
    ]);
    for _ in 0..3 {
        assert_eq!(app.f().await.to_json().unwrap(), expected);
    }
}

#[tokio::test]
async fn random_numbers_are_not_those_that_another_invocation_seeded() {
    let app = App::of("return function() local n = math.random(1 << 60); math.randomseed(42); return n end");
    let (one, two, three) = (app.f().await, app.f().await, app.f().await);
    assert!(one != two && two != three && one != three);
}

#[tokio::test]
async fn what_could_escape_is_not_there() {
    let source = r#"
        return function()
            local found = {}
            for _, name in ipairs { "io", "debug", "package", "load", "loadstring", "loadfile", "dofile",
                "collectgarbage", "rawlen", "utf8" } do
                if _G[name] ~= nil then found[#found + 1] = name end
            end
            for _, name in ipairs { "execute", "exit", "remove", "rename", "tmpname", "getenv", "setlocale" } do
                if os and os[name] ~= nil then found[#found + 1] = "os." .. name end
            end
            if string.dump then found[#found + 1] = "string.dump" end
            if pcall(setmetatable, {}, { __gc = function() end }) then found[#found + 1] = "__gc" end
            for _, object in ipairs { channel.new(), require("funcs").new(), errors.new("x") } do
                local metatable = getmetatable(object)
                if metatable then found[#found + 1] = "a metatable" end
                if pcall(setmetatable, object, {}) then found[#found + 1] = "setmetatable" end
            end
            return #found == 0 or table.concat(found, " ")
        end"#;
    assert_eq!(App::of(source).f().await, Data::Bool(true));
}

#[tokio::test]
async fn memory_is_limited_and_the_next_invocation_is_whole() {
    for bomb in [
        "string.rep('x', 1 << 40)",
        "string.rep('x', 300 << 20)",
        "(function() local t = {} for i = 1, 400 do t[i] = string.rep('x', 1 << 20) end return table.concat(t) end)()",
        "(function() local t = {} while true do t[#t + 1] = {} end end)()",
    ] {
        let app = App::of(&format!("return function(b) if b then return #{bomb} end return 'fine' end"));
        let error = app.call("app:f", vec![Data::Bool(true)]).await.unwrap_err();
        let text = error.message();
        assert!(text.contains("not enough memory") || text.contains("too large"), "{text}");
        assert_eq!(app.f().await, Data::from("fine"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_ends_at_its_deadline_pcall_or_not() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() pcall(f) return f() end f()",
        "table.sort({3, 2, 1}, function() while true do pcall(function() while true do end end) end end)",
        "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
        "coroutine.spawn(function() while true do end end) channel.new():receive()",
        "local a = channel.new() coroutine.spawn(function() while true do a:send(1) end end) while true do a:receive() end",
        "while true do coroutine.wrap(function() while true do end end)() end",
    ] {
        let app = App::of(&format!("return function(loop) if loop then {body} end return 1 end"));
        // Time stands still unless it is advanced: the limit is past from the first check on.
        let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_millis(50)));
        tokio::time::advance(Duration::from_millis(60)).await;
        let error = app.loader.call_data("app:f", vec![Data::Bool(true)], context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{body}");
        assert_eq!(app.f().await, Data::Integer(1));
    }
}

#[tokio::test]
async fn a_loop_lets_others_run() {
    let app = App::of("return function(loop) while loop do end return 1 end");
    let endless = app.call("app:f", vec![Data::Bool(true)]);
    tokio::pin!(endless);
    // On one thread: the loop yields between the polls of the others.
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = &mut endless => panic!("it can't end"),
            other = app.call("app:f", vec![Data::Bool(false)]) => assert_eq!(other.unwrap(), Data::Integer(1)),
        }
    }
}

/// Values that are copied: a table that holds one part many times, and one whose length is no promise.
#[tokio::test]
async fn what_leaves_an_invocation_is_limited() {
    let app = App::of(
        r#"
        return function(bomb)
            if bomb == "shared" then
                local t = {string.rep("x", 1 << 20)}
                for _ = 1, 12 do t = {t, t} end
                return t
            end
            local t = {}
            for power = 0, 61 do t[1 << power] = power end
            return t
        end"#,
    );
    let error = app.call("app:f", vec![Data::from("shared")]).await.unwrap_err();
    assert!(error.message().contains("would have more than 268435456 bytes"), "{error}");
    let Data::Table(sparse) = app.call("app:f", vec![Data::from("sparse")]).await.unwrap() else { panic!() };
    assert!(sparse.array.len() < 64);
    assert!(sparse.fields.contains(&(Data::Integer(1 << 61), Data::Integer(61))));
}

/// What indexing an object reaches is not its metatable, which all invocations of a state share.
#[tokio::test]
async fn methods_of_objects_can_not_be_replaced_for_others() {
    let app = App::of(
        r#"
        local funcs = require("funcs")
        return function()
            local ch = channel.new(1)
            for _, object in ipairs { ch, ch:case_receive(), funcs.new() } do
                local reached = object.__index
                if reached then reached.send, reached.call = 1, 1 end
            end
            ch:send("sent")
            return (ch:receive())
        end"#,
    );
    for _ in 0..2 {
        assert_eq!(app.f().await, Data::from("sent"));
    }
}

/// Bytecode could do what no source can. Sources are text, whatever a bundle says of itself.
#[tokio::test]
async fn bytecode_in_a_bundle_is_no_source() {
    let lua_state = mlua::Lua::new();
    let chunk = lua_state.load("return function() return 'escaped' end").into_function().unwrap();
    let bytecode = chunk.dump(true);
    assert!(bytecode.starts_with(b"\x1bLua"));
    let registry = || {
        let registry = lua(Registry::new(), "other", "return function() return 'fine' end", "");
        lua(registry, "f", "return function() return 'source' end", "")
    };
    let path = |built: &Built| {
        let entries = built.body().entries;
        let entry = entries.into_iter().find(|entry| entry.id.to_string() == "app:f").unwrap();
        lua_path(entry.lua.unwrap().source)
    };
    let as_it_is = bytecode.clone();
    // What would end the function that sources stand in, too.
    let behind_text = [b"end\n".as_slice(), &bytecode].concat();
    for forged in [as_it_is, behind_text] {
        // Damaged: the manifest knows another digest.
        let built = registry().build();
        let path = path(&built);
        replace(&built.join(&path), &forged);
        let app = App::open(built, Options::default());
        let error = app.call("app:f", vec![]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().starts_with(&format!("`app:f` can't be loaded: `{path}`: ")), "{error}");

        // Forged: manifest and file agree.
        let built = registry().build();
        replace(&built.join(&path), &forged);
        built.edit_body(|body| {
            let record = &mut body["head"]["files"][&path];
            record["digest"] = Digest::of(&forged).to_string().into();
            record["size"] = forged.len().into();
        });
        let app = App::open(built, Options::default());
        for _ in 0..2 {
            let error = app.call("app:f", vec![]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(error.message().starts_with("`app:f` can't be loaded: "), "{error}");
        }
        assert_eq!(app.call("app:other", vec![]).await.unwrap(), Data::from("fine"));
        let faults = app.loader.verify().unwrap().faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}

/// Limits of memory and stack have the kind of a limit wherever they are met and seen. A text like theirs that a
/// program raises is its own.
#[tokio::test]
async fn limits_of_memory_and_stack_are_internal() {
    let seen = r#"
        local funcs = require("funcs")
        return function()
            local _, err = funcs.call("app:f", true)
            return {err:kind(), err:retryable(), err:message()}
        end"#;
    let hoard = "local s, t = string.rep('x', 1 << 20), {} while true do t[#t + 1] = s .. #t end";
    // With large frames, so that few of them fill the stack.
    let deep = "local function f(...) return 1 + f(...) end f(table.unpack({}, 1, 200))";
    for (bomb, kind, text) in [
        ("local t = {} while true do t[#t + 1] = {} end".to_owned(), "INTERNAL", "not enough memory"),
        (hoard.to_owned(), "INTERNAL", "not enough memory"),
        ("local _ = string.rep('x', 300 << 20)".to_owned(), "INTERNAL", "not enough memory"),
        (format!("coroutine.wrap(function() {hoard} end)()"), "INTERNAL", "not enough memory"),
        (format!("local _, e = pcall(function() {hoard} end) error(e)"), "INTERNAL", "not enough memory"),
        (
            format!("local _, e = pcall(function() {hoard} end) return nil, e"),
            "INTERNAL",
            "not enough memory",
        ),
        (format!("table.sort({{2, 1}}, function() {hoard} end)"), "INTERNAL", "not enough memory"),
        (deep.to_owned(), "INTERNAL", "stack overflow"),
        (format!("coroutine.wrap(function() {deep} end)()"), "INTERNAL", "stack overflow"),
        (format!("local _, e = pcall(function() {deep} end) error(e)"), "INTERNAL", "stack overflow"),
        (
            "local t = {} setmetatable(t, {__index = function(t, k) return t[k + 1] end}) local _ = t[1]"
                .to_owned(),
            "INTERNAL",
            "stack overflow",
        ),
        ("error('the stack overflowed')".to_owned(), "UNKNOWN", "the stack overflowed"),
        ("error('there was not enough memory left')".to_owned(), "UNKNOWN", "not enough memory left"),
        ("error(errors.new('not enough memory'))".to_owned(), "UNKNOWN", "not enough memory"),
    ] {
        let source = format!("return function(b) if b then {bomb} end return 'fine' end");
        let registry = lua(Registry::new(), "f", &source, "");
        let app = App::new(lua(registry, "seen", seen, "modules: [funcs]"));
        let error = app.call("app:f", vec![Data::Bool(true)]).await.unwrap_err();
        assert!(error.message().contains(text), "{bomb}: {error}");
        assert_eq!(error.kind().as_str(), kind, "{bomb}");
        let out = app.call("app:seen", vec![]).await.unwrap().to_json().unwrap();
        assert_eq!(out[0], kind, "{bomb}");
        assert_eq!(out[2], error.message(), "{bomb}");
        if kind == "INTERNAL" {
            assert!(!error.is_retryable() && out[1] == false, "{bomb}: {out}");
        }
        assert_eq!(app.f().await, Data::from("fine"));
    }
}
