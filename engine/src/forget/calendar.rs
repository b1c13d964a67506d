//! Hours, days, weeks, months and years, counted from 1970 in the local time of who made a snapshot: the same
//! wherever and whenever rules are applied.

use super::rules::Period;

/// Returns the number of the period in which a moment lies. `secs` since 1970 UTC, any value.
pub(super) fn bucket(period: Period, secs: i64, offset_minutes: i16) -> i64 {
    let local = secs.saturating_add(i64::from(offset_minutes) * 60);
    let day = local.div_euclid(86_400);
    match period {
        Period::Last => local,
        Period::Hourly => local.div_euclid(3600),
        Period::Daily => day,
        // 1970-01-01 was a Thursday; weeks begin on Monday, as in ISO 8601.
        Period::Weekly => (day + 3).div_euclid(7),
        Period::Monthly => {
            let (year, month) = civil(day);
            year * 12 + month - 1
        }
        Period::Yearly => civil(day).0,
    }
}

/// Returns year and month (from 1) of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn civil(day: i64) -> (i64, i64) {
    // Within about ±10^14, since seconds are an i64: nothing here overflows.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days of a month, the long way.
    fn days_of(year: i64, month: i64) -> i64 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    #[test]
    fn days_have_the_year_and_month_of_the_calendar() {
        let (mut year, mut month, mut left) = (1970, 1, 31);
        for day in 0..200_000 {
            assert_eq!(civil(day), (year, month), "day {day}");
            left -= 1;
            if left == 0 {
                (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                left = days_of(year, month);
            }
        }
        assert_eq!(civil(-1), (1969, 12));
        assert_eq!(civil(-25_567 - 1), (1899, 12));
    }

    #[test]
    fn periods_begin_where_people_expect_it() {
        // 2026-11-21 was a Saturday; the week began on Monday the 16th.
        let (monday, saturday) = (1_794_787_200, 1_795_219_200);
        let week = |secs| bucket(Period::Weekly, secs, 0);
        assert_eq!(week(monday), week(saturday));
        assert_eq!(week(monday - 1) + 1, week(monday));
        assert_eq!(week(saturday + 2 * 86_400 - 1), week(monday));
        // An hour before midnight UTC it is the next day in Berlin.
        assert_eq!(bucket(Period::Daily, saturday - 1800, 60), bucket(Period::Daily, saturday, 0));
    }

    #[test]
    fn moments_that_nobody_lives_to_see_do_no_harm() {
        for secs in [i64::MIN, i64::MAX] {
            for period in Period::ALL {
                bucket(period, secs, i16::MAX);
                bucket(period, secs, i16::MIN);
            }
        }
    }
}
