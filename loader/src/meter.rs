//! How much one piece of work may take: amounts of bytes or steps, and the deadline of its call.
//!
//! No hook of Lua runs while Rust works, so whatever may take long counts what it does and looks at the clock
//! now and then.

use std::cell::Cell;

use registry_schema::ErrorKind;
use tokio::time::Instant;

use crate::error::Error;

/// Amount between two looks at the clock: some hundred microseconds of work.
const LOOK_INTERVAL: u64 = 1 << 16;

/// Counts down from a most.
#[derive(Debug)]
pub(crate) struct Meter {
    max: u64,
    /// What is left beyond `until_look`.
    left: Cell<u64>,
    /// What may be taken before the next look at the clock.
    until_look: Cell<u64>,
    deadline: Option<Instant>,
}

/// Why nothing more may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    /// All of it is used up.
    Amount,
    /// The deadline is past.
    Time,
}

impl Meter {
    /// Allows `max`, until `deadline`.
    pub(crate) fn new(max: u64, deadline: Option<Instant>) -> Self {
        let until_look = LOOK_INTERVAL.min(max);
        Self { max, left: Cell::new(max - until_look), until_look: Cell::new(until_look), deadline }
    }

    /// Takes `amount`.
    ///
    /// # Errors
    /// When not as much is left, or the deadline is found to be past. Nothing is taken then.
    #[inline]
    pub(crate) fn take(&self, amount: u64) -> Result<(), Spent> {
        match self.until_look.get().checked_sub(amount) {
            Some(rest) => {
                self.until_look.set(rest);
                Ok(())
            }
            None => self.take_and_look(amount),
        }
    }

    #[cold]
    fn take_and_look(&self, amount: u64) -> Result<(), Spent> {
        let all = self.left.get() + self.until_look.get();
        let rest = all.checked_sub(amount).ok_or(Spent::Amount)?;
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Spent::Time);
        }
        let until_look = LOOK_INTERVAL.min(rest);
        self.until_look.set(until_look);
        self.left.set(rest - until_look);
        Ok(())
    }

    /// What was taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.max - self.left.get() - self.until_look.get()
    }
}

/// The error of work that its call's deadline ended.
pub(crate) fn past_deadline() -> Error {
    Error::new(ErrorKind::Timeout, "the time limit was reached").retryable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_amount_is_exact() {
        let meter = Meter::new(LOOK_INTERVAL + 5, None);
        assert_eq!(meter.take(LOOK_INTERVAL), Ok(()));
        assert_eq!(meter.take(6), Err(Spent::Amount));
        assert_eq!(meter.take(5), Ok(()));
        assert_eq!(meter.taken(), LOOK_INTERVAL + 5);
        assert_eq!(meter.take(1), Err(Spent::Amount));
        assert_eq!(Meter::new(3, None).take(4), Err(Spent::Amount));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_looked_at_now_and_then() {
        let meter = Meter::new(u64::MAX, Some(Instant::now() + Duration::from_secs(1)));
        assert_eq!(meter.take(LOOK_INTERVAL + 1), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let taken = (0..).find(|_| meter.take(1) == Err(Spent::Time)).unwrap();
        assert!(taken <= LOOK_INTERVAL);
    }
}
