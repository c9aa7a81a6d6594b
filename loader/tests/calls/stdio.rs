//! Standard streams: lines of functions in the log, and streams that a caller gives.

use std::sync::{Arc, Mutex};

use loader::registry_schema::EntryId;
use loader::wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use loader::{CallId, Context, ErrorKind, GuestLog, Loader, Stream, Streams, Val, config};

use super::GUEST;
use crate::outcomes::call;
use crate::support::Registry;

/// Lines as they came, each with its call.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(CallId, String)>>>);

impl GuestLog for Kept {
    fn line(&self, entry: &EntryId, _: Stream, line: &str) {
        panic!("a line of `{entry}` without its call: {line}");
    }

    fn call_line(&self, entry: &EntryId, call: CallId, stream: Stream, line: &str) {
        self.0.lock().unwrap().push((call, format!("{entry} {stream:?}: {line}")));
    }
}

fn text(text: &str) -> Val {
    Val::String(text.into())
}

fn printing() -> Registry {
    Registry::new().guest("print", GUEST, "print", "imports: [\"wasi:cli\"]").guest(
        "read-stdin",
        GUEST,
        "read-stdin",
        "imports: [\"wasi:cli\"]",
    )
}

#[tokio::test]
async fn lines_carry_their_call_and_partial_ones_are_flushed() {
    let built = printing().build();
    let kept = Kept::default();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    for part in ["one\ntw", "three"] {
        assert_eq!(call(&loader, "print", &[text(part)]).await, Ok(None));
    }
    let lines = std::mem::take(&mut *kept.0.lock().unwrap());
    let texts: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(texts, ["app:print Stdout: one", "app:print Stdout: tw", "app:print Stdout: three"]);
    assert_eq!(lines[0].0, lines[1].0);
    assert!(lines[1].0 < lines[2].0);
}

/// A guest that never ends its line is cut, and its memory in the host stays bounded.
#[tokio::test]
async fn a_line_without_end_is_cut() {
    let built = printing().build();
    let kept = Kept::default();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    let long = "x".repeat(config::LOG_LINE_BYTES_MAX * 2 + 1);
    assert_eq!(call(&loader, "print", &[text(&long)]).await, Ok(None));
    let lines = std::mem::take(&mut *kept.0.lock().unwrap());
    let lengths: Vec<usize> = lines.iter().map(|(_, line)| line.len() - "app:print Stdout: ".len()).collect();
    assert_eq!(lengths, [config::LOG_LINE_BYTES_MAX, config::LOG_LINE_BYTES_MAX, 1]);
    assert_eq!(call(&loader, "print", &[text("next")]).await, Ok(None));
    assert_eq!(kept.0.lock().unwrap()[0].1, "app:print Stdout: next");
}

#[tokio::test]
async fn a_function_has_no_input() {
    let built = printing().build();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(call(&loader, "read-stdin", &[]).await, Ok(Some(text(""))));
}

#[tokio::test]
async fn a_caller_may_give_the_streams() {
    let kept = Kept::default();
    let built = printing().build();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    let out = MemoryOutputPipe::new(1024);
    let streams = || Streams::new(MemoryInputPipe::new("typed"), out.clone(), MemoryOutputPipe::new(1024));
    let read = loader.call_with_streams("app:read-stdin", &[], Context::default(), streams()).await;
    assert_eq!(read, Ok(Some(text("typed"))));
    let printed =
        loader.call_with_streams("app:print", &[text("shown\n")], Context::default(), streams()).await;
    assert_eq!(printed, Ok(None));
    assert_eq!(out.contents(), "shown\n");
    assert!(kept.0.lock().unwrap().is_empty());
}

/// Prints half a line, and then returns, traps or computes for ever.
const HALF: &str = r#"(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer))
    (export "error" (type $own-error (eq $outer)))
    (export "output-stream" (type $stream (sub resource)))
    (type $failure-here (variant (case "last-operation-failed" (own $own-error)) (case "closed")))
    (export "stream-error" (type $failure (eq $failure-here)))
    (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $stream))
      (param "contents" (list u8)) (result (result (error $failure)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $outer))
    (export "output-stream" (type $own (eq $outer)))
    (export "get-stdout" (func (result (own $own))))))
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $module
    (import "host" "memory" (memory 1))
    (import "host" "get" (func $get (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 16) "half a line")
    (func (export "run") (param $how i32)
      (call $write (call $get) (i32.const 16) (i32.const 11) (i32.const 64))
      (if (i32.eq (local.get $how) (i32.const 1)) (then unreachable))
      (loop $again (br_if $again (i32.eq (local.get $how) (i32.const 2))))))
  (core instance $instance (instantiate $module (with "host" (instance
    (export "memory" (memory $libc "memory")) (export "get" (func $get)) (export "write" (func $write))))))
  (func (export "run") (param "how" u32) (canon lift (core func $instance "run"))))"#;

/// Whatever ends a call, what it printed last is not lost.
#[tokio::test]
async fn partial_lines_are_flushed_however_a_call_ends() {
    let built = Registry::new()
        .wat("run", HALF, "method: run\nimports: [\"wasi:cli\"]")
        .wat("late", HALF, "method: run\nimports: [\"wasi:cli\"]\nlimits: {max_execution_ms: 1}")
        .build();
    let kept = Kept::default();
    let loader = Loader::builder().guest_log(kept.clone()).open(&built).unwrap();
    let logged = || {
        let lines = std::mem::take(&mut *kept.0.lock().unwrap());
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    assert_eq!(call(&loader, "run", &[Val::U32(0)]).await, Ok(None));
    assert_eq!(logged(), ["app:run Stdout: half a line"]);
    assert_eq!(call(&loader, "run", &[Val::U32(1)]).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(logged(), ["app:run Stdout: half a line"]);
    assert_eq!(call(&loader, "late", &[Val::U32(2)]).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(logged(), ["app:late Stdout: half a line"]);
    // Nobody waits for it any more.
    let running = {
        let loader = loader.clone();
        tokio::spawn(async move { call(&loader, "run", &[Val::U32(2)]).await })
    };
    crate::outcomes::until(|| loader.instances().live == 1).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    running.abort();
    crate::outcomes::until(|| loader.instances().live == 0).await;
    assert_eq!(logged(), ["app:run Stdout: half a line"]);
}
