//! What may be removed after a run of a job: pure functions of the job, the run and its time.
//!
//! Never anything after a run that is not whole; never the snapshot that the run has made; never a snapshot of an immortal
//! job. Snapshots are removed by whoever carries the [`Retention`] out, which sees all of them.

use super::names::{job_tag, slot_tag};
use crate::manifest::job::Job;
use crate::manifest::schedule::NameType;
use crate::planted::{Bug, planted};
use crate::units::Period;
use dedup_engine::id::ObjectId;
use dedup_engine::snapshot::State;
use jiff::civil::DateTime;

/// What is to be kept of the snapshots of a job: each that any rule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// So many of the newest; at least 1.
    pub last: u32,
    /// The newest of each of so many days.
    pub daily: u32,
    /// Of weeks.
    pub weekly: u32,
    /// Of months.
    pub monthly: u32,
    /// All younger than this.
    pub within: Option<Period>,
    /// None older than this but those of `last`.
    pub max_age: Option<Period>,
}

/// What retention is asked to do after one run. Of partial and suspect snapshots none counts as kept by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The snapshot that the run made: it stays, whatever the rules say.
    pub made: ObjectId,
    /// The machine whose snapshots these are.
    pub host: String,
    /// The label of the job's snapshots; others are nobody's business here.
    pub tag: String,
    /// Which of these stay; without rules, all but those of `slot`.
    pub rules: Option<Rules>,
    /// The label of the slot that the run has taken over: older snapshots that have it go.
    pub slot: Option<String>,
}

/// How a run ended, as far as retention is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// The snapshot it made, and its worst state; `None` if it published nothing.
    pub made: Option<(ObjectId, State)>,
    /// Whether everything that was asked for is done: uploads to required storages too.
    pub whole: bool,
    /// Whether what it wrote could not be read again.
    pub suspect: bool,
}

/// Why nothing is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spared {
    /// The job has no rules, or is immortal.
    #[error("the job keeps everything")]
    NoRules,
    /// The run published nothing.
    #[error("the run made no snapshot")]
    NothingMade,
    /// Its snapshot lacks something, or something that belongs to the run was not done.
    #[error("the run is partial")]
    Partial,
    /// Its snapshot is not to be relied on.
    #[error("what the run wrote could not be read again")]
    Suspect,
}

/// Says whether anything may be removed after a run, and what. Entries that could not be read (warned) do not keep it back:
/// one unreadable file must not stop retention for ever.
pub fn retention(job: &Job, host: &str, begun: DateTime, end: &RunEnd) -> Result<Retention, Spared> {
    let rules = rules(job);
    let rolls = job.schedule.as_ref().is_some_and(|schedule| schedule.names == NameType::Rolling);
    // With `both` the older snapshot of the slot keeps its other name, so rules decide on it.
    let slot = slot_tag(job, begun).filter(|_| rolls);
    let immortal = job.retain.is_some_and(|retain| retain.immortal);
    if immortal || (rules.is_none() && slot.is_none()) {
        return Err(Spared::NoRules);
    }
    let (made, state) = end.made.ok_or(Spared::NothingMade)?;
    if end.suspect {
        return Err(Spared::Suspect);
    }
    if planted(Bug::RetainAfterPartial) {
        return Ok(Retention { made, host: host.to_owned(), tag: job_tag(job), rules, slot });
    }
    if !end.whole || !matches!(state, State::Complete | State::Warned) {
        return Err(Spared::Partial);
    }
    Ok(Retention { made, host: host.to_owned(), tag: job_tag(job), rules, slot })
}

/// Returns the rules of `[retain]`; `None` without that table, and for an immortal job.
pub fn rules(job: &Job) -> Option<Rules> {
    let retain = job.retain.filter(|retain| !retain.immortal)?;
    Some(Rules {
        // Never to zero.
        last: retain.last.max(1),
        daily: retain.daily,
        weekly: retain.weekly,
        monthly: retain.monthly,
        within: retain.within,
        max_age: retain.max_age,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::test_job;
    use super::*;
    use jiff::civil::datetime;

    const SATURDAY: DateTime = datetime(2026, 11, 21, 4, 30, 7, 0);

    fn made() -> ObjectId {
        ObjectId::from_bytes([7; 32])
    }

    fn asked(more: &str, end: &RunEnd) -> Result<Retention, Spared> {
        retention(&test_job(more), "host", SATURDAY, end)
    }

    fn good() -> RunEnd {
        RunEnd { made: Some((made(), State::Complete)), whole: true, suspect: false }
    }

    #[test]
    fn rules_are_those_of_the_table_and_never_keep_nothing() {
        let rules = |more: &str| asked(&format!("[retain]\n{more}"), &good()).unwrap().rules.unwrap();
        let usual = Rules { last: 1, daily: 5, weekly: 3, monthly: 3, within: None, max_age: None };
        assert_eq!(rules(""), usual);
        let nothing = "daily = 0\nweekly = 0\nmonthly = 0\nmax_age = \"1d\"\n";
        let kept = rules(nothing);
        assert_eq!((kept.last, kept.daily, kept.weekly, kept.monthly), (1, 0, 0, 0));
        assert_eq!(kept.max_age.unwrap().to_string(), "1d");
        let more = rules("last = 9\nwithin = \"6mo\"\n");
        assert_eq!((more.last, more.within.unwrap().to_string()), (9, "6mo".into()));
        let all = asked("[retain]\n", &good()).unwrap();
        assert_eq!((&*all.tag, &*all.host, all.made, all.slot), ("job:night", "host", made(), None));
    }

    #[test]
    fn nothing_is_removed_after_a_run_that_is_not_whole() {
        let retain = "[retain]\n";
        assert!(asked(retain, &good()).is_ok());
        let of = |state| RunEnd { made: Some((made(), state)), ..good() };
        assert!(asked(retain, &of(State::Warned)).is_ok(), "one unreadable file does not stop retention");
        for state in [State::Partial, State::Failed, State::Skipped] {
            assert_eq!(asked(retain, &of(state)), Err(Spared::Partial), "{state:?}");
        }
        assert_eq!(asked(retain, &RunEnd { whole: false, ..good() }), Err(Spared::Partial));
        assert_eq!(asked(retain, &RunEnd { suspect: true, ..good() }), Err(Spared::Suspect));
        assert_eq!(asked(retain, &RunEnd { made: None, ..good() }), Err(Spared::NothingMade));
    }

    #[test]
    fn what_is_immortal_stays_and_so_does_what_no_rule_names() {
        assert_eq!(asked("", &good()), Err(Spared::NoRules));
        assert_eq!(asked("[schedule]\n", &good()), Err(Spared::NoRules));
        for schedule in ["", "[schedule]\ntype = \"rolling\"\n"] {
            let immortal = format!("{schedule}[retain]\nimmortal = true\nlast = 1\n");
            assert_eq!(asked(&immortal, &good()), Err(Spared::NoRules));
        }
    }

    #[test]
    fn a_slot_is_taken_over_only_where_it_is_the_only_name() {
        let rolling = asked("[schedule]\ntype = \"rolling\"\n", &good()).unwrap();
        assert_eq!((rolling.rules, rolling.slot.as_deref()), (None, Some("rolling:night-weekday-6")));
        let with_rules = asked("[schedule]\ntype = \"rolling\"\n[retain]\n", &good()).unwrap();
        assert!(with_rules.rules.is_some() && with_rules.slot.is_some());
        assert_eq!(asked("[schedule]\ntype = \"both\"\n", &good()), Err(Spared::NoRules));
        let both = asked("[schedule]\ntype = \"both\"\n[retain]\n", &good()).unwrap();
        assert!(both.rules.is_some() && both.slot.is_none(), "it keeps its name of that date");
    }
}
