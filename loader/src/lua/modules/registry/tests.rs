use serde_json::json;

use super::super::harness::Harness;

fn run(source: &str) {
    const HELP: &str = r#"
        function fails(kind, text, value, err)
            assert(not value and errors.is(err, kind) and err:retryable() == false, tostring(err))
            assert(err:message():find(text, 1, true), err:message())
        end
        function ids(entries)
            local all = {}
            for i, entry in ipairs(entries) do all[i] = entry.id end
            return table.concat(all, " ")
        end
        function raises(text, f, ...)
            local ok, err = pcall(f, ...)
            assert(not ok and tostring(err):find(text, 1, true), tostring(err))
        end
    "#;
    Harness::new()
        .module("registry", super::module)
        .entry(
            "app.lib:assert",
            "library.lua",
            json!({"type": "test", "tags": ["a", "b"], "n": 1}),
            json!({"x": [1]}),
        )
        .entry(
            "app.lib:other",
            "registry.entry",
            json!({"type": "data", "deep": {"er": true}}),
            json!({"value": "${env:A}"}),
        )
        .entry("app.api:get", "http.endpoint", json!({"type": "handler", "a.b": 2}), json!({"path": "/"}))
        .run(&format!("{HELP}{source}"));
}

#[test]
fn entries() {
    run(r#"
        local entry, err = registry.get("app.lib:assert")
        assert(err == nil and entry.id == "app.lib:assert" and entry.kind == "library.lua")
        assert(entry.meta.type == "test" and entry.meta.tags[2] == "b" and entry.meta.n == 1 and entry.data.x[1] == 1)
        -- A copy, with placeholders as they are.
        entry.meta.type = "changed"
        assert(registry.get("app.lib:assert").meta.type == "test")
        assert(registry.get("app.lib:other").data.value == "${env:A}")
        fails(errors.NOT_FOUND, "entry `app.lib:none` not found", registry.get("app.lib:none"))
        fails(errors.NOT_FOUND, "entry `none` not found", registry.get("none"))
        fails(errors.INVALID, "`id` must be a string, got no value", registry.get())
    "#);
}

#[test]
fn finding() {
    run(r#"
        local function is(filter, expected)
            local entries, err = registry.find(filter)
            assert(err == nil and ids(entries) == expected, ids(entries or {}))
            assert(ids(registry.snapshot():find(filter)) == expected)
        end
        is({}, "app:test app.api:get app.lib:assert app.lib:other")
        is({[".kind"] = "library.lua"}, "app.lib:assert")
        is({[".kind"] = "http.endpoint", [".ns"] = "app.api"}, "app.api:get")
        is({[".kind"] = "http.endpoint", [".ns"] = "app.lib"}, "")
        is({[".name"] = "other"}, "app.lib:other") is({[".id"] = "app.api:get"}, "app.api:get")
        is({["meta.type"] = "test"}, "app.lib:assert") is({type = "data"}, "app.lib:other")
        is({meta = {type = "handler"}}, "app.api:get") is({["meta.n"] = 1}, "app.lib:assert")
        is({["meta.n"] = 1.0}, "app.lib:assert") is({["meta.n"] = "1"}, "")
        is({["meta.deep.er"] = true}, "app.lib:other") is({["meta.a.b"] = 2}, "app.api:get")
        is({["meta.tags"] = {"a", "b"}}, "app.lib:assert") is({["*meta.tags"] = "b"}, "app.lib:assert")
        is({["*meta.type"] = "es"}, "app.lib:assert") is({["^meta.type"] = "ha"}, "app.api:get")
        is({["$meta.type"] = "ta"}, "app.lib:other") is({["~meta.type"] = "^(test|data)$"}, "app.lib:assert app.lib:other")
        is({["^.ns"] = "app."}, "app.api:get app.lib:assert app.lib:other") is({["~.kind"] = "lua$"}, "app:test app.lib:assert")
    "#);
}

#[test]
fn wrong_filters() {
    run(r#"
        for _, case in ipairs({
            {5, "`filter` must be a table, got number"},
            {{"x"}, "keys must be strings, got number"},
            {{[".none"] = 1}, "no field `.none`"},
            {{["~meta.a"] = "("}, "no regular expression"},
            {{["^meta.a"] = 1}, "must be a string"},
            {{["meta.a"] = print}, "a function can't leave"},
            {{meta = {[".kind"] = "x"}}, "fields of metadata only"},
            {{["~meta.a"] = ("x"):rep(5000)}, "more than 4096 bytes"},
        }) do
            fails(errors.INVALID, case[2], registry.find(case[1]))
            local snap = registry.snapshot()
            raises(case[2], snap.find, snap, case[1])
        end
    "#);
}

#[test]
fn ids() {
    run(r#"
        local id = registry.parse_id("app.lib:assert")
        assert(id.ns == "app.lib" and id.name == "assert")
        id = registry.parse_id("a:b:c") assert(id.ns == "a" and id.name == "b:c")
        id = registry.parse_id("name") assert(id.ns == "" and id.name == "name")
        raises("bad argument #1 to 'parse_id' (string expected", registry.parse_id, 5)
    "#);
}

#[test]
fn snapshots() {
    run(r#"
        local snap, err = registry.snapshot()
        assert(err == nil and ids(snap:entries()) == "app:test app.api:get app.lib:assert app.lib:other")
        assert(ids(snap:namespace("app.lib")) == "app.lib:assert app.lib:other" and #snap:namespace("none") == 0)
        assert(snap:get("app.api:get").data.path == "/" and snap:version():id() == 1)
        fails(errors.NOT_FOUND, "not found", snap:get("app:none"))
        assert(registry.snapshot_at(1):version() == registry.current_version())
        fails(errors.NOT_FOUND, "version 5 not found", registry.snapshot_at(5))
        for _, id in ipairs({0, -1, 1.5, "1"}) do fails(errors.INVALID, "above 0", registry.snapshot_at(id)) end
        raises("bad argument #1 to 'namespace' (string expected", snap.namespace, snap)
        assert(not pcall(snap.entries, {}) and not pcall(snap.get, registry.current_version(), "a:b"))
        assert(getmetatable(snap) == false)
    "#);
}

#[test]
fn versions() {
    run(r#"
        local version, err = registry.current_version()
        assert(err == nil and version:id() == 1 and version:string() == "v1" and tostring(version) == "v1")
        assert(version:previous() == nil and version:next() == nil)
        local versions = registry.versions()
        assert(#versions == 1 and versions[1] == version)
        local hist, err = registry.history()
        assert(err == nil and #hist:versions() == 1 and hist:get_version(1) == version)
        fails(errors.NOT_FOUND, "version 2 not found", hist:get_version(2))
        assert(hist:snapshot_at(version):get("app:test").kind == "function.lua")
        fails(errors.INVALID, "above 0", hist:snapshot_at("x"))
    "#);
}

#[test]
fn changes_are_collected_and_not_applied() {
    run(r#"
        local changes = registry.snapshot():changes()
        fails(errors.INVALID, "no changes to apply", changes:apply())
        assert(changes:create({id = "test:new", kind = "k", meta = {a = 1}, data = {b = {1}}}) == changes)
        changes:update({id = {ns = "test", name = "old"}, kind = "k"}):delete("test:gone"):delete({ns = "test", name = "x"})
        local ops = changes:ops()
        assert(#ops == 4 and ops[1].kind == "entry.create" and ops[1].entry.id == "test:new")
        assert(ops[1].entry.meta.a == 1 and ops[1].entry.data.b[1] == 1)
        assert(ops[2].kind == "entry.update" and ops[2].entry.id == "test:old")
        assert(ops[3].kind == "entry.delete" and ops[4].entry.id == "test:x")
        fails(errors.UNAVAILABLE, "live registry changes are not offered", changes:apply())
        fails(errors.NOT_FOUND, "not found", registry.get("test:new"))
        fails(errors.UNAVAILABLE, "not offered", registry.apply_version(registry.current_version()))
        fails(errors.INVALID, "must be a Version", registry.apply_version(1))
        for _, case in ipairs({
            {5, "an entry must be a table, got number"},
            {{kind = "k"}, "`id`: an id must be a string"},
            {{id = "noname", kind = "k"}, "`noname` is no id"},
            {{id = "a:b"}, "`kind` must be a string"},
            {{id = "a:b", kind = "k", meta = 1}, "`meta` must be a table"},
            {{id = "a:b", kind = "k", data = {print}}, "a function can't leave"},
        }) do
            fails(errors.INVALID, case[2], changes:create(case[1]))
            fails(errors.INVALID, case[2], changes:update(case[1]))
        end
        fails(errors.INVALID, "an id must be", changes:delete(5)) fails(errors.INVALID, "an id must be", changes:delete({}))
        assert(#changes:ops() == 4)
    "#);
}

#[test]
fn a_changeset_is_bounded() {
    run(r#"
        local changes = registry.snapshot():changes()
        for i = 1, 10000 do assert(changes:delete("a:b" .. i)) end
        fails(errors.INVALID, "10000 operations at most", changes:delete("a:c"))
        local changes, entry = registry.snapshot():changes(), {id = "a:b", kind = "k", data = ("x"):rep(1 << 20)}
        local none, err
        for i = 1, 500 do none, err = changes:create(entry) if not none then break end end
        assert(errors.is(err, errors.UNAVAILABLE) and err:retryable() == true, tostring(err))
    "#);
}

#[test]
fn deltas() {
    run(r#"
        local function entry(id, value) return {id = id, kind = "test", meta = {}, data = {v = value, w = value}} end
        local ops, err = registry.build_delta({entry("t:a"), entry("t:b", 1), entry("t:c", 1)},
            {entry("t:c", 1), entry("t:d"), entry("t:b", 2)})
        assert(err == nil and #ops == 3)
        assert(ops[1].kind == "entry.update" and ops[1].entry.id == "t:b" and ops[1].entry.data.v == 2)
        assert(ops[2].kind == "entry.create" and ops[2].entry.id == "t:d")
        assert(ops[3].kind == "entry.delete" and ops[3].entry.id == "t:a")
        assert(#registry.build_delta({}, {}) == 0)
        fails(errors.INVALID, "`from_entries` must be a table", registry.build_delta(nil, {}))
        fails(errors.INVALID, "`to_entries` must be a table", registry.build_delta({}, 5))
        fails(errors.INVALID, "`to_entries`: an entry must be a table", registry.build_delta({}, {5}))
    "#);
}
