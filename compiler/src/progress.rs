//! How far code generation is: a bar on a terminal, a line at each tenth elsewhere.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows what is compiled of what has to be; each component counts once for each target. What the cache has does
/// not count.
#[derive(Debug)]
pub struct Progress(Shown);

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

/// Lines for logs.
struct Lines {
    out: Box<dyn Write + Send>,
    total: usize,
    done: usize,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("total", &self.total).field("done", &self.done).finish_non_exhaustive()
    }
}

impl Progress {
    /// Shows nothing.
    pub fn nothing() -> Self {
        Self(Shown::Nothing)
    }

    /// Shows a bar on standard error if that is a terminal, else writes lines to it.
    pub fn on_stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self::lines(io::stderr());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  compiling [{bar:32}] {pos}/{len}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(Shown::Bar(bar))
    }

    /// Writes lines to `out`: what is to be compiled, and how much is done at each tenth of it. What can't be
    /// written is dropped.
    pub fn lines(out: impl Write + Send + 'static) -> Self {
        Self(Shown::Lines(Mutex::new(Lines { out: Box::new(out), total: 0, done: 0 })))
    }

    pub(crate) fn start(&self, total: usize) {
        match &self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.reset();
                bar.set_length(total as u64);
            }
            Shown::Lines(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).start(total),
        }
    }

    pub(crate) fn advance(&self) {
        match &self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.inc(1),
            // The lock keeps the lines in order.
            Shown::Lines(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).advance(),
        }
    }

    pub(crate) fn finish(&self) {
        if let Shown::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn start(&mut self, total: usize) {
        (self.total, self.done) = (total, 0);
        if total > 0 {
            let plural = if total == 1 { "" } else { "s" };
            let _ = writeln!(self.out, "compiling {total} component{plural}");
        }
    }

    fn advance(&mut self) {
        let tenths = |done: usize| done * 10 / self.total.max(1);
        self.done += 1;
        if tenths(self.done) > tenths(self.done - 1) {
            let _ = writeln!(self.out, "compiled {} of {}", self.done, self.total);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What was written, for whoever has a clone.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(total: usize) -> Vec<String> {
        let written = Written::default();
        let progress = Progress::lines(written.clone());
        progress.start(total);
        (0..total).for_each(|_| progress.advance());
        progress.finish();
        let bytes = written.0.lock().unwrap();
        str::from_utf8(&bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_written_at_each_tenth() {
        assert_eq!(lines(0), [""; 0]);
        assert_eq!(lines(1), ["compiling 1 component", "compiled 1 of 1"]);
        assert_eq!(
            lines(3),
            ["compiling 3 components", "compiled 1 of 3", "compiled 2 of 3", "compiled 3 of 3"]
        );
        let many = lines(1005);
        assert_eq!(many.len(), 11);
        assert_eq!(many[..3], ["compiling 1005 components", "compiled 101 of 1005", "compiled 201 of 1005"]);
        assert_eq!(many[10], "compiled 1005 of 1005");
    }
}
