//! How artifacts come into memory: mapped in place, from a sealed copy, or copied where an executable
//! mapping is refused; and that no page is ever writable and executable.
//!
//! Mappings are shared by digest in the whole process: each test looks at artifacts of its own. That one
//! engine runs code of both kinds is tested beside the code (`src/mapping.rs`).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use loader::{Loader, Options, Sealing, Val};
use registry_schema::Digest;
use registry_schema::manifest::Artifact;
use support::{Built, Registry, distinct};

/// A line of `/proc/self/maps`.
struct Line {
    permissions: String,
    path: String,
}

/// The mappings of this process that hold `artifact`.
fn mappings_of(artifact: &Artifact) -> Vec<Line> {
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let size = usize::try_from(artifact.size).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let found = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
        let permissions = fields.next()?.to_owned();
        let path = fields.nth(3).unwrap_or_default().to_owned();
        if !permissions.starts_with('r') || end - start != size.next_multiple_of(4096) {
            return None;
        }
        let mut bytes = vec![0; size];
        // Another test may have unmapped it meanwhile.
        memory.read_exact_at(&mut bytes, start as u64).ok()?;
        (Digest::of(&bytes) == artifact.digest).then_some(Line { permissions, path })
    });
    found.collect()
}

/// Path and permissions of the only mapping of `artifact`.
fn only_mapping(artifact: &Artifact) -> (String, String) {
    let mut found = mappings_of(artifact);
    assert_eq!(found.len(), 1);
    let Line { permissions, path } = found.remove(0);
    (path, permissions)
}

fn expect_nothing_writable_and_executable() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let both =
        |line: &&str| line.split_whitespace().nth(1).is_some_and(|p| p.contains('w') && p.contains('x'));
    assert_eq!(maps.lines().find(both), None);
}

/// A bundle with one function, the number that it returns and its artifact.
fn one() -> (Built, u32, Artifact) {
    let number = distinct();
    let built = Registry::new().answer("answer", number).build();
    let artifact = built.artifact("answer");
    (built, number, artifact)
}

fn open(built: &Built, sealing: Sealing) -> Loader {
    let options = Options { sealing, ..Options::default() };
    Loader::builder().options(options).open(built).unwrap()
}

fn call(loader: &Loader, number: u32) {
    assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(number)));
}

#[test]
fn artifacts_are_mapped_in_place_and_never_writable() {
    let (built, number, artifact) = one();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(mappings_of(&artifact).len(), 0, "mapped before it is used");
    call(&loader, number);
    let path = built.join(&artifact.path()).canonicalize().unwrap();
    assert_eq!(only_mapping(&artifact), (path.to_str().unwrap().to_owned(), "r-xp".to_owned()));
    expect_nothing_writable_and_executable();
}

#[test]
fn no_descriptor_of_an_artifact_stays_open() {
    let (built, number, artifact) = one();
    let loader = Loader::open(&built).unwrap();
    call(&loader, number);
    let path = built.join(&artifact.path()).canonicalize().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap();
    // Descriptors of other tests come and go.
    let open = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    assert_eq!(open.filter(|open| *open == path).count(), 0);
}

/// The name that memory files have in `/proc/self/maps`.
const SEALED: (&str, &str) = ("/memfd:artifact", "r-xp");

fn is_sealed_copy(artifact: &Artifact) {
    let (path, permissions) = only_mapping(artifact);
    assert_eq!((path.as_str(), permissions.as_str()), SEALED);
}

#[test]
fn files_that_others_can_write_are_mapped_from_a_sealed_copy() {
    for mode in [0o464, 0o446, 0o666] {
        let (built, number, artifact) = one();
        support::set_mode(&built.join(&artifact.path()), mode);
        call(&Loader::open(&built).unwrap(), number);
        is_sealed_copy(&artifact);
    }
    expect_nothing_writable_and_executable();
}

#[test]
fn a_sealed_copy_is_checked_like_a_file() {
    let (built, _, artifact) = one();
    let file = built.join(&artifact.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    support::replace(&file, &bytes);
    support::set_mode(&file, 0o664);
    let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
    let found = Digest::of(&bytes);
    let problem = format!("the manifest says blake3:{}, the file has blake3:{found}", artifact.digest);
    assert_eq!(error.message(), format!("`app:answer`: can't load `{}`: {problem}", artifact.path()));
    assert_eq!(mappings_of(&artifact).len(), 0);
}

#[test]
fn sealing_always_never_maps_the_file() {
    let (built, number, artifact) = one();
    let loader = open(&built, Sealing::Always);
    call(&loader, number);
    is_sealed_copy(&artifact);
    // What the owner does to the file is nothing to the copy.
    support::set_mode(&built.join(&artifact.path()), 0o644);
    fs::write(built.join(&artifact.path()), vec![0; usize::try_from(artifact.size).unwrap()]).unwrap();
    call(&loader, number);
}

#[test]
fn sealing_always_does_not_share_what_was_mapped_in_place() {
    let (built, number, artifact) = one();
    call(&Loader::open(&built).unwrap(), number);
    call(&open(&built, Sealing::Always), number);
    // The kernel chooses which of the two lies first.
    let paths: BTreeSet<String> = mappings_of(&artifact).into_iter().map(|line| line.path).collect();
    let in_place = built.join(&artifact.path()).canonicalize().unwrap();
    assert_eq!(paths, BTreeSet::from([SEALED.0, in_place.to_str().unwrap()].map(String::from)));
}

/// wasmtime registers code by its address, so loaders that are open at once need a mapping each.
#[test]
fn a_loader_takes_the_mapping_that_an_earlier_one_left() {
    let (built, number, artifact) = one();
    for _ in 0..3 {
        call(&Loader::open(&built).unwrap(), number);
        only_mapping(&artifact);
    }
    let loaders = [Loader::open(&built).unwrap(), Loader::open(&built).unwrap()];
    for _ in 0..2 {
        loaders.iter().for_each(|loader| call(loader, number));
        assert_eq!(mappings_of(&artifact).len(), 2);
    }
    drop(loaders);
    let copy = support::temporary_folder();
    let copied = Command::new("cp").arg("-a").arg(built.as_ref()).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    call(&Loader::open(copy.path().join("dist")).unwrap(), number);
    assert_eq!(mappings_of(&artifact).len(), 2);
}

/// An artifact that the engine refuses is not mapped anew at each call.
#[test]
fn a_refused_artifact_leaves_its_mapping_as_well() {
    let (built, _, artifact) = one();
    let bytes = distinct().to_string().repeat(3000).into_bytes();
    let foreign = Artifact { digest: Digest::of(&bytes), size: bytes.len() as u64, ..artifact };
    fs::write(built.join(&foreign.path()), &bytes).unwrap();
    built.edit_body(|body| body["artifacts"][0] = serde_json::to_value(&foreign).unwrap());
    let loader = Loader::open(&built).unwrap();
    for _ in 0..3 {
        loader.call_blocking("app:answer", &[]).unwrap_err();
        only_mapping(&foreign);
    }
}

/// A bundle that is built anew beside an open loader: the old files are still mapped, and still there.
#[test]
fn an_open_loader_serves_its_own_manifest_after_a_rebuild() {
    let (old, new) = (distinct(), distinct());
    let built = Registry::new().answer("answer", old).answer("other", old + 1000).build();
    let loader = Loader::open(&built).unwrap();
    call(&loader, old);
    let entries = fs::read_to_string(built.root().join("_index.yaml")).unwrap();
    let rebuilt = entries.replace(&format!("i32.const {old})"), &format!("i32.const {new})"));
    let rebuilt = rebuilt.replace(&(old + 1000).to_string(), &(new + 2000).to_string());
    fs::write(built.root().join("_index.yaml"), rebuilt).unwrap();
    support::compile(built.root(), built.as_ref(), support::Caching::Cached);

    call(&loader, old);
    // Used for the first time after the rebuild.
    assert_eq!(loader.call_blocking("app:other", &[]).unwrap(), Some(Val::U32(old + 1000)));
    call(&Loader::open(&built).unwrap(), new);
}

/// Runs `script` as root of a mount namespace of its own; `None` where that is not permitted.
fn in_own_mounts(script: &str, arguments: &[&Path]) -> Option<(Option<i32>, String, String)> {
    let run = |script: &str, arguments: &[&Path]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script, "sh"]);
        command.args(arguments).output().ok()
    };
    let folder = support::temporary_folder();
    let permitted = run("mount -t tmpfs -o noexec tmpfs \"$1\"", &[folder.path()]);
    if !permitted.is_some_and(|output| output.status.success()) {
        return None;
    }
    run(script, arguments).map(|output| support::outcome(&output))
}

/// On a file system that is mounted `noexec` code is copied into memory, and the loader says so once. A file
/// that others can write goes through a sealed copy, which can be mapped: one engine loads both.
#[test]
fn where_mapping_is_refused_code_is_copied() {
    let numbers = [distinct(), distinct(), distinct()];
    let built = Registry::new()
        .answer("first", numbers[0])
        .answer("second", numbers[1])
        .answer("sealed", numbers[2])
        .build();
    support::set_mode(&built.join(&built.artifact("sealed").path()), 0o464);
    let mount = support::temporary_folder();
    let script = "mount -t tmpfs -o noexec tmpfs \"$1\"
        cp -a \"$2\" \"$1/dist\"
        for id in app:first app:sealed; do \"$3\" --bundle \"$1/dist\" call $id; done
        \"$3\" --bundle \"$1/dist\" verify";
    let loader = Path::new(env!("CARGO_BIN_EXE_loader"));
    let Some((code, stdout, stderr)) = in_own_mounts(script, &[mount.path(), built.as_ref(), loader]) else {
        eprintln!("skipped: this machine permits no mount namespaces to this user");
        return;
    };
    assert_eq!(code, Some(0), "{stderr}");
    let mut lines = stdout.lines();
    assert_eq!(lines.next(), Some(&*numbers[0].to_string()));
    assert_eq!(lines.next(), Some(&*numbers[2].to_string()));
    assert!(lines.next().is_some_and(|line| line.contains(" and 3 entries are good")), "{stdout}");
    // The first call and the check said so, once each; the call of the sealed copy had no reason to.
    let said =
        "artifacts can't be mapped executable here (noexec mount or policy): they are copied into memory";
    assert_eq!(stderr, format!("[app:first] {said}\n[app:first] {said}\n"));
}
