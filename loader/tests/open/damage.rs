//! Files that are damaged, replaced or elsewhere: their entries fail with the file's name, the others go on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use loader::{ErrorKind, Fault, Loader, Val};
use registry_schema::{Digest, Target};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use crate::support::{Registry, distinct, replace};
use crate::{make_fifo, small};

/// Damages the artifact of one of two functions, and expects `problem` of it and nothing of the other.
fn expect_damage(damage: impl FnOnce(&Path), problem: impl FnOnce(&[u8]) -> String) {
    let (bad, good) = (distinct(), distinct());
    let built = Registry::new().answer("bad", bad).answer("same", bad).answer("good", good).build();
    let artifact = built.artifact("bad").path();
    let file = built.join(&artifact);
    let problem = problem(&fs::read(&file).unwrap());
    damage(&file);

    let loader = Loader::open(&built).unwrap();
    for name in ["bad", "same"] {
        let error = loader.call_blocking(&format!("app:{name}"), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.message(), format!("`app:{name}`: can't load `{artifact}`: {problem}"));
    }
    assert_eq!(loader.call_blocking("app:good", &[]).unwrap(), Some(Val::U32(good)));

    let faults = loader.verify().unwrap().faults;
    assert_eq!(faults[0], Fault::File { path: artifact, problem });
    let entries: Vec<String> = faults[1..]
        .iter()
        .map(|fault| match fault {
            Fault::Entry { id, .. } => id.to_string(),
            Fault::File { path, .. } => panic!("`{path}` was not damaged"),
        })
        .collect();
    assert_eq!(entries, ["app:bad", "app:same"]);
}

#[test]
fn a_flipped_bit_in_an_artifact_ends_its_entries_alone() {
    let positions: [fn(usize) -> usize; 4] = [|_| 0, |len| len / 3, |len| len / 2, |len| len - 1];
    for position in positions {
        let flipped = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let position = position(bytes.len());
            bytes[position] ^= 0x10;
            bytes
        };
        expect_damage(
            |file| replace(file, &flipped(&fs::read(file).unwrap())),
            |bytes| {
                let (expected, found) = (Digest::of(bytes), Digest::of(&flipped(bytes)));
                format!("the manifest says blake3:{expected}, the file has blake3:{found}")
            },
        );
    }
}

#[test]
fn a_truncated_or_grown_artifact_ends_its_entries_alone() {
    type EditBytes = fn(&[u8]) -> Vec<u8>;
    let edits: [EditBytes; 3] =
        [|_| Vec::new(), |bytes| bytes[..bytes.len() - 1].to_vec(), |bytes| [bytes, b"x"].concat()];
    for edit in edits {
        expect_damage(
            |file| replace(file, &edit(&fs::read(file).unwrap())),
            |bytes| {
                let (expected, found) = (bytes.len(), edit(bytes).len());
                format!("the manifest says {expected} bytes, the file has {found}")
            },
        );
    }
}

#[test]
fn an_artifact_that_is_gone_or_no_file_ends_its_entries_alone() {
    expect_damage(|file| fs::remove_file(file).unwrap(), |_| "No such file or directory (os error 2)".into());
    // A link to the very same bytes.
    expect_damage(
        |file| {
            let elsewhere = file.with_extension("elsewhere");
            fs::rename(file, &elsewhere).unwrap();
            symlink(elsewhere, file).unwrap();
        },
        |_| "Too many levels of symbolic links (os error 40)".into(),
    );
    expect_damage(
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
        |_| "not a regular file".into(),
    );
    expect_damage(
        |file| {
            fs::remove_file(file).unwrap();
            make_fifo(file);
        },
        |_| "not a regular file".into(),
    );
}

/// The description of the components is for `inspect`, and what authors wrote for `registry`: no call needs them.
#[test]
fn a_damaged_file_that_is_no_artifact_ends_no_entry() {
    let paths: Vec<String> = small().body().head.files.into_keys().collect();
    assert!(paths[0].starts_with("authored/") && paths[1].starts_with("components/"), "{paths:?}");
    for path in paths {
        let built = small();
        let mut bytes = fs::read(built.join(&path)).unwrap();
        let expected = Digest::of(&bytes);
        bytes[0] ^= 1;
        replace(&built.join(&path), &bytes);
        let loader = Loader::open(&built).unwrap();
        assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(42)));
        let found = Digest::of(&bytes);
        let problem = format!("the manifest says blake3:{expected}, the file has blake3:{found}");
        assert_eq!(loader.verify().unwrap().faults, [Fault::File { path, problem }]);
    }
}

#[test]
fn a_folder_of_artifacts_behind_a_link_is_not_entered() {
    let built = Registry::new().answer("answer", distinct()).build();
    let artifact = built.artifact("answer").path();
    let elsewhere = built.root().join("elsewhere");
    fs::rename(built.join("artifacts"), &elsewhere).unwrap();
    symlink(&elsewhere, built.join("artifacts")).unwrap();
    let loader = Loader::open(&built).unwrap();
    let error = loader.call_blocking("app:answer", &[]).unwrap_err();
    let problem = "Too many levels of symbolic links (os error 40)";
    assert_eq!(error.message(), format!("`app:answer`: can't load `{artifact}`: {problem}"));
}

/// Where a digest fits what is no native code, the engine's own check of the header stands behind it.
#[test]
fn an_artifact_that_is_no_native_code_is_refused_by_the_engine() {
    let built = Registry::new().answer("answer", distinct()).build();
    let folder = built.join("artifacts").join(Target::host().unwrap().to_string());
    let bytes = b"not native code at all".repeat(300);
    let digest = Digest::of(&bytes);
    fs::write(folder.join(format!("{digest}.cwasm")), &bytes).unwrap();
    built.edit_body(|body| {
        body["artifacts"][0]["digest"] = json!(digest);
        body["artifacts"][0]["size"] = json!(bytes.len());
    });
    let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().starts_with("`app:answer`: can't load `artifacts/"), "{error}");
}

#[test]
fn names_of_files_never_leave_the_bundle() {
    let built = small();
    let good = built.manifest();
    let secret = built.root().join("secret.txt");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(built.join("fs")).unwrap();
    symlink(&secret, built.join("fs/link")).unwrap();
    symlink(built.root(), built.join("fs/folder")).unwrap();
    let absolute = secret.to_str().unwrap();
    let names =
        ["../secret.txt", "fs/../../secret.txt", "fs/link", "fs/folder/secret.txt", absolute, "", "."];
    for name in names {
        built.replace_manifest(&good);
        let record = json!({"digest": Digest::of(b"secret"), "size": 6});
        built.edit_body(|body| body["head"]["files"] = json!({name: record}));
        let loader = Loader::open(&built).unwrap();
        let faults = loader.verify().unwrap().faults;
        let [Fault::File { path, .. }] = &faults[..] else { panic!("`{name}` was read: {faults:?}") };
        assert_eq!(path, name);
        assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(42)));
    }
}

/// A build removes files only while it has the lock alone.
#[test]
fn a_loader_holds_the_bundles_lock_for_life() {
    let built = small();
    let lock = fs::File::open(built.join(".lock")).unwrap();
    let loader = Loader::open(&built).unwrap();
    let clone = loader.clone();
    drop(loader);
    let at_once = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(at_once, Err(rustix::io::Errno::WOULDBLOCK));
    drop(clone);
    // Waits: a program that another test starts has the lock's descriptor until it is running.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
}

#[test]
fn entries_that_stand_twice_or_out_of_order_are_found_by_verify() {
    let expect = |damage: &dyn Fn(&mut Vec<Value>)| {
        let built = Registry::new().answer("a", distinct()).answer("b", distinct()).build();
        built.edit_body(|body| damage(body["entries"].as_array_mut().expect("entries are an array")));
        let faults = Loader::open(&built).unwrap().verify().unwrap().faults;
        let problems: Vec<String> = faults.into_iter().map(|fault| format!("{fault:?}")).collect();
        assert!(
            problems.iter().any(|problem| problem.contains("stands twice in the manifest or out of order")),
            "{problems:?}"
        );
    };
    expect(&|entries| entries.reverse());
    expect(&|entries| {
        let first = entries[0].clone();
        entries.insert(0, first);
    });
}
