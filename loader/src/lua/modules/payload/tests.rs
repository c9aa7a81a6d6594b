use super::super::harness::Harness;

fn run(source: &str) {
    const HELP: &str = r#"
        function fails(kind, text, value, err)
            assert(value == nil and errors.is(err, kind) and err:retryable() == false, tostring(err))
            assert(err:message():find(text, 1, true), err:message())
        end
        function hex(text) return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
        function as(value, format)
            local p, err = payload.new(value):transcode(format)
            assert(p, tostring(err)) assert(p:get_format() == format)
            return p:transcode(payload.format.BYTES):data(), p
        end
    "#;
    Harness::new().module("payload", super::module).run(&format!("{HELP}{source}"));
}

#[test]
fn formats() {
    run(r#"
        local f = payload.format
        assert(f.JSON == "json/plain" and f.YAML == "yaml/plain" and f.STRING == "text/plain")
        assert(f.BYTES == "application/octet-stream" and f.MSGPACK == "application/msgpack")
        assert(f.LUA == "lua/any" and f.GOLANG == "golang/any" and f.ERROR == "golang/error")
        assert(payload.new({name = "test"}):get_format() == "lua/any")
        assert(payload.new("hello"):get_format() == "lua/any")
        assert(payload.new(errors.new("failed")):get_format() == "golang/error")
        assert(tostring(payload.new("hello")) == "payload{format=lua/any}")
    "#);
}

#[test]
fn data() {
    run(r#"
        local data, err = payload.new({items = {1, 2, 3}, total = 100}):data()
        assert(err == nil and data.total == 100 and data.items[1] == 1)
        for _, value in ipairs({"text", 42.5, 42, true, false}) do
            assert(payload.new(value):data() == value and payload.new(value):unmarshal() == value)
        end
        local none, err = payload.new(nil):data()
        assert(none == nil and err == nil)
        assert(payload.new(errors.new("failed")):data():message() == "failed")
        local ok, err = pcall(payload.new, print)
        assert(not ok and tostring(err):find("bad argument #1 to 'new'", 1, true))
    "#);
}

#[test]
fn json() {
    run(r#"
        local text, p = as({name = "test", value = 123, list = {}}, payload.format.JSON)
        assert(text == '{"list":[],"name":"test","value":123}')
        local data = p:data()
        assert(data.name == "test" and p:unmarshal().value == 123)
        assert(p:transcode(payload.format.STRING):data() == text)
        assert(p:transcode(payload.format.LUA):get_format() == "lua/any")
        assert(p:transcode(payload.format.LUA):data().name == "test")
        assert(p:transcode(payload.format.JSON) == p)
        assert(as("text", payload.format.JSON) == '"text"' and as(nil, payload.format.JSON) == "null")
        assert(as(errors.new("gone"), payload.format.JSON) == '"gone"')
        fails(errors.INTERNAL, "can't transcode the payload: mixed key types",
            payload.new({1, a = 2}):transcode(payload.format.JSON))
    "#);
}

#[test]
fn yaml() {
    run(r#"
        local text, p = as({
            name = "te st", ["a:b"] = "yes", n = 1.5, t = true, e = {}, list = {1, {a = {2}}, {{3}}}, plain = "a/b.c",
        }, payload.format.YAML)
        assert(text == [[
"a:b": "yes"
e: []
list:
  - 1
  -
    a:
      - 2
  -
    -
      - 3
"n": 1.5
name: "te st"
plain: a/b.c
t: true
]], text)
        assert(p:data().list[2].a[1] == 2 and p:data().n == 1.5)
        assert(as("x\ny", payload.format.YAML) == '"x\\ny"\n' and as(nil, payload.format.YAML) == "null\n")
        fails(errors.INTERNAL, "recursive", payload.new((function() local t = {} t[1] = t return t end)()):transcode(payload.format.YAML))
    "#);
}

#[test]
fn msgpack() {
    run(r#"
        local function is(value, expected)
            local bytes, p = as(value, payload.format.MSGPACK)
            assert(hex(bytes):sub(1, #expected) == expected, hex(bytes):sub(1, 40))
            return p
        end
        is(nil, "c0") is(true, "c3") is(false, "c2") is(1.5, "cb3ff8000000000000")
        is(0, "00") is(127, "7f") is(128, "cc80") is(255, "ccff") is(256, "cd0100") is(65536, "ce00010000")
        is(1 << 32, "cf0000000100000000") is(-1, "ff") is(-32, "e0") is(-33, "d0df") is(-128, "d080") is(-129, "d1ff7f")
        is(-32769, "d2ffff7fff") is(math.mininteger, "d38000000000000000")
        is("a", "a161") is(("x"):rep(32), "d920") is(("x"):rep(256), "da0100") is(("x"):rep(65536), "db00010000")
        is("\xff", "c401ff") is({}, "90") is({1, "a"}, "9201a161") is({a = 1, b = {true}}, "82a16101a16291c3")
        local list = {} for i = 1, 16 do list[i] = i end
        is(list, "dc001001")
        local p = is({a = 1}, "81a16101")
        assert(p:data().a == 1 and p:unmarshal().a == 1)
        fails(errors.INTERNAL, "mixed key types", payload.new({1, a = 2}):transcode(payload.format.MSGPACK))
        fails(errors.INTERNAL, "a function can't leave", payload.new({print}):transcode(payload.format.MSGPACK))
    "#);
}

#[test]
fn texts_and_others() {
    run(r#"
        local f = payload.format
        assert(as("hello", f.STRING) == "hello" and as(42, f.STRING) == "42" and as(true, f.BYTES) == "true")
        assert(as(nil, f.STRING) == "" and as(errors.new("gone"), f.STRING) == "gone")
        fails(errors.INTERNAL, "a table is no text", payload.new({}):transcode(f.STRING))
        fails(errors.INTERNAL, "a string is no error", payload.new("x"):transcode(f.ERROR))
        assert(payload.new(errors.new("gone")):transcode(f.LUA):transcode(f.ERROR):data():message() == "gone")
        assert(payload.new({a = 1}):transcode(f.GOLANG):data().a == 1)
        fails(errors.INTERNAL, "unknown format `none`", payload.new("x"):transcode("none"))
        local ok, err = pcall(payload.new("x").transcode, payload.new("x"))
        assert(not ok and tostring(err):find("bad argument #1 to 'transcode'", 1, true))
    "#);
}
