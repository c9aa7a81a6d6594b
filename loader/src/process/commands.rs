//! Processes as commands of the command line (`en/wasm/processes.md`, "CLI Commands"; `en/tutorials/cli.md`).

use std::sync::Arc;

use registry_schema::authored::process::ProcessMeta;
use registry_schema::wit::Type as WitType;
use registry_schema::{EntryId, ErrorKind};
use serde::Deserialize;
use wasmtime::component::Val;

use super::run::{Arguments, Program};
use super::{Process, Spawn, Terminal};
use crate::bulk::Value;
use crate::context::Context;
use crate::data::Data;
use crate::error::Error;
use crate::loader::Loader;
use crate::values::wave;

/// A process that has a name on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandInfo {
    /// Its name.
    pub name: String,
    /// What it does, in a line; may be empty.
    pub short: String,
    /// Its entry.
    pub id: EntryId,
}

/// Why a command was not started.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// Its arguments are wrong: why, and how it is used.
    Usage(String),
    /// Something else.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its exit code.
    pub code: u8,
    /// What it returned, as it is printed.
    pub text: Option<String>,
    /// What went wrong.
    pub error: Option<Error>,
}

/// A command under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    process: Arc<Process>,
    answer: Answer,
}

/// What a command's return value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Of Lua: an exit code, or text.
    Lua,
    /// Of a guest: something to print.
    Value,
    /// Of `wasi:cli/run`: whether it went well. A guest that says no has said why itself.
    Status,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.terminate();
    }
}

impl Running {
    /// Asks it to end.
    pub fn cancel(&self, reason: &str) {
        self.process.cancel(None, Some(reason.to_owned()));
    }

    /// Ends it.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for its end.
    pub async fn outcome(&self) -> Outcome {
        match &*self.process.exited().await {
            Ok(value) => outcome(value, self.answer),
            Err(error) => match error.details().get("exit_status") {
                Some(Data::Integer(status)) => Outcome { code: low_byte(*status), text: None, error: None },
                _ if self.answer == Answer::Status && error.kind() == ErrorKind::Unknown => {
                    Outcome { code: 1, text: None, error: None }
                }
                _ => Outcome { code: 1, text: None, error: Some(error.clone()) },
            },
        }
    }
}

/// What the shell sees of an exit code.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the system keeps no more of it")]
fn low_byte(status: i64) -> u8 {
    status as u8
}

/// The outcome of a command that returned `value`.
fn outcome(value: &Data, answer: Answer) -> Outcome {
    let code = |code| Outcome { code, text: None, error: None };
    let text = |text: String| Outcome { code: 0, text: Some(text), error: None };
    match value {
        Data::Nil => code(0),
        Data::String(bytes) => text(String::from_utf8_lossy(bytes).into_owned()),
        value if answer != Answer::Lua => match value.to_json() {
            Ok(json) => text(json.to_string()),
            Err(problem) => {
                Outcome { code: 1, text: None, error: Some(Error::new(ErrorKind::Invalid, problem)) }
            }
        },
        Data::Bool(true) => code(0),
        Data::Bool(false) => code(1),
        Data::Integer(status) => code(low_byte(*status)),
        _ => code(0),
    }
}

impl Loader {
    /// The commands of the bundle, sorted by name.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub fn commands(&self) -> Result<Vec<CommandInfo>, Error> {
        let mut commands = Vec::new();
        for entry in self.bundle().manifest().entries() {
            let entry = entry?;
            if !entry.kind.starts_with("process.") || !entry.meta.contains_key("command") {
                continue;
            }
            let meta = serde_json::Value::Object(entry.meta);
            // What is no command's description is metadata that somebody else reads.
            if let Ok(ProcessMeta { command: Some(command) }) = ProcessMeta::deserialize(&meta) {
                let short = command.short.unwrap_or_default();
                commands.push(CommandInfo { name: command.name, short, id: entry.id });
            }
        }
        commands.sort_by(|one, other| one.name.cmp(&other.name).then_with(|| one.id.cmp(&other.id)));
        Ok(commands)
    }

    /// The `terminal.host` that commands run on, if there is exactly one.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none, `INVALID` when there are several.
    pub fn terminal_host(&self) -> Result<EntryId, Error> {
        let mut hosts = Vec::new();
        for entry in self.bundle().manifest().entries() {
            let entry = entry?;
            if entry.kind == "terminal.host" {
                hosts.push(entry.id);
            }
        }
        match hosts.as_slice() {
            [host] => Ok(host.clone()),
            [] => {
                let message =
                    "commands run on a `terminal.host`, and this bundle has none: add an entry of that kind";
                Err(Error::new(ErrorKind::NotFound, message))
            }
            [first, second, ..] => {
                let message = format!(
                    "there are several terminal hosts, `{first}` and `{second}`: choose one with `--host`"
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// Starts the process `id` on the terminal host `host`, called `name` on the command line. Texts in `args`
    /// become the parameters of a guest's method, converted by type; a method without parameters, and Lua, gets
    /// them as they are.
    ///
    /// # Errors
    /// [`Refused::Usage`] for arguments that don't fit the method's parameters, else why it can't run.
    pub fn start_command(
        &self,
        id: &EntryId,
        host: &EntryId,
        name: &str,
        args: &[String],
        terminal: Terminal,
    ) -> Result<Running, Refused> {
        let inner = self.inner();
        inner.closing.check_outer(id)?;
        let program = inner.program(id)?;
        let (values, answer) = match &program {
            Program::Lua(_) => {
                (Arguments::Data(args.iter().map(|arg| Data::from(arg.as_str())).collect()), Answer::Lua)
            }
            Program::Wasm(function) => {
                let prepared = function.prepared(inner)?;
                let signature = function.wasm.signature.as_ref();
                let params = signature.map_or(&[][..], |signature| signature.params.as_slice());
                let values = if prepared.params.is_empty() {
                    Ok(Vec::new())
                } else {
                    guest_arguments(&prepared.params, args)
                };
                let usage = |problem: String| {
                    let params = params.iter().map(|param| match &param.ty {
                        WitType::Option(_) => format!(" [{}: {}]", param.name, param.ty),
                        ty => format!(" <{}: {ty}>", param.name),
                    });
                    Refused::Usage(format!("{problem}\nusage: {name}{}", params.collect::<String>()))
                };
                let is_run = function.wasm.export.interface.as_deref().is_some_and(is_run);
                let answer = if is_run { Answer::Status } else { Answer::Value };
                (Arguments::Values(values.map_err(usage)?), answer)
            }
        };
        let mut spawn = Spawn::new(id.clone(), host.clone(), values, Context::default());
        spawn.terminal = Some(Arc::new(terminal));
        Ok(Running { process: inner.spawn(spawn)?, answer })
    }
}

/// Whether `interface` is that of commands, of any version.
fn is_run(interface: &str) -> bool {
    interface.starts_with("wasi:cli/run@")
}

/// The values of `texts` for parameters of these types. Options at the end may be left out.
fn guest_arguments(
    params: &[(String, wasmtime::component::Type)],
    texts: &[String],
) -> Result<Vec<Value>, String> {
    if texts.len() > params.len() {
        return Err(format!("{} arguments are expected, {} were given", params.len(), texts.len()));
    }
    let values = params.iter().enumerate().map(|(index, (name, ty))| match texts.get(index) {
        Some(text) => wave::parse(text, ty).map(Value::Val).map_err(|problem| format!("`{name}`: {problem}")),
        None if matches!(ty, wasmtime::component::Type::Option(_)) => Ok(Value::Val(Val::Option(None))),
        None => Err(format!("`{name}` is missing")),
    });
    values.collect()
}
