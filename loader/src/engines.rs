//! One engine per profile, made when it is first used.

use std::sync::{Arc, OnceLock};

use registry_schema::engine::EngineOptions;
use registry_schema::{Profile, Target};
use wasmtime::{Config, Engine};

use crate::config::{FIBRE_STACK_BYTES, GUEST_STACK_BYTES};
use crate::mapping;
use crate::ticker::Ticker;

/// The engines of a loader.
pub(crate) struct Engines {
    sync: OnceLock<Engine>,
    r#async: OnceLock<Engine>,
    target: Option<Target>,
    ticker: Arc<Ticker>,
}

/// Whether this build runs components of `profile`.
pub(crate) fn offers(profile: Profile) -> bool {
    match profile {
        Profile::Sync => true,
        Profile::Async => cfg!(feature = "p3"),
    }
}

impl Engines {
    /// Engines for artifacts of `target`; `None` where there are none.
    pub(crate) fn new(target: Option<Target>, ticker: Arc<Ticker>) -> Self {
        Self { sync: OnceLock::new(), r#async: OnceLock::new(), target, ticker }
    }

    /// The engine of `profile`.
    pub(crate) fn get(&self, profile: Profile) -> wasmtime::Result<&Engine> {
        let slot = match profile {
            Profile::Sync => &self.sync,
            Profile::Async => &self.r#async,
        };
        if let Some(engine) = slot.get() {
            return Ok(engine);
        }
        let engine = make(profile, self.target)?;
        Ok(slot.get_or_init(|| {
            self.ticker.add(engine.clone());
            engine
        }))
    }
}

fn make(profile: Profile, target: Option<Target>) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    EngineOptions::new(profile).apply(&mut config)?;
    // The engine's own default is the machine's native code.
    if let Some(target) = target.filter(|target| !target.triple.is_native()) {
        config.target(target.triple.as_str())?;
    }
    config
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBRE_STACK_BYTES)
        .with_custom_code_memory(Some(mapping::code_memory()));
    Engine::new(&config)
}
