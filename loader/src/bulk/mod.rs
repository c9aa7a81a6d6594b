//! Calls that move a list of bytes or numbers as a whole.
//!
//! In wasmtime's dynamic values a list is one value of 32 bytes per item: each costs nanoseconds both ways,
//! 100 times what it costs by a typed call, which copies memory. Typed calls need the types when the loader
//! is compiled, so only the signatures in `rows.rs` are called so, and all others by dynamic values.
//!
//! A row costs 22 KB of code with the feature `p3`, most of it wasmtime's own, so there are but few: those of
//! functions that transform, read or render bytes, and that transform or sum up numbers.

#[cfg(feature = "lua")]
mod item;
#[cfg(feature = "lua")]
mod rows;
#[cfg(not(feature = "lua"))]
#[path = "no_rows.rs"]
mod rows;
mod value;

use std::pin::Pin;

use wasmtime::Store;
use wasmtime::component::{Func, Type, Val};

use crate::host_state::HostState;
#[cfg(feature = "lua")]
pub(crate) use value::Numbers;
pub(crate) use value::Value;

/// What calls functions of one signature.
#[derive(Clone, Copy)]
pub(crate) struct TypedCall(&'static rows::Row);

impl TypedCall {
    /// The one for a signature, if there is one.
    pub(crate) fn find(params: &[(String, Type)], result: Option<&Type>) -> Option<Self> {
        rows::ROWS.iter().find(|row| (row.is)(params, result)).map(Self)
    }
}

/// The arguments of a call.
pub(crate) enum Arguments {
    /// For a typed call.
    Typed(TypedCall, Vec<Value>),
    /// For a dynamic call.
    Dynamic(Vec<Val>),
}

impl Arguments {
    /// `values` for a typed call, if there is one and they are of its types.
    pub(crate) fn new(typed: Option<TypedCall>, values: Vec<Value>) -> Self {
        match typed {
            Some(typed) if (typed.0.fit)(&values) => Self::Typed(typed, values),
            _ => Self::Dynamic(values.into_iter().map(Val::from).collect()),
        }
    }

    /// What may be of a wrong type.
    pub(crate) fn unchecked(&self) -> &[Val] {
        match self {
            Self::Typed(..) => &[],
            Self::Dynamic(values) => values,
        }
    }
}

type Called<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<Option<Value>>> + Send + 'a>>;

/// Calls `function` with `arguments`, which are gone afterwards if the call is typed.
///
/// # Errors
/// Those of [`Func::call_async`].
pub(crate) async fn call(
    store: &mut Store<HostState>,
    function: Func,
    arguments: &mut Arguments,
    has_result: bool,
) -> wasmtime::Result<Option<Value>> {
    match arguments {
        Arguments::Typed(typed, values) => (typed.0.call)(store, function, std::mem::take(values)).await,
        Arguments::Dynamic(values) => {
            let mut result = [Val::Bool(false)];
            let results = if has_result { &mut result[..] } else { &mut [] };
            function.call_async(store, values, results).await?;
            let [result] = result;
            Ok(has_result.then_some(Value::Val(result)))
        }
    }
}

#[cfg(test)]
mod tests;
