//! Values in which a list of bytes or numbers is one whole.

use wasmtime::component::Val;

/// An argument or a result.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "lua"), expect(dead_code, reason = "only Lua has lists as one whole"))]
pub(crate) enum Value {
    /// A dynamic value.
    Val(Val),
    /// A `list<u8>`.
    Bytes(Vec<u8>),
    /// A list of numbers.
    Numbers(Numbers),
    /// A result of these.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
}

/// A list of numbers of one type.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "lua"), expect(dead_code, reason = "only Lua has lists as one whole"))]
pub(crate) enum Numbers {
    S32(Vec<i32>),
    U32(Vec<u32>),
    S64(Vec<i64>),
    F64(Vec<f64>),
}

impl From<Numbers> for Val {
    fn from(numbers: Numbers) -> Self {
        Self::List(match numbers {
            Numbers::S32(items) => items.into_iter().map(Self::S32).collect(),
            Numbers::U32(items) => items.into_iter().map(Self::U32).collect(),
            Numbers::S64(items) => items.into_iter().map(Self::S64).collect(),
            Numbers::F64(items) => items.into_iter().map(Self::Float64).collect(),
        })
    }
}

impl From<Val> for Value {
    fn from(value: Val) -> Self {
        Self::Val(value)
    }
}

impl From<Value> for Val {
    fn from(value: Value) -> Self {
        let payload = |payload: Option<Box<Value>>| payload.map(|value| Box::new(Self::from(*value)));
        match value {
            Value::Val(value) => value,
            Value::Bytes(bytes) => Self::List(bytes.into_iter().map(Self::U8).collect()),
            Value::Numbers(numbers) => numbers.into(),
            Value::Result(Ok(value)) => Self::Result(Ok(payload(value))),
            Value::Result(Err(value)) => Self::Result(Err(payload(value))),
        }
    }
}
