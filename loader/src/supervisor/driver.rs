//! The life of one service: waits for what it requires, runs, fails, waits, runs again, stops.

use std::any::Any;
use std::sync::Arc;

use registry_schema::ErrorKind;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::{AbortOnDrop, Declared, Jitter, Leaving, Observer, Phase, Run, State, Stop, backoff, leaving};
use crate::error::Error;

pub(super) struct Driver {
    pub(super) declared: Declared,
    /// What it requires, by name.
    pub(super) requires: Vec<(String, watch::Receiver<State>)>,
    /// What ends before it is asked to.
    pub(super) stops_after: Vec<watch::Receiver<State>>,
    pub(super) leaving: Leaving,
    pub(super) state: watch::Sender<State>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) jitter: Jitter,
    pub(super) observer: Option<Arc<Observer>>,
}

/// How a run ended.
enum Ended {
    /// It was asked to end.
    Stopped,
    /// By itself, after it had run for a stable time or not.
    ByItself { result: Result<(), Error>, stable: bool },
}

impl Driver {
    pub(super) async fn drive(mut self) {
        self.set(State::Starting);
        let last = self.lives().await;
        self.set(last);
    }

    /// Its last state.
    async fn lives(&mut self) -> State {
        match self.required_run().await {
            None => return State::Stopped,
            Some(Err(error)) => return State::Exited(Some(error)),
            Some(Ok(())) => {}
        }
        let mut failures = 0_u32;
        loop {
            let (error, stable) = match self.run().await {
                Ended::Stopped => return State::Stopped,
                Ended::ByItself { result: Ok(()), .. } => return State::Exited(None),
                Ended::ByItself { result: Err(error), stable } => (error, stable),
            };
            failures = if stable { 1 } else { failures.saturating_add(1) };
            let restart = &self.declared.settings.restart;
            let given_up = restart.max_attempts > 0 && failures > restart.max_attempts;
            if given_up || is_final(&error) {
                return State::Exited(Some(error));
            }
            let delay = backoff::delay(restart, failures, &self.jitter);
            self.set(State::Failed(error));
            if tokio::time::timeout(delay, leaving(&mut self.phase)).await.is_ok() {
                return State::Stopped;
            }
            self.set(State::Starting);
        }
    }

    fn set(&self, state: State) {
        if let Some(observer) = &self.observer {
            observer(&self.declared.name, &state);
        }
        self.state.send_replace(state);
    }

    /// Waits until all that it requires serves; `None` when it should leave before.
    async fn required_run(&mut self) -> Option<Result<(), Error>> {
        for (name, required) in &mut self.requires {
            let state = tokio::select! {
                biased;
                () = leaving(&mut self.phase) => return None,
                state = required.wait_for(|state| state.is_ready() || state.is_final()) => match state {
                    Ok(state) => state.clone(),
                    Err(_) => State::Stopped,
                },
            };
            match state {
                State::Exited(Some(error)) => {
                    return Some(Err(error.wrapped(&format!("it requires `{name}`, which has ended"))));
                }
                State::Stopped => return None,
                _ => {}
            }
        }
        Some(Ok(()))
    }

    /// One run, from its start to its end.
    async fn run(&mut self) -> Ended {
        let (stop, requested) = watch::channel(false);
        let (ready, mut is_ready) = oneshot::channel();
        let service = Arc::clone(&self.declared.service);
        let phase = self.phase.clone();
        let run = Run { context: self.declared.context.clone(), stop: Stop { requested, phase } };
        let mut task = AbortOnDrop(tokio::spawn(async move {
            let running = service.start(run).await?;
            // Nobody listens when the start took too long, and this task is about to end.
            let _ = ready.send(());
            running.await
        }));
        let start_timeout = self.declared.settings.start_timeout;
        tokio::select! {
            biased;
            () = leaving(&mut self.phase) => return Ended::Stopped,
            ended = &mut task.0 => {
                // Its last word may have been that it is ready.
                if is_ready.try_recv().is_ok() {
                    self.set(State::Running);
                }
                return Ended::ByItself { result: flat(ended), stable: false };
            }
            Ok(()) = &mut is_ready => {}
            () = tokio::time::sleep(start_timeout) => {
                let message = format!("it was not ready after its `start_timeout` of {start_timeout:?}");
                let error = Error::new(ErrorKind::Timeout, message).retryable();
                return Ended::ByItself { result: Err(error), stable: false };
            }
        }
        self.set(State::Running);
        let since = Instant::now();
        tokio::select! {
            biased;
            ended = &mut task.0 => {
                if *self.phase.borrow() != Phase::Serve {
                    return Ended::Stopped;
                }
                let stable = since.elapsed() >= self.declared.settings.stable_threshold;
                return Ended::ByItself { result: flat(ended), stable };
            }
            () = self.leaving.is_due(&mut self.phase, &mut self.stops_after) => {}
        }
        self.set(State::Stopping);
        stop.send_replace(true);
        // What has not ended by itself by then ends with the task.
        let _ = tokio::time::timeout(self.declared.settings.stop_timeout, &mut task.0).await;
        Ended::Stopped
    }
}

impl Leaving {
    /// Waits until a service that leaves so is to be asked to stop; `others` end before.
    async fn is_due(self, phase: &mut watch::Receiver<Phase>, others: &mut [watch::Receiver<State>]) {
        match self {
            Self::Asked | Self::Last => leaving(phase).await,
            Self::Done => {
                // A supervisor that is gone takes its drivers with it.
                let _ = phase.wait_for(|phase| *phase == Phase::Stop).await;
            }
        }
        for other in others {
            // One whose driver is gone needs nothing.
            let _ = other.wait_for(State::is_final).await;
        }
    }
}

/// Whether a retry would be no use: the error says so, and it is not that something broke.
fn is_final(error: &Error) -> bool {
    let broke = matches!(error.kind(), ErrorKind::Internal | ErrorKind::Timeout);
    error.retryability() == Some(false) && !broke
}

fn flat(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(panicked(error.into_panic())),
        Err(_) => Err(Error::new(ErrorKind::Canceled, "the runtime shut down")),
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Error {
    let message = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map_or("unknown", |text| *text).to_owned(),
    };
    Error::new(ErrorKind::Internal, format!("the service panicked: {message}"))
}
