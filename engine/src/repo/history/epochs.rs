//! Key epochs: which count, and their roots. Normative: `FORMAT.md` 16.
//!
//! Each is signed by the first signer of the one before, so that which count follows from the configuration and from
//! them alone, and roots are known before anything else is read.

use super::reading::Reading;
use crate::crypto::CryptoError;
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::{Keyring, client_of};
use crate::crypto::roots::{Bundle, Root};
use crate::crypto::wrap;
use crate::error::{Corrupt, Kind};
use crate::id::{ClientId, ObjectId, SessionId};
use crate::listing::Time;
use crate::log::epoch::{Epoch, MAX_EPOCH};
use crate::log::{Complaint, FORGET, Mark, Opening, PRUNE, Wrong};
use crate::planted::{Bug, planted};
use crate::repo::control::Generation;
use crate::repo::objects::Objects;
use crate::repo::{RepoError, Repository, signed};
use crate::storage::{Family, Name};
use std::sync::{Arc, PoisonError};

pub(super) const DOMAIN: &[u8] = b"dedup epoch 1";

/// A key epoch that counts.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// Its number, and BLAKE3 of its stored bytes.
    pub mark: Mark,
    /// Who opens the next one.
    pub first_signer: [u8; 32],
    /// When it was made, in Unix seconds.
    pub created_unix_secs: i64,
    /// What it says of rights.
    pub opening: Opening,
}

/// What is the chain of epochs fastened to: BLAKE3 of the stored configuration, and its first signer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub config: ObjectId,
    pub first_signer: [u8; 32],
}

/// What stands under the name of an epoch.
pub(super) enum Found {
    Nothing,
    /// Something that is no epoch, or does not open: what its header says of itself is anybody's word.
    Void,
    Epoch(Box<Epoch>, ObjectId),
}

/// Reads an epoch, and the hash of its stored bytes.
pub(super) fn read_epoch(objects: &Objects, number: u64) -> Result<Found, RepoError> {
    match objects.get_hashed(ObjectKind::Epoch, &Name::epoch(number)) {
        Ok((plain, id)) => {
            Ok(Epoch::decode(&plain).map_or(Found::Void, |epoch| Found::Epoch(Box::new(epoch), id)))
        }
        Err(RepoError::Storage(error)) if error.is_missing() => Ok(Found::Nothing),
        Err(error) if matches!(error.kind(), Kind::Integrity | Kind::TooNew | Kind::Refused) => {
            Ok(Found::Void)
        }
        Err(error) => Err(error),
    }
}

/// Takes up the epochs that came since the last look, with their roots as far as the slot in use was taken along. Returns
/// the first number that is free.
pub(crate) fn take_up(objects: &Objects, slot: ObjectId, anchor: Anchor) -> Result<u64, RepoError> {
    let keyring = &objects.keyring;
    let last = objects.epochs().pop();
    // Those after the last that counts are looked at again: one may have been cut off while it was read.
    let mut before = last.as_ref().map_or(anchor.config, |last| last.mark.id);
    let mut first_signer = last.as_ref().map_or(anchor.first_signer, |last| last.first_signer);
    let mut free = last.map_or(2, |last| last.mark.number + 1);
    while free <= MAX_EPOCH {
        let number = free;
        let (epoch, id) = match read_epoch(objects, number)? {
            Found::Nothing => break,
            Found::Epoch(epoch, id) => (epoch, id),
            Found::Void => {
                free += 1;
                continue;
            }
        };
        free += 1;
        let is_signed =
            signed::is_genuine(keyring, DOMAIN, &epoch.encode_signed(), &epoch.public_key, &epoch.signature);
        let may_open =
            epoch.public_key == first_signer && epoch.previous == before || planted(Bug::BelieveAnyEpoch);
        if !(is_signed && may_open && u64::from(epoch.number) == number) {
            continue;
        }
        let roots = own_roots(keyring, slot, &epoch).map_err(RepoError::of(Name::epoch(number)))?;
        (before, first_signer) = (id, epoch.first_signer);
        {
            let mut known = objects.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.epochs.last().is_none_or(|last| last.mark.number < number) {
                let mark = Mark { number, id };
                let (created_unix_secs, opening) = (epoch.created_unix_secs, epoch.opening());
                known.epochs.push(Counted { mark, first_signer, created_unix_secs, opening });
                known.segments = Some((epoch.number, Arc::new(epoch.segments)));
            }
        }
        // After what the others need who see that it has begun.
        keyring.begin_epoch(epoch.number, roots.as_ref());
    }
    if keyring.bundle().newest_epoch() > keyring.epoch() {
        let name = Name::epoch(keyring.bundle().newest_epoch().into()).to_string();
        let wrong = "it is not there, or is not what it was, though this key holds its roots: the storage was set back";
        return Err(Corrupt::new(name, wrong).into());
    }
    Ok(free)
}

/// Returns the roots of an epoch that are sealed to a slot, after they were compared with what the epoch says of them.
fn own_roots(keyring: &Keyring, slot: ObjectId, epoch: &Epoch) -> Result<Option<Bundle>, CryptoError> {
    let (bundle, number) = (keyring.bundle(), epoch.number);
    let roots = match epoch.wrapped.iter().find(|wrapped| wrapped.slot == slot) {
        Some(wrapped) => {
            let keys = bundle.get(Root::SlotX25519, 0).zip(bundle.get(Root::Dedupe, 1));
            let (private, dedupe) = keys.ok_or(CryptoError::NotEntitled("key epochs"))?;
            wrap::unwrap(keyring.repo(), number, wrapped, private, dedupe)?
        }
        // Slots that were made since hold them.
        None if bundle.get(Root::Dedupe, number).is_some() => (*bundle).clone(),
        None => return Ok(None),
    };
    let differs = |(code, check): &(u8, [u8; 32])| {
        epoch.checks.iter().any(|(other, theirs)| other == code && theirs != check)
    };
    let public = roots.get(Root::X25519Public, number);
    if roots.checks(number).iter().any(differs)
        || public.is_none_or(|public| **public != epoch.x25519_public)
        || !roots.is_consistent(number)
    {
        return Err(Corrupt::new("key epoch", "the roots of this key are not those of the epoch").into());
    }
    Ok(Some(roots))
}

impl Objects {
    /// Returns the key epochs that count, from the second on.
    pub(crate) fn epochs(&self) -> Vec<Counted> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).epochs.clone()
    }
}

impl Repository {
    /// Looks whether another epoch began meanwhile, takes it up, and returns the number of the newest.
    pub(crate) fn newest_epoch(&self) -> Result<u32, RepoError> {
        take_up(&self.objects, self.slot, self.anchor)?;
        Ok(self.objects.keyring.epoch())
    }

    /// The same; if one began since the log was read, counts anew what that says of rights.
    pub(crate) fn newest_era(&self) -> Result<u32, RepoError> {
        let newest = self.newest_epoch()?;
        let known = self.objects.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_old = known.rights.is_some() && known.era < newest;
        drop(known);
        if is_old {
            self.begin_era()?;
        }
        Ok(newest)
    }

    /// Returns the numbers of objects that have the name of a key epoch and are none that counts.
    pub(crate) fn void_epochs(&self) -> Result<Vec<u64>, RepoError> {
        let counted = self.objects.epochs();
        let names = self.objects.names(Family::Epochs)?;
        let void = |number: &u64| !counted.iter().any(|epoch| epoch.mark.number == *number);
        Ok(names.iter().filter_map(Name::number).filter(void).collect())
    }

    /// Refuses to store anything with a key that was left out when the newest epoch began.
    pub(crate) fn assert_taken_along(&self) -> Result<(), RepoError> {
        if self.objects.keyring.is_up_to_date() {
            return Ok(());
        }
        Err(RepoError::LeftOut { epoch: self.objects.keyring.epoch() })
    }
}

impl Repository {
    /// Takes the numbers that the newest epoch names, if whoever opened it was cut off before: until then those of the
    /// time before could.
    pub(crate) fn close_era(&self, time: Time) -> Result<(), RepoError> {
        let Some(last) = self.objects.epochs().pop() else { return Ok(()) };
        let known = self.with_log(|memory| (memory.generation, memory.retention.number));
        let (newest, retention) = known.unwrap_or((Mark::NONE, 0));
        let may = |right| self.assert_right(right, "close an era").is_ok();
        if retention < last.opening.retention && self.can_read() && may(FORGET) {
            let stands = self.retention()?;
            self.change_retention(time, true, &mut |_| Ok(stands.clone()))?;
        }
        if newest.number < last.opening.generation && may(PRUNE) {
            let nobody = SessionId::from_bytes([0; 16]);
            let empty = Generation::empty(last.opening.generation, newest.id, nobody);
            if newest.number + 1 == empty.number {
                self.publish_signed_generation(empty)?;
            }
        }
        Ok(())
    }
}

impl Reading<'_> {
    /// Compares the key epochs that entries name, and those that are remembered, with those that count.
    pub(super) fn epochs(&mut self) -> Result<(), RepoError> {
        let counted = self.objects.epochs();
        self.now.epochs = counted.iter().map(|epoch| epoch.mark).collect();
        for mark in self.before.epochs.clone() {
            let there = counted.iter().find(|epoch| epoch.mark.number == mark.number);
            if there.is_none_or(|epoch| epoch.mark != mark) {
                self.complain_of_epoch(mark, "this machine".into())?;
            }
        }
        for (by, at, mark) in std::mem::take(&mut self.of_epochs) {
            // The word of the first signer of the era before is believed, also if it has no right in a later one.
            let before = counted.iter().rfind(|epoch| epoch.mark.number < mark.number);
            let first: ClientId = before.map_or(self.first, |epoch| client_of(&epoch.first_signer));
            let is_accepted = self.before.accepted.get(&by).is_some_and(|end| at <= *end);
            if by == first && !is_accepted && !counted.iter().any(|epoch| epoch.mark == mark) {
                self.complain_of_epoch(mark, Name::log(by, at).to_string())?;
            }
        }
        Ok(())
    }

    fn complain_of_epoch(&mut self, mark: Mark, known_by: String) -> Result<(), RepoError> {
        let object = Name::epoch(mark.number);
        let wrong = if self.hash_of_stored(&object)?.is_none() { Wrong::Missing } else { Wrong::Other };
        self.complain(None, Complaint { object, wrong, known_by, since: None, why: String::new() });
        Ok(())
    }
}
