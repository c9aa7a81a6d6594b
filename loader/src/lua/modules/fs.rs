//! The module `fs` (`en/lua/storage/filesystem.md`): volumes of the kinds `fs.directory` and `fs.embed`.
//!
//! Everything that touches a disk runs on a thread that may block, while the calling coroutine waits. No
//! path leaves its volume (`fs/path.rs`, `fs/folder.rs`). Volumes, files and scanners that are open are
//! counted: their descriptors and buffers are not Lua's memory.

mod embedded;
mod file;
mod folder;
mod path;
pub(super) mod split;
mod volume;

use std::sync::{Arc, Mutex, PoisonError};

use mlua::{
    AnyUserData, Function, Lua, MetaMethod, MultiValue, Table, UserData, UserDataFields, UserDataMethods,
    Value,
};
use registry_schema::{EntryRef, ErrorKind};

use self::file::FileObject;
use self::path::VolumePath;
use self::volume::{Item, Mode, Stat, Volume};
use super::arguments::{invalid, string, type_name};
use super::held::{Held, hold};
use super::permission::allowed;
use super::places::{Place, Places};
use crate::config::FS_OPEN_MAX;
use crate::error::Error;
use crate::loader::Inner;
use crate::lua::error;
use crate::lua::host::{Answer, Host};

/// Name in the registry of Lua of the methods of volumes.
const VOLUME_METHODS: &str = "fs.volume";
const FILE: &str = "file";
const DIRECTORY: &str = "directory";

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    module.set("type", lua.create_table_from([("FILE", FILE), ("DIR", DIRECTORY)])?)?;
    module.set("seek", lua.create_table_from([("SET", "set"), ("CUR", "cur"), ("END", "end")])?)?;
    let opened = Opened(Places::new(FS_OPEN_MAX));
    lua.set_app_data(opened.clone());
    let function = host.waiting(lua, move |lua, host, name: Value| get(lua, host, &opened, &name))?;
    module.set("get", function)?;
    add_volume_methods(lua, host)?;
    file::add_methods(lua, host)?;
    Ok(module)
}

/// What the invocation of a state has open.
#[derive(Clone)]
struct Opened(Places);

impl Opened {
    /// A place for one more.
    fn slot(&self, lua: &Lua) -> Result<Place, Error> {
        if let Some(slot) = self.0.take() {
            return Ok(slot);
        }
        // What was forgotten without being closed is open until it is collected.
        let collected = lua.gc_collect();
        let slot = collected.ok().and_then(|()| self.0.take());
        slot.ok_or_else(|| {
            let message = format!("{FS_OPEN_MAX} volumes, files and scanners are open: close some of them");
            Error::new(ErrorKind::Unavailable, message).retryable()
        })
    }
}

/// Whether something is open in `lua` that was not closed, or not collected yet.
pub(in crate::lua) fn has_open(lua: &Lua) -> bool {
    lua.app_data_ref::<Opened>().is_some_and(|opened| opened.0.taken() > 0)
}

/// Runs `work` on a thread that may block; `give` makes Lua values of what it gives.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    give: impl FnOnce(&Lua, T) -> mlua::Result<MultiValue> + Send + 'static,
) -> Answer {
    Answer::later(tokio::task::spawn_blocking(work), |lua, done| {
        let ended =
            |error| Err(Error::new(ErrorKind::Internal, format!("the operation ended early: {error}")));
        match done.unwrap_or_else(ended) {
            Ok(value) => give(lua, value),
            Err(error) => error::pair(lua, error),
        }
    })
}

#[cfg(feature = "http")]
pub(super) use file::rest;

fn get(lua: &Lua, host: &Host, opened: &Opened, name: &Value) -> mlua::Result<Answer> {
    let own = host.entry()?;
    let id = string(name, "name").and_then(|name| match name.to_string_lossy().parse::<EntryRef>() {
        Ok(reference) => Ok(reference.resolve(own.namespace())),
        Err(problem) => Err(invalid(format!("`{}` is no id: {problem}", name.to_string_lossy()))),
    });
    let id = match id {
        Ok(id) => allowed(host, "fs.get", &id.to_string())?.map(|()| id),
        Err(error) => Err(error),
    };
    let (id, slot) = match id.and_then(|id| Ok((id, opened.slot(lua)?))) {
        Ok(found) => found,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let (inner, opened) = (host.inner()?, opened.clone());
    Ok(blocking(
        move || Volume::open(&inner, &id),
        move |lua, volume| {
            let volume =
                VolumeObject { volume: Arc::new(volume), folder: Arc::default(), opened, _slot: slot };
            error::answer(lua, Ok(volume))
        },
    ))
}

/// What `get` gives. It must not keep the loader open: states with such objects are kept by the loader.
struct VolumeObject {
    volume: Arc<Volume>,
    /// The working directory.
    folder: Arc<Mutex<VolumePath>>,
    opened: Opened,
    _slot: Place,
}

impl VolumeObject {
    /// The path that `value` says, from the working directory.
    fn path(&self, value: &Value) -> Result<VolumePath, Error> {
        let text = string(value, "path")?;
        self.folder().join(&text.as_bytes())
    }

    fn folder(&self) -> VolumePath {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl UserData for VolumeObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields
            .add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(VOLUME_METHODS));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("pwd", |lua, this, ()| {
            error::answer(lua, Ok(lua.create_string(this.folder().absolute())?))
        });
    }
}

/// A waiting method that does `act` with a path, on a thread that may block.
fn on_path<T: Send + 'static>(
    lua: &Lua,
    host: &Host,
    act: fn(&Volume, &Inner, &VolumePath) -> Result<T, Error>,
    give: fn(&Lua, &VolumePath, T) -> mlua::Result<MultiValue>,
) -> mlua::Result<Function> {
    host.waiting(lua, move |lua, host, (this, path): (AnyUserData, Value)| {
        let this = this.borrow::<VolumeObject>()?;
        let path = match this.path(&path) {
            Ok(path) => path,
            Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
        };
        let (inner, volume) = (host.inner()?, Arc::clone(&this.volume));
        let work = move || Ok((act(&volume, &inner, &path)?, path));
        Ok(blocking(work, move |lua, (done, path)| give(lua, &path, done)))
    })
}

fn add_volume_methods(lua: &Lua, host: &Host) -> mlua::Result<()> {
    let methods = lua.create_table()?;
    let done = |lua: &Lua, _: &VolumePath, ()| error::answer(lua, Ok(true));
    let truth = |lua: &Lua, _: &VolumePath, value: bool| error::answer(lua, Ok(value));
    let read = host.waiting(lua, read_file)?;
    methods.set("readfile", &read)?;
    methods.set("read_file", read)?;
    let write = host.waiting(lua, write_file)?;
    methods.set("writefile", &write)?;
    methods.set("write_file", write)?;
    let exists: fn(&Volume, &Inner, &VolumePath) -> _ =
        |volume, inner, path| volume.stat_if_any(inner, path).map(|stat| stat.is_some());
    methods.set("exists", on_path(lua, host, exists, truth)?)?;
    let is_dir: fn(&Volume, &Inner, &VolumePath) -> _ = |volume, inner, path| {
        volume.stat_if_any(inner, path).map(|stat| stat.is_some_and(|stat| stat.is_dir))
    };
    methods.set("isdir", on_path(lua, host, is_dir, truth)?)?;
    let function = on_path(lua, host, Volume::stat, |lua, path, stat| {
        error::answer(lua, Ok(stat_table(lua, &path.name(), &stat)?))
    })?;
    methods.set("stat", function)?;
    methods.set("mkdir", on_path(lua, host, |volume, _, path| volume.make_folder(path), done)?)?;
    methods.set("remove", on_path(lua, host, |volume, _, path| volume.remove(path), done)?)?;
    methods.set("readdir", on_path(lua, host, Volume::list, |lua, _, items| iterate(lua, &items))?)?;
    methods.set("open", host.waiting(lua, open)?)?;
    methods.set("chdir", host.waiting(lua, change_folder)?)?;
    lua.set_named_registry_value(ITERATOR, lua.create_function(|_, state: Table| next_item(&state))?)?;
    lua.set_named_registry_value(VOLUME_METHODS, methods)
}

/// The mode that `value` names, or `default`.
fn mode(value: &Value, default: Mode, allowed: &[Mode]) -> Result<Mode, Error> {
    let name = match value {
        Value::Nil => return Ok(default),
        Value::String(name) => name,
        other => return Err(invalid(format!("`mode` must be a string, got {}", type_name(other)))),
    };
    let mode = Mode::named(&name.as_bytes()).filter(|mode| allowed.contains(mode));
    mode.ok_or_else(|| invalid(format!("invalid mode `{}`", name.to_string_lossy())))
}

fn read_file(lua: &Lua, host: &Host, (this, path): (AnyUserData, Value)) -> mlua::Result<Answer> {
    let this = this.borrow::<VolumeObject>()?;
    let path = match this.path(&path) {
        Ok(path) => path,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let (inner, volume, held) = (host.inner()?, Arc::clone(&this.volume), Held::of(lua));
    let read = move || volume.read(&inner, &path, &held);
    Ok(blocking(read, |lua, (bytes, _share)| error::answer(lua, Ok(lua.create_string(bytes)?))))
}

fn write_file(
    lua: &Lua,
    host: &Host,
    (this, path, data, how): (AnyUserData, Value, Value, Value),
) -> mlua::Result<Answer> {
    let this = this.borrow::<VolumeObject>()?;
    let arguments = this.path(&path).and_then(|path| {
        let data = string(&data, "data")?.as_bytes();
        let share = hold(lua, data.len())?;
        Ok((
            path,
            (data.to_vec(), share),
            mode(&how, Mode::Write, &[Mode::Write, Mode::Append, Mode::WriteNew])?,
        ))
    });
    let (path, data, mode) = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let (inner, volume) = (host.inner()?, Arc::clone(&this.volume));
    let write = move || volume.write(&inner, &path, &data.0, mode);
    Ok(blocking(write, |lua, ()| error::answer(lua, Ok(true))))
}

fn open(lua: &Lua, host: &Host, (this, path, how): (AnyUserData, Value, Value)) -> mlua::Result<Answer> {
    let this = this.borrow::<VolumeObject>()?;
    let all = [Mode::Read, Mode::Write, Mode::Append, Mode::WriteNew];
    let arguments =
        this.path(&path).and_then(|path| Ok((path, mode(&how, Mode::Read, &all)?, this.opened.slot(lua)?)));
    let (path, mode, slot) = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let (inner, volume, opened) = (host.inner()?, Arc::clone(&this.volume), this.opened.clone());
    let open = move || Ok((volume.open_file(&inner, &path, mode)?, path));
    Ok(blocking(open, move |lua, (file, path)| {
        error::answer(lua, Ok(FileObject::new(path, file, slot, opened)))
    }))
}

fn change_folder(lua: &Lua, host: &Host, (this, path): (AnyUserData, Value)) -> mlua::Result<Answer> {
    let this = this.borrow::<VolumeObject>()?;
    let path = match this.path(&path) {
        Ok(path) => path,
        Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
    };
    let (inner, volume, folder) = (host.inner()?, Arc::clone(&this.volume), Arc::clone(&this.folder));
    let change = move || match volume.stat(&inner, &path)?.is_dir {
        true => {
            *folder.lock().unwrap_or_else(PoisonError::into_inner) = path;
            Ok(())
        }
        false => Err(invalid(format!("`{path}`: not a directory"))),
    };
    Ok(blocking(change, |lua, ()| error::answer(lua, Ok(true))))
}

fn stat_table(lua: &Lua, name: &[u8], stat: &Stat) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 6)?;
    table.raw_set("name", lua.create_string(name)?)?;
    table.raw_set("size", stat.size)?;
    table.raw_set("mode", stat.mode)?;
    table.raw_set("modified", stat.modified)?;
    table.raw_set("is_dir", stat.is_dir)?;
    table.raw_set("type", if stat.is_dir { DIRECTORY } else { FILE })?;
    Ok(table)
}

/// Name in the registry of Lua of the function that a `for` over a folder calls.
const ITERATOR: &str = "fs.next";
/// Field of its state: the index of the last item.
const AT: &str = "at";

/// The iterator and its state, the items in order.
fn iterate(lua: &Lua, items: &[Item]) -> mlua::Result<MultiValue> {
    let state = lua.create_table_with_capacity(items.len(), 1)?;
    for item in items {
        let table = lua.create_table_with_capacity(0, 2)?;
        table.raw_set("name", lua.create_string(&item.name)?)?;
        table.raw_set("type", if item.is_dir { DIRECTORY } else { FILE })?;
        state.raw_push(table)?;
    }
    state.raw_set(AT, 0)?;
    let iterator: Function = lua.named_registry_value(ITERATOR)?;
    Ok(MultiValue::from_iter([Value::Function(iterator), Value::Table(state)]))
}

fn next_item(state: &Table) -> mlua::Result<Value> {
    let at = state.raw_get::<i64>(AT)?.saturating_add(1);
    state.raw_set(AT, at)?;
    state.raw_get(at)
}

#[cfg(test)]
mod tests;
