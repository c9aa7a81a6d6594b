//! Manifests of another compiler, other engine options or other machines.

use loader::{ErrorKind, Loader, Val};
use registry_schema::engine::EngineOptions;
use registry_schema::{Profile, Target};
use serde_json::{Value, json};

use crate::support::{ASYNCHRONOUS, Built, Registry};
use crate::{does_not_fit, does_not_run, foreign, refusal, small};

#[test]
fn another_compiler_version_is_named() {
    let built = small();
    built.edit_body(|body| {
        body["head"]["compiler"] = json!("48.0.7");
    });
    let expected = does_not_fit(&["compiler version: expected 48.0.8, found 48.0.7".into()]);
    assert_eq!(refusal(&built), expected);
}

/// Another value of the same kind.
fn other(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!(!value),
        Value::Number(value) => json!(value.as_u64().expect("options are no fractions") + 1),
        Value::Array(values) => json!(values[1..]),
        other => panic!("an option of an unexpected kind: {other}"),
    }
}

/// A bundle with an engine of each profile: `answer` is synchronous, `f` is not.
fn both_profiles() -> Built {
    let built = Registry::new().answer("answer", 42).wat("f", ASYNCHRONOUS, "method: f").build();
    let profiles: Vec<Profile> = built.body().head.engines.into_keys().collect();
    assert_eq!(profiles, Profile::ALL);
    built
}

#[test]
fn each_engine_option_that_differs_is_named() {
    let built = both_profiles();
    let good = built.manifest();
    for profile in Profile::ALL {
        for (option, expected) in EngineOptions::new(profile).to_json() {
            let found = other(&expected);
            built.replace_manifest(&good);
            built.edit_body(|body| {
                body["head"]["engines"][profile.to_string()]["options"][&option] = found.clone();
            });
            let line = format!("engine option `{option}` ({profile}): expected {expected}, found {found}");
            assert_eq!(refusal(&built), does_not_fit(&[line]));
        }
    }
}

#[test]
fn engine_options_that_only_one_side_has_are_named() {
    let built = both_profiles();
    let good = built.manifest();
    for profile in Profile::ALL {
        built.replace_manifest(&good);
        built.edit_body(|body| {
            let engine = &mut body["head"]["engines"][profile.to_string()];
            let options = engine["options"].as_object_mut().unwrap();
            options.remove("consume_fuel");
            options.insert("warp_drive".into(), json!(9));
        });
        let expected = does_not_fit(&[
            format!("engine option `consume_fuel` ({profile}): expected false, found nothing"),
            format!("engine option `warp_drive` ({profile}): expected nothing, found 9"),
        ]);
        assert_eq!(refusal(&built), expected);
    }
}

#[test]
fn another_fingerprint_is_named() {
    let built = both_profiles();
    let good = built.manifest();
    for profile in Profile::ALL {
        built.replace_manifest(&good);
        built.edit_body(|body| {
            body["head"]["engines"][profile.to_string()]["fingerprint"] = json!("00");
        });
        let own = EngineOptions::new(profile).fingerprint();
        let expected = does_not_fit(&[format!("engine fingerprint ({profile}): expected {own}, found 00")]);
        assert_eq!(refusal(&built), expected);
    }
}

/// Known when the artifact is first used, like the rest of its record.
#[test]
fn an_artifact_of_another_compiler_or_engine_is_named() {
    let built = small();
    let good = built.manifest();
    let artifact = built.artifact("answer");
    let (path, engine) = (artifact.path(), &artifact.engine);
    let cases: [(&str, &str, [&str; 2]); 2] =
        [("compiler", "48.0.7", ["48.0.7", engine]), ("engine", "00", ["48.0.8", "00"])];
    for (field, other, [compiler, found]) in cases {
        built.replace_manifest(&good);
        built.edit_body(|body| body["artifacts"][0][field] = json!(other));
        let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        let expected = format!(
            "`app:answer`: `{path}` is by compiler {compiler} for engine {found}, \
             the bundle is by 48.0.8 for {engine}"
        );
        assert_eq!(error.message(), expected);
    }
}

/// One profile's engine is not the other's.
#[test]
fn an_artifact_whose_engine_the_bundle_does_not_name_is_refused() {
    let built = both_profiles();
    let good = built.manifest();
    for (name, profile) in [("answer", Profile::Sync), ("f", Profile::Async)] {
        built.replace_manifest(&good);
        built.edit_body(|body| {
            body["head"]["engines"].as_object_mut().unwrap().remove(&profile.to_string());
        });
        let artifact = built.artifact(name);
        let id = format!("app:{name}");
        let args = if name == "f" { vec![Val::U32(1)] } else { Vec::new() };
        let error = Loader::open(&built).unwrap().call_blocking(&id, &args).unwrap_err();
        if profile == Profile::Async && !cfg!(feature = "p3") {
            // Known before its artifact is looked at.
            let expected = "`app:f` is not available: needs a loader built with the feature `p3`";
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, expected));
            continue;
        }
        assert_eq!(error.kind(), ErrorKind::Internal);
        let expected = format!(
            "`{id}`: `{}` is by compiler 48.0.8 for engine {}, the bundle is by 48.0.8 for none",
            artifact.path(),
            artifact.engine
        );
        assert_eq!(error.message(), expected);
    }
}

#[test]
fn a_component_without_an_artifact_is_named() {
    let built = small();
    built.edit_body(|body| body["artifacts"][0]["profile"] = json!("async"));
    let component = built.artifact("answer").component;
    let error = Loader::open(&built).unwrap().call_blocking("app:answer", &[]).unwrap_err();
    let expected =
        format!("`app:answer`: the bundle has no artifact of component {component} for this machine");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Internal, expected.as_str()));
}

#[test]
fn a_bundle_for_another_machine_is_refused() {
    let built = small();
    built.edit_body(|body| {
        body["head"]["targets"] = json!([foreign()]);
        body["artifacts"][0]["target"] = json!(foreign());
    });
    let line = format!("found `{}` (for another kind of machine)", foreign());
    assert_eq!(refusal(&built), does_not_run(&[], &line));
}

#[test]
fn of_several_targets_the_best_that_runs_here_is_used() {
    let built = small();
    let host = Target::host().unwrap();
    built.edit_body(|body| body["head"]["targets"] = json!([foreign(), host]));
    let loader = Loader::open(&built).unwrap();
    assert_eq!(loader.bundle().target(), Some(host));
    assert_eq!(loader.call_blocking("app:answer", &[]).unwrap(), Some(Val::U32(42)));
}

#[test]
fn all_differences_are_listed_at_once() {
    let built = both_profiles();
    built.edit_body(|body| {
        body["head"]["compiler"] = json!("47.0.0");
        body["head"]["engines"]["async"]["options"]["consume_fuel"] = json!(true);
        body["head"]["engines"]["sync"]["options"]["debug_info"] = json!(true);
        body["head"]["engines"]["sync"]["options"]["consume_fuel"] = json!(true);
        body["head"]["targets"] = json!([foreign()]);
    });
    let expected = [
        "compiler version: expected 48.0.8, found 47.0.0".to_owned(),
        "engine option `consume_fuel` (sync): expected false, found true".to_owned(),
        "engine option `debug_info` (sync): expected false, found true".to_owned(),
        "engine option `consume_fuel` (async): expected false, found true".to_owned(),
    ];
    let line = format!("found `{}` (for another kind of machine)", foreign());
    assert_eq!(refusal(&built), does_not_run(&expected, &line));
}
