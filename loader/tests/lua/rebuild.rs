//! A bundle that is built anew beside an open loader: what that loader reads only afterwards is still its own.

use std::fs;
use std::path::Path;

use loader::{Context, Data, Loader};
use serde_json::json;

use crate::shared::{library, lua};
use crate::support::{Built, REACH, Registry};

/// A registry in which everything says `word`: a Lua function with its library, a file of the bundle, and a
/// guest to which that file is mounted.
fn registry(word: &str) -> Registry {
    let source = r#"
        local fs, lib = require("fs"), require("lib")
        return function() return {lib.word, fs.get("app:assets"):readfile("page.html")} end"#;
    let registry = Registry::new()
        .entries("- name: assets\n  kind: fs.embed\n  directory: assets")
        .file("assets/page.html", word)
        .file("assets/other.html", word)
        .guest(
            "read",
            REACH,
            "read",
            "imports: [\"wasi:filesystem\"]\nwasi: {mounts: [{fs: assets, guest: /space}]}",
        );
    let registry = library(registry, "lib", &format!("return {{word = \"{word}\"}}"), "");
    lua(registry, "page", source, "modules: [fs]\nimports: {lib: lib}")
}

/// How many sources and files of `folder`, which is one of a bundle's, say `word`.
fn saying(folder: &Path, word: &str) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let says = |path: &Path| fs::read_to_string(path).unwrap().contains(word);
    entries.map(|path| if path.is_dir() { saying(&path, word) } else { usize::from(says(&path)) }).sum()
}

/// What the function, its library and the files of `loader`'s bundle say.
async fn expect(loader: &Loader, word: &str) {
    let page = loader.call_data("app:page", Vec::new(), Context::default()).await.unwrap();
    assert_eq!(page.to_json().unwrap(), json!([word, word]));
    let path = vec![Data::String(b"other.html".to_vec())];
    let read = loader.call_data("app:read", path, Context::default()).await.unwrap();
    assert_eq!(read.to_json().unwrap(), json!(word));
}

/// How many sources and files of all bundles in the place of `built` say `word`.
fn left(built: &Built, word: &str) -> usize {
    saying(&built.join("lua"), word) + saying(&built.join("fs"), word)
}

#[tokio::test]
async fn sources_and_files_are_first_read_after_a_rebuild() {
    let built = registry("old").build();
    let old = Loader::open(&built).unwrap();
    registry("new").build_over(&built);
    // A library and two files.
    assert_eq!((left(&built, "old"), left(&built, "new")), (3, 3));

    expect(&old, "old").await;
    let new = Loader::open(&built).unwrap();
    expect(&new, "new").await;
    expect(&old, "old").await;
    drop((old, new));
    // Nobody holds it: the next build removes what its manifest does not name.
    registry("new").build_over(&built);
    assert_eq!((left(&built, "old"), left(&built, "new")), (0, 3));
    expect(&Loader::open(&built).unwrap(), "new").await;
}
