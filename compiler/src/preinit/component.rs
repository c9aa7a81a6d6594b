//! Components.

use registry_schema::manifest::{ExportPath, ExportRecord};
use wasmtime::component::{Component, ComponentExportIndex, Instance, Lift, Linker, WasmList};
use wasmtime::{Error, Result, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::bounds::{self, Bounds};
use super::{FIELD, ended, failed, unsupported};
use crate::component::{Origin, inspect};
use crate::diagnostic::Code;
use crate::fault::Fault;
use crate::method;

/// The component `bytes`, which stand in `field`, as its export `name` leaves it.
///
/// # Errors
/// When it is not valid, has no such export, the export fails, or its state can't be kept.
pub(crate) fn component(
    bytes: &[u8],
    name: &str,
    field: &'static str,
) -> std::result::Result<Vec<u8>, Fault> {
    let inspected = inspect(bytes, Origin { field, ..Origin::default() })?;
    let path = export(name, &inspected.record.exports)?;
    if has_wide_memory(bytes) {
        return Err(failed(format!("`{name}` can't be run ahead of time: a memory has 64-bit addresses"))
            .help("the state of a core module with such a memory can be kept"));
    }
    let wizer = Wizer::new();
    let prepared = wizer.instrument_component(bytes);
    let (context, instrumented) = prepared.map_err(|error| unsupported(name, &error))?;
    let mut store = bounds::store(inspected.record.profile).map_err(|error| ended(name, &error))?;
    let engine = store.engine().clone();
    let compiled = Component::new(&engine, &instrumented).map_err(|error| unsupported(name, &error))?;
    let snapshot = bounds::complete(&engine, bounds::TIME_MAX, async {
        let instance = run(&mut store, &compiled, &path).await?;
        bounds::allow_reading(&mut store)?;
        let mut state = State { store: &mut store, instance, error: None };
        let snapshot = wizer.snapshot_component(&context, &mut state).await?;
        match state.error {
            None => Ok(snapshot),
            Some(error) => Err(error),
        }
    });
    snapshot.map_err(|error| match error.downcast_ref::<Unreadable>() {
        Some(_) => failed(format!("`{name}` has run, and its state can't be read"))
            .help("a memory that is as large as it may become can't be read: allow it one page more"),
        None => ended(name, &error),
    })
}

/// The export that `name` means, which takes and returns nothing.
fn export(name: &str, exports: &[ExportRecord]) -> std::result::Result<ExportPath, Fault> {
    let found = method::find(Some(name), exports, "").map_err(|mut fault| {
        fault.code = Code::PreinitFailed;
        FIELD.clone_into(&mut fault.field);
        fault
    })?;
    match &found.signature {
        Some(signature)
            if signature.params.is_empty() && signature.result.is_none() && !signature.is_async =>
        {
            Ok(found.path.clone())
        }
        signature => {
            let shown = signature.as_ref().map(ToString::to_string).unwrap_or_default();
            Err(failed(format!("the export `{}` is `{shown}`, expected `func()`", found.path))
                .help("export a function without parameters and result, which sets the state up"))
        }
    }
}

/// Whether a module of the component has a memory with 64-bit addresses.
fn has_wide_memory(bytes: &[u8]) -> bool {
    wasmparser::Parser::new(0).parse_all(bytes).flatten().any(|payload| match payload {
        wasmparser::Payload::MemorySection(memories) => {
            memories.into_iter().flatten().any(|memory| memory.memory64)
        }
        _ => false,
    })
}

/// Instantiates `component` and runs `path` in it.
async fn run(store: &mut Store<Bounds>, component: &Component, path: &ExportPath) -> Result<Instance> {
    let mut linker = Linker::new(store.engine());
    linker.define_unknown_imports_as_traps(component)?;
    let instance = linker.instantiate_async(&mut *store, component).await?;
    let index = index(&instance, &mut *store, path.interface.as_deref(), &path.function);
    let index = index.ok_or_else(|| Error::msg(format!("`{path}` is not exported")))?;
    let function = instance.get_typed_func::<(), ()>(&mut *store, index)?;
    function.call_async(&mut *store, ()).await?;
    Ok(instance)
}

fn index(
    instance: &Instance,
    store: &mut Store<Bounds>,
    interface: Option<&str>,
    function: &str,
) -> Option<ComponentExportIndex> {
    let interface = match interface {
        Some(name) => Some(instance.get_export_index(&mut *store, None, name)?),
        None => None,
    };
    instance.get_export_index(&mut *store, interface.as_ref(), function)
}

/// The state can't be read.
#[derive(Debug)]
struct Unreadable;

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the state can't be read")
    }
}

impl std::error::Error for Unreadable {}

/// Reads the state of an instance through the functions that the wizer has added to the component.
///
/// The wizer's own reader panics where one of them fails; this one keeps the error, and what the wizer
/// makes of the values that it gave instead is thrown away.
struct State<'s> {
    store: &'s mut Store<Bounds>,
    instance: Instance,
    error: Option<Error>,
}

impl State<'_> {
    async fn call<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> Option<R> {
        let result: Result<R> = async {
            let index = index(&self.instance, self.store, Some(instance), function);
            let index = index.ok_or_else(|| Error::new(Unreadable))?;
            let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, index)?;
            Ok(function.call_async(&mut *self.store, ()).await.map_err(|_| Error::new(Unreadable))?.0)
        }
        .await;
        result.map_err(|error| self.error.get_or_insert(error)).ok()
    }
}

impl ComponentInstanceState for State<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, function).await {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, function: &str) -> i32 {
        self.call(instance, function).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, function: &str) -> i64 {
        self.call(instance, function).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, function: &str) -> u32 {
        self.call::<f32>(instance, function).await.unwrap_or_default().to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, function: &str) -> u64 {
        self.call::<f64>(instance, function).await.unwrap_or_default().to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(memory: &str, body: &str) -> String {
        format!(
            r#"(component
            (import "log" (func $log))
            (core func $log (canon lower (func $log)))
            (core module $m
                (import "" "log" (func $log))
                (memory (export "memory") {memory})
                (global $x (mut f64) (f64.const 0))
                (func (export "init") {body})
                (func (export "get") (result i32) (i32.load (i32.const 8)))
                (func (export "start") (param i32)))
            (core instance $i (instantiate $m (with "" (instance (export "log" (func $log))))))
            (func (export "init") (canon lift (core func $i "init")))
            (func (export "start") (param "n" u32) (canon lift (core func $i "start")))
            (func $get (result u32) (canon lift (core func $i "get")))
            (instance $things (export "get" (func $get)))
            (export "a:b/things@1.2.0" (instance $things)))"#
        )
    }

    fn run(memory: &str, body: &str, name: &str) -> std::result::Result<Vec<u8>, String> {
        let bytes = wat::parse_str(text(memory, body)).unwrap();
        component(&bytes, name, "source").map_err(|fault| fault.message)
    }

    const SET: &str = "(i32.store (i32.const 8) (i32.const 42)) (global.set $x (f64.const 2.5))";

    #[test]
    fn state_is_kept() {
        let bytes = run("1", SET, "init").unwrap();
        assert_eq!(bytes, run("1", SET, "init").unwrap());
        let inspected = inspect(&bytes, Origin { field: "source", ..Origin::default() }).unwrap();
        let paths: Vec<String> = inspected.record.exports.iter().map(|it| it.path.to_string()).collect();
        assert_eq!(paths, ["a:b/things@1.2.0#get", "init", "start"]);
        let engine = wasmtime::Engine::default();
        let (component, mut store) = (Component::new(&engine, &bytes).unwrap(), Store::new(&engine, ()));
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let things = instance.get_export_index(&mut store, None, "a:b/things@1.2.0");
        let get = instance.get_export_index(&mut store, things.as_ref(), "get").unwrap();
        let get = instance.get_typed_func::<(), (u32,)>(&mut store, get).unwrap();
        assert_eq!(get.call(&mut store, ()).unwrap(), (42,));
    }

    #[test]
    fn what_fails_is_said() {
        let message = |memory: &str, body: &str, name: &str| run(memory, body, name).unwrap_err();
        assert!(message("1", "", "things#get").contains("expected `func()`"));
        assert!(message("1", "", "start").starts_with("the export `start` is `func(n: u32)`"));
        assert!(message("1", "", "inti").contains("inti"));
        assert_eq!(
            message("1", "(call $log)", "init"),
            "`init` calls the import `log`, and nothing is linked while it runs"
        );
        assert!(message("1", "unreachable", "init").starts_with("`init` ended in a trap: "));
        assert_eq!(message("1 1", "", "init"), "`init` has run, and its state can't be read");
        let wide = r#"(component
            (core module $m (memory i64 1) (func (export "init")))
            (core instance $i (instantiate $m))
            (func (export "init") (canon lift (core func $i "init"))))"#;
        let fault = component(&wat::parse_str(wide).unwrap(), "init", "source").unwrap_err();
        assert!(fault.message.ends_with("a memory has 64-bit addresses"));
        assert!(message("1", "(data.drop 0)) (data \"x\") (func", "init").contains("`data.drop`"));
    }
}
