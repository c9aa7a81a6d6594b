//! Services: what runs for as long as the loader serves (`en/guides/supervision.md`).
//!
//! A [`Supervisor`] starts them, dependencies first, restarts those that fail after growing waits, and stops
//! them, dependents first. Each is driven by a task of its own (`driver.rs`), so that services of one level
//! start side by side and a panic in one ends a run of that one alone.
//!
//! Services of a bundle are its entries (`entries.rs`); an embedding program may add its own.

mod backoff;
mod driver;
mod entries;
#[cfg(all(feature = "http", any(feature = "lua", feature = "telemetry")))]
mod handover;
mod order;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::backoff::Jitter;
#[cfg(all(feature = "http", any(feature = "lua", feature = "telemetry")))]
pub(crate) use self::handover::Listeners;
pub use self::settings::{Restart, Settings};
pub use self::state::{State, Status};

use self::driver::Driver;
use crate::context::Context;
use crate::error::Error;

/// A future that may be sent to another thread.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that runs for as long as the loader serves.
pub trait Service: Send + Sync + 'static {
    /// Starts one run: resolves when the service is ready, with the future of the run itself, which resolves
    /// when it ends.
    ///
    /// A run that ends without an error is over; one that fails is repeated, unless its error says that this
    /// is no use. When [`Run::stop`] is requested the run should end by itself; it is dropped after
    /// `stop_timeout`, and so is a start after `start_timeout`: dropping must free all that it holds.
    fn start(&self, run: Run) -> Boxed<'_, Result<Running, Error>>;

    /// Checks and loads what its runs will need, without running any code of the bundle. It may block.
    ///
    /// # Errors
    /// Why a start would fail.
    fn warm(&self) -> Result<(), Error> {
        Ok(())
    }

    /// How it leaves.
    fn leaves(&self) -> Leaving {
        Leaving::Asked
    }
}

/// How a service leaves, when the services of another bundle take over or everything stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It is asked to stop, after what requires it.
    Asked,
    /// When others take over it goes on until it is done; when everything stops it is asked, after what
    /// requires it.
    Done,
    /// It is asked when all services but those of this kind have ended: it tells how they are.
    Last,
}

/// A run under way.
pub type Running = Boxed<'static, Result<(), Error>>;

/// What a run of a service gets.
#[derive(Debug)]
pub struct Run {
    /// Who it acts for: actor and scope of its `lifecycle.security`.
    pub context: Context,
    /// When it should end.
    pub stop: Stop,
}

/// Says when a run should end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop {
    requested: watch::Receiver<bool>,
    phase: watch::Receiver<Phase>,
}

impl Stop {
    /// Waits until the run should end.
    pub async fn requested(&mut self) {
        // A supervisor that is gone wants nothing to go on.
        let _ = self.requested.wait_for(|stop| *stop).await;
    }

    /// Waits until the services of another bundle have taken over. What leaves as [`Leaving::Done`] should end
    /// when it has nothing left to do.
    pub async fn superseded(&mut self) {
        // A supervisor that is gone takes its services with it.
        let _ = self.phase.wait_for(|phase| *phase == Phase::Leave).await;
    }
}

/// What the services of a supervisor are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serve,
    /// Others have taken over: leave.
    Leave,
    /// Stop, all of you.
    Stop,
}

/// Waits until services should leave or stop.
async fn leaving(phase: &mut watch::Receiver<Phase>) {
    // A supervisor that is gone takes its services with it.
    let _ = phase.wait_for(|phase| *phase != Phase::Serve).await;
}

/// A service with all that a supervisor has to know of it.
pub struct Declared {
    /// Its name: the id of an entry, or a word without a colon.
    pub name: String,
    /// How it is started, restarted and stopped.
    pub settings: Settings,
    /// Services that run before it starts, and stop after it, by name.
    pub requires: Vec<String>,
    /// Who its runs act for.
    pub context: Context,
    /// What runs.
    pub service: Arc<dyn Service>,
}

/// Services that are to be started together.
#[derive(Default)]
pub struct Supervisor {
    declared: Vec<Declared>,
    jitter: Jitter,
    observer: Option<Arc<Observer>>,
    /// Given to services that ask how all are.
    status: Arc<OnceLock<Status>>,
}

/// Called at each change of a service's state, with its name. It must not block.
pub type Observer = dyn Fn(&str, &State) + Send + Sync;

impl Supervisor {
    /// Takes one more service.
    pub fn add(&mut self, service: Declared) {
        self.declared.push(service);
    }

    /// How the services are, once they are started: for a service that tells others.
    pub fn status_later(&self) -> Arc<OnceLock<Status>> {
        Arc::clone(&self.status)
    }

    /// Sets where the random share of waits comes from.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Has `observer` called at each change of a service's state.
    #[must_use]
    pub fn observer(self, observer: impl Fn(&str, &State) + Send + Sync + 'static) -> Self {
        self.observed(Arc::new(observer))
    }

    /// The same with an observer that others have as well.
    #[must_use]
    pub fn observed(mut self, observer: Arc<Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks and loads what its services will need; what is wrong with each, by name. Blocks.
    pub fn warm(&self) -> Vec<(String, Error)> {
        let warmed = self.declared.iter().map(|declared| (&declared.name, declared.service.warm()));
        warmed.filter_map(|(name, warmed)| Some((name.clone(), warmed.err()?))).collect()
    }

    /// Starts, on the current tokio runtime, every service that is to start on its own, and those that they
    /// require.
    ///
    /// # Errors
    /// `INVALID` for services that require each other in a circle, for one that requires what is not there,
    /// and for two of one name.
    pub fn start(self) -> Result<Serving, Error> {
        let order = order::Order::new(&self.declared)?;
        let (wish, phase) = watch::channel(Phase::Serve);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            self.declared.iter().map(|_| watch::channel(State::Unknown)).unzip();
        let names = self.declared.iter().map(|declared| declared.name.clone());
        let rows = names.zip(receivers.iter().cloned()).zip(&order.started);
        let status = Status::new(rows.map(|((name, state), started)| (name, state, *started)));
        // Set once: this is the only start.
        let _ = self.status.set(status.clone());
        let of = |indices: &[usize]| indices.iter().map(|index| receivers[*index].clone()).collect();
        let leaving: Vec<Leaving> = self.declared.iter().map(|declared| declared.service.leaves()).collect();
        let others = |index: &usize| order.started[*index] && leaving[*index] != Leaving::Last;
        let others: Vec<usize> = (0..leaving.len()).filter(others).collect();
        let mut drivers = Vec::new();
        for (index, (declared, state)) in self.declared.into_iter().zip(senders).enumerate() {
            if !order.started[index] {
                continue;
            }
            let requires = &order.requires[index];
            let stops_after = match leaving[index] {
                Leaving::Asked | Leaving::Done => &order.dependents[index],
                Leaving::Last => &others,
            };
            let driver = Driver {
                requires: declared.requires.iter().cloned().zip::<Vec<_>>(of(requires)).collect(),
                stops_after: of(stops_after),
                leaving: leaving[index],
                declared,
                state,
                phase: phase.clone(),
                jitter: self.jitter.clone(),
                observer: self.observer.clone(),
            };
            drivers.push(AbortOnDrop(tokio::spawn(driver.drive())));
        }
        Ok(Serving { status, wish, drivers })
    }
}

/// Services under way. Dropping it ends them at once.
#[derive(Debug)]
pub struct Serving {
    status: Status,
    wish: watch::Sender<Phase>,
    drivers: Vec<AbortOnDrop<()>>,
}

impl Serving {
    /// How the services are.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Has every service leave, since those of another bundle have taken over; see [`Leaving`]. Those that go
    /// on until they are done can still be stopped.
    pub fn leave(&self) {
        self.wish.send_replace(Phase::Leave);
    }

    /// Whether every service has ended.
    pub fn has_ended(&self) -> bool {
        self.drivers.iter().all(|driver| driver.0.is_finished())
    }

    /// Stops every service, dependents first, each within its `stop_timeout`.
    pub async fn stop(mut self) {
        self.wish.send_replace(Phase::Stop);
        for driver in &mut self.drivers {
            // A driver does not panic; one that did would have nothing left to stop.
            let _ = (&mut driver.0).await;
        }
    }
}

/// A task that ends when nobody waits for it any more.
#[derive(Debug)]
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
