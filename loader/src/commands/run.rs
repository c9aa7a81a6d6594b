//! `loader run`: signals, and one command; `serve.rs` has services.

use std::mem::ManuallyDrop;
use std::time::Instant;

use loader::Loader;
use loader::config::BLOCKING_THREADS_MAX;
use loader::process::{Outcome, Refused, Terminal};
use loader::supervisor::{Serving, State};
use registry_schema::EntryId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::mpsc;

use super::{Exit, complain, print, serve, unusable};
use crate::cli::{Options, Preload, Run};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// To end: SIGINT, SIGTERM.
    End,
    /// To serve what lies in the bundle's place now: SIGHUP.
    Reload,
}

/// Signals, one after the other.
pub(super) struct Signals {
    received: mpsc::UnboundedReceiver<Signal>,
    /// One that came while the end was waited for.
    passed_over: Option<Signal>,
}

impl Signals {
    /// The signals that `run` takes; others do what they do to any program.
    fn new(run: &Run) -> std::io::Result<Self> {
        let mut kinds = vec![SIGINT, SIGTERM];
        if let Run::Serve(_) = run {
            kinds.push(SIGHUP);
        }
        let mut signals = signal_hook::iterator::Signals::new(kinds)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for kind in signals.forever() {
                let signal = if kind == SIGHUP { Signal::Reload } else { Signal::End };
                if sender.send(signal).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { received: receiver, passed_over: None })
    }

    /// The next one; the end when there can be none.
    pub(super) async fn next(&mut self) -> Signal {
        match self.passed_over.take() {
            Some(signal) => signal,
            None => self.received.recv().await.unwrap_or(Signal::End),
        }
    }

    /// Waits for the one that asks to end. Others that come before are one afterwards.
    pub(super) async fn end(&mut self) {
        while let Some(signal) = self.received.recv().await {
            match signal {
                Signal::End => return,
                other => self.passed_over = Some(other),
            }
        }
    }
}

/// Runs services or a command; `started` is when the program began.
pub(super) fn run(loader: ManuallyDrop<Loader>, options: &Options, started: Instant, run: &Run) -> Exit {
    if let Run::List = run {
        return list(&loader);
    }
    // What is served has a log of its own; one call answers with its error alone.
    #[cfg(feature = "telemetry")]
    loader.log_events();
    let bound = loader.downgrade();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Where the system refuses, threads run on any core: isolation is for speed alone.
    runtime.max_blocking_threads(BLOCKING_THREADS_MAX);
    runtime.enable_all().on_thread_start(move || drop(bound.upgrade().map(|it| it.bind_scheduler_thread())));
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no runtime can be made: {error}"));
            return Exit::Surroundings;
        }
    };
    let signals = match Signals::new(run) {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("signals can't be awaited: {error}"));
            return Exit::Surroundings;
        }
    };
    let exit = runtime.block_on(async {
        match run {
            Run::List => list(&loader),
            Run::Serve(preload) => {
                if *preload == Preload::Yes
                    && let faults = super::verify(&loader)
                    && faults != Exit::Done
                {
                    return faults;
                }
                serve::serve(ManuallyDrop::into_inner(loader), options, started, signals).await
            }
            Run::Named { name, host, args } => match named(&loader, name) {
                Ok(id) => command(&loader, &id, name, host.as_ref(), args, signals).await,
                Err(exit) => exit,
            },
            Run::Entry { id, host, args } => {
                command(&loader, id, &id.to_string(), host.as_ref(), args, signals).await
            }
        }
    });
    // A thread that reads standard input can't be waited for.
    runtime.shutdown_background();
    exit
}

/// Says what went wrong with a service.
pub(super) fn observe(name: &str, state: &State) {
    match state {
        State::Failed(error) => {
            complain(&format!("the service `{name}` failed, and is started again: {error}"));
        }
        State::Exited(Some(error)) => complain(&format!("the service `{name}` ended: {error}")),
        _ => {}
    }
}

/// Stops the services; a second signal ends them at once.
async fn stop(loader: &Loader, serving: Serving, signals: &mut Signals) {
    let limit = loader.settings().shutdown.timeout;
    tokio::select! {
        stopped = tokio::time::timeout(limit, serving.stop()) => if stopped.is_err() {
            complain(&format!("services had not stopped after the `shutdown.timeout` of {limit:?}"));
        },
        () = signals.end() => complain("a second signal came: what still runs is ended"),
    }
}

fn list(loader: &Loader) -> Exit {
    let commands = match loader.commands() {
        Ok(commands) => commands,
        Err(error) => return unusable(&error),
    };
    if commands.is_empty() {
        return print("No commands: no process has `meta.command`\n");
    }
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or(0);
    let mut out = "Available commands:\n".to_owned();
    for command in commands {
        let line = format!("  {:<width$}    {}", command.name, command.short);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    print(&out)
}

/// The entry of the command `name`.
fn named(loader: &Loader, name: &str) -> Result<EntryId, Exit> {
    let commands = loader.commands().map_err(|error| unusable(&error))?;
    let mut found = commands.iter().filter(|command| command.name == name);
    match (found.next(), found.next()) {
        (Some(command), None) => Ok(command.id.clone()),
        (Some(one), Some(other)) => {
            complain(&format!(
                "`{name}` is the name of `{}` and `{}`: run one with `-x ID`",
                one.id, other.id
            ));
            Err(Exit::Usage)
        }
        (None, _) => {
            complain(&format!("there is no command `{name}`\nsee `loader run list`"));
            Err(Exit::Usage)
        }
    }
}

/// Runs one process at the terminal, beside the bundle's supervised processes.
async fn command(
    loader: &Loader,
    id: &EntryId,
    name: &str,
    host: Option<&EntryId>,
    args: &[String],
    mut signals: Signals,
) -> Exit {
    let host = match host.cloned().map_or_else(|| loader.terminal_host(), Ok) {
        Ok(host) => host,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let started = loader.process_supervisor().and_then(|supervisor| supervisor.observer(observe).start());
    let serving = match started {
        Ok(serving) => serving,
        Err(error) => return unusable(&error),
    };
    let terminal = std::iter::once(name.to_owned()).chain(args.iter().cloned()).collect();
    let running = match loader.start_command(id, &host, name, args, Terminal::of_process(terminal)) {
        Ok(running) => running,
        Err(Refused::Usage(problem)) => {
            complain(&problem);
            return Exit::Usage;
        }
        Err(Refused::Failed(error)) => {
            complain(&error.to_string());
            return Exit::Failed;
        }
    };
    let mut signalled = 0;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = running.outcome() => break outcome,
            _ = signals.next() => {
                signalled += 1;
                if signalled == 1 { running.cancel("interrupted") } else { running.terminate() }
            }
        }
    };
    stop(loader, serving, &mut signals).await;
    shown(outcome)
}

fn shown(outcome: Outcome) -> Exit {
    if let Some(mut text) = outcome.text {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        print(&text);
    }
    if let Some(error) = outcome.error {
        complain(&error.to_string());
    }
    Exit::Command(outcome.code)
}
