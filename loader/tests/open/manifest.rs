//! Manifests that are missing, damaged, malformed or of another format.

use std::fs;
use std::os::unix::fs::symlink;

use loader::{ErrorKind, Loader, OpenError, Val};
use registry_schema::manifest::{MANIFEST_BYTES_MAX, MANIFEST_FILE};
use registry_schema::{Digest, Target};
use serde_json::json;

use crate::support::{self, Registry, replace};
use crate::{BUILD_FIRST, Edit, REBUILD, error, foreign, make_fifo, refusal, small};

#[test]
fn a_good_bundle_opens_and_says_what_it_is() {
    let built = small();
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.bundle().target(), Target::host());
    assert_eq!(loader.bundle().path(), built.as_ref());
    assert_eq!(loader.bundle().manifest().body().unwrap(), built.body());
    assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(42)));
}

#[test]
fn a_bundle_of_data_alone_fits_every_machine() {
    let built = Registry::new().entries("- name: data\n  kind: registry.entry\n").build();
    built.edit_body(|body| body["head"]["targets"] = json!([foreign()]));
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.bundle().target(), None);
    assert_eq!(loader.verify().unwrap().faults, []);
}

#[test]
fn a_missing_bundle_or_manifest_says_how_to_build_it() {
    let folder = support::temporary_folder();
    let missing = folder.path().join("dist");
    let reason = "No such file or directory (os error 2)";
    assert_eq!(refusal(&missing), format!("can't read `{}`: {reason}{BUILD_FIRST}", missing.display()));

    let manifest = folder.path().join(MANIFEST_FILE);
    assert_eq!(refusal(&folder), format!("can't read `{}`: {reason}{BUILD_FIRST}", manifest.display()));
}

#[test]
fn a_manifest_that_is_no_file_is_refused() {
    let built = small();
    let manifest = built.join(MANIFEST_FILE);
    let elsewhere = built.root().join("elsewhere.json");
    fs::rename(&manifest, &elsewhere).unwrap();

    symlink(&elsewhere, &manifest).unwrap();
    let shown = manifest.display();
    let problem = "Too many levels of symbolic links (os error 40)";
    assert_eq!(refusal(&built), format!("can't read `{shown}`: {problem}"));
    fs::remove_file(&manifest).unwrap();

    fs::create_dir(&manifest).unwrap();
    assert_eq!(refusal(&built), format!("can't read `{shown}`: not a regular file"));
    fs::remove_dir(&manifest).unwrap();

    make_fifo(&manifest);
    assert_eq!(refusal(&built), format!("can't read `{shown}`: not a regular file"));
}

#[test]
fn a_manifest_that_is_too_large_is_not_read() {
    let built = small();
    replace(&built.join(MANIFEST_FILE), b"");
    support::set_mode(&built.join(MANIFEST_FILE), 0o644);
    // A hole: it takes no room on the disk.
    let file = fs::OpenOptions::new().write(true).open(built.join(MANIFEST_FILE)).unwrap();
    let bytes = MANIFEST_BYTES_MAX + 1;
    file.set_len(bytes).unwrap();
    let expected = format!("the manifest has {bytes} bytes, more than any that is written{REBUILD}");
    assert_eq!(refusal(&built), expected);
}

#[test]
fn malformed_manifests_say_where() {
    let built = small();
    let cases = [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{}", "missing field `format` at line 1 column 2"),
        ("{\"format\": \"1\"}", "invalid type: string \"1\", expected u64 at line 1 column 14"),
        ("{\"format\": 3}", "missing field `digest` at line 1 column 13"),
        ("{\"format\": 3} x", "trailing characters at line 1 column 15"),
        ("{\"format\": 3, \"digest\": \"x\"}", "missing field `body` at line 1 column 28"),
    ];
    for (manifest, problem) in cases {
        built.replace_manifest(manifest.as_bytes());
        let expected = format!("the manifest is malformed: {problem}{REBUILD}");
        assert_eq!(refusal(&built), expected, "{manifest}");
    }
}

#[test]
fn a_head_of_another_form_is_malformed() {
    let built = small();
    let good = built.manifest();
    let cases: [(&str, Edit); 3] = [
        ("missing field `compiler`", |head| drop(head.as_object_mut().unwrap().remove("compiler"))),
        ("unknown target `riscv64-unknown-linux-gnu`", |head| {
            head["targets"] = json!(["riscv64-unknown-linux-gnu"]);
        }),
        ("unknown variant `fast`", |head| head["engines"] = json!({"fast": head["engines"]["sync"]})),
    ];
    for (problem, edit) in cases {
        built.replace_manifest(&good);
        built.edit_body(|body| edit(&mut body["head"]));
        let message = refusal(&built);
        let start = format!("the manifest is malformed: {problem}");
        assert!(message.starts_with(&start) && message.ends_with(REBUILD), "{message}");
    }
}

/// Records are read when they are asked for.
#[test]
fn a_record_of_another_form_is_malformed() {
    let built = small();
    let good = built.manifest();
    let cases: [(&str, Edit); 4] = [
        ("missing field `kind`", |body| drop(body["entries"][0].as_object_mut().unwrap().remove("kind"))),
        ("expected a digest of 64 lower-case hexadecimal digits", |body| {
            body["artifacts"][0]["digest"] = json!("../../outside");
        }),
        ("unknown host group `root`", |body| body["entries"][0]["wasm"]["grants"] = json!(["root"])),
        ("`../x:y` is no valid id", |body| body["entries"][0]["id"] = json!("../x:y")),
    ];
    for (problem, edit) in cases {
        built.replace_manifest(&good);
        built.edit_body(edit);
        let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains(&format!("malformed: {problem}")), "{problem} in {error}");
    }
}

/// A field that this loader does not know may restrict what an entry may do.
#[test]
fn unknown_fields_of_the_manifest_are_refused() {
    let built = small();
    let good = built.manifest();
    let of_the_bundle: [Edit; 2] = [
        |body| body["head"]["surprise"] = json!(1),
        |body| body["head"]["engines"]["sync"]["surprise"] = json!(1),
    ];
    for edit in of_the_bundle {
        built.replace_manifest(&good);
        built.edit_body(edit);
        let message = refusal(&built);
        assert!(message.starts_with("the manifest is malformed: unknown field `surprise`"), "{message}");
    }
    let envelope = support::text(&good).replacen('{', "{\"surprise\":1,", 1);
    built.replace_manifest(envelope.as_bytes());
    let message = refusal(&built);
    assert!(message.starts_with("the manifest is malformed: unknown field `surprise`"), "{message}");

    let of_records: [Edit; 5] = [
        |body| body["artifacts"][0]["surprise"] = json!(1),
        |body| body["entries"][0]["surprise"] = json!(1),
        |body| body["entries"][0]["wasm"]["surprise"] = json!(1),
        |body| body["entries"][0]["wasm"]["limits"] = json!({"surprise": 1}),
        |body| body["entries"][0]["wasm"]["network"] = json!({"allow": [], "surprise": 1}),
    ];
    for edit in of_records {
        built.replace_manifest(&good);
        built.edit_body(edit);
        let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("malformed: unknown field `surprise`"), "{error}");
    }
}

/// The layout of one record per line is for speed; to others the file is JSON.
#[test]
fn a_manifest_in_another_layout_is_read_as_well() {
    let built = small();
    let body = serde_json::to_string_pretty(&built.body()).unwrap();
    built.replace_body(&body);
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(42)));
    // Its digest is that of the bytes as they lie in the file.
    let digest = Digest::of(body.as_bytes());
    assert_eq!(loader.bundle().manifest().digest(), format!("blake3:{digest}"));
    // A record is read when it is asked for, as in the compiler's layout.
    built.replace_body(&body.replace("\"kind\"", "\"sort\""));
    let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
    assert!(error.message().contains("malformed: unknown field `sort`"), "{error}");
    // What is no record of any kind is found at once.
    built.replace_body(&body.replace("\"id\"", "\"name\""));
    assert!(refusal(&built).starts_with("the manifest is malformed: missing field `id`"));
}

#[test]
fn every_truncation_of_the_manifest_is_refused() {
    let built = small();
    let good = built.manifest();
    let manifest = built.join(MANIFEST_FILE);
    support::set_mode(&manifest, 0o644);
    // Without its last byte, the line end, it is still whole.
    let file = fs::OpenOptions::new().write(true).open(manifest).unwrap();
    for len in (0..good.len() - 1).rev() {
        file.set_len(len as u64).unwrap();
        let refused = matches!(error(&built), OpenError::Malformed(_) | OpenError::Digest { .. });
        assert!(refused, "{len} bytes");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_manifest_stops_boot() {
    let built = small();
    let good = built.manifest();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        built.replace_manifest(&bad);
        assert!(Loader::open(&built).is_err(), "byte {position}");
    }
}

#[test]
fn another_format_is_named_before_anything_else_is_read() {
    let built = small();
    built.replace_manifest(br#"{"format": 1, "digest": [], "anything": {"else": null}}"#);
    assert_eq!(refusal(&built), format!("the manifest has format 1, this loader reads 3{REBUILD}"));
}

#[test]
fn another_digest_is_named_with_the_one_that_was_found() {
    let built = small();
    let good = built.manifest();
    let digest = Loader::open(&built).unwrap().bundle().manifest().digest().to_owned();

    let other = format!("blake3:{}", Digest::of(b"other"));
    built.replace_manifest(support::text(&good).replacen(&digest, &other, 1).as_bytes());
    let changed = |expected: &str, found: &str| {
        format!("the manifest was changed: it says {expected}, its body has {found}{REBUILD}")
    };
    assert_eq!(refusal(&built), changed(&other, &digest));

    // The body is taken as it is written: the same JSON in other bytes is another body.
    let spaced = support::text(&good).replacen("\"body\":{", "\"body\":{ ", 1);
    built.replace_manifest(spaced.as_bytes());
    let OpenError::Digest { expected, found } = error(&built) else { panic!("not the digest's error") };
    assert_eq!(expected, digest);
    assert_ne!(found, digest);
}
