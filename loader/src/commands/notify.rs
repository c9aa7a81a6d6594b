//! Tells a service manager how the program is (`sd_notify(3)`), where it has set `NOTIFY_SOCKET`.
//!
//! By hand: it is one datagram of text, and the crates for it bring more than that.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Longest wait for a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the manager listens; nowhere if there is none.
pub(super) struct Notifier(Option<Manager>);

struct Manager {
    address: SocketAddr,
    /// For what it has to know.
    states: UnixDatagram,
    /// For signs of life, which wait for nothing.
    signs: UnixDatagram,
}

impl Manager {
    /// The one that listens on `name`; in the abstract namespace if that begins with `@`.
    fn new(name: &OsStr) -> std::io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let (states, signs) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        states.set_write_timeout(Some(PATIENCE))?;
        signs.set_nonblocking(true)?;
        Ok(Self { address, states, signs })
    }
}

impl Notifier {
    /// The manager that the environment names.
    pub(super) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        let manager = Manager::new(&name);
        if let Err(error) = &manager {
            super::complain(&format!("`NOTIFY_SOCKET` can't be used: {error}"));
        }
        Self(manager.ok())
    }

    /// Everything serves that could be started; `status` says how much.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The next bundle is being looked at. [`Notifier::ready`] ends this.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reading the next bundle"));
    }

    /// The program ends.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=waiting for what is under way");
    }

    /// The program is alive.
    pub(super) fn alive(&self) {
        if let Some(manager) = &self.0 {
            // One that has others to read knows by these.
            let _ = manager.signs.send_to_addr(b"WATCHDOG=1", &manager.address);
        }
    }

    /// How often the manager wants to hear that the program is alive, with time to spare.
    pub(super) fn interval(&self) -> Option<Duration> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = std::env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let microseconds = number("WATCHDOG_USEC").filter(|time| *time > 1 && is_ours && self.0.is_some())?;
        Some(Duration::from_micros(microseconds / 2))
    }

    fn send(&self, message: &str) {
        if let Some(manager) = &self.0 {
            // A manager that has gone wants to know nothing.
            let _ = manager.states.send_to_addr(message.as_bytes(), &manager.address);
        }
    }
}
