//! The manifest: a bundle as the compiler wrote it.
//!
//! These are its records; how they lie in the file, and how one is found without reading the others,
//! is [`crate::manifest_file`]'s. Everything is sorted; there are no times, no absolute paths and no
//! secrets. A field that is not known here is an error: it may restrict what an entry may do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::authored::lua::LuaPool;
use crate::authored::wasm::{Limits, Network, Pool, Results, Transport, Wasi};
use crate::digest::Digest;
use crate::grants::Group;
use crate::ids::EntryId;
use crate::profile::{Profile, Target};
use crate::wit::Signature;

/// Name of the manifest inside a bundle.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Folder of the artifacts inside a bundle; below it one folder per target.
pub const ARTIFACTS_DIR: &str = "artifacts";
/// Folder of the file that describes the components; its name is its digest.
pub const COMPONENTS_DIR: &str = "components";
/// Folder of the file with the fields of WebAssembly entries as they were written, a JSON object by id; its name
/// is its digest. Nobody but code that reads the registry needs them, so they are not in the manifest.
pub const AUTHORED_DIR: &str = "authored";
/// Folder of the `fs.embed` files inside a bundle.
pub const EMBEDDED_DIR: &str = "fs";
/// Folder of the Lua sources inside a bundle.
pub const LUA_DIR: &str = "lua";
/// Largest manifest that is read, in bytes; 100,000 entries have about a tenth of it.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// What concerns the bundle as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Exact version of the compiler crate that generated every artifact, such as `48.0.8`.
    pub compiler: String,
    /// The engine of each profile that is used.
    pub engines: BTreeMap<Profile, Engine>,
    /// Targets that artifacts were generated for, sorted.
    pub targets: Vec<Target>,
    /// The sections of `.wippy.yaml` that the loader reads, placeholders unresolved.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Every file that is no artifact, by its path inside the bundle.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileRecord>,
}

/// Everything that a loader needs to know.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// What concerns the bundle as a whole.
    pub head: Head,
    /// One record per distinct component, profile and target, sorted by these.
    pub artifacts: Vec<Artifact>,
    /// Every entry, sorted by id.
    pub entries: Vec<Entry>,
}

/// Engine options of one profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Hash over the options ([`crate::engine::EngineOptions::fingerprint`]).
    pub fingerprint: String,
    /// The options by name.
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// Native code of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The component that it was generated from.
    pub component: Digest,
    /// The engine that runs it.
    pub profile: Profile,
    /// What it runs on.
    pub target: Target,
    /// Digest of the file, which is also its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Exact version of the compiler crate.
    pub compiler: String,
    /// Fingerprint of the engine options.
    pub engine: String,
}

impl Artifact {
    /// Path inside the bundle, relative, with `/` between its parts.
    pub fn path(&self) -> String {
        artifact_path(self.target, self.digest)
    }
}

/// Path of an artifact inside a bundle, relative, with `/` between its parts.
pub fn artifact_path(target: Target, digest: Digest) -> String {
    format!("{ARTIFACTS_DIR}/{target}/{digest}.cwasm")
}

/// What is known of a component, whatever the target.
///
/// The records of all components are one file of the bundle ([`COMPONENTS_DIR`]), a JSON array sorted by
/// digest: whoever serves calls does not need them, and a manifest twice the size starts slower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Digest of the component's bytes.
    pub digest: Digest,
    /// Size of the component in bytes.
    pub size: u64,
    /// Digests of the sources that it was made from, sorted.
    pub sources: Vec<Digest>,
    /// Adapters that were linked in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterRecord>,
    /// What made it and what it was made of, as its `producers` sections say, sorted.
    pub producers: Vec<ProducerRecord>,
    /// The engine that it needs.
    pub profile: Profile,
    /// Interfaces and functions that it imports, sorted.
    pub imports: Vec<ImportRecord>,
    /// Functions that it exports, in order.
    pub exports: Vec<ExportRecord>,
    /// What an instance needs.
    pub needs: Needs,
}

/// An adapter module that was linked into a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterRecord {
    /// The imported module that it satisfies.
    pub name: String,
    /// Its origin and version.
    pub version: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// An entry of a `producers` section, of the component itself or of any module in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerRecord {
    /// `language`, `processed-by` or `sdk`.
    pub field: String,
    /// Such as `rustc`.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

/// An imported interface or function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// Name with version, such as `wasi:clocks/wall-clock@0.2.3`.
    pub name: String,
    /// The functions of it that are imported, sorted; empty when only types are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
}

/// An exported function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRecord {
    /// Where it is.
    pub path: ExportPath,
    /// Its signature; `None` when it uses resources, streams, futures or error contexts, which can't be
    /// called from outside.
    pub signature: Option<Signature>,
}

/// Where a function is among a component's exports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportPath {
    /// Full name of the interface, with version; `None` for a function of the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Name of the function.
    pub function: String,
}

impl fmt::Display for ExportPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{interface}#{}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

/// What one instance of a component needs of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Core instances.
    pub core_instances: u32,
    /// Linear memories.
    pub memories: u32,
    /// Tables.
    pub tables: u32,
    /// Largest minimum size of a memory, in bytes.
    pub memory_bytes_min: u64,
    /// Largest minimum size of a table, in elements.
    pub table_elements_min: u64,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Digest of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// An entry of the registry, as resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its kind.
    pub kind: String,
    /// Its metadata, that of its file merged under it.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// Why calls to it fail, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// How to call it, for WebAssembly kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<WasmEntry>,
    /// What to run, for Lua kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lua: Option<LuaEntry>,
    /// The folder of the module that owns it, relative to the project's root; only for an `fs.directory` whose
    /// `base` may mean it, and only if it is not the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_folder: Option<String>,
    /// Its other fields, for all other kinds; for Lua kinds those that [`LuaEntry`] does not have. Those of
    /// WebAssembly kinds are in the file of [`AUTHORED_DIR`].
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

/// How to call a WebAssembly entry, and what it may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmEntry {
    /// The component.
    pub component: Digest,
    /// The engine that runs it.
    pub profile: Profile,
    /// The function.
    pub export: ExportPath,
    /// Its signature; `None` for a component that is called as an HTTP handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Host groups that are linked, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Group>,
    /// Whether a top-level `result` is a pair or a table in Lua.
    #[serde(default, skip_serializing_if = "is_default")]
    pub results: Results,
    /// How input and output are mapped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transport: Transport,
    /// Concurrency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// Limits of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Arguments, environment and mounts; references are full ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasi: Option<Wasi>,
    /// Where it may connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

/// What a Lua entry runs, and what `require` gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LuaEntry {
    /// Digest of the source text without its types, a file of the bundle ([`lua_path`]).
    pub source: Digest,
    /// Member of the returned table that is called; `None` when the chunk returns a function itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Modules that `require` gives by their own names, sorted, without duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// What `require` gives by alias.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imports: BTreeMap<String, LuaImport>,
    /// Concurrency of a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<LuaPool>,
}

/// Path of a Lua source inside a bundle, relative, with `/` between its parts.
pub fn lua_path(digest: Digest) -> String {
    format!("{LUA_DIR}/{digest}.lua")
}

/// What an alias stands for; written as in the registry, a module with an empty namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LuaImport {
    /// Another Lua entry.
    Entry(EntryId),
    /// A module of the loader, written `:name`.
    Module(String),
}

impl Serialize for LuaImport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Entry(id) => serializer.collect_str(id),
            Self::Module(name) => serializer.collect_str(&format_args!(":{name}")),
        }
    }
}

impl<'de> Deserialize<'de> for LuaImport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        match text.strip_prefix(':') {
            Some("") => Err(de::Error::custom("expected a name after `:`")),
            Some(name) => Ok(Self::Module(name.to_owned())),
            None => text.parse().map(Self::Entry).map_err(de::Error::custom),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lua_entries_read_as_they_are_written() {
        let source = Digest::of(b"return 1");
        let written = json!({
            "id": "app:f",
            "kind": "function.lua",
            "lua": {
                "source": source.to_string(),
                "method": "main",
                "modules": ["json", "time"],
                "imports": {"lib": "app.lib:text", "reg": ":registry"},
                "pool": {"type": "static", "workers": 2}
            }
        });
        let entry: Entry = serde_json::from_value(written.clone()).unwrap();
        let lua = entry.lua.as_ref().unwrap();
        assert_eq!(lua.imports["lib"], LuaImport::Entry("app.lib:text".parse().unwrap()));
        assert_eq!(lua.imports["reg"], LuaImport::Module("registry".to_owned()));
        assert_eq!(serde_json::to_value(&entry).unwrap(), written);
        assert_eq!(lua_path(source), format!("lua/{source}.lua"));
        for import in ["", ":", "lib", "a b:c"] {
            assert!(serde_json::from_value::<LuaImport>(json!(import)).is_err(), "{import:?}");
        }
        let unknown = json!({"source": source.to_string(), "sandbox": true});
        assert!(serde_json::from_value::<LuaEntry>(unknown).is_err());
    }
}
