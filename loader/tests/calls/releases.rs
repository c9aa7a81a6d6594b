//! Releases of WASI: each of 0.2 is served in every group; of one that comes after the host's, what the host has
//! works and what is newer fails by itself.

use loader::{ErrorKind, Loader, Val};

use crate::outcomes::{call, expect_failure, expect_number};
use crate::support::Registry;

/// One function of every group, in one release of WASI 0.2.
fn every_group(patch: u32) -> String {
    let text = r#"(component
  (import "wasi:io/poll@0.2.V" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.V" (instance $streams (export "input-stream" (type (sub resource)))))
  (alias export $streams "input-stream" (type $input))
  (import "wasi:clocks/monotonic-clock@0.2.V" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $own (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
  (import "wasi:cli/stdin@0.2.V" (instance $stdin
    (alias outer 1 $input (type $outer))
    (export "input-stream" (type $own (eq $outer)))
    (export "get-stdin" (func (result (own $own))))))
  (import "wasi:filesystem/types@0.2.V" (instance $files (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.V" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $own (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $own) string)))))))
  (import "wasi:random/insecure@0.2.V" (instance $random
    (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:sockets/network@0.2.V" (instance $network (export "network" (type (sub resource)))))
  (alias export $network "network" (type $network-type))
  (import "wasi:sockets/instance-network@0.2.V" (instance $instance-network
    (alias outer 1 $network-type (type $outer))
    (export "network" (type $own (eq $outer)))
    (export "instance-network" (func (result (own $own))))))
  (import "wasi:http/types@0.2.V" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))))
  (alias export $http "fields" (type $fields))

  (core module $memory (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $memory))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $get-stdin (canon lower (func $stdin "get-stdin")))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory $memory "memory") (realloc (func $memory "realloc"))))
  (core func $random (canon lower (func $random "get-insecure-random-u64")))
  (core func $get-network (canon lower (func $instance-network "instance-network")))
  (core func $new-fields (canon lower (func $http "[constructor]fields")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-input (canon resource.drop $input))
  (core func $drop-network (canon resource.drop $network-type))
  (core func $drop-fields (canon resource.drop $fields))
  (core module $module
    (import "host" "block" (func $block (param i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "random" (func $random (result i64)))
    (import "host" "get-network" (func $get-network (result i32)))
    (import "host" "new-fields" (func $new-fields (result i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "drop-input" (func $drop-input (param i32)))
    (import "host" "drop-network" (func $drop-network (param i32)))
    (import "host" "drop-fields" (func $drop-fields (param i32)))
    (import "memory" "memory" (memory 1))
    (func (export "clocks") (result i32)
      (local $pollable i32)
      (local.set $pollable (call $subscribe (i64.const 1)))
      (call $block (local.get $pollable))
      (call $drop-pollable (local.get $pollable))
      (i32.const 7))
    (func (export "cli") (result i32) (call $drop-input (call $get-stdin)) (i32.const 7))
    (func (export "filesystem") (result i32)
      (call $directories (i32.const 0))
      (i32.add (i32.load (i32.const 4)) (i32.const 7)))
    (func (export "random") (result i32) (drop (call $random)) (i32.const 7))
    (func (export "sockets") (result i32) (call $drop-network (call $get-network)) (i32.const 7))
    (func (export "http") (result i32) (call $drop-fields (call $new-fields)) (i32.const 7)))
  (core instance $instance (instantiate $module
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "block" (func $block)) (export "subscribe" (func $subscribe))
      (export "get-stdin" (func $get-stdin)) (export "directories" (func $directories))
      (export "random" (func $random)) (export "get-network" (func $get-network))
      (export "new-fields" (func $new-fields)) (export "drop-pollable" (func $drop-pollable))
      (export "drop-input" (func $drop-input)) (export "drop-network" (func $drop-network))
      (export "drop-fields" (func $drop-fields))))))
  (func (export "clocks") (result u32) (canon lift (core func $instance "clocks")))
  (func (export "cli") (result u32) (canon lift (core func $instance "cli")))
  (func (export "filesystem") (result u32) (canon lift (core func $instance "filesystem")))
  (func (export "random") (result u32) (canon lift (core func $instance "random")))
  (func (export "sockets") (result u32) (canon lift (core func $instance "sockets")))
  (func (export "http") (result u32) (canon lift (core func $instance "http"))))"#;
    text.replace("0.2.V", &format!("0.2.{patch}"))
}

/// Methods and the tokens that they need.
const GROUPS: [(&str, &str); 6] = [
    ("clocks", "wasi:clocks"),
    ("cli", "wasi:cli"),
    ("filesystem", "wasi:filesystem"),
    ("random", "wasi:random"),
    ("sockets", "wasi:sockets"),
    ("http", "wasi:http"),
];

#[tokio::test]
async fn every_release_is_served_in_every_group() {
    let mut registry = Registry::new();
    for patch in 0..=12 {
        let source = every_group(patch);
        for (method, token) in GROUPS {
            let more = format!("method: {method}\nimports: [\"{token}\"]");
            registry = registry.wat(&format!("{method}-{patch}"), &source, &more).wat(
                &format!("no-{method}-{patch}"),
                &source,
                &format!("method: {method}"),
            );
        }
    }
    let built = registry.build();
    let loader = Loader::open(&built).unwrap();
    for patch in 0..=12 {
        for (method, token) in GROUPS {
            expect_number(&loader, &format!("{method}-{patch}"), 7).await;
            let name = format!("no-{method}-{patch}");
            match (method, call(&loader, &name, &[]).await) {
                // Without mounts it is given nothing either way.
                ("filesystem", outcome) => assert_eq!(outcome, Ok(Some(Val::U32(7)))),
                (_, Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
                    assert!(error.message().contains(&format!("@0.2.{patch}`, which it was not")), "{error}");
                    assert!(error.message().ends_with(&format!("add `{token}` to its `imports`")), "{error}");
                }
                (_, Ok(value)) => panic!("{name}: {value:?}"),
            }
        }
    }
}

/// Imports a clock of a release that is not out yet, with a function and a resource that nobody has, and an
/// interface that nobody has.
const LATER: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.99" (instance $clock
    (export "hourglass" (type $hourglass (sub resource)))
    (export "now" (func (result u64)))
    (export "turn" (func (param "glass" (borrow $hourglass))))
    (export "invented" (func (result u64)))))
  (import "wasi:clocks/sundial@0.2.99" (instance $sundial (export "shadow" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core func $invented (canon lower (func $clock "invented")))
  (core func $shadow (canon lower (func $sundial "shadow")))
  (core module $module
    (import "host" "now" (func $now (result i64)))
    (import "host" "invented" (func $invented (result i64)))
    (import "host" "shadow" (func $shadow (result i64)))
    (func (export "now") (result i64) (call $now))
    (func (export "invented") (result i64) (call $invented))
    (func (export "shadow") (result i64) (call $shadow)))
  (core instance $instance (instantiate $module (with "host" (instance
    (export "now" (func $now)) (export "invented" (func $invented)) (export "shadow" (func $shadow))))))
  (func (export "now") (result u64) (canon lift (core func $instance "now")))
  (func (export "invented") (result u64) (canon lift (core func $instance "invented")))
  (func (export "shadow") (result u64) (canon lift (core func $instance "shadow"))))"#;

#[tokio::test]
async fn what_is_newer_than_the_host_is_unavailable_and_the_rest_works() {
    let granted = |method: &str| format!("method: {method}\nimports: [\"wasi:clocks\"]");
    let preview3 = LATER.replace("@0.2.99", "@0.3.99");
    let built = Registry::new()
        .wat("now", LATER, &granted("now"))
        .wat("invented", LATER, &granted("invented"))
        .wat("shadow", LATER, &granted("shadow"))
        .wat("denied", LATER, "method: invented")
        .wat("now-3", &preview3, &granted("now"))
        .wat("invented-3", &preview3, &granted("invented"))
        .build();
    let loader = Loader::open(&built).unwrap();
    for _ in 0..2 {
        for name in ["now", "now-3"] {
            assert!(matches!(call(&loader, name, &[]).await, Ok(Some(Val::U64(_)))), "{name}");
        }
        for (name, function, interface, last) in [
            ("invented", "invented", "monotonic-clock@0.2.99", "0.2.12"),
            ("shadow", "shadow", "sundial@0.2.99", "0.2.12"),
            ("invented-3", "invented", "monotonic-clock@0.3.99", "0.3.0"),
        ] {
            let message = format!(
                "`app:{name}` called `{function}` of `wasi:clocks/{interface}`, which is not in version {last}, \
                 the last one of this loader"
            );
            expect_failure(&loader, name, &[], ErrorKind::Unavailable, &message).await;
        }
        let message = "`app:denied` called `invented` of `wasi:clocks/monotonic-clock@0.2.99`, which it was not \
                       granted; add `wasi:clocks` to its `imports`";
        expect_failure(&loader, "denied", &[], ErrorKind::PermissionDenied, message).await;
    }
}
