//! File descriptors: many more artifacts than the process may have files open, and what happens to calls that
//! then meet the limit.
//!
//! The limit is the process's, so this file has one test.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use loader::{ErrorKind, Loader, Val};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Caching, Registry};

/// How many functions there are, and how many of them have data.
const PLAIN: u32 = 5000;
const WITH_DATA: u32 = 300;
/// Descriptors that the process may have.
const DESCRIPTORS: u64 = 256;

/// A function that returns `number` from its data segment. The engine keeps a descriptor for the image of such
/// a memory.
fn with_data(registry: Registry, number: u32) -> Registry {
    let bytes: String = number.to_le_bytes().iter().map(|byte| format!("\\{byte:02x}")).collect();
    let source = format!(
        "(module (memory 1) (data (i32.const 0) \"{bytes}\")
          (func (export \"answer\") (result i32) (i32.load (i32.const 0))))"
    );
    registry.wat(&format!("data-{number}"), &source, "wit: \"answer: func() -> u32\"\nmethod: answer")
}

fn limit_descriptors(current: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
}

async fn call(loader: &Loader, name: &str, number: u32) -> Result<(), loader::Error> {
    let value = loader.call(&format!("app:{name}-{number}"), &[]).await?;
    assert_eq!(value, Some(Val::U32(number)));
    Ok(())
}

#[tokio::test]
async fn five_thousand_artifacts_and_two_hundred_descriptors() {
    let registry = (0..PLAIN).fold(Registry::new(), |registry, n| registry.answer(&format!("plain-{n}"), n));
    let built = (0..WITH_DATA).fold(registry, with_data).build_with(Caching::Uncached);
    assert_eq!(built.body().artifacts.len(), (PLAIN + WITH_DATA) as usize);

    let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit_descriptors(DESCRIPTORS);
    let loader = Loader::open(&built).unwrap();
    let verified = loader.verify().unwrap();
    assert_eq!(verified.faults, []);
    assert_eq!(verified.entries, (PLAIN + WITH_DATA) as usize);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 32, "{open} descriptors are open");
    for number in 0..PLAIN {
        call(&loader, "plain", number).await.unwrap();
    }

    // Each of these keeps a descriptor, until none is left.
    let mut good = 0;
    let error = loop {
        match call(&loader, "data", good).await {
            Ok(()) => good += 1,
            Err(error) => break error,
        }
    };
    assert!(good > 100 && good < WITH_DATA, "{good} calls were good");
    assert_eq!(error.kind(), ErrorKind::Internal);
    let message = error.message();
    assert!(message.starts_with(&format!("`app:data-{good}` can't be instantiated: ")), "{message}");
    let hint =
        "Too many open files (os error 24); the process has no file descriptor left, raise `ulimit -n`";
    assert!(message.ends_with(hint), "{message}");

    // The others go on: those that have theirs, and those that need none.
    for number in 0..good {
        call(&loader, "data", number).await.unwrap();
        call(&loader, "plain", number).await.unwrap();
    }
    call(&loader, "data", good).await.unwrap_err();
    // The failure was the moment's.
    limit_descriptors(before);
    for number in 0..WITH_DATA {
        call(&loader, "data", number).await.unwrap();
    }
}
