//! `wippy:runtime/funcs`: calls from a guest to other functions of the registry.

use std::sync::Arc;

use registry_schema::EntryId;
use wasmtime::component::{Linker, LinkerInstance};

use crate::context::Context;
use crate::data::Data;
use crate::error::{Error, ErrorKind};
use crate::host_state::HostState;
use crate::loader::{Callable, Inner};

/// The interface, with its version.
const INTERFACE: &str = "wippy:runtime/funcs@0.1.0";

/// What the guest that calls runs with.
struct Caller {
    inner: Arc<Inner>,
    context: Context,
}

impl Caller {
    fn of(state: &HostState) -> Self {
        let inner = state.inner.upgrade().expect("a guest runs in a call, which holds its loader");
        Self { inner, context: state.context.clone() }
    }

    /// Calls `target` with one argument. A task of its own: a callee is never polled inside its caller.
    async fn call(self, target: String, input: Data) -> Result<Data, String> {
        let answer = self.answer(&target, input).await;
        answer.map_err(|error| error.message().to_owned())
    }

    async fn answer(&self, id: &str, input: Data) -> Result<Data, Error> {
        let target = self.inner.target(&self.context, id)?;
        let parsed = id.parse::<EntryId>();
        let parsed = parsed.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let deadline = target.context.deadline();
        crate::calls::repeat(target.retry, deadline, || {
            let (inner, callable) = (Arc::clone(&self.inner), target.callable.clone());
            let (context, input) = (target.context.clone(), input.clone());
            let call = async move {
                let args = vec![argument(&inner, &callable, input)?];
                crate::lua::call_data(&inner, callable, context, args).await
            };
            crate::task::run(&parsed, &self.inner.ticker, call)
        })
        .await
    }
}

/// What `callable` gets for `input`: a guest's parameter that is neither text nor bytes is read as JSON.
fn argument(inner: &Inner, callable: &Callable, input: Data) -> Result<Data, Error> {
    let Callable::Wasm(function) = callable else { return Ok(input) };
    let prepared = function.prepared(inner)?;
    let [(name, ty)] = prepared.params.as_slice() else { return Ok(input) };
    use wasmtime::component::Type;
    match ty {
        Type::String => return Ok(input),
        Type::List(list) if list.ty() == Type::U8 => return Ok(input),
        _ => {}
    }
    let Data::String(text) = &input else { return Ok(input) };
    let json: serde_json::Value = serde_json::from_slice(text).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("{name}: expected JSON, since it is no string: {error}"))
    })?;
    Ok(Data::from(&json))
}

/// An answer as text or bytes.
fn bytes(answer: Data) -> Result<Vec<u8>, String> {
    match answer {
        Data::String(bytes) => Ok(bytes),
        Data::Nil => Ok(Vec::new()),
        other => other.to_json().map(|json| json.to_string().into_bytes()),
    }
}

fn text(answer: Data) -> Result<String, String> {
    String::from_utf8(bytes(answer)?).map_err(|_| "the answer is no text: use call-bytes".to_owned())
}

/// Adds the interface. Its functions are plain ones, which block their guest: not the thread, which runs others
/// meanwhile.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut instance: LinkerInstance<'_, HostState> = linker.instance(INTERFACE)?;
    instance.func_wrap_async("call-string", |store, (target, input): (String, String)| {
        let caller = Caller::of(store.data());
        Box::new(async move { Ok((caller.call(target, Data::from(input)).await.and_then(text),)) })
    })?;
    instance.func_wrap_async("call-bytes", |store, (target, input): (String, Vec<u8>)| {
        let caller = Caller::of(store.data());
        Box::new(async move { Ok((caller.call(target, Data::String(input)).await.and_then(bytes),)) })
    })
}
