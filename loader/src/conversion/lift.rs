//! WIT values as values of dynamic engines.

use registry_schema::ErrorKind;
use wasmtime::component::Val;

use super::data::DataSink;
use super::types::{Form, Name, Names, Node, Record, Scalar, Shape, Sides};
use crate::bulk::{Numbers, Value};
use crate::error::Error;
use crate::values::wave;

/// How values of an engine are made.
pub(crate) trait Sink {
    type Value;
    /// A table that is being filled.
    type Table;
    type Error;

    /// `error` as one of the engine's.
    fn failed(error: Error) -> Self::Error;

    fn nil(&self) -> Self::Value;
    fn scalar(&self, value: Plain) -> Self::Value;
    fn string(&self, bytes: &[u8]) -> Result<Self::Value, Self::Error>;
    /// An array of booleans.
    fn booleans(&self, items: impl ExactSizeIterator<Item = bool>) -> Result<Self::Value, Self::Error>;
    /// An array of integers.
    fn integers(&self, items: impl ExactSizeIterator<Item = i64>) -> Result<Self::Value, Self::Error>;
    /// An array of floats.
    fn floats(&self, items: impl ExactSizeIterator<Item = f64>) -> Result<Self::Value, Self::Error>;
    /// An array of strings.
    fn texts<'t>(&self, items: impl ExactSizeIterator<Item = &'t str>) -> Result<Self::Value, Self::Error> {
        let mut table = self.table(items.len(), 0)?;
        for (index, text) in (1..).zip(items) {
            self.set_item(&mut table, index, self.string(text.as_bytes())?)?;
        }
        self.finish(table, Hyphens::None)
    }
    /// An empty table with room for `items` values at 1, 2, … and `fields` names.
    fn table(&self, items: usize, fields: usize) -> Result<Self::Table, Self::Error>;
    /// A record with `values` of its fields, nil for what shall be absent.
    fn record(&self, record: &Record, values: Vec<Self::Value>) -> Result<Self::Value, Self::Error>;
    /// An array of `count` records; `fill` adds the values of the one at an index, which counts from 0.
    fn records(
        &self,
        record: &Record,
        count: usize,
        fill: impl Fn(usize, &mut Vec<Self::Value>) -> Result<(), Self::Error>,
    ) -> Result<Self::Value, Self::Error> {
        let mut table = self.table(count, 0)?;
        for index in 0..count {
            let mut values = Vec::with_capacity(record.fields.len());
            fill(index, &mut values)?;
            self.set_item(&mut table, index + 1, self.record(record, values)?)?;
        }
        self.finish(table, Hyphens::None)
    }
    /// Sets the value at `index`; indices rise.
    fn set_item(&self, table: &mut Self::Table, index: usize, value: Self::Value) -> Result<(), Self::Error>;
    /// Sets the value at a name in kebab case.
    fn set(&self, table: &mut Self::Table, name: &Name, value: Self::Value) -> Result<(), Self::Error>;
    /// The value that `table` is, readable by both spellings of the names set in it.
    fn finish(&self, table: Self::Table, hyphens: Hyphens) -> Result<Self::Value, Self::Error>;
}

/// Whether a name in a table has a second spelling, by which it shall be readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hyphens {
    None,
    Some,
}

impl Hyphens {
    /// What there is in any of `names`.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n Name>) -> Self {
        match names.into_iter().any(|name| name.snake.is_some()) {
            true => Self::Some,
            false => Self::None,
        }
    }
}

/// A value without parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plain {
    Bool(bool),
    Integer(i64),
    Float(f64),
}

/// A value that is not of the type that the plan was made for.
pub(super) fn mismatch(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("a value is not of the type of its signature: {what}"))
}

/// What was returned, of the type `node`, made in `sink`.
pub(super) fn returned<S: Sink>(
    sink: &S,
    names: &Names,
    node: &Node,
    value: &Value,
) -> Result<S::Value, S::Error> {
    Lifting { sink, names }.returned(node, value)
}

/// A result that was returned. The inner `Err` is the guest's own error.
pub(super) fn pair<S: Sink>(
    sink: &S,
    names: &Names,
    sides: &Sides,
    value: &Value,
) -> Result<Result<S::Value, Error>, S::Error> {
    let lifting = Lifting { sink, names };
    let ok = match value {
        Value::Val(Val::Result(Ok(value))) => lifting.side(&sides.ok, value, Lifting::value)?,
        Value::Result(Ok(value)) => lifting.side(&sides.ok, value, Lifting::returned)?,
        Value::Val(Val::Result(Err(value))) => {
            return error(names, sides.err.as_ref(), value.as_deref()).map(Err).map_err(S::failed);
        }
        Value::Result(Err(value)) => {
            let value = value.as_deref().cloned().map(Val::from);
            return error(names, sides.err.as_ref(), value.as_ref()).map(Err).map_err(S::failed);
        }
        _ => return Err(S::failed(mismatch("result"))),
    };
    Ok(Ok(ok.unwrap_or_else(|| sink.nil())))
}

/// What a result holds that was returned, unless it is the guest's own error.
pub(super) fn payload(names: &Names, sides: &Sides, value: Value) -> Result<Option<Value>, Error> {
    match value {
        Value::Val(Val::Result(Ok(value))) => Ok(value.map(|value| Value::Val(*value))),
        Value::Result(Ok(value)) => Ok(value.map(|value| *value)),
        Value::Val(Val::Result(Err(value))) => Err(error(names, sides.err.as_ref(), value.as_deref())?),
        Value::Result(Err(value)) => {
            let value = value.map(|value| Val::from(*value));
            Err(error(names, sides.err.as_ref(), value.as_ref())?)
        }
        Value::Val(_) | Value::Bytes(_) | Value::Numbers(_) => Err(mismatch("result")),
    }
}

struct Lifting<'a, S> {
    sink: &'a S,
    names: &'a Names,
}

impl<S: Sink> Lifting<'_, S> {
    fn returned(&self, node: &Node, value: &Value) -> Result<S::Value, S::Error> {
        match (&node.shape, value) {
            (_, Value::Val(value)) => self.value(node, value),
            (Shape::Bytes, Value::Bytes(bytes)) => self.sink.string(bytes),
            (Shape::Scalars(_), Value::Numbers(numbers)) => self.numbers(numbers),
            (Shape::Result(sides), Value::Result(value)) => match value {
                Ok(value) => self.case(&self.names.ok, self.side(&sides.ok, value, Self::returned)?),
                Err(value) => self.case(&self.names.err, self.side(&sides.err, value, Self::returned)?),
            },
            _ => Err(S::failed(mismatch(&node.describe()))),
        }
    }

    /// The payload of a case, `None` where there is none.
    fn side<V>(
        &self,
        node: &Option<Node>,
        value: &Option<Box<V>>,
        lift: impl Fn(&Self, &Node, &V) -> Result<S::Value, S::Error>,
    ) -> Result<Option<S::Value>, S::Error> {
        match (node, value) {
            (None, None) => Ok(None),
            (Some(node), Some(value)) => lift(self, node, value).map(Some),
            _ => Err(S::failed(mismatch("payload"))),
        }
    }

    fn value(&self, node: &Node, value: &Val) -> Result<S::Value, S::Error> {
        let sink = self.sink;
        match (&node.shape, value) {
            (Shape::Scalar(_), value) => match plain(value) {
                Some(value) => Ok(sink.scalar(value)),
                None => Err(S::failed(mismatch(&node.describe()))),
            },
            (Shape::Char, Val::Char(value)) => sink.string(value.encode_utf8(&mut [0; 4]).as_bytes()),
            (Shape::String, Val::String(text)) | (Shape::Enum(_), Val::Enum(text)) => {
                sink.string(text.as_bytes())
            }
            (Shape::Bytes, Val::List(items)) => {
                let byte = |item: &Val| match item {
                    Val::U8(byte) => Ok(*byte),
                    _ => Err(S::failed(mismatch("list<u8>"))),
                };
                sink.string(&items.iter().map(byte).collect::<Result<Vec<u8>, _>>()?)
            }
            (Shape::Scalars(scalar), Val::List(items)) => self.scalars(*scalar, items),
            (Shape::List(item), Val::List(items)) => self.list(item, items),
            (Shape::Tuple(nodes), Val::Tuple(items)) if nodes.len() == items.len() => {
                let mut table = sink.table(items.len(), 0)?;
                for (index, (node, value)) in (1..).zip(nodes.iter().zip(items)) {
                    sink.set_item(&mut table, index, self.value(node, value)?)?;
                }
                sink.finish(table, Hyphens::None)
            }
            (Shape::Record(record), value) => {
                let mut values = Vec::with_capacity(record.fields.len());
                self.fields(node, record, value, &mut values)?;
                sink.record(record, values)
            }
            (Shape::Variant(cases), Val::Variant(name, payload)) => {
                let case = cases.iter().find(|(case, _)| *case.kebab == **name);
                let (name, node) = case.ok_or_else(|| S::failed(mismatch(&node.describe())))?;
                self.case(name, self.side(node, payload, Self::value)?)
            }
            (Shape::Flags(flags), Val::Flags(set)) => {
                let mut table = sink.table(0, set.len())?;
                for name in flags.iter().filter(|name| set.iter().any(|set| **set == *name.kebab)) {
                    sink.set(&mut table, name, sink.scalar(Plain::Bool(true)))?;
                }
                sink.finish(table, Hyphens::of(flags))
            }
            (Shape::Option(form, some), Val::Option(value)) => {
                let value = value.as_ref().map(|value| self.value(some, value)).transpose()?;
                self.option(*form, value)
            }
            (Shape::Result(sides), Val::Result(value)) => match value {
                Ok(value) => self.case(&self.names.ok, self.side(&sides.ok, value, Self::value)?),
                Err(value) => self.case(&self.names.err, self.side(&sides.err, value, Self::value)?),
            },
            _ => Err(S::failed(mismatch(&node.describe()))),
        }
    }

    fn list(&self, item: &Node, items: &[Val]) -> Result<S::Value, S::Error> {
        let sink = self.sink;
        match &item.shape {
            Shape::String if items.iter().all(|item| matches!(item, Val::String(_))) => {
                sink.texts(items.iter().map(|item| match item {
                    Val::String(text) => text,
                    _ => "",
                }))
            }
            Shape::Record(record) => {
                let fill = |index: usize, values: &mut _| self.fields(item, record, &items[index], values);
                sink.records(record, items.len(), fill)
            }
            _ => {
                let mut table = sink.table(items.len(), 0)?;
                for (index, value) in (1..).zip(items) {
                    sink.set_item(&mut table, index, self.value(item, value)?)?;
                }
                sink.finish(table, Hyphens::None)
            }
        }
    }

    /// Adds the values of all fields of `value`, a `record` of the type `node`, to `values`.
    fn fields(
        &self,
        node: &Node,
        record: &Record,
        value: &Val,
        values: &mut Vec<S::Value>,
    ) -> Result<(), S::Error> {
        match value {
            Val::Record(given) if given.len() == record.fields.len() => {
                for ((_, node), (_, value)) in record.fields.iter().zip(given) {
                    values.push(self.value(node, value)?);
                }
                Ok(())
            }
            _ => Err(S::failed(mismatch(&node.describe()))),
        }
    }

    fn numbers(&self, numbers: &Numbers) -> Result<S::Value, S::Error> {
        let sink = self.sink;
        match numbers {
            Numbers::S32(items) => sink.integers(items.iter().map(|item| i64::from(*item))),
            Numbers::U32(items) => sink.integers(items.iter().map(|item| i64::from(*item))),
            Numbers::S64(items) => sink.integers(items.iter().copied()),
            Numbers::F64(items) => sink.floats(items.iter().copied()),
        }
    }

    fn scalars(&self, scalar: Scalar, items: &[Val]) -> Result<S::Value, S::Error> {
        // One loop per type, so that the type is not looked at per item.
        macro_rules! of {
            ($case:ident, $make:ident, $convert:expr) => {{
                if !items.iter().all(|item| matches!(item, Val::$case(_))) {
                    return Err(S::failed(mismatch("list")));
                }
                self.sink.$make(items.iter().map(|item| match item {
                    Val::$case(value) => $convert(*value),
                    _ => Default::default(),
                }))
            }};
        }
        match scalar {
            Scalar::Bool => of!(Bool, booleans, std::convert::identity),
            Scalar::S8 => of!(S8, integers, i64::from),
            Scalar::U8 => of!(U8, integers, i64::from),
            Scalar::S16 => of!(S16, integers, i64::from),
            Scalar::U16 => of!(U16, integers, i64::from),
            Scalar::S32 => of!(S32, integers, i64::from),
            Scalar::U32 => of!(U32, integers, i64::from),
            Scalar::S64 => of!(S64, integers, std::convert::identity),
            Scalar::U64 => of!(U64, integers, u64::cast_signed),
            Scalar::F32 => of!(Float32, floats, f64::from),
            Scalar::F64 => of!(Float64, floats, std::convert::identity),
        }
    }

    /// `{[name] = payload}`, `true` where there is none.
    fn case(&self, name: &Name, payload: Option<S::Value>) -> Result<S::Value, S::Error> {
        self.keyed(name, payload.unwrap_or_else(|| self.sink.scalar(Plain::Bool(true))))
    }

    fn keyed(&self, name: &Name, value: S::Value) -> Result<S::Value, S::Error> {
        let mut table = self.sink.table(0, 1)?;
        self.sink.set(&mut table, name, value)?;
        self.sink.finish(table, Hyphens::of([name]))
    }

    fn option(&self, form: Form, value: Option<S::Value>) -> Result<S::Value, S::Error> {
        match (form, value) {
            (Form::Bare, None) => Ok(self.sink.nil()),
            (_, None) => self.keyed(&self.names.none, self.sink.scalar(Plain::Bool(true))),
            (Form::Bare | Form::NoneMarked, Some(value)) => Ok(value),
            (Form::Marked, Some(value)) => self.keyed(&self.names.some, value),
        }
    }
}

fn plain(value: &Val) -> Option<Plain> {
    Some(match value {
        Val::Bool(value) => Plain::Bool(*value),
        Val::S8(value) => Plain::Integer(i64::from(*value)),
        Val::U8(value) => Plain::Integer(i64::from(*value)),
        Val::S16(value) => Plain::Integer(i64::from(*value)),
        Val::U16(value) => Plain::Integer(i64::from(*value)),
        Val::S32(value) => Plain::Integer(i64::from(*value)),
        Val::U32(value) => Plain::Integer(i64::from(*value)),
        Val::S64(value) => Plain::Integer(*value),
        Val::U64(value) => Plain::Integer(value.cast_signed()),
        Val::Float32(value) => Plain::Float(f64::from(*value)),
        Val::Float64(value) => Plain::Float(*value),
        _ => return None,
    })
}

/// The error that an `err` of a guest is.
///
/// # Errors
/// `INTERNAL` for a payload of another type.
fn error(names: &Names, node: Option<&Node>, payload: Option<&Val>) -> Result<Error, Error> {
    let (node, payload) = match (node, payload) {
        (None, None) => return Ok(Error::new(ErrorKind::Unknown, "the function returned an error")),
        (Some(node), Some(payload)) => (node, payload),
        _ => return Err(mismatch("err")),
    };
    let details = Lifting { sink: &DataSink, names }.value(node, payload)?;
    let message = match (payload, field(payload, "message")) {
        (Val::String(text), _) | (_, Some(Val::String(text))) => text.clone(),
        _ => wave::print(payload).map_err(|problem| Error::new(ErrorKind::Internal, problem))?,
    };
    let kind = field(payload, "kind").and_then(name).or_else(|| name(payload).filter(|_| is_case(payload)));
    Ok(Error::new(kind.and_then(kind_of).unwrap_or_default(), message).with_details(details))
}

/// The field `name` of a record, or what it holds if it is an option.
fn field<'v>(value: &'v Val, name: &str) -> Option<&'v Val> {
    let Val::Record(fields) = value else { return None };
    let (_, value) = fields.iter().find(|(field, _)| field == name)?;
    match value {
        Val::Option(value) => value.as_deref(),
        value => Some(value),
    }
}

fn is_case(value: &Val) -> bool {
    matches!(value, Val::Enum(_) | Val::Variant(..))
}

/// What may name a kind.
fn name(value: &Val) -> Option<&str> {
    match value {
        Val::String(text) | Val::Enum(text) | Val::Variant(text, _) => Some(text),
        _ => None,
    }
}

/// The kind that `text` names: in upper or lower case, its words joined in any way.
fn kind_of(text: &str) -> Option<ErrorKind> {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect()
    };
    let given = plain(text);
    if given == "cancelled" {
        return Some(ErrorKind::Canceled);
    }
    ErrorKind::ALL.into_iter().find(|kind| plain(kind.as_str()) == given)
}
