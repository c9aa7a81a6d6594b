//! Time zones: UTC, fixed offsets, and the system's database, read from its files.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{ZONE_FILE_BYTES_MAX, ZONE_NAME_BYTES_MAX, ZONES_KEPT_MAX};

/// Where systems keep the database.
const FOLDERS: [&str; 4] =
    ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// A time zone. Cheap to clone.
#[derive(Debug, Clone)]
pub(in super::super) enum Zone {
    Utc,
    /// The machine's.
    Local,
    /// An offset in seconds.
    Fixed {
        name: Arc<str>,
        offset: i32,
    },
    Named {
        name: Arc<str>,
        rules: Arc<TimeZone>,
    },
}

/// What holds in a zone at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Offset {
    /// East of UTC.
    pub(in super::super) seconds: i64,
    /// Such as `CET`; may be empty for a fixed offset.
    pub(in super::super) name: String,
    pub(in super::super) daylight_saving: bool,
}

static LOCAL: LazyLock<Option<TimeZone>> = LazyLock::new(|| match std::env::var("TZ") {
    Ok(name) if name.is_empty() => None,
    Ok(name) => {
        let name = name.strip_prefix(':').unwrap_or(&name);
        if name.starts_with('/') { read(Path::new(name), "Local") } else { find(name) }
    }
    Err(_) => read(Path::new("/etc/localtime"), "Local"),
});

/// Zones that were read, by name.
static KNOWN: LazyLock<Mutex<HashMap<String, Zone>>> = LazyLock::new(Mutex::default);

impl Zone {
    /// The zone `name`, if no file has to be read for it.
    pub(super) fn known(name: &str) -> Option<Self> {
        match name {
            "UTC" => Some(Self::Utc),
            "Local" => Some(Self::Local),
            name => KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned(),
        }
    }

    /// The zone `name` of the system's database; blocks.
    pub(super) fn load(name: &str) -> Option<Self> {
        if let Some(known) = Self::known(name) {
            return Some(known);
        }
        let zone = Self::Named { name: name.into(), rules: Arc::new(find(name)?) };
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < ZONES_KEPT_MAX {
            known.insert(name.to_owned(), zone.clone());
        }
        Some(zone)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Utc => "UTC",
            Self::Local => "Local",
            Self::Fixed { name, .. } | Self::Named { name, .. } => name,
        }
    }

    /// What holds `seconds` after the start of 1970 in UTC.
    pub(in super::super) fn at(&self, seconds: i64) -> Offset {
        let rules = match self {
            Self::Utc => None,
            Self::Local => LOCAL.as_ref(),
            Self::Fixed { name, offset } => {
                return Offset { seconds: (*offset).into(), name: name.to_string(), daylight_saving: false };
            }
            Self::Named { rules, .. } => Some(&**rules),
        };
        let Some(rules) = rules else {
            return Offset { seconds: 0, name: "UTC".to_owned(), daylight_saving: false };
        };
        // Rules of ages beyond the range hold on.
        let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let info = rules.to_offset_info(Timestamp::from_second(seconds).unwrap_or(end));
        Offset {
            seconds: info.offset().seconds().into(),
            name: info.abbreviation().to_owned(),
            daylight_saving: info.dst().is_dst(),
        }
    }

    /// Seconds after the start of 1970 in UTC when clocks of this zone show what those of UTC show `wall`
    /// after it. Of two such times, and in a gap that no clock shows, the one that Go chooses.
    pub(in super::super) fn utc_of_wall(&self, wall: i64) -> i64 {
        let near = self.at(wall).seconds;
        if near == 0 {
            return wall;
        }
        wall - self.at(wall - near).seconds
    }

    /// The offset that the abbreviation `name` stands for near `seconds`.
    pub(super) fn offset_named(&self, name: &str, seconds: i64) -> Option<i64> {
        const HALF_A_YEAR: i64 = 182 * 86_400;
        let near = [seconds - self.at(seconds).seconds, seconds - HALF_A_YEAR, seconds + HALF_A_YEAR];
        near.into_iter().map(|at| self.at(at)).find(|offset| offset.name == name).map(|offset| offset.seconds)
    }
}

fn find(name: &str) -> Option<TimeZone> {
    let escapes = name.starts_with('/') || name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if escapes || name.len() > ZONE_NAME_BYTES_MAX || name.contains(['\\', '\0']) {
        return None;
    }
    let own = std::env::var_os("ZONEINFO").map(PathBuf::from);
    let mut folders = own.into_iter().chain(FOLDERS.iter().map(PathBuf::from));
    folders.find_map(|folder| read(&folder.join(name), name))
}

fn read(path: &Path, name: &str) -> Option<TimeZone> {
    let metadata = path.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > ZONE_FILE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(ZONE_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif(name, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::civil::Civil;
    use super::*;

    fn wall(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        Civil { year, month, day, hour, minute, second: 0 }.to_seconds()
    }

    #[test]
    fn offsets_follow_the_rules() {
        let zone = Zone::load("America/New_York").unwrap();
        let winter = zone.at(wall(2024, 1, 15, 12, 0));
        assert_eq!((winter.seconds, winter.name.as_str(), winter.daylight_saving), (-18_000, "EST", false));
        let summer = zone.at(wall(2050, 7, 15, 12, 0));
        assert_eq!((summer.seconds, summer.name.as_str(), summer.daylight_saving), (-14_400, "EDT", true));
        assert_eq!(Zone::Utc.at(0).seconds, 0);
        zone.at(i64::MAX);
        zone.at(i64::MIN);
    }

    #[test]
    fn gaps_and_overlaps_are_decided_as_in_go() {
        let zone = Zone::load("America/New_York").unwrap();
        let utc = |from: i64| zone.utc_of_wall(from);
        assert_eq!(utc(wall(2024, 1, 15, 14, 0)), wall(2024, 1, 15, 19, 0));
        assert_eq!(utc(wall(2024, 7, 15, 14, 0)), wall(2024, 7, 15, 18, 0));
        // 02:30 was skipped, 01:30 came twice.
        assert_eq!(utc(wall(2024, 3, 10, 2, 30)), wall(2024, 3, 10, 6, 30));
        assert_eq!(utc(wall(2024, 11, 3, 1, 30)), wall(2024, 11, 3, 5, 30));
    }

    #[test]
    fn names_do_not_leave_the_database() {
        for name in [
            "",
            ".",
            "..",
            "../zoneinfo/UTC",
            "/etc/localtime",
            "Europe/../UTC",
            "a\0b",
            "Europe",
            "No/Where",
        ] {
            assert!(Zone::load(name).is_none(), "{name:?}");
        }
        assert!(Zone::load(&"a/".repeat(1000)).is_none());
    }
}
