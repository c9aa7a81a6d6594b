//! Lua sources of ours, compiled once for all states of the process: to read one takes ten times as long as to load
//! what came of it.

use std::sync::OnceLock;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

/// A source that is part of the loader.
pub(super) struct Own {
    text: &'static str,
    code: OnceLock<Vec<u8>>,
}

impl Own {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, code: OnceLock::new() }
    }

    /// Its function, in the state `lua`.
    pub(super) fn load(&self, lua: &Lua) -> mlua::Result<Function> {
        if let Some(code) = self.code.get() {
            // Lua does not check such code; this is its own, of a moment ago.
            return lua.load(code.as_slice()).set_name(NAME).set_mode(ChunkMode::Binary).into_function();
        }
        let function = lua.load(self.text).set_name(NAME).set_mode(ChunkMode::Text).into_function()?;
        // With lines, for errors.
        self.code.get_or_init(|| function.dump(false));
        Ok(function)
    }
}

/// What errors call all of them.
const NAME: &str = "=prelude";
