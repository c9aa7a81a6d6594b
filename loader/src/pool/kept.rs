//! Idle instances of one function, kept for the next call of the same actor and scope (`pool.reuse`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::bound::Kept;
use crate::config::POOL_IDLE_MAX;
use crate::context::Context;
#[cfg(feature = "lua")]
use crate::security::{Actor, Scope};

/// Whose call an instance has served: nobody else gets what it remembers.
pub(crate) struct Owner {
    #[cfg(feature = "lua")]
    actor: Option<Arc<Actor>>,
    #[cfg(feature = "lua")]
    scope: Option<Arc<Scope>>,
}

impl Owner {
    #[cfg_attr(not(feature = "lua"), expect(unused_variables, reason = "only Lua has actors"))]
    pub(crate) fn of(context: &Context) -> Self {
        Self {
            #[cfg(feature = "lua")]
            actor: context.actor().cloned(),
            #[cfg(feature = "lua")]
            scope: context.scope().cloned(),
        }
    }

    /// Whether calls with `context` are made for the same.
    #[cfg(feature = "lua")]
    fn is_of(&self, context: &Context) -> bool {
        let scopes = match (&self.scope, context.scope()) {
            (None, None) => true,
            (Some(own), Some(other)) => own.is(other),
            _ => false,
        };
        scopes && self.actor.as_ref() == context.actor()
    }

    #[cfg(not(feature = "lua"))]
    fn is_of(&self, _: &Context) -> bool {
        true
    }
}

/// Idle instances.
pub(crate) struct Shelf<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    /// The one that was kept first is in front.
    items: VecDeque<Item<T>>,
    /// Whether a task waits to let the first one go.
    is_watched: bool,
}

struct Item<T> {
    owner: Owner,
    since: Instant,
    value: T,
}

impl<T: Send + 'static> Shelf<T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { items: VecDeque::new(), is_watched: false };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The instance for calls with `context`, if one is given, that was used last. What is more than `max` then is
    /// given up, the longest idle first.
    pub(crate) fn take(&self, context: Option<&Context>, max: usize) -> Option<(Owner, T)> {
        let mut state = self.state();
        let at = context.and_then(|context| state.items.iter().rposition(|item| item.owner.is_of(context)));
        let taken = at.and_then(|at| state.items.remove(at));
        let surplus = state.items.len().saturating_sub(max);
        let gone: Vec<Item<T>> = state.items.drain(..surplus).collect();
        drop(state);
        drop(gone);
        taken.map(|Item { owner, value, .. }| (owner, value))
    }

    /// Keeps `value`, whose last call ended at `now`, until a call of `owner` takes it, it was idle for
    /// [`POOL_IDLE_MAX`], or its place is wanted.
    pub(crate) fn put(self: &Arc<Self>, owner: Owner, value: T, now: Instant) {
        let mut state = self.state();
        state.items.push_back(Item { owner, since: now, value });
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(watch(Watch(Arc::downgrade(self))));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Items are moved as a whole: usable after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets what is idle for long go; when to look again. With nothing left there is no watch any more.
    fn let_go(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let is_long = |item: &Item<T>| now.saturating_duration_since(item.since) >= POOL_IDLE_MAX;
        let long = state.items.iter().take_while(|item| is_long(item)).count();
        let gone: Vec<Item<T>> = state.items.drain(..long).collect();
        let next = state.items.front().map(|item| item.since + POOL_IDLE_MAX);
        state.is_watched = next.is_some();
        drop(state);
        drop(gone);
        next
    }
}

/// Says that nobody watches any more, also when the runtime ends that the watching task was on. Does not hold
/// the shelf: its loader may go.
struct Watch<T: Send + 'static>(Weak<Shelf<T>>);

impl<T: Send + 'static> Drop for Watch<T> {
    fn drop(&mut self) {
        if let Some(shelf) = self.0.upgrade() {
            shelf.state().is_watched = false;
        }
    }
}

async fn watch<T: Send + 'static>(watch: Watch<T>) {
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        let shelf = watch.0.upgrade();
        match shelf.and_then(|shelf| shelf.let_go(Instant::now())) {
            Some(later) => next = later,
            None => return,
        }
    }
}

impl<T: Send + 'static> Kept for Shelf<T> {
    fn oldest(&self) -> Option<Instant> {
        self.state().items.front().map(|item| item.since)
    }

    fn give_up(&self) {
        let gone = self.state().items.pop_front();
        drop(gone);
    }
}
