//! Which kinds this version runs. All others are carried, and say what they need.

use registry_schema::authored::http::{MIDDLEWARE, POST_MIDDLEWARE, TlsMode};
use registry_schema::authored::scalar::Templated;
use registry_schema::authored::{CARRIED_KINDS, Definition};

/// What entries of `kind` need that is not offered; `None` for kinds that run or are data.
///
/// Kinds that nobody knows are data: an application may keep its own.
pub(crate) fn offered(kind: &str) -> Option<&'static str> {
    match kind {
        "function.wat" | "function.wasm" | "function.lua" | "library.lua" => None,
        "process.wasm" | "process.lua" | "process.host" | "process.service" | "terminal.host" => None,
        "module.lua" => Some("needs Lua modules of several methods, which are not offered"),
        "http.service" | "http.router" | "http.endpoint" => None,
        "http.static" => Some("needs static files over HTTP, which are not offered"),
        "security.policy" | "security.token_store" | "store.memory" => None,
        "security.policy.expr" => Some("needs policy expressions, which are not offered"),
        "store.sql" => Some("needs SQL, which is not offered"),
        "network" => Some("needs network overlays, which are not offered"),
        kind if !is_known(kind) => None,
        kind if kind.ends_with(".lua.bc") => Some("needs Lua bytecode, which is not offered"),
        kind => match kind.split('.').next().unwrap_or(kind) {
            "db" => Some("needs SQL, which is not offered"),
            "queue" => Some("needs queues, which are not offered"),
            "exec" => Some("needs native processes, which are not offered"),
            "template" => Some("needs templates, which are not offered"),
            "contract" => Some("needs contracts, which are not offered"),
            "workflow" | "temporal" => Some("needs workflows, which are not offered"),
            "cloudstorage" | "config" => Some("needs cloud storage, which is not offered"),
            "network" => Some("needs network overlays, which are not offered"),
            "store" | "pg" => Some("needs a cluster, which is not offered"),
            // `fs.*`, `env.*`, `ns.*`, `registry.entry`.
            _ => None,
        },
    }
}

/// What an entry of a kind that runs asks for that is not offered. Whatever restricts is never left out.
pub(crate) fn lacking(definition: &Definition) -> Option<String> {
    match definition {
        Definition::HttpService(service) if service.network.is_some() => {
            Some("needs a network overlay, which is not offered".to_owned())
        }
        Definition::HttpService(service) => {
            let mode = service.tls.as_ref().and_then(|tls| tls.mode.as_ref()?.value().copied());
            (mode == Some(TlsMode::Auto))
                .then(|| "needs a certificate of a network overlay, which is not offered".to_owned())
        }
        Definition::HttpRouter(router) => {
            let before = unknown(&router.middleware, MIDDLEWARE);
            let name = before.or_else(|| unknown(&router.post_middleware, POST_MIDDLEWARE))?;
            Some(format!("needs the middleware `{name}`, which is not offered there"))
        }
        _ => None,
    }
}

fn unknown<'n>(names: &'n [Templated<String>], offered: &[&str]) -> Option<&'n String> {
    names.iter().filter_map(Templated::value).find(|name| !offered.contains(&name.as_str()))
}

/// Whether `kind` is one of the documented ones.
pub(crate) fn is_known(kind: &str) -> bool {
    Definition::KINDS.contains(&kind) || CARRIED_KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_kind_is_placed() {
        let runs: Vec<_> = Definition::KINDS
            .iter()
            .chain(CARRIED_KINDS)
            .filter(|kind| offered(kind).is_none())
            .copied()
            .collect();
        assert_eq!(
            runs,
            [
                "function.wat",
                "function.wasm",
                "process.wasm",
                "function.lua",
                "process.lua",
                "library.lua",
                "process.host",
                "process.service",
                "terminal.host",
                "http.service",
                "http.router",
                "http.endpoint",
                "store.memory",
                "security.token_store",
                "fs.directory",
                "fs.embed",
                "env.storage.os",
                "env.storage.memory",
                "env.storage.static",
                "env.storage.file",
                "env.storage.router",
                "env.variable",
                "security.policy",
                "ns.definition",
                "ns.dependency",
                "ns.requirement",
                "registry.entry",
            ]
        );
        assert_eq!(offered("acme.widget"), None);
        assert_eq!(offered("workflow.lua.bc"), Some("needs Lua bytecode, which is not offered"));
    }
}
