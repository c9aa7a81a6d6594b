//! Lua states: made, filled and kept for the next invocation.

use std::sync::{Arc, Mutex, PoisonError};

use mlua::{Function, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table as LuaTable, Value};
use registry_schema::manifest::{Entry, LuaImport};
use registry_schema::{EntryId, ErrorKind};

use super::host::{Host, WAITING};
use super::own::Own;
use super::{error, modules, patterns, turns, types};
use crate::config::{
    LUA_COROUTINES_MAX, LUA_GARBAGE_BYTES_MAX, LUA_IDLE_STATES_MAX, LUA_INSTRUCTIONS_PER_TURN,
    LUA_KEPT_BYTES_MAX, LUA_MEMORY_BYTES_MAX,
};
use crate::error::Error;
use crate::guest_log::Stream;
use crate::loader::Inner;
use crate::pool::Patience;
use crate::pool::bound::{Bound, Place};

/// A state, filled and idle or running one invocation.
pub(super) struct State {
    pub(super) lua: Lua,
    pub(super) host: Host,
    /// Runs an entry: called with its id, its method and the arguments.
    pub(super) main: Function,
    /// Runs a function of `coroutine.spawn`.
    pub(super) spawned: Function,
    /// Lets Rust see every collection, or no more.
    watch: Function,
    /// What was left of its memory when it was last collected as a whole.
    live_bytes: usize,
}

impl Drop for State {
    fn drop(&mut self) {
        // What a collection calls is gone by the time that a closed state collects. Without hook and limit this
        // can't fail; if it did, the state would have to stay as it is.
        self.lua.remove_hook();
        let is_quiet = self.lua.set_memory_limit(0).and_then(|_| self.watch.call::<()>(false)).is_ok();
        if !is_quiet {
            std::mem::forget(self.lua.clone());
        }
    }
}

static PRELUDE: Own = Own::new(include_str!("prelude.lua"));
static LIBRARY: Own = Own::new(include_str!("library.lua"));
static SEARCHES: Own = Own::new(include_str!("patterns/searches.lua"));

/// The idle states of a loader.
pub(crate) struct States {
    idle: Mutex<Vec<State>>,
    bound: Arc<Bound>,
}

impl States {
    /// At most `max` are in use at once.
    pub(crate) fn new(max: usize) -> Self {
        let bound = Arc::new(Bound::new(max, "`Options::lua_states_max`"));
        Self { idle: Mutex::default(), bound }
    }

    /// Those of a loader in the place of another: both together have as many in use as one.
    pub(crate) fn succeeding(previous: &Self) -> Self {
        Self { idle: Mutex::default(), bound: Arc::clone(&previous.bound) }
    }

    /// The right to have one state more in use, for the entry `id`.
    ///
    /// # Errors
    /// `UNAVAILABLE`, retryable, when none got free in time.
    pub(super) async fn place(&self, id: &EntryId, patience: &mut Patience) -> Result<Place, Error> {
        self.bound.place(id, patience).await
    }

    /// A state to run an invocation in.
    pub(super) fn take(&self) -> Result<State, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(state) => Ok(state),
            None => State::new().map_err(|problem| {
                Error::new(ErrorKind::Internal, format!("no Lua state can be made: {problem}"))
            }),
        }
    }

    /// How many states are idle.
    #[cfg(feature = "telemetry")]
    pub(crate) fn idle(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Keeps `state`, whose invocation has ended by itself, for the next one.
    pub(super) fn give(&self, mut state: State) {
        state.host.set(None);
        // What was forgotten lets go of descriptors and memory of ours when it is collected.
        let held = modules::held::Held::of(&state.lua);
        let holds = || held.bytes() > 0 || modules::fs::has_open(&state.lua);
        let used = state.lua.used_memory();
        if used > LUA_KEPT_BYTES_MAX.min(state.live_bytes + LUA_GARBAGE_BYTES_MAX) || holds() {
            if state.lua.gc_collect().is_err() {
                return;
            }
            state.live_bytes = state.lua.used_memory();
            if modules::fs::has_open(&state.lua) || state.live_bytes + held.bytes() > LUA_KEPT_BYTES_MAX {
                return;
            }
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < LUA_IDLE_STATES_MAX {
            idle.push(state);
        }
    }
}

impl State {
    fn new() -> mlua::Result<Self> {
        let libraries = StdLib::COROUTINE | StdLib::MATH | StdLib::OS | StdLib::STRING | StdLib::TABLE;
        // With Lua's own `pcall`, which a coroutine can be suspended in; mlua's, which passes Rust panics on,
        // is a border that it can't.
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
        // Nothing of what is made here is garbage.
        lua.gc_stop();
        let host = Host::default();
        lua.set_app_data(host.clone());
        let rust = lua.create_table()?;
        functions(&lua, &host, &rust)?;
        patterns::functions(&lua, &rust)?;
        let (string, table) = library(&lua, &rust)?;
        rust.set("string", string)?;
        rust.set("table", table)?;
        rust.set("collected", lua.create_function(|lua, ()| turns::hasten(lua))?)?;
        rust.set("types", lua.create_function(|lua, ()| types::open(lua))?)?;
        let (main, spawned, watch) = PRELUDE.load(&lua)?.call(rust)?;
        turns::arm(&lua, &host, LUA_INSTRUCTIONS_PER_TURN)?;
        lua.set_memory_limit(LUA_MEMORY_BYTES_MAX)?;
        let state = Self { lua, host, main, spawned, watch, live_bytes: 0 };
        state.watch.call::<()>(true)?;
        state.lua.gc_restart();
        Ok(state)
    }

    /// Checks that the source of the entry `id` compiles.
    pub(super) fn check(&self, inner: &Inner, id: &str) -> Result<(), Error> {
        load(&self.lua, inner, id).map(|_| ())
    }
}

/// The tables `string` and `table` of all invocations.
pub(super) fn library(lua: &Lua, rust: &LuaTable) -> mlua::Result<(LuaTable, LuaTable)> {
    // Each has 16 bytes at least.
    rust.set("items_max", LUA_MEMORY_BYTES_MAX / 16)?;
    rust.set("searches", SEARCHES.load(lua)?)?;
    LIBRARY.load(lua)?.call(rust)
}

/// What the prelude uses of Rust.
fn functions(lua: &Lua, host: &Host, rust: &LuaTable) -> mlua::Result<()> {
    let metatable = |_: &Lua, value: Value| match value {
        Value::Table(table) => Ok(table.metatable()),
        _ => Ok(None),
    };
    let metatable = lua.create_function(metatable)?;
    lua.set_named_registry_value(METATABLE, &metatable)?;
    rust.set("metatable", metatable)?;
    let open = |lua: &Lua, (waiting, new, offer, arrived): (Function, Function, Function, Function)| {
        lua.set_named_registry_value(WAITING, waiting)?;
        lua.set_named_registry_value(CHANNEL_NEW, new)?;
        lua.set_named_registry_value(CHANNEL_OFFER, offer)?;
        lua.set_named_registry_value(CHANNEL_ARRIVED, arrived)
    };
    rust.set("open", lua.create_function(open)?)?;
    let own = host.clone();
    let module = move |lua: &Lua, name: LuaString| modules::make(lua, &own, &name.to_str()?);
    rust.set("module", lua.create_function(module)?)?;
    rust.set("plain", lua.create_function(|lua, value: Value| error::plain(lua, value))?)?;
    let positioned = |lua: &Lua, text: LuaString| Ok(error::positioned(lua, &text.to_string_lossy()));
    rust.set("located", lua.create_function(|lua, value: Value| error::located(lua, value))?)?;
    rust.set("positioned", lua.create_function(positioned)?)?;
    let own = host.clone();
    rust.set("caught", lua.create_function(move |lua, value: Value| error::caught(lua, &own, &value))?)?;
    rust.set("payload", lua.create_function(|lua, value: Value| modules::payload::new(lua, value))?)?;
    let string_metatable = |lua: &Lua, metatable: LuaTable| {
        lua.set_type_metatable::<LuaString>(Some(metatable));
        Ok(())
    };
    rust.set("string_metatable", lua.create_function(string_metatable)?)?;
    let own = host.clone();
    rust.set("task", lua.create_function(move |_, ()| own.ticket())?)?;
    let own = host.clone();
    let wake = move |_: &Lua, (ticket, values): (i64, MultiValue)| own.wake(ticket, values);
    rust.set("wake", lua.create_function(wake)?)?;
    let own = host.clone();
    rust.set("abandon", lua.create_function(move |_, ()| own.abandon())?)?;
    let own = host.clone();
    // Arguments are in the function: there can't be more than a million references into a state at once.
    let spawn = move |_: &Lua, function: Function| {
        own.with(|current| {
            if current.coroutines >= LUA_COROUTINES_MAX {
                let message = format!("{LUA_COROUTINES_MAX} coroutines are under way already");
                return Err(mlua::Error::runtime(message));
            }
            current.coroutines += 1;
            current.spawned.push(function);
            Ok(())
        })?
    };
    rust.set("spawn", lua.create_function(spawn)?)?;
    let own = host.clone();
    rust.set("has_ended", lua.create_function(move |_, ()| Ok(own.end()?.is_some()))?)?;
    let own = host.clone();
    rust.set("raise_end", lua.create_function(move |_, ()| Err::<(), _>(own.ended()))?)?;
    let own = host.clone();
    let print = move |_: &Lua, text: LuaString| {
        let (inner, entry) = own.with(|current| (Arc::clone(&current.inner), Arc::clone(&current.entry)))?;
        for line in text.to_string_lossy().split('\n') {
            inner.log.line(&entry, Stream::Stdout, line);
        }
        Ok(())
    };
    rust.set("print", lua.create_function(print)?)?;
    let own = host.clone();
    let load = move |lua: &Lua, id: LuaString| {
        let inner = own.inner()?;
        load(lua, &inner, &id.to_str()?).map_err(mlua::Error::external)
    };
    rust.set("load", lua.create_function(load)?)?;
    modules::funcs::functions(lua, host, rust)
}

/// The source of the entry `id`, compiled: `factory`, a function of globals and `require`, and `names`, what
/// `require` gives by name.
fn load(lua: &Lua, inner: &Inner, id: &str) -> Result<LuaTable, Error> {
    let internal = |problem: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Internal, format!("`{id}` can't be loaded: {problem}"))
    };
    let parsed: EntryId = id.parse().map_err(|error| internal(&error))?;
    let entry = inner.bundle.manifest().entry(&parsed)?;
    let missing = || Error::new(ErrorKind::NotFound, format!("no Lua entry `{id}` in this bundle"));
    let entry: Entry = entry.ok_or_else(missing)?;
    if let Some(reason) = inner.unavailable(&entry) {
        let message = format!("`{id}` is not available: {reason}");
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    let entry = entry.lua.ok_or_else(missing)?;
    let source = inner.bundle.lua_source(entry.source).map_err(|problem| internal(&problem))?;
    // On one line with the first of the source, so that line numbers stay.
    let wrapped = [b"return function(_ENV, require, ...) ", source.as_slice(), b"\nend"].concat();
    let compiled = || {
        let factory: Function =
            // Nothing of the source stands outside the function; if it did, it would reach nothing.
            lua.load(wrapped)
                .set_name(format!("={id}"))
                .set_mode(mlua::chunk::ChunkMode::Text)
                .set_environment(lua.create_table()?)
                .call(())?;
        let names = lua.create_table()?;
        for module in &entry.modules {
            names.raw_set(module.as_str(), module.as_str())?;
        }
        for (alias, import) in &entry.imports {
            match import {
                LuaImport::Entry(id) => names.raw_set(alias.as_str(), id.to_string())?,
                LuaImport::Module(name) => names.raw_set(alias.as_str(), name.as_str())?,
            }
        }
        let chunk = lua.create_table()?;
        chunk.raw_set("factory", factory)?;
        chunk.raw_set("names", names)?;
        Ok(chunk)
    };
    compiled().map_err(|error: mlua::Error| internal(&error))
}

/// Name in the registry of the function that makes a channel of a size.
pub(super) const CHANNEL_NEW: &str = "channel.new";
/// Name in the registry of the function that puts a value into a channel without waiting.
pub(super) const CHANNEL_OFFER: &str = "channel.offer";
/// Name in the registry of the function that feeds a channel from its source.
pub(super) const CHANNEL_ARRIVED: &str = "channel.arrived";
/// Name in the registry of the function that gives a table's metatable, locked or not.
pub(super) const METATABLE: &str = "metatable";
