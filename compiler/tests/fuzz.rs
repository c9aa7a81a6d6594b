//! Sources that were changed at random: definition files, WebAssembly text and binaries, WIT and Lua. Each
//! case ends in diagnostics or in a bundle, never in a panic, a crash, a hang or too much memory.
//! `scripts/fuzz` runs these at length.
//!
//! The sources are those of the samples and of the golden cases. Every case is checked, and one in eight
//! is built.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../loader/tests/support/mutation.rs"]
mod mutation;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use compiler::build::{BuildOptions, CheckOptions, build, check};
use compiler::cache::Caching;
use compiler::diagnostic::{Diagnostics, Strictness};
use compiler::front::Selection;
use compiler::progress::Progress;
use mutation::{Random, mutated};
use registry_schema::Target;
use registry_schema::authored::wasm::Results;
use sha2::{Digest as _, Sha256};

/// Cases of which one is built as well.
const BUILT_ONE_IN: usize = 8;

/// A registry as files: paths and contents.
type Files = Vec<(PathBuf, Vec<u8>)>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The registries of the golden cases, and the samples as one.
fn registries() -> Vec<PathBuf> {
    let cases = fs::read_dir(root().join("tests/cases")).unwrap();
    let mut folders: Vec<PathBuf> = cases.map(|case| case.unwrap().path().join("app")).collect();
    folders.push(root().join("../samples"));
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders
}

fn files_of(folder: &Path) -> Files {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    let small = files.filter(|path| path.metadata().is_ok_and(|metadata| metadata.len() < 200_000));
    small
        .filter_map(|path| Some((path.strip_prefix(folder).ok()?.to_owned(), fs::read(&path).ok()?)))
        .collect()
}

/// A source of an entry, with what is said of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    kind: String,
    text: String,
    wit: Option<String>,
    method: Option<String>,
    preinit: Option<String>,
}

/// The sources of all entries whose kind is among `kinds`.
fn sources(kinds: &[&str]) -> Vec<Source> {
    let mut all = BTreeSet::new();
    for folder in registries() {
        let mut diagnostics = Diagnostics::new(Strictness::Lenient);
        let Some(registry) = compiler::front::read(&folder, Selection::default(), &mut diagnostics) else {
            continue;
        };
        for entry in registry.entries.values().filter(|entry| kinds.contains(&entry.kind.as_str())) {
            let field = |name: &str| entry.data.get(name).and_then(|node| node.as_str()).map(str::to_owned);
            let Some(text) = field("source") else { continue };
            // One that runs long would do so in each of its cases.
            if entry.id.name() == "endless" {
                continue;
            }
            let (wit, method, preinit) = (field("wit"), field("method"), field("preinit"));
            all.insert(Source { kind: entry.kind.clone(), text, wit, method, preinit });
        }
    }
    all.into_iter().collect()
}

/// A folder that holds one registry after the other.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Checks the registry `files`, and builds it now and then.
    fn try_out(&self, files: &Files, random: &mut Random) {
        let app = self.folder.path().join("app");
        let _ = fs::remove_dir_all(&app);
        fs::create_dir_all(&app).unwrap();
        for (path, bytes) in files {
            let path = app.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let said = check(&app, &CheckOptions::default());
        // What can't be rendered can't be read.
        let mut text = Vec::new();
        let format = compiler::report::Format::Human { color: false };
        compiler::report::render(&said, format, &mut text).unwrap();
        if random.below(BUILT_ONE_IN) == 0 {
            let options = BuildOptions {
                out: self.folder.path().join("dist"),
                targets: vec![Target::host().unwrap()],
                cache: Caching::Off,
                strictness: Strictness::Lenient,
                profiles: Vec::new(),
                results: Results::Pair,
                sign_key: None,
            };
            build(&app, &options, &Progress::nothing());
        }
    }
}

/// A registry with one entry of `source`, whose texts lie in files.
fn registry_of(source: &Source, text: &[u8], wit: Option<&[u8]>) -> Files {
    let extension = if source.kind.ends_with(".lua") { "lua" } else { "wat" };
    let mut index = format!(
        "namespace: app\nentries:\n  - name: entry\n    kind: {}\n    source: file://source.{extension}\n",
        source.kind
    );
    for (field, value) in [("method", &source.method), ("preinit", &source.preinit)] {
        if let Some(value) = value {
            writeln!(index, "    {field}: {}", serde_json::Value::from(value.as_str())).unwrap();
        }
    }
    let mut files = vec![(PathBuf::from(format!("source.{extension}")), text.to_vec())];
    if let Some(wit) = wit {
        index.push_str("    wit: file://source.wit\n");
        files.push(("source.wit".into(), wit.to_vec()));
    }
    files.push(("_index.yaml".into(), index.into_bytes()));
    files
}

#[test]
fn registries_with_changed_files() {
    let registries: Vec<Files> = registries().iter().map(|folder| files_of(folder)).collect();
    let workshop = Workshop::new();
    mutation::run("registries", |random| {
        let mut files = random.pick(&registries).clone();
        let is_read = |path: &Path| {
            let name = path.to_string_lossy();
            [".yaml", ".yml", ".lock"].iter().any(|end| name.ends_with(end))
        };
        let read: Vec<usize> = (0..files.len()).filter(|index| is_read(&files[*index].0)).collect();
        if !read.is_empty() {
            let bytes = &mut files[*random.pick(&read)].1;
            *bytes = mutated(bytes, random);
        }
        workshop.try_out(&files, random);
    });
}

#[test]
fn webassembly_text_with_changed_bytes() {
    let sources = sources(&["function.wat"]);
    let workshop = Workshop::new();
    mutation::run("wat", |random| {
        let source = random.pick(&sources);
        let text = mutated(source.text.as_bytes(), random);
        workshop.try_out(&registry_of(source, &text, source.wit.as_deref().map(str::as_bytes)), random);
    });
}

#[test]
fn wit_with_changed_bytes() {
    let mut sources = sources(&["function.wat"]);
    sources.retain(|source| source.wit.is_some());
    let workshop = Workshop::new();
    mutation::run("wit", |random| {
        let source = random.pick(&sources);
        let wit = mutated(source.wit.as_ref().unwrap().as_bytes(), random);
        workshop.try_out(&registry_of(source, source.text.as_bytes(), Some(&wit)), random);
    });
}

#[test]
fn lua_with_changed_bytes() {
    let sources = sources(&["function.lua", "library.lua", "process.lua"]);
    let workshop = Workshop::new();
    mutation::run("lua", |random| {
        let source = random.pick(&sources);
        workshop.try_out(&registry_of(source, &mutated(source.text.as_bytes(), random), None), random);
    });
}

/// Modules and components, as an entry's source or as its adapter.
#[test]
fn binaries_with_changed_bytes() {
    let sources = sources(&["function.wat"]);
    let mut binaries: Vec<(Vec<u8>, Source)> = sources
        .iter()
        .filter_map(|source| Some((wat::parse_str(&source.text).ok()?, source.clone())))
        .collect();
    let library = sources.iter().find(|source| source.wit.is_some()).unwrap().clone();
    for name in ["strings/stats.wasm", "preview1/hello.wasm", "preview1/wordcount.wasm", "shared/calc.wasm"] {
        binaries.push((fs::read(root().join("../samples").join(name)).unwrap(), library.clone()));
    }
    let workshop = Workshop::new();
    mutation::run("binaries", |random| {
        let (bytes, source) = random.pick(&binaries).clone();
        let bytes = mutated(&bytes, random);
        let hash = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        let place = format!("fs: files, path: /changed.wasm, hash: \"sha256:{hash}\"");
        let mut files =
            registry_of(&source, source.text.as_bytes(), source.wit.as_deref().map(str::as_bytes));
        let index = &mut files.last_mut().unwrap().1;
        let text = String::from_utf8(std::mem::take(index)).unwrap();
        let (head, fields) = text.split_once("    source: file://source.wat\n").unwrap();
        let (head, entry) = match random.below(3) {
            0 => {
                let module = random.below(2);
                let module = ["wasi_snapshot_preview1", "host"][module];
                (
                    head.to_owned(),
                    format!("    source: file://source.wat\n    adapters: [{{name: {module}, {place}}}]\n"),
                )
            }
            _ => {
                let fields = place.replace(", ", "\n    ");
                (head.replace("function.wat", "function.wasm"), format!("    {fields}\n"))
            }
        };
        *index = format!("{head}{entry}{fields}  - name: files\n    kind: fs.directory\n    directory: .\n")
            .into_bytes();
        files.push(("changed.wasm".into(), bytes));
        workshop.try_out(&files, random);
    });
}
