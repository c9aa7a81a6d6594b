//! What is wrong with a source, by the byte where it is.

use crate::diagnostic::Code;
use crate::fault::Fault;

/// A fault of a Lua source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// What kind of fault it is.
    pub(crate) code: Code,
    /// The byte that it is at.
    pub(crate) at: usize,
    /// Lower case, no full stop.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) help: Option<String>,
}

impl Mistake {
    /// A fault of the grammar at byte `at`.
    pub(crate) fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self { code: Code::LuaSyntax, at, message: message.into(), help: None }
    }

    /// A source that is too big or too complex for Lua.
    pub(crate) fn limit(at: usize, message: impl Into<String>) -> Self {
        Self { code: Code::LuaLimit, at, message: message.into(), help: None }
    }

    /// Says how to mend it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The fault of the field `source`, whose text is `source`.
    pub(crate) fn in_source(&self, source: &str) -> Fault {
        let (line, column) = position(source, self.at);
        let mut fault = Fault::new(self.code, "source", self.message.clone()).at(line, column);
        fault.help.clone_from(&self.help);
        fault
    }
}

/// Line and column, both from 1 and the column in characters, of a byte.
pub(crate) fn position(source: &str, at: usize) -> (u32, u32) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.rsplit('\n').next().unwrap_or(before);
    let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    (number(before.bytes().filter(|byte| *byte == b'\n').count()), number(line.chars().count()))
}
