//! What is kept: a pure function of snapshots, rules and the moment.
//!
//! Rules work within groups, and a group is of one module unless nobody wants it so: a snapshot of several modules
//! is in several groups, and stays as long as one of them keeps it. So a module that always fails neither keeps
//! everything nor loses its last good state. What is not good counts for no rule; it stays only while it is the
//! newest of its group. The last good one of a group stays whatever the rules say.

use super::ForgetError;
use super::calendar::bucket;
use super::order::{Candidate, Oddity, order};
use crate::id::ObjectId;
use crate::listing::Time;
use crate::repo::order::Placed;
use crate::snapshot::State;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Tags that begin so name a slot: of the snapshots of one slot the newest good one is kept, by whatever rules.
pub const SLOT_TAG: &str = "rolling:";
/// More of one group within an hour are odd.
const BURST: u64 = 16;
/// A forget of fewer is never odd.
const FEW: u64 = 20;

/// A stretch of time of which one snapshot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// Every snapshot is one of its own.
    Last,
    /// An hour.
    Hourly,
    /// A day.
    Daily,
    /// A week from Monday on.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

impl Period {
    /// All, the shortest first.
    pub const ALL: [Self; 6] =
        [Self::Last, Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];
}

/// What makes snapshots one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBy {
    /// The machine.
    pub host: bool,
    /// The module; of plain files, the paths that were asked for.
    pub modules: bool,
    /// The tags.
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { host: true, modules: true, tags: false }
    }
}

/// What to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest of so many periods that have one, in the order of [`Period::ALL`]; `u32::MAX` is all.
    pub counts: [u32; 6],
    /// Of all periods that lie so many seconds or less before the newest good one, in the same order.
    pub within: [Option<u64>; 6],
    /// Everything with one of these tags.
    pub tags: Vec<String>,
    /// What makes a group.
    pub group_by: GroupBy,
    /// Also the last good one of a group may go.
    pub allow_empty: bool,
}

impl Rules {
    /// Returns whether they keep nothing in particular.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 6] && self.within == [None; 6] && self.tags.is_empty()
    }
}

/// Snapshots that rules look at together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The machine, if groups are by machine.
    pub host: Option<String>,
    /// The module, if groups are by module.
    pub module: Option<String>,
    /// Its paths, if it is that of plain files.
    pub sources: Vec<Vec<u8>>,
    /// The tags, if groups are by tags.
    pub tags: Option<Vec<String>>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.sources.iter().map(|source| String::from_utf8_lossy(source).into_owned());
        let sources = sources.collect::<Vec<_>>().join(" ");
        let what = if sources.is_empty() { self.module.as_deref().unwrap_or("everything") } else { &sources };
        write!(f, "{what}")?;
        if let Some(host) = &self.host {
            write!(f, " of {host}")?;
        }
        match &self.tags {
            Some(tags) if tags.is_empty() => write!(f, " without tags"),
            Some(tags) => write!(f, " with tags {}", tags.join(",")),
            None => Ok(()),
        }
    }
}

/// Why a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is one of so many of a period.
    Count(Period),
    /// It is one of a period that is young enough.
    Within(Period),
    /// It has this tag.
    Tag(String),
    /// It is the newest of this slot.
    Slot(String),
    /// It is pinned.
    Pinned,
    /// It is the last good one of this group.
    LastGood(Group),
    /// It is the newest of this group, though not good: it may be all there is of something.
    NewestNotGood(Group),
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its name.
    pub id: ObjectId,
    /// Its place in the list that was given.
    pub at: usize,
    /// Why it is kept; it is forgotten if there is no reason.
    pub reasons: BTreeSet<Reason>,
    /// Whether it is good in one of its groups.
    pub is_good: bool,
    /// Its time in seconds since 1970 as far as it is believed: not ahead of now, and not against the order of the log.
    pub secs: i64,
}

/// What rules decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each snapshot, newest first.
    pub decisions: Vec<Decision>,
    /// What a person should know before.
    pub oddities: Vec<Oddity>,
}

impl Plan {
    /// Returns what is forgotten.
    pub fn forgotten(&self) -> BTreeSet<ObjectId> {
        self.decisions.iter().filter(|one| one.reasons.is_empty()).map(|one| one.id).collect()
    }
}

/// One snapshot as a member of a group.
#[derive(Clone, Copy)]
struct Member {
    /// Its place in the list that was given.
    at: usize,
    secs: i64,
    is_good: bool,
}

/// Returns the groups that a snapshot is in, and whether it is good there.
fn groups_of(candidate: &Candidate, by: GroupBy) -> Vec<(Group, bool)> {
    let snapshot = &candidate.snapshot;
    let group = Group {
        host: by.host.then(|| snapshot.host.clone()),
        tags: by.tags.then(|| snapshot.tags.clone()),
        ..Group::default()
    };
    if !by.modules {
        return vec![(group, snapshot.is_good() && !candidate.is_suspect)];
    }
    let stored = snapshot.accounts.iter().filter(|account| account.state != State::Skipped);
    let mut groups: Vec<(Group, bool)> = stored
        .map(|account| {
            let mut sources = Vec::new();
            if account.module == "files" {
                sources.clone_from(&account.sources);
                sources.sort();
            }
            let module = Some(account.module.clone());
            let is_good = account.state <= State::Warned && !candidate.is_suspect;
            (Group { module, sources, ..group.clone() }, is_good)
        })
        .collect();
    if groups.is_empty() {
        groups.push((group, false));
    }
    groups
}

/// Sorts snapshots, newest first, into groups.
fn members(
    candidates: &[Candidate],
    by: GroupBy,
    now: Time,
) -> (BTreeMap<Group, Vec<Member>>, Vec<Placed>, [u64; 2]) {
    let (placed, future, out_of_order) = order(candidates, now);
    let mut groups: BTreeMap<Group, Vec<Member>> = BTreeMap::new();
    for one in placed.iter().rev() {
        for (group, is_good) in groups_of(&candidates[one.at], by) {
            groups.entry(group).or_default().push(Member { at: one.at, secs: one.secs, is_good });
        }
    }
    (groups, placed.into_iter().rev().collect(), [future, out_of_order])
}

/// Decides what is kept.
pub fn plan(candidates: &[Candidate], rules: &Rules, now: Time) -> Plan {
    let (groups, newest_first, [future, out_of_order]) = members(candidates, rules.group_by, now);
    let mut reasons = vec![BTreeSet::new(); candidates.len()];
    let mut is_good = vec![false; candidates.len()];
    for (at, candidate) in candidates.iter().enumerate() {
        let tags = rules.tags.iter().filter(|tag| candidate.snapshot.tags.contains(tag));
        reasons[at].extend(tags.map(|tag| Reason::Tag(tag.clone())));
        reasons[at].extend(candidate.is_pinned.then_some(Reason::Pinned));
    }
    let mut plan = Plan::default();
    for (group, members) in groups {
        keep(candidates, rules, &group, &members, &mut reasons);
        members.iter().for_each(|member| is_good[member.at] |= member.is_good);
        let burst = members.first().map_or(0, |newest| {
            members.iter().filter(|member| member.secs >= newest.secs.saturating_sub(3600)).count() as u64
        });
        if burst > BURST {
            plan.oddities.push(Oddity::Burst { group, snapshots: burst });
        }
    }
    for Placed { at, secs } in newest_first {
        let reasons = std::mem::take(&mut reasons[at]);
        plan.decisions.push(Decision { id: candidates[at].id, at, reasons, is_good: is_good[at], secs });
    }
    let (of, forgotten) = (candidates.len() as u64, plan.forgotten().len() as u64);
    if future > 0 {
        plan.oddities.push(Oddity::Future { snapshots: future });
    }
    if out_of_order > 0 {
        plan.oddities.push(Oddity::OutOfOrder { snapshots: out_of_order });
    }
    if forgotten >= FEW && forgotten > of - forgotten {
        plan.oddities.push(Oddity::MostGo { forgotten, of });
    }
    plan
}

/// Adds the reasons of one group, whose members come newest first.
fn keep(
    candidates: &[Candidate],
    rules: &Rules,
    group: &Group,
    members: &[Member],
    reasons: &mut [BTreeSet<Reason>],
) {
    let good: Vec<Member> = members.iter().filter(|member| member.is_good).copied().collect();
    for (number, period) in Period::ALL.into_iter().enumerate() {
        let in_period = |member: &Member| {
            // Every snapshot is the last one once, also two of one second.
            let offset = candidates[member.at].snapshot.utc_offset_minutes;
            if period == Period::Last { member.at as i64 } else { bucket(period, member.secs, offset) }
        };
        let (mut counted, mut young) = (BTreeSet::new(), BTreeSet::new());
        for member in &good {
            if (counted.len() as u64) < u64::from(rules.counts[number]) && counted.insert(in_period(member)) {
                reasons[member.at].insert(Reason::Count(period));
            }
            let oldest = rules.within[number]
                .map(|secs| good[0].secs.saturating_sub(i64::try_from(secs).unwrap_or(i64::MAX)));
            if oldest.is_some_and(|oldest| member.secs >= oldest) && young.insert(in_period(member)) {
                reasons[member.at].insert(Reason::Within(period));
            }
        }
    }
    let mut slots = BTreeSet::new();
    for member in &good {
        for tag in &candidates[member.at].snapshot.tags {
            if tag.starts_with(SLOT_TAG) && slots.insert(tag) {
                reasons[member.at].insert(Reason::Slot(tag.clone()));
            }
        }
    }
    if let Some(newest) = good.first()
        && !rules.allow_empty
        && good.iter().all(|member| reasons[member.at].is_empty())
    {
        reasons[newest.at].insert(Reason::LastGood(group.clone()));
    }
    if let Some(newest) = members.first()
        && !newest.is_good
        && !rules.allow_empty
    {
        reasons[newest.at].insert(Reason::NewestNotGood(group.clone()));
    }
}

/// Looks whether these snapshots may be forgotten, named one by one.
///
/// # Errors
/// [`ForgetError::Pinned`]; [`ForgetError::LastOne`] if a group would lose its last good snapshot.
pub fn may_go(
    candidates: &[Candidate],
    snapshots: &BTreeSet<ObjectId>,
    by: GroupBy,
    allow_empty: bool,
    now: Time,
) -> Result<(), ForgetError> {
    if let Some(pinned) = candidates.iter().find(|one| one.is_pinned && snapshots.contains(&one.id)) {
        return Err(ForgetError::Pinned(pinned.id));
    }
    let goes = |member: &Member| snapshots.contains(&candidates[member.at].id);
    for (group, members) in members(candidates, by, now).0 {
        let stays = members.iter().any(|member| member.is_good && !goes(member));
        let had = members.iter().any(|member| member.is_good && goes(member));
        if had && !stays && !allow_empty {
            return Err(ForgetError::LastOne(group));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
