//! Processes: code that runs for as long as it likes, beside its caller, and is sent messages
//! (`en/lua/core/process.md`, `en/concepts/process-model.md`).
//!
//! A process is a tokio task (`run.rs`) that runs a Lua invocation or a guest with a store of its own, on one
//! of the workers of its host (`host.rs`). What it was sent waits in its mailbox (`mailbox.rs`); who monitors
//! and is linked to whom stands in one table (`table.rs`), where a process that ends is taken out and its
//! end made known. A function's call becomes a process when it asks for what only processes have.

mod capacity;
mod commands;
mod end;
mod host;
mod mailbox;
mod pid;
mod run;
mod service;
mod snapshot;
mod table;
mod terminal;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use registry_schema::{EntryId, ErrorKind};
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::capacity::Room;
pub use self::commands::{CommandInfo, Outcome, Refused, Running};
pub(crate) use self::mailbox::{Event, Exit, Mailbox, Message, Queue};
pub(crate) use self::pid::Pid;
pub(crate) use self::run::{Arguments, Spawn, Ties};
pub(crate) use self::service::{host_service, own_service, process_service};
pub use self::snapshot::ProcessesSnapshot;
pub(crate) use self::table::{Attached, Processes};
pub use self::terminal::Terminal;

use self::end::Orders;
use crate::budget::Share;
use crate::config::PROCESS_CANCEL_GRACE;
use crate::error::Error;

/// A process, from when it is made until nobody knows of it.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) entry: Arc<EntryId>,
    pub(crate) mailbox: Mailbox,
    /// What it is attached to, for commands.
    pub(crate) terminal: Option<Arc<Terminal>>,
    reads: Reads,
    trap_links: AtomicBool,
    orders: Orders,
    exit: watch::Sender<Option<Arc<Exit>>>,
}

/// Whether a process can take messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// It can.
    Messages,
    /// A guest that imports no inbox.
    Nothing,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of `{}`", self.pid, self.entry)
    }
}

impl Process {
    fn new(
        pid: Pid,
        entry: Arc<EntryId>,
        reads: Reads,
        terminal: Option<Arc<Terminal>>,
        memory: Share,
    ) -> Self {
        Self {
            pid,
            entry,
            mailbox: Mailbox::new(memory),
            terminal,
            reads,
            trap_links: AtomicBool::new(false),
            orders: Orders::default(),
            exit: watch::channel(None).0,
        }
    }

    /// Sends it `messages`, all or none.
    ///
    /// # Errors
    /// `UNAVAILABLE` for a guest without an inbox, and when its mailbox is full.
    pub(crate) fn send(&self, messages: Vec<Message>) -> Result<(), Error> {
        if self.reads == Reads::Nothing {
            let message = format!(
                "`{}` can't be sent messages: `{}` is a WebAssembly process without an inbox; it gets one when it \
                 imports `wippy:runtime/inbox` and its entry grants that with `imports: [inbox]`",
                self.pid, self.entry
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.mailbox.send(&self.pid, messages)
    }

    /// Asks it to end, and ends it when it has not after [`PROCESS_CANCEL_GRACE`].
    pub(crate) fn cancel(&self, from: Option<Pid>, reason: Option<String>) {
        self.orders.cancel(Instant::now().checked_add(PROCESS_CANCEL_GRACE), reason.as_deref());
        self.mailbox.cancel(from, reason);
    }

    /// Asks it to end; somebody else ends it if it does not.
    pub(crate) fn ask_to_end(&self, reason: &str) {
        self.mailbox.cancel(None, Some(reason.to_owned()));
    }

    /// Ends it.
    pub(crate) fn terminate(&self) {
        self.orders.end(Error::new(ErrorKind::Canceled, "the process was terminated"));
    }

    /// Waits until it was ordered to end; with what.
    pub(crate) async fn due(&self) -> Error {
        self.orders.due().await
    }

    /// Waits for its end.
    pub(crate) async fn exited(&self) -> Arc<Exit> {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(exit)) => Arc::clone(exit),
            // The sender is ours, and what was awaited is there.
            _ => Arc::new(Err(Error::new(ErrorKind::Internal, format!("`{}` is gone", self.pid)))),
        }
    }

    /// Whether it learns of the ends of linked processes instead of ending with them.
    pub(crate) fn traps_links(&self) -> bool {
        self.trap_links.load(Ordering::Relaxed)
    }

    /// Sets whether it learns of the ends of linked processes instead of ending with them.
    pub(crate) fn trap_links(&self, trap: bool) {
        self.trap_links.store(trap, Ordering::Relaxed);
    }
}
