//! `[retain]` of a job: how long its snapshots are kept.

use super::form::{Count, Flag, Parsed};
use super::reader::Table;
use crate::units::Period;

/// How long snapshots of a job are kept: one is kept if any rule keeps it. A rule of 0 keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// The newest.
    pub last: u32,
    /// The newest of each of so many days.
    pub daily: u32,
    /// Of weeks.
    pub weekly: u32,
    /// Of months.
    pub monthly: u32,
    /// All younger than this.
    pub within: Option<Period>,
    /// None older than this, whatever else keeps it, but never the last one.
    pub max_age: Option<Period>,
    /// None is ever removed.
    pub immortal: bool,
}

const PERIOD: Parsed<Period> = Parsed {
    what: "a time with its unit, such as 30d or 6mo",
    pattern: "^\\s*[0-9]+\\s*(s|m|h|d|w|mo|y)\\s*$",
    read: Period::parse,
    show: ToString::to_string,
};

/// Reads `[retain]`.
pub fn read_retain(t: &mut Table<'_, '_>) -> Retain {
    let mut count = |key, usual, doc| u32::try_from(t.or(key, Count(0, 100_000), usual, doc)).unwrap_or(0);
    let (last, daily, weekly, monthly) = (
        count("last", 0, "Keep the newest."),
        count("daily", 5, "Keep the newest of each of so many days."),
        count("weekly", 3, "Keep the newest of each of so many weeks."),
        count("monthly", 3, "Keep the newest of each of so many months."),
    );
    let retain = Retain {
        last,
        daily,
        weekly,
        monthly,
        within: t.optional("within", PERIOD, "Keep all that are younger than this."),
        max_age: t.optional("max_age", PERIOD, "Keep none that is older than this, but always the last one."),
        immortal: t.or("immortal", Flag, false, "Never remove any."),
    };
    let keeps = retain.last + retain.daily + retain.weekly + retain.monthly > 0
        || retain.within.is_some()
        || retain.max_age.is_some();
    if !keeps && !retain.immortal {
        t.wrong("", "these rules keep nothing", "keep at least one: last = 1");
    }
    retain
}
