//! Bundles for several targets: which one this machine uses, why not the others, and that artifacts which
//! can't be run here are checked all the same.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use loader::{Loader, OpenError, Options, PassedOver, Val};
use registry_schema::profile::Triple;
use registry_schema::{Digest, Target};
use serde_json::json;
use support::{Built, Caching, Registry, distinct};

/// A bundle of one function, for `targets`.
fn built(number: u32, targets: &[Target]) -> Built {
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let options: Vec<&str> = names.iter().flat_map(|name| ["--target", name]).collect();
    Registry::new().answer("answer", number).build_as(Caching::Cached, &options)
}

fn all() -> Vec<Target> {
    Target::all().collect()
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// A native target of another kind of machine.
fn foreign() -> Target {
    let host = Target::host().unwrap().triple;
    all().into_iter().find(|target| target.triple.is_native() && target.triple != host).unwrap()
}

fn open_for(built: &Built, target: Target) -> Result<Loader, OpenError> {
    Loader::builder().options(Options { target: Some(target), ..Options::default() }).open(built)
}

fn call(loader: &Loader, number: u32) {
    assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(number)));
}

/// Whatever the order of the options, and once each.
#[test]
fn one_bundle_has_artifacts_for_every_target() {
    let number = distinct();
    let mut twice = all();
    twice.reverse();
    twice.extend(all());
    let built = built(number, &twice);
    let body = built.body();
    assert_eq!(body.head.targets, all());
    let targets: Vec<Target> = body.artifacts.iter().map(|artifact| artifact.target).collect();
    assert_eq!(targets, all());
    let digests: BTreeSet<Digest> = body.artifacts.iter().map(|artifact| artifact.digest).collect();
    assert_eq!(digests.len(), all().len(), "each differs, if only in the flags of its header");
    for artifact in &body.artifacts {
        assert_eq!(fs::metadata(built.join(&artifact.path())).unwrap().len(), artifact.size);
    }
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.verify().unwrap().faults, []);
    assert_eq!(loader.bundle().target().unwrap().triple, Triple::host().unwrap());
    call(&loader, number);
}

/// Every target that this machine can run, one after the other; all give the same.
#[test]
fn every_target_that_runs_here_gives_the_same() {
    let number = distinct();
    let built = built(number, &all());
    let passed_over = Loader::open(&built).unwrap().bundle().passed_over();
    for target in all() {
        let reason = passed_over.iter().find(|(other, _)| *other == target).map(|(_, why)| why);
        match reason {
            None | Some(PassedOver::Better(_)) => call(&open_for(&built, target).unwrap(), number),
            Some(why) => {
                support::skipped(&format!("calls of `{target}`"), &why.to_string());
                assert!(matches!(open_for(&built, target), Err(OpenError::Incompatible { .. })));
            }
        }
    }
}

#[test]
fn verify_says_why_the_others_are_passed_over() {
    let host = Target::host().unwrap();
    let built = built(distinct(), &[foreign(), host, target("pulley64")]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
    let output = command.arg("--bundle").arg(built.as_ref()).arg("verify").output().unwrap();
    let (code, stdout, stderr) = support::outcome(&output);
    assert_eq!((code, stdout.as_str()), (Some(0), &*format!("5 files and 1 entries are good ({host})\n")));
    let pulley = if cfg!(feature = "pulley") {
        format!("`{host}` runs faster here")
    } else {
        "needs a loader built with the feature `pulley`".to_owned()
    };
    let mut expected = [
        format!("note: `{}` is not used: for another kind of machine", foreign()),
        format!("note: `pulley64` is not used: {pulley}"),
    ];
    expected.sort();
    let mut lines: Vec<&str> = stderr.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn the_interpreter_runs_where_nothing_native_fits() {
    let number = distinct();
    let built = built(number, &[foreign(), target("pulley64")]);
    if !cfg!(feature = "pulley") {
        let Err(error) = Loader::open(&built) else { panic!("there is no interpreter") };
        let reason = "`pulley64` (needs a loader built with the feature `pulley`)";
        assert!(error.to_string().contains(reason), "{error}");
        support::skipped("calls of `pulley64`", "this loader is built without the feature `pulley`");
        return;
    }
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.bundle().target(), Some(target("pulley64")));
    call(&loader, number);
    call(&loader, number);
    assert_eq!(loader.verify().unwrap().faults, []);
    // Sealed or not: bytecode is read into memory, and never executable.
    let options = Options { sealing: loader::Sealing::Always, ..Options::default() };
    call(&Loader::builder().options(options).open(&built).unwrap(), number);
}

/// A trap, a limit and a host function of the interpreter are those of native code.
#[test]
fn interpreted_guests_trap_and_call_hosts_like_native_ones() {
    if !cfg!(feature = "pulley") {
        support::skipped("guests of `pulley64`", "this loader is built without the feature `pulley`");
        return;
    }
    let trap = "(module (memory 1) (func (export \"run\") (result i32) (i32.load (i32.const 65536))))";
    let spin = "(module (func (export \"run\") (loop (br 0))))";
    let built = Registry::new()
        .wat("trap", trap, "wit: \"run: func() -> u32\"\nmethod: run")
        .wat("spin", spin, "wit: \"run: func()\"\nmethod: run\nlimits: {max_execution_ms: 20}")
        .guest("print", support::WASI_IMPORTS, "print", "imports: [\"wasi:cli\"]")
        .build_as(Caching::Cached, &["--target", "pulley64"]);
    let loader = Loader::open(&built).unwrap();
    let error = loader.call_blocking("app:trap", &[]).unwrap_err();
    assert!(error.message().contains("out of bounds memory access"), "{error}");
    let error = loader.call_blocking("app:spin", &[]).unwrap_err();
    assert_eq!(error.kind(), loader::ErrorKind::Timeout);
    loader.call_blocking("app:print", &[Val::String("from bytecode".to_owned())]).unwrap();
}

/// The asynchronous profile has an interpreter as well.
#[cfg(feature = "p3")]
#[test]
fn interpreted_guests_may_be_asynchronous() {
    if !cfg!(feature = "pulley") {
        support::skipped("guests of `pulley64`", "this loader is built without the feature `pulley`");
        return;
    }
    let built = Registry::new()
        .wat("f", support::ASYNCHRONOUS, "method: f")
        .build_as(Caching::Cached, &["--target", "pulley64"]);
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.call_blocking("app:f", &[Val::U32(41)]).unwrap(), Some(Val::U32(42)));
}

#[test]
fn a_damaged_artifact_of_another_machine_is_found_by_its_header() {
    let host = Target::host().unwrap();
    let built = built(distinct(), &[foreign(), host]);
    let body = built.body();
    let [own, other] = [host, foreign()]
        .map(|target| body.artifacts.iter().find(|artifact| artifact.target == target).unwrap().clone());
    let bytes = fs::read(built.join(&own.path())).unwrap();
    let index = body.artifacts.iter().position(|artifact| artifact.target == foreign()).unwrap();
    let good = built.manifest();
    let expect = |bytes: &[u8], problem: &str| {
        let digest = Digest::of(bytes);
        let path = format!("artifacts/{}/{digest}.cwasm", foreign());
        fs::write(built.join(&path), bytes).unwrap();
        built.replace_manifest(&good);
        built.edit_body(|body| {
            body["artifacts"][index]["digest"] = json!(digest);
            body["artifacts"][index]["size"] = json!(bytes.len());
        });
        let damaged = Loader::open(&built).unwrap().bundle().damaged_files().unwrap();
        let texts: Vec<String> = damaged.iter().map(|(path, error)| format!("{path}: {error}")).collect();
        assert_eq!(texts, [format!("{path}: {problem}")]);
    };
    expect(&bytes, &format!("it is for `{}`, the manifest says `{}`", host.triple.as_str(), foreign()));
    expect(b"no artifact", "it is no artifact: Invalid ELF header size or alignment");
    let mut module = fs::read(built.join(&other.path())).unwrap();
    // e_flags of the ELF header: a module instead of a component.
    module[48] = 1;
    expect(&module, &format!("it is no artifact of a component for `{}`", foreign()));
    let version = format!("48.0.8-{}", other.engine);
    let whole = fs::read(built.join(&other.path())).unwrap();
    let at = whole.windows(version.len()).position(|window| window == version.as_bytes()).unwrap();
    let mut older = whole;
    older[at + 5] = b'7';
    let found = format!("48.0.7-{}", other.engine);
    expect(&older, &format!("it is by compiler and engine {found}, the manifest says {version}"));
}

/// An older CPU than this one, where `qemu-x86_64` is installed; a foreign one, where `qemu-aarch64` is and
/// `LOADER_AARCH64` names a loader for it.
#[test]
fn other_machines_run_their_own_targets_in_an_emulator() {
    let installed = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let number = distinct();
    let built = built(number, &all());
    let run = |emulator: &[&str], loader: &str, expected: Target| {
        let mut command = Command::new(emulator[0]);
        command.args(&emulator[1..]).arg(loader).arg("--bundle").arg(built.as_ref());
        let verified = support::outcome(&command.arg("verify").output().unwrap());
        assert_eq!(verified.0, Some(0), "{verified:?}");
        assert!(verified.1.ends_with(&format!("({expected})\n")), "{verified:?}");
        let mut command = Command::new(emulator[0]);
        command.args(&emulator[1..]).arg(loader).arg("--bundle").arg(built.as_ref());
        // The emulator may have something to say on stderr.
        let (code, stdout, stderr) =
            support::outcome(&command.args(["call", "app:answer"]).output().unwrap());
        assert_eq!((code, stdout), (Some(0), format!("{number}\n")), "{stderr}");
    };
    if !cfg!(target_arch = "x86_64") {
        support::skipped("older CPUs in an emulator", "this machine is no x86-64");
    } else if !installed("qemu-x86_64") {
        support::skipped("older CPUs in an emulator", "`qemu-x86_64` is not installed");
    } else {
        let own = env!("CARGO_BIN_EXE_loader");
        for (cpu, level) in [("core2duo", "v1"), ("Nehalem", "v2"), ("Haswell", "v3")] {
            run(&["qemu-x86_64", "-cpu", cpu], own, target(&format!("x86_64-unknown-linux-gnu:{level}")));
        }
    }
    match std::env::var("LOADER_AARCH64") {
        _ if !installed("qemu-aarch64") => {
            support::skipped("aarch64 in an emulator", "`qemu-aarch64` is not installed");
        }
        Err(_) => support::skipped("aarch64 in an emulator", "`LOADER_AARCH64` names no loader"),
        Ok(loader) => run(&["qemu-aarch64"], &loader, target("aarch64-unknown-linux-gnu")),
    }
}
