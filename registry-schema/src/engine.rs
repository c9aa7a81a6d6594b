//! The one place that sets engine options, for the compiler and for the loader.
//!
//! An artifact can only be loaded by an engine that agrees with the one that compiled it, and many
//! of wasmtime's defaults follow its cargo features, which differ between the two sides. So every
//! option that takes part in the agreement is set here explicitly, from one checked structure:
//! [`EngineOptions`] is applied to a [`wasmtime::Config`] by [`EngineOptions::apply`], travels in the
//! manifest, and is hashed into the [fingerprint](EngineOptions::fingerprint) that the loader computes
//! again without a compiler.
//!
//! Options that only the loader has (allocation strategy, stack sizes, code memory) are the loader's;
//! options that only code generation has (target, CPU level, level of optimisation) are the compiler's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wasmparser::WasmFeatures;
use wasmtime::{Config, Inlining, ModuleVersionStrategy, WasmBacktraceDetails};

use crate::profile::Profile;

/// The exact version of the wasmtime crates that both sides are built with.
///
/// Pinned in the workspace's `Cargo.toml`; a test compares the two. wasmtime itself only compares the
/// major number.
pub const COMPILER_VERSION: &str = "48.0.8";

/// Every engine option on which the compiler and the loader must agree.
///
/// The fields carry the names of the methods of [`wasmtime::Config`]. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// Component-model async machinery; on in [`Profile::Async`] only. It triples the price of a call.
    pub concurrency_support: bool,
    /// Code polls an epoch counter at loop heads and function entries, so that any guest can be ended.
    pub epoch_interruption: bool,
    /// Deterministic instruction counting; off, the epoch does its work at a lower price.
    pub consume_fuel: bool,
    /// Fresh memories are copy-on-write images instead of copies.
    pub memory_init_cow: bool,
    /// Address space reserved for each 32-bit memory; 4 GiB lets code leave bounds checks out.
    pub memory_reservation: u64,
    /// Address space left behind a memory that had to move.
    pub memory_reservation_for_growth: u64,
    /// Unmapped bytes around a memory that catch small overruns.
    pub memory_guard_size: u64,
    /// Whether a guard also lies before each memory.
    pub guard_before_linear_memory: bool,
    /// Whether a memory may move when it outgrows its reservation.
    pub memory_may_move: bool,
    /// Table elements are made on first use.
    pub table_lazy_init: bool,
    /// Traps come from the hardware where possible.
    pub signals_based_traps: bool,
    /// Whether relaxed SIMD is the same on every CPU.
    pub relaxed_simd_deterministic: bool,
    /// Functions are inlined into each other; off, the cost of compiling can explode (DESIGN).
    pub compiler_inlining: bool,
    /// Native debug information in artifacts.
    pub debug_info: bool,
    /// Symbol table in artifacts.
    pub debug_symbols: bool,
    /// DWARF of the guest kept for file and line in backtraces.
    pub wasm_backtrace_details: bool,
    /// Map from native code to guest offsets, which traps and backtraces need.
    pub generate_address_map: bool,
    /// Native unwind tables; backtraces of guests use frame pointers and do without.
    pub native_unwind_info: bool,
    /// One bit pattern for every NaN.
    pub cranelift_nan_canonicalization: bool,
    /// Memories shared between threads.
    pub shared_memory: bool,
    /// WebAssembly proposals that are on, by wasmparser's names, sorted. All others are off.
    pub wasm_features: Vec<String>,
}

/// The proposals that every profile has.
///
/// Left out on purpose: GC and exceptions (need a collector in the loader), threads, stack switching,
/// custom page sizes, wide arithmetic and everything unfinished.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// The proposals that are on in `profile`; validation uses the same set as code generation.
pub fn wasm_features(profile: Profile) -> WasmFeatures {
    match profile {
        Profile::Sync => FEATURES,
        Profile::Async => FEATURES.union(WasmFeatures::CM_ASYNC),
    }
}

fn feature_names(features: WasmFeatures) -> Vec<String> {
    let mut names: Vec<String> = features.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    names
}

impl EngineOptions {
    /// The options of one profile. The only constructor: both sides get the same values.
    pub fn new(profile: Profile) -> Self {
        Self {
            concurrency_support: profile == Profile::Async,
            epoch_interruption: true,
            consume_fuel: false,
            memory_init_cow: true,
            memory_reservation: 4 << 30,
            memory_reservation_for_growth: 2 << 30,
            memory_guard_size: 32 << 20,
            guard_before_linear_memory: true,
            memory_may_move: true,
            table_lazy_init: true,
            signals_based_traps: true,
            relaxed_simd_deterministic: false,
            compiler_inlining: false,
            debug_info: false,
            debug_symbols: false,
            wasm_backtrace_details: false,
            generate_address_map: true,
            native_unwind_info: false,
            cranelift_nan_canonicalization: false,
            shared_memory: false,
            wasm_features: feature_names(wasm_features(profile)),
        }
    }

    /// Sets every option on `config`, and the module version to ours, so that wasmtime's own check
    /// refuses what the fingerprint would refuse.
    ///
    /// # Errors
    /// When a name in `wasm_features` is not known to this build of wasmparser.
    pub fn apply(&self, config: &mut Config) -> wasmtime::Result<()> {
        // Destructured in full: a field that is added and not applied does not compile.
        let Self {
            concurrency_support,
            epoch_interruption,
            consume_fuel,
            memory_init_cow,
            memory_reservation,
            memory_reservation_for_growth,
            memory_guard_size,
            guard_before_linear_memory,
            memory_may_move,
            table_lazy_init,
            signals_based_traps,
            relaxed_simd_deterministic,
            compiler_inlining,
            debug_info,
            debug_symbols,
            wasm_backtrace_details,
            generate_address_map,
            native_unwind_info,
            cranelift_nan_canonicalization,
            shared_memory,
            wasm_features,
        } = self;
        let mut features = WasmFeatures::empty();
        for name in wasm_features {
            features |= WasmFeatures::from_name(&name.to_ascii_uppercase())
                .ok_or_else(|| wasmtime::Error::msg(format!("unknown proposal `{name}`")))?;
        }
        config
            .wasm_features(WasmFeatures::all().difference(features), false)
            .wasm_features(features, true)
            .concurrency_support(*concurrency_support)
            .epoch_interruption(*epoch_interruption)
            .consume_fuel(*consume_fuel)
            .memory_init_cow(*memory_init_cow)
            .memory_reservation(*memory_reservation)
            .memory_reservation_for_growth(*memory_reservation_for_growth)
            .memory_guard_size(*memory_guard_size)
            .guard_before_linear_memory(*guard_before_linear_memory)
            .memory_may_move(*memory_may_move)
            .table_lazy_init(*table_lazy_init)
            .signals_based_traps(*signals_based_traps)
            .relaxed_simd_deterministic(*relaxed_simd_deterministic)
            .compiler_inlining(if *compiler_inlining { Inlining::Yes } else { Inlining::No })
            .debug_info(*debug_info)
            .debug_symbols(*debug_symbols)
            .wasm_backtrace_details(if *wasm_backtrace_details {
                WasmBacktraceDetails::Enable
            } else {
                WasmBacktraceDetails::Disable
            })
            .generate_address_map(*generate_address_map)
            .native_unwind_info(*native_unwind_info)
            .shared_memory(*shared_memory);
        code_generation(config, *cranelift_nan_canonicalization);
        config.module_version(ModuleVersionStrategy::Custom(self.module_version()))?;
        Ok(())
    }

    /// The name under which wasmtime files artifacts of these options: version and fingerprint.
    pub fn module_version(&self) -> String {
        format!("{COMPILER_VERSION}-{}", self.fingerprint())
    }

    /// BLAKE3 over the canonical JSON of the options, 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let canonical = serde_json::to_vec(self).expect("plain data always serializes");
        blake3::hash(&canonical).to_hex().to_string()
    }

    /// The options as the manifest carries them.
    pub fn to_json(&self) -> OptionMap {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => map,
            _ => unreachable!("a struct of plain data serializes as an object"),
        }
    }

    /// Every option in which `found` differs from these, on either side, sorted by name.
    pub fn differences(&self, found: &OptionMap) -> Vec<OptionDifference> {
        let expected = self.to_json();
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        let show =
            |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
        names
            .into_iter()
            .filter(|name| expected.get(*name) != found.get(*name))
            .map(|name| OptionDifference {
                option: name.clone(),
                expected: show(expected.get(name)),
                found: show(found.get(name)),
            })
            .collect()
    }
}

/// Options by name, as JSON.
pub type OptionMap = serde_json::Map<String, serde_json::Value>;

/// An option on which two sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionDifference {
    /// Its name.
    pub option: String,
    /// This side's value, as JSON.
    pub expected: String,
    /// The other side's value, as JSON.
    pub found: String,
}

/// Options that exist only where a code generator is compiled in; elsewhere they have no meaning.
#[cfg(feature = "codegen")]
fn code_generation(config: &mut Config, nan_canonicalization: bool) {
    config.cranelift_nan_canonicalization(nan_canonicalization);
}

#[cfg(not(feature = "codegen"))]
fn code_generation(_: &mut Config, _: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_pinned_one() {
        let lock = include_str!("../../Cargo.lock");
        let pinned = format!("name = \"wasmtime\"\nversion = \"{COMPILER_VERSION}\"\n");
        assert!(lock.contains(&pinned), "COMPILER_VERSION differs from Cargo.lock");
    }

    #[test]
    fn profiles_differ_in_async_alone() {
        let names: Vec<String> = EngineOptions::new(Profile::Sync)
            .differences(&EngineOptions::new(Profile::Async).to_json())
            .into_iter()
            .map(|difference| difference.option)
            .collect();
        assert_eq!(names, ["concurrency_support", "wasm_features"]);
    }

    #[test]
    fn fingerprint_follows_every_option() {
        let base = serde_json::to_value(EngineOptions::new(Profile::Sync)).unwrap();
        let fingerprint = EngineOptions::new(Profile::Sync).fingerprint();
        for (name, value) in base.as_object().unwrap() {
            let changed = match value {
                serde_json::Value::Bool(value) => serde_json::json!(!value),
                serde_json::Value::Number(value) => serde_json::json!(value.as_u64().unwrap() + 1),
                _ => serde_json::json!([]),
            };
            let mut options = base.clone();
            options[name] = changed;
            let options: EngineOptions = serde_json::from_value(options).unwrap();
            assert_ne!(options.fingerprint(), fingerprint, "{name}");
            assert_eq!(EngineOptions::new(Profile::Sync).differences(&options.to_json()).len(), 1, "{name}");
        }
    }
}
