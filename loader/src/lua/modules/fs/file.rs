//! Open files and scanners as Lua sees them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::{
    AnyUserData, Lua, MetaMethod, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value,
};
use registry_schema::ErrorKind;

use super::path::VolumePath;
use super::split::{Next, Split};
use super::volume::{Stat, io_failure};
use super::{Opened, Place, blocking, stat_table};
use crate::config::{FS_CHUNK_BYTES_MAX, FS_TOKEN_BYTES_MAX};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Host};
use crate::lua::modules::arguments::{invalid, string, type_name};
use crate::lua::modules::held::{Share, hold};

/// Names in the registry of Lua of the methods.
const FILE_METHODS: &str = "fs.file";
const SCANNER_METHODS: &str = "fs.scanner";
/// Bytes that `read` gives when it is not told how many.
const CHUNK_BYTES: usize = 4 << 10;
/// Bytes that a scanner reads at once.
const SCAN_BYTES: usize = 64 << 10;

/// An open file.
pub(super) struct FileObject {
    file: Arc<Shared>,
    opened: Opened,
}

struct Shared {
    path: VolumePath,
    /// `None` when it was closed. Held by the thread that reads or writes.
    open: Mutex<Option<(File, Place)>>,
}

impl Shared {
    /// Lets `act` at the file; blocks.
    fn with<T>(&self, act: impl FnOnce(&mut File) -> std::io::Result<T>) -> Result<T, Error> {
        match self.lock().as_mut() {
            Some((file, _)) => act(file).map_err(|error| io_failure(&self.path, &error)),
            None => Err(invalid(format!("`{}`: the file is closed", self.path))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(File, Place)>> {
        // A file is as good as it was after any panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileObject {
    pub(super) fn new(path: VolumePath, file: File, slot: Place, opened: Opened) -> Self {
        Self { file: Arc::new(Shared { path, open: Mutex::new(Some((file, slot))) }), opened }
    }
}

/// What reads the rest of the file in `value`, at most `max` bytes, if it is one; it blocks.
#[cfg(feature = "http")]
pub(in crate::lua::modules) fn rest(
    value: &AnyUserData,
    max: usize,
) -> Option<impl FnOnce() -> Result<Vec<u8>, Error> + Send + use<>> {
    let file = Arc::clone(&value.borrow::<FileObject>().ok()?.file);
    Some(move || {
        let mut bytes = Vec::new();
        file.with(|file| Read::take(file, max as u64 + 1).read_to_end(&mut bytes))?;
        if bytes.len() > max {
            return Err(invalid(format!("`{}` has more than {max} bytes", file.path)));
        }
        Ok(bytes)
    })
}

impl UserData for FileObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(FILE_METHODS));
    }
}

/// Makes the methods of files and scanners, once per state.
pub(super) fn add_methods(lua: &Lua, host: &Host) -> mlua::Result<()> {
    let methods = lua.create_table()?;
    let function = host.waiting(lua, |lua, _, (this, size): (AnyUserData, Value)| {
        let size = match &size {
            Value::Nil => Some(CHUNK_BYTES),
            size => integer(size).map(|size| match usize::try_from(size) {
                Ok(size) if size > 0 => size.min(FS_CHUNK_BYTES_MAX),
                _ => CHUNK_BYTES,
            }),
        };
        let size = size.ok_or_else(|| invalid("`size` must be an integer"));
        let size = size.and_then(|size| Ok((size, hold(lua, size)?)));
        let read = |file: &mut File, (size, share)| Ok((read(file, size)?, share));
        on_file(lua, &this, size, read, |lua, (bytes, _share)| match bytes {
            Some(bytes) => error::answer(lua, Ok(lua.create_string(bytes)?)),
            None => Ok(MultiValue::from_iter([Value::Nil, Value::Nil])),
        })
    })?;
    methods.set("read", function)?;
    let function = host.waiting(lua, |lua, _, (this, data): (AnyUserData, Value)| {
        let data = string(&data, "data").and_then(|data| {
            let data = data.as_bytes();
            let share = hold(lua, data.len())?;
            Ok((data.to_vec(), share))
        });
        let write = |file: &mut File, data: (Vec<u8>, Share)| file.write_all(&data.0).map(|()| data.0.len());
        on_file(lua, &this, data, write, |lua, written| error::answer(lua, Ok(written)))
    })?;
    methods.set("write", function)?;
    let function = host.waiting(lua, |lua, _, (this, whence, offset): (AnyUserData, Value, Value)| {
        let to = seek_argument(&whence, &offset);
        on_file(lua, &this, to, |file, to| file.seek(to), |lua, at| error::answer(lua, Ok(at)))
    })?;
    methods.set("seek", function)?;
    let function = host.waiting(lua, |lua, _, this: AnyUserData| {
        let name = this.borrow::<FileObject>()?.file.path.name();
        on_file(
            lua,
            &this,
            Ok(()),
            |file, ()| stat(file),
            move |lua, stat| error::answer(lua, Ok(stat_table(lua, &name, &stat)?)),
        )
    })?;
    methods.set("stat", function)?;
    for name in ["sync", "flush"] {
        let function = host.waiting(lua, |lua, _, this: AnyUserData| {
            on_file(lua, &this, Ok(()), |file, ()| file.sync_all(), |lua, ()| error::answer(lua, Ok(true)))
        })?;
        methods.set(name, function)?;
    }
    let function = host.waiting(lua, |_, _, this: AnyUserData| {
        let file = Arc::clone(&this.borrow::<FileObject>()?.file);
        let close = move || {
            *file.lock() = None;
            Ok(())
        };
        Ok(blocking(close, |lua, ()| error::answer(lua, Ok(true))))
    })?;
    methods.set("close", function)?;
    let function = lua.create_function(|lua, (this, split): (AnyUserData, Value)| {
        let this = this.borrow::<FileObject>()?;
        error::answer(lua, scanner(lua, &this, &split))
    })?;
    methods.set("scanner", function)?;
    lua.set_named_registry_value(FILE_METHODS, methods)?;

    let methods = lua.create_table()?;
    methods.set("scan", host.waiting(lua, |lua, _, this: AnyUserData| scan(lua, &this))?)?;
    lua.set_named_registry_value(SCANNER_METHODS, methods)
}

/// Lets `act` at the file on a thread that may block.
fn on_file<A: Send + 'static, T: Send + 'static>(
    lua: &Lua,
    this: &AnyUserData,
    argument: Result<A, Error>,
    act: impl FnOnce(&mut File, A) -> std::io::Result<T> + Send + 'static,
    give: impl FnOnce(&Lua, T) -> mlua::Result<MultiValue> + Send + 'static,
) -> mlua::Result<Answer> {
    let file = Arc::clone(&this.borrow::<FileObject>()?.file);
    match argument {
        Ok(argument) => Ok(blocking(move || file.with(|file| act(file, argument)), give)),
        Err(error) => Ok(Answer::Now(error::pair(lua, error)?)),
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        Value::Number(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}

/// Up to `size` bytes; `None` at the end.
fn read(file: &mut File, size: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(size.min(SCAN_BYTES));
    let read = Read::take(&mut *file, size as u64).read_to_end(&mut bytes)?;
    Ok((read > 0).then_some(bytes))
}

fn seek_argument(whence: &Value, offset: &Value) -> Result<SeekFrom, Error> {
    let offset = match offset {
        Value::Nil => 0,
        offset => integer(offset).ok_or_else(|| invalid("`offset` must be an integer"))?,
    };
    let negative = |_| invalid("the position is before the start of the file");
    match &*string(whence, "whence")?.as_bytes() {
        b"set" => u64::try_from(offset).map(SeekFrom::Start).map_err(negative),
        b"cur" => Ok(SeekFrom::Current(offset)),
        b"end" => Ok(SeekFrom::End(offset)),
        other => {
            let other = String::from_utf8_lossy(other);
            Err(invalid(format!("invalid whence `{other}`, expected `set`, `cur` or `end`")))
        }
    }
}

fn stat(file: &File) -> std::io::Result<Stat> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o777;
    Ok(Stat { size: metadata.len(), mode, modified: metadata.mtime(), is_dir: false })
}

/// What `scanner` gives: tokens of a file, from where it stands.
struct ScannerObject {
    file: Arc<Shared>,
    state: Arc<Mutex<Scan>>,
    _slot: Place,
}

struct Scan {
    split: Split,
    /// Read and not given yet.
    buffer: Vec<u8>,
    ended: bool,
    token: Vec<u8>,
    error: Option<Error>,
}

fn scanner(lua: &Lua, file: &FileObject, split: &Value) -> Result<ScannerObject, Error> {
    let split = match split {
        Value::Nil => Split::Lines,
        Value::String(name) => Split::named(&name.as_bytes()).ok_or_else(|| {
            let name = name.to_string_lossy();
            invalid(format!("invalid split `{name}`, expected `lines`, `words`, `bytes` or `runes`"))
        })?,
        other => return Err(invalid(format!("`split` must be a string, got {}", type_name(other)))),
    };
    let slot = file.opened.slot(lua)?;
    let scan = Scan { split, buffer: Vec::new(), ended: false, token: Vec::new(), error: None };
    Ok(ScannerObject { file: Arc::clone(&file.file), state: Arc::new(Mutex::new(scan)), _slot: slot })
}

impl Scan {
    /// Takes the next token from what was read; whether there is one is only known when `Some`.
    fn take(&mut self) -> Option<bool> {
        if self.error.is_some() {
            return Some(false);
        }
        let (token, taken) = match self.split.next(&self.buffer, self.ended) {
            Next::Token(token, taken) => (token.to_vec(), taken),
            Next::More(dropped) => {
                self.buffer.drain(..dropped);
                return None;
            }
            Next::End => {
                self.token.clear();
                return Some(false);
            }
        };
        self.buffer.drain(..taken);
        self.token = token;
        Some(true)
    }

    /// Reads until there is a token or none any more; blocks.
    fn advance(&mut self, file: &Shared) -> Result<bool, Error> {
        loop {
            if let Some(found) = self.take() {
                return Ok(found);
            }
            if self.buffer.len() >= FS_TOKEN_BYTES_MAX {
                let message = format!("`{}`: a token has more than {FS_TOKEN_BYTES_MAX} bytes", file.path);
                return Err(Error::new(ErrorKind::Internal, message));
            }
            let buffer = &mut self.buffer;
            let read = file.with(|file| Read::take(file, SCAN_BYTES as u64).read_to_end(buffer))?;
            self.ended = read == 0;
        }
    }
}

fn scan(lua: &Lua, this: &AnyUserData) -> mlua::Result<Answer> {
    let this = this.borrow::<ScannerObject>()?;
    // Held by a thread that reads: then this scan waits for its turn there.
    if let Ok(mut state) = this.state.try_lock()
        && let Some(found) = state.take()
    {
        return Ok(Answer::Now(scanned(lua, found, state.error.clone())?));
    }
    let (file, state) = (Arc::clone(&this.file), Arc::clone(&this.state));
    let advance = move || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.advance(&file);
        if let Err(error) = &found {
            state.error = Some(error.clone());
            state.token.clear();
        }
        Ok((found.unwrap_or(false), state.error.clone()))
    };
    Ok(blocking(advance, |lua, (found, error)| scanned(lua, found, error)))
}

fn scanned(lua: &Lua, found: bool, error: Option<Error>) -> mlua::Result<MultiValue> {
    let error = error.map(|error| error::to_lua(lua, error)).transpose()?;
    Ok(MultiValue::from_iter([Value::Boolean(found), error.unwrap_or(Value::Nil)]))
}

impl UserData for ScannerObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields
            .add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(SCANNER_METHODS));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("text", |lua, this, ()| {
            lua.create_string(&this.state.lock().unwrap_or_else(PoisonError::into_inner).token)
        });
        methods.add_method("err", |_, this, ()| {
            let state = this.state.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(state.error.as_ref().map(|error| error.message().to_owned()))
        });
    }
}
