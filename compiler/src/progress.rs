//! How far code generation is: a bar on a terminal, nothing but a closing line elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A bar, if stderr is a terminal.
    Bar,
    /// Nothing.
    Nothing,
}

/// A bar that may be invisible.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows progress as `show` says.
    pub fn new(show: Show) -> Self {
        let bar = ProgressBar::hidden();
        if show == Show::Bar && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("  compiling [{bar:32}] {pos}/{len}") {
                bar.set_style(style.progress_chars("=> "));
            }
        }
        Self(bar)
    }

    pub(crate) fn start(&self, len: usize) {
        self.0.reset();
        self.0.set_length(len as u64);
    }

    pub(crate) fn advance(&self) {
        self.0.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
