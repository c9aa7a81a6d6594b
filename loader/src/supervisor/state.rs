//! How services are.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;

/// The state of a service (`en/guides/supervision.md`, "Service States").
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not started.
    Unknown,
    /// Waits for what it requires, or starts.
    Starting,
    /// Serves.
    Running,
    /// Failed; it is started again later.
    Failed(Error),
    /// Ends as it was asked to.
    Stopping,
    /// Ended as it was asked to.
    Stopped,
    /// Ended by itself, and is not started again: without an error, or with one that is final.
    Exited(Option<Error>),
}

impl State {
    /// Whether it changes no more.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Stopped | Self::Exited(_))
    }

    /// Whether a start has come to something.
    fn is_tried(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Starting)
    }

    /// Whether what requires the service may start: it serves, or has done what it had to.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Running | Self::Exited(None))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Stopping => f.write_str("stopping"),
            Self::Stopped => f.write_str("stopped"),
            Self::Exited(None) => f.write_str("exited"),
            Self::Exited(Some(error)) => write!(f, "exited: {error}"),
        }
    }
}

/// How the services of a supervisor are. Cheap to clone; keeps none of them alive.
#[derive(Debug, Clone)]
pub struct Status(Arc<[Row]>);

#[derive(Debug)]
struct Row {
    name: String,
    state: watch::Receiver<State>,
    started: bool,
}

impl Status {
    pub(super) fn new(rows: impl Iterator<Item = (String, watch::Receiver<State>, bool)>) -> Self {
        Self(rows.map(|(name, state, started)| Row { name, state, started }).collect())
    }

    /// Every service with its state, in the order in which they were added.
    pub fn states(&self) -> Vec<(&str, State)> {
        self.0.iter().map(|row| (row.name.as_str(), row.state.borrow().clone())).collect()
    }

    /// How many services were to start.
    pub fn started(&self) -> usize {
        self.started_rows().count()
    }

    /// Whether every service that was to start serves, or has done what it had to.
    pub fn is_ready(&self) -> bool {
        self.started_rows().all(|row| row.state.borrow().is_ready())
    }

    /// Whether every service that was to start has done so once, well or not.
    pub fn is_tried(&self) -> bool {
        self.started_rows().all(|row| row.state.borrow().is_tried())
    }

    /// Waits until [`Status::is_tried`].
    pub async fn tried(&self) {
        for row in self.started_rows() {
            let mut state = row.state.clone();
            // One whose driver is gone has a final state.
            let _ = state.wait_for(State::is_tried).await;
        }
    }

    /// Waits until every service that was to start serves or has ended.
    pub async fn settled(&self) {
        for row in self.started_rows() {
            let mut state = row.state.clone();
            // One whose driver is gone has a final state.
            let _ = state.wait_for(|state| state.is_ready() || state.is_final()).await;
        }
    }

    fn started_rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|row| row.started)
    }
}
