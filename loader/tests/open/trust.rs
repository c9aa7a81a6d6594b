//! What a deployment demands of bundles: signatures, compilers that are not burnt, nothing of a deny list.

use std::fs;
use std::path::{Path, PathBuf};

use loader::trust::{DenyList, Trust, VerifyKey};
use loader::{ErrorKind, Fault, Loader, OpenError, Options, Val};
use registry_schema::manifest::MANIFEST_FILE;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{self, Built, Caching, Registry, distinct};

/// A key that the compiler made.
struct Key {
    folder: TempDir,
}

impl Key {
    fn new() -> Self {
        let folder = support::temporary_folder();
        let key = Self { folder };
        let output = support::compiler().arg("keygen").arg(key.private()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        key
    }

    fn private(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn public(&self) -> VerifyKey {
        VerifyKey::read(self.folder.path().join("key.pub")).unwrap()
    }

    /// A bundle that it signed.
    fn sign(&self, registry: Registry) -> Built {
        registry.build_as(Caching::Cached, &["--sign-key", self.private().to_str().unwrap()])
    }
}

fn open(built: &Built, trust: Trust) -> Result<Loader, OpenError> {
    Loader::builder().options(Options { trust, ..Options::default() }).open(built)
}

fn refused(built: &Built, trust: Trust) -> String {
    match open(built, trust) {
        Ok(_) => panic!("the bundle was opened"),
        Err(error) => error.to_string(),
    }
}

fn by(keys: &[&Key]) -> Trust {
    Trust { keys: keys.iter().map(|key| key.public()).collect(), ..Trust::default() }
}

const UNSIGNED: &str =
    "the bundle is not signed\nsign it where it is built: `compiler build --sign-key FILE`";
const FOREIGN: &str = "the bundle's signature is not by the key of `--verify-key`";

#[test]
fn a_signed_bundle_opens_with_its_key_and_without_any() {
    let (key, other) = (Key::new(), Key::new());
    let built = key.sign(Registry::new().answer("answer", 42));
    for trust in [by(&[]), by(&[&key]), by(&[&other, &key])] {
        let loader = open(&built, trust).unwrap();
        assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(42)));
        assert_eq!(loader.verify().unwrap().faults, []);
    }
    assert_eq!(refused(&built, by(&[&other])), FOREIGN);
    let none = "the bundle's signature is by none of the 2 keys of `--verify-key`";
    assert_eq!(refused(&built, by(&[&other, &other])), none);
}

#[test]
fn an_unsigned_bundle_is_refused_with_a_key() {
    let built = crate::small();
    assert_eq!(refused(&built, by(&[&Key::new()])), UNSIGNED);
}

/// Whoever alters a bundle can make its digests fit, but no signature.
#[test]
fn an_altered_bundle_with_fitting_digests_is_refused() {
    let key = Key::new();
    let built = key.sign(Registry::new().answer("a", distinct()).answer("b", distinct()));
    let signature = Loader::open(&built).unwrap().bundle().manifest().signature().unwrap().to_string();
    let swap = |body: &mut serde_json::Value| {
        let [a, b] = [0, 1].map(|index| body["entries"][index]["wasm"]["component"].clone());
        body["entries"][0]["wasm"]["component"] = b;
        body["entries"][1]["wasm"]["component"] = a;
    };
    built.edit_body(swap);
    assert!(Loader::open(&built).is_ok());
    assert_eq!(refused(&built, by(&[&key])), UNSIGNED);
    // With the signature of what it was.
    let text = support::text(&built.manifest());
    let signed = text.replacen("\"signature\":null", &format!("\"signature\":\"{signature}\""), 1);
    built.replace_manifest(signed.as_bytes());
    assert!(Loader::open(&built).is_ok());
    assert_eq!(refused(&built, by(&[&key])), FOREIGN);
}

#[test]
fn a_signature_of_another_bundle_or_with_a_flipped_bit_does_not_count() {
    let key = Key::new();
    let (one, two) = (distinct(), distinct());
    let built = key.sign(Registry::new().answer("answer", one));
    let other = key.sign(Registry::new().answer("answer", two));
    let signature = |built: &Built| {
        let loader = Loader::open(built).unwrap();
        loader.bundle().manifest().signature().unwrap().to_string()
    };
    let (own, foreign) = (signature(&built), signature(&other));
    let good = support::text(&built.manifest());
    built.replace_manifest(good.replacen(&own, &foreign, 1).as_bytes());
    assert_eq!(refused(&built, by(&[&key])), FOREIGN);
    for position in "ed25519:".len()..own.len() {
        let digit = if own.as_bytes()[position] == b'0' { '1' } else { '0' };
        let flipped = format!("{}{digit}{}", &own[..position], &own[position + 1..]);
        built.replace_manifest(good.replacen(&own, &flipped, 1).as_bytes());
        assert_eq!(refused(&built, by(&[&key])), FOREIGN, "digit {position}");
    }
}

/// The signature comes first: nothing of an unsigned bundle is read but its manifest's digest.
#[test]
fn the_signature_is_checked_before_the_body_and_any_artifact() {
    let key = Key::new();
    let built = crate::small();
    fs::remove_dir_all(built.join("artifacts")).unwrap();
    built.edit_body(|body| body["head"]["compiler"] = json!("1.0.0"));
    assert_eq!(refused(&built, by(&[&key])), UNSIGNED);
    built.replace_body("{\"no\":\"body\"}");
    assert_eq!(refused(&built, by(&[&key])), UNSIGNED);
}

#[test]
fn the_same_input_and_key_give_the_same_signature() {
    let key = Key::new();
    let bundles = [1, 2].map(|_| key.sign(Registry::new().answer("answer", 42)).manifest());
    assert_eq!(bundles[0], bundles[1]);
}

/// Also where somebody keeps the key in the application's folder.
#[test]
fn private_keys_never_end_in_a_bundle_or_on_the_terminal() {
    let key = Key::new();
    let pem = fs::read_to_string(key.private()).unwrap();
    let registry = Registry::new().answer("answer", 42).file("key.pem", &pem);
    let built = key.sign(registry);
    let secret: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let output = support::compiler()
        .args(["build", "--message-format", "json", "--no-cache", "--out"])
        .arg(built.as_ref())
        .arg("--sign-key")
        .arg(key.private())
        .arg(built.root())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| support::text(&bytes)).concat();
    assert!(!said.contains(&secret[10..]) && !said.contains("PRIVATE"), "{said}");
    let mut folders = vec![built.as_ref().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap();
            let found = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found(&secret[10..]) && !found("PRIVATE KEY"), "{}", entry.path().display());
        }
    }
}

/// Keys and signatures that `openssl` made or checks; skipped where it is not installed.
#[test]
fn keys_are_those_of_openssl() {
    let folder = support::temporary_folder();
    let openssl = |arguments: &[&str]| {
        let command =
            std::process::Command::new("openssl").args(arguments).current_dir(folder.path()).output();
        command.is_ok_and(|output| output.status.success())
    };
    if !openssl(&["genpkey", "-algorithm", "ed25519", "-out", "key"]) {
        support::skipped("keys of openssl", "it is not installed, or knows no Ed25519");
        return;
    }
    assert!(openssl(&["pkey", "-in", "key", "-pubout", "-out", "key.pub"]));
    let key = Key { folder };
    let built = key.sign(Registry::new().answer("answer", 42));
    open(&built, by(&[&key])).unwrap();

    let own = Key::new();
    let file = |name: &str| own.folder.path().join(name).to_str().unwrap().to_owned();
    let checked = std::process::Command::new("openssl")
        .args(["pkey", "-in", &file("key"), "-pubout", "-out", &file("again")])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(fs::read(file("again")).unwrap(), fs::read(file("key.pub")).unwrap());
}

fn version(built: &Built, text: &str) -> Result<Loader, OpenError> {
    open(built, Trust { minimum_compiler: Some(text.parse().unwrap()), ..Trust::default() })
}

#[test]
fn a_compiler_that_is_too_old_is_refused() {
    let built = crate::small();
    for good in ["0.0.0", "48.0.7", "48.0.8"] {
        assert!(version(&built, good).is_ok(), "{good}");
    }
    let Err(error) = version(&built, "48.0.9") else { panic!("it was opened") };
    assert_eq!(
        error.to_string(),
        "the bundle is by compiler 48.0.8, 48.0.9 or later is asked for\n\
         upgrade compiler and loader, and rebuild it: `compiler build`"
    );
}

fn denied(list: &str) -> Trust {
    Trust { denied: DenyList::parse(list).unwrap(), ..Trust::default() }
}

#[test]
fn denied_compilers_and_bundles_stop_boot() {
    let built = crate::small();
    let digest = Loader::open(&built).unwrap().bundle().manifest().digest().to_owned();
    let rebuild = "rebuild it with another compiler and the loader of its version: `compiler build`";
    let why = "denied by the deny list: ADVISORY-1";
    for range in ["48.0.8", "48.0.0-48.0.8", "48.0.8-50.0.0"] {
        let message = refused(&built, denied(&format!("compiler {range} ADVISORY-1")));
        assert_eq!(message, format!("compiler 48.0.8 is {why}\n{rebuild}"));
    }
    let message = refused(&built, denied(&format!("bundle {digest} ADVISORY-1")));
    assert_eq!(message, format!("the bundle {digest} is {why}\n{rebuild}"));
    let other = "compiler 48.0.0-48.0.7\ncompiler 49.0.0\nbundle blake3:".to_owned() + &"0".repeat(64);
    assert!(open(&built, denied(&other)).is_ok());
}

#[test]
fn what_is_denied_of_a_bundle_ends_its_entries_alone() {
    let (bad, good) = (distinct(), distinct());
    let built = Registry::new().answer("bad", bad).answer("good", good).build();
    let artifact = built.artifact("bad");
    let components = Loader::open(&built).unwrap().bundle().components().unwrap();
    let component = components.iter().find(|it| it.digest == artifact.component).unwrap();
    let source = component.sources[0];
    let reason = "denied by the deny list: burnt";
    for list in [
        format!("component blake3:{} burnt", artifact.component),
        format!("source blake3:{source} burnt"),
        format!("file blake3:{} burnt", artifact.digest),
    ] {
        let loader = open(&built, denied(&list)).unwrap();
        let error = loader.call_blocking("app:bad", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{list}");
        assert_eq!(error.message(), format!("`app:bad` is not available: {reason}"));
        let shown = loader.entries().unwrap().into_iter().find(|entry| entry.id.to_string() == "app:bad");
        assert_eq!(shown.unwrap().unavailable.as_deref(), Some(reason));
        assert_eq!(loader.call_blocking("app:good", &[]).unwrap(), Some(Val::U32(good)));
        // `verify` opens no such file either.
        let path = artifact.path();
        assert_eq!(loader.verify().unwrap().faults, [Fault::File { path, problem: reason.to_owned() }]);
    }
}

#[cfg(feature = "lua")]
#[test]
fn denied_lua_sources_end_their_entries_and_those_that_import_them() {
    let built = Registry::new()
        .entries(
            "
- {name: lib, kind: library.lua, source: 'return {one = function() return 1 end}'}
- name: uses
  kind: function.lua
  source: 'return {main = function() return require(\"lib\").one() end}'
  method: main
  imports: {lib: lib}
- {name: bad, kind: function.lua, source: 'return {main = function() return 2 end}', method: main}
",
        )
        .build();
    let source = |name: &str| {
        let id = format!("app:{name}");
        let entry = built.body().entries.into_iter().find(|entry| entry.id.to_string() == id).unwrap();
        entry.lua.unwrap().source
    };
    let list = format!("file blake3:{} burnt\nfile blake3:{} burnt", source("lib"), source("bad"));
    let loader = open(&built, denied(&list)).unwrap();
    let call = |id: &str| loader.call_data_blocking(id, vec![], loader::Context::default()).unwrap_err();
    let error = call("app:bad");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "`app:bad` is not available: denied by the deny list: burnt");
    let error = call("app:uses");
    assert!(error.message().contains("denied by the deny list: burnt"), "{error}");
}

/// Origins are known by a file of the bundle: if it is damaged, nothing is known to be allowed.
#[test]
fn a_list_of_sources_needs_the_file_that_names_them() {
    let built = crate::small();
    let list = format!("source blake3:{}", "0".repeat(64));
    assert!(open(&built, denied(&list)).is_ok());
    let mut files = built.body().head.files.into_keys();
    let components = files.find(|path| path.starts_with("components/")).unwrap();
    fs::remove_file(built.join(&components)).unwrap();
    assert!(open(&built, Trust::default()).is_ok());
    assert!(refused(&built, denied(&list)).contains(&components));
}

fn on(built: &Built, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loader"));
    support::outcome(&command.arg("--bundle").arg(built.as_ref()).args(arguments).output().unwrap())
}

#[test]
fn the_command_line_demands_the_same() {
    let (key, other) = (Key::new(), Key::new());
    let public = |key: &Key| key.folder.path().join("key.pub").to_str().unwrap().to_owned();
    let (good, bad) = (public(&key), public(&other));
    let built = key.sign(Registry::new().answer("answer", 42));
    let call = ["call", "app:answer"];
    let with = |options: &[&str]| on(&built, &[options, &call].concat());
    let done = (Some(0), "42\n".to_owned(), String::new());
    assert_eq!(with(&["--verify-key", &bad, "--verify-key", &good]), done);
    let failed = |problem: &str| (Some(3), String::new(), format!("error: {problem}\n"));
    assert_eq!(with(&["--verify-key", &bad]), failed(FOREIGN));
    let private = key.private();
    let (code, _, stderr) = with(&["--verify-key", private.to_str().unwrap()]);
    assert_eq!(code, Some(3));
    assert!(stderr.contains("it is a private key, which belongs where bundles are built"), "{stderr}");

    assert_eq!(with(&["--minimum-compiler", "48.0.8"]), done);
    assert_eq!(with(&["--minimum-compiler", "48.0.9"]).0, Some(3));
    assert_eq!(with(&["--minimum-compiler", "new"]).0, Some(2));

    let list = built.root().join("deny");
    let named = list.to_str().unwrap();
    let unreadable = format!("can't use the deny list `{named}`: No such file or directory (os error 2)");
    assert_eq!(with(&["--deny-list", named]), failed(&unreadable));
    fs::write(&list, "compiler 48.0.8 ADVISORY-1\n").unwrap();
    assert_eq!(with(&["--deny-list", named]).0, Some(3));
    fs::write(&list, "compilr 48.0.8\n").unwrap();
    assert!(with(&["--deny-list", named]).2.contains("line 1: `compilr` can't be denied"));
}

#[test]
fn key_files_that_others_can_use_are_warned_about() {
    let key = Key::new();
    let public = key.folder.path().join("key.pub");
    support::set_mode(&public, 0o666);
    support::set_mode(&key.private(), 0o640);
    let folder = support::temporary_folder();
    fs::write(
        folder.path().join("_index.yaml"),
        "namespace: app\nentries: [{name: data, kind: registry.entry}]\n",
    )
    .unwrap();
    let out = folder.path().join("dist");
    let command = |path: &Path| {
        let mut command = support::compiler();
        command.arg(folder.path()).args(["--quiet", "--no-cache", "--out"]).arg(path);
        support::outcome(&command.arg("--sign-key").arg(key.private()).output().unwrap())
    };
    let (code, _, stderr) = command(&out);
    assert_eq!(code, Some(0), "{stderr}");
    let warning = format!("warning: others than its owner can read the key `{}`\n", key.private().display());
    assert_eq!(stderr, warning);
    assert!(out.join(MANIFEST_FILE).is_file());
    let mut loader = std::process::Command::new(env!("CARGO_BIN_EXE_loader"));
    loader.arg("--bundle").arg(&out).arg("--verify-key").arg(&public).arg("list");
    let (code, _, stderr) = support::outcome(&loader.output().unwrap());
    assert_eq!(code, Some(0));
    assert!(stderr.starts_with("warning: others than its owner can write `"), "{stderr}");
}
