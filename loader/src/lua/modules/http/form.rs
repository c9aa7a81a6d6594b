//! Multipart forms. Files are held in memory, within what an invocation may hold, whatever `max_memory` says.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use mlua::{AnyUserData, Lua, LuaString, MetaMethod, MultiValue, Table, UserData, UserDataFields};
use registry_schema::ErrorKind;

use crate::config::HTTP_FORM_PARTS_MAX;
use crate::error::Error;
use crate::http::{PARSE_FAILED, RequestBody};
use crate::lua::error;
use crate::lua::modules::held::{Share, hold};
use crate::lua::modules::stream::StreamObject;

/// Name in the registry of Lua of the methods of a file.
const METHODS: &str = "http.file";

/// A form that was read.
pub(super) struct Form {
    values: Vec<(String, Bytes)>,
    files: Vec<(String, File)>,
}

struct File {
    name: String,
    headers: HeaderMap,
    content: Bytes,
}

/// An uploaded file as Lua sees it.
struct FileObject {
    file: File,
    _share: Share,
}

impl UserData for FileObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field_with(MetaMethod::Index, |lua| lua.named_registry_value::<Table>(METHODS));
    }
}

fn failed(problem: impl std::fmt::Display) -> Error {
    crate::http::error(ErrorKind::Invalid, PARSE_FAILED, format!("the form can't be read: {problem}"))
}

/// Reads the form in `body`, which has at most `max` bytes and arrives within `time`.
///
/// # Errors
/// `INVALID` for what is no form, one with more than [`HTTP_FORM_PARTS_MAX`] parts or too many bytes;
/// `INTERNAL` when it does not arrive in time.
pub(super) async fn parse(
    body: RequestBody,
    boundary: String,
    max: u64,
    time: Duration,
) -> Result<Form, Error> {
    let limits = multer::Constraints::new().size_limit(multer::SizeLimit::new().whole_stream(max));
    let stream = body.into_data_stream();
    let mut parts = multer::Multipart::with_constraints(stream, boundary, limits);
    let read = async {
        let mut form = Form { values: Vec::new(), files: Vec::new() };
        while let Some(part) = parts.next_field().await.map_err(failed)? {
            if form.values.len() + form.files.len() >= HTTP_FORM_PARTS_MAX {
                return Err(failed(format!("it has more than {HTTP_FORM_PARTS_MAX} parts")));
            }
            let name = part.name().unwrap_or_default().to_owned();
            match part.file_name().map(str::to_owned) {
                Some(file_name) => {
                    let headers = part.headers().clone();
                    let content = part.bytes().await.map_err(failed)?;
                    form.files.push((name, File { name: file_name, headers, content }));
                }
                None => form.values.push((name, part.bytes().await.map_err(failed)?)),
            }
        }
        Ok(form)
    };
    match tokio::time::timeout(time, read).await {
        Ok(form) => form,
        Err(_) => Err(Error::new(ErrorKind::Internal, "the request body did not arrive in time")),
    }
}

/// `{values, files}`; of values with one name the first counts.
pub(super) fn give(lua: &Lua, form: Result<Form, Error>) -> mlua::Result<MultiValue> {
    let form = match form {
        Ok(form) => form,
        Err(error) => return error::pair(lua, error),
    };
    let (values, files) = (lua.create_table()?, lua.create_table()?);
    for (name, value) in form.values {
        if !values.contains_key(name.as_str())? {
            values.raw_set(name, lua.create_string(&value)?)?;
        }
    }
    for (name, file) in form.files {
        let share = match hold(lua, file.content.len()) {
            Ok(share) => share,
            Err(error) => return error::pair(lua, error),
        };
        let list = match files.raw_get::<Option<Table>>(name.as_str())? {
            Some(list) => list,
            None => {
                let list = lua.create_table()?;
                files.raw_set(name, &list)?;
                list
            }
        };
        list.raw_push(lua.create_userdata(FileObject { file, _share: share })?)?;
    }
    let table = lua.create_table()?;
    table.raw_set("values", values)?;
    table.raw_set("files", files)?;
    error::answer(lua, Ok(table))
}

/// Makes the methods of files, once per state.
pub(super) fn add_methods(lua: &Lua) -> mlua::Result<()> {
    let methods = lua.create_table()?;
    let method = |lua: &Lua, this: AnyUserData| lua.create_string(&this.borrow::<FileObject>()?.file.name);
    methods.set("name", lua.create_function(method)?)?;
    let method = |_: &Lua, this: AnyUserData| Ok(this.borrow::<FileObject>()?.file.content.len());
    methods.set("size", lua.create_function(method)?)?;
    let method = |lua: &Lua, (this, name): (AnyUserData, LuaString)| {
        let this = this.borrow::<FileObject>()?;
        let value = this.file.headers.get(&*name.to_string_lossy());
        value.map(|value| lua.create_string(value.as_bytes())).transpose()
    };
    methods.set("header", lua.create_function(method)?)?;
    let method = |lua: &Lua, this: AnyUserData| {
        let content = this.borrow::<FileObject>()?.file.content.clone();
        let body = Full::new(content).map_err(|never| match never {}).boxed_unsync();
        error::answer(lua, StreamObject::whole(lua, body))
    };
    methods.set("stream", lua.create_function(method)?)?;
    lua.set_named_registry_value(METHODS, methods)
}
