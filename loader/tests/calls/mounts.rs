//! Mounts: what a guest finds in them, and that it does not get out of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use loader::security::{Actor, Scope};
use loader::{Context, Data, ErrorKind, Fault, Loader, Options, Stdio, Val};

use super::GUEST;
use crate::outcomes::{call, expect_failure};
use crate::support::{Built, PREVIEW1_FILES, Registry, set_mode};

const DATA: &str = "- name: data\n  kind: fs.directory\n  directory: data\n";

/// Methods of the guest that tries, each under its own name, with the mounts `mounts`.
fn reach(registry: Registry, mounts: &str, methods: &[&str]) -> Registry {
    let more = format!("imports: [\"wasi:filesystem\"]\nwasi: {{mounts: [{mounts}]}}");
    methods.iter().fold(registry, |registry, method| registry.guest(method, GUEST, method, &more))
}

fn in_its_root(built: &Built) -> Loader {
    let options = Options { root: Some(built.root().to_path_buf()), ..Options::default() };
    Loader::builder().options(options).open(built).unwrap()
}

fn text(text: &str) -> Val {
    Val::String(text.into())
}

/// The outcome of a method that returns `result<string, string>` or `result<_, string>`.
async fn outcome(loader: &Loader, name: &str, args: &[&str]) -> Result<String, String> {
    let args: Vec<Val> = args.iter().map(|arg| text(arg)).collect();
    let said = |value: Option<Box<Val>>| match value.as_deref() {
        Some(Val::String(text)) => text.clone(),
        None => String::new(),
        other => panic!("{other:?}"),
    };
    match call(loader, name, &args).await {
        Ok(Some(Val::Result(Ok(value)))) => Ok(said(value)),
        Ok(Some(Val::Result(Err(value)))) => Err(said(value)),
        other => panic!("{name}: {other:?}"),
    }
}

const ALL: &[&str] =
    &["mounts", "read", "write", "link", "hard-link", "rename", "remove", "make-dir", "touch"];

#[tokio::test]
async fn a_guest_reads_and_writes_below_its_mount() {
    let built = reach(Registry::new().entries(DATA), "{fs: data, guest: /space}", ALL)
        .file("data/in/file", "content")
        .build();
    let loader = in_its_root(&built);
    assert_eq!(call(&loader, "mounts", &[]).await, Ok(Some(Val::List(vec![text("/space")]))));
    assert_eq!(outcome(&loader, "read", &["in/file"]).await, Ok("content".into()));
    assert_eq!(outcome(&loader, "make-dir", &["out"]).await, Ok(String::new()));
    assert_eq!(outcome(&loader, "write", &["out/new", "text"]).await, Ok(String::new()));
    assert_eq!(outcome(&loader, "rename", &["out/new", "renamed"]).await, Ok(String::new()));
    assert_eq!(outcome(&loader, "hard-link", &["renamed", "again"]).await, Ok(String::new()));
    assert_eq!(outcome(&loader, "remove", &["renamed"]).await, Ok(String::new()));
    assert_eq!(outcome(&loader, "link", &["again", "link"]).await, Ok(String::new()));
    assert_eq!(outcome(&loader, "read", &["link"]).await, Ok("text".into()));
    assert_eq!(fs::read_to_string(built.root().join("data/again")).unwrap(), "text");
}

/// By `..`, by an absolute path, by links that were there and links that the guest made itself.
#[tokio::test]
async fn no_path_leaves_the_mount() {
    let built = reach(Registry::new().entries(DATA), "{fs: data, guest: /}", ALL)
        .file("data/in/file", "content")
        .file("secret", "hush")
        .build();
    let data = built.root().join("data");
    symlink("../secret", data.join("relative")).unwrap();
    symlink(built.root().join("secret"), data.join("absolute")).unwrap();
    symlink("..", data.join("up")).unwrap();
    symlink("../../secret", data.join("in/deep")).unwrap();
    symlink("/proc/self/root", data.join("magic")).unwrap();
    let loader = in_its_root(&built);
    let absolute = built.root().join("secret").to_str().unwrap().to_owned();
    let paths = ["../secret", "in/../../secret", "relative", "absolute", "up/secret", "in/deep", &absolute];
    for path in paths {
        for (method, args) in [("read", vec![path]), ("write", vec![path, "gone"])] {
            let error = outcome(&loader, method, &args).await.unwrap_err();
            assert_eq!(error, "not-permitted", "{method} {path}");
        }
    }
    for (method, args) in [
        ("read", vec!["magic/etc/passwd"]),
        ("link", vec![absolute.as_str(), "own-absolute"]),
        ("hard-link", vec!["../secret", "own-hard"]),
        ("hard-link", vec!["in/file", "../own-hard"]),
        ("rename", vec!["../secret", "own"]),
        ("rename", vec!["in/file", "up/own"]),
        ("remove", vec!["up/secret"]),
        ("make-dir", vec!["../own-dir"]),
        ("touch", vec!["relative"]),
    ] {
        assert!(outcome(&loader, method, &args).await.is_err(), "{method} {args:?}");
    }
    // A guest may make such a link, and gains nothing by it.
    for target in ["../secret", "in/../../secret"] {
        if outcome(&loader, "link", &[target, "own-link"]).await.is_ok() {
            assert!(outcome(&loader, "read", &["own-link"]).await.is_err(), "{target}");
            assert!(outcome(&loader, "write", &["own-link", "gone"]).await.is_err(), "{target}");
            fs::remove_file(data.join("own-link")).unwrap();
        }
    }
    assert_eq!(fs::read_to_string(built.root().join("secret")).unwrap(), "hush");
    assert!(!built.root().join("own-dir").exists() && !built.root().join("own-hard").exists());
    // The guest still works where it may.
    assert_eq!(outcome(&loader, "read", &["in/../in/file"]).await, Ok("content".into()));
}

/// `read_only`, a volume's `mode` without the right to write, and folders of the bundle.
#[tokio::test]
async fn a_read_only_mount_refuses_every_change() {
    let closed = "- name: closed\n  kind: fs.directory\n  directory: data\n  mode: \"0555\"\n";
    let embedded = "- name: embedded\n  kind: fs.embed\n  directory: data\n";
    for (entry, mount) in [
        (DATA, "{fs: data, guest: /space, read_only: true}"),
        (closed, "{fs: closed, guest: /space}"),
        (embedded, "{fs: embedded, guest: /space}"),
        (embedded, "{fs: embedded, guest: /space, read_only: false}"),
    ] {
        let built = reach(Registry::new().entries(entry), mount, ALL)
            .file("data/file", "content")
            .file("data/other/file", "more")
            .build();
        let loader = in_its_root(&built);
        assert_eq!(outcome(&loader, "read", &["file"]).await, Ok("content".into()), "{mount}");
        assert_eq!(outcome(&loader, "read", &["other/file"]).await, Ok("more".into()), "{mount}");
        for (method, args) in [
            ("write", vec!["file", "gone"]),
            ("write", vec!["new", "gone"]),
            ("link", vec!["file", "link"]),
            ("hard-link", vec!["file", "hard"]),
            ("rename", vec!["file", "renamed"]),
            ("remove", vec!["file"]),
            ("make-dir", vec!["folder"]),
            ("touch", vec!["file"]),
        ] {
            let error = outcome(&loader, method, &args).await.unwrap_err();
            assert!(matches!(error.as_str(), "not-permitted" | "read-only"), "{mount} {method}: {error}");
        }
        assert_eq!(outcome(&loader, "read", &["file"]).await, Ok("content".into()), "{mount}");
    }
}

/// A program of preview 1 gets the same through the adapter.
#[tokio::test]
async fn preview_1_modules_are_held_in_their_mounts() {
    let wit = "wit: |\n  first-byte: func(path: string) -> s32;\n  create: func(path: string) -> s32;\n  \
               link-to: func(target: string, path: string) -> s32;";
    let methods = ["first-byte", "create", "link-to"];
    let guests = |registry: Registry, prefix: &str, mount: &str| {
        let more = format!("{wit}\nimports: [wasi1]\nwasi: {{mounts: [{mount}]}}");
        methods.iter().fold(registry, |registry, method| {
            registry.guest(&format!("{prefix}{method}"), PREVIEW1_FILES, method, &more)
        })
    };
    let registry = guests(Registry::new().entries(DATA), "", "{fs: data, guest: /space}");
    let built = guests(registry, "ro-", "{fs: data, guest: /space, read_only: true}")
        .file("data/file", "content")
        .file("secret", "hush")
        .build();
    symlink("../secret", built.root().join("data/relative")).unwrap();
    let loader = in_its_root(&built);
    let run = async |name: &str, args: &[&str]| {
        let args: Vec<Val> = args.iter().map(|arg| text(arg)).collect();
        match call(&loader, name, &args).await {
            Ok(Some(Val::S32(number))) => number,
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(run("first-byte", &["/space/file"]).await, i32::from(b'c'));
    assert_eq!(run("create", &["/space/new"]).await, 0);
    assert_eq!(fs::read_to_string(built.root().join("data/new")).unwrap(), "made");
    for path in ["/space/../secret", "/space/relative", "/secret", "/etc/passwd"] {
        assert!(run("first-byte", &[path]).await < 0, "{path}");
        assert!(run("create", &[path]).await < 0, "{path}");
    }
    assert!(run("link-to", &["/etc/passwd", "/space/own"]).await < 0);
    assert_eq!(run("ro-first-byte", &["/space/file"]).await, i32::from(b'c'));
    assert!(run("ro-create", &["/space/file"]).await < 0);
    assert!(run("ro-create", &["/space/newer"]).await < 0);
    assert_eq!(fs::read_to_string(built.root().join("secret")).unwrap(), "hush");
}

/// A mount is a use of the file system: the scope must allow it, whoever calls.
#[tokio::test]
async fn a_mount_needs_the_scope_to_allow_it() {
    let policy = "- name: reads\n  kind: security.policy\n  policy: {actions: fs.get, resources: \"app:data\", \
                  effect: allow}\n- name: other\n  kind: security.policy\n  policy: {actions: fs.get, \
                  resources: \"app:files\", effect: allow}\n";
    let registry = Registry::new().entries(DATA).entries(policy);
    let preview1 = "wit: \"first-byte: func(path: string) -> s32;\"\nimports: [wasi1]\n\
                    wasi: {mounts: [{fs: data, guest: /space}]}";
    let built = reach(registry, "{fs: data, guest: /space}", &["read"])
        .guest("first-byte", PREVIEW1_FILES, "first-byte", preview1)
        .file("data/file", "content")
        .build();
    let loader = in_its_root(&built);
    let with = |policy: &str| {
        let scope: Scope = [loader.policy(&policy.parse().unwrap()).unwrap()].into_iter().collect();
        let actor = Actor::new("ann", Data::Nil).unwrap();
        Context::default().with_actor(Some(Arc::new(actor))).with_scope(Some(Arc::new(scope)))
    };
    let args = [text("file")];
    let read = loader.call_with_streams("app:read", &args, with("app:reads"), Stdio::Log).await;
    assert_eq!(read, Ok(Some(Val::Result(Ok(Some(Box::new(text("content"))))))));
    let error = loader.call_with_streams("app:read", &args, with("app:other"), Stdio::Log).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.message(), "actor `ann` may not `fs.get` on `app:data`");
    // Programs for preview 1 are held to it as well.
    let args = [text("/space/file")];
    let first = loader.call_with_streams("app:first-byte", &args, with("app:reads"), Stdio::Log).await;
    assert_eq!(first, Ok(Some(Val::S32(i32::from(b'c')))));
    let error =
        loader.call_with_streams("app:first-byte", &args, with("app:other"), Stdio::Log).await.unwrap_err();
    assert_eq!(error.message(), "actor `ann` may not `fs.get` on `app:data`");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_made_or_named() {
    let made =
        "- name: made\n  kind: fs.directory\n  directory: some/where\n  auto_init: true\n  mode: \"0700\"\n";
    let registry = Registry::new().entries(DATA).entries(made);
    let registry = reach(registry, "{fs: data, guest: /space}", &["read"]);
    let built = reach(registry, "{fs: made, guest: /space}", &["write"]).build();
    let loader = in_its_root(&built);
    let data = built.root().join("data");
    let reason = format!("needs the folder `{}` of `app:data`, which is not there", data.display());
    let listed = || loader.entries().unwrap().into_iter().find(|entry| entry.id.name() == "read").unwrap();
    assert_eq!(listed().unavailable.as_deref(), Some(reason.as_str()));
    let faults = loader.verify().unwrap().faults;
    let problem = reason.clone();
    assert_eq!(
        faults,
        [Fault::Entry { id: "app:read".parse().unwrap(), kind: ErrorKind::Unavailable, problem }]
    );
    // Neither a listing nor a check makes a folder.
    assert!(!built.root().join("some").exists());
    let message = format!("`app:read` is not available: {reason}");
    expect_failure(&loader, "read", &[text("file")], ErrorKind::Unavailable, &message).await;

    assert_eq!(outcome(&loader, "write", &["file", "text"]).await, Ok(String::new()));
    assert_eq!(fs::read_to_string(built.root().join("some/where/file")).unwrap(), "text");

    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "there").unwrap();
    assert_eq!(listed().unavailable, None);
    assert_eq!(outcome(&loader, "read", &["file"]).await, Ok("there".into()));
}

/// What makes its reader wait is not opened: neither a thread nor a call hangs on it.
#[tokio::test]
async fn only_files_and_folders_are_opened() {
    let registry = reach(Registry::new().entries(DATA), "{fs: data, guest: /space}", &["read", "write"]);
    let preview1 = "wit: \"first-byte: func(path: string) -> s32;\"\nimports: [wasi1]\n\
                    wasi: {mounts: [{fs: data, guest: /space}]}";
    let built = registry
        .guest("first-byte", PREVIEW1_FILES, "first-byte", preview1)
        .file("data/file", "content")
        .build();
    let data = built.root().join("data");
    let made = std::process::Command::new("mkfifo").arg(data.join("fifo")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap();
    symlink("fifo", data.join("link")).unwrap();
    let loader = in_its_root(&built);
    for name in ["fifo", "link", "socket"] {
        assert_eq!(outcome(&loader, "read", &[name]).await, Err("not-permitted".into()), "{name}");
        assert_eq!(outcome(&loader, "write", &[name, "x"]).await, Err("not-permitted".into()), "{name}");
        let path = [text(&format!("/space/{name}"))];
        assert!(matches!(call(&loader, "first-byte", &path).await, Ok(Some(Val::S32(..0)))), "{name}");
    }
    assert_eq!(outcome(&loader, "read", &["file"]).await, Ok("content".into()));
}

/// What travels in the bundle is checked before a guest sees it.
#[tokio::test]
async fn a_damaged_file_of_the_bundle_is_not_mounted() {
    let embedded = "- name: embedded\n  kind: fs.embed\n  directory: data\n";
    let built = reach(Registry::new().entries(embedded), "{fs: embedded, guest: /space}", &["read"])
        .file("data/file", "content")
        .build();
    let path = built.body().head.files.keys().find(|path| path.ends_with("/file")).unwrap().clone();
    set_mode(&built.join(&path), 0o644);
    fs::write(built.join(&path), "other").unwrap();
    let loader = in_its_root(&built);
    for _ in 0..2 {
        let (kind, message) = crate::outcomes::failure(&loader, "read", &[text("file")]).await;
        assert_eq!(kind, ErrorKind::Internal);
        assert!(message.contains(&format!("the bundle's file `{path}` is damaged")), "{message}");
    }
}
