//! The signatures that are called by their types.

use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Func, Lift, Lower, Type};

use super::item::Item;
use super::{Called, Value};
use crate::host_state::HostState;

/// Whether parameters and a result are those of a row.
type Is = fn(&[(String, Type)], Option<&Type>) -> bool;

/// A signature, and what calls it.
pub(super) struct Row {
    /// Whether it is this one.
    pub(super) is: Is,
    /// Whether the values are of its types.
    pub(super) fit: fn(&[Value]) -> bool,
    pub(super) call: for<'a> fn(&'a mut Store<HostState>, Func, Vec<Value>) -> Called<'a>,
}

const fn row<P: Params, R: Returned>() -> Row {
    Row { is: |params, result| P::are(params) && result.is_some_and(R::is), fit: P::fit, call: call::<P, R> }
}

fn call<P: Params, R: Returned>(
    store: &mut Store<HostState>,
    function: Func,
    values: Vec<Value>,
) -> Called<'_> {
    Box::pin(async move {
        let function = function.typed::<P, (R,)>(&*store)?;
        let params = P::take(values);
        let params = params.ok_or_else(|| wasmtime::Error::msg("arguments of other types than checked"))?;
        let (result,) = function.call_async(store, params).await?;
        Ok(Some(result.give()))
    })
}

/// The types of parameters.
trait Params: ComponentNamedList + Lower + Sized + Send + Sync + 'static {
    fn are(params: &[(String, Type)]) -> bool;
    fn fit(values: &[Value]) -> bool;
    fn take(values: Vec<Value>) -> Option<Self>;
}

macro_rules! params {
    ($(($($ty:ident $name:ident),*);)*) => {
        $(impl<$($ty: Item),*> Params for ($($ty,)*) {
            fn are(params: &[(String, Type)]) -> bool {
                matches!(params, [$((_, $name)),*] if true $(&& $ty::is($name))*)
            }

            fn fit(values: &[Value]) -> bool {
                matches!(values, [$($name),*] if true $(&& $ty::fits($name))*)
            }

            fn take(values: Vec<Value>) -> Option<Self> {
                let [$($name),*] = <[Value; _]>::try_from(values).ok()?;
                Some(($($ty::take($name)?,)*))
            }
        })*
    };
}

params! {
    (A a);
    (A a, B b);
}

/// The type of what is returned.
trait Returned: Lift + Sized + Send + Sync + 'static {
    fn is(ty: &Type) -> bool;
    fn give(self) -> Value;
}

impl<T: Item> Returned for T {
    fn is(ty: &Type) -> bool {
        T::is(ty)
    }

    fn give(self) -> Value {
        T::give(self)
    }
}

impl<T: Item, E: Item> Returned for Result<T, E> {
    fn is(ty: &Type) -> bool {
        let Type::Result(result) = ty else { return false };
        result.ok().is_some_and(|ty| T::is(&ty)) && result.err().is_some_and(|ty| E::is(&ty))
    }

    fn give(self) -> Value {
        Value::Result(match self {
            Ok(value) => Ok(Some(Box::new(value.give()))),
            Err(value) => Err(Some(Box::new(value.give()))),
        })
    }
}

type Bytes = Vec<u8>;

/// One row for each pair of parameters and result.
macro_rules! rows {
    ($($params:ty => $($results:ty)|+;)*) => {
        &[$($(row::<$params, $results>()),+),*]
    };
}

pub(super) static ROWS: &[Row] = rows! {
    (Bytes,) => Bytes | String | Result<Bytes, String> | Result<String, String>;
    (String,) => Result<Bytes, String>;
    (String, Bytes) => Result<Bytes, String>;
    (Vec<i32>,) => Vec<i32> | i32;
    (Vec<u32>,) => Vec<u32> | u32;
    (Vec<i64>,) => Vec<i64> | i64;
    (Vec<f64>,) => Vec<f64> | f64;
};
