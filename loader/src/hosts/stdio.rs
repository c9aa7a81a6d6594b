//! Where a guest's standard streams lead.

#[cfg(feature = "wasi")]
pub use streams::Streams;

/// Standard input, output and error of one guest.
#[derive(Clone, Default)]
pub enum Stdio {
    /// Those of a function: its input is empty, lines of its outputs go to the loader's log.
    #[default]
    Log,
    /// Those of a command.
    #[cfg(feature = "wasi")]
    Streams(Streams),
}

#[cfg(feature = "wasi")]
mod streams {
    use std::sync::Arc;

    use wasmtime_wasi::WasiCtxBuilder;
    use wasmtime_wasi::cli::{StdinStream, StdoutStream};

    use super::Stdio;

    /// Streams that a caller gives to a guest. Clones share them.
    #[derive(Clone)]
    pub struct Streams {
        stdin: Arc<dyn StdinStream + Sync>,
        stdout: Arc<dyn StdoutStream + Sync>,
        stderr: Arc<dyn StdoutStream + Sync>,
    }

    impl Streams {
        /// These streams.
        pub fn new(
            stdin: impl StdinStream + Sync + 'static,
            stdout: impl StdoutStream + Sync + 'static,
            stderr: impl StdoutStream + Sync + 'static,
        ) -> Self {
            Self { stdin: Arc::new(stdin), stdout: Arc::new(stdout), stderr: Arc::new(stderr) }
        }

        /// Those of this process. One thread reads its input for all guests; what they write blocks the
        /// thread that runs them.
        pub fn of_process() -> Self {
            Self::new(std::io::stdin(), std::io::stdout(), std::io::stderr())
        }

        pub(crate) fn give(&self, builder: &mut WasiCtxBuilder) {
            builder.stdin(Arc::clone(&self.stdin));
            builder.stdout(Arc::clone(&self.stdout)).stderr(Arc::clone(&self.stderr));
        }
    }

    impl From<Streams> for Stdio {
        fn from(streams: Streams) -> Self {
            Self::Streams(streams)
        }
    }
}
