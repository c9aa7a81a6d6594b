//! What the process of a `terminal.host` is attached to (`en/system/terminal.md`).
//!
//! Raw mode is what the documentation says, no line buffering and no echo, and nothing more: Ctrl-C still asks
//! the process to end, and a line end is still one on the screen.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr};

use crate::hosts::Stdio;

/// Standard input, output and error of one process, and its arguments.
pub struct Terminal {
    /// The command's name, then what follows it on the command line.
    args: Vec<String>,
    stdin: Mutex<Box<dyn BufRead + Send>>,
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
    /// The same for a guest.
    stdio: Stdio,
    raw: Mutex<Raw>,
}

/// Raw mode of a terminal.
#[derive(Default)]
struct Raw {
    /// The terminal that input comes from, if it is one.
    device: Option<OwnedFd>,
    /// How often it was entered and not left.
    entered: u32,
    /// How the terminal was before.
    before: Option<Termios>,
}

impl Raw {
    fn enter(&mut self) -> std::io::Result<()> {
        if self.entered == 0 {
            let device = self.device.as_ref().ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::Unsupported, "the input is no terminal")
            })?;
            let before = tcgetattr(device)?;
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // A read waits for one byte.
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(device, OptionalActions::Drain, &raw)?;
            self.before = Some(before);
        }
        self.entered = self.entered.saturating_add(1);
        Ok(())
    }

    fn leave(&mut self) -> std::io::Result<()> {
        self.entered = self.entered.saturating_sub(1);
        if self.entered > 0 {
            return Ok(());
        }
        match (&self.device, self.before.take()) {
            (Some(device), Some(before)) => Ok(tcsetattr(device, OptionalActions::Drain, &before)?),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("args", &self.args).finish_non_exhaustive()
    }
}

fn locked<T>(stream: &Mutex<T>) -> MutexGuard<'_, T> {
    // A stream that panicked is a stream still.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Terminal {
    /// A terminal of these streams. `stdio` is what guests get; `args` begins with the command's name.
    pub fn new(
        args: Vec<String>,
        stdin: impl Read + Send + 'static,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
        stdio: Stdio,
    ) -> Self {
        Self {
            args,
            stdin: Mutex::new(Box::new(BufReader::new(stdin))),
            stdout: Mutex::new(Box::new(stdout)),
            stderr: Mutex::new(Box::new(stderr)),
            stdio,
            raw: Mutex::default(),
        }
    }

    /// That of this process.
    pub fn of_process(args: Vec<String>) -> Self {
        #[cfg(feature = "wasi")]
        let stdio = Stdio::Streams(crate::hosts::Streams::of_process());
        #[cfg(not(feature = "wasi"))]
        let stdio = Stdio::Log;
        let terminal = Self::new(args, std::io::stdin(), std::io::stdout(), std::io::stderr(), stdio);
        let stdin = std::io::stdin();
        let device = isatty(&stdin).then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten();
        *locked(&terminal.raw) = Raw { device, ..Raw::default() };
        terminal
    }

    /// Enters raw mode; each time is to be left once.
    ///
    /// # Errors
    /// `Unsupported` when the input is no terminal, else those of the terminal.
    pub(crate) fn enter_raw(&self) -> std::io::Result<()> {
        locked(&self.raw).enter()
    }

    /// Leaves raw mode once.
    ///
    /// # Errors
    /// Those of the terminal.
    pub(crate) fn leave_raw(&self) -> std::io::Result<()> {
        locked(&self.raw).leave()
    }

    /// Puts the terminal back as it was before raw mode, however often that was entered.
    pub(super) fn reset(&self) {
        let mut raw = locked(&self.raw);
        raw.entered = 0;
        // One that is gone has no mode any more.
        let _ = raw.leave();
    }

    /// The command's name, then its arguments.
    #[cfg(feature = "wasi")]
    pub(crate) fn args(&self) -> &[String] {
        &self.args
    }

    /// What follows the command's name.
    pub(crate) fn own_args(&self) -> &[String] {
        self.args.get(1..).unwrap_or_default()
    }

    pub(crate) fn stdio(&self) -> Stdio {
        self.stdio.clone()
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        locked(&self.stdout).write_all(bytes)
    }

    /// Writes out what standard output holds back.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn flush(&self) -> std::io::Result<()> {
        locked(&self.stdout).flush()
    }

    /// Writes to standard error.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn write_error(&self, bytes: &[u8]) -> std::io::Result<()> {
        locked(&self.stderr).write_all(bytes)
    }

    /// Up to `count` bytes of standard input; none at its end. Blocks.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn read(&self, count: usize) -> std::io::Result<Vec<u8>> {
        let mut stdin = locked(&self.stdin);
        let available = stdin.fill_buf()?;
        let taken = available[..available.len().min(count)].to_vec();
        stdin.consume(taken.len());
        Ok(taken)
    }

    /// A line of standard input without its end, of at most `bytes_max` bytes; `None` at its end. Blocks.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn read_line(&self, bytes_max: u64) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut stdin = locked(&self.stdin);
        if (&mut *stdin).take(bytes_max).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        Ok(Some(line))
    }
}
