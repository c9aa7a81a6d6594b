//! Core modules.

use wasmtime::{Linker, Module, Store};
use wasmtime_wizer::{WasmtimeWizer, Wizer};

use super::bounds::{self, Bounds};
use super::{ended, failed, unsupported};
use crate::core_module::{CoreExport, CoreModule, CoreSignature};
use crate::diagnostic::Code;
use crate::fault::{Fault, listed};
use registry_schema::suggest::nearest;

/// The function that sets a reactor up; it runs before any other, once.
const INITIALIZE: &str = "_initialize";

/// The module `bytes`, which `shown` describes, as its export `name` leaves it; `field` is where the
/// bytes stand.
///
/// # Errors
/// When there is no such export, it fails, or its state can't be kept.
pub(crate) fn module(bytes: &[u8], shown: &CoreModule, name: &str, field: &str) -> Result<Vec<u8>, Fault> {
    check_export(shown, name)?;
    let mut wizer = Wizer::new();
    wizer.init_func(name).keep_init_func(true);
    let (context, instrumented) = wizer.instrument(bytes).map_err(|error| unsupported(name, &error))?;
    let mut store = bounds::store(registry_schema::Profile::Sync).map_err(|error| ended(name, &error))?;
    let engine = store.engine().clone();
    let compiled = Module::new(&engine, &instrumented).map_err(|error| {
        let message = format!("the module can't be run ahead of time: {}", error.root_cause());
        Fault::new(Code::WasmInvalid, field, message)
    })?;
    let snapshot = bounds::complete(&engine, bounds::TIME_MAX, async {
        let instance = run(&mut store, &compiled, name).await?;
        wizer.snapshot(&context, &mut WasmtimeWizer { store: &mut store, instance }).await
    });
    snapshot.map_err(|error| ended(name, &error))
}

fn check_export(module: &CoreModule, name: &str) -> Result<(), Fault> {
    let found = match module.exports.get(name) {
        Some(CoreExport::Function(ty)) if ty.params().is_empty() && ty.results().is_empty() => return Ok(()),
        Some(CoreExport::Function(ty)) => format!("is `{}`", CoreSignature::from(ty)),
        Some(CoreExport::Memory | CoreExport::Other) => "is no function".to_owned(),
        None => {
            let plain = module.exports.iter().filter(|(_, export)| match export {
                CoreExport::Function(ty) => ty.params().is_empty() && ty.results().is_empty(),
                _ => false,
            });
            let names: Vec<&str> = plain.map(|(name, _)| name.as_str()).collect();
            return Err(failed(format!("the module exports no function `{name}`")).help(
                match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.is_empty() => "it exports none without parameters and results".to_owned(),
                    None => format!("functions without parameters and results are {}", listed(&names)),
                },
            ));
        }
    };
    Err(failed(format!("the export `{name}` {found}, expected a function `[] -> []`"))
        .help("export a function without parameters and results, which sets the state up"))
}

/// Instantiates `module` and runs `name` in it, behind what sets a reactor up.
async fn run(store: &mut Store<Bounds>, module: &Module, name: &str) -> wasmtime::Result<wasmtime::Instance> {
    let mut linker = Linker::new(store.engine());
    linker.define_unknown_imports_as_traps(module)?;
    let instance = linker.instantiate_async(&mut *store, module).await?;
    let mut names = vec![name];
    if name != INITIALIZE && instance.get_func(&mut *store, INITIALIZE).is_some() {
        names.insert(0, INITIALIZE);
    }
    for name in names {
        let function = instance.get_typed_func::<(), ()>(&mut *store, name)?;
        function.call_async(&mut *store, ()).await?;
    }
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, name: &str) -> Result<Vec<u8>, Fault> {
        let bytes = wat::parse_str(text).unwrap();
        module(&bytes, &CoreModule::read(&bytes).unwrap(), name, "source")
    }

    const COUNTER: &str = r#"(module
        (memory (export "memory") 1)
        (global $n (mut i32) (i32.const 1))
        (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 10))))
        (func (export "init")
            (global.set $n (i32.mul (global.get $n) (i32.const 2)))
            (drop (memory.grow (i32.const 1)))
            (i32.store (i32.const 70000) (global.get $n)))
        (func (export "get") (result i32) (i32.load (i32.const 70000))))"#;

    #[test]
    fn state_is_kept_and_set_up_once() {
        let bytes = run(COUNTER, "init").unwrap();
        assert_eq!(bytes, run(COUNTER, "init").unwrap());
        let module = CoreModule::read(&bytes).unwrap();
        // What sets a reactor up has run.
        assert!(!module.exports.contains_key("_initialize") && module.exports.contains_key("init"));
        let engine = wasmtime::Engine::default();
        let mut store = Store::new(&engine, ());
        let compiled = Module::new(&engine, &bytes).unwrap();
        let instance = wasmtime::Instance::new(&mut store, &compiled, &[]).unwrap();
        let get = instance.get_typed_func::<(), i32>(&mut store, "get").unwrap();
        assert_eq!(get.call(&mut store, ()).unwrap(), 22);
    }

    #[test]
    fn growth_beyond_the_bound_fails_in_the_guest() {
        let text = r#"(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
            (func (export "init") (global.set $g (memory.grow (i32.const 4000))))
            (func (export "get") (result i32) (global.get $g)))"#;
        let bytes = run(text, "init").unwrap();
        assert!(wasmparser::validate(&bytes).is_ok() && bytes.len() < 1000);
    }
}
