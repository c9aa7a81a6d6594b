//! Names that the loader gives to processes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use registry_schema::EntryId;

/// The name of a process, unique as long as the loader lives: `{app:processes|0x00004}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pid {
    /// Where it runs: its host; for the call of a function the function.
    place: Arc<EntryId>,
    number: u64,
}

impl Pid {
    pub(super) fn new(place: Arc<EntryId>, number: u64) -> Self {
        Self { place, number }
    }

    /// Where it runs.
    pub(super) fn place(&self) -> &EntryId {
        &self.place
    }

    /// What tells it from all others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}|{:#07x}}}", self.place, self.number)
    }
}

/// A text that is no pid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidPid;

impl FromStr for Pid {
    type Err = InvalidPid;

    fn from_str(text: &str) -> Result<Self, InvalidPid> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(InvalidPid)?;
        let (place, number) = inner.rsplit_once('|').ok_or(InvalidPid)?;
        let number = number.strip_prefix("0x").ok_or(InvalidPid)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| InvalidPid)?;
        Ok(Self { place: Arc::new(place.parse().map_err(|_| InvalidPid)?), number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_read_as_they_are_written() {
        let pid = Pid::new(Arc::new("app:processes".parse().unwrap()), 4);
        assert_eq!(pid.to_string(), "{app:processes|0x00004}");
        assert_eq!(pid.to_string().parse(), Ok(pid));
        for text in ["", "relay", "{app:processes}", "{app:processes|4}", "{app:processes|0xz}", "{x|0x1}"] {
            assert_eq!(text.parse::<Pid>(), Err(InvalidPid), "{text}");
        }
    }
}
