//! Streams of sockets of WASI 0.3: their ends are seen, and their waits are bounded (`limits.socket_timeout_ms`).
//!
//! The host's own streams can't be told when to give up. So bytes go through a relay, which looks at the clock while
//! the guest waits for it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Sleep;
use wasmtime::component::{
    Destination, FutureConsumer, FutureReader, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::types::ErrorCode;

use super::sockets::Streaming;
use crate::host_state::HostState;

/// Bytes that a relay holds.
const PART_BYTES: usize = 64 << 10;

type Outcome = Result<(), ErrorCode>;
type Produced = Poll<wasmtime::Result<StreamResult>>;

/// What is known of a relay's waits.
pub(super) struct Late {
    /// Hears when the guest waited for too long; ends with the guest's end.
    heard: oneshot::Receiver<()>,
    relay: Arc<Mutex<Relay>>,
    longest: Duration,
}

/// `bytes`, which a guest reads, by a relay; and whether it waited for too long. Where the guest lets go of them early,
/// the host's stream, and so its connection, is there until the other end says something: nothing else wakes it.
pub(super) fn reading(
    store: &mut StoreContextMut<'_, HostState>,
    bytes: StreamReader<u8>,
    longest: Duration,
) -> wasmtime::Result<(StreamReader<u8>, Late)> {
    let (relay, (clock, heard)) = (Arc::<Mutex<Relay>>::default(), Clock::new(longest));
    let late = Late { heard, relay: Arc::clone(&relay), longest };
    bytes.pipe(store.as_context_mut(), Taker(End { relay: Arc::clone(&relay), clock: None }))?;
    let bytes = StreamReader::new(store, Giver(End { relay, clock: Some(clock) }))?;
    Ok((bytes, late))
}

/// `bytes`, which a guest writes, by a relay; and whether it waited for too long.
pub(super) fn writing(
    store: &mut StoreContextMut<'_, HostState>,
    bytes: StreamReader<u8>,
    longest: Duration,
) -> wasmtime::Result<(StreamReader<u8>, Late)> {
    let (relay, (clock, heard)) = (Arc::<Mutex<Relay>>::default(), Clock::new(longest));
    let late = Late { heard, relay: Arc::clone(&relay), longest };
    bytes.pipe(store.as_context_mut(), Taker(End { relay: Arc::clone(&relay), clock: Some(clock) }))?;
    let bytes = StreamReader::new(store, Giver(End { relay, clock: None }))?;
    Ok((bytes, late))
}

/// `outcome`, unless the guest waited for too long, or waits for too long for what it wrote to be sent. It comes at
/// the end of the host's stream, whether the guest looks for it or not: until then there is `streaming`.
pub(super) fn outcome(
    store: &mut StoreContextMut<'_, HostState>,
    outcome: FutureReader<Outcome>,
    late: Option<Late>,
    streaming: Arc<Streaming>,
) -> wasmtime::Result<FutureReader<Outcome>> {
    let (tell, told) = oneshot::channel();
    outcome.pipe(store.as_context_mut(), Listener(Some((tell, streaming))))?;
    FutureReader::new(store, async move {
        Ok::<_, wasmtime::Error>(match late {
            None => told.await.unwrap_or(Ok(())),
            Some(late) => settled(late, told).await,
        })
    })
}

async fn settled(late: Late, mut told: oneshot::Receiver<Outcome>) -> Outcome {
    let Late { heard, relay, longest } = late;
    let lock = || relay.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::select! {
        biased;
        heard = heard => match heard {
            Ok(()) => return Err(ErrorCode::Timeout),
            // A guest that reads no further has its outcome.
            Err(_) if lock().is_given_up => return Ok(()),
            Err(_) => {}
        },
        outcome = &mut told => return outcome.unwrap_or(Ok(())),
    }
    // The guest's end has gone: for what is still on its way, each part has the time of a wait.
    loop {
        let moves = lock().moves;
        match tokio::time::timeout(longest, &mut told).await {
            Ok(outcome) => return outcome.unwrap_or(Ok(())),
            Err(_) if lock().moves > moves => {}
            Err(_) => return Err(ErrorCode::Timeout),
        }
    }
}

/// Bytes on their way, and who waits for them to move.
#[derive(Default)]
struct Relay {
    bytes: Vec<u8>,
    is_closed: bool,
    /// Whether the end that gives went first.
    is_given_up: bool,
    /// How often bytes moved.
    moves: u64,
    waiting: Option<Waker>,
}

/// The time that a guest waits at its end.
struct Clock {
    longest: Duration,
    /// Made when a wait begins.
    timer: Option<Pin<Box<Sleep>>>,
    late: Option<oneshot::Sender<()>>,
}

impl Clock {
    fn new(longest: Duration) -> (Self, oneshot::Receiver<()>) {
        let (late, is_late) = oneshot::channel();
        (Self { longest, timer: None, late: Some(late) }, is_late)
    }

    /// Whether the wait that goes on has taken too long.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let longest = self.longest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        if timer.as_mut().poll(context).is_pending() {
            return false;
        }
        if let Some(late) = self.late.take() {
            let _ = late.send(());
        }
        true
    }
}

/// One end of a relay; the relay is closed with it.
struct End {
    relay: Arc<Mutex<Relay>>,
    /// Of the end that the guest waits at.
    clock: Option<Clock>,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut relay = self.lock();
        relay.is_closed = true;
        wake(&mut relay);
    }
}

fn wake(relay: &mut Relay) {
    if let Some(waiting) = relay.waiting.take() {
        waiting.wake();
    }
}

impl End {
    fn lock(&self) -> MutexGuard<'_, Relay> {
        // Bytes are moved whole.
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&mut self) {
        {
            let mut relay = self.lock();
            relay.moves += 1;
            wake(&mut relay);
        }
        if let Some(clock) = &mut self.clock {
            clock.timer = None;
        }
    }

    /// Waits for the other end.
    fn wait(&mut self, context: &mut Context<'_>, finish: bool) -> Produced {
        self.lock().waiting = Some(context.waker().clone());
        if self.clock.as_mut().is_some_and(|clock| clock.is_over(context)) {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
    }
}

/// The end that takes bytes from a stream.
struct Taker(End);

impl StreamConsumer<HostState> for Taker {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, HostState>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Produced {
        let (is_closed, is_empty) = {
            let relay = self.0.lock();
            (relay.is_closed, relay.bytes.is_empty())
        };
        if is_closed {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        if !is_empty {
            return self.0.wait(context, finish);
        }
        let mut source = source.as_direct(store);
        let part = source.remaining();
        let part = &part[..part.len().min(PART_BYTES)];
        let count = part.len();
        self.0.lock().bytes.extend_from_slice(part);
        source.mark_read(count);
        self.0.moved();
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// The end that gives bytes to a stream.
struct Giver(End);

impl Drop for Giver {
    fn drop(&mut self) {
        let mut relay = self.0.lock();
        relay.is_given_up = !relay.is_closed;
    }
}

impl StreamProducer<HostState> for Giver {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, HostState>,
        destination: Destination<'a, u8, Option<u8>>,
        finish: bool,
    ) -> Produced {
        let (is_closed, is_empty) = {
            let relay = self.0.lock();
            (relay.is_closed, relay.bytes.is_empty())
        };
        if is_empty && is_closed {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        if is_empty {
            return self.0.wait(context, finish);
        }
        // Who asks for no bytes asks whether there are any.
        if destination.remaining(store.as_context_mut()) != Some(0) {
            let mut destination = destination.as_direct(store, PART_BYTES);
            let room = destination.remaining();
            let count = {
                let mut relay = self.0.lock();
                let count = room.len().min(relay.bytes.len());
                room[..count].copy_from_slice(&relay.bytes[..count]);
                relay.bytes.drain(..count);
                count
            };
            destination.mark_written(count);
            self.0.moved();
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// Takes the outcome of an operation, which is over then.
struct Listener(Option<(oneshot::Sender<Outcome>, Arc<Streaming>)>);

impl FutureConsumer<HostState> for Listener {
    type Item = Outcome;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, HostState>,
        mut source: Source<'_, Outcome>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        if let (Some((tell, _)), Some(outcome)) = (self.0.take(), outcome) {
            let _ = tell.send(outcome);
        }
        Poll::Ready(Ok(()))
    }
}
