//! What this machine can run.

use registry_schema::Target;
use registry_schema::profile::{CpuLevel, Triple};

/// The highest x86-64 level whose instructions this CPU has.
#[cfg(target_arch = "x86_64")]
fn level() -> Option<CpuLevel> {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse3")
        && has!("ssse3")
        && has!("sse4.1")
        && has!("sse4.2")
        && has!("popcnt")
        && has!("cmpxchg16b");
    let v3 = v2
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe");
    let v4 =
        v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    Some(match (v2, v3, v4) {
        (_, _, true) => CpuLevel::V4,
        (_, true, _) => CpuLevel::V3,
        (true, ..) => CpuLevel::V2,
        _ => CpuLevel::V1,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn level() -> Option<CpuLevel> {
    None
}

/// The best target that this machine runs, if artifacts exist for its kind at all.
pub(crate) fn best() -> Option<Target> {
    Triple::host().map(|triple| Target { triple, level: level() })
}

/// Whether this machine runs code for `target`.
pub(crate) fn runs(target: Target) -> bool {
    best().is_some_and(|best| covers(best, target))
}

/// Whether a machine whose best target is `best` runs code for `target`.
fn covers(best: Target, target: Target) -> bool {
    best.triple == target.triple && target.level <= best.level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_its_own_best_and_no_other_triple() {
        let best = best().expect("tests run on a supported machine");
        assert!(runs(best));
        let other = Target::all().find(|target| target.triple != best.triple).expect("there are two");
        assert!(!runs(other));
    }

    #[test]
    fn a_level_covers_itself_and_those_below() {
        let triple = Triple::X86_64LinuxGnu;
        let levels = [CpuLevel::V1, CpuLevel::V2, CpuLevel::V3, CpuLevel::V4];
        let targets = levels.map(|level| Target { triple, level: Some(level) });
        for (own, best) in targets.into_iter().enumerate() {
            let covered = targets.map(|target| covers(best, target));
            let expected: Vec<bool> = (0..levels.len()).map(|level| level <= own).collect();
            assert_eq!(covered[..], expected);
        }
    }
}
