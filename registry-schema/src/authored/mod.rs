//! The authored format: entries as people write them in definition files.
//!
//! One module per family of kinds, one type per kind. [`Definition`] is the sum of the kinds that this
//! project knows; every other kind is carried as data.

pub mod duration;
pub mod env;
pub mod fs;
pub mod http;
pub mod lifecycle;
pub mod lua;
pub mod network;
pub mod process;
pub mod scalar;
#[cfg(feature = "schema")]
mod scalar_schema;
pub mod security;
pub mod store;
pub mod wasm;

use serde::de::DeserializeOwned;

/// Declares the kinds once: their names, their types, and how each is read.
macro_rules! kinds {
    ($($name:literal => $variant:ident($type:ty) $doc:literal,)*) => {
        /// An entry's own fields, by kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Definition {
            $(#[doc = $doc] $variant(Box<$type>),)*
            /// A kind that is carried as data.
            Data,
        }

        impl Definition {
            /// The names of all kinds that have a type, in the order of the documentation.
            pub const KINDS: &'static [&'static str] = &[$($name),*];

            /// Reads the fields of an entry of `kind` from `node`.
            ///
            /// # Errors
            /// At the first field that does not fit the kind's type.
            #[cfg(feature = "yaml")]
            pub fn decode(
                kind: &str,
                node: &crate::document::Node,
            ) -> Result<(Self, Vec<crate::decode::UnknownField>), crate::decode::DecodeError> {
                match kind {
                    $($name => crate::decode::decode::<$type>(node)
                        .map(|(value, unknown)| (Self::$variant(Box::new(value)), unknown)),)*
                    _ => Ok((Self::Data, Vec::new())),
                }
            }

            /// Reads the fields of an entry of `kind` from the JSON that the manifest carries.
            ///
            /// # Errors
            /// At the first field that does not fit the kind's type.
            pub fn from_json(kind: &str, data: &serde_json::Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $($name => read::<$type>(data).map(|value| Self::$variant(Box::new(value))),)*
                    _ => Ok(Self::Data),
                }
            }

            /// Every kind that has a type, what it is, and the JSON Schema of its fields.
            #[cfg(feature = "schema")]
            pub(crate) fn schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, &'static str, schemars::Schema)> {
                vec![$(($name, $doc, <$type as schemars::JsonSchema>::json_schema(generator))),*]
            }
        }
    };
}

fn read<T: DeserializeOwned>(data: &serde_json::Value) -> Result<T, serde_json::Error> {
    T::deserialize(data)
}

kinds! {
    "function.wat" => FunctionWat(wasm::Wasm) "A function from WebAssembly text.",
    "function.wasm" => FunctionWasm(wasm::Wasm) "A function from a WebAssembly binary.",
    "process.wasm" => ProcessWasm(wasm::Wasm) "A process from a WebAssembly binary.",
    "function.lua" => FunctionLua(lua::FunctionLua) "A Lua function.",
    "process.lua" => ProcessLua(lua::ProcessLua) "A Lua process.",
    "library.lua" => LibraryLua(lua::LibraryLua) "A Lua library.",
    "process.host" => ProcessHost(process::ProcessHost) "Where processes run.",
    "process.service" => ProcessService(process::ProcessService) "A supervised process.",
    "terminal.host" => TerminalHost(process::TerminalHost) "Where commands run.",
    "http.service" => HttpService(http::HttpService) "An HTTP server.",
    "http.router" => HttpRouter(http::HttpRouter) "A prefix with middleware.",
    "http.endpoint" => HttpEndpoint(http::HttpEndpoint) "A method and path.",
    "store.memory" => StoreMemory(store::StoreMemory) "A key-value store in memory.",
    "security.token_store" => TokenStore(security::TokenStore) "Tokens over a store.",
    "fs.directory" => FsDirectory(fs::FsDirectory) "A directory.",
    "fs.embed" => FsEmbed(fs::FsEmbed) "Files carried in the bundle.",
    "env.storage.os" => EnvStorageOs(env::EnvStorageOs) "The environment of the process.",
    "env.storage.memory" => EnvStorageMemory(env::EnvStorageMemory) "Variables in memory.",
    "env.storage.static" => EnvStorageStatic(env::EnvStorageStatic) "Fixed variables.",
    "env.storage.file" => EnvStorageFile(env::EnvStorageFile) "Variables in a file.",
    "env.storage.router" => EnvStorageRouter(env::EnvStorageRouter) "Several storages in order.",
    "env.variable" => EnvVariable(env::EnvVariable) "One variable.",
    "security.policy" => SecurityPolicy(security::SecurityPolicy) "A policy with conditions.",
}

/// Kinds that are documented publicly and carried as data, for suggestions on a misspelt kind.
pub const CARRIED_KINDS: &[&str] = &[
    "cloudstorage.s3",
    "config.aws",
    "contract.binding",
    "contract.definition",
    "db.cdc.postgres",
    "db.sql.mysql",
    "db.sql.postgres",
    "db.sql.sqlite",
    "exec.docker",
    "exec.native",
    "function.lua.bc",
    "http.static",
    "library.lua.bc",
    "module.lua",
    "network",
    "network.i2p",
    "network.socks5",
    "network.tailscale",
    "ns.definition",
    "ns.dependency",
    "ns.requirement",
    "pg.scope",
    "process.lua.bc",
    "queue.consumer",
    "queue.driver.amqp",
    "queue.driver.memory",
    "queue.driver.sqs",
    "queue.queue",
    "registry.entry",
    "security.policy.expr",
    "store.kv.crdt",
    "store.kv.raft",
    "store.sql",
    "template.jet",
    "template.set",
    "temporal.client",
    "temporal.worker",
    "workflow.lua",
    "workflow.lua.bc",
];
