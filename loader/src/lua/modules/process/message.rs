//! Messages and events as Lua sees them.

use mlua::{AnyUserData, Lua, UserData, UserDataMethods, Value};

use crate::error::Error;
use crate::lua::modules::payload;
use crate::lua::{convert, error};
use crate::process::{Event, Exit, Message};

/// A message; its payload is its user value.
struct MessageObject {
    topic: String,
    from: Option<String>,
}

impl UserData for MessageObject {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("topic", |_, this, ()| Ok(this.topic.clone()));
        methods.add_method("from", |_, this, ()| Ok(this.from.clone()));
        methods.add_function("payload", |_, this: AnyUserData| {
            this.borrow::<Self>()?;
            this.nth_user_value::<Value>(1)
        });
    }
}

/// A message object.
pub(super) fn message_to_lua(lua: &Lua, message: Message) -> mlua::Result<Value> {
    let payload = payload::new(lua, convert::to_lua(lua, &message.payload)?)?;
    let from = message.from.map(|from| from.to_string());
    let object = lua.create_userdata(MessageObject { topic: message.topic.to_string(), from })?;
    object.set_nth_user_value(1, payload)?;
    Ok(Value::UserData(object))
}

/// A table with the documented fields.
pub(super) fn event_to_lua(lua: &Lua, event: &Event) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    match event {
        Event::Exit { from, exit } => {
            table.set("kind", "pid.exit")?;
            table.set("from", from.to_string())?;
            table.set("result", result_to_lua(lua, exit)?)?;
        }
        Event::LinkDown { from, exit } => {
            table.set("kind", "pid.link.down")?;
            table.set("from", from.to_string())?;
            table.set("result", result_to_lua(lua, exit)?)?;
        }
        Event::Cancel { from, reason } => {
            table.set("kind", "pid.cancel")?;
            table.set("from", from.as_ref().map(ToString::to_string))?;
            table.set("reason", reason.as_deref())?;
        }
    }
    Ok(Value::Table(table))
}

fn result_to_lua(lua: &Lua, exit: &Exit) -> mlua::Result<Value> {
    let result = lua.create_table()?;
    match exit {
        Ok(value) => result.set("value", convert::to_lua(lua, value)?)?,
        Err(problem) => result.set("error", error_to_lua(lua, problem)?)?,
    }
    Ok(Value::Table(result))
}

fn error_to_lua(lua: &Lua, problem: &Error) -> mlua::Result<Value> {
    error::to_lua(lua, problem.clone())
}
