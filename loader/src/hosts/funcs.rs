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
    async fn call(self, target: String, input: Vec<u8>) -> Result<Vec<u8>, String> {
        let answer = self.answer(&target, input).await;
        answer.map_err(|error| error.message().to_owned())
    }

    async fn answer(&self, id: &str, input: Vec<u8>) -> Result<Vec<u8>, Error> {
        let target = self.inner.target(&self.context, id)?;
        let parsed = id.parse::<EntryId>();
        let parsed = parsed.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let deadline = target.context.deadline();
        crate::calls::repeat(target.callable.retry(), deadline, || {
            let (inner, callable) = (Arc::clone(&self.inner), target.callable.clone());
            let (context, input) = (target.context.clone(), input.clone());
            let call = async move { call(&inner, callable, context, input).await };
            crate::task::run(&parsed, &self.inner.ticker, call)
        })
        .await
    }
}

/// Calls `callable` with text or bytes: to Lua as they are, to a guest by the type of its parameter. The answer is
/// text, bytes, nothing or JSON: by the types of a guest, of Lua as `json.encode` writes it.
async fn call(
    inner: &Arc<Inner>,
    callable: Callable,
    context: Context,
    input: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    match callable {
        Callable::Lua(function) => {
            let deadline = context.deadline();
            match crate::lua::call(inner, function, context, vec![Data::String(input)]).await? {
                Data::String(bytes) => Ok(bytes),
                Data::Nil => Ok(Vec::new()),
                other => crate::lua::json_text(&other, deadline),
            }
        }
        Callable::Wasm(function) => {
            let prepared = function.prepared(inner)?;
            let args = prepared.plan.lower_text(&prepared.params, input);
            let args = args.map_err(|error| error.wrapped(&format!("`{}`", function.id)))?;
            let value = inner.call_wasm(Arc::clone(&function), context, args).await?;
            prepared.plan.lift_text(value)
        }
    }
}

/// An answer as text.
fn text(answer: Vec<u8>) -> Result<String, String> {
    String::from_utf8(answer).map_err(|_| "the answer is no text: use call-bytes".to_owned())
}

/// Adds the interface. Its functions are plain ones, which block their guest: not the thread, which runs others
/// meanwhile.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut instance: LinkerInstance<'_, HostState> = linker.instance(INTERFACE)?;
    instance.func_wrap_async("call-string", |store, (target, input): (String, String)| {
        let caller = Caller::of(store.data());
        Box::new(async move { Ok((caller.call(target, input.into_bytes()).await.and_then(text),)) })
    })?;
    instance.func_wrap_async("call-bytes", |store, (target, input): (String, Vec<u8>)| {
        let caller = Caller::of(store.data());
        Box::new(async move { Ok((caller.call(target, input).await,)) })
    })
}
