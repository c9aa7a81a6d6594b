//! What waits: `sleep`, and the channels of `after`, `timer` and `ticker`.
//!
//! A channel has room for one time; one that nobody takes is kept and later ones are dropped, as in Go. A
//! ticker that falls behind skips what it missed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use mlua::{AnyUserData, Function, Lua, MultiValue, Table, UserData, UserDataMethods, Value};
use registry_schema::ErrorKind;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Moment, invalid, nanoseconds};
use crate::config::LUA_TIMERS_MAX;
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Completion, Host, Receiver};
use crate::lua::modules::places::{Place, Places};

/// Makes channels of timers with what delivers into them. In Lua, so that channel and function are one
/// garbage: a Rust function would hold its channel for ever.
const DELIVERY: &str = "
local new, offer = ...
return function()
    local channel = new(1)
    return channel, function(fired, time) if fired then offer(channel, time) end end
end
";

/// Adds the functions to the module.
pub(super) fn add(lua: &Lua, host: &Host, module: &Table) -> mlua::Result<()> {
    let sleep = host.waiting(lua, |lua, _, duration: Value| match nanoseconds(&duration) {
        Ok(..=0) => Ok(Answer::Now(MultiValue::new())),
        Ok(duration) => {
            Ok(Answer::later(tokio::time::sleep(length(duration)), |_, ()| Ok(MultiValue::new())))
        }
        Err(error) => Ok(Answer::Now(error::pair(lua, error)?)),
    })?;
    module.set("sleep", sleep)?;
    let new: Function = lua.named_registry_value("channel.new")?;
    let offer: Function = lua.named_registry_value("channel.offer")?;
    let channel: Function = lua.load(DELIVERY).set_name("=time").call((new, offer))?;
    let timers = Timers { host: host.clone(), pending: Places::new(LUA_TIMERS_MAX) };
    let channel = lua.create_registry_value(channel)?;
    let channel = Arc::new(channel);
    let add = |name: &'static str, kind: Kind| {
        let (timers, channel) = (timers.clone(), Arc::clone(&channel));
        let make = lua.create_function(move |lua, duration: Value| {
            let duration = match nanoseconds(&duration) {
                Ok(..=0) if kind != Kind::After => Err(invalid("the duration must be above 0")),
                duration => duration,
            };
            let armed = duration.and_then(|duration| Ok((length(duration), timers.slot()?)));
            let (duration, slot) = match armed {
                Ok(armed) => armed,
                Err(error) => return error::pair(lua, error),
            };
            let make: Function = lua.registry_value(&channel)?;
            let (channel, deliver): (Value, Function) = make.call(())?;
            let state = Arc::new(State::default());
            let interval = (kind == Kind::Ticker).then_some(duration);
            timers.arm(slot, &deliver, &state, Instant::now().checked_add(duration), interval)?;
            if kind == Kind::After {
                return Ok(MultiValue::from_iter([channel, Value::Nil]));
            }
            let object = lua.create_userdata(Timer { timers: timers.clone(), state, kind })?;
            object.set_nth_user_value(CHANNEL, channel)?;
            object.set_nth_user_value(DELIVER, deliver)?;
            Ok(MultiValue::from_iter([Value::UserData(object), Value::Nil]))
        })?;
        module.set(name, make)
    };
    add("after", Kind::After)?;
    add("timer", Kind::Timer)?;
    add("ticker", Kind::Ticker)
}

/// Positive nanoseconds, none for others.
fn length(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    After,
    Timer,
    Ticker,
}

/// User values of a timer.
const CHANNEL: usize = 1;
const DELIVER: usize = 2;

/// The timers of a state's invocation.
#[derive(Clone)]
struct Timers {
    host: Host,
    /// How many are under way: their memory is not Lua's.
    pending: Places,
}

impl Timers {
    fn slot(&self) -> Result<Place, Error> {
        self.pending.take().ok_or_else(|| {
            let message = format!("{LUA_TIMERS_MAX} timers are under way, more than that are not allowed");
            Error::new(ErrorKind::RateLimited, message).retryable()
        })
    }

    /// Lets `deliver` be called at `at`, and from then on every `interval`; `None` is beyond the clock's end.
    fn arm(
        &self,
        slot: Place,
        deliver: &Function,
        state: &Arc<State>,
        at: Option<Instant>,
        interval: Option<Duration>,
    ) -> mlua::Result<()> {
        let (generation, stopped) = state.start();
        self.await_firing(
            slot,
            deliver,
            Firing { state: Arc::clone(state), generation, at, interval },
            stopped,
        )
    }

    fn await_firing(
        &self,
        slot: Place,
        deliver: &Function,
        firing: Firing,
        stopped: oneshot::Receiver<()>,
    ) -> mlua::Result<()> {
        let (timers, again) = (self.clone(), deliver.clone());
        let operation = async move {
            let elapsed = async {
                match firing.at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            select(Box::pin(elapsed), stopped).await;
            Box::new(move |lua: &Lua| timers.fire(lua, slot, &again, firing)) as Completion
        };
        self.host.begin(Receiver::Function(deliver.clone()), Box::pin(operation))
    }

    /// What `deliver` is called with.
    fn fire(&self, lua: &Lua, slot: Place, deliver: &Function, firing: Firing) -> mlua::Result<MultiValue> {
        if !firing.state.is_current(firing.generation) {
            return Ok(MultiValue::from_iter([Value::Boolean(false)]));
        }
        match firing.interval {
            None => firing.state.finish(),
            Some(interval) => {
                let at = firing.at.and_then(|at| next_tick(at, interval, Instant::now()));
                let stopped = firing.state.go_on();
                self.await_firing(slot, deliver, Firing { at, ..firing }, stopped)?;
            }
        }
        let now = Value::UserData(lua.create_userdata(Moment::now())?);
        Ok(MultiValue::from_iter([Value::Boolean(true), now]))
    }
}

/// The first time after `now` that is a multiple of `interval` after `last`.
fn next_tick(last: Instant, interval: Duration, now: Instant) -> Option<Instant> {
    let missed = now.saturating_duration_since(last).as_nanos() / interval.as_nanos().max(1);
    let nanos = u64::try_from((missed + 1) * interval.as_nanos()).ok()?;
    last.checked_add(Duration::from_nanos(nanos))
}

struct Firing {
    state: Arc<State>,
    generation: u64,
    at: Option<Instant>,
    interval: Option<Duration>,
}

/// Whether a timer is under way.
#[derive(Default)]
struct State(Mutex<Run>);

#[derive(Default)]
struct Run {
    /// Counts starts: what was begun for an earlier one fires no more.
    generation: u64,
    /// Dropped to end the wait; there while the timer is under way.
    stop: Option<oneshot::Sender<()>>,
}

impl State {
    fn run(&self) -> MutexGuard<'_, Run> {
        // Each change is one assignment: whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> (u64, oneshot::Receiver<()>) {
        let mut run = self.run();
        run.generation += 1;
        let (stop, stopped) = oneshot::channel();
        run.stop = Some(stop);
        (run.generation, stopped)
    }

    fn go_on(&self) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        self.run().stop = Some(stop);
        stopped
    }

    fn is_current(&self, generation: u64) -> bool {
        let run = self.run();
        run.generation == generation && run.stop.is_some()
    }

    /// Whether it was under way.
    fn stop(&self) -> bool {
        self.run().stop.take().is_some()
    }

    fn finish(&self) {
        self.run().stop = None;
    }
}

/// What `timer` and `ticker` give. Channel and function are its user values: a Lua value inside a Rust one
/// would never be garbage.
struct Timer {
    timers: Timers,
    state: Arc<State>,
    kind: Kind,
}

impl UserData for Timer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for name in ["response", "channel"] {
            methods.add_function(name, |_, this: AnyUserData| {
                this.borrow::<Self>()?;
                this.nth_user_value::<Value>(CHANNEL)
            });
        }
        methods.add_method("stop", |_, this, ()| Ok(this.state.stop()));
        methods.add_function("reset", |lua, (this, duration): (AnyUserData, Value)| {
            let deliver: Function = this.nth_user_value(DELIVER)?;
            let this = this.borrow::<Self>()?;
            let duration = match nanoseconds(&duration) {
                Ok(..=0) => Err(invalid("the duration must be above 0")),
                duration => duration.map(length),
            };
            // The place of the earlier run is free again when the driver sees that it was stopped.
            let armed = duration.and_then(|duration| Ok((duration, this.timers.slot()?)));
            let (duration, slot) = match armed {
                Ok(armed) => armed,
                Err(error) => return error::pair(lua, error),
            };
            let was = this.state.stop();
            let interval = (this.kind == Kind::Ticker).then_some(duration);
            this.timers.arm(slot, &deliver, &this.state, Instant::now().checked_add(duration), interval)?;
            Ok(MultiValue::from_iter([Value::Boolean(was)]))
        });
    }
}
