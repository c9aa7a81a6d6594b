//! `loader run`: the services of a bundle until a signal comes, and those of the bundle that takes its place.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loader::{Deployment, Loader};

use super::notify::Notifier;
use super::run::{Signal, Signals, observe};
use super::{Exit, Purpose, complain, open, unusable};
use crate::cli::Options;

/// Serves until a signal asks to end; `started_at` is when the program began.
pub(super) async fn serve(
    loader: Loader,
    options: &Options,
    started_at: Instant,
    mut signals: Signals,
) -> Exit {
    let notifier = Arc::new(Notifier::from_environment());
    match loader.warm_up().await {
        // Calls of these make their instances themselves, or fail for the same reason.
        Ok(cold) => {
            cold.iter().for_each(|(id, error)| complain(&format!("`{id}` has no warm start: {error}")));
        }
        Err(error) => return unusable(&error),
    }
    let mut deployment = match Deployment::start(loader, Arc::new(observe)) {
        Ok(deployment) => deployment,
        Err(refusal) => {
            complain(&refusal.to_string());
            return Exit::Surroundings;
        }
    };
    if let Some(interval) = notifier.interval() {
        tokio::spawn(watchdog(Arc::clone(&notifier), interval));
    }
    tokio::select! {
        () = deployment.status().tried() => ready(&deployment, &notifier, started_at.elapsed()),
        () = signals.end() => return stop(deployment, &notifier, signals).await,
    }
    while signals.next().await == Signal::Reload {
        notifier.reloading();
        tokio::select! {
            status = reload(&mut deployment, options) => notifier.ready(&status),
            () = signals.end() => break,
        }
    }
    stop(deployment, &notifier, signals).await
}

/// Services that run, of those that were to start.
fn services(deployment: &Deployment) -> String {
    let status = deployment.status();
    let running = status.states().iter().filter(|(_, state)| state.is_ready()).count();
    format!("{running} of {} services", status.started())
}

fn say(line: &str) {
    // Nowhere is left to report a closed standard error to.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn ready(deployment: &Deployment, notifier: &Notifier, after: Duration) {
    let loader = deployment.loader();
    let (entries, services) = (loader.bundle().manifest().entry_count(), services(deployment));
    let (room, milliseconds) = (loader.process_room(), after.as_millis());
    say(&format!(
        "ready: {entries} entries, {services}, booted in {milliseconds} ms; room for {} Lua and {} WebAssembly processes",
        room.lua, room.wasm
    ));
    notifier.ready(&services);
}

/// Serves what lies in the bundle's place now, if that is good; how the program is then.
async fn reload(deployment: &mut Deployment, options: &Options) -> String {
    let started_at = Instant::now();
    let next = Loader::builder().succeeding(deployment.loader());
    let next = tokio::task::block_in_place(|| open(options, Purpose::Serve, next));
    let replaced = match next {
        Ok(next) => deployment.replace(next).await.map_err(|refusal| refusal.to_string()),
        Err(refused) => Err(refused.message),
    };
    let digest = deployment.loader().bundle().manifest().digest().to_owned();
    match replaced {
        Ok(notes) => {
            notes.iter().for_each(|note| say(&format!("note: {note}")));
            let (services, milliseconds) = (services(deployment), started_at.elapsed().as_millis());
            say(&format!("reloaded: {services}, in {milliseconds} ms; the bundle is {digest}"));
            services
        }
        Err(problem) => {
            let place = options.bundle.value.display();
            complain(&format!("the bundle in `{place}` is refused, {digest} goes on: {problem}"));
            format!("{}; the next bundle was refused", services(deployment))
        }
    }
}

/// Says that the scheduler runs its tasks.
async fn watchdog(notifier: Arc<Notifier>, interval: Duration) {
    let mut turns = tokio::time::interval(interval);
    loop {
        turns.tick().await;
        notifier.alive();
    }
}

/// Stops the services; a second signal ends them at once.
async fn stop(deployment: Deployment, notifier: &Notifier, mut signals: Signals) -> Exit {
    notifier.stopping();
    // The process ends next: taking engine and mappings down in order would only delay that.
    std::mem::forget(deployment.loader().clone());
    tokio::select! {
        stopped = deployment.stop() => match stopped {
            Ok(()) => Exit::Done,
            Err(error) => {
                complain(error.message());
                Exit::Failed
            }
        },
        () = signals.end() => {
            complain("a second signal came: what still runs is ended");
            Exit::Done
        }
    }
}
