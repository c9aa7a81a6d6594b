//! The `loader` binary: what it prints where, and its exit codes: 0 done, 1 the call or the check failed, 2 bad
//! usage, 3 the bundle can't be used.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use registry_schema::manifest::MANIFEST_FILE;
use support::{Built, ECHO, Registry, WASI_IMPORTS};

/// Exit code, stdout and stderr.
type Outcome = (Option<i32>, String, String);

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_loader"))
}

fn run(args: &[&str]) -> Outcome {
    support::outcome(&command().args(args).output().expect("the loader starts"))
}

/// Runs a command on a bundle.
fn on(built: &Built, args: &[&str]) -> Outcome {
    support::outcome(&command().arg("--bundle").arg(built.as_ref()).args(args).output().expect("it starts"))
}

fn done(stdout: &str) -> Outcome {
    (Some(0), stdout.to_owned(), String::new())
}

fn failed(code: i32, stderr: &str) -> Outcome {
    (Some(code), String::new(), stderr.to_owned())
}

fn subtract(registry: Registry) -> Registry {
    let source = "(module (func (export \"sub\") (param i32 i32) (result i32)
      (i32.sub (local.get 0) (local.get 1))))";
    registry.wat("sub", source, "wit: \"sub: func(a: s32, b: s32) -> s32\"\nmethod: sub")
}

#[test]
fn help_and_version_go_to_stdout() {
    let built = Registry::new().answer("answer", 42).build();
    let (code, help, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        help.starts_with("Runs a bundle of precompiled WebAssembly components and Lua.\n\nUsage: loader "),
        "{help}"
    );
    for word in ["list", "call ID", "--json", "verify", "--bundle DIR", "--seal", "--root DIR", "Exit codes:"]
    {
        assert!(help.contains(word), "{word} in\n{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    // Wherever it stands, and whatever the rest would do.
    let places: [&[&str]; 5] = [
        &["-h"],
        &["list", "--help"],
        &["verify", "-h"],
        &["call", "--help"],
        &["--bundle", "gone", "--help"],
    ];
    for args in places {
        assert_eq!(run(args), done(&help), "{args:?}");
    }
    // After the id everything is an argument.
    assert_eq!(on(&built, &["call", "app:answer", "--help"]).0, Some(1));

    let version = format!("loader {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        assert_eq!(run(&[flag]), done(&version));
    }
}

#[test]
fn bad_usage_is_said_before_anything_is_opened() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "a command is missing"),
        (&["--seal"], "a command is missing"),
        (&["fly"], "unknown command `fly`"),
        (&["list", "--fly"], "invalid option '--fly'"),
        (&["list", "app:answer"], "unexpected argument \"app:answer\""),
        (&["--bundle"], "missing argument for option '--bundle'"),
        (&["call"], "`call` needs an id"),
        (&["call", "app:answer", "--json"], "`--json` takes one array: `--json '[1, \"two\"]'`"),
        (&["call", "app:answer", "--json", "[]", "1"], "`--json` takes one array: `--json '[1, \"two\"]'`"),
    ];
    for (args, problem) in cases {
        assert_eq!(run(args), failed(2, &format!("error: {problem}\nsee `loader --help`\n")), "{args:?}");
    }
    let output = command().arg("call").arg("a:b").arg(OsStr::from_bytes(b"\xff")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_bundle_that_can_not_be_used() {
    let built = Registry::new().answer("answer", 42).build();
    let manifest = built.join(MANIFEST_FILE);
    let good = built.manifest();
    built.replace_manifest(&support::text(&good).replace("answer", "anwser").into_bytes());
    for command in [&["list"][..], &["verify"], &["call", "app:answer"]] {
        let (code, stdout, stderr) = on(&built, command);
        assert_eq!((code, stdout.as_str()), (Some(3), ""));
        assert!(stderr.starts_with("error: the manifest was changed: it says blake3:"), "{stderr}");
    }
    std::fs::remove_file(&manifest).unwrap();
    let expected = format!(
        "error: can't read `{}`: No such file or directory (os error 2)\n\
         build the bundle first: `compiler build`, or name another with `--bundle DIR`\n",
        manifest.display()
    );
    assert_eq!(on(&built, &["list"]), failed(3, &expected));
}

/// A registry with entries of every fate.
fn mixed() -> Built {
    subtract(Registry::new())
        .guest("echo", ECHO, "echo-record", "")
        .guest("fail", ECHO, "fail", "")
        .guest("nothing", ECHO, "nothing", "")
        .guest("print", WASI_IMPORTS, "print", "imports: [\"wasi:cli\"]")
        .guest("sockets", WASI_IMPORTS, "dirs", "imports: [socket]")
        .wat(
            "trap",
            "(module (func $inner unreachable) (func $run (export \"run\") (call $inner)))",
            "wit: \"run: func()\"\nmethod: run",
        )
        .entries("- name: data\n  kind: registry.entry\n")
        .build()
}

#[test]
fn list_shows_signatures_and_what_is_not_offered() {
    let expected = "\
app:echo     func(v: outer) -> outer
app:fail     func(v: inner) -> result<u32, inner>
app:nothing  func()
app:print    func(line: string)
app:sockets  unavailable: needs the `socket` host
app:sub      func(a: s32, b: s32) -> s32
app:trap     func()
";
    assert_eq!(on(&mixed(), &["list"]), done(expected));
}

#[test]
fn calls_in_wave() {
    let built = mixed();
    assert_eq!(on(&built, &["call", "app:sub", "40", "-2"]), done("42\n"));
    // A negative number comes first: after the id nothing is an option.
    assert_eq!(on(&built, &["call", "app:sub", "-7", "3"]), done("-10\n"));
    assert_eq!(on(&built, &["call", "app:sub", "--", "-7", "3"]), done("-10\n"));
    assert_eq!(on(&built, &["call", "app:nothing"]), done(""));
    let record = r#"{id: 1, inner: {name: "n", score: 0.5}, tags: ["a"], pair: (-1, 'c')}"#;
    assert_eq!(on(&built, &["call", "app:echo", record]), done(&format!("{record}\n")));
}

#[test]
fn calls_in_json_print_the_value_and_nothing_else() {
    let built = mixed();
    assert_eq!(on(&built, &["call", "app:sub", "--json", "[40, -2]"]), done("42\n"));
    assert_eq!(on(&built, &["call", "app:nothing", "--json", "[]"]), done("null\n"));
    let record = r#"{"id":1,"inner":{"name":"n","score":0.5},"tags":["a"],"note":"x","pair":[-1,"c"]}"#;
    assert_eq!(
        on(&built, &["call", "app:echo", "--json", &format!("[{record}]")]),
        done(&format!("{record}\n"))
    );
}

/// The callee returned, whatever it returned.
#[test]
fn an_error_that_is_returned_is_a_result() {
    let built = mixed();
    let expected = done("err({name: \"n\", score: 1})\n");
    assert_eq!(on(&built, &["call", "app:fail", "{name: \"n\", score: 1}"]), expected);
    let expected = done("{\"err\":{\"name\":\"n\",\"score\":1.0}}\n");
    assert_eq!(on(&built, &["call", "app:fail", "--json", "[{\"name\": \"n\", \"score\": 1}]"]), expected);
}

#[test]
fn calls_that_fail() {
    let built = mixed();
    let cases: [(&[&str], &str); 10] = [
        (&["app:gone"], "NOT_FOUND: no entry `app:gone` in this bundle"),
        (&["gone"], "INVALID: invalid function target: `gone` is no valid id: expected `namespace:name`"),
        (&["app:data"], "UNAVAILABLE: `app:data` is a `registry.entry`, which can't be called"),
        (&["app:sockets"], "UNAVAILABLE: `app:sockets` is not available: needs the `socket` host"),
        (&["app:sub", "1"], "INVALID: `app:sub` takes 2 arguments: a, b; 1 were given"),
        (&["app:nothing", "1"], "INVALID: `app:nothing` takes 0 arguments; 1 were given"),
        (&["app:sub", "1", "2147483648"], "INVALID: b: `2147483648` is out of range of s32"),
        (&["app:sub", "--json", "{}"], "INVALID: `--json` takes an array"),
        (
            &["app:sub", "--json", "[1,"],
            "INVALID: `--json` is no JSON: EOF while parsing a value at line 1 column 3",
        ),
        (&["app:sub", "--json", "[1, \"2\"]"], "INVALID: b: expected s32, found a string"),
    ];
    for (args, problem) in cases {
        let args = [&["call"], args].concat();
        assert_eq!(on(&built, &args), failed(1, &format!("error: {problem}\n")), "{args:?}");
    }
    let trap = "error: INTERNAL: `app:trap` failed in `run`: wasm trap: wasm `unreachable` instruction executed\n  \
                0: inner\n  1: run\n";
    assert_eq!(on(&built, &["call", "app:trap"]), failed(1, trap));
}

#[test]
fn settings_are_printed_with_their_sources() {
    let built = mixed();
    let mut command = command();
    command.arg("--bundle").arg(built.as_ref()).args(["--set", "prometheus.address=a:1"]);
    command.args(["--minimum-compiler", "48.0.0", "config"]);
    command
        .env("WIPPY_LOG_FORMAT", "json")
        .env("WIPPY_ROOT", "/")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "k=s3cret")
        .env_remove("SSL_CERT_FILE");
    let (code, stdout, stderr) = support::outcome(&command.output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for (path, value, source) in [
        ("root", "\"/\"", "environment `WIPPY_ROOT`"),
        ("seal", "false", "default"),
        ("tls.ca_files", "[]", "default"),
        ("minimum-compiler", "48.0.0", "`--minimum-compiler`"),
        ("deny-list", "(unset)", "default"),
        ("logger.encoding", "\"json\"", "environment `WIPPY_LOG_FORMAT`"),
        ("prometheus.address", "\"a:1\"", "`--set`"),
        ("prometheus.enabled", "false", "default"),
        ("wasm.limits.max_memory_bytes", "268435456", "default"),
        ("otel.headers", "(hidden)", "environment `OTEL_EXPORTER_OTLP_HEADERS`"),
    ] {
        let row = stdout.lines().find(|line| line.starts_with(&format!("{path} "))).unwrap();
        let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, [path, value, source], "{stdout}");
    }
    assert!(!stdout.contains("s3cret"), "{stdout}");
}

#[test]
fn settings_that_can_not_be_used_stop_every_command() {
    let built = mixed();
    let flag = "error: setting `prometheus.adress` of `--set`: there is no such setting\nhint: did you mean \
                `prometheus.address`?\n";
    assert_eq!(on(&built, &["--set", "prometheus.adress=a:1", "list"]), failed(2, flag));
    let (code, _, stderr) = on(&built, &["--set", "prometheus", "list"]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("error: `--set prometheus`: expected SECTION.KEY=VALUE"), "{stderr}");
    let mut command = command();
    command.arg("--bundle").arg(built.as_ref()).arg("list").env("WIPPY_LOG", "loud");
    let variable = "error: setting `logger.level` of environment `WIPPY_LOG`: found `loud`, expected `debug`, \
                    `info`, `warn`, `error` or `off`, or `PREFIX=LEVEL` of these\n";
    assert_eq!(support::outcome(&command.output().unwrap()), failed(3, variable));
}

#[test]
fn general_limits_hold_where_an_entry_has_none() {
    let source = "(module (func (export \"run\") (loop $again (br $again))))";
    let built = Registry::new().wat("run", source, "wit: \"run: func()\"\nmethod: run").build();
    let expected = "error: TIMEOUT: `app:run` was ended after its limit `max_execution_ms` of 1\n";
    let args = ["--set", "wasm.limits.max_execution_ms=1", "call", "app:run"];
    assert_eq!(on(&built, &args), failed(1, expected));
}

#[test]
fn what_a_function_prints_goes_to_stderr() {
    let outcome = on(&mixed(), &["call", "app:print", "one"]);
    assert_eq!(outcome, (Some(0), String::new(), "[app:print] one\n".to_owned()));
}

#[test]
fn every_kind_of_error_is_explained() {
    use loader::ErrorKind;
    let (code, codes, _) = run(&["explain"]);
    assert_eq!(code, Some(0));
    for kind in ErrorKind::ALL {
        assert!(codes.lines().any(|line| line == kind.as_str()), "{kind}");
    }
    for code in codes.lines() {
        let (exit, text, stderr) = run(&["explain", &code.to_lowercase()]);
        assert_eq!((exit, stderr.as_str()), (Some(0), ""));
        assert!(text.starts_with(&format!("{code}\n\n")) && text.matches("\n\n").count() == 2, "{text}");
    }
    let unknown = "error: there is no code `TIMOUT`\nhint: did you mean `TIMEOUT`?\n";
    assert_eq!(run(&["explain", "TIMOUT"]), failed(2, unknown));
}

/// What is in `docs/loader-errors.md`; `BLESS=1` writes it anew.
#[test]
fn the_catalogue_is_in_the_documents() {
    let mut text =
        "# Errors of the loader\n\nWhat `loader explain CODE` prints. Written by the tests of the \
                    command line.\n"
            .to_owned();
    for code in run(&["explain"]).1.lines() {
        let explained = run(&["explain", code]).1;
        text.push_str(&format!("\n## {explained}"));
    }
    let path = support::crate_folder().join("../docs/loader-errors.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn scripts_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!((code, script.contains(" complete -- ")), (Some(0), true), "{script}");
    }
    let unknown = "error: no completions for `csh`, expected one of bash, zsh, fish\n";
    assert_eq!(run(&["completions", "csh"]), failed(2, unknown));
}

#[test]
fn a_call_shows_its_tree() {
    let (code, stdout, stderr) = on(&mixed(), &["call", "--trace", "app:sub", "3", "1"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "2\n"));
    assert!(stderr.starts_with("app:sub  ") && stderr.ends_with(" ms\n"), "{stderr}");
}

#[test]
fn the_log_is_filtered_and_written_as_json() {
    let built = mixed();
    let (code, stdout, stderr) = on(&built, &["--log-format", "json", "call", "app:print", "one"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&stderr).unwrap();
    assert!(record.remove("time").is_some());
    let expected = serde_json::json!({"level": "info", "entry": "app:print", "call": 1, "stream": "stdout", "message": "one"});
    assert_eq!(serde_json::Value::Object(record), expected);
    for level in ["warn", "off", "info,app:print=error", "app=off"] {
        assert_eq!(on(&built, &["--log-level", level, "call", "app:print", "one"]), done(""), "{level}");
    }
}

#[test]
fn a_time_limit_ends_a_call() {
    let source = "(module (func (export \"run\") (loop $again (br $again))))";
    let more = "wit: \"run: func()\"\nmethod: run\nlimits: {max_execution_ms: 1}";
    let built = Registry::new().wat("run", source, more).build();
    let expected = "error: TIMEOUT: `app:run` was ended after its limit `max_execution_ms` of 1\n";
    assert_eq!(on(&built, &["call", "app:run"]), failed(1, expected));
}

#[test]
fn options_stand_before_or_after_the_command() {
    let built = mixed();
    let bundle = built.as_ref().to_str().unwrap();
    let forms: [&[&str]; 4] = [
        &["--bundle", bundle, "call", "app:sub", "1", "1"],
        &["call", "--bundle", bundle, "app:sub", "1", "1"],
        &["--seal", "--bundle", bundle, "call", "app:sub", "1", "1"],
        &[&format!("--bundle={bundle}"), "call", "--seal", "app:sub", "1", "1"],
    ];
    for args in forms {
        assert_eq!(run(args), done("0\n"), "{args:?}");
    }
    // `dist` in the working directory is the default.
    let output = command().current_dir(built.root()).args(["call", "app:sub", "3", "1"]).output().unwrap();
    assert_eq!(support::outcome(&output), done("2\n"));
}

#[test]
fn relative_paths_of_entries_start_from_the_root() {
    let built = Registry::new()
        .entries("- name: file\n  kind: env.storage.file\n  file_path: vars.env\n")
        .entries("- name: color\n  kind: env.variable\n  storage: file\n")
        .guest(
            "get",
            WASI_IMPORTS,
            "env-get",
            "imports: [\"wasi:cli\"]\nwasi: {env: [{id: color, name: COLOR}]}",
        )
        .file("vars.env", "color=green\n")
        .build();
    let root = built.root().to_str().unwrap();
    assert_eq!(on(&built, &["--root", root, "call", "app:get", "COLOR"]), done("some(\"green\")\n"));
    assert_eq!(on(&built, &["--root", "/nonexistent", "call", "app:get", "COLOR"]), done("none\n"));
}

#[test]
fn verify_says_what_was_checked_and_what_is_wrong() {
    let built = mixed();
    let body = built.body();
    let files = body.artifacts.len() + body.head.files.len();
    let note = "note: `app:sockets` is not offered here: needs the `socket` host\n";
    let target = body.head.targets[0];
    let good = format!("{files} files and 6 entries are good ({target})\n");
    assert_eq!(on(&built, &["verify"]), (Some(0), good, note.to_owned()));

    let artifact = built.artifact("sub").path();
    std::fs::remove_file(built.join(&artifact)).unwrap();
    let gone = "No such file or directory (os error 2)";
    let expected =
        format!("{note}error: `{artifact}`: {gone}\nerror: `app:sub`: can't load `{artifact}`: {gone}\n");
    assert_eq!(on(&built, &["verify"]), failed(1, &expected));
}

#[test]
fn a_result_that_can_not_be_written() {
    let built = Registry::new().answer("answer", 42).build();
    let mut command = command();
    command.arg("--bundle").arg(built.as_ref()).args(["call", "app:answer"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let problem = "error: can't write the result: No space left on device (os error 28)\n";
    assert_eq!(support::outcome(&output), failed(3, problem));

    // A reader that went away is no failure.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(support::outcome(&output), failed(0, ""));
}
