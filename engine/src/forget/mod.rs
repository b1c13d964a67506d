//! Forget: which snapshots are kept, and what is said of the others. Nothing is deleted here: a forgotten snapshot can
//! be taken back until a prune carries it out.
//!
//! - [`rules`]: what is kept, as a pure function of snapshots, rules and the moment, with a reason for each.
//! - `order`: what is asked, in the order of the log, and what is odd about the times.
//! - `calendar`: hours, days, weeks, months and years.
//!
//! Memory: a kilobyte per snapshot, as in every listing of them.

mod calendar;
mod order;
pub mod rules;

pub use order::{Candidate, Oddity};
pub use rules::{Decision, Group, GroupBy, Plan, Reason, Rules, plan};

use crate::error::Kind;
use crate::id::ObjectId;
use crate::listing::Time;
use crate::repo::{RepoError, Repository};
use std::collections::BTreeSet;

/// Why nothing was forgotten, or taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// The repository could not be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Rules that keep nothing in particular.
    #[error("no rule says what to keep")]
    NoRules,
    /// Snapshots that cannot be read may be the ones to keep.
    #[error("snapshot {} cannot be read, so nobody can tell what to keep: {why}", .id.short())]
    Unreadable {
        /// One of them.
        id: ObjectId,
        /// What is wrong with it.
        why: String,
    },
    /// A snapshot that is pinned.
    #[error("snapshot {} is pinned", .0.short())]
    Pinned(ObjectId),
    /// The last good snapshot of something.
    #[error("nothing good would be left of {0}")]
    LastOne(Group),
    /// A snapshot that is not there, or not any more.
    #[error("snapshot {} is not there", .0.short())]
    Absent(ObjectId),
    /// A prune was quicker.
    #[error("a prune has removed {} for good", list(.0))]
    Gone(Vec<ObjectId>),
}

fn list(ids: &[ObjectId]) -> String {
    ids.iter().map(ObjectId::short).collect::<Vec<_>>().join(", ")
}

impl ForgetError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::NoRules | Self::Pinned(_) | Self::LastOne(_) => Kind::Refused,
            Self::Unreadable { .. } => Kind::Integrity,
            Self::Absent(_) | Self::Gone(_) => Kind::Missing,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.hint(),
            Self::NoRules => Some("say what to keep, such as --keep-daily 7, or name snapshots".into()),
            Self::Pinned(_) => Some("take the pin off with `dedup forget --unpin SNAPSHOT`".into()),
            Self::LastOne(_) => Some("if that is what you want, say --allow-empty".into()),
            Self::Unreadable { .. } => Some("name the snapshots to forget, or see `dedup check`".into()),
            Self::Absent(_) | Self::Gone(_) => Some("`dedup snapshots` lists what there is".into()),
        }
    }
}

/// Reads what rules decide on: every alive snapshot, and what is known of it beside what it says itself.
pub fn candidates(repo: &Repository) -> Result<Vec<Candidate>, ForgetError> {
    let (snapshots, faults) = repo.catalog()?;
    if let Some((id, why)) = faults.first() {
        return Err(ForgetError::Unreadable { id: *id, why: why.to_string() });
    }
    // Damage of what says so is no reason to forget more.
    let retention = repo.retention()?;
    let suspects = repo.suspects(&snapshots)?;
    let ranks = repo.ranks(snapshots.iter().map(|(id, _)| *id));
    let candidate = |((id, snapshot), rank)| {
        let (is_suspect, is_pinned) = (suspects.contains_key(&id), retention.pinned.contains(&id));
        Candidate { id, snapshot, rank, is_suspect, is_pinned }
    };
    Ok(snapshots.into_iter().zip(ranks).map(candidate).collect())
}

/// Forgets snapshots. Returns those that were not forgotten before.
///
/// # Errors
/// Nothing is changed if one of them is pinned.
pub fn forget(
    repo: &Repository,
    snapshots: &BTreeSet<ObjectId>,
    now: Time,
) -> Result<BTreeSet<ObjectId>, ForgetError> {
    let (mut pinned, mut new) = (None, BTreeSet::new());
    let stored = repo.stored_snapshots()?;
    repo.know_log()?;
    let result = repo.change_retention(now, false, &mut |before| {
        if let Some(id) = snapshots.iter().find(|id| before.pinned.contains(id)) {
            pinned = Some(*id);
            return Err(RepoError::Cancelled);
        }
        let mut next = before.clone();
        new = snapshots.difference(&before.forgotten).copied().collect();
        next.forgotten.extend(snapshots);
        // What a prune has removed needs no word any more.
        next.forgotten.retain(|id| stored.contains(id) || repo.is_logged(id));
        Ok(next)
    });
    match (result, pinned) {
        (_, Some(id)) => Err(ForgetError::Pinned(id)),
        (Err(error), None) => Err(error.into()),
        (Ok(_), None) => Ok(new),
    }
}

/// Takes snapshots back that were forgotten, all of them if `wanted` is `None`. Returns which.
///
/// Once this has returned, no prune removes them, not even one that is under way.
///
/// # Errors
/// [`ForgetError::Gone`] if a prune removed some for good; the others are taken back all the same.
pub fn take_back(
    repo: &Repository,
    wanted: Option<&BTreeSet<ObjectId>>,
    now: Time,
) -> Result<BTreeSet<ObjectId>, ForgetError> {
    let mut back = BTreeSet::new();
    let mut damaged = None;
    if wanted.is_none()
        && let Err(error) = repo.retention()
        && error.kind() == Kind::Integrity
    {
        damaged = Some(error);
    }
    repo.change_retention(now, damaged.is_some(), &mut |before| {
        let mut next = before.clone();
        back = match wanted {
            Some(wanted) => before.forgotten.intersection(wanted).copied().collect(),
            None => before.forgotten.clone(),
        };
        next.forgotten.retain(|id| !back.contains(id));
        Ok(next)
    })?;
    // Also those that somebody has taken back already, and perhaps died before this look.
    let mut at_stake = back.clone();
    at_stake.extend(wanted.into_iter().flatten());
    let gone = repo.rescue(&at_stake)?;
    back.retain(|id| !gone.contains(id));
    let missed: Vec<ObjectId> = match wanted {
        Some(wanted) => gone.intersection(wanted).copied().collect(),
        None => Vec::new(),
    };
    if missed.is_empty() { Ok(back) } else { Err(ForgetError::Gone(missed)) }
}

/// Pins snapshots, or takes their pins off. Returns those for which that is new.
pub fn pin(
    repo: &Repository,
    snapshots: &BTreeSet<ObjectId>,
    pinned: bool,
    now: Time,
) -> Result<BTreeSet<ObjectId>, ForgetError> {
    let mut changed = BTreeSet::new();
    repo.change_retention(now, false, &mut |before| {
        let mut next = before.clone();
        if pinned {
            changed = snapshots.difference(&before.pinned).copied().collect();
            next.pinned.extend(snapshots);
            // A pin takes back as well; it is looked at below.
            next.forgotten.retain(|id| !snapshots.contains(id));
        } else {
            changed = before.pinned.intersection(snapshots).copied().collect();
            next.pinned.retain(|id| !snapshots.contains(id));
        }
        Ok(next)
    })?;
    let gone = if pinned { repo.rescue(snapshots)? } else { BTreeSet::new() };
    if gone.is_empty() { Ok(changed) } else { Err(ForgetError::Gone(gone.into_iter().collect())) }
}
