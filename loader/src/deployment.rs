//! A bundle that is served, and the one that takes its place.
//!
//! The next bundle is opened by its own loader, checked and loaded while the running one serves. Then its
//! services start beside those that run: what listens passes from one to the other without being closed
//! (`supervisor/handover.rs`). When each has been tried once, the earlier ones leave: supervised processes
//! are asked to end, hosts go on until their processes are done. Requests, calls and processes under way hold
//! the loader that they began with, which is gone when the last of them is.

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, OpenError};
use crate::loader::{Loader, WeakLoader};
use crate::supervisor::{Observer, Serving, Status, Supervisor};
use crate::verify::Fault;

/// The services of a bundle under way. Dropping it ends them at once.
pub struct Deployment {
    loader: Loader,
    serving: Serving,
    /// Services of earlier bundles, until they have ended, with their loaders, which they don't keep.
    leaving: Vec<(WeakLoader, Serving)>,
    observer: Arc<Observer>,
}

/// Why a bundle is not served.
#[derive(Debug)]
pub enum Refusal {
    /// It can't be opened.
    Open(OpenError),
    /// What is wrong with it on this machine: one or more.
    Faults(Vec<String>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Faults(faults) => f.write_str(&faults.join("\n")),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Faults(vec![error.message().to_owned()])
    }
}

impl Deployment {
    /// Starts the services of `loader`'s bundle on the current tokio runtime; `observer` is told of each change
    /// of their states. May read files.
    ///
    /// # Errors
    /// Placeholders that can't be resolved ([`Loader::placeholder_problems`]), services that can have no order.
    pub fn start(loader: Loader, observer: Arc<Observer>) -> Result<Self, Refusal> {
        refuse(placeholders(&loader)?)?;
        let serving = loader.supervisor()?.observed(Arc::clone(&observer)).start()?;
        Ok(Self { loader, serving, leaving: Vec::new(), observer })
    }

    /// The loader that serves.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// How its services are.
    pub fn status(&self) -> &Status {
        self.serving.status()
    }

    /// Puts `next`, which was made by [`crate::LoaderBuilder::succeeding`], in the place of the loader that
    /// serves: all its files are checked, everything is loaded and linked, and only then pools are warmed and its
    /// services take over. Resolves when each of them has been tried once. Dropping the future leaves either
    /// bundle whole; what the other one has running ends with the deployment.
    ///
    /// Answers with what `next` does not offer on this machine, which would not have kept it from starting.
    ///
    /// # Errors
    /// What is wrong with `next`: nothing has changed then.
    pub async fn replace(&mut self, next: Loader) -> Result<Vec<String>, Refusal> {
        let checked = next.clone();
        let checked = tokio::task::spawn_blocking(move || check(&checked)).await;
        let (supervisor, mut notes) = checked
            .unwrap_or_else(|panic| Err(Refusal::Faults(vec![format!("it can't be checked: {panic}")])))?;
        // Calls of these make their instances themselves, or fail for the same reason.
        let cold = next.warm_up().await?;
        notes.extend(cold.iter().map(|(id, error)| format!("`{id}` has no warm start: {}", error.message())));
        let serving = supervisor.observed(Arc::clone(&self.observer)).start()?;
        self.leaving.retain(|(_, serving)| !serving.has_ended());
        let earlier = std::mem::replace(&mut self.loader, next);
        self.leaving.push((earlier.downgrade(), std::mem::replace(&mut self.serving, serving)));
        drop(earlier);
        self.serving.status().tried().await;
        self.leaving.iter().for_each(|(_, serving)| serving.leave());
        Ok(notes)
    }

    /// Stops all services, also those of earlier bundles, within the setting `shutdown.timeout`. Meanwhile calls
    /// from outside are refused, and afterwards all calls: see [`Loader::drain`] and [`Loader::close`].
    ///
    /// # Errors
    /// `TIMEOUT` when it was not enough; what still ran was ended.
    pub async fn stop(self) -> Result<(), Error> {
        let limit = self.loader.settings().shutdown.timeout;
        let mut stops = JoinSet::new();
        let mut loaders = Vec::new();
        for (loader, serving) in self.leaving.into_iter().chain([(self.loader.downgrade(), self.serving)]) {
            loader.upgrade().iter().for_each(Loader::drain);
            loaders.push(loader);
            stops.spawn(serving.stop());
        }
        let stopped = async { while stops.join_next().await.is_some() {} };
        let stopped = tokio::time::timeout(limit, stopped).await;
        loaders.iter().filter_map(WeakLoader::upgrade).for_each(|loader| loader.close());
        stopped.map_err(|_| {
            let message = format!("services had not stopped after the `shutdown.timeout` of {limit:?}");
            Error::new(ErrorKind::Timeout, message)
        })
    }
}

fn refuse(faults: Vec<String>) -> Result<(), Refusal> {
    if faults.is_empty() { Ok(()) } else { Err(Refusal::Faults(faults)) }
}

fn placeholders(loader: &Loader) -> Result<Vec<String>, Error> {
    Ok(loader.placeholder_problems()?.iter().map(|problem| problem.message().to_owned()).collect())
}

/// Checks and loads everything of `next`: its services, and what it does not offer here.
fn check(next: &Loader) -> Result<(Supervisor, Vec<String>), Refusal> {
    refuse(placeholders(next)?)?;
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    let mut sort = |kind: ErrorKind, problem: String| match kind {
        // A boot would go on as well.
        ErrorKind::Unavailable => notes.push(problem),
        _ => faults.push(problem),
    };
    for fault in next.verify()?.faults {
        match fault {
            Fault::File { path, problem } => sort(ErrorKind::Internal, format!("`{path}`: {problem}")),
            Fault::Entry { kind, problem, .. } => sort(kind, problem),
        }
    }
    let supervisor = next.supervisor()?;
    for (name, error) in supervisor.warm() {
        sort(error.kind(), format!("the service `{name}`: {}", error.message()));
    }
    refuse(faults)?;
    Ok((supervisor, notes))
}
