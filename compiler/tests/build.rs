//! Bundles as a whole: the cache, reproducibility, and what happens to a bundle that is in use.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use compiler::build::{BuildOptions, CheckOptions, Report, build, check};
use compiler::cache::{Cache, Caching};
use compiler::diagnostic::{Diagnostic, Strictness};
use compiler::precompile::Counts;
use compiler::progress::Progress;
use loader::{Loader, Val};
use registry_schema::authored::wasm::Results;
use registry_schema::manifest::lua_path;
use registry_schema::{Digest, Target};

/// A registry of functions that return constants, and where its bundle goes.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(constants: &[i32]) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.write(constants);
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, constants: &[i32]) {
        let mut text = String::from("version: \"1.0\"\nnamespace: t\nentries:\n");
        for (index, constant) in constants.iter().enumerate() {
            text.push_str(&format!(
                "  - name: f{index}\n    kind: function.wat\n    method: f\n    wit: 'f: func() -> s32;'\n    \
                 source: '(module (func (export \"f\") (result i32) i32.const {constant}))'\n"
            ));
        }
        fs::create_dir_all(self.path("app")).unwrap();
        fs::write(self.path("app/_index.yaml"), text).unwrap();
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

    fn build_with(&self, options: &BuildOptions) -> Counts {
        let report = build(&self.path("app"), options, &Progress::nothing());
        written(report)
    }

    fn build(&self) -> Counts {
        self.build_with(&self.options())
    }

    fn call(loader: &Loader, index: usize) -> Option<Val> {
        loader.call_blocking(&format!("t:f{index}"), &[]).unwrap()
    }
}

fn written(report: Report) -> Counts {
    assert!(report.diagnostics.is_empty(), "{:?}", report.diagnostics);
    report.written.expect("no error means written").counts
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file()).map(|e| e.into_path()).collect()
}

fn artifacts(project: &Project) -> Vec<PathBuf> {
    files(&project.path("dist/artifacts"))
}

/// `precompile.rs` changes options and versions, which no build can.
#[test]
fn what_did_not_change_is_not_compiled_again() {
    let counts = |compiled, cached| Counts { compiled, cached };
    let project = Project::new(&[1]);
    let to = |target: &str| BuildOptions { targets: vec![target.parse().unwrap()], ..project.options() };
    assert_eq!(project.build_with(&to("x86_64-unknown-linux-gnu:v2")), counts(1, 0));
    assert_eq!(project.build_with(&to("x86_64-unknown-linux-gnu:v2")), counts(0, 1));
    // The source alone, and back to what was.
    project.write(&[2]);
    assert_eq!(project.build_with(&to("x86_64-unknown-linux-gnu:v2")), counts(1, 0));
    project.write(&[1]);
    assert_eq!(project.build_with(&to("x86_64-unknown-linux-gnu:v2")), counts(0, 1));
    // The target alone: level, machine, interpreter.
    for target in ["x86_64-unknown-linux-gnu:v3", "aarch64-unknown-linux-gnu", "pulley64"] {
        assert_eq!(project.build_with(&to(target)), counts(1, 0), "{target}");
        assert_eq!(project.build_with(&to(target)), counts(0, 1), "{target}");
    }
    // One of several entries.
    project.write(&[1, 3, 4]);
    assert_eq!(project.build_with(&to("x86_64-unknown-linux-gnu:v2")), counts(2, 1));
    project.write(&[1, 30, 4]);
    assert_eq!(project.build_with(&to("x86_64-unknown-linux-gnu:v2")), counts(1, 2));
}

#[test]
fn a_damaged_cache_entry_is_noticed_and_made_again() {
    let project = Project::new(&[1]);
    project.build();
    let good: Vec<(PathBuf, Vec<u8>)> =
        artifacts(&project).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for path in files(&project.path("cache")) {
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let report = build(&project.path("app"), &project.options(), &Progress::nothing());
    assert_eq!(report.written.unwrap().counts, Counts { compiled: 1, cached: 0 });
    assert_eq!(said(&report.diagnostics), [("E0605", 0)]);
    for (path, bytes) in good {
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
}

#[test]
fn entries_with_the_same_component_share_one_artifact() {
    let project = Project::new(&[7, 7, 8]);
    assert_eq!(project.build(), Counts { compiled: 2, cached: 0 });
    assert_eq!(artifacts(&project).len(), 2);
}

#[test]
fn a_lazy_loader_keeps_every_file_of_its_manifest() {
    let project = Project::new(&[1, 2, 3]);
    project.build();
    let old = Loader::open(project.path("dist")).unwrap();
    project.write(&[10, 20, 30]);
    project.build();
    // Both bundles' artifacts are there: the loader holds the lock.
    assert_eq!(artifacts(&project).len(), 6);
    for (index, constant) in [1, 2, 3].into_iter().enumerate() {
        assert_eq!(Project::call(&old, index), Some(Val::S32(constant)));
    }
    let new = Loader::open(project.path("dist")).unwrap();
    assert_eq!(Project::call(&new, 2), Some(Val::S32(30)));
    drop((old, new));
    // Nobody holds it: the next build removes what its manifest does not name.
    project.build();
    assert_eq!(artifacts(&project).len(), 3);
}

#[test]
fn leftovers_of_a_killed_build_are_removed() {
    let project = Project::new(&[1]);
    project.build();
    let folder = artifacts(&project)[0].parent().unwrap().to_path_buf();
    let leftovers = [folder.join(".tmp-1-0"), project.path("dist/.tmp-1")];
    leftovers.iter().for_each(|path| fs::write(path, "half").unwrap());
    project.build();
    assert!(leftovers.iter().all(|path| !path.exists()));
}

#[test]
fn artifacts_are_read_only_and_a_failed_build_leaves_the_bundle_whole() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new(&[1]);
    project.build();
    let mode = fs::metadata(&artifacts(&project)[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    let before: Vec<_> = files(&project.path("dist")).into_iter().map(|p| fs::read(p).unwrap()).collect();
    fs::write(project.path("app/_index.yaml"), "namespace: t\nentries: [{name: x, kind: function.wat}]\n")
        .unwrap();
    let report = build(&project.path("app"), &project.options(), &Progress::nothing());
    assert!(report.written.is_none());
    let after: Vec<_> = files(&project.path("dist")).into_iter().map(|p| fs::read(p).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn thread_counts_and_caches_do_not_change_a_byte() {
    let constants: Vec<i32> = (0..40).collect();
    let bundles: Vec<Vec<(PathBuf, Vec<u8>)>> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let project = Project::new(&constants);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| project.build());
            let dist = project.path("dist");
            let relative = |path: PathBuf| path.strip_prefix(&dist).unwrap().to_path_buf();
            files(&dist).into_iter().map(|path| (relative(path.clone()), fs::read(path).unwrap())).collect()
        })
        .collect();
    assert_eq!(bundles[0], bundles[1]);
    assert_eq!(bundles[0], bundles[2]);
}

#[test]
fn a_component_with_async_exports_runs_in_the_async_profile() {
    let project = Project::new(&[1]);
    fs::write(
        project.path("app/async.yaml"),
        r#"
namespace: a
entries:
  - name: f
    kind: function.wat
    method: f
    source: |
      (component
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
          (canon lift (core func $i "f") async (callback (func $i "cb")))))
"#,
    )
    .unwrap();
    let report = build(&project.path("app"), &project.options(), &Progress::nothing());
    assert!(report.written.is_some(), "{:?}", report.diagnostics);
    let bundle = loader::Bundle::open(project.path("dist")).unwrap();
    let mut profiles: Vec<String> =
        bundle.manifest().artifacts().map(|artifact| artifact.unwrap().profile.to_string()).collect();
    profiles.sort();
    assert_eq!(profiles, ["async", "sync"]);
    assert_eq!(bundle.manifest().head().engines.len(), 2);
    let loader = Loader::open(project.path("dist")).unwrap();
    assert_eq!(loader.call_blocking("a:f", &[Val::U32(41)]).unwrap(), Some(Val::U32(42)));
    assert_eq!(Project::call(&loader, 0), Some(Val::S32(1)));
}

/// Every file of a bundle with its content.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Code and line of all that is said.
fn said(diagnostics: &[Diagnostic]) -> Vec<(&'static str, u32)> {
    let line = |it: &Diagnostic| it.place.as_ref().map_or(0, |place| place.span.line);
    diagnostics.iter().map(|it| (it.code.as_str(), line(it))).collect()
}

/// A component that imports `wasi:random/random` with another result, and is granted it at line 12.
const OTHER_TYPES: &str = r#"namespace: t
entries:
  - name: f0
    kind: function.wat
    method: f
    source: |
      (component
        (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result string)))))
        (core module $m (func (export "f") (result i32) i32.const 2))
        (core instance $i (instantiate $m))
        (func (export "f") (result s32) (canon lift (core func $i "f"))))
    imports: ["wasi:random/random@0.2.0"]
"#;

#[test]
fn a_granted_interface_of_other_types_is_no_bundle() {
    let project = Project::new(&[1]);
    project.build();
    let (old, before) = (Loader::open(project.path("dist")).unwrap(), content(&project.path("dist")));
    fs::write(project.path("app/_index.yaml"), OTHER_TYPES).unwrap();
    let expected = [("E0504", 12)];
    assert_eq!(said(&check(&project.path("app"), &CheckOptions::default())), expected);
    let host = Target::host().expect("tests run on a supported machine");
    let foreign = Target::all().find(|target| target.triple != host.triple && target.triple.is_native());
    for target in [host, foreign.expect("there are several machines")] {
        let options = BuildOptions { targets: vec![target], ..project.options() };
        let report = build(&project.path("app"), &options, &Progress::nothing());
        assert!(report.written.is_none());
        assert_eq!(said(&report.diagnostics), expected, "{target}");
    }
    assert_eq!(content(&project.path("dist")), before);
    assert_eq!(Project::call(&old, 0), Some(Val::S32(1)));
    assert_eq!(Project::call(&Loader::open(project.path("dist")).unwrap(), 0), Some(Val::S32(1)));
}

/// The cache gives one component the code of another, which nothing but loading it shows.
#[test]
fn a_bundle_that_fails_its_check_does_not_replace_the_good_one() {
    let project = Project::new(&[1, 2]);
    project.build();
    let is_code = |path: &PathBuf| fs::read(path).unwrap().get(65..69) == Some(b"\x7fELF");
    let code = || files(&project.path("cache")).into_iter().filter(is_code).collect::<Vec<_>>();
    let (old, before, known) =
        (Loader::open(project.path("dist")).unwrap(), content(&project.path("dist")), code());
    let function = |name: &str, constant: i32| {
        format!(
            "  - name: {name}\n    kind: function.wat\n    method: {name}\n    wit: '{name}: func() -> s32;'\n    \
             source: '(module (func (export \"{name}\") (result i32) i32.const {constant}))'\n"
        )
    };
    let text = format!("namespace: t\nentries:\n{}{}", function("f0", 10), function("g0", 20));
    fs::write(project.path("app/_index.yaml"), text).unwrap();
    project.build_with(&BuildOptions { out: project.path("other"), ..project.options() });
    let new: Vec<PathBuf> = code().into_iter().filter(|path| !known.contains(path)).collect();
    let [one, two] = &new[..] else { panic!("{new:?}") };
    let (first, second) = (fs::read(one).unwrap(), fs::read(two).unwrap());
    fs::write(one, second).unwrap();
    fs::write(two, first).unwrap();

    let report = build(&project.path("app"), &project.options(), &Progress::nothing());
    assert!(report.written.is_none());
    assert_eq!(said(&report.diagnostics), [("E0603", 3), ("E0603", 8)]);
    assert_eq!(content(&project.path("dist")), before);
    assert_eq!(Project::call(&old, 0), Some(Val::S32(1)));
    assert_eq!(Project::call(&Loader::open(project.path("dist")).unwrap(), 1), Some(Val::S32(2)));
    // Nothing is left in the way of a build with another cache.
    let options = BuildOptions { cache: Caching::Off, ..project.options() };
    assert_eq!(project.build_with(&options), Counts { compiled: 2, cached: 0 });
    let new = Loader::open(project.path("dist")).unwrap();
    assert_eq!(new.call_blocking("t:g0", &[]).unwrap(), Some(Val::S32(20)));
}

/// The Lua sources of a bundle, by name.
fn lua_sources(project: &Project) -> Vec<(String, String)> {
    let read =
        |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path));
    let all = files(&project.path("dist/lua")).into_iter().map(read);
    all.map(|(name, text)| (name, text.unwrap())).collect()
}

#[test]
fn lua_sources_are_carried_once_without_their_types() {
    let project = Project::new(&[1]);
    let write = |source: &str| {
        let text = format!(
            "namespace: l\nentries:\n  - {{name: a, kind: function.lua, source: '{source}', method: m, \
             modules: [time, json, time], imports: {{lib: b, reg: \":registry\"}}, meta: {{x: 1}}}}\n  \
             - {{name: b, kind: library.lua, source: '{source}', method: ignored}}\n"
        );
        fs::write(project.path("app/lua.yaml"), text).unwrap();
    };
    write("local x: number = 1 return {m = f}");
    project.build();
    let text = "local x         = 1 return {m = f}";
    let digest = Digest::of(text.as_bytes());
    assert_eq!(lua_sources(&project), [(format!("{digest}.lua"), text.to_owned())]);

    let bundle = loader::Bundle::open(project.path("dist")).unwrap();
    let file = &bundle.manifest().head().files[&lua_path(digest)];
    assert_eq!((file.digest, file.size), (digest, text.len() as u64));
    let entry = |id: &str| bundle.manifest().entry(&id.parse().unwrap()).unwrap().unwrap();
    let lua = entry("l:a").lua.unwrap();
    assert_eq!(
        serde_json::to_value(&lua).unwrap(),
        serde_json::json!({
            "source": digest.to_string(),
            "method": "m",
            "modules": ["json", "time"],
            "imports": {"lib": "l:b", "reg": ":registry"},
        })
    );
    assert_eq!((entry("l:a").data, entry("l:a").unavailable), (serde_json::Value::Null, None));
    assert_eq!(entry("l:b").lua.unwrap().method, None);
    assert_eq!(entry("t:f0").lua, None);
    drop(bundle);

    // What is no longer named goes, as artifacts do.
    write("return {m = g}");
    project.build();
    assert_eq!(lua_sources(&project).len(), 1);
    assert_eq!(lua_sources(&project)[0].1, "return {m = g}");
}

/// Bytecode is no source, as text in a definition or in a file of its own.
#[test]
fn bytecode_is_not_carried() {
    let bytecode = mlua::Lua::new().load("return function() end").into_function().unwrap().dump(true);
    let project = Project::new(&[1]);
    fs::write(project.path("app/binary.lua"), &bytecode).unwrap();
    // What a text can hold of it.
    fs::write(project.path("app/head.lua"), "\u{1b}LuaT\0return function() end").unwrap();
    for source in
        ["file://binary.lua", "file://head.lua", "\\eLuaT return function() end", "return 1 \\eLuaT"]
    {
        let text =
            format!("namespace: l\nentries:\n  - {{name: a, kind: function.lua, source: \"{source}\"}}\n");
        fs::write(project.path("app/lua.yaml"), text).unwrap();
        let report = build(&project.path("app"), &project.options(), &Progress::nothing());
        assert!(report.written.is_none(), "{source}");
        let errors: Vec<_> = report.diagnostics.iter().map(|diagnostic| diagnostic.code.as_str()).collect();
        let expected = if source.ends_with("binary.lua") { "E0303" } else { "E0416" };
        assert_eq!(errors, [expected], "{source}");
    }
}
