//! What waits: `sleep`, and the channels of `after`, `timer` and `ticker`.
//!
//! A channel has room for one time; one that nobody takes is kept and later ones are dropped, as in Go. A
//! ticker that falls behind skips what it missed.
//!
//! An invocation has one queue of its timers and one operation that watches it. The queue holds no channel: a
//! timer whose channel is garbage is gone with it, so `select` may make one for each of its rounds.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use mlua::{AnyUserData, Function, Lua, MultiValue, RegistryKey, Table, UserData, UserDataMethods, Value};
use registry_schema::ErrorKind;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Moment, invalid, nanoseconds};
use crate::config::LUA_TIMERS_MAX;
use crate::error::Error;
use crate::lua::error;
use crate::lua::host::{Answer, Completion, Host, Receiver};

/// Makes the channel of a timer, and delivers into it as long as somebody else holds it. The channel holds what
/// ends its timer.
const DELIVERY: &str = "
local new, offer = ...
local channels = setmetatable({}, { __mode = 'v' })
local function make(number, ending)
    local channel = new(1)
    channel.ending = ending
    channels[number] = channel
    return channel
end
local function deliver(number, time)
    local channel = channels[number]
    if channel then offer(channel, time) end
end
return make, deliver
";

/// Timers that fire before anything else is looked at.
const FIRINGS_AT_ONCE: usize = 64;

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
    let (make, deliver): (Function, Function) = lua.load(DELIVERY).set_name("=time").call((new, offer))?;
    let make = Arc::new(lua.create_registry_value(make)?);
    let deliver = Arc::new(lua.create_registry_value(deliver)?);
    let timers = Timers { host: host.clone(), queue: Queue::default(), deliver };
    let add = |name: &'static str, kind: Kind| {
        let (timers, make) = (timers.clone(), Arc::clone(&make));
        let start = lua.create_function(move |lua, duration: Value| {
            let duration = match nanoseconds(&duration) {
                Ok(..=0) if kind != Kind::After => Err(invalid("the duration must be above 0")),
                duration => duration.map(length),
            };
            let ready = duration.and_then(|duration| timers.queue.make_room(lua).map(|()| duration));
            let duration = match ready {
                Ok(duration) => duration,
                Err(error) => return error::pair(lua, error),
            };
            let ending = Ending { queue: timers.queue.clone(), number: timers.queue.number() };
            let number = ending.number;
            let make: Function = lua.registry_value(&make)?;
            let channel: Value = make.call((number, lua.create_userdata(ending)?))?;
            timers.arm(number, kind.armed(duration))?;
            if kind == Kind::After {
                return Ok(MultiValue::from_iter([channel, Value::Nil]));
            }
            let object = lua.create_userdata(Timer { timers: timers.clone(), number, kind })?;
            object.set_nth_user_value(CHANNEL, channel)?;
            Ok(MultiValue::from_iter([Value::UserData(object), Value::Nil]))
        })?;
        module.set(name, start)
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

impl Kind {
    /// One that fires after `duration`, a ticker again and again.
    fn armed(self, duration: Duration) -> Armed {
        let interval = (self == Self::Ticker).then_some(duration);
        Armed { at: Instant::now().checked_add(duration), interval }
    }
}

/// A timer under way.
#[derive(Clone, Copy)]
struct Armed {
    /// When it fires; `None` is beyond the clock's end.
    at: Option<Instant>,
    /// After how long it fires again.
    interval: Option<Duration>,
}

/// The timers of a state's invocation. Numbers are the state's: no two timers have the same.
#[derive(Clone, Default)]
struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    run: Mutex<Run>,
    /// Told when the first to fire is another.
    changed: Notify,
}

#[derive(Default)]
struct Run {
    /// Those under way, by number. Their memory is not Lua's.
    timers: HashMap<u64, Armed>,
    /// Those of them that will fire, by time.
    times: BTreeSet<(Instant, u64)>,
    last_number: u64,
    /// Whether an operation watches them.
    is_watched: bool,
}

impl Run {
    fn insert(&mut self, number: u64, armed: Armed) {
        self.timers.insert(number, armed);
        self.times.extend(armed.at.map(|at| (at, number)));
    }

    /// Whether it was under way.
    fn remove(&mut self, number: u64) -> bool {
        let Some(armed) = self.timers.remove(&number) else { return false };
        if let Some(at) = armed.at {
            self.times.remove(&(at, number));
        }
        true
    }
}

impl Queue {
    fn run(&self) -> MutexGuard<'_, Run> {
        // Nothing that is called while it is locked panics.
        self.0.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That of a timer more.
    fn number(&self) -> u64 {
        let mut run = self.run();
        run.last_number += 1;
        run.last_number
    }

    fn is_full(&self) -> bool {
        self.run().timers.len() >= LUA_TIMERS_MAX
    }

    /// Room for a timer more, if need be by letting go of those whose channels are garbage.
    fn make_room(&self, lua: &Lua) -> Result<(), Error> {
        if self.is_full() {
            // One that fails leaves the room that there is.
            let _ = lua.gc_collect();
        }
        if self.is_full() {
            let message = format!("{LUA_TIMERS_MAX} timers are under way, more than that are not allowed");
            return Err(Error::new(ErrorKind::RateLimited, message).retryable());
        }
        Ok(())
    }

    /// Ends a timer; whether it was under way.
    fn remove(&self, number: u64) -> bool {
        let was = self.run().remove(number);
        self.0.changed.notify_one();
        was
    }

    /// The numbers of some that fire now. Those that fire again are under way still.
    fn take_due(&self) -> Vec<u64> {
        let (mut run, now) = (self.run(), Instant::now());
        let mut due = Vec::new();
        while let Some(&(at, number)) = run.times.first()
            && at <= now
            && due.len() < FIRINGS_AT_ONCE
        {
            let interval = run.timers.get(&number).and_then(|armed| armed.interval);
            run.remove(number);
            if let Some(interval) = interval {
                run.insert(number, Armed { at: next_tick(at, interval, now), interval: Some(interval) });
            }
            due.push(number);
        }
        due
    }

    /// Waits until one fires, or none is under way.
    async fn due(&self) {
        loop {
            let changed = pin!(self.0.changed.notified());
            let first = {
                let run = self.run();
                if run.timers.is_empty() {
                    return;
                }
                run.times.first().map(|(at, _)| *at)
            };
            match first {
                None => changed.await,
                Some(at) => {
                    if let Either::Left(_) = select(pin!(sleep_until(at)), changed).await {
                        return;
                    }
                }
            }
        }
    }
}

/// The first time after `now` that is a multiple of `interval` after `last`.
fn next_tick(last: Instant, interval: Duration, now: Instant) -> Option<Instant> {
    let missed = now.saturating_duration_since(last).as_nanos() / interval.as_nanos().max(1);
    let nanos = u64::try_from((missed + 1) * interval.as_nanos()).ok()?;
    last.checked_add(Duration::from_nanos(nanos))
}

/// What the operation that watches a queue holds: with the invocation that it belongs to, its timers end.
struct Watch(Queue);

impl Drop for Watch {
    fn drop(&mut self) {
        let mut run = self.0.run();
        run.timers.clear();
        run.times.clear();
        run.is_watched = false;
    }
}

/// What a state's timers have in common.
#[derive(Clone)]
struct Timers {
    host: Host,
    queue: Queue,
    /// The function that delivers.
    deliver: Arc<RegistryKey>,
}

impl Timers {
    /// Lets a timer run as `armed`; whether it was under way before.
    fn arm(&self, number: u64, armed: Armed) -> mlua::Result<bool> {
        let (was, is_watched) = {
            let mut run = self.queue.run();
            let was = run.remove(number);
            run.insert(number, armed);
            (was, std::mem::replace(&mut run.is_watched, true))
        };
        self.queue.0.changed.notify_one();
        if !is_watched {
            self.watch(Watch(self.queue.clone()))?;
        }
        Ok(was)
    }

    fn watch(&self, watch: Watch) -> mlua::Result<()> {
        let timers = self.clone();
        let operation = async move {
            watch.0.due().await;
            Box::new(move |lua: &Lua| timers.fire(lua, watch)) as Completion
        };
        self.host.begin(Receiver::End, Box::pin(operation))
    }

    /// Delivers what is due, and watches on as long as there is something to wait for.
    fn fire(&self, lua: &Lua, watch: Watch) -> mlua::Result<MultiValue> {
        let deliver: Function = lua.registry_value(&self.deliver)?;
        for number in self.queue.take_due() {
            deliver.call::<()>((number, lua.create_userdata(Moment::now())?))?;
        }
        if !self.queue.run().timers.is_empty() {
            self.watch(watch)?;
        }
        Ok(MultiValue::new())
    }
}

/// Ends a timer when it is dropped: with the channel that holds it.
struct Ending {
    queue: Queue,
    number: u64,
}

impl UserData for Ending {}

impl Drop for Ending {
    fn drop(&mut self) {
        self.queue.remove(self.number);
    }
}

/// User value of a timer.
const CHANNEL: usize = 1;

/// What `timer` and `ticker` give. The channel is its user value: a Lua value inside a Rust one would never be
/// garbage.
struct Timer {
    timers: Timers,
    number: u64,
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
        methods.add_method("stop", |_, this, ()| Ok(this.timers.queue.remove(this.number)));
        methods.add_method("reset", |lua, this, duration: Value| {
            let duration = match nanoseconds(&duration) {
                Ok(..=0) => Err(invalid("the duration must be above 0")),
                duration => duration.map(length),
            };
            // One that is under way has its room.
            let is_under_way = this.timers.queue.run().timers.contains_key(&this.number);
            let ready = duration.and_then(|duration| {
                if !is_under_way {
                    this.timers.queue.make_room(lua)?;
                }
                Ok(duration)
            });
            match ready {
                Ok(duration) => {
                    let was = this.timers.arm(this.number, this.kind.armed(duration))?;
                    Ok(MultiValue::from_iter([Value::Boolean(was)]))
                }
                Err(error) => error::pair(lua, error),
            }
        });
    }
}
