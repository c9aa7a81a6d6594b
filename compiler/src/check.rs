//! Grants against imports, in both directions.
//!
//! What is imported without a grant is linked to stubs that end the call (a warning, since toolchains
//! import far more than they use); what is granted and not imported is more than the component needs
//! (a warning too), as is an import that nobody can offer, which is linked to stubs. What is granted and
//! has other types than the host's can't be linked: an error.

use std::collections::{BTreeMap, BTreeSet};

use registry_schema::authored::wasm::{ImportsMissing, Wasm};
use registry_schema::grants::{Group, RUNTIME_VERSION, Token, earlier_release};
use registry_schema::manifest::{Component, ExportPath, ImportRecord};

use crate::adapters::PREVIEW1;
use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use crate::method::is_http_handler;
use registry_schema::suggest::nearest;

/// The interface of the `socket` token, which core modules import.
const SOCKET_INTERFACE: &str = "wippy:runtime/socket";

/// The tokens of `imports`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// What each token stands for, with its index in the list.
    tokens: Vec<(usize, String, Vec<Group>)>,
}

impl Granted {
    /// Reads the tokens of `wasm`.
    ///
    /// # Errors
    /// One fault per token that is not known.
    pub(crate) fn read(wasm: &Wasm) -> Result<Self, Vec<Fault>> {
        let (mut granted, mut faults) = (Self::default(), Vec::new());
        for (index, text) in wasm.imports.iter().enumerate() {
            let trimmed = text.trim();
            if trimmed.to_ascii_lowercase().split('@').next() == Some(SOCKET_INTERFACE) {
                granted.tokens.push((index, trimmed.to_owned(), vec![Group::Socket]));
                continue;
            }
            match text.parse::<Token>() {
                Ok(token) => granted.tokens.push((index, trimmed.to_owned(), token.groups().to_vec())),
                Err(error) => faults.push(unknown_token(index, trimmed, &error.to_string())),
            }
        }
        if faults.is_empty() { Ok(granted) } else { Err(faults) }
    }

    /// The groups, sorted, each once.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let groups: BTreeSet<Group> = self.tokens.iter().flat_map(|(_, _, groups)| groups.clone()).collect();
        groups.into_iter().collect()
    }

    fn has(&self, group: &Group) -> bool {
        self.tokens.iter().any(|(_, _, groups)| groups.contains(group))
    }

    /// Where the first token for `group` stands; nothing where none is needed.
    fn field(&self, group: &Group) -> String {
        let token = self.tokens.iter().find(|(_, _, groups)| groups.contains(group));
        token.map(|(index, _, _)| format!("imports.{index}")).unwrap_or_default()
    }
}

fn unknown_token(index: usize, text: &str, message: &str) -> Fault {
    let fault = Fault::new(Code::UnknownHostToken, format!("imports.{index}"), message);
    let lower = text.to_ascii_lowercase();
    let interface = lower.split_once('/').map(|(package, _)| package.to_owned());
    let near = nearest(&lower, Token::names())
        .or_else(|| interface.as_deref().and_then(|package| Token::names().find(|name| *name == package)));
    let known = listed(Token::names());
    fault.help(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {known}, and any single interface such as `acme:kv/store`"),
    })
}

/// What the comparison of imports and grants says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Imported interfaces that are linked to stubs.
    pub(crate) denied: Vec<String>,
    /// Faults and warnings.
    pub(crate) faults: Vec<Fault>,
}

/// Compares what `component` imports with what is granted, for an entry that calls `export`. `host_types` are the
/// interfaces with other types than the host's, and what differs.
pub(crate) fn compare(
    component: &Component,
    host_types: &BTreeMap<String, String>,
    export: &ExportPath,
    granted: &Granted,
    wasm: &Wasm,
) -> Compared {
    let mut compared = Compared::default();
    let serves_http = is_http_handler(export);
    let (mut imported, mut lacking, mut ungranted) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for import in &component.imports {
        match offered(import) {
            Ok(group) => {
                let free = group == Group::Io || (serves_http && is_http_types(import));
                if !free && !granted.has(&group) {
                    ungranted.push(import.name.clone());
                    lacking.insert(group.token().to_owned());
                } else if let Some(difference) = host_types.get(&import.name) {
                    compared.faults.push(other_types(&import.name, difference, granted.field(&group)));
                }
                imported.insert(group);
            }
            Err(fault) => {
                compared.denied.push(import.name.clone());
                compared.faults.push(match wasm.imports_missing {
                    ImportsMissing::Stub => fault,
                    ImportsMissing::Error => fault.as_error(),
                });
            }
        }
    }
    compared.faults.extend(later_versions(component));
    if !ungranted.is_empty() {
        compared.faults.push(not_granted(&ungranted, &lacking, component, wasm));
        compared.denied.extend(ungranted);
        compared.denied.sort();
    }
    for (index, text, groups) in &granted.tokens {
        let used = groups.iter().any(|group| *group == Group::Io || imported.contains(group));
        if !used && !groups.contains(&Group::Socket) {
            let message = format!("`{text}` is granted and not imported");
            let fault = Fault::new(Code::GrantNotImported, format!("imports.{index}"), message);
            compared.faults.push(fault.help("remove it: the component works without"));
        }
    }
    compared
}

fn is_http_types(import: &ImportRecord) -> bool {
    import.name.starts_with("wasi:http/types@")
}

fn not_granted(denied: &[String], lacking: &BTreeSet<String>, component: &Component, wasm: &Wasm) -> Fault {
    let field = if wasm.imports.is_empty() { "" } else { "imports" };
    let message = format!("imported without a grant: {}", listed(denied));
    let fault = Fault::new(Code::ImportNotGranted, field, message);
    let tokens = listed(lacking);
    let preview1 = match component.adapters.iter().any(|adapter| adapter.name == PREVIEW1) {
        true => " (`wasi1` stands for all that preview 1 has)",
        false => "",
    };
    if wasm.imports_missing == ImportsMissing::Error {
        fault.as_error().help(format!("add {tokens} to `imports`{preview1}, or leave `imports_missing` out"))
    } else {
        fault.help(format!(
            "calls to them end with `PERMISSION_DENIED`; if the component needs them, add {tokens} to `imports`{preview1}"
        ))
    }
}

fn other_types(import: &str, difference: &str, field: String) -> Fault {
    let message = format!("`{import}` is imported with other types than the host has: {difference}");
    let or = if field.is_empty() { "" } else { ", or take back the grant" };
    Fault::new(Code::HostTypesMismatch, field, message)
        .help(format!("rebuild the component against the interface as published{or}"))
}

/// The group that `import` belongs to.
fn offered(import: &ImportRecord) -> Result<Group, Fault> {
    let name = import.name.as_str();
    let fault = |help: String| {
        Fault::new(
            Code::ImportUnknown,
            "",
            format!("`{name}` is imported, and nobody offers it: calls to it fail"),
        )
        .help(help)
    };
    let Some(group) = Group::of_interface(name) else {
        return Err(fault(if name.contains('/') {
            let package = name.split('/').next().unwrap_or(name);
            format!("the host has no such interface in `{package}`; build the component without it")
        } else {
            "functions are imported from interfaces, such as `acme:kv/store`".to_owned()
        }));
    };
    match &group {
        _ if group.has_version(name) => Ok(group),
        Group::Funcs | Group::Inbox => Err(fault(format!("the host has version {RUNTIME_VERSION}"))),
        _ => Err(fault("the host has versions 0.2.0 to 0.2.12 and 0.3.0".to_owned())),
    }
}

/// One warning for all interfaces of WASI that are newer than the host's.
fn later_versions(component: &Component) -> Option<Fault> {
    let later = component.imports.iter().map(|import| import.name.as_str());
    let (later, earlier): (Vec<_>, BTreeSet<_>) =
        later.filter_map(|name| Some((name, earlier_release(name)?))).unzip();
    if later.is_empty() {
        return None;
    }
    let message = format!("imported in a later version than the host has: {}", listed(&later));
    let earlier: Vec<_> = earlier.into_iter().collect();
    Some(Fault::new(Code::ImportVersion, "", message).help(format!(
        "the host has {}; calls to functions that are newer than that end with `UNAVAILABLE`",
        earlier.join(" and ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_schema::manifest::Needs;
    use registry_schema::{Digest, Profile};

    fn component(imports: &[&str]) -> Component {
        let imports = imports.iter();
        Component {
            digest: Digest::of(b""),
            size: 0,
            sources: vec![],
            adapters: vec![],
            producers: vec![],
            profile: Profile::Sync,
            imports: imports.map(|name| ImportRecord { name: (*name).into(), functions: vec![] }).collect(),
            exports: vec![],
            needs: Needs::default(),
        }
    }

    fn wasm(imports: &[&str]) -> Wasm {
        serde_json::from_value(serde_json::json!({ "imports": imports })).unwrap()
    }

    fn compared(imports: &[&str], tokens: &[&str]) -> Vec<(Code, String)> {
        let wasm = wasm(tokens);
        let export = ExportPath { interface: None, function: "f".into() };
        let compared =
            compare(&component(imports), &BTreeMap::new(), &export, &Granted::read(&wasm).unwrap(), &wasm);
        compared.faults.into_iter().map(|fault| (fault.code, fault.message)).collect()
    }

    #[test]
    fn both_directions() {
        let imports = ["wasi:cli/stdout@0.2.0", "wasi:clocks/wall-clock@0.2.12", "wasi:io/streams@0.2.0"];
        assert_eq!(compared(&imports, &["wasi:cli", "wasi:clocks/wall-clock@0.2.0", "wasi:poll"]), []);
        let expected = "imported without a grant: `wasi:cli/stdout@0.2.0`, `wasi:clocks/wall-clock@0.2.12`";
        assert_eq!(compared(&imports, &[]), [(Code::ImportNotGranted, expected.to_owned())]);
        assert_eq!(compared(&imports, &["wasi1"]), []);
        assert_eq!(
            compared(&[], &["wasi1", "wasi:io", "acme:kv/store"]),
            [
                (Code::GrantNotImported, "`wasi1` is granted and not imported".to_owned()),
                (Code::GrantNotImported, "`acme:kv/store` is granted and not imported".to_owned()),
            ]
        );
    }

    #[test]
    fn what_nobody_offers() {
        for name in [
            "log",
            "wasi:keyvalue/store@0.2.0",
            "wasi:clocks/wall-clock@0.2.0-rc-2023-11-10",
            "wasi:clocks/wall-clock",
            "wippy:runtime/funcs@0.2.0",
            "wasi:http/incoming-handler@0.2.0",
        ] {
            let faults = compared(&[name], &[]);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].0, Code::ImportUnknown);
        }
        assert_eq!(compared(&["acme:kv/store@1.0.0"], &["acme:kv/store"]), []);
        assert_eq!(compared(&["wippy:runtime/funcs@0.1.0"], &["funcs"]), []);
        assert_eq!(compared(&["wasi:clocks/wall-clock@0.2.13"], &["wasi:clocks"])[0].0, Code::ImportVersion);
    }

    #[test]
    fn missing_grants_can_be_errors() {
        let mut wasm = wasm(&[]);
        wasm.imports_missing = ImportsMissing::Error;
        let export = ExportPath { interface: None, function: "f".into() };
        let component = component(&["wasi:random/random@0.2.0"]);
        let compared = compare(&component, &BTreeMap::new(), &export, &Granted::default(), &wasm);
        assert_eq!(compared.faults[0].severity, crate::diagnostic::Severity::Error);
        assert_eq!(compared.denied, ["wasi:random/random@0.2.0"]);
    }

    #[test]
    fn http_handlers_have_their_types() {
        let wasm = wasm(&[]);
        let export = ExportPath {
            interface: Some("wasi:http/incoming-handler@0.2.3".into()),
            function: "handle".into(),
        };
        let component = component(&["wasi:http/types@0.2.3", "wasi:http/outgoing-handler@0.2.3"]);
        let compared = compare(&component, &BTreeMap::new(), &export, &Granted::default(), &wasm);
        assert_eq!(compared.denied, ["wasi:http/outgoing-handler@0.2.3"]);
    }

    #[test]
    fn unknown_tokens_are_suggested() {
        let faults =
            Granted::read(&wasm(&["wasi:clock", "wasi:cli/nothing", "zzzz", "wippy:runtime/socket@0.1.0"]));
        let helps: Vec<String> = faults.unwrap_err().into_iter().filter_map(|fault| fault.help).collect();
        assert_eq!(helps[..2], ["did you mean `wasi:clocks`?", "did you mean `wasi:cli`?"]);
        assert!(helps[2].starts_with("known are `wasi:io`, ") && helps.len() == 3);
    }
}
