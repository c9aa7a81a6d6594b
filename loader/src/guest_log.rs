//! Output of functions: stdout and stderr as lines of the log, with the entry that wrote them; and the
//! records of Lua's `logger`.

use std::borrow::Cow;
use std::fmt;

use registry_schema::EntryId;

use crate::call_id::CallId;
use crate::config::LOG_LINE_BYTES_MAX;
use crate::data::Data;

/// Which of a guest's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where lines of guests go. Called on the thread that runs the guest, once per line: it must not block.
pub trait GuestLog: Send + Sync + 'static {
    /// Takes one line, without its line end; bytes that are no UTF-8 are replaced.
    fn line(&self, entry: &EntryId, stream: Stream, line: &str);

    /// The same with the call that wrote the line. By default the call is left out.
    fn call_line(&self, entry: &EntryId, call: CallId, stream: Stream, line: &str) {
        let _ = call;
        self.line(entry, stream, line);
    }

    /// Takes one record of Lua's `logger`. By default it is a line of standard error: level, the logger's
    /// name, message and fields, cut at the length of a line.
    fn record(&self, entry: &EntryId, record: &Record<'_>) {
        let mut line = record.to_string();
        line.truncate(line.floor_char_boundary(LOG_LINE_BYTES_MAX));
        self.line(entry, Stream::Stderr, &line);
    }
}

/// How much a record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happens.
    Info,
    /// What should not happen.
    Warn,
    /// What failed.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        })
    }
}

/// A record of Lua's `logger`.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// How much it matters.
    pub level: Level,
    /// Names of the logger with points between them; empty for the one without a name.
    pub logger: &'a str,
    /// The message.
    pub message: &'a str,
    /// Its fields, sorted by name.
    pub fields: &'a [(String, Data)],
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.level)?;
        let json = |value: &Data| value.to_json().unwrap_or_else(|_| "<bytes>".into());
        let fields: Vec<(&str, serde_json::Value)> =
            self.fields.iter().map(|(name, value)| (name.as_str(), json(value))).collect();
        let fields: Vec<(&str, &serde_json::Value)> =
            fields.iter().map(|(name, value)| (*name, value)).collect();
        write_record(f, self.logger, self.message, &fields)
    }
}

/// Writes a record for people: the logger's name, the message and its fields.
pub(crate) fn write_record(
    f: &mut impl fmt::Write,
    logger: &str,
    message: &str,
    fields: &[(&str, &serde_json::Value)],
) -> fmt::Result {
    if !logger.is_empty() {
        write!(f, "{}: ", escaped(logger))?;
    }
    f.write_str(&escaped(message))?;
    for (name, value) in fields {
        f.write_char(' ')?;
        write_word(f, name)?;
        f.write_char('=')?;
        match value {
            serde_json::Value::String(text) => write_word(f, text)?,
            value => write!(f, "{value}")?,
        }
    }
    Ok(())
}

/// A name or value: in quotes unless it is one plain word.
fn write_word(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let plain = |char: char| !char.is_whitespace() && !char.is_control() && !matches!(char, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(plain) { f.write_str(text) } else { write!(f, "{text:?}") }
}

/// Writes each line to standard error, after the entry's id in brackets; control characters are escaped,
/// so that a guest neither drives the terminal nor forges lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct StderrLog;

impl GuestLog for StderrLog {
    fn line(&self, entry: &EntryId, _: Stream, line: &str) {
        use std::io::Write;
        // Nowhere is left to report a closed standard error to.
        let _ = writeln!(std::io::stderr().lock(), "[{entry}] {}", escaped(line));
    }
}

pub(crate) fn escaped(line: &str) -> Cow<'_, str> {
    let is_control = |char: char| char.is_control() && char != '\t';
    if !line.contains(is_control) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 8);
    for char in line.chars() {
        if is_control(char) {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

#[cfg(feature = "wasi")]
pub(crate) use stream::LogStream;

#[cfg(feature = "wasi")]
mod stream {
    use std::io;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use registry_schema::EntryId;
    use tokio::io::AsyncWrite;
    use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
    use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

    use super::{CallId, GuestLog, LOG_LINE_BYTES_MAX, Stream};

    /// One output of one call; clones write to the same line.
    #[derive(Clone)]
    pub(crate) struct LogStream(Arc<Mutex<Lines>>);

    struct Lines {
        entry: Arc<EntryId>,
        call: CallId,
        stream: Stream,
        log: Arc<dyn GuestLog>,
        partial: Vec<u8>,
    }

    impl LogStream {
        pub(crate) fn new(entry: Arc<EntryId>, call: CallId, stream: Stream, log: Arc<dyn GuestLog>) -> Self {
            Self(Arc::new(Mutex::new(Lines { entry, call, stream, log, partial: Vec::new() })))
        }

        /// What is written from now on belongs to `call`.
        pub(crate) fn next_call(&self, call: CallId) {
            self.lines().call = call;
        }

        /// Logs what stands on a line that has no end yet.
        pub(crate) fn flush_line(&self) {
            let mut lines = self.lines();
            if !lines.partial.is_empty() {
                lines.emit();
            }
        }

        fn lines(&self) -> MutexGuard<'_, Lines> {
            // A line that was cut short by a panicking log is only a line.
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Lines {
        fn write(&mut self, mut bytes: &[u8]) {
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                self.append(&bytes[..end]);
                self.emit();
                bytes = &bytes[end + 1..];
            }
            self.append(bytes);
        }

        fn append(&mut self, mut bytes: &[u8]) {
            while self.partial.len() + bytes.len() > LOG_LINE_BYTES_MAX {
                let (head, tail) = bytes.split_at(LOG_LINE_BYTES_MAX - self.partial.len());
                self.partial.extend_from_slice(head);
                self.emit();
                bytes = tail;
            }
            self.partial.extend_from_slice(bytes);
        }

        fn emit(&mut self) {
            let line = String::from_utf8_lossy(&self.partial);
            self.log.call_line(&self.entry, self.call, self.stream, line.trim_end_matches('\r'));
            self.partial.clear();
        }
    }

    impl Drop for Lines {
        fn drop(&mut self) {
            if !self.partial.is_empty() {
                self.emit();
            }
        }
    }

    impl IsTerminal for LogStream {
        fn is_terminal(&self) -> bool {
            false
        }
    }

    impl StdoutStream for LogStream {
        fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
            Box::new(self.clone())
        }

        fn p2_stream(&self) -> Box<dyn OutputStream> {
            Box::new(self.clone())
        }
    }

    #[async_trait::async_trait]
    impl Pollable for LogStream {
        async fn ready(&mut self) {}
    }

    impl OutputStream for LogStream {
        fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
            self.lines().write(&bytes);
            Ok(())
        }

        fn flush(&mut self) -> StreamResult<()> {
            Ok(())
        }

        fn check_write(&mut self) -> StreamResult<usize> {
            Ok(LOG_LINE_BYTES_MAX)
        }
    }

    impl AsyncWrite for LogStream {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.lines().write(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn control_characters_are_escaped() {
            assert_eq!(super::super::escaped("a\u{1b}[31m\rb\t"), "a\\u{1b}[31m\\rb\t");
            assert_eq!(super::super::escaped("plain"), "plain");
        }

        #[derive(Default)]
        struct Kept(Mutex<Vec<String>>);

        impl GuestLog for Kept {
            fn line(&self, entry: &EntryId, stream: Stream, line: &str) {
                self.0.lock().unwrap().push(format!("{entry} {stream:?} {line}"));
            }
        }

        #[test]
        fn lines_are_split_and_the_rest_is_flushed() {
            let kept = Arc::new(Kept::default());
            let log: Arc<dyn GuestLog> = Arc::<Kept>::clone(&kept);
            let stream =
                LogStream::new(Arc::new("a:b".parse().unwrap()), CallId::next(), Stream::Stdout, log);
            stream.lines().write(b"one\r\ntw");
            stream.lines().write(b"o\n\nrest");
            assert_eq!(*kept.0.lock().unwrap(), ["a:b Stdout one", "a:b Stdout two", "a:b Stdout "]);
            drop(stream);
            assert_eq!(kept.0.lock().unwrap()[3], "a:b Stdout rest");
        }

        #[test]
        fn a_line_without_end_is_bounded() {
            let kept = Arc::new(Kept::default());
            let log: Arc<dyn GuestLog> = Arc::<Kept>::clone(&kept);
            let stream =
                LogStream::new(Arc::new("a:b".parse().unwrap()), CallId::next(), Stream::Stderr, log);
            stream.lines().write(&vec![b'x'; LOG_LINE_BYTES_MAX * 2 + 1]);
            assert_eq!(kept.0.lock().unwrap().len(), 2);
        }
    }
}
