//! What is known of values without running anything: enough to see `require("…")`, calls through `funcs`,
//! and the functions that a chunk returns.

/// Longest string that is kept, in bytes: ids and names of modules are shorter.
const TEXT_BYTES_MAX: usize = 1024;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Value {
    /// Nothing.
    #[default]
    Unknown,
    /// A string.
    Text(String),
    /// The global `require`.
    Require,
    /// What `require` gives for this name.
    Module(String),
    /// A field of a module: its name and that of the field.
    Member(String, String),
    /// What `new` of the module of this name gives.
    Executor(String),
    /// A function of [`super::chunk::Chunk::functions`].
    Function(usize),
    /// A table of [`super::chunk::Chunk::tables`].
    Table(usize),
}

impl Value {
    /// A string, unless it is too long to be of interest.
    pub(crate) fn text(text: String) -> Self {
        if text.len() <= TEXT_BYTES_MAX { Self::Text(text) } else { Self::Unknown }
    }
}
