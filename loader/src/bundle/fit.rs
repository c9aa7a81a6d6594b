//! Whether a bundle was made for this loader and for the machine, and by which of its targets it is run.

use registry_schema::Target;
use registry_schema::engine::{COMPILER_VERSION, EngineOptions};
use registry_schema::manifest::Head;

use crate::error::{Difference, OpenError};
use crate::machine::Machine;

/// The target whose artifacts `machine` uses: `only`, if that is given, else the best that it runs; `None` for
/// a bundle without artifacts.
///
/// # Errors
/// Everything in which compiler, engine options and targets differ from what is needed.
pub(super) fn target(
    head: &Head,
    artifacts: usize,
    only: Option<Target>,
    machine: &Machine,
) -> Result<Option<Target>, OpenError> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: &str, found: &str| {
        differences.push(Difference {
            what: what.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    };
    if head.compiler != COMPILER_VERSION {
        differ("compiler version", COMPILER_VERSION, &head.compiler);
    }
    for (profile, engine) in &head.engines {
        let own = EngineOptions::new(*profile);
        let options = own.differences(&engine.options);
        for option in &options {
            differ(
                &format!("engine option `{}` ({profile})", option.option),
                &option.expected,
                &option.found,
            );
        }
        if options.is_empty() && engine.fingerprint != own.fingerprint() {
            differ(&format!("engine fingerprint ({profile})"), &own.fingerprint(), &engine.fingerprint);
        }
    }
    let wanted = head.targets.iter().copied().filter(|target| only.is_none_or(|only| only == *target));
    let target = machine.choose(&wanted.collect::<Vec<_>>());
    let unfit = target.is_none() && artifacts > 0;
    if unfit {
        differ("target", &expected(only, machine), &found(&head.targets, machine));
    }
    if differences.is_empty() {
        return Ok(target);
    }
    let build_for = match only {
        _ if !unfit => None,
        Some(only) => machine.obstacle(only).is_none().then_some(only),
        None => machine.to_build_for(),
    };
    Err(OpenError::Incompatible { differences, build_for })
}

/// The targets that would do.
fn expected(only: Option<Target>, machine: &Machine) -> String {
    match (only, machine.best()) {
        (Some(only), _) => format!("`{only}`"),
        (None, Some(best)) => format!("up to `{best}`"),
        (None, None) => "no target at all".to_owned(),
    }
}

/// The targets that are there, and of those that the machine does not run, why not.
fn found(targets: &[Target], machine: &Machine) -> String {
    let shown = targets.iter().map(|target| match machine.obstacle(*target) {
        Some(why) => format!("`{target}` ({why})"),
        None => format!("`{target}`"),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use registry_schema::Profile;
    use registry_schema::manifest::Engine;

    use super::*;

    const V1: &str = "x86_64-unknown-linux-gnu:v1";
    const V2: &str = "x86_64-unknown-linux-gnu:v2";
    const V3: &str = "x86_64-unknown-linux-gnu:v3";
    const V4: &str = "x86_64-unknown-linux-gnu:v4";
    const AARCH64: &str = "aarch64-unknown-linux-gnu";
    const PULLEY64: &str = "pulley64";

    /// The head of a bundle that fits this loader, for `targets`.
    fn head(targets: &[&str]) -> Head {
        let engines = Profile::ALL.map(|profile| {
            let options = EngineOptions::new(profile);
            (profile, Engine { fingerprint: options.fingerprint(), options: options.to_json() })
        });
        Head {
            compiler: COMPILER_VERSION.to_owned(),
            engines: engines.into(),
            targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
            ..Head::default()
        }
    }

    /// What is said where none of `targets` is used, on `machine`.
    fn refusal(targets: &[&str], only: Option<&str>, machine: &Machine) -> String {
        let only = only.map(|only| only.parse().unwrap());
        target(&head(targets), 1, only, machine).unwrap_err().to_string()
    }

    /// The whole message about targets; `build_for` is the hint's.
    fn message(expected: &str, found: &str, build_for: Option<&str>) -> String {
        let build_for = build_for.map_or(String::new(), |target| format!(" --target {target}"));
        format!(
            "the bundle does not fit this loader:\n  target: expected {expected}, found {found}\n\
             rebuild it with the compiler of this loader's version: `compiler build{build_for}`"
        )
    }

    #[test]
    fn instructions_that_the_cpu_lacks_are_named() {
        let expected = message(
            "up to `x86_64-unknown-linux-gnu:v3`",
            "`x86_64-unknown-linux-gnu:v4` (this CPU lacks avx512f avx512bw)",
            Some(V2),
        );
        assert_eq!(refusal(&[V4], None, &Machine::haswell(true)), expected);
        // A CPU below the compiler's default is not told to build for that.
        let expected = message(
            "up to `x86_64-unknown-linux-gnu:v1`",
            "`x86_64-unknown-linux-gnu:v2` (this CPU lacks sse4.2 popcnt), \
             `x86_64-unknown-linux-gnu:v3` (this CPU lacks sse4.2 popcnt)",
            Some(V1),
        );
        assert_eq!(refusal(&[V2, V3], None, &Machine::core2()), expected);
    }

    #[test]
    fn each_target_has_its_own_reason() {
        let expected = message(
            "up to `x86_64-unknown-linux-gnu:v3`",
            "`x86_64-unknown-linux-gnu:v4` (this CPU lacks avx512f avx512bw), \
             `aarch64-unknown-linux-gnu` (for another kind of machine), \
             `pulley64` (needs a loader built with the feature `pulley`)",
            Some(V2),
        );
        assert_eq!(refusal(&[V4, AARCH64, PULLEY64], None, &Machine::haswell(false)), expected);
        let expected = message(
            "up to `aarch64-unknown-linux-gnu`",
            "`x86_64-unknown-linux-gnu:v1` (for another kind of machine), \
             `x86_64-unknown-linux-gnu:v4` (for another kind of machine)",
            Some(AARCH64),
        );
        assert_eq!(refusal(&[V1, V4], None, &Machine::aarch64(true)), expected);
    }

    #[test]
    fn a_machine_without_any_target_is_told_of_none() {
        let found = "`x86_64-unknown-linux-gnu:v2` (for another kind of machine), \
            `pulley64` (needs a loader built with the feature `pulley`)";
        let expected = message("no target at all", found, None);
        assert_eq!(refusal(&[V2, PULLEY64], None, &Machine::of_no_kind(false)), expected);
        let expected = message("up to `pulley64`", "none", Some(PULLEY64));
        assert_eq!(refusal(&[], None, &Machine::of_no_kind(true)), expected);
    }

    #[test]
    fn a_target_that_is_asked_for_is_the_only_one_that_will_do() {
        let machine = Machine::haswell(true);
        let expected = message(
            "`x86_64-unknown-linux-gnu:v1`",
            "`x86_64-unknown-linux-gnu:v3`, `aarch64-unknown-linux-gnu` (for another kind of machine)",
            Some(V1),
        );
        assert_eq!(refusal(&[V3, AARCH64], Some(V1), &machine), expected);
        // Asked for, there, and not for this machine: no build would help.
        let expected = message(
            "`aarch64-unknown-linux-gnu`",
            "`x86_64-unknown-linux-gnu:v3`, `aarch64-unknown-linux-gnu` (for another kind of machine)",
            None,
        );
        assert_eq!(refusal(&[V3, AARCH64], Some(AARCH64), &machine), expected);
        let found = target(&head(&[V1, V3]), 1, Some(V1.parse().unwrap()), &machine).unwrap();
        assert_eq!(found, Some(V1.parse().unwrap()));
    }

    #[test]
    fn differences_of_all_kinds_are_listed_together() {
        let mut head = head(&[V4, PULLEY64]);
        head.compiler = "47.0.0".to_owned();
        for (profile, engine) in &mut head.engines {
            match profile {
                Profile::Sync => drop(engine.options.remove("consume_fuel")),
                Profile::Async => engine.fingerprint = "00".to_owned(),
            }
        }
        let own = EngineOptions::new(Profile::Async).fingerprint();
        let expected = format!(
            "the bundle does not fit this loader:
  compiler version: expected {COMPILER_VERSION}, found 47.0.0
  engine option `consume_fuel` (sync): expected false, found nothing
  engine fingerprint (async): expected {own}, found 00
  target: expected up to `{V3}`, found `{V4}` (this CPU lacks avx512f avx512bw), \
   `pulley64` (needs a loader built with the feature `pulley`)
rebuild it with the compiler of this loader's version: `compiler build --target {V2}`"
        );
        let error = target(&head, 1, None, &Machine::haswell(false)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_bundle_without_artifacts_fits_every_machine() {
        let found = target(&head(&[V4, AARCH64]), 0, None, &Machine::core2()).unwrap();
        assert_eq!(found, None);
    }
}
