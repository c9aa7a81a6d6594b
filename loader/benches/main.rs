//! What calls cost, beside plain wasmtime and plain Lua in the same run. `scripts/bench/calls` runs it; names of
//! sections behind `cargo bench -p loader --` run only these.
//!
//! Machines are shared and noisy: every figure is the median of rounds that alternate with those of its peers, with
//! half the distance of its quartiles; what counts are ratios.
#![allow(clippy::unwrap_used, missing_docs, reason = "benchmarks")]

mod calls;
mod invocation;
mod limits;
mod measure;
mod patterns;
mod plain;
mod pools;
#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let sections: [(&str, fn()); 5] = [
        ("invocation", invocation::run),
        ("calls", calls::run),
        ("patterns", patterns::run),
        ("pools", pools::run),
        ("limits", limits::run),
    ];
    for (name, run) in sections {
        if named.is_empty() || named.iter().any(|named| named == name) {
            println!("== {name}");
            run();
        }
    }
}
