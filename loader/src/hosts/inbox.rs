//! `wippy:runtime/inbox`: what a process of WebAssembly was sent. Its WIT is in `loader/wit/inbox.wit`.

use std::sync::Arc;

use registry_schema::ErrorKind;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower};

use crate::data::Data;
use crate::error::Error;
use crate::host_state::HostState;
use crate::process::{Event, Process, Queue};

/// The interface, with its version.
const INTERFACE: &str = "wippy:runtime/inbox@0.1.0";

#[derive(ComponentType, Lower)]
#[component(record)]
struct Message {
    topic: String,
    sender: Option<String>,
    payload: Vec<u8>,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Received {
    #[component(name = "message")]
    Message(Message),
    #[component(name = "canceled")]
    Canceled(String),
}

/// The process that the guest is. The call of a function has none: the build refuses such a grant, and a bundle
/// that has it all the same ends here.
fn process(state: &HostState) -> wasmtime::Result<Arc<Process>> {
    state.context().process().cloned().ok_or_else(|| {
        wasmtime::Error::from(Error::new(ErrorKind::Unavailable, "only a process has an inbox"))
    })
}

/// What came in first: the wish that it ends before messages.
fn take(process: &Process) -> Option<Received> {
    while let Some(event) = process.mailbox.take_event() {
        // A guest monitors nobody, and ends with those that are linked to it.
        if let Event::Cancel { reason, .. } = event {
            return Some(Received::Canceled(reason.unwrap_or_default()));
        }
    }
    let message = process.mailbox.take(&Queue::Inbox)?;
    let payload = match message.payload {
        Data::String(bytes) => bytes,
        Data::Nil => Vec::new(),
        // Bytes that are no text inside of a table have no form in JSON.
        other => other.to_json().map(|json| json.to_string().into_bytes()).unwrap_or_default(),
    };
    let sender = message.from.map(|pid| pid.to_string());
    Some(Received::Message(Message { topic: message.topic.to_string(), sender, payload }))
}

/// Adds the interface. `receive` blocks its guest, not the thread.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut instance: LinkerInstance<'_, HostState> = linker.instance(INTERFACE)?;
    instance.func_wrap_async("receive", |store, (): ()| {
        let process = process(store.data());
        Box::new(async move {
            let process = process?;
            loop {
                if let Some(received) = take(&process) {
                    return Ok((received,));
                }
                process.mailbox.arrived().await;
            }
        })
    })?;
    instance.func_wrap("try-receive", |store, (): ()| {
        let process = process(store.data())?;
        Ok((take(&process),))
    })
}
