//! Arguments of the `loader` binary.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use loader::Sealing;
use loader::settings::{Overrides, Source};
use loader::trust::CompilerVersion;
#[cfg(feature = "lua")]
use registry_schema::EntryId;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Runs a bundle of precompiled WebAssembly components and Lua.

Usage: loader [OPTIONS] COMMAND

Commands:
  list                             callable ids with their signatures, and what is not offered here
  call ID [ARG...]                 call a function; arguments and result in WAVE, of Lua in JSON
  call ID --json '[ARG, ...]'      the same in JSON
  call --trace ID [ARG...]         the same, then the tree of nested calls and their times on stderr
  run [--preload]                  start services that start on their own, serve until a signal
  run list                         commands of the bundle
  run [--host ID] NAME [ARG...]    run a command
  run -x ID [--host ID] [ARG...]   run a process at the terminal
  verify                           check every file, load and link every entry, run no guest
  config                           every setting with its value and where that came from
  explain [CODE]                   what an error means and how to mend it; all codes without one
  completions SHELL                a script for bash, zsh or fish

Options:
  --bundle DIR    bundle to open [default: dist; WIPPY_BUNDLE]
  --root DIR      folder that relative paths of entries start from
                  [default: the working directory; WIPPY_ROOT]
  --seal          map artifacts from sealed copies, never from their files [WIPPY_SEAL]
  --ca-file FILE  trust these certificates too where connections go out; may be repeated
                  [setting tls.ca_files; SSL_CERT_FILE]
  --verify-key FILE           refuse bundles that this key has not signed; may be repeated
  --minimum-compiler VERSION  refuse bundles of an older compiler
  --deny-list FILE            refuse what the list names
  --set SECTION.KEY=VALUE
                  set a value of `.wippy.yaml` [WIPPY_SECTION_KEY]
  --log-level L   debug, info, warn, error or off, also `PREFIX=L,...` [default: info; WIPPY_LOG]
  --log-format F  text or json [default: text; WIPPY_LOG_FORMAT]
  -h, --help      print this help
  -V, --version   print the version

A flag wins over its variable, that over `.wippy.yaml` as built, that over the default.
Exit codes: 0 done, 1 the call or the check failed, 2 bad usage, 3 the bundle can't be used;
`run NAME`: what the command says.
";

/// What was asked for.
pub(crate) enum Request {
    Help,
    Version,
    /// One code, or the list of all.
    Explain(Option<String>),
    Completions(String),
    /// What the last word can become: asked by the scripts of `completions`, and for nobody to type.
    Complete(Vec<String>),
    Command(Box<Options>, Command),
}

/// Options of every command.
pub(crate) struct Options {
    pub(crate) bundle: Sourced<PathBuf>,
    pub(crate) root: Sourced<Option<PathBuf>>,
    pub(crate) sealing: Sourced<Sealing>,
    pub(crate) verify_keys: Vec<PathBuf>,
    pub(crate) minimum_compiler: Option<CompilerVersion>,
    pub(crate) deny_list: Option<PathBuf>,
    /// Settings from flags and the environment.
    pub(crate) overrides: Overrides,
}

/// A value, and where it came from.
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

impl<T> Sourced<T> {
    /// The value of the variable `name`, if it is set, else `default`.
    fn new(name: &str, default: T, read: impl FnOnce(OsString) -> T) -> Self {
        match std::env::var_os(name).filter(|text| !text.is_empty()) {
            Some(text) => Self { value: read(text), source: Source::Environment(name.to_owned()) },
            None => Self { value: default, source: Source::Default },
        }
    }

    fn set(&mut self, flag: &'static str, value: T) {
        *self = Self { value, source: Source::Flag(flag) };
    }
}

impl Options {
    /// What holds without flags.
    fn from_environment() -> Self {
        Self {
            bundle: Sourced::new("WIPPY_BUNDLE", "dist".into(), Into::into),
            root: Sourced::new("WIPPY_ROOT", None, |text| Some(text.into())),
            // What is not plainly off is on: sealing is the safer.
            sealing: Sourced::new("WIPPY_SEAL", Sealing::WhereNeeded, |text| {
                if text == "false" || text == "0" { Sealing::WhereNeeded } else { Sealing::Always }
            }),
            verify_keys: Vec::new(),
            minimum_compiler: None,
            deny_list: None,
            overrides: Overrides::from_environment(),
        }
    }

    fn set(&mut self, change: impl FnOnce(Overrides) -> Overrides) {
        self.overrides = change(std::mem::take(&mut self.overrides));
    }
}

/// The commands.
pub(crate) enum Command {
    List,
    Verify,
    Config,
    Call {
        id: String,
        arguments: Arguments,
        tracing: Tracing,
    },
    #[cfg(feature = "lua")]
    Run(Box<Run>),
}

/// What `run` is asked for.
#[cfg(feature = "lua")]
pub(crate) enum Run {
    /// All services.
    Serve(Preload),
    /// The commands, listed.
    List,
    /// A command.
    Named { name: String, host: Option<EntryId>, args: Vec<String> },
    /// A process by its id.
    Entry { id: EntryId, host: Option<EntryId>, args: Vec<String> },
}

/// Whether everything is checked before anything starts.
#[cfg(feature = "lua")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preload {
    Yes,
    No,
}

/// Whether a call's nested calls are shown.
#[derive(Clone, Copy)]
pub(crate) enum Tracing {
    Off,
    Tree,
}

/// How the arguments of a call are written.
pub(crate) enum Arguments {
    Wave(Vec<String>),
    Json(String),
}

pub(crate) fn parse(mut parser: Parser) -> Result<Request, lexopt::Error> {
    let mut options = Options::from_environment();
    let name = loop {
        match parser.next()? {
            Some(Arg::Value(name)) => break name.string()?,
            Some(arg) => {
                let flag = flag(arg)?;
                if let Some(request) = apply(&mut options, &flag, &mut parser)? {
                    return Ok(request);
                }
            }
            None => return Err("a command is missing".into()),
        }
    };
    let command = match name.as_str() {
        "list" => Command::List,
        "verify" => Command::Verify,
        "config" => Command::Config,
        "call" => return call(options, parser),
        "explain" => return word(&mut parser).map(Request::Explain),
        "completions" => {
            let shell = word(&mut parser)?;
            return Ok(Request::Completions(shell.ok_or("`completions` needs a shell: bash, zsh or fish")?));
        }
        "complete" => return rest(&mut parser).map(Request::Complete),
        #[cfg(feature = "lua")]
        "run" => return run(options, parser),
        other => return Err(format!("unknown command `{other}`").into()),
    };
    while let Some(arg) = parser.next()? {
        let flag = flag(arg)?;
        if let Some(request) = apply(&mut options, &flag, &mut parser)? {
            return Ok(request);
        }
    }
    Ok(Request::Command(Box::new(options), command))
}

/// The one word that may follow, and nothing else.
fn word(parser: &mut Parser) -> Result<Option<String>, lexopt::Error> {
    let word = match parser.next()? {
        None => return Ok(None),
        Some(Arg::Value(word)) => word.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    match parser.next()? {
        None => Ok(Some(word)),
        Some(other) => Err(other.unexpected()),
    }
}

/// Options that every command has.
enum Flag {
    Bundle,
    Root,
    Seal,
    CaFile,
    VerifyKey,
    MinimumCompiler,
    DenyList,
    Set,
    LogLevel,
    LogFormat,
    Help,
    Version,
}

fn flag(arg: Arg<'_>) -> Result<Flag, lexopt::Error> {
    Ok(match arg {
        Arg::Long("bundle") => Flag::Bundle,
        Arg::Long("root") => Flag::Root,
        Arg::Long("seal") => Flag::Seal,
        Arg::Long("ca-file") => Flag::CaFile,
        Arg::Long("verify-key") => Flag::VerifyKey,
        Arg::Long("minimum-compiler") => Flag::MinimumCompiler,
        Arg::Long("deny-list") => Flag::DenyList,
        Arg::Long("set") => Flag::Set,
        Arg::Long("log-level") => Flag::LogLevel,
        Arg::Long("log-format") => Flag::LogFormat,
        Arg::Short('h') | Arg::Long("help") => Flag::Help,
        Arg::Short('V') | Arg::Long("version") => Flag::Version,
        other => return Err(other.unexpected()),
    })
}

/// Takes an option's value; answers the request that ends parsing.
fn apply(options: &mut Options, flag: &Flag, parser: &mut Parser) -> Result<Option<Request>, lexopt::Error> {
    match flag {
        Flag::VerifyKey => options.verify_keys.push(parser.value()?.into()),
        Flag::MinimumCompiler => options.minimum_compiler = Some(parser.value()?.parse()?),
        Flag::DenyList => options.deny_list = Some(parser.value()?.into()),
        Flag::Bundle => options.bundle.set("--bundle", parser.value()?.into()),
        Flag::Root => options.root.set("--root", Some(parser.value()?.into())),
        Flag::Seal => options.sealing.set("--seal", Sealing::Always),
        Flag::CaFile => {
            let file = parser.value()?.string()?;
            options.set(|overrides| overrides.add("--ca-file", "tls.ca_files", &file));
        }
        Flag::Set => {
            let argument = parser.value()?.string()?;
            options.overrides = std::mem::take(&mut options.overrides).set(&argument)?;
        }
        Flag::LogLevel => {
            let level = parser.value()?.string()?;
            options.set(|overrides| overrides.flag("--log-level", "logger.level", &level));
        }
        Flag::LogFormat => {
            let format = parser.value()?.string()?;
            options.set(|overrides| overrides.flag("--log-format", "logger.encoding", &format));
        }
        Flag::Help => return Ok(Some(Request::Help)),
        Flag::Version => return Ok(Some(Request::Version)),
    }
    Ok(None)
}

/// `call`: after the id everything is an argument, so that `-7` is a number and no option; but for
/// `--trace` and `--json`, which come first.
fn call(mut options: Options, mut parser: Parser) -> Result<Request, lexopt::Error> {
    let mut tracing = Tracing::Off;
    let id = loop {
        match parser.next()? {
            Some(Arg::Value(id)) => break id.string()?,
            Some(Arg::Long("trace")) => tracing = Tracing::Tree,
            Some(arg) => {
                let flag = flag(arg)?;
                if let Some(request) = apply(&mut options, &flag, &mut parser)? {
                    return Ok(request);
                }
            }
            None => return Err("`call` needs an id".into()),
        }
    };
    let rest: Vec<OsString> = parser.raw_args()?.collect();
    let mut rest: Vec<String> = rest.into_iter().map(ValueExt::string).collect::<Result<_, _>>()?;
    if rest.first().is_some_and(|first| first == "--trace") {
        tracing = Tracing::Tree;
        rest.remove(0);
    }
    let arguments = match rest.first().map(String::as_str) {
        Some("--json") => match <[String; 2]>::try_from(rest) {
            Ok([_, json]) => Arguments::Json(json),
            Err(_) => return Err("`--json` takes one array: `--json '[1, \"two\"]'`".into()),
        },
        Some("--") => Arguments::Wave(rest[1..].to_vec()),
        _ => Arguments::Wave(rest),
    };
    Ok(Request::Command(Box::new(options), Command::Call { id, arguments, tracing }))
}

/// `run`: after the command's name or id everything is its argument.
#[cfg(feature = "lua")]
fn run(mut options: Options, mut parser: Parser) -> Result<Request, lexopt::Error> {
    let (mut preload, mut host) = (Preload::No, None);
    let run = loop {
        match parser.next()? {
            Some(Arg::Long("preload")) => preload = Preload::Yes,
            Some(Arg::Long("host")) => host = Some(parser.value()?.parse()?),
            Some(Arg::Short('x') | Arg::Long("exec")) => {
                let id = parser.value()?.parse()?;
                host = own_host(&mut parser)?.or(host);
                break Run::Entry { id, host, args: rest(&mut parser)? };
            }
            Some(Arg::Value(name)) => {
                let name = name.string()?;
                match name.as_str() {
                    "list" => break Run::List,
                    _ => break Run::Named { name, host, args: rest(&mut parser)? },
                }
            }
            Some(arg) => {
                let flag = flag(arg)?;
                if let Some(request) = apply(&mut options, &flag, &mut parser)? {
                    return Ok(request);
                }
            }
            None => break Run::Serve(preload),
        }
    };
    Ok(Request::Command(Box::new(options), Command::Run(Box::new(run))))
}

/// `--host` behind the id that `-x` names, which is the one option that may stand there.
#[cfg(feature = "lua")]
fn own_host(parser: &mut Parser) -> Result<Option<EntryId>, lexopt::Error> {
    let Some(mut words) = parser.try_raw_args() else { return Ok(None) };
    let Some(word) = words.peek().and_then(|word| word.to_str()).map(str::to_owned) else { return Ok(None) };
    let id = match word.split_once('=') {
        Some(("--host", id)) => Some(id.to_owned()),
        _ if word == "--host" => None,
        _ => return Ok(None),
    };
    words.next();
    let id = match id {
        Some(id) => id,
        None => words.next().ok_or("`--host` needs the id of a terminal host")?.string()?,
    };
    Ok(Some(id.parse().map_err(|error| format!("`--host`: {error}"))?))
}

/// Everything that follows, as text.
fn rest(parser: &mut Parser) -> Result<Vec<String>, lexopt::Error> {
    let mut rest: Vec<String> = parser.raw_args()?.map(ValueExt::string).collect::<Result<_, _>>()?;
    if rest.first().is_some_and(|first| first == "--") {
        rest.remove(0);
    }
    Ok(rest)
}
