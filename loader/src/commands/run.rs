//! `loader run`: services until a signal comes, or one command.

use std::io::Write;
use std::time::Instant;

use loader::config::BLOCKING_THREADS_MAX;
use loader::process::{Outcome, Refused, Terminal};
use loader::supervisor::{Serving, State, Supervisor};
use loader::{Error, Loader};
use registry_schema::EntryId;
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::mpsc;

use super::{Exit, complain, print, unusable};
use crate::cli::{Preload, Run};

/// Runs services or a command; `started` is when the program began.
pub(super) fn run(loader: &Loader, started: Instant, run: &Run) -> Exit {
    if let Run::List = run {
        return list(loader);
    }
    // What is served has a log of its own; one call answers with its error alone.
    #[cfg(feature = "telemetry")]
    loader.log_events();
    let bound = loader.clone();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Where the system refuses, threads run on any core: isolation is for speed alone.
    runtime.max_blocking_threads(BLOCKING_THREADS_MAX);
    runtime.enable_all().on_thread_start(move || drop(bound.bind_scheduler_thread()));
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no runtime can be made: {error}"));
            return Exit::Surroundings;
        }
    };
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("signals can't be awaited: {error}"));
            return Exit::Surroundings;
        }
    };
    let exit = runtime.block_on(async {
        match run {
            Run::List => list(loader),
            Run::Serve(Preload::Yes) => match super::verify(loader) {
                Exit::Done => serve(loader, started, signals).await,
                faults => faults,
            },
            Run::Serve(Preload::No) => serve(loader, started, signals).await,
            Run::Named { name, host, args } => match named(loader, name) {
                Ok(id) => command(loader, &id, name, host.as_ref(), args, signals).await,
                Err(exit) => exit,
            },
            Run::Entry { id, host, args } => {
                command(loader, id, &id.to_string(), host.as_ref(), args, signals).await
            }
        }
    });
    // A thread that reads standard input can't be waited for.
    runtime.shutdown_background();
    exit
}

/// Signals that ask the program to end, one after the other.
fn signals() -> std::io::Result<mpsc::UnboundedReceiver<()>> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Says what went wrong with a service.
fn observe(name: &str, state: &State) {
    match state {
        State::Failed(error) => {
            complain(&format!("the service `{name}` failed, and is started again: {error}"));
        }
        State::Exited(Some(error)) => complain(&format!("the service `{name}` ended: {error}")),
        _ => {}
    }
}

fn started(supervisor: Result<Supervisor, Error>) -> Result<Serving, Exit> {
    supervisor.and_then(|supervisor| supervisor.observer(observe).start()).map_err(|error| unusable(&error))
}

/// Serves until a signal comes.
async fn serve(loader: &Loader, started_at: Instant, mut signals: mpsc::UnboundedReceiver<()>) -> Exit {
    match loader.warm_up().await {
        // Calls of these make their instances themselves, or fail for the same reason.
        Ok(cold) => {
            for (id, error) in cold {
                complain(&format!("`{id}` has no warm start: {error}"));
            }
        }
        Err(error) => return unusable(&error),
    }
    let serving = match started(loader.supervisor()) {
        Ok(serving) => serving,
        Err(exit) => return exit,
    };
    tokio::select! {
        () = serving.status().settled() => {
            let status = serving.status();
            let running = status.states().iter().filter(|(_, state)| state.is_ready()).count();
            let entries = loader.bundle().manifest().entry_count();
            let room = loader.process_room();
            let _ = writeln!(
                std::io::stderr().lock(),
                "ready: {entries} entries, {running} of {} services, booted in {} ms; room for {} Lua and {} WebAssembly processes",
                status.started(), started_at.elapsed().as_millis(), room.lua, room.wasm
            );
            signals.recv().await;
        }
        _ = signals.recv() => {}
    }
    stop(serving, &mut signals).await;
    Exit::Done
}

/// Stops the services; a second signal ends them at once.
async fn stop(serving: Serving, signals: &mut mpsc::UnboundedReceiver<()>) {
    tokio::select! {
        () = serving.stop() => {}
        _ = signals.recv() => complain("a second signal came: what still runs is ended"),
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
    mut signals: mpsc::UnboundedReceiver<()>,
) -> Exit {
    let host = match host.cloned().map_or_else(|| loader.terminal_host(), Ok) {
        Ok(host) => host,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let serving = match started(loader.process_supervisor()) {
        Ok(serving) => serving,
        Err(exit) => return exit,
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
            Some(()) = signals.recv() => {
                signalled += 1;
                if signalled == 1 { running.cancel("interrupted") } else { running.terminate() }
            }
        }
    };
    stop(serving, &mut signals).await;
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
