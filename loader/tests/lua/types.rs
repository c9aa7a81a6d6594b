//! Types as values: each form that `en/lua/types.md` documents, and hostile values.

use loader::{Context, Data, ErrorKind};
use tokio::time::{Duration, Instant};

use crate::shared::{App, library, lua};
use crate::support::Registry;

/// What `body` gives, the function `refused` being there: the message with which a type refuses a value.
async fn given(body: &str) -> String {
    let source = format!(
        "local function refused(t, value)
            local ok, problem = t:is(value)
            return ok == nil and problem:kind() == 'INVALID' and problem:message()
        end
        {body}"
    );
    let app = App::new(lua(Registry::new(), "f", &source, ""));
    app.f().await.to_json().unwrap().to_string()
}

#[tokio::test]
async fn casts_validate_and_give_the_value() {
    let body = r#"
        type User = {name: string, age: number}
        type Point = {x: number, y: number}
        return function()
            local data: any = {name = "alice", age = 25}
            local ok, problem = pcall(User, {name = "bob"})
            return {User(data) == data, string("a"), integer(3), boolean(false), number(1.5), (pcall(string, 1)),
                (pcall(integer, 1.5)), ok, problem:kind(), problem:message(), tostring(problem)}
        end"#;
    assert_eq!(
        given(body).await,
        r#"[true,"a",3,false,1.5,false,false,false,"INVALID","User: age: expected number, got nil","User: age: expected number, got nil"]"#
    );
}

#[tokio::test]
async fn what_is_refused_says_where_and_why() {
    let body = r#"
        type Profile = {age: number @min(0) @max(150), name: string @min_len(1) @max_len(3), mail?: string @pattern("^.+@.+\\..+$")}
        type Status = "pending" | "done"
        type Scores = {number @min(0) @max(100)}
        type Map = {[string]: {Profile}}
        type Id = number @min(1) | string @min_len(1)
        type Load = {status: "loading"} | {status: "loaded", data: Profile}
        type Both = {x: number} & {y: string}
        return function()
            local good = {age = 1, name = "Ada"}
            return {
                refused(Profile, {age = -1, name = "A"}), refused(Profile, {age = 151, name = "A"}),
                refused(Profile, {age = 1, name = ""}), refused(Profile, {age = 1, name = "long"}),
                refused(Profile, {age = 1, name = "A", mail = "x"}), refused(Status, "lost"), refused(Scores, {1, 101}),
                refused(Scores, {1, a = 2}), refused(Map, {a = {good, 5}}), refused(Map, {[1] = {}}),
                refused(Id, 0), refused(Id, true), refused(Load, {status = "loaded", data = {}}),
                refused(Both, {x = 1}), refused(Status, nil),
            }
        end"#;
    let expected = [
        "Profile: age: is below the minimum (@min) of 0",
        "Profile: age: is above the maximum (@max) of 150",
        "Profile: name: has the length 0, less than the minimum length of 1",
        "Profile: name: has the length 4, more than the maximum length of 3",
        r#"Profile: mail: does not match the pattern "^.+@.+\\..+$""#,
        r#"Status: expected "pending" | "done", got string "lost""#,
        "Scores: [2]: is above the maximum (@max) of 100",
        r#"Scores: expected {number}, got a table with the key "a""#,
        r#"Map: ["a"][2]: expected record, got integer"#,
        "Map: [1]: key: expected string, got integer",
        "Id: is below the minimum (@min) of 1",
        "Id: expected number | string, got boolean true",
        "Load: data.age: expected number, got nil",
        "Both: y: expected string, got nil",
        r#"Status: expected "pending" | "done", got nil"#,
    ];
    let found: Vec<String> = serde_json::from_str(&given(body).await).unwrap();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn types_tell_what_they_are() {
    let body = r#"
        type Point = {x: number, y?: number}
        type User = {name: string, age: number}
        type Status = "pending" | "done"
        return function()
            local arr: {number} = {1}
            local map: {[string]: boolean} = {}
            local opt: number? = nil
            local fn: (number, string) -> boolean = print
            local fields, variants, params = {}, {}, {}
            for name, field in Point:fields() do fields[#fields + 1] = name .. " " .. field:kind() end
            for variant in Status:variants() do variants[#variants + 1] = variant:kind() end
            for param in typeof(fn):params() do params[#params + 1] = param:kind() end
            return {Number:kind(), Point:kind(), Point:name(), User:name(), User.name:kind(), fields, variants, params,
                typeof(arr):elem():kind(), typeof(map):key():kind(), typeof(map):val():kind(), typeof(opt):kind(),
                typeof(opt):inner():kind(), typeof(fn):ret():kind(), tostring(Status), Point.lost == nil,
                (pcall(Point.elem, Point))}
        end"#;
    assert_eq!(
        given(body).await,
        r#"["number","record","Point","User","string",["x number","y optional"],["literal","literal"],["number","string"],"number","string","boolean","optional","number","boolean","Status",true,false]"#
    );
}

#[tokio::test]
async fn types_compare_and_are_keys() {
    let body = r#"
        type A = {x: number}
        type B = {x: number, y: string}
        type Both = {x: number} & {y: string}
        type Few = "a" | "b"
        type Many = "a" | "b" | "c"
        type Tree = {value: number, next?: Tree}
        type Wood = {value: number, next?: Wood}
        type Any = any
        return function()
            local handlers = {[Number] = "number", [String] = "string"}
            return {Number == Number, Integer <= Number, Integer < Number, Number < Number, Number <= Integer, B < A,
                A <= B, Both <= A, Few < Many, Many <= Few, Few <= String, Tree == Wood, Few <= Any, Number == String,
                Number == {}, handlers[typeof(1)], handlers[typeof("")], handlers[Number],
                (pcall(function() Number.x = 1 end)), (pcall(setmetatable, Number, {})), (pcall(function() return Number < 1 end))}
        end"#;
    assert_eq!(
        given(body).await,
        r#"[true,true,true,false,false,true,false,true,true,false,true,true,true,false,false,"number","string","number",false,false,false]"#
    );
}

#[tokio::test]
async fn generic_and_foreign_types() {
    let lib = "type Inner = {id: string @min_len(2)}\nreturn {Inner = Inner}";
    let f = r#"
        local lib = require("lib")
        type Box<T> = {value: T}
        type Holder = Box<lib.Inner>
        type Lost = lib.Lost
        type Tags = readonly {string}
        local sample: {name: string} = {name = "x"}
        type Sample = typeof(sample)
        return function()
            local ok, problem = Holder:is({value = {id = "a"}})
            local lost, why = pcall(Lost, 1)
            return {Holder({value = {id = "ab"}}).value.id, problem:message(), lib.Inner:name(), Holder.value == lib.Inner,
                (Sample:is({})) == nil, (Tags:is({"a"}))[1], lost, why}
        end"#;
    let registry = library(Registry::new(), "library", lib, "");
    let app = App::new(lua(registry, "f", f, "imports: {lib: library}"));
    assert_eq!(
        app.f().await.to_json().unwrap().to_string(),
        r#"["ab","Holder: value.id: has the length 1, less than the minimum length of 2","Inner",true,true,"a",false,"the library `lib` returns no type `Lost`"]"#
    );
}

#[tokio::test]
async fn lines_of_errors_are_those_of_the_source() {
    let app = App::of("type T = {\n  x: number\n}\nreturn function()\n  T:is({})\n  error('here')\nend");
    let error = app.call("app:f", Vec::new()).await.unwrap_err();
    assert_eq!(error.message(), "app:f:6: here");
}

#[tokio::test]
async fn hostile_values_end() {
    let body = r#"
        type Tree = {next?: Tree, other?: Tree} | {next?: Tree, last: boolean}
        type Deep = {next?: Deep}
        return function()
            local deep = {}
            for _ = 1, 100000 do deep = {next = deep} end
            local cyclic = {}
            cyclic.next = {next = cyclic}
            local shared = {last = 5}
            for _ = 1, 60 do shared = {next = shared, other = shared} end
            return {refused(Deep, deep):sub(-28), Deep(cyclic) == cyclic, Tree(cyclic) == cyclic, Tree(shared) == shared}
        end"#;
    assert_eq!(given(body).await, r#"["is nested more than 180 deep",true,true,true]"#);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_validation() {
    let source = "type Numbers = {number}
        local many = {} for n = 1, 1000 do many[n] = n end
        return function(hostile) while hostile do pcall(Numbers, many) end return 1 end";
    let app = App::new(lua(Registry::new(), "f", source, ""));
    let context = Context::default().with_deadline(Some(Instant::now() + Duration::from_millis(50)));
    tokio::time::advance(Duration::from_millis(60)).await;
    let error = app.loader.call_data("app:f", vec![Data::Bool(true)], context).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(app.f().await, Data::Integer(1));
}
