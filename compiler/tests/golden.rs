//! Golden files of what is said where the inputs can't be committed: files that are big, damaged or no UTF-8, what
//! builds say of caches and disks. `BLESS=1` rewrites them; review the difference.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use compiler::build::{BuildOptions, CheckOptions, build, check};
use compiler::cache::{Cache, Caching};
use compiler::codes::Code;
use compiler::diagnostic::{Diagnostic, Strictness};
use compiler::progress::Progress;
use registry_schema::authored::wasm::Results;
use registry_schema::{Digest, Target};
use sha2::Digest as _;
use support::{golden, golden_folder, text};

/// A folder with a registry of `entries`.
struct Project(tempfile::TempDir);

impl Project {
    fn new(entries: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.write("_index.yaml", format!("namespace: app\nentries:\n{entries}").as_bytes());
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the file `name` of the registry.
    fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        let path = self.path("app").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Makes the file `name` of the registry as large as `len` without any content.
    fn sparse(&self, name: &str, len: u64) {
        self.write(name, b"");
        let file = fs::OpenOptions::new().write(true).open(self.path("app").join(name)).unwrap();
        file.set_len(len).unwrap();
    }

    fn check(&self) -> Vec<Diagnostic> {
        check(&self.path("app"), &CheckOptions::default())
    }

    fn options(&self) -> BuildOptions {
        BuildOptions {
            out: self.path("dist"),
            targets: vec![Target::host().expect("tests run on a supported machine")],
            cache: Caching::On(Cache::open(self.path("cache")).unwrap()),
            strictness: Strictness::Lenient,
            profiles: Vec::new(),
            results: Results::Pair,
            sign_key: None,
        }
    }

    fn build(&self, options: &BuildOptions) -> Vec<Diagnostic> {
        build(&self.path("app"), options, &Progress::nothing()).diagnostics
    }

    /// Entries of the cache, with what they hold.
    fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = walkdir::WalkDir::new(self.path("cache")).sort_by_file_name().into_iter();
        let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
        files.map(|file| (file.path().to_owned(), fs::read(file.path()).unwrap()[65..].to_vec())).collect()
    }

    fn golden(&self, name: &str, diagnostics: &[Diagnostic]) {
        golden(name, &text(diagnostics, self.0.path()));
    }
}

/// Puts `content` where the cache keeps an entry, as if a build had.
fn keep(path: &Path, content: &[u8]) {
    let mut bytes = format!("{}\n", Digest::of(content)).into_bytes();
    bytes.extend_from_slice(content);
    fs::write(path, bytes).unwrap();
}

/// A function that returns `constant`.
fn function(name: &str, constant: i32) -> String {
    format!(
        "  - name: {name}\n    kind: function.wat\n    method: {name}\n    wit: '{name}: func() -> s32;'\n    \
         source: '(module (func (export \"{name}\") (result i32) i32.const {constant}))'\n"
    )
}

/// An entry whose binary is the file `path` with these bytes.
fn binary(name: &str, path: &str, bytes: &[u8]) -> String {
    let hash: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "  - {{name: {name}, kind: function.wasm, fs: files, path: '{path}', hash: 'sha256:{hash}', method: f}}\n"
    )
}

const FILES: &str = "  - {name: files, kind: fs.directory, directory: files}\n";

#[test]
fn binaries_that_are_no_components() {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("types.wit", "package a:b; interface types { f: func(); }").unwrap();
    let package = wit_component::encode(&resolve, package).unwrap();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let broken = b"\0asm\x01\0\0\0\x01";
    let hash: String = sha2::Sha256::digest(broken).iter().map(|byte| format!("{byte:02x}")).collect();
    let adapted = format!(
        "  - name: adapted\n    kind: function.wat\n    method: f\n    wit: 'f: func() -> s32;'\n    source: \
         '(module (func (export \"f\") (result i32) i32.const 1))'\n    adapters:\n      - {{name: env, fs: files, \
         path: /broken.wasm, hash: 'sha256:{hash}'}}\n"
    );
    let entries = [
        FILES.to_owned(),
        binary("pointer", "/pointer.wasm", lfs),
        binary("package", "/package.wasm", &package),
        binary("link", "/link.wasm", b""),
        binary("backslash", "a\\b.wasm", b""),
        binary("no_file", "/", b""),
        adapted,
    ];
    let project = Project::new(&entries.concat());
    project.write("files/pointer.wasm", lfs);
    project.write("files/package.wasm", &package);
    project.write("files/broken.wasm", broken);
    project.write("outside.wasm", b"");
    std::os::unix::fs::symlink("../outside.wasm", project.path("app/files/link.wasm")).unwrap();
    project.golden("binaries.txt", &project.check());
}

/// Nothing of what is too big is read: the files have no content.
#[test]
fn sources_that_are_too_big() {
    let entries = [
        FILES.to_owned(),
        "  - {name: embedded, kind: fs.embed, directory: embedded}\n".to_owned(),
        binary("binary", "/big.wasm", b""),
        "  - {name: text, kind: function.lua, source: 'file://big.lua', method: f}\n".to_owned(),
    ];
    let project = Project::new(&entries.concat());
    project.sparse("files/big.wasm", (256 << 20) + 1);
    project.sparse("big.lua", 1 << 40);
    project.sparse("embedded/a", 1 << 29);
    project.sparse("embedded/b", (1 << 29) + 1);
    project.golden("too-big.txt", &project.check());
}

#[test]
fn embedded_names_that_are_no_text() {
    let project = Project::new("  - {name: embedded, kind: fs.embed, directory: embedded}\n");
    project.write("embedded/a.txt", b"a");
    project.write(Path::new("embedded").join(OsStr::from_bytes(b"b\xff.txt")), b"b");
    project.golden("embedded-name.txt", &project.check());
}

/// Root may read all, so that the compiler runs as nobody then.
#[test]
fn what_may_not_be_read() {
    let project = Project::new("  - {name: embedded, kind: fs.embed, directory: embedded}\n");
    project.write("embedded/a.txt", b"a");
    project.write("secret/_index.yaml", b"namespace: secret\nentries: []\n");
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(project.path(""), 0o755);
    mode(project.path("app/embedded/a.txt"), 0);
    mode(project.path("app/secret"), 0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
    command.current_dir(project.path("")).args(["check", "app"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    mode(project.path("app/secret"), 0o755);
    match output {
        Ok(output) => {
            assert_eq!(output.status.code(), Some(1));
            let text = str::from_utf8(&output.stderr).unwrap();
            golden("unreadable.txt", &support::scrubbed(text, project.0.path()));
        }
        Err(error) => {
            let text =
                format!("skipped: what may not be read: nobody can't run the compiler here: {error}\n");
            std::io::stdout().write_all(text.as_bytes()).unwrap();
        }
    }
}

/// Valid, and not offered by the code generator: an imported function is exported as it is.
#[test]
fn a_component_that_can_not_be_compiled() {
    let project = Project::new(
        "  - name: passed_on
    kind: function.wat
    method: get
    source: |
      (component
        (import \"acme:kv/store@1.0.0\" (instance $store (export \"get\" (func (result u32)))))
        (alias export $store \"get\" (func $get))
        (export \"get\" (func $get)))
    imports: [\"acme:kv/store\"]
",
    );
    let options = project.options();
    project.golden("code-generation.txt", &project.build(&options));
    assert!(!project.path("dist/manifest.json").exists());
}

/// The cache gives one component the code of the other.
#[test]
fn code_that_does_not_load() {
    let project = Project::new(&[function("f", 1), function("g", 2)].concat());
    let options = project.options();
    assert_eq!(project.build(&options), []);
    let code: Vec<_> =
        project.kept().into_iter().filter(|(_, bytes)| bytes.starts_with(b"\x7fELF")).collect();
    let [(one, first), (other, second)] = &code[..] else { panic!("{} artifacts", code.len()) };
    keep(one, second);
    keep(other, first);
    project.golden("self-check.txt", &project.build(&options));
}

#[test]
fn a_bundle_that_can_not_be_written() {
    let project = Project::new(&function("f", 1));
    fs::write(project.path("dist"), "a file").unwrap();
    project.golden("not-written.txt", &project.build(&project.options()));
}

#[test]
fn an_unusable_cache_is_a_warning() {
    let project = Project::new(&function("f", 1));
    fs::write(project.path("home"), "a file").unwrap();
    let build = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compiler"));
        command.current_dir(project.0.path()).args(["app", "--quiet", "--out", "dist"]).args(arguments);
        command.env("XDG_CACHE_HOME", project.path("home")).output().unwrap()
    };
    let output = build(&[]);
    assert_eq!(output.status.code(), Some(0));
    golden(
        "cache-unusable.txt",
        &support::scrubbed(str::from_utf8(&output.stderr).unwrap(), project.0.path()),
    );
    assert_eq!(loader::Loader::open(project.path("dist")).unwrap().verify().unwrap().faults, []);

    let output = build(&["--message-format", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["severity"], &line["code"]), (&"warning".into(), &"E0605".into()));
    assert_eq!(build(&["--strict"]).status.code(), Some(1));
    assert_eq!(build(&["--strict", "--no-cache"]).status.code(), Some(0));
    // One that was named has to be there.
    assert_eq!(build(&["--cache-dir", "home/cache"]).status.code(), Some(3));
}

#[test]
fn damaged_entries_of_the_cache_are_a_warning() {
    let project = Project::new(&function("f", 1));
    let options = project.options();
    assert_eq!(project.build(&options), []);
    for (path, _) in project.kept() {
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    project.golden("cache-damaged.txt", &project.build(&options));
    assert_eq!(project.build(&options), []);
}

/// What is known of a source is that of another component, by a digest that is right.
#[test]
fn what_the_cache_says_of_others_is_dropped() {
    let project = Project::new(&[function("f", 1), function("g", 2)].concat());
    let options = project.options();
    let run = || build(&project.path("app"), &options, &Progress::nothing());
    assert_eq!(run().diagnostics, []);
    let good = fs::read(project.path("dist/manifest.json")).unwrap();
    let known =
        || project.kept().into_iter().filter(|(_, bytes)| bytes.starts_with(b"{")).collect::<Vec<_>>();
    let [(one, first), (other, second)] = &known()[..] else { panic!("two sources") };

    // That of the other source, which says so.
    keep(one, second);
    keep(other, first);
    let report = run();
    let counts = report.written.unwrap().counts;
    assert_eq!((counts.compiled, counts.cached), (0, 2));
    project.golden("cache-swapped.txt", &report.diagnostics);
    assert_eq!(run().diagnostics, []);

    // Another component of the same source: found when its bytes are needed.
    let change = |edit: &dyn Fn(&mut serde_json::Value)| {
        for (path, bytes) in known() {
            let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            if value["record"]["exports"][0]["path"]["function"] == "f" {
                edit(&mut value);
                keep(&path, &serde_json::to_vec(&value).unwrap());
            }
        }
    };
    change(&|value| value["record"]["digest"] = Digest::of(b"another").to_string().into());
    let report = run();
    let counts = report.written.unwrap().counts;
    assert_eq!((counts.compiled, counts.cached), (0, 2));
    project.golden("cache-other-component.txt", &report.diagnostics);
    assert_eq!(run().diagnostics, []);

    // Faults that the source does not have.
    change(&|value| value["record"]["exports"] = serde_json::json!([]));
    let report = run();
    assert!(report.written.is_some());
    project.golden("cache-other-faults.txt", &report.diagnostics);
    assert_eq!(run().diagnostics, []);
    assert_eq!(fs::read(project.path("dist/manifest.json")).unwrap(), good);
}

#[test]
fn every_code_has_a_golden_file() {
    let cases = golden_folder().with_file_name("cases");
    let texts = walkdir::WalkDir::new(cases).into_iter().chain(walkdir::WalkDir::new(golden_folder()));
    let texts = texts.map(Result::unwrap).filter(|entry| {
        let folder = entry.path().parent().and_then(Path::file_name);
        entry.file_name() == "expected.txt" || folder == Some(OsStr::new("golden"))
    });
    let golden: String = texts.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()).collect();
    let without =
        Code::ALL.iter().map(|code| code.as_str()).filter(|code| !golden.contains(&format!("[{code}]")));
    assert_eq!(without.collect::<BTreeSet<_>>(), BTreeSet::new());
}
