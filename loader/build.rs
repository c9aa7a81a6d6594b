//! Leaves the tables by which stacks are unwound out of the smallest binary: an eighth of it, which nothing
//! reads where a panic ends the process. Guests' traps and backtraces don't use them.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=no-unwind-tables.ld");
    println!("cargo::rustc-check-cfg=cfg(no_unwind_tables)");
    // A build script is not told the strategy of panics; `main.rs` refuses another than this profile's.
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    if is("OPT_LEVEL", "z") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let folder = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-cfg=no_unwind_tables");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/no-unwind-tables.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
