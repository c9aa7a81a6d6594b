//! Builds that end badly: no room, no permission, killed, two at once. The old bundle stays whole, and the next
//! build cleans up.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use loader::{Loader, Val};

/// Functions in a registry.
const FUNCTIONS: usize = 12;

/// A registry and the folder of its bundle.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.write(0);
        project
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    fn dist(&self) -> PathBuf {
        self.folder.path().join("dist")
    }

    /// Functions that return `first` and the numbers after it.
    fn write(&self, first: usize) {
        let mut text = String::from("namespace: t\nentries:\n");
        for index in 0..FUNCTIONS {
            text.push_str(&format!(
                "  - name: f{index}\n    kind: function.wat\n    method: f\n    wit: 'f: func() -> u32;'\n    \
                 source: '(module (func (export \"f\") (result i32) i32.const {}))'\n",
                first + index
            ));
        }
        fs::create_dir_all(self.root()).unwrap();
        fs::write(self.root().join("_index.yaml"), text).unwrap();
    }

    /// The command of a build.
    fn build(&self) -> Command {
        build(&self.root(), &self.dist())
    }
}

fn build(root: &Path, dist: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
    command.arg(root).args(["--no-cache", "--quiet", "--out"]).arg(dist);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Expects a whole bundle, and answers the first of its numbers.
fn first_of(dist: &Path) -> usize {
    let loader = Loader::open(dist).unwrap();
    assert_eq!(loader.verify().unwrap().faults, []);
    let number = |index: usize| match loader.call_blocking(&format!("t:f{index}"), &[]).unwrap() {
        Some(Val::U32(number)) => number as usize,
        other => panic!("{other:?}"),
    };
    let first = number(0);
    for index in 0..FUNCTIONS {
        assert_eq!(number(index), first + index);
    }
    first
}

fn temporary_files(dist: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(dist).into_iter().map(|entry| entry.unwrap().into_path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".tmp-")).collect()
}

/// Says in the output of the tests, which nothing captures, what was left out and why.
fn skipped(what: &str, why: &str) {
    std::io::stdout().write_all(format!("skipped: {what}: {why}\n").as_bytes()).unwrap();
}

/// Runs `script` with the compiler, the registry and the bundle's folder as its arguments.
fn shell(project: &Project, script: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-euc", script, "bash", env!("CARGO_BIN_EXE_compiler")]);
    command.arg(project.root()).arg(project.dist()).output().unwrap()
}

/// Where a write past the limit fails, and where it ends the process.
#[test]
fn a_build_without_room_leaves_the_old_bundle() {
    let project = Project::new();
    assert!(project.build().status().unwrap().success());
    project.write(100);
    // In units of 1 KiB: nothing at all, and less than one artifact.
    for limit in [0, 4] {
        // Of builds that were killed.
        let leftovers = temporary_files(&project.dist());
        let failing = format!("trap '' XFSZ; ulimit -f {limit}; \"$1\" \"$2\" --no-cache --out \"$3\"");
        let output = shell(&project, &failing);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("File too large") && text.contains("E0604"), "{text}");
        assert_eq!(temporary_files(&project.dist()), leftovers);
        let killing =
            format!("ulimit -c 0; ulimit -f {limit}; exec \"$1\" \"$2\" --no-cache --quiet --out \"$3\"");
        assert_eq!(shell(&project, &killing).status.code(), None);
        assert_eq!(first_of(&project.dist()), 0);
    }
    assert!(project.build().status().unwrap().success());
    assert_eq!(first_of(&project.dist()), 100);
    assert_eq!(temporary_files(&project.dist()), Vec::<PathBuf>::new());
}

/// Runs `script` in a mount namespace of its own, where `$4` is a folder to mount on; `None` where that is not
/// permitted.
fn in_own_mounts(project: &Project, script: &str) -> Option<Output> {
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "bash", "-euc", script, "bash"]);
        command.args([Path::new(env!("CARGO_BIN_EXE_compiler")), &project.root(), &project.dist()]);
        command.arg(project.folder.path().join("mount")).output().ok()
    };
    fs::create_dir_all(project.folder.path().join("mount")).unwrap();
    run("mount -t tmpfs tmpfs \"$4\"").filter(|output| output.status.success())?;
    run(script)
}

/// The old bundle lies on the full file system too; it is copied out before the mount goes.
#[test]
fn a_build_on_a_full_file_system_leaves_the_old_bundle() {
    let project = Project::new();
    let script = "mount -t tmpfs -o size=400k tmpfs \"$4\"
        \"$1\" \"$2\" --no-cache --quiet --out \"$4/dist\"
        sed -i 's/i32.const /i32.const 10/' \"$2/_index.yaml\"
        code=0; \"$1\" \"$2\" --no-cache --out \"$4/dist\" || code=$?
        cp -a \"$4/dist\" \"$3\"
        exit $code";
    let Some(output) = in_own_mounts(&project, script) else {
        skipped("a full file system", "this machine permits no mount namespaces to this user");
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("No space left on device"), "{text}");
    assert_eq!(first_of(&project.dist()), 0);
}

#[test]
fn a_build_onto_a_read_only_file_system_leaves_the_old_bundle() {
    let project = Project::new();
    assert!(project.build().status().unwrap().success());
    project.write(100);
    let script = "mount --bind \"$3\" \"$4\"; mount -o remount,bind,ro \"$4\"
        \"$1\" \"$2\" --no-cache --out \"$4\"";
    let Some(output) = in_own_mounts(&project, script) else {
        skipped("a read-only file system", "this machine permits no mount namespaces to this user");
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("Read-only file system"));
    assert_eq!(first_of(&project.dist()), 0);
}

/// Bytes that a process has written so far; `None` once it has ended.
fn written(child: &Child) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok())
}

/// Twenty moments, by how much was written: from before the first byte to after the last.
#[test]
fn a_killed_build_leaves_the_old_bundle_or_the_new_one() {
    let project = Project::new();
    assert!(project.build().status().unwrap().success());
    let body = Loader::open(project.dist()).unwrap().bundle().manifest().body().unwrap();
    let total: u64 = body.artifacts.iter().map(|artifact| artifact.size).sum();
    let mut state = 0x9e37_79b9_u64;
    let (mut old, mut killed) = (0, 0);
    for round in 1..=20 {
        let new = round * 1000;
        project.write(new);
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let threshold = (state >> 33) % (total + total / 8);
        let mut child = project.build().spawn().unwrap();
        while written(&child).is_some_and(|bytes| bytes < threshold) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::yield_now();
        }
        let _ = child.kill();
        killed += usize::from(!child.wait().unwrap().success());
        let first = first_of(&project.dist());
        assert!(first == old || first == new, "{first} is neither {old} nor {new}");
        old = first;
    }
    assert!(killed >= 10, "{killed} of 20 builds were killed");
    project.write(1);
    assert!(project.build().status().unwrap().success());
    assert_eq!(first_of(&project.dist()), 1);
    assert_eq!(temporary_files(&project.dist()), Vec::<PathBuf>::new());
    let artifacts = walkdir::WalkDir::new(project.dist().join("artifacts")).into_iter();
    let files = artifacts.filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count();
    assert_eq!(files, FUNCTIONS);
}

#[test]
fn builds_at_once_end_in_the_bundle_of_one_of_them() {
    let projects = [Project::new(), Project::new()];
    projects[0].write(100);
    projects[1].write(200);
    let dist = projects[0].dist();
    for _ in 0..5 {
        let mut builds: Vec<Child> =
            projects.iter().map(|project| build(&project.root(), &dist).spawn().unwrap()).collect();
        for child in &mut builds {
            assert!(child.wait().unwrap().success());
        }
        let first = first_of(&dist);
        assert!(first == 100 || first == 200, "{first}");
        assert_eq!(temporary_files(&dist), Vec::<PathBuf>::new());
    }
}

/// Both find, write and use the same entries; what they leave is whole.
#[test]
fn builds_at_once_share_a_cache() {
    for _ in 0..5 {
        let project = Project::new();
        let cache = project.folder.path().join("cache");
        let build = |dist: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
            command.arg(project.root()).arg("--cache-dir").arg(&cache).arg("--out");
            command.arg(project.folder.path().join(dist)).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let said = |child: Child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let builds = [build("one"), build("two")].map(said);
        assert!(builds.iter().all(|text| !text.contains("E0605")), "{builds:?}");
        let third = said(build("three"));
        assert!(third.contains(&format!(": 0 compiled, {FUNCTIONS} from the cache")), "{third}");
        let manifest = |dist: &str| fs::read(project.folder.path().join(dist).join("manifest.json")).unwrap();
        for dist in ["one", "two", "three"] {
            assert_eq!(first_of(&project.folder.path().join(dist)), 0);
            assert_eq!(manifest(dist), manifest("one"));
        }
    }
}
