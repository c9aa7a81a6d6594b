//! What the tests of the loader share: registries that are written for a test, bundles that the compiler's
//! binary makes of them, and edits of what it wrote.
//!
//! The loader never depends on the compiler. Its binary is named by `COMPILER_BIN`, or is the one of the
//! dev profile in the target folder that the test runs from.
#![allow(dead_code, reason = "every test file uses its own part")]

pub(crate) mod echo;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use registry_schema::manifest::{Artifact, Body, MANIFEST_FILE};
use registry_schema::manifest_file::Manifest;
use registry_schema::version::MANIFEST_FORMAT;
use registry_schema::{Digest, EntryId};
use serde_json::Value;
use tempfile::TempDir;

/// The compiler's binary.
fn compiler_bin() -> PathBuf {
    let bin = match std::env::var_os("COMPILER_BIN") {
        Some(named) => PathBuf::from(named),
        None => target_folder().join("debug/compiler"),
    };
    assert!(bin.is_file(), "no compiler at `{}`: run scripts/test", bin.display());
    bin
}

/// A command of the compiler.
pub(crate) fn compiler() -> Command {
    Command::new(compiler_bin())
}

/// The target folder: tests lie in `target/PROFILE/deps`.
fn target_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    exe.ancestors().nth(3).expect("tests lie three folders deep in the target folder").to_path_buf()
}

/// A folder that is removed at the end of the test. It lies in the target folder, not in the system's,
/// which may be mounted `noexec`.
pub(crate) fn temporary_folder() -> TempDir {
    let parent = target_folder().join("tmp");
    fs::create_dir_all(&parent).expect("the target folder can be written to");
    TempDir::new_in(parent).expect("the target folder can be written to")
}

/// A folder of the crate's own files.
pub(crate) fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A number that no other test of the process got.
///
/// Mappings are shared by digest in the whole process, so a test that damages an artifact, or looks how one
/// is mapped, needs one that no other test loads.
pub(crate) fn distinct() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Whether a bundle is compiled anew or may come from the cache of all tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    Cached,
    Uncached,
}

/// Runs the compiler on `root`, and panics with what it says unless it succeeds.
pub(crate) fn compile(root: &Path, out: &Path, caching: Caching) {
    compile_with(root, out, caching, &[]);
}

/// The same with further `options`.
pub(crate) fn compile_with(root: &Path, out: &Path, caching: Caching, options: &[&str]) {
    let mut command = compiler();
    command.arg("build").arg(root).arg("--quiet").arg("--out").arg(out).args(options);
    match caching {
        Caching::Cached => command.arg("--cache-dir").arg(target_folder().join("test-cache")),
        Caching::Uncached => command.arg("--no-cache"),
    };
    let output = command.output().expect("the compiler starts");
    assert!(output.status.success(), "the compiler failed:\n{}", text(&output.stderr));
}

/// A component that is committed in `tests/guests/`, beside its source.
#[derive(Clone, Copy)]
pub(crate) struct Guest {
    file: &'static str,
    sha256: &'static str,
}

/// Gives every kind of value back as it came.
pub(crate) const ECHO: Guest =
    Guest { file: "echo.wasm", sha256: "ccd447d54de48ddd8eb4f6f09ba949d60a25e7642a7e26bae05af27e1860dbd7" };

/// Uses clocks, random numbers, environment, stdout and files of WASI 0.2.
pub(crate) const WASI_IMPORTS: Guest = Guest {
    file: "wasi-imports.wasm",
    sha256: "b2df051e164da1dbc3ab19f1672e545abc34ca5fbabe7844765cdccc75bafb62",
};

/// Tries to reach files, streams, sockets and HTTP servers.
pub(crate) const REACH: Guest =
    Guest { file: "reach.wasm", sha256: "c6729c887a9140fd6534b8a11eb72cef9a1444a6c69d74dfd7a5346c6133ee94" };

/// The same through WASI 0.3, and what else it has.
pub(crate) const REACH_ASYNC: Guest = Guest {
    file: "reach-async.wasm",
    sha256: "6403dbc704b2bf092e6588c1c95c7853ec05c593c7edd19004dd156a1b699afa",
};

/// Uses files as C programs do, through preview 1.
pub(crate) const PREVIEW1_FILES: Guest = Guest {
    file: "preview1-files.wasm",
    sha256: "1c0454706e9c1e2d47ba9685ce9a5d46bf37476cda2e61c794f7007b1fbad011",
};

/// A command of WASI 0.2, which does what its first argument says.
pub(crate) const CONSOLE: Guest = Guest {
    file: "console.wasm",
    sha256: "d7ef0ccc8ceee47d90edb53afcb1be8c7e92e2095ffc07e7272f856bb16b295b",
};

/// A command for WASI preview 1, which says which of its streams are terminals and ends with its first argument.
pub(crate) const PREVIEW1_COMMAND: Guest = Guest {
    file: "preview1-command.wasm",
    sha256: "bbd2084ed49b48ce978ecfde1547f1db39cd0a20c608b20c2a3abdd67f95adf2",
};

/// Answers HTTP requests by `wasi:http` 0.2, bodies as streams.
pub(crate) const SERVE: Guest =
    Guest { file: "serve.wasm", sha256: "72086aa934837fb070dc492ec5a7a8f90c1c9de047159ecbe764233556d030a3" };
/// `guests/serve-async`: the same through WASI 0.3.
pub(crate) const SERVE_ASYNC: Guest = Guest {
    file: "serve-async.wasm",
    sha256: "dd0eab32f7ca20014d2fe13d98fe4fcf843ea09c6e625eb9c239382396c7f610",
};

/// A component of the asynchronous profile: `f` gives its argument and one.
pub(crate) const ASYNCHRONOUS: &str = r#"(component
  (core module $m
    (import "" "return" (func $return (param i32)))
    (func (export "f") (param i32) (result i32)
      (call $return (i32.add (local.get 0) (i32.const 1)))
      (i32.const 0))
    (func (export "cb") (param i32 i32 i32) (result i32) unreachable))
  (core func $return (canon task.return (result u32)))
  (core instance $i (instantiate $m
    (with "" (instance (export "return" (func $return))))))
  (func (export "f") async (param "x" u32) (result u32)
    (canon lift (core func $i "f") async (callback (func $i "cb")))))"#;

/// A component of the asynchronous profile around a core module's `functions`: those named in `exports` are
/// asynchronous, take a `u32` and end with `$done` of what they return, an `u32`, or the address of a `string`. They
/// may call `$step` of `acme:host/control`, and have a memory of two pages and a table of one element.
pub(crate) fn asynchronous(functions: &str, exports: &[&str], result: &str) -> String {
    // What is returned is of the memory that the export was lifted with.
    let (returned, give, memory) = match result {
        "string" => (
            "i32 i32",
            "(i32.load (local.get 0)) (i32.load offset=4 (local.get 0))",
            "(memory $libc \"memory\")",
        ),
        _ => ("i32", "(local.get 0)", ""),
    };
    let exports: String = exports
        .iter()
        .map(|name| {
            format!(
                "(func (export \"{name}\") async (param \"n\" u32) (result {result})
    (canon lift (core func $instance \"{name}\") async {memory} (callback (func $instance \"callback\"))))\n  "
            )
        })
        .collect();
    format!(
        r#"(component
  (import "acme:host/control@1.0.0" (instance $control
    (export "step" (func (param "n" u32) (result u32)))))
  (core module $libc (memory (export "memory") 2))
  (core instance $libc (instantiate $libc))
  (core func $step (canon lower (func $control "step")))
  (core func $return (canon task.return (result {result}) {memory}))
  (core module $module
    (import "host" "step" (func $step (param i32) (result i32)))
    (import "host" "return" (func $return (param {returned})))
    (import "host" "memory" (memory 2))
    (table $table 1 funcref)
    (func $done (param i32) (result i32) (call $return {give}) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable)
    {functions})
  (core instance $instance (instantiate $module (with "host" (instance
    (export "step" (func $step)) (export "return" (func $return)) (export "memory" (memory $libc "memory"))))))
  {exports})"#
    )
}

/// A registry of one namespace, in a folder of its own.
pub(crate) struct Registry {
    folder: TempDir,
    namespace: &'static str,
    entries: String,
}

impl Registry {
    /// A registry of the namespace `app`.
    pub(crate) fn new() -> Self {
        Self::in_namespace("app")
    }

    pub(crate) fn in_namespace(namespace: &'static str) -> Self {
        Self { folder: temporary_folder(), namespace, entries: String::new() }
    }

    /// Adds entries in YAML; the list's items start in the first column.
    pub(crate) fn entries(mut self, yaml: &str) -> Self {
        self.entries.push_str(yaml.trim_matches('\n'));
        self.entries.push('\n');
        self
    }

    /// Adds a `function.wat` with `source`; `more` are further fields, one per line.
    pub(crate) fn wat(self, name: &str, source: &str, more: &str) -> Self {
        let indented = |text: &str, by: &str| {
            text.trim().lines().map(|line| format!("{by}{}\n", line.trim_end())).collect::<String>()
        };
        let entry = format!(
            "- name: {name}\n  kind: function.wat\n  source: |\n{}{}",
            indented(source, "    "),
            indented(more, "  "),
        );
        self.entries(&entry)
    }

    /// Adds a function that returns `number`.
    pub(crate) fn answer(self, name: &str, number: u32) -> Self {
        let source = format!("(module (func (export \"answer\") (result i32) i32.const {number}))");
        self.wat(name, &source, "wit: \"answer: func() -> u32\"\nmethod: answer")
    }

    /// Adds `method` of a guest as entry `name`; `more` are further fields, one per line.
    pub(crate) fn guest(self, name: &str, guest: Guest, method: &str, more: &str) -> Self {
        let Guest { file, sha256 } = guest;
        let from = crate_folder().join("tests/guests").join(file);
        fs::copy(from, self.folder.path().join(file)).expect("the guest is committed");
        let files = if self.entries.contains("name: files\n") {
            ""
        } else {
            "- name: files\n  kind: fs.directory\n  directory: .\n"
        };
        let more: String = more.lines().map(|line| format!("  {line}\n")).collect();
        let entry = format!(
            "{files}- name: {name}\n  kind: function.wasm\n  fs: files\n  path: /{file}\n  hash: sha256:{sha256}\n  \
             method: {method}\n{more}"
        );
        self.entries(&entry)
    }

    /// Adds `method` of the guest of `samples/workers` as the process `name`; `more` are further fields, one per
    /// line.
    pub(crate) fn sample_worker(self, name: &str, method: &str, more: &str) -> Self {
        let sample = crate_folder().join("../samples/workers");
        fs::copy(sample.join("worker.wasm"), self.folder.path().join("worker.wasm"))
            .expect("it is committed");
        let index = fs::read_to_string(sample.join("_index.yaml")).expect("it is committed");
        let hash =
            index.lines().find_map(|line| line.trim().strip_prefix("hash: ")).expect("it names its guest");
        self.process_file(name, "worker.wasm", hash, &format!("method: {method}\n{more}"))
    }

    /// Adds `method` of a component in text as the process `name`; `more` are further fields, one per line.
    pub(crate) fn process_text(self, name: &str, source: &str, method: &str, more: &str) -> Self {
        let file = format!("{name}.wasm");
        let binary = wat::parse_str(source).expect("tests write components");
        let hash = sha256(&binary);
        fs::write(self.folder.path().join(&file), binary).expect("the folder is ours");
        self.process_file(name, &file, &hash, &format!("method: {method}\n{more}"))
    }

    /// Adds a guest as the process `name`; `more` are further fields, one per line, `method` among them.
    pub(crate) fn guest_process(self, name: &str, guest: Guest, more: &str) -> Self {
        let Guest { file, sha256 } = guest;
        let from = crate_folder().join("tests/guests").join(file);
        fs::copy(from, self.folder.path().join(file)).expect("the guest is committed");
        self.process_file(name, file, &format!("sha256:{sha256}"), more)
    }

    fn process_file(self, name: &str, file: &str, hash: &str, more: &str) -> Self {
        let files = if self.entries.contains("name: files\n") {
            ""
        } else {
            "- name: files\n  kind: fs.directory\n  directory: .\n"
        };
        let more: String = more.lines().map(|line| format!("  {line}\n")).collect();
        self.entries(&format!(
            "{files}- name: {name}\n  kind: process.wasm\n  fs: files\n  path: /{file}\n  hash: {hash}\n{more}"
        ))
    }

    /// Adds a file of the application.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder is ours");
        fs::write(path, content).expect("the folder is ours");
        self
    }

    /// Compiles it.
    pub(crate) fn build(self) -> Built {
        self.build_with(Caching::Cached)
    }

    /// Compiles it.
    pub(crate) fn build_with(self, caching: Caching) -> Built {
        self.build_as(caching, &[])
    }

    /// Compiles it with further `options`.
    pub(crate) fn build_as(self, caching: Caching, options: &[&str]) -> Built {
        let path = self.folder.path().join("dist");
        self.write();
        compile_with(self.folder.path(), &path, caching, options);
        Built { folder: self.folder, path }
    }

    /// Compiles it into the place of another.
    pub(crate) fn build_over(self, built: &Built) {
        self.write();
        compile(self.folder.path(), built.as_ref(), Caching::Cached);
    }

    fn write(&self) {
        let Self { namespace, entries, .. } = self;
        let index = format!("version: \"1.0\"\nnamespace: {namespace}\nentries:\n{entries}");
        fs::write(self.folder.path().join("_index.yaml"), index).expect("the folder is ours");
    }
}

/// A bundle that the compiler wrote.
pub(crate) struct Built {
    folder: TempDir,
    path: PathBuf,
}

impl AsRef<Path> for Built {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Built {
    /// The folder of the application; the bundle is `dist` in it.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file of the bundle.
    pub(crate) fn join(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    /// The bytes of the manifest.
    pub(crate) fn manifest(&self) -> Vec<u8> {
        fs::read(self.join(MANIFEST_FILE)).expect("the manifest was written")
    }

    /// The manifest's body.
    pub(crate) fn body(&self) -> Body {
        let manifest = Manifest::read(self.manifest()).expect("the compiler writes manifests");
        manifest.body().expect("the compiler writes manifests")
    }

    /// The artifact that `app:NAME` runs.
    pub(crate) fn artifact(&self, name: &str) -> Artifact {
        let body = self.body();
        let id: EntryId = format!("app:{name}").parse().expect("tests write ids");
        let entry = body.entries.iter().find(|entry| entry.id == id).expect("the entry is in the bundle");
        let wasm = entry.wasm.as_ref().expect("the entry is a function");
        let artifact = body.artifacts.iter().find(|artifact| artifact.component == wasm.component);
        artifact.expect("each component has an artifact").clone()
    }

    /// Puts other bytes in the manifest's place.
    pub(crate) fn replace_manifest(&self, bytes: &[u8]) {
        replace(&self.join(MANIFEST_FILE), bytes);
    }

    /// Edits the manifest's body and gives it the digest that it then has. The body keeps the layout in
    /// which the compiler writes it, one record per line.
    pub(crate) fn edit_body(&self, edit: impl FnOnce(&mut Value)) {
        let mut body = serde_json::to_value(self.body()).expect("the body is plain data");
        edit(&mut body);
        let section = |name: &str| {
            let records = body[name].as_array().expect("sections are arrays");
            let records: Vec<String> = records.iter().map(Value::to_string).collect();
            if records.is_empty() { String::new() } else { records.join(",\n") + "\n" }
        };
        self.replace_body(&format!(
            "{{\"head\":{}\n,\"artifacts\":[\n{}],\"entries\":[\n{}]}}",
            body["head"],
            section("artifacts"),
            section("entries"),
        ));
    }

    /// Puts another body in the manifest, with its digest.
    pub(crate) fn replace_body(&self, body: &str) {
        let digest = Digest::of(body.as_bytes());
        let start = format!("{{\"format\":{MANIFEST_FORMAT},\"digest\":\"blake3:{digest}\"");
        self.replace_manifest(format!("{start},\"signature\":null,\"body\":{body}}}\n").as_bytes());
    }
}

/// Replaces a file, which may be read-only, by one with `bytes`, which is writable for nobody.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("the file is there");
    fs::write(path, bytes).expect("the folder is ours");
    set_mode(path, 0o444);
}

/// Sets the mode of a file.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

/// Says in the output of the tests, which nothing captures, what was left out and why.
pub(crate) fn skipped(what: &str, why: &str) {
    let line = format!("skipped: {what}: {why}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("the output of tests is open");
}

/// `sha256:` and the digest of `bytes`.
fn sha256(bytes: &[u8]) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What a program wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("programs write UTF-8")
}

/// Exit code, stdout and stderr of a program.
pub(crate) fn outcome(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
