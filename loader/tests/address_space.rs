//! A process that may have little address space: instances are allocated on demand, which is said once.
//!
//! The limit is the process's, so this file has one test.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::{Arc, Mutex};

use loader::registry_schema::EntryId;
use loader::{GuestLog, Loader, Stream, Val};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::Registry;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl GuestLog for Lines {
    fn line(&self, _: &EntryId, _: Stream, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

#[tokio::test]
async fn without_room_nothing_is_reserved() {
    let with_memory = "(module (memory 1) (func (export \"answer\") (result i32) (memory.size)))";
    let built = Registry::new()
        .wat("pages", with_memory, "wit: \"answer: func() -> u32\"\nmethod: answer\npool: {type: inline}")
        .answer("answer", 42)
        .build();
    let Rlimit { maximum, .. } = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(64 << 30), maximum }).unwrap();
    let lines = Lines::default();
    let loader = Loader::builder().guest_log(lines.clone()).open(&built).unwrap();
    for _ in 0..3 {
        assert_eq!(loader.call("app:pages", &[]).await, Ok(Some(Val::U32(1))));
        assert_eq!(loader.call("app:answer", &[]).await, Ok(Some(Val::U32(42))));
    }
    let said = lines.0.lock().unwrap();
    let [line] = said.as_slice() else { panic!("{said:?}") };
    assert!(line.starts_with("memory of instances is allocated on demand, not reserved: "), "{line}");
    assert!(line.ends_with("are too many for `ulimit -v` of 68719476736 bytes"), "{line}");
}
