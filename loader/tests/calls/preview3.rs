//! What guests of WASI 0.3 find of their host.

use loader::{ErrorKind, Loader, Options, Val};

use crate::outcomes::{Kept, call, expect_failure};
use crate::support::{REACH_ASYNC as GUEST, Registry};

#[path = "mounts.rs"]
mod mounts;
#[path = "stdio.rs"]
mod stdio;

fn text(text: &str) -> Val {
    Val::String(text.into())
}

/// Asynchronous functions, functions with streams and futures, and those of resources.
#[tokio::test]
async fn an_import_that_is_not_granted_is_denied_when_it_is_called() {
    let address = || vec![text("127.0.0.1"), Val::U16(9)];
    let request = ["GET", "http", "127.0.0.1:9", "/", ""].map(text).to_vec();
    let cases = [
        ("wait", vec![Val::U64(1)], "wait-for", "wasi:clocks/monotonic-clock", "wasi:clocks"),
        ("today", vec![], "now", "wasi:clocks/system-clock", "wasi:clocks"),
        ("random", vec![], "get-random-u64", "wasi:random/random", "wasi:random"),
        ("print", vec![text("x")], "write-via-stream", "wasi:cli/stdout", "wasi:cli"),
        ("read-stdin", vec![], "read-via-stream", "wasi:cli/stdin", "wasi:cli"),
        ("exit", vec![Val::U8(1)], "exit-with-code", "wasi:cli/exit", "wasi:cli"),
        ("connect", address(), "[static]tcp-socket.create", "wasi:sockets/types", "wasi:sockets"),
        ("send", address(), "[static]udp-socket.create", "wasi:sockets/types", "wasi:sockets"),
        ("resolve", vec![text("a")], "resolve-addresses", "wasi:sockets/ip-name-lookup", "wasi:sockets"),
        ("fetch", request, "[constructor]fields", "wasi:http/types", "wasi:http"),
    ];
    let registry = cases.iter().fold(Registry::new(), |all, case| all.guest(case.0, GUEST, case.0, ""));
    let built = registry.guest("mounts", GUEST, "mounts", "").build();
    let loader = Loader::open(&built).unwrap();
    for (name, args, function, interface, token) in cases {
        let message = format!(
            "`app:{name}` called `{function}` of `{interface}@0.3.0`, which it was not granted; add `{token}` to \
             its `imports`"
        );
        for _ in 0..2 {
            expect_failure(&loader, name, &args, ErrorKind::PermissionDenied, &message).await;
            assert_eq!(call(&loader, "mounts", &[]).await, Ok(Some(Val::List(Vec::new()))));
        }
    }
}

#[tokio::test]
async fn clocks_and_random_numbers_work_when_granted() {
    let grants = "imports: [\"wasi:clocks\", \"wasi:random\"]";
    let methods = ["now", "today", "wait", "random"];
    let built =
        methods.iter().fold(Registry::new(), |all, method| all.guest(method, GUEST, method, grants)).build();
    let loader = Loader::open(&built).unwrap();
    assert!(matches!(call(&loader, "now", &[]).await, Ok(Some(Val::U64(1..)))));
    assert!(matches!(call(&loader, "today", &[]).await, Ok(Some(Val::S64(1_700_000_000..)))));
    assert_eq!(call(&loader, "wait", &[Val::U64(1)]).await, Ok(None));
    let random = async || call(&loader, "random", &[]).await.unwrap();
    assert_ne!(random().await, random().await);
}

#[tokio::test]
async fn arguments_variables_and_working_directory_are_those_of_the_entry() {
    let wasi = "imports: [\"wasi:cli\"]\nwasi:\n  args: [one, \"${NOBODY|two}\"]\n  cwd: /work\n  env:\n    \
                - {id: home, name: HOME}\n    - {id: mode, name: MODE}";
    let registry = Registry::new()
        .entries("- name: file\n  kind: env.storage.file\n  file_path: vars.env\n")
        .entries("- name: home\n  kind: env.variable\n  variable: THE_HOME\n  storage: file\n")
        .entries("- name: mode\n  kind: env.variable\n  variable: MODE\n  storage: file\n  default: plain\n")
        .file("vars.env", "THE_HOME=/home/me\nSECRET=hush\n");
    let methods = ["args", "cwd", "env"];
    let built = methods.iter().fold(registry, |all, method| all.guest(method, GUEST, method, wasi)).build();
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let some = |value: &str| Ok(Some(Val::Option(Some(Box::new(text(value))))));
    assert_eq!(call(&loader, "args", &[]).await, Ok(Some(Val::List(vec![text("one"), text("two")]))));
    assert_eq!(call(&loader, "cwd", &[]).await, some("/work"));
    assert_eq!(call(&loader, "env", &[text("HOME")]).await, some("/home/me"));
    assert_eq!(call(&loader, "env", &[text("MODE")]).await, some("plain"));
    for name in ["SECRET", "THE_HOME", "PATH"] {
        assert_eq!(call(&loader, "env", &[text(name)]).await, Ok(Some(Val::Option(None))), "{name}");
    }
}

#[tokio::test]
async fn a_guest_may_end_itself() {
    let built = Registry::new().guest("exit", GUEST, "exit", "imports: [\"wasi:cli\"]").build();
    let loader = Loader::open(&built).unwrap();
    let message = "`app:exit` ended itself with exit status 42";
    for _ in 0..2 {
        assert_eq!(call(&loader, "exit", &[Val::U8(0)]).await, Ok(None));
        expect_failure(&loader, "exit", &[Val::U8(42)], ErrorKind::Internal, message).await;
    }
}

#[tokio::test]
async fn both_outputs_go_to_the_log() {
    let cli = "imports: [\"wasi:cli\"]";
    let built = Registry::new()
        .guest("print", GUEST, "print", cli)
        .guest("print-error", GUEST, "print-error", cli)
        .build();
    let kept = Kept::default();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    for name in ["print", "print-error"] {
        assert_eq!(call(&loader, name, &[text("one\ntwo")]).await, Ok(None));
    }
    let expected =
        ["print Stdout: one", "print Stdout: two", "print-error Stderr: one", "print-error Stderr: two"];
    assert_eq!(kept.lines(), expected.map(|line| format!("app:{line}")));
}

#[tokio::test]
async fn a_folder_is_listed_as_a_stream() {
    let more = "imports: [\"wasi:filesystem\"]\nwasi: {mounts: [{fs: data, guest: /, read_only: true}]}";
    let built = Registry::new()
        .entries("- name: data\n  kind: fs.directory\n  directory: data\n")
        .guest("entries", GUEST, "entries", more)
        .file("data/b", "")
        .file("data/a/c", "")
        .build();
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let names = Val::List(vec![text("a"), text("b")]);
    assert_eq!(call(&loader, "entries", &[]).await, Ok(Some(Val::Result(Ok(Some(Box::new(names)))))));
}
