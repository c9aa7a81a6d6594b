//! The engines, each made when it is first used: for each profile one that allocates instances on demand, and
//! one for the synchronous profile that has memory reserved for them.
//!
//! Guests of the asynchronous profile have as many stacks as they have tasks: none of these could be reserved
//! without a bound on tasks, and one guest would use up those of others.

use std::sync::{Arc, OnceLock};

use registry_schema::engine::EngineOptions;
use registry_schema::{Profile, Target};
use rustix::process::{Resource, getrlimit};
use wasmtime::{Config, Engine, InstanceAllocationStrategy};

use crate::config::{FIBRE_STACK_BYTES, GUEST_STACK_BYTES};
use crate::mapping;
use crate::reservation::Reservation;
use crate::ticker::Ticker;

/// The engines of a loader.
pub(crate) struct Engines {
    sync: OnceLock<Engine>,
    r#async: OnceLock<Engine>,
    /// That of the synchronous profile whose instances have reserved memory, or why there is none.
    reserved: OnceLock<Result<Reserved, String>>,
    target: Option<Target>,
    ticker: Arc<Ticker>,
}

/// An engine, and what is reserved for its instances.
struct Reserved {
    engine: Engine,
    reservation: Reservation,
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
        let (sync, r#async, reserved) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { sync, r#async, reserved, target, ticker }
    }

    /// The engine with reserved memory, made when it is first asked for, if `fits` says of what is reserved
    /// that it is enough.
    ///
    /// # Errors
    /// Why nothing is reserved; given once.
    pub(crate) fn reserved(
        &self,
        reservation: impl FnOnce() -> Result<Reservation, String>,
        fits: impl FnOnce(&Reservation) -> bool,
    ) -> Result<Option<&Engine>, String> {
        let mut problem = None;
        let reserved = self.reserved.get_or_init(|| {
            let reserved = reservation().and_then(|reservation| self.reserve(reservation));
            problem = reserved.as_ref().err().cloned();
            reserved
        });
        match (problem, reserved) {
            (Some(problem), _) => Err(problem),
            (None, Ok(reserved)) if fits(&reserved.reservation) => Ok(Some(&reserved.engine)),
            (None, _) => Ok(None),
        }
    }

    fn reserve(&self, reservation: Reservation) -> Result<Reserved, String> {
        let bytes = reservation.bytes();
        // A process that may have little is not left with none for anything else.
        if let Some(limit) = getrlimit(Resource::As).current.filter(|limit| bytes > limit / 2) {
            return Err(format!(
                "{bytes} bytes of address space are too many for `ulimit -v` of {limit} bytes"
            ));
        }
        let strategy = InstanceAllocationStrategy::Pooling(reservation.config());
        let engine = make(Profile::Sync, self.target, strategy).map_err(|error| format!("{error:#}"))?;
        self.ticker.add(engine.clone());
        Ok(Reserved { engine, reservation })
    }

    /// The engine of `profile` that allocates instances on demand.
    pub(crate) fn get(&self, profile: Profile) -> wasmtime::Result<&Engine> {
        let slot = match profile {
            Profile::Sync => &self.sync,
            Profile::Async => &self.r#async,
        };
        if let Some(engine) = slot.get() {
            return Ok(engine);
        }
        let engine = make(profile, self.target, InstanceAllocationStrategy::OnDemand)?;
        Ok(slot.get_or_init(|| {
            self.ticker.add(engine.clone());
            engine
        }))
    }
}

fn make(
    profile: Profile,
    target: Option<Target>,
    strategy: InstanceAllocationStrategy,
) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    EngineOptions::new(profile).apply(&mut config)?;
    // The engine's own default is the machine's native code.
    if let Some(target) = target.filter(|target| !target.triple.is_native()) {
        config.target(target.triple.as_str())?;
    }
    config
        .allocation_strategy(strategy)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBRE_STACK_BYTES)
        .with_custom_code_memory(Some(mapping::code_memory()));
    Engine::new(&config)
}
