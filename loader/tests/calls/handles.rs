//! What a guest has of its host behind handles: resources, files and folders, headers. All of it is bounded, and what
//! is let go makes room again.

use std::fs;

use loader::config::{FILES_OPEN_MAX, HANDLES_MAX, HTTP_FIELDS_BYTES_MAX};
use loader::{ErrorKind, Loader, Options, Val};

use crate::outcomes::{call, failure};
use crate::support::{Built, Registry};

/// Two functions of both profiles: `keep`, which takes so many of something and keeps them all, and `pass`, which
/// lets each of them go before it takes the next. Both return how many they got, or 1,000,000 and the number of the
/// error that one of them met first.
///
/// `imports` are the component's, with core functions of their functions. `parts` says how a core module gets them,
/// `$take`, which returns 0 or an error's number and 1, and `$drop`, which lets go of what was taken last.
fn component(is_async: bool, imports: &str, instances: &str, parts: &str) -> String {
    let (lift, back, done, exports) = if is_async {
        let export = |name: &str| {
            format!(
                r#"(func (export "{name}") async (param "count" u32) (result u32)
    (canon lift (core func $instance "{name}") async (callback (func $instance "callback"))))"#
            )
        };
        (
            r#"(core func $return (canon task.return (result u32)))
  (core instance $back (export "return" (func $return)))"#,
            r#"(import "back" "return" (func $return (param i32)))"#,
            r#"(func (export "callback") (param i32 i32 i32) (result i32) unreachable)
    (func $done (param i32) (result i32) (call $return (local.get 0)) (i32.const 0))"#,
            export("keep") + &export("pass"),
        )
    } else {
        let export = |name: &str| {
            format!(
                r#"(func (export "{name}") (param "count" u32) (result u32)
    (canon lift (core func $instance "{name}")))"#
            )
        };
        ("", "", "(func $done (param i32) (result i32) (local.get 0))", export("keep") + &export("pass"))
    };
    let with_back = if is_async { r#"(with "back" (instance $back))"# } else { "" };
    format!(
        r#"(component
  {imports}
  {lift}
  (core module $module
    {back}
    {parts}
    {done}
    (func $many (param $count i32) (param $keep i32) (result i32)
      (local $at i32) (local $error i32)
      (loop $again
        (if (i32.lt_u (local.get $at) (local.get $count)) (then
          (local.set $error (call $take))
          (if (local.get $error)
            (then (return (i32.add (i32.const 999999) (local.get $error)))))
          (if (i32.eqz (local.get $keep)) (then (call $drop)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $again))))
      (local.get $at))
    (func (export "keep") (param i32) (result i32) (call $done (call $many (local.get 0) (i32.const 1))))
    (func (export "pass") (param i32) (result i32) (call $done (call $many (local.get 0) (i32.const 0)))))
  (core instance $instance (instantiate $module {with_back} {instances}))
  {exports})"#
    )
}

/// Memory for what goes to the host and comes from it.
const LIBC: &str = r#"(core module $libc (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))"#;

/// Handles of the guest's own resources.
fn own_handles(is_async: bool) -> String {
    let imports = r#"(type $own (resource (rep i32)))
  (core func $new (canon resource.new $own))
  (core func $drop (canon resource.drop $own))
  (core instance $host (export "new" (func $new)) (export "drop" (func $drop)))"#;
    let parts = r#"(import "host" "new" (func $new (param i32) (result i32)))
    (import "host" "drop" (func $drop-one (param i32)))
    (global $last (mut i32) (i32.const 0))
    (func $take (result i32) (global.set $last (call $new (i32.const 1))) (i32.const 0))
    (func $drop (call $drop-one (global.get $last)))"#;
    component(is_async, imports, r#"(with "host" (instance $host))"#, parts)
}

/// Resources of the host: handles of waits for the clock, two entries of its table each.
fn host_handles(is_async: bool) -> String {
    let imports = r#"(import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $own (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $drop (canon resource.drop $pollable))
  (core instance $host (export "subscribe" (func $subscribe)) (export "drop" (func $drop)))"#;
    let parts = r#"(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "drop" (func $drop-one (param i32)))
    (global $last (mut i32) (i32.const 0))
    (func $take (result i32) (global.set $last (call $subscribe (i64.const 1))) (i32.const 0))
    (func $drop (call $drop-one (global.get $last)))"#;
    component(is_async, imports, r#"(with "host" (instance $host))"#, parts)
}

/// Streams, which have two handles each.
fn streams() -> String {
    let imports = r#"(type $bytes (stream u8))
  (core func $new (canon stream.new $bytes))
  (core func $drop-reader (canon stream.drop-readable $bytes))
  (core func $drop-writer (canon stream.drop-writable $bytes))
  (core instance $host (export "new" (func $new))
    (export "drop-reader" (func $drop-reader)) (export "drop-writer" (func $drop-writer)))"#;
    let parts = r#"(import "host" "new" (func $new (result i64)))
    (import "host" "drop-reader" (func $drop-reader (param i32)))
    (import "host" "drop-writer" (func $drop-writer (param i32)))
    (global $last (mut i64) (i64.const 0))
    (func $take (result i32) (global.set $last (call $new)) (i32.const 0))
    (func $drop
      (call $drop-writer (i32.wrap_i64 (i64.shr_u (global.get $last) (i64.const 32))))
      (call $drop-reader (i32.wrap_i64 (global.get $last))))"#;
    component(true, imports, r#"(with "host" (instance $host))"#, parts)
}

async fn many(loader: &Loader, name: &str, count: usize) -> u32 {
    match call(loader, name, &[Val::U32(count.try_into().unwrap())]).await {
        Ok(Some(Val::U32(count))) => count,
        other => panic!("{name}: {other:?}"),
    }
}

/// `source` as `keep-NAME` and `pass-NAME`.
fn both(registry: Registry, name: &str, source: &str, more: &str) -> Registry {
    ["keep", "pass"].iter().fold(registry, |registry, method| {
        registry.wat(&format!("{method}-{name}"), source, &format!("method: {method}\n{more}"))
    })
}

#[tokio::test]
async fn handles_up_to_their_limit() {
    let clocks = "imports: [\"wasi:clocks\"]";
    let mut registry = both(Registry::new(), "streams", &streams(), "");
    for (name, is_async) in [("sync", false), ("async", true)] {
        registry = both(registry, &format!("own-{name}"), &own_handles(is_async), "");
        registry = both(registry, &format!("host-{name}"), &host_handles(is_async), clocks);
    }
    let built = registry.build();
    let loader = Loader::open(&built).unwrap();
    // How many of each are within the limit for sure, and how many are not.
    for (name, each) in
        [("own-sync", 1), ("own-async", 1), ("host-sync", 2), ("host-async", 2), ("streams", 2)]
    {
        let most = HANDLES_MAX / each;
        for _ in 0..2 {
            let (kind, message) =
                failure(&loader, &format!("keep-{name}"), &[Val::U32(most as u32 + 1)]).await;
            assert_eq!(kind, ErrorKind::Internal);
            let limit = format!("(limit of {HANDLES_MAX} handles was reached)");
            assert!(message.ends_with(&limit), "{name}: {message}");
            // The guest's task has one in the asynchronous profile.
            let fits = most - 10;
            assert_eq!(many(&loader, &format!("keep-{name}"), fits).await as usize, fits, "{name}");
            // Those that were let go don't count.
            assert_eq!(many(&loader, &format!("pass-{name}"), 3 * most).await as usize, 3 * most, "{name}");
        }
    }
    assert_eq!((loader.instances().live, loader.memory().used), (0, 0));
}

/// What may go wrong with files, as both releases name it.
const FILE_ERRORS: [&str; 36] = [
    "access",
    "already",
    "bad-descriptor",
    "busy",
    "deadlock",
    "quota",
    "exist",
    "file-too-large",
    "illegal-byte-sequence",
    "in-progress",
    "interrupted",
    "invalid",
    "io",
    "is-directory",
    "loop",
    "too-many-links",
    "message-size",
    "name-too-long",
    "no-device",
    "no-entry",
    "no-lock",
    "insufficient-memory",
    "insufficient-space",
    "not-directory",
    "not-empty",
    "not-recoverable",
    "unsupported",
    "no-tty",
    "no-such-device",
    "overflow",
    "not-permitted",
    "pipe",
    "read-only",
    "invalid-seek",
    "text-file-busy",
    "cross-device",
];

/// Opens the file `file` of its first mount again and again. With `streams` it makes a stream of each and lets the
/// descriptor go, so that the stream alone keeps the file open.
fn files(is_async: bool, streams: bool) -> String {
    let (version, error, open, read, stream_import, input) = if is_async {
        let cases: String = FILE_ERRORS.iter().map(|name| format!("(case \"{name}\") ")).collect();
        (
            "0.3.0",
            format!("(variant {cases}(case \"other\" (option string)))"),
            "(func async",
            "(result (tuple (stream u8) (future (result (error $code)))))",
            "",
            "",
        )
    } else {
        let mut names = FILE_ERRORS.to_vec();
        names.insert(1, "would-block");
        let names: String = names.iter().map(|name| format!("\"{name}\" ")).collect();
        (
            "0.2.0",
            format!("(enum {names})"),
            "(func",
            "(result (result (own $input) (error $code)))",
            r#"(import "wasi:io/streams@0.2.0" (instance $streams (export "input-stream" (type (sub resource)))))
  (alias export $streams "input-stream" (type $input))"#,
            "(alias outer 1 $input (type $outer)) (export \"input-stream\" (type $input (eq $outer)))",
        )
    };
    let drop_stream = if is_async {
        r#"(alias export $types "error-code" (type $code-of))
  (type $bytes (stream u8))
  (type $end (future (result (error $code-of))))
  (core func $drop-bytes (canon stream.drop-readable $bytes))
  (core func $drop-end (canon future.drop-readable $end))"#
    } else {
        r#"(core func $drop-bytes (canon resource.drop $input))
  (core module $no-end (func (export "drop") (param i32)))
  (core instance $no-end (instantiate $no-end))
  (alias core export $no-end "drop" (core func $drop-end))"#
    };
    let imports = format!(
        r#"{stream_import}
  (import "wasi:filesystem/types@{version}" (instance $types
    {input}
    (export "descriptor" (type $own (sub resource)))
    (type $code-here {error})
    (export "error-code" (type $code (eq $code-here)))
    (type $links-here (flags "symlink-follow"))
    (export "path-flags" (type $links (eq $links-here)))
    (type $how-here (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $how (eq $how-here)))
    (type $rights-here (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
      "mutate-directory"))
    (export "descriptor-flags" (type $rights (eq $rights-here)))
    (export "[method]descriptor.open-at" {open} (param "self" (borrow $own)) (param "path-flags" $links)
      (param "path" string) (param "open-flags" $how) (param "flags" $rights)
      (result (result (own $own) (error $code)))))
    (export "[method]descriptor.read-via-stream" (func (param "self" (borrow $own)) (param "offset" u64) {read}))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@{version}" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $own (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $own) string)))))))
  {LIBC}
  (core func $open (canon lower (func $types "[method]descriptor.open-at")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $read (canon lower (func $types "[method]descriptor.read-via-stream")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $folders (canon lower (func $preopens "get-directories")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $drop-file (canon resource.drop $descriptor))
  {drop_stream}
  (core instance $host (export "open" (func $open)) (export "read" (func $read)) (export "folders" (func $folders))
    (export "drop-file" (func $drop-file)) (export "drop-bytes" (func $drop-bytes))
    (export "drop-end" (func $drop-end)) (export "memory" (memory $libc "memory")))"#
    );
    // A result has its handle, or the error's number, after its first byte; the tuple of 0.3 has two handles.
    let (bytes_at, end_at) = if is_async { (64, 68) } else { (68, 68) };
    let (stream, drop) = match streams {
        true => (
            format!(
                r#"(call $read (global.get $file) (i64.const 0) (i32.const 64))
      (call $drop-file (global.get $file))
      (global.set $bytes (i32.load (i32.const {bytes_at}))) (global.set $end (i32.load (i32.const {end_at})))"#
            ),
            "(call $drop-bytes (global.get $bytes)) (call $drop-end (global.get $end))",
        ),
        false => (String::new(), "(call $drop-file (global.get $file))"),
    };
    let parts = format!(
        r#"(import "host" "memory" (memory 2))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "folders" (func $folders (param i32)))
    (import "host" "drop-file" (func $drop-file (param i32)))
    (import "host" "drop-bytes" (func $drop-bytes (param i32)))
    (import "host" "drop-end" (func $drop-end (param i32)))
    (data (i32.const 16) "file")
    (global $folder (mut i32) (i32.const 0))
    (global $file (mut i32) (i32.const 0))
    (global $bytes (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (func $take (result i32)
      (if (i32.eqz (global.get $folder)) (then
        (call $folders (i32.const 32))
        (global.set $folder (i32.load (i32.load (i32.const 32))))))
      (call $open (global.get $folder) (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 1)
        (i32.const 48))
      (if (i32.load8_u (i32.const 48)) (then
        (return (i32.add (i32.const 1) (i32.load8_u (i32.const 52))))))
      (global.set $file (i32.load (i32.const 52)))
      {stream}
      (i32.const 0))
    (func $drop {drop})"#
    );
    component(is_async, &imports, r#"(with "host" (instance $host))"#, &parts)
}

fn in_its_root(built: &Built, options: Options) -> Loader {
    let options = Options { root: Some(built.root().to_path_buf()), ..options };
    Loader::builder().options(options).open(built).unwrap()
}

#[tokio::test]
async fn open_files_up_to_their_limit() {
    let more = "imports: [\"wasi:filesystem\"]\nwasi: {mounts: [{fs: data, guest: /}]}";
    let mut registry = Registry::new().entries("- name: data\n  kind: fs.directory\n  directory: data\n");
    for (name, is_async) in [("sync", false), ("async", true)] {
        registry = both(registry, &format!("files-{name}"), &files(is_async, false), more);
        registry = both(registry, &format!("streams-{name}"), &files(is_async, true), more);
    }
    let built = registry.file("data/file", "content").build();
    let loader = in_its_root(&built, Options::default());
    // `quota`, and one place is the mount's own descriptor.
    let quota = |is_async: bool| 1_000_000 + if is_async { 5 } else { 6 };
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    for (name, is_async) in [("sync", false), ("async", true)] {
        for what in ["files", "streams"] {
            let name = format!("{what}-{name}");
            for _ in 0..2 {
                assert_eq!(
                    many(&loader, &format!("keep-{name}"), FILES_OPEN_MAX).await,
                    quota(is_async),
                    "{name}"
                );
                let fits = FILES_OPEN_MAX - 1;
                assert_eq!(many(&loader, &format!("keep-{name}"), fits).await as usize, fits, "{name}");
                let passed = many(&loader, &format!("pass-{name}"), 4 * FILES_OPEN_MAX).await;
                assert_eq!(passed as usize, 4 * FILES_OPEN_MAX, "{name}");
            }
        }
    }
    assert_eq!(loader.instances().live, 0);
    assert!(descriptors() < FILES_OPEN_MAX, "{} are open", descriptors());
}

/// Makes fields with one header of 60,000 bytes.
fn headers(is_async: bool) -> String {
    let (version, errors) = if is_async {
        ("0.3.0", r#"(case "size-exceeded") (case "other" (option string))"#)
    } else {
        ("0.2.0", "")
    };
    let imports = format!(
        r#"(import "wasi:http/types@{version}" (instance $http
    (export "fields" (type $own (sub resource)))
    (type $error-here (variant (case "invalid-syntax") (case "forbidden") (case "immutable") {errors}))
    (export "header-error" (type $error (eq $error-here)))
    (export "[constructor]fields" (func (result (own $own))))
    (export "[method]fields.append" (func (param "self" (borrow $own)) (param "name" string)
      (param "value" (list u8)) (result (result (error $error)))))))
  (alias export $http "fields" (type $fields))
  {LIBC}
  (core func $new (canon lower (func $http "[constructor]fields")))
  (core func $append (canon lower (func $http "[method]fields.append")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $drop (canon resource.drop $fields))
  (core instance $host (export "new" (func $new)) (export "append" (func $append)) (export "drop" (func $drop))
    (export "memory" (memory $libc "memory")))"#
    );
    let parts = r#"(import "host" "memory" (memory 2))
    (import "host" "new" (func $new (result i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "drop" (func $drop-one (param i32)))
    (data (i32.const 16) "x-long")
    (global $last (mut i32) (i32.const 0))
    (func $take (result i32)
      (global.set $last (call $new))
      (memory.fill (i32.const 8192) (i32.const 97) (i32.const 60000))
      (call $append (global.get $last) (i32.const 16) (i32.const 6) (i32.const 8192) (i32.const 60000) (i32.const 32))
      (i32.load8_u (i32.const 32)))
    (func $drop (call $drop-one (global.get $last)))"#;
    component(is_async, &imports, r#"(with "host" (instance $host))"#, parts)
}

#[tokio::test]
async fn headers_up_to_their_limit() {
    let more = "imports: [\"wasi:http\"]";
    let mut registry = Registry::new();
    for (name, is_async) in [("sync", false), ("async", true)] {
        registry = both(registry, name, &headers(is_async), more);
    }
    let built = registry.build();
    let most = usize::try_from(HTTP_FIELDS_BYTES_MAX).unwrap() / 60_000;
    let loader = Loader::open(&built).unwrap();
    for name in ["sync", "async"] {
        for _ in 0..2 {
            let (_, message) = failure(&loader, &format!("keep-{name}"), &[Val::U32(most as u32 + 1)]).await;
            let limit = format!("limit of {HTTP_FIELDS_BYTES_MAX} bytes of headers was reached");
            assert!(message.ends_with(&limit), "{message}");
            let fits = most - 10;
            assert_eq!(many(&loader, &format!("keep-{name}"), fits).await as usize, fits);
            assert_eq!(many(&loader, &format!("pass-{name}"), 3 * most).await as usize, 3 * most);
            assert_eq!(loader.memory().used, 0);
        }
    }
    let options = Options { memory_bytes_max: Some(8 << 20), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    for name in ["sync", "async"] {
        let (_, message) = failure(&loader, &format!("keep-{name}"), &[Val::U32(200)]).await;
        let limit = "limit `wasm.total.max_memory_bytes` of 8388608 was reached by headers";
        assert!(message.ends_with(limit), "{message}");
        assert_eq!(many(&loader, &format!("keep-{name}"), 100).await, 100);
        assert_eq!(loader.memory().used, 0);
    }
}
