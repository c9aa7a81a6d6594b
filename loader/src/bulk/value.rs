//! Values in which a `list<u8>` is one whole.

use wasmtime::component::Val;

/// An argument or a result.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "lua"), expect(dead_code, reason = "only Lua has bytes as one whole"))]
pub(crate) enum Value {
    /// A dynamic value.
    Val(Val),
    /// A `list<u8>`.
    Bytes(Vec<u8>),
    /// A result of these.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
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
            Value::Result(Ok(value)) => Self::Result(Ok(payload(value))),
            Value::Result(Err(value)) => Self::Result(Err(payload(value))),
        }
    }
}
