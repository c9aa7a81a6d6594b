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
    "http_client",
    "json",
    "logger",
    "registry",
    "security",
    "time",
    "uuid",
];

/// Globals that every chunk has, sorted. Listing one in `modules` changes nothing.
pub const GLOBALS: &[&str] =
    &["channel", "coroutine", "errors", "math", "os", "payload", "print", "string", "table"];

/// Whether an entry may list `module`.
pub fn is_offered(module: &str) -> bool {
    MODULES.binary_search(&module).is_ok() || GLOBALS.binary_search(&module).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(MODULES.is_sorted() && GLOBALS.is_sorted());
        assert!(is_offered("json") && is_offered("print") && !is_offered("utf8"));
    }
}
