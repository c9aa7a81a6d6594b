//! Dates of the proleptic Gregorian calendar, and the days since 1970 that they are.

pub(in super::super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(in super::super) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

pub(in super::super) const SECONDS_PER_DAY: i64 = 86_400;

/// A date and a time of day, as a clock on the wall shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Civil {
    pub(in super::super) year: i64,
    /// 1 to 12.
    pub(in super::super) month: i64,
    /// 1 to 31.
    pub(in super::super) day: i64,
    pub(in super::super) hour: i64,
    pub(in super::super) minute: i64,
    pub(in super::super) second: i64,
}

impl Civil {
    /// What clocks of UTC show `seconds` after 1970 began.
    pub(in super::super) fn from_seconds(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        // Years begin in March here, so that leap days end them; an era has 400 of them.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// Seconds from the start of 1970 in UTC. Months, days and times beyond their ranges count on into the
    /// next or previous ones.
    pub(in super::super) fn to_seconds(self) -> i64 {
        let days = days_of_month(self.year, self.month) + self.day - 1;
        days * SECONDS_PER_DAY + self.hour * 3_600 + self.minute * 60 + self.second
    }

    fn days(self) -> i64 {
        days_of_month(self.year, self.month) + self.day - 1
    }

    /// 0 is Sunday.
    pub(in super::super) fn weekday(self) -> usize {
        // 1970 began on a Thursday; the remainder is below 7.
        (self.days() + 4).rem_euclid(7) as usize
    }

    /// 1 to 366.
    pub(in super::super) fn year_day(self) -> i64 {
        self.days() - days_of_month(self.year, 1) + 1
    }

    /// The week of ISO 8601: the one that has most of its days in the year.
    pub(in super::super) fn iso_week(self) -> i64 {
        let days = self.days();
        let thursday = days - (days + 3).rem_euclid(7) + 3;
        let year = Self::from_seconds(thursday * SECONDS_PER_DAY).year;
        (thursday - days_of_month(year, 1)) / 7 + 1
    }
}

/// Days from the start of 1970 to that of a month; months beyond 1 to 12 count on.
fn days_of_month(year: i64, month: i64) -> i64 {
    let months = year * 12 + month - 1;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let (year, shifted_month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted_month + 2) / 5;
    era * 146_097 + day_of_era - 719_468
}

/// Days that a month has.
pub(super) fn days_in(year: i64, month: i64) -> i64 {
    days_of_month(year, month + 1) - days_of_month(year, month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_is_itself() {
        for days in -146_097..146_097 {
            let civil = Civil::from_seconds(days * SECONDS_PER_DAY + 3_661);
            assert_eq!(civil.to_seconds(), days * SECONDS_PER_DAY + 3_661);
            assert!((1..=days_in(civil.year, civil.month)).contains(&civil.day));
            assert!((1..=366).contains(&civil.year_day()));
        }
    }

    #[test]
    fn known_dates() {
        let civil = |year, month, day| Civil { year, month, day, hour: 0, minute: 0, second: 0 };
        assert_eq!(civil(1970, 1, 1).to_seconds(), 0);
        assert_eq!(civil(1, 1, 1).to_seconds(), -62_135_596_800);
        assert_eq!(civil(2024, 13, 32), Civil { month: 13, day: 32, ..civil(2024, 1, 1) });
        assert_eq!(civil(2024, 13, 32).to_seconds(), civil(2025, 2, 1).to_seconds());
        assert_eq!(civil(2024, 2, 0).to_seconds(), civil(2024, 1, 31).to_seconds());
        assert_eq!(civil(2024, 6, 15).weekday(), 6);
        assert_eq!(civil(2024, 6, 15).year_day(), 167);
        for (date, week) in [
            (civil(2024, 6, 15), 24),
            (civil(2021, 1, 3), 53),
            (civil(2020, 12, 31), 53),
            (civil(2024, 12, 30), 1),
            (civil(2024, 1, 1), 1),
        ] {
            assert_eq!(date.iso_week(), week, "{date:?}");
        }
    }
}
