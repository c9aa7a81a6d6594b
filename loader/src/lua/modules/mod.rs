//! The modules that `require` gives (`en/lua/**`).
//!
//! Each has one function `module(lua, host)`, called once per state, when it is first required; every invocation gets
//! copies of the tables that it returns, so that no change of one is seen by another. So a module's tables hold functions,
//! constants and such tables; what belongs to an invocation lies in [`super::host::Host`] or in Lua values.
//!
//! Objects are userdata. Methods that may wait can't be methods of mlua's: such an object's `__index` is a
//! table of functions that its module makes once per state and keeps in the registry.

pub(super) mod arguments;
pub(super) mod base64;
mod blocking;
pub(super) mod ctx;
pub(super) mod env;
pub(super) mod errors;
pub(super) mod fs;
pub(super) mod funcs;
pub(super) mod hash;
pub(super) mod held;
#[cfg(feature = "http")]
pub(super) mod http;
#[cfg(feature = "http")]
pub(super) mod http_client;
pub(super) mod io;
pub(super) mod json;
pub(super) mod logger;
pub(super) mod os;
pub(super) mod payload;
mod permission;
mod places;
pub(super) mod process;
pub(super) mod registry;
pub(super) mod security;
#[cfg(feature = "http")]
mod stream;
pub(super) mod time;
pub(super) mod uuid;

#[cfg(test)]
mod harness;

use mlua::{Lua, Table};

use super::host::Host;

/// A module's `module`: makes its tables in a state.
type Build = fn(&Lua, &Host) -> mlua::Result<Table>;

/// The modules, those of the prelude (`channel`, `coroutine`, `funcs`) left out.
const MODULES: &[(&str, Build)] = &[
    ("base64", base64::module),
    ("ctx", ctx::module),
    ("env", env::module),
    ("errors", errors::module),
    ("fs", fs::module),
    ("hash", hash::module),
    #[cfg(feature = "http")]
    ("http", http::module),
    #[cfg(feature = "http")]
    ("http_client", http_client::module),
    ("io", io::module),
    ("json", json::module),
    ("logger", logger::module),
    ("os", os::module),
    ("payload", payload::module),
    ("process", process::module),
    ("registry", registry::module),
    ("security", security::module),
    ("time", time::module),
    ("uuid", uuid::module),
];

/// Makes the module `name`, if there is one.
pub(super) fn make(lua: &Lua, host: &Host, name: &str) -> mlua::Result<Option<Table>> {
    let module = MODULES.iter().find(|(known, _)| *known == name);
    module.map(|(_, module)| module(lua, host)).transpose()
}

#[cfg(test)]
mod tests {
    use registry_schema::lua::{GLOBALS, is_offered};

    use super::MODULES;

    /// Modules and globals that the prelude makes, or that are Lua's own.
    const OTHERS: [&str; 7] = ["channel", "coroutine", "funcs", "math", "print", "string", "table"];

    /// The compiler lets entries require what the list in `registry-schema` has.
    #[test]
    fn what_may_be_required_is_what_there_is() {
        let made: Vec<&str> = MODULES.iter().map(|(name, _)| *name).chain(OTHERS).collect();
        let listed = registry_schema::lua::MODULES.iter().chain(GLOBALS);
        let missing: Vec<&&str> = listed.filter(|name| !made.contains(name)).collect();
        assert!(missing.is_empty(), "listed, and not there: {missing:?}");
        let unlisted: Vec<&&str> = made.iter().filter(|name| !is_offered(name)).collect();
        assert!(unlisted.is_empty(), "there, and not listed: {unlisted:?}");
    }
}
