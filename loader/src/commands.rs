//! The commands of the `loader` binary. Results go to stdout, everything else to stderr.

#[cfg(feature = "lua")]
mod notify;
#[cfg(feature = "lua")]
mod run;
#[cfg(feature = "lua")]
mod serve;

use std::io::Write;
use std::mem::ManuallyDrop;
use std::path::Path;

use loader::config::{Allocation, LogTimes, Ticking};
use loader::settings::{Effect, Listed, SettingsError, Source};
use loader::trust::{DenyList, Trust, VerifyKey};
use loader::{Context, Error, ErrorKind, Loader, LoaderBuilder, OpenError, Sealing, Type, Val, values};

use registry_schema::suggest::nearest;

#[cfg(feature = "lua")]
use crate::cli::Run;
use crate::cli::{Arguments, Command, Options, Tracing};
use crate::{completions, explain};

/// Exit codes of the binary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The call ended in an error, or the check found faults.
    Failed,
    /// Wrong arguments.
    Usage,
    /// The bundle can't be used.
    Surroundings,
    /// What a command said itself.
    #[cfg(feature = "lua")]
    Command(u8),
}

impl Exit {
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Surroundings => 3,
            #[cfg(feature = "lua")]
            Self::Command(code) => i32::from(code),
        }
    }
}

/// Prints to stdout; a reader that went away ends it quietly.
pub(crate) fn print(text: &str) -> Exit {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            complain(&format!("can't write the result: {error}"));
            Exit::Surroundings
        }
    }
}

/// Prints an error to stderr.
pub(crate) fn complain(message: &str) {
    // Nowhere is left to report a closed standard error to.
    let _ = writeln!(std::io::stderr().lock(), "error: {message}");
}

/// What the options demand of the bundle; what can't be read refuses every bundle.
fn trust(options: &Options) -> Result<Trust, String> {
    let mut keys = Vec::new();
    for path in &options.verify_keys {
        let key = VerifyKey::read(path);
        keys.push(key.map_err(|error| format!("can't use the key `{}`: {error}", path.display()))?);
        if VerifyKey::is_writable_by_others(path) {
            let _ = writeln!(
                std::io::stderr().lock(),
                "warning: others than its owner can write `{}`, and decide which bundles run",
                path.display()
            );
        }
    }
    let denied = options.deny_list.as_ref().map_or(Ok(DenyList::default()), |path| {
        let list = DenyList::read(path);
        list.map_err(|error| format!("can't use the deny list `{}`: {error}", path.display()))
    })?;
    Ok(Trust { keys, minimum_compiler: options.minimum_compiler, denied })
}

/// Why there is no loader.
struct Refused {
    message: String,
    exit: Exit,
}

/// What a loader is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// One answer.
    Once,
    /// A process at the terminal.
    #[cfg(feature = "lua")]
    Command,
    /// Everything that the bundle serves.
    #[cfg(feature = "lua")]
    Serve,
}

impl Purpose {
    fn of(command: &Command) -> Self {
        match command {
            #[cfg(feature = "lua")]
            Command::Run(what) if matches!(**what, Run::Serve(_)) => Self::Serve,
            #[cfg(feature = "lua")]
            Command::Run(_) => Self::Command,
            _ => Self::Once,
        }
    }

    fn ticking(self) -> Ticking {
        match self {
            Self::Once => Ticking::ForDeadlines,
            #[cfg(feature = "lua")]
            Self::Command | Self::Serve => Ticking::Always,
        }
    }

    fn allocation(self) -> Allocation {
        match self {
            Self::Once => Allocation::OnDemand,
            #[cfg(feature = "lua")]
            Self::Command => Allocation::OnDemand,
            #[cfg(feature = "lua")]
            Self::Serve => Allocation::Reserved,
        }
    }
}

/// Opens the bundle as `options` say. Keys and lists are read each time.
fn open(options: &Options, purpose: Purpose, builder: LoaderBuilder) -> Result<Loader, Refused> {
    let trust = trust(options).map_err(|message| Refused { message, exit: Exit::Surroundings })?;
    let settings = loader::Options {
        sealing: options.sealing.value,
        ticking: purpose.ticking(),
        allocation: purpose.allocation(),
        root: options.root.value.clone(),
        trust,
        overrides: options.overrides.clone(),
        log_times: LogTimes::LeftOut,
        ..loader::Options::default()
    };
    let opened = builder.options(settings).open(&options.bundle.value);
    opened.map_err(|error| Refused { message: error.to_string(), exit: exit_of(&error) })
}

pub(crate) fn run(options: &Options, command: Command) -> Exit {
    #[cfg(feature = "lua")]
    let started = std::time::Instant::now();
    let loader = match open(options, Purpose::of(&command), Loader::builder()) {
        // Kept until the process ends, see `main`.
        Ok(loader) => ManuallyDrop::new(loader),
        Err(refused) => {
            complain(&refused.message);
            return refused.exit;
        }
    };
    match command {
        Command::List => list(&loader),
        Command::Verify => verify(&loader),
        Command::Config => config(&loader, options),
        #[cfg(feature = "lua")]
        Command::Run(what) => run::run(loader, options, started, &what),
        Command::Call { id, arguments, tracing } => call(&loader, &id, &arguments, tracing),
    }
}

/// Explains one code, or lists all.
pub(crate) fn explain(code: Option<&str>) -> Exit {
    let Some(code) = code else {
        return print(
            &explain::CATALOGUE.iter().map(|explained| format!("{}\n", explained.code)).collect::<String>(),
        );
    };
    match explain::explain(code) {
        Some(text) => print(&text),
        None => {
            let nearest = nearest(code, explain::CATALOGUE.iter().map(|explained| explained.code));
            let hint = nearest.map(|code| format!("\nhint: did you mean `{code}`?")).unwrap_or_default();
            complain(&format!("there is no code `{code}`{hint}"));
            Exit::Usage
        }
    }
}

/// Prints the script of a shell.
pub(crate) fn completions(shell: &str) -> Exit {
    match completions::script(shell) {
        Some(script) => print(script),
        None => {
            complain(&format!(
                "no completions for `{shell}`, expected one of {}",
                completions::SHELLS.join(", ")
            ));
            Exit::Usage
        }
    }
}

/// Prints what the last of `words` can become, each on a line.
pub(crate) fn complete(words: &[String]) -> Exit {
    print(&completions::candidates(words).iter().map(|word| format!("{word}\n")).collect::<String>())
}

/// Wrong flags are the caller's fault, all else is the surroundings'.
fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::Settings(SettingsError { problems })
            if problems.iter().all(|problem| matches!(problem.source, Source::Flag(_))) =>
        {
            Exit::Usage
        }
        _ => Exit::Surroundings,
    }
}

/// Every setting, its value as JSON where it has one, and its source.
fn config(loader: &Loader, options: &Options) -> Exit {
    let path = |path: &Path| format!("{:?}", path.display().to_string());
    let root = options.root.value.as_deref().map_or("(unset)".to_owned(), path);
    let sealed = (options.sealing.value == Sealing::Always).to_string();
    let mut rows = vec![
        ("bundle", path(&options.bundle.value), options.bundle.source.to_string()),
        ("root", root, options.root.source.to_string()),
        ("seal", sealed, options.sealing.source.to_string()),
    ];
    let keys: Vec<String> = options.verify_keys.iter().map(|key| path(key)).collect();
    let demanded = [
        ("verify-key", "--verify-key", (!keys.is_empty()).then(|| keys.join(", "))),
        (
            "minimum-compiler",
            "--minimum-compiler",
            options.minimum_compiler.map(|version| version.to_string()),
        ),
        ("deny-list", "--deny-list", options.deny_list.as_deref().map(path)),
    ];
    for (name, flag, value) in demanded {
        let source = if value.is_some() { Source::Flag(flag) } else { Source::Default };
        rows.push((name, value.unwrap_or_else(|| "(unset)".to_owned()), source.to_string()));
    }
    for Listed { path, value, source, effect } in loader.settings().listed() {
        let effect = match effect {
            Effect::Applied => "",
            Effect::None => ", no effect",
        };
        rows.push((path, value.clone(), format!("{source}{effect}")));
    }
    let width = |column: fn(&(&str, String, String)) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (paths, values) = (width(|row| row.0.len()), width(|row| row.1.chars().count()));
    let mut out = String::new();
    for (path, value, source) in &rows {
        out.push_str(&format!("{path:<paths$}  {value:<values$}  {source}\n"));
    }
    print(&out)
}

fn unusable(error: &Error) -> Exit {
    complain(&error.to_string());
    Exit::Surroundings
}

fn list(loader: &Loader) -> Exit {
    let entries = match loader.entries() {
        Ok(entries) => entries,
        Err(error) => return unusable(&error),
    };
    let mut out = String::new();
    let width = entries.iter().map(|entry| entry.id.to_string().len()).max().unwrap_or(0);
    for entry in entries {
        let what = match (&entry.unavailable, entry.signature) {
            (Some(reason), _) => format!("unavailable: {reason}"),
            // Processes are spawned, not called.
            _ if entry.kind.starts_with("process.") => continue,
            (None, Some(signature)) => signature.to_string(),
            (None, None) if entry.kind == "function.lua" => "Lua".to_owned(),
            (None, None) => continue,
        };
        out.push_str(&format!("{:<width$}  {what}\n", entry.id.to_string()));
    }
    print(&out)
}

fn verify(loader: &Loader) -> Exit {
    let verified = match loader.verify() {
        Ok(verified) => verified,
        Err(error) => return unusable(&error),
    };
    for (target, why) in loader.bundle().passed_over() {
        let _ = writeln!(std::io::stderr().lock(), "note: `{target}` is not used: {why}");
    }
    for (id, reason) in &verified.unavailable {
        let _ = writeln!(std::io::stderr().lock(), "note: `{id}` is not offered here: {reason}");
    }
    for fault in &verified.faults {
        match fault {
            loader::Fault::File { path, problem } => complain(&format!("`{path}`: {problem}")),
            loader::Fault::Entry { problem, .. } => complain(problem),
        }
    }
    if !verified.faults.is_empty() {
        return Exit::Failed;
    }
    let target = loader.bundle().target().map_or("no artifacts".to_owned(), |target| target.to_string());
    print(&format!("{} files and {} entries are good ({target})\n", verified.files, verified.entries))
}

fn call(loader: &Loader, id: &str, arguments: &Arguments, tracing: Tracing) -> Exit {
    let outcome = match tracing {
        Tracing::Off => call_in(loader, id, arguments, Context::default()),
        Tracing::Tree => traced(loader, id, arguments),
    };
    match outcome {
        Ok(text) => print(&text),
        Err(error) => {
            complain(&error.to_string());
            for (depth, frame) in error.backtrace().iter().enumerate() {
                let _ = writeln!(std::io::stderr().lock(), "  {depth}: {frame}");
            }
            for loader::Frame { source, line, name } in error.stack().map_or(&[][..], |stack| &stack.frames) {
                let _ = writeln!(std::io::stderr().lock(), "  {source}:{line}: in {name}");
            }
            Exit::Failed
        }
    }
}

/// Calls, and prints the tree of nested calls.
#[cfg(feature = "telemetry")]
fn traced(loader: &Loader, id: &str, arguments: &Arguments) -> Result<String, Error> {
    let trace = loader::Trace::default();
    let outcome = call_in(loader, id, arguments, Context::default().with_trace(&trace));
    let _ = std::io::stderr().lock().write_all(trace.tree().as_bytes());
    outcome
}

#[cfg(not(feature = "telemetry"))]
fn traced(_: &Loader, _: &str, _: &Arguments) -> Result<String, Error> {
    Err(Error::new(ErrorKind::Unavailable, "`--trace` needs a loader built with the feature `telemetry`"))
}

fn call_in(loader: &Loader, id: &str, arguments: &Arguments, context: Context) -> Result<String, Error> {
    #[cfg(feature = "lua")]
    if loader.is_lua(id)? {
        return call_lua(loader, id, arguments, context);
    }
    call_wasm(loader, id, arguments, context)
}

/// Arguments are JSON, or text where they are none; the result is JSON.
#[cfg(feature = "lua")]
fn call_lua(loader: &Loader, id: &str, arguments: &Arguments, context: Context) -> Result<String, Error> {
    use loader::Data;
    let args = match arguments {
        Arguments::Wave(texts) => texts
            .iter()
            .map(|text| match serde_json::from_str::<serde_json::Value>(text) {
                Ok(json) => Data::from(&json),
                Err(_) => Data::from(text.as_str()),
            })
            .collect(),
        Arguments::Json(text) => json_arguments(text)?.iter().map(Data::from).collect(),
    };
    let value = loader.call_data_blocking(id, args, context)?;
    match (&value, arguments) {
        (Data::Nil, Arguments::Wave(_)) => Ok(String::new()),
        (value, _) => Ok(value.to_json().map_err(invalid)?.to_string() + "\n"),
    }
}

fn json_arguments(text: &str) -> Result<Vec<serde_json::Value>, Error> {
    let json =
        serde_json::from_str(text).map_err(|error| invalid(format!("`--json` is no JSON: {error}")))?;
    match json {
        serde_json::Value::Array(items) => Ok(items),
        _ => Err(invalid("`--json` takes an array".into())),
    }
}

fn call_wasm(loader: &Loader, id: &str, arguments: &Arguments, context: Context) -> Result<String, Error> {
    loader.function(id).and_then(|function| {
        let args = read_arguments(id, function.params(), arguments)?;
        let value = loader.call_with_context_blocking(id, &args, context)?;
        let text = match (value, arguments) {
            (None, Arguments::Wave(_)) => return Ok(String::new()),
            (None, Arguments::Json(_)) => "null".to_owned(),
            (Some(value), Arguments::Wave(_)) => values::wave::print(&value).map_err(invalid)?,
            (Some(value), Arguments::Json(_)) => values::json::print(&value).map_err(invalid)?,
        };
        Ok(text + "\n")
    })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn read_arguments(id: &str, params: &[(String, Type)], arguments: &Arguments) -> Result<Vec<Val>, Error> {
    let count = |found: usize| {
        if found == params.len() {
            return Ok(());
        }
        let names: Vec<&str> = params.iter().map(|(name, _)| name.as_str()).collect();
        let usage = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        Err(invalid(format!("`{id}` takes {} arguments{usage}; {found} were given", params.len())))
    };
    match arguments {
        Arguments::Wave(texts) => {
            count(texts.len())?;
            let pairs = params.iter().zip(texts);
            pairs
                .map(|((name, ty), text)| {
                    values::wave::parse(text, ty).map_err(|problem| invalid(format!("{name}: {problem}")))
                })
                .collect()
        }
        Arguments::Json(text) => {
            let items = json_arguments(text)?;
            count(items.len())?;
            let pairs = params.iter().zip(&items);
            pairs.map(|((name, ty), item)| values::json::parse(name, item, ty).map_err(invalid)).collect()
        }
    }
}
