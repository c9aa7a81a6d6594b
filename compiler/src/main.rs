//! The `compiler` binary: parse, run, print, exit code.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use compiler::build::{BuildOptions, CheckOptions, Written, build, check};
use compiler::cache::{Cache, Caching};
use compiler::codes::Code;
use compiler::diagnostic::{Diagnostic, Severity, SourceFile, Strictness};
use compiler::inspect::diff::compare;
use compiler::inspect::{self, Contents, sbom};
use compiler::progress::Progress;
use compiler::report::{self, Format};
use compiler::sign::{KeyFiles, SignKey};
use compiler::types::types;
use registry_schema::Target;
use registry_schema::authored::wasm::Results;

mod cli;

use cli::{BuildArgs, CheckArgs, Cli, Command, Common, InspectArgs, MessageFormat, ResultsArg, TypesArgs};

/// Exit codes of the binary.
#[repr(u8)]
enum Exit {
    /// Done.
    Done = 0,
    /// There were errors.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The surroundings failed: a file can't be read or written.
    Surroundings = 3,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match cli.command {
        None => run_build(&cli.build),
        Some(Command::Build(args)) => run_build(&args),
        Some(Command::Check(args)) => run_check(&args),
        Some(Command::Inspect(args)) => run_inspect(&args),
        Some(Command::Types(args)) => run_types(&args),
        Some(Command::Keygen { file }) => run_keygen(&file),
        Some(Command::Schema) => print(&registry_schema::json_schema::definition_file_schema()),
        Some(Command::Explain { code }) => explain(&code),
    };
    ExitCode::from(exit as u8)
}

fn strictness(common: &Common) -> Strictness {
    if common.strict { Strictness::Strict } else { Strictness::Lenient }
}

fn results(argument: ResultsArg) -> Results {
    match argument {
        ResultsArg::Pair => Results::Pair,
        ResultsArg::Table => Results::Table,
    }
}

fn run_check(args: &CheckArgs) -> Exit {
    let diagnostics = check(
        &args.root,
        &CheckOptions { strictness: strictness(&args.common), profiles: args.profile.clone() },
    );
    say(&seen_from_here(diagnostics, &args.root), &args.common)
}

fn run_build(args: &BuildArgs) -> Exit {
    if let Some(jobs) = args.jobs
        && let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global()
    {
        return surroundings(&format!("can't start {jobs} threads: {error}"));
    }
    let targets = match (args.target.is_empty(), Target::host()) {
        (false, _) => args.target.clone(),
        (true, Some(host)) => vec![host],
        (true, None) => {
            complain("this machine is none that bundles run on; name one with `--target`");
            return Exit::Usage;
        }
    };
    let cache = match (args.no_cache, &args.cache_dir) {
        (true, _) => Caching::Off,
        (false, None) => Caching::in_default_folder(),
        (false, Some(folder)) => match Cache::open(folder) {
            Ok(cache) => Caching::On(cache),
            Err(error) => return surroundings(&format!("the cache can't be opened: {error}")),
        },
    };
    let sign_key = match args.sign_key.as_deref().map(read_key).transpose() {
        Ok(key) => key,
        Err(error) => return surroundings(&format!("{error:#}")),
    };
    let options = BuildOptions {
        out: args.out.clone(),
        targets,
        cache,
        strictness: strictness(&args.common),
        profiles: args.profile.clone(),
        results: results(args.results),
        sign_key,
    };
    let progress = if args.common.quiet { Progress::nothing() } else { Progress::on_stderr() };
    let start = std::time::Instant::now();
    let report = build(&args.root, &options, &progress);
    let diagnostics = seen_from_here(report.diagnostics, &args.root);
    let exit = say(&diagnostics, &args.common);
    if let (Some(written), false) = (&report.written, args.common.quiet) {
        let _ = writeln!(io::stderr(), "{}", summary(written, args, start.elapsed()));
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.code == Code::BundleWriteFailed) {
        return Exit::Surroundings;
    }
    exit
}

fn read_key(path: &Path) -> anyhow::Result<SignKey> {
    let key = SignKey::read(path)?;
    if SignKey::is_readable_by_others(path) {
        complain_warning(&format!("others than its owner can read the key `{}`", path.display()));
    }
    Ok(key)
}

fn run_keygen(file: &Path) -> Exit {
    match SignKey::generate(file) {
        Ok(KeyFiles { private, public }) => print(&format!(
            "private half, for `compiler build --sign-key`: {}\npublic half, for `loader --verify-key`: {}\n",
            private.display(),
            public.display()
        )),
        Err(error) => surroundings(&format!("{error:#}")),
    }
}

fn summary(written: &Written, args: &BuildArgs, took: std::time::Duration) -> String {
    format!(
        "{} entries in `{}`: {} compiled, {} from the cache, {:.1} MB of native code, {:.2} s",
        written.entries,
        args.out.display(),
        written.counts.compiled,
        written.counts.cached,
        written.artifact_bytes as f64 / 1e6,
        took.as_secs_f64()
    )
}

/// Names files as they are found from the working directory: editors and annotations open them there.
fn seen_from_here(mut diagnostics: Vec<Diagnostic>, root: &Path) -> Vec<Diagnostic> {
    if root == Path::new(".") {
        return diagnostics;
    }
    let mut files: HashMap<*const SourceFile, Arc<SourceFile>> = HashMap::new();
    for place in diagnostics.iter_mut().filter_map(|diagnostic| diagnostic.place.as_mut()) {
        let seen = files.entry(Arc::as_ptr(&place.file)).or_insert_with(|| {
            let path = root.join(&place.file.path).display().to_string();
            Arc::new(SourceFile { path, text: place.file.text.clone() })
        });
        place.file = Arc::clone(seen);
    }
    diagnostics
}

/// Prints diagnostics; people read them on stderr, programs on stdout.
fn say(diagnostics: &[Diagnostic], common: &Common) -> Exit {
    let printed = match common.message_format {
        MessageFormat::Human => {
            let stderr = io::stderr();
            let color = is_coloured(stderr.is_terminal(), std::env::var_os("NO_COLOR").as_deref());
            report::render(diagnostics, Format::Human { color }, &mut stderr.lock())
        }
        MessageFormat::Json => report::render(diagnostics, Format::Json, &mut io::stdout().lock()),
        MessageFormat::Github => report::render(diagnostics, Format::Github, &mut io::stdout().lock()),
    };
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            surroundings(&format!("can't write diagnostics: {error}"))
        }
        _ if failed => Exit::Failed,
        _ => Exit::Done,
    }
}

/// Colours are for terminals, unless `NO_COLOR` has any value but an empty one (<https://no-color.org>).
fn is_coloured(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

fn run_inspect(args: &InspectArgs) -> Exit {
    if let Some([old, new]) = args.diff.as_deref() {
        return run_diff(old, new, args.json);
    }
    let contents = match contents(&args.bundle) {
        Ok(contents) => contents,
        Err(problem) => return surroundings(&problem),
    };
    let text = match (args.json, args.sbom) {
        (_, true) => sbom::document(&contents),
        (true, _) => inspect::json(&contents),
        (false, false) => Ok(inspect::table(&contents)),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => surroundings(&format!("the bundle can't be shown: {error}")),
    }
}

/// As `diff` does: 0 for equal bundles, 1 for others.
fn run_diff(old: &Path, new: &Path, json: bool) -> Exit {
    let (old, new) = match (contents(old), contents(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(problem), _) | (_, Err(problem)) => return surroundings(&problem),
    };
    let difference = compare(&old, &new);
    let text = if json { difference.json() } else { Ok(difference.table()) };
    match text.map(|text| print(&text)) {
        Ok(Exit::Done) if !difference.is_empty() => Exit::Failed,
        Ok(exit) => exit,
        Err(error) => surroundings(&format!("the difference can't be shown: {error}")),
    }
}

fn contents(bundle: &Path) -> Result<Contents, String> {
    let opened = loader::Bundle::read(bundle).map_err(|error| error.to_string())?;
    Contents::read(&opened).map_err(|error| format!("`{}` can't be shown: {error}", bundle.display()))
}

/// Prints annotations to stdout; what is to be said of the registry goes to stderr.
fn run_types(args: &TypesArgs) -> Exit {
    let (text, diagnostics) = types(&args.root, &args.profile, results(args.results));
    let common = Common { strict: false, message_format: MessageFormat::Human, quiet: false };
    match (say(&seen_from_here(diagnostics, &args.root), &common), text) {
        (Exit::Done, Some(text)) => print(&text),
        (exit, _) => exit,
    }
}

fn explain(code: &str) -> Exit {
    match Code::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(code)) {
        Some(known) => {
            print(&format!("{}: {}\n\n{}\n", known.as_str(), known.summary(), known.explanation()))
        }
        None => {
            complain(&format!("there is no code `{code}`"));
            Exit::Usage
        }
    }
}

fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            surroundings(&format!("can't write: {error}"))
        }
        _ => Exit::Done,
    }
}

fn complain(message: &str) {
    // Nowhere is left to report a closed standard error to.
    let _ = writeln!(io::stderr(), "error: {message}");
}

fn complain_warning(message: &str) {
    let _ = writeln!(io::stderr(), "warning: {message}");
}

fn surroundings(message: &str) -> Exit {
    complain(message);
    Exit::Surroundings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_without_no_color() {
        for (is_terminal, no_color, expected) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("1"), false),
            (true, Some("0"), false),
            (false, None, false),
            (false, Some("1"), false),
        ] {
            let coloured = is_coloured(is_terminal, no_color.map(OsStr::new));
            assert_eq!(coloured, expected, "{is_terminal} {no_color:?}");
        }
    }
}
