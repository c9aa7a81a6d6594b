//! Method, URL and options of a request, checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use mlua::{Lua, Table, Value};
use registry_schema::ErrorKind;

use super::exchange::RequestRoute;
use super::form::{self, Pair, Part};
use crate::config::{
    HTTP_BODY_BYTES_MAX, HTTP_RESPONSE_BYTES, HTTP_RESPONSE_BYTES_MAX, HTTP_TIMEOUT, HTTP_TIMEOUT_MAX,
};
use crate::egress::{Egress, Target, own_tls};
use crate::error::Error;
use crate::lua::modules::arguments::{invalid, string, type_name};
use crate::lua::modules::blocking::blocking;
use crate::lua::modules::held::{Held, Share, hold};
use crate::lua::modules::{fs, stream, time};

/// Headers that say how a message is sent, which is not the caller's to say.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Some servers, the API of GitHub among them, refuse a request that does not say by whom it is sent.
const OUR_USER_AGENT: &str = concat!("wippy-loader/", env!("CARGO_PKG_VERSION"));

/// Names and values, as they are sent.
type Pairs = Vec<Pair>;

/// A request.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) timeout: Duration,
    pub(super) route: RequestRoute,
    pub(super) wanted: Wanted,
}

/// What is wanted of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its whole body, of at most `max` bytes.
    Body {
        max: usize,
    },
    Stream,
}

/// The body of a request.
pub(super) enum Body {
    Nothing,
    Bytes(Vec<u8>, Share),
    /// A form with files, some of which have to be read first.
    Form {
        boundary: String,
        fields: Pairs,
        files: Vec<File>,
    },
}

/// A file of a form.
pub(super) struct File {
    name: Vec<u8>,
    filename: Vec<u8>,
    content: FileContent,
}

type Reading = std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send>>;

enum FileContent {
    Bytes(Vec<u8>, Share),
    Reader(Reading),
}

/// Bytes that count for as long as anybody has them.
struct Counted {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn counted(bytes: Vec<u8>, share: Share) -> Bytes {
    Bytes::from_owner(Counted { bytes, _share: share })
}

impl Body {
    /// All of it, which counts until it is sent; files are read now.
    pub(super) async fn bytes(self, held: &Held) -> Result<Option<Bytes>, Error> {
        let (boundary, fields, files) = match self {
            Self::Nothing => return Ok(None),
            Self::Bytes(bytes, share) => return Ok(Some(counted(bytes, share))),
            Self::Form { boundary, fields, files } => (boundary, fields, files),
        };
        let (mut parts, mut shares, mut total) = (Vec::new(), Vec::new(), 0);
        for file in files {
            let content = match file.content {
                FileContent::Bytes(bytes, share) => {
                    shares.push(share);
                    bytes
                }
                FileContent::Reader(reading) => reading.await?,
            };
            total += content.len();
            if total > HTTP_BODY_BYTES_MAX {
                return Err(invalid(format!("the files have more than {HTTP_BODY_BYTES_MAX} bytes")));
            }
            shares.push(held.take(content.len())?);
            parts.push(Part { name: file.name, filename: file.filename, content });
        }
        let all = form::multipart(&boundary, &fields, &parts);
        drop((parts, shares));
        let share = held.take(all.len())?;
        Ok(Some(counted(all, share)))
    }
}

impl Asked {
    /// Reads the arguments of a request, which trusts what `egress` does unless it says.
    ///
    /// # Errors
    /// `INVALID`, naming what is wrong; `UNAVAILABLE` for what is not offered.
    pub(super) fn read(
        lua: &Lua,
        egress: &Egress,
        method: &Value,
        url: &Value,
        options: &Value,
    ) -> Result<Self, Error> {
        let method = Method::from_bytes(&string(method, "method")?.as_bytes())
            .map_err(|_| invalid("`method` is no method of HTTP"))?;
        let url = string(url, "url")?.to_str().map_err(|_| invalid("`url` is no text"))?.to_owned();
        let options = match options {
            Value::Nil => None,
            Value::Table(options) => Some(Options(options)),
            other => return Err(invalid(format!("`options` must be a table, got {}", type_name(other)))),
        };
        let none = lua.create_table().map_err(|error| invalid(error.to_string()))?;
        let options = options.unwrap_or(Options(&none));
        if options.text("overlay_network")?.is_some() {
            return Err(Error::new(ErrorKind::Unavailable, "network overlays are not offered"));
        }
        let url = with_query(url, &options.pairs("query")?);
        let target = Target::parse(&url).map_err(invalid)?;
        let mut headers = headers(&options)?;
        let body = body(lua, &options, &mut headers)?;
        Ok(Self {
            method,
            target,
            headers,
            body,
            timeout: timeout(&options)?,
            route: route(&options, egress)?,
            wanted: wanted(&options)?,
        })
    }
}

fn with_query(url: String, pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return url;
    }
    let url = url.split('#').next().unwrap_or_default();
    let between = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{url}{between}{}", form::encode(pairs))
}

/// The options' table, whose fields are read one by one.
struct Options<'a>(&'a Table);

impl Options<'_> {
    fn get(&self, name: &str) -> Value {
        self.0.raw_get(name).unwrap_or(Value::Nil)
    }

    fn text(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.get(name) {
            Value::Nil => Ok(None),
            value => Ok(Some(string(&value, name)?.as_bytes().to_vec())),
        }
    }

    fn switch(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            Value::Nil => Ok(false),
            Value::Boolean(value) => Ok(value),
            other => Err(invalid(format!("`{name}` must be a boolean, got {}", type_name(&other)))),
        }
    }

    fn table(&self, name: &str) -> Result<Option<Table>, Error> {
        match self.get(name) {
            Value::Nil => Ok(None),
            Value::Table(table) => Ok(Some(table)),
            other => Err(invalid(format!("`{name}` must be a table, got {}", type_name(&other)))),
        }
    }

    /// Names and values of the table `name`, sorted by name; a list gives its name several values.
    fn pairs(&self, name: &str) -> Result<Pairs, Error> {
        let Some(table) = self.table(name)? else { return Ok(Vec::new()) };
        let mut pairs = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| invalid(error.to_string()))?;
            let key = string(&key, &format!("a name of {name}"))?.as_bytes().to_vec();
            match value {
                Value::Table(values) => {
                    for value in values.sequence_values::<Value>() {
                        let value = value.map_err(|error| invalid(error.to_string()))?;
                        pairs.push((key.clone(), scalar(name, &value)?));
                    }
                }
                value => pairs.push((key, scalar(name, &value)?)),
            }
        }
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(pairs)
    }
}

fn scalar(name: &str, value: &Value) -> Result<Vec<u8>, Error> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => {
            value.to_string().map(String::into_bytes).map_err(|error| invalid(error.to_string()))
        }
        other => Err(invalid(format!("a value of `{name}` must be a string, got {}", type_name(other)))),
    }
}

fn headers(options: &Options<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in options.pairs("headers")? {
        let shown = String::from_utf8_lossy(&name).into_owned();
        let name = HeaderName::from_bytes(&name).map_err(|_| invalid(format!("`{shown}` is no header")))?;
        let value = HeaderValue::from_bytes(&value).map_err(|_| {
            invalid(format!("the value of the header `{shown}` has characters that none may have"))
        })?;
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            headers.append(name, value);
        }
    }
    let cookies = options.pairs("cookies")?;
    if !cookies.is_empty() {
        let own = headers.get_all(COOKIE).iter().map(|own| own.as_bytes().to_vec());
        let more = cookies.into_iter().map(|(name, value)| [name, value].join(&b'='));
        let cookies: Vec<Vec<u8>> = own.chain(more).collect();
        let value = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
            .map_err(|_| invalid("a cookie has characters that none may have"))?;
        headers.insert(COOKIE, value);
    }
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(OUR_USER_AGENT));
    }
    if let Some(auth) = options.table("auth")? {
        let auth = Options(&auth);
        let user = auth.text("user")?.ok_or_else(|| invalid("`auth` needs `user`"))?;
        let pass = auth.text("pass")?.unwrap_or_default();
        let pair = base64::engine::general_purpose::STANDARD.encode([user, pass].join(&b':'));
        let mut value =
            HeaderValue::from_str(&format!("Basic {pair}")).map_err(|error| invalid(error.to_string()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn body(lua: &Lua, options: &Options<'_>, headers: &mut HeaderMap) -> Result<Body, Error> {
    let given = options.text("body")?;
    let fields = options.pairs("form")?;
    let files = options.table("files")?;
    let is_form = files.is_some() || options.table("form")?.is_some();
    if given.is_some() && is_form {
        return Err(invalid("a request has either `body` or `form` and `files`"));
    }
    let (bytes, kind) = match (given, files) {
        (Some(bytes), _) => (bytes, None),
        (None, Some(files)) => {
            let boundary = boundary()?;
            let kind = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
            headers.insert(CONTENT_TYPE, kind.map_err(|error| invalid(error.to_string()))?);
            let files = files.sequence_values::<Value>().map(|file| {
                let file = file.map_err(|error| invalid(error.to_string()))?;
                read_file(lua, &file)
            });
            return Ok(Body::Form { boundary, fields, files: files.collect::<Result<_, _>>()? });
        }
        (None, None) if is_form => {
            (form::encode(&fields).into_bytes(), Some("application/x-www-form-urlencoded"))
        }
        (None, None) => return Ok(Body::Nothing),
    };
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if bytes.len() > HTTP_BODY_BYTES_MAX {
        return Err(invalid(format!("the body has more than {HTTP_BODY_BYTES_MAX} bytes")));
    }
    let share = hold(lua, bytes.len())?;
    Ok(Body::Bytes(bytes, share))
}

/// A text that no content has by chance, and none can foresee.
fn boundary() -> Result<String, Error> {
    let mut bytes = [0; 24];
    let failed = |error| Error::new(ErrorKind::Internal, format!("no random numbers: {error}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_file(lua: &Lua, file: &Value) -> Result<File, Error> {
    let Value::Table(table) = file else {
        return Err(invalid(format!("a file must be a table, got {}", type_name(file))));
    };
    let options = Options(table);
    let name = options.text("name")?.ok_or_else(|| invalid("a file needs `name`"))?;
    let filename = options.text("filename")?.unwrap_or_else(|| name.clone());
    options.text("content_type")?;
    let content = match (options.text("content")?, options.get("reader")) {
        (Some(content), Value::Nil) => {
            let share = hold(lua, content.len())?;
            FileContent::Bytes(content, share)
        }
        (None, Value::UserData(reader)) => {
            let reading: Option<Reading> = match fs::rest(&reader, HTTP_BODY_BYTES_MAX) {
                Some(read) => Some(Box::pin(blocking(read))),
                None => stream::rest(&reader, HTTP_BODY_BYTES_MAX).map(|read| Box::pin(read) as Reading),
            };
            FileContent::Reader(reading.ok_or_else(|| invalid("`reader` is neither a file nor a stream"))?)
        }
        (None, Value::Nil) => return Err(invalid("a file needs `content` or `reader`")),
        (Some(_), _) => return Err(invalid("a file has either `content` or `reader`")),
        (None, other) => {
            return Err(invalid(format!("`reader` must be a file or a stream, got {}", type_name(&other))));
        }
    };
    Ok(File { name, filename, content })
}

fn timeout(options: &Options<'_>) -> Result<Duration, Error> {
    let expected = "expected seconds or a text such as `30s`";
    let seconds = match options.get("timeout") {
        Value::Nil => return Ok(HTTP_TIMEOUT),
        Value::Integer(seconds) => seconds as f64,
        Value::Number(seconds) => seconds,
        Value::String(text) => {
            let nanoseconds = time::parse_duration(&text.to_string_lossy()).map_err(invalid)?;
            nanoseconds as f64 / 1e9
        }
        other => return Err(invalid(format!("`timeout` is a {}, {expected}", type_name(&other)))),
    };
    if seconds == 0.0 {
        return Ok(HTTP_TIMEOUT);
    }
    let duration = Duration::try_from_secs_f64(seconds);
    let duration =
        duration.map_err(|_| invalid(format!("`timeout` of {seconds} s is out of range, {expected}")))?;
    Ok(duration.min(HTTP_TIMEOUT_MAX))
}

fn wanted(options: &Options<'_>) -> Result<Wanted, Error> {
    let max = match options.get("max_response_body") {
        Value::Nil | Value::Integer(0) => HTTP_RESPONSE_BYTES,
        Value::Integer(max) if max > 0 => usize::try_from(max).unwrap_or(usize::MAX),
        Value::Number(max) if max.fract() == 0.0 && max >= 0.0 => max as usize,
        other => {
            let found =
                if other.is_number() || other.is_integer() { "one that is not" } else { type_name(&other) };
            return Err(invalid(format!("`max_response_body` must be a whole number from 0, got {found}")));
        }
    };
    Ok(if options.switch("stream")? {
        Wanted::Stream
    } else {
        Wanted::Body { max: max.min(HTTP_RESPONSE_BYTES_MAX) }
    })
}

fn route(options: &Options<'_>, egress: &Egress) -> Result<RequestRoute, Error> {
    let tls = options.table("tls")?;
    if let Some(path) = options.text("unix_socket")? {
        if tls.is_some() {
            return Err(invalid("a request over a `unix_socket` is not encrypted, so it has no `tls`"));
        }
        let path = String::from_utf8(path).map_err(|_| invalid("`unix_socket` is no text"))?;
        return Ok(RequestRoute::Unix(PathBuf::from(path)));
    }
    let Some(tls) = tls else { return Ok(RequestRoute::Shared) };
    let tls = Options(&tls);
    let name = tls.text("server_name")?.map(String::from_utf8).transpose();
    let name = name.map_err(|_| invalid("`server_name` is no text"))?;
    let client = match (tls.text("cert")?, tls.text("key")?) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => return Err(invalid("`cert` and `key` are given together")),
    };
    let (ca, is_checked) = (tls.text("ca")?, !tls.switch("insecure_skip_verify")?);
    let verification = match (is_checked, ca) {
        (false, _) => own_tls::Verification::Skipped,
        (true, Some(ca)) => own_tls::Verification::By(ca),
        (true, None) => {
            let roots =
                egress.roots().map_err(|unusable| Error::new(ErrorKind::Internal, unusable.problem))?;
            own_tls::Verification::ByRoots(Arc::clone(roots))
        }
    };
    let config =
        own_tls::config(verification, client).map_err(|problem| invalid(format!("`tls`: {problem}")))?;
    Ok(RequestRoute::OwnTls { config, name, is_checked })
}
