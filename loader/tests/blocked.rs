//! Thousands of guests that wait at once, asleep or for standard input, while as many read files: they hold a few
//! threads, and little memory each (`scripts/bench/waiting` measures it).
//!
//! Threads are the process's, so the guests run in processes of their own, with nothing beside them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use loader::{Context, Loader, Options, Streams, Val, config};
use support::{REACH, Registry, WASI_IMPORTS};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

const GUESTS: usize = 5_000;
/// Threads that they may need together.
const THREADS_MAX: usize = 16;
/// Set for the process of the guests, to the folder of the application.
const ROOT: &str = "BLOCKED_ROOT";
/// Only reached when something is wrong.
const WATCHDOG: Duration = Duration::from_secs(300);

type Call = JoinHandle<Result<Option<Val>, loader::Error>>;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn open(root: &Path) -> Loader {
    let options = Options {
        root: Some(root.to_path_buf()),
        instances_max: Some(GUESTS + 1),
        memory_bytes_max: Some(1 << 40),
        ..Options::default()
    };
    Loader::builder().options(options).open(root.join("dist")).unwrap()
}

/// Two threads, and as many for files as the loader's own runtimes have.
fn runtime() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2).max_blocking_threads(config::BLOCKING_THREADS_MAX).enable_all().build().unwrap()
}

/// Waits until `count` instances live.
async fn live(loader: &Loader, count: usize) {
    let reached = async {
        while loader.instances().live != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WATCHDOG, reached).await.unwrap();
}

/// Runs the test `name` again as the process of its guests. In that process: where its application is.
fn child(name: &str, registry: impl FnOnce() -> support::Built) -> Result<(), std::path::PathBuf> {
    if let Some(root) = std::env::var_os(ROOT) {
        return Err(root.into());
    }
    let built = registry();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROOT, built.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It says when all of its guests wait.
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("all wait")), "the guests don't wait");
    // The first of them to look gets it; the others see the end. Guests that wait for nothing may be gone
    // already: how they ended is seen below.
    let _ = child.stdin.take().unwrap().write_all(b"x");
    let rest: Vec<String> = said.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    Ok(())
}

#[test]
fn five_thousand_guests_sleep_on_two_threads() {
    let more = "pool: {type: inline}\nimports: [\"wasi:clocks\"]";
    let built = || Registry::new().guest("sleep", WASI_IMPORTS, "sleep-ms", more).build();
    let Err(root) = child("five_thousand_guests_sleep_on_two_threads", built) else { return };
    let loader = open(&root);
    let runtime = runtime();
    let before = threads();
    let hour = [Val::U64(3_600_000)];
    let sleepers: Vec<Call> = (0..GUESTS)
        .map(|_| {
            let (loader, hour) = (loader.clone(), hour.clone());
            runtime.spawn(async move { loader.call("app:sleep", &hour).await })
        })
        .collect();
    runtime.block_on(live(&loader, GUESTS));
    println!("all wait");
    // One more, which is served beside them.
    let nap = runtime.block_on(loader.call("app:sleep", &[Val::U64(1)]));
    assert_eq!(nap, Ok(None));
    // The ticker's thread.
    assert!(threads() <= before + 1, "{} threads more", threads() - before);
    sleepers.iter().for_each(JoinHandle::abort);
    runtime.block_on(live(&loader, 0));
    assert_eq!(loader.memory().used, 0);
}

/// Guests that read a file and standard input, with pools as `pool` says.
fn readers(pool: &str) -> support::Built {
    let more = format!(
        "pool: {pool}\nimports: [\"wasi:cli\", \"wasi:filesystem\"]\nwasi: {{mounts: [{{fs: data, guest: /data}}]}}"
    );
    Registry::new()
        .entries("- name: data\n  kind: fs.directory\n  directory: data\n")
        .guest("read", REACH, "read", &more)
        .guest("read-stdin", REACH, "read-stdin", &more)
        .file("data/there", "text")
        .build()
}

/// Slot, instance, memory, open folder and table of a call are free when its drop returns.
#[test]
fn a_dropped_call_leaves_nothing() {
    let built = || readers("{workers: 1}");
    let Err(root) = child("a_dropped_call_leaves_nothing", built) else { return };
    let loader = open(&root);
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let ask = || loader.call_with_streams("app:read-stdin", &[], Context::default(), Streams::of_process());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let there = loader.call("app:read", &[Val::String("there".into())]).await;
        assert_eq!(there, Ok(Some(Val::Result(Ok(Some(Box::new(Val::String("text".into()))))))));
        let before = descriptors();
        for _ in 0..100 {
            let mut call = Box::pin(ask());
            while loader.instances().live == 0 || descriptors() == before {
                tokio::select! {
                    biased;
                    outcome = &mut call => panic!("it returned {outcome:?}"),
                    () = tokio::task::yield_now() => {}
                }
            }
            assert!(loader.memory().used > 0);
            drop(call);
            let busy: usize = loader.pools().iter().map(|pool| pool.busy).sum();
            assert_eq!((busy, loader.instances().live, loader.memory().used), (0, 0, 0));
            assert_eq!(descriptors(), before);
        }
    });
    println!("all wait");
}

/// Functions of one worker class, and calls of each at once.
const FUNCTIONS: usize = 64;
const WORKERS: usize = 4;

/// Threads of a worker class have few others for what blocks, however many of its calls read.
#[test]
fn guests_of_a_worker_class_that_read_need_a_few_threads() {
    let built = || {
        let more = format!(
            "pool: {{worker_class: files, workers: {WORKERS}}}\nimports: [\"wasi:filesystem\"]\n\
             wasi: {{mounts: [{{fs: data, guest: /data}}]}}"
        );
        let registry = Registry::new().entries("- name: data\n  kind: fs.directory\n  directory: data\n");
        let registry = (0..FUNCTIONS).fold(registry, |registry, number| {
            registry.guest(&format!("read-{number}"), REACH, "read", &more)
        });
        registry.file("data/there", "text").build()
    };
    let Err(root) = child("guests_of_a_worker_class_that_read_need_a_few_threads", built) else { return };
    let loader = open(&root);
    let runtime = runtime();
    let before = threads();
    let there = Ok(Some(Val::Result(Ok(Some(Box::new(Val::String("text".into())))))));
    let mut most = 0;
    for _ in 0..4 {
        let reading: Vec<Call> = (0..FUNCTIONS * WORKERS)
            .map(|number| {
                let (loader, name) = (loader.clone(), format!("app:read-{}", number % FUNCTIONS));
                runtime.spawn(async move { loader.call(&name, &[Val::String("there".into())]).await })
            })
            .collect();
        for read in reading {
            most = most.max(threads() - before);
            assert_eq!(runtime.block_on(read).unwrap(), there);
        }
    }
    most = most.max(threads() - before);
    // Those of the class, those that block for them, and the ticker.
    let allowed = WORKERS * (1 + config::WORKER_BLOCKING_THREADS_MAX) + 1;
    assert!((WORKERS + 1..=allowed).contains(&most), "{most} threads");
    println!("all wait");
}

/// The loader's own program: one command that has a thousand guests read at once.
#[test]
fn the_program_has_a_few_threads_for_guests_that_read() {
    let command = r#"- name: many
  kind: process.lua
  meta: {command: {name: many}}
  modules: [funcs, io]
  source: |
    local funcs, io = require("funcs"), require("io")
    return function()
        local calls = {}
        for i = 1, 1000 do calls[i] = funcs.async("app:read", "there") end
        for i = 1, 1000 do assert(calls[i]:response():receive():data() == "text") end
        io.print("all read")
        io.readline()
    end
"#;
    let more = "pool: {type: inline}\nimports: [\"wasi:filesystem\"]\n\
                wasi: {mounts: [{fs: data, guest: /data}]}";
    let built = Registry::new()
        .entries("- {name: terminal, kind: terminal.host}\n- name: data\n  kind: fs.directory\n  directory: data\n")
        .entries(command)
        .guest("read", REACH, "read", more)
        .file("data/there", "text")
        .build();
    let mut child = Command::new(env!("CARGO_BIN_EXE_loader"));
    child.arg("--bundle").arg(built.as_ref()).args(["run", "many"]).current_dir(built.root());
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(said.next().as_deref(), Some("all read"));
    // Threads that had something to do stay for some seconds.
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
    let cores = std::thread::available_parallelism().unwrap().get();
    // Beside those that run calls and those that block: the first, the ticker's, and those of signals and input.
    assert!(threads <= cores + config::BLOCKING_THREADS_MAX + 4, "{threads} threads");
    assert!(threads > cores, "{threads} threads");
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn five_thousand_guests_that_read_need_a_few_threads() {
    let built = || readers("{type: inline}");
    let Err(root) = child("five_thousand_guests_that_read_need_a_few_threads", built) else { return };
    let loader = open(&root);
    let runtime = runtime();
    let before = threads();
    let call = |name: &'static str, args: Vec<Val>| -> Call {
        let loader = loader.clone();
        runtime.spawn(async move {
            loader.call_with_streams(name, &args, Context::default(), Streams::of_process()).await
        })
    };
    let asking: Vec<Call> = (0..GUESTS / 2).map(|_| call("app:read-stdin", vec![])).collect();
    runtime.block_on(live(&loader, GUESTS / 2));
    let there = Ok(Some(Val::Result(Ok(Some(Box::new(Val::String("text".into())))))));
    let reading: Vec<Call> =
        (0..GUESTS / 2).map(|_| call("app:read", vec![Val::String("there".into())])).collect();
    let mut most = 0;
    for read in reading {
        most = most.max(threads() - before);
        assert_eq!(runtime.block_on(read).unwrap(), there);
    }
    most = most.max(threads() - before);
    assert!((2..=THREADS_MAX).contains(&most), "{most} threads");
    assert_eq!(loader.instances().live, GUESTS / 2);
    println!("all wait");
    let mut bytes = String::new();
    for outcome in asking {
        let outcome = runtime.block_on(async { tokio::time::timeout(WATCHDOG, outcome).await });
        match outcome.unwrap().unwrap() {
            Ok(Some(Val::String(text))) => bytes.push_str(&text),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes, "x");
}
