//! What a run may use.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use registry_schema::Profile;
use registry_schema::engine::EngineOptions;
use wasmtime::{Config, Engine, ResourceLimiter, Result, Store};

/// Most instructions of a run; some seconds of work. Counted, so that the same source ends the same way
/// on every machine.
pub(super) const INSTRUCTIONS_MAX: u64 = 4_000_000_000;
/// Instructions for reading the state of a component, which its own code is generated for.
const READING_INSTRUCTIONS_MAX: u64 = 1_000_000;
/// Longest run. Single instructions may be long (`memory.fill`), and only this bounds their sum.
pub(super) const TIME_MAX: Duration = Duration::from_secs(120);
/// All memories of a run together, in bytes; the state becomes part of the component.
const MEMORY_BYTES_MAX: usize = 128 << 20;
/// Elements of all tables of a run together.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// What is left of memory and tables.
pub(super) struct Bounds {
    memory_bytes: usize,
    table_elements: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_bytes: MEMORY_BYTES_MAX, table_elements: TABLE_ELEMENTS_MAX }
    }
}

/// Takes what is between `current` and `desired` out of `left`, if there is as much.
fn take(left: &mut usize, current: usize, desired: usize) -> bool {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(take(&mut self.memory_bytes, current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(take(&mut self.table_elements, current, desired))
    }
}

/// A store that bounds what runs in it, on an engine of its own.
pub(super) fn store(profile: Profile) -> Result<Store<Bounds>> {
    let mut config = Config::new();
    EngineOptions::new(profile).apply(&mut config)?;
    config.consume_fuel(true).relaxed_simd_deterministic(true).cranelift_nan_canonicalization(true);
    let mut store = Store::new(&Engine::new(&config)?, Bounds::default());
    store.limiter(|bounds| bounds);
    store.set_fuel(INSTRUCTIONS_MAX)?;
    store.set_epoch_deadline(1);
    Ok(store)
}

/// Lets generated code read the state, however much the run has used.
pub(super) fn allow_reading(store: &mut Store<Bounds>) -> Result<()> {
    store.set_fuel(READING_INSTRUCTIONS_MAX)?;
    // Reading takes one page more of each memory.
    store.data_mut().memory_bytes = MEMORY_BYTES_MAX;
    Ok(())
}

/// Runs `future` to its end; guests of `engine` are interrupted after `time_max`.
///
/// Nothing is linked that could wait, so there is nothing to wait for.
pub(super) fn complete<F: Future>(engine: &Engine, time_max: Duration, future: F) -> F::Output {
    let (done, wait) = channel::<()>();
    let watched = engine.clone();
    let watchdog = std::thread::spawn(move || {
        if wait.recv_timeout(time_max) == Err(RecvTimeoutError::Timeout) {
            watched.increment_epoch();
        }
    });
    let mut future = pin!(future);
    let output = loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break output;
        }
    };
    drop(done);
    // It ends at once, and a panic in it is not possible.
    let _ = watchdog.join();
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_over_all_memories() {
        let mut bounds = Bounds::default();
        assert!(bounds.memory_growing(0, MEMORY_BYTES_MAX - 1, None).unwrap());
        assert!(!bounds.memory_growing(0, 2, None).unwrap());
        assert!(bounds.memory_growing(0, 1, None).unwrap());
        assert!(!bounds.table_growing(0, TABLE_ELEMENTS_MAX + 1, None).unwrap());
    }

    #[test]
    fn time_is_bounded() {
        let mut store = store(Profile::Sync).unwrap();
        store.set_fuel(u64::MAX).unwrap();
        let engine = store.engine().clone();
        let bytes = wat::parse_str(r#"(module (func (export "f") (loop br 0)))"#).unwrap();
        let module = wasmtime::Module::new(&engine, bytes).unwrap();
        let result = complete(&engine, Duration::from_millis(1), async {
            let instance = wasmtime::Instance::new_async(&mut store, &module, &[]).await?;
            instance.get_typed_func::<(), ()>(&mut store, "f")?.call_async(&mut store, ()).await
        });
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&wasmtime::Trap::Interrupt));
    }
}
