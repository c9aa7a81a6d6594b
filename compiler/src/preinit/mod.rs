//! Pre-initialisation: an export is run at build time, and its state is written into the module.
//!
//! Nothing is linked while it runs: a call of an import ends it. Instructions, memory and tables are
//! bounded, and so is time; what a bound ends is reported, never kept half done. The same source gives
//! the same bytes: there is nothing to depend on but the source, and NaNs and relaxed SIMD are the same on
//! every machine here.
//!
//! Memories and global numbers are kept. Tables, references and dropped segments can't be, so modules
//! with instructions that change these are refused ([`wasmtime_wizer`] looks for them).

mod bounds;
mod component;
mod module;

use wasmtime::{Error, Trap};

pub(crate) use component::component;
pub(crate) use module::module;

use crate::diagnostic::Code;
use crate::fault::Fault;

/// The field that names the export.
const FIELD: &str = "preinit";

/// How the engine words a call of an import that is not linked.
const UNKNOWN_IMPORT: &str = "unknown import: `";

fn failed(message: String) -> Fault {
    Fault::new(Code::PreinitFailed, FIELD, message)
}

/// The fault of a source whose state can't be kept, whatever `name` does.
fn unsupported(name: &str, error: &Error) -> Fault {
    let reason = error.root_cause().to_string();
    let reason = reason.replace("wizer does not currently support", "no support for");
    failed(format!("`{name}` can't be run ahead of time: {reason}"))
        .help("memories and global numbers are kept; tables, references and dropped segments can't be")
}

/// The fault of a run that failed with `error`.
fn ended(name: &str, error: &Error) -> Fault {
    let cause = error.root_cause().to_string();
    if let Some((import, _)) = cause.strip_prefix(UNKNOWN_IMPORT).and_then(|rest| rest.split_once('`')) {
        let import = import.replacen("::", "#", 1);
        return failed(format!("`{name}` calls the import `{import}`, and nothing is linked while it runs"))
            .help("what needs the host can only be done when the function is called");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            failed(format!("`{name}` did not end within {} instructions", bounds::INSTRUCTIONS_MAX))
                .help("do less ahead of time, or compute the data with a program and embed it")
        }
        Some(Trap::Interrupt) => {
            failed(format!("`{name}` did not end within {} s", bounds::TIME_MAX.as_secs()))
                .help("do less ahead of time, or compute the data with a program and embed it")
        }
        Some(trap) => failed(format!("`{name}` ended in a trap: {trap}{}", place(error)))
            .help("its export must be able to run on its own, once, before anything else"),
        None => failed(format!("`{name}` could not be run: {cause}")),
    }
}

/// The functions that the trap went through, innermost first.
fn place(error: &Error) -> String {
    const SHOWN_MAX: usize = 3;
    let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return String::new() };
    let names: Vec<&str> = backtrace.frames().iter().filter_map(wasmtime::FrameInfo::func_name).collect();
    match names.len() {
        0 => String::new(),
        count => format!(" (in {})", crate::fault::listed(&names[..count.min(SHOWN_MAX)])),
    }
}
