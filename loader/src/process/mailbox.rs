//! What a process was sent and has not taken yet.
//!
//! Messages stay here until they are taken, so that this is where they are bounded. One of a topic that is
//! listened to waits in a queue of its own, all others in the inbox; one that was there before its topic was
//! listened to moves over. Events have room reserved before what causes them is begun, so none is ever lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_schema::ErrorKind;
use tokio::sync::Notify;

use super::Pid;
use crate::budget::Share;
use crate::config::{PROCESS_EVENTS_MAX, PROCESS_MAILBOX_BYTES_MAX, PROCESS_MAILBOX_MAX};
use crate::data::Data;
use crate::error::Error;

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) topic: Arc<str>,
    /// Who sent it; nobody for the embedding program.
    pub(crate) from: Option<Pid>,
    pub(crate) payload: Data,
}

impl Message {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.payload.bytes()
    }
}

/// What ended a process, or how it returned.
pub(crate) type Exit = Result<Data, Error>;

/// Something that happened to another process, or is asked of this one.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A monitored process ended.
    Exit { from: Pid, exit: Arc<Exit> },
    /// A linked process ended with an error.
    LinkDown { from: Pid, exit: Arc<Exit> },
    /// The process should end.
    Cancel { from: Option<Pid>, reason: Option<String> },
}

/// Which messages are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Those of topics that are not listened to.
    Inbox,
    /// Those of one topic.
    Topic(Arc<str>),
}

/// The mailbox of one process, with one reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queues: Mutex<Queues>,
    /// Told when something came in.
    arrived: Notify,
}

#[derive(Debug)]
struct Queues {
    /// What the messages have of the memory of all guests.
    share: Share,
    inbox: VecDeque<Message>,
    topics: HashMap<Arc<str>, VecDeque<Message>>,
    messages: usize,
    bytes: usize,
    events: VecDeque<Event>,
    /// Events that may still come.
    reserved: usize,
    canceled: bool,
}

impl Mailbox {
    /// An empty one, whose messages count towards `share`.
    pub(super) fn new(share: Share) -> Self {
        let queues = Queues {
            share,
            inbox: VecDeque::new(),
            topics: HashMap::new(),
            messages: 0,
            bytes: 0,
            events: VecDeque::new(),
            reserved: 0,
            canceled: false,
        };
        Self { queues: Mutex::new(queues), arrived: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // A panic in between leaves counts at worst too high.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `messages` in, all or none.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is no room for them now.
    pub(crate) fn send(&self, pid: &Pid, messages: Vec<Message>) -> Result<(), Error> {
        let bytes: usize = messages.iter().map(Message::bytes).sum();
        let mut queues = self.lock();
        let too_many = queues.messages + messages.len() > PROCESS_MAILBOX_MAX;
        if too_many || queues.bytes.saturating_add(bytes) > PROCESS_MAILBOX_BYTES_MAX {
            let limit = match too_many {
                true => format!("{PROCESS_MAILBOX_MAX} messages"),
                false => format!("{PROCESS_MAILBOX_BYTES_MAX} bytes"),
            };
            let message = format!("the mailbox of `{pid}` is full: it would hold more than {limit}");
            return Err(Error::new(ErrorKind::Unavailable, message).retryable());
        }
        let all = queues.bytes + bytes;
        if !queues.share.set(all as u64) {
            let message = format!(
                "the mailbox of `{pid}` is full: limit `wasm.total.max_memory_bytes` of {} was reached",
                queues.share.bytes_max()
            );
            return Err(Error::new(ErrorKind::Unavailable, message).retryable());
        }
        queues.messages += messages.len();
        queues.bytes = all;
        for message in messages {
            match queues.topics.get_mut(&message.topic) {
                Some(queue) => queue.push_back(message),
                None => queues.inbox.push_back(message),
            }
        }
        drop(queues);
        self.arrived.notify_one();
        Ok(())
    }

    /// Makes room for one event.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is none.
    pub(crate) fn reserve(&self) -> Result<(), Error> {
        let mut queues = self.lock();
        if queues.reserved + queues.events.len() >= PROCESS_EVENTS_MAX {
            let message =
                format!("{PROCESS_EVENTS_MAX} events of this process are awaited or were not taken");
            return Err(Error::new(ErrorKind::Unavailable, message).retryable());
        }
        queues.reserved += 1;
        Ok(())
    }

    /// Gives room for one event back.
    pub(crate) fn release(&self) {
        let mut queues = self.lock();
        queues.reserved = queues.reserved.saturating_sub(1);
    }

    /// Puts an event in that room was made for.
    pub(crate) fn push(&self, event: Event) {
        let mut queues = self.lock();
        queues.reserved = queues.reserved.saturating_sub(1);
        queues.events.push_back(event);
        drop(queues);
        self.arrived.notify_one();
    }

    /// Puts the wish in that the process ends; only the first is ever seen.
    pub(crate) fn cancel(&self, from: Option<Pid>, reason: Option<String>) {
        let mut queues = self.lock();
        if std::mem::replace(&mut queues.canceled, true) {
            return;
        }
        queues.events.push_back(Event::Cancel { from, reason });
        drop(queues);
        self.arrived.notify_one();
    }

    /// Takes the next message of `queue`.
    pub(crate) fn take(&self, queue: &Queue) -> Option<Message> {
        let mut queues = self.lock();
        let message = match queue {
            Queue::Inbox => queues.inbox.pop_front(),
            Queue::Topic(topic) => queues.topics.get_mut(topic)?.pop_front(),
        }?;
        queues.messages -= 1;
        queues.bytes -= message.bytes();
        let left = queues.bytes as u64;
        // Less is always given back.
        queues.share.set(left);
        Some(message)
    }

    /// How many messages wait, and their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        let queues = self.lock();
        (queues.messages, queues.bytes)
    }

    /// Takes the next event.
    pub(crate) fn take_event(&self) -> Option<Event> {
        self.lock().events.pop_front()
    }

    /// Gives messages of `topic` a queue of their own.
    ///
    /// # Errors
    /// `UNAVAILABLE` when as many topics are listened to as messages may wait.
    pub(crate) fn listen(&self, topic: &Arc<str>) -> Result<(), Error> {
        let mut queues = self.lock();
        if queues.topics.contains_key(topic) {
            return Ok(());
        }
        if queues.topics.len() >= PROCESS_MAILBOX_MAX {
            let message = format!("{PROCESS_MAILBOX_MAX} topics are listened to, more are not allowed");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let (own, others) =
            std::mem::take(&mut queues.inbox).into_iter().partition(|message| message.topic == *topic);
        queues.inbox = others;
        queues.topics.insert(Arc::clone(topic), own);
        Ok(())
    }

    /// Ends the queue of `topic`; what is left in it goes to the inbox.
    pub(crate) fn unlisten(&self, topic: &str) {
        let mut queues = self.lock();
        if let Some(left) = queues.topics.remove(topic) {
            queues.inbox.extend(left);
        }
    }

    /// Waits until something comes in, or has come in since this was last awaited.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::budget::Budget;

    fn pid() -> Pid {
        Pid::new(Arc::new("app:host".parse().unwrap()), 1)
    }

    fn mailbox() -> Mailbox {
        Mailbox::new(Budget::new(Some(u64::MAX)).share())
    }

    fn message(topic: &str, payload: i64) -> Message {
        Message { topic: topic.into(), from: None, payload: Data::Integer(payload) }
    }

    fn taken(mailbox: &Mailbox, queue: &Queue) -> Vec<Data> {
        std::iter::from_fn(|| mailbox.take(queue)).map(|message| message.payload).collect()
    }

    #[test]
    fn messages_that_came_before_their_listener_are_its() {
        let mailbox = mailbox();
        let topic: Arc<str> = "t".into();
        mailbox.send(&pid(), vec![message("t", 1), message("u", 2)]).unwrap();
        mailbox.listen(&topic).unwrap();
        mailbox.send(&pid(), vec![message("t", 3)]).unwrap();
        let own = Queue::Topic(Arc::clone(&topic));
        assert_eq!(taken(&mailbox, &own), [Data::Integer(1), Data::Integer(3)]);
        mailbox.send(&pid(), vec![message("t", 4)]).unwrap();
        mailbox.unlisten("t");
        assert_eq!(taken(&mailbox, &own), []);
        assert_eq!(taken(&mailbox, &Queue::Inbox), [Data::Integer(2), Data::Integer(4)]);
    }

    #[test]
    fn a_full_mailbox_refuses_until_something_is_taken() {
        let mailbox = mailbox();
        let many = (0..PROCESS_MAILBOX_MAX).map(|_| message("t", 0)).collect();
        mailbox.send(&pid(), many).unwrap();
        let error = mailbox.send(&pid(), vec![message("t", 1)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable() && error.message().ends_with("messages"), "{error}");
        mailbox.take(&Queue::Inbox).unwrap();
        mailbox.send(&pid(), vec![message("t", 1)]).unwrap();
        taken(&mailbox, &Queue::Inbox);
        let half = Message {
            topic: "t".into(),
            from: None,
            payload: Data::String(vec![0; PROCESS_MAILBOX_BYTES_MAX / 2]),
        };
        mailbox.send(&pid(), vec![half.clone()]).unwrap();
        let error = mailbox.send(&pid(), vec![half.clone()]).unwrap_err();
        assert!(error.message().ends_with("bytes"), "{error}");
        taken(&mailbox, &Queue::Inbox);
        mailbox.send(&pid(), vec![half]).unwrap();
    }

    #[test]
    fn messages_count_towards_the_memory_of_all_guests() {
        let budget = Budget::new(Some(1_000));
        let (one, other) = (Mailbox::new(budget.share()), Mailbox::new(budget.share()));
        let sized = |bytes| Message { topic: "t".into(), from: None, payload: Data::String(vec![0; bytes]) };
        one.send(&pid(), vec![sized(500)]).unwrap();
        let error = other.send(&pid(), vec![sized(500)]).unwrap_err();
        assert!(error.is_retryable() && error.message().contains("max_memory_bytes` of 1000"), "{error}");
        assert_eq!(other.held(), (0, 0));
        one.take(&Queue::Inbox).unwrap();
        assert_eq!(budget.snapshot().used, 0);
        other.send(&pid(), vec![sized(500)]).unwrap();
        assert!(budget.snapshot().used > 500);
        drop(other);
        assert_eq!(budget.snapshot().used, 0);
    }

    #[test]
    fn room_for_events_is_bounded() {
        let mailbox = mailbox();
        for _ in 0..PROCESS_EVENTS_MAX {
            mailbox.reserve().unwrap();
        }
        assert_eq!(mailbox.reserve().unwrap_err().kind(), ErrorKind::Unavailable);
        mailbox.push(Event::Exit { from: pid(), exit: Arc::new(Ok(Data::Nil)) });
        assert!(mailbox.reserve().is_err());
        assert!(mailbox.take_event().is_some());
        mailbox.reserve().unwrap();
    }

    #[test]
    fn the_wish_to_end_is_seen_once() {
        let mailbox = mailbox();
        mailbox.cancel(None, Some("first".to_owned()));
        mailbox.cancel(None, Some("second".to_owned()));
        assert!(
            matches!(mailbox.take_event(), Some(Event::Cancel { reason: Some(reason), .. }) if reason == "first")
        );
        assert!(mailbox.take_event().is_none());
    }
}
