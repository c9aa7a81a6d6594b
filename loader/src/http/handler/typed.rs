//! Parameters of an ordinary export from a request, by name and type.

use bytes::Bytes;
use serde_json::Value as Json;
use wasmtime::component::{Type, Val};

use crate::bulk::Value;
use crate::http::routes::{Parameters, query_pairs};
use crate::values::{describe, json};

/// What parameters are made of.
pub(super) struct Source<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a http::HeaderMap,
    pub(super) parameters: &'a Parameters,
    pub(super) body: Bytes,
}

fn is_bytes(ty: &Type) -> bool {
    matches!(ty, Type::List(list) if matches!(list.ty(), Type::U8))
}

/// The arguments for `params`.
///
/// # Errors
/// Which parameter does not fit, and what is expected.
pub(super) fn arguments(source: &Source<'_>, params: &[(String, Type)]) -> Result<Vec<Value>, String> {
    match params {
        [(name, ty @ Type::String)] => return Ok(vec![text(name, ty, &source.one(name))?]),
        [(name, ty)] if is_bytes(ty) => return Ok(vec![text(name, ty, &source.one(name))?]),
        [(_, Type::Record(record))] if is_request(record) => return Ok(vec![source.request(record)?]),
        _ => {}
    }
    let query = query_pairs(source.query);
    let mut body: Option<serde_json::Map<String, Json>> = None;
    let mut arguments = Vec::with_capacity(params.len());
    for (name, ty) in params {
        let is_named = |own: &str| own == name || own.replace('_', "-") == *name;
        if let Some((_, value)) = source.parameters.iter().find(|(own, _)| is_named(own)) {
            arguments.push(text(name, ty, value.as_bytes())?);
            continue;
        }
        let values: Vec<&str> =
            query.iter().filter(|(own, _)| is_named(own)).map(|(_, value)| value.as_str()).collect();
        if !values.is_empty() {
            arguments.push(texts(name, ty, &values)?);
            continue;
        }
        let body = match &mut body {
            Some(body) => body,
            none => none.insert(source.object()?),
        };
        let value = body.iter().find(|(own, _)| is_named(own)).map(|(_, value)| value);
        arguments.push(match (value, ty) {
            (Some(value), ty) => json::parse(name, value, ty)?.into(),
            (None, Type::Option(_)) => Val::Option(None).into(),
            (None, ty) => {
                return Err(format!("the parameter `{name}` is missing, expected {}", describe(ty)));
            }
        });
    }
    Ok(arguments)
}

impl Source<'_> {
    /// The body, or else the value of `name`, or nothing.
    fn one(&self, name: &str) -> Vec<u8> {
        if !self.body.is_empty() {
            return self.body.to_vec();
        }
        let is_named = |own: &str| own == name || own.replace('_', "-") == name;
        let in_path = self.parameters.iter().find(|(own, _)| is_named(own)).map(|(_, value)| value.clone());
        let found = in_path.or_else(|| {
            query_pairs(self.query).into_iter().find(|(own, _)| is_named(own)).map(|(_, value)| value)
        });
        found.unwrap_or_default().into_bytes()
    }

    /// The body as a JSON object; an empty one is one without members.
    fn object(&self) -> Result<serde_json::Map<String, Json>, String> {
        if self.body.trim_ascii().is_empty() {
            return Ok(serde_json::Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Json::Object(object)) => Ok(object),
            Ok(_) => Err("expected the body to be a JSON object".to_owned()),
            Err(error) => Err(format!("the body is no JSON: {error}")),
        }
    }

    /// The request itself, as a record.
    fn request(&self, record: &wasmtime::component::types::Record) -> Result<Value, String> {
        let headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let fields = record.fields().map(|field| {
            let name = field.name;
            let value = match name {
                "method" => plain(name, &field.ty, self.method.as_bytes())?,
                "path" => plain(name, &field.ty, self.path.as_bytes())?,
                "query" => pairs(name, &field.ty, self.query, &query_pairs(self.query))?,
                "headers" => pairs(name, &field.ty, "", &headers)?,
                _ => plain(name, &field.ty, &self.body)?,
            };
            Ok((name.to_owned(), value))
        });
        Ok(Value::Val(Val::Record(fields.collect::<Result<_, String>>()?)))
    }
}

/// Whether a record gets the request: it has these fields and no others.
fn is_request(record: &wasmtime::component::types::Record) -> bool {
    const FIELDS: [&str; 5] = ["body", "headers", "method", "path", "query"];
    let mut names: Vec<_> = record.fields().map(|field| field.name.to_owned()).collect();
    names.sort();
    names == FIELDS
}

/// Text or bytes, possibly optional.
fn plain(name: &str, ty: &Type, bytes: &[u8]) -> Result<Val, String> {
    match ty {
        Type::Option(_) if bytes.is_empty() => Ok(Val::Option(None)),
        Type::Option(option) => Ok(Val::Option(Some(Box::new(plain(name, &option.ty(), bytes)?)))),
        ty => text(name, ty, bytes).map(Val::from),
    }
}

/// Pairs of texts, or for a query its text.
fn pairs(name: &str, ty: &Type, whole: &str, pairs: &[(String, String)]) -> Result<Val, String> {
    match ty {
        Type::List(list) if matches!(list.ty(), Type::Tuple(_)) => {
            let pair = |(name, value): &(String, String)| Json::from(vec![name.clone(), value.clone()]);
            json::parse(name, &Json::Array(pairs.iter().map(pair).collect()), ty)
        }
        ty => plain(name, ty, whole.as_bytes()),
    }
}

/// A value of type `ty` from all texts of its name.
fn texts(name: &str, ty: &Type, values: &[&str]) -> Result<Value, String> {
    match ty {
        Type::List(list) if !is_bytes(ty) => {
            let item = list.ty();
            let items = values.iter().map(|value| text(name, &item, value.as_bytes()).map(Val::from));
            Ok(Value::Val(Val::List(items.collect::<Result<_, _>>()?)))
        }
        ty => text(name, ty, values.first().unwrap_or(&"").as_bytes()),
    }
}

/// A value of type `ty` from its text: as it is for strings and bytes, else as JSON.
fn text(name: &str, ty: &Type, bytes: &[u8]) -> Result<Value, String> {
    if is_bytes(ty) {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{name}: expected UTF-8"))?;
    let value = match ty {
        Type::String => return Ok(Val::String(text.to_owned()).into()),
        Type::Char | Type::Enum(_) => Json::from(text),
        Type::Option(option) => {
            let value = self::text(name, &option.ty(), bytes)?;
            return Ok(Val::Option(Some(Box::new(value.into()))).into());
        }
        ty => serde_json::from_str(text)
            .map_err(|_| format!("{name}: expected {}, found `{}`", describe(ty), text.escape_debug()))?,
    };
    json::parse(name, &value, ty).map(Value::from)
}
