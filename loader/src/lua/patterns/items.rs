//! What a pattern is made of (Lua's manual, §6.4.1).
//!
//! Lua's own library reads a pattern while it matches, so a fault is found only where matching comes to it: it is an
//! item of its own.

use super::classes::{Class, Set};

/// Captures of a pattern.
pub(super) const CAPTURES_MAX: usize = 32;
/// Depth of backtracking.
pub(super) const DEPTH_MAX: usize = 200;
pub(super) const ESCAPE: u8 = b'%';

/// How often a class is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// `?`
    Maybe,
    /// `*`
    Any,
    /// `+`
    Some,
    /// `-`
    Least,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `(`
    Open,
    /// `()`
    Position,
    /// `)`
    Close,
    /// `$` at the end.
    End,
    /// `%bxy`
    Balanced(u8, u8),
    /// `%f[set]`
    Frontier(Set),
    /// `%1`
    Again(u8),
    One(Class),
    Many(Class, Repeat),
    /// The pattern is none from here on: the message.
    Fault(&'static str),
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// How long its class is written: what Lua's own library takes for a comparison with it.
    pub(super) weight: u64,
}

/// What may come next in a text: a byte, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) bytes: Set,
    pub(super) end: bool,
}

impl Next {
    pub(super) const ANY: Self = Self { bytes: Set::ALL, end: true };
    pub(super) const END: Self = Self { bytes: Set::NONE, end: true };

    pub(super) const fn byte(bytes: Set) -> Self {
        Self { bytes, end: false }
    }

    /// All but `bytes`.
    pub(super) const fn but(bytes: Set) -> Self {
        Self { bytes: bytes.not(), end: true }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.and(other.bytes), end: self.end && other.end }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self { bytes: self.bytes.or(other.bytes), end: self.end || other.end }
    }

    pub(super) fn is_none(&self) -> bool {
        !self.end && self.bytes == Set::NONE
    }

    #[inline]
    pub(super) fn has(&self, next: Option<&u8>) -> bool {
        next.map_or(self.end, |byte| self.bytes.has(*byte))
    }
}

/// What follows a frontier: its set holds a zero where the text ends.
pub(super) fn behind_frontier(set: Set) -> Next {
    Next { bytes: set, end: set.has(0) }
}

/// A pattern without its anchor.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) items: Vec<Item>,
    /// What must come next in the text for what is from this item on, and for the end of the pattern, to match.
    /// Where the pattern is not sound, anything may.
    pub(super) firsts: Vec<Next>,
    /// How many captures it has, if no text can bring it to a fault.
    pub(super) sound: Option<usize>,
}

impl Pattern {
    pub(super) fn new(source: &[u8]) -> Self {
        let items = items(source);
        let sound = sound(&items);
        let mut firsts = vec![Next::ANY; items.len() + 1];
        if sound.is_some() {
            for (index, item) in items.iter().enumerate().rev() {
                firsts[index] = first(&item.kind, firsts[index + 1]);
            }
        }
        Self { items, firsts, sound }
    }

    /// Bytes that each match has at least.
    pub(super) fn least_width(&self) -> u64 {
        let width = |item: &Item| match item.kind {
            Kind::One(_) | Kind::Many(_, Repeat::Some) => 1,
            Kind::Balanced(..) => 2,
            _ => 0,
        };
        self.items.iter().map(width).sum()
    }
}

/// What must come next for an item, and what is behind it, to match.
fn first(kind: &Kind, behind: Next) -> Next {
    match kind {
        Kind::Open | Kind::Close | Kind::Position => behind,
        Kind::End => Next::END,
        Kind::Balanced(open, _) => Next::byte(Set::one(*open)),
        Kind::Frontier(set) => behind_frontier(*set).and(behind),
        // It may be of nothing.
        Kind::Again(_) | Kind::Fault(_) => Next::ANY,
        Kind::One(class) | Kind::Many(class, Repeat::Some) => Next::byte(class.set()),
        Kind::Many(class, _) => Next::byte(class.set()).or(behind),
    }
}

/// How many captures a pattern has, unless something in it is a fault on some text: all of it is known beforehand,
/// since its items are passed in their order.
fn sound(items: &[Item]) -> Option<usize> {
    let mut closed = Vec::new();
    let mut deeper = 0;
    for item in items {
        match item.kind {
            Kind::Fault(_) => return None,
            Kind::Open => closed.push(false),
            Kind::Position => closed.push(true),
            Kind::Close => *closed.iter_mut().rfind(|is_closed| !**is_closed)? = true,
            Kind::Again(digit) => {
                let is_closed = closed.get(usize::from(digit).checked_sub(1)?)?;
                is_closed.then_some(())?;
            }
            _ => {}
        }
        if let Kind::Open | Kind::Position | Kind::Close | Kind::Many(..) = item.kind {
            deeper += 1;
        }
    }
    let is_sound = closed.len() <= CAPTURES_MAX && deeper < DEPTH_MAX && !closed.contains(&false);
    is_sound.then_some(closed.len())
}

fn items(source: &[u8]) -> Vec<Item> {
    let (mut items, mut at) = (Vec::new(), 0);
    while at < source.len() {
        match item(source, at) {
            Ok((item, end)) => {
                items.push(item);
                at = end;
            }
            Err(message) => {
                items.push(Item { kind: Kind::Fault(message), weight: 0 });
                break;
            }
        }
    }
    items
}

/// The item at `at`, and where it ends.
fn item(source: &[u8], at: usize) -> Result<(Item, usize), &'static str> {
    let plain = |kind, end| Ok((Item { kind, weight: 0 }, end));
    match (source[at], source.get(at + 1)) {
        (b'(', Some(b')')) => plain(Kind::Position, at + 2),
        (b'(', _) => plain(Kind::Open, at + 1),
        (b')', _) => plain(Kind::Close, at + 1),
        (b'$', None) => plain(Kind::End, at + 1),
        (ESCAPE, Some(b'b')) => match source.get(at + 2..at + 4) {
            Some([open, close]) => plain(Kind::Balanced(*open, *close), at + 4),
            _ => Err("malformed pattern (missing arguments to '%b')"),
        },
        (ESCAPE, Some(b'f')) => {
            if source.get(at + 2) != Some(&b'[') {
                return Err("missing '[' after '%f' in pattern");
            }
            let end = class_end(source, at + 2)?;
            let set = Set::bracketed(&source[at + 3..end - 1]);
            Ok((Item { kind: Kind::Frontier(set), weight: (end - at - 2) as u64 }, end))
        }
        (ESCAPE, Some(digit)) if digit.is_ascii_digit() => plain(Kind::Again(digit - b'0'), at + 2),
        (first, _) => {
            let end = class_end(source, at)?;
            let class = match first {
                b'.' => Class::Any,
                ESCAPE => Class::of(Set::class(source[at + 1])),
                b'[' => Class::of(Set::bracketed(&source[at + 1..end - 1])),
                literal => Class::Byte(literal),
            };
            let repeat = match source.get(end) {
                Some(b'?') => Some(Repeat::Maybe),
                Some(b'*') => Some(Repeat::Any),
                Some(b'+') => Some(Repeat::Some),
                Some(b'-') => Some(Repeat::Least),
                _ => None,
            };
            let kind = repeat.map_or(Kind::One(class), |repeat| Kind::Many(class, repeat));
            let item = Item { kind, weight: (end - at) as u64 };
            Ok((item, end + usize::from(repeat.is_some())))
        }
    }
}

/// Where the class at `at` ends.
fn class_end(source: &[u8], at: usize) -> Result<usize, &'static str> {
    match source[at] {
        ESCAPE if at + 1 == source.len() => Err("malformed pattern (ends with '%')"),
        ESCAPE => Ok(at + 2),
        b'[' => {
            let mut end = at + 1;
            if source.get(end) == Some(&b'^') {
                end += 1;
            }
            // A `]` in front is one of the set.
            loop {
                match source.get(end) {
                    None => return Err("malformed pattern (missing ']')"),
                    Some(&ESCAPE) if end + 1 < source.len() => end += 2,
                    Some(_) => end += 1,
                }
                if source.get(end) == Some(&b']') {
                    return Ok(end + 1);
                }
            }
        }
        _ => Ok(at + 1),
    }
}
