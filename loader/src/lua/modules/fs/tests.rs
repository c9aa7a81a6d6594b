use std::path::Path;

use registry_schema::Digest;
use serde_json::json;
use tempfile::TempDir;

use super::super::harness::Harness;

const HELP: &str = r#"
    function fails(kind, text, value, err)
        assert(value == nil and errors.is(err, kind), tostring(err))
        assert(err:message():find(text, 1, true), err:message())
    end
    function listed(vol, path)
        local all = {}
        for entry in vol:readdir(path) do all[#all + 1] = entry.name .. ":" .. entry.type end
        return table.concat(all, " ")
    end
"#;

fn run_in(root: &Path, source: &str) {
    let digest = "0".repeat(64);
    let embedded = |path: &str| format!("fs/app:assets/{digest}/{path}");
    Harness::new()
        .module("fs", super::module)
        .root(root)
        .entry("app:data", "fs.directory", json!({}), json!({"directory": "data", "auto_init": true}))
        .entry("app:missing", "fs.directory", json!({}), json!({"directory": "nowhere"}))
        .entry("app:frozen", "fs.directory", json!({}), json!({"directory": "data", "mode": "0555"}))
        .entry("app:named", "fs.directory", json!({}), json!({"directory": "${FOLDER|data}"}))
        .entry("other:data", "fs.directory", json!({}), json!({"directory": "other", "auto_init": true}))
        .entry("app:assets", "fs.embed", json!({}), json!({}))
        .entry("app:empty", "fs.embed", json!({}), json!({}))
        .file(&embedded("css/site.css"), b"body {}")
        .file(&embedded("css-more/x"), b"x")
        .file(&embedded("index.html"), b"<html>\nline")
        .file(&embedded("none"), b"")
        .file("fs/app:assets2/00/other", b"no")
        .run(&format!("{HELP}{source}"));
}

fn run(source: &str) -> TempDir {
    let root = crate::support::temporary_folder();
    run_in(root.path(), &format!("local vol, err = fs.get('app:data') assert(err == nil)\n{source}"));
    root
}

#[test]
fn volumes() {
    run(r#"
        assert(fs.get("data") and fs.get("app:named") and fs.get("other:data"))
        vol:writefile("f", "x")
        assert(fs.get("app:named"):readfile("f") == "x" and fs.get("other:data"):exists("f") == false)
        fails(errors.NOT_FOUND, "no filesystem `app:none`", fs.get("app:none"))
        fails(errors.NOT_FOUND, "no filesystem `app:test`", fs.get("test"))
        fails(errors.UNAVAILABLE, "nowhere", fs.get("app:missing"))
        fails(errors.INVALID, "`name` must be a string, got no value", fs.get())
        fails(errors.INVALID, "is no id", fs.get(""))
        assert(fs.type.FILE == "file" and fs.type.DIR == "directory")
        assert(fs.seek.SET == "set" and fs.seek.CUR == "cur" and fs.seek.END == "end")
        assert(getmetatable(vol) == false and not pcall(vol.readfile, {}, "f"))
    "#);
}

#[test]
fn whole_files() {
    let root = run(r#"
        local ok, err = vol:writefile("/config.json", "{}")
        assert(ok == true and err == nil)
        local data, err = vol:readfile("/config.json")
        assert(data == "{}" and err == nil and vol:read_file("config.json") == "{}")
        vol:writefile("/config.json", "new", "w")
        vol:writefile("/config.json", "er\0\xff", "a")
        assert(vol:readfile("config.json") == "newer\0\xff")
        assert(vol:write_file("/lock", "1", "wx") == true)
        fails(errors.ALREADY_EXISTS, "`/lock`: already exists", vol:writefile("/lock", "2", "wx"))
        assert(vol:readfile("lock") == "1")
        vol:writefile("empty", "") assert(vol:readfile("empty") == "")
        fails(errors.NOT_FOUND, "`/none`: not found", vol:readfile("none"))
        fails(errors.NOT_FOUND, "`/no/file`: not found", vol:writefile("no/file", ""))
        fails(errors.INVALID, "is a directory", vol:readfile("/"))
        fails(errors.INVALID, "not a directory", vol:readfile("lock/x"))
        for _, mode in ipairs({"r", "x", "", "rw"}) do
            fails(errors.INVALID, "invalid mode", vol:writefile("f", "x", mode))
        end
        fails(errors.INVALID, "`mode` must be a string", vol:writefile("f", "x", 5))
        fails(errors.INVALID, "`data` must be a string, got table", vol:writefile("f", {}))
        assert(not vol:exists("f"))
    "#);
    assert_eq!(std::fs::read(root.path().join("data/config.json")).unwrap(), b"newer\0\xff");
}

#[test]
fn paths() {
    run(r#"
        vol:mkdir("a") vol:writefile("a/f", "x")
        assert(vol:exists("/a/f") == true and vol:exists("a//./../a/f") == true and vol:exists("/b") == false)
        local below, err = vol:exists("a/f/g")
        assert(below == false and err == nil and vol:isdir("a/f/g") == false)
        assert(vol:isdir("a") == true and vol:isdir("a/f") == false and vol:isdir("none") == false and vol:isdir("/"))
        local info, err = vol:stat("/a/f")
        assert(err == nil and info.name == "f" and info.size == 1 and info.is_dir == false and info.type == fs.type.FILE)
        assert(info.mode & 0x180 == 0x180 and math.abs(info.modified - os.time()) < 5)
        info = vol:stat("a") assert(info.is_dir == true and info.type == fs.type.DIR and info.name == "a")
        assert(vol:stat("/").name == "/")
        fails(errors.NOT_FOUND, "not found", vol:stat("none"))
        for _, name in ipairs({"readfile", "exists", "stat", "isdir", "mkdir", "remove", "readdir", "open", "chdir", "writefile"}) do
            fails(errors.INVALID, "the path is empty", vol[name](vol, "", "x"))
            fails(errors.INVALID, "zero byte", vol[name](vol, "a\0b", "x"))
            fails(errors.INVALID, "`path` must be a string, got no value", vol[name](vol))
            fails(errors.INVALID, "more than 4095 bytes", vol[name](vol, ("x/"):rep(3000), "x"))
        end
        fails(errors.INVALID, "no valid path", vol:stat(("x"):rep(300)))
    "#);
}

#[test]
fn nothing_leads_out_of_a_volume() {
    let root = crate::support::temporary_folder();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(root.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", data.join("link")).unwrap();
    std::os::unix::fs::symlink("..", data.join("up")).unwrap();
    std::os::unix::fs::symlink(root.path(), data.join("absolute")).unwrap();
    let source = r#"
        local vol = fs.get("data")
        for _, path in ipairs({"../secret", "/../secret", "x/../../secret", "ABSOLUTE"}) do
            fails(errors.NOT_FOUND, "not found", vol:readfile(path))
        end
        for _, path in ipairs({"link", "up/secret", "absolute/secret"}) do
            local text = "permission denied: a link leads out"
            fails(errors.PERMISSION_DENIED, text, vol:readfile(path))
            fails(errors.PERMISSION_DENIED, text, vol:writefile(path, "changed"))
            fails(errors.PERMISSION_DENIED, text, vol:open(path, "a"))
            fails(errors.PERMISSION_DENIED, text, vol:stat(path))
            fails(errors.PERMISSION_DENIED, text, vol:exists(path))
        end
        for _, path in ipairs({"up", "absolute"}) do
            fails(errors.PERMISSION_DENIED, "permission denied", vol:readdir(path))
            fails(errors.PERMISSION_DENIED, "permission denied", vol:chdir(path))
            fails(errors.PERMISSION_DENIED, "permission denied", vol:mkdir(path .. "/made"))
            fails(errors.PERMISSION_DENIED, "permission denied", vol:remove(path .. "/secret"))
            fails(errors.PERMISSION_DENIED, "permission denied", vol:writefile(path .. "/made", "x", "wx"))
        end
        assert(listed(vol, "/") == "absolute:file link:file up:file")
        vol:chdir("..") assert(vol:pwd() == "/")
    "#;
    run_in(root.path(), &source.replace("ABSOLUTE", root.path().join("secret").to_str().unwrap()));
    assert_eq!(std::fs::read_to_string(root.path().join("secret")).unwrap(), "secret");
    assert!(!root.path().join("made").exists());
}

#[test]
fn folders() {
    run(r#"
        assert(vol:mkdir("/uploads") == true and vol:mkdir("uploads/1") == true)
        fails(errors.ALREADY_EXISTS, "already exists", vol:mkdir("uploads"))
        fails(errors.ALREADY_EXISTS, "already exists", vol:mkdir("/"))
        fails(errors.NOT_FOUND, "not found", vol:mkdir("no/where"))
        vol:writefile("uploads/b", "") vol:writefile("uploads/a", "")
        assert(listed(vol, "/uploads") == "1:directory a:file b:file" and listed(vol, "uploads/1") == "")
        fails(errors.NOT_FOUND, "not found", vol:readdir("none"))
        fails(errors.INVALID, "not a directory", vol:readdir("uploads/a"))
        fails(errors.CONFLICT, "the directory is not empty", vol:remove("uploads"))
        assert(vol:remove("uploads/a") == true and vol:remove("uploads/1") == true)
        fails(errors.NOT_FOUND, "not found", vol:remove("uploads/a"))
        fails(errors.INVALID, "no valid path", vol:remove("/"))
        assert(listed(vol, "uploads") == "b:file")
        local ok, err = vol:chdir("uploads")
        assert(ok == true and err == nil and vol:pwd() == "/uploads" and vol:exists("b"))
        assert(listed(vol, ".") == "b:file" and vol:readfile("../uploads/b") == "" and vol:exists("/uploads/b"))
        fails(errors.INVALID, "not a directory", vol:chdir("b"))
        fails(errors.NOT_FOUND, "not found", vol:chdir("none"))
        vol:chdir("..") assert(vol:pwd() == "/" and select(2, vol:pwd()) == nil)
        -- Each volume has its own.
        vol:chdir("uploads") assert(fs.get("data"):pwd() == "/")
    "#);
}

#[test]
fn streams() {
    run(r#"
        local file, err = vol:open("/f", "w")
        assert(err == nil and file:write("Header\n") == 7 and file:write("Data") == 4)
        assert(file:sync() == true and file:flush() == true)
        local info = file:stat()
        assert(info.name == "f" and info.size == 11 and info.type == "file" and info.is_dir == false)
        fails(errors.INTERNAL, "not opened for that", file:read())
        assert(file:close() == true and file:close() == true)
        local file = vol:open("/f", "r")
        assert(file:read(6) == "Header" and file:read() == "\nData")
        local none, err = file:read()
        assert(none == nil and err == nil)
        assert(file:seek("set", 2) == 2 and file:read(2) == "ad" and file:seek("cur", -2) == 2 and file:seek("cur") == 2)
        assert(file:seek("end", -4) == 7 and file:read(100) == "Data" and file:seek("end") == 11)
        assert(file:seek("set", 0) == 0 and file:read(0) == "Header\nData")
        fails(errors.INVALID, "invalid whence `up`", file:seek("up", 1))
        fails(errors.INVALID, "before the start", file:seek("set", -1))
        fails(errors.INVALID, "no valid path here", file:seek("cur", -100))
        fails(errors.INVALID, "`offset` must be an integer", file:seek("set", "x"))
        fails(errors.INVALID, "`whence` must be a string", file:seek())
        fails(errors.INVALID, "`size` must be an integer", file:read("x"))
        fails(errors.INTERNAL, "not opened for that", file:write("x"))
        fails(errors.INVALID, "`data` must be a string", file:write(5))
        file:close()
        for name, argument in pairs({read = 1, write = "x", seek = "set", stat = 0, sync = 0, flush = 0}) do
            fails(errors.INVALID, "`/f`: the file is closed", file[name](file, argument))
        end
        local file = vol:open("f", "a") file:write("!") file:close()
        assert(vol:readfile("f") == "Header\nData!")
        fails(errors.ALREADY_EXISTS, "already exists", vol:open("f", "wx"))
        vol:open("g", "wx"):close() assert(vol:readfile("g") == "")
        fails(errors.NOT_FOUND, "not found", vol:open("none"))
        fails(errors.NOT_FOUND, "not found", vol:open("none", "r"))
        fails(errors.INVALID, "invalid mode `rw`", vol:open("f", "rw"))
        fails(errors.INVALID, "is a directory", vol:open("/", "r"))
        assert(not pcall(file.read, vol))
    "#);
}

#[test]
fn scanners() {
    run(r#"
        vol:writefile("f", "id,name\r\n1,a\n\n2,bé")
        local function tokens(split, ...)
            local file = vol:open("f", "r")
            local scanner, err = file:scanner(split, ...)
            assert(err == nil and scanner:text() == "" and scanner:err() == nil)
            local all = {}
            while scanner:scan() do all[#all + 1] = scanner:text() end
            local more, err = scanner:scan()
            assert(more == false and err == nil and scanner:text() == "" and scanner:err() == nil)
            file:close()
            return table.concat(all, "|")
        end
        assert(tokens("lines") == "id,name|1,a||2,bé" and tokens() == tokens("lines"))
        assert(tokens("words") == "id,name|1,a|2,bé")
        assert(tokens("runes"):sub(-8) == "2|,|b|é" and #tokens("bytes") == 2 * 19 - 1)
        local file = vol:open("f", "r")
        fails(errors.INVALID, "invalid split `x`", file:scanner("x"))
        fails(errors.INVALID, "`split` must be a string", file:scanner(5))
        local scanner = file:scanner("lines")
        scanner:scan() file:close()
        -- What was read is still there; then the file is missed.
        assert(scanner:scan() and scanner:text() == "1,a")
        scanner:scan()
        local more, err = scanner:scan()
        assert(more == false and errors.is(err, errors.INVALID) and scanner:err():find("closed"))
        local big = {} for i = 1, 20000 do big[i] = "line " .. i end
        vol:writefile("f", table.concat(big, "\n"))
        local lines = tokens("lines")
        assert(lines == table.concat(big, "|"))
    "#);
}

#[test]
fn limits() {
    let root = run(r#"
        vol:writefile("long", ("x"):rep(300 * 1024) .. "\ny")
        local file = vol:open("long", "r")
        local scanner = file:scanner()
        local more, err = scanner:scan()
        assert(more == false and errors.is(err, errors.INTERNAL) and err:message():find("more than 262144 bytes"))
        assert(scanner:scan() == false and scanner:text() == "")
        assert(#file:read(1 << 40) <= 16 << 20)
        file:close()
        -- Forgotten files are closed when they are collected, others have to be.
        for i = 1, 1000 do assert(vol:open("long", "r")) end
        local kept = {}
        for i = 1, 100 do
            local file, err = vol:open("long", "r")
            if not file then
                assert(errors.is(err, errors.UNAVAILABLE) and err:retryable() == true and #kept >= 50)
                break
            end
            kept[i] = file
        end
        fails(errors.UNAVAILABLE, "64 volumes, files and scanners are open", fs.get("data"))
        fails(errors.UNAVAILABLE, "64 volumes, files and scanners are open", kept[1]:scanner())
        for _, file in ipairs(kept) do file:close() end
        assert(vol:open("long"))
    "#);
    let huge = std::fs::File::create(root.path().join("data/huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.path().join("data/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    run_in(
        root.path(),
        r#"
        local vol = fs.get("data")
        fails(errors.INVALID, "more than 67108864 bytes", vol:readfile("huge"))
        local file = vol:open("huge")
        assert(file:seek("end", -3) == (1 << 40) - 3 and file:read() == "\0\0\0")
        for _, mode in ipairs({"r", "w", "a"}) do
            fails(errors.INVALID, "not a regular file", vol:open("fifo", mode))
        end
        fails(errors.INVALID, "not a regular file", vol:readfile("fifo"))
        assert(vol:stat("huge").size == 1 << 40)
    "#,
    );
}

#[test]
fn a_mode_restricts() {
    run(r#"
        vol:writefile("f", "x")
        local frozen = fs.get("frozen")
        assert(frozen:readfile("f") == "x" and listed(frozen, "/") == "f:file")
        for _, mode in ipairs({"w", "a", "wx"}) do
            fails(errors.PERMISSION_DENIED, "permission denied", frozen:writefile("g", "x", mode))
            fails(errors.PERMISSION_DENIED, "permission denied", frozen:open("g", mode))
        end
        fails(errors.PERMISSION_DENIED, "permission denied", frozen:mkdir("d"))
        fails(errors.PERMISSION_DENIED, "permission denied", frozen:remove("f"))
    "#);
}

#[test]
fn embedded_files() {
    run(r#"
        local vol, err = fs.get("app:assets")
        assert(err == nil and vol:readfile("/index.html") == "<html>\nline" and vol:readfile("none") == "")
        assert(listed(vol, "/") == "css:directory css-more:directory index.html:file none:file")
        assert(listed(vol, "css") == "site.css:file")
        assert(vol:exists("css/site.css") and vol:exists("css") and not vol:exists("cs") and not vol:exists("other"))
        assert(vol:isdir("css") == true and vol:isdir("none") == false and vol:isdir("/") == true)
        local info = vol:stat("css/site.css")
        assert(info.size == 7 and info.name == "site.css" and info.type == "file" and info.mode == 0x124)
        assert(vol:stat("css").is_dir and vol:chdir("css") and vol:readfile("site.css") == "body {}")
        local file = vol:open("/index.html", "r")
        assert(file:seek("set", 7) == 7 and file:read() == "line" and file:stat().size == 11)
        local scanner = vol:open("/index.html"):scanner()
        assert(scanner:scan() and scanner:text() == "<html>")
        fails(errors.NOT_FOUND, "not found", vol:readfile("/nothing"))
        fails(errors.NOT_FOUND, "not found", vol:readdir("/nothing"))
        fails(errors.NOT_FOUND, "not found", vol:readfile("../../../manifest.json"))
        fails(errors.NOT_FOUND, "not found", vol:readfile("/\xff"))
        fails(errors.INVALID, "is a directory", vol:readfile("/css"))
        fails(errors.INVALID, "not a directory", vol:readdir("/none"))
        for _, mode in ipairs({"w", "a", "wx"}) do
            fails(errors.PERMISSION_DENIED, "read-only", vol:writefile("/new", "x", mode))
            fails(errors.PERMISSION_DENIED, "read-only", vol:open("/new", mode))
        end
        fails(errors.PERMISSION_DENIED, "read-only", vol:mkdir("/d"))
        fails(errors.PERMISSION_DENIED, "read-only", vol:remove("/index.html"))
        local empty = fs.get("app:empty")
        assert(listed(empty, "/") == "" and not empty:exists("x"))
    "#);
}

#[test]
fn a_damaged_embedded_file_is_refused() {
    let root = crate::support::temporary_folder();
    let path = format!("fs/app:assets/{}/file", "0".repeat(64));
    let harness = Harness::new()
        .module("fs", super::module)
        .root(root.path())
        .entry("app:assets", "fs.embed", json!({}), json!({}))
        .file(&path, b"right")
        .damaged(&path, b"wrong");
    let source = r#"
        local vol = fs.get("app:assets")
        fails(errors.INTERNAL, "damaged: expected digest DIGEST", vol:readfile("file"))
        fails(errors.INTERNAL, "damaged", vol:open("file"))
    "#;
    harness.run(&format!("{HELP}{}", source.replace("DIGEST", &Digest::of(b"right").to_string())));
}
