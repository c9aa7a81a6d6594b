//! How many steps Lua's own matcher takes at most, from what a pattern is and how long a text is.
//!
//! An attempt is what is done from one place of the text on. For what is behind each item, and for what may come next
//! in the text there, two bounds are computed, from the end of the pattern to its start: of an attempt that fails, a
//! number, and of one that succeeds, a number and another for each byte of the match. The second is what makes
//! patterns such as `%a+` linear: matches do not overlap, so what is paid for by their bytes is at most so much for
//! each byte of the text, however often a long run of letters would have been tried.
//!
//! - A repetition of a class over a run of `r` bytes tries what is behind it at each of them, with a byte of the class
//!   next, and once at the run's end, with none of it next. What fails at once on a byte of the class, since another
//!   class without common bytes has to come first, makes the repetition linear; what can't fail at the run's end is
//!   tried once.
//! - A greedy repetition that succeeds at the end of its run has paid for bytes of the match alone; so has a lazy
//!   one, wherever it succeeds. A greedy one that succeeds earlier has scanned the whole run.
//! - `?` tries what is behind it twice, a reference compares at most the text, and `%b` scans it, or the match.
//!
//! Of the attempts on a text each has a place of its own, but that places where an empty match ended are tried again.
//! All may fail, and so many succeed as matches have room.
//!
//! All bounds grow with the length of the text, and with that of runs. Steps are counted somewhat higher than the
//! matcher of `matcher.rs` counts them, whose order of attempts is the same (tested).

use super::classes::{Class, Set};
use super::items::{Kind, Next, Pattern, Repeat, behind_frontier};
use crate::config::{LUA_PATTERN_STEPS_UNSEEN, LUA_PATTERN_TEXT_BYTES_UNSEEN};

/// Bounds that are computed for one pattern, beyond which it has none: they are at most some for each pair of items.
const BOUNDS_MAX: u32 = 400;
/// Steps of a capture: it recurs, and so takes longer than others.
const CAPTURE: u64 = 4;

/// Steps of an attempt that succeeds: so many, and so many for each byte that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Success {
    fixed: u64,
    per_byte: u64,
}

impl Success {
    fn plus(self, steps: u64) -> Self {
        Self { fixed: self.fixed.saturating_add(steps), ..self }
    }

    fn per_byte(self, steps: u64) -> Self {
        Self { per_byte: self.per_byte.max(steps), ..self }
    }

    fn or(self, other: Self) -> Self {
        Self { fixed: self.fixed.max(other.fixed), per_byte: self.per_byte.max(other.per_byte) }
    }
}

/// Bounds of an attempt: none where it can't fail or succeed.
#[derive(Debug, Clone, Copy, Default)]
struct Attempt {
    fail: Option<u64>,
    success: Option<Success>,
}

impl Attempt {
    fn plus(self, steps: u64) -> Self {
        Self {
            fail: self.fail.map(|fail| fail.saturating_add(steps)),
            success: self.success.map(|success| success.plus(steps)),
        }
    }

    /// One or the other.
    fn or(self, other: Self) -> Self {
        let success = match (self.success, other.success) {
            (Some(one), Some(other)) => Some(one.or(other)),
            (one, other) => one.or(other),
        };
        Self { fail: self.fail.max(other.fail), success }
    }

    /// Fails after `steps`, or is this.
    fn or_fails(self, steps: u64) -> Self {
        Self { fail: self.fail.max(Some(steps)), ..self }
    }
}

/// What is done on a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// One match is looked for: `find`, `match`.
    One,
    /// All are: `gmatch`, `gsub`.
    All,
}

/// Whether a pattern is tried from every place of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    None,
}

/// A text, as far as it matters.
struct Bounds<'a> {
    pattern: &'a Pattern,
    length: u64,
    /// The longest run of the class of each item that repeats one.
    runs: &'a [u64],
    /// What was computed: behind which item, with what coming next.
    known: Vec<Vec<(Next, Attempt)>>,
    left: u32,
}

impl Bounds<'_> {
    /// An attempt from item `index` on where one of `next` comes next; none if there are too many to compute.
    fn attempt(&mut self, index: usize, next: Next) -> Option<Attempt> {
        if next.is_none() {
            return Some(Attempt::default());
        }
        if let Some((_, known)) = self.known[index].iter().find(|(known, _)| *known == next) {
            return Some(*known);
        }
        self.left = self.left.checked_sub(1)?;
        let made = self.computed(index, next)?;
        self.known[index].push((next, made));
        Some(made)
    }

    fn computed(&mut self, index: usize, next: Next) -> Option<Attempt> {
        let Some(item) = self.pattern.items.get(index) else {
            return Some(Attempt { fail: None, success: Some(Success { fixed: 1, per_byte: 0 }) });
        };
        // The class is read to find its end, and once more for a comparison.
        let visit = 1 + 2 * item.weight;
        let behind = index + 1;
        Some(match &item.kind {
            Kind::Fault(_) => return None,
            Kind::Open | Kind::Close | Kind::Position => self.attempt(behind, next)?.plus(CAPTURE),
            Kind::End => Attempt {
                fail: (next.bytes != Set::NONE).then_some(1),
                success: next.end.then_some(Success { fixed: 1, per_byte: 0 }),
            },
            Kind::One(class) => {
                let here = next.and(Next::byte(class.set()));
                let matched =
                    if here.is_none() { Attempt::default() } else { self.attempt(behind, Next::ANY)? };
                let matched = matched.plus(visit);
                if next.and(Next::but(class.set())).is_none() { matched } else { matched.or_fails(visit) }
            }
            Kind::Many(class, Repeat::Maybe) => {
                let without = self.attempt(behind, next.and(Next::but(class.set())))?.plus(visit);
                without.or(self.maybe(behind, next.and(Next::byte(class.set())))?.plus(visit))
            }
            Kind::Many(class, repeat) => {
                let own = next.and(Next::byte(class.set()));
                match (own.is_none(), repeat) {
                    (true, Repeat::Some) => Attempt::default().or_fails(visit),
                    (true, _) => self.attempt(behind, next)?.plus(visit),
                    (false, Repeat::Some) if !next.and(Next::but(class.set())).is_none() => {
                        self.many(index, class, *repeat, item.weight)?.plus(visit).or_fails(visit)
                    }
                    _ => self.many(index, class, *repeat, item.weight)?.plus(visit),
                }
            }
            Kind::Balanced(..) => {
                let rest = self.attempt(behind, Next::ANY)?;
                let scanned = (self.length + 1).saturating_add(rest.fail.unwrap_or(0));
                let success = rest.success.map(|success| success.plus(1).per_byte(1));
                Attempt { fail: Some(scanned), success }
            }
            Kind::Frontier(set) => {
                let visit = visit + item.weight;
                let passed = self.attempt(behind, next.and(behind_frontier(*set)))?;
                passed.plus(visit).or_fails(visit)
            }
            Kind::Again(_) => {
                let rest = self.attempt(behind, Next::ANY)?;
                let compared = self.length / 16 + 2;
                let success = rest.success.map(|success| success.plus(2).per_byte(1));
                Attempt { fail: Some(compared.saturating_add(rest.fail.unwrap_or(0))), success }
            }
        })
    }

    /// A byte of the class of a `?` is there: what is behind it is tried after that, then without it.
    fn maybe(&mut self, behind: usize, own: Next) -> Option<Attempt> {
        if own.is_none() {
            return Some(Attempt::default());
        }
        let with = self.attempt(behind, Next::ANY)?;
        let Some(failed) = with.fail else { return Some(with) };
        let without = self.attempt(behind, own)?.plus(failed);
        Some(Attempt { fail: without.fail, success: Attempt { fail: None, ..with }.or(without).success })
    }

    /// A repetition, after its first comparison. It has at least one byte if it needs one.
    fn many(&mut self, index: usize, class: &Class, repeat: Repeat, weight: u64) -> Option<Attempt> {
        let run = self.runs[index];
        let at_end = self.attempt(index + 1, Next::but(class.set()))?;
        let within = self.attempt(index + 1, Next::byte(class.set()))?;
        let each = weight.saturating_add(within.fail.unwrap_or(0));
        // All comparisons, and an attempt at each byte of the run.
        let all = weight.saturating_add(run.saturating_mul(each));
        let fail = at_end.fail.map(|fail| fail.saturating_add(all));
        let (at_end_ok, within_ok) = if repeat == Repeat::Least {
            let passed = |success: Success| success.plus(weight).per_byte(each);
            (at_end.success.map(passed), within.success.map(passed))
        } else {
            let ended = at_end.success.map(|success| success.plus(weight).per_byte(weight));
            // After the attempt at the end of the run, and others within it.
            let earlier = at_end.fail.and_then(|fail| Some(within.success?.plus(fail).plus(weight)));
            (ended, earlier)
        };
        let success = match (at_end_ok, within_ok) {
            (Some(one), Some(other)) => Some(one.or(other)),
            (one, other) => one.or(other),
        };
        // Added to whatever is the greater, not to one of them: `all_on` counts on multiples of the run.
        let within_run =
            if repeat != Repeat::Least && within_ok.is_some() { run.saturating_mul(each) } else { 0 };
        let success = success.map(|success| success.plus(within_run));
        Some(Attempt { fail, success })
    }
}

/// An attempt from the start of a pattern on a text of `length` bytes with `runs`; none if there is no bound.
fn attempt(pattern: &Pattern, length: u64, runs: &[u64]) -> Option<(u64, Success)> {
    pattern.sound?;
    let known = vec![Vec::new(); pattern.items.len() + 1];
    let attempt = Bounds { pattern, length, runs, known, left: BOUNDS_MAX }.attempt(0, Next::ANY)?;
    let success = attempt.success.unwrap_or(Success { fixed: 0, per_byte: 0 });
    Some((attempt.fail.unwrap_or(0), success))
}

/// How often attempts from `starts` places of a text of `length` bytes succeed at most. A place where an empty match
/// ended is tried twice.
fn successes(pattern: &Pattern, starts: u64, length: u64) -> u64 {
    match pattern.least_width() {
        0 => starts.saturating_mul(2),
        width => starts.min(length / width + 1),
    }
}

/// Steps on any text of `length` bytes: its runs may be as long; none if there is no bound.
pub(super) fn any_on(pattern: &Pattern, anchor: Anchor, search: Search, length: u64) -> Option<u64> {
    let (fail, success) = attempt(pattern, length, &vec![length; pattern.items.len()])?;
    let starts = if anchor == Anchor::Start { 1 } else { length + 1 };
    let matches = if search == Search::One { 1 } else { successes(pattern, starts, length) };
    let failed = starts.saturating_mul(fail);
    let matched = matches.saturating_mul(success.fixed);
    Some(failed.saturating_add(matched).saturating_add(length.saturating_mul(success.per_byte)))
}

/// Steps of [`Search::All`] on `text`, from the lengths of its runs; none if there is no bound, or the text is so long
/// that it would be beyond [`LUA_PATTERN_STEPS_UNSEEN`].
///
/// Where nothing varies in length before the first repetition, each attempt has a place of its own in the runs of its
/// class, and its bounds are a number and a multiple of what is left of the run there. So the sum of what is left
/// from each place on stands for the runs of all attempts; for other repetitions it is the longest run.
pub(super) fn all_on(pattern: &Pattern, text: &[u8]) -> Option<u64> {
    let length = text.len() as u64;
    let mut runs = vec![0; pattern.items.len()];
    if measured_bytes(pattern, text.len()) == 0 {
        return None;
    }
    let (least, _) = attempt(pattern, length, &runs)?;
    if (length + 1).saturating_mul(least) > LUA_PATTERN_STEPS_UNSEEN {
        return None;
    }
    let (mut first, mut is_first) = (None, true);
    for (index, item) in pattern.items.iter().enumerate() {
        match &item.kind {
            Kind::Many(_, Repeat::Maybe) | Kind::Balanced(..) | Kind::Again(_) => is_first = false,
            Kind::Many(class, _) => {
                let (longest, sum) = measured(class, text);
                if is_first {
                    first = Some((index, sum));
                } else {
                    runs[index] = longest;
                }
                is_first = false;
            }
            _ => {}
        }
    }
    let starts = length + 1;
    let matches = successes(pattern, starts, length);
    let (fail, success) = attempt(pattern, length, &runs)?;
    let failed = starts.saturating_mul(fail);
    let matched = matches.saturating_mul(success.fixed);
    let mut steps = failed.saturating_add(matched).saturating_add(length.saturating_mul(success.per_byte));
    if let Some((index, sum)) = first {
        runs[index] = 1;
        let (longer_fail, longer) = attempt(pattern, length, &runs)?;
        let tries = if pattern.least_width() == 0 { 2 } else { 1 };
        let matched = longer.fixed.saturating_sub(success.fixed).saturating_mul(tries);
        let each = longer_fail.saturating_sub(fail).saturating_add(matched);
        steps = steps.saturating_add(sum.saturating_mul(each));
    }
    Some(steps)
}

/// How many bytes [`all_on`] looks at for a text of `length` bytes, at most: none if that is too many.
pub(super) fn measured_bytes(pattern: &Pattern, length: usize) -> u64 {
    let bytes = (length as u64).saturating_mul(pattern.items.len() as u64);
    if bytes > LUA_PATTERN_STEPS_UNSEEN { 0 } else { bytes }
}

/// The longest run of `class` in `text`, and the sum of what is left of them from each place on.
fn measured(class: &Class, text: &[u8]) -> (u64, u64) {
    let (mut longest, mut sum, mut at) = (0, 0, 0);
    let others = Class::of(class.set().not());
    while at < text.len() {
        let run = class.run(&text[at..]);
        longest = longest.max(run as u64);
        sum += (run as u64) * (run as u64 + 1) / 2;
        at += run;
        at += others.run(&text[at..]);
    }
    (longest, sum)
}

/// Longest text, up to [`LUA_PATTERN_TEXT_BYTES_UNSEEN`], on which Lua's own matcher takes at most
/// [`LUA_PATTERN_STEPS_UNSEEN`] steps; none if there is none, or the pattern takes many however short a text is.
pub(super) fn limit(pattern: &Pattern, anchor: Anchor, search: Search) -> Option<u64> {
    let fits = |length| {
        any_on(pattern, anchor, search, length).is_some_and(|steps| steps <= LUA_PATTERN_STEPS_UNSEEN)
    };
    any_on(pattern, anchor, search, 0).filter(|least| *least <= LUA_PATTERN_STEPS_UNSEEN / 1024)?;
    if !fits(1) {
        return None;
    }
    let (mut fitting, mut beyond) = (1, LUA_PATTERN_TEXT_BYTES_UNSEEN + 1);
    while fitting + 1 < beyond {
        let middle = fitting.midpoint(beyond);
        if fits(middle) {
            fitting = middle;
        } else {
            beyond = middle;
        }
    }
    Some(fitting)
}
