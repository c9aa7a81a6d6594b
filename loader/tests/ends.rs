//! What a process gives back when it ends: descriptors, memory, instance, place, mailbox, name.
//!
//! Descriptors are counted for the whole test process, so this file has one test.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use loader::process::{ProcessesSnapshot, Running, Terminal};
use loader::wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use loader::{Context, Data, Loader, Options, Streams};
use support::{CONSOLE, Registry};

const ENTRIES: &str = r#"
- {name: terminal, kind: terminal.host}
- {name: folder, kind: fs.directory, directory: .}
- name: send
  kind: function.lua
  source: |
    return function(pid)
      local ok, err = process.send(pid, "text", string.rep("x", 1000))
      return ok or err:kind()
    end
- name: waits
  kind: process.lua
  source: |
    return function()
      process.registry.register("waiting")
      process.listen("never")
      process.events():receive()
      process.listen("never"):receive()
    end
"#;

/// Three ways to end.
#[derive(Debug, Clone, Copy)]
enum End {
    Cancelled,
    Terminated,
    Dropped,
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Starts `app:NAME`; what it writes.
fn start(loader: &Loader, name: &str, args: &[&str]) -> (Running, MemoryOutputPipe) {
    let out = MemoryOutputPipe::new(1024);
    let streams = Streams::new(MemoryInputPipe::new(""), out.clone(), out.clone());
    let terminal = Terminal::new(
        vec![name.to_owned()],
        std::io::empty(),
        std::io::sink(),
        std::io::sink(),
        streams.into(),
    );
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let id = |name: &str| format!("app:{name}").parse().unwrap();
    (loader.start_command(&id(name), &id("terminal"), name, &args, terminal).unwrap(), out)
}

async fn end(running: Running, how: End) {
    match how {
        End::Cancelled => {
            running.cancel("enough");
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        End::Terminated => running.terminate(),
        End::Dropped => return drop(running),
    }
    assert!(running.outcome().await.error.is_some());
}

async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_process_is_left() {
    let imports =
        "imports: [wasi:cli, wasi:clocks, wasi:filesystem]\nwasi: {mounts: [{fs: folder, guest: /data}]}";
    let built = Registry::new()
        .entries(ENTRIES)
        .guest_process("compute", CONSOLE, &format!("method: compute\n{imports}"))
        .build();
    let options = Options { root: Some(built.root().to_owned()), ..Options::default() };
    let loader = Loader::builder().options(options).open(&built).unwrap();
    let rest = ProcessesSnapshot::default();
    // The engine keeps what it made for the component: the first run is not counted.
    let mut before = None;
    for how in [End::Terminated, End::Cancelled, End::Terminated, End::Dropped] {
        let (running, out) = start(&loader, "compute", &["8"]);
        until(|| !out.contents().is_empty()).await;
        assert_eq!(loader.processes(), ProcessesSnapshot { wasm: 1, instances: 1, ..rest });
        assert!(loader.memory().used >= 8 << 20, "{:?}", loader.memory());
        let running_descriptors = descriptors();
        end(running, how).await;
        until(|| loader.processes() == rest).await;
        assert_eq!(loader.memory().used, 0, "{how:?}");
        let now = descriptors();
        assert!(now < running_descriptors, "{how:?}: the mount was open");
        assert_eq!(*before.get_or_insert(now), now, "{how:?}");
    }
    for how in [End::Cancelled, End::Terminated, End::Dropped] {
        let (running, _) = start(&loader, "waits", &[]);
        until(|| loader.processes().names == 1).await;
        for _ in 0..3 {
            let sent = loader.call_data("app:send", vec![Data::from("waiting")], Context::default()).await;
            assert_eq!(sent, Ok(Data::Bool(true)));
        }
        let held = loader.processes();
        assert_eq!((held.lua, held.names, held.messages), (1, 1, 3));
        assert!(held.message_bytes >= 3_000, "{held:?}");
        end(running, how).await;
        until(|| loader.processes() == rest).await;
        let sent = loader.call_data("app:send", vec![Data::from("waiting")], Context::default()).await;
        assert_eq!(sent, Ok(Data::from("NOT_FOUND")), "{how:?}");
    }
}
