//! Tokens of Lua 5.4 and of type annotations.

use std::fmt;

/// Words that are no names, sorted.
pub(crate) const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Symbols of Lua and, at the end of the last line, of annotations; longer ones before their beginnings.
pub(crate) const SYMBOLS: &[&str] = &[
    "...", "..", ".", "==", "=", "<=", "<<", "<", ">=", ">>", ">", "//", "/", "::", ":", "~=", "~", "->",
    "-", "+", "*", "%", "^", "#", "&", "|", "(", ")", "{", "}", "[", "]", ";", ",", "!", "?", "@",
];

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind<'s> {
    /// An identifier.
    Name(&'s str),
    /// A keyword or symbol.
    Fixed(&'static str),
    /// A string, unescaped; bytes that are no UTF-8 replaced.
    Text(String),
    /// A numeral.
    Number,
    /// The end of the source.
    End,
}

/// A token and the bytes that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token<'s> {
    /// What it is.
    pub(crate) kind: Kind<'s>,
    /// Its first byte.
    pub(crate) start: usize,
    /// The byte after it.
    pub(crate) end: usize,
}

impl Token<'_> {
    /// Whether it is this keyword or symbol.
    pub(crate) fn is(&self, fixed: &str) -> bool {
        matches!(self.kind, Kind::Fixed(own) if own == fixed)
    }
}

/// How messages name it.
impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Name(name) => write!(f, "`{}`", shortened(name)),
            Kind::Fixed(fixed) => write!(f, "`{fixed}`"),
            Kind::Text(_) => f.write_str("a string"),
            Kind::Number => f.write_str("a number"),
            Kind::End => f.write_str("the end of the source"),
        }
    }
}

/// `text` for a message.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
