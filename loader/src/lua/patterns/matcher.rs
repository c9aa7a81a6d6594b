//! One pattern against one text, from one place on: backtracking, as the manual of Lua describes it (§6.4.1).
//!
//! The order in which alternatives are tried, the depth of backtracking and the messages are those of Lua's own
//! library. Each step is counted; what the next byte of the text rules out is one.

use super::classes::{Class, Set};
use super::items::{CAPTURES_MAX, DEPTH_MAX, Kind, Pattern, Repeat, behind_frontier};
use crate::meter::{Meter, Spent};

/// Bytes that are looked at between two counts.
const SCAN_BYTES: usize = 4096;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The pattern is none.
    Pattern(String),
    Spent(Spent),
}

impl From<Spent> for Failure {
    fn from(spent: Spent) -> Self {
        Self::Spent(spent)
    }
}

#[cold]
fn malformed<T>(what: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Pattern(what.into()))
}

/// Where a match ends, if there is one.
type Found = Result<Option<usize>, Failure>;

#[derive(Debug, Clone, Copy)]
enum Capture {
    Open(usize),
    Closed(usize, usize),
    Position(usize),
}

/// What a capture gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The text from one place to another.
    Text(usize, usize),
    /// A place, counted from 0.
    Position(usize),
}

/// A pattern and a text.
pub(super) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a Pattern,
    meter: &'a Meter,
    captures: [Capture; CAPTURES_MAX],
    level: usize,
    depth: usize,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(subject: &'a [u8], pattern: &'a Pattern, meter: &'a Meter) -> Self {
        Self { subject, pattern, meter, captures: [Capture::Open(0); CAPTURES_MAX], level: 0, depth: 0 }
    }

    /// The first place from `start` on where a match may begin.
    pub(super) fn candidate(&self, mut start: usize) -> Result<Option<usize>, Failure> {
        let first = &self.pattern.firsts[0];
        if first.bytes == Set::ALL {
            return Ok(Some(start));
        }
        let others = Class::of(first.bytes.not());
        while start < self.subject.len() {
            let part = &self.subject[start..self.subject.len().min(start + SCAN_BYTES)];
            let passed = others.run(part);
            self.meter.take(passed as u64)?;
            start += passed;
            if passed < part.len() {
                return Ok(Some(start));
            }
        }
        Ok(first.end.then_some(start))
    }

    /// The end of the match that begins at `start`.
    pub(super) fn at(&mut self, start: usize) -> Found {
        (self.level, self.depth) = (0, 0);
        self.attempt(start, 0)
    }

    /// How many values the last match gives: its captures, or the whole.
    pub(super) fn parts(&self) -> usize {
        self.level.max(1)
    }

    /// Whether the last match has captures.
    pub(super) fn has_captures(&self) -> bool {
        self.level > 0
    }

    /// Capture `index`, from 0, of the last match, which was `start` to `end`.
    pub(super) fn part(&self, index: usize, (start, end): (usize, usize)) -> Result<Part, Failure> {
        match self.captures[..self.level].get(index) {
            Some(Capture::Closed(start, end)) => Ok(Part::Text(*start, *end)),
            Some(Capture::Position(at)) => Ok(Part::Position(*at)),
            Some(Capture::Open(_)) => malformed("unfinished capture"),
            None if index == 0 => Ok(Part::Text(start, end)),
            None => malformed(format!("invalid capture index %{}", index + 1)),
        }
    }

    /// [`Self::run`], unless what comes next in the text rules it out.
    #[inline]
    fn attempt(&mut self, s: usize, p: usize) -> Found {
        if self.pattern.firsts[p].has(self.subject.get(s)) {
            return self.run(s, p);
        }
        self.meter.take(1)?;
        Ok(None)
    }

    /// Matches the pattern from its item `p` on against the text from `s` on.
    fn run(&mut self, mut s: usize, mut p: usize) -> Found {
        if self.depth == DEPTH_MAX {
            return malformed("pattern too complex");
        }
        self.depth += 1;
        let pattern = self.pattern;
        let found = loop {
            let Some(item) = pattern.items.get(p) else {
                self.meter.take(1)?;
                break Some(s);
            };
            self.meter.take(1 + item.weight)?;
            p += 1;
            match &item.kind {
                Kind::One(class) => match self.subject.get(s) {
                    Some(byte) if class.has(*byte) => s += 1,
                    _ => break None,
                },
                Kind::Many(class, repeat) => {
                    let is_one = self.subject.get(s).is_some_and(|byte| class.has(*byte));
                    match (repeat, is_one) {
                        (Repeat::Some, false) => break None,
                        (_, false) => {}
                        (Repeat::Maybe, true) => {
                            if let Some(found) = self.attempt(s + 1, p)? {
                                break Some(found);
                            }
                        }
                        (Repeat::Some, true) => break self.longest(s + 1, p, class, item.weight)?,
                        (Repeat::Any, true) => break self.longest(s, p, class, item.weight)?,
                        (Repeat::Least, true) => break self.shortest(s, p, class, item.weight)?,
                    }
                }
                Kind::Open => break self.capture(s, p, Capture::Open(s))?,
                Kind::Position => break self.capture(s, p, Capture::Position(s))?,
                Kind::Close => break self.end_capture(s, p)?,
                Kind::End => break (s == self.subject.len()).then_some(s),
                Kind::Balanced(open, close) => match self.balanced(s, *open, *close)? {
                    Some(end) => s = end,
                    None => break None,
                },
                Kind::Frontier(set) => {
                    let before = s.checked_sub(1).map_or(0, |at| self.subject[at]);
                    if set.has(before) || !behind_frontier(*set).has(self.subject.get(s)) {
                        break None;
                    }
                }
                Kind::Again(digit) => match self.again(s, *digit)? {
                    Some(end) => s = end,
                    None => break None,
                },
                Kind::Fault(message) => return malformed(*message),
            }
        };
        self.depth -= 1;
        Ok(found)
    }

    /// As many of `class` as there are, fewer if the rest does not match then.
    fn longest(&mut self, s: usize, p: usize, class: &Class, weight: u64) -> Found {
        let mut last = s;
        loop {
            let part = &self.subject[last..self.subject.len().min(last + SCAN_BYTES)];
            let passed = class.run(part);
            self.meter.take(weight * passed as u64)?;
            last += passed;
            if passed < part.len() || part.is_empty() {
                break;
            }
        }
        loop {
            if let Some(found) = self.attempt(last, p)? {
                return Ok(Some(found));
            }
            if last == s {
                return Ok(None);
            }
            last -= 1;
        }
    }

    /// As few of `class` as the rest matches behind.
    fn shortest(&mut self, mut s: usize, p: usize, class: &Class, weight: u64) -> Found {
        loop {
            if let Some(found) = self.attempt(s, p)? {
                return Ok(Some(found));
            }
            self.meter.take(weight)?;
            if !self.subject.get(s).is_some_and(|byte| class.has(*byte)) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn capture(&mut self, s: usize, p: usize, capture: Capture) -> Found {
        let Some(place) = self.captures.get_mut(self.level) else { return malformed("too many captures") };
        *place = capture;
        self.level += 1;
        let found = self.run(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn end_capture(&mut self, s: usize, p: usize) -> Found {
        let open = |capture: &Capture| matches!(capture, Capture::Open(_));
        let Some(index) = self.captures[..self.level].iter().rposition(open) else {
            return malformed("invalid pattern capture");
        };
        let before = self.captures[index];
        if let Capture::Open(start) = before {
            self.captures[index] = Capture::Closed(start, s);
        }
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[index] = before;
        }
        Ok(found)
    }

    /// The text of capture `digit` once more.
    fn again(&self, s: usize, digit: u8) -> Found {
        let index = usize::from(digit);
        let capture = index.checked_sub(1).and_then(|index| self.captures[..self.level].get(index));
        match capture {
            None | Some(Capture::Open(_)) => malformed(format!("invalid capture index %{index}")),
            // A place is no text.
            Some(Capture::Position(_)) => Ok(None),
            Some(Capture::Closed(start, end)) => {
                self.meter.take((end - start) as u64 / 16)?;
                let text = &self.subject[*start..*end];
                Ok(self.subject[s..].starts_with(text).then_some(s + text.len()))
            }
        }
    }

    /// A text from `open` at `s` to the `close` that belongs to it.
    fn balanced(&self, s: usize, open: u8, close: u8) -> Found {
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (index, byte) in self.subject.iter().enumerate().skip(s + 1) {
            self.meter.take(1)?;
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(index + 1));
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }
}
