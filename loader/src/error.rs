//! Failures that a caller tells apart.
//!
//! [`OpenError`] stops boot; [`Error`] ends one call.

use std::fmt;
use std::path::PathBuf;

pub use registry_schema::ErrorKind;
use registry_schema::Target;
use registry_schema::envelope::ManifestError;

use crate::data::Data;
use crate::settings::SettingsError;
use crate::trust::CompilerVersion;

/// Why a call failed.
///
/// The kinds are the same in Rust, in Lua (`en/lua/core/errors.md`) and on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retryable: Option<bool>,
    details: Data,
    stack: Option<Box<Stack>>,
}

/// Where in Lua an error was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    /// The entry that ran.
    pub thread: String,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

/// A function of a [`Stack`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The entry whose source it is, or `[C]`.
    pub source: String,
    /// Line in the source, from 1; 0 where there is none.
    pub line: u32,
    /// Name of the function, as far as it is known.
    pub name: String,
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stack traceback:")?;
        for Frame { source, line, name } in &self.frames {
            match line {
                0 => write!(f, "\n\t{source}: in {name}")?,
                line => write!(f, "\n\t{source}:{line}: in {name}")?,
            }
        }
        Ok(())
    }
}

impl Error {
    /// An error of `kind`; not retryable.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = (kind != ErrorKind::Unknown).then_some(false);
        Self { kind, message: message.into(), retryable, details: Data::Nil, stack: None }
    }

    /// Says that the same call may succeed later.
    #[must_use]
    pub fn retryable(self) -> Self {
        self.with_retryable(Some(true))
    }

    /// Says whether the same call may succeed later; `None` where that is unknown.
    #[must_use]
    pub fn with_retryable(mut self, retryable: Option<bool>) -> Self {
        self.retryable = retryable;
        self
    }

    /// Adds details: for a trap the guest's backtrace by function name, innermost first.
    #[must_use]
    pub fn with_details(mut self, details: Data) -> Self {
        self.details = details;
        self
    }

    /// Adds where in Lua it was made.
    #[must_use]
    pub fn with_stack(mut self, stack: Stack) -> Self {
        self.stack = Some(Box::new(stack));
        self
    }

    /// The same error with `context: ` before its message.
    #[must_use]
    pub fn wrapped(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message, without the kind.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call is known to be worth repeating.
    pub fn is_retryable(&self) -> bool {
        self.retryable == Some(true)
    }

    /// Whether the same call may succeed later, as far as it is known.
    pub fn retryability(&self) -> Option<bool> {
        self.retryable
    }

    /// What else is known: for a trap the array of its backtrace, for an `err` of a guest its payload.
    pub fn details(&self) -> &Data {
        &self.details
    }

    /// For a trap the guest's backtrace by function name, innermost first; else empty.
    pub fn backtrace(&self) -> Vec<&str> {
        match &self.details {
            Data::Table(table) => table.array.iter().filter_map(Data::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let frames = self.stack.iter().flat_map(|stack| &stack.frames);
        let stack: usize =
            frames.map(|frame| size_of::<Frame>() + frame.source.len() + frame.name.len()).sum();
        size_of::<Self>() + self.message.len() + self.details.bytes() + stack
    }

    /// Where in Lua it was made, if it was.
    pub fn stack(&self) -> Option<&Stack> {
        self.stack.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl From<ManifestError> for Error {
    /// A record that can't be read although the digest was right: a fault of what wrote it.
    fn from(error: ManifestError) -> Self {
        Self::new(ErrorKind::Internal, format!("the manifest can't be read: {error}"))
    }
}

/// Why a bundle can't be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A file of the bundle could not be read.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The manifest is larger than any that a compiler writes.
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The manifest is no JSON of the expected form.
    Malformed(String),
    /// The manifest has a format that this loader does not read.
    Format {
        /// The format that it has.
        found: u64,
    },
    /// The manifest was changed after it was written.
    Digest {
        /// What it says of itself.
        expected: String,
        /// What its body has.
        found: String,
    },
    /// It has no signature, and keys were given.
    Unsigned,
    /// It was signed with none of the keys that were given.
    ForeignSignature {
        /// How many were given.
        keys: usize,
    },
    /// Its compiler is older than is asked for.
    CompilerTooOld {
        /// What is asked for.
        minimum: CompilerVersion,
        /// What it has.
        found: String,
    },
    /// The deny list has its compiler, or itself.
    Denied {
        /// What is denied.
        what: String,
        /// The list's reason.
        reason: String,
    },
    /// The bundle was made for another loader or another machine.
    Incompatible {
        /// Everything that differs.
        differences: Vec<Difference>,
        /// The target to build it for: where none of its own runs here, and this machine runs any.
        build_for: Option<Target>,
    },
    /// The engine could not be set up on this machine.
    Engine(String),
    /// The settings can't be used.
    Settings(SettingsError),
    /// A file of root certificates can't be used.
    Roots {
        /// What names it: a setting and its source, or an option.
        named_by: String,
        /// What is wrong with which file.
        problem: String,
        /// How to mend it.
        hint: &'static str,
    },
}

/// One reason why a bundle does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub what: String,
    /// What this loader needs.
    pub expected: String,
    /// What the bundle has.
    pub found: String,
}

/// The command that mends an incompatible bundle.
const REBUILD: &str = "rebuild it with the compiler of this loader's version: `compiler build`";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => {
                write!(f, "can't read `{}`: {source}", path.display())?;
                if source.kind() == std::io::ErrorKind::NotFound {
                    f.write_str(
                        "\nbuild the bundle first: `compiler build`, or name another with `--bundle DIR`",
                    )?;
                }
                Ok(())
            }
            Self::TooLarge { bytes } => {
                write!(f, "the manifest has {bytes} bytes, more than any that is written\n{REBUILD}")
            }
            Self::Malformed(problem) => write!(f, "the manifest is malformed: {problem}\n{REBUILD}"),
            Self::Format { found } => write!(
                f,
                "the manifest has format {found}, this loader reads {}\n{REBUILD}",
                registry_schema::version::MANIFEST_FORMAT
            ),
            Self::Digest { expected, found } => {
                write!(f, "the manifest was changed: it says {expected}, its body has {found}\n{REBUILD}")
            }
            Self::Unsigned => f.write_str(
                "the bundle is not signed\nsign it where it is built: `compiler build --sign-key FILE`",
            ),
            Self::ForeignSignature { keys: 1 } => {
                f.write_str("the bundle's signature is not by the key of `--verify-key`")
            }
            Self::ForeignSignature { keys } => {
                write!(f, "the bundle's signature is by none of the {keys} keys of `--verify-key`")
            }
            Self::CompilerTooOld { minimum, found } => write!(
                f,
                "the bundle is by compiler {found}, {minimum} or later is asked for\n\
                 upgrade compiler and loader, and rebuild it: `compiler build`"
            ),
            Self::Denied { what, reason } => write!(
                f,
                "{what} is {}\nrebuild it with another compiler and the loader of its version: `compiler build`",
                crate::trust::denied(reason)
            ),
            Self::Incompatible { differences, build_for } => {
                f.write_str("the bundle does not fit this loader:")?;
                for Difference { what, expected, found } in differences {
                    write!(f, "\n  {what}: expected {expected}, found {found}")?;
                }
                // The compiler's own machine may be another one.
                match build_for {
                    Some(target) => write!(f, "\n{} --target {target}`", REBUILD.trim_end_matches('`')),
                    None => write!(f, "\n{REBUILD}"),
                }
            }
            Self::Engine(problem) => write!(f, "the engine can't be set up: {problem}"),
            Self::Settings(error) => error.fmt(f),
            Self::Roots { named_by, problem, hint } => write!(f, "{named_by}: {problem}\nhint: {hint}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Settings(error) => Some(error),
            _ => None,
        }
    }
}
