//! The supervisor by itself: order, waits, limits and stops, on a paused clock.

use std::sync::Mutex;
use std::time::Duration;

use registry_schema::ErrorKind;
use tokio::time::Instant;

use super::*;

/// What happened, with seconds since the start.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>, Instant);

impl Log {
    fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    fn add(&self, what: &str) {
        let at = self.1.elapsed().as_secs_f64();
        self.0.lock().unwrap().push(format!("{at} {what}"));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// How each run of a service goes; the last one repeats.
#[derive(Clone)]
enum Act {
    /// Is ready after the first, ends after the second.
    Runs(Duration, Duration, Result<(), Error>),
    /// Is ready after so long, and ends so long after it is asked to.
    Serves(Duration, Duration),
    Panics,
}

struct Script {
    name: &'static str,
    acts: Mutex<Vec<Act>>,
    log: Log,
    leaves: Leaving,
}

impl Service for Script {
    fn leaves(&self) -> Leaving {
        self.leaves
    }

    fn start(&self, mut run: Run) -> Boxed<'_, Result<Running, Error>> {
        let mut acts = self.acts.lock().unwrap();
        let act = if acts.len() > 1 { acts.remove(0) } else { acts[0].clone() };
        drop(acts);
        let (name, log) = (self.name, self.log.clone());
        log.add(&format!("{name} starts"));
        Box::pin(async move {
            match act {
                Act::Runs(ready, lasts, result) => {
                    tokio::time::sleep(ready).await;
                    Ok(Box::pin(async move {
                        tokio::time::sleep(lasts).await;
                        result
                    }) as Running)
                }
                Act::Serves(ready, stops) => {
                    tokio::time::sleep(ready).await;
                    Ok(Box::pin(async move {
                        run.stop.requested().await;
                        log.add(&format!("{name} is asked to stop"));
                        tokio::time::sleep(stops).await;
                        log.add(&format!("{name} has stopped"));
                        Ok(())
                    }) as Running)
                }
                Act::Panics => panic!("no"),
            }
        })
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn failure() -> Result<(), Error> {
    Err(Error::new(ErrorKind::Unknown, "boom"))
}

fn declared(log: &Log, name: &'static str, requires: &[&str], acts: &[Act]) -> Declared {
    Declared {
        name: name.to_owned(),
        settings: Settings { auto_start: true, ..Settings::default() },
        requires: requires.iter().map(|name| (*name).to_owned()).collect(),
        context: Context::default(),
        service: script(log, name, acts, Leaving::Asked),
    }
}

fn script(log: &Log, name: &'static str, acts: &[Act], leaves: Leaving) -> Arc<Script> {
    Arc::new(Script { name, acts: Mutex::new(acts.to_vec()), log: log.clone(), leaves })
}

/// Services that leave in every way, each a second after it is asked to.
fn leavers(log: &Log) -> Vec<Declared> {
    let acts = [Act::Serves(Duration::ZERO, seconds(1))];
    let mut host = declared(log, "host", &[], &[]);
    host.service = script(log, "host", &acts, Leaving::Done);
    let mut metrics = declared(log, "metrics", &[], &[]);
    metrics.service = script(log, "metrics", &acts, Leaving::Last);
    vec![host, metrics, declared(log, "worker", &["host"], &acts)]
}

fn supervisor(log: &Log, services: Vec<Declared>) -> Supervisor {
    let log = log.clone();
    let mut supervisor = Supervisor::default()
        .jitter(Jitter::From(Arc::new(|| 0.5)))
        .observer(move |name, state| log.add(&format!("{name}: {state}")));
    services.into_iter().for_each(|service| supervisor.add(service));
    supervisor
}

const SERVES: Act = Act::Serves(Duration::ZERO, Duration::ZERO);

#[tokio::test(start_paused = true)]
async fn starts_dependencies_first_and_stops_them_last() {
    let log = Log::new();
    let services = vec![
        declared(&log, "http", &["handler"], &[Act::Serves(seconds(1), seconds(1))]),
        declared(&log, "handler", &["database", "cache"], &[Act::Serves(seconds(2), seconds(2))]),
        declared(&log, "cache", &[], &[Act::Serves(seconds(3), seconds(3))]),
        declared(&log, "database", &[], &[Act::Serves(seconds(4), seconds(4))]),
    ];
    let mut supervisor = Supervisor::default();
    services.into_iter().for_each(|service| supervisor.add(service));
    let serving = supervisor.start().unwrap();
    assert!(!serving.status().is_ready());
    serving.status().settled().await;
    assert!(serving.status().is_ready());
    assert_eq!(serving.status().started(), 4);
    // Services of one level have no order among them.
    let mut starts = log.take();
    starts[..2].sort();
    assert_eq!(starts, ["0 cache starts", "0 database starts", "4 handler starts", "6 http starts"]);
    let status = serving.status().clone();
    serving.stop().await;
    let expected = [
        "7 http is asked to stop",
        "8 http has stopped",
        "8 handler is asked to stop",
        "10 handler has stopped",
        "10 cache is asked to stop",
        "10 database is asked to stop",
        "13 cache has stopped",
        "14 database has stopped",
    ];
    let mut stops = log.take();
    stops[4..6].sort();
    assert_eq!(stops, expected);
    assert!(status.states().iter().all(|(_, state)| *state == State::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_is_started_again_after_growing_waits() {
    let log = Log::new();
    let fails = Act::Runs(Duration::ZERO, seconds(1), failure());
    let lasts = Act::Runs(Duration::ZERO, seconds(5), failure());
    let acts = [fails.clone(), fails.clone(), lasts, fails, SERVES];
    let serving = supervisor(&log, vec![declared(&log, "worker", &[], &acts)]).start().unwrap();
    tokio::time::sleep(seconds(60)).await;
    let starts: Vec<String> = log.take().into_iter().filter(|line| line.ends_with("starts")).collect();
    // After 1 and 2 seconds; then it was stable, so after 1 second again, and 2.
    assert_eq!(
        starts,
        ["0 worker starts", "2 worker starts", "5 worker starts", "11 worker starts", "14 worker starts"]
    );
    assert!(serving.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn retries_end_at_max_attempts_and_at_final_errors() {
    let log = Log::new();
    let mut tried = declared(&log, "tried", &[], &[Act::Runs(Duration::ZERO, Duration::ZERO, failure())]);
    tried.settings.restart.max_attempts = 2;
    let denied = Err(Error::new(ErrorKind::PermissionDenied, "no"));
    let denied = declared(&log, "denied", &[], &[Act::Runs(Duration::ZERO, Duration::ZERO, denied)]);
    let done = declared(&log, "done", &[], &[Act::Runs(Duration::ZERO, Duration::ZERO, Ok(()))]);
    let needy = declared(&log, "needy", &["denied"], &[SERVES]);
    let follows = declared(&log, "follows", &["done"], &[SERVES]);
    let serving = supervisor(&log, vec![tried, denied, done, needy, follows]).start().unwrap();
    serving.status().settled().await;
    let states: Vec<String> =
        serving.status().states().iter().map(|(name, state)| format!("{name}: {state}")).collect();
    assert_eq!(
        states,
        [
            "tried: exited: UNKNOWN: boom",
            "denied: exited: PERMISSION_DENIED: no",
            "done: exited",
            "needy: exited: PERMISSION_DENIED: it requires `denied`, which has ended: no",
            "follows: running",
        ]
    );
    assert!(!serving.status().is_ready());
    let starts = log.take().into_iter().filter(|line| line.ends_with("tried starts")).collect::<Vec<_>>();
    assert_eq!(starts, ["0 tried starts", "1 tried starts", "3 tried starts"]);
    serving.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_and_a_stop_end_at_their_limits() {
    let log = Log::new();
    let slow = declared(&log, "slow", &[], &[Act::Serves(seconds(11), Duration::ZERO), SERVES]);
    let stubborn = declared(&log, "stubborn", &[], &[Act::Serves(Duration::ZERO, seconds(1000))]);
    let serving = supervisor(&log, vec![slow, stubborn]).start().unwrap();
    serving.status().settled().await;
    let starts: Vec<String> = log.take().into_iter().filter(|line| line.contains("slow")).collect();
    let failed = "10 slow: failed: TIMEOUT: it was not ready after its `start_timeout` of 10s";
    assert_eq!(
        starts,
        [
            "0 slow: starting",
            "0 slow starts",
            failed,
            "11 slow: starting",
            "11 slow starts",
            "11 slow: running"
        ]
    );
    let start = Instant::now();
    serving.stop().await;
    assert_eq!(start.elapsed(), seconds(10));
    assert!(!log.take().iter().any(|line| line.contains("stubborn has stopped")));
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_run_of_one_service() {
    let log = Log::new();
    let panics = declared(&log, "panics", &[], &[Act::Panics, SERVES]);
    let serving = supervisor(&log, vec![panics, declared(&log, "other", &[], &[SERVES])]).start().unwrap();
    serving.status().settled().await;
    let failed = "0 panics: failed: INTERNAL: the service panicked: no";
    assert!(log.take().contains(&failed.to_owned()));
    assert!(serving.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_started_by_itself_starts_when_it_is_required() {
    let log = Log::new();
    let mut required = declared(&log, "required", &[], &[SERVES]);
    required.settings.auto_start = false;
    let mut idle = declared(&log, "idle", &[], &[SERVES]);
    idle.settings.auto_start = false;
    let serving = supervisor(&log, vec![required, idle, declared(&log, "app", &["required"], &[SERVES])])
        .start()
        .unwrap();
    serving.status().settled().await;
    let states = serving.status().states();
    assert_eq!(states[0].1, State::Running);
    assert_eq!(states[1].1, State::Unknown);
    assert_eq!(serving.status().started(), 2);
}

#[tokio::test]
async fn what_can_have_no_order_is_refused() {
    let log = Log::new();
    let error = |services: &[(&'static str, &[&str])]| {
        let services = services.iter().map(|(name, requires)| declared(&log, name, requires, &[SERVES]));
        supervisor(&log, services.collect()).start().unwrap_err().to_string()
    };
    assert_eq!(
        error(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]),
        "INVALID: services require each other in a circle: `b` → `c` → `b`"
    );
    assert_eq!(error(&[("a", &["x"])]), "INVALID: `a` requires `x`, which is no service");
    assert_eq!(error(&[("a", &[]), ("a", &[])]), "INVALID: there are two services `a`");
}

#[tokio::test(start_paused = true)]
async fn observers_stop_last() {
    let log = Log::new();
    let mut supervisor = Supervisor::default();
    leavers(&log).into_iter().for_each(|service| supervisor.add(service));
    let serving = supervisor.start().unwrap();
    serving.status().settled().await;
    log.take();
    serving.stop().await;
    let expected = [
        "0 worker is asked to stop",
        "1 worker has stopped",
        "1 host is asked to stop",
        "2 host has stopped",
        "2 metrics is asked to stop",
        "3 metrics has stopped",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_leaves_when_it_is_done_is_not_asked_before_everything_stops() {
    let log = Log::new();
    let mut supervisor = Supervisor::default();
    leavers(&log).into_iter().for_each(|service| supervisor.add(service));
    let serving = supervisor.start().unwrap();
    serving.status().settled().await;
    log.take();
    serving.leave();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(log.take(), ["0 worker is asked to stop", "1 worker has stopped"]);
    assert!(!serving.has_ended());
    serving.stop().await;
    let expected = [
        "60 host is asked to stop",
        "61 host has stopped",
        "61 metrics is asked to stop",
        "62 metrics has stopped",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_has_been_tried() {
    let log = Log::new();
    let fails = declared(&log, "fails", &[], &[Act::Runs(Duration::ZERO, seconds(2), failure()), SERVES]);
    let never = declared(&log, "never", &[], &[Act::Runs(seconds(5), Duration::ZERO, failure())]);
    let serving = supervisor(&log, vec![fails, never]).start().unwrap();
    assert!(!serving.status().is_tried());
    let start = Instant::now();
    serving.status().tried().await;
    assert_eq!(start.elapsed(), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn stops_what_waits_to_start() {
    let log = Log::new();
    let fails = declared(&log, "fails", &[], &[Act::Runs(Duration::ZERO, Duration::ZERO, failure())]);
    let serving =
        supervisor(&log, vec![fails, declared(&log, "waits", &["fails"], &[SERVES])]).start().unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let status = serving.status().clone();
    serving.stop().await;
    assert!(status.states().iter().all(|(_, state)| *state == State::Stopped));
}
