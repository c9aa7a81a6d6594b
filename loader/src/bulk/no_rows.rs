//! No signature is called by its types where there is no Lua: only its values have bytes as one whole.

use wasmtime::Store;
use wasmtime::component::{Func, Type};

use super::{Called, Value};
use crate::host_state::HostState;

/// What a row of [`ROWS`] would be.
pub(super) struct Row {
    pub(super) is: fn(&[(String, Type)], Option<&Type>) -> bool,
    pub(super) fit: fn(&[Value]) -> bool,
    pub(super) call: for<'a> fn(&'a mut Store<HostState>, Func, Vec<Value>) -> Called<'a>,
}

pub(super) static ROWS: &[Row] = &[];
