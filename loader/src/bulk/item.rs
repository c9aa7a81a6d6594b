//! Rust types that stand for types of WIT.

use wasmtime::component::{Lift, Lower, Type, Val};

use super::{Numbers, Value};

/// A type of parameters and results.
pub(super) trait Item: Lower + Lift + Sized + Send + Sync + 'static {
    /// Whether it stands for `ty`.
    fn is(ty: &Type) -> bool;
    /// Whether [`Item::take`] takes `value`.
    fn fits(value: &Value) -> bool;
    /// `value` as one.
    fn take(value: Value) -> Option<Self>;
    /// As a value.
    fn give(self) -> Value;
}

impl Item for String {
    fn is(ty: &Type) -> bool {
        matches!(ty, Type::String)
    }

    fn fits(value: &Value) -> bool {
        matches!(value, Value::Val(Val::String(_)))
    }

    fn take(value: Value) -> Option<Self> {
        match value {
            Value::Val(Val::String(text)) => Some(text),
            _ => None,
        }
    }

    fn give(self) -> Value {
        Value::Val(Val::String(self))
    }
}

impl Item for Vec<u8> {
    fn is(ty: &Type) -> bool {
        matches!(ty, Type::List(list) if matches!(list.ty(), Type::U8))
    }

    fn fits(value: &Value) -> bool {
        match value {
            Value::Bytes(_) => true,
            // An embedding program has dynamic values only.
            Value::Val(Val::List(items)) => items.iter().all(|item| matches!(item, Val::U8(_))),
            _ => false,
        }
    }

    fn take(value: Value) -> Option<Self> {
        let byte = |item| match item {
            Val::U8(byte) => Some(byte),
            _ => None,
        };
        match value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Val(Val::List(items)) => items.into_iter().map(byte).collect(),
            _ => None,
        }
    }

    fn give(self) -> Value {
        Value::Bytes(self)
    }
}

/// Numbers and lists of them.
macro_rules! numbers {
    ($($ty:ident $list:ident $val:ident;)*) => {
        $(impl Item for $ty {
            fn is(ty: &Type) -> bool {
                matches!(ty, Type::$val)
            }

            fn fits(value: &Value) -> bool {
                matches!(value, Value::Val(Val::$val(_)))
            }

            fn take(value: Value) -> Option<Self> {
                match value {
                    Value::Val(Val::$val(number)) => Some(number),
                    _ => None,
                }
            }

            fn give(self) -> Value {
                Value::Val(Val::$val(self))
            }
        }

        impl Item for Vec<$ty> {
            fn is(ty: &Type) -> bool {
                matches!(ty, Type::List(list) if matches!(list.ty(), Type::$val))
            }

            fn fits(value: &Value) -> bool {
                match value {
                    Value::Numbers(Numbers::$list(_)) => true,
                    // An embedding program has dynamic values only.
                    Value::Val(Val::List(items)) => items.iter().all(|item| matches!(item, Val::$val(_))),
                    _ => false,
                }
            }

            fn take(value: Value) -> Option<Self> {
                let number = |item| match item {
                    Val::$val(number) => Some(number),
                    _ => None,
                };
                match value {
                    Value::Numbers(Numbers::$list(numbers)) => Some(numbers),
                    Value::Val(Val::List(items)) => items.into_iter().map(number).collect(),
                    _ => None,
                }
            }

            fn give(self) -> Value {
                Value::Numbers(Numbers::$list(self))
            }
        })*
    };
}

numbers! {
    i32 S32 S32;
    u32 U32 U32;
    i64 S64 S64;
    f64 F64 Float64;
}
