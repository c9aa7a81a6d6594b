//! The parser's tokens, errors and limits; its rules are in [`super::statement`], [`super::expression`] and
//! [`super::annotation`].
//!
//! Recursive descent as in `lparser.c` of Lua 5.4, rule by rule, so that the same sources are accepted and
//! refused. Types are read where Lua would refuse what stands there, and blanked out token by token.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::chunk::Chunk;
use super::lexer::{Lexer, shebang};
use super::mistake::Mistake;
use super::scope::Scope;
use super::token::{Kind, Token};
use super::validators::{Used, Validators, is_built_in};

/// Largest source, in bytes. The largest that people write have a hundredth of it.
pub(crate) const SOURCE_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of statements, expressions and types. Lua allows 200 levels of its own stack, of which
/// whoever loads the chunk has some already.
const NESTING_MAX: usize = 180;

/// Reads one source.
#[derive(Debug)]
pub(crate) struct Parser<'s> {
    pub(super) source: &'s str,
    lexer: Lexer<'s>,
    /// The token that is looked at.
    pub(super) token: Token<'s>,
    ahead: VecDeque<Result<Token<'s>, Mistake>>,
    /// The byte behind the last token.
    pub(super) last_end: usize,
    nesting: usize,
    /// Bytes of types.
    blanks: Vec<(usize, usize)>,
    /// Bytes of types where a `;` takes the place of the first one.
    separators: Vec<usize>,
    pub(super) scope: Scope<'s>,
    pub(super) chunk: Chunk,
    /// Globals that are read, and where.
    pub(super) globals: Vec<(&'s str, usize)>,
    /// Calls of globals that only validators would make callable.
    pub(super) validated: Vec<(&'s str, usize, Used)>,
    /// Modules by the variables that hold them and that types are taken from.
    pub(super) modules: BTreeMap<String, String>,
    /// Globals that are assigned.
    pub(super) assigned: BTreeSet<&'s str>,
}

/// What is known of `source`.
///
/// # Errors
/// When it is too big, or at its first fault of the grammar.
pub(crate) fn parse(source: &str) -> Result<Chunk, Vec<Mistake>> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the source has more than {} MiB", SOURCE_BYTES_MAX >> 20);
        return Err(vec![Mistake::limit(0, message).help("split it into libraries")]);
    }
    let mut parser = Parser {
        source,
        lexer: Lexer::new(source),
        token: Token { kind: Kind::End, start: 0, end: 0 },
        ahead: VecDeque::new(),
        last_end: 0,
        nesting: 0,
        blanks: Some((0, shebang(source))).filter(|(_, end)| *end > 0).into_iter().collect(),
        separators: Vec::new(),
        scope: Scope::default(),
        chunk: Chunk::default(),
        globals: Vec::new(),
        validated: Vec::new(),
        modules: BTreeMap::new(),
        assigned: BTreeSet::new(),
    };
    parser.main().map_err(|mistake| vec![mistake])?;
    let (values, validations) = parser.types_as_values();
    let erased = parser.erased(values);
    Ok(Chunk { erased, validations, ..parser.chunk })
}

impl<'s> Parser<'s> {
    /// The chunk, a function of any number of arguments with two parameters before them.
    fn main(&mut self) -> Result<(), Mistake> {
        self.scope.open_function();
        self.scope.set_vararg();
        self.scope.declare("_ENV", 0)?;
        // The parameter `require`: a place that it takes. As a name it is a global like others.
        self.scope.declare("(require)", 0)?;
        self.scope.activate();
        self.advance()?;
        self.block_body()?;
        if self.token.kind != Kind::End {
            return Err(self.expected("the end of the source"));
        }
        self.scope.close_function()
    }

    /// Moves to the next token.
    pub(super) fn advance(&mut self) -> Result<(), Mistake> {
        self.last_end = self.token.end;
        self.token = match self.ahead.pop_front() {
            Some(token) => token?,
            None => self.lexer.next_token()?,
        };
        Ok(())
    }

    /// Moves to the next token and blanks out this one.
    pub(super) fn erase(&mut self) -> Result<(), Mistake> {
        self.blanks.push((self.token.start, self.token.end));
        self.advance()
    }

    /// Moves to the next token and writes a `;` in place of this one, so that what stands before and behind
    /// does not become one statement.
    pub(super) fn erase_as_separator(&mut self) -> Result<(), Mistake> {
        self.separate_at(self.token.start);
        self.erase()
    }

    /// Writes a `;` at the byte `at`, which is blanked out.
    pub(super) fn separate_at(&mut self, at: usize) {
        self.separators.push(at);
    }

    /// Takes a symbol of one character off the token, which begins with it, and blanks it out.
    pub(super) fn erase_first(&mut self, rest: &'static str) {
        self.blanks.push((self.token.start, self.token.start + 1));
        self.last_end = self.token.start + 1;
        self.token.start += 1;
        self.token.kind = Kind::Fixed(rest);
    }

    /// The token `distance` behind the one that is looked at; 0 is the next.
    pub(super) fn peek(&mut self, distance: usize) -> Option<&Token<'s>> {
        while self.ahead.len() <= distance {
            let next = self.lexer.next_token();
            self.ahead.push_back(next);
        }
        self.ahead.get(distance)?.as_ref().ok()
    }

    /// Whether the token `distance` behind this one is a keyword or symbol.
    pub(super) fn peek_is(&mut self, distance: usize, fixed: &str) -> bool {
        self.peek(distance).is_some_and(|token| token.is(fixed))
    }

    /// Whether the token is a keyword or symbol.
    pub(super) fn is(&self, fixed: &str) -> bool {
        self.token.is(fixed)
    }

    /// Moves on if the token is `fixed`.
    pub(super) fn take(&mut self, fixed: &str) -> Result<bool, Mistake> {
        let is_there = self.is(fixed);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    /// Moves on from `fixed`.
    ///
    /// # Errors
    /// When something else is there.
    pub(super) fn expect(&mut self, fixed: &str) -> Result<(), Mistake> {
        match self.take(fixed)? {
            true => Ok(()),
            false => Err(self.expected(format_args!("`{fixed}`"))),
        }
    }

    /// Moves on from `fixed`, which closes what `opened` began at the byte `start`.
    pub(super) fn close(&mut self, fixed: &str, opened: &str, start: usize) -> Result<(), Mistake> {
        if self.take(fixed)? {
            return Ok(());
        }
        let line = super::mistake::position(self.source, start).0;
        Err(match line == super::mistake::position(self.source, self.token.start).0 {
            true => self.expected(format_args!("`{fixed}`")),
            false => self.expected(format_args!("`{fixed}` to close `{opened}` in line {line}")),
        })
    }

    /// Moves on from a name.
    ///
    /// # Errors
    /// When something else is there.
    pub(super) fn name(&mut self) -> Result<&'s str, Mistake> {
        match self.token.kind {
            Kind::Name(name) => {
                self.advance()?;
                Ok(name)
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// The fault that something else than `expected` is there.
    pub(super) fn expected(&self, expected: impl fmt::Display) -> Mistake {
        let mistake = Mistake::syntax(self.token.start, format!("found {}, expected {expected}", self.token));
        if self.is("!") { mistake.help("Lua writes `~=` for not equal") } else { mistake }
    }

    /// Goes one level deeper; [`Self::leave`] comes back.
    ///
    /// # Errors
    /// When that is too deep.
    pub(super) fn enter(&mut self) -> Result<(), Mistake> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("nested more than {NESTING_MAX} deep");
            return Err(Mistake::limit(self.token.start, message)
                .help("name inner parts as local variables or functions"));
        }
        Ok(())
    }

    /// Comes back from `levels` levels.
    pub(super) fn leave(&mut self, levels: usize) {
        self.nesting -= levels;
    }

    /// Uses of types as values: what takes their place, and faults of those that can't be built.
    fn types_as_values(&self) -> (TypesAsValues<'s>, Vec<Mistake>) {
        let declared: BTreeSet<&str> = self.chunk.types.iter().map(|ty| ty.name.as_str()).collect();
        let is_type = |name: &str| declared.contains(name) || is_built_in(name);
        let globals = self.globals.iter().filter(|(name, _)| is_type(name));
        let globals = globals.map(|(name, at)| (*name, *at, Used::Named((*name).to_owned())));
        let uses = globals.chain(self.validated.iter().cloned());
        let mut validators = Validators::new(&self.chunk.types, &self.modules);
        let (mut values, mut mistakes) = (TypesAsValues::default(), Vec::new());
        for (name, at, used) in uses.filter(|(name, _, _)| !self.assigned.contains(name)) {
            match validators.replacement(&used) {
                Ok(text) => values.places.push((at, name, text)),
                Err(problem) => mistakes.push(super::annotation::as_value(&problem, at)),
            }
        }
        // With a fault the entry does not run, and its source stays as it was written.
        if !mistakes.is_empty() {
            return (TypesAsValues::default(), mistakes);
        }
        if !values.places.is_empty() {
            values.prefix = validators.prefix();
            values.places.sort_by_key(|(at, _, _)| *at);
        }
        (values, mistakes)
    }

    /// The source with blanks: one space for each character, line ends kept; and with `values` in their places.
    fn erased(&self, values: TypesAsValues<'s>) -> String {
        let mut erased = values.prefix;
        let mut copied = 0;
        let mut places = values.places.into_iter().peekable();
        let mut copy = |erased: &mut String, from: usize, to: usize| {
            let mut copied = from;
            while let Some((at, name, text)) = places.next_if(|(at, _, _)| *at < to) {
                erased.push_str(&self.source[copied..at]);
                erased.push_str(&text);
                copied = at + name.len();
            }
            erased.push_str(&self.source[copied..to]);
        };
        for (start, end) in self.blanks.iter().copied() {
            copy(&mut erased, copied, start);
            let blank =
                self.source[start..end].chars().map(|c| if matches!(c, '\n' | '\r') { c } else { ' ' });
            match self.separators.binary_search(&start) {
                Ok(_) => erased.extend([';'].into_iter().chain(blank.skip(1))),
                Err(_) => erased.extend(blank),
            }
            copied = end;
        }
        copy(&mut erased, copied, self.source.len());
        erased
    }
}

/// What takes the place of types that are used as values.
#[derive(Debug, Default)]
struct TypesAsValues<'s> {
    /// Before the first line.
    prefix: String,
    /// The byte, the name that stands there, and what takes its place.
    places: Vec<(usize, &'s str, String)>,
}
