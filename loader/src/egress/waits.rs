//! How long a guest of WASI 0.2 waits for its sockets (`limits.socket_timeout_ms`).
//!
//! It waits by handles of `wasi:io/poll`. Those that stand for a socket or a look-up are known here, so that a wait
//! ends when one of them took too long; the operation then says so.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::poll;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;
use wasmtime_wasi::p2::{DynPollable, SocketResult};

use crate::host_state::HostState;

/// What a call waits for, and since when.
pub(crate) struct Waits {
    longest: Option<Duration>,
    /// What handles of `wasi:io/poll` stand for.
    watched: HashMap<u32, u32>,
    /// When the first wait for a socket or look-up began that has gone on since.
    since: HashMap<u32, Instant>,
}

impl Waits {
    pub(super) fn new(longest: Option<Duration>) -> Self {
        Self { longest, watched: HashMap::new(), since: HashMap::new() }
    }

    /// `pollable` stands for `what`.
    pub(super) fn watch(&mut self, pollable: &Resource<DynPollable>, what: u32) {
        if self.longest.is_some() {
            self.watched.insert(pollable.rep(), what);
        }
    }

    /// `what` went on, or is gone: its next wait is a new one.
    pub(super) fn end(&mut self, what: u32) {
        self.since.remove(&what);
    }

    /// Whether `what` was waited for too long. Its next wait is a new one.
    pub(super) fn is_over(&mut self, what: u32) -> bool {
        let is_over = self.since.get(&what).is_some_and(|since| self.has_passed(*since));
        if is_over {
            self.end(what);
        }
        is_over
    }

    /// `room` for datagrams, unless there is none and was none for too long.
    pub(super) fn sending(&mut self, what: u32, room: SocketResult<u64>) -> SocketResult<u64> {
        match room {
            Ok(0) if self.is_over(what) => Err(ErrorCode::Timeout.into()),
            Ok(0) => Ok(0),
            room => {
                self.end(what);
                room
            }
        }
    }

    fn has_passed(&self, since: Instant) -> bool {
        self.longest.is_some_and(|longest| since.elapsed() >= longest)
    }

    /// Begins to wait for `pollables`; when the first of them has taken too long.
    fn begin(&mut self, pollables: &[u32]) -> Option<Instant> {
        let longest = self.longest?;
        let now = Instant::now();
        let what = pollables.iter().filter_map(|pollable| self.watched.get(pollable));
        let since = what.map(|what| *self.since.entry(*what).or_insert(now)).min()?;
        Some(since + longest)
    }

    /// Places of those that have taken too long.
    fn over(&self, pollables: &[u32]) -> Vec<u32> {
        let is_over = |pollable: &u32| {
            let since = self.watched.get(pollable).and_then(|what| self.since.get(what));
            since.is_some_and(|since| self.has_passed(*since))
        };
        (0..).zip(pollables).filter(|(_, pollable)| is_over(pollable)).map(|(at, _)| at).collect()
    }

    /// `pollable` is ready.
    fn ready(&mut self, pollable: u32) {
        if let Some(what) = self.watched.get(&pollable) {
            self.since.remove(what);
        }
    }
}

/// Marks `wasi:io/poll`, whose host is [`Polls`].
struct Polled;

impl HasData for Polled {
    type Data<'a> = Polls<'a>;
}

/// The host of `wasi:io/poll`.
struct Polls<'a> {
    table: &'a mut ResourceTable,
    /// `None` before the guest has anything of its host.
    waits: Option<&'a mut Waits>,
}

/// Adds `wasi:io/poll`.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    poll::add_to_linker::<HostState, Polled>(linker, |state| {
        let (table, waits) = state.polls();
        Polls { table, waits }
    })
}

impl Polls<'_> {
    /// Waits for `pollables`; places of those that are ready, or took too long.
    async fn wait(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let handles: Vec<u32> = pollables.iter().map(Resource::rep).collect();
        let waiting = poll::Host::poll(self.table, pollables);
        let Some(waits) = &mut self.waits else { return waiting.await };
        let Some(until) = waits.begin(&handles) else { return waiting.await };
        match timeout_at(until, waiting).await {
            Ok(ready) => {
                let ready = ready?;
                let handles = ready.iter().filter_map(|at| handles.get(usize::try_from(*at).ok()?));
                handles.for_each(|handle| waits.ready(*handle));
                Ok(ready)
            }
            Err(_) => Ok(waits.over(&handles)),
        }
    }
}

impl poll::Host for Polls<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.wait(pollables).await
    }
}

impl poll::HostPollable for Polls<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wait(vec![pollable]).await.map(|_| ())
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(self.table, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        if let Some(waits) = &mut self.waits {
            waits.watched.remove(&pollable.rep());
        }
        poll::HostPollable::drop(self.table, pollable)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);
    /// A handle, and the stream of datagrams that it stands for.
    const HANDLE: u32 = 3;
    const STREAM: u32 = 7;

    fn watching(longest: Option<Duration>) -> Waits {
        let mut waits = Waits::new(longest);
        waits.watch(&Resource::new_own(HANDLE), STREAM);
        waits
    }

    fn is_timeout(room: SocketResult<u64>) -> bool {
        matches!(room.unwrap_err().downcast_ref(), Some(ErrorCode::Timeout))
    }

    #[tokio::test(start_paused = true)]
    async fn datagrams_that_the_system_does_not_take() {
        let mut waits = watching(Some(LONGEST));
        for _ in 0..2 {
            // Who does not wait is not late.
            advance(2 * LONGEST).await;
            assert_eq!(waits.sending(STREAM, Ok(0)).unwrap(), 0);
            let until = waits.begin(&[HANDLE]).unwrap();
            assert_eq!(until, Instant::now() + LONGEST);
            advance(LONGEST / 2).await;
            assert_eq!(waits.sending(STREAM, Ok(0)).unwrap(), 0);
            // A second wait for the same goes on with the first.
            assert_eq!(waits.begin(&[HANDLE]), Some(until));
            advance(LONGEST / 2).await;
            assert_eq!(waits.over(&[HANDLE]), [0]);
            assert!(is_timeout(waits.sending(STREAM, Ok(0))));
            // The next wait is a new one.
            assert_eq!(waits.sending(STREAM, Ok(0)).unwrap(), 0);
            waits.begin(&[HANDLE]);
            assert_eq!(waits.sending(STREAM, Ok(16)).unwrap(), 16);
            advance(LONGEST).await;
            assert_eq!(waits.sending(STREAM, Ok(0)).unwrap(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_a_guest_waits_for_as_long_as_it_likes() {
        let mut waits = watching(None);
        assert_eq!(waits.begin(&[HANDLE]), None);
        advance(1_000 * LONGEST).await;
        assert_eq!(waits.sending(STREAM, Ok(0)).unwrap(), 0);
    }
}
