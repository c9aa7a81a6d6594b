//! Which layer wins, what is refused, and what is shown.

use serde_json::{Value, json};

use super::*;
use crate::config::{MEMORY_BYTES_MAX, Options};
use crate::error::OpenError;
use crate::loader::Loader;
use crate::security::testing::{Opened, open};

/// Reads `sections` with what stands above them.
fn read(sections: &Value, overrides: &Overrides) -> Result<Settings, SettingsError> {
    Settings::read_with(Reader::new(sections.as_object().expect("a mapping"), None, overrides))
}

fn problems(sections: &Value, overrides: &Overrides) -> String {
    read(sections, overrides).expect_err("something is wrong").to_string()
}

fn environment(pairs: &[(&str, &str)]) -> Overrides {
    Overrides::default()
        .environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn source(settings: &Settings, path: &str) -> String {
    let listed = settings.listed().iter().find(|listed| listed.path == path);
    listed.expect("a known path").source.to_string()
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_bundle_that_over_the_default() {
    let sections = json!({"wasm": {"limits": {"max_instances": 1}}});
    let none = Overrides::default();
    let variable = environment(&[("WIPPY_WASM_LIMITS_MAX_INSTANCES", "2")]);
    let flag = variable.clone().set("wasm.limits.max_instances=3").unwrap();
    for (sections, overrides, value, from) in [
        (&json!({}), &none, 1_000, "default"),
        (&sections, &none, 1, "`.wippy.yaml`"),
        (&sections, &variable, 2, "environment `WIPPY_WASM_LIMITS_MAX_INSTANCES`"),
        (&sections, &flag, 3, "`--set`"),
        (&sections, &Overrides::defaults_only(), 1_000, "default"),
    ] {
        let settings = read(sections, overrides).unwrap();
        assert_eq!(settings.wasm.limits.max_instances, value);
        assert_eq!(source(&settings, "wasm.limits.max_instances"), from);
        assert_eq!(settings.wasm.limits.max_memory_bytes, MEMORY_BYTES_MAX);
    }
}

#[test]
fn the_last_flag_wins() {
    let overrides = Overrides::default().set("logger.level=warn").unwrap();
    let overrides = overrides.flag("--log-level", "logger.level", "debug");
    let settings = read(&json!({}), &overrides).unwrap();
    assert_eq!(settings.logger.level.lowest(), Some(crate::guest_log::Level::Debug));
    assert_eq!(source(&settings, "logger.level"), "`--log-level`");
}

/// What `tls.ca_files` is by `sections` and `overrides`, and where it came from.
fn ca_files(sections: &Value, overrides: &Overrides) -> (Vec<String>, String) {
    let settings = read(sections, overrides).expect("good settings");
    let files = settings.tls.ca_files.iter().map(|file| file.display().to_string()).collect();
    (files, source(&settings, "tls.ca_files"))
}

#[test]
fn files_are_named_by_a_list_and_by_a_flag_of_their_own() {
    let sections = |files: Value| json!({"tls": {"ca_files": files}});
    let listed = sections(json!(["a.pem", "b, c.pem"]));
    let none = Overrides::default();
    let others = environment(&[("SSL_CERT_FILE", "d,e.pem"), ("SSL_CERT_DIR", "x")]);
    let own = others.clone().environment([("WIPPY_TLS_CA_FILES".to_owned(), "f.pem, g.pem".to_owned())]);
    let set = own.clone().set("tls.ca_files=h.pem,i.pem").unwrap();
    let flags =
        set.clone().add("--ca-file", "tls.ca_files", "j,k.pem").add("--ca-file", "tls.ca_files", "l.pem");
    let emptied = flags.clone().set("tls.ca_files=").unwrap();
    let empty_variable = environment(&[("SSL_CERT_FILE", "")]);
    for (sections, overrides, files, from) in [
        (&json!({}), &none, &[][..], "default"),
        (&listed, &none, &["a.pem", "b, c.pem"], "`.wippy.yaml`"),
        (&sections(json!("a, b.pem")), &none, &["a, b.pem"], "`.wippy.yaml`"),
        (&sections(json!(["", "a.pem"])), &none, &["a.pem"], "`.wippy.yaml`"),
        (&listed, &empty_variable, &["a.pem", "b, c.pem"], "`.wippy.yaml`"),
        (&listed, &others, &["d,e.pem"], "environment `SSL_CERT_FILE`"),
        (&listed, &own, &["f.pem", "g.pem"], "environment `WIPPY_TLS_CA_FILES`"),
        (&listed, &set, &["h.pem", "i.pem"], "`--set`"),
        (&listed, &flags, &["j,k.pem", "l.pem"], "`--ca-file`"),
        (&listed, &emptied, &[], "`--set`"),
    ] {
        assert_eq!(
            ca_files(sections, overrides),
            (files.iter().map(ToString::to_string).collect(), from.to_owned())
        );
    }
    let wrong = "setting `tls.ca_files` of `.wippy.yaml`: expected a list of texts";
    for files in [json!(true), json!(["a.pem", 1]), json!({"a": "b"})] {
        assert_eq!(problems(&sections(files), &none), wrong);
    }
}

#[test]
fn an_argument_of_set_has_a_section_a_key_and_a_value() {
    for argument in ["", "prometheus.enabled", "enabled=true", "=x"] {
        let problem = Overrides::default().set(argument).unwrap_err();
        assert_eq!(
            problem,
            format!("`--set {argument}`: expected SECTION.KEY=VALUE, as in `prometheus.enabled=true`")
        );
    }
    let settings = read(&json!({}), &Overrides::default().set("otel.headers=a=b").unwrap()).unwrap();
    assert_eq!(settings.otel.headers.as_deref(), Some("a=b"));
}

#[test]
fn variables_of_opentelemetry() {
    let overrides = environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_PROPAGATORS", "tracecontext, baggage"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ("PATH", "/bin"),
    ]);
    let settings = read(&json!({"otel": {"enabled": true}}), &overrides).unwrap();
    let otel = &settings.otel;
    assert!(!otel.enabled);
    assert_eq!(source(&settings, "otel.enabled"), "environment `OTEL_SDK_DISABLED`");
    assert_eq!((otel.endpoint.as_str(), otel.protocol), ("http://collector:4318", Protocol::Grpc));
    assert_eq!(otel.propagators, ["tracecontext", "baggage"]);
    assert_eq!(otel.sample_rate, 0.5);
    let enabled = overrides.set("otel.enabled=true").unwrap();
    assert!(read(&json!({}), &enabled).unwrap().otel.enabled);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let sections = json!({
        "logger": {"encoding": "xml", "level": "loud"},
        "otel": {"sample_rate": 2, "http": true, "propagators": 5},
        "prometheus": {"adress": "x", "enabled": "maybe"},
        "scheduler": {"wasm_isolation": {"reserved_cores": 0}},
        "security": "strict",
        "shutdown": {"timeout": 5},
        "wasm": {"limits": {"max_execution_ms": 0, "max_memory_bytes": -1}},
    });
    let overrides = Overrides::default().set("wasm.limit.max_instances=1").unwrap();
    assert_eq!(
        problems(&sections, &overrides),
        "\
setting `logger.encoding` of `.wippy.yaml`: found `xml`, expected one of `console`, `text`, `json`
setting `logger.level` of `.wippy.yaml`: found `loud`, expected `debug`, `info`, `warn`, `error` or `off`, or \
         `PREFIX=LEVEL` of these
setting `otel.http` of `.wippy.yaml`: there is no such setting
hint: it is a mapping of `enabled`, `extract_headers`, `inject_headers`
setting `otel.propagators` of `.wippy.yaml`: expected a list of texts
setting `otel.sample_rate` of `.wippy.yaml`: found `2`, expected 0.0 to 1.0
setting `prometheus.adress` of `.wippy.yaml`: there is no such setting
hint: did you mean `prometheus.address`?
setting `prometheus.enabled` of `.wippy.yaml`: found `maybe`, expected `true` or `false`
setting `scheduler.wasm_isolation.reserved_cores` of `.wippy.yaml`: found `0`, expected 1 to 4294967295
setting `security` of `.wippy.yaml`: there is no such setting
hint: it is a mapping of `strict_mode`
setting `shutdown.timeout` of `.wippy.yaml`: found `5`, expected a duration such as `30s`, `300ms` or `1h30m`
hint: add a unit, as in `30s` or `500ms`
setting `wasm.limit.max_instances` of `--set`: there is no such setting
hint: did you mean `wasm.limits.max_instances`?
setting `wasm.limits.max_execution_ms` of `.wippy.yaml`: found `0`, expected 1 or more
setting `wasm.limits.max_memory_bytes` of `.wippy.yaml`: found `-1`, expected a whole number from 0 to \
         18446744073709551615"
    );
    assert!(read(&json!({"security": null, "otel": {}, "wasm": {"limits": null}}), &overrides).is_err());
    assert!(check(json!({"security": null, "otel": {}}).as_object().unwrap()).is_empty());
}

#[test]
fn secrets_are_not_shown() {
    let sections =
        json!({"otel": {"headers": "authorization=s3cret", "endpoint": "https://me:s3cret@host/x"}});
    let settings = read(&sections, &Overrides::default()).unwrap();
    let shown = format!("{:?}", settings.listed());
    assert!(!shown.contains("s3cret"), "{shown}");
    let value = |path| &settings.listed().iter().find(|listed| listed.path == path).unwrap().value;
    assert_eq!(value("otel.headers"), "(hidden)");
    assert_eq!(value("otel.endpoint"), "\"https://***@host/x\"");
}

#[test]
fn every_section_has_a_setting_and_every_setting_a_section() {
    let settings = read(&json!({}), &Overrides::default()).unwrap();
    let mut sections: Vec<&str> =
        settings.listed().iter().filter_map(|listed| Some(listed.path.split_once('.')?.0)).collect();
    sections.dedup();
    assert_eq!(sections, SECTIONS);
}

#[test]
fn placeholders_are_resolved_when_a_bundle_is_opened_unless_a_flag_wins() {
    let config = |text: &str| json!({"prometheus": {"address": text}});
    let Opened { loader, .. } = open(config("${env:NOPE|127.0.0.1:1}"), &[]);
    assert_eq!(loader.settings().prometheus.address.as_deref(), Some("127.0.0.1:1"));

    let Opened { loader, .. } = open(config("$${env:NOPE}"), &[]);
    assert_eq!(loader.settings().prometheus.address.as_deref(), Some("${env:NOPE}"));
    // A build can't know it.
    assert!(check(config("${env:NOPE}").as_object().unwrap()).is_empty());
}

#[test]
fn placeholders_in_lists_are_resolved_as_well() {
    let files = json!({"tls": {"ca_files": ["${env:NOPE|}", "$${env:NOPE}"]}});
    let error = crate::security::testing::try_open(files.clone(), Options::default()).1.err().unwrap();
    assert!(error.to_string().contains("can't read `${env:NOPE}`"), "{error}");
    assert!(check(files.as_object().unwrap()).is_empty());
    let unset = json!({"tls": {"ca_files": ["${env:NOPE}"]}});
    assert!(check(unset.as_object().unwrap()).is_empty());
    let error = crate::security::testing::try_open(unset, Options::default()).1.err().unwrap();
    assert!(
        error.to_string().starts_with("setting `tls.ca_files` of `.wippy.yaml`: variable `NOPE` is not set")
    );
}

/// One error that names setting, file and remedy, before anything runs.
#[cfg(feature = "http")]
#[test]
fn files_of_roots_are_read_when_a_bundle_is_opened() {
    use crate::support::{crate_folder, temporary_folder};
    let certificates = crate_folder().join("tests/certificates");
    let root = temporary_folder();
    let good = root.path().join("ca.pem");
    std::fs::copy(certificates.join("ca.pem"), &good).unwrap();
    std::fs::write(root.path().join("text.pem"), "no certificate").unwrap();
    std::fs::write(
        root.path().join("broken.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let large = std::fs::File::create(root.path().join("large.pem")).unwrap();
    large.set_len(crate::config::CA_FILE_BYTES_MAX + 1).unwrap();
    let open = |file: &str, overrides: Overrides, extra_roots: Vec<std::path::PathBuf>| {
        let root = Some(root.path().to_path_buf());
        let options = Options { root, overrides, extra_roots, ..Options::default() };
        let (_folder, opened) =
            crate::security::testing::try_open(json!({"tls": {"ca_files": [file]}}), options);
        opened.map(|_| ()).map_err(|error| error.to_string())
    };
    let none = Overrides::default;
    let at = |file: &str| root.path().join(file).display().to_string();
    assert_eq!(open("ca.pem", none(), Vec::new()), Ok(()));
    assert_eq!(open(good.to_str().unwrap(), none(), vec![good.clone()]), Ok(()));
    let (missing, wrong) = (
        "hint: a relative path in `.wippy.yaml` starts from `--root`, any other from the working directory",
        "hint: a certificate in PEM format begins with `-----BEGIN CERTIFICATE-----`; `openssl x509 -inform der` \
         makes it of one in DER",
    );
    for (file, problem, hint) in [
        ("no.pem", format!("can't read `{}`: No such file or directory (os error 2)", at("no.pem")), missing),
        ("large.pem", format!("can't read `{}`: it has more than 4194304 bytes", at("large.pem")), missing),
        ("text.pem", format!("`{}` has no certificates as PEM text: found none", at("text.pem")), wrong),
        ("broken.pem", format!("`{}`: invalid peer certificate: BadEncoding", at("broken.pem")), wrong),
    ] {
        let expected = format!("setting `tls.ca_files` of `.wippy.yaml`: {problem}\n{hint}");
        assert_eq!(open(file, none(), Vec::new()), Err(expected));
    }
    // A flag's path starts from the working directory, and what it does not name is not read.
    let flag = |file: &str| none().add("--ca-file", "tls.ca_files", file);
    assert_eq!(open("no.pem", flag(good.to_str().unwrap()), Vec::new()), Ok(()));
    let error = open("ca.pem", flag("ca.pem"), Vec::new()).unwrap_err();
    assert!(error.starts_with("setting `tls.ca_files` of `--ca-file`: can't read `ca.pem`: "), "{error}");
    let error = open("ca.pem", none(), vec![certificates.join("server.key")]).unwrap_err();
    assert!(error.starts_with("`Options::extra_roots`: `"), "{error}");
    assert!(!error.contains("BEGIN PRIVATE"), "{error}");
}

#[test]
fn a_bundle_whose_settings_can_not_be_used_is_not_opened() {
    let unset = json!({"security": {"strict_mode": "${env:NOPE}"}});
    let (folder, opened) = crate::security::testing::try_open(unset, Options::default());
    let error = opened.err().expect("a variable without a value");
    assert!(matches!(error, OpenError::Settings(_)));
    assert_eq!(
        error.to_string(),
        "setting `security.strict_mode` of `.wippy.yaml`: variable `NOPE` is not set and `${env:NOPE}` has no \
         default for it"
    );
    let overrides = Overrides::default().set("security.strict_mode=true").unwrap();
    let options = Options { overrides, ..Options::default() };
    let loader = Loader::builder().options(options).open(folder.path()).unwrap();
    assert!(loader.settings().security.strict_mode);
}
