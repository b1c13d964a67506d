//! What entries say of each other, of generations and of what is forgotten, held against what is there.

use super::reading::{Claims, Made, Reading};
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::client_of;
use crate::error::Corrupt;
use crate::id::{ClientId, ObjectId};
use crate::log::{APPEND, Complaint, Entry, FORGET, Mark, Wrong};
use crate::planted::{Bug, planted};
use crate::repo::RepoError;
use crate::repo::control::Generation;
use crate::repo::retention::{Retention, at_least};
use crate::repo::sessions;
use crate::storage::{Family, Name};
use std::ops::Bound::{Excluded, Included};

/// How often what is forgotten is looked for: who writes it anew deletes the one before.
const LOOKS: usize = 4;

/// Objects that are numbered and of which each names the hash of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// The log of a client.
    Log(ClientId),
    /// Generations.
    Generations,
}

impl Row {
    /// Names one of them.
    pub fn name(self, number: u64) -> Name {
        match self {
            Self::Log(client) => Name::log(client, number),
            Self::Generations => Name::generation(number),
        }
    }

    /// Returns whose log it is.
    pub fn client(self) -> Option<ClientId> {
        match self {
            Self::Log(client) => Some(client),
            Self::Generations => None,
        }
    }

    /// Reads the name of the object before from the body of one.
    fn previous(self, plain: &[u8]) -> Result<ObjectId, Corrupt> {
        match self {
            Self::Log(_) => Entry::decode(plain).map(|entry| entry.previous),
            Self::Generations => Generation::decode(plain).map(|generation| generation.previous),
        }
    }

    fn kind(self) -> ObjectKind {
        match self {
            Self::Log(_) => ObjectKind::Log,
            Self::Generations => ObjectKind::Generation,
        }
    }
}

impl Reading<'_> {
    /// Returns the hash of an object of a row, as all those after it vouch for it; nothing if there is none.
    fn hash_at(&mut self, row: Row, number: u64) -> Result<Option<ObjectId>, RepoError> {
        if let Row::Log(client) = row {
            // Put since the logs were listed.
            while self.now.heads.get(&client).map_or(0, |seen| seen.mark.number) < number {
                let next = self.now.heads.get(&client).map_or(1, |seen| seen.mark.number + 1);
                if !self.read_one(client, next)? {
                    return Ok(None);
                }
            }
        }
        let range = (Included((row, number)), Excluded((row, u64::MAX)));
        let Some(((_, mut at), mut id)) = self.hashes.range(range).next().map(|(key, id)| (*key, *id)) else {
            return Ok(None);
        };
        while at > number {
            let plain = match self.objects.get_hashed(row.kind(), &row.name(at)) {
                Ok((plain, hash)) if hash == id => plain,
                Ok(_) => return Ok(None),
                Err(RepoError::Storage(error)) if error.is_missing() => return Ok(None),
                Err(error) if error.is_damage() => return Ok(None),
                Err(error) => return Err(error),
            };
            (at, id) = (at - 1, row.previous(&plain).map_err(|corrupt| corrupt.within(row.name(at)))?);
            self.hashes.insert((row, at), id);
        }
        Ok(Some(id))
    }

    /// Compares what entries say of other logs with what is there.
    pub(super) fn settle(&mut self) -> Result<(), RepoError> {
        while let Some(claim) = self.claims.pop_first() {
            self.compare(claim)?;
        }
        Ok(())
    }

    fn compare(&mut self, ((row, mark, by), at): ((Row, Mark, ClientId), u64)) -> Result<(), RepoError> {
        let is_accepted = self.before.accepted.get(&by).is_some_and(|end| at <= *end);
        if is_accepted || planted(Bug::IgnoreOtherHeads) {
            return Ok(());
        }
        let there = self.hash_at(row, mark.number)?;
        if there == Some(mark.id) {
            return Ok(());
        }
        let is_there = there.is_some() || self.hash_of_stored(&row.name(mark.number))?.is_some();
        let wrong = if is_there { Wrong::Other } else { Wrong::Missing };
        self.complain_by(by, at, row.name(mark.number), wrong);
        Ok(())
    }

    /// Complains of what entry `at` of a client knows.
    fn complain_by(&mut self, by: ClientId, at: u64, object: Name, wrong: Wrong) {
        let since = self.last.get(&by).map(|entry| (entry.time, entry.host.clone()));
        let known_by = Name::log(by, at).to_string();
        self.complain(Some((by, at)), Complaint { object, wrong, known_by, since, why: String::new() });
    }

    /// Adds what entries made, and reads the generations that are new: what they removed is not alive.
    pub(super) fn generations(&mut self) -> Result<(), RepoError> {
        let rights = self.rights.clone();
        let of = |made: &Made| rights.of_entry(&made.by, made.number);
        self.made.retain(|made| of(made) & APPEND != 0);
        // What several made is as old as the first says, of those that may say more of it than that it is there.
        self.made.sort_by_key(|made| (of(made) & FORGET == 0, made.rank));
        for made in &self.made {
            for id in &made.snapshots {
                self.now.alive.entry(*id).or_insert(made.rank);
            }
        }
        let mut mark = self.before.generation;
        // Those that the writer of an entry had not seen may have removed what it made.
        let mut number = self.oldest_seen.min(mark.number);
        while let Some((generation, id)) = sessions::generation(self.objects, number + 1)? {
            number += 1;
            if number > mark.number {
                if generation.previous != mark.id {
                    let (object, wrong) = (Name::generation(number), Wrong::Forged);
                    let why = format!("it does not follow {}", Name::generation(mark.number));
                    let known_by = String::new();
                    self.complain(None, Complaint { object, wrong, known_by, since: None, why });
                }
                mark = Mark { number, id };
                self.hashes.insert((Row::Generations, number), id);
            }
            if !sessions::is_obeyed(&rights, &generation) {
                continue;
            }
            for id in &generation.snapshots {
                if self.now.alive.remove(id).is_some() && self.thorough {
                    self.removed.insert(*id, number);
                }
            }
        }
        self.now.generation = mark;
        for claim in std::mem::take::<Claims>(&mut self.of_generations) {
            self.compare(claim)?;
        }
        Ok(())
    }

    /// Looks whether what is forgotten is what was last relied on, or newer.
    pub(super) fn retention(&mut self) -> Result<(), RepoError> {
        let is_accepted = |by: &ClientId, at: u64| self.before.accepted.get(by).is_some_and(|end| at <= *end);
        let claims = self.of_retention.iter().map(|(by, (mark, at))| (*mark, Some((*by, *at))));
        let entitled = claims.filter(|(_, by)| {
            by.is_some_and(|(by, at)| self.rights.of_entry(&by, at) & APPEND != 0 && !is_accepted(&by, at))
        });
        let (required, by) =
            entitled.chain([(self.before.retention, None)]).max().unwrap_or((Mark::NONE, None));
        self.now.retention = required;
        for _ in 0..LOOKS {
            match self.newest_retention(required)? {
                Some(mark) if mark.number > required.number => {
                    self.now.retention = mark;
                    return Ok(());
                }
                Some(mark) if mark == required || planted(Bug::ObeyOldRetention) => return Ok(()),
                Some(_) => {
                    self.complain_of_retention(required, by, Wrong::Other);
                    return Ok(());
                }
                // Who writes the next one deletes it: so it is looked for again.
                None => {}
            }
        }
        if !planted(Bug::ObeyOldRetention) {
            self.complain_of_retention(required, by, Wrong::Missing);
        }
        Ok(())
    }

    /// Returns the highest retention object by somebody who may write one, from `required` on. One that cannot be read
    /// counts as the one that is required: it forgets nothing and pins nothing, and whoever asks for it is told.
    fn newest_retention(&mut self, required: Mark) -> Result<Option<Mark>, RepoError> {
        let mut names = self.objects.names(Family::Retention)?;
        if names.last().and_then(Name::number).unwrap_or(0) < required.number {
            // Listings may lag.
            names.extend(at_least(required.number));
        }
        for name in names.into_iter().rev() {
            let Some(number) = name.number().filter(|number| *number >= required.number) else { break };
            let (plain, id) = match self.objects.get_hashed(ObjectKind::Retention, &name) {
                Ok(read) => read,
                Err(RepoError::Storage(error)) if error.is_missing() => continue,
                Err(error) if error.is_damage() => return Ok(Some(required)),
                Err(error) => return Err(error),
            };
            let Ok(retention) = Retention::decode(&plain) else { return Ok(Some(required)) };
            let signer = client_of(&retention.public_key);
            if number == required.number || self.rights.at_retention(&signer, number) & FORGET != 0 {
                return Ok(Some(Mark { number, id }));
            }
        }
        Ok((required == Mark::NONE).then_some(Mark::NONE))
    }

    fn complain_of_retention(&mut self, required: Mark, by: Option<(ClientId, u64)>, wrong: Wrong) {
        let object = Name::retention(required.number);
        match by {
            Some((by, at)) => self.complain_by(by, at, object, wrong),
            None => {
                let (known_by, why) = ("this machine".into(), String::new());
                self.complain(None, Complaint { object, wrong, known_by, since: None, why });
            }
        }
    }
}
