//! The global and module `process` (`en/lua/core/process.md`).
//!
//! `process.lua` makes the module; here are the functions that it is made of. An invocation that is no process
//! becomes one when it asks for a pid, a mailbox or a tie to another process.

mod message;
mod spawn;

use std::sync::Arc;

use mlua::{Function, Lua, MultiValue, Table, Value};
use registry_schema::ErrorKind;

use self::message::{event_to_lua, message_to_lua};
use super::arguments::{invalid, string};
use crate::data::{Data, Table as DataTable};
use crate::error::Error;
use crate::lua::host::{Completion, Host, Receiver};
use crate::lua::own::Own;
use crate::lua::state::{CHANNEL_ARRIVED, CHANNEL_NEW, METATABLE};
use crate::lua::{convert, error};
use crate::process::{Attached, Message, Process, Processes, Queue};

/// What an invocation knows of itself as a process.
#[derive(Default)]
pub(in crate::lua) struct Inside {
    /// The process that a function's call became.
    attached: Option<Attached>,
    /// The channels of its mailbox.
    subscriptions: Option<Table>,
}

static SOURCE: Own = Own::new(include_str!("process/process.lua"));

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let rust = lua.create_table()?;
    own(lua, host, &rust)?;
    mailbox(lua, host, &rust)?;
    others(lua, host, &rust)?;
    names(lua, host, &rust)?;
    spawn::functions(lua, host, &rust)?;
    rust.set("metatable", lua.named_registry_value::<Function>(METATABLE)?)?;
    let waiting: Function = lua.named_registry_value(crate::lua::host::WAITING)?;
    let new: Function = lua.named_registry_value(CHANNEL_NEW)?;
    let arrived: Function = lua.named_registry_value(CHANNEL_ARRIVED)?;
    SOURCE.load(lua)?.call((rust, waiting, new, arrived))
}

/// The process that runs: the invocation's own, or the one that it becomes.
fn process(host: &Host) -> mlua::Result<Arc<Process>> {
    let made = host.with(|current| {
        if let Some(process) = current.context.process() {
            return (Arc::clone(process), false);
        }
        if let Some(attached) = &current.inside.attached {
            return (Arc::clone(&attached.process), false);
        }
        let attached = Processes::attach(&current.inner, &current.entry);
        let process = Arc::clone(&attached.process);
        current.inside.attached = Some(attached);
        (process, true)
    })?;
    let (process, is_new) = made;
    if is_new {
        end_with(host, &process)?;
    }
    Ok(process)
}

/// Lets an order to end reach a function's call, which no runner watches.
fn end_with(host: &Host, process: &Arc<Process>) -> mlua::Result<()> {
    let process = Arc::clone(process);
    let due = async move {
        let error = process.due().await;
        Box::new(move |_: &Lua| Err(mlua::Error::external(error))) as Completion
    };
    host.begin(Receiver::End, Box::pin(due))
}

/// Checks that the caller may do `action` to `resource`; its pid is an attribute.
fn allowed(host: &Host, action: &str, resource: &str) -> mlua::Result<Result<(), Error>> {
    let (inner, context, pid) = host.with(|current| {
        let own = current.context.process().or(current.inside.attached.as_ref().map(|own| &own.process));
        let pid = own.map(|process| process.pid.to_string());
        (Arc::clone(&current.inner), current.context.clone(), pid)
    })?;
    let meta = pid.map_or(Data::Nil, |pid| {
        let fields = vec![(Data::from("pid"), Data::from(pid))];
        Data::Table(DataTable { fields, ..DataTable::default() })
    });
    Ok(context.check(&inner.security, action, resource, &meta))
}

/// A function of the module: `nil, err` for an error.
fn answering<A: mlua::FromLuaMulti, R: mlua::IntoLua>(
    lua: &Lua,
    host: &Host,
    rust: &Table,
    name: &str,
    function: impl Fn(&Lua, &Host, A) -> mlua::Result<Result<R, Error>> + Send + Sync + 'static,
) -> mlua::Result<()> {
    let own = host.clone();
    let function = move |lua: &Lua, args: A| {
        let answer = function(lua, &own, args)?;
        error::answer(lua, answer)
    };
    rust.set(name, lua.create_function(function)?)
}

/// The text in `value`.
fn text(value: &Value, name: &str) -> Result<String, Error> {
    let text = string(value, name)?.to_str();
    text.map(|text| text.to_owned()).map_err(|_| invalid(format!("`{name}` must be text")))
}

/// A topic that code of the registry may use.
fn topic(value: &Value) -> Result<Arc<str>, Error> {
    let topic = text(value, "topic")?;
    if topic.starts_with('@') {
        return Err(invalid(format!("the topic `{topic}` is reserved: it starts with `@`")));
    }
    Ok(topic.into())
}

/// The values of a message, each as data.
fn payloads(values: &[Value]) -> Result<Vec<Data>, Error> {
    if values.is_empty() {
        return Ok(vec![Data::Nil]);
    }
    let values = values.iter().enumerate();
    values.map(|(index, value)| convert::from_lua(&format!("payload {}", index + 1), value)).collect()
}

fn own(lua: &Lua, host: &Host, rust: &Table) -> mlua::Result<()> {
    for name in ["pid", "id"] {
        // One value, since it often is the last argument of a call.
        let own = host.clone();
        let pid = move |_: &Lua, ()| Ok(process(&own)?.pid.to_string());
        rust.set(name, lua.create_function(pid)?)?;
    }
    let own = host.clone();
    let get_options = move |lua: &Lua, ()| {
        let options = lua.create_table()?;
        options.set("trap_links", process(&own)?.traps_links())?;
        options.set("upgradable", false)?;
        Ok(options)
    };
    rust.set("get_options", lua.create_function(get_options)?)?;
    answering(lua, host, rust, "set_options", |_, host, options: Value| {
        let Value::Table(options) = &options else {
            return Ok(Err(invalid(format!("`options` must be a table, got {}", options.type_name()))));
        };
        let mut trap = None;
        for pair in options.pairs::<Value, Value>() {
            match pair? {
                (Value::String(name), Value::Boolean(value)) if name == "trap_links" => trap = Some(value),
                // Code never changes while it runs, so nothing would ever be told.
                (Value::String(name), Value::Boolean(_)) if name == "upgradable" => {}
                (name, value) => {
                    let message =
                        format!("the option `{}` can't be {}", name.to_string()?, value.to_string()?);
                    return Ok(Err(invalid(message)));
                }
            }
        }
        if let Some(trap) = trap {
            process(host)?.trap_links(trap);
        }
        Ok(Ok(true))
    })?;
    answering(lua, host, rust, "upgrade", |_, _, ()| {
        let message = "processes can't be upgraded: a new bundle is a new start";
        Ok(Err::<bool, _>(Error::new(ErrorKind::Unavailable, message)))
    })
}

fn mailbox(lua: &Lua, host: &Host, rust: &Table) -> mlua::Result<()> {
    let own = host.clone();
    let subscriptions = move |_: &Lua, ()| own.with(|current| current.inside.subscriptions.clone());
    rust.set("subscriptions", lua.create_function(subscriptions)?)?;
    answering(lua, host, rust, "attach", |_, host, (all, deliver): (Table, Function)| {
        let process = process(host)?;
        host.with(|current| current.inside.subscriptions = Some(all))?;
        pump(host, &process, &deliver)?;
        Ok(Ok(true))
    })?;
    let own = host.clone();
    let take_inbox = move |lua: &Lua, ()| match process(&own)?.mailbox.take(&Queue::Inbox) {
        Some(message) => Ok(MultiValue::from_iter([Value::Boolean(true), message_to_lua(lua, message)?])),
        None => Ok(MultiValue::from_iter([Value::Boolean(false)])),
    };
    rust.set("take_inbox", lua.create_function(take_inbox)?)?;
    let own = host.clone();
    let take_event = move |lua: &Lua, ()| match process(&own)?.mailbox.take_event() {
        Some(event) => Ok(MultiValue::from_iter([Value::Boolean(true), event_to_lua(lua, &event)?])),
        None => Ok(MultiValue::from_iter([Value::Boolean(false)])),
    };
    rust.set("take_event", lua.create_function(take_event)?)?;
    let own = host.clone();
    let take_topic = move |lua: &Lua, (topic, whole): (mlua::LuaString, bool)| {
        let queue = Queue::Topic(topic.to_string_lossy().as_str().into());
        let Some(message) = process(&own)?.mailbox.take(&queue) else {
            return Ok(MultiValue::from_iter([Value::Boolean(false)]));
        };
        let value =
            if whole { message_to_lua(lua, message)? } else { convert::to_lua(lua, &message.payload)? };
        Ok(MultiValue::from_iter([Value::Boolean(true), value]))
    };
    rust.set("take_topic", lua.create_function(take_topic)?)?;
    answering(lua, host, rust, "listen", |_, host, value: Value| match topic(&value) {
        Ok(topic) => Ok(process(host)?.mailbox.listen(&topic).map(|()| true)),
        Err(error) => Ok(Err(error)),
    })?;
    let listened = |lua: &Lua, topic: mlua::LuaString| {
        let message = format!("`{}` is listened to already, otherwise", topic.to_string_lossy());
        error::to_lua(lua, Error::new(ErrorKind::AlreadyExists, message))
    };
    rust.set("listened", lua.create_function(listened)?)?;
    answering(lua, host, rust, "unlisten", |_, host, topic: mlua::LuaString| {
        process(host)?.mailbox.unlisten(&topic.to_string_lossy());
        Ok(Ok(true))
    })
}

/// Has `deliver` called whenever something comes in.
fn pump(host: &Host, process: &Arc<Process>, deliver: &Function) -> mlua::Result<()> {
    let (next, again, own) = (host.clone(), deliver.clone(), Arc::clone(process));
    let arrived = async move {
        own.mailbox.arrived().await;
        Box::new(move |_: &Lua| {
            pump(&next, &own, &again)?;
            Ok(MultiValue::new())
        }) as Completion
    };
    host.begin(Receiver::Function(deliver.clone()), Box::pin(arrived))
}

/// What is done to another process.
type Deed = fn(&Processes, &Arc<Process>, &Process, Option<String>) -> Result<(), Error>;

fn others(lua: &Lua, host: &Host, rust: &Table) -> mlua::Result<()> {
    answering(lua, host, rust, "send", |_, host, args: MultiValue| {
        let args: Vec<Value> = args.into_iter().collect();
        let read = || {
            let destination = text(args.first().unwrap_or(&Value::Nil), "destination")?;
            let topic = topic(args.get(1).unwrap_or(&Value::Nil))?;
            Ok((destination, topic, payloads(args.get(2..).unwrap_or_default())?))
        };
        let (destination, topic, payloads) = match read() {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let target = match host.inner()?.processes.find(&destination) {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = allowed(host, "process.send", &target.pid.to_string())? {
            return Ok(Err(error));
        }
        let from = Some(process(host)?.pid.clone());
        let messages = payloads.into_iter().map(|payload| Message {
            topic: Arc::clone(&topic),
            from: from.clone(),
            payload,
        });
        Ok(target.send(messages.collect()).map(|()| true))
    })?;
    let deeds: [(&str, &str, Deed); 6] = [
        ("terminate", "process.terminate", |_, target, _, _| {
            target.terminate();
            Ok(())
        }),
        ("cancel", "process.cancel", |_, target, own, reason| {
            target.cancel(Some(own.pid.clone()), reason);
            Ok(())
        }),
        ("monitor", "process.monitor", |all, target, own, _| all.monitor(own, target)),
        ("unmonitor", "process.unmonitor", |all, target, own, _| {
            all.unmonitor(own, target);
            Ok(())
        }),
        ("link", "process.link", |all, target, own, _| all.link(own, target)),
        ("unlink", "process.unlink", |all, target, own, _| {
            all.unlink(own, target);
            Ok(())
        }),
    ];
    for (name, action, deed) in deeds {
        answering(lua, host, rust, name, move |_, host, (destination, reason): (Value, Value)| {
            let inner = host.inner()?;
            let found = text(&destination, "destination").and_then(|to| inner.processes.find(&to));
            let reason = match &reason {
                Value::Nil => Ok(None),
                reason => text(reason, "reason").map(Some),
            };
            let (target, reason) = match (found, reason) {
                (Ok(target), Ok(reason)) => (target, reason),
                (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
            };
            if let Err(error) = allowed(host, action, &target.pid.to_string())? {
                return Ok(Err(error));
            }
            let own = process(host)?;
            Ok(deed(&inner.processes, &target, &own, reason).map(|()| true))
        })?;
    }
    Ok(())
}

fn names(lua: &Lua, host: &Host, rust: &Table) -> mlua::Result<()> {
    answering(lua, host, rust, "register", |_, host, (name, pid, scope): (Value, Value, Value)| {
        let inner = host.inner()?;
        let name = match name_in(&name, &scope) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = allowed(host, "process.registry.register", &name)? {
            return Ok(Err(error));
        }
        let own = process(host)?;
        let target = match &pid {
            Value::Nil => Arc::clone(&own),
            pid => match text(pid, "pid").and_then(|pid| inner.processes.find(&pid)) {
                Ok(target) => target,
                Err(error) => return Ok(Err(error)),
            },
        };
        if target.pid != own.pid
            && let Err(error) = allowed(host, "process.registry.foreign", &target.pid.to_string())?
        {
            return Ok(Err(error));
        }
        Ok(inner.processes.register(&name, &target).map(|()| true))
    })?;
    answering(lua, host, rust, "lookup", |_, host, name: Value| {
        let inner = host.inner()?;
        let pid = text(&name, "name").and_then(|name| inner.processes.lookup(&name));
        Ok(pid.map(|pid| pid.to_string()))
    })?;
    answering(lua, host, rust, "unregister", |_, host, (name, scope): (Value, Value)| {
        let name = match name_in(&name, &scope) {
            Ok(name) => name,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = allowed(host, "process.registry.unregister", &name)? {
            return Ok(Err(error));
        }
        Ok(Ok(host.inner()?.processes.unregister(&name)))
    })
}

/// A name of the scope LOCAL.
fn name_in(name: &Value, scope: &Value) -> Result<String, Error> {
    let name = text(name, "name")?;
    if name.is_empty() || name.starts_with('{') {
        return Err(invalid(format!("`{name}` can't be a name: it is empty or looks like a pid")));
    }
    match scope {
        Value::Nil | Value::Integer(0) => Ok(name),
        Value::Integer(1..=3) => {
            let message = "names of a cluster are not offered: only the scope LOCAL is";
            Err(Error::new(ErrorKind::Unavailable, message))
        }
        scope => Err(invalid(format!(
            "`scope` must be one of `process.registry`, got {}",
            scope.to_string().unwrap_or_default()
        ))),
    }
}
