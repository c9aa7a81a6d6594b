//! What tries to hold a thread or memory: it ends at its deadline or limit, and the next invocation is whole.

use loader::{Context, Data, ErrorKind, Options};
use tokio::time::{Duration, Instant};

use crate::shared::{App, lua};
use crate::support::Registry;

const MODULES: &str = "modules: [funcs, json, time]";

/// The deadline is past when this starts.
async fn ends_at_its_deadline(body: &str) {
    let source = format!(
        "local json = require('json')
        local function loop() while true do end end
        local LOOPS = {{ __close = loop }}
        return function(hostile) if hostile then {body} end return 1 end"
    );
    let app = App::new(lua(Registry::new(), "f", &source, MODULES));
    // Time stands still unless it is advanced: the limit is past from the first check on.
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_millis(50)));
    tokio::time::advance(Duration::from_millis(60)).await;
    let error = app.loader.call_data("app:f", vec![Data::Bool(true)], context).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{body}");
    assert_eq!(app.f().await, Data::Integer(1), "{body}");
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_can_not_go_on() {
    for body in [
        "local x <close> = setmetatable({}, LOOPS) loop()",
        "local x <close> = setmetatable({}, LOOPS)",
        "pcall(function() local x <close> = setmetatable({}, LOOPS) error('x') end)",
        "pcall(function() local x <close> = setmetatable({}, LOOPS) loop() end)",
        "table.sort({3, 2, 1}, function() local x <close> = setmetatable({}, LOOPS) loop() end)",
        "table.sort({3, 2, 1}, function()
            local co = coroutine.create(function()
                local x <close> = setmetatable({}, LOOPS)
                table.sort({3, 2, 1}, loop)
            end)
            pcall(coroutine.resume, co)
            coroutine.close(co)
        end)",
        "table.sort({3, 2, 1}, function()
            coroutine.wrap(function()
                local x <close> = setmetatable({}, LOOPS)
                table.sort({3, 2, 1}, loop)
            end)()
        end)",
        "local co = coroutine.create(function() local x <close> = setmetatable({}, LOOPS) coroutine.yield() end)
        coroutine.resume(co) coroutine.close(co) loop()",
    ] {
        ends_at_its_deadline(body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_of_errors_can_not_go_on() {
    for body in [
        "xpcall(error, loop)",
        "xpcall(loop, loop)",
        "table.sort({3, 2, 1}, function() xpcall(error, loop) end)",
        "table.sort({3, 2, 1}, function() xpcall(loop, loop) end)",
        "table.sort({3, 2, 1}, function() coroutine.wrap(function() xpcall(loop, loop) end)() end)",
    ] {
        ends_at_its_deadline(body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn work_of_library_functions_can_not_go_on() {
    for body in [
        "local t = {} for _ = 1, 100 do t = {t, t} end json.encode(t) loop()",
        "(''):rep(1 << 62) loop()",
        "table.move({}, 1, 1 << 60, 2) loop()",
        "table.move({}, 1, 1 << 60, 2, {}) loop()",
        "table.move({}, 1, 2.0 ^ 60, 2) loop()",
        "table.concat(setmetatable({}, {__index = function() return '' end, __len = function() return 1 << 60 end}))",
        "table.concat(setmetatable({}, {__index = function() return '' end}), '', 1, 2.0 ^ 60)",
        "table.concat(setmetatable({}, {__index = function() return '' end}), '', '1', '0x7fffffffffffffff')",
        "local t = {} for i = 1, 20000 do t[i] = -i end table.sort(t, rawequal) loop()",
        "('a'):rep(200):find(('a-'):rep(30) .. 'b') loop()",
        "('a'):rep(200):gsub(('a-'):rep(30) .. 'b', '') loop()",
        "for _ in ('a'):rep(200):gmatch(('a-'):rep(30) .. 'b') do end",
        "while true do pcall(string.match, ('a'):rep(200), ('a-'):rep(30) .. 'b') end",
        // Left to Lua's own functions from the third time on.
        "while true do ('a'):rep(300):find('a-b') end",
        "local following = {} while true do following = ('b'):rep(300):gmatch('a+') following() end",
        "for _ = 1, 3 do following = ('b'):rep(9000):gmatch('a+') end while true do following() end",
        "for i = 1, 3 do ('abc'):gsub('%w', i == 3 and loop or print) end",
        "for i = 1, 3 do ('abc'):gsub('%w', setmetatable({}, {__index = i == 3 and loop or nil})) end",
        "for i = 1, 3 do ('abc'):gsub('%w', function()
            if i == 3 then pcall(loop) end
            while i == 3 do pcall(loop) end
        end) end",
        "for i = 1, 3 do pcall(string.gsub, 'abc', '%w', function()
            local x <close> = i == 3 and setmetatable({}, LOOPS) or nil
        end) end",
        "while true do coroutine.spawn(function() end) end",
        "while true do pcall(coroutine.spawn, function() end) end",
    ] {
        ends_at_its_deadline(body).await;
    }
}

/// What the guarded functions do is what Lua's own do.
#[tokio::test]
async fn library_functions_do_what_they_should() {
    let source = r#"
        return function()
            local long = {}
            for i = 1, 25000 do long[i] = (i * 7919) % 25000 end
            local moved = table.move(long, 1, 25000, 2)
            assert(moved == long and long[1] == long[2] and long[25001] == 25000 * 7919 % 25000)
            table.move(long, 2, 25001, 1)
            assert(long[1] == 7919 and long[25000] == 0)
            assert(table.move(long, 1, 25000, 3, {})[25002] == 0)
            long[25001] = nil
            for i = 1, 25000 do long[i] = i % 10 end
            assert(table.concat(long, "", 1, 25000) == ("1234567890"):rep(2500))
            local joined = table.concat(long, ", ")
            assert(#joined == 3 * 25000 - 2 and joined:sub(-7) == "8, 9, 0" and joined:sub(29998, 30003) == "0, 1, ")
            assert(table.concat(long, "", 24990.0, "25000") == "01234567890" and table.concat(long, "", 5, 4) == "")
            long[20001] = {}
            local ok, problem = pcall(table.concat, long)
            assert(not ok and problem:find("at index 20001 in table for 'concat'", 1, true), problem)
            for i = 1, 25000 do long[i] = (i * 7919) % 25000 end
            local word, byte = ("word"):rep(10001), ("x"):rep(1e5)
            assert(#word == 40004 and word:sub(-8) == "wordword" and #byte == 100000 and not byte:find("[^x]"))
            assert(#("ab"):rep("20000") == 40000 and #word:rep(10) == 400040)
            table.sort(long)
            assert(long[1] == 0 and long[12000] <= long[12001])
            table.sort(long, function(a, b) return a > b end)
            assert(long[1] == 24999)
            local list = {1, 2}
            table.insert(list, 3)
            table.insert(list, 1, 0)
            assert(table.concat(list, ",") == "0,1,2,3" and table.remove(list, 1) == 0 and table.remove(list) == 3)
            assert(("ab"):rep(3, "-") == "ab-ab-ab" and (""):rep(5) == "" and (""):rep(3, ",") == ",,")
            local words = {}
            for key, value in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do words[#words + 1] = key .. value end
            assert(table.concat(words) == "a1b2")
            assert(("hello"):gsub("l", {l = "L"}) == "heLLo" and ("abc"):find("b", 1, true) == 2)
            local table_raised = {}
            local _, raised = pcall(string.gsub, "x", "x", function() error(table_raised) end)
            assert(raised == table_raised)
            return true
        end"#;
    assert_eq!(App::of(source).f().await, Data::Bool(true));
}

/// One instruction may take as long as thousands of others: with long strings a turn has fewer.
#[tokio::test(start_paused = true)]
async fn turns_are_shorter_where_strings_are_long() {
    // How often the loop goes round within the first turn after its deadline is past.
    let rounds = async |length: &str, work: &str| {
        let source = format!(
            r#"
            local hash = require("hash")
            return function()
                local long = ("x"):rep({length})
                local other = long:sub(1, -2) .. "y"
                while true do print("round") {work} end
            end"#
        );
        let app = App::new(lua(Registry::new(), "f", &source, "modules: [hash]"));
        let context = Context::default().with_deadline(Some(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        let error = app.loader.call_data("app:f", Vec::new(), context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        app.logged().len()
    };
    assert!(rounds("1", "local _ = long .. other").await > 300);
    for work in
        ["local _ = long .. other", "local _ = long == other", "long:find('y', 1, true)", "hash.md5(long)"]
    {
        let rounds = rounds("24 << 20", work).await;
        assert!((1..150).contains(&rounds), "{work}: {rounds}");
    }
}

/// Nor do patterns hold a thread for long that are left to Lua's own functions, which no instruction interrupts.
#[tokio::test(start_paused = true)]
async fn turns_are_shorter_where_patterns_take_long() {
    let rounds = async |work: &str| {
        let source = format!(
            r#"
            return function(is_long)
                local text = ("x"):rep(400)
                for _ = 1, is_long and math.huge or 3 do print("round") {work} end
            end"#
        );
        let app = App::new(lua(Registry::new(), "f", &source, "modules: []"));
        // What a state knows of patterns stays with it.
        app.call("app:f", Vec::new()).await.unwrap();
        app.logged();
        let context = Context::default().with_deadline(Some(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        let error = app.loader.call_data("app:f", vec![Data::Bool(true)], context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        app.logged().len()
    };
    assert!(rounds("local _ = ('x'):find('%d')").await > 300);
    for work in ["text:find('x-y')", "text:match('x-y')", "text:gsub('x-y', '')", "text:gmatch('x-y')"] {
        let rounds = rounds(work).await;
        assert!((1..20).contains(&rounds), "{work}: {rounds}");
    }
}

/// What a pattern and a text are decides who searches: nothing else of it is seen.
#[tokio::test]
async fn errors_of_patterns_have_the_callers_place() {
    let source = r#"
        local function problems(search)
            local found = {}
            for i = 1, 4 do found[i] = tostring(select(2, pcall(search))) end
            for i = 1, 4 do found[4 + i] = tostring(select(2, coroutine.resume(coroutine.create(search)))) end
            return found
        end
        local long = ("x"):rep(100000)
        return function()
            local all = {}
            for _, search in ipairs {
                function() local _ = ("x"):gsub("x", function() return {} end) end,
                function() local _ = ("x"):gsub("x", {x = true}) end,
                function() local _ = long:gsub("x", {x = true}) end,
                function() local _ = ("x"):gsub("x", "%2") end,
                function() local _ = ("x"):gsub("x", "%q") end,
                function() local _ = ("x"):find("(x") end,
                function() local _ = ("x"):match("[x") end,
                function() for _ in ("x"):gmatch("x)") do end end,
                function() local _ = ("x"):rep(300):find(("x?"):rep(205) .. "y") end,
                function() local _ = ("x"):find({}) end,
                function() local _ = ("x"):gsub("x", true) end,
                function() local _ = ("x"):match("x", 1.5) end,
                function() local _ = ("x"):gsub("x", function() error("raised") end) end,
                function() local _ = ("x"):gsub("x", function() error({}) end) end,
            } do
                local found = problems(search)
                for i = 2, #found do
                    if not found[i]:find("^table") then assert(found[i] == found[1], found[1] .. "\n" .. found[i]) end
                end
                all[#all + 1] = found[1]:gsub("^table.*", "table")
            end
            return all
        end"#;
    let found = App::of(source).f().await.to_json().unwrap();
    let messages = [
        "invalid replacement value (a table)",
        "invalid replacement value (a boolean)",
        "invalid replacement value (a boolean)",
        "invalid capture index %2",
        "invalid use of '%' in replacement string",
        "unfinished capture",
        "malformed pattern (missing ']')",
        "invalid pattern capture",
        "pattern too complex",
        "bad argument #2 to 'find' (string expected, got table)",
        "bad argument #3 to 'gsub' (string/function/table expected, got boolean)",
        "bad argument #3 to 'match' (number has no integer representation)",
        "raised",
    ];
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(found[index], format!("app:f:{}: {message}", index + 11), "{found}");
    }
    assert_eq!(found[13], "table");
}

/// Calls can't wait in what `gsub` calls, whoever searches.
#[tokio::test]
async fn calls_in_replacements_can_not_wait() {
    let source = r#"
        local time = require("time")
        return function()
            local found = {}
            for _, text in ipairs { "x", ("x"):rep(100000) } do
                for _ = 1, 3 do
                    found[#found + 1] = select(2, pcall(string.gsub, text, "x", function() time.sleep("1ms") end))
                    local index = setmetatable({}, { __index = function() time.sleep("1ms") end })
                    found[#found + 1] = select(2, pcall(string.gsub, text, "x", index))
                end
            end
            time.sleep("1ms")
            for i = 2, #found do assert(found[i]:match(": (.*)") == found[1]:match(": (.*)"), found[i]) end
            return found[1]
        end"#;
    let app = App::new(lua(Registry::new(), "f", source, MODULES));
    let found = app.f().await.to_json().unwrap();
    assert!(
        found.as_str().unwrap().contains("can't wait here: a callback of table.sort, string.gsub"),
        "{found}"
    );
}

#[tokio::test]
async fn spawned_coroutines_are_limited_and_their_places_used_again() {
    let source = r#"
        return function()
            local ran = 0
            local function spawn(n) for _ = 1, n do coroutine.spawn(function(by) ran = ran + by end, 1) end end
            spawn(99999)
            local ok = pcall(spawn, 2)
            require("time").sleep("1ms")
            spawn(10)
            require("time").sleep("1ms")
            return {ok, ran}
        end"#;
    let app = App::new(lua(Registry::new(), "f", source, MODULES));
    assert_eq!(app.f().await.to_json().unwrap(), serde_json::json!([false, 100_010]));
}

/// A coroutine in a callback that can't be suspended runs for longer than a turn.
#[tokio::test]
async fn long_callbacks_may_use_coroutines() {
    let source = r#"
        local function after_a_while(...)
            for _ = 1, 100000 do end
            return ...
        end
        return function()
            local list = {3, 1, 2}
            table.sort(list, function(a, b) return coroutine.wrap(after_a_while)(a < b) end)
            local text = ("abc"):gsub("%w", function(c) return coroutine.wrap(after_a_while)(c:upper()) end)
            return {list[1], list[2], list[3], text}
        end"#;
    assert_eq!(App::of(source).f().await.to_json().unwrap(), serde_json::json!([1, 2, 3, "ABC"]));
}

#[tokio::test]
async fn a_failed_coroutine_closes_its_variables() {
    let source = r#"
        return function()
            local closed = {}
            local function closing(name, raised)
                return setmetatable({}, {__close = function()
                    closed[#closed + 1] = name
                    if raised then error(raised, 0) end
                end})
            end
            local f = coroutine.wrap(function()
                local a <close> = closing("a")
                local b <close> = closing("b")
                coroutine.yield(1)
                error("no", 0)
            end)
            local first = f()
            local ok, problem = pcall(f)
            local other = coroutine.wrap(function()
                local c <close> = closing("c", "from close")
                error({})
            end)
            local _, replaced = pcall(other)
            return {first, ok, problem, closed, replaced}
        end"#;
    let out = App::of(source).f().await.to_json().unwrap();
    assert_eq!(out[0], 1);
    assert_eq!(out[1], false);
    assert!(out[2].as_str().unwrap().ends_with("no"), "{out}");
    assert_eq!(out[3], serde_json::json!(["b", "a", "c"]));
    assert!(out[4].as_str().unwrap().ends_with("from close"), "{out}");
}

/// Arguments and context of calls that wait are held by their invocation.
#[tokio::test(start_paused = true)]
async fn what_pending_calls_hold_is_limited() {
    let source = r#"
        local funcs, time = require("funcs"), require("time")
        return function(how)
            local text, futures, problem = ("x"):rep(1 << 20), {}, nil
            local target = funcs.new()
            if how == "context" then
                local values = {}
                for i = 1, 8 do values["key" .. i] = text end
                target = target:with_context(values)
                text = nil
            end
            for i = 1, 500 do
                futures[i], problem = target:async("app:sleep", "1h", text)
                if problem then break end
            end
            local pending = #futures
            for i = 1, pending do futures[i]:cancel() end
            -- Let go of by their tasks.
            time.sleep("1ms")
            local again = select(2, target:call("app:sleep", "1ms", text))
            return {pending, problem:kind(), problem:retryable(), again == nil}
        end"#;
    let sleep = "local time = require('time')\nreturn function(d) time.sleep(d) return true end";
    let registry = lua(Registry::new(), "sleep", sleep, "modules: [time]\npool: {type: inline}");
    let app = App::new(lua(registry, "f", source, MODULES));
    for how in ["arguments", "context"] {
        let out = app.call("app:f", vec![Data::from(how)]).await.unwrap().to_json().unwrap();
        let pending = out[0].as_u64().unwrap();
        let expected = if how == "context" { 10..16 } else { 100..128 };
        assert!(expected.contains(&pending), "{how}: {out}");
        assert_eq!(out[1], "UNAVAILABLE");
        assert_eq!((&out[2], &out[3]), (&true.into(), &true.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_limited() {
    let source = r#"
        local funcs = require("funcs")
        return function()
            local futures, problem = {}, nil
            for i = 1, 10001 do
                futures[i], problem = funcs.async("app:f")
                if problem then break end
            end
            return {#futures, problem:kind(), problem:retryable()}
        end"#;
    let app = App::new(lua(Registry::new(), "f", source, MODULES));
    let out = app.f().await.to_json().unwrap();
    assert_eq!(out, serde_json::json!([10_000, "UNAVAILABLE", true]));
}

/// All invocations of a process together: one more waits, a nested one for a second at most.
#[tokio::test(start_paused = true)]
async fn invocations_at_once_are_limited() {
    let source = r#"
        local funcs, time = require("funcs"), require("time")
        return function(nested)
            if not nested then time.sleep("10s") return "slept" end
            local value, err = funcs.call("app:f")
            return err and {err:kind(), err:retryable()} or value
        end"#;
    let registry = lua(Registry::new(), "f", source, &format!("{MODULES}\npool: {{type: inline}}"));
    let app = App::with(registry, Options { lua_states_max: Some(3), ..Options::default() });
    let start = Instant::now();
    let call = async |nested: bool| {
        let value = app.call("app:f", vec![Data::Bool(nested)]).await.unwrap().to_json().unwrap();
        (value, start.elapsed().as_secs())
    };
    let (one, two, nested, waiting) = tokio::join!(call(false), call(false), call(true), call(false));
    assert_eq!((one, two), ((serde_json::json!("slept"), 10), (serde_json::json!("slept"), 10)));
    assert_eq!(nested, (serde_json::json!(["UNAVAILABLE", true]), 1));
    assert_eq!(waiting, (serde_json::json!("slept"), 11));
    assert_eq!(call(true).await.0, "slept");
}

/// A loader and the one that takes its place have as many as one together.
#[tokio::test(start_paused = true)]
async fn invocations_of_two_bundles_have_one_limit() {
    let source = "return function() require('time').sleep('10s') return 'slept' end";
    let app = |more: &str| {
        let registry = lua(Registry::new(), "f", source, "modules: [time]\npool: {type: inline}");
        registry.entries(&format!("- {{name: {more}, kind: env.storage.memory}}\n"))
    };
    let old = App::with(app("old"), Options { lua_states_max: Some(2), ..Options::default() });
    let next = app("new").build();
    let next = loader::Loader::builder().succeeding(&old.loader).open(&next).unwrap();
    let start = Instant::now();
    let call = async |loader: &loader::Loader| {
        let value = loader.call_data("app:f", Vec::new(), Context::default()).await.unwrap();
        assert_eq!(value, Data::from("slept"));
        start.elapsed().as_secs()
    };
    let ended = tokio::join!(call(&old.loader), call(&next), call(&next), call(&old.loader));
    assert_eq!(ended, (10, 10, 20, 20));
}

/// Files that were forgotten are closed before the state is used again.
#[tokio::test]
async fn nothing_stays_open() {
    let source = r#"
        local fs = require("fs")
        return function() assert(fs.get("app:files")):open("a.txt", "w") end"#;
    let files = "- name: files\n  kind: fs.directory\n  directory: files\n  auto_init: true\n";
    let registry = lua(Registry::new().entries(files), "f", source, "modules: [fs]");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let app = App::with(registry, Options { root: Some(root.clone()), ..Options::default() });
    for _ in 0..3 {
        app.f().await;
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(&root)).count(), 0);
    }
}
