//! What this machine can run, and which of a bundle's targets it runs best.

use std::fmt;

use registry_schema::Target;
use registry_schema::profile::{CpuLevel, Triple};

/// Why the artifacts of a target are not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// They are for another kind of machine.
    OtherMachine,
    /// They use instructions that this CPU lacks.
    Instructions(Vec<&'static str>),
    /// They are for the interpreter, which this loader was built without.
    NoInterpreter,
    /// They would run, but those of this target run faster.
    Better(Target),
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMachine => f.write_str("for another kind of machine"),
            Self::Instructions(missing) => write!(f, "this CPU lacks {}", missing.join(" ")),
            Self::NoInterpreter => f.write_str("needs a loader built with the feature `pulley`"),
            Self::Better(target) => write!(f, "`{target}` runs faster here"),
        }
    }
}

/// A machine, as far as targets are concerned.
pub(crate) struct Machine {
    triple: Option<Triple>,
    /// Instructions of a level, beyond those of the level below, that the CPU lacks.
    missing: fn(CpuLevel) -> Vec<&'static str>,
    /// Whether there is an interpreter.
    interprets: bool,
}

impl Machine {
    /// This one.
    pub(crate) fn own() -> Self {
        let fits = cfg!(all(target_endian = "little", target_pointer_width = "64"));
        Self { triple: Triple::host(), missing, interprets: cfg!(feature = "pulley") && fits }
    }

    /// The best target that it runs, whatever a bundle has: the highest level of its own kind.
    pub(crate) fn best(&self) -> Option<Target> {
        self.choose(&Target::all().collect::<Vec<_>>())
    }

    /// The target to build for, so that it runs here: the default of its kind, which serves others too, else
    /// the best.
    pub(crate) fn to_build_for(&self) -> Option<Target> {
        let default = self.triple.map(Target::at_default_level);
        default.filter(|target| self.obstacle(*target).is_none()).or_else(|| self.best())
    }

    /// The one of `targets` that it runs best: native code of the highest level, else the interpreter's.
    pub(crate) fn choose(&self, targets: &[Target]) -> Option<Target> {
        let runs = targets.iter().copied().filter(|target| self.obstacle(*target).is_none());
        runs.max_by_key(|target| (target.triple.is_native(), target.level))
    }

    /// Why each of `targets` but the chosen one is not used, in their order.
    pub(crate) fn passed_over(&self, targets: &[Target]) -> Vec<(Target, PassedOver)> {
        let chosen = self.choose(targets);
        let others = targets.iter().copied().filter(|target| Some(*target) != chosen);
        others
            .filter_map(|target| {
                let reason = self.obstacle(target).or(chosen.map(PassedOver::Better))?;
                Some((target, reason))
            })
            .collect()
    }

    /// Why `target` does not run here, if it does not.
    pub(crate) fn obstacle(&self, target: Target) -> Option<PassedOver> {
        if !target.triple.is_native() {
            return (!self.interprets).then_some(PassedOver::NoInterpreter);
        }
        if Some(target.triple) != self.triple {
            return Some(PassedOver::OtherMachine);
        }
        let levels = [CpuLevel::V1, CpuLevel::V2, CpuLevel::V3, CpuLevel::V4];
        let needed = levels.into_iter().filter(|level| Some(*level) <= target.level);
        let missing: Vec<&'static str> = needed.flat_map(self.missing).collect();
        (!missing.is_empty()).then_some(PassedOver::Instructions(missing))
    }
}

/// Those of the named instruction sets that this CPU lacks.
#[cfg(target_arch = "x86_64")]
macro_rules! lacking {
    ($($name:tt)*) => {{
        let sets = [$(($name, std::arch::is_x86_feature_detected!($name))),*];
        sets.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
    }};
}

/// Instructions of an x86-64 level that this CPU lacks (psABI, without what every CPU has).
#[cfg(target_arch = "x86_64")]
fn missing(level: CpuLevel) -> Vec<&'static str> {
    match level {
        CpuLevel::V1 => Vec::new(),
        CpuLevel::V2 => lacking!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "cmpxchg16b"),
        CpuLevel::V3 => lacking!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe"),
        CpuLevel::V4 => lacking!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn missing(_: CpuLevel) -> Vec<&'static str> {
    Vec::new()
}

/// Machines for tests, of kinds that this one may not be.
#[cfg(test)]
impl Machine {
    /// A server of 2015: no AVX-512.
    pub(crate) fn haswell(interprets: bool) -> Self {
        let missing = |level| if level == CpuLevel::V4 { vec!["avx512f", "avx512bw"] } else { Vec::new() };
        Self { triple: Some(Triple::X86_64LinuxGnu), missing, interprets }
    }

    /// One of 2006: the lowest level alone.
    pub(crate) fn core2() -> Self {
        let missing = |level| if level == CpuLevel::V2 { vec!["sse4.2", "popcnt"] } else { Vec::new() };
        Self { triple: Some(Triple::X86_64LinuxGnu), missing, interprets: false }
    }

    pub(crate) fn aarch64(interprets: bool) -> Self {
        Self { triple: Some(Triple::Aarch64LinuxGnu), missing: |_| Vec::new(), interprets }
    }

    /// A kind that no code is generated for.
    pub(crate) fn of_no_kind(interprets: bool) -> Self {
        Self { triple: None, missing: |_| Vec::new(), interprets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn haswell(interprets: bool) -> Machine {
        Machine::haswell(interprets)
    }

    #[test]
    fn this_machine_runs_a_target_of_its_own_kind() {
        let best = Machine::own().best().expect("tests run on a supported machine");
        assert_eq!(Some(best.triple), Triple::host());
        assert_eq!(Machine::own().choose(&[best]), Some(best));
    }

    #[test]
    fn the_highest_level_that_runs_is_chosen_and_the_interpreter_last() {
        let all: Vec<Target> = Target::all().collect();
        let v3 = target("x86_64-unknown-linux-gnu:v3");
        assert_eq!(haswell(true).choose(&all), Some(v3));
        let reasons = haswell(true).passed_over(&all);
        let texts: Vec<String> = reasons.iter().map(|(target, why)| format!("{target}: {why}")).collect();
        assert_eq!(
            texts,
            [
                "x86_64-unknown-linux-gnu:v1: `x86_64-unknown-linux-gnu:v3` runs faster here",
                "x86_64-unknown-linux-gnu:v2: `x86_64-unknown-linux-gnu:v3` runs faster here",
                "x86_64-unknown-linux-gnu:v4: this CPU lacks avx512f avx512bw",
                "aarch64-unknown-linux-gnu: for another kind of machine",
                "pulley64: `x86_64-unknown-linux-gnu:v3` runs faster here",
            ]
        );
        let foreign = [target("aarch64-unknown-linux-gnu"), target("pulley64")];
        assert_eq!(haswell(true).choose(&foreign), Some(foreign[1]));
        assert_eq!(haswell(false).choose(&foreign), None);
        assert_eq!(
            haswell(false).passed_over(&foreign),
            [(foreign[0], PassedOver::OtherMachine), (foreign[1], PassedOver::NoInterpreter)]
        );
    }

    #[test]
    fn instructions_of_lower_levels_count_too() {
        let machine = Machine::core2();
        assert_eq!(machine.best(), Some(target("x86_64-unknown-linux-gnu:v1")));
        let v4 = target("x86_64-unknown-linux-gnu:v4");
        assert_eq!(machine.passed_over(&[v4]), [(v4, PassedOver::Instructions(vec!["sse4.2", "popcnt"]))]);
    }

    #[test]
    fn another_kind_of_machine_runs_only_its_own() {
        assert_eq!(Machine::aarch64(true).best(), Some(target("aarch64-unknown-linux-gnu")));
        assert_eq!(Machine::of_no_kind(true).best(), Some(target("pulley64")));
        assert_eq!(Machine::of_no_kind(false).best(), None);
    }

    #[test]
    fn what_to_build_for_runs_here_and_where_it_can_elsewhere_too() {
        let cases = [
            (haswell(true), Some("x86_64-unknown-linux-gnu:v2")),
            (Machine::core2(), Some("x86_64-unknown-linux-gnu:v1")),
            (Machine::aarch64(true), Some("aarch64-unknown-linux-gnu")),
            (Machine::of_no_kind(true), Some("pulley64")),
            (Machine::of_no_kind(false), None),
        ];
        for (machine, expected) in cases {
            assert_eq!(machine.to_build_for(), expected.map(target));
        }
    }
}
