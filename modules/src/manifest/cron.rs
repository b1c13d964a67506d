//! Times of a job as `cron` has them: minute, hour, day of the month, month, day of the week.
//!
//! Each field is `*` or a list of numbers and ranges, with `/step`: `*/15`, `1-5`, `0,30`. Months and days of the week
//! may be named by their first three letters; Sunday is 0 or 7. If both days are restricted, either is enough, as in
//! every cron (IEEE Std 1003.1, `crontab`).

use jiff::Span;
use jiff::civil::{Date, DateTime, Weekday};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The five fields: name, lowest and highest number, names of numbers from the lowest on.
const FIELDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &MONTHS),
    ("day of the week", 0, 7, &DAYS),
];

/// Days within which the next time comes, if there is one: a 29th of February is at most eight years away.
const MAX_DAYS: usize = 9 * 366;

/// A set of minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// For each field, bit n is number n.
    sets: [u64; 5],
    /// Whether the day of the month, and that of the week, is restricted.
    restricted: [bool; 2],
}

impl Cron {
    /// Reads five fields; says what is wrong in a clause.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let Ok(fields) = <[&str; 5]>::try_from(fields) else {
            return Err(
                "a cron expression has five fields: minute, hour, day of the month, month, day of the week"
                    .into(),
            );
        };
        let mut sets = [0; 5];
        for ((set, field), of) in sets.iter_mut().zip(fields).zip(FIELDS) {
            *set = read_field(field, of)?;
        }
        // 7 is Sunday too.
        sets[4] = (sets[4] | (sets[4] >> 7)) & 0x7F;
        let restricted = [fields[2], fields[4]].map(|field| !field.starts_with('*'));
        let cron = Self { text: fields.join(" "), sets, restricted };
        if cron.never() { Err(format!("{:?} names a day that no month has", cron.text)) } else { Ok(cron) }
    }

    /// Returns the expression, with single blanks.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the minute of this moment is one of them.
    pub fn holds_at(&self, at: DateTime) -> bool {
        self.is_day(at.date()) && self.has(0, at.minute()) && self.has(1, at.hour())
    }

    /// Returns the first of them after this moment.
    pub fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let days = after.date().series(Span::new().days(1)).take(MAX_DAYS).filter(|day| self.is_day(*day));
        days.flat_map(|day| {
            let hours = (0..24_i8).filter(|hour| self.has(1, *hour));
            hours.flat_map(move |hour| {
                (0..60_i8).filter(|minute| self.has(0, *minute)).map(move |minute| day.at(hour, minute, 0, 0))
            })
        })
        .find(|moment| *moment > after)
    }

    fn has(&self, field: usize, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|bit| self.sets[field] >> bit & 1 == 1)
    }

    fn is_day(&self, day: Date) -> bool {
        let of_month = self.has(2, day.day());
        let of_week = self.has(4, day.weekday().to_sunday_zero_offset());
        let fits = match self.restricted {
            [true, true] => of_month || of_week,
            _ => of_month && of_week,
        };
        fits && self.has(3, day.month())
    }

    /// Returns whether there is no such day: the 30th of February.
    fn never(&self) -> bool {
        let longest = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let either = self.restricted == [true, true];
        let some = (1..=12).zip(longest).any(|(month, days)| {
            self.sets[3] >> month & 1 == 1 && (1..=days).any(|day| self.sets[2] >> day & 1 == 1)
        });
        !some && !either
    }
}

fn read_field(field: &str, (name, lowest, highest, names): (&str, u32, u32, &[&str])) -> Result<u64, String> {
    let number = |text: &str| {
        let named = names.iter().position(|known| known.eq_ignore_ascii_case(text));
        let read = named.and_then(|n| u32::try_from(n).ok()).map(|n| n + lowest).or_else(|| {
            let digits =
                !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        });
        let shown: String = text.chars().take(20).collect();
        read.filter(|n| (lowest..=highest).contains(n))
            .ok_or_else(|| format!("{shown:?} is no {name}; these are {lowest} to {highest}"))
    };
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (lowest, highest),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            // `5/15` is every fifteenth from 5 on.
            (single, None) => (number(single)?, if step.is_some() { highest } else { number(single)? }),
        };
        if first > last {
            return Err(format!("{range:?} goes backwards"));
        }
        let step = step.map_or(Ok(1), |step| {
            let right = step.parse::<usize>().ok().filter(|step| (1..=60).contains(step));
            right.ok_or_else(|| format!("{name}: a step is a number from 1 to 60"))
        })?;
        set |= (first..=last).step_by(step).fold(0, |set: u64, n| set | 1 << n);
    }
    Ok(set)
}

/// Returns the number of a day of the week: 0 to 6 from Sunday, or 1 to 7 from Monday.
pub fn weekday_number(day: Weekday, iso: bool) -> i8 {
    if iso { day.to_monday_one_offset() } else { day.to_sunday_zero_offset() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::datetime;

    #[test]
    fn minutes_are_found() {
        // 2026-11-21 is a Saturday.
        let at = datetime(2026, 11, 21, 4, 30, 0, 0);
        for (text, holds) in [
            ("* * * * *", true),
            ("30 4 * * *", true),
            ("*/15 4 * * *", true),
            ("0-29 4 * * *", false),
            ("30 4 21 nov sat", true),
            ("30 4 1 * 6", true),
            ("30 4 1 * 5", false),
            ("30 4 1 * *", false),
            ("30 4 * * 0,7", false),
            ("0/10 0/4 * 11 MON-SAT", true),
        ] {
            assert_eq!(Cron::parse(text).unwrap().holds_at(at), holds, "{text}");
        }
        assert!(Cron::parse("0 0 * * 7").unwrap().holds_at(datetime(2026, 11, 22, 0, 0, 0, 0)), "Sunday");
    }

    #[test]
    fn the_next_time_is_the_first_one_that_holds() {
        let at = datetime(2026, 11, 21, 4, 30, 7, 0);
        for (text, next) in [
            ("* * * * *", datetime(2026, 11, 21, 4, 31, 0, 0)),
            ("30 4 * * *", datetime(2026, 11, 22, 4, 30, 0, 0)),
            ("0 0 1 * *", datetime(2026, 12, 1, 0, 0, 0, 0)),
            ("59 23 * * sat", datetime(2026, 11, 21, 23, 59, 0, 0)),
            ("0 2 29 feb *", datetime(2028, 2, 29, 2, 0, 0, 0)),
        ] {
            let cron = Cron::parse(text).unwrap();
            assert_eq!(cron.next_after(at), Some(next), "{text}");
            assert!(cron.holds_at(next));
        }
        let leap = Cron::parse("0 2 29 2 *").unwrap();
        assert_eq!(
            leap.next_after(datetime(2096, 3, 1, 0, 0, 0, 0)),
            Some(datetime(2104, 2, 29, 2, 0, 0, 0))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/x * * * *",
            "a * * * *",
            "+1 * * * *",
            "1, * * * *",
            "- * * * *",
            "0 0 30 2 *",
            "@daily",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }
}
