//! Streams (`en/lua/core/stream.md`) over bodies of HTTP messages: read once, from start to end.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use mlua::{
    AnyUserData, Lua, MetaMethod, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value,
};
use registry_schema::ErrorKind;
use tokio::sync::Mutex;
use wasmtime_wasi_http::WasiBody;

use super::arguments::{invalid, type_name};
use super::fs::split::{Next, Split};
use super::held::{Share, hold};
use crate::config::{FS_CHUNK_BYTES_MAX, FS_TOKEN_BYTES_MAX};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Host};

/// Names in the registry of Lua of the methods.
const METHODS: &str = "stream.stream";
const SCANNER_METHODS: &str = "stream.scanner";
/// Bytes that `read` gives at most when it is not told how many.
const CHUNK_BYTES: usize = 32 << 10;
/// What a stream counts for towards the memory that its invocation holds: what it has read ahead.
const STREAM_BYTES: usize = 64 << 10;

/// A stream as Lua sees it.
pub(in crate::lua::modules) struct StreamObject {
    source: Arc<Mutex<Source>>,
    _share: Share,
}

/// What is left of a body.
struct Source {
    /// `None` when it was closed.
    body: Option<WasiBody>,
    /// Read and not given yet.
    buffer: Bytes,
    position: u64,
    size: Option<u64>,
    /// Bytes that `read` gives at most when it is not told how many.
    chunk: usize,
}

impl Source {
    /// The next bytes, at most `max`; `None` at the end.
    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, Error> {
        let internal = |message: String| Error::new(ErrorKind::Internal, message);
        let body = self.body.as_mut().ok_or_else(|| internal("the stream is closed".to_owned()))?;
        while self.buffer.is_empty() {
            match body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Err(internal(format!("the stream can't be read: {error}")).retryable());
                }
            }
        }
        let bytes = self.buffer.split_to(self.buffer.len().min(max));
        self.position += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

impl StreamObject {
    /// A stream over `body`.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the invocation holds too much already.
    pub(in crate::lua::modules) fn new(lua: &Lua, body: WasiBody) -> Result<Self, Error> {
        Self::with_chunks(lua, body, CHUNK_BYTES)
    }

    /// A stream over `body`, which is in memory: the whole of it is read at once unless a size is asked for
    /// (`en/lua/http/http.md`, "parse_multipart").
    ///
    /// # Errors
    /// `UNAVAILABLE` when the invocation holds too much already.
    pub(in crate::lua::modules) fn whole(lua: &Lua, body: WasiBody) -> Result<Self, Error> {
        Self::with_chunks(lua, body, usize::MAX)
    }

    fn with_chunks(lua: &Lua, body: WasiBody, chunk: usize) -> Result<Self, Error> {
        let share = hold(lua, STREAM_BYTES)?;
        let size = body.size_hint().exact();
        let source = Source { body: Some(body), buffer: Bytes::new(), position: 0, size, chunk };
        Ok(Self { source: Arc::new(Mutex::new(source)), _share: share })
    }
}

/// What reads the rest of the stream in `value`, at most `max` bytes, if it is one.
pub(in crate::lua::modules) fn rest(
    value: &AnyUserData,
    max: usize,
) -> Option<impl Future<Output = Result<Vec<u8>, Error>> + Send + use<>> {
    let source = Arc::clone(&value.borrow::<StreamObject>().ok()?.source);
    Some(async move {
        let mut source = source.lock().await;
        let mut all = Vec::new();
        while let Some(bytes) = source.read(CHUNK_BYTES).await? {
            all.extend_from_slice(&bytes);
            if all.len() > max {
                return Err(invalid(format!("a stream has more than {max} bytes")));
            }
        }
        Ok(all)
    })
}

impl UserData for StreamObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(METHODS));
    }
}

fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}

/// The size that `value` asks for, if it does.
fn size(value: &Value) -> Result<Option<usize>, Error> {
    let size = match value {
        Value::Nil => 0,
        Value::Integer(size) => *size,
        Value::Number(size) if size.fract() == 0.0 => *size as i64,
        other => return Err(invalid(format!("`size` must be an integer, got {}", type_name(other)))),
    };
    match usize::try_from(size) {
        Ok(0) => Ok(None),
        Ok(size) => Ok(Some(size.min(FS_CHUNK_BYTES_MAX))),
        Err(_) => Err(invalid("`size` must not be negative")),
    }
}

/// Makes the methods of streams, once per state.
pub(in crate::lua::modules) fn add_methods(lua: &Lua, host: &Host) -> mlua::Result<()> {
    let methods = lua.create_table()?;
    let function = host.waiting(lua, |lua, _, (this, wanted): (AnyUserData, Value)| {
        let source = Arc::clone(&this.borrow::<StreamObject>()?.source);
        let size = match size(&wanted) {
            Ok(size) => size,
            Err(error) => return Ok(Answer::Now(error::pair(lua, error)?)),
        };
        let read = async move {
            let mut source = source.lock().await;
            let size = size.unwrap_or(source.chunk);
            source.read(size).await
        };
        Ok(Answer::later(read, |lua, read| match read {
            Ok(Some(bytes)) => error::answer(lua, Ok(lua.create_string(&bytes)?)),
            Ok(None) => Ok(MultiValue::from_iter([Value::Nil, Value::Nil])),
            Err(error) => error::pair(lua, error),
        }))
    })?;
    methods.set("read", function)?;
    let function = host.waiting(lua, |_, _, this: AnyUserData| {
        let source = Arc::clone(&this.borrow::<StreamObject>()?.source);
        let close = async move { source.lock().await.body = None };
        Ok(Answer::later(close, |lua, ()| error::answer(lua, Ok(true))))
    })?;
    methods.set("close", function)?;
    let function = host.waiting(lua, |_, _, this: AnyUserData| {
        let source = Arc::clone(&this.borrow::<StreamObject>()?.source);
        let stat = async move {
            let source = source.lock().await;
            source.body.is_some().then_some((source.size, source.position))
        };
        Ok(Answer::later(stat, |lua, stat| match stat {
            Some((size, position)) => {
                let table = lua.create_table_with_capacity(0, 5)?;
                table.raw_set("size", size.map_or(-1, |size| size as i64))?;
                table.raw_set("position", position)?;
                table.raw_set("readable", true)?;
                table.raw_set("writable", false)?;
                table.raw_set("seekable", false)?;
                error::answer(lua, Ok(table))
            }
            None => error::pair(lua, internal("the stream is closed")),
        }))
    })?;
    methods.set("stat", function)?;
    for (name, message) in [("write", "the stream is not writable"), ("seek", "the stream is not seekable")] {
        let refuse = move |lua: &Lua, _: AnyUserData| error::pair(lua, internal(message));
        methods.set(name, lua.create_function(refuse)?)?;
    }
    methods.set("flush", lua.create_function(|lua, _: AnyUserData| error::answer(lua, Ok(true)))?)?;
    let function = lua.create_function(|lua, (this, split): (AnyUserData, Value)| {
        let scanner = scanner(lua, &*this.borrow::<StreamObject>()?, &split);
        error::answer(lua, scanner)
    })?;
    methods.set("scanner", function)?;
    lua.set_named_registry_value(METHODS, methods)?;

    let methods = lua.create_table()?;
    methods.set("scan", host.waiting(lua, |_, _, this: AnyUserData| scan(&this))?)?;
    lua.set_named_registry_value(SCANNER_METHODS, methods)
}

/// Tokens of a stream, from where it stands.
struct ScannerObject {
    source: Arc<Mutex<Source>>,
    scan: Arc<Mutex<Scan>>,
    _share: Share,
}

struct Scan {
    split: Split,
    buffer: Vec<u8>,
    ended: bool,
    token: Vec<u8>,
    error: Option<Error>,
}

fn scanner(lua: &Lua, stream: &StreamObject, split: &Value) -> Result<ScannerObject, Error> {
    let split = match split {
        Value::Nil => Split::Lines,
        Value::String(name) => Split::named(&name.as_bytes()).ok_or_else(|| {
            let name = name.to_string_lossy();
            invalid(format!("invalid split `{name}`, expected `lines`, `words`, `bytes` or `runes`"))
        })?,
        other => return Err(invalid(format!("`split` must be a string, got {}", type_name(other)))),
    };
    let share = hold(lua, FS_TOKEN_BYTES_MAX)?;
    let scan = Scan { split, buffer: Vec::new(), ended: false, token: Vec::new(), error: None };
    Ok(ScannerObject { source: Arc::clone(&stream.source), scan: Arc::new(Mutex::new(scan)), _share: share })
}

impl Scan {
    /// Whether there is a token.
    async fn advance(&mut self, source: &Mutex<Source>) -> Result<bool, Error> {
        loop {
            match self.split.next(&self.buffer, self.ended) {
                Next::Token(token, taken) => {
                    self.token = token.to_vec();
                    self.buffer.drain(..taken);
                    return Ok(true);
                }
                Next::End => return Ok(false),
                Next::More(dropped) => drop(self.buffer.drain(..dropped)),
            }
            if self.buffer.len() >= FS_TOKEN_BYTES_MAX {
                return Err(internal(&format!("a token has more than {FS_TOKEN_BYTES_MAX} bytes")));
            }
            match source.lock().await.read(CHUNK_BYTES).await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.ended = true,
            }
        }
    }
}

fn scan(this: &AnyUserData) -> mlua::Result<Answer> {
    let this = this.borrow::<ScannerObject>()?;
    let (source, scan) = (Arc::clone(&this.source), Arc::clone(&this.scan));
    let advance = async move {
        let mut scan = scan.lock().await;
        let found = match &scan.error {
            Some(error) => Err(error.clone()),
            None => scan.advance(&source).await,
        };
        if !matches!(found, Ok(true)) {
            scan.token.clear();
        }
        scan.error = found.as_ref().err().cloned();
        found
    };
    Ok(Answer::later(advance, |lua, found| {
        let (found, problem) = match found {
            Ok(found) => (found, Value::Nil),
            Err(error) => (false, error::to_lua(lua, error)?),
        };
        Ok(MultiValue::from_iter([Value::Boolean(found), problem]))
    }))
}

impl UserData for ScannerObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields
            .add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(SCANNER_METHODS));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        // Nobody holds it between two scans.
        methods.add_method("text", |lua, this, ()| match this.scan.try_lock() {
            Ok(scan) => lua.create_string(&scan.token),
            Err(_) => lua.create_string(""),
        });
        methods.add_method("err", |_, this, ()| {
            let scan = this.scan.try_lock().ok();
            Ok(scan.and_then(|scan| scan.error.as_ref().map(|error| error.message().to_owned())))
        });
    }
}
