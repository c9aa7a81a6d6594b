//! The module `io` (`en/lua/system/io.md`): the terminal of a process that a `terminal.host` runs.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};
use registry_schema::ErrorKind;

use super::blocking::blocking;
use crate::config::{TERMINAL_LINE_BYTES_MAX, TERMINAL_READ_BYTES, TERMINAL_READ_BYTES_MAX};
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Host};
use crate::process::Terminal;

pub(in crate::lua) fn module(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    writer(lua, host, &module, "write", "", "", Terminal::write)?;
    writer(lua, host, &module, "print", "\t", "\n", Terminal::write)?;
    writer(lua, host, &module, "eprint", "\t", "\n", Terminal::write_error)?;
    let own = host.clone();
    let flush = move |lua: &Lua, ()| {
        let flushed = terminal(&own)?.and_then(|terminal| {
            terminal.flush().map(|()| true).map_err(|problem| failed("flush", &problem))
        });
        error::answer(lua, flushed)
    };
    module.set("flush", lua.create_function(flush)?)?;
    let own = host.clone();
    let args = move |lua: &Lua, ()| {
        let args = terminal(&own)?.map(|terminal| terminal.own_args().to_vec());
        error::answer(lua, args)
    };
    module.set("args", lua.create_function(args)?)?;
    let own = host.clone();
    let raw = move |lua: &Lua, enable: Option<bool>| {
        let change = if enable.unwrap_or(true) { Terminal::enter_raw } else { Terminal::leave_raw };
        let changed = terminal(&own)?.and_then(|terminal| match change(&terminal) {
            Ok(()) => Ok(true),
            Err(problem) if problem.kind() == std::io::ErrorKind::Unsupported => {
                Err(Error::new(ErrorKind::Unavailable, format!("there is no raw mode here: {problem}")))
            }
            Err(problem) => Err(failed("change the terminal's mode", &problem)),
        });
        error::answer(lua, changed)
    };
    module.set("raw", lua.create_function(raw)?)?;
    let read = host.waiting(lua, |lua, host, count: Option<i64>| {
        let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        let count = count.unwrap_or(TERMINAL_READ_BYTES).min(TERMINAL_READ_BYTES_MAX);
        reading(lua, host, move |terminal| {
            terminal.read(count).map(|bytes| (!bytes.is_empty()).then_some(bytes))
        })
    })?;
    module.set("read", read)?;
    let readline = host.waiting(lua, |lua, host, ()| {
        reading(lua, host, |terminal| terminal.read_line(TERMINAL_LINE_BYTES_MAX))
    })?;
    module.set("readline", readline)?;
    Ok(module)
}

/// The terminal of the process that runs.
fn terminal(host: &Host) -> mlua::Result<Result<Arc<Terminal>, Error>> {
    let terminal = host.with(|current| {
        let process = current.context.process()?;
        process.terminal.clone()
    })?;
    let missing = || Error::new(ErrorKind::Unavailable, "there is no terminal here");
    Ok(terminal.ok_or_else(missing))
}

fn failed(what: &str, problem: &std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("can't {what}: {problem}"))
}

/// Where a function writes to.
type Write = fn(&Terminal, &[u8]) -> std::io::Result<()>;

/// A function that writes its arguments as text, with `between` between them and `end` after them.
fn writer(
    lua: &Lua,
    host: &Host,
    module: &Table,
    name: &'static str,
    between: &'static str,
    end: &'static str,
    write: Write,
) -> mlua::Result<()> {
    let own = host.clone();
    let function = move |lua: &Lua, values: MultiValue| {
        let mut text = Vec::new();
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(between.as_bytes());
            }
            match value {
                Value::String(value) => text.extend_from_slice(&value.as_bytes()),
                value => text.extend_from_slice(value.to_string()?.as_bytes()),
            }
        }
        text.extend_from_slice(end.as_bytes());
        let written = terminal(&own)?.and_then(|terminal| {
            write(&terminal, &text).map(|()| true).map_err(|problem| failed("write", &problem))
        });
        error::answer(lua, written)
    };
    module.set(name, lua.create_function(function)?)
}

/// Reads on a thread that may block; the end of the input is an error, as in the documented loops.
fn reading(
    lua: &Lua,
    host: &Host,
    read: impl FnOnce(&Terminal) -> std::io::Result<Option<Vec<u8>>> + Send + 'static,
) -> mlua::Result<Answer> {
    let terminal = match terminal(host)? {
        Ok(terminal) => terminal,
        Err(problem) => return Ok(Answer::Now(error::pair(lua, problem)?)),
    };
    // What was written before is seen before anything is asked.
    let flushed = terminal.flush().map_err(|problem| failed("flush", &problem));
    let reading = blocking(move || {
        flushed?;
        match read(&terminal).map_err(|problem| failed("read", &problem))? {
            Some(bytes) => Ok(bytes),
            None => Err(Error::new(ErrorKind::Internal, "can't read: the input has ended")),
        }
    });
    Ok(Answer::later(reading, |lua, read| {
        let text = match read {
            Ok(bytes) => Ok(lua.create_string(bytes)?),
            Err(problem) => Err(problem),
        };
        error::answer(lua, text)
    }))
}
