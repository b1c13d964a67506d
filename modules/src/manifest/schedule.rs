//! `[schedule]` of a job: when it runs, and the names of what a run makes. Pure: the date is given.

use super::cron::{Cron, weekday_number};
use super::form::{Count, Either, Flag, Mapped, Parsed, Word};
use super::reader::Table;
use super::sources::LIMIT;
use super::words::words;
use crate::id::ModuleId;
use crate::planted::{Bug, planted};
use crate::units::{Period, PeriodUnit};
use jiff::Span;
use jiff::civil::DateTime;
use std::time::Duration;
use toml::de::DeValue;

words! {
    /// How what a run makes is named.
    pub enum NameType {
        /// By date and time; kept by retention.
        Dated = "dated",
        /// By slot; the next run of the same slot takes the name over, after it is complete.
        Rolling = "rolling",
        /// One snapshot, both names.
        Both = "both",
    }
}

/// Which slots there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollingSlots {
    /// One for each day of the week.
    Weekday,
    /// One for each day of the month.
    Monthday,
    /// So many, taken in turn, one period each.
    Number(u32),
}

words! {
    /// The words of `rolling_slots`.
    pub enum SlotWord {
        /// Days of the week.
        Weekday = "weekday",
        /// Days of the month.
        Monthday = "monthday",
    }
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Every day at this hour, local time.
    AtHour(u8),
    /// Again and again.
    Every(Period),
    /// At these minutes, local time.
    Cron(Cron),
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How what a run makes is named.
    pub names: NameType,
    /// The slots of rolling names.
    pub slots: RollingSlots,
    /// Days of the week are 1 to 7 from Monday; else 0 to 6 from Sunday.
    pub iso: bool,
    /// When it runs.
    pub when: When,
    /// Not again within this time after a run that succeeded.
    pub not_within: Option<Duration>,
    /// Late by more than this, it runs at once.
    pub overdue_after: Option<Duration>,
    /// After a failure it runs again in this time.
    pub retry: Option<Duration>,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Default for Schedule {
    fn default() -> Self {
        Self {
            names: NameType::Dated,
            slots: RollingSlots::Weekday,
            iso: false,
            when: When::AtHour(2),
            not_within: Some(HOUR * 2),
            overdue_after: Some(HOUR),
            retry: Some(HOUR),
        }
    }
}

/// The names of what one run makes: references to one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunNames {
    /// `JOB-2026-11-21-043000`.
    pub dated: Option<String>,
    /// `JOB-weekday-6`, `JOB-monthday-21`, `JOB-slot-3`.
    pub rolling: Option<String>,
}

impl Schedule {
    /// Returns the names of a run of `job` that began at this local time.
    pub fn names_at(&self, job: &ModuleId, begun: DateTime) -> RunNames {
        let dated = || format!("{job}-{}", begun.strftime("%Y-%m-%d-%H%M%S"));
        let rolling = || format!("{job}-{}", self.slot_at(begun));
        RunNames {
            dated: (self.names != NameType::Rolling).then(dated),
            rolling: (self.names != NameType::Dated).then(rolling),
        }
    }

    /// Returns when the job runs next, local time: after now, or at once if it was never run and runs again and again.
    /// `last` is when it last began. Whether a run is overdue or follows another too soon is not looked at.
    pub fn next_after(&self, now: DateTime, last: Option<DateTime>) -> Option<DateTime> {
        match &self.when {
            When::AtHour(hour) => {
                let hour = i8::try_from(*hour).unwrap_or(2);
                let today = now.date().at(hour, 0, 0, 0);
                if today > now { Some(today) } else { today.checked_add(Span::new().days(1)).ok() }
            }
            When::Cron(cron) => cron.next_after(now),
            When::Every(every) => {
                let Some(last) = last else { return Some(now) };
                last.checked_add(span_of(*every)).ok().map(|next| next.max(now))
            }
        }
    }

    /// Returns the slot of a run that began at this local time: `weekday-6`, `monthday-21`, `slot-3`.
    ///
    /// Numbered slots are taken in turn, one for each period of the schedule (`every`; else a day) since 1970: weekly runs
    /// with `rolling_slots = 4` use four slots, not one. A run that is missed leaves its slot as it is.
    pub fn slot_at(&self, begun: DateTime) -> String {
        match self.slots {
            RollingSlots::Weekday => format!(
                "weekday-{}",
                weekday_number(begun.date().weekday(), self.iso || planted(Bug::SundayIsSeven))
            ),
            RollingSlots::Monthday => format!("monthday-{:02}", begun.day()),
            RollingSlots::Number(slots) => {
                let every = match &self.when {
                    When::Every(every) => *every,
                    _ => Period { count: 1, unit: PeriodUnit::Day },
                };
                format!("slot-{}", period_number(begun, every).rem_euclid(i64::from(slots.max(1))))
            }
        }
    }
}

fn span_of(period: Period) -> Span {
    let (span, count) = (Span::new(), i64::from(period.count));
    // More than a calendar holds is told when it is added.
    let made = match period.unit {
        PeriodUnit::Second => span.try_seconds(count),
        PeriodUnit::Minute => span.try_minutes(count),
        PeriodUnit::Hour => span.try_hours(count),
        PeriodUnit::Day => span.try_days(count),
        PeriodUnit::Week => span.try_weeks(count),
        PeriodUnit::Month => span.try_months(count),
        PeriodUnit::Year => span.try_years(count),
    };
    made.unwrap_or_else(|_| Span::new().years(19_998))
}

/// Returns how many whole periods have gone by since 1970, local time; weeks begin on Monday.
fn period_number(at: DateTime, every: Period) -> i64 {
    let epoch = jiff::civil::date(1970, 1, 1);
    // Between two dates of this calendar there are a few million days.
    let days = epoch.until(at.date()).map_or(0, |span| i64::from(span.get_days()));
    let minutes = days * 1440 + i64::from(at.hour()) * 60 + i64::from(at.minute());
    let units = match every.unit {
        PeriodUnit::Second => minutes * 60 + i64::from(at.second()),
        PeriodUnit::Minute => minutes,
        PeriodUnit::Hour => minutes.div_euclid(60),
        PeriodUnit::Day => days,
        // 1970 began on a Thursday.
        PeriodUnit::Week => (days + 3).div_euclid(7),
        PeriodUnit::Month => i64::from(at.year()) * 12 + i64::from(at.month()) - 1,
        PeriodUnit::Year => i64::from(at.year()),
    };
    units.div_euclid(i64::from(every.count.max(1)))
}

const EVERY: Parsed<Period> = Parsed {
    what: "a time with its unit, such as 6h, 1d or 1w",
    pattern: "^[0-9]+\\s*(m|h|d|w|mo|y)$",
    read: |text| match Period::parse(text)? {
        Period { count: 0, .. } => Err("a job cannot run every moment".into()),
        Period { unit: PeriodUnit::Second, .. } => Err("a job runs every minute at most".into()),
        every => Ok(every),
    },
    show: ToString::to_string,
};

const CRON: Parsed<Cron> = Parsed {
    what: "five fields of cron, such as \"30 4 * * 1-5\"",
    pattern: "^\\s*(\\S+\\s+){4}\\S+\\s*$",
    read: Cron::parse,
    show: |cron| cron.as_str().to_owned(),
};

type SlotWords = Mapped<Word<SlotWord>, SlotWord, RollingSlots>;

const SLOTS: Either<Mapped<Count, i64, RollingSlots>, SlotWords> = Either {
    one: Mapped {
        form: Count(1, 1000),
        map: |number| RollingSlots::Number(u32::try_from(number).unwrap_or(1)),
    },
    other: Mapped {
        form: Word::new(),
        map: |word| if word == SlotWord::Weekday { RollingSlots::Weekday } else { RollingSlots::Monthday },
    },
    is_one: |value| matches!(value, DeValue::Integer(_)),
};

/// Reads `[schedule]`.
pub fn read_schedule(t: &mut Table<'_, '_>) -> Schedule {
    let usual = Schedule::default();
    t.not_both("cron", "every");
    t.not_both("cron", "at_hour");
    t.not_both("every", "at_hour");
    let cron = t.optional("cron", CRON, "When, as cron has it, local time.");
    let every = t.optional("every", EVERY, "Again and again after this time.");
    let hour = t.or("at_hour", Count(0, 23), 2, "Every day at this hour, local time.");
    let when = match (cron, every) {
        (Some(cron), _) => When::Cron(cron),
        (_, Some(every)) => When::Every(every),
        _ => When::AtHour(u8::try_from(hour).unwrap_or(2)),
    };
    let names = t.or("type", Word::new(), usual.names, "How what a run makes is named: dated (by date and time), rolling (a slot that the next run of the same slot takes over), both.");
    if names == NameType::Dated {
        for key in ["rolling_slots", "iso"] {
            if t.has(key) {
                t.wrong(
                    key,
                    format!("`{key}` means nothing with dated names"),
                    "add type = \"rolling\" or \"both\"",
                );
            }
        }
    }
    Schedule {
        names,
        slots: t
            .optional("rolling_slots", SLOTS, "The slots: \"weekday\" (default), \"monthday\", or a number.")
            .unwrap_or(usual.slots),
        iso: t.or("iso", Flag, false, "Days of the week are 1 to 7 from Monday; else 0 to 6 from Sunday."),
        when,
        not_within: t.or(
            "not_within",
            LIMIT,
            usual.not_within,
            "Not again within this time after a success.",
        ),
        overdue_after: t.or(
            "overdue_after",
            LIMIT,
            usual.overdue_after,
            "Late by more than this, it runs at once.",
        ),
        retry: t.or(
            "retry",
            LIMIT,
            usual.retry,
            "After a failure it runs again in this time; 0: not before its next time.",
        ),
    }
}
