//! Entries of our own.

use super::reading::DOMAIN;
use super::{State, is_contradiction};
use crate::crypto::header::ObjectKind;
use crate::id::{ObjectId, SessionId};
use crate::listing::Time;
use crate::log::{Act, Entry, Head, MAX_HEADS, MAX_MADE, Mark, Seen, Word};
use crate::planted::{Bug, planted};
use crate::repo::control::Verdict;
use crate::repo::sessions::read_generation;
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository, signed};
use crate::storage::{Name, Put};
use std::collections::BTreeSet;

/// How often the next number is tried when somebody with the same key was quicker.
const ATTEMPTS: usize = 64;
/// Of so many snapshots without an entry each is asked for its session; of more, all ends are read. Runs that were cut off
/// leave a few, and every entry that is written would read all ends for them.
const FEW: usize = 64;

impl Repository {
    /// Writes that a snapshot was committed by a run that had seen generation `seen`, and adopts those that were
    /// committed and have no entry.
    pub(crate) fn log_snapshot(&self, id: ObjectId, seen: u64, time: Time) -> Result<(), RepoError> {
        loop {
            // What is signed under a new epoch is signed by another key.
            let epoch = self.newest_epoch()?;
            self.close_era(time)?;
            self.log_snapshot_once(id, seen, time)?;
            // An entry that came when an epoch was stored already is not of the era before, and counts for nothing.
            if self.newest_epoch()? == epoch {
                return Ok(());
            }
        }
    }

    /// Writes the same in one epoch.
    fn log_snapshot_once(&self, id: ObjectId, seen: u64, time: Time) -> Result<(), RepoError> {
        let mut state = lock(&self.history.0);
        state.time = time;
        self.look(&mut state)?;
        // Perhaps a prune was quicker: it came and went.
        let mut own = vec![id];
        self.leave_out_removed(&mut own, seen, state.generation())?;
        let mut made = BTreeSet::from_iter(own);
        made.extend(self.unlogged(&state, &made)?);
        self.append_made(&mut state, &made)
    }

    /// Writes what was done. What was committed and has no entry is adopted first.
    pub(crate) fn log(&self, act: Act, time: Option<Time>) -> Result<(), RepoError> {
        let mut state = lock(&self.history.0);
        state.time = time.unwrap_or(state.time);
        self.look(&mut state)?;
        let made = self.unlogged(&state, &BTreeSet::new())?;
        self.append_made(&mut state, &made)?;
        let since = state.generation();
        self.append(&mut state, &act, since)
    }

    /// Writes what was done, and adopts nothing.
    pub(super) fn log_alone(&self, act: &Act, time: Time) -> Result<(), RepoError> {
        let mut state = lock(&self.history.0);
        state.time = time;
        let since = state.generation();
        self.look(&mut state)?;
        self.append(&mut state, act, since)
    }

    /// The same, after something that is done and needs no entry to count: only a contradiction is an error. Whoever
    /// writes the next entry says the same.
    pub(crate) fn log_after(&self, act: Act, time: Option<Time>) -> Result<(), RepoError> {
        match self.log(act, time) {
            Err(error) if is_contradiction(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn append_made(&self, state: &mut State, made: &BTreeSet<ObjectId>) -> Result<(), RepoError> {
        let (made, since): (Vec<ObjectId>, _) = (made.iter().copied().collect(), state.generation());
        made.chunks(MAX_MADE).try_for_each(|made| self.append(state, &Act::Made(made.to_vec()), since))
    }

    /// Returns the snapshots that were committed and have no entry, those of runs that were cut off in between and of
    /// times before there was a log; `known` aside.
    fn unlogged(&self, state: &State, known: &BTreeSet<ObjectId>) -> Result<BTreeSet<ObjectId>, RepoError> {
        let mut unlogged = self.stored_snapshots()?;
        let alive = state.memory.as_ref().map(|memory| &memory.alive);
        unlogged.retain(|id| !known.contains(id) && !alive.is_some_and(|alive| alive.contains_key(id)));
        if unlogged.is_empty() {
            return Ok(unlogged);
        }
        let (removed, retired) = self.removed()?;
        let is_logged = |id: &ObjectId| alive.is_some_and(|alive| alive.contains_key(id));
        unlogged.retain(|id| !removed.contains(id));
        if unlogged.len() <= FEW
            && self.can_read()
            && let Some(committed) = self.committed_of(&unlogged, &retired, &is_logged)
        {
            return Ok(committed);
        }
        let ends = self.ends(&is_logged)?.into_iter().filter(|(session, _)| !retired.contains(session));
        let committed: BTreeSet<ObjectId> = ends
            .filter_map(|(_, end)| match end {
                Ok(Verdict::Committed(id)) => Some(id),
                _ => None,
            })
            .collect();
        unlogged.retain(|id| committed.contains(id));
        Ok(unlogged)
    }

    /// Returns those of these snapshots that their sessions committed; nothing if one cannot be read, which says whose it
    /// is.
    fn committed_of(
        &self,
        snapshots: &BTreeSet<ObjectId>,
        retired: &BTreeSet<SessionId>,
        is_logged: &(dyn Fn(&ObjectId) -> bool + Sync),
    ) -> Option<BTreeSet<ObjectId>> {
        let mut committed = BTreeSet::new();
        for id in snapshots {
            let session = self.snapshot(*id).ok()?.session;
            let end = self.end_that_counts(session, is_logged);
            if matches!(end, Some(Ok(Verdict::Committed(of))) if of == *id && !retired.contains(&session)) {
                committed.insert(*id);
            }
        }
        Some(committed)
    }

    /// Leaves out the snapshots that generations after `since` removed.
    fn leave_out_removed(&self, made: &mut Vec<ObjectId>, since: u64, newest: u64) -> Result<(), RepoError> {
        if planted(Bug::TellOfGone) {
            return Ok(());
        }
        for number in since + 1..=newest {
            if let Some((generation, _)) = read_generation(&self.objects, number)? {
                made.retain(|id| !generation.snapshots.contains(id));
            }
        }
        Ok(())
    }

    /// Appends one entry, after whatever others with the same key append at this moment. What it is about was found out when
    /// generation `since` was the newest.
    fn append(&self, state: &mut State, act: &Act, since: u64) -> Result<(), RepoError> {
        let mut act = act.clone();
        let (keyring, own) = (&self.objects.keyring, self.objects.keyring.client()?);
        let key = signed::signer(keyring)?;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                state.probe = Some(own);
                self.look(state)?;
            }
            // Somebody with the same key may have adopted it, and a prune removed it.
            if let Act::Made(made) = &mut act {
                self.leave_out_removed(made, since, state.generation())?;
                if made.is_empty() {
                    return Ok(());
                }
            }
            let Some(memory) = &mut state.memory else { break };
            let last = memory.heads.get(&own).map_or(Mark::NONE, |seen| seen.mark);
            let heads = memory.heads.iter().filter(|(client, _)| **client != own);
            let heads = heads.map(|(client, seen)| Head { client: *client, mark: seen.mark });
            let new: &[ObjectId] = if let Act::Made(made) = &act { made } else { &[] };
            let more = new.iter().filter(|id| !memory.alive.contains_key(id)).count();
            let mut entry = Entry {
                number: last.number + 1,
                previous: last.id,
                time: state.time,
                host: state.host.clone(),
                act: act.clone(),
                live: (memory.alive.len() + more) as u64,
                generation: memory.generation,
                retention: memory.retention,
                heads: heads.take(MAX_HEADS).collect(),
                public_key: key.verifying_key().to_bytes(),
                signature: [0; 64],
            };
            entry.signature = signed::sign(&key, keyring, DOMAIN, &entry.encode_signed());
            let (name, plain) = (Name::log(own, entry.number), entry.encode());
            let means = |opened: &[u8]| Entry::decode(opened).is_ok_and(|again| again == entry);
            let (put, mut id) = self.objects.put_known(ObjectKind::Log, &name, &plain, None, &means)?;
            if put == Put::Present {
                // A storage that stored and then reported an error may have been asked twice.
                match self.objects.get_hashed(ObjectKind::Log, &name) {
                    Ok((there, theirs)) if there == plain => id = theirs,
                    _ => continue,
                }
            }
            let rank = entry.rank();
            let seen = Seen {
                mark: Mark { number: entry.number, id },
                time: entry.time,
                host: entry.host,
                public_key: entry.public_key,
                live: entry.live,
            };
            memory.heads.insert(own, seen);
            for id in new {
                memory.alive.entry(*id).or_insert(rank);
            }
            match &act {
                Act::Slot { id, is_removed: true } => drop(memory.slots_gone.insert(*id)),
                Act::Admitted { public_key, rights } => memory.words.push(Word {
                    by: own,
                    number: entry.number,
                    of: crate::crypto::keyring::client_of(public_key),
                    rights: *rights,
                    generation: entry.generation.number,
                    retention: entry.retention.number,
                }),
                _ => {}
            }
            self.know(memory);
            state.probe = None;
            // That it cannot be remembered was told when the log was read first.
            return self.remember(state).map(drop);
        }
        Err(RepoError::Refused("others with the same key write to the log all the time; try again".into()))
    }
}
