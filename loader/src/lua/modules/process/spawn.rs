//! `spawn*`, `exec` and the builders that they may come from.

use std::sync::Arc;

use mlua::{AnyUserData, Lua, MultiValue, Table, UserData, Value};
use registry_schema::{EntryId, EntryRef, ErrorKind};

use super::{allowed, payloads, process, text, topic};
use crate::data::Data;
use crate::error::Error;
use crate::lua::host::{Answer, Host};
use crate::lua::modules::arguments::invalid;
use crate::lua::modules::security::{actor_of, scope_of};
use crate::lua::{convert, error};
use crate::process::{Arguments, Message, Process, Spawn, Ties};
use crate::security::{Actor, Scope};

/// What a builder adds to the processes that it spawns. Never changes.
#[derive(Clone, Default)]
struct SpawnOptions {
    values: Vec<(String, Data)>,
    actor: Option<Arc<Actor>>,
    scope: Option<Arc<Scope>>,
    name: Option<String>,
    messages: Vec<(Arc<str>, Data)>,
}

impl UserData for SpawnOptions {}

/// Adds the functions to `rust`.
pub(super) fn functions(lua: &Lua, host: &Host, rust: &Table) -> mlua::Result<()> {
    changes(lua, host, rust)?;
    let own = host.clone();
    let spawn = move |lua: &Lua, (options, ties, args): (Option<AnyUserData>, u8, MultiValue)| {
        let ties = [Ties::None, Ties::Monitored, Ties::Linked, Ties::LinkedMonitored][usize::from(ties & 3)];
        let spawned = begin(&own, options, Wish::Spawn(ties), args)?;
        error::answer(lua, spawned.map(|process| process.pid.to_string()))
    };
    rust.set("spawn", lua.create_function(spawn)?)?;
    let own = host.clone();
    let exec = move |lua: &Lua, (options, args): (Option<AnyUserData>, MultiValue)| {
        let answer = match begin(&own, options, Wish::Exec, args)? {
            Err(problem) => Answer::Now(error::pair(lua, problem)?),
            Ok(process) => {
                let ending = Ending(process);
                let exited = async move { ending.0.exited().await };
                Answer::later(exited, |lua, exit| match &*exit {
                    Ok(value) => Ok(MultiValue::from_iter([convert::to_lua(lua, value)?, Value::Nil])),
                    Err(problem) => error::pair(lua, problem.clone()),
                })
            }
        };
        own.answer(lua, answer)
    };
    rust.set("exec", lua.create_function(exec)?)
}

/// A process that ends when nobody waits for its result any more.
struct Ending(Arc<Process>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.terminate();
    }
}

/// What a process is wanted for.
#[derive(Clone, Copy)]
enum Wish {
    Spawn(Ties),
    Exec,
}

impl Wish {
    /// The actions on the process's id that it needs.
    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Exec => &["process.exec"],
            Self::Spawn(Ties::None) => &["process.spawn"],
            Self::Spawn(Ties::Monitored) => &["process.spawn", "process.spawn.monitored"],
            Self::Spawn(Ties::Linked) => &["process.spawn", "process.spawn.linked"],
            Self::Spawn(Ties::LinkedMonitored) => {
                &["process.spawn", "process.spawn.monitored", "process.spawn.linked"]
            }
        }
    }
}

fn begin(
    host: &Host,
    options: Option<AnyUserData>,
    wish: Wish,
    args: MultiValue,
) -> mlua::Result<Result<Arc<Process>, Error>> {
    let args: Vec<Value> = args.into_iter().collect();
    let own = host.entry()?;
    let id = |value: Option<&Value>, name: &str| -> Result<EntryId, Error> {
        let text = text(value.unwrap_or(&Value::Nil), name)?;
        let reference: EntryRef = text.parse().map_err(|problem| invalid(format!("`{name}`: {problem}")))?;
        Ok(reference.resolve(own.namespace()))
    };
    let ids = id(args.first(), "id").and_then(|process| Ok((process, id(args.get(1), "host")?)));
    let (id, place) = match ids {
        Ok(ids) => ids,
        Err(error) => return Ok(Err(error)),
    };
    for action in wish.actions() {
        if let Err(error) = allowed(host, action, &id.to_string())? {
            return Ok(Err(error));
        }
    }
    if let Err(error) = allowed(host, "process.host", &place.to_string())? {
        return Ok(Err(error));
    }
    let rest = args.get(2..).unwrap_or_default().iter().enumerate();
    let data = rest.map(|(index, value)| convert::from_lua(&format!("argument {}", index + 1), value));
    let data = match data.collect::<Result<Vec<Data>, Error>>() {
        Ok(data) => data,
        Err(error) => return Ok(Err(error)),
    };
    let options = options_of(options)?;
    let (inner, mut context) = host.with(|current| (Arc::clone(&current.inner), current.context.clone()))?;
    if !options.values.is_empty() {
        context = context.with_values(options.values);
    }
    if options.actor.is_some() {
        context = context.with_actor(options.actor);
    }
    if options.scope.is_some() {
        context = context.with_scope(options.scope);
    }
    let mut spawn = Spawn::new(id, place, Arguments::Data(data), context);
    spawn.name = options.name;
    let needs_parent =
        matches!(wish, Wish::Spawn(ties) if ties != Ties::None) || !options.messages.is_empty();
    if needs_parent {
        let parent = process(host)?;
        let message = |(topic, payload)| Message { topic, from: Some(parent.pid.clone()), payload };
        spawn.messages = options.messages.into_iter().map(message).collect();
        spawn.parent = Some(parent);
    }
    if let Wish::Spawn(ties) = wish {
        spawn.ties = ties;
    }
    Ok(inner.spawn(spawn))
}

fn options_of(options: Option<AnyUserData>) -> mlua::Result<SpawnOptions> {
    match options {
        Some(options) => Ok(options.borrow::<SpawnOptions>()?.clone()),
        None => Ok(SpawnOptions::default()),
    }
}

/// Changes the options of a builder by the arguments of one of its methods.
type Change = fn(&Host, &mut SpawnOptions, &[Value]) -> mlua::Result<Result<(), Error>>;

/// The builder's methods: each gives new options, or `nil, err`.
fn changes(lua: &Lua, host: &Host, rust: &Table) -> mlua::Result<()> {
    let all: [(&str, Change); 6] = [
        ("with_context", with_context),
        ("with_actor", with_actor),
        ("with_scope", with_scope),
        ("with_name", with_name),
        ("with_message", with_message),
        ("with_options", with_options),
    ];
    for (name, change) in all {
        let own = host.clone();
        let method = move |lua: &Lua, (options, args): (Option<AnyUserData>, MultiValue)| {
            let mut options = options_of(options)?;
            let args: Vec<Value> = args.into_iter().collect();
            match change(&own, &mut options, &args)? {
                Ok(()) => Ok(MultiValue::from_iter([Value::UserData(lua.create_userdata(options)?)])),
                Err(problem) => error::pair(lua, problem),
            }
        };
        rust.set(name, lua.create_function(method)?)?;
    }
    Ok(())
}

fn first(args: &[Value]) -> &Value {
    args.first().unwrap_or(&Value::Nil)
}

fn with_context(host: &Host, options: &mut SpawnOptions, args: &[Value]) -> mlua::Result<Result<(), Error>> {
    if let Err(error) = allowed(host, "process.context", "context")? {
        return Ok(Err(error));
    }
    Ok(context_values(first(args)).map(|values| options.values.extend(values)))
}

fn context_values(value: &Value) -> Result<Vec<(String, Data)>, Error> {
    let wrong = || invalid("`values` must be a table with string keys");
    let Value::Table(_) = value else { return Err(wrong()) };
    let Data::Table(table) = convert::from_lua("values", value)? else { return Err(wrong()) };
    if !table.array.is_empty() {
        return Err(wrong());
    }
    let named = |(key, value): (Data, Data)| Ok((key.as_str().ok_or_else(wrong)?.to_owned(), value));
    table.fields.into_iter().map(named).collect()
}

fn with_actor(host: &Host, options: &mut SpawnOptions, args: &[Value]) -> mlua::Result<Result<(), Error>> {
    let Some(actor) = actor_of(first(args)) else {
        return Ok(Err(invalid(format!("`actor` must be an actor, got {}", first(args).type_name()))));
    };
    let allowed = allowed(host, "process.security", "security")?;
    Ok(allowed.map(|()| options.actor = Some(actor)))
}

fn with_scope(host: &Host, options: &mut SpawnOptions, args: &[Value]) -> mlua::Result<Result<(), Error>> {
    let Some(scope) = scope_of(first(args)) else {
        return Ok(Err(invalid(format!("`scope` must be a scope, got {}", first(args).type_name()))));
    };
    let allowed = allowed(host, "process.security", "security")?;
    Ok(allowed.map(|()| options.scope = Some(scope)))
}

fn with_name(host: &Host, options: &mut SpawnOptions, args: &[Value]) -> mlua::Result<Result<(), Error>> {
    let name = match super::name_in(first(args), &Value::Nil) {
        Ok(name) => name,
        Err(error) => return Ok(Err(error)),
    };
    let allowed = allowed(host, "process.registry.register", &name)?;
    Ok(allowed.map(|()| options.name = Some(name)))
}

fn with_message(_: &Host, options: &mut SpawnOptions, args: &[Value]) -> mlua::Result<Result<(), Error>> {
    let read = || {
        let topic = topic(first(args))?;
        let payloads = payloads(args.get(1..).unwrap_or_default())?;
        Ok(payloads.into_iter().map(move |payload| (Arc::clone(&topic), payload)))
    };
    Ok(read().map(|messages| options.messages.extend(messages)))
}

/// The one documented option chooses a network, and none is offered.
fn with_options(host: &Host, _: &mut SpawnOptions, args: &[Value]) -> mlua::Result<Result<(), Error>> {
    if let Err(error) = allowed(host, "process.context", "context")? {
        return Ok(Err(error));
    }
    let Value::Table(options) = first(args) else {
        return Ok(Err(invalid("`options` must be a table")));
    };
    if let Some(pair) = options.pairs::<Value, Value>().next() {
        let (name, _) = pair?;
        let name = name.to_string()?;
        return Ok(Err(match name.as_str() {
            "network" => Error::new(ErrorKind::Unavailable, "network overlays are not offered"),
            _ => invalid(format!("there is no option `{name}`")),
        }));
    }
    Ok(Ok(()))
}
