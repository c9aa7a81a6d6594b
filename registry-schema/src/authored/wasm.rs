//! `function.wat`, `function.wasm` and `process.wasm` (`en/wasm/functions.md`, `en/wasm/processes.md`).
//!
//! Fields that the build needs (`source`, `fs`, `path`, `hash`, `method`, `wit`, `imports`) are plain;
//! the others accept a placeholder that is resolved at boot ([`Templated`]).
//!
//! The structs that travel in a manifest as they are deny unknown fields there; those of definition
//! files are collected on the way ([`crate::decode`]).

use serde::{Deserialize, Serialize};

use super::network::Destination;
use super::scalar::Templated;
use crate::ids::EntryRef;

/// Any of the three kinds.
///
/// One type for all, so that what is required of which kind is said in the kind's own words:
/// `function.wat` needs `source` and `method`, the others `fs`, `path` and `hash`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wasm {
    /// WebAssembly text of a core module or a component, or `file://` and a path to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The `fs.directory` or `fs.embed` entry that holds the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs: Option<EntryRef>,
    /// Path of the binary inside it; a leading `/` is its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `sha256:` and 64 hexadecimal digits, any case, of the file's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The export to call; may be left out for components that are HTTP handlers, and for processes whose
    /// component exports `wasi:cli/run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Signatures of a core module: function signatures, type definitions, a world or a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wit: Option<String>,
    /// How input and output are mapped.
    #[serde(default)]
    pub transport: Transport,
    /// Host groups that the component may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<String>,
    /// How many calls run at once; accepted and ignored for processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// What a call may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Second place where limits are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    /// How a top-level `result` reaches Lua.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Results>,
    /// What an import without a grant is.
    #[serde(default)]
    pub imports_missing: ImportsMissing,
    /// Where the component may connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Export that is run at build time, its state kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preinit: Option<String>,
    /// Core modules that satisfy imports of a core module.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<Adapter>,
    /// Arguments, environment and mounts of the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasi: Option<Wasi>,
}

/// How input and output are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Arguments are passed as they are.
    #[default]
    Payload,
    /// The HTTP request becomes arguments, the result the response.
    WasiHttp,
}

/// How a top-level `result` reaches Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Results {
    /// `value, nil` or `nil, err`.
    #[default]
    Pair,
    /// `{ok = value}` or `{err = value}`.
    Table,
}

/// What an import without a grant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ImportsMissing {
    /// A stub that ends the call with `PERMISSION_DENIED`, and a warning at build time.
    #[default]
    Stub,
    /// An error at build time.
    Error,
}

/// Concurrency of a function.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Left out: `lazy` with 100 slots, or `static` when `workers` or `size` is set.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<PoolType>,
    /// Slots of a `static` pool, 1 or more; default 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Templated<u32>>,
    /// Workers of a `static` pool or of a worker class, 1 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Templated<u32>>,
    /// Calls that may wait; default workers × 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Templated<u32>>,
    /// Most slots of a `lazy` or `adaptive` pool, 1 or more; default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Templated<u32>>,
    /// Load, link and touch a slot's memory at boot; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<Templated<bool>>,
    /// Keep an instance between calls of the same actor and scope; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Templated<bool>>,
    /// Most calls that one instance serves when `reuse` is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<Templated<u32>>,
    /// Run on dedicated threads of this name; `type` is ignored then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_class: Option<Templated<String>>,
}

/// How a pool behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PoolType {
    /// On the caller's task, a fresh instance per call, no queue.
    Inline,
    /// Nothing reserved; grows on demand.
    Lazy,
    /// A fixed number of slots with a queue.
    Static,
    /// Grows and shrinks with the queue's delay.
    Adaptive,
}

/// What a call may use. A field that is not known here is an error: it would restrict.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Time from start to end, computing and waiting alike, in milliseconds, 1 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_execution_ms: Option<Templated<u64>>,
    /// Memory that an idle instance may keep, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retained_memory_bytes: Option<Templated<u64>>,
    /// Sockets open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_sockets: Option<Templated<u32>>,
    /// Longest wait of a socket operation, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_timeout_ms: Option<Templated<u64>>,
    /// All memories of an instance together, in bytes; default 256 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<Templated<u64>>,
    /// Elements of all tables of an instance together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_table_elements: Option<Templated<u64>>,
    /// Core instances of a component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<Templated<u64>>,
}

/// `options:` of a WASM entry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Options {
    /// The same as the entry's `limits`; two spellings that differ are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Where a component may connect to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// When given, nothing else is allowed.
    #[serde(default)]
    pub allow: Vec<Templated<Destination>>,
}

/// A core module that satisfies imports of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Adapter {
    /// The imported module's name that it satisfies.
    pub name: String,
    /// The file-system entry that holds it.
    pub fs: EntryRef,
    /// Its path inside it.
    pub path: String,
    /// `sha256:` and 64 hexadecimal digits of its bytes.
    pub hash: String,
}

/// Arguments, environment and mounts of a guest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Wasi {
    /// Command-line arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Templated<String>>,
    /// Working directory inside the guest, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Templated<String>>,
    /// Variables that the guest sees; nothing else is visible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvMapping>,
    /// Directories that the guest sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

/// A variable of the guest's environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvMapping {
    /// The `env.variable` entry.
    pub id: EntryRef,
    /// Name inside the guest, unique.
    pub name: String,
    /// Whether a call fails without it; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<Templated<bool>>,
}

/// A directory of the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The file-system entry.
    pub fs: EntryRef,
    /// Path inside the guest, absolute and unique.
    pub guest: String,
    /// Whether writes are refused; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Templated<bool>>,
}
