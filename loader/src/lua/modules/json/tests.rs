use std::sync::Arc;

use super::super::harness::Harness;
use crate::config::JSON_SCHEMAS_KEPT_MAX;

fn run(source: &str) {
    const HELP: &str = r#"
        function fails(kind, text, value, err)
            assert(not value and errors.is(err, kind) and err:retryable() == false, tostring(err))
            assert(err:message():find(text, 1, true), err:message())
        end
    "#;
    Harness::new().module("json", super::module).run(&format!("{HELP}{source}"));
}

#[test]
fn values_to_text() {
    run(r#"
        local function is(value, text)
            local made, err = json.encode(value)
            assert(made == text and err == nil, tostring(made))
        end
        is("hello", '"hello"') is(42, "42") is(true, "true") is(false, "false") is(nil, "null")
        is("a\"\\\n\0é", '"a\\"\\\\\\n\\u0000é"')
        is({1, 2, 3}, "[1,2,3]") is({"a", "b"}, '["a","b"]')
        is({name = "Alice", age = 30}, '{"age":30,"name":"Alice"}')
        is({id = "ord-123", items = {{sku = "ABC", qty = 2}, {sku = "XYZ", qty = 1}}, total = 99.50},
            '{"id":"ord-123","items":[{"qty":2,"sku":"ABC"},{"qty":1,"sku":"XYZ"}],"total":99.5}')
        is(math.maxinteger, "9223372036854775807") is(math.mininteger, "-9223372036854775808")
        is(10 / 2, "5") is(-0.5, "-0.5") is(0.1, "0.1") is(2^53, "9007199254740992") is(1e300, "1e+300")
        is(1/0, "null") is(-1/0, "null") is(0/0, "null")
        is({}, "[]") is({{}, {}}, "[[],[]]")
        is("\xff", '"\u{fffd}"')
        is(errors.new("text"), '"text"')
    "#);
}

#[test]
fn empty_objects_stay_objects() {
    run(r#"
        assert(json.encode(json.decode('{"a":{},"b":[]}')) == '{"a":{},"b":[]}')
        local object = json.decode("{}")
        object.a = 1
        assert(json.encode(object) == '{"a":1}')
        object.a = nil
        assert(json.encode(object) == "{}")
        assert(json.encode(setmetatable({}, {__jsontype = "object"})) == "{}")
        getmetatable(object).__jsontype = nil
        assert(json.encode(json.decode("{}")) == "{}")
        setmetatable(object, nil)
        assert(json.encode(object) == "[]")
    "#);
}

#[test]
fn what_has_no_text() {
    run(r#"
        local loop = {a = {}}
        loop.a.b = loop
        fails(errors.INTERNAL, "recursive table reference", json.encode(loop))
        fails(errors.INTERNAL, "sparse array: 2 items up to index 3", json.encode({1, nil, 3}))
        fails(errors.INTERNAL, "sparse array", json.encode({[0] = 1}))
        fails(errors.INTERNAL, "sparse array", json.encode({[math.mininteger] = 1}))
        fails(errors.INTERNAL, "mixed key types", json.encode({1, a = 2}))
        fails(errors.INTERNAL, "a boolean can't be a key", json.encode({[true] = 2}))
        fails(errors.INTERNAL, "a number can't be a key", json.encode({[1.5] = 2}))
        fails(errors.INTERNAL, "can't encode a function", json.encode({print}))
        -- The same table twice is no circle.
        local shared = {1}
        assert(json.encode({shared, shared}) == "[[1],[1]]")
    "#);
}

#[test]
fn depth_is_bounded_both_ways() {
    run(r#"
        local function nested(depth)
            local value = {}
            for _ = 2, depth do value = {value} end
            return value
        end
        local text = string.rep("[", 128) .. string.rep("]", 128)
        assert(json.encode(nested(128)) == text)
        fails(errors.INTERNAL, "nesting exceeds 128 levels", json.encode(nested(129)))
        assert(json.encode(json.decode(text)) == text)
        fails(errors.INTERNAL, "nesting exceeds 128 levels", json.decode("[" .. text .. "]"))
        fails(errors.INTERNAL, "nesting exceeds 128 levels", json.decode(string.rep("[", 1000000)))
    "#);
}

#[test]
fn shared_parts_do_not_multiply_without_end() {
    run(r#"
        local value = {string.rep("x", 1000)}
        for _ = 1, 40 do value = {value, value} end
        fails(errors.INTERNAL, "more than 67108864 bytes", json.encode(value))
        assert(json.encode({1}) == "[1]")
    "#);
}

#[test]
fn text_to_values() {
    run(r#"
        local user, err = json.decode('{"name":"Bob","active":true}')
        assert(err == nil and user.name == "Bob" and user.active == true)
        local items = json.decode('[10, 20, 30]')
        assert(items[1] == 10 and #items == 3)
        local response = json.decode([[
            {"status": "ok", "data": {"users": [{"id": 1, "name": "Alice"}, {"id": 2, "name": "Bob"}]}}
        ]])
        assert(response.data.users[1].name == "Alice" and response.data.users[2].id == 2)
        assert(math.type(json.decode("9223372036854775807")) == "integer")
        assert(json.decode("9223372036854775807") == math.maxinteger)
        assert(json.decode("-9223372036854775808") == math.mininteger)
        assert(math.type(json.decode("9223372036854775808")) == "float")
        assert(math.type(json.decode("1.0")) == "float" and json.decode("1e2") == 100)
        assert(json.decode('"\\u00e9\\ud83d\\ude00"') == "é😀")
        local none, err = json.decode("null")
        assert(none == nil and err == nil)
        local sparse = json.decode("[1,null,3]")
        assert(sparse[1] == 1 and sparse[2] == nil and sparse[3] == 3)
        assert(next(json.decode('{"a":null}')) == nil)
    "#);
}

#[test]
fn text_that_is_no_json() {
    run(r#"
        for _, text in ipairs({"not valid json", "", "[1,]", "{\"a\":1,}", "[1] 2", "'a'", "\"\xff\"", "01"}) do
            fails(errors.INTERNAL, "invalid JSON", json.decode(text))
        end
        fails(errors.INVALID, "`str` must be a string, got number", json.decode(42))
        fails(errors.INVALID, "got no value", json.decode())
    "#);
}

#[test]
fn values_against_a_schema() {
    run(r#"
        local schema = {
            type = "object",
            properties = {
                name = {type = "string", minLength = 1},
                email = {type = "string", format = "email"},
                age = {type = "integer", minimum = 0, maximum = 150},
            },
            required = {"name", "email"},
        }
        local valid, err = json.validate(schema, {name = "Alice", email = "alice@example.com", age = 30})
        assert(valid == true and err == nil)
        local valid, err = json.validate(schema, {name = "", email = "not-an-email"})
        assert(valid == false and errors.is(err, errors.INVALID) and err:retryable() == false)
        assert(err:message() == "validation failed: at `/email`: must have the format `email`; "
            .. "at `/name`: must have at least 1 characters", err:message())
        assert(err:details()[2].path == "/name" and err:details()[2].message:find("at least 1"))
        assert(json.validate('{"type":"number","minimum":0}', 42))
        fails(errors.INVALID, "must be at least 0", json.validate('{"type":"number","minimum":0}', -1))
        fails(errors.INVALID, "`email` is missing", json.validate(schema, {name = "x"}))
        fails(errors.INVALID, "expected integer, got number", json.validate({type = "integer"}, 1.5))
        assert(json.validate({type = "object", properties = {}}, {}) and json.validate({type = "array"}, {}))
        assert(json.validate({}, "anything") and json.validate("true", 1))
        fails(errors.INVALID, "nothing is allowed here", json.validate("false", 1))
    "#);
}

#[test]
fn texts_against_a_schema() {
    run(r#"
        local schema = {
            type = "object",
            properties = {action = {type = "string", enum = {"create", "update", "delete"}}},
            required = {"action"},
        }
        assert(json.validate_string(schema, '{"action":"create","data":{}}'))
        fails(errors.INVALID, 'must be one of "create", "update", "delete"',
            json.validate_string(schema, '{"action":"drop"}'))
        fails(errors.INVALID, "expected object, got array", json.validate_string(schema, "[]"))
        fails(errors.INTERNAL, "invalid JSON", json.validate_string(schema, "{"))
        fails(errors.INVALID, "`json_str` must be a string", json.validate_string(schema, {}))
    "#);
}

/// Most of it after the public test suite of the standard, draft 2020-12.
#[test]
fn what_no_other_rule_looks_at() {
    run(r##"
        for _, case in ipairs({
            -- schema, what fits, what does not
            {'{"properties":{"a":{}},"unevaluatedProperties":false}', {'{"a":1}', '{}', '[1]', '1'}, {'{"a":1,"b":2}'}},
            {'{"properties":{"a":{}},"unevaluatedProperties":{"type":"string"}}', {'{"a":1,"b":"x"}'}, {'{"b":2}'}},
            {'{"patternProperties":{"^a":{}},"unevaluatedProperties":false}', {'{"ab":1}'}, {'{"b":2}'}},
            {'{"additionalProperties":true,"unevaluatedProperties":false}', {'{"ab":1}'}, {}},
            {'{"properties":{"a":{}},"allOf":[{"properties":{"b":{}}}],"unevaluatedProperties":false}', {'{"a":1,"b":2}'}, {'{"c":1}'}},
            {'{"anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},{"properties":{"c":{}},"required":["c"]}],"unevaluatedProperties":false}',
                {'{"b":1}', '{"c":1}', '{"b":1,"c":2}'}, {'{"b":2,"c":2}', '{"b":1,"d":1}'}},
            {'{"oneOf":[{"properties":{"b":{}},"required":["b"]},{"properties":{"c":{}},"required":["c"]}],"unevaluatedProperties":false}',
                {'{"b":1}', '{"c":1}'}, {'{"b":1,"d":1}'}},
            {'{"if":{"properties":{"k":{"const":"then"}},"required":["k"]},"then":{"properties":{"t":{}}},"else":{"properties":{"e":{}}},"unevaluatedProperties":false}',
                {'{"k":"then","t":1}', '{"e":1}'}, {'{"k":"then","e":1}', '{"k":"no","e":1}', '{"t":1}'}},
            {'{"not":{"not":{"properties":{"b":{}}}},"unevaluatedProperties":false}', {'{}'}, {'{"b":1}'}},
            {'{"dependentSchemas":{"a":{"properties":{"b":{}}}},"properties":{"a":{}},"unevaluatedProperties":false}', {'{"a":1,"b":2}'}, {'{"b":1}'}},
            {'{"$ref":"#/$defs/b","properties":{"a":{}},"unevaluatedProperties":false,"$defs":{"b":{"properties":{"b":{}}}}}', {'{"a":1,"b":2}'}, {'{"c":1}'}},
            {'{"allOf":[{"properties":{"a":{}},"unevaluatedProperties":true}],"unevaluatedProperties":false}', {'{"a":1,"b":2}'}, {}},
            -- Cousins see nothing of each other.
            {'{"allOf":[{"properties":{"a":{}}},{"unevaluatedProperties":false}]}', {'{}'}, {'{"a":1}'}},
            {'{"prefixItems":[{}],"unevaluatedItems":false}', {'[1]', '[]', '{"a":1}'}, {'[1,2]'}},
            {'{"items":{},"unevaluatedItems":false}', {'[1,2]'}, {}},
            {'{"prefixItems":[{}],"allOf":[{"prefixItems":[{},{}]}],"unevaluatedItems":{"type":"number"}}', {'["a","b",3]'}, {'["a","b","c"]'}},
            {'{"contains":{"type":"string"},"unevaluatedItems":{"type":"number"}}', {'["a",1]'}, {'["a",true]'}},
            {'{"type":"object","properties":{"next":{"$dynamicRef":"#node"}},"$dynamicAnchor":"node","unevaluatedProperties":false}',
                {'{"next":{"next":{}}}'}, {'{"next":{"other":1}}'}},
            {'{"type":"object","additionalProperties":{"$recursiveRef":"#"}}', {'{"a":{"b":{}}}'}, {'{"a":{"b":1}}'}},
        }) do
            for _, text in ipairs(case[2]) do
                local ok, err = json.validate(case[1], json.decode(text))
                assert(ok == true, case[1] .. " " .. text .. " " .. tostring(err))
            end
            for _, text in ipairs(case[3]) do
                assert(json.validate(case[1], json.decode(text)) == false, case[1] .. " " .. text)
            end
        end
        local _, err = json.validate('{"properties":{"a":{}},"unevaluatedProperties":false}', {a = 1, b = 2})
        assert(err:message() == "validation failed: at `/b`: nothing is allowed here", err:message())
        -- What refers to itself ends.
        fails(errors.INVALID, "too complex", json.validate('{"$ref":"#","unevaluatedProperties":false}', {a = 1}))
    "##);
}

#[test]
fn schemas_that_do_not_compile() {
    run(r##"
        for _, case in ipairs({
            {{type = "nothing"}, "at `#`: `type` must be a type"},
            {{properties = {a = {minimum = "1"}}}, "at `#/properties/a`: `minimum` must be a number"},
            {{pattern = "("}, "`pattern` must be a regular expression"},
            {{["$ref"] = "#/$defs/none"}, "`$ref` must be a place in the schema itself"},
            {{["$ref"] = "https://example.com/schema"}, "`$ref` must be a place in the schema itself"},
            {{["$ref"] = "#none"}, "`$ref` must be a place in the schema itself"},
            {{["$id"] = "https://example.com/a", ["$ref"] = "b"}, "found `b`"},
            {{["$ref"] = "https://json-schema.org/draft/2020-12/schema"}, "a place in the schema itself"},
            {{["$dynamicRef"] = "#node"}, "`$dynamicRef` must be a place in the schema itself"},
            {{["$recursiveRef"] = "#none"}, "`$recursiveRef` must be a place in the schema itself"},
            {'{"$id":"https://a.example","$ref":"b","$defs":{"b":{"$id":"b","$dynamicRef":"#"}}}',
                "at `#/$defs/b`: `$dynamicRef` must be left out in a schema with several `$id`s"},
            {'{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}', "`#x` names the schema at"},
            {{unevaluatedProperties = 1}, "at `#/unevaluatedProperties`: a schema must be"},
            {{properties = 1}, "`properties` must be an object"},
            {{allOf = 1}, "`allOf` must be an array of schemas"},
            {{maxItems = -1}, "`maxItems` must be a non-negative integer"},
            {"{", "the schema can't be compiled"},
            {'"text"', "a schema must be an object or a boolean"},
            {{a = print}, "can't encode a function"},
            {42, "`schema` must be a table or string, got number"},
            {string.rep(" ", 300000), "more than 262144"},
        }) do
            fails(errors.INVALID, case[2], json.validate(case[1], 1))
            fails(errors.INVALID, case[2], json.validate_string(case[1], "1"))
        end
    "##);
}

#[test]
fn every_keyword() {
    run(r##"
        local function check(schema, good, bad)
            for _, text in ipairs(good) do
                local ok, err = json.validate_string(schema, text)
                assert(ok, schema .. " refuses " .. text .. ": " .. tostring(err))
            end
            for _, text in ipairs(bad) do
                local ok, err = json.validate_string(schema, text)
                assert(not ok and errors.is(err, errors.INVALID), schema .. " takes " .. text)
            end
        end
        check('{"type":["string","null"]}', {'"a"', "null"}, {"1", "[]"})
        check('{"type":"integer"}', {"1", "1.0", "-3"}, {"1.5", '"1"'})
        check('{"type":"boolean"}', {"true"}, {"0"})
        check('{"enum":[1,{"a":[]}]}', {"1", "1.0", '{"a":[]}'}, {"2", '{"a":{}}'})
        check('{"const":{"a":1}}', {'{"a":1}'}, {'{"a":2}', '{"a":1,"b":1}'})
        check('{"minimum":1,"maximum":3}', {"1", "3", '"x"'}, {"0", "4"})
        check('{"exclusiveMinimum":1,"exclusiveMaximum":3}', {"2"}, {"1", "3"})
        check('{"minimum":1,"exclusiveMinimum":true}', {"2"}, {"1"})
        check('{"multipleOf":0.01}', {"4.35", "19.99"}, {"4.351"})
        check('{"multipleOf":3}', {"9", "-3", "0"}, {"10"})
        check('{"minLength":2,"maxLength":3}', {'"éé"', '"abc"'}, {'"é"', '"abcd"'})
        check('{"pattern":"^a+$"}', {'"aa"', "1"}, {'"ab"'})
        check('{"format":"uuid"}', {'"6ba7b811-9dad-11d1-80b4-00c04fd430c8"'}, {'"x"'})
        check('{"format":"unknown"}', {'"x"'}, {})
        check('{"items":{"type":"number"}}', {"[1,2]", "[]", "{}"}, {'[1,"a"]'})
        check('{"prefixItems":[{"type":"number"}],"items":false}', {"[1]", "[]"}, {"[1,2]", '["a"]'})
        check('{"items":[{"type":"number"}],"additionalItems":{"type":"string"}}', {'[1,"a"]'}, {"[1,2]"})
        check('{"contains":{"const":1}}', {"[2,1]"}, {"[]", "[2]"})
        check('{"contains":{"const":1},"minContains":2,"maxContains":3}', {"[1,1]"}, {"[1]", "[1,1,1,1]"})
        check('{"minItems":1,"maxItems":2}', {"[1]"}, {"[]", "[1,2,3]"})
        check('{"uniqueItems":true}', {"[1,2,\"1\"]"}, {"[1,1.0]", '[{"a":1,"b":2},{"b":2,"a":1}]'})
        check('{"properties":{"a":{"type":"number"}},"patternProperties":{"^x":{"type":"string"}},"additionalProperties":false}',
            {'{"a":1,"x1":"s"}'}, {'{"a":"s"}', '{"x1":1}', '{"b":1}'})
        check('{"propertyNames":{"maxLength":2}}', {'{"ab":1}'}, {'{"abc":1}'})
        check('{"required":["a"]}', {'{"a":null}', "1"}, {"{}"})
        check('{"minProperties":1,"maxProperties":1}', {'{"a":1}'}, {"{}", '{"a":1,"b":1}'})
        check('{"dependentRequired":{"a":["b"]}}', {'{"a":1,"b":1}', '{"b":1}'}, {'{"a":1}'})
        check('{"dependentSchemas":{"a":{"required":["b"]}}}', {'{"a":1,"b":1}', "{}"}, {'{"a":1}'})
        check('{"dependencies":{"a":["b"],"c":{"required":["d"]}}}', {'{"a":1,"b":1,"c":1,"d":1}'}, {'{"a":1}', '{"c":1}'})
        check('{"allOf":[{"minimum":1},{"maximum":3}]}', {"2"}, {"0", "4"})
        check('{"anyOf":[{"type":"string"},{"minimum":3}]}', {'"a"', "3"}, {"2"})
        check('{"oneOf":[{"minimum":1},{"minimum":3}]}', {"2"}, {"0", "3"})
        check('{"not":{"type":"string"}}', {"1"}, {'"a"'})
        check('{"if":{"type":"string"},"then":{"minLength":2},"else":{"minimum":2}}', {'"ab"', "2"}, {'"a"', "1"})
        check('{"$ref":"#n","$defs":{"a":{"$anchor":"n","type":"number"}}}', {"1"}, {'"a"'})
        check('{"$ref":"#n","definitions":{"a":{"$id":"#n","type":"number"}}}', {"1"}, {'"a"'})
        check('{"$id":"https://example.com/s/root","items":{"$ref":"item#/$defs/n"},"$defs":{"i":{"$id":"item",' ..
            '"$defs":{"n":{"type":"number"}}}}}', {"[1]"}, {'["a"]'})
        check('{"$id":"https://example.com/s/root","items":{"$ref":"/s/item#n"},"$defs":{"i":{"$id":"./item",' ..
            '"$ref":"#n","$defs":{"n":{"$anchor":"n","type":"number"}}}}}', {"[1]"}, {'["a"]'})
        check('{"$id":"urn:example:a","type":["array","number"],"items":{"$ref":"urn:example:a"}}',
            {"[1,[2]]"}, {'["a"]'})
        check('{"const":{"$id":"x","$anchor":"y"}}', {'{"$id":"x","$anchor":"y"}'}, {"1"})
        check('{"$ref":"#/$defs/a%20b","$defs":{"a b":{"type":"number"}}}', {"1"}, {'"a"'})
        check('{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"number"}},"required":["v"]}',
            {'{"v":1,"next":{"v":2}}'}, {'{"v":1,"next":{}}'})
    "##);
}

#[test]
fn a_schema_without_end_is_stopped() {
    run(r##"
        fails(errors.INVALID, "too complex", json.validate({["$ref"] = "#"}, 1))
        local defs = {d40 = {type = "number"}}
        for i = 0, 39 do
            local inner = {["$ref"] = "#/$defs/d" .. i + 1}
            defs["d" .. i] = {allOf = {inner, inner}}
        end
        fails(errors.INVALID, "too complex", json.validate({["$ref"] = "#/$defs/d0", ["$defs"] = defs}, 1))
        local defs = {}
        for i = 0, 1000 do defs["d" .. i] = {["$ref"] = "#/$defs/d" .. (i + 1) % 1001} end
        fails(errors.INVALID, "nested deeper than 512", json.validate({["$ref"] = "#/$defs/d0", ["$defs"] = defs}, 1))
        assert(json.validate({type = "number"}, 1))
    "##);
}

#[test]
fn compiled_schemas_are_kept_within_bounds() {
    let (lua, schemas) = (mlua::Lua::new(), super::Schemas::default());
    let get = |minimum: usize| {
        let text = lua.create_string(format!("{{\"minimum\":{minimum}}}")).unwrap();
        schemas.get(&lua, &mlua::Value::String(text)).unwrap()
    };
    let kept = || schemas.0.lock().unwrap().len();
    let first = get(0);
    (1..JSON_SCHEMAS_KEPT_MAX).for_each(|minimum| _ = get(minimum));
    assert!(Arc::ptr_eq(&first, &get(0)));
    assert_eq!(kept(), JSON_SCHEMAS_KEPT_MAX);
    // One more empties the store, which fills again.
    get(JSON_SCHEMAS_KEPT_MAX);
    assert_eq!(kept(), 1);
    assert!(!Arc::ptr_eq(&first, &get(0)));
    assert_eq!(kept(), 2);
}
