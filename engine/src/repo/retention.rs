//! Which snapshots are forgotten and which are pinned. Normative: `FORMAT.md` 14.
//!
//! One object says all of it; whoever changes it writes the next number, which only one can. So two that change it
//! at once come one after the other, and nothing is ever half said.

use super::sessions::{live_condemned, read_generation};
use super::{RepoError, Repository, signed};
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::client_of;
use crate::error::{Corrupt, Kind};
use crate::format::MAX_RETAINED;
use crate::id::{ObjectId, SessionId};
use crate::listing::Time;
use crate::log::{ALL, Act, FORGET};
use crate::planted::{Bug, planted};
use crate::repo::control::Generation;
use crate::storage::{Family, Name, Put as Stored};
use crate::wire::{Put, Reader};
use std::collections::BTreeSet;
use std::sync::PoisonError;

const DOMAIN: &[u8] = b"dedup retention 1";
/// How often another number is tried when somebody was quicker.
const ATTEMPTS: usize = 32;

/// What is forgotten and what is pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Number of the object; 0 if there is none.
    pub number: u64,
    /// When it was written, by the writer's clock.
    pub time: Time,
    /// Snapshots that are forgotten; prune removes them.
    pub forgotten: BTreeSet<ObjectId>,
    /// Snapshots that nobody may forget.
    pub pinned: BTreeSet<ObjectId>,
    /// Ed25519 public key of the writer.
    pub public_key: [u8; 32],
    /// Its signature over what stands before it, all zero if there is no object.
    pub signature: Signed,
}

/// A signature; an array of this length has no default of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed(pub [u8; 64]);

impl Default for Signed {
    fn default() -> Self {
        Self([0; 64])
    }
}

/// Names the object of this number and the few after it, one of which there is if it was ever there.
pub(crate) fn at_least(number: u64) -> impl Iterator<Item = Name> {
    (number..number.saturating_add(ATTEMPTS as u64)).map(Name::retention)
}

fn ids(reader: &mut Reader<'_>, name: &str) -> Result<BTreeSet<ObjectId>, Corrupt> {
    let count = reader.count(MAX_RETAINED, ObjectId::LEN, name)?;
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let id = ObjectId::from_bytes(reader.array()?);
        if ids.last().is_some_and(|last| *last >= id) {
            return Err(reader.corrupt(format!("{name} do not rise")));
        }
        ids.insert(id);
    }
    Ok(ids)
}

impl Retention {
    /// Encodes the part that is signed.
    pub fn encode_signed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.number);
        out.put_i64(self.time.secs);
        out.put_u32(self.time.nanos);
        for list in [&self.forgotten, &self.pinned] {
            out.put_varint(list.len() as u64);
            list.iter().for_each(|id| out.put(id.as_bytes()));
        }
        out.put_no_extensions();
        out.put(&self.public_key);
        out
    }

    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_signed();
        out.put(&self.signature.0);
        out
    }

    /// Decodes a body; the signature is the caller's to verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("retention object", bytes);
        let number = reader.varint()?;
        if number == 0 {
            return Err(reader.corrupt("number 0; they are numbered from 1"));
        }
        let time = Time { secs: reader.i64()?, nanos: reader.u32()? };
        if time.nanos >= 1_000_000_000 {
            return Err(reader.corrupt("nanoseconds of a second or more"));
        }
        let forgotten = ids(&mut reader, "forgotten snapshots")?;
        let pinned = ids(&mut reader, "pinned snapshots")?;
        if !forgotten.is_disjoint(&pinned) {
            return Err(reader.corrupt("a snapshot is forgotten and pinned"));
        }
        reader.extensions()?;
        let (public_key, signature) = (reader.array()?, Signed(reader.array()?));
        reader.finish()?;
        Ok(Self { number, time, forgotten, pinned, public_key, signature })
    }
}

impl Repository {
    /// Returns what is forgotten and pinned now.
    ///
    /// # Errors
    /// Damage of the object that counts; nothing is forgotten then (see [`Repository::catalog`]).
    pub fn retention(&self) -> Result<Retention, RepoError> {
        self.counting_retention().map(|(_, retention)| retention)
    }

    /// The same, and the highest number that was listed.
    fn counting_retention(&self) -> Result<(u64, Retention), RepoError> {
        'looks: for _ in 0..ATTEMPTS {
            let known = self.known_retention();
            let mut names = self.objects.names(Family::Retention)?;
            if names.last().and_then(Name::number).unwrap_or(0) < known {
                // Listings may lag.
                for name in at_least(known) {
                    if self.objects.storage.len(&name)?.is_some() {
                        names.insert(name);
                    }
                }
            }
            let highest = names.last().and_then(Name::number).unwrap_or(0);
            let mut counts = Retention::default();
            for number in names.iter().rev().filter_map(Name::number) {
                match self.retention_object(number) {
                    // Somebody wrote the next one since the listing.
                    Err(RepoError::Storage(error)) if error.is_missing() => continue 'looks,
                    // It says nothing to anybody: what was there before it counts.
                    Ok(read) if !self.is_entitled(&read) => {}
                    read => {
                        counts = read?;
                        break;
                    }
                }
            }
            if counts.number < known && !planted(Bug::ObeyOldRetention) {
                let wrong = "it is not there any more, though the log tells of it";
                return Err(Corrupt::new(Name::retention(known).to_string(), wrong).into());
            }
            return Ok((highest, counts));
        }
        Err(changes_all_the_time())
    }

    /// Returns whether the writer had the right to forget.
    pub(crate) fn is_entitled(&self, retention: &Retention) -> bool {
        let signer = client_of(&retention.public_key);
        let known = self.objects.known.read().unwrap_or_else(PoisonError::into_inner);
        let rights =
            known.rights.as_ref().map_or(ALL, |rights| rights.at_retention(&signer, retention.number));
        rights & FORGET != 0 || planted(Bug::ObeyAnybody)
    }

    /// The same; one that is damaged forgets nothing.
    pub(crate) fn readable_retention(&self) -> Result<Retention, RepoError> {
        match self.retention() {
            Err(error) if error.kind() == Kind::Integrity => Ok(Retention::default()),
            read => read,
        }
    }

    fn known_retention(&self) -> u64 {
        self.objects.known.read().unwrap_or_else(PoisonError::into_inner).retention
    }

    pub(crate) fn retention_object(&self, number: u64) -> Result<Retention, RepoError> {
        let name = Name::retention(number);
        let plain = self.objects.get(ObjectKind::Retention, &name)?;
        let retention = Retention::decode(&plain).map_err(|corrupt| corrupt.within(name))?;
        let wrong = |wrong: String| RepoError::from(Corrupt::new(name.to_string(), wrong));
        if retention.number != number {
            return Err(wrong(format!("it calls itself {}", retention.number)));
        }
        let (body, key) = (retention.encode_signed(), &retention.public_key);
        if !signed::is_genuine(&self.objects.keyring, DOMAIN, &body, key, &retention.signature.0) {
            return Err(wrong("its signature is wrong".into()));
        }
        Ok(retention)
    }

    /// Changes what is forgotten and pinned: `change` gets what stands, perhaps more than once, and returns what
    /// shall. Nothing is written if that is the same. `anew`: what stands is damaged, and nothing of it counts.
    pub fn change_retention(
        &self,
        time: Time,
        anew: bool,
        change: &mut dyn FnMut(&Retention) -> Result<Retention, RepoError>,
    ) -> Result<Retention, RepoError> {
        self.assert_reads()?;
        let keyring = &self.objects.keyring;
        for _ in 0..ATTEMPTS {
            // After a new epoch another key signs.
            let epoch = self.newest_epoch()?;
            let key = signed::signer(keyring)?;
            self.assert_right(FORGET, "say what is forgotten or pinned")?;
            let (seen, mut before) = match self.counting_retention() {
                Err(error) if anew && error.kind() == Kind::Integrity => (0, Retention::default()),
                read => read?,
            };
            let highest = self.objects.names(Family::Retention)?.pop_last().and_then(|name| name.number());
            if !anew && highest.unwrap_or(0) != seen {
                continue;
            }
            // Above whatever was there once: what the log tells of a number must not fit another object.
            before.number = highest.unwrap_or(0).max(self.known_retention());
            let mut next = change(&before)?;
            if !anew && next.forgotten == before.forgotten && next.pinned == before.pinned {
                return Ok(before);
            }
            if next.forgotten.len().max(next.pinned.len()) > MAX_RETAINED {
                let most =
                    format!("more than {MAX_RETAINED} snapshots are forgotten or pinned; run `dedup prune`");
                return Err(RepoError::Refused(most));
            }
            next.number = before.number.saturating_add(1);
            next.time = time;
            next.public_key = key.verifying_key().to_bytes();
            next.signature = Signed(signed::sign(&key, keyring, DOMAIN, &next.encode_signed()));
            let (name, plain) = (Name::retention(next.number), next.encode());
            let means = |opened: &[u8]| Retention::decode(opened).is_ok_and(|again| again == next);
            let put = self.objects.put(ObjectKind::Retention, &name, &plain, None, &means)?;
            // A storage that stored and then reported an error may have been asked twice.
            if put == Stored::Present && self.retention_object(next.number).ok().as_ref() != Some(&next) {
                continue;
            }
            // Its number may have been free because somebody had written higher ones and deleted this one.
            let all = self.objects.names(Family::Retention)?;
            if all.last().is_some_and(|last| *last > name) {
                continue;
            }
            if self.newest_epoch()? != epoch {
                // It may be void, and must not be all that is left.
                self.begin_era()?;
                continue;
            }
            for lower in all.iter().filter(|other| **other < name) {
                self.objects.storage.delete(lower)?;
            }
            self.log_after(Act::Retained, Some(time))?;
            return Ok(next);
        }
        Err(changes_all_the_time())
    }

    /// Makes sure that no prune that is under way removes snapshots which a moment ago were taken back. Returns those
    /// that a generation names: they are gone.
    pub(crate) fn rescue(&self, snapshots: &BTreeSet<ObjectId>) -> Result<BTreeSet<ObjectId>, RepoError> {
        let mut gone = BTreeSet::new();
        let mut newest = 0;
        let mut before = ObjectId::from_bytes([0; 32]);
        loop {
            // In this order: a set that ends between the two looks is seen as a generation.
            let sets = live_condemned(&self.objects)?;
            while let Some((generation, id)) = read_generation(&self.objects, newest + 1)? {
                gone.extend(generation.snapshots.iter().filter(|id| snapshots.contains(id)));
                (newest, before) = (newest + 1, id);
            }
            let names_one = |set: &[ObjectId]| set.iter().any(|id| snapshots.contains(id));
            let is_named = sets.iter().any(|set| set.base >= newest && names_one(&set.snapshots));
            if !is_named || planted(Bug::UndoWithoutLook) {
                return Ok(gone);
            }
            // If its prune was quicker, its generation is seen in the next round.
            self.publish_signed_generation(Generation::empty(
                newest + 1,
                before,
                SessionId::from_bytes([0; 16]),
            ))?;
        }
    }
}

fn changes_all_the_time() -> RepoError {
    RepoError::Refused("others change what is forgotten all the time; try again".into())
}
