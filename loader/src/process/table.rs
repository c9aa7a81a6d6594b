//! The processes that there are: found by pid or name, monitored and linked.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use registry_schema::{EntryId, ErrorKind};

use super::capacity::Capacity;
use super::host::Host;
use super::run::{Program, Ties};
use super::{Event, Exit, Pid, Process, Reads};
use crate::budget::Budget;
use crate::data::Data;
use crate::error::Error;
use crate::loader::Inner;

/// The processes of a loader.
#[derive(Default)]
pub(crate) struct Processes {
    next: AtomicU64,
    table: Mutex<Table>,
    pub(super) hosts: Mutex<HashMap<EntryId, Arc<Host>>>,
    pub(super) programs: Mutex<HashMap<EntryId, Program>>,
    pub(super) capacity: OnceLock<Capacity>,
}

#[derive(Default)]
struct Table {
    rows: HashMap<u64, Row>,
    names: HashMap<String, u64>,
}

struct Row {
    process: Arc<Process>,
    /// Who learns of its end.
    monitored_by: HashSet<u64>,
    /// Whose ends it learns of.
    monitors: HashSet<u64>,
    linked: HashSet<u64>,
    names: HashSet<String>,
}

/// The call of a function that became a process, until it is dropped.
pub(crate) struct Attached {
    pub(crate) process: Arc<Process>,
    inner: Arc<Inner>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.inner.processes.ended(&self.process, Ok(Data::Nil));
    }
}

fn no_process(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no process `{what}`"))
}

impl Table {
    fn row(&mut self, process: &Process) -> Result<&mut Row, Error> {
        let row = self.rows.get_mut(&process.pid.number());
        row.ok_or_else(|| no_process(&process.pid.to_string()))
    }

    fn register(&mut self, name: &str, process: &Process) -> Result<(), Error> {
        let number = process.pid.number();
        if let Some(other) = self.names.get(name).filter(|other| **other != number) {
            let holder = self.rows.get(other).map(|row| row.process.pid.to_string()).unwrap_or_default();
            let message = format!("the name `{name}` is that of `{holder}`");
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        self.row(process)?.names.insert(name.to_owned());
        self.names.insert(name.to_owned(), number);
        Ok(())
    }

    fn monitor(&mut self, by: &Process, target: &Process) -> Result<(), Error> {
        self.row(target)?;
        let row = self.row(by)?;
        if row.monitors.contains(&target.pid.number()) {
            return Ok(());
        }
        by.mailbox.reserve()?;
        row.monitors.insert(target.pid.number());
        self.row(target)?.monitored_by.insert(by.pid.number());
        Ok(())
    }

    fn link(&mut self, a: &Process, b: &Process) -> Result<(), Error> {
        self.row(b)?;
        if a.pid.number() == b.pid.number() || self.row(a)?.linked.contains(&b.pid.number()) {
            return Ok(());
        }
        a.mailbox.reserve()?;
        if let Err(error) = b.mailbox.reserve() {
            a.mailbox.release();
            return Err(error);
        }
        self.row(a)?.linked.insert(b.pid.number());
        self.row(b)?.linked.insert(a.pid.number());
        Ok(())
    }
}

impl Processes {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic in between leaves a process at worst without a name or a tie.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that is in no table yet.
    pub(super) fn make(
        &self,
        place: &Arc<EntryId>,
        entry: &Arc<EntryId>,
        reads: Reads,
        terminal: Option<Arc<super::Terminal>>,
        budget: &Arc<Budget>,
    ) -> Arc<Process> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let pid = Pid::new(Arc::clone(place), number);
        Arc::new(Process::new(pid, Arc::clone(entry), reads, terminal, budget.share()))
    }

    /// Makes the call of the function `entry` a process.
    pub(crate) fn attach(inner: &Arc<Inner>, entry: &Arc<EntryId>) -> Attached {
        let process = inner.processes.make(entry, entry, Reads::Messages, None, &inner.budget);
        inner.processes.table().insert(&process);
        Attached { process, inner: Arc::clone(inner) }
    }

    /// Adds `process`, tied to its `parent` and with a name, or not at all.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` for a name that another has; `UNAVAILABLE` when the parent has no room for events.
    pub(super) fn add(
        &self,
        process: &Arc<Process>,
        parent: Option<&Process>,
        ties: Ties,
        name: Option<&str>,
    ) -> Result<(), Error> {
        let mut table = self.table();
        table.insert(process);
        let tied = (|| {
            if let Some(name) = name {
                table.register(name, process)?;
            }
            let Some(parent) = parent else { return Ok(()) };
            if ties.monitored() {
                table.monitor(parent, process)?;
            }
            if ties.linked() {
                table.link(parent, process)?;
            }
            Ok(())
        })();
        if tied.is_err() {
            // Nobody knows of it yet, and nobody is told.
            table.remove(process);
        }
        tied
    }

    /// Takes a process that has ended out, and makes its end known.
    pub(super) fn ended(&self, process: &Arc<Process>, exit: Exit) {
        let exit = Arc::new(exit);
        let Gone { monitored_by, linked } = self.table().remove(process);
        for other in monitored_by {
            other.mailbox.push(Event::Exit { from: process.pid.clone(), exit: Arc::clone(&exit) });
        }
        for other in linked {
            match &*exit {
                Ok(_) => other.mailbox.release(),
                Err(_) if other.traps_links() => {
                    other
                        .mailbox
                        .push(Event::LinkDown { from: process.pid.clone(), exit: Arc::clone(&exit) });
                }
                Err(error) => {
                    other.mailbox.release();
                    let why = format!("the linked process `{}` ended", process.pid);
                    other.orders.end(error.clone().wrapped(&why));
                }
            }
        }
        process.exit.send_replace(Some(exit));
    }

    /// The process that `destination`, a pid or a name, means.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub(crate) fn find(&self, destination: &str) -> Result<Arc<Process>, Error> {
        let table = self.table();
        let number = match destination.parse::<Pid>() {
            Ok(pid) => Some(pid.number()),
            Err(_) => table.names.get(destination).copied(),
        };
        let row = number.and_then(|number| table.rows.get(&number));
        match row {
            Some(row) if !destination.starts_with('{') || row.process.pid.to_string() == destination => {
                Ok(Arc::clone(&row.process))
            }
            _ => Err(no_process(destination)),
        }
    }

    /// Gives `process` a name.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` when another has it, `NOT_FOUND` when the process has ended.
    pub(crate) fn register(&self, name: &str, process: &Process) -> Result<(), Error> {
        self.table().register(name, process)
    }

    /// The pid of the process with a name.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub(crate) fn lookup(&self, name: &str) -> Result<Pid, Error> {
        let table = self.table();
        let row = table.names.get(name).and_then(|number| table.rows.get(number));
        let missing = || Error::new(ErrorKind::NotFound, format!("no process has the name `{name}`"));
        row.map(|row| row.process.pid.clone()).ok_or_else(missing)
    }

    /// Takes a name away; whether somebody had it.
    pub(crate) fn unregister(&self, name: &str) -> bool {
        let mut table = self.table();
        let Some(number) = table.names.remove(name) else { return false };
        if let Some(row) = table.rows.get_mut(&number) {
            row.names.remove(name);
        }
        true
    }

    /// Has `by` learn of the end of `target`.
    ///
    /// # Errors
    /// `NOT_FOUND` when one has ended; `UNAVAILABLE` when there is no room for the event.
    pub(crate) fn monitor(&self, by: &Process, target: &Process) -> Result<(), Error> {
        self.table().monitor(by, target)
    }

    /// Undoes [`Processes::monitor`].
    pub(crate) fn unmonitor(&self, by: &Process, target: &Process) {
        let mut table = self.table();
        let was = table.row(by).is_ok_and(|row| row.monitors.remove(&target.pid.number()));
        if let Ok(row) = table.row(target) {
            row.monitored_by.remove(&by.pid.number());
        }
        if was {
            by.mailbox.release();
        }
    }

    /// Links two processes: one ends when the other ends with an error, or learns of it.
    ///
    /// # Errors
    /// `NOT_FOUND` when one has ended; `UNAVAILABLE` when there is no room for the event.
    pub(crate) fn link(&self, a: &Process, b: &Process) -> Result<(), Error> {
        self.table().link(a, b)
    }

    /// Undoes [`Processes::link`].
    pub(crate) fn unlink(&self, a: &Process, b: &Process) {
        let mut table = self.table();
        for (own, other) in [(a, b), (b, a)] {
            if table.row(own).is_ok_and(|row| row.linked.remove(&other.pid.number())) {
                own.mailbox.release();
            }
        }
    }

    /// How many names there are, and the messages and bytes that wait in each mailbox.
    pub(super) fn held(&self) -> (usize, Vec<(usize, usize)>) {
        let table = self.table();
        let held = table.rows.values().map(|row| row.process.mailbox.held());
        (table.names.len(), held.collect())
    }

    /// The processes that run in `host`.
    pub(super) fn of_host(&self, host: &EntryId) -> Vec<Arc<Process>> {
        let table = self.table();
        let rows = table.rows.values().filter(|row| row.process.pid.place() == host);
        rows.map(|row| Arc::clone(&row.process)).collect()
    }
}

/// Who is told of an end.
#[derive(Default)]
struct Gone {
    monitored_by: Vec<Arc<Process>>,
    linked: Vec<Arc<Process>>,
}

impl Table {
    fn insert(&mut self, process: &Arc<Process>) {
        let row = Row {
            process: Arc::clone(process),
            monitored_by: HashSet::new(),
            monitors: HashSet::new(),
            linked: HashSet::new(),
            names: HashSet::new(),
        };
        self.rows.insert(process.pid.number(), row);
    }

    fn remove(&mut self, process: &Process) -> Gone {
        let number = process.pid.number();
        let Some(row) = self.rows.remove(&number) else { return Gone::default() };
        for name in &row.names {
            self.names.remove(name);
        }
        for other in &row.monitors {
            if let Some(other) = self.rows.get_mut(other) {
                other.monitored_by.remove(&number);
            }
        }
        let mut gone = Gone::default();
        for other in &row.monitored_by {
            if let Some(other) = self.rows.get_mut(other) {
                other.monitors.remove(&number);
                gone.monitored_by.push(Arc::clone(&other.process));
            }
        }
        for other in &row.linked {
            if let Some(other) = self.rows.get_mut(other) {
                other.linked.remove(&number);
                gone.linked.push(Arc::clone(&other.process));
            }
        }
        gone
    }
}
