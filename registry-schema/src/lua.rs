//! What Lua entries may require of the loader: the one list that both sides use.

/// Modules that `require` gives when `modules` lists them or `imports` names them as `:name`, sorted.
pub const MODULES: &[&str] = &[
    "base64",
    "channel",
    "ctx",
    "env",
    "errors",
    "fs",
    "funcs",
    "hash",
    "http",
    "http_client",
    "io",
    "json",
    "logger",
    "process",
    "registry",
    "security",
    "time",
    "uuid",
];

/// Globals that every chunk has, sorted. Those that are tables may be required as well; listing one in `modules`
/// changes nothing.
pub const GLOBALS: &[&str] =
    &["channel", "coroutine", "errors", "math", "os", "payload", "print", "process", "string", "table"];

/// Other documented modules, offered here or not, sorted.
pub const OTHER_MODULES: &[&str] = &[
    "archive",
    "cdc",
    "cloudstorage",
    "compress",
    "contract",
    "crypto",
    "eval",
    "eval_runner",
    "events",
    "excel",
    "exec",
    "expr",
    "html",
    "http",
    "http_client",
    "hub",
    "metrics",
    "pg",
    "queue",
    "sql",
    "store",
    "stream",
    "system",
    "templates",
    "text",
    "treesitter",
    "tty",
    "websocket",
    "yaml",
];

/// Whether `module` is one of the runtime's, offered or not.
pub fn is_documented(module: &str) -> bool {
    is_offered(module) || OTHER_MODULES.binary_search(&module).is_ok()
}

/// Whether `require` gives `module` to entries that don't list it.
pub fn is_always_there(module: &str) -> bool {
    module != "print" && GLOBALS.binary_search(&module).is_ok()
}

/// Whether an entry may list `module`.
pub fn is_offered(module: &str) -> bool {
    MODULES.binary_search(&module).is_ok() || GLOBALS.binary_search(&module).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(MODULES.is_sorted() && GLOBALS.is_sorted() && OTHER_MODULES.is_sorted());
        assert!(is_offered("json") && is_offered("print") && !is_offered("utf8"));
    }
}
