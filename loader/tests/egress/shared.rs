//! What these tests share.

use std::sync::Arc;

use loader::security::{Actor, Scope};
use loader::{Context, Data, Error, Loader, Options, Stdio, Val};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{Built, Guest, Registry};

/// Adds `method` of `guest` as `name`, which may connect to what `allow` lists, if it is given.
pub(crate) fn reach(
    guest: Guest,
    registry: Registry,
    name: &str,
    method: &str,
    allow: Option<&[String]>,
) -> Registry {
    let grants = "imports: [\"wasi:http\", \"wasi:sockets\"]\n";
    let network = allow.map(|allow| format!("network: {{allow: {allow:?}}}\n")).unwrap_or_default();
    registry.guest(name, guest, method, &format!("{grants}{network}"))
}

pub(crate) fn open(built: &Built) -> Loader {
    Loader::builder().options(options(built)).open(built).unwrap()
}

pub(crate) fn options(built: &Built) -> Options {
    Options { root: Some(built.root().to_path_buf()), ..Options::default() }
}

pub(crate) fn text(text: &str) -> Val {
    Val::String(text.into())
}

/// A policy `name` that allows `actions`, in YAML, on everything.
pub(crate) fn policy(name: &str, actions: &str, resources: &str) -> String {
    format!(
        "- name: {name}\n  kind: security.policy\n  policy: {{actions: {actions}, resources: {resources}, effect: allow}}\n"
    )
}

/// A context with an actor whose scope has the policies `names`.
pub(crate) fn with_policies(loader: &Loader, names: &[&str]) -> Context {
    let policies = names.iter().map(|name| loader.policy(&format!("app:{name}").parse().unwrap()).unwrap());
    let scope: Scope = policies.collect();
    let actor = Actor::new("ann", Data::Nil).unwrap();
    Context::default().with_actor(Some(Arc::new(actor))).with_scope(Some(Arc::new(scope)))
}

/// Text of a method that returns `result<…, string>`.
pub(crate) fn said(outcome: Result<Option<Val>, Error>) -> Result<String, String> {
    let said = |value: Option<Box<Val>>| match value.as_deref() {
        None => String::new(),
        Some(Val::String(text)) => text.clone(),
        Some(Val::U16(port)) => port.to_string(),
        Some(Val::List(items)) => {
            let items = items.iter().map(|item| match item {
                Val::String(text) => text.as_str(),
                other => panic!("{other:?}"),
            });
            items.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    };
    match outcome {
        Ok(Some(Val::Result(Ok(value)))) => Ok(said(value)),
        Ok(Some(Val::Result(Err(value)))) => Err(said(value)),
        other => panic!("{other:?}"),
    }
}

/// Calls `app:NAME` with `context`.
pub(crate) async fn call(
    loader: &Loader,
    name: &str,
    args: &[Val],
    context: Context,
) -> Result<String, String> {
    said(loader.call_with_streams(&format!("app:{name}"), args, context, Stdio::Log).await)
}

/// Takes connections until its queue is full, and does not answer: a further one waits for ever.
pub(crate) async fn full() -> (u16, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(TcpStream::connect(address).await.unwrap());
    }
    (address.port(), waiting, listener)
}
