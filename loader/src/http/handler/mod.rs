//! What answers the requests of a route: a Lua function, a WebAssembly function whose parameters and result
//! are mapped, or a component that is an HTTP handler.

mod component;
mod driven;
mod lua;
mod transport;
mod typed;

use std::sync::Arc;

use registry_schema::authored::wasm::Transport;
use registry_schema::{EntryId, ErrorKind};

use self::component::Component;
use super::answer::Answer;
use super::routes::Parameters;
use super::visit::Visit;
use crate::error::Error;
use crate::function::WasmFunction;
use crate::loader::{Callable, Inner, Loader};
use crate::lua::LuaFunction;

/// What answers.
pub(super) enum Handler {
    Lua(Arc<LuaFunction>),
    /// An ordinary export.
    Transport(Arc<WasmFunction>),
    /// An export of `wasi:http`.
    Component(Arc<Component>),
}

/// What came of a request that was handled.
pub(super) struct Handled {
    pub(super) answer: Answer,
    /// What stands in the log.
    pub(super) failure: Option<Error>,
}

impl From<Answer> for Handled {
    fn from(answer: Answer) -> Self {
        Self { answer, failure: None }
    }
}

impl Handler {
    /// The handler that is the function `id`.
    ///
    /// # Errors
    /// Why it can't be called.
    pub(super) fn new(loader: &Loader, id: &EntryId) -> Result<Self, Error> {
        match loader.inner().callable(&id.to_string())? {
            Callable::Lua(function) => Ok(Self::Lua(function)),
            Callable::Wasm(function) => match Component::of(&function) {
                Some(component) => Ok(Self::Component(Arc::new(component))),
                None if function.wasm.transport == Transport::WasiHttp => Ok(Self::Transport(function)),
                None => {
                    let message = format!("`{id}` needs `transport: wasi-http` to answer requests");
                    Err(Error::new(ErrorKind::Unavailable, message))
                }
            },
        }
    }

    /// Loads and links it.
    ///
    /// # Errors
    /// `INTERNAL` for a damaged artifact or source, or one that can't be linked.
    pub(super) fn warm(&self, inner: &Arc<Inner>) -> Result<(), Error> {
        match self {
            Self::Lua(function) => crate::lua::check(inner, &function.id),
            Self::Transport(function) => function.prepared(inner).map(|_| ()),
            Self::Component(component) => component.function.prepared(inner).map(|_| ()),
        }
    }

    /// Answers one request.
    pub(super) async fn handle(&self, inner: &Arc<Inner>, visit: Visit, parameters: Parameters) -> Handled {
        match self {
            Self::Lua(function) => lua::handle(inner, function, visit, parameters).await,
            Self::Transport(function) => transport::handle(inner, function, visit, parameters).await,
            Self::Component(component) => component::handle(inner, component, visit).await,
        }
    }
}
