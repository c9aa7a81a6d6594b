//! One pattern against one text, from one place on: backtracking, as the manual of Lua describes it (§6.4.1).
//!
//! The order in which alternatives are tried, the depth of backtracking and the messages are those of Lua's own
//! library. Each step is counted.

use crate::meter::{Meter, Spent};

/// Captures of a pattern.
const CAPTURES_MAX: usize = 32;
/// Depth of backtracking.
const DEPTH_MAX: usize = 200;
const ESCAPE: u8 = b'%';

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

/// A pattern, without its anchor, and a text.
pub(super) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    meter: &'a Meter,
    captures: [Capture; CAPTURES_MAX],
    level: usize,
    depth: usize,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(subject: &'a [u8], pattern: &'a [u8], meter: &'a Meter) -> Self {
        Self { subject, pattern, meter, captures: [Capture::Open(0); CAPTURES_MAX], level: 0, depth: 0 }
    }

    /// The end of the match that begins at `start`.
    pub(super) fn at(&mut self, start: usize) -> Found {
        (self.level, self.depth) = (0, 0);
        self.run(start, 0)
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

    /// Matches the pattern from `p` on against the text from `s` on.
    fn run(&mut self, mut s: usize, mut p: usize) -> Found {
        if self.depth == DEPTH_MAX {
            return malformed("pattern too complex");
        }
        self.depth += 1;
        let found = loop {
            self.meter.take(1)?;
            let Some(first) = self.pattern.get(p) else { break Some(s) };
            match (first, self.pattern.get(p + 1)) {
                (b'(', Some(b')')) => break self.capture(s, p + 2, Capture::Position(s))?,
                (b'(', _) => break self.capture(s, p + 1, Capture::Open(s))?,
                (b')', _) => break self.end_capture(s, p + 1)?,
                (b'$', None) => break (s == self.subject.len()).then_some(s),
                (&ESCAPE, Some(b'b')) => match self.balanced(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => break None,
                },
                (&ESCAPE, Some(b'f')) => match self.frontier(s, p + 2)? {
                    Some(end) => p = end,
                    None => break None,
                },
                (&ESCAPE, Some(digit)) if digit.is_ascii_digit() => match self.again(s, *digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => break None,
                },
                _ => {
                    let end = self.class_end(p)?;
                    let is_one = self.single(s, p, end)?;
                    match (self.pattern.get(end), is_one) {
                        (Some(b'?'), true) => match self.run(s + 1, end + 1)? {
                            Some(found) => break Some(found),
                            None => p = end + 1,
                        },
                        (Some(b'+'), true) => break self.longest(s + 1, p, end)?,
                        (Some(b'*'), true) => break self.longest(s, p, end)?,
                        (Some(b'-'), true) => break self.shortest(s, p, end)?,
                        (Some(b'?' | b'*' | b'-'), false) => p = end + 1,
                        (_, true) => (s, p) = (s + 1, end),
                        (_, false) => break None,
                    }
                }
            }
        };
        self.depth -= 1;
        Ok(found)
    }

    /// As many of the class from `p` to `end` as there are, fewer if the rest does not match then.
    fn longest(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut last = s;
        while self.single(last, p, end)? {
            last += 1;
        }
        loop {
            if let Some(found) = self.run(last, end + 1)? {
                return Ok(Some(found));
            }
            if last == s {
                return Ok(None);
            }
            last -= 1;
        }
    }

    /// As few as the rest matches behind.
    fn shortest(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.single(s, p, end)? {
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
        let index = usize::from(digit - b'0');
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

    /// `%bxy`, whose two characters are at `p`.
    fn balanced(&self, s: usize, p: usize) -> Found {
        let Some([open, close]) = self.pattern.get(p..p + 2) else {
            return malformed("malformed pattern (missing arguments to '%b')");
        };
        if self.subject.get(s) != Some(open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (index, byte) in self.subject.iter().enumerate().skip(s + 1) {
            self.meter.take(1)?;
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(index + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`, whose set is at `p`: the end of the set, where the text passes into it.
    fn frontier(&self, s: usize, p: usize) -> Found {
        if self.pattern.get(p) != Some(&b'[') {
            return malformed("missing '[' after '%f' in pattern");
        }
        let end = self.class_end(p)?;
        self.meter.take((end - p) as u64)?;
        let before = s.checked_sub(1).map_or(0, |at| self.subject[at]);
        let here = self.subject.get(s).copied().unwrap_or(0);
        let set = &self.pattern[p + 1..end - 1];
        Ok((!in_set(before, set) && in_set(here, set)).then_some(end))
    }

    /// Where the class at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Failure> {
        match self.pattern[p] {
            ESCAPE if p + 1 == self.pattern.len() => malformed("malformed pattern (ends with '%')"),
            ESCAPE => Ok(p + 2),
            b'[' => {
                let mut at = p + 1;
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                // A `]` in front is one of the set.
                loop {
                    match self.pattern.get(at) {
                        None => return malformed("malformed pattern (missing ']')"),
                        Some(&ESCAPE) if at + 1 < self.pattern.len() => at += 2,
                        Some(_) => at += 1,
                    }
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the byte at `s` is of the class from `p` to `end`.
    fn single(&self, s: usize, p: usize, end: usize) -> Result<bool, Failure> {
        let Some(byte) = self.subject.get(s) else { return Ok(false) };
        self.meter.take((end - p) as u64)?;
        Ok(match self.pattern[p] {
            b'.' => true,
            ESCAPE => in_class(*byte, self.pattern[p + 1]),
            b'[' => in_set(*byte, &self.pattern[p + 1..end - 1]),
            literal => literal == *byte,
        })
    }
}

/// Whether `byte` is in a set, written without its brackets.
fn in_set(byte: u8, set: &[u8]) -> bool {
    let (is_in, mut set) = match set {
        [b'^', rest @ ..] => (false, rest),
        set => (true, set),
    };
    loop {
        let (is_match, rest) = match set {
            [] => return !is_in,
            [ESCAPE, class, rest @ ..] => (in_class(byte, *class), rest),
            [first, b'-', last, rest @ ..] => ((*first..=*last).contains(&byte), rest),
            [one, rest @ ..] => (*one == byte, rest),
        };
        if is_match {
            return is_in;
        }
        set = rest;
    }
}

/// Whether `byte` is of the class that `%` and `class` are.
fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in == class.is_ascii_lowercase()
}
