//! The export that `method` means.
//!
//! An exact name wins, then `interface#function` with the interface's short name or full id, then names
//! without `#` that one exported interface has; each also in snake_case. HTTP handlers, and commands that
//! are processes, may be named by nothing at all.

use registry_schema::manifest::{ExportPath, ExportRecord};

use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use registry_schema::suggest::nearest;

/// The field that all faults here are about.
const FIELD: &str = "method";

/// Interfaces whose `handle` serves HTTP, by version.
const HTTP_HANDLERS: [(&str, &str); 2] =
    [("wasi:http/incoming-handler@0.2.", "handle"), ("wasi:http/handler@0.3.", "handle")];

/// Whether `path` is the function that serves HTTP.
pub(crate) fn is_http_handler(path: &ExportPath) -> bool {
    let interface = path.interface.as_deref().unwrap_or_default();
    HTTP_HANDLERS.iter().any(|(name, function)| interface.starts_with(name) && path.function == *function)
}

/// The export that `method` names among `exports`; `kind` is the entry's kind.
///
/// # Errors
/// When there is none, more than one, or it can't be called from outside.
pub(crate) fn find<'a>(
    method: Option<&str>,
    exports: &'a [ExportRecord],
    kind: &str,
) -> Result<&'a ExportRecord, Fault> {
    let Some(method) = method else {
        let run = exports.iter().find(|export| kind == "process.wasm" && is_run("run", &export.path));
        let handler = exports.iter().find(|export| is_http_handler(&export.path));
        return run.or(handler).ok_or_else(|| {
            let message = format!("`{kind}` needs the field `method`");
            Fault::new(Code::FieldMissing, "", message).help(exports_help(exports))
        });
    };
    let export = look_up(method, exports)?;
    if export.signature.is_none() && !is_http_handler(&export.path) {
        let message = format!(
            "`{}` takes or returns a resource, stream, future or error context, which can't be passed from outside",
            export.path
        );
        let callable = exports.iter().filter(|export| export.signature.is_some());
        let callable = listed(callable.map(|export| export.path.to_string()));
        return Err(Fault::new(Code::MethodUsesResource, FIELD, message)
            .help(format!("export a function of plain values; callable are {callable}")));
    }
    Ok(export)
}

fn look_up<'a>(method: &str, exports: &'a [ExportRecord]) -> Result<&'a ExportRecord, Fault> {
    let kebab = method.replace('_', "-");
    // From the strictest reading to the loosest; the first that fits anything decides.
    let readings: [&dyn Fn(&ExportPath) -> bool; 6] = [
        &|path| path.interface.is_none() && path.function == method,
        &|path| path.interface.is_some() && path.to_string() == method,
        &|path| matches_qualified(method, path),
        &|path| is_run(method, path),
        &|path| path.interface.is_none() && path.function == kebab,
        &|path| matches_qualified(&kebab, path),
    ];
    for reading in readings {
        if let Some(found) = one(method, exports, reading)? {
            return Ok(found);
        }
    }
    for name in [method, &kebab] {
        if let Some(found) = one(method, exports, &|path: &ExportPath| path.function == name)? {
            return Ok(found);
        }
    }
    let paths: Vec<String> = exports.iter().map(|export| export.path.to_string()).collect();
    let short: Vec<&str> = exports.iter().map(|export| export.path.function.as_str()).collect();
    let near = nearest(method, paths.iter().map(String::as_str)).or_else(|| {
        let function = method.rsplit('#').next().unwrap_or(method);
        let near = nearest(function, short.iter().copied())?;
        let index = short.iter().position(|name| *name == near)?;
        paths.get(index).map(String::as_str)
    });
    let fault = Fault::new(Code::MethodNotFound, FIELD, format!("there is no export `{method}`"));
    Err(match near {
        Some(near) => fault.help(format!("did you mean `{near}`? {}", exports_help(exports))),
        None => fault.help(exports_help(exports)),
    })
}

fn exports_help(exports: &[ExportRecord]) -> String {
    format!("the component exports {}", listed(exports.iter().map(|export| export.path.to_string())))
}

/// The only export that `reading` accepts, if any does.
fn one<'a>(
    method: &str,
    exports: &'a [ExportRecord],
    reading: &dyn Fn(&ExportPath) -> bool,
) -> Result<Option<&'a ExportRecord>, Fault> {
    let mut found = exports.iter().filter(|export| reading(&export.path));
    let (first, second) = (found.next(), found.next());
    if second.is_none() {
        return Ok(first);
    }
    let all = exports.iter().filter(|export| reading(&export.path));
    let all = listed(all.map(|export| export.path.to_string()));
    let message = format!("`{method}` is exported by several interfaces");
    Err(Fault::new(Code::MethodAmbiguous, FIELD, message).help(format!("write one of {all}")))
}

/// Whether `method` is `interface#function` for `path`, the interface with or without its version, or
/// by its short name.
fn matches_qualified(method: &str, path: &ExportPath) -> bool {
    let (Some((interface, function)), Some(full)) = (method.rsplit_once('#'), &path.interface) else {
        return false;
    };
    let bare = full.split('@').next().unwrap_or(full);
    let short = bare.rsplit('/').next().unwrap_or(bare);
    function == path.function && (interface == full || interface == bare || interface == short)
}

/// `run` of a command, which other interfaces may have too.
fn is_run(method: &str, path: &ExportPath) -> bool {
    let interface = path.interface.as_deref().unwrap_or_default();
    method == "run" && path.function == "run" && interface.starts_with("wasi:cli/run@")
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_schema::wit::Signature;

    fn exports() -> Vec<ExportRecord> {
        let paths = [
            "add-two",
            "a:b/ops@1.0.0#add",
            "a:b/ops@1.0.0#round-to",
            "a:b/more#add",
            "test-sleep#sleep-ms",
            "wasi:cli/run@0.2.6#run",
            "a:b/more#run",
            "a:b/more#[method]thing.get",
        ];
        let path = |text: &str| match text.split_once('#') {
            Some((interface, function)) => {
                ExportPath { interface: Some(interface.into()), function: function.into() }
            }
            None => ExportPath { interface: None, function: text.into() },
        };
        let signature = |text: &str| (!text.contains('[')).then(Signature::default);
        paths.map(|text| ExportRecord { path: path(text), signature: signature(text) }).to_vec()
    }

    fn found(method: &str) -> Result<String, (Code, String)> {
        find(Some(method), &exports(), "function.wasm")
            .map(|export| export.path.to_string())
            .map_err(|fault| (fault.code, fault.help.unwrap_or_default()))
    }

    #[test]
    fn every_documented_spelling() {
        for (method, path) in [
            ("add-two", "add-two"),
            ("add_two", "add-two"),
            ("a:b/ops@1.0.0#add", "a:b/ops@1.0.0#add"),
            ("a:b/ops#add", "a:b/ops@1.0.0#add"),
            ("ops#add", "a:b/ops@1.0.0#add"),
            ("ops#round_to", "a:b/ops@1.0.0#round-to"),
            ("round-to", "a:b/ops@1.0.0#round-to"),
            ("round_to", "a:b/ops@1.0.0#round-to"),
            ("test-sleep#sleep-ms", "test-sleep#sleep-ms"),
            ("test_sleep#sleep_ms", "test-sleep#sleep-ms"),
            ("run", "wasi:cli/run@0.2.6#run"),
            ("wasi:cli/run#run", "wasi:cli/run@0.2.6#run"),
            ("more#run", "a:b/more#run"),
        ] {
            assert_eq!(found(method).as_deref(), Ok(path), "{method}");
        }
    }

    #[test]
    fn a_process_without_a_method_runs_what_its_component_runs() {
        let exports = exports();
        let run = find(None, &exports, "process.wasm").unwrap();
        assert_eq!(run.path.to_string(), "wasi:cli/run@0.2.6#run");
        assert_eq!(find(None, &exports, "function.wasm").unwrap_err().code, Code::FieldMissing);
    }

    #[test]
    fn what_is_not_found_is_explained() {
        let (code, help) = found("add").unwrap_err();
        assert_eq!(
            (code, help.as_str()),
            (Code::MethodAmbiguous, "write one of `a:b/ops@1.0.0#add`, `a:b/more#add`")
        );
        let (code, help) = found("ad-two").unwrap_err();
        assert!(
            code == Code::MethodNotFound && help.starts_with("did you mean `add-two`? the component exports")
        );
        assert!(found("ops#rund-to").unwrap_err().1.starts_with("did you mean `a:b/ops@1.0.0#round-to`?"));
        assert!(found("zzzzzz").unwrap_err().1.starts_with("the component exports `add-two`,"));
        assert_eq!(found("more#[method]thing.get").unwrap_err().0, Code::MethodUsesResource);
        assert_eq!(find(None, &exports(), "function.wasm").unwrap_err().code, Code::FieldMissing);
    }

    #[test]
    fn http_handlers_need_no_name() {
        for (interface, method) in [
            ("wasi:http/incoming-handler@0.2.3", "incoming-handler#handle"),
            ("wasi:http/handler@0.3.0", "handler#handle"),
        ] {
            let path = ExportPath { interface: Some(interface.into()), function: "handle".into() };
            let exports = [ExportRecord { path, signature: None }];
            assert!(find(None, &exports, "function.wasm").is_ok());
            assert!(find(Some(method), &exports, "function.wasm").is_ok());
        }
    }
}
