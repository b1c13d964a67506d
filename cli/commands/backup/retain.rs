//! The rules of a job on what is kept, carried out (step 16): snapshots are forgotten, which `dedup prune` makes final.

use crate::commands::forget::odd;
use dedup_engine::forget::rules::{GroupBy, Period, Rules, plan};
use dedup_engine::forget::{self, Candidate, Oddity, Reason};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::repo::Repository;
use dedup_modules::job::retention::{self, Retention};
use std::collections::BTreeSet;

/// Forgets in a repository, at this time.
pub struct ForgetIn<'r> {
    pub repo: &'r Repository,
    pub now: Time,
}

/// What retention has done.
pub struct Forgotten {
    /// Snapshots that stay.
    pub kept: u64,
    /// Snapshots that were forgotten.
    pub removed: u64,
}

impl ForgetIn<'_> {
    /// Forgets what is to go.
    ///
    /// # Errors
    /// Why it could not, for people; the run is none the worse.
    pub fn forget(&self, asked: &Retention) -> Result<Forgotten, String> {
        let mut all = forget::candidates(self.repo).map_err(|error| error.to_string())?;
        all.retain(|one| one.snapshot.host == asked.host && one.snapshot.tags.contains(&asked.tag));
        let go = self.choose(asked, &all)?;
        if !go.is_empty() {
            forget::forget(self.repo, &go, self.now).map_err(|error| error.to_string())?;
        }
        let removed = go.len() as u64;
        Ok(Forgotten { kept: all.len() as u64 - removed, removed })
    }

    /// Chooses what goes.
    ///
    /// # Errors
    /// Something is odd: nobody is there to be asked, so nothing goes.
    fn choose(&self, asked: &Retention, all: &[Candidate]) -> Result<BTreeSet<ObjectId>, String> {
        let mut go = BTreeSet::new();
        if let Some(rules) = &asked.rules {
            let plan = plan(all, &engine_rules(rules), self.now);
            // A clock that was wrong once moves no other snapshot, and stands in the way for years.
            let stops = |oddity: &&Oddity| !matches!(oddity, Oddity::OutOfOrder { .. });
            if let Some(oddity) = plan.oddities.iter().find(stops) {
                return Err(format!("{}; `dedup forget` can be run by hand", odd(oddity)));
            }
            let oldest = rules.max_age.map(|age| {
                self.now.secs.saturating_sub(i64::try_from(age.at_most().as_secs()).unwrap_or(i64::MAX))
            });
            for one in &plan.decisions {
                let is_too_old = oldest.is_some_and(|oldest| one.secs < oldest);
                let is_kept = match is_too_old {
                    true => one.reasons.iter().any(stays_at_any_age),
                    false => !one.reasons.is_empty(),
                };
                if !is_kept {
                    go.insert(one.id);
                }
            }
        }
        if let Some(slot) = &asked.slot {
            let earlier = all.iter().filter(|one| one.snapshot.tags.contains(slot) && !one.is_pinned);
            go.extend(earlier.map(|one| one.id));
        }
        go.remove(&asked.made);
        Ok(go)
    }
}

/// Says whether a snapshot stays for this however old it is.
fn stays_at_any_age(reason: &Reason) -> bool {
    match reason {
        Reason::Count(period) => *period == Period::Last,
        Reason::Pinned | Reason::LastGood(_) | Reason::NewestNotGood(_) => true,
        Reason::Within(_) | Reason::Tag(_) | Reason::Slot(_) => false,
    }
}

fn engine_rules(rules: &retention::Rules) -> Rules {
    let counts = [rules.last, 0, rules.daily, rules.weekly, rules.monthly, 0];
    let mut within = [None; 6];
    within[0] = rules.within.map(|period| period.at_most().as_secs());
    // Of each module the last good snapshot stays, also of one that the job does not have any more.
    Rules { counts, within, group_by: GroupBy::default(), ..Rules::default() }
}
