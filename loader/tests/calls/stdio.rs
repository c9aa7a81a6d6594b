//! Standard streams: lines of functions in the log, and streams that a caller gives.

use std::sync::{Arc, Mutex};

use loader::registry_schema::EntryId;
use loader::wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use loader::{CallId, Context, GuestLog, Loader, Stream, Streams, Val, config};

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
