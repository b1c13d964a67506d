//! What became of each declared item, gathered while a walk goes on: one small record for each.

use super::lock;
use dedup_engine::backup::source::{EntryKind, Stat};
use dedup_engine::snapshot::Outcome;
use std::sync::Mutex;

/// What became of a declared item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemReport {
    /// Its number among all declared items of the layout.
    pub declared: usize,
    /// `Stored`, `Empty`, `Absent`, `Unreadable`, `Excluded`, or `Failed` for what is not what it was declared as.
    pub outcome: Outcome,
    /// Why, for people; empty if there is nothing to say.
    pub message: String,
    /// Entries that were handed out for it, itself included.
    pub entries: u64,
    /// Entries below it that could not be read.
    pub problems: u64,
    /// Entries below it that were left out by rules.
    pub excluded: u64,
}

/// What is known of one item so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Places of it that are there.
    found: u64,
    /// Of those, places that hold something themselves.
    filled: u64,
    entries: u64,
    problems: u64,
    excluded: u64,
    absent: u64,
    /// The worst thing that was said of one of its places.
    fault: Option<(Outcome, String)>,
    /// Why it may have no place.
    note: String,
    /// Something of it was left out before the walk.
    beforehand: bool,
}

/// The tallies of all items of one section.
#[derive(Debug, Default)]
pub(super) struct Tallies(Mutex<Vec<(usize, Tally)>>);

impl Tallies {
    /// Begins to count for these declared items, sorted; what is said of them beforehand is kept.
    pub(super) fn new(items: Vec<(usize, Tally)>) -> Self {
        Self(Mutex::new(items))
    }

    /// Forgets the walk before.
    pub(super) fn restart(&self) {
        for (_, tally) in lock(&self.0).iter_mut() {
            *tally = Tally::noted(std::mem::take(&mut tally.note), tally.beforehand);
        }
    }

    fn each(&self, items: &[usize], count: impl Fn(&mut Tally)) {
        if items.is_empty() {
            return;
        }
        let mut all = lock(&self.0);
        for item in items {
            if let Ok(at) = all.binary_search_by_key(item, |(declared, _)| *declared) {
                count(&mut all[at].1);
            }
        }
    }

    /// A place of the items is there.
    pub(super) fn found(&self, items: &[usize], stat: &Stat) {
        self.each(items, |tally| {
            tally.found += 1;
            tally.entries += 1;
            let empty = match stat.kind {
                EntryKind::File => stat.size == 0,
                EntryKind::Directory => true,
                _ => false,
            };
            tally.filled += u64::from(!empty);
        });
    }

    /// Only the place itself was asked for, and that is there.
    pub(super) fn complete(&self, items: &[usize]) {
        self.each(items, |tally| tally.filled += 1);
    }

    /// Something below is there.
    pub(super) fn below(&self, items: &[usize]) {
        self.each(items, |tally| {
            tally.entries += 1;
            tally.filled += 1;
        });
    }

    /// Something below was left out.
    pub(super) fn excluded(&self, items: &[usize], count: u64) {
        self.each(items, |tally| tally.excluded += count);
    }

    /// Something below could not be read.
    pub(super) fn problem(&self, items: &[usize]) {
        self.each(items, |tally| tally.problems += 1);
    }

    /// A place itself is not as it should be.
    pub(super) fn fault(&self, items: &[usize], outcome: Outcome, message: &str) {
        self.each(items, |tally| {
            if outcome == Outcome::Absent {
                tally.absent += 1;
            }
            let worse = match &tally.fault {
                None => true,
                Some((before, _)) => *before == Outcome::Absent && outcome != Outcome::Absent,
            };
            if worse {
                tally.fault = Some((outcome, message.to_owned()));
            }
        });
    }

    /// Returns what became of each.
    pub(super) fn reports(&self) -> Vec<ItemReport> {
        lock(&self.0).iter().map(|(declared, tally)| tally.report(*declared)).collect()
    }
}

impl Tally {
    /// Begins with what is known before the walk: why there may be nothing, and whether rules are the reason.
    pub(super) fn noted(note: String, excluded: bool) -> Self {
        Self { note, beforehand: excluded, ..Self::default() }
    }

    fn report(&self, declared: usize) -> ItemReport {
        let (outcome, message) = self.outcome();
        let Self { entries, problems, excluded, .. } = *self;
        ItemReport { declared, outcome, message, entries, problems, excluded }
    }

    fn outcome(&self) -> (Outcome, String) {
        if let Some((outcome, message)) = &self.fault {
            // Of a pattern some matches may be gone again; the others are stored.
            let vanished = *outcome == Outcome::Absent && self.found > 0;
            if !vanished {
                return (*outcome, message.clone());
            }
        }
        let lost = |outcome| (outcome, format!("{} entries below it could not be read", self.problems));
        match self {
            Self { found: 0, excluded: 0, beforehand: false, .. } => (Outcome::Absent, self.note.clone()),
            Self { found: 0, .. } => (Outcome::Excluded, self.note.clone()),
            Self { filled: 0, problems: 1.., .. } => lost(Outcome::Unreadable),
            Self { filled: 0, excluded: 1.., .. } => {
                (Outcome::Excluded, "rules leave out everything in it".to_owned())
            }
            Self { filled: 0, .. } => (Outcome::Empty, self.note.clone()),
            Self { problems: 1.., .. } => lost(Outcome::Stored),
            _ => (Outcome::Stored, self.note.clone()),
        }
    }
}
