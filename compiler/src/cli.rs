//! Arguments of the `compiler` binary; types only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use registry_schema::Target;

/// Compiles WebAssembly registries ahead of time into bundles that the loader runs.
#[derive(Debug, Parser)]
#[command(name = "compiler", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a bundle; what happens without a command too.
    Build(BuildArgs),
    /// Everything but code generation and writing.
    Check(CheckArgs),
    /// Show what a bundle holds: entries, artifacts, sizes, imports granted and used.
    Inspect(InspectArgs),
    /// Print the registry's functions as annotations of the Lua language server.
    Types(TypesArgs),
    /// Make a key that signs bundles: FILE, and its public half in FILE.pub.
    Keygen {
        /// File of the private half; never overwritten.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema of definition files, for editors.
    Schema,
    /// Explain a diagnostic by its code.
    Explain {
        /// A code such as E0401.
        code: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folder of the application.
    #[arg(default_value = ".")]
    pub(crate) root: PathBuf,
    /// Profile of `.wippy.yaml` that is laid over it; may be repeated, later ones win.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Make every warning an error.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How diagnostics are written: human to stderr, json and github to stdout.
    #[arg(long, value_enum, default_value_t = MessageFormat::Human)]
    pub(crate) message_format: MessageFormat,
    /// Say nothing but diagnostics.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Folder of the application.
    #[arg(default_value = ".")]
    pub(crate) root: PathBuf,
    /// Profile of `.wippy.yaml` that is laid over it; may be repeated, later ones win.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// Folder that the bundle is written to.
    #[arg(long, default_value = "dist")]
    pub(crate) out: PathBuf,
    /// Machine to compile for, TRIPLE[:LEVEL]; may be repeated [default: this machine's kind at v2].
    #[arg(long)]
    pub(crate) target: Vec<Target>,
    /// Threads that compile [default: one per core].
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Folder of the cache [default: $XDG_CACHE_HOME/wippy-aot].
    #[arg(long, conflicts_with = "no_cache")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Compile everything anew.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// How a top-level result reaches Lua where an entry does not say.
    #[arg(long, value_enum, default_value_t = ResultsArg::Pair)]
    pub(crate) results: ResultsArg,
    /// Sign the bundle with this Ed25519 key (PKCS#8, PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Folder of the bundle.
    #[arg(default_value = "dist")]
    pub(crate) bundle: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print a bill of materials: CycloneDX 1.6, in JSON.
    #[arg(long, conflicts_with = "json")]
    pub(crate) sbom: bool,
    /// Print what two bundles differ in; exits with 1 when they do.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["sbom", "bundle"])]
    pub(crate) diff: Option<Vec<PathBuf>>,
}

#[derive(Debug, Args)]
pub(crate) struct TypesArgs {
    /// Folder of the application.
    #[arg(default_value = ".")]
    pub(crate) root: PathBuf,
    /// Profile of `.wippy.yaml` that is laid over it; may be repeated, later ones win.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// How a top-level result reaches Lua where an entry does not say.
    #[arg(long, value_enum, default_value_t = ResultsArg::Pair)]
    pub(crate) results: ResultsArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    Human,
    Json,
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultsArg {
    Pair,
    Table,
}
