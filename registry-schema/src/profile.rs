//! Profiles and targets: what kind of engine an artifact is for, and what machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of the two engines runs a component.
///
/// The host is asynchronous in both: a guest that waits yields to the scheduler. The difference is
/// the component-model's own async machinery, which costs about three times as much per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Components that validate without component-model async and name no `wasi:*@0.3`.
    Sync,
    /// Everything else.
    Async,
}

impl Profile {
    /// Both, in the order in which they are listed and built.
    pub const ALL: [Self; 2] = [Self::Sync, Self::Async];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::Async => "async",
        })
    }
}

/// The CPU family and system that code is generated for, or the interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Triple {
    /// `x86_64-unknown-linux-gnu`
    X86_64LinuxGnu,
    /// `aarch64-unknown-linux-gnu`
    Aarch64LinuxGnu,
    /// `pulley64`: bytecode of the engine's interpreter, for any 64-bit little-endian machine.
    Pulley64,
}

impl Triple {
    /// The triple as compilers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64LinuxGnu => "x86_64-unknown-linux-gnu",
            Self::Aarch64LinuxGnu => "aarch64-unknown-linux-gnu",
            Self::Pulley64 => "pulley64",
        }
    }

    /// Whether the code is the machine's own; the rest is interpreted.
    pub fn is_native(self) -> bool {
        self != Self::Pulley64
    }

    /// The triple that this program was built for, if artifacts can be made for it.
    pub fn host() -> Option<Self> {
        if cfg!(not(target_os = "linux")) {
            None
        } else if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64LinuxGnu)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64LinuxGnu)
        } else {
            None
        }
    }
}

/// The x86-64 microarchitecture level whose instructions code may use (psABI).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuLevel {
    /// Baseline: SSE2.
    V1,
    /// SSE4.2, POPCNT, CMPXCHG16B. The default: every server CPU since 2009.
    V2,
    /// AVX2, BMI, FMA.
    V3,
    /// AVX-512.
    V4,
}

impl CpuLevel {
    /// The level as targets spell it, `v1` to `v4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
        }
    }
}

/// What an artifact runs on: a triple, and for x86-64 a level, written `TRIPLE:LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// CPU family and system.
    pub triple: Triple,
    /// x86-64 level; `None` for other CPUs.
    pub level: Option<CpuLevel>,
}

impl Target {
    /// The triple of this program at its default level (v2 on x86-64), if artifacts can be made for it.
    pub fn host() -> Option<Self> {
        Triple::host().map(Self::at_default_level)
    }

    /// `triple` at its default level: v2 on x86-64.
    pub fn at_default_level(triple: Triple) -> Self {
        let level = match triple {
            Triple::X86_64LinuxGnu => Some(CpuLevel::V2),
            Triple::Aarch64LinuxGnu | Triple::Pulley64 => None,
        };
        Self { triple, level }
    }

    /// Every target, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        let levels = [CpuLevel::V1, CpuLevel::V2, CpuLevel::V3, CpuLevel::V4];
        let x86 = levels.map(|level| Self { triple: Triple::X86_64LinuxGnu, level: Some(level) });
        let others = [Triple::Aarch64LinuxGnu, Triple::Pulley64].map(Self::at_default_level);
        x86.into_iter().chain(others)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.triple.as_str())?;
        match self.level {
            Some(level) => write!(f, ":{}", level.as_str()),
            None => Ok(()),
        }
    }
}

/// A target that is not one of [`Target::all`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTarget(String);

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown target `{}`, expected one of", self.0)?;
        for target in Target::all() {
            write!(f, " `{target}`")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownTarget {}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Self::all()
            .find(|target| target.to_string() == text)
            .or_else(|| {
                Self::all().map(|t| Self::at_default_level(t.triple)).find(|t| t.triple.as_str() == text)
            })
            .ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back() {
        for target in Target::all() {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        let bare: Target = "x86_64-unknown-linux-gnu".parse().unwrap();
        assert_eq!(bare.to_string(), "x86_64-unknown-linux-gnu:v2");
        let unknown = "riscv64-unknown-linux-gnu".parse::<Target>().unwrap_err().to_string();
        assert!(unknown.starts_with("unknown target `riscv64-unknown-linux-gnu`, expected one of"));
    }
}
